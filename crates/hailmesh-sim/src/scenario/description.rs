//! Scenarios described in TOML.

use serde::Deserialize;

use super::{GridCity, Scenario, ScenarioError};

/// A scenario as a TOML file describes it: a folder, or a synthetic city, and what
/// differs from the defaults.
///
/// ```toml
/// name = "small town"
/// patience_s = 300        # default 600
/// boarding_s = 30
/// drain_s = 600
/// uniform_speed_kmh = 20  # instead of all speeds
///
/// [grid]                  # or: folder = "data/manhattan-rush-hour"
/// blocks_x = 12
/// blocks_y = 8
/// riders_per_hour = 200
/// vehicles = 60
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// What the scenario is called; none: by its folder, or `grid`.
    pub name: Option<String>,
    /// Where demand, cars and roads come from.
    pub source: Source,
    /// One speed instead of all speeds, km/h.
    pub uniform_speed_kmh: Option<f64>,
    patience_s: Option<u32>,
    boarding_s: Option<u32>,
    drain_s: Option<u32>,
}

/// What a description is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A scenario folder, relative to the folder of the description.
    Folder(String),
    /// A synthetic city.
    Grid(GridCity),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    folder: Option<String>,
    grid: Option<GridCity>,
    uniform_speed_kmh: Option<f64>,
    patience_s: Option<u32>,
    boarding_s: Option<u32>,
    drain_s: Option<u32>,
}

/// The longest patience, boarding and drain: a day.
const MAX_SPAN_S: u32 = 86_400;

impl Description {
    /// Reads a description; `file` names it in errors.
    ///
    /// # Errors
    /// When it is not TOML, has unknown keys or values out of range, or does not name
    /// exactly one of `folder` and `[grid]`.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let refuse = |reason: String| ScenarioError::Toml { file: file.to_owned(), reason };
        let written: Written =
            toml::from_str(text).map_err(|error| refuse(error.to_string().trim_end().to_owned()))?;
        let source = match (written.folder, written.grid) {
            (Some(folder), None) => Source::Folder(folder),
            (None, Some(grid)) => Source::Grid(grid),
            (None, None) => {
                return Err(refuse("it names no roads: expected folder = \"…\" or [grid]".to_owned()));
            }
            (Some(folder), Some(_)) => {
                return Err(refuse(format!("folder = {folder:?} and [grid]: expected one of them")));
            }
        };
        let spans = [
            ("patience_s", written.patience_s, 1),
            ("boarding_s", written.boarding_s, 0),
            ("drain_s", written.drain_s, 0),
        ];
        for (key, span, low) in spans {
            if let Some(value) = span.filter(|span| !(low..=MAX_SPAN_S).contains(span)) {
                return Err(refuse(format!("{key} = {value}: expected {low} to {MAX_SPAN_S} seconds")));
            }
        }
        Ok(Self {
            name: written.name,
            source,
            uniform_speed_kmh: written.uniform_speed_kmh,
            patience_s: written.patience_s,
            boarding_s: written.boarding_s,
            drain_s: written.drain_s,
        })
    }

    /// Applies name, patience, boarding and drain to a scenario made from the source. The
    /// speed is for the one who makes it.
    #[must_use]
    pub fn adjust(&self, mut scenario: Scenario) -> Scenario {
        let ms = |span: Option<u32>, default: u64| span.map_or(default, |span| u64::from(span) * 1_000);
        scenario.patience_ms = ms(self.patience_s, scenario.patience_ms);
        scenario.boarding_ms = ms(self.boarding_s, scenario.boarding_ms);
        scenario.drain_ms = ms(self.drain_s, scenario.drain_ms);
        if let Some(name) = &self.name {
            scenario.name.clone_from(name);
        }
        scenario
    }
}
