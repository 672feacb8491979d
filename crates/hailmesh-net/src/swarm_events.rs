//! What the swarm reports, and what becomes of it.

use hailmesh_wire::limits::EVIDENCE_BYTES_MAX;
use libp2p::core::ConnectedPoint;
use libp2p::request_response::{self, Message};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, gossipsub, identify, mdns, ping};
use tokio::time::Instant;

use crate::address::{self, Scope};
use crate::behaviour::BehaviourEvent;
use crate::event::{Event, Verdict};
use crate::exchange;
use crate::gossip;
use crate::keys::peer_key;
use crate::service::{Peer, Running};

/// Most characters that are kept of a text that a peer says about itself.
const TEXT_CHARS_MAX: usize = 64;
/// Addresses that are looked at of those that a peer says are its own.
const SAID_ADDRS_MAX: usize = 16;

impl Running {
    pub(crate) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.metrics.record(&event);
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event, now),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint, now);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                self.on_closed(peer_id, connection_id, now);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                tracing::debug!(reason = %chain(&error), "dial failed");
                self.dial_failed(connection_id, &error, now);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                tracing::debug!(reason = %chain(&error), "inbound connection failed");
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.listener_ids.retain(|id| *id != listener_id);
                tracing::info!(%address, "listening");
                self.publish_listeners();
                self.emit(Event::Listening { addr: address });
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                tracing::info!(%address, "no longer listening");
                self.publish_listeners();
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                self.publish_listeners();
                if let Err(error) = reason {
                    self.emit(Event::ListenFailed {
                        addr: addresses.into_iter().next(),
                        reason: error.to_string(),
                    });
                }
            }
            SwarmEvent::ListenerError { error, .. } => {
                self.emit(Event::ListenFailed { addr: None, reason: error.to_string() });
            }
            _ => {}
        }
    }

    fn publish_listeners(&mut self) {
        let mut listeners: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        listeners.sort_unstable();
        self.listeners.send_replace(listeners);
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent, now: Instant) {
        match event {
            BehaviourEvent::Gossip(event) => self.on_gossip(event, now),
            BehaviourEvent::Exchange(event) => self.on_exchange(event, now),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, &info, now);
            }
            // A peer that vanished without a word would otherwise count as connected until
            // the system gives its socket up, a quarter of an hour later.
            BehaviourEvent::Ping(ping::Event {
                connection,
                result: Err(ping::Failure::Timeout | ping::Failure::Other { .. }),
                ..
            }) => {
                let _was_open = self.swarm.close_connection(connection);
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, addr) in found {
                    self.discovery.discovered(peer, &addr, now);
                }
                self.look_for_peers(now);
            }
            _ => {}
        }
    }

    fn on_connected(
        &mut self,
        peer: PeerId,
        connection: libp2p::swarm::ConnectionId,
        endpoint: &ConnectedPoint,
        now: Instant,
    ) {
        let addr = address::split_peer(endpoint.get_remote_address()).0;
        let inbound = endpoint.is_listener();
        self.discovery.established(connection, peer, (!inbound).then_some(&addr), now);
        let first = !self.peers.contains_key(&peer);
        let state = self.peers.entry(peer).or_insert_with(|| Peer {
            since: now,
            inbound,
            agent: None,
            links: Default::default(),
        });
        state.links.insert(connection, addr.clone());
        self.apply_scores_at(peer, &addr);
        self.count_peers();
        if first && let Some(peer) = peer_key(&peer) {
            self.emit(Event::Connected { peer, addr, inbound });
        }
    }

    fn on_closed(&mut self, peer: PeerId, connection: libp2p::swarm::ConnectionId, now: Instant) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let addr = state.links.remove(&connection);
        if state.links.is_empty() {
            self.peers.remove(&peer);
            self.discovery.disconnected(&peer, now);
            if let Some(peer) = peer_key(&peer) {
                self.emit(Event::Disconnected { peer });
            }
            self.look_for_peers(now);
        }
        if let Some(addr) = addr {
            self.apply_scores_at(peer, &addr);
        }
        self.count_peers();
    }

    /// Sets the scores of `peer` and, where a shared address counts, of those that share
    /// it.
    fn apply_scores_at(&mut self, peer: PeerId, addr: &Multiaddr) {
        self.apply_score(&peer);
        let above = self.config.gossip.score.shared_address_above;
        if self.swarm.behaviour().doors.sharing(addr) < above {
            return;
        }
        let place = address::counted(addr);
        let here = |peer: &Peer| peer.links.values().any(|addr| address::counted(addr) == place);
        let sharers: Vec<PeerId> =
            self.peers.iter().filter(|(_, peer)| here(peer)).map(|(peer, _)| *peer).collect();
        for sharer in sharers {
            self.apply_score(&sharer);
        }
    }

    fn count_peers(&self) {
        self.metrics.peers.set(i64::try_from(self.peers.len()).unwrap_or(i64::MAX));
    }

    /// A peer says what it speaks, with which software, and where it listens.
    fn on_identified(&mut self, peer: PeerId, info: &identify::Info, now: Instant) {
        let Some(key) = peer_key(&peer) else { return };
        if info.protocol_version != self.protocol_version {
            if self.leaving.contains(&peer) {
                return;
            }
            self.metrics.strangers.inc();
            self.discovery.estrange(peer, now);
            self.leaving.push(peer);
            self.emit(Event::WrongNetwork { peer: key, theirs: printable(&info.protocol_version) });
            return;
        }
        self.discovery.confirmed(&peer);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.agent = Some(printable(&info.agent_version));
        let seen_from = state.links.values().map(address::scope).min().unwrap_or(Scope::Global);
        let said = &info.listen_addrs[..info.listen_addrs.len().min(SAID_ADDRS_MAX)];
        self.discovery.learn(peer, said, seen_from, now);
    }

    fn on_gossip(&mut self, event: gossipsub::Event, now: Instant) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                if message.data.len() > EVIDENCE_BYTES_MAX {
                    // No statement is that large (P4.1): whoever forwards it knows.
                    let router = &mut self.swarm.behaviour_mut().gossip;
                    let reject = gossipsub::MessageAcceptance::Reject;
                    router.report_message_validation_result(&message_id, &propagation_source, reject);
                    self.metrics.verdict(Verdict::Reject);
                    return;
                }
                let token = gossip::token(&message_id, &propagation_source);
                if let (Some(token), Some(topic)) = (token, gossip::parse(&message.topic)) {
                    self.metrics.gossip.inc();
                    self.emit(Event::Gossip { message: token, topic, data: message.data });
                }
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                if let (Some(peer), Some(topic)) = (peer_key(&peer_id), gossip::parse(&topic)) {
                    self.publish_unsent(&topic, now);
                    self.emit(Event::Subscribed { peer, topic });
                }
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                let dropped = failed_messages.priority + failed_messages.non_priority;
                self.metrics.dropped.inc_by(dropped as u64);
                if let Some(peer) = peer_key(&peer_id) {
                    self.emit(Event::SlowPeer { peer, dropped });
                }
            }
            gossipsub::Event::Unsubscribed { .. } | gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    fn on_exchange(&mut self, event: request_response::Event<Vec<u8>, Vec<u8>>, now: Instant) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request { request_id, request, channel } => {
                    if let Some(peer) = peer_key(&peer) {
                        self.metrics.requests.inc();
                        let exchange = self.requests.begin(request_id, channel);
                        self.emit(Event::Request { exchange, peer, frame: request });
                    }
                }
                Message::Response { request_id, response } => {
                    if let Some((ask, next)) = self.asks.end(request_id) {
                        self.metrics.answered((now - ask.begun).as_secs_f64());
                        self.send(next);
                        if let Some(peer) = peer_key(&ask.peer) {
                            self.emit(Event::Response { ask: ask.ask, peer, frame: response });
                        }
                    }
                }
            },
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                if let Some((ask, next)) = self.asks.end(request_id) {
                    if let Some(peer) = peer_key(&ask.peer) {
                        self.send_failed(ask.ask, peer, exchange::failure(&error));
                    }
                    self.send(next);
                }
            }
            request_response::Event::InboundFailure { request_id, .. }
            | request_response::Event::ResponseSent { request_id, .. } => self.requests.end(request_id),
        }
    }
}

/// What a peer says about itself, fit for a log.
fn printable(text: &str) -> String {
    text.chars()
        .take(TEXT_CHARS_MAX)
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
        .collect()
}

/// The whole chain of an error, which libp2p's own `Display` mostly leaves out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut error = error;
    while let Some(source) = error.source() {
        text.push_str(": ");
        text.push_str(&source.to_string());
        error = source;
    }
    text
}
