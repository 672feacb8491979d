//! A bare swarm with the protocols of a node and none of its manners: it publishes what it
//! likes as often as it likes, and passes on what it likes.

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use hailmesh_net::MATCH_PROTOCOL;
use hailmesh_node::wire::{message_id, pad, unpad};
use libp2p::gossipsub::{self, MessageAuthenticity, MessageId, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, Codec, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, Swarm};
use libp2p::{StreamProtocol, SwarmBuilder, identify, noise, ping, tcp, yamux};

use crate::city::NETWORK;

/// Largest frame with its length and filler (P5.1).
const FRAME_BYTES: u64 = 8_192;
/// How long it waits for an answer: longer than a node takes to give up (P5.1).
const EXCHANGE: Duration = Duration::from_secs(20);
/// Packets above this size close the stream at a node.
const PACKET_BYTES: usize = 65_536;

/// Exchanges as a node writes them, without its limits.
#[derive(Clone, Default)]
pub(crate) struct Blunt;

fn no_frame(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Codec for Blunt {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.take(FRAME_BYTES).read_to_end(&mut bytes).await?;
        Ok(unpad(&bytes).map_err(no_frame)?.to_vec())
    }

    async fn read_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read_request(protocol, io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&pad(&frame).map_err(no_frame)?).await
    }

    async fn write_response<T>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
        frame: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write_request(protocol, io, frame).await
    }
}

/// What an attacker's node speaks.
#[derive(NetworkBehaviour)]
pub(crate) struct Protocols {
    pub(crate) gossip: gossipsub::Behaviour,
    pub(crate) exchange: request_response::Behaviour<Blunt>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// A swarm with this transport identity that listens on a free port of the loopback
/// interface.
pub(crate) fn swarm(seed: [u8; 32]) -> Swarm<Protocols> {
    let keypair = Keypair::ed25519_from_bytes(seed).unwrap();
    let mut swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(protocols)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(300)))
        .build();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    swarm
}

fn protocols(keypair: &Keypair) -> Protocols {
    let gossip = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix("/hailmesh/gossip")
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message: &gossipsub::Message| {
            MessageId::from(message_id(message.topic.as_str(), &message.data).to_vec())
        })
        .heartbeat_interval(Duration::from_millis(700))
        // What it has said it says again.
        .duplicate_cache_time(Duration::from_millis(1))
        .flood_publish(true)
        .max_transmit_size(PACKET_BYTES)
        .build()
        .unwrap();
    let exchange =
        request_response::Config::default().with_request_timeout(EXCHANGE).with_max_concurrent_streams(1_000);
    let spoken = [(StreamProtocol::new(MATCH_PROTOCOL), ProtocolSupport::Full)];
    let said = identify::Config::new(format!("/hailmesh/1/{NETWORK}"), keypair.public());
    Protocols {
        gossip: gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, gossip).unwrap(),
        exchange: request_response::Behaviour::with_codec(Blunt, spoken, exchange),
        identify: identify::Behaviour::new(said),
        ping: ping::Behaviour::default(),
    }
}
