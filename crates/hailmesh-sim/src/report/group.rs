//! The runs of one policy and one fleet.

use super::figures::{Figures, METRICS};

/// Runs that differ in their seed only.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<'a> {
    /// Who decided.
    pub policy: &'a str,
    /// Cars.
    pub fleet: u32,
    /// The runs, in the order in which they were made.
    pub runs: Vec<&'a Figures>,
}

impl Group<'_> {
    /// The mean of a figure over the seeds; none when it is unknown or a run lacks it.
    #[must_use]
    pub fn mean(&self, metric: &str) -> Option<f64> {
        let (_, read) = METRICS.iter().find(|(name, _)| *name == metric)?;
        let values: Option<Vec<f64>> = self.runs.iter().map(|run| read(run)).collect();
        let values = values?;
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// The seeds, with commas.
    #[must_use]
    pub fn seeds(&self) -> String {
        let seeds: Vec<String> = self.runs.iter().map(|run| run.seed.to_string()).collect();
        seeds.join(",")
    }
}

/// Groups runs: fleets from small to large, policies in the order of the runs.
#[must_use]
pub fn groups(runs: &[Figures]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|group| group.policy == run.policy && group.fleet == run.fleet) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group { policy: &run.policy, fleet: run.fleet, runs: vec![run] }),
        }
    }
    groups.sort_by_key(|group| group.fleet);
    groups
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::run;
    use super::*;

    #[test]
    fn runs_are_averaged_over_seeds() {
        let runs = [
            Figures::of(&run("p2p", 20, 0, &[Some(10)]), 1.0),
            Figures::of(&run("p2p", 10, 0, &[Some(10)]), 1.0),
            Figures::of(&run("batched:5", 10, 0, &[Some(5)]), 1.0),
            Figures::of(&run("p2p", 10, 1, &[Some(30)]), 1.0),
        ];
        let groups = groups(&runs);
        let names: Vec<_> = groups.iter().map(|group| (group.policy, group.fleet, group.seeds())).collect();
        let text = |seeds: &str| seeds.to_owned();
        assert_eq!(names, [("p2p", 10, text("0,1")), ("batched:5", 10, text("0")), ("p2p", 20, text("0"))]);
        assert_eq!(groups[0].mean("wait_s.mean"), Some(20.0));
        assert_eq!(groups[0].mean("nothing"), None);
    }

    #[test]
    fn a_mean_over_a_missing_value_is_missing() {
        let runs = [
            Figures::of(&run("p2p", 10, 0, &[Some(10)]), 1.0),
            Figures::of(&run("p2p", 10, 1, &[None]), 1.0),
        ];
        assert_eq!(groups(&runs)[0].mean("wait_s.mean"), None);
    }
}
