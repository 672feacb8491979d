//! Limits on everything that a stranger can open or fill (P15.10, P20).

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId, connection_limits};

use crate::address;
use crate::keys::peer_key;

/// How much strangers get. Every value is tunable; [`crate::Config::validate`] names
/// the ranges.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Established connections in all.
    pub connections: u32,
    /// Of these, at most so many that others have dialled, so that strangers alone
    /// cannot take every place.
    pub connections_inbound: u32,
    /// Connections that others are establishing.
    pub pending_inbound: u32,
    /// Connections that this node is establishing.
    pub pending_outbound: u32,
    /// Connections with one peer.
    pub per_peer: u32,
    /// Connections from one IPv4 address or IPv6 /64; loopback and private addresses
    /// are exempt.
    pub per_address: u32,
    /// Resident memory of the process, in bytes, above which no new connection is
    /// taken; nothing for no limit.
    pub memory_bytes: Option<u64>,
    /// How long an idle connection is kept.
    pub idle: Duration,
    /// Exchange streams at a time on one connection.
    pub streams: usize,
    /// Own exchanges in flight with one peer (P5.1).
    pub exchanges_per_peer: usize,
    /// Own exchanges that wait for one peer when those are taken.
    pub exchanges_waiting: usize,
    /// Own exchanges in flight and waiting in all.
    pub exchanges: usize,
    /// How long an exchange may take, dialling included.
    pub exchange: Duration,
    /// How long reading one frame may take (P5.1).
    pub frame_read: Duration,
    /// Remembered peers in all.
    pub remembered: usize,
    /// Remembered peers in one /16 (IPv4) or /48 (IPv6).
    pub remembered_per_prefix: usize,
    /// Own messages kept for one topic that nobody is subscribed to.
    pub unsent_per_topic: usize,
    /// How long they are kept.
    pub unsent: Duration,
    /// Commands that wait for the service.
    pub commands: usize,
    /// Events that wait for the node.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            connections_inbound: 224,
            pending_inbound: 64,
            pending_outbound: 16,
            per_peer: 3,
            per_address: 32,
            memory_bytes: Some(2 << 30),
            idle: Duration::from_secs(300),
            streams: 32,
            exchanges_per_peer: 4,
            exchanges_waiting: 32,
            exchanges: 4_096,
            exchange: Duration::from_secs(10),
            frame_read: Duration::from_secs(5),
            remembered: 1_000,
            remembered_per_prefix: 8,
            unsent_per_topic: 4,
            unsent: Duration::from_secs(120),
            commands: 1_024,
            events: 4_096,
        }
    }
}

impl Limits {
    /// The limits that libp2p enforces by itself.
    pub(crate) fn connection_limits(&self) -> connection_limits::ConnectionLimits {
        connection_limits::ConnectionLimits::default()
            .with_max_established(Some(self.connections))
            .with_max_established_incoming(Some(self.connections_inbound))
            .with_max_pending_incoming(Some(self.pending_inbound))
            .with_max_pending_outgoing(Some(self.pending_outbound))
            .with_max_established_per_peer(Some(self.per_peer))
    }
}

/// Refuses peers without an Ed25519 identity, and more than so many connections with
/// one public address. It also answers how many share an address.
pub(crate) struct Doors {
    per_address: u32,
    connections: HashMap<ConnectionId, IpAddr>,
    addresses: BTreeMap<IpAddr, u32>,
}

/// Why a connection was refused.
#[derive(Debug)]
enum Refusal {
    TooManyPerAddress(u32),
    NotEd25519,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyPerAddress(limit) => write!(f, "more than {limit} connections with one address"),
            Self::NotEd25519 => f.write_str("the peer's identity is not an Ed25519 key"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Doors {
    pub(crate) fn new(per_address: u32) -> Self {
        Self { per_address, connections: HashMap::new(), addresses: BTreeMap::new() }
    }

    /// How many connections there are with the address of `addr`; 0 when it is exempt.
    pub(crate) fn sharing(&self, addr: &Multiaddr) -> u32 {
        address::counted(addr).and_then(|ip| self.addresses.get(&ip).copied()).unwrap_or(0)
    }

    fn enter(&mut self, connection: ConnectionId, addr: &Multiaddr) -> Result<(), ConnectionDenied> {
        let Some(ip) = address::counted(addr) else { return Ok(()) };
        if self.connections.contains_key(&connection) {
            return Ok(());
        }
        let count = self.addresses.entry(ip).or_insert(0);
        if *count >= self.per_address {
            return Err(ConnectionDenied::new(Refusal::TooManyPerAddress(self.per_address)));
        }
        *count += 1;
        self.connections.insert(connection, ip);
        Ok(())
    }

    fn leave(&mut self, connection: ConnectionId) {
        let Some(ip) = self.connections.remove(&connection) else { return };
        if let Some(count) = self.addresses.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&ip);
            }
        }
    }
}

fn identified(peer: &PeerId) -> Result<(), ConnectionDenied> {
    match peer_key(peer) {
        Some(_) => Ok(()),
        None => Err(ConnectionDenied::new(Refusal::NotEd25519)),
    }
}

impl NetworkBehaviour for Doors {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.enter(connection, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        identified(&peer)?;
        self.enter(connection, remote)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        identified(&peer)?;
        self.enter(connection, remote)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { .. }) => {}
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => self.leave(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _peer: PeerId,
        _connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gets_so_many_and_private_ones_are_exempt() {
        let mut doors = Doors::new(2);
        let public: Multiaddr = "/ip4/203.0.113.5/tcp/1".parse().unwrap();
        let private: Multiaddr = "/ip4/192.168.0.5/tcp/1".parse().unwrap();
        let local: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let ids: Vec<ConnectionId> = (0..3).map(ConnectionId::new_unchecked).collect();
        assert!(doors.handle_pending_inbound_connection(ids[0], &local, &public).is_ok());
        assert!(doors.handle_pending_inbound_connection(ids[1], &local, &public).is_ok());
        assert!(doors.handle_pending_inbound_connection(ids[2], &local, &public).is_err());
        // Being established does not count a connection twice.
        assert!(doors.enter(ids[1], &public).is_ok());
        assert_eq!(doors.sharing(&public), 2);
        doors.leave(ids[0]);
        assert!(doors.enter(ids[2], &public).is_ok());
        for n in 10..100 {
            assert!(doors.enter(ConnectionId::new_unchecked(n), &private).is_ok());
        }
        assert_eq!(doors.sharing(&private), 0);
        doors.leave(ids[1]);
        doors.leave(ids[2]);
        assert!(doors.addresses.is_empty() && doors.connections.is_empty());
    }
}
