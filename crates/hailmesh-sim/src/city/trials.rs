//! Many trials, and what came of them together.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::engine::Run;
use super::fault::{Broken, Mischief};
use super::oracle::Violation;
use super::settings::RunError;
use super::settle::Settled;
use super::trial::Trial;

/// Failures that are kept; one is enough.
const KEPT: usize = 20;

/// A trial in which something happened that must not.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which.
    pub trial: Trial,
    /// What, the first hundred.
    pub violations: Vec<Violation>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.trial)?;
        for violation in self.violations.iter().take(5) {
            write!(f, "\n    at {} ms: {}", violation.at_ms, violation.what)?;
        }
        Ok(())
    }
}

/// Sums over trials; the same whatever the number of threads.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Trials.
    pub seeds: u64,
    /// How long all nodes together were up, milliseconds of simulated time.
    pub node_ms: u64,
    /// REQUESTs sent.
    pub handshakes: u64,
    /// Agreements that both sides were firm on.
    pub firm: u64,
    /// Rides that were begun.
    pub rides: u64,
    /// Nodes that crashed.
    pub restarts: u64,
    /// Agreements when all was over.
    pub settled: Settled,
    /// What went wrong on purpose.
    pub mischief: Mischief,
    /// Violations in all.
    pub violations: u64,
    /// Trials with violations, by their seeds, the first few.
    pub failures: Vec<Failure>,
}

impl Tally {
    fn count(&mut self, trial: Trial, run: Run) {
        let traffic = run.outcome.traffic.unwrap_or_default();
        self.seeds += 1;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counted in milliseconds"
        )]
        {
            self.node_ms += (traffic.node_s * 1_000.0).round() as u64;
        }
        self.handshakes += traffic.handshakes;
        self.firm += run.agreements;
        let begun = run.outcome.rides.iter().filter(|ride| ride.picked_up_ms.is_some());
        self.rides += begun.count() as u64;
        self.restarts += traffic.restarts;
        self.settled.add(&run.settled);
        self.mischief.add(&run.mischief);
        self.violations += run.violations.len() as u64;
        if !run.violations.is_empty() {
            self.failures.push(Failure { trial, violations: run.violations });
            self.failures.sort_by_key(|failure| failure.trial.seed);
            self.failures.truncate(KEPT);
        }
    }

    /// Adds other trials.
    pub fn add(&mut self, other: Self) {
        let Self {
            seeds,
            node_ms,
            handshakes,
            firm,
            rides,
            restarts,
            settled,
            mischief,
            violations,
            failures,
        } = other;
        self.seeds += seeds;
        self.node_ms += node_ms;
        self.handshakes += handshakes;
        self.firm += firm;
        self.rides += rides;
        self.restarts += restarts;
        self.settled.add(&settled);
        self.mischief.add(&mischief);
        self.violations += violations;
        self.failures.extend(failures);
        self.failures.sort_by_key(|failure| failure.trial.seed);
        self.failures.truncate(KEPT);
    }

    /// Simulated time of all nodes together, hours.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn node_hours(&self) -> f64 {
        self.node_ms as f64 / 3_600_000.0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds: {:.1} node-hours, {} handshakes, {} firm agreements, {} rides, {} restarts, {} violations",
            self.seeds,
            self.node_hours(),
            self.handshakes,
            self.firm,
            self.rides,
            self.restarts,
            self.violations
        )?;
        writeln!(f, "faults: {}", self.mischief)?;
        write!(f, "at the end: {}", self.settled)?;
        for failure in &self.failures {
            write!(f, "\n{failure}")?;
        }
        Ok(())
    }
}

/// Runs the trials of these seeds on so many threads, if need be with nodes that break a
/// rule.
///
/// # Errors
/// A setting or a parameter outside its bounds, which no seed draws.
pub fn trials(seeds: Range<u64>, threads: usize, rule: Option<Broken>) -> Result<Tally, RunError> {
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new(Ok(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let tally = work(&next, seeds.end, rule);
                // A thread that panicked has poisoned it, and the scope panics with it.
                let Ok(mut all) = all.lock() else { return };
                match (all.as_mut(), tally) {
                    (Ok(all), Ok(tally)) => all.add(tally),
                    (Ok(_), Err(error)) => *all = Err(error),
                    (Err(_), _) => {}
                }
            });
        }
    });
    all.into_inner().unwrap_or_else(|_| Ok(Tally::default()))
}

fn work(next: &AtomicU64, end: u64, rule: Option<Broken>) -> Result<Tally, RunError> {
    let mut tally = Tally::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return Ok(tally);
        }
        let mut trial = Trial::of(seed);
        if let Some(rule) = rule {
            trial = trial.broken(rule);
        }
        let run = trial.run()?;
        tally.count(trial, run);
    }
}
