//! What the plots of a run are drawn from.

use serde::{Deserialize, Serialize};

use super::figures::rounded;
use crate::outcome::RunOutcome;

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
        }
    }

    /// Requests of the run.
    pub(super) fn requested(&self) -> u64 {
        self.bins.iter().map(|bin| u64::from(bin.requested)).sum()
    }
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
}
