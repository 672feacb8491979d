//! The local HTTP API of a node, and the token that opens it.
//!
//! One server belongs to one [`NodeHandle`](hailmesh_node::NodeHandle) and calls nothing
//! but its methods: whatever a program can do over HTTP, a test can do without it.
//!
//! # Who may call
//!
//! The server speaks plain HTTP and therefore listens on loopback only. A loopback port is
//! still reachable by every program and every web page of the machine, so that each request
//! has to pass, in this order:
//!
//! 1. `Host` and `Origin` on an exact list: a page that rebinds its name to 127.0.0.1
//!    still sends its own name;
//! 2. a bearer token, compared in constant time, for everything but `/healthz` and
//!    `/readyz`;
//! 3. the scope of that token: `read`, `ride`, `drive`, or `admin` for all of them;
//! 4. 64 KiB of JSON at most, and a deadline.
//!
//! Whatever is refused is refused with an RFC 9457 problem document whose `code` is stable
//! ([`Code`]); a person reads `detail`, a program reads `code`.
//!
//! # What it says
//!
//! Times are RFC 3339 UTC, durations end in `_ms`, distances in `_m`, and money is
//! `{amount, currency}` in minor units. The types of [`types`] are the contract; the
//! OpenAPI document is generated from them ([`openapi_json`]) and committed as
//! `docs/openapi.json`.
//!
//! Positions, names, plates and boarding codes are shown here and nowhere else, and not to
//! a token that may only read.
#![forbid(unsafe_code)]

mod app;
mod auth;
mod convert;
mod document;
mod extract;
mod guard;
mod idempotency;
mod intake;
mod problem;
mod resources;
mod router;
mod server;
pub mod types;

pub use auth::{Scope, Token, TokenError, Tokens};
pub use convert::{numbered_event, ride_json};
pub use problem::{Code, Problem};
pub use router::openapi_json;
pub use server::{ApiConfig, ServeError, Server, serve};
