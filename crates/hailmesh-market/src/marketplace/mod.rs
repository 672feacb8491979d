//! The marketplace: owns book, admission, handshakes, outbox and timers.
//!
//! The contract is in the crate's first paragraph: drain
//! [`Marketplace::poll_output`] after every input, in order, and make what is to be
//! persisted durable before what follows it.

mod deal;
mod driver;
mod driver_asks;
mod driver_choice;
mod driver_firm;
mod driver_offer;
mod ending;
mod exchange;
mod gossip;
mod history;
mod keys;
mod last_words;
mod listening;
mod outbox;
mod own_offers;
mod queries;
mod recover;
mod ride;
mod rider;
mod rider_choice;
mod rider_compare;
mod rider_offer;
mod rider_search;
mod sharing;
mod status;
mod timers;

use std::collections::VecDeque;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hailmesh_types::{AgreementId, Duration, PeerKey, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{Address, Body, Ed25519, Kind, NetworkId, RideState, Signatures, Verified};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::admission::{Admission, News};
use crate::book::OfferBook;
use crate::budget::Buckets;
use crate::command::{Answer, Command, CommandError};
use crate::config::{Config, ConfigError};
use crate::input::{AskId, Input, Origin};
use crate::journal::{Record, RideId, Role, SecretSeed, SlotRef};
use crate::matching::{StraightLine, TravelTime};
use crate::output::{Event, Output};
use crate::position::TopicRing;
use crate::sorted::SortedMap;
use crate::table::HashKey;
use crate::view::{Choice, NoMatch, Step};
use crate::witness::Witness;

use deal::Deal;
use driver::DriverSide;
use exchange::{Ask, Sticky};
use keys::Work;
use outbox::Outbox;
use rider::RiderSide;
use sharing::Seen;
use timers::Timers;

/// Topics of the own side that a node follows, at the most: two rings.
const OWN_TOPICS_MAX: usize = 19;

pub use history::StoredRide;
pub use recover::RecoverError;
pub use timers::Timer;

/// Who this node is.
pub struct Keys {
    /// Which side it stands on; neither for a relay, which only passes gossip on.
    pub role: Option<Role>,
    /// The person's key: certifies shift and ride keys (P3).
    pub identity: SigningKey,
    /// The transport identity of riders and relays for this run. A driver's is its
    /// shift key (P3.1), and this is ignored.
    pub transport: Option<PeerKey>,
    /// Whether the store was restored or copied: every shift and ride key is then
    /// replaced before anything is signed (P11.8).
    pub lost: bool,
    /// Whether this host has never run with these keys before: the node then listens for
    /// two refresh periods before it offers anything, so that a copy of it that runs
    /// elsewhere is heard first (P11.9).
    pub new_host: bool,
}

/// The marketplace of one node. See the crate's documentation for its contract.
pub struct Marketplace {
    config: Arc<Config>,
    signatures: Arc<dyn Signatures>,
    network: NetworkId,
    role: Option<Role>,
    identity: SigningKey,
    transport: PeerKey,
    rng: ChaCha8Rng,
    hash_key: HashKey,
    travel: Arc<dyn TravelTime>,
    outputs: VecDeque<Output>,
    /// Kept for its room: every message brings at most a few.
    news: Vec<News>,
    timers: Timers,
    peers: SortedMap<PeerKey, Peer>,
    addresses: Vec<Address>,
    book: OfferBook,
    admission: Admission,
    witness: Witness,
    /// Topics of the other side, and of the own one.
    ring: TopicRing,
    own_ring: TopicRing,
    /// Offers known when the ring was last looked at.
    ring_known: usize,
    followed: SortedMap<hailmesh_wire::Topic, ()>,
    driver: Option<Box<DriverSide>>,
    /// From when to when shift keys of this journal were certified.
    shifts: Vec<(Timestamp, Timestamp)>,
    /// Until when certificates may last of which this journal does not know.
    lost_until: Timestamp,
    rider: Option<Box<RiderSide>>,
    /// Where this node is, as its user last said.
    here: Option<Seen>,
    deals: SortedMap<SlotRef, Deal>,
    rides: SortedMap<RideId, Ride>,
    outbox: Outbox,
    asks: SortedMap<AskId, Ask>,
    next_ask: u64,
    exchanges: Buckets<PeerKey>,
    sticky: Sticky,
    statuses: Buckets<PublicKey>,
    /// How often a counterparty is followed to another transport identity: each time is a commit.
    moves: Buckets<PublicKey>,
    evidence: Vec<PendingEvidence>,
    work: Vec<Work>,
    evidence_count: usize,
    halted: Option<Halt>,
    /// Nothing is offered before this (P11.9).
    quiet_until: Timestamp,
    /// When tables of admission were last freed of what is over.
    tidied: Timestamp,
    started: Timestamp,
}

/// Why nothing is signed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Halt {
    Cloned,
    Shutdown,
}

/// A connected peer.
struct Peer {
    origin: Origin,
    /// Frames that could only be meant badly.
    abuse: i32,
}

/// Evidence that waits to be gossiped.
struct PendingEvidence {
    at: Timestamp,
    bytes: Arc<[u8]>,
}

/// A ride as its user follows it, over all slots that it took.
#[derive(Debug, Clone)]
struct Ride {
    role: Role,
    state: RideState,
    history: Vec<Step>,
    created: Timestamp,
    /// The slot that counts now, or the last one.
    slot: Option<SlotRef>,
    asked: u32,
    settle_ms: Option<u64>,
    no_match: Option<NoMatch>,
    choice: Option<Choice>,
}

/// What one abuse of an exchange costs a peer (P13.11), and how many are counted.
const ABUSE_SCORE: i32 = -20;
const ABUSE_MAX: i32 = 100;
/// How often tables of admission are freed of what is over, milliseconds.
const TIDY_EVERY_MS: u64 = 60_000;
/// Rides remembered in memory; the oldest that are over go first.
const RIDES_MAX: usize = 1_024;
/// Outputs for which there is room without being asked: those of a message.
const OUTPUTS_KEPT: usize = 4;
/// Ended deals remembered in memory, for late statements and receipts.
const DEALS_MAX: usize = 512;

impl Marketplace {
    /// A marketplace with nothing to remember.
    ///
    /// `seed` is the only source of randomness: nonces, keys, delays.
    ///
    /// # Errors
    /// The first configuration value outside its bounds.
    pub fn new(
        config: impl Into<Arc<Config>>,
        keys: Keys,
        seed: [u8; 32],
        now: Timestamp,
    ) -> Result<Self, ConfigError> {
        Self::new_with(config, keys, seed, now, Arc::new(Ed25519))
    }

    /// As [`Marketplace::new`] with these signatures: for simulations, whose hosts all
    /// have the same. A node on a network never calls this.
    ///
    /// # Errors
    /// As [`Marketplace::new`].
    pub fn new_with(
        config: impl Into<Arc<Config>>,
        keys: Keys,
        seed: [u8; 32],
        now: Timestamp,
        signatures: Arc<dyn Signatures>,
    ) -> Result<Self, ConfigError> {
        let mut market = Self::empty(config.into(), &keys, seed, now, signatures)?;
        market.start(&keys, now);
        Ok(market)
    }

    fn empty(
        config: Arc<Config>,
        keys: &Keys,
        seed: [u8; 32],
        now: Timestamp,
        signatures: Arc<dyn Signatures>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let network = NetworkId::of(&config.network);
        let limits = &config.limits;
        let identity_key = PublicKey::from(keys.identity.verifying_key());
        // Another stream than that of nonces, keys and delays.
        let mut secrets = ChaCha8Rng::from_seed(seed);
        secrets.set_stream(1);
        let hash_key = HashKey::new([secrets.next_u64(), secrets.next_u64()]);
        Ok(Self {
            network,
            role: keys.role,
            identity: keys.identity.clone(),
            transport: keys.transport.unwrap_or_else(|| identity_key.to_peer_key()),
            rng: ChaCha8Rng::from_seed(seed),
            hash_key,
            travel: Arc::new(StraightLine { speed_kmh: config.speed_kmh }),
            outputs: VecDeque::new(),
            news: Vec::new(),
            timers: Timers::default(),
            peers: SortedMap::new(),
            addresses: Vec::new(),
            book: OfferBook::with_hash_key(limits, hash_key),
            admission: Admission::of(Arc::clone(&config), hash_key).with_signatures(Arc::clone(&signatures)),
            witness: Witness::new(limits.witnessed_accepts, limits.witness_span)
                .with_signatures(Arc::clone(&signatures))
                .with_hash_key(hash_key),
            ring: TopicRing::new(limits.topics.saturating_sub(OWN_TOPICS_MAX)),
            own_ring: TopicRing::new(OWN_TOPICS_MAX),
            ring_known: 0,
            followed: SortedMap::new(),
            driver: None,
            shifts: Vec::new(),
            lost_until: Timestamp::MIN,
            rider: None,
            here: None,
            deals: SortedMap::new(),
            rides: SortedMap::new(),
            outbox: Outbox::default(),
            asks: SortedMap::new(),
            next_ask: 0,
            exchanges: Buckets::new(limits.exchanges, limits.peer_buckets, hash_key),
            sticky: Sticky::default(),
            statuses: Buckets::new(limits.status, limits.peer_buckets, hash_key),
            moves: Buckets::new(limits.status, limits.peer_buckets, hash_key),
            evidence: Vec::new(),
            work: Vec::new(),
            evidence_count: 0,
            halted: None,
            quiet_until: now,
            tidied: now,
            started: now,
            config,
            signatures,
        })
    }

    /// Takes driving times from here instead of straight lines: a map of roads is public
    /// knowledge. To be set before the first input.
    #[must_use]
    pub fn with_travel_time(mut self, travel: Arc<dyn TravelTime>) -> Self {
        self.travel = travel;
        self
    }

    /// Takes note of something that happened. Never fails: bad bytes of a stranger
    /// become a verdict and a count.
    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Gossip { message, topic, heard } => self.on_gossip(now, message, &topic, &heard),
            Input::Request { exchange, peer, frame } => self.on_request(now, exchange, peer, &frame),
            Input::Response { ask, peer, frame } => self.on_response(now, ask, peer, &frame),
            Input::SendFailed { ask, .. } => self.on_send_failed(now, ask),
            Input::PeerConnected { peer, origin } => self.on_peer_connected(now, peer, origin),
            Input::PeerGone { peer } => {
                self.peers.remove(&peer);
                self.admission.forget_peer(&peer);
            }
            Input::PeerSubscribed { topic, .. } => self.on_peer_subscribed(now, topic),
            Input::Addresses(addresses) => self.on_addresses(now, addresses),
            Input::Work { order, pow } => self.on_work(now, &order, pow),
            Input::Timeout => {}
        }
        self.run_timers(now);
    }

    /// Carries out a command of the local user.
    ///
    /// The answer may be given to the user once the outputs that it caused are durable.
    ///
    /// # Errors
    /// Why it cannot be done; nothing has changed then.
    pub fn command(&mut self, now: Timestamp, command: Command) -> Result<Answer, CommandError> {
        if let Command::Shutdown = command {
            self.shut_down(now);
            return Ok(Answer::Done);
        }
        match self.halted {
            Some(Halt::Cloned) => return Err(CommandError::Cloned),
            Some(Halt::Shutdown) => return Err(CommandError::ShuttingDown),
            None => {}
        }
        let answer = match command {
            Command::GoOnline(profile) => self.go_online(now, profile),
            Command::GoOffline => self.go_offline(now),
            Command::Move(point) => {
                self.moved(now, point);
                self.on_move(now, *point.expose())
            }
            Command::SharePosition(on) => self.share(now, on),
            Command::RequestRide(wish) => self.request_ride(now, *wish),
            Command::Accept(ride) => self.accept_ride(now, ride),
            Command::Decline(ride) => self.decline_ride(now, ride),
            Command::Counter(ride, fare) => self.counter_ride(now, ride, fare),
            Command::Cancel(ride) => self.cancel_ride(now, ride),
            Command::EnRoute(ride, eta) => self.set_out(now, ride, eta),
            Command::Arrive(ride) => self.arrive(now, ride),
            Command::Board(ride, code) => self.board(now, ride, &code),
            Command::Complete(ride, figures) => self.complete(now, ride, figures),
            Command::EndAlone(ride) => self.end_alone(now, ride),
            Command::NoShow(ride) => self.claim_no_show(now, ride),
            Command::Rate(ride, stars, text) => self.rate(now, ride, stars, text),
            Command::Shutdown => Ok(Answer::Done),
        };
        self.run_timers(now);
        answer
    }

    /// The next thing to do; nothing when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
            if self.outputs.capacity() > OUTPUTS_KEPT {
                self.outputs = VecDeque::new();
            }
            // From the beginning again: the same memory for every message.
            self.outputs.clear();
        }
        output
    }

    /// When to give [`Input::Timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Timestamp, Timer)> {
        self.timers.next()
    }

    /// The seed of a driver's transport identity, which is its shift key.
    #[must_use]
    pub fn transport_seed(&self) -> Option<SecretSeed> {
        self.driver.as_ref().map(|driver| SecretSeed(driver.signing.to_bytes()))
    }

    fn run_timers(&mut self, now: Timestamp) {
        while let Some(timer) = self.timers.pop_due(now) {
            self.on_timer(now, timer);
        }
    }

    fn on_timer(&mut self, now: Timestamp, timer: Timer) {
        match timer {
            Timer::Hold(slot) => self.on_hold_ended(now, slot),
            Timer::Doubt(slot) => self.on_doubt_ended(now, slot),
            Timer::Outbox => self.send_due(now),
            Timer::Status(slot) => self.on_status_due(now, slot),
            Timer::Cosign(slot) => self.on_cosign_overdue(now, slot),
            Timer::EnRoute(slot) => self.on_en_route_due(now, slot),
            Timer::Share => self.share_position(now),
            Timer::Ask(request) => self.on_ask_overdue(now, request),
            Timer::Hedge | Timer::Decide => self.shop(now),
            Timer::Compare => self.on_compared(now),
            Timer::OpenAfter => self.open_search(now),
            Timer::Patience => self.on_patience_over(now),
            Timer::Collect => self.on_collected(now),
            Timer::Pending(ride) => self.on_pending_overdue(now, ride),
            Timer::Invite => self.invite(now),
            Timer::Publish => self.publish_due(now),
            Timer::Withdraw => self.withdraw_due(now),
            Timer::Position => self.on_position_tick(now),
            Timer::Ring => self.follow_ring(now),
            Timer::Listen => self.on_listen_due(now),
            Timer::Expiry => self.on_expiry(now),
            Timer::Evidence => self.gossip_evidence(now),
            Timer::Rotate => self.rotate_key(now),
            Timer::Flush => self.flush(),
        }
    }

    fn on_peer_connected(&mut self, now: Timestamp, peer: PeerKey, origin: Origin) {
        self.peers.get_or_insert_with(peer, || Peer { origin, abuse: 0 }).origin = origin;
        self.outbox.wake(&peer, now);
        self.arm_outbox();
        // P8.8: on every connect, to every counterparty with something open.
        let slots: Vec<SlotRef> = self.bound_to(&peer).collect();
        for slot in slots {
            self.send_status(now, slot);
        }
        self.share_position(now);
    }

    /// Whether this peer is the other side of an agreement that has not ended.
    #[must_use]
    pub fn is_bound_to(&self, peer: &PeerKey) -> bool {
        self.bound_to(peer).next().is_some()
    }

    fn bound_to(&self, peer: &PeerKey) -> impl Iterator<Item = SlotRef> {
        self.deals.values().filter(|deal| deal.ended.is_none() && deal.peer() == *peer).map(Deal::slot)
    }

    fn on_addresses(&mut self, now: Timestamp, addresses: Vec<Address>) {
        if self.addresses != addresses {
            self.addresses = addresses;
            self.offer_changed(now);
        }
    }

    /// Withdraws what is offered and takes no new business; what is bound stays bound.
    fn shut_down(&mut self, now: Timestamp) {
        if self.driver.is_some() {
            self.withdraw_driver_offer(now);
        }
        self.stop_search(now, RideState::Cancelled, Some("the node stopped"));
        self.flush();
        self.halted = Some(Halt::Shutdown);
        self.timers.clear(Timer::Publish);
        self.timers.clear(Timer::Invite);
    }

    // ---- small things that every part uses ----

    fn out(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Makes records durable before whatever is put out next. What was heard meanwhile
    /// goes along: nothing waits for it.
    fn persist(&mut self, mut records: Vec<Record>) {
        let heard = std::mem::take(&mut self.outbox.heard);
        records.extend(heard.into_iter().map(|statement| Record::OutboxDone { statement }));
        if !records.is_empty() {
            self.out(Output::Persist(records));
        }
        self.timers.clear(Timer::Flush);
    }

    fn flush(&mut self) {
        self.persist(Vec::new());
    }

    fn notify(&mut self, event: Event) {
        self.out(Output::Notify(event));
    }

    fn sign<T: Body>(&self, key: &SigningKey, body: T) -> Verified<T> {
        Verified::sign_with(&*self.signatures, key, self.network, body)
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    /// A random span below `most`.
    fn jitter(&mut self, most: Duration) -> Duration {
        let span = u64::from(most.as_millis());
        if span == 0 {
            return Duration::ZERO;
        }
        Duration::from_millis(u32::try_from(self.rng.next_u64() % span).unwrap_or(0))
    }

    /// Adds a state to a ride's history and tells the user.
    fn set_ride(&mut self, now: Timestamp, ride: RideId, state: RideState, reason: Option<&str>) {
        let Some(entry) = self.rides.get_mut(&ride) else { return };
        if entry.state == state && reason.is_none() {
            return;
        }
        entry.state = state;
        entry.history.push(Step { at: now, state, reason: reason.map(str::to_owned) });
        let role = entry.role;
        self.notify(Event::Ride { ride, role, state, reason: reason.map(str::to_owned) });
    }

    fn new_ride(&mut self, now: Timestamp, role: Role) -> RideId {
        let state = RideState::Requested;
        let random = u128::from_le_bytes(self.random());
        let ride = RideId::new(now, random);
        self.add_ride(ride, role, now);
        self.notify(Event::Ride { ride, role, state, reason: None });
        ride
    }

    fn add_ride(&mut self, ride: RideId, role: Role, at: Timestamp) {
        self.rides.insert(ride, Ride::begun(role, at));
        if self.rides.len() > RIDES_MAX {
            let over = self.rides.iter().find(|(_, ride)| ride.state.is_over()).map(|(id, _)| *id);
            if let Some(id) = over {
                self.rides.remove(&id);
            }
        }
    }

    /// Forgets the oldest ended deals beyond [`DEALS_MAX`]; the store still has them.
    fn trim_deals(&mut self) {
        while self.deals.len() > DEALS_MAX {
            let ended = self.deals.values().filter_map(|deal| Some((deal.ended?.at, deal.slot())));
            let Some((_, slot)) = ended.min() else { return };
            self.deals.remove(&slot);
        }
    }

    /// A peer sent what no honest node sends: its gossip counts for less (P13.11).
    fn blame(&mut self, peer: Option<PeerKey>) {
        let Some(peer) = peer else { return };
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.abuse = entry.abuse.saturating_add(1).min(ABUSE_MAX);
        let score = entry.abuse * ABUSE_SCORE;
        self.out(Output::Score { peer, score });
    }

    fn deal_by_accept(&self, accept: &StatementId) -> Option<SlotRef> {
        self.deals.values().find(|deal| deal.bound.accept == *accept).map(Deal::slot)
    }

    fn deal_by_agreement(&self, agreement: &AgreementId) -> Option<SlotRef> {
        self.deals.values().find(|deal| deal.bound.agreement == *agreement).map(Deal::slot)
    }

    /// The deal of a ride, and what it must be for a command.
    fn deal_of(&self, ride: RideId, role: Option<Role>) -> Result<SlotRef, CommandError> {
        let entry = self.rides.get(&ride).ok_or(CommandError::UnknownRide(ride))?;
        if role.is_some_and(|role| role != entry.role) {
            return Err(CommandError::WrongRole(match entry.role {
                Role::Driver => "this is for the rider: this node drives",
                Role::Rider => "this is for the driver: this node rides",
            }));
        }
        let live = entry.slot.filter(|slot| self.deals.contains_key(slot));
        live.ok_or_else(|| self.wrong_state(ride, &[RideState::Firm]))
    }

    fn wrong_state(&self, ride: RideId, allowed: &[RideState]) -> CommandError {
        match self.rides.get(&ride) {
            Some(entry) => CommandError::WrongState { ride, state: entry.state, allowed: allowed.to_vec() },
            None => CommandError::UnknownRide(ride),
        }
    }

    /// Puts a statement of ours into the outbox and gives its record. It is first sent
    /// at `due`.
    fn queue(
        &mut self,
        slot: SlotRef,
        kind: Kind,
        statement: StatementId,
        bytes: &Arc<[u8]>,
        due: Timestamp,
    ) -> Option<Record> {
        let deal = self.deals.get(&slot)?;
        let (to, peer) = (deal.counterparty(), deal.peer());
        let periods = self.config.timers;
        self.outbox.put(slot, statement, kind, peer, Arc::clone(bytes), due, &periods);
        self.arm_outbox();
        Some(Record::OutboxPut { slot, statement, to, peer, bytes: Arc::clone(bytes), at: due })
    }

    fn arm_outbox(&mut self) {
        let due = self.outbox.next_due();
        self.timers.set_or_clear(Timer::Outbox, due.filter(|due| *due != Timestamp::MAX));
    }
}
