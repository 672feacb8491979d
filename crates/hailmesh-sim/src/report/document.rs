//! The documents: what is printed, and what can be drawn again.

use serde::{Deserialize, Serialize};

use super::curves::Curves;
use super::figures::Figures;
use super::map::Map;

/// What `hailmesh sim run --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the scenario.
    pub scenario: String,
    /// Requests in it.
    pub requests: u64,
    /// Time all runs took together, with reading the scenario, seconds.
    pub wall_s: f64,
    /// Most memory the process has held, MiB, where the system says.
    pub peak_rss_mib: Option<f64>,
    /// One for each policy, fleet and seed.
    pub runs: Vec<Figures>,
}

/// What `report.json` holds: the summary and all that the plots need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The figures.
    #[serde(flatten)]
    pub summary: Summary,
    /// The command that makes these runs again.
    pub command: String,
    /// What the runs were made with, by name: loss, latency, churn and so on.
    pub settings: Vec<(String, String)>,
    /// One for each run.
    pub curves: Vec<Curves>,
    /// Roads and some of the rides of the first run; none without any run.
    pub map: Option<Map>,
}

/// A saved report that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// No JSON, or not these fields.
    #[error("line {line}, column {column}: {what}")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// A drawing that holds more than lines.
    #[error("the map holds \"{0}\", which is no path of lines")]
    Path(String),
}

impl Report {
    /// As JSON, one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists always have a JSON form.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// From JSON.
    ///
    /// # Errors
    /// Text that is no report, with the place of the fault.
    pub fn from_json(text: &str) -> Result<Self, ReportError> {
        let report: Self = serde_json::from_str(text).map_err(|error| ReportError::Json {
            line: error.line(),
            column: error.column(),
            what: error.to_string().split(" at line ").next().unwrap_or_default().to_owned(),
        })?;
        // The file may come from a stranger, and paths go into a page.
        if let Some(strange) = report.map.as_ref().and_then(Map::strange_path) {
            return Err(ReportError::Path(strange.chars().take(40).collect()));
        }
        Ok(report)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::figures::tests::run;
    use super::*;

    /// A report of two policies, two fleets and two seeds.
    pub(in crate::report) fn report() -> Report {
        let mut runs = Vec::new();
        for fleet in [10, 20] {
            for seed in [0, 1] {
                runs.push(run("p2p", fleet, seed, &[Some(60), Some(120 + seed), None]));
                runs.push(run("batched:5", fleet, seed, &[Some(50), Some(100), Some(30)]));
            }
        }
        Report {
            summary: Summary {
                scenario: "a <small> city".to_owned(),
                requests: 3,
                wall_s: 1.5,
                peak_rss_mib: None,
                runs: runs.iter().map(|run| Figures::of(run, 0.2)).collect(),
            },
            command: "hailmesh sim run grid --fleet 10,20".to_owned(),
            settings: vec![("loss".to_owned(), "1 %".to_owned())],
            curves: runs.iter().map(Curves::of).collect(),
            map: None,
        }
    }

    #[test]
    fn a_report_survives_being_saved() {
        let report = report();
        assert_eq!(Report::from_json(&report.to_json()), Ok(report));
    }

    #[test]
    fn what_is_printed_has_the_fields_of_the_contract() {
        let json = serde_json::to_value(report().summary).unwrap();
        let fields: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["peak_rss_mib", "requests", "runs", "scenario", "wall_s"]);
        assert!(json["peak_rss_mib"].is_null());
    }

    #[test]
    fn what_is_no_report_is_refused_with_its_place() {
        assert!(matches!(Report::from_json("{}"), Err(ReportError::Json { line: 1, .. })));
        let error = Report::from_json("{\n  \"scenario\": 5}").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
