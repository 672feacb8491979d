//! Production marketplaces on virtual time, each with a journal in memory, over a network
//! that does what the schedule says. Nothing is drawn: a schedule has one run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hailmesh_market::{
    Answer, AskId, Command, CommandError, Config, Event, ExchangeId, Input, Keys, Marketplace, MessageRef,
    Origin, Output, Record, RideId, RideView, Role,
};
use hailmesh_types::{PeerKey, StatementId, Timestamp};
use hailmesh_wire::{AnyStatement, Frame, FrameContent, Heard, RideState, Signatures, Topic};

use crate::fault::Fault;
use crate::ledger::Ledger;
use crate::network::Network;
use crate::person::Person;
use crate::plan::{Crash, Name, Plan, Position};
use crate::point::{Point, kind_of, queued};
use crate::scenario::Scenario;
use crate::watch::Watch;

/// The wall clock at which every run begins.
const START_MS: u64 = 1_800_000_000_000;
/// How long a host is down.
const DOWN_MS: u64 = 1_000;
/// How long after its return the network troubles a host.
pub(crate) const TROUBLE_MS: u64 = 1_000;
/// How long a host waits for an answer that does not come (P12).
pub(crate) const EXCHANGE_MS: u64 = 10_000;
/// How soon it is seen that nobody is there.
pub(crate) const NOBODY_MS: u64 = 50;

/// Something that reaches a host.
#[derive(Clone)]
pub(crate) enum Arrival {
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

/// A node and its person.
pub(crate) struct Host {
    pub(crate) role: Role,
    config: Arc<Config>,
    pub(crate) market: Option<Box<Marketplace>>,
    pub(crate) ledger: Ledger,
    pub(crate) person: Person,
    pub(crate) peer: PeerKey,
    topics: BTreeSet<Topic>,
    /// Something has happened since its person looked at it.
    pub(crate) has_news: bool,
    pub(crate) run: u64,
    /// Batches so far, over all runs.
    batches: usize,
    /// It crashes when it has carried out what it is about to do.
    dying: bool,
    /// It crashes when one of these was heard.
    awaits: BTreeSet<StatementId>,
    /// Records before the last batch, for a journal that loses it.
    before_last: usize,
    /// What its person saw when everything that it had done was durable.
    seen: Vec<RideView>,
    pub(crate) crashes: usize,
    /// Until when the network troubles it.
    pub(crate) troubled_ms: u64,
}

/// Everything of one run.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    plan: Plan,
    fault: Option<Fault>,
    signatures: Arc<dyn Signatures>,
    pub(crate) now_ms: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    /// Who waits for the answer of which exchange, and from whom.
    exchanges: BTreeMap<u64, (Name, u64, AskId, Name)>,
    next_exchange: u64,
    pub(crate) watch: Watch,
    pub(crate) points: Vec<Point>,
    /// When the last crash fell.
    pub(crate) crashed_ms: u64,
    /// What was said, for whoever looks into a failure.
    pub(crate) transcript: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(
        scenario: Scenario,
        plan: Plan,
        fault: Option<Fault>,
        signatures: Arc<dyn Signatures>,
    ) -> Self {
        let mut world = Self {
            network: Network::new(plan.net, scenario.drops),
            scenario,
            plan,
            fault,
            watch: Watch::new(Arc::clone(&signatures)),
            signatures,
            now_ms: 0,
            hosts: Vec::new(),
            exchanges: BTreeMap::new(),
            next_exchange: 0,
            points: Vec::new(),
            crashed_ms: 0,
            transcript: None,
        };
        let drivers = (0..world.scenario.drivers).map(|_| Role::Driver);
        let riders = (0..world.scenario.riders).map(|_| Role::Rider);
        for role in drivers.chain(riders).collect::<Vec<_>>() {
            let config = Arc::new(world.scenario.config());
            world.hosts.push(Host {
                role,
                config,
                market: None,
                ledger: Ledger::default(),
                person: Person::default(),
                peer: PeerKey::from_bytes([0; 32]),
                topics: BTreeSet::new(),
                has_news: false,
                run: 0,
                batches: 0,
                dying: false,
                awaits: BTreeSet::new(),
                before_last: 0,
                seen: Vec::new(),
                crashes: 0,
                troubled_ms: 0,
            });
        }
        world
    }

    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_millis(START_MS + self.now_ms).expect("a time that can be")
    }

    pub(crate) fn names(&self, role: Role) -> impl Iterator<Item = Name> + use<'_> {
        (0..self.hosts.len()).filter(move |name| self.hosts[*name].role == role)
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        let now_ms = self.now_ms;
        if let Some(lines) = self.transcript.as_mut() {
            lines.push(format!("{now_ms:>7} {}", text()));
        }
    }

    /// Starts a host from its journal.
    pub(crate) fn start(&mut self, name: Name) {
        let now = self.time();
        let host = &mut self.hosts[name];
        host.has_news = true;
        host.run += 1;
        let seed = |what: u8, run: u64| {
            let mut seed = [what; 32];
            seed[1] = u8::try_from(name).unwrap_or(0);
            seed[2..10].copy_from_slice(&run.to_le_bytes());
            seed
        };
        // A rider's transport identity is new in every run; a driver's is its shift key.
        let transport = SigningKey::from_bytes(&seed(2, host.run));
        let keys = Keys {
            role: Some(host.role),
            identity: SigningKey::from_bytes(&seed(1, 0)),
            transport: Some(PeerKey::from_bytes(transport.verifying_key().to_bytes())),
            lost: false,
            new_host: false,
        };
        let records = match self.fault {
            Some(fault) => fault.recovered(&host.ledger.records),
            None => host.ledger.records.clone(),
        };
        let (config, seed) = (Arc::clone(&host.config), seed(3, host.run));
        match Marketplace::recover_with(config, keys, seed, records, now, Arc::clone(&self.signatures)) {
            Ok(market) => host.market = Some(Box::new(market)),
            Err(error) => return self.watch.violation("R", format!("host {name} does not recover: {error}")),
        }
        host.person.woke();
        self.note(|| format!("{name} starts"));
        self.check_recovered(name);
        self.learn_identity(name);
        self.drain(name);
        let own = self.hosts[name].peer;
        for other in (0..self.hosts.len()).filter(|other| *other != name).collect::<Vec<_>>() {
            if self.hosts[other].market.is_some() {
                let peer = self.hosts[other].peer;
                self.input(name, Input::PeerConnected { peer, origin: Origin::Loopback });
                self.input(other, Input::PeerConnected { peer: own, origin: Origin::Loopback });
                for topic in self.hosts[other].topics.clone() {
                    self.input(name, Input::PeerSubscribed { peer, topic });
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
    fn crash(&mut self, name: Name) {
        self.note(|| format!("{name} crashes"));
        let host = &mut self.hosts[name];
        host.market = None;
        host.dying = false;
        host.awaits.clear();
        host.topics.clear();
        host.crashes += 1;
        host.troubled_ms = self.now_ms + DOWN_MS + TROUBLE_MS;
        if self.fault == Some(Fault::LosesLastBatch) {
            let mut records = std::mem::take(&mut host.ledger.records);
            records.truncate(host.before_last);
            host.ledger = Ledger::of(records);
        }
        let (gone, back_ms, troubled_ms) = (host.peer, self.now_ms + DOWN_MS, host.troubled_ms);
        self.crashed_ms = self.now_ms;
        self.network.put(back_ms, name, Arrival::Back);
        self.network.crashed(self.now_ms, name, troubled_ms);
        // What it had not answered breaks off with its connections.
        let open: Vec<u64> =
            self.exchanges.iter().filter(|(_, open)| open.3 == name).map(|(id, _)| *id).collect();
        for id in open {
            if let Some((to, run, ask, _)) = self.exchanges.remove(&id) {
                self.network.put(self.now_ms + NOBODY_MS, to, Arrival::Failed { run, ask, peer: gone });
            }
        }
        for other in 0..self.hosts.len() {
            if other != name {
                self.input(other, Input::PeerGone { peer: gone });
            }
        }
    }

    fn input(&mut self, name: Name, input: Input) {
        let now = self.time();
        if let Some(market) = self.hosts[name].market.as_mut() {
            market.handle_input(now, input);
            self.drain(name);
        }
    }

    /// A command of the person at this host; nothing when it is down.
    pub(crate) fn command(&mut self, name: Name, command: Command) -> Option<Result<Answer, CommandError>> {
        let now = self.time();
        let word = format!("{command:?}");
        let answer = self.hosts[name].market.as_mut()?.command(now, command);
        let short = word.split(['(', ' ']).next().unwrap_or_default();
        self.note(|| match &answer {
            Ok(_) => format!("{name} says {short}"),
            Err(error) => format!("{name} says {short}: {error}"),
        });
        self.drain(name);
        Some(answer)
    }

    /// Carries out what a marketplace asks for, until it asks for nothing more.
    fn drain(&mut self, name: Name) {
        let run = self.hosts[name].run;
        let alive = |world: &Self| world.hosts[name].run == run && world.hosts[name].market.is_some();
        while let Some(output) = self.hosts[name].market.as_mut().and_then(|market| market.poll_output()) {
            let from = self.hosts[name].peer;
            match output {
                Output::Persist(records) => self.persist(name, records),
                Output::Publish { topic, bytes } => {
                    self.watch.now_ms = self.now_ms;
                    self.watch.sign(name, &bytes);
                    let heard = Heard::new(bytes);
                    for to in (0..self.hosts.len()).filter(|to| *to != name) {
                        if self.hosts[to].topics.contains(&topic) {
                            let (topic, heard) = (topic.clone(), heard.clone());
                            self.network.gossip(self.now_ms, to, Arrival::Gossip { from, topic, heard });
                        }
                    }
                }
                Output::Send { ask, peer, frame, .. } => {
                    self.said(name, &frame);
                    let found = (0..self.hosts.len())
                        .find(|to| self.hosts[*to].peer == peer && self.hosts[*to].market.is_some());
                    let troubled = found.map(|to| (to, self.hosts[to].troubled_ms));
                    let arrival = Arrival::Request { from: name, peer: from, run, ask, frame };
                    let lost = Arrival::Failed { run, ask, peer };
                    let own = (name, self.hosts[name].troubled_ms);
                    self.network.direct(self.now_ms, own, troubled, arrival, lost);
                }
                Output::Reply { exchange, frame } => {
                    self.said(name, &frame);
                    let Some((to, run, ask, _)) = self.exchanges.remove(&exchange.0) else { continue };
                    let troubled = Some((to, self.hosts[to].troubled_ms));
                    let arrival = Arrival::Response { run, ask, peer: from, frame };
                    // Whoever asked waits in vain.
                    let lost = Arrival::Failed { run, ask, peer: from };
                    self.network.answer(self.now_ms, name, troubled, arrival, lost);
                }
                Output::Subscribe(topic) => {
                    self.hosts[name].topics.insert(topic.clone());
                    for other in (0..self.hosts.len()).filter(|other| *other != name) {
                        self.input(other, Input::PeerSubscribed { peer: from, topic: topic.clone() });
                    }
                }
                Output::Unsubscribe(topic) => {
                    self.hosts[name].topics.remove(&topic);
                }
                Output::Notify(event) => self.hear(name, &event),
                Output::Judge { .. } | Output::Dial { .. } | Output::Score { .. } | Output::Work(_) => {}
            }
            if !alive(self) {
                return;
            }
        }
        if self.hosts[name].dying || self.is_heard(name) {
            // Nothing is left to be carried out, so that the journal knows everything.
            self.hosts[name].seen = self.rides(name);
            self.crash(name);
        }
    }

    /// R: the journal alone gives back what was shown of every agreement. What goes on in a
    /// search after one, or came of it, is not kept (P11.2).
    fn check_recovered(&mut self, name: Name) {
        let seen = std::mem::take(&mut self.hosts[name].seen);
        let shown = self.rides(name);
        let searched = |ride: &RideView| ride.state == RideState::Requested || ride.no_match.is_some();
        for before in seen.iter().filter(|ride| ride.agreement.is_some() && !searched(ride)) {
            let after = shown.iter().find(|ride| ride.ride == before.ride);
            if after.map(lasting) != Some(lasting(before)) {
                let what = format!("host {name} showed {before:?} and shows {after:?} after a restart");
                self.watch.violation("R", what);
            }
        }
    }

    /// Whether something that the host waits for was heard, and the outbox still holds it.
    fn is_heard(&self, name: Name) -> bool {
        let host = &self.hosts[name];
        if host.awaits.is_empty() {
            return false;
        }
        let left = host.market.as_ref().map_or(0, |market| market.snapshot(self.time()).outbox);
        left < host.ledger.outbox.len()
    }

    /// A batch of records is to be made durable: here schedules have their say.
    fn persist(&mut self, name: Name, records: Vec<Record>) {
        self.watch.now_ms = self.now_ms;
        let host = &mut self.hosts[name];
        let kind = kind_of(&records, &host.ledger.roles);
        let rows = queued(&records);
        // One that goes elsewhere now is done and put again.
        let done = |record: &Record| match record {
            Record::OutboxDone { statement } => host.awaits.contains(statement) && !rows.contains(statement),
            _ => false,
        };
        if host.dying || records.iter().any(done) {
            return self.crash(name);
        }
        let batch = host.batches;
        host.batches += 1;
        self.note(|| format!("{name} keeps {batch}: {kind}"));
        self.points.push(Point { host: name, batch, kind, queued: !rows.is_empty() });
        let here = |crash: &&Crash| (crash.host, crash.batch) == (name, batch);
        let position = self.plan.crashes.iter().find(here).map(|crash| crash.position);
        let host = &mut self.hosts[name];
        if position == Some(Position::Before) {
            if self.fault == Some(Fault::SendsFirst) {
                host.dying = true;
                return;
            }
            return self.crash(name);
        }
        host.before_last = host.ledger.records.len();
        let records = match (self.fault, position) {
            (Some(fault), Some(_)) => fault.torn(records),
            _ => records,
        };
        self.keep(name, records);
        match position {
            Some(Position::After) => self.crash(name),
            Some(Position::Sent) => self.hosts[name].dying = true,
            Some(Position::Heard) => self.hosts[name].awaits = rows,
            Some(Position::Before) | None => {}
        }
    }

    fn keep(&mut self, name: Name, records: Vec<Record>) {
        for record in &records {
            match record {
                Record::Statement { own: true, bytes, .. } | Record::OutboxPut { bytes, .. } => {
                    self.watch.sign(name, bytes);
                }
                Record::Key(key) => {
                    if let Some(cert) = &key.cert {
                        self.watch.sign(name, cert);
                    }
                }
                _ => {}
            }
        }
        self.hosts[name].ledger.append(records);
        let of = |role: Role| {
            let hosts = self.hosts.iter().filter(move |host| host.role == role);
            hosts.map(|host| &host.ledger).collect::<Vec<_>>()
        };
        let (drivers, riders) = (of(Role::Driver), of(Role::Rider));
        self.watch.look(&drivers, &riders);
    }

    fn said(&mut self, name: Name, frame: &[u8]) {
        self.watch.now_ms = self.now_ms;
        self.watch.send(name, &self.hosts[name].ledger, frame);
        self.note(|| format!("{name} sends {}", words(frame)));
    }

    fn hear(&mut self, name: Name, event: &Event) {
        self.watch.now_ms = self.now_ms;
        self.hosts[name].has_news = true;
        match event {
            Event::Ride { ride, state, reason, .. } => {
                self.note(|| format!("{name} ride is {state} {}", reason.as_deref().unwrap_or_default()));
                if matches!(state, RideState::Firm | RideState::Committed) {
                    self.check_receipt(name, *ride);
                }
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

    /// S7 for every ride of a host that is bound or was.
    pub(crate) fn check_receipts(&mut self, name: Name) {
        let now = self.time();
        let Some(market) = self.hosts[name].market.as_ref() else { return };
        let rides = market.rides(now);
        let agreed = rides.iter().filter(|ride| ride.has_receipt).map(|ride| ride.ride);
        for ride in agreed.collect::<Vec<RideId>>() {
            self.check_receipt(name, ride);
        }
        let host = &self.hosts[name];
        let live = host.ledger.live().filter(|slot| slot.firm || slot.bound.role == Role::Rider);
        let missing = live.filter(|slot| !rides.iter().any(|ride| ride.ride == slot.bound.ride)).count();
        if missing > 0 {
            self.watch.violation("S7", format!("host {name} has forgotten a ride"));
        }
    }

    /// S7: whoever is bound holds what both signed, for anybody to check.
    fn check_receipt(&mut self, name: Name, ride: RideId) {
        let Some(market) = self.hosts[name].market.as_ref() else { return };
        let Some(bytes) = market.receipt(ride) else {
            return self.watch.violation("S7", format!("host {name} is bound without a receipt"));
        };
        self.watch.receipt(name, &bytes);
    }

    /// Something has arrived.
    pub(crate) fn arrive(&mut self, to: Name, arrival: Arrival) {
        let is_up = self.hosts[to].market.is_some();
        match arrival {
            Arrival::Back => self.start(to),
            Arrival::Request { from, run, ask, .. } if !is_up => {
                let peer = self.hosts[to].peer;
                self.network.put(self.now_ms + NOBODY_MS, from, Arrival::Failed { run, ask, peer });
            }
            Arrival::Request { from, peer, run, ask, frame } => {
                let exchange = self.next_exchange;
                self.next_exchange += 1;
                self.exchanges.insert(exchange, (from, run, ask, to));
                self.input(to, Input::Request { exchange: ExchangeId(exchange), peer, frame });
            }
            Arrival::Gossip { from, topic, heard } => {
                let id = hailmesh_wire::message_id(&topic.to_string(), heard.bytes());
                self.input(to, Input::Gossip { message: MessageRef { id, source: from }, topic, heard });
            }
            Arrival::Response { run, ask, peer, frame } => {
                if self.hosts[to].run == run {
                    self.input(to, Input::Response { ask, peer, frame });
                }
            }
            Arrival::Failed { run, ask, peer } => {
                if self.hosts[to].run == run {
                    self.input(to, Input::SendFailed { ask, peer });
                }
            }
        }
    }

    /// The next timer of any marketplace, in milliseconds since the start.
    pub(crate) fn next_timer(&self) -> Option<(u64, Name)> {
        let due = |name: Name| {
            let (at, _) = self.hosts[name].market.as_ref()?.poll_timeout()?;
            Some((at.as_millis().saturating_sub(START_MS), name))
        };
        (0..self.hosts.len()).filter_map(due).min()
    }

    pub(crate) fn timeout(&mut self, name: Name) {
        self.input(name, Input::Timeout);
    }
}

/// What a restart must not change of a ride: everything but how it came about, what the
/// other side told in passing, and what depends on the moment.
fn lasting(ride: &RideView) -> RideView {
    let mut ride = RideView { history: Vec::new(), no_match: None, choice: None, ..ride.clone() };
    (ride.eta, ride.settle_ms, ride.asked) = (None, None, 0);
    (ride.seen_at, ride.sharing, ride.cancel_fee) = (None, false, None);
    ride
}

/// What a frame says, for the transcript.
fn words(frame: &[u8]) -> String {
    let Ok(frame) = Frame::decode(frame) else { return "garbage".to_owned() };
    let kind = |bytes: &[u8]| match AnyStatement::decode(bytes.to_vec()) {
        Ok(AnyStatement::Reject(reject)) => format!("REJECT({})", reject.body().reason),
        Ok(statement) => statement.kind().to_string(),
        Err(error) => error.to_string(),
    };
    let content = match &frame.content {
        FrameContent::Statement(bytes) => kind(bytes),
        other => format!("{other:?}"),
    };
    let attached = frame.attachments.iter().map(|attachment| match attachment {
        hailmesh_wire::Attachment::Statement(bytes) => format!(" +{}", kind(bytes)),
        _ => " +opening".to_owned(),
    });
    content + &attached.collect::<String>()
}
