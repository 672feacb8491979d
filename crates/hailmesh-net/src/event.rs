//! What goes in and what comes out.

use std::fmt;

use hailmesh_types::PeerKey;
use hailmesh_wire::Topic;
use libp2p::Multiaddr;

/// A gossip message as one peer forwarded it: what a verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageToken {
    /// The message id (P13.4).
    pub id: [u8; 16],
    /// The peer that forwarded it, which need not be its author.
    pub source: PeerKey,
}

/// What the node thinks of a gossip message (P13.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Forward it.
    Accept,
    /// Drop it and blame nobody.
    Ignore,
    /// Drop it and lower the score of everybody who sent it: only for what the
    /// forwarding peer could have known from the bytes and the topic.
    Reject,
}

/// What the service is asked to do. Nothing here fails at once: what comes of it is
/// an [`Event`].
#[derive(Debug)]
pub enum Command {
    /// Publish an own message. While nobody is subscribed to the topic the latest few
    /// are kept for two minutes and sent to the first who subscribes.
    Publish {
        /// Where.
        topic: Topic,
        /// The whole signed message.
        data: Vec<u8>,
    },
    /// Join a topic of the own network; beyond 64 topics it is refused and logged.
    Subscribe(Topic),
    /// Leave a topic.
    Unsubscribe(Topic),
    /// The verdict on a message, due within two seconds of its [`Event::Gossip`].
    Judge {
        /// Which.
        message: MessageToken,
        /// What it is.
        verdict: Verdict,
    },
    /// Ask one peer. Answered by one [`Event::Response`] or [`Event::SendFailed`]
    /// within the exchange timeout. A peer that is not connected is dialled.
    Send {
        /// The node's own name for this exchange, given back with the result.
        ask: u64,
        /// Whom.
        peer: PeerKey,
        /// Binary addresses where the peer may be, as offers carry them.
        addrs: Vec<Vec<u8>>,
        /// At most 8,188 bytes; padding is added here (P5.1).
        frame: Vec<u8>,
    },
    /// Answer an [`Event::Request`]. Too late or twice is ignored.
    Reply {
        /// The exchange as named by the request.
        exchange: u64,
        /// At most 8,188 bytes.
        frame: Vec<u8>,
    },
    /// Connect to an address, whoever is there unless it says so.
    Dial {
        /// Where.
        addr: Multiaddr,
    },
    /// Close all connections with a peer. It may come back.
    Disconnect {
        /// Whom.
        peer: PeerKey,
    },
    /// The application's part of a peer's gossip score (P13.11), replacing the last.
    SetScore {
        /// Whose.
        peer: PeerKey,
        /// Points; negative for abuse. Clamped to ±10,000; not-a-number is ignored.
        score: f64,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message to judge.
    Gossip {
        /// What to name it by in [`Command::Judge`].
        message: MessageToken,
        /// Where it was published.
        topic: Topic,
        /// The whole signed message, at most 4,096 bytes: larger ones are rejected here.
        data: Vec<u8>,
    },
    /// A peer asks; answer with [`Command::Reply`] within the exchange timeout.
    Request {
        /// Names the exchange in the reply.
        exchange: u64,
        /// Who asks, authenticated.
        peer: PeerKey,
        /// What, without padding.
        frame: Vec<u8>,
    },
    /// A peer answered.
    Response {
        /// The node's name for the exchange.
        ask: u64,
        /// Who answered, authenticated.
        peer: PeerKey,
        /// What, without padding.
        frame: Vec<u8>,
    },
    /// No answer will come. The peer may have processed the request all the same.
    SendFailed {
        /// The node's name for the exchange.
        ask: u64,
        /// Who was asked.
        peer: PeerKey,
        /// Why.
        reason: SendFailure,
    },
    /// The first connection with a peer.
    Connected {
        /// Who.
        peer: PeerKey,
        /// The remote end.
        addr: Multiaddr,
        /// Whether the peer dialled.
        inbound: bool,
    },
    /// The last connection with a peer has ended.
    Disconnected {
        /// Who.
        peer: PeerKey,
    },
    /// A new address on which this node listens.
    Listening {
        /// A concrete address: an unspecified one yields one for each interface.
        addr: Multiaddr,
    },
    /// A listener has stopped.
    ListenFailed {
        /// Its last address, if it had one.
        addr: Option<Multiaddr>,
        /// Why.
        reason: String,
    },
    /// A bootstrap address or one named by [`Command::Dial`] did not answer. Bootstrap
    /// addresses are tried again.
    DialFailed {
        /// Where.
        addr: Option<Multiaddr>,
        /// Who was expected there.
        peer: Option<PeerKey>,
        /// Why.
        reason: String,
    },
    /// A peer that speaks for another network, or for none; it is disconnected.
    WrongNetwork {
        /// Who.
        peer: PeerKey,
        /// What it says it speaks, at most 64 printable characters.
        theirs: String,
    },
    /// What became of an own message.
    Published {
        /// Where.
        topic: Topic,
        /// What.
        outcome: PublishOutcome,
    },
    /// A peer joined a topic of this network, whether this node has or not; once per
    /// peer and topic while it is connected, and at most 64 topics a peer. Gossip has no
    /// history: whoever wants to be seen by the newcomer publishes again.
    Subscribed {
        /// Who.
        peer: PeerKey,
        /// What.
        topic: Topic,
    },
    /// A peer takes messages more slowly than they come.
    SlowPeer {
        /// Who.
        peer: PeerKey,
        /// Messages that were dropped for it since the last report.
        dropped: usize,
    },
}

/// What became of an own message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishOutcome {
    /// It is on its way to at least one peer.
    Sent,
    /// Nobody is subscribed to the topic; it is kept for a while.
    Kept,
    /// The very same bytes were published before.
    Duplicate,
    /// The queues of all peers are full.
    Dropped,
    /// It is larger than 4,096 bytes or its topic is of another network.
    Refused,
}

impl PublishOutcome {
    /// One word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Kept => "kept",
            Self::Duplicate => "duplicate",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
        }
    }
}

/// Why an exchange has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendFailure {
    /// No address is known or none answered.
    Unreachable,
    /// No answer within the exchange timeout.
    Timeout,
    /// The connection ended first.
    Closed,
    /// The peer closed the stream without an answer.
    NoAnswer,
    /// The peer does not speak the protocol.
    Unsupported,
    /// The answer was no frame (P5.1).
    BadAnswer,
    /// Too many exchanges wait for this peer, or in all.
    Busy,
    /// The frame is larger than 8,188 bytes.
    TooLarge,
}

impl SendFailure {
    /// One word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NoAnswer => "no_answer",
            Self::Unsupported => "unsupported",
            Self::BadAnswer => "bad_answer",
            Self::Busy => "busy",
            Self::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for SendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the peer cannot be reached",
            Self::Timeout => "no answer in time",
            Self::Closed => "the connection ended before an answer came",
            Self::NoAnswer => "the peer closed the exchange without an answer",
            Self::Unsupported => "the peer does not speak the match protocol",
            Self::BadAnswer => "the answer was not a frame",
            Self::Busy => "too many exchanges at once",
            Self::TooLarge => "the frame is larger than 8,188 bytes",
        })
    }
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerInfo {
    /// Who.
    pub key: PeerKey,
    /// The remote ends of its connections.
    pub addrs: Vec<Multiaddr>,
    /// Milliseconds since the first of them was established.
    pub connected_ms: u64,
    /// Whether the peer dialled the first of them.
    pub inbound: bool,
    /// In how many topics messages are exchanged with it directly.
    pub mesh_topics: usize,
    /// Its gossip score (P13.11).
    pub score: f64,
    /// Its software, as it says, at most 64 printable characters.
    pub agent: Option<String>,
}
