//! A city in one process, on simulated time.
//!
//! # What is real and what is modelled
//!
//! Every car and every rider is a host that holds the production
//! [`hailmesh_market::Marketplace`]: real statements, real codec, real admission, real
//! handshake, a journal behind the write-ahead rule. A host knows nothing but what
//! reached it as bytes. Modelled are the things around it: roads and what driving on
//! them takes ([`roads`]), who wants to go where ([`scenario`]), how people behave, how
//! long messages take and which are lost, how gossip spreads, when machines fail, and
//! what their clocks say ([`city`]).
//!
//! Beside the nodes stand dispatchers that see everything ([`baseline`]): what a match
//! could be if somebody were in charge.
//!
//! # One seed, one trace
//!
//! The crate reads no clock, no files and no entropy. A run is a function of its
//! scenario, its settings and its seed, whatever the number of threads; a hash over
//! everything that happened says so ([`outcome::RunOutcome::trace_hash`]).
#![forbid(unsafe_code)]

pub mod adversary;
pub mod baseline;
pub mod city;
pub mod import;
pub mod judge;
pub mod outcome;
pub mod policy;
pub mod promises;
pub mod report;
pub mod roads;
pub mod scenario;

pub use outcome::{Moment, RideOutcome, RunOutcome, Traffic};
pub use policy::{Policy, PolicyError};
pub use roads::{Junction, Roads};
pub use scenario::Scenario;
