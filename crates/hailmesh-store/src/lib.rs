//! The journal kept: memory, SQLite, Postgres.
//!
//! A [`Store`] remembers the [`Record`](hailmesh_market::Record)s that a marketplace
//! emits (P11). One batch is one transaction, durable when [`Store::append`] returns;
//! [`Store::load`] gives an equivalent sequence back after a restart. Nothing that a
//! batch promises may be sent before its `append` has returned.
//!
//! # When an append fails
//!
//! * [`Error::Conflict`]: the records contradict what is stored, as two live bindings
//!   would. Nothing of the batch was stored. Either a program above is wrong or this is
//!   a copy of a journal that is also used elsewhere (P24.8): sign nothing more.
//! * [`Error::Unavailable`]: the machine failed (disk full, connection lost). Whether
//!   the batch was stored is *unknown*: throw the marketplace away, and build a new one
//!   from [`Store::load`] once that works again. The store reconnects by itself.
//!
//! The same holds when the future of an append is dropped before it is finished.
//!
//! # What the schema refuses
//!
//! The databases refuse by their own constraints what must never be stored (P11.5), so
//! that not even a fault in this crate can bind a person twice: `migrations/sqlite` and
//! `migrations/postgres` in the repository are the text to read. [`Store`] in memory
//! applies the same rules in plain Rust, and one conformance suite, `tests/store`, runs
//! on all three.
//!
//! # One user at a time
//!
//! A journal belongs to one identity and to one running node (P17.4). SQLite holds an
//! exclusive lock on its file; Postgres holds an advisory lock for the identity as long
//! as the connection lives. A count in the database rises with every opening: a store
//! that lost its connection and finds, when it is back, that another node was there in
//! the meantime refuses to go on.
//!
//! # What is absent
//!
//! There is no pool, no query language and no clock. Decisions are the market's; this
//! crate neither interprets statements nor resolves contradictions.
#![forbid(unsafe_code)]

mod error;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
mod sqlite;
mod store;
mod url;

pub use error::Error;
pub use rows::{BANS_KEPT, ERASED_KEYS_KEPT, EVIDENCE_KEPT, PEER_ADDRESS_BYTES_MAX, PEERS_KEPT};
pub use store::{Options, Store};
pub use url::StoreUrl;
