//! What a marketplace asks of whoever drives it.

use std::sync::Arc;

use hailmesh_types::{Amount, Currency, PeerKey, PublicKey, Timestamp};
use hailmesh_wire::{Address, NetworkId, RideState, Topic};

use crate::input::{AskId, ExchangeId, MessageRef};
use crate::journal::{Record, RideId, Role};

/// What becomes of a gossip message (P13.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Take it and pass it on.
    Accept,
    /// Neither pass it on nor blame anybody.
    Ignore,
    /// The peer that forwarded it could have known better.
    Reject,
}

/// Something to be done. Outputs are carried out in order, and everything after a
/// [`Output::Persist`] waits until that batch is durable; only [`Output::Judge`] may
/// overtake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Make these records durable, all or none.
    Persist(Vec<Record>),
    /// Gossip a message of our own.
    Publish {
        /// Where.
        topic: Topic,
        /// The envelope.
        bytes: Arc<[u8]>,
    },
    /// Begin an exchange; a response or a failure comes back as an input.
    Send {
        /// To be named in the response.
        ask: AskId,
        /// Whom.
        peer: PeerKey,
        /// Where it may be reached, hints only.
        addrs: Vec<Address>,
        /// The frame without length and filler.
        frame: Vec<u8>,
    },
    /// Answer an exchange of a peer.
    Reply {
        /// Which.
        exchange: ExchangeId,
        /// The frame without length and filler.
        frame: Vec<u8>,
    },
    /// The verdict on a gossip message.
    Judge {
        /// Which.
        message: MessageRef,
        /// What.
        verdict: Verdict,
    },
    /// Join a topic.
    Subscribe(Topic),
    /// Leave a topic.
    Unsubscribe(Topic),
    /// Dial a peer that something is owed to.
    Dial {
        /// Whom.
        peer: PeerKey,
        /// Where, hints only.
        addrs: Vec<Address>,
    },
    /// How the market thinks of a peer, for gossip scoring (P13.11).
    Score {
        /// Who.
        peer: PeerKey,
        /// The application score.
        score: i32,
    },
    /// Look for a proof of work, away from the event loop; it comes back as an input.
    Work(WorkOrder),
    /// Tell the user.
    Notify(Event),
}

/// A proof of work to be found (P16.6): try candidates from `first` on with
/// [`hailmesh_wire::pow_search`]; 2^`bits` of them are expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkOrder {
    /// The network.
    pub network: NetworkId,
    /// The key that owes the work.
    pub signer: PublicKey,
    /// Resolution-7 cell index of an offer, 0 for REQUESTs.
    pub cell: u64,
    /// When it will be used, to the hour.
    pub issued: Timestamp,
    /// Leading zero bits, 1 to 32.
    pub bits: u8,
    /// First candidate.
    pub first: u64,
}

/// What the user is told as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A ride is in another state.
    Ride {
        /// Which.
        ride: RideId,
        /// Our side.
        role: Role,
        /// The new state.
        state: RideState,
        /// Why, in a few words, when it is not obvious.
        reason: Option<String>,
    },
    /// Mode `ask`: somebody wants this ride; accept or decline.
    Asked {
        /// Which.
        ride: RideId,
        /// What it would pay, minor units.
        fare: Amount,
        /// In which currency.
        currency: Currency,
        /// For how many milliseconds the rider waits.
        valid_ms: u32,
    },
    /// The final fare needs the user's consent (P9.4).
    FareDisputed {
        /// Which ride.
        ride: RideId,
        /// What the driver asks, minor units.
        total: Amount,
    },
    /// The other side of a firm ride has told where it is (P8.10); the ride shows the
    /// place, an event does not.
    Seen {
        /// Which ride.
        ride: RideId,
    },
    /// The rider's node did not take the boarding code (P8.6).
    BoardingRefused {
        /// Which ride.
        ride: RideId,
        /// Why.
        reason: &'static str,
    },
    /// Our offer is out, or has changed.
    OfferPublished {
        /// Driver or rider offer.
        role: Role,
        /// Its sequence number.
        seq: u64,
    },
    /// Our offer was withdrawn.
    OfferWithdrawn {
        /// Driver or rider offer.
        role: Role,
    },
    /// Somebody signed two statements that contradict each other (P18).
    Evidence {
        /// Who.
        accused: PublicKey,
        /// P18 code.
        kind: u8,
    },
    /// A statement of one of our keys appeared that this journal does not hold: the
    /// home was rolled back or copied (P11.9). The key signs nothing any more.
    Cloned {
        /// The key.
        key: PublicKey,
    },
    /// A shift key was replaced; the transport identity must follow.
    KeyReplaced {
        /// The new key.
        key: PublicKey,
    },
    /// Something the user should know, in words.
    Notice(String),
}
