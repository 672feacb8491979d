//! The network as the loop sees it: one service after the other.
//!
//! A driver's transport identity is its shift key (P3.1), so a new shift key means a new
//! service. Numbers of exchanges begin anew with a service, and those of asks with a
//! marketplace: both get an offset here, so that nothing late meets the wrong one.

use std::collections::BTreeMap;

use hailmesh_market::{AskId, ExchangeId, Input};
use hailmesh_net::{self as net, Event, Service};
use hailmesh_types::{PeerKey, Timestamp};
use hailmesh_wire::Address;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::Engine;
use crate::events::NodeEvent;
use crate::translate;

/// What nodes of this version say before the name of their network.
const OTHER_NETWORK: &str = "/hailmesh/1/";

/// What of the network outlives one service.
pub(crate) struct Link {
    config: net::Config,
    seed: Zeroizing<[u8; 32]>,
    handle: net::Handle,
    events: Option<net::Events>,
    task: Option<JoinHandle<()>>,
    /// The handle and figures of the service that runs, for whoever asks.
    current: watch::Sender<Current>,
    /// Asks that have no answer yet, by the number that the network knows.
    asks: BTreeMap<u64, (AskId, PeerKey)>,
    next_ask: u64,
    /// What is added to the network's numbers of exchanges.
    exchange_base: u64,
    exchange_last: u64,
    published: bool,
    retry_at: Option<Timestamp>,
}

/// The service that runs.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) handle: net::Handle,
    pub(crate) registry: Arc<Registry>,
}

impl Link {
    /// Starts the first service.
    pub(crate) async fn start(config: net::Config, seed: Zeroizing<[u8; 32]>) -> Result<Self, net::Error> {
        let (current, events, task) = service(&config, &seed).await?;
        Ok(Self {
            config,
            seed,
            handle: current.handle.clone(),
            events: Some(events),
            task: Some(task),
            current: watch::Sender::new(current),
            asks: BTreeMap::new(),
            next_ask: 0,
            exchange_base: 0,
            exchange_last: 0,
            published: false,
            retry_at: None,
        })
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Current> {
        self.current.subscribe()
    }

    pub(super) fn handle(&self) -> net::Handle {
        self.handle.clone()
    }

    /// Appends events that wait; 0 when the service has ended.
    pub(super) async fn events(&mut self, into: &mut Vec<Event>, limit: usize) -> usize {
        match &mut self.events {
            Some(events) => events.next_many(into, limit).await,
            None => std::future::pending().await,
        }
    }

    /// A service that has ended takes nothing: what was asked of it is settled when it
    /// is replaced.
    pub(super) async fn send(&mut self, command: net::Command) {
        self.published |= matches!(command, net::Command::Publish { .. });
        if self.handle.send(command).await.is_err() {
            tracing::debug!("the network is down");
        }
    }

    pub(super) async fn ask(&mut self, ask: AskId, peer: PeerKey, addrs: Vec<Vec<u8>>, frame: Vec<u8>) {
        let number = self.next_ask;
        self.next_ask += 1;
        self.asks.insert(number, (ask, peer));
        self.send(net::Command::Send { ask: number, peer, addrs, frame }).await;
    }

    pub(super) async fn reply(&mut self, exchange: ExchangeId, frame: Vec<u8>) {
        // An exchange of an earlier service ended with it.
        if let Some(exchange) = exchange.0.checked_sub(self.exchange_base) {
            self.send(net::Command::Reply { exchange, frame }).await;
        }
    }

    fn exchange(&mut self, exchange: u64) -> ExchangeId {
        let number = self.exchange_base + exchange;
        self.exchange_last = self.exchange_last.max(number);
        ExchangeId(number)
    }

    fn answered(&mut self, number: u64) -> Option<AskId> {
        self.asks.remove(&number).map(|(ask, _)| ask)
    }

    /// A new marketplace has begun none of them.
    pub(super) fn forget_asks(&mut self) {
        self.asks.clear();
    }

    /// Shows something to whoever looks.
    pub(super) fn tap(&self, tapped: net::Tapped<'_>) {
        if let Some(tap) = &self.config.tap {
            tap.see(tapped);
        }
    }

    /// The addresses to offer now.
    pub(crate) fn offered(&self) -> Vec<Address> {
        translate::offered(self.handle.addresses())
    }

    /// Whether anything was published at all.
    pub(super) const fn published(&self) -> bool {
        self.published
    }

    pub(super) async fn good_peers(&self) -> Vec<(PeerKey, net::Multiaddr)> {
        self.handle.good_peers().await
    }

    pub(super) fn is_down(&self) -> bool {
        self.events.is_none() && self.retry_at.is_none()
    }

    /// Lets a failed start be tried again.
    pub(super) fn retry(&mut self, now: Timestamp) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
    }

    pub(super) async fn shutdown(&mut self) {
        self.events = None;
        self.handle.shutdown().await;
        let Some(task) = self.task.take() else { return };
        if let Err(error) = task.await {
            tracing::warn!(%error, "the network ended badly");
        }
    }

    /// Replaces the service by one with this identity, with the peers it knew.
    async fn restart(&mut self, seed: Zeroizing<[u8; 32]>) -> Result<(), net::Error> {
        let good = self.good_peers().await;
        self.shutdown().await;
        if !good.is_empty() {
            self.config.remembered = good;
        }
        self.seed = seed;
        let (current, events, task) = service(&self.config, &self.seed).await?;
        self.exchange_base = self.exchange_last + 1;
        self.handle = current.handle.clone();
        self.events = Some(events);
        self.task = Some(task);
        self.current.send_replace(current);
        Ok(())
    }
}

async fn service(
    config: &net::Config,
    seed: &Zeroizing<[u8; 32]>,
) -> Result<(Current, net::Events, JoinHandle<()>), net::Error> {
    // libp2p wants its registry for itself while it starts; a service that is replaced
    // takes its figures along.
    let mut registry = Registry::with_prefix("hailmesh");
    let (handle, events, task) = Service::start(config.clone(), seed, Some(&mut registry)).await?;
    Ok((Current { handle, registry: Arc::new(registry) }, events, task))
}

impl Engine {
    pub(super) async fn on_network(&mut self, event: Event) {
        match event {
            Event::Gossip { message, topic, data } => {
                self.link.tap(net::Tapped::Received { id: message.id, data: &data });
                self.input(Input::Gossip {
                    message: translate::message_ref(message),
                    topic,
                    heard: data.into(),
                })
                .await;
            }
            Event::Request { exchange, peer, frame } => {
                self.link.tap(net::Tapped::Asked { peer, frame: &frame });
                let exchange = self.link.exchange(exchange);
                self.input(Input::Request { exchange, peer, frame }).await;
            }
            Event::Response { ask, peer, frame } => {
                if let Some(ask) = self.link.answered(ask) {
                    self.link.tap(net::Tapped::Answered { peer, frame: &frame });
                    self.input(Input::Response { ask, peer, frame }).await;
                }
            }
            Event::SendFailed { ask, peer, reason } => {
                tracing::debug!(reason = reason.as_str(), "an exchange has no answer");
                if let Some(ask) = self.link.answered(ask) {
                    self.send_failed(ask, peer).await;
                }
            }
            Event::Connected { peer, addr, .. } => self.on_connected(peer, &addr).await,
            Event::Disconnected { peer } => self.on_disconnected(peer).await,
            Event::Subscribed { peer, topic } => self.input(Input::PeerSubscribed { peer, topic }).await,
            Event::Listening { .. } => self.input(Input::Addresses(self.link.offered())).await,
            Event::ListenFailed { addr, reason } => {
                let at = addr.map_or_else(|| "an address".to_owned(), |addr| addr.to_string());
                self.problem(
                    &format!("no longer listening on {at}: {reason}"),
                    "check the network of this machine",
                );
                self.input(Input::Addresses(self.link.offered())).await;
            }
            Event::DialFailed { addr, reason, .. } => self.on_dial_failed(addr, reason),
            Event::WrongNetwork { theirs, .. } => {
                tracing::debug!(theirs, "a peer of another network");
                // Of our own kind: its network has a name that the user knows.
                let name = theirs.strip_prefix(OTHER_NETWORK).unwrap_or(&theirs);
                self.seen.other_network(name.to_owned());
            }
            Event::Published { outcome, .. } => self.metrics.published(outcome.as_str()),
            Event::SlowPeer { dropped, .. } => tracing::debug!(dropped, "a peer is slow"),
        }
    }

    async fn on_connected(&mut self, peer: PeerKey, addr: &net::Multiaddr) {
        let origin = translate::origin(addr);
        self.peers.insert(peer, origin);
        let now = self.clock.now();
        self.connected_since.get_or_insert(now);
        let bare = bare(addr);
        self.seen.bootstrap_failed.retain(|failed, _| *failed != bare);
        self.log.push(now, NodeEvent::PeerUp { peers: self.peers.len() });
        if self.market.is_bound_to(&peer) {
            self.remember_soon();
        }
        self.input(Input::PeerConnected { peer, origin }).await;
    }

    async fn on_disconnected(&mut self, peer: PeerKey) {
        if self.peers.remove(&peer).is_none() {
            return;
        }
        if self.peers.is_empty() {
            self.connected_since = None;
        }
        self.log.push(self.clock.now(), NodeEvent::PeerDown { peers: self.peers.len() });
        self.input(Input::PeerGone { peer }).await;
    }

    fn on_dial_failed(&mut self, addr: Option<net::Multiaddr>, reason: String) {
        let Some(failed) = addr.as_ref().map(bare) else { return };
        if self.link.config.bootstrap.iter().any(|known| bare(known) == failed)
            && self.seen.bootstrap_failed.insert(failed.clone(), reason.clone()).is_none()
        {
            let hint = "check that the node there runs and that the address is right; it is tried again";
            self.problem(&format!("bootstrap address {failed} does not answer: {reason}"), hint);
        }
    }

    /// Takes the transport identity that the marketplace now has.
    pub(super) async fn follow_key(&mut self) {
        let Some(seed) = self.market.transport_seed() else { return };
        let seed = Zeroizing::new(seed.0);
        if *seed != *self.link.seed {
            tracing::info!("the transport identity follows the shift key");
            self.replace_service(seed).await;
        }
    }

    /// The service has ended by itself, or could not be started.
    pub(super) async fn on_network_ended(&mut self) {
        let seed = self.link.seed.clone();
        if self.link.events.is_some() {
            self.problem(
                "the network service has ended",
                "it is started again; if this repeats, please report it",
            );
        }
        self.replace_service(seed).await;
    }

    async fn replace_service(&mut self, seed: Zeroizing<[u8; 32]>) {
        let started = self.link.restart(seed).await;
        // All connections and exchanges went with the old one.
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            self.on_disconnected(peer).await;
        }
        for (ask, peer) in std::mem::take(&mut self.link.asks).into_values() {
            self.send_failed(ask, peer).await;
        }
        match started {
            Ok(()) => {
                for topic in self.topics.clone() {
                    self.link.send(net::Command::Subscribe(topic)).await;
                }
                let offered = self.link.offered();
                self.input(Input::Addresses(offered)).await;
            }
            Err(error) => {
                let now = self.clock.now();
                self.link.retry_at = Some(now + hailmesh_types::Duration::from_secs(1));
                self.problem(
                    &error.to_string(),
                    "free the port or the address; it is tried again every second",
                );
            }
        }
    }
}

/// An address without the peer at its end.
fn bare(addr: &net::Multiaddr) -> String {
    let text = addr.to_string();
    text.rsplit_once("/p2p/").map_or(text.clone(), |(bare, _)| bare.to_owned())
}
