//! One process of Hailmesh.
//!
//! [`Node::start`] takes a home, reads the journal in it, opens the network and runs the
//! one loop in which everything meets: `select!` over the network, commands of the local
//! user, the next timer of the marketplace and the acknowledgements of the store. The
//! loop decides nothing. It tells the marketplace what happened, and does what the
//! marketplace asks for, in order, and nothing before the records that it rests on are
//! durable (P11.1).
//!
//! Everything else talks to the loop through a [`NodeHandle`]: commands that are
//! answered when what they caused is durable, questions, and a numbered stream of
//! events. The HTTP API, the command line and the tests use nothing else.
//!
//! * [`config`]: layered settings, each with its origin.
//! * [`home`] and [`keys`]: the folder, its lock, the identity key.
//! * [`clock`]: the only reader of the machine's clock.
//! * [`status`]: how the node is, and what to do when it sees nobody.
//!
//! # When the store fails
//!
//! Memory has then run ahead of the journal. The node stops deciding at once, tells
//! whoever waits, tries the store every second, and when it works again goes on with a
//! marketplace that was rebuilt from what is stored. It never continues without.
//!
//! # What never reaches a log
//!
//! Coordinates, contacts, boarding codes, secrets; of keys at most a short hash.
#![forbid(unsafe_code)]

pub mod clock;
pub mod config;
mod engine;
mod error;
mod events;
mod fail_point;
mod handle;
mod history;
pub mod home;
mod host_mark;
pub mod invite;
mod journal;
pub mod keys;
mod metrics;
mod queue;
mod search;
mod start;
mod start_mark;
pub mod status;
mod translate;
mod work;

pub use error::{NodeError, StartError};
pub use events::{EVENTS_KEPT, EventItem, EventStream, NodeEvent, Numbered};
pub use fail_point::{FailPoint, FailPoints};
pub use hailmesh_market as market;
pub use hailmesh_net::{Multiaddr, PeerId, PeerInfo, peer_id};
pub use hailmesh_wire as wire;
pub use handle::NodeHandle;
pub use history::{RIDES_MAX, RidesPage};
pub use search::{Quote, QuoteRequest, SearchAnswer, SearchItem, SearchRequest};
pub use start::{Node, NodeConfig};
pub use status::{NodeStatus, Problem};
