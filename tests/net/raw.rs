//! A peer with a codec that writes whatever it is told.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use hailmesh_net::{MATCH_PROTOCOL, Multiaddr};
use libp2p::request_response::{self, Codec, ProtocolSupport};
use libp2p::swarm::{Swarm, SwarmEvent};
use libp2p::{PeerId, StreamProtocol, SwarmBuilder, noise, tcp, yamux};
use tokio::time::timeout;

use crate::city::DEADLINE;

#[derive(Clone, Default)]
pub(crate) struct Anything;

/// Most bytes of an answer that are looked at.
const ANSWER_BYTES: u64 = 100_000;

impl Codec for Anything {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.take(ANSWER_BYTES).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let bytes = self.read_request(protocol, io).await?;
        if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }

    async fn write_response<T>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write_request(protocol, io, bytes).await
    }
}

/// A bare swarm that speaks nothing but the protocol of exchanges.
pub(crate) struct Raw {
    swarm: Swarm<request_response::Behaviour<Anything>>,
    peer: PeerId,
}

impl Raw {
    /// Connects to a node.
    pub(crate) async fn connect(addr: Multiaddr, peer: PeerId) -> Self {
        let protocols = [(StreamProtocol::new(MATCH_PROTOCOL), ProtocolSupport::Full)];
        let exchange = request_response::Behaviour::new(protocols, request_response::Config::default());
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| exchange)
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE))
            .build();
        swarm.dial(addr).unwrap();
        let mut raw = Self { swarm, peer };
        raw.until(|event| matches!(event, SwarmEvent::ConnectionEstablished { .. }).then_some(())).await;
        raw
    }

    async fn until<T>(
        &mut self,
        mut pick: impl FnMut(SwarmEvent<request_response::Event<Vec<u8>, Vec<u8>>>) -> Option<T>,
    ) -> T {
        let waiting = async {
            loop {
                if let Some(found) = pick(self.swarm.select_next_some().await) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, waiting).await.expect("an event of the raw peer in time")
    }

    /// Writes these bytes into a stream of their own and gives back the raw answer, if
    /// one comes.
    pub(crate) async fn ask(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        use request_response::{Event, Message};
        let asked = self.swarm.behaviour_mut().send_request(&self.peer, bytes);
        self.until(|event| match event {
            SwarmEvent::Behaviour(Event::Message {
                message: Message::Response { request_id, response },
                ..
            }) if request_id == asked => Some(Some(response)),
            SwarmEvent::Behaviour(Event::OutboundFailure { request_id, .. }) if request_id == asked => {
                Some(None)
            }
            _ => None,
        })
        .await
    }
}
