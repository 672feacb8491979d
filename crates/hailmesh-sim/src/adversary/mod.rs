//! Attackers: small programs that speak the wire format and mean no good.
//!
//! A program knows nothing but the public API of [`hailmesh_wire`] and keys of its own. It
//! is told what reaches it (gossip, requests, answers, the time) and says what to do about
//! it ([`Action`]); a [`Player`] is one attacking node with its program. Nothing here knows
//! of a simulator, so that the same programs attack the cities of this crate
//! ([`crate::city::City::adversary`]) and real nodes over real connections.
//!
//! Each [`Behaviour`] says what stops it and whether it can be exposed. Attackers own up:
//! [`Action::Contradiction`] names the statements that contradict each other, and
//! [`Action::Key`] the keys that may be accused, so that whoever judges a run knows what
//! honest nodes must find out, and whom they must never accuse.

mod behaviour;
mod bytes;
mod chains;
mod driving;
mod evidence;
mod gossip;
mod player;
mod riding;
mod stage;
mod words;

use hailmesh_types::{Duration, PeerKey};
use hailmesh_wire::{Frame, Heard, Topic};

pub use behaviour::{Behaviour, Exposure, UnknownBehaviour};
pub use player::Player;
pub use stage::{Action, Reply, Setup, Stage};

/// A program. Whatever it does not care about it leaves as it is.
pub trait Adversary: Send {
    /// How often it acts by itself.
    fn pace(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Whether it passes the gossip of others on.
    fn forwards(&self) -> bool {
        true
    }

    /// It is time.
    fn on_timer(&mut self, _stage: &mut Stage) {}

    /// Gossip of somebody.
    fn on_gossip(&mut self, _stage: &mut Stage, _topic: &Topic, _heard: &Heard) {}

    /// Somebody asks; without an answer it waits in vain.
    fn on_request(&mut self, _stage: &mut Stage, _from: PeerKey, _frame: &Frame) -> Option<Reply> {
        None
    }

    /// The answer to [`Stage::send`] with this number.
    fn on_response(&mut self, _stage: &mut Stage, _ask: u64, _frame: &Frame) {}
}
