//! The marketplace as pure state machines.
//!
//! # The one thing to get right
//!
//! [`Marketplace`] neither reads a clock nor performs I/O. It is told what happened
//! with [`Marketplace::handle_input`] or [`Marketplace::command`], and asked what to do
//! with [`Marketplace::poll_output`]. **After every input, drain `poll_output` until it
//! returns `None` before the next input, carry the outputs out in order, and let
//! nothing that follows an [`Output::Persist`] leave the machine before those records
//! are durable.** A signed binding statement that was sent but not stored can be
//! contradicted after a crash; that is how people get booked twice.
//!
//! If a batch cannot be made durable, drop the marketplace and build a new one with
//! [`Marketplace::recover`] once the store works again: memory has run ahead of it. All
//! that may still be asked of the old one is [`Marketplace::last_words`].
//!
//! # Layers
//!
//! * [`book`], [`index`], [`admission`], [`certificates`], [`budget`], [`position`]:
//!   what is heard. Admission lets an offer into the book in the order of P13.7.
//! * [`matching`]: whom to ask and when, and why the others were passed over.
//! * [`handshake`]: the transition tables of P6 and P7, with no time, keys or
//!   randomness in them. They are what a model checker explores and what runs.
//! * [`marketplace`]: owns all of it; opens verified statements on the way in, signs on
//!   the way out, keeps the outbox and the timers.
//! * [`journal`]: what must be remembered.
//!
//! Clause numbers such as `P6.4` refer to `docs/protocol.md`.
#![forbid(unsafe_code)]

pub mod admission;
pub mod book;
pub mod budget;
pub mod certificates;
pub mod command;
pub mod config;
pub mod handshake;
pub mod index;
pub mod input;
pub mod journal;
pub mod limits;
pub mod marketplace;
pub mod matching;
pub mod output;
pub mod position;
mod sorted;
pub mod table;
pub mod view;
pub mod witness;

pub use command::{Answer, Command, CommandError, Completion, DriverProfile, Wish};
pub use config::{Config, ConfigError, Timers};
pub use input::{AskId, ExchangeId, Input, MessageRef, Origin};
pub use journal::{Record, RideId, Role, SlotRef};
pub use marketplace::{Keys, Marketplace, RecoverError, StoredRide, Timer};
pub use output::{Event, Output, Verdict, WorkOrder};
pub use view::{Choice, NoMatch, RideView, Snapshot, Step};
