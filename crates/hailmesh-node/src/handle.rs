//! What everything outside of the loop holds.

use std::sync::Arc;

use hailmesh_market::{Answer, Command, RideId, RideView, Role};
use hailmesh_net::{Multiaddr, PeerId, PeerInfo, peer_id};
use hailmesh_store::Store;
use hailmesh_types::NetworkName;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, timeout};

use crate::engine::{Core, Current, Reading, Request};
use crate::error::NodeError;
use crate::events::{EventItem, EventLog, EventStream, NodeEvent};
use crate::history::is_worn;
use crate::search::{Quote, QuoteRequest, SearchAnswer, SearchRequest};
use crate::status::{self, NodeStatus, Scene};

/// Talks to a node. Clones are cheap; when the last is gone the node ends.
#[derive(Clone)]
pub struct NodeHandle {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) shared: Arc<Shared>,
}

/// What needs no question to the loop.
pub(crate) struct Shared {
    pub(crate) role: Option<Role>,
    pub(crate) network: NetworkName,
    pub(crate) bootstrap: usize,
    pub(crate) mdns: bool,
    pub(crate) issuers: usize,
    /// Read only, for rides that are over.
    pub(crate) journal: Store,
    pub(crate) registry: Registry,
    pub(crate) log: Arc<EventLog>,
    pub(crate) current: watch::Receiver<Current>,
    pub(crate) closed: watch::Receiver<bool>,
}

impl std::fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeHandle").field("role", &self.shared.role).finish_non_exhaustive()
    }
}

impl NodeHandle {
    /// Asks the marketplace to do something. The answer comes when everything that it
    /// caused is durable.
    ///
    /// # Errors
    /// Why it cannot be done; [`NodeError::Store`] when it is not known to be durable.
    pub async fn command(&self, command: Command) -> Result<Answer, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Command(Box::new(command), reply)).await?;
        answer.await.unwrap_or(Err(NodeError::Stopped))
    }

    /// Searches the book. Asks nobody.
    ///
    /// # Errors
    /// [`NodeError::BadInput`] when there is no place to search around.
    pub async fn search(&self, request: SearchRequest) -> Result<SearchAnswer, NodeError> {
        let mut answer = self.read(|reply| Reading::Search(Box::new(request), reply)).await?;
        if answer.items.is_empty() {
            answer.hint = self.status().await?.hints.into_iter().next();
        }
        Ok(answer)
    }

    /// What a trip would cost with the drivers in the book, cheapest first by currency.
    /// Asks nobody.
    ///
    /// # Errors
    /// [`NodeError::Stopped`].
    pub async fn quote(&self, request: QuoteRequest) -> Result<Vec<Quote>, NodeError> {
        self.read(|reply| Reading::Quote(Box::new(request), reply)).await
    }

    /// Every ride that this node has in memory, newest first: all that are not over, and
    /// the latest others. [`NodeHandle::rides_page`] knows older ones.
    ///
    /// # Errors
    /// [`NodeError::Store`] while the store does not work.
    pub async fn rides(&self) -> Result<Vec<RideView>, NodeError> {
        self.read(Reading::Rides).await
    }

    /// One ride; none when it is not known here.
    ///
    /// # Errors
    /// [`NodeError::Store`] while the store does not work.
    pub async fn ride(&self, ride: RideId) -> Result<Option<RideView>, NodeError> {
        let view = self.read(|reply| Reading::Ride(ride, reply)).await?;
        if view.as_ref().is_some_and(|view| !is_worn(view)) {
            return Ok(view);
        }
        let stored = self.stored_ride(ride).await?;
        Ok(stored.map(|stored| stored.view()).or(view))
    }

    /// The receipt of a ride as a file; none when there is none (yet).
    ///
    /// # Errors
    /// [`NodeError::Store`] while the store does not work.
    pub async fn receipt(&self, ride: RideId) -> Result<Option<Vec<u8>>, NodeError> {
        let receipt = self.read(|reply| Reading::Receipt(ride, reply)).await?;
        if receipt.is_some() {
            return Ok(receipt);
        }
        let stored = self.stored_ride(ride).await?;
        Ok(stored.and_then(|stored| stored.receipt(&self.shared.network)))
    }

    /// Waits until `wanted` is true of a ride, at most so long. The ride as it then is,
    /// whether it is as wanted or not; none when it is not known here.
    ///
    /// # Errors
    /// [`NodeError::Store`] while the store does not work.
    pub async fn wait_ride(
        &self,
        ride: RideId,
        wanted: impl Fn(&RideView) -> bool,
        wait: Duration,
    ) -> Result<Option<RideView>, NodeError> {
        // From before the first look, so that nothing falls between.
        let mut events = self.events(Some(self.last_event_id()));
        let waiting = async {
            loop {
                match self.ride(ride).await? {
                    Some(view) if !wanted(&view) => {}
                    known => return Ok(known),
                }
                while !concerns(&events.next().await.ok_or(NodeError::Stopped)?, ride) {}
            }
        };
        match timeout(wait, waiting).await {
            Ok(outcome) => outcome,
            Err(_) => self.ride(ride).await,
        }
    }

    /// The node at a glance, with what to do when it sees nobody.
    ///
    /// # Errors
    /// [`NodeError::Stopped`].
    pub async fn status(&self) -> Result<NodeStatus, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Read(Reading::Core(reply))).await?;
        let core = answer.await.map_err(|_| NodeError::Stopped)?;
        let peers = self.peers().await;
        let mesh_peers = peers.iter().filter(|peer| peer.mesh_topics > 0).count();
        Ok(self.complete(core, peers.len(), mesh_peers))
    }

    fn complete(&self, core: Core, peers: usize, mesh_peers: usize) -> NodeStatus {
        let shared = &*self.shared;
        let net = self.net();
        let addresses: Vec<Multiaddr> =
            net.addresses().into_iter().filter_map(|bytes| Multiaddr::try_from(bytes).ok()).collect();
        let hints = status::hints(&Scene {
            network: &shared.network,
            snapshot: &core.snapshot,
            seen: &core.seen,
            peers,
            mesh_peers,
            bootstrap: shared.bootstrap,
            mdns: shared.mdns,
            issuers: shared.issuers,
            positioned: core.positioned,
            now: core.now,
        });
        NodeStatus {
            version: env!("CARGO_PKG_VERSION"),
            role: shared.role,
            network: shared.network.clone(),
            peer_id: peer_id(&net.local_peer()),
            key: core.snapshot.key,
            listen: net.listeners(),
            reachability: status::reachability(&addresses),
            addresses,
            peers,
            mesh_peers,
            connected_ms: core.connected_ms,
            uptime_ms: core.uptime_ms,
            store: shared.journal.kind(),
            store_healthy: core.store_healthy,
            transport_note: (shared.role == Some(Role::Rider)).then(|| status::TRANSPORT_NOTE.to_owned()),
            last_error: core.last_error,
            hints,
            snapshot: core.snapshot,
        }
    }

    /// The connected peers, in order of their keys; none when the node has ended.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.net().peers().await
    }

    /// Dials an address. What comes of it is seen in [`NodeHandle::peers`]; good peers
    /// are remembered over restarts.
    ///
    /// # Errors
    /// [`NodeError::Stopped`].
    pub async fn add_peer(&self, address: Multiaddr) -> Result<(), NodeError> {
        self.send(Request::Dial(address)).await
    }

    /// One line for `--bootstrap` on another machine.
    ///
    /// # Errors
    /// [`NodeError::BadInput`] when this node listens nowhere.
    pub async fn invite(&self) -> Result<String, NodeError> {
        let net = self.net();
        let addresses: Vec<Multiaddr> =
            net.addresses().into_iter().filter_map(|bytes| Multiaddr::try_from(bytes).ok()).collect();
        crate::invite::line(&addresses, &peer_id(&net.local_peer())).ok_or_else(|| {
            NodeError::BadInput("this node listens on no address that others could dial".to_owned())
        })
    }

    /// Events after the one with this id, as far as they are kept; without it those to
    /// come.
    #[must_use]
    pub fn events(&self, after: Option<u64>) -> EventStream {
        self.shared.log.stream(after, self.shared.closed.clone())
    }

    /// The id of the latest event; 0 before the first.
    #[must_use]
    pub fn last_event_id(&self) -> u64 {
        self.shared.log.last_id()
    }

    /// Every figure in the text format of OpenMetrics.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let current = self.shared.current.borrow().registry.clone();
        crate::metrics::text(&[&self.shared.registry, &current])
    }

    /// Ends the node: withdraws its offer, finishes the handshake in flight (at most
    /// 5 s), closes the store. Returns when that is done.
    pub async fn shutdown(&self) {
        // A node that has ended is as wanted.
        let _ = self.send(Request::Shutdown).await;
        let _ = self.shared.closed.clone().wait_for(|closed| *closed).await;
    }

    /// Driver, rider, or neither: a relay.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.shared.role
    }

    /// The transport identity now; a driver's changes with its shift key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        peer_id(&self.net().local_peer())
    }

    fn net(&self) -> hailmesh_net::Handle {
        self.shared.current.borrow().handle.clone()
    }

    async fn send(&self, request: Request) -> Result<(), NodeError> {
        self.requests.send(request).await.map_err(|_| NodeError::Stopped)
    }

    async fn read<T>(
        &self,
        reading: impl FnOnce(oneshot::Sender<Result<T, NodeError>>) -> Reading,
    ) -> Result<T, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Read(reading(reply))).await?;
        answer.await.unwrap_or(Err(NodeError::Stopped))
    }
}

/// Whether an event may have changed a ride.
fn concerns(item: &EventItem, ride: RideId) -> bool {
    use hailmesh_market::Event;
    match item {
        EventItem::Lagged { .. } => true,
        EventItem::Numbered(numbered) => match &numbered.event {
            NodeEvent::Market(
                Event::Ride { ride: of, .. }
                | Event::Asked { ride: of, .. }
                | Event::FareDisputed { ride: of, .. }
                | Event::Seen { ride: of },
            ) => *of == ride,
            _ => false,
        },
    }
}
