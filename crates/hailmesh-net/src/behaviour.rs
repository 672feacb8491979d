//! The swarm: transports, and what runs on each connection.

use std::io;
use std::num::NonZeroU8;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, MemoryTransport, OrTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::metrics::BandwidthTransport;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{self, NetworkBehaviour, Swarm};
use libp2p::{
    PeerId, Transport, connection_limits, dns, identify, mdns, memory_connection_limits, noise, ping, quic,
    tcp, yamux,
};
use prometheus_client::registry::Registry;

use crate::config::Config;
use crate::exchange::{self, Exchange};
use crate::gossip::{self, Gossip};
use crate::limits::Doors;
use crate::metrics::Metrics;
use crate::router_metrics;

/// Time for a connection to be established.
const CONNECT: Duration = Duration::from_secs(10);
/// Time for a peer to answer a ping, which goes out every 15 s.
const PING: Duration = Duration::from_secs(10);
/// Addresses of one peer that are tried at the same time.
const DIAL_CONCURRENCY: NonZeroU8 = NonZeroU8::new(4).unwrap();

/// What runs on each connection. Those that refuse connections come first.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    connections: connection_limits::Behaviour,
    pub(crate) doors: Doors,
    memory: Toggle<memory_connection_limits::Behaviour>,
    pub(crate) gossip: Gossip,
    pub(crate) exchange: Exchange,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

/// What this network's nodes say they speak.
pub(crate) fn protocol_version(config: &Config) -> String {
    format!("/hailmesh/1/{}", config.network)
}

/// Builds the swarm.
///
/// # Errors
/// What cannot be built, in words.
pub(crate) fn swarm(
    config: &Config,
    keypair: &Keypair,
    metrics: &Metrics,
    registry: Option<&mut Registry>,
) -> Result<Swarm<Behaviour>, String> {
    let local = keypair.public().to_peer_id();
    let mut registry = registry;
    let limits = &config.limits;
    let agent = format!("hailmesh/{}", env!("CARGO_PKG_VERSION"));
    let identify = identify::Config::new(protocol_version(config), keypair.public())
        .with_agent_version(agent)
        .with_cache_size(0)
        .with_hide_listen_addrs(!config.tell_listeners)
        .with_push_listen_addr_updates(true);
    let memory = limits.memory_bytes.map(|bytes| {
        memory_connection_limits::Behaviour::with_max_bytes(usize::try_from(bytes).unwrap_or(usize::MAX))
    });
    let behaviour = Behaviour {
        connections: connection_limits::Behaviour::new(limits.connection_limits()),
        doors: Doors::new(limits.per_address),
        memory: memory.into(),
        gossip: router_metrics::count(
            gossip::behaviour(&config.network, &config.gossip)?,
            registry.as_deref_mut(),
        ),
        exchange: exchange::behaviour(limits, metrics.frames_refused.clone()),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_timeout(PING)),
        mdns: mdns_behaviour(config, local).into(),
    };
    let swarm_config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(limits.idle)
        .with_dial_concurrency_factor(DIAL_CONCURRENCY)
        // An exchange costs one round trip instead of two: the request travels with the
        // proposal of its protocol.
        .with_substream_upgrade_protocol_override(Version::V1Lazy);
    let transport = transport(keypair, registry)?;
    Ok(Swarm::new(transport, behaviour, local, swarm_config))
}

fn mdns_behaviour(config: &Config, local: PeerId) -> Option<mdns::tokio::Behaviour> {
    if !config.mdns {
        return None;
    }
    match mdns::tokio::Behaviour::new(mdns::Config::default(), local) {
        Ok(behaviour) => Some(behaviour),
        Err(error) => {
            tracing::warn!(%error, "no discovery on the local network");
            None
        }
    }
}

/// QUIC, TCP with noise and yamux, and the same inside the process; names resolved, bytes
/// counted.
fn transport(
    keypair: &Keypair,
    registry: Option<&mut Registry>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, String> {
    let noise = noise::Config::new(keypair).map_err(|error| error.to_string())?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let memory = MemoryTransport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = quic::tokio::Transport::new(quic::Config::new(keypair))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let direct = OrTransport::new(quic, OrTransport::new(tcp, memory).map(|either, _| either.into_inner()))
        .map(|either, _| either.into_inner())
        .map_err(|either| io::Error::other(either.to_string()))
        .boxed();
    let direct = match registry {
        Some(registry) => BandwidthTransport::new(direct, registry)
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed(),
        None => direct,
    };
    with_names(direct)
}

/// Resolves names by the system's resolver. Without one (a bare container may have none)
/// numeric addresses still work.
fn with_names(direct: Boxed<(PeerId, StreamMuxerBox)>) -> Result<Boxed<(PeerId, StreamMuxerBox)>, String> {
    // A failure costs the transport that was handed over, hence the question before.
    if let Err(error) = dns::tokio::Transport::system(MemoryTransport::default()) {
        tracing::warn!(%error, "no name resolver: addresses with names cannot be dialled");
        return Ok(TransportTimeout::new(direct, CONNECT).boxed());
    }
    let named = dns::tokio::Transport::system(direct).map_err(|error| error.to_string())?;
    Ok(TransportTimeout::new(named, CONNECT).boxed())
}
