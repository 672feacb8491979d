//! Statements as the model sees them, and the book that numbers them.
//!
//! A statement is what its fields mean, without amounts, places, times and signatures:
//! those are judged before the tables of P6 and P7 are asked, and come into them as
//! flags. What is left is who says what about which slot and which other statement, with
//! the whole of `prev` (P3.5), because chains and evidence rest on it. A statement has
//! one number wherever it appears, as it has one id on the wire (P2.6).

use std::collections::HashMap;
use std::sync::{OnceLock, RwLock};

use ed25519_dalek::SigningKey;
use hailmesh_types::{PublicKey, StatementId};
use hailmesh_wire::Outcome;

/// Number of a statement in its [`Book`]; 0 is none, or one that nobody has.
pub type Id = u32;

/// A signing key: riders from 0, then two for each driver, the second of which replaces
/// the first.
pub type Key = u8;

/// Most riders of one configuration.
pub const RIDERS_MAX: u8 = 4;
/// Most keys of one configuration.
const KEYS_MAX: u8 = 8;

/// The key of a driver, by how often its key was replaced.
#[must_use]
pub const fn driver_key(driver: u8, generation: u8) -> Key {
    RIDERS_MAX + 2 * driver + generation
}

/// Which driver a key belongs to, and how often it had been replaced.
#[must_use]
pub const fn driver_of(key: Key) -> (u8, u8) {
    ((key - RIDERS_MAX) / 2, (key - RIDERS_MAX) % 2)
}

fn keys() -> &'static [PublicKey] {
    static KEYS: OnceLock<Vec<PublicKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let public = |n: u8| SigningKey::from_bytes(&[n + 1; 32]).verifying_key().into();
        (0..KEYS_MAX).map(public).collect()
    })
}

/// The public key that the tables know a key by.
#[must_use]
pub fn public(key: Key) -> PublicKey {
    keys()[usize::from(key)]
}

/// The key with these bytes.
///
/// # Panics
/// For a key that is none of the model's.
#[must_use]
pub fn key_of(public: &PublicKey) -> Key {
    let found = keys().iter().position(|key| key == public).expect("a key of the model");
    u8::try_from(found).expect("there are few keys")
}

/// The id that the tables know a statement by.
#[must_use]
pub fn wire_id(id: Id) -> StatementId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&id.to_le_bytes());
    StatementId::from_bytes(bytes)
}

/// The number behind such an id.
#[must_use]
pub fn number(id: &StatementId) -> Id {
    let [a, b, c, d, ..] = *id.as_bytes();
    Id::from_le_bytes([a, b, c, d])
}

/// Why a REQUEST was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// The rider chose the driver.
    Choice,
    /// It answers an INVITE (P5.11).
    Invite,
    /// It answers a COUNTER (P5.10).
    Counter,
}

/// What a driver shows for the end of the slot before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proof {
    /// Nothing.
    None,
    /// A RELEASE or COSIGN, embedded.
    Statement(Id),
    /// Sixteen bytes, which are the boarding secret or are not.
    Secret {
        /// Whether they are.
        right: bool,
    },
}

/// `prev` (P3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prev {
    /// How the slot before ended.
    pub outcome: Outcome,
    /// The ACCEPT that had bound it.
    pub accept: Id,
    /// What shows that.
    pub proof: Proof,
}

impl Prev {
    /// That of slot 0.
    pub const FIRST: Self = Self { outcome: Outcome::None, accept: 0, proof: Proof::None };
}

/// One signed statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are those of P4.5 to P4.8 under their names")]
pub enum Statement {
    /// Binds nobody. `attempt` stands for the nonce: every search has new REQUESTs.
    Request { rider: Key, driver: Key, slot: u8, attempt: u8, via: Via },
    /// Another fare.
    Counter { driver: Key, rider: Key, request: Id },
    /// A driver asks to be asked.
    Invite { driver: Key, rider: Key, slot: u8 },
    /// Binds a driver's slot. `nth` tells signatures over the same content apart, as
    /// `issued` does on the wire.
    Accept { driver: Key, rider: Key, slot: u8, request: Id, prev: Prev, nth: u8 },
    /// Binds a rider's slot.
    Confirm { rider: Key, driver: Key, slot: u8, accept: Id, prev: Prev, nth: u8 },
    /// Says: firm.
    Ack { driver: Key, rider: Key, slot: u8, confirm: Id },
    /// Ends a driver's slot.
    Void { driver: Key, rider: Key, slot: u8, accept: Id, outcome: Outcome },
    /// Ends a rider's slot, or lets an ACCEPT go that was not taken.
    Release { rider: Key, driver: Key, accept: Id, slot: Option<u8>, outcome: Outcome },
    /// Shows the boarding secret.
    Boarded { driver: Key, rider: Key, confirm: Id },
    /// Proposes the final fare, for the `nth` time.
    Complete { driver: Key, rider: Key, confirm: Id, nth: u8 },
    /// Ends both slots.
    Cosign { rider: Key, driver: Key, slot: u8, accept: Id, complete: Id },
}

impl Statement {
    /// Who signed it.
    #[must_use]
    pub const fn signer(&self) -> Key {
        match *self {
            Self::Request { rider, .. }
            | Self::Confirm { rider, .. }
            | Self::Release { rider, .. }
            | Self::Cosign { rider, .. } => rider,
            Self::Counter { driver, .. }
            | Self::Invite { driver, .. }
            | Self::Accept { driver, .. }
            | Self::Ack { driver, .. }
            | Self::Void { driver, .. }
            | Self::Boarded { driver, .. }
            | Self::Complete { driver, .. } => driver,
        }
    }

    /// Whom it is for.
    #[must_use]
    pub const fn to(&self) -> Key {
        match *self {
            Self::Request { driver, .. }
            | Self::Confirm { driver, .. }
            | Self::Release { driver, .. }
            | Self::Cosign { driver, .. } => driver,
            Self::Counter { rider, .. }
            | Self::Invite { rider, .. }
            | Self::Accept { rider, .. }
            | Self::Ack { rider, .. }
            | Self::Void { rider, .. }
            | Self::Boarded { rider, .. }
            | Self::Complete { rider, .. } => rider,
        }
    }
}

/// Every statement of one run, numbered in the order in which they were first signed.
#[derive(Debug, Default)]
pub struct Book(RwLock<Pages>);

#[derive(Debug, Default)]
struct Pages {
    numbers: HashMap<Statement, Id>,
    statements: Vec<Statement>,
}

impl Book {
    /// The number of a statement.
    ///
    /// # Panics
    /// When there are more statements than three bytes can number.
    pub fn number(&self, statement: Statement) -> Id {
        if let Some(id) = self.read().numbers.get(&statement) {
            return *id;
        }
        let mut pages = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(id) = pages.numbers.get(&statement) {
            return *id;
        }
        pages.statements.push(statement);
        let id = Id::try_from(pages.statements.len()).expect("there are few statements");
        assert!(id < 1 << 24, "more statements than three bytes can number");
        pages.numbers.insert(statement, id);
        id
    }

    /// The statement with this number.
    ///
    /// # Panics
    /// For 0, and for a number that was not given out.
    #[must_use]
    pub fn get(&self, id: Id) -> Statement {
        self.read().statements[id as usize - 1]
    }

    /// Several at once.
    #[must_use]
    pub fn all(&self, ids: &[Id]) -> Vec<(Id, Statement)> {
        let pages = self.read();
        ids.iter().map(|id| (*id, pages.statements[*id as usize - 1])).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().statements.len()
    }

    /// Whether nothing was signed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Pages> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
