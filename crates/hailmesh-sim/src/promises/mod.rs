//! The promises of P1.5, judged by somebody who sees what no node sees: every statement
//! that anybody signed, and every journal.
//!
//! Whoever drives marketplaces tells a [`Watch`] what leaves them and keeps a [`Ledger`]
//! of what each has made durable. Tests of crashes and fuzzing share both, so that they
//! cannot disagree about what was promised.

pub mod cast;
mod ledger;
mod watch;

pub use ledger::{Ledger, Slot, agree, by_accept, sides};
pub use watch::{Violation, Watch};
