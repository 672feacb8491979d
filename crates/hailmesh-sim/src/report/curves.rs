//! What the plots of a run are drawn from.

use serde::{Deserialize, Serialize};

use super::figures::{count, rounded};
use crate::outcome::{Moment, RunOutcome};

/// Bins of time at most: a plot is not finer than a screen.
const BINS_MAX: u64 = 120;
/// Bins of waits.
const WAITS: u64 = 60;

/// The curves of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Who decided.
    pub policy: String,
    /// Cars.
    pub fleet: u32,
    /// Seed of the run.
    pub seed: u64,
    /// Width of a bin of waits, seconds.
    pub wait_bin_s: f64,
    /// How many were picked up after so many bins of waiting.
    pub waits: Vec<u32>,
    /// Width of a bin of time, seconds.
    pub bin_s: f64,
    /// What became of the requests of each bin of time.
    pub bins: Vec<Bin>,
    /// What nodes said and knew from time to time; none for a dispatcher.
    #[serde(default)]
    pub looks: Vec<Look>,
}

/// What nodes said since the look before, and what they knew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// When, seconds.
    pub at_s: f64,
    /// Nodes that were up.
    pub nodes: u32,
    /// Live offers of cars.
    pub cars: u32,
    /// Live offers of riders who waited.
    pub riders: u32,
    /// Messages a node and second.
    pub messages: f64,
    /// Bytes a node and second.
    pub bytes: f64,
    /// Share of the live offers on its topics that a node knew, 0 to 1; none when there
    /// was nothing to know.
    pub view: Option<f64>,
}

/// The requests made within one bin of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Requests.
    pub requested: u32,
    /// Of those, picked up.
    pub served: u32,
    /// All their waits together, lost ones as the whole patience, seconds.
    pub waited_s: f64,
}

impl Curves {
    /// The curves of a run.
    #[must_use]
    pub fn of(run: &RunOutcome) -> Self {
        let last = run.rides.iter().map(|ride| ride.requested_ms).max().unwrap_or(0);
        // Whole minutes, as many of them as it takes.
        let bin_ms = 60_000 * (last / 60_000 + 1).div_ceil(BINS_MAX);
        let mut bins = vec![Bin::default(); (last / bin_ms + 1) as usize];
        let longest = run.rides.iter().filter_map(|ride| ride.wait_ms()).max().unwrap_or(0);
        let wait_bin_ms = (run.patience_ms.max(longest).max(1)).div_ceil(WAITS);
        let mut waits = vec![0; WAITS as usize + 1];
        for ride in &run.rides {
            let bin = &mut bins[(ride.requested_ms / bin_ms) as usize];
            bin.requested += 1;
            let wait = ride.wait_ms();
            bin.waited_s += wait.unwrap_or(run.patience_ms) as f64 / 1_000.0;
            if let Some(wait) = wait {
                bin.served += 1;
                waits[(wait / wait_bin_ms) as usize] += 1;
            }
        }
        for bin in &mut bins {
            bin.waited_s = rounded(bin.waited_s, 1);
        }
        Self {
            policy: run.policy.to_string(),
            fleet: run.fleet,
            seed: run.seed,
            wait_bin_s: wait_bin_ms as f64 / 1_000.0,
            waits,
            bin_s: bin_ms as f64 / 1_000.0,
            bins,
            looks: looks(&run.moments),
        }
    }

    /// Requests of the run.
    pub(super) fn requested(&self) -> u64 {
        self.bins.iter().map(|bin| u64::from(bin.requested)).sum()
    }
}

/// Rates between moments. The first covers the time before the first request.
fn looks(moments: &[Moment]) -> Vec<Look> {
    let pairs = moments.iter().zip(moments.iter().skip(1));
    let looks = pairs.map(|(before, moment)| {
        let span_s = moment.at_ms.saturating_sub(before.at_ms).max(1) as f64 / 1_000.0;
        let rate = |n: u64| rounded(count(n) / span_s / f64::from(moment.nodes.max(1)), 2);
        Look {
            at_s: rounded(moment.at_ms as f64 / 1_000.0, 1),
            nodes: moment.nodes,
            cars: moment.cars,
            riders: moment.riders,
            messages: rate(moment.messages),
            bytes: rate(moment.bytes),
            view: moment.view.map(|thousandths| f64::from(thousandths) / 1_000.0),
        }
    });
    looks.collect()
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::run;
    use super::*;

    #[test]
    fn every_request_is_in_one_bin() {
        let outcome = run("p2p", 1, 0, &[Some(0), None, Some(600), Some(31)]);
        let curves = Curves::of(&outcome);
        assert_eq!(curves.requested(), 4);
        assert_eq!(curves.waits.iter().sum::<u32>(), 3);
        assert_eq!((curves.waits[0], curves.waits[3], curves.waits[60]), (1, 1, 1));
        let served: Vec<u32> = curves.bins.iter().map(|bin| bin.served).collect();
        assert_eq!(served, [1, 0, 1, 1]);
        assert_eq!(curves.bins[1].waited_s, 600.0);
    }

    #[test]
    fn a_day_has_no_more_bins_than_a_screen() {
        let curves = Curves::of(&run("p2p", 1, 0, &[Some(1); 1_440]));
        assert_eq!((curves.bins.len(), curves.bin_s), (120, 720.0));
        assert_eq!(curves.requested(), 1_440);
        assert!(Curves::of(&run("p2p", 1, 0, &[])).bins.iter().all(|bin| bin.requested == 0));
    }

    #[test]
    fn what_is_said_is_a_rate_between_moments() {
        let mut outcome = run("p2p", 1, 0, &[Some(1)]);
        let moment = |at_ms, messages, view| Moment { at_ms, nodes: 10, messages, view, ..Moment::default() };
        outcome.moments =
            vec![moment(0, 9_999, None), moment(30_000, 600, Some(950)), moment(60_000, 0, None)];
        let looks = Curves::of(&outcome).looks;
        let seen: Vec<(f64, f64, Option<f64>)> =
            looks.iter().map(|look| (look.at_s, look.messages, look.view)).collect();
        assert_eq!(seen, [(30.0, 2.0, Some(0.95)), (60.0, 0.0, None)]);
    }
}
