//! Three hosts, what is on its way between them, and what their marketplaces ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hailmesh_market::{
    AskId, Command, Config, Event, ExchangeId, Input as Told, Marketplace, MessageRef, Origin, Output,
    Record, RideId, RideView, Role,
};
use hailmesh_sim::promises::{Ledger, Watch, cast, sides};
use hailmesh_types::{Duration, PeerKey, Timestamp};
use hailmesh_wire::{
    AnyStatement, Attachment, Frame, FrameContent, Heard, RideState, Signatures, SimulatedSignatures, Topic,
    message_id,
};

use super::fault::{Fault, StoreFault};
use super::people::Person;

/// A host by its place.
pub(super) type Name = usize;

const START_MS: u64 = 1_800_000_000_000;
/// How long anything is on its way.
const LATENCY_MS: u64 = 20;
/// How long an answer that does not come is waited for (P12).
const EXCHANGE_MS: u64 = 10_000;
/// How soon it is seen that nobody is there.
const NOBODY_MS: u64 = 50;
/// How long a host is down.
const DOWN_MS: u64 = 1_000;

/// Something that reaches a host.
#[derive(Debug, Clone)]
pub(super) enum Arrival {
    Gossip {
        from: PeerKey,
        topic: Topic,
        heard: Heard,
    },
    Request {
        from: Name,
        peer: PeerKey,
        run: u64,
        ask: AskId,
        frame: Vec<u8>,
    },
    Response {
        run: u64,
        ask: AskId,
        peer: PeerKey,
        frame: Vec<u8>,
    },
    Failed {
        run: u64,
        ask: AskId,
        peer: PeerKey,
    },
    /// It starts again.
    Back,
}

/// Something on its way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) at_ms: u64,
    pub(super) to: Name,
    pub(super) arrival: Arrival,
}

/// A node and its person.
pub(super) struct Host {
    pub(super) role: Role,
    config: Arc<Config>,
    pub(super) market: Option<Box<Marketplace>>,
    pub(super) ledger: Ledger,
    pub(super) person: Person,
    pub(super) peer: PeerKey,
    topics: BTreeSet<Topic>,
    run: u64,
    /// Runs of its process: a failed store begins a new marketplace in the same process.
    process: u64,
    /// The offer that was published last.
    offer: Option<Arc<[u8]>>,
    pub(super) store_fault: Option<StoreFault>,
    /// It crashes when it has carried out what it is about to do.
    dying: bool,
}

pub(super) struct World {
    pub(super) hosts: Vec<Host>,
    pub(super) flights: Vec<Flight>,
    pub(super) now_ms: u64,
    pub(super) watch: Watch,
    fault: Option<Fault>,
    signatures: Arc<dyn Signatures>,
    /// Who waits for the answer of which exchange, and from whom.
    exchanges: BTreeMap<u64, (Name, u64, AskId, Name)>,
    next_exchange: u64,
    /// What happened, for whoever looks into a finding.
    pub(super) told: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(cast: [Role; 3], tuning: u8, fault: Option<Fault>) -> Self {
        let signatures: Arc<dyn Signatures> = Arc::new(SimulatedSignatures::new([7; 32]));
        let mut config = Config::default();
        // The longest waits of all, shorter.
        config.timers.cosign = Duration::from_secs(30);
        config.timers.no_show_late = Duration::ZERO;
        if tuning & 1 != 0 {
            config.timers.open_after = Duration::ZERO;
        }
        if tuning & 2 != 0 {
            config.timers.hedge_step = Duration::ZERO;
        }
        let config = Arc::new(config);
        let host = |role| Host {
            role,
            config: Arc::clone(&config),
            market: None,
            ledger: Ledger::default(),
            person: Person::default(),
            peer: PeerKey::from_bytes([0; 32]),
            topics: BTreeSet::new(),
            run: 0,
            process: 0,
            offer: None,
            store_fault: None,
            dying: false,
        };
        Self {
            hosts: cast.map(host).into(),
            flights: Vec::new(),
            now_ms: 0,
            watch: Watch::new(Arc::clone(&signatures)),
            fault,
            signatures,
            exchanges: BTreeMap::new(),
            next_exchange: 0,
            told: None,
        }
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        let now_ms = self.now_ms;
        if let Some(lines) = self.told.as_mut() {
            lines.push(format!("{now_ms:>8} {}", text()));
        }
    }

    pub(super) fn time(&self) -> Timestamp {
        Timestamp::from_millis(START_MS + self.now_ms).expect("a time")
    }

    pub(super) fn names(&self, role: Role) -> Vec<Name> {
        (0..self.hosts.len()).filter(|name| self.hosts[*name].role == role).collect()
    }

    /// What a node shows, newest first; nothing when it is down.
    pub(super) fn rides(&self, name: Name) -> Vec<RideView> {
        let now = self.time();
        self.hosts[name].market.as_ref().map(|market| market.rides(now)).unwrap_or_default()
    }

    // ---- the way between hosts ----

    fn put(&mut self, at_ms: u64, to: Name, arrival: Arrival) {
        self.flights.push(Flight { at_ms, to, arrival });
    }

    /// Takes something out of the air that can be taken: a host that is down comes back, and
    /// an exchange that failed has failed.
    pub(super) fn take(&mut self, at: usize) -> Option<Flight> {
        let is_message = |flight: &Flight| !matches!(flight.arrival, Arrival::Back | Arrival::Failed { .. });
        is_message(self.flights.get(at)?).then(|| self.flights.remove(at))
    }

    /// A message is lost; whoever asked waits in vain.
    pub(super) fn lose(&mut self, at: usize) {
        let Some(flight) = self.take(at) else { return };
        self.note(|| format!("lost to {}", flight.to));
        let late_ms = self.now_ms + EXCHANGE_MS;
        match flight.arrival {
            Arrival::Request { from, run, ask, .. } => {
                let peer = self.hosts[flight.to].peer;
                self.put(late_ms, from, Arrival::Failed { run, ask, peer });
            }
            Arrival::Response { run, ask, peer, .. } => {
                self.put(late_ms, flight.to, Arrival::Failed { run, ask, peer });
            }
            _ => {}
        }
    }

    /// A message arrives again, so much later.
    pub(super) fn double(&mut self, at: usize, later_ms: u64) {
        let Some(flight) = self.flights.get(at).cloned() else { return };
        // Of an exchange the transport takes one answer.
        if matches!(flight.arrival, Arrival::Gossip { .. } | Arrival::Request { .. }) {
            self.put(flight.at_ms + later_ms, flight.to, flight.arrival);
        }
    }

    /// The next thing that is due, of messages and timers. False when nothing ever is.
    pub(super) fn next_event(&mut self) -> bool {
        let timer = |name: Name| {
            let (due, _) = self.hosts[name].market.as_ref()?.poll_timeout()?;
            Some((due.as_millis().saturating_sub(START_MS), name))
        };
        let timer = (0..self.hosts.len()).filter_map(timer).min();
        let flight = self.flights.iter().enumerate().map(|(at, flight)| (flight.at_ms, at)).min();
        match (flight, timer) {
            (Some((at_ms, at)), timer) if timer.is_none_or(|(due_ms, _)| at_ms <= due_ms) => {
                self.now_ms = self.now_ms.max(at_ms);
                let flight = self.flights.remove(at);
                self.arrive(flight);
                true
            }
            (_, Some((due_ms, name))) => {
                self.now_ms = self.now_ms.max(due_ms);
                self.timeout(name);
                true
            }
            _ => false,
        }
    }

    /// When the next thing is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        let timers = self.hosts.iter().filter_map(|host| {
            let (due, _) = host.market.as_ref()?.poll_timeout()?;
            Some(due.as_millis().saturating_sub(START_MS))
        });
        timers.chain(self.flights.iter().map(|flight| flight.at_ms)).min()
    }

    pub(super) fn timeout(&mut self, name: Name) {
        self.input(name, Told::Timeout);
    }

    pub(super) fn arrive(&mut self, flight: Flight) {
        let to = flight.to;
        match flight.arrival {
            Arrival::Back => self.start(to),
            Arrival::Request { from, run, ask, .. } if self.hosts[to].market.is_none() => {
                let peer = self.hosts[to].peer;
                self.put(self.now_ms + NOBODY_MS, from, Arrival::Failed { run, ask, peer });
            }
            Arrival::Request { from, peer, run, ask, frame } => {
                let exchange = self.next_exchange;
                self.next_exchange += 1;
                self.exchanges.insert(exchange, (from, run, ask, to));
                self.input(to, Told::Request { exchange: ExchangeId(exchange), peer, frame });
            }
            Arrival::Gossip { from, topic, heard } => {
                let id = message_id(&topic.to_string(), heard.bytes());
                self.input(to, Told::Gossip { message: MessageRef { id, source: from }, topic, heard });
            }
            Arrival::Response { run, ask, peer, frame } if self.hosts[to].run == run => {
                self.input(to, Told::Response { ask, peer, frame });
            }
            Arrival::Failed { run, ask, peer } if self.hosts[to].run == run => {
                self.input(to, Told::SendFailed { ask, peer });
            }
            Arrival::Response { .. } | Arrival::Failed { .. } => {}
        }
    }

    // ---- marketplaces ----

    /// Starts a host from its journal.
    pub(super) fn start(&mut self, name: Name) {
        let (now, fault) = (self.time(), self.fault);
        let host = &mut self.hosts[name];
        host.run += 1;
        let keys = cast::keys(name, host.role, host.process);
        let records = match fault {
            Some(fault) => fault.recovered(&host.ledger.records),
            None => host.ledger.records.clone(),
        };
        let (config, seed) = (Arc::clone(&host.config), cast::randomness(name, host.run));
        let market =
            Marketplace::recover_with(config, keys, seed, records, now, Arc::clone(&self.signatures));
        match market {
            Ok(market) => host.market = Some(Box::new(market)),
            Err(error) => return self.watch.violation("R", format!("host {name} does not recover: {error}")),
        }
        host.person.woke();
        self.note(|| format!("{name} starts"));
        self.learn_identity(name);
        self.drain(name);
        let own = self.hosts[name].peer;
        for other in (0..self.hosts.len()).filter(|other| *other != name) {
            if self.hosts[other].market.is_some() {
                let peer = self.hosts[other].peer;
                self.input(name, Told::PeerConnected { peer, origin: Origin::Loopback });
                self.input(other, Told::PeerConnected { peer: own, origin: Origin::Loopback });
                for topic in self.hosts[other].topics.clone() {
                    self.input(name, Told::PeerSubscribed { peer, topic });
                }
            }
        }
        self.check_receipts(name);
    }

    fn learn_identity(&mut self, name: Name) {
        let now = self.time();
        let host = &mut self.hosts[name];
        if let Some(market) = host.market.as_ref() {
            host.peer = market.snapshot(now).peer;
        }
    }

    /// A host is gone at once; its journal stays.
    pub(super) fn crash(&mut self, name: Name) {
        if self.hosts[name].market.is_none() {
            return;
        }
        self.note(|| format!("{name} crashes"));
        let gone = self.hosts[name].peer;
        self.hosts[name].process += 1;
        self.stop(name);
        for other in (0..self.hosts.len()).filter(|other| *other != name) {
            self.input(other, Told::PeerGone { peer: gone });
        }
    }

    /// The marketplace of a host is gone, and a new one begins with the journal.
    fn stop(&mut self, name: Name) {
        let host = &mut self.hosts[name];
        host.market = None;
        host.dying = false;
        host.offer = None;
        host.topics.clear();
        let gone = host.peer;
        self.put(self.now_ms + DOWN_MS, name, Arrival::Back);
        // What it had not answered breaks off.
        let open: Vec<u64> =
            self.exchanges.iter().filter(|(_, open)| open.3 == name).map(|(id, _)| *id).collect();
        for id in open {
            if let Some((to, run, ask, _)) = self.exchanges.remove(&id) {
                self.put(self.now_ms + NOBODY_MS, to, Arrival::Failed { run, ask, peer: gone });
            }
        }
    }

    fn input(&mut self, name: Name, told: Told) {
        let now = self.time();
        if let Some(market) = self.hosts[name].market.as_mut() {
            market.handle_input(now, told);
            self.drain(name);
        }
    }

    /// A command of the person at this host. Refusals are its business.
    pub(super) fn command(&mut self, name: Name, command: Command) -> bool {
        let now = self.time();
        let Some(market) = self.hosts[name].market.as_mut() else { return false };
        let word = format!("{command:?}");
        let answer = market.command(now, command);
        let is_taken = answer.is_ok();
        self.note(|| {
            let short = word.split(['(', ' ']).next().unwrap_or_default();
            format!(
                "{name} says {short}{}",
                answer.err().map(|error| format!(": {error}")).unwrap_or_default()
            )
        });
        self.drain(name);
        is_taken
    }

    /// Carries out what a marketplace asks for, until it asks for nothing more.
    fn drain(&mut self, name: Name) {
        let run = self.hosts[name].run;
        self.watch.now_ms = self.now_ms;
        while let Some(output) = self.hosts[name].market.as_mut().and_then(|market| market.poll_output()) {
            let from = self.hosts[name].peer;
            match output {
                Output::Persist(records) => self.persist(name, records),
                Output::Publish { topic, bytes } => self.publish(name, topic, bytes),
                Output::Send { ask, peer, frame, .. } => {
                    self.note(|| format!("{name} asks {}", words(&frame)));
                    self.watch.send(name, &self.hosts[name].ledger, &frame);
                    let found = (0..self.hosts.len())
                        .find(|to| self.hosts[*to].peer == peer && self.hosts[*to].market.is_some());
                    match found {
                        Some(to) => {
                            let arrival = Arrival::Request { from: name, peer: from, run, ask, frame };
                            self.put(self.now_ms + LATENCY_MS, to, arrival);
                        }
                        None => self.put(self.now_ms + NOBODY_MS, name, Arrival::Failed { run, ask, peer }),
                    }
                }
                Output::Reply { exchange, frame } => {
                    self.note(|| format!("{name} answers {}", words(&frame)));
                    self.watch.send(name, &self.hosts[name].ledger, &frame);
                    if let Some((to, run, ask, _)) = self.exchanges.remove(&exchange.0) {
                        let arrival = Arrival::Response { run, ask, peer: from, frame };
                        self.put(self.now_ms + LATENCY_MS, to, arrival);
                    }
                }
                Output::Subscribe(topic) => {
                    self.hosts[name].topics.insert(topic.clone());
                    for other in (0..self.hosts.len()).filter(|other| *other != name) {
                        self.input(other, Told::PeerSubscribed { peer: from, topic: topic.clone() });
                    }
                }
                Output::Unsubscribe(topic) => {
                    self.hosts[name].topics.remove(&topic);
                }
                Output::Notify(event) => self.hear(name, &event),
                Output::Judge { .. } | Output::Dial { .. } | Output::Score { .. } | Output::Work(_) => {}
            }
            if self.hosts[name].run != run || self.hosts[name].market.is_none() {
                return;
            }
        }
        if self.hosts[name].dying {
            self.crash(name);
        }
    }

    fn publish(&mut self, name: Name, topic: Topic, bytes: Arc<[u8]>) {
        self.watch.sign(name, &bytes);
        let from = self.hosts[name].peer;
        let heard = Heard::new(Arc::clone(&bytes));
        self.hosts[name].offer = Some(bytes);
        for to in (0..self.hosts.len()).filter(|to| *to != name) {
            if self.hosts[to].topics.contains(&topic) {
                let (topic, heard) = (topic.clone(), heard.clone());
                self.put(self.now_ms + LATENCY_MS, to, Arrival::Gossip { from, topic, heard });
            }
        }
    }

    fn hear(&mut self, name: Name, event: &Event) {
        if let Event::Ride { state, reason, .. } = event {
            self.note(|| format!("{name} ride is {state} {}", reason.as_deref().unwrap_or_default()));
        }
        match event {
            Event::Ride { ride, state: RideState::Firm | RideState::Committed, .. } => {
                self.check_receipt(name, *ride);
            }
            Event::Evidence { kind, .. } => {
                self.watch.violation("S6", format!("host {name} finds evidence of kind {kind}"));
            }
            Event::Cloned { .. } => {
                self.watch.violation("S6", format!("host {name} believes that it was copied"));
            }
            Event::KeyReplaced { .. } => self.learn_identity(name),
            _ => {}
        }
    }

    // ---- stores ----

    fn persist(&mut self, name: Name, records: Vec<Record>) {
        let dying = self.hosts[name].dying;
        if dying {
            return self.crash(name);
        }
        match self.hosts[name].store_fault.take() {
            None => self.keep(name, records),
            Some(StoreFault::Fails) => self.store_failed(name),
            Some(StoreFault::FailsAndKeeps) => {
                self.keep(name, records);
                self.store_failed(name);
            }
            Some(StoreFault::CrashBefore) if self.fault == Some(Fault::SendsAllTheSame) => {
                self.hosts[name].dying = true;
            }
            Some(StoreFault::CrashBefore) => self.crash(name),
            Some(StoreFault::CrashAfter) => {
                let mut records = records;
                if self.fault == Some(Fault::TearsBatches) {
                    records.truncate(records.len() / 2);
                }
                self.keep(name, records);
                self.crash(name);
            }
            Some(StoreFault::CrashAfterSends) => {
                self.keep(name, records);
                self.hosts[name].dying = true;
            }
        }
    }

    /// P11.1 and ADR 0008: nothing that follows the batch leaves the machine, the offer that
    /// is out is taken back, and a new marketplace goes on from the store.
    fn store_failed(&mut self, name: Name) {
        if self.fault == Some(Fault::GoesOnAfterFailure) {
            return;
        }
        let now = self.time();
        self.note(|| format!("{name} cannot keep its records"));
        let host = &mut self.hosts[name];
        let words = match (host.market.as_mut(), host.offer.take()) {
            (Some(market), Some(offer)) => market.last_words(now, &offer),
            _ => None,
        };
        if let Some(Output::Publish { topic, bytes }) = words {
            self.publish(name, topic, bytes);
        }
        self.stop(name);
    }

    fn keep(&mut self, name: Name, records: Vec<Record>) {
        self.watch.keep(name, &records);
        self.hosts[name].ledger.append(records);
        let (drivers, riders) = sides(self.hosts.iter().map(|host| (host.role, &host.ledger)));
        self.watch.look(&drivers, &riders);
    }

    // ---- S7 ----

    /// Whoever is bound or was has what both signed.
    pub(super) fn check_receipts(&mut self, name: Name) {
        let rides = self.rides(name);
        for ride in rides.iter().filter(|ride| ride.has_receipt) {
            self.check_receipt(name, ride.ride);
        }
        let host = &self.hosts[name];
        if host.market.is_none() {
            return;
        }
        let live = host.ledger.live().filter(|slot| slot.firm || slot.bound.role == Role::Rider);
        let missing = live.filter(|slot| !rides.iter().any(|ride| ride.ride == slot.bound.ride)).count();
        if missing > 0 {
            self.watch.violation("S7", format!("host {name} has forgotten a ride"));
        }
    }

    fn check_receipt(&mut self, name: Name, ride: RideId) {
        let Some(market) = self.hosts[name].market.as_ref() else { return };
        match market.receipt(ride) {
            Some(bytes) => self.watch.receipt(name, &bytes),
            None => self.watch.violation("S7", format!("host {name} is bound without a receipt")),
        }
    }
}

/// What a frame says, for whoever looks into a finding.
fn words(frame: &[u8]) -> String {
    let Ok(frame) = Frame::decode(frame) else { return "garbage".to_owned() };
    let kind = |bytes: &[u8]| match AnyStatement::decode(bytes) {
        Ok(AnyStatement::Reject(reject)) => format!("REJECT({})", reject.body().reason),
        Ok(statement) => format!("{} {}", statement.kind(), &statement.id().to_string()[..6]),
        Err(error) => error.to_string(),
    };
    let content = match &frame.content {
        FrameContent::Statement(bytes) => kind(bytes),
        other => format!("{other:?}"),
    };
    let attached = frame.attachments.iter().map(|attachment| match attachment {
        Attachment::Statement(bytes) => format!(" +{}", kind(bytes)),
        _ => " +opening".to_owned(),
    });
    content + &attached.collect::<String>()
}
