//! The task that owns the swarm.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use futures::StreamExt;
use hailmesh_types::PeerKey;
use hailmesh_wire::limits::EVIDENCE_BYTES_MAX;
use hailmesh_wire::{Topic, message_id};
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{MessageAcceptance, MessageId, TopicHash};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, TransportError};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep_until, timeout_at};

use crate::address::{self, Carrier};
use crate::behaviour::{self, Behaviour};
use crate::config::{Config, ConfigError, SUBSCRIPTIONS_MAX};
use crate::discovery::Discovery;
use crate::event::{Command, Event, PeerInfo, PublishOutcome, SendFailure, Verdict};
use crate::exchange::{Asks, Requests, Sending};
use crate::gossip::{self, Scores, Unsent};
use crate::handle::{Events, Handle, Order};
use crate::keys::{peer_id, peer_key};
use crate::metrics::Metrics;
use crate::tap::Tapped;

/// Orders taken before the network is looked at again.
const ORDERS_PER_TURN: usize = 64;
/// How often redials and the age of unsent messages are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How long an unspecified address may take to find its interfaces.
const LISTEN: Duration = Duration::from_secs(2);
/// How long farewells may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// The network service of a node.
#[derive(Debug)]
pub struct Service;

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration holds an impossible value.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}: {reason}")]
    Listen {
        /// Which, as configured.
        addr: Multiaddr,
        /// Why.
        reason: ListenReason,
    },
    /// The swarm cannot be built.
    #[error("cannot build the network: {0}")]
    Build(String),
}

/// Why an address cannot be listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenReason {
    /// Another process has the port.
    InUse,
    /// No interface of this machine has the address.
    NotAvailable,
    /// The system does not allow it.
    NotPermitted,
    /// No transport for it.
    Unsupported,
    /// Anything else, in the system's words.
    Other(String),
}

impl fmt::Display for ListenReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("the port is in use; choose another, or 0 for any free one"),
            Self::NotAvailable => f.write_str("no interface of this machine has that address"),
            Self::NotPermitted => f.write_str("not permitted; ports below 1024 need a privilege"),
            Self::Unsupported => f.write_str("no transport for this address"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl From<io::Error> for ListenReason {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse,
            io::ErrorKind::AddrNotAvailable => Self::NotAvailable,
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            _ => Self::Other(error.to_string()),
        }
    }
}

impl Service {
    /// Starts the service on the current tokio runtime with the identity of `secret`, the
    /// 32-byte Ed25519 seed, and returns when every listen address is bound. Metrics go
    /// into `registry`, under `net` and `libp2p`.
    ///
    /// The task ends after [`Handle::shutdown`], when every handle is dropped, or when
    /// the events are.
    ///
    /// # Errors
    /// An impossible configuration, or the address that cannot be listened on and why.
    pub async fn start(
        config: Config,
        secret: &[u8; 32],
        registry: Option<&mut Registry>,
    ) -> Result<(Handle, Events, JoinHandle<()>), Error> {
        config.validate()?;
        config.listen.iter().try_for_each(probe)?;
        // libp2p wipes the copy that it is given.
        let mut copy = *secret;
        let keypair =
            Keypair::ed25519_from_bytes(&mut copy).map_err(|error| Error::Build(error.to_string()))?;
        let mut registry = registry;
        let metrics = Metrics::new(registry.as_deref_mut());
        let swarm = behaviour::swarm(&config, &keypair, &metrics, registry).map_err(Error::Build)?;
        let local_peer = *swarm.local_peer_id();
        let local =
            peer_key(&local_peer).ok_or_else(|| Error::Build("not an Ed25519 identity".to_owned()))?;
        let (orders, inbox) = mpsc::channel(config.limits.commands);
        let (outbox, events) = mpsc::channel(config.limits.events);
        let (listeners, listening) = watch::channel(Vec::new());
        let handle = Handle::new(local, config.external.clone(), config.tell_listeners, orders, listening);
        let now = Instant::now();
        let memory = config.listen.iter().any(|addr| address::carrier(addr) == Some(Carrier::Memory));
        let mut running = Running {
            swarm,
            memory,
            local_peer,
            protocol_version: behaviour::protocol_version(&config),
            topics: BTreeMap::new(),
            unsent: Unsent::new(&config.limits),
            scores: Scores::default(),
            asks: Asks::new(&config.limits),
            requests: Requests::default(),
            discovery: Discovery::new(&config, local_peer, memory, now),
            peers: BTreeMap::new(),
            metrics,
            backlog: VecDeque::new(),
            outbox,
            listeners,
            listener_ids: Vec::new(),
            leaving: Vec::new(),
            next_tick: now,
            config,
        };
        running.listen().await?;
        let task = tokio::spawn(running.run(inbox));
        Ok((handle, Events::new(events), task))
    }
}

/// Binds `addr` for a moment. libp2p's TCP sockets share their port with any other
/// process of the same user that does likewise, so that two nodes on one port would
/// each get some of the connections and no error; and its errors have lost their kind.
fn probe(addr: &Multiaddr) -> Result<(), Error> {
    let socket = |port| address::ip(addr).map(|ip: IpAddr| SocketAddr::new(ip, port));
    let bound = addr.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(TcpListener::bind(socket(port)?).map(drop)),
        Protocol::Udp(port) => Some(UdpSocket::bind(socket(port)?).map(drop)),
        _ => None,
    });
    match bound {
        Some(Err(error)) => Err(Error::Listen { addr: addr.clone(), reason: error.into() }),
        _ => Ok(()),
    }
}

/// A connected peer.
pub(crate) struct Peer {
    pub(crate) since: Instant,
    pub(crate) inbound: bool,
    pub(crate) agent: Option<String>,
    /// The remote ends, by connection.
    pub(crate) links: BTreeMap<ConnectionId, Multiaddr>,
}

/// The service while it runs.
pub(crate) struct Running {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) config: Config,
    pub(crate) memory: bool,
    pub(crate) local_peer: PeerId,
    pub(crate) protocol_version: String,
    pub(crate) topics: BTreeMap<Topic, TopicHash>,
    pub(crate) unsent: Unsent,
    pub(crate) scores: Scores,
    pub(crate) asks: Asks,
    pub(crate) requests: Requests,
    pub(crate) discovery: Discovery,
    pub(crate) peers: BTreeMap<PeerId, Peer>,
    pub(crate) metrics: Metrics,
    /// Events for which the node's queue has no room. While there are more than that
    /// queue holds, nothing is read from the network, which bounds it: only commands
    /// add to it then.
    pub(crate) backlog: VecDeque<Event>,
    outbox: mpsc::Sender<Event>,
    pub(crate) listeners: watch::Sender<Vec<Multiaddr>>,
    /// Listeners that have no address yet.
    pub(crate) listener_ids: Vec<ListenerId>,
    /// Peers of other networks, to be disconnected at the next tick: by then they will
    /// have heard from this node, too, that it is not of theirs.
    pub(crate) leaving: Vec<PeerId>,
    next_tick: Instant,
}

impl Running {
    /// Opens every listener, and waits until each has an address.
    async fn listen(&mut self) -> Result<(), Error> {
        for addr in self.config.external.clone() {
            self.swarm.add_external_address(address::split_peer(&addr).0);
        }
        for addr in self.config.listen.clone() {
            let id = self.swarm.listen_on(addr.clone()).map_err(|error| {
                let reason = match error {
                    TransportError::MultiaddrNotSupported(_) => ListenReason::Unsupported,
                    TransportError::Other(error) => error.into(),
                };
                Error::Listen { addr, reason }
            })?;
            self.listener_ids.push(id);
        }
        let deadline = Instant::now() + LISTEN;
        while !self.listener_ids.is_empty() {
            let Ok(event) = timeout_at(deadline, self.swarm.select_next_some()).await else {
                tracing::warn!(waiting = self.listener_ids.len(), "no interface found to listen on so far");
                break;
            };
            if let SwarmEvent::ListenerClosed { reason: Err(error), .. } = event {
                let addr = self.config.listen.first().cloned().unwrap_or_else(Multiaddr::empty);
                return Err(Error::Listen { addr, reason: error.into() });
            }
            self.on_swarm_event(event);
        }
        Ok(())
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        let outbox = self.outbox.clone();
        let mut orders = Vec::with_capacity(ORDERS_PER_TURN);
        let alarm = sleep_until(self.next_tick);
        tokio::pin!(alarm);
        loop {
            self.hand_over();
            let deadline = self.asks.deadline().map_or(self.next_tick, |ask| ask.min(self.next_tick));
            if alarm.deadline() != deadline {
                alarm.as_mut().reset(deadline);
            }
            let reading = self.backlog.len() <= self.config.limits.events;
            tokio::select! {
                count = inbox.recv_many(&mut orders, ORDERS_PER_TURN) => {
                    if count == 0 {
                        break self.farewell().await;
                    }
                    let mut ended = None;
                    for order in orders.drain(..) {
                        if let Some(reply) = self.on_order(order) {
                            ended = Some(reply);
                        }
                    }
                    if let Some(reply) = ended {
                        self.farewell().await;
                        let _nobody_waits = reply.send(());
                        break;
                    }
                }
                permit = outbox.reserve(), if !self.backlog.is_empty() => match permit {
                    Ok(permit) => if let Some(event) = self.backlog.pop_front() {
                        permit.send(event);
                    },
                    Err(_) => break self.farewell().await,
                },
                event = self.swarm.select_next_some(), if reading => self.on_swarm_event(event),
                () = &mut alarm => self.on_time(Instant::now()),
                () = outbox.closed() => break self.farewell().await,
            }
        }
    }

    /// Gives the node as many events as its queue has room for.
    fn hand_over(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            match self.outbox.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.backlog.push_front(event);
                    break;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => break,
            }
        }
        self.metrics.backlog.set(i64::try_from(self.backlog.len()).unwrap_or(i64::MAX));
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.backlog.push_back(event);
    }

    /// Closes every connection, and lets what is written still leave.
    async fn farewell(&mut self) {
        for peer in self.peers.keys() {
            let _was_connected = self.swarm.disconnect_peer_id(*peer);
        }
        let deadline = Instant::now() + FAREWELL;
        while !self.peers.is_empty() {
            let Ok(event) = timeout_at(deadline, self.swarm.select_next_some()).await else { break };
            if let SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } = event {
                self.peers.remove(&peer_id);
            }
        }
    }

    /// Carries out an order. A shutdown gives back whom to tell when it is done.
    fn on_order(&mut self, order: Order) -> Option<oneshot::Sender<()>> {
        match order {
            Order::Command(command) => self.on_command(command),
            Order::Peers(reply) => {
                let _nobody_waits = reply.send(self.peer_infos());
            }
            Order::GoodPeers(reply) => {
                let _nobody_waits = reply.send(self.discovery.good_peers());
            }
            Order::Shutdown(reply) => return Some(reply),
        }
        None
    }

    fn on_command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Publish { topic, data } => self.publish(topic, data, now),
            Command::Subscribe(topic) => self.subscribe(topic),
            Command::Unsubscribe(topic) => {
                if self.topics.remove(&topic).is_some() {
                    if let Some(tap) = &self.config.tap {
                        tap.see(Tapped::Left(&topic));
                    }
                    let router = &mut self.swarm.behaviour_mut().gossip;
                    router.unsubscribe(&gossip::ident(&topic));
                    gossip::weigh_topics(router, &self.topics, &self.config.gossip.score);
                    self.count_topics();
                }
            }
            Command::Judge { message, verdict } => {
                let acceptance = match verdict {
                    Verdict::Accept => MessageAcceptance::Accept,
                    Verdict::Ignore => MessageAcceptance::Ignore,
                    Verdict::Reject => MessageAcceptance::Reject,
                };
                let (id, source) = (MessageId::new(&message.id), peer_id(&message.source));
                let router = &mut self.swarm.behaviour_mut().gossip;
                self.metrics.verdict(verdict);
                if !router.report_message_validation_result(&id, &source, acceptance) {
                    self.metrics.verdicts_late.inc();
                }
            }
            Command::Send { ask, peer, addrs, frame } => self.ask(ask, peer, &addrs, frame, now),
            Command::Reply { exchange, frame } => {
                if let Some(channel) = self.requests.answer(exchange) {
                    // The peer may be gone; its own deadline takes care of that.
                    let _gone = self.swarm.behaviour_mut().exchange.send_response(channel, frame);
                }
            }
            Command::Dial { addr } => {
                let opts = self.discovery.asked(addr);
                self.dial(opts, now);
            }
            Command::Disconnect { peer } => {
                let _was_connected = self.swarm.disconnect_peer_id(peer_id(&peer));
            }
            Command::SetScore { peer, score } => {
                let peer = peer_id(&peer);
                let peers = &self.peers;
                self.scores.give(peer, score, |other| peers.contains_key(other));
                self.apply_score(&peer);
            }
        }
    }

    fn subscribe(&mut self, topic: Topic) {
        if self.topics.contains_key(&topic) {
            return;
        }
        if self.topics.len() >= SUBSCRIPTIONS_MAX || *topic.network() != self.config.network {
            tracing::warn!(topics = self.topics.len(), network = %topic.network(), "subscription refused");
            return;
        }
        let ident = gossip::ident(&topic);
        let hash = ident.hash();
        self.topics.insert(topic.clone(), hash);
        let router = &mut self.swarm.behaviour_mut().gossip;
        // Scores first: what arrives on a topic without parameters is not scored.
        gossip::weigh_topics(router, &self.topics, &self.config.gossip.score);
        if let Err(error) = router.subscribe(&ident) {
            tracing::warn!(%error, "subscription failed");
            self.topics.remove(&topic);
        } else if let Some(tap) = &self.config.tap {
            tap.see(Tapped::Joined(&topic));
        }
        self.count_topics();
    }

    fn count_topics(&self) {
        self.metrics.topics.set(i64::try_from(self.topics.len()).unwrap_or(i64::MAX));
        tracing::debug!(topics = self.topics.len(), "subscriptions changed");
    }

    fn publish(&mut self, topic: Topic, data: Vec<u8>, now: Instant) {
        let possible = *topic.network() == self.config.network && data.len() <= EVIDENCE_BYTES_MAX;
        let outcome = if possible {
            let kept = data.clone();
            let at = Instant::now();
            let outcome = gossip::publish(&mut self.swarm.behaviour_mut().gossip, &topic, data);
            if let Some(tap) = self.config.tap.as_ref().filter(|_| outcome == PublishOutcome::Sent) {
                let id = message_id(&topic.to_string(), &kept);
                let peers = gossip::peers_in(&self.swarm.behaviour().gossip, &topic);
                tap.see(Tapped::Published { topic: &topic, id, at, peers });
            }
            if outcome == PublishOutcome::Kept {
                self.unsent.keep(topic.clone(), kept, now);
            }
            outcome
        } else {
            PublishOutcome::Refused
        };
        self.metrics.published(outcome);
        self.emit(Event::Published { topic, outcome });
    }

    /// Publishes what was kept for `topic`, to which somebody has just subscribed.
    pub(crate) fn publish_unsent(&mut self, topic: &Topic, now: Instant) {
        for data in self.unsent.take(topic, now) {
            self.publish(topic.clone(), data, now);
        }
    }

    fn ask(&mut self, ask: u64, key: PeerKey, addrs: &[Vec<u8>], frame: Vec<u8>, now: Instant) {
        let peer = peer_id(&key);
        let mut known = address::hints(addrs, &peer, self.memory);
        for addr in self.discovery.addresses(&peer) {
            if !known.contains(addr) {
                known.push(addr.clone());
            }
        }
        let begun = if peer == self.local_peer {
            Err(SendFailure::Unreachable)
        } else {
            self.asks.begin(ask, peer, known, frame, now)
        };
        match begun {
            Ok(sending) => self.send(sending),
            Err(reason) => self.send_failed(ask, key, reason),
        }
    }

    pub(crate) fn send(&mut self, sending: Option<Sending>) {
        if let Some(Sending { ticket, peer, frame, addrs }) = sending {
            let id = self.swarm.behaviour_mut().exchange.send_request_with_addresses(&peer, frame, addrs);
            self.asks.sent(ticket, id);
        }
    }

    pub(crate) fn send_failed(&mut self, ask: u64, peer: PeerKey, reason: SendFailure) {
        self.metrics.failed(reason);
        self.emit(Event::SendFailed { ask, peer, reason });
    }

    fn dial(&mut self, opts: DialOpts, now: Instant) {
        let connection = opts.connection_id();
        if let Err(error) = self.swarm.dial(opts) {
            self.dial_failed(connection, &error, now);
        }
    }

    pub(crate) fn dial_failed(
        &mut self,
        connection: ConnectionId,
        error: &libp2p::swarm::DialError,
        now: Instant,
    ) {
        if let Some(failed) = self.discovery.failed(connection, error, now) {
            self.emit(Event::DialFailed {
                addr: Some(failed.addr),
                peer: failed.peer,
                reason: failed.reason,
            });
        }
    }

    /// Dials what is due.
    pub(crate) fn look_for_peers(&mut self, now: Instant) {
        let peers = &self.peers;
        let due = self.discovery.due(now, peers.len(), |peer| peers.contains_key(peer));
        for opts in due {
            self.dial(opts, now);
        }
    }

    fn on_time(&mut self, now: Instant) {
        while let Some((ask, next)) = self.asks.expire(now) {
            if let Some(peer) = peer_key(&ask.peer) {
                self.send_failed(ask.ask, peer, SendFailure::Timeout);
            }
            self.send(next);
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            for peer in std::mem::take(&mut self.leaving) {
                let _was_connected = self.swarm.disconnect_peer_id(peer);
            }
            self.look_for_peers(now);
            self.unsent.expire(now);
        }
    }

    /// Tells the router the application's part of a peer's score.
    pub(crate) fn apply_score(&mut self, peer: &PeerId) {
        let config = &self.config.gossip.score;
        let behaviour = self.swarm.behaviour_mut();
        let links = self.peers.get(peer).into_iter().flat_map(|peer| peer.links.values());
        let sharing = links.map(|addr| behaviour.doors.sharing(addr)).max().unwrap_or(0);
        let score = self.scores.of(peer, self.discovery.is_bootstrap(peer), sharing, config);
        behaviour.gossip.set_application_score(peer, score);
    }

    fn peer_infos(&self) -> Vec<PeerInfo> {
        let router = &self.swarm.behaviour().gossip;
        let mut meshes: BTreeMap<PeerId, usize> = BTreeMap::new();
        for hash in self.topics.values() {
            for peer in router.mesh_peers(hash) {
                *meshes.entry(*peer).or_default() += 1;
            }
        }
        let infos = self.peers.iter().filter_map(|(peer, state)| {
            Some(PeerInfo {
                key: peer_key(peer)?,
                addrs: state.links.values().cloned().collect(),
                connected_ms: u64::try_from(state.since.elapsed().as_millis()).unwrap_or(u64::MAX),
                inbound: state.inbound,
                mesh_topics: meshes.get(peer).copied().unwrap_or(0),
                score: router.peer_score(peer).unwrap_or(0.0),
                agent: state.agent.clone(),
            })
        });
        let mut infos: Vec<PeerInfo> = infos.collect();
        infos.sort_by_key(|info| info.key);
        infos
    }
}
