//! The network of a Hailmesh node: bytes in, bytes out.
//!
//! A [`Service`] runs one libp2p swarm on a task of its own. It moves three things and
//! knows the meaning of none of them:
//!
//! * **Gossip** (P13): messages on topics. Nothing is forwarded before the node has
//!   given its verdict with [`Command::Judge`]; a verdict that comes later than about
//!   four seconds finds the message gone.
//! * **Exchanges** (P5.1): one padded frame to one peer, one padded frame back. A
//!   [`Command::Send`] ends in exactly one [`Event::Response`] or [`Event::SendFailed`],
//!   and either is only a hint: what was agreed is in the signed statements inside.
//! * **Peers** (P15): bootstrap addresses, remembered peers and the local network are
//!   dialled again, with growing pauses, for as long as they are needed.
//!
//! # How to drive it
//!
//! [`Service::start`] returns when every listen address is bound, with a cloneable
//! [`Handle`] that takes [`Command`]s and with the one receiver of [`Events`]. Both
//! queues are bounded. When the node is slow to take events the service stops reading
//! from the network, which makes the peers wait; it never stops taking commands, so a
//! node that sends while it holds an event cannot deadlock with it.
//!
//! # What a stranger can fill
//!
//! Every queue, table and text that a peer can fill has a named limit in [`Limits`], in
//! [`GossipConfig`] or beside the table itself: connections in all, per peer and per
//! address; streams per connection; frames in bytes and in seconds; topics per peer;
//! remembered peers in all and per address prefix.
//!
//! # What is absent
//!
//! Nothing here looks into a message, verifies an application signature, keeps a file
//! or reads the environment. There is no peer exchange in gossip and, in this version,
//! no distributed table of providers, no synchronisation of offers and no relay (P15.2
//! to P15.9): peers come from the three sources above.
//!
//! Log lines hold neither the cell in a topic (below trace level) nor two keys of peers.
#![forbid(unsafe_code)]

mod address;
mod behaviour;
mod config;
mod discovery;
mod event;
mod exchange;
mod gossip;
mod handle;
mod keys;
mod limits;
mod metrics;
mod router_metrics;
mod service;
mod swarm_events;
mod tap;

pub use config::{Config, ConfigError, DiscoveryConfig, GossipConfig, ScoreConfig};
pub use event::{Command, Event, MessageToken, PeerInfo, PublishOutcome, SendFailure, Verdict};
pub use exchange::{FRAME_CONTENT_BYTES_MAX, MATCH_PROTOCOL};
pub use handle::{Closed, Events, Handle, NotTaken};
pub use keys::{peer_id, peer_key};
pub use libp2p::{Multiaddr, PeerId};
pub use limits::Limits;
pub use service::{Error, ListenReason, Service};
pub use tap::{Tap, Tapped};
