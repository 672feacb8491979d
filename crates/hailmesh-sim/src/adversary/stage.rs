//! What a program has at hand: its keys, what it has heard, and a way to act.

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hailmesh_types::{
    Cell, Duration, GeoPoint, NetworkName, PeerKey, PublicKey, Resolution, StatementId, Timestamp,
};
use hailmesh_wire::{
    AnyStatement, Body, DriverOffer, EvidenceKind, Frame, Header, Heard, Kind, NetworkId, RiderOffer,
    Signatures, Signed, Topic, Verified,
};

/// Offers of others that are remembered, of each side.
const KNOWN_MAX: usize = 64;
/// Messages of others that are kept to be said again.
const KEPT_MAX: usize = 256;

/// Where and as whom an attacker plays.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The network under attack.
    pub network: NetworkName,
    /// How statements are signed there.
    pub signatures: Arc<dyn Signatures>,
    /// All keys and draws follow from it.
    pub seed: [u8; 32],
    /// Where it pretends to be.
    pub place: GeoPoint,
}

/// What a program does, for its host to carry out.
#[derive(Debug, Clone)]
pub enum Action {
    /// Gossip these bytes, whatever they are.
    Publish {
        /// Where.
        topic: Topic,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// Begin an exchange.
    Send {
        /// Comes back with the response.
        ask: u64,
        /// Whom.
        to: PeerKey,
        /// The frame without length and filler, whatever it is.
        frame: Vec<u8>,
    },
    /// Not for the network, but for whoever judges the run: this key belongs to the
    /// attacker, so that it may be accused.
    Key(PublicKey),
    /// The same: these statements of this key contradict each other, so that a node that
    /// has read all of them has to expose it.
    Contradiction {
        /// The key.
        accused: PublicKey,
        /// By which rule, in the first place.
        kind: EvidenceKind,
        /// The statements.
        statements: Vec<StatementId>,
    },
}

/// The answer to a frame of somebody.
#[derive(Debug, Clone)]
pub struct Reply {
    /// How long it is kept waiting.
    pub after: Duration,
    /// The frame without length and filler.
    pub frame: Vec<u8>,
}

impl Reply {
    /// At once.
    #[must_use]
    pub fn now(frame: &Frame) -> Option<Self> {
        Some(Self { after: Duration::ZERO, frame: frame.encode() })
    }

    /// A statement, at once.
    #[must_use]
    pub fn say<T: Body>(statement: &Verified<T>) -> Option<Self> {
        Self::now(&Frame::statement(statement.bytes()))
    }
}

/// Everything that a program knows and can do.
#[derive(Debug)]
pub struct Stage {
    setup: Setup,
    network: NetworkId,
    now: Timestamp,
    keys: BTreeMap<u32, SigningKey>,
    drawn: u64,
    asks: u64,
    attempts: u64,
    actions: Vec<Action>,
    drivers: BTreeMap<PublicKey, Signed<DriverOffer>>,
    riders: BTreeMap<PublicKey, Signed<RiderOffer>>,
    kept: Vec<(Topic, Heard)>,
}

impl Stage {
    pub(super) fn new(setup: Setup, now: Timestamp) -> Self {
        let network = NetworkId::of(&setup.network);
        let mut stage = Self {
            setup,
            network,
            now,
            keys: BTreeMap::new(),
            drawn: 0,
            asks: 0,
            attempts: 0,
            actions: Vec::new(),
            drivers: BTreeMap::new(),
            riders: BTreeMap::new(),
            kept: Vec::new(),
        };
        stage.key(0);
        stage
    }

    pub(super) fn turn(&mut self, now: Timestamp) {
        self.now = now;
    }

    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Where it pretends to be.
    #[must_use]
    pub const fn place(&self) -> GeoPoint {
        self.setup.place
    }

    /// A place some streets away.
    pub fn near(&mut self) -> GeoPoint {
        // About 1.5 km each way.
        let mut swing = || i32::try_from(self.draw(30_000)).unwrap_or(0) * 10 - 150_000;
        let (north, east) = (swing(), swing());
        let here = self.setup.place;
        GeoPoint::from_e7(here.lat_e7() + north, here.lon_e7() + east).unwrap_or(here)
    }

    /// The cell that it shows.
    #[must_use]
    pub fn cell(&self) -> Cell {
        Cell::at(self.setup.place, Resolution::PICKUP)
    }

    /// The name of the network.
    #[must_use]
    pub const fn network_name(&self) -> &NetworkName {
        &self.setup.network
    }

    /// The id of the network.
    #[must_use]
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// How statements are signed here.
    #[must_use]
    pub fn signatures(&self) -> &dyn Signatures {
        &*self.setup.signatures
    }

    /// One of its keys; the first, 0, is also its transport identity.
    pub fn key(&mut self, number: u32) -> SigningKey {
        if let Some(key) = self.keys.get(&number) {
            return key.clone();
        }
        let key = SigningKey::from_bytes(&self.hash(b"key", u64::from(number)));
        self.actions.push(Action::Key(PublicKey::from(key.verifying_key())));
        self.keys.insert(number, key.clone());
        key
    }

    /// The public half of [`Stage::key`].
    pub fn public(&mut self, number: u32) -> PublicKey {
        PublicKey::from(self.key(number).verifying_key())
    }

    /// Whether a key is one of its own.
    #[must_use]
    pub fn is_own(&self, key: &PublicKey) -> bool {
        self.keys.values().any(|own| own.verifying_key().as_bytes() == key.as_bytes())
    }

    /// Signs with one of its keys.
    pub fn sign<T: Body>(&mut self, key: u32, body: T) -> Verified<T> {
        let key = self.key(key);
        Verified::sign_with(&*self.setup.signatures, &key, self.network, body)
    }

    fn hash(&self, what: &[u8], number: u64) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.setup.seed).update(what).update(&number.to_le_bytes());
        *hasher.finalize().as_bytes()
    }

    /// Bytes that nobody can foretell without the seed.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        self.drawn += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.setup.seed).update(b"draw").update(&self.drawn.to_le_bytes());
        let mut bytes = [0; N];
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn draw(&mut self, bound: u64) -> u64 {
        u64::from_le_bytes(self.bytes()).checked_rem(bound).unwrap_or(0)
    }

    /// A statement id of nothing.
    pub fn no_id(&mut self) -> StatementId {
        StatementId::from_bytes(self.bytes())
    }

    // ---- acting ----

    /// Counts one attack.
    pub const fn attempt(&mut self) {
        self.attempts += 1;
    }

    /// Attacks so far.
    #[must_use]
    pub const fn attempts(&self) -> u64 {
        self.attempts
    }

    /// The topic on which drivers' offers of this cell are heard.
    #[must_use]
    pub fn drivers_topic(&self, cell: Cell) -> Topic {
        Topic::drivers(&self.setup.network, cell)
    }

    /// The topic on which riders' offers of this cell are heard.
    #[must_use]
    pub fn riders_topic(&self, cell: Cell) -> Topic {
        Topic::riders(&self.setup.network, cell)
    }

    /// Gossips.
    pub fn publish(&mut self, topic: Topic, bytes: impl Into<Arc<[u8]>>) {
        self.actions.push(Action::Publish { topic, bytes: bytes.into() });
    }

    /// Gossips around it: riders' offers on the topic of riders, everything else on that of
    /// drivers.
    pub fn publish_here(&mut self, bytes: impl Into<Arc<[u8]>>) {
        let bytes = bytes.into();
        let kind = Header::peek(&bytes).ok().and_then(|header| header.kind().ok());
        let topic = if kind == Some(Kind::RiderOffer) {
            self.riders_topic(self.cell())
        } else {
            self.drivers_topic(self.cell())
        };
        self.publish(topic, bytes);
    }

    /// Gossips on the evidence topic.
    pub fn publish_evidence(&mut self, bytes: impl Into<Arc<[u8]>>) {
        let topic = Topic::evidence(&self.setup.network);
        self.publish(topic, bytes);
    }

    /// Sends a frame; the number comes back with the response.
    pub fn send(&mut self, to: PeerKey, frame: Vec<u8>) -> u64 {
        self.asks += 1;
        self.actions.push(Action::Send { ask: self.asks, to, frame });
        self.asks
    }

    /// Sends a statement.
    pub fn tell<T: Body>(&mut self, to: PeerKey, statement: &Verified<T>) -> u64 {
        self.send(to, Frame::statement(statement.bytes()).encode())
    }

    /// Owns up, to whoever judges the run: these statements contradict each other.
    pub fn contradict(&mut self, key: u32, kind: EvidenceKind, statements: &[StatementId]) {
        let accused = self.public(key);
        self.actions.push(Action::Contradiction { accused, kind, statements: statements.to_vec() });
    }

    // ---- what it has heard ----

    pub(super) fn note(&mut self, topic: &Topic, heard: &Heard) {
        let Ok(statement) = heard.statement() else { return };
        if self.is_own(statement.signer()) {
            return;
        }
        match statement {
            AnyStatement::DriverOffer(offer) => remember(&mut self.drivers, offer, offer.body().is_live()),
            AnyStatement::RiderOffer(offer) => remember(&mut self.riders, offer, offer.body().is_live()),
            _ => return,
        }
        if self.kept.len() >= KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push((topic.clone(), heard.clone()));
    }

    /// A driver that is on offer, any; never the same twice in a row if there are others.
    pub fn some_driver(&mut self) -> Option<Signed<DriverOffer>> {
        let place = self.draw(self.drivers.len() as u64);
        self.drivers.values().nth(usize::try_from(place).ok()?).cloned()
    }

    /// Drivers that are on offer.
    #[must_use]
    pub fn drivers(&self) -> Vec<Signed<DriverOffer>> {
        self.drivers.values().cloned().collect()
    }

    /// Riders who wait.
    #[must_use]
    pub fn riders(&self) -> Vec<Signed<RiderOffer>> {
        self.riders.values().cloned().collect()
    }

    /// What others have said, the oldest first, with where that was.
    #[must_use]
    pub fn kept(&self) -> &[(Topic, Heard)] {
        &self.kept
    }

    /// Something that others have said.
    pub fn some_message(&mut self) -> Option<(Topic, Heard)> {
        let place = self.draw(self.kept.len() as u64);
        self.kept.get(usize::try_from(place).ok()?).cloned()
    }
}

fn remember<T: Body>(known: &mut BTreeMap<PublicKey, Signed<T>>, offer: &Signed<T>, is_live: bool) {
    if !is_live {
        known.remove(offer.signer());
    } else if known.len() < KNOWN_MAX || known.contains_key(offer.signer()) {
        known.insert(*offer.signer(), offer.clone());
    } else if known.len() >= KNOWN_MAX {
        known.pop_first();
        known.insert(*offer.signer(), offer.clone());
    }
}
