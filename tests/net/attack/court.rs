//! Who is told everything and judges: what attackers own up to, what reached honest nodes,
//! and what these tell their users.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hailmesh_net::{Tap, Tapped, Verdict};
use hailmesh_node::market::admission::Stop;
use hailmesh_node::market::{Event, RideId, Role, Verdict as Judged};
use hailmesh_node::wire::{AnyStatement, Ed25519, Frame, FrameContent, Receipt, RideState, message_id};
use hailmesh_node::{EventItem, NodeEvent, NodeHandle};
use hailmesh_sim::adversary::{Action, Behaviour, Exposure, Player};
use hailmesh_sim::judge::{AttackTally, Attacks, Bindings};
use hailmesh_types::{AgreementId, NetworkName, PeerKey, PublicKey, StatementId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::city::NETWORK;
use crate::crowd::Audit;

/// Gossip of an attacker.
struct Message {
    authors: Vec<u32>,
    statement: Option<StatementId>,
    /// Whether it offers a ride.
    offers: bool,
    /// Whether it is what it says and its author has signed it.
    sound: bool,
}

/// What became of the gossip of an attacker: accepted, ignored, rejected.
type Verdicts = [u64; 3];

struct Suspect {
    behaviour: Behaviour,
    attempts: u64,
    heard: BTreeMap<String, u64>,
    verdicts: Verdicts,
    met_ms: Option<u64>,
    /// Whether it has offered rides.
    offers: bool,
    /// Taken for an honest node, to see whether that is noticed.
    disguised: bool,
}

/// Everything that is known.
struct Bench {
    attacks: Attacks,
    bindings: Bindings,
    suspects: BTreeMap<u32, Suspect>,
    numbers: BTreeMap<PeerKey, u32>,
    messages: BTreeMap<[u8; 16], Message>,
    /// Steps of admission and how often they stopped something, at every honest node.
    stopped: BTreeMap<u32, BTreeMap<&'static str, u64>>,
    /// What honest riders have agreed on.
    agreed: BTreeSet<AgreementId>,
    completed: u32,
    audit: Audit,
    wrong: Vec<String>,
}

/// The judge of one town.
#[derive(Clone)]
pub(crate) struct Court {
    bench: Arc<Mutex<Bench>>,
    begun: Instant,
    changed: Arc<watch::Sender<()>>,
}

impl Court {
    pub(crate) fn new() -> Self {
        let bench = Bench {
            attacks: Attacks::default(),
            bindings: Bindings::default(),
            suspects: BTreeMap::new(),
            numbers: BTreeMap::new(),
            messages: BTreeMap::new(),
            stopped: BTreeMap::new(),
            agreed: BTreeSet::new(),
            completed: 0,
            audit: Audit::default(),
            wrong: Vec::new(),
        };
        let (bench, changed) = (Arc::new(Mutex::new(bench)), Arc::new(watch::Sender::new(())));
        Self { bench, begun: Instant::now(), changed }
    }

    fn bench(&self) -> MutexGuard<'_, Bench> {
        self.bench.lock().unwrap()
    }

    pub(crate) fn at_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap()
    }

    fn tell(&self) {
        self.changed.send_replace(());
    }

    /// Something that must not be.
    pub(crate) fn wrong(&self, what: impl Into<String>) {
        let what = format!("after {} ms: {}", self.at_ms(), what.into());
        self.bench().wrong.push(what);
        self.tell();
    }

    /// Waits until it is so, or for that long; says whether it is.
    pub(crate) async fn until(&self, within: Duration, so: impl Fn(&Self) -> bool) -> bool {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            while !so(self) {
                changed.changed().await.expect("this court holds the sender");
            }
        };
        timeout(within, waiting).await.is_ok() || so(self)
    }

    // ---- attackers ----

    /// An attacker comes to town.
    pub(crate) fn suspect(&self, number: u32, player: &mut Player) {
        let suspect = Suspect {
            behaviour: player.behaviour(),
            attempts: 0,
            heard: BTreeMap::new(),
            verdicts: Verdicts::default(),
            met_ms: None,
            offers: false,
            disguised: false,
        };
        let mut bench = self.bench();
        bench.suspects.insert(number, suspect);
        bench.numbers.insert(player.peer(), number);
    }

    /// It is about to do this.
    pub(crate) fn acts(&self, number: u32, actions: &[Action]) {
        let mut bench = self.bench();
        let disguised = bench.suspects.get(&number).is_some_and(|suspect| suspect.disguised);
        for action in actions {
            match action {
                Action::Key(_) if disguised => {}
                Action::Key(key) => bench.attacks.key(*key),
                Action::Contradiction { accused, statements, .. } => {
                    bench.attacks.claim(number, *accused, statements.clone());
                }
                Action::Publish { topic, bytes } => {
                    let id = message_id(&topic.to_string(), bytes);
                    let message = bench.messages.entry(id).or_insert_with(|| Message::of(bytes));
                    if !message.authors.contains(&number) {
                        message.authors.push(number);
                    }
                    let offers = message.offers;
                    if let Some(suspect) = bench.suspects.get_mut(&number) {
                        suspect.offers |= offers;
                    }
                }
                Action::Send { .. } => {}
            }
        }
    }

    /// How far it has come.
    pub(crate) fn note(&self, number: u32, player: &Player) {
        if let Some(suspect) = self.bench().suspects.get_mut(&number) {
            suspect.attempts = player.attempts();
            suspect.heard.clone_from(player.heard());
        }
        self.tell();
    }

    pub(crate) fn is_hostile(&self, key: &PublicKey) -> bool {
        self.bench().attacks.is_hostile(key)
    }

    /// Whether its attack took place, met with what stops it, and was exposed if it can be.
    pub(crate) fn is_met(&self, number: u32) -> bool {
        self.bench().is_met(number)
    }

    /// Those that are not, yet.
    pub(crate) fn unmet(&self) -> Vec<(u32, Behaviour)> {
        let at_ms = self.at_ms();
        let mut bench = self.bench();
        let (met, unmet): (Vec<u32>, Vec<u32>) =
            bench.suspects.keys().copied().partition(|number| bench.is_met(*number));
        for number in met {
            if let Some(suspect) = bench.suspects.get_mut(&number) {
                suspect.met_ms.get_or_insert(at_ms);
            }
        }
        unmet.into_iter().map(|number| (number, bench.suspects[&number].behaviour)).collect()
    }

    /// Those that honest nodes would have to hear, and have not so far.
    pub(crate) fn unheard(&self) -> BTreeSet<u32> {
        let bench = self.bench();
        let told = |suspect: &Suspect| suspect.behaviour.met_with().iter().any(|met| is_step(met));
        let unheard =
            bench.suspects.iter().filter(|(number, suspect)| told(suspect) && !bench.is_met(**number));
        unheard.map(|(number, _)| *number).collect()
    }

    /// Those that lie in wait for somebody to ask them, in vain so far.
    pub(crate) fn traps(&self) -> Vec<u32> {
        let bench = self.bench();
        let asks = |suspect: &Suspect| suspect.behaviour.met_with().iter().any(|met| !is_step(met));
        let waits = bench
            .suspects
            .iter()
            .filter(|(number, suspect)| suspect.offers && asks(suspect) && !bench.is_met(**number));
        waits.map(|(number, _)| *number).collect()
    }

    /// When each attack was first seen to be met.
    pub(crate) fn met_ms(&self) -> BTreeMap<Behaviour, u64> {
        let bench = self.bench();
        bench.suspects.values().filter_map(|suspect| Some((suspect.behaviour, suspect.met_ms?))).collect()
    }

    /// From now on this one counts as honest.
    pub(crate) fn disguise(&self, number: u32) {
        if let Some(suspect) = self.bench().suspects.get_mut(&number) {
            suspect.disguised = true;
        }
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.bench().wrong.clone()
    }

    /// What has come of it so far.
    pub(crate) fn so_far(&self, number: u32) -> String {
        let bench = self.bench();
        let Some(suspect) = bench.suspects.get(&number) else { return String::new() };
        let exposed = bench.attacks.is_exposed(number);
        let Suspect { attempts, heard, verdicts, .. } = suspect;
        format!("{attempts} attempts, heard {heard:?}, verdicts {verdicts:?}, exposed {exposed}")
    }

    // ---- honest nodes ----

    /// What admission has stopped at an honest node so far.
    pub(crate) fn stopped(&self, host: u32, stopped: BTreeMap<&'static str, u64>, accepted: u64) {
        let steps = stopped.into_iter().chain([(Stop::None.name(), accepted)]);
        self.bench().stopped.insert(host, steps.collect());
        self.tell();
    }

    /// A tap for the honest node with this number.
    pub(crate) fn tap(&self, host: u32) -> Tap {
        let court = self.clone();
        Tap::new(move |tapped| {
            let at_ms = court.at_ms();
            match tapped {
                Tapped::Received { id, .. } => court.bench().received(at_ms, host, id),
                Tapped::Judged { id, verdict } => court.bench().judged(host, id, verdict),
                Tapped::Asked { peer, frame } | Tapped::Answered { peer, frame } => {
                    court.bench().read(at_ms, host, peer, frame);
                }
                Tapped::Published { .. } | Tapped::Joined(_) | Tapped::Left(_) => return,
            }
            court.tell();
        })
    }

    /// Follows what an honest node tells its user, until it ends.
    pub(crate) async fn follow(self, host: u32, node: NodeHandle) {
        let mut events = node.events(Some(0));
        let mut bound: BTreeMap<RideId, AgreementId> = BTreeMap::new();
        while let Some(item) = events.next().await {
            match item {
                EventItem::Lagged { missed } => {
                    self.wrong(format!("{missed} events of host {host} are lost"))
                }
                EventItem::Numbered(numbered) => match numbered.event {
                    NodeEvent::Market(Event::Evidence { accused, .. }) => self.accuses(host, accused),
                    NodeEvent::Market(Event::Cloned { .. }) => {
                        self.wrong(format!("host {host} believes that it was copied"));
                    }
                    NodeEvent::Market(Event::Ride { ride, role, state, .. }) => {
                        self.ride(host, &node, (ride, role, state), &mut bound).await;
                    }
                    _ => {}
                },
            }
            self.tell();
        }
    }

    async fn ride(
        &self,
        host: u32,
        node: &NodeHandle,
        (ride, role, state): (RideId, Role, RideState),
        bound: &mut BTreeMap<RideId, AgreementId>,
    ) {
        match state {
            RideState::Firm | RideState::Committed => {
                let Ok(Some(view)) = node.ride(ride).await else { return };
                let Some(agreement) = view.agreement else { return };
                self.bind(host, role, bound.insert(ride, agreement), Some(agreement));
                let has_to = state == RideState::Firm && view.state == RideState::Firm;
                match node.receipt(ride).await {
                    Ok(Some(bytes)) => {
                        self.receipt(host, &bytes, view.counterparty);
                    }
                    Ok(None) if has_to => self.wrong(format!("host {host} is firm without a receipt")),
                    _ => {}
                }
            }
            RideState::EnRoute | RideState::Arrived | RideState::InProgress => {}
            _ => self.bind(host, role, bound.remove(&ride), None),
        }
    }

    /// An honest node was bound to one agreement and is bound to another.
    pub(crate) fn bind(&self, host: u32, role: Role, before: Option<AgreementId>, now: Option<AgreementId>) {
        let mut bench = self.bench();
        let mut wrong = Vec::new();
        if let Some(before) = before.filter(|before| Some(*before) != now) {
            wrong.extend(bench.bindings.bound(host, role, before, false));
        }
        if let Some(now) = now {
            wrong.extend(bench.bindings.bound(host, role, now, true));
        }
        bench.wrong.extend(wrong);
    }

    /// A receipt must carry both signatures of an agreement and verify, unless an attacker
    /// contradicts itself in it, which it then shows.
    pub(crate) fn receipt(&self, host: u32, bytes: &[u8], with: Option<PublicKey>) -> Option<Receipt> {
        let receipt = match Receipt::decode(bytes) {
            Ok(receipt) => receipt,
            Err(error) => {
                self.wrong(format!("host {host} holds no receipt: {error}"));
                return None;
            }
        };
        match receipt.verify(&[]) {
            Ok(facts) if facts.agreed => return Some(receipt),
            Ok(facts) => self.wrong(format!("host {host} holds half an agreement: {facts:?}")),
            Err(error) if error.clause == "P18.1" && with.is_some_and(|key| self.is_hostile(&key)) => {}
            Err(error) => self.wrong(format!("a receipt of host {host} does not verify: {error}")),
        }
        None
    }

    /// A receipt of a ride that is over.
    pub(crate) fn last_receipt(&self, host: u32, bytes: &[u8], with: Option<PublicKey>) {
        if let Some(receipt) = self.receipt(host, bytes, with)
            && let Ok(facts) = receipt.verify(&[])
        {
            self.bench().audit.add(&receipt, &facts);
        }
    }

    /// An honest node says that it holds evidence.
    pub(crate) fn accuses(&self, host: u32, accused: PublicKey) {
        let wrong = self.bench().attacks.accused(self.at_ms(), host, accused);
        if let Some(wrong) = wrong {
            self.wrong(wrong);
        }
        self.tell();
    }

    /// The evidence that an honest node holds.
    pub(crate) fn evidence(&self, host: u32, accused: PublicKey, bytes: &[u8]) {
        let network: NetworkName = NETWORK.parse().unwrap();
        let at_ms = self.at_ms();
        let wrong = self.bench().attacks.exposed(at_ms, host, accused, bytes, &network, &Ed25519);
        if let Some(wrong) = wrong {
            self.wrong(wrong);
        }
    }

    /// Contradictions that one honest node has read as a whole and nobody has exposed.
    pub(crate) fn unexposed(&self) -> usize {
        self.bench().attacks.unexposed()
    }

    /// An honest rider has agreed.
    pub(crate) fn agree(&self, agreement: AgreementId) {
        self.bench().agreed.insert(agreement);
        self.tell();
    }

    pub(crate) fn is_agreed(&self, agreement: AgreementId) -> bool {
        self.bench().agreed.contains(&agreement)
    }

    /// Two honest people have made a ride of it.
    pub(crate) fn complete(&self) {
        self.bench().completed += 1;
        self.tell();
    }

    pub(crate) fn completed(&self) -> u32 {
        self.bench().completed
    }

    pub(crate) fn firm(&self) -> u64 {
        self.bench().bindings.firm()
    }

    /// The judgment, when everybody is gone: what became of each attack, and what must not be.
    pub(crate) fn close(&self, players: &BTreeMap<u32, Player>) -> (Vec<AttackTally>, Vec<String>) {
        let mut bench = self.bench();
        let mut attacks = std::mem::take(&mut bench.attacks);
        let faults = bench.audit.faults(|key| !attacks.is_hostile(key));
        bench.wrong.extend(faults);
        for (number, player) in players {
            attacks.tally(*number, player.behaviour(), Some(player));
            for step in player.behaviour().met_with().iter().copied().filter(|step| is_step(step)) {
                attacks.judged(*number, step, bench.stopped_of(*number, step));
            }
        }
        let late = attacks.close(u64::MAX).into_iter().map(|(at_ms, what)| format!("at {at_ms} ms: {what}"));
        let late: Vec<String> = late.collect();
        bench.wrong.extend(late);
        (attacks.tallies(), std::mem::take(&mut bench.wrong))
    }
}

/// Whether something that an attack meets with is a step of admission; else it is a frame.
fn is_step(met: &str) -> bool {
    Stop::ALL.iter().any(|stop| stop.name() == met)
}

impl Message {
    fn of(bytes: &Arc<[u8]>) -> Self {
        let statement = AnyStatement::decode(bytes.to_vec()).ok();
        let id = statement.as_ref().map(AnyStatement::id);
        let offers = matches!(&statement, Some(AnyStatement::DriverOffer(_)));
        let sound = statement.is_some_and(|statement| statement.verify_with(&Ed25519).is_ok());
        Self { authors: Vec::new(), statement: id, offers, sound }
    }
}

impl Bench {
    fn received(&mut self, at_ms: u64, host: u32, id: [u8; 16]) {
        if let Some(Message { authors, statement: Some(statement), .. }) = self.messages.get(&id) {
            for author in authors {
                self.attacks.read(at_ms, host, *author, *statement);
            }
        }
    }

    fn judged(&mut self, host: u32, id: [u8; 16], verdict: Verdict) {
        let Some(message) = self.messages.get(&id) else { return };
        let place = match verdict {
            Verdict::Accept => 0,
            Verdict::Ignore => 1,
            Verdict::Reject => 2,
        };
        for author in &message.authors {
            if let Some(suspect) = self.suspects.get_mut(author) {
                suspect.verdicts[place] += 1;
            }
        }
        if verdict == Verdict::Accept && !message.sound {
            let by = self.suspects.get(&message.authors[0]).map(|suspect| suspect.behaviour);
            self.wrong.push(format!("host {host} lets in what nobody has signed, of {by:?}"));
        }
    }

    fn read(&mut self, at_ms: u64, host: u32, peer: PeerKey, frame: &[u8]) {
        let Some(author) = self.numbers.get(&peer) else { return };
        if let Ok(Frame { content: FrameContent::Statement(bytes), .. }) = Frame::decode(frame)
            && let Ok(statement) = AnyStatement::decode(bytes)
        {
            self.attacks.read(at_ms, host, *author, statement.id());
        }
    }

    fn is_met(&self, number: u32) -> bool {
        let Some(suspect) = self.suspects.get(&number) else { return true };
        let met = |what: &str| {
            suspect.heard.contains_key(what) || is_step(what) && self.stopped_of(number, what) > 0
        };
        let reached = suspect.behaviour.met_with().iter().any(|what| met(what));
        // Whoever is found out is not listened to any more, so that it may never get as far.
        let exposed = self.attacks.is_exposed(number);
        let expected = match suspect.behaviour.exposure() {
            Exposure::Proof(_) => exposed,
            Exposure::None(_) => reached || exposed,
        };
        suspect.attempts > 0 && expected
    }

    /// How often a step of admission stopped gossip of this attacker, at the most: nodes
    /// count steps, and verdicts by message; no two attackers of a town meet with the same
    /// step but for the ones that everything meets with.
    fn stopped_of(&self, number: u32, step: &str) -> u64 {
        let Some(suspect) = self.suspects.get(&number) else { return 0 };
        let Some(stop) = Stop::ALL.iter().find(|stop| stop.name() == step) else { return 0 };
        let place = match stop.verdict() {
            Judged::Accept => 0,
            Judged::Ignore => 1,
            Judged::Reject => 2,
        };
        let counted: u64 = self.stopped.values().filter_map(|steps| steps.get(step)).sum();
        counted.min(suspect.verdicts[place])
    }
}
