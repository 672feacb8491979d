//! A small world of marketplaces on simulated time: messages take a while, may be lost,
//! and every host keeps a journal. The journal also checks the write-ahead rule: what
//! is signed to bind somebody is in it before it is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hailmesh_market::marketplace::{Keys, Marketplace};
use hailmesh_market::{
    Answer, AskId, Command, CommandError, Config, DriverProfile, Event, ExchangeId, Input, MessageRef,
    Origin, Output, Record, RideId, RideView, Role, Verdict, Wish, WorkOrder,
};
use hailmesh_types::{
    Class, Duration, Features, PeerKey, Private, PublicKey, Resolution, Seats, Tariff, Text, Timestamp,
};
use hailmesh_wire::{
    AcceptMode, AnyStatement, Body, Ed25519, Frame, FrameContent, Kind, RideState, Signatures, Signed, Topic,
    VehicleCard, pow_search,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// A host by its index.
pub(crate) type Name = usize;

pub(crate) struct Host {
    pub(crate) market: Option<Marketplace>,
    pub(crate) role: Option<Role>,
    pub(crate) config: Config,
    identity: SigningKey,
    transport: PeerKey,
    pub(crate) journal: Vec<Record>,
    topics: BTreeSet<Topic>,
    pub(crate) events: Vec<Event>,
    /// Milliseconds that this host's clock is ahead.
    pub(crate) skew_ms: i64,
    pub(crate) verdicts: BTreeMap<Verdict, usize>,
    runs: u64,
    /// Outputs until the host crashes, if it is to.
    pub(crate) crash_after: Option<usize>,
    /// The store refuses from now on.
    pub(crate) store_broken: bool,
    /// Batches that the store still takes before it refuses, if it is to.
    pub(crate) store_breaks_after: Option<usize>,
    /// The own offer that is out, as it was sent.
    offer_out: Option<Vec<u8>>,
    /// Proofs of work that are to be found.
    orders: Vec<WorkOrder>,
}

/// By whom a statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Own,
    Theirs,
}

enum Arrival {
    Gossip { to: Name, from: PeerKey, topic: Topic, bytes: Vec<u8> },
    Request { to: Name, from: PeerKey, ask: (Name, u64, AskId), frame: Vec<u8> },
    Response { to: Name, run: u64, ask: AskId, from: PeerKey, frame: Vec<u8> },
    Failed { to: Name, run: u64, ask: AskId, peer: PeerKey },
}

pub(crate) struct World {
    pub(crate) hosts: Vec<Host>,
    /// How everybody signs.
    pub(crate) signatures: Arc<dyn Signatures>,
    pub(crate) now_ms: u64,
    queue: BTreeMap<(u64, u64), Arrival>,
    sequence: u64,
    /// By whom an exchange was begun, and with whom.
    exchanges: BTreeMap<u64, (Name, u64, AskId, Name)>,
    next_exchange: u64,
    rng: ChaCha8Rng,
    pub(crate) loss: f64,
    pub(crate) duplication: f64,
    pub(crate) latency_ms: (u64, u64),
    pub(crate) cut: BTreeSet<(Name, Name)>,
    /// Hosts that no gossip reaches.
    pub(crate) deaf: BTreeSet<Name>,
    /// Every frame that was sent, for whoever wants to look or replay.
    pub(crate) sent: Vec<(Name, PeerKey, Vec<u8>)>,
    /// Whether the next start is on a host that is new to the journal.
    pub(crate) new_host: bool,
    /// How far the clock of the next host is ahead, milliseconds.
    pub(crate) skew_ms: i64,
    /// The answer to what was said by hand last.
    answer: Option<Vec<u8>>,
}

/// The exchange of what is said by hand.
const BY_HAND: ExchangeId = ExchangeId(u64::MAX);

impl Host {
    /// How often it was started.
    pub(crate) fn runs(&self) -> u64 {
        self.runs
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self {
            hosts: Vec::new(),
            signatures: Arc::new(Ed25519),
            now_ms: START_MS,
            queue: BTreeMap::new(),
            sequence: 0,
            exchanges: BTreeMap::new(),
            next_exchange: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            loss: 0.0,
            duplication: 0.0,
            latency_ms: (5, 20),
            cut: BTreeSet::new(),
            deaf: BTreeSet::new(),
            sent: Vec::new(),
            skew_ms: 0,
            new_host: false,
            answer: None,
        }
    }

    fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        seed
    }

    pub(crate) fn time(&self, host: Name) -> Timestamp {
        let ms = self.now_ms.saturating_add_signed(self.hosts[host].skew_ms);
        Timestamp::from_millis(ms).unwrap()
    }

    pub(crate) fn add(&mut self, role: Option<Role>, config: Config) -> Name {
        let identity = SigningKey::from_bytes(&self.seed());
        let transport = PeerKey::from_bytes(SigningKey::from_bytes(&self.seed()).verifying_key().to_bytes());
        self.hosts.push(Host {
            market: None,
            role,
            config,
            identity,
            transport,
            journal: Vec::new(),
            topics: BTreeSet::new(),
            events: Vec::new(),
            skew_ms: self.skew_ms,
            verdicts: BTreeMap::new(),
            runs: 0,
            crash_after: None,
            store_broken: false,
            store_breaks_after: None,
            offer_out: None,
            orders: Vec::new(),
        });
        let name = self.hosts.len() - 1;
        self.start(name);
        name
    }

    /// Starts a host from its journal, as after a crash.
    /// The topics that a host has joined.
    pub(crate) fn topics(&self, name: Name) -> impl Iterator<Item = &Topic> {
        self.hosts[name].topics.iter()
    }

    pub(crate) fn start(&mut self, name: Name) {
        self.start_with(name, false).unwrap();
    }

    pub(crate) fn start_with(&mut self, name: Name, lost: bool) -> Result<(), String> {
        let seed = self.seed();
        let now = self.time(name);
        if self.hosts[name].role == Some(Role::Rider) {
            // A rider's transport identity is new in every run.
            self.hosts[name].transport =
                PeerKey::from_bytes(SigningKey::from_bytes(&self.seed()).verifying_key().to_bytes());
        }
        let host = &mut self.hosts[name];
        host.runs += 1;
        host.topics.clear();
        let keys = Keys {
            role: host.role,
            identity: host.identity.clone(),
            transport: Some(host.transport),
            lost,
            new_host: self.new_host,
        };
        let (config, records) = (host.config.clone(), host.journal.clone());
        let signatures = Arc::clone(&self.signatures);
        let market = Marketplace::recover_with(config, keys, seed, records, now, signatures)
            .map_err(|error| error.to_string())?;
        host.market = Some(market);
        self.drain(name);
        let peers: Vec<(Name, PeerKey)> = (0..self.hosts.len())
            .filter(|other| *other != name && self.is_up(*other))
            .map(|other| (other, self.peer(other)))
            .collect();
        let own = self.peer(name);
        for (other, peer) in peers {
            self.input(name, Input::PeerConnected { peer, origin: Origin::Loopback });
            self.input(other, Input::PeerConnected { peer: own, origin: Origin::Loopback });
        }
        Ok(())
    }

    pub(crate) fn is_up(&self, name: Name) -> bool {
        self.hosts[name].market.is_some()
    }

    pub(crate) fn crash(&mut self, name: Name) {
        let gone = self.peer(name);
        self.hosts[name].market = None;
        self.hosts[name].crash_after = None;
        // What it had not answered breaks off with its connections.
        let open: Vec<u64> =
            self.exchanges.iter().filter(|(_, open)| open.3 == name).map(|(id, _)| *id).collect();
        for id in open {
            if let Some((to, run, ask, _)) = self.exchanges.remove(&id) {
                self.later(50, Arrival::Failed { to, run, ask, peer: gone });
            }
        }
        for other in 0..self.hosts.len() {
            if self.is_up(other) {
                self.input(other, Input::PeerGone { peer: gone });
            }
        }
    }

    /// The transport identity of a host.
    pub(crate) fn peer(&self, name: Name) -> PeerKey {
        let host = &self.hosts[name];
        match &host.market {
            Some(market) => market.snapshot(self.time(name)).peer,
            None => host.transport,
        }
    }

    pub(crate) fn input(&mut self, name: Name, input: Input) {
        let now = self.time(name);
        if let Some(market) = self.hosts[name].market.as_mut() {
            market.handle_input(now, input);
            self.drain(name);
        }
    }

    /// Proofs of work that a host has ordered and not got.
    pub(crate) fn orders(&self, name: Name) -> usize {
        self.hosts[name].orders.len()
    }

    /// Finds the proofs of work that a host has ordered, and says how many.
    pub(crate) fn work(&mut self, name: Name) -> usize {
        let orders = std::mem::take(&mut self.hosts[name].orders);
        for order in &orders {
            let WorkOrder { network, signer, cell, issued, bits, first } = order;
            let pow = pow_search(*network, signer, *cell, *issued, *bits, *first, u64::MAX);
            let pow = pow.expect("somewhere among all candidates");
            self.input(name, Input::Work { order: order.clone(), pow });
        }
        orders.len()
    }

    pub(crate) fn command(&mut self, name: Name, command: Command) -> Result<Answer, CommandError> {
        let now = self.time(name);
        let answer = self.hosts[name].market.as_mut().unwrap().command(now, command);
        self.drain(name);
        answer
    }

    fn drain(&mut self, name: Name) {
        let from = self.peer(name);
        loop {
            let Some(output) = self.hosts[name].market.as_mut().and_then(Marketplace::poll_output) else {
                return;
            };
            if let Some(left) = self.hosts[name].crash_after.as_mut() {
                if *left == 0 {
                    self.crash(name);
                    return;
                }
                *left -= 1;
            }
            match output {
                Output::Persist(records) => {
                    let host = &mut self.hosts[name];
                    if let Some(left) = host.store_breaks_after.as_mut() {
                        host.store_broken |= *left == 0;
                        *left = left.saturating_sub(1);
                    }
                    if host.store_broken {
                        // As the contract says: what follows is dropped, and so is the market,
                        // after its last words.
                        self.last_words(name, from);
                        self.crash(name);
                        return;
                    }
                    self.hosts[name].journal.extend(records);
                }
                Output::Publish { topic, bytes } => self.publish(name, from, &topic, &bytes),
                Output::Send { ask, peer, frame, .. } => {
                    self.check_write_ahead(name, &frame);
                    self.sent.push((name, peer, frame.clone()));
                    let run = self.hosts[name].runs;
                    let to =
                        (0..self.hosts.len()).find(|other| self.is_up(*other) && self.peer(*other) == peer);
                    match to {
                        Some(to) => {
                            let request = Arrival::Request { to, from, ask: (name, run, ask), frame };
                            if !self.deliver(name, to, request) {
                                self.later(10_000, Arrival::Failed { to: name, run, ask, peer });
                            }
                        }
                        None => self.later(50, Arrival::Failed { to: name, run, ask, peer }),
                    }
                }
                Output::Reply { exchange, frame } => {
                    self.check_write_ahead(name, &frame);
                    if exchange == BY_HAND {
                        self.answer = Some(frame.clone());
                    }
                    let Some((to, run, ask, _)) = self.exchanges.remove(&exchange.0) else { continue };
                    self.sent.push((name, self.peer(to), frame.clone()));
                    let response = Arrival::Response { to, run, ask, from, frame };
                    if !self.deliver(name, to, response) {
                        let peer = from;
                        self.later(10_000, Arrival::Failed { to, run, ask, peer });
                    }
                }
                Output::Judge { verdict, .. } => *self.hosts[name].verdicts.entry(verdict).or_default() += 1,
                Output::Subscribe(topic) => {
                    self.hosts[name].topics.insert(topic.clone());
                    for other in 0..self.hosts.len() {
                        if other != name && self.is_up(other) {
                            let now = self.time(other);
                            let peer = from;
                            let input = Input::PeerSubscribed { peer, topic: topic.clone() };
                            self.hosts[other].market.as_mut().unwrap().handle_input(now, input);
                            self.drain(other);
                        }
                    }
                }
                Output::Unsubscribe(topic) => {
                    self.hosts[name].topics.remove(&topic);
                }
                Output::Notify(event) => self.hosts[name].events.push(event),
                Output::Work(order) => self.hosts[name].orders.push(order),
                Output::Dial { .. } | Output::Score { .. } => {}
            }
        }
    }

    fn publish(&mut self, name: Name, from: PeerKey, topic: &Topic, bytes: &[u8]) {
        let live = match AnyStatement::decode(bytes.to_vec()) {
            Ok(AnyStatement::DriverOffer(offer)) => Some(offer.body().live.is_some()),
            Ok(AnyStatement::RiderOffer(offer)) => Some(offer.body().live.is_some()),
            _ => None,
        };
        if let Some(live) = live {
            self.hosts[name].offer_out = live.then(|| bytes.to_vec());
        }
        for to in 0..self.hosts.len() {
            let hears = !self.deaf.contains(&to) && self.hosts[to].topics.contains(topic);
            if to != name && self.is_up(to) && hears {
                let message = Arrival::Gossip { to, from, topic: topic.clone(), bytes: bytes.to_vec() };
                self.deliver(name, to, message);
            }
        }
    }

    /// What a host says whose store has just refused.
    fn last_words(&mut self, name: Name, from: PeerKey) {
        let now = self.time(name);
        let Some(sent) = self.hosts[name].offer_out.take() else { return };
        let market = self.hosts[name].market.as_mut().expect("it is up");
        if let Some(Output::Publish { topic, bytes }) = market.last_words(now, &sent) {
            self.publish(name, from, &topic, &bytes);
        }
    }

    /// Every own ACCEPT, CONFIRM, ACK, VOID of a bound slot, COSIGN and bound RELEASE is
    /// in the journal before it is sent (P11.1).
    fn check_write_ahead(&self, name: Name, frame: &[u8]) {
        let Ok(Frame { content: FrameContent::Statement(bytes), .. }) = Frame::decode(frame) else { return };
        let statement = AnyStatement::decode(bytes.clone()).unwrap();
        let bound_release = match &statement {
            AnyStatement::Release(release) => release.body().agreement_id.is_some(),
            _ => false,
        };
        let binding = bound_release
            || matches!(
                statement.kind(),
                Kind::Accept | Kind::Confirm | Kind::Ack | Kind::Void | Kind::Cosign
            );
        if binding {
            let stored = self.hosts[name].journal.iter().any(|record| match record {
                Record::Statement { bytes: stored, .. } => stored.as_ref() == bytes.as_slice(),
                _ => false,
            });
            assert!(stored, "host {name} sent a {} before it was durable", statement.kind());
        }
    }

    fn later(&mut self, ms: u64, arrival: Arrival) {
        self.sequence += 1;
        self.queue.insert((self.now_ms + ms, self.sequence), arrival);
    }

    /// Puts a message on its way; says whether it will arrive.
    fn deliver(&mut self, from: Name, to: Name, arrival: Arrival) -> bool {
        let lost = self.rng.random::<f64>() < self.loss || self.cut.contains(&(from, to));
        let (least, most) = self.latency_ms;
        let delay = self.rng.random_range(least..=most);
        if lost {
            return false;
        }
        if self.rng.random::<f64>() < self.duplication
            && let Arrival::Request { to, from, ask, frame } = &arrival
        {
            let copy = Arrival::Request { to: *to, from: *from, ask: *ask, frame: frame.clone() };
            let again = delay + self.rng.random_range(1..2_000);
            self.later(again, copy);
        }
        self.later(delay, arrival);
        true
    }

    fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Gossip { to, from, topic, bytes } => {
                let id = hailmesh_wire::message_id(&topic.to_string(), &bytes);
                self.input(
                    to,
                    Input::Gossip { message: MessageRef { id, source: from }, topic, heard: bytes.into() },
                );
            }
            Arrival::Request { to, from, ask: (asker, run, ask), frame } => {
                let exchange = self.next_exchange;
                self.next_exchange += 1;
                self.exchanges.insert(exchange, (asker, run, ask, to));
                self.input(to, Input::Request { exchange: ExchangeId(exchange), peer: from, frame });
            }
            Arrival::Response { to, run, ask, from, frame } => {
                if self.hosts[to].runs == run {
                    self.input(to, Input::Response { ask, peer: from, frame });
                }
            }
            Arrival::Failed { to, run, ask, peer } => {
                if self.hosts[to].runs == run {
                    self.input(to, Input::SendFailed { ask, peer });
                }
            }
        }
    }

    /// Runs for so long, simulated.
    pub(crate) fn run(&mut self, ms: u64) {
        self.run_until(ms, |_| false);
    }

    /// Runs until something holds; says whether it came to hold in time.
    pub(crate) fn run_until(&mut self, ms: u64, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now_ms + ms;
        loop {
            if done(self) {
                return true;
            }
            let message = self.queue.keys().next().map(|(at, _)| *at);
            let timer = (0..self.hosts.len())
                .filter_map(|name| {
                    let (at, _) = self.hosts[name].market.as_ref()?.poll_timeout()?;
                    Some((at.as_millis().saturating_add_signed(-self.hosts[name].skew_ms), name))
                })
                .min();
            let next = [message, timer.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now_ms = end;
                return done(self);
            };
            self.now_ms = self.now_ms.max(next);
            if message == Some(next) {
                let key = *self.queue.keys().next().unwrap();
                let arrival = self.queue.remove(&key).unwrap();
                self.arrive(arrival);
            } else if let Some((_, name)) = timer {
                self.input(name, Input::Timeout);
            }
        }
    }

    // ---- what tests put together by hand ----

    /// The statements of a kind in the journal of a host, its own or those it was told.
    pub(crate) fn statements<T: Body>(&self, name: Name, whose: Whose) -> Vec<Signed<T>> {
        let of_kind = |record: &Record| match record {
            Record::Statement { kind, own, bytes, .. }
                if *kind == T::KIND && *own == (whose == Whose::Own) =>
            {
                Some(Signed::decode(Arc::clone(bytes)).unwrap())
            }
            _ => None,
        };
        self.hosts[name].journal.iter().filter_map(of_kind).collect()
    }

    /// The secret behind a key of a host.
    pub(crate) fn secret(&self, name: Name, key: &PublicKey) -> SigningKey {
        let of_key = |record: &Record| match record {
            Record::Key(made) => {
                let signing = SigningKey::from_bytes(&made.secret.0);
                (PublicKey::from(signing.verifying_key()) == *key).then_some(signing)
            }
            _ => None,
        };
        self.hosts[name].journal.iter().find_map(of_key).expect("a key of this host")
    }

    /// Says a statement to a host, and gives what it answers at once.
    pub(crate) fn say<T: Body>(&mut self, from: PeerKey, to: Name, statement: &Signed<T>) -> Option<Frame> {
        self.say_frame(from, to, Frame::statement(statement.bytes()).encode())
    }

    /// The same with a whole frame.
    pub(crate) fn say_frame(&mut self, from: PeerKey, to: Name, frame: Vec<u8>) -> Option<Frame> {
        self.answer = None;
        self.input(to, Input::Request { exchange: BY_HAND, peer: from, frame });
        self.answer.take().map(|frame| Frame::decode(&frame).unwrap())
    }

    // ---- what tests say ----

    pub(crate) fn driver(&mut self, at: &str) -> Name {
        self.driver_with(at, |_| {}, |_| {})
    }

    pub(crate) fn driver_with(
        &mut self,
        at: &str,
        configure: impl Fn(&mut Config),
        change: impl Fn(&mut DriverProfile),
    ) -> Name {
        let mut config = Config::default();
        configure(&mut config);
        let name = self.add(Some(Role::Driver), config);
        let mut profile = profile();
        change(&mut profile);
        self.command(name, Command::Move(Private(at.parse().unwrap()))).unwrap();
        self.command(name, Command::GoOnline(profile)).unwrap();
        name
    }

    pub(crate) fn rider(&mut self) -> Name {
        self.add(Some(Role::Rider), Config::default())
    }

    pub(crate) fn request(&mut self, rider: Name, from: &str, to: &str) -> RideId {
        self.ask(rider, wish(from, to))
    }

    /// The rider asks for a ride of its own terms.
    pub(crate) fn ask(&mut self, rider: Name, wish: Wish) -> RideId {
        match self.command(rider, Command::RequestRide(Box::new(wish))).unwrap() {
            Answer::Ride(ride) => ride,
            Answer::Done => panic!("a request gives a ride"),
        }
    }

    pub(crate) fn view(&self, name: Name, ride: RideId) -> RideView {
        self.hosts[name].market.as_ref().unwrap().ride(ride, self.time(name)).unwrap()
    }

    pub(crate) fn state(&self, name: Name, ride: RideId) -> Option<RideState> {
        let market = self.hosts[name].market.as_ref()?;
        Some(market.ride(ride, self.time(name))?.state)
    }

    /// How many statements of a kind a host has sent so far.
    pub(crate) fn times_sent(&self, name: Name, kind: Kind) -> usize {
        let is_it = |frame: &[u8]| match Frame::decode(frame).map(|frame| frame.content) {
            Ok(FrameContent::Statement(bytes)) => {
                AnyStatement::decode(bytes).is_ok_and(|statement| statement.kind() == kind)
            }
            _ => false,
        };
        self.sent.iter().filter(|(from, _, frame)| *from == name && is_it(frame)).count()
    }

    /// What was said, for whoever looks into a failure.
    pub(crate) fn transcript(&self) -> String {
        let line = |(from, _, frame): &(Name, PeerKey, Vec<u8>)| {
            let what = match Frame::decode(frame) {
                Ok(Frame { content: FrameContent::Statement(bytes), .. }) => {
                    match AnyStatement::decode(bytes) {
                        Ok(AnyStatement::Reject(reject)) => format!("REJECT {}", reject.body().reason),
                        Ok(statement) => statement.kind().to_string(),
                        Err(error) => error.to_string(),
                    }
                }
                Ok(frame) => format!("{:?}", frame.content),
                Err(error) => error.to_string(),
            };
            format!("{from}: {what}\n")
        };
        let said: String = self.sent.iter().map(line).collect();
        let events: String = self.hosts.iter().map(|host| format!("{:?}\n", host.events)).collect();
        said + &events
    }

    /// The newest ride of a driver.
    pub(crate) fn last_ride(&self, name: Name) -> Option<RideView> {
        self.hosts[name].market.as_ref()?.rides(self.time(name)).into_iter().next()
    }

    pub(crate) fn last_state(&self, name: Name) -> Option<RideState> {
        self.last_ride(name).map(|ride| ride.state)
    }
}

pub(crate) fn profile() -> DriverProfile {
    DriverProfile {
        class: Class::STANDARD,
        seats: Seats::new(4).unwrap(),
        features: Features::NONE,
        tariff: Tariff::default(),
        accept_mode: AcceptMode::Auto,
        precision: Resolution::PICKUP,
        discount: 0,
        vehicle: VehicleCard {
            plate: Text::new("HM 1").unwrap(),
            model: Text::new("Estate").unwrap(),
            colour: Text::new("blue").unwrap(),
            photo: None,
            credential_salt: None,
        },
    }
}

pub(crate) fn wish(from: &str, to: &str) -> Wish {
    Wish {
        from: Private(from.parse().unwrap()),
        to: Some(Private(to.parse().unwrap())),
        max_fare: None,
        currency: None,
        class: Class::STANDARD,
        party: Seats::ONE,
        features: Features::NONE,
        patience: Duration::from_secs(60),
        pickup_within: None,
        open: true,
        name: Text::new("R").unwrap(),
        phone: Text::default(),
        note: Text::default(),
    }
}
