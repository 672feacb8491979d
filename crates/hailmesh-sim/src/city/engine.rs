//! The run: windows one after the other, and what goes from host to host between them.

mod count;
mod gossip;
mod sample;
mod setup;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use hailmesh_market::Config;
use hailmesh_types::PeerKey;
use hailmesh_wire::{AnyStatement, Signatures, Topic};

use self::count::delays_of;
use self::sample::SAMPLE_MS;
use self::setup::{config, shown, signatures};
use self::watch::Watch;
use super::driver::DriverPerson;
use super::fault::Mischief;
use super::host::{Arrival, EXCHANGE_MS, Host, Outgoing, Person, What};
use super::hostile::{Hostile, attackers, eclipsed};
use super::link::{Draws, frame_delays, is_cut};
use super::oracle::{Oracle, Violation};
use super::rider::RiderPerson;
use super::settings::{RunError, Settings};
use super::settle::Settled;
use super::shard::{Shard, Spread, Window};
use super::travel::RoadTimes;
use crate::adversary::Behaviour;
use crate::judge::AttackTally;
use crate::outcome::{Moment, RideOutcome, RunOutcome, Traffic};
use crate::policy::Policy;
use crate::roads::Roads;
use crate::scenario::{Scenario, TripRequest};

/// Nodes are up this long before the first request, so that they know each other.
pub(super) const WARM_MS: u64 = 60_000;
/// Drivers come online one after the other over this long.
const ARRIVE_MS: u32 = 20_000;

/// What all hosts share and none can change.
pub(super) struct Shared {
    pub(super) seed: u64,
    pub(super) settings: Settings,
    /// The same without loss and duplication, for when the faults of a plan are over.
    calm: Option<Box<Settings>>,
    pub(super) patience_ms: u64,
    pub(super) boarding_ms: u64,
    pub(super) config: Arc<Config>,
    pub(super) signatures: Arc<dyn Signatures>,
    pub(super) travel: Arc<RoadTimes>,
    /// What each attacker does; their hosts come after all others.
    hostile: Vec<Behaviour>,
    first_hostile: u32,
    /// Nodes that hear nobody but attackers, and are heard by nobody else.
    eclipsed: BTreeSet<u32>,
    scenario: Arc<Scenario>,
}

impl Shared {
    pub(super) fn roads(&self) -> &Roads {
        &self.scenario.roads
    }

    pub(super) fn request(&self, index: u32) -> &TripRequest {
        &self.scenario.requests[index as usize]
    }

    /// What this host does, if it is an attacker.
    pub(super) fn hostile(&self, host: u32) -> Option<Behaviour> {
        let number = host.checked_sub(self.first_hostile)?;
        self.hostile.get(number as usize).copied()
    }

    /// Whether attackers stand between these two.
    pub(super) fn is_eclipsed(&self, from: u32, to: u32) -> bool {
        !self.eclipsed.is_empty()
            && (self.eclipsed.contains(&from) || self.eclipsed.contains(&to))
            && self.hostile(from).is_none()
    }

    /// Verifies a receipt as a stranger would.
    pub(super) fn check_receipt(&self, bytes: &[u8]) -> Result<(), String> {
        let receipt = hailmesh_wire::Receipt::decode(bytes).map_err(|error| error.to_string())?;
        receipt
            .verify_with(&self.settings.node.issuers, &*self.signatures)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Simulated time since the first request could be made, milliseconds.
    pub at_ms: u64,
    /// Its end.
    pub end_ms: u64,
    /// Events so far.
    pub events: u64,
    /// What went on lately.
    pub moment: Moment,
}

/// What came of a run, with what the oracles say.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The facts.
    pub outcome: RunOutcome,
    /// What must not happen and did, the first hundred.
    pub violations: Vec<Violation>,
    /// Agreements that both sides came to hold.
    pub agreements: u64,
    /// How often a node found or heard evidence against somebody.
    pub exposures: u64,
    /// What became of each attack.
    pub tallies: Vec<AttackTally>,
    /// What went wrong; nothing without a plan of faults.
    pub mischief: Mischief,
    /// What journals say of agreements at the end; nothing without a plan of faults.
    pub settled: Settled,
}

/// Runs a fleet of nodes through a scenario.
///
/// # Errors
/// A setting outside its bounds, or a fleet that the scenario does not have.
pub fn run(
    scenario: &Arc<Scenario>,
    settings: &Settings,
    fleet: u32,
    seed: u64,
    policy: Policy,
    progress: &mut dyn FnMut(Progress),
) -> Result<Run, RunError> {
    settings.check()?;
    let vehicles = scenario.fleet(fleet, seed)?;
    let first_hostile = fleet + u32::try_from(scenario.requests.len()).unwrap_or(u32::MAX - fleet);
    let hostile = attackers(settings);
    let eclipsed = eclipsed(&hostile, first_hostile, seed);
    let shared = Arc::new(Shared {
        seed,
        hostile,
        first_hostile,
        eclipsed,
        settings: settings.clone(),
        calm: settings
            .faults
            .as_ref()
            .map(|_| Box::new(Settings { loss: 0.0, duplication: 0.0, ..settings.clone() })),
        patience_ms: scenario.patience_ms,
        boarding_ms: scenario.boarding_ms,
        config: Arc::new(config(settings, policy)),
        signatures: signatures(settings.signing, seed),
        travel: Arc::new(RoadTimes::new(&scenario.roads, &shown(settings))),
        scenario: Arc::clone(scenario),
    });
    let length_ms = u64::from(settings.latency_ms.0);
    let threads = u32::try_from(settings.threads).unwrap_or(1);
    let mut shards: Vec<Shard> = (0..threads).map(|_| Shard::new(threads, length_ms)).collect();
    for (id, vehicle) in (0..).zip(&vehicles) {
        let mut draws = Draws::of(seed, 0x5742, u64::from(id), 0);
        let start_ms = u64::from(draws.between(0, ARRIVE_MS));
        let person = Person::Driver(DriverPerson::new(vehicle.junction, vehicle.seats));
        let host = Host::new(&shared, id, person, start_ms);
        shards[(id % threads) as usize].add(host);
    }
    // Attackers stand where the cars stand that are not in the fleet.
    for (number, behaviour) in (0..).zip(&shared.hostile) {
        let vehicle = &scenario.vehicles[(fleet + number) as usize % scenario.vehicles.len()];
        let id = first_hostile + number;
        let person = Person::Hostile(Hostile::new(*behaviour, vehicle.junction));
        let start_ms = u64::from(Draws::of(seed, 0x5742, u64::from(id), 0).between(0, ARRIVE_MS));
        shards[(id % threads) as usize].add(Host::new(&shared, id, person, start_ms));
    }
    let mut engine = Engine::new(Arc::clone(&shared), fleet, length_ms);
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 1..threads {
            let (to, inbox) = channel::<Job>();
            let (outbox, from) = channel::<Shard>();
            let shared = Arc::clone(&shared);
            scope.spawn(move || work(&shared, &inbox, &outbox));
            workers.push((to, from));
        }
        engine.run(&mut shards, &workers, progress);
    });
    Ok(engine.finish(shards, policy, fleet))
}

/// A window's work for one thread.
struct Job {
    shard: Shard,
    window: Window,
    gossip: Arc<Vec<Spread>>,
}

type Worker = (Sender<Job>, Receiver<Shard>);

fn work(shared: &Shared, inbox: &Receiver<Job>, outbox: &Sender<Shard>) {
    while let Ok(Job { mut shard, window, gossip }) = inbox.recv() {
        shard.run(shared, window, &gossip);
        drop(gossip);
        if outbox.send(shard).is_err() {
            return;
        }
    }
}

/// What is known between windows.
struct Engine {
    shared: Arc<Shared>,
    fleet: u32,
    length_ms: u64,
    end_ms: u64,
    /// Requests whose riders are not up yet, by the time they come up.
    to_come: std::vec::IntoIter<(u64, u32)>,
    next_rider: Option<(u64, u32)>,
    identities: BTreeMap<PeerKey, u32>,
    peers: BTreeMap<u32, PeerKey>,
    connected: BTreeMap<u32, BTreeSet<u32>>,
    /// Hosts that are not up: nobody gets a connection to them.
    down: BTreeSet<u32>,
    listeners: BTreeMap<Topic, Vec<u32>>,
    /// Live offers: topic, author's host, published when, over when.
    offers: BTreeMap<Topic, BTreeMap<u32, (u64, u64)>>,
    /// The topic on which an author was heard last.
    offers_on: BTreeMap<u32, Topic>,
    /// The certificates that came with an author's offers last.
    certificates: BTreeMap<u32, Box<[AnyStatement]>>,
    gossip: Vec<Spread>,
    order: u64,
    trace: blake3::Hasher,
    oracle: Oracle,
    traffic: Traffic,
    view: (f64, u64),
    moments: Vec<Moment>,
    /// Totals at the last moment.
    before: Moment,
    next_sample: u64,
    /// Hosts that were seen holding a slot at the last look.
    held: BTreeMap<u32, u64>,
    rides: Vec<RideOutcome>,
    /// In runs with a plan of faults.
    watch: Option<Box<Watch>>,
}

impl Engine {
    fn new(shared: Arc<Shared>, fleet: u32, length_ms: u64) -> Self {
        let scenario = &shared.scenario;
        let lead = shared.settings.rider_lead_ms.min(WARM_MS);
        let up: Vec<(u64, u32)> = scenario
            .requests
            .iter()
            .zip(0..)
            .map(|(trip, index)| (WARM_MS + trip.t_ms - lead, index))
            .collect();
        let end_ms = WARM_MS + scenario.hour_ms + scenario.drain_ms;
        let mut to_come = up.into_iter();
        let next_rider = to_come.next();
        Self {
            fleet,
            length_ms,
            end_ms,
            to_come,
            next_rider,
            identities: BTreeMap::new(),
            peers: BTreeMap::new(),
            connected: BTreeMap::new(),
            down: BTreeSet::new(),
            listeners: BTreeMap::new(),
            offers: BTreeMap::new(),
            offers_on: BTreeMap::new(),
            certificates: BTreeMap::new(),
            gossip: Vec::new(),
            order: 0,
            trace: blake3::Hasher::new(),
            oracle: Oracle::default(),
            traffic: Traffic::default(),
            view: (0.0, 0),
            moments: Vec::new(),
            before: Moment::default(),
            next_sample: WARM_MS,
            held: BTreeMap::new(),
            rides: Vec::new(),
            watch: shared.settings.faults.as_ref().map(|_| Box::default()),
            shared,
        }
    }

    fn run(&mut self, shards: &mut [Shard], workers: &[Worker], progress: &mut dyn FnMut(Progress)) {
        loop {
            let rider = self.next_rider.map(|(at, _)| at / self.length_ms);
            let gossip = self.gossip.first().map(|spread| spread.message.at_ms / self.length_ms + 1);
            let next = shards.iter().filter_map(|shard| shard.next()).chain(rider).chain(gossip).min();
            let Some(index) = next else { return };
            let window = Window { index, length_ms: self.length_ms };
            if window.start_ms() >= self.end_ms {
                return;
            }
            self.bring_riders(shards, window);
            if window.start_ms() >= self.next_sample {
                self.next_sample += SAMPLE_MS;
                self.sample(shards, window.start_ms());
                let events = shards.iter().map(|shard| shard.events).sum();
                let at_ms = window.start_ms().saturating_sub(WARM_MS);
                let moment = self.moments.last().copied().unwrap_or_default();
                progress(Progress { at_ms, end_ms: self.end_ms - WARM_MS, events, moment });
            }
            self.run_window(shards, workers, window);
            self.exchange(shards);
        }
    }

    fn bring_riders(&mut self, shards: &mut [Shard], window: Window) {
        while let Some((at_ms, index)) = self.next_rider.filter(|(at_ms, _)| *at_ms < window.until_ms()) {
            let trip = self.shared.request(index);
            let drive = self.shared.roads().drive(trip.from_junction, trip.to_junction);
            let outcome = RideOutcome {
                request: index,
                requested_ms: WARM_MS + trip.t_ms,
                vehicle: None,
                matched_ms: None,
                picked_up_ms: None,
                dropped_ms: None,
                set_out: None,
                from: trip.from_junction,
                to: trip.to_junction,
                pickup_m: 0,
                pickup_ms: 0,
                trip_m: drive.m,
            };
            let id = self.fleet + index;
            let person = Person::Rider(RiderPerson::new(index, outcome));
            let place = id as usize % shards.len();
            shards[place].add(Host::new(&self.shared, id, person, at_ms.max(window.start_ms())));
            self.next_rider = self.to_come.next();
        }
    }

    /// Runs one window on all threads.
    fn run_window(&mut self, shards: &mut [Shard], workers: &[Worker], window: Window) {
        let gossip = Arc::new(std::mem::take(&mut self.gossip));
        let (first, others) = shards.split_at_mut(1);
        let mut sent = 0;
        for (shard, (to, _)) in others.iter_mut().zip(workers) {
            let shard = std::mem::replace(shard, Shard::new(1, 1));
            let job = Job { shard, window, gossip: Arc::clone(&gossip) };
            if to.send(job).is_ok() {
                sent += 1;
            }
        }
        first[0].run(&self.shared, window, &gossip);
        for (shard, (_, from)) in others.iter_mut().zip(workers).take(sent) {
            if let Ok(back) = from.recv() {
                *shard = back;
            }
        }
    }

    /// Puts what was said in order and sends it on.
    fn exchange(&mut self, shards: &mut [Shard]) {
        let mut said: Vec<Outgoing> = Vec::new();
        for shard in shards.iter_mut() {
            said.append(&mut shard.out);
            self.rides.append(&mut shard.finished);
        }
        said.sort_by_key(|one| (one.at_ms, one.from, one.number));
        for outgoing in said {
            self.order += 1;
            self.note(&outgoing);
            self.route(shards, outgoing);
        }
    }

    /// Everything that happened goes into the trace; signatures do not, so that runs with
    /// real and stand-in ones can be compared.
    fn note(&mut self, outgoing: &Outgoing) {
        let (tag, length) = match &outgoing.what {
            What::Identity(_) => (0_u8, 0),
            What::Down => (1, 0),
            What::Joined(_) => (2, 0),
            What::Left(_) => (3, 0),
            What::Publish { bytes, .. } => (4, bytes.len()),
            What::Send { frame, .. } => (5, frame.len()),
            What::Reply { frame, .. } => (6, frame.len()),
            What::Fail { .. } => (7, 0),
            What::Word { .. } => (8, 0),
            What::Bound { live, .. } => (9, usize::from(*live)),
            What::Exposed { .. } => (10, 0),
            What::Violation(text) => (11, text.len()),
            What::Dial(_) => (12, 0),
            What::Forgot => (13, 0),
            What::Moved(_) => (14, 0),
            What::Hint(_, addresses) => (15, addresses.len()),
            // Nothing that happens: only who judges is told.
            What::HostileKey(_) | What::Contradiction { .. } | What::Read { .. } => return,
        };
        let mut entry = [0; 17];
        entry[..8].copy_from_slice(&outgoing.at_ms.to_le_bytes());
        entry[8..12].copy_from_slice(&outgoing.from.to_le_bytes());
        entry[12] = tag;
        entry[13..].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        self.trace.update(&entry);
    }

    fn route(&mut self, shards: &mut [Shard], outgoing: Outgoing) {
        let Outgoing { at_ms, from, what, .. } = outgoing;
        let soon = at_ms + self.length_ms;
        match what {
            What::Identity(peer) => {
                self.renamed(shards, at_ms, from, peer);
                self.down.remove(&from);
                self.identities.insert(peer, from);
                self.peers.insert(from, peer);
            }
            What::Down => {
                self.down.insert(from);
                self.gone(shards, at_ms, from);
            }
            What::Joined(topic) => self.joined(shards, at_ms, from, topic),
            What::Left(topic) => {
                if let Some(list) = self.listeners.get_mut(&topic)
                    && let Ok(place) = list.binary_search(&from)
                {
                    list.remove(place);
                }
            }
            What::Publish { topic, bytes } => self.publish(at_ms, from, topic, bytes),
            What::Send { to, run, ask, frame } => {
                let size = hailmesh_wire::pad(&frame).map_or(frame.len(), |padded| padded.len());
                self.traffic.messages += 1;
                self.traffic.bytes += size as u64;
                self.count_request(&frame);
                self.audit(at_ms, &frame);
                self.asked(from, run, ask, at_ms);
                let Some(host) = self.identities.get(&to).copied() else {
                    let failed = Arrival::Failed { run, ask, peer: to };
                    return self.deliver(shards, soon + self.length_ms, from, failed);
                };
                if !self.can_dial(from, host, at_ms) {
                    let failed = Arrival::Failed { run, ask, peer: to };
                    return self.deliver(shards, at_ms + EXCHANGE_MS, from, failed);
                }
                let dialled = self.connect(shards, at_ms, from, host);
                let cut = is_cut(&self.shared.settings, self.shared.seed, from, host, at_ms);
                let mut draws = self.draws(from, host);
                let delays = frame_delays(self.shared.at(at_ms), &mut draws);
                let late = self.shared.late_ms(from, host, at_ms, &mut draws);
                self.was_late(late);
                let arrivals = delays.map(|delay| Some(at_ms + dialled + u64::from(delay? + late)));
                self.sent(from, host, at_ms, cut, &arrivals);
                let mut heard = false;
                for arrives_ms in arrivals.into_iter().flatten().filter(|_| !cut) {
                    // What comes when the sender has given up is heard all the same.
                    heard |= arrives_ms <= at_ms + EXCHANGE_MS;
                    let peer = self.peer(from);
                    let request = Arrival::Request { from, peer, run, ask, frame: frame.clone() };
                    self.deliver(shards, arrives_ms, host, request);
                }
                if !heard {
                    let failed = Arrival::Failed { run, ask, peer: to };
                    self.deliver(shards, at_ms + EXCHANGE_MS, from, failed);
                }
            }
            What::Reply { to, run, ask, frame } => {
                let size = hailmesh_wire::pad(&frame).map_or(frame.len(), |padded| padded.len());
                self.traffic.messages += 1;
                self.traffic.bytes += size as u64;
                self.count_refusal(&frame);
                self.audit(at_ms, &frame);
                let cut = is_cut(&self.shared.settings, self.shared.seed, from, to, at_ms);
                let mut draws = self.draws(from, to);
                let peer = self.peer(from);
                let delay = frame_delays(self.shared.at(at_ms), &mut draws)[0];
                let late = self.shared.late_ms(from, to, at_ms, &mut draws);
                self.was_late(late);
                let arrives_ms = delay.map(|delay| at_ms + u64::from(delay + late));
                self.sent(from, to, at_ms, cut, &[arrives_ms]);
                match arrives_ms.filter(|_| !cut) {
                    Some(arrives_ms) => {
                        if let Some(over_ms) = self.too_late(to, run, ask, arrives_ms) {
                            let failed = Arrival::Failed { run, ask, peer };
                            return self.deliver(shards, over_ms.max(soon), to, failed);
                        }
                        let response = Arrival::Response { from, run, ask, peer, frame };
                        self.deliver(shards, arrives_ms, to, response);
                    }
                    None => {
                        let failed = Arrival::Failed { run, ask, peer };
                        self.deliver(shards, at_ms + EXCHANGE_MS, to, failed);
                    }
                }
            }
            What::Fail { to, run, ask } => {
                let peer = self.peer(from);
                self.deliver(shards, soon, to, Arrival::Failed { run, ask, peer });
            }
            What::Word { to, word } => self.deliver(shards, soon, to, Arrival::Word { from, word }),
            What::Bound { role, agreement, live } => self.oracle.bound(at_ms, from, role, agreement, live),
            What::Exposed { accused, bytes } => {
                let (network, signatures) = (&self.shared.config.network, &*self.shared.signatures);
                self.oracle.exposures += 1;
                let attacks = &mut self.oracle.attacks;
                if let Some(text) = attacks.exposed(at_ms, from, accused, &bytes, network, signatures) {
                    self.oracle.violation(at_ms, text);
                }
            }
            What::HostileKey(key) => self.oracle.attacks.key(key),
            What::Contradiction { accused, statements } => {
                self.oracle.attacks.claim(from, accused, statements);
            }
            What::Read { from: author, statement } => {
                self.oracle.attacks.read(at_ms, from, author, statement);
            }
            What::Dial(to) => self.dial(shards, at_ms, from, to),
            What::Moved(address) => self.moved(from, address),
            What::Hint(peer, addresses) => self.hinted(from, peer, addresses),
            What::Forgot => self.oracle.bindings.forgot(from),
            What::Violation(text) => self.oracle.violation(at_ms, text),
        }
    }

    fn deliver(&self, shards: &mut [Shard], at_ms: u64, to: u32, arrival: Arrival) {
        let place = to as usize % shards.len();
        shards[place].deliver(at_ms, to, self.order, arrival);
    }

    fn draws(&self, from: u32, to: u32) -> Draws {
        Draws::of(self.shared.seed, self.order, u64::from(from), u64::from(to))
    }

    fn peer(&self, host: u32) -> PeerKey {
        self.peers.get(&host).copied().unwrap_or_else(|| PeerKey::from_bytes([0; 32]))
    }

    /// Connects two hosts if they are not; says how long that takes.
    fn connect(&mut self, shards: &mut [Shard], at_ms: u64, from: u32, to: u32) -> u64 {
        if !self.connected.entry(from).or_default().insert(to) {
            return 0;
        }
        self.connected.entry(to).or_default().insert(from);
        self.met(at_ms, from, to);
        let (least, most) = self.shared.settings.latency_ms;
        let mut draws = self.draws(from, to);
        // One round trip until both sides know each other.
        let trip = u64::from(draws.between(least, most) + draws.between(least, most));
        let (here, there) = (self.peer(from), self.peer(to));
        self.deliver(shards, at_ms + trip, from, Arrival::Connected { peer: there, host: to });
        self.deliver(shards, at_ms + trip, to, Arrival::Connected { peer: here, host: from });
        trip
    }

    fn gone(&mut self, shards: &mut [Shard], at_ms: u64, host: u32) {
        let peer = self.peer(host);
        let others = self.connected.remove(&host).unwrap_or_default();
        for other in others {
            if let Some(list) = self.connected.get_mut(&other) {
                list.remove(&host);
            }
            self.deliver(shards, at_ms + self.length_ms, other, Arrival::Gone { peer });
        }
        self.forget_offer(host);
        self.certificates.remove(&host);
    }

    fn finish(mut self, shards: Vec<Shard>, policy: Policy, fleet: u32) -> Run {
        let (settled, mischief) = self.settle(&shards);
        let (mut events, mut empty_m, mut full_m, mut node_ms) = (0, 0, 0, 0);
        (self.traffic.messages, self.traffic.bytes) = self.traffic_of(&shards);
        (self.traffic.delivery_p50_ms, self.traffic.delivery_p99_ms) = delays_of(&shards);
        for shard in &shards {
            events += shard.events;
            self.traffic.restarts += shard.restarts;
            node_ms += shard.node_ms;
            for host in shard.hosts() {
                node_ms += self.end_ms.saturating_sub(host.started_ms);
                match &host.person {
                    Person::Driver(person) => {
                        empty_m += person.empty_m;
                        full_m += person.full_m;
                    }
                    Person::Rider(person) => self.rides.push(person.outcome),
                    Person::Hostile(hostile) => {
                        let player = hostile.player.as_deref();
                        self.oracle.attacks.tally(host.id, hostile.behaviour, player);
                    }
                }
            }
        }
        for (what, count) in shards.iter().flat_map(|shard| &shard.judged) {
            self.oracle.attacks.judged(what.0, what.1, *count);
        }
        for (at_ms, text) in self.oracle.attacks.close(self.end_ms) {
            self.oracle.violation(at_ms, text);
        }
        self.rides.sort_by_key(|ride| ride.request);
        for ride in &mut self.rides {
            ride.requested_ms -= WARM_MS;
            for at in
                [&mut ride.matched_ms, &mut ride.picked_up_ms, &mut ride.dropped_ms].into_iter().flatten()
            {
                *at -= WARM_MS;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "counts")]
        {
            self.traffic.node_s = node_ms as f64 / 1_000.0;
            self.traffic.view_share = if self.view.1 == 0 { 1.0 } else { self.view.0 / self.view.1 as f64 };
        }
        self.traffic.double_bookings = self.oracle.bindings.double_bookings();
        let outcome = RunOutcome {
            policy,
            fleet,
            seed: self.shared.seed,
            rides: self.rides,
            patience_ms: self.shared.patience_ms,
            empty_m,
            full_m,
            traffic: Some(self.traffic),
            moments: self.moments,
            events,
            trace_hash: *self.trace.finalize().as_bytes(),
        };
        Run {
            outcome,
            agreements: self.oracle.bindings.firm(),
            exposures: self.oracle.exposures,
            tallies: self.oracle.attacks.tallies(),
            violations: self.oracle.violations,
            mischief,
            settled,
        }
    }
}
