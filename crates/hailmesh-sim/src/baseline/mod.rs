//! Dispatchers that see everything: what a match could be if somebody were in charge.
//!
//! # The rules
//!
//! All cars stand idle at their start at time 0 and stay where they dropped somebody;
//! nobody drives empty without a request. A car that is sent at `t` and takes `d` to the
//! pickup is there at `t + d`, leaves when boarding is over, and is idle again, at the
//! destination, the moment it gets there. A car may be sent only if it is in time:
//! `t + d ≤ requested + patience`, the last millisecond included, and not after the end of
//! the run. A match is final. Seats are not looked at: every car takes every party.
//!
//! * **first-come**: a request takes the idle car with the least drive, at once, if it is
//!   in time; otherwise it waits. A car that gets idle goes to the oldest waiting request
//!   for which it is in time. At the same millisecond cars get idle first, then requests
//!   arrive in their order.
//! * **batched** and **nearest-pair**: at every whole multiple of the batch length after 0,
//!   the end of the run included. A batch knows the requests made and the cars that got
//!   idle before that millisecond, and leaves out the pairs that would be late. *batched*
//!   takes an assignment of maximum size and, among those, least total drive;
//!   *nearest-pair* takes the pair with the least drive, strikes both out, and so on.
//!
//! Ties go to the older request, then to the car with the lower place in the fleet. A
//! batch is the best *per batch*: nothing here looks ahead, so neither is best over time.
//!
//! # How far figures can be trusted
//!
//! When cars are scarce a run is chaotic: a tie the other way, or boarding that takes a few
//! milliseconds more, changes who is where an hour later. On a recorded rush hour such
//! changes move the mean wait by up to one per cent and the share served by 0.1 points.
//! Compare policies over several seeds.

mod assign;
mod dispatcher;

use crate::outcome::RunOutcome;
use crate::policy::Policy;
use crate::scenario::{Scenario, ScenarioError};

/// Why a dispatcher cannot run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BaselineError {
    /// The scenario does not have the fleet.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The policy has no dispatcher.
    #[error("policy {0} has no dispatcher: expected first-come, batched:SECONDS or nearest-pair:SECONDS")]
    NotCentral(Policy),
}

/// Runs a scenario with a dispatcher. The seed chooses the fleet ([`Scenario::fleet`]);
/// nothing else is left to chance.
///
/// # Errors
/// When the fleet is none or larger than the scenario's, or the policy is `p2p`.
pub fn run(scenario: &Scenario, fleet: u32, seed: u64, policy: Policy) -> Result<RunOutcome, BaselineError> {
    let cars = scenario.fleet(fleet, seed)?;
    let mut dispatcher = dispatcher::Dispatcher::new(scenario, &cars);
    match policy {
        Policy::PeerToPeer(_) => return Err(BaselineError::NotCentral(policy)),
        Policy::FirstCome => dispatcher.first_come(),
        Policy::Batched { seconds } => dispatcher.in_batches(seconds, assign::least_total),
        Policy::NearestPair { seconds } => dispatcher.in_batches(seconds, assign::nearest_first),
    }
    Ok(dispatcher.finish(policy, fleet, seed))
}
