//! Production marketplaces on virtual time, each with a journal in memory, over a network
//! that does what the schedule says. Nothing is drawn: a schedule has one run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hailmesh_market::{
    Answer, AskId, Command, CommandError, Config, Event, ExchangeId, Input, Marketplace, MessageRef, Output,
    RideView, Role,
};
use hailmesh_types::{PeerKey, StatementId, Timestamp};
use hailmesh_wire::{AnyStatement, Frame, FrameContent, Heard, RideState, Signatures, Topic};

use crate::fault::Fault;
use crate::network::Network;
use crate::person::Person;
use crate::plan::{Name, Plan};
use crate::point::Point;
use crate::scenario::Scenario;
use hailmesh_sim::promises::Ledger;
use hailmesh_sim::promises::Watch;

/// The wall clock at which every run begins.
const START_MS: u64 = 1_800_000_000_000;
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
    pub(crate) config: Arc<Config>,
    pub(crate) market: Option<Box<Marketplace>>,
    pub(crate) ledger: Ledger,
    pub(crate) person: Person,
    pub(crate) peer: PeerKey,
    pub(crate) topics: BTreeSet<Topic>,
    /// Something has happened since its person looked at it.
    pub(crate) has_news: bool,
    pub(crate) run: u64,
    /// Batches so far, over all runs.
    pub(crate) batches: usize,
    /// It crashes when it has carried out what it is about to do.
    pub(crate) dying: bool,
    /// It crashes when one of these was heard.
    pub(crate) awaits: BTreeSet<StatementId>,
    /// Records before the last batch, for a journal that loses it.
    pub(crate) before_last: usize,
    /// What its person saw when everything that it had done was durable.
    pub(crate) seen: Vec<RideView>,
    pub(crate) crashes: usize,
    /// Until when the network troubles it.
    pub(crate) troubled_ms: u64,
}

/// Everything of one run.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) plan: Plan,
    pub(crate) fault: Option<Fault>,
    pub(crate) signatures: Arc<dyn Signatures>,
    pub(crate) now_ms: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    /// Who waits for the answer of which exchange, and from whom.
    pub(crate) exchanges: BTreeMap<u64, (Name, u64, AskId, Name)>,
    next_exchange: u64,
    pub(crate) watch: Watch,
    pub(crate) points: Vec<Point>,
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

    pub(crate) fn input(&mut self, name: Name, input: Input) {
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
    pub(crate) fn drain(&mut self, name: Name) {
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
