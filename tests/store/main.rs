//! One journal, three places to keep it.
//!
//! `conformance` is the suite that memory, SQLite and Postgres pass alike; `random`
//! compares the databases with memory over long random histories. `raw` goes past our
//! code and asks the schema itself. The rest is what only one of them can suffer: files
//! that are torn, cut or locked, processes that are killed, servers that go away.
//!
//! The Postgres tests run against a private server of their own, made with the `initdb`
//! and `postgres` of the machine, or against the address in
//! `HAILMESH_TEST_POSTGRES_URL`: a database made for the purpose, as they leave their
//! schemas there and cut connections. Where there is neither they say `SKIPPED` and, with
//! `CI=true`, fail.
#![forbid(unsafe_code)]

mod conformance;
mod crash;
mod files;
mod place;
mod postgres;
mod random;
mod raw;
mod sample;
mod server;
mod torn;
