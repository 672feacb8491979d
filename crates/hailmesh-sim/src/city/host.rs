//! One node of the city: a production marketplace with its journal, its clock and the
//! person it belongs to.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hailmesh_market::marketplace::{Keys, Marketplace};
use hailmesh_market::{
    Answer, AskId, Command, CommandError, Event, ExchangeId, Input, MessageRef, Output, Record, RideId,
    RideView, Role,
};
use hailmesh_types::{AgreementId, PeerKey, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{Heard, RideState, Topic};

use super::driver::DriverPerson;
use super::engine::Shared;
use super::hostile::{Hostile, Judged};
use super::link::Draws;
use super::mishap::{Mishaps, origin_of};
use super::people::Word;
use super::rider::RiderPerson;

/// The wall clock at which every run begins: 2027-01-15 08:00 UTC. Any would do.
pub(super) const START_MS: u64 = 1_800_000_000_000;
/// How long an exchange that leads nowhere is waited for (P12).
pub(super) const EXCHANGE_MS: u64 = 10_000;
/// Exchanges of others that are unanswered, at the most; far above what limits allow.
const EXCHANGES_MAX: usize = 256;

/// A gossip message on its way to many.
#[derive(Clone)]
pub(super) struct Gossiped {
    pub(super) from: u32,
    pub(super) topic: Topic,
    pub(super) heard: Heard,
    pub(super) id: [u8; 16],
    pub(super) at_ms: u64,
    /// Whether honest nodes forward it.
    pub(super) passes_on: bool,
}

/// Something that reaches a host.
pub(super) enum Arrival {
    Gossip(Arc<Gossiped>),
    Connected { peer: PeerKey, host: u32 },
    Gone { peer: PeerKey },
    Subscribed { peer: PeerKey, topic: Topic },
    Request { from: u32, peer: PeerKey, run: u32, ask: AskId, frame: Vec<u8> },
    Response { from: u32, run: u32, ask: AskId, peer: PeerKey, frame: Vec<u8> },
    Failed { run: u32, ask: AskId, peer: PeerKey },
    Word { from: u32, word: Word },
}

/// Something a host does that concerns others.
pub(super) struct Outgoing {
    pub(super) at_ms: u64,
    pub(super) from: u32,
    pub(super) number: u32,
    pub(super) what: What,
}

pub(super) enum What {
    /// Its transport identity, from now on.
    Identity(PeerKey),
    /// It has crashed or ended.
    Down,
    /// On or off a topic.
    Joined(Topic),
    Left(Topic),
    Publish {
        topic: Topic,
        bytes: Arc<[u8]>,
    },
    Send {
        to: PeerKey,
        run: u32,
        ask: AskId,
        frame: Vec<u8>,
    },
    Reply {
        to: u32,
        run: u32,
        ask: AskId,
        frame: Vec<u8>,
    },
    /// Wants to be connected.
    Dial(PeerKey),
    /// Where it is reached from now on.
    Moved(u32),
    /// Where it has heard that a peer is reached.
    Hint(PeerKey, Vec<u32>),
    /// Its journal came back from an older backup: what it was bound to it does not know.
    Forgot,
    /// An exchange that reached nobody.
    Fail {
        to: u32,
        run: u32,
        ask: AskId,
    },
    Word {
        to: u32,
        word: Word,
    },
    /// Bound, or no longer, to an agreement.
    Bound {
        role: Role,
        agreement: AgreementId,
        live: bool,
    },
    /// Evidence was found or heard against somebody.
    Exposed {
        accused: PublicKey,
        bytes: Arc<[u8]>,
    },
    /// This key belongs to an attacker.
    HostileKey(PublicKey),
    /// Whoever has read all of these statements has to expose this key.
    Contradiction {
        accused: PublicKey,
        statements: Vec<StatementId>,
    },
    /// A statement of an attacker has reached an honest node.
    Read {
        from: u32,
        statement: StatementId,
    },
    /// Something that must not happen.
    Violation(String),
}

/// Who sits at a node.
pub(super) enum Person {
    Driver(DriverPerson),
    Rider(RiderPerson),
    Hostile(Hostile),
}

/// A clock that is wrong: ahead by `skew_ms`, and gaining `drift_ppm`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    pub(super) skew_ms: i64,
    pub(super) drift_ppm: i64,
}

impl Clock {
    /// What it says at a time of the city.
    pub(super) fn reads(self, at_ms: u64) -> Timestamp {
        let gained = i64::try_from(at_ms).unwrap_or(i64::MAX / 2) * self.drift_ppm / 1_000_000;
        let reads = (START_MS + at_ms).saturating_add_signed(self.skew_ms + gained);
        let (least, most) = (Timestamp::MIN.as_millis(), Timestamp::MAX.as_millis());
        Timestamp::from_millis(reads.clamp(least, most)).unwrap_or(Timestamp::MIN)
    }

    /// The first time of the city at which it says at least this.
    pub(super) fn when(self, reading: Timestamp) -> u64 {
        let local = reading.as_millis().cast_signed() - START_MS.cast_signed();
        let unskewed = (local - self.skew_ms).max(0);
        // Rounded twice, so up to two milliseconds from it on either side.
        let mut at = u64::try_from(unskewed * 1_000_000 / (1_000_000 + self.drift_ppm)).unwrap_or(0);
        while at > 0 && self.reads(at - 1) >= reading {
            at -= 1;
        }
        while self.reads(at) < reading {
            at += 1;
        }
        at
    }
}

/// One node and its person.
pub(super) struct Host {
    pub(super) id: u32,
    /// Marketplaces so far: what is asked by one is not answered to the next.
    pub(super) run: u32,
    /// Processes so far.
    process: u32,
    pub(super) clock: Clock,
    pub(super) market: Option<Box<Marketplace>>,
    pub(super) journal: Vec<Record>,
    /// Topics it has joined since it was last looked at, and those it has left.
    pub(super) joined: Vec<(Topic, bool)>,
    pub(super) topics: Vec<Topic>,
    pub(super) out: Vec<Outgoing>,
    pub(super) person: Person,
    /// When it next fails by itself.
    pub(super) crash_ms: u64,
    /// When it is back, while it is down.
    pub(super) back_ms: Option<u64>,
    /// When the shard is to look at it; `u64::MAX`: nothing is planned.
    pub(super) wake_ms: u64,
    pub(super) started_ms: u64,
    pub(super) peer: PeerKey,
    /// Inputs and commands so far.
    pub(super) events: u64,
    pub(super) restarts: u32,
    /// What it made of the gossip of attackers since it was last looked at.
    pub(super) judged: Judged,
    /// In runs with a plan of faults.
    pub(super) mishaps: Option<Box<Mishaps>>,
    number: u32,
    /// Exchanges of others to be answered: which, and host, run and exchange of the asker.
    exchanges: Vec<(u64, (u32, u32, AskId))>,
    next_exchange: u64,
}

impl Host {
    pub(super) fn new(shared: &Shared, id: u32, person: Person, at_ms: u64) -> Self {
        let mut draws = Draws::of(shared.seed, 0xc10c, id.into(), 0);
        let settings = &shared.settings;
        let swing = |draws: &mut Draws, most: u32| i64::from(draws.between(0, 2 * most)) - i64::from(most);
        let clock = Clock {
            skew_ms: swing(&mut draws, settings.skew_ms),
            drift_ppm: swing(&mut draws, settings.drift_ppm),
        };
        let mut host = Self {
            id,
            run: 0,
            process: 0,
            clock,
            market: None,
            journal: Vec::new(),
            joined: Vec::new(),
            topics: Vec::new(),
            out: Vec::new(),
            person,
            crash_ms: u64::MAX,
            back_ms: Some(at_ms),
            wake_ms: u64::MAX,
            started_ms: at_ms,
            peer: PeerKey::from_bytes([0; 32]),
            events: 0,
            restarts: 0,
            judged: Judged::new(),
            mishaps: Mishaps::of(shared, id, at_ms),
            number: 0,
            exchanges: Vec::new(),
            next_exchange: 0,
        };
        host.crash_ms = host.next_crash(shared, at_ms);
        host
    }

    pub(super) const fn role(&self) -> Role {
        match self.person {
            Person::Driver(_) | Person::Hostile(_) => Role::Driver,
            Person::Rider(_) => Role::Rider,
        }
    }

    /// Starts the node from its journal.
    pub(super) fn start(&mut self, shared: &Shared, at_ms: u64) {
        if self.mishaps.as_ref().is_some_and(|mishaps| mishaps.halted) {
            return self.rebuild(shared, at_ms);
        }
        self.run += 1;
        self.process += 1;
        if let Person::Hostile(_) = self.person {
            return self.hostile_starts(shared, at_ms);
        }
        let lost = self.mishaps.as_mut().is_some_and(|mishaps| {
            mishaps.starting = true;
            mishaps.restored
        });
        if self.recover(shared, at_ms, lost) {
            if let Some(mishaps) = self.mishaps.as_mut() {
                // Only now: had this start failed, the next one must see it again.
                mishaps.restored = false;
                mishaps.starting = false;
            }
            self.person_starts(shared, at_ms);
        }
    }

    /// A marketplace from the journal. False: it failed, or its first records could not
    /// be kept.
    pub(super) fn recover(&mut self, shared: &Shared, at_ms: u64, lost: bool) -> bool {
        let seed_of = |what: &[u8], run: u32| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&shared.seed.to_le_bytes()).update(what);
            hasher.update(&self.id.to_le_bytes()).update(&run.to_le_bytes());
            *hasher.finalize().as_bytes()
        };
        let transport = match self.role() {
            // A driver's is its shift key.
            Role::Driver => None,
            Role::Rider => {
                let key = SigningKey::from_bytes(&seed_of(b"transport", self.process));
                Some(PeerKey::from_bytes(key.verifying_key().to_bytes()))
            }
        };
        let keys = Keys {
            role: Some(self.role()),
            identity: SigningKey::from_bytes(&seed_of(b"identity", 0)),
            transport,
            lost,
            new_host: false,
        };
        let now = self.clock.reads(at_ms);
        let (config, signatures) = (Arc::clone(&shared.config), Arc::clone(&shared.signatures));
        let seed = seed_of(b"market", self.run);
        match Marketplace::recover_with(config, keys, seed, self.journal.clone(), now, signatures) {
            Ok(market) => {
                let travel = Arc::clone(&shared.travel);
                self.market = Some(Box::new(market.with_travel_time(travel)));
            }
            Err(error) => {
                self.say(at_ms, What::Violation(format!("host {} does not recover: {error}", self.id)));
                return false;
            }
        }
        self.drain(shared, at_ms);
        self.learn_identity(at_ms);
        self.recall_ends(at_ms);
        self.tell_address(shared, at_ms);
        self.market.is_some()
    }

    /// What ended just before a failure nobody was told of: now the user can see it.
    fn recall_ends(&mut self, at_ms: u64) {
        let Some(market) = self.market.as_ref().filter(|_| self.mishaps.is_some()) else { return };
        let rides = market.rides(self.clock.reads(at_ms));
        for view in rides.into_iter().filter(|view| !view.state.is_open()) {
            if let Some(agreement) = view.agreement {
                self.say(at_ms, What::Bound { role: view.role, agreement, live: false });
            }
        }
    }

    /// The node is gone at once; the journal stays.
    pub(super) fn crash(&mut self, shared: &Shared, at_ms: u64) {
        self.stop(at_ms);
        self.restarts += 1;
        let (least, most) = shared.settings.down_ms;
        let mut draws = Draws::of(shared.seed, 0xdead, self.id.into(), self.run.into());
        let back_ms = at_ms + u64::from(draws.between(least, most));
        self.back_ms = Some(shared.calm_from().map_or(back_ms, |calm| back_ms.min(calm.max(at_ms + 1))));
        self.crash_ms = self.next_crash(shared, at_ms);
        self.journal_after_crash(shared, at_ms);
    }

    /// The node is gone for good.
    pub(super) fn stop(&mut self, at_ms: u64) {
        if self.market.take().is_some() {
            self.abandon_exchanges(at_ms);
            let left = std::mem::take(&mut self.topics);
            for topic in &left {
                self.say(at_ms, What::Left(topic.clone()));
            }
            self.joined.extend(left.into_iter().map(|topic| (topic, false)));
            self.say(at_ms, What::Down);
        }
    }

    fn take_exchange(&mut self, exchange: ExchangeId) -> Option<(u32, u32, AskId)> {
        let place = self.exchanges.iter().position(|(open, _)| *open == exchange.0)?;
        let (_, asker) = self.exchanges.remove(place);
        if self.exchanges.is_empty() {
            self.exchanges = Vec::new();
        }
        Some(asker)
    }

    /// Nobody answers what others have asked.
    pub(super) fn abandon_exchanges(&mut self, at_ms: u64) {
        let exchanges = std::mem::take(&mut self.exchanges);
        for (_, (to, run, ask)) in exchanges {
            self.say(at_ms + EXCHANGE_MS, What::Fail { to, run, ask });
        }
    }

    fn next_crash(&self, shared: &Shared, at_ms: u64) -> u64 {
        let churn = shared.settings.churn_per_min;
        let all = shared.settings.restart_all_ms.filter(|all| *all > at_ms).unwrap_or(u64::MAX);
        if churn <= 0.0 {
            return all;
        }
        let mut draws = Draws::of(shared.seed, 0xfa11, self.id.into(), (self.run + self.restarts).into());
        // Exponential with this mean.
        let ms = -(1.0 - draws.unit()).ln() * 60_000.0 / churn;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a year")]
        let after = ms.clamp(1.0, 3e10) as u64;
        let next = all.min(at_ms + after);
        if shared.calm_from().is_some_and(|calm| next >= calm) { u64::MAX } else { next }
    }

    /// Tells the marketplace something, and does what it asks for.
    pub(super) fn input(&mut self, shared: &Shared, at_ms: u64, input: Input) {
        let now = self.clock.reads(at_ms);
        if let Some(market) = self.market.as_mut() {
            self.events += 1;
            market.handle_input(now, input);
            self.drain(shared, at_ms);
        }
    }

    /// A command of the person at this node; nothing when the node is down.
    pub(super) fn command(
        &mut self,
        shared: &Shared,
        at_ms: u64,
        command: Command,
    ) -> Option<Result<Answer, CommandError>> {
        let now = self.clock.reads(at_ms);
        self.events += 1;
        if self.mishaps.as_ref().is_some_and(|mishaps| mishaps.halted) {
            return None;
        }
        let answer = self.market.as_mut()?.command(now, command);
        self.drain(shared, at_ms);
        Some(answer)
    }

    pub(super) fn ride(&self, at_ms: u64, ride: RideId) -> Option<RideView> {
        self.market.as_ref()?.ride(ride, self.clock.reads(at_ms))
    }

    /// When the marketplace wants to be woken, in time of the city.
    pub(super) fn timer_ms(&self) -> Option<u64> {
        let (at, _) = self.market.as_ref()?.poll_timeout()?;
        Some(self.clock.when(at))
    }

    pub(super) fn say(&mut self, at_ms: u64, what: What) {
        self.number += 1;
        self.out.push(Outgoing { at_ms, from: self.id, number: self.number, what });
    }

    /// Something has reached the host.
    pub(super) fn arrive(&mut self, shared: &Shared, at_ms: u64, arrival: Arrival) {
        if let Person::Hostile(_) = self.person {
            return self.hostile_hears(at_ms, arrival);
        }
        let is_up = self.market.is_some();
        if let Some(mishaps) = self.mishaps.as_mut() {
            match &arrival {
                Arrival::Connected { peer, host } => mishaps.connected(*peer, *host),
                Arrival::Gone { peer } => mishaps.gone(peer),
                _ => {}
            }
        }
        match arrival {
            Arrival::Word { from, word } => self.hear(shared, at_ms, from, word),
            Arrival::Request { from, run, ask, .. } if !is_up => {
                self.say(at_ms + EXCHANGE_MS, What::Fail { to: from, run, ask });
            }
            _ if !is_up => {}
            Arrival::Gossip(message) => {
                // Who forwarded it: one of a few neighbours, the same for the same author
                // now and then, as in a mesh. What nobody forwards comes from its author.
                let way =
                    if message.passes_on { u64::from(message.from) & 7 } else { 8 + u64::from(message.from) };
                let mut draws = Draws::of(shared.seed, u64::from(self.id), way, 0x6e);
                let mut source = [0; 32];
                source[..8].copy_from_slice(&draws.next().to_le_bytes());
                let source = PeerKey::from_bytes(source);
                let reference = MessageRef { id: message.id, source };
                let (topic, heard) = (message.topic.clone(), message.heard.clone());
                let before = shared.hostile(message.from).and_then(|_| self.stopped());
                self.input(shared, at_ms, Input::Gossip { message: reference, topic, heard });
                self.note_hostile(shared, at_ms, &message, before);
            }
            Arrival::Connected { peer, host } => {
                let origin = origin_of(host);
                self.input(shared, at_ms, Input::PeerConnected { peer, origin });
            }
            Arrival::Gone { peer } => self.input(shared, at_ms, Input::PeerGone { peer }),
            Arrival::Subscribed { peer, topic } => {
                self.input(shared, at_ms, Input::PeerSubscribed { peer, topic });
            }
            Arrival::Request { from, peer, run, ask, frame } => {
                self.note_read(shared, at_ms, from, &frame);
                self.next_exchange += 1;
                let exchange = self.next_exchange;
                if self.exchanges.len() < EXCHANGES_MAX {
                    self.exchanges.push((exchange, (from, run, ask)));
                    let exchange = ExchangeId(exchange);
                    self.input(shared, at_ms, Input::Request { exchange, peer, frame });
                } else {
                    self.say(at_ms, What::Fail { to: from, run, ask });
                }
            }
            Arrival::Response { from, run, ask, peer, frame } => {
                if run == self.run {
                    self.note_read(shared, at_ms, from, &frame);
                    self.input(shared, at_ms, Input::Response { ask, peer, frame });
                }
            }
            Arrival::Failed { run, ask, peer } => {
                if run == self.run {
                    self.input(shared, at_ms, Input::SendFailed { ask, peer });
                }
            }
        }
    }

    /// Does what the marketplace asks for, until it asks for nothing more. A journal in
    /// memory is durable at once.
    fn drain(&mut self, shared: &Shared, at_ms: u64) {
        let mut events = Vec::new();
        let mut is_kept = true;
        while let Some(output) = self.market.as_mut().and_then(|market| market.poll_output()) {
            match output {
                Output::Persist(records) => {
                    for record in &records {
                        if let Record::Evidence { accused, bytes, .. } = record {
                            let (accused, bytes) = (*accused, Arc::clone(bytes));
                            self.say(at_ms, What::Exposed { accused, bytes });
                        }
                    }
                    is_kept = self.keep(shared, at_ms, records);
                    if !is_kept {
                        break;
                    }
                }
                Output::Publish { topic, bytes } => {
                    if let Some(mishaps) = self.mishaps.as_mut() {
                        mishaps.published(&bytes);
                    }
                    self.say(at_ms, What::Publish { topic, bytes });
                }
                Output::Dial { peer, addrs } => {
                    self.pass_hint(at_ms, peer, &addrs);
                    self.say(at_ms, What::Dial(peer));
                }
                Output::Send { ask, peer, frame, addrs } => {
                    let run = self.run;
                    self.pass_hint(at_ms, peer, &addrs);
                    self.say(at_ms, What::Send { to: peer, run, ask, frame });
                }
                Output::Reply { exchange, frame } => {
                    if let Some((to, run, ask)) = self.take_exchange(exchange) {
                        self.say(at_ms, What::Reply { to, run, ask, frame });
                    }
                }
                Output::Subscribe(topic) => {
                    if !self.topics.contains(&topic) {
                        self.say(at_ms, What::Joined(topic.clone()));
                        self.topics.push(topic.clone());
                        self.joined.push((topic, true));
                    }
                }
                Output::Unsubscribe(topic) => {
                    self.topics.retain(|one| *one != topic);
                    // Most nodes listen wide when they start, and never again.
                    if self.topics.len() * 2 <= self.topics.capacity() {
                        self.topics.shrink_to_fit();
                    }
                    self.say(at_ms, What::Left(topic.clone()));
                    self.joined.push((topic, false));
                }
                Output::Notify(event) => events.push(event),
                Output::Judge { .. } | Output::Score { .. } | Output::Work(_) => {}
            }
        }
        if let Some(mishaps) = self.mishaps.as_mut().filter(|_| !is_kept) {
            // What the person still hears it cannot act on.
            mishaps.halted = true;
        }
        for event in events {
            self.on_event(shared, at_ms, event);
        }
        if !is_kept {
            self.store_failed(shared, at_ms);
        }
    }

    fn on_event(&mut self, shared: &Shared, at_ms: u64, event: Event) {
        match event {
            Event::Ride { ride, role, state, .. } => {
                self.note_binding(shared, at_ms, ride, role, state);
                match &self.person {
                    Person::Driver(_) => self.driver_hears(shared, at_ms, ride, state),
                    Person::Rider(_) => self.rider_hears(shared, at_ms, ride, state),
                    Person::Hostile(_) => {}
                }
            }
            Event::Asked { ride, .. } => {
                if let Person::Driver(_) = &self.person {
                    self.driver_is_asked(shared, at_ms, ride);
                }
            }
            Event::KeyReplaced { .. } => self.learn_identity(at_ms),
            Event::Cloned { .. } => {
                let text = format!("host {} believes that it was copied", self.id);
                self.say(at_ms, What::Violation(text));
            }
            _ => {}
        }
    }

    /// For the oracle: who is bound to what.
    fn note_binding(&mut self, shared: &Shared, at_ms: u64, ride: RideId, role: Role, state: RideState) {
        let Some(view) = self.ride(at_ms, ride) else { return };
        let Some(agreement) = view.agreement else { return };
        let live = match state {
            RideState::Firm | RideState::Committed => true,
            RideState::EnRoute | RideState::Arrived | RideState::InProgress => return,
            _ => false,
        };
        if state == RideState::Firm && shared.settings.verify_receipts {
            self.verify_receipt(shared, at_ms, ride);
        }
        self.say(at_ms, What::Bound { role, agreement, live });
    }

    /// An agreement must carry both signatures, for anybody to check.
    fn verify_receipt(&mut self, shared: &Shared, at_ms: u64, ride: RideId) {
        let Some(bytes) = self.market.as_ref().and_then(|market| market.receipt(ride)) else {
            let text = format!("host {} is firm without a receipt", self.id);
            return self.say(at_ms, What::Violation(text));
        };
        if let Err(error) = shared.check_receipt(&bytes) {
            let text = format!("the receipt of host {} does not verify: {error}", self.id);
            self.say(at_ms, What::Violation(text));
        }
    }

    fn learn_identity(&mut self, at_ms: u64) {
        let now = self.clock.reads(at_ms);
        let Some(market) = self.market.as_ref() else { return };
        let peer = market.snapshot(now).peer;
        self.peer = peer;
        self.say(at_ms, What::Identity(peer));
    }

    pub(super) fn person_starts(&mut self, shared: &Shared, at_ms: u64) {
        match self.person {
            Person::Driver(_) => self.driver_starts(shared, at_ms),
            Person::Rider(_) => self.rider_starts(shared, at_ms),
            Person::Hostile(_) => self.hostile_starts(shared, at_ms),
        }
    }

    fn hear(&mut self, shared: &Shared, at_ms: u64, from: u32, word: Word) {
        match self.person {
            Person::Driver(_) => self.driver_is_told(shared, at_ms, from, word),
            Person::Rider(_) => self.rider_is_told(shared, at_ms, from, word),
            Person::Hostile(_) => {}
        }
    }

    /// When the person next does something by itself.
    pub(super) fn person_ms(&self) -> Option<u64> {
        match &self.person {
            Person::Driver(person) => person.acts_ms(),
            Person::Rider(person) => person.next_ms,
            Person::Hostile(hostile) => hostile.next_ms,
        }
    }

    pub(super) fn person_acts(&mut self, shared: &Shared, at_ms: u64) {
        match self.person {
            Person::Driver(_) => self.driver_acts(shared, at_ms),
            Person::Rider(_) => self.rider_acts(shared, at_ms),
            Person::Hostile(_) => self.hostile_acts(at_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_read_both_ways() {
        for clock in [
            Clock::default(),
            Clock { skew_ms: 12_345, drift_ppm: 10_000 },
            Clock { skew_ms: -12_345, drift_ppm: -10_000 },
            Clock { skew_ms: 86_400_000, drift_ppm: 10_000 },
            Clock { skew_ms: -86_400_000, drift_ppm: -10_000 },
        ] {
            for at in [20_000_u64, 60_001, 3_599_999] {
                let reading = clock.reads(at);
                let when = clock.when(reading);
                assert!(when <= at && clock.reads(when) >= reading, "{clock:?} {at} {when}");
                assert!(clock.reads(when - 1) < reading, "the first such time: {clock:?} {at} {when}");
            }
            // What the clock said before the run began, and what it will never say.
            assert_eq!(clock.when(Timestamp::MIN), 0);
            assert_eq!(clock.reads(clock.when(Timestamp::MAX)), Timestamp::MAX);
        }
    }
}
