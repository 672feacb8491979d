//! The city: hosts with production marketplaces, and everything around them.
//!
//! # How a run goes
//!
//! Time is cut into *windows* no longer than the fastest message. What a host does in a
//! window can reach nobody before the next one, so the hosts of a window are
//! independent of each other and may be run on any number of threads. Between two
//! windows everything that was said is put in one order, by time, host and number, and
//! sent on. Randomness of a link is a hash of the seed and of the message, not a shared
//! stream. So one seed gives one trace, whatever the number of threads.
//!
//! * [`settings`]: what a run can be told.
//! * `link`, `overlay`: how long messages take, which are lost, how gossip spreads.
//! * `host`: one marketplace with its journal, its clock and its failures.
//! * `driver`, `rider`: what people do; `hostile`: what others do.
//! * `shard`, `engine`: windows, threads, order.
//! * `oracle` with the [judges](crate::judge), `audit`: what must hold whatever happens;
//!   `settle`: what must hold soon after.
//! * [`fault`], `mishap`: what goes wrong, by a plan; `trial`, `trials`: such plans at random.

mod audit;
mod driver;
mod engine;
pub mod fault;
mod host;
mod hostile;
mod kit;
mod link;
mod mishap;
mod oracle;
mod overlay;
mod people;
mod rider;
pub mod settings;
mod settle;
mod shard;
mod travel;
mod trial;
mod trials;

pub use crate::judge::AttackTally;
pub use engine::{Progress, Run, run};
pub use fault::{Broken, Faults, Mischief};
pub use kit::{City, Report};
pub use oracle::Violation;
pub use overlay::Overlay;
pub use settings::{Partition, RunError, Settings, SettingsError, Signing};
pub use settle::Settled;
pub use travel::RoadTimes;
pub use trial::Trial;
pub use trials::{Failure, Tally, trials};
