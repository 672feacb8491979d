//! The node's ends of the two queues.

use std::sync::Arc;

use hailmesh_types::PeerKey;
use libp2p::Multiaddr;
use tokio::sync::{mpsc, oneshot, watch};

use crate::address;
use crate::event::{Command, Event, PeerInfo};

/// What the service takes.
#[derive(Debug)]
pub(crate) enum Order {
    Command(Command),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    GoodPeers(oneshot::Sender<Vec<(PeerKey, Multiaddr)>>),
    Shutdown(oneshot::Sender<()>),
}

/// Talks to the service. Clones are cheap; the service ends when the last is dropped.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    local: PeerKey,
    external: Vec<Multiaddr>,
    tell_listeners: bool,
    orders: mpsc::Sender<Order>,
    listeners: watch::Receiver<Vec<Multiaddr>>,
}

/// The service has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the network service has ended")]
pub struct Closed;

/// A command that was not taken, given back.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The queue is full.
    #[error("the network service has too many commands waiting")]
    Full(Command),
    /// The service has ended.
    #[error("the network service has ended")]
    Closed(Command),
}

impl Handle {
    pub(crate) fn new(
        local: PeerKey,
        external: Vec<Multiaddr>,
        tell_listeners: bool,
        orders: mpsc::Sender<Order>,
        listeners: watch::Receiver<Vec<Multiaddr>>,
    ) -> Self {
        Self { shared: Arc::new(Shared { local, external, tell_listeners, orders, listeners }) }
    }

    /// The key of this node's transport identity.
    #[must_use]
    pub fn local_peer(&self) -> PeerKey {
        self.shared.local
    }

    /// Hands a command over, waiting while the queue is full.
    ///
    /// # Errors
    /// [`Closed`] when the service has ended.
    pub async fn send(&self, command: Command) -> Result<(), Closed> {
        self.shared.orders.send(Order::Command(command)).await.map_err(|_| Closed)
    }

    /// Hands a command over if there is room.
    ///
    /// # Errors
    /// The command, when the queue is full or the service has ended.
    pub fn try_send(&self, command: Command) -> Result<(), NotTaken> {
        self.shared.orders.try_send(Order::Command(command)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(Order::Command(command)) => NotTaken::Full(command),
            mpsc::error::TrySendError::Closed(Order::Command(command)) => NotTaken::Closed(command),
            _ => unreachable!("a command was sent"),
        })
    }

    /// The addresses on which this node listens now, one for each interface.
    #[must_use]
    pub fn listeners(&self) -> Vec<Multiaddr> {
        self.shared.listeners.borrow().clone()
    }

    /// The addresses worth putting into an offer now: at most 3 of at most 64 bytes
    /// each, binary, without the peer; configured ones first, then the ones with the
    /// widest reach, loopback only when there is nothing else; only configured ones
    /// without [`crate::Config::tell_listeners`].
    #[must_use]
    pub fn addresses(&self) -> Vec<Vec<u8>> {
        let listeners = self.shared.listeners.borrow();
        let told: &[Multiaddr] = if self.shared.tell_listeners { &listeners } else { &[] };
        address::offered(&self.shared.external, told)
    }

    /// Waits until [`Self::listeners`] changes.
    ///
    /// # Errors
    /// [`Closed`] when the service has ended.
    pub async fn listeners_changed(&self) -> Result<(), Closed> {
        self.shared.listeners.clone().changed().await.map_err(|_| Closed)
    }

    /// The connected peers, in order of their keys; none when the service has ended.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.ask(Order::Peers).await.unwrap_or_default()
    }

    /// Peers and addresses worth remembering for [`crate::Config::remembered`] of the
    /// next run, the best first, several addresses of one peer in a row; at most 3,000.
    pub async fn good_peers(&self) -> Vec<(PeerKey, Multiaddr)> {
        self.ask(Order::GoodPeers).await.unwrap_or_default()
    }

    /// Closes all connections and ends the service, which takes less than a second.
    pub async fn shutdown(&self) {
        let _ended = self.ask(Order::Shutdown).await;
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.shared.orders.send(order(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// What happened, in order. Dropping it ends the service.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Receiver<Event>,
}

impl Events {
    pub(crate) fn new(queue: mpsc::Receiver<Event>) -> Self {
        Self { queue }
    }

    /// The next event; none when the service has ended. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        self.queue.recv().await
    }

    /// Appends up to `limit` events that wait, at least one, and tells how many; 0 when
    /// the service has ended. Cancelling loses nothing.
    pub async fn next_many(&mut self, events: &mut Vec<Event>, limit: usize) -> usize {
        self.queue.recv_many(events, limit.max(1)).await
    }
}
