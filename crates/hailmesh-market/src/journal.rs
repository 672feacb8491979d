//! What a node must remember, as records (P11).
//!
//! The marketplace emits records in [`Output::Persist`](crate::Output::Persist); a
//! store applies each batch in one transaction and gives back, after a restart, an
//! equivalent sequence of records from which
//! [`Marketplace::recover`](crate::Marketplace::recover) rebuilds the state. The
//! sequence a store gives back need not be the one it was given, but it must be in
//! the order described at [`Record`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use hailmesh_types::{AgreementId, Amount, Currency, PeerKey, Private, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{Kind, Outcome, RideState};
use ulid::Ulid;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Names a ride on this node only: a ULID, shown as 26 Crockford base-32 characters.
/// The two sides of a ride have different ones; what they share is the agreement id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RideId(Ulid);

/// Not the 26 characters of a ride id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ride id {0:?}: expected 26 characters as printed by `ride list`")]
pub struct RideIdError(String);

impl RideId {
    /// A ride id made at `now` with 10 random bytes.
    #[must_use]
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(Ulid::from_parts(now.as_millis(), random))
    }

    /// When the ride was begun, as its name says; nothing for a name that was not made by
    /// [`RideId::new`] at a time that can be.
    #[must_use]
    pub fn made(self) -> Option<Timestamp> {
        Timestamp::from_millis(self.0.timestamp_ms()).ok()
    }

    /// From the 16 bytes a store keeps.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Ulid::from_bytes(bytes))
    }

    /// The 16 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_bytes()
    }
}

impl fmt::Display for RideId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RideId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for RideId {
    type Err = RideIdError;

    fn from_str(text: &str) -> Result<Self, RideIdError> {
        Ulid::from_string(text).map(Self).map_err(|_| RideIdError(text.to_owned()))
    }
}

/// Which side of a ride a key stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Offers rides.
    Driver,
    /// Wants rides.
    Rider,
}

impl Role {
    /// `driver` or `rider`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Rider => "rider",
        }
    }
}

/// The seed of a signing key, wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SecretSeed(pub [u8; 32]);

impl fmt::Debug for SecretSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// One numbered slot of one key (P3.2). A slot is bound at most once, ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotRef {
    /// The signer whose slot it is.
    pub key: PublicKey,
    /// 0 in version 1.
    pub lane: u8,
    /// Counts from 0.
    pub slot: u64,
}

/// A shift key or ride key and what certifies it (W9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key.
    pub key: PublicKey,
    /// Whose statements it signs.
    pub role: Role,
    /// Its secret.
    pub secret: SecretSeed,
    /// SHIFT_CERT envelope, when there is one.
    pub cert: Option<Arc<[u8]>>,
    /// When it was made.
    pub created: Timestamp,
    /// When it must no longer sign anything new.
    pub until: Timestamp,
    /// Whether the key before it was lost rather than closed (P16.3): its slot 0
    /// starts with the outcome KEY_REPLACED.
    pub replaces_lost: bool,
}

/// A slot becomes bound: by an ACCEPT of ours (W1) or a CONFIRM of ours (W4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The slot used up.
    pub slot: SlotRef,
    /// Our side.
    pub role: Role,
    /// The local ride.
    pub ride: RideId,
    /// The other side's signing key.
    pub counterparty: PublicKey,
    /// The transport identity it was last reached at.
    pub peer: PeerKey,
    /// The REQUEST.
    pub request: StatementId,
    /// The ACCEPT.
    pub accept: StatementId,
    /// The agreement the two make (P2.6).
    pub agreement: AgreementId,
    /// Fare or cap of the ACCEPT, minor units.
    pub fare: Amount,
    /// Its currency.
    pub currency: Currency,
    /// When it was bound.
    pub at: Timestamp,
    /// Until when an unanswered binding is kept: hold (driver), doubt (rider).
    pub deadline: Timestamp,
}

/// What only the two parties of a ride may see, kept with its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SecretPurpose {
    /// `[salt 32 ‖ content]` of the pickup opening.
    Pickup = 1,
    /// The same of the drop opening.
    Drop = 2,
    /// The same of the vehicle opening.
    Vehicle = 3,
    /// The 16-byte boarding secret.
    Boarding = 4,
    /// The six digits that stand for it.
    Code = 5,
}

impl SecretPurpose {
    /// The purpose with this number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Pickup),
            2 => Some(Self::Drop),
            3 => Some(Self::Vehicle),
            4 => Some(Self::Boarding),
            5 => Some(Self::Code),
            _ => None,
        }
    }
}

/// Something to remember.
///
/// A store gives records back in this order: keys; sequence reservations; then per
/// slot, oldest first, its `Bound`, its statements in the order in which they were
/// recorded, its secrets, `Firm`, `Progress`, `Ended`; then the outbox, evidence and
/// bans. Of ended slots the newest [`ENDED_SLOTS_KEPT`] and the last of each key
/// suffice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// W9: a key, before its first use.
    Key(KeyRecord),
    /// A key that will sign nothing any more: its secret is wiped, the rest stays.
    KeyErased {
        /// The key.
        key: PublicKey,
    },
    /// W10: sequence numbers below this one are used up.
    SeqReserved {
        /// The author.
        key: PublicKey,
        /// First number that is still free.
        below: u64,
    },
    /// W1, W4.
    Bound(Bound),
    /// W2, W5: the slot is firm.
    Firm {
        /// Which slot.
        slot: SlotRef,
        /// When.
        at: Timestamp,
    },
    /// W7: the ride moved on, or a wrong boarding code was counted.
    Progress {
        /// Which slot.
        slot: SlotRef,
        /// `firm`, `en_route`, `arrived`, `in_progress`.
        phase: RideState,
        /// Wrong boarding codes so far (P8.6).
        wrong_codes: u8,
        /// When.
        at: Timestamp,
    },
    /// W12: the other side of the slot has spoken through another transport identity, and
    /// is reached there from now on. A store gives it back as the `peer` of [`Bound`].
    Peer {
        /// Which slot, ended or not.
        slot: SlotRef,
        /// The transport identity.
        peer: PeerKey,
    },
    /// W3, W6, W8: the slot has ended, and the next one of the chain is open.
    Ended {
        /// Which slot.
        slot: SlotRef,
        /// How.
        outcome: Outcome,
        /// The state the user is shown for it.
        shown: RideState,
        /// The statement of the other side that proves it, for the next `prev`.
        proof: Option<StatementId>,
        /// When.
        at: Timestamp,
    },
    /// A signed statement about a slot, ours or theirs, byte for byte.
    Statement {
        /// Which slot.
        slot: SlotRef,
        /// Its kind.
        kind: Kind,
        /// Its id.
        id: StatementId,
        /// Whether this node signed it.
        own: bool,
        /// The whole envelope.
        bytes: Arc<[u8]>,
    },
    /// A secret of a slot; a later one of the same purpose replaces it.
    Secret {
        /// Which slot.
        slot: SlotRef,
        /// What it is.
        purpose: SecretPurpose,
        /// The bytes.
        bytes: Private<Vec<u8>>,
    },
    /// A statement that is sent until its answer shows that it was heard (P5.5).
    OutboxPut {
        /// Which slot.
        slot: SlotRef,
        /// The statement; always recorded as an own `Statement` or inline here.
        statement: StatementId,
        /// Whom it is for.
        to: PublicKey,
        /// Where that is reached.
        peer: PeerKey,
        /// Its bytes, for statements that belong to no stored slot (RELEASE of an
        /// ACCEPT that was not chosen).
        bytes: Arc<[u8]>,
        /// When it was first due.
        at: Timestamp,
    },
    /// It was heard.
    OutboxDone {
        /// The statement.
        statement: StatementId,
    },
    /// W11: evidence this node found or was told.
    Evidence {
        /// Whose fault it shows.
        accused: PublicKey,
        /// P18 code.
        kind: u8,
        /// The EVIDENCE envelope.
        bytes: Arc<[u8]>,
        /// When.
        at: Timestamp,
    },
    /// W11: nothing of this key is taken any more.
    Ban {
        /// The key: identity or signing key.
        key: PublicKey,
        /// Until when; for ever when absent.
        until: Option<Timestamp>,
    },
}

/// How many ended slots a store gives back at the most; older ones stay in the store
/// and can be listed from there.
pub const ENDED_SLOTS_KEPT: usize = 256;
