//! What a marketplace is told.

use hailmesh_types::PeerKey;
use hailmesh_wire::{Address, Heard, Topic};

use crate::output::WorkOrder;

/// Names a gossip message until its verdict is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageRef {
    /// P13.4.
    pub id: [u8; 16],
    /// The peer that forwarded it to us.
    pub source: PeerKey,
}

/// Names an exchange that a peer began and that we may answer once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

/// Names an exchange that we began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Where a connection comes from, as far as limits care (P20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// This machine: exempt from limits per address.
    Loopback,
    /// The first 32 bits (IPv4) or 56 bits (IPv6) of the address, zero-filled.
    Prefix([u8; 8]),
    /// Through this relay.
    Relay(PeerKey),
}

/// Everything that can happen to a marketplace apart from commands of its own user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A gossip message that waits for its verdict.
    Gossip {
        /// To be named in the verdict.
        message: MessageRef,
        /// Where it was published.
        topic: Topic,
        /// What was heard.
        heard: Heard,
    },
    /// A peer asks (P5).
    Request {
        /// To be named in the reply.
        exchange: ExchangeId,
        /// The authenticated peer.
        peer: PeerKey,
        /// The frame without length and filler.
        frame: Vec<u8>,
    },
    /// A peer answers.
    Response {
        /// The exchange of ours.
        ask: AskId,
        /// The authenticated peer.
        peer: PeerKey,
        /// The frame without length and filler.
        frame: Vec<u8>,
    },
    /// An exchange of ours came to nothing. Its outcome is unknown (P5.7).
    SendFailed {
        /// The exchange of ours.
        ask: AskId,
        /// Whom it was for.
        peer: PeerKey,
    },
    /// A peer is connected.
    PeerConnected {
        /// Who.
        peer: PeerKey,
        /// From where.
        origin: Origin,
    },
    /// The last connection to a peer is gone.
    PeerGone {
        /// Who.
        peer: PeerKey,
    },
    /// A peer subscribed to a topic.
    PeerSubscribed {
        /// Who.
        peer: PeerKey,
        /// To what.
        topic: Topic,
    },
    /// The addresses at which this node can be dialled have changed.
    Addresses(Vec<Address>),
    /// A proof of work that was ordered is found.
    Work {
        /// The order.
        order: WorkOrder,
        /// The proof.
        pow: [u8; 8],
    },
    /// The time of [`poll_timeout`](crate::Marketplace::poll_timeout) has come.
    Timeout,
}
