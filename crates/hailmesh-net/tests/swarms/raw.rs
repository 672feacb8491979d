//! A peer that does not play by the rules: the same libp2p, with a codec that writes
//! whatever it is told and a router that subscribes to whatever it likes.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use hailmesh_net::{MATCH_PROTOCOL, Multiaddr};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::request_response::{self, Codec, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{PeerId, StreamProtocol, SwarmBuilder, noise, tcp, yamux};
use tokio::time::timeout;

use crate::support::DEADLINE;

#[derive(Clone, Default)]
pub(crate) struct RawCodec;

async fn read_all<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(100_000).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

impl Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_all(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let bytes = read_all(io).await?;
        if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }
}

#[derive(NetworkBehaviour)]
pub(crate) struct RawBehaviour {
    pub(crate) exchange: request_response::Behaviour<RawCodec>,
    pub(crate) gossip: gossipsub::Behaviour,
}

pub(crate) struct Raw {
    pub(crate) swarm: Swarm<RawBehaviour>,
}

impl Raw {
    pub(crate) fn new() -> Self {
        let protocols = [(StreamProtocol::new(MATCH_PROTOCOL), ProtocolSupport::Full)];
        let exchange = request_response::Behaviour::new(protocols, request_response::Config::default());
        let config = gossipsub::ConfigBuilder::default()
            .protocol_id_prefix("/hailmesh/gossip")
            .validation_mode(ValidationMode::Anonymous)
            .message_id_fn(|message| message.data.clone().into())
            .build()
            .unwrap();
        let gossip = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
        let swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| RawBehaviour { exchange, gossip })
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE))
            .build();
        Self { swarm }
    }

    pub(crate) fn subscribe(&mut self, topic: &str) {
        self.swarm.behaviour_mut().gossip.subscribe(&IdentTopic::new(topic)).unwrap();
    }

    pub(crate) fn publish(&mut self, topic: &str, data: Vec<u8>) {
        self.swarm.behaviour_mut().gossip.publish(IdentTopic::new(topic), data).unwrap();
    }

    pub(crate) async fn connect(&mut self, addr: Multiaddr) {
        self.swarm.dial(addr).unwrap();
        self.until(|event| matches!(event, SwarmEvent::ConnectionEstablished { .. }).then_some(())).await;
    }

    pub(crate) async fn until<T>(
        &mut self,
        mut pick: impl FnMut(SwarmEvent<RawBehaviourEvent>) -> Option<T>,
    ) -> T {
        let search = async {
            loop {
                if let Some(found) = pick(self.swarm.select_next_some().await) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, search).await.expect("an event of the raw peer in time")
    }

    /// Sends `bytes` as a request and gives back the raw answer, if one comes.
    pub(crate) async fn ask(&mut self, peer: PeerId, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let asked = self.swarm.behaviour_mut().exchange.send_request(&peer, bytes);
        self.until(|event| match event {
            SwarmEvent::Behaviour(RawBehaviourEvent::Exchange(event)) => match event {
                request_response::Event::Message {
                    message: request_response::Message::Response { request_id, response },
                    ..
                } if request_id == asked => Some(Some(response)),
                request_response::Event::OutboundFailure { request_id, .. } if request_id == asked => {
                    Some(None)
                }
                _ => None,
            },
            _ => None,
        })
        .await
    }
}
