//! Drives an attacker's program over real connections.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures::StreamExt;
use hailmesh_net::{Multiaddr, PeerId, peer_id, peer_key};
use hailmesh_node::clock::Clock;
use hailmesh_node::wire::{AnyStatement, Ed25519, Heard};
use hailmesh_sim::adversary::{Action, Behaviour, Player, Reply, Setup};
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance};
use libp2p::request_response::{self, Message, OutboundFailure, OutboundRequestId, ResponseChannel};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{Swarm, SwarmEvent};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::court::Court;
use super::wire::{Protocols, ProtocolsEvent, swarm};

/// How often it looks whether all its victims are connected.
const REDIAL: Duration = Duration::from_millis(500);
/// Where nothing is gossiped in its name it does not wait longer than this for its turn,
/// until the attack has been met.
const IMPATIENT: Duration = Duration::from_secs(3);
/// How long somebody who gets no answer is kept waiting: longer than nodes wait (P5.1).
const KEPT_WAITING: Duration = Duration::from_secs(12);

/// How often it asks again when its stream is refused: a node takes so many at a time.
const TRIES: u32 = 8;

/// Whom attackers stand next to.
pub(crate) type Victims = BTreeMap<PeerId, Victim>;

/// One of them.
#[derive(Clone)]
pub(crate) struct Victim {
    /// Where it listens.
    pub(crate) addr: Multiaddr,
    /// The only attackers that may find it; none: all.
    pub(crate) only: Option<BTreeSet<u32>>,
}

/// A running attacker.
pub(crate) struct Attacker {
    peer: PeerId,
    task: JoinHandle<Player>,
    end: watch::Sender<bool>,
}

impl Attacker {
    pub(crate) fn start(
        number: u32,
        behaviour: Behaviour,
        setup: Setup,
        court: &Court,
        victims: watch::Receiver<Victims>,
    ) -> Self {
        Self::begin(number, Player::new(behaviour, setup, Clock::start().now()), court, victims, false)
    }

    /// One that the judge is told is honest.
    pub(crate) fn start_disguised(
        number: u32,
        behaviour: Behaviour,
        setup: Setup,
        court: &Court,
        victims: watch::Receiver<Victims>,
    ) -> Self {
        Self::begin(number, Player::new(behaviour, setup, Clock::start().now()), court, victims, true)
    }

    fn begin(
        number: u32,
        mut player: Player,
        court: &Court,
        victims: watch::Receiver<Victims>,
        disguised: bool,
    ) -> Self {
        let clock = Clock::start();
        court.suspect(number, &mut player);
        if disguised {
            court.disguise(number);
        }
        let (end, ended) = watch::channel(false);
        let swarm = swarm(player.transport());
        let peer = *swarm.local_peer_id();
        let host = Host {
            number,
            swarm,
            player,
            court: court.clone(),
            clock,
            victims,
            asks: HashMap::new(),
            waiting: Vec::new(),
            next: None,
        };
        Self { peer, task: tokio::spawn(host.run(ended)), end }
    }

    /// Its transport identity.
    pub(crate) const fn peer(&self) -> PeerId {
        self.peer
    }

    /// Ends it, and gives its program back.
    pub(crate) async fn stop(self) -> Player {
        self.end.send_replace(true);
        self.task.await.expect("an attacker does not panic")
    }
}

/// A question under way.
struct Ask {
    ask: u64,
    to: PeerId,
    frame: Vec<u8>,
    tries: u32,
}

/// Somebody who asked and is kept waiting.
struct Waiting {
    until: Instant,
    channel: ResponseChannel<Vec<u8>>,
    /// None: there will be no answer.
    frame: Option<Vec<u8>>,
}

struct Host {
    number: u32,
    player: Player,
    swarm: Swarm<Protocols>,
    court: Court,
    clock: Clock,
    victims: watch::Receiver<Victims>,
    asks: HashMap<OutboundRequestId, Ask>,
    waiting: Vec<Waiting>,
    /// Its next turn; none before it has heard somebody honest.
    next: Option<Instant>,
}

impl Host {
    async fn run(mut self, mut ended: watch::Receiver<bool>) -> Player {
        for topic in self.player.topics() {
            let topic = IdentTopic::new(topic.to_string());
            self.swarm.behaviour_mut().gossip.subscribe(&topic).unwrap();
        }
        // The keys that it has from the beginning.
        self.perform(Vec::new());
        let mut redial = Instant::now();
        loop {
            let answer = self.waiting.iter().map(|waiting| waiting.until).min();
            let due = [self.next, answer, Some(redial)].into_iter().flatten().min();
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                () = sleep_until(due.expect("it redials")) => {
                    let now = Instant::now();
                    if redial <= now {
                        redial = now + REDIAL;
                        self.dial();
                    }
                    if self.next.is_some_and(|next| next <= now) {
                        self.turn(now);
                    }
                    self.answer(now);
                }
                _ = ended.wait_for(|ended| *ended) => return self.player,
            }
        }
    }

    fn dial(&mut self) {
        for (peer, Victim { addr, only }) in self.victims.borrow().clone() {
            if only.is_some_and(|only| !only.contains(&self.number)) {
                continue;
            }
            let dial = DialOpts::peer_id(peer)
                .addresses(vec![addr])
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            // Already connected is as good.
            let _ = self.swarm.dial(dial);
        }
    }

    fn turn(&mut self, now: Instant) {
        let actions = self.player.timer(self.clock.now());
        let is_loud = actions.iter().any(|action| matches!(action, Action::Publish { .. }));
        let next = Instant::from_std(self.clock.instant_of(self.player.next()));
        let hurries = !is_loud && !self.court.is_met(self.number);
        self.next = Some(if hurries { next.min(now + IMPATIENT) } else { next });
        self.perform(actions);
    }

    fn answer(&mut self, now: Instant) {
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.until > now {
                self.waiting.push(waiting);
            } else if let Some(frame) = waiting.frame {
                // Whoever asked may be gone.
                let _ = self.swarm.behaviour_mut().exchange.send_response(waiting.channel, frame);
            }
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        self.court.acts(self.number, &actions);
        for action in actions {
            match action {
                Action::Publish { topic, bytes } => {
                    let topic = IdentTopic::new(topic.to_string());
                    // Before anybody has joined it is lost, as on a real network.
                    let _ = self.swarm.behaviour_mut().gossip.publish(topic, bytes.to_vec());
                }
                Action::Send { ask, to, frame } => {
                    self.ask(Ask { ask, to: peer_id(&to), frame, tries: 0 });
                }
                Action::Key(_) | Action::Contradiction { .. } => {}
            }
        }
        self.court.note(self.number, &self.player);
    }

    fn ask(&mut self, ask: Ask) {
        let asked = self.swarm.behaviour_mut().exchange.send_request(&ask.to, ask.frame.clone());
        self.asks.insert(asked, ask);
    }

    fn on_event(&mut self, event: SwarmEvent<ProtocolsEvent>) {
        match event {
            SwarmEvent::Behaviour(ProtocolsEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            })) => {
                let passes = self.on_gossip(&message);
                let verdict = if passes { MessageAcceptance::Accept } else { MessageAcceptance::Ignore };
                self.swarm.behaviour_mut().gossip.report_message_validation_result(
                    &message_id,
                    &propagation_source,
                    verdict,
                );
            }
            SwarmEvent::Behaviour(ProtocolsEvent::Exchange(request_response::Event::Message {
                peer,
                message,
                ..
            })) => self.on_exchange(peer, message),
            SwarmEvent::Behaviour(ProtocolsEvent::Exchange(request_response::Event::OutboundFailure {
                request_id,
                error,
                ..
            })) => {
                let refused = matches!(error, OutboundFailure::Io(_) | OutboundFailure::ConnectionClosed);
                if let Some(ask) = self.asks.remove(&request_id).filter(|ask| refused && ask.tries < TRIES) {
                    self.ask(Ask { tries: ask.tries + 1, ..ask });
                }
            }
            _ => {}
        }
    }

    /// Says whether it passes the message on.
    fn on_gossip(&mut self, message: &gossipsub::Message) -> bool {
        let Ok(topic) = message.topic.as_str().parse() else { return false };
        let heard: Heard = message.data.clone().into();
        let Ok(statement) = heard.statement() else { return false };
        let sound = statement.clone().verify_with(&Ed25519).is_ok();
        // Attackers leave each other alone: whom they are after are honest nodes.
        if !self.court.is_hostile(statement.signer()) {
            if matches!(statement, AnyStatement::DriverOffer(_)) && self.next.is_none() {
                self.next = Some(Instant::now());
            }
            let actions = self.player.gossip(self.clock.now(), &topic, &heard);
            self.perform(actions);
        }
        sound && self.player.forwards()
    }

    fn on_exchange(&mut self, peer: PeerId, message: Message<Vec<u8>, Vec<u8>>) {
        let now = self.clock.now();
        match message {
            Message::Request { request, channel, .. } => {
                let Some(peer) = peer_key(&peer) else { return };
                let (actions, reply) = self.player.request(now, peer, &request);
                let (after, frame) = match reply {
                    Some(Reply { after, frame }) => {
                        (Duration::from_millis(after.as_millis().into()), Some(frame))
                    }
                    None => (KEPT_WAITING, None),
                };
                self.waiting.push(Waiting { until: Instant::now() + after, channel, frame });
                self.perform(actions);
                self.answer(Instant::now());
            }
            Message::Response { request_id, response } => {
                if let Some(Ask { ask, .. }) = self.asks.remove(&request_id) {
                    let actions = self.player.response(now, ask, &response);
                    self.perform(actions);
                }
            }
        }
    }
}
