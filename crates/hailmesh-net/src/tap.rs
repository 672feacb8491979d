//! A tap on the network of a node, for whoever runs it and wants to measure or to judge.

use std::fmt;
use std::sync::Arc;

use hailmesh_types::PeerKey;
use hailmesh_wire::Topic;
use tokio::time::Instant;

use crate::event::Verdict;

/// What a [`Tap`] is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tapped<'a> {
    /// An own message was given to the router, which sends it to at least one peer.
    Published {
        /// Where.
        topic: &'a Topic,
        /// The message id (P13.4).
        id: [u8; 16],
        /// Just before.
        at: Instant,
        /// Connected peers that are in the topic: to all of them it goes at once.
        peers: usize,
    },
    /// The first copy of a message of somebody else is about to be judged.
    Received {
        /// The message id (P13.4).
        id: [u8; 16],
        /// The whole signed message.
        data: &'a [u8],
    },
    /// The verdict on such a message.
    Judged {
        /// The message id (P13.4).
        id: [u8; 16],
        /// What becomes of it.
        verdict: Verdict,
    },
    /// A peer asks, and the node is about to read it.
    Asked {
        /// Who.
        peer: PeerKey,
        /// What, without padding.
        frame: &'a [u8],
    },
    /// The answer to an own exchange, which the node is about to read.
    Answered {
        /// Who answered.
        peer: PeerKey,
        /// What, without padding.
        frame: &'a [u8],
    },
    /// The node listens to a topic from now on.
    Joined(&'a Topic),
    /// It does not any more.
    Left(&'a Topic),
}

/// Sees what reaches a node, and its own gossip, pass: called at once, on the node's own
/// tasks, so that it has to be quick and must not block.
///
/// It stays in the process: frames hold what only the two parties may know. Without one
/// nothing is called and no id is reckoned.
#[derive(Clone)]
pub struct Tap(Arc<dyn Fn(Tapped<'_>) + Send + Sync>);

impl Tap {
    /// Calls `see` for whatever passes.
    #[must_use]
    pub fn new(see: impl Fn(Tapped<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(see))
    }

    /// Tells it.
    pub fn see(&self, tapped: Tapped<'_>) {
        (self.0)(tapped);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}
