//! Peers that take their time: streams that are opened and never finished, and a peer that
//! reads a few bytes a second.

use std::future::pending;
use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt, StreamExt};
use hailmesh_net::{MATCH_PROTOCOL, Multiaddr, PeerId};
use hailmesh_node::wire::{Frame, FrameContent, Topic, pad};
use libp2p::gossipsub::IdentTopic;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, Codec, ProtocolSupport};
use libp2p::swarm::{Swarm, SwarmEvent};
use libp2p::{StreamProtocol, SwarmBuilder, noise, tcp, yamux};
use rand::RngExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use super::wire;
use crate::city::{DEADLINE, Person, Ride, Spec, eventually};
use crate::raw::Raw;

/// Streams that a node takes at a time on one connection (P20), and three times as many
/// that are opened.
const TAKEN: usize = 32;
const STREAMS: usize = 3 * TAKEN;
/// Bytes that the slow reader takes at a time, and how often: of the 60 that a ping takes
/// with its envelopes not all in the 10 s that a node waits for the answer.
const SIP: usize = 1;
const SIP_EVERY: Duration = Duration::from_millis(250);

/// Writes half a frame and waits, or a whole one whose answer it never reads.
#[derive(Clone, Default)]
struct Stalling;

impl Codec for Stalling {
    type Protocol = StreamProtocol;
    type Request = (Vec<u8>, bool);
    type Response = ();

    async fn read_request<T>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<(Vec<u8>, bool)>
    where
        T: AsyncRead + Unpin + Send,
    {
        pending().await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<()>
    where
        T: AsyncRead + Unpin + Send,
    {
        pending().await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        (bytes, whole): (Vec<u8>, bool),
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await?;
        io.flush().await?;
        if whole { Ok(()) } else { pending().await }
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, _: &mut T, (): ()) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        pending().await
    }
}

type Slow = Swarm<request_response::Behaviour<Stalling>>;

/// Opens streams and leaves them as they are.
async fn stall(addr: Multiaddr, peer: PeerId) -> Slow {
    let config = request_response::Config::default()
        .with_request_timeout(Duration::from_secs(120))
        .with_max_concurrent_streams(1_000);
    let protocols = [(StreamProtocol::new(MATCH_PROTOCOL), ProtocolSupport::Full)];
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| request_response::Behaviour::<Stalling>::new(protocols, config))
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE))
        .build();
    swarm.dial(addr).unwrap();
    let connected = async {
        while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    };
    timeout(DEADLINE, connected).await.expect("a connection");
    let frame = pad(&Frame::new(FrameContent::None).encode()).unwrap();
    for number in 0..STREAMS {
        let request = if number % 4 == 0 {
            (frame.clone(), true)
        } else {
            // Not even the length is all there.
            (frame[..number % 3].to_vec(), false)
        };
        swarm.behaviour_mut().send_request(&peer, request);
    }
    swarm
}

/// Within this time a node must be rid of it: two pings, 15 s apart, that find no answer in
/// 10 s each, and what a crowded machine takes.
const LET_GO: Duration = Duration::from_secs(90);

/// Stands between a peer and a node; once told to, it lets through what the node says by
/// sips only.
async fn slow_line(node: Multiaddr, mut slowly: watch::Receiver<bool>) -> Multiaddr {
    let port = node.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let node = ("127.0.0.1", port.expect("it listens on TCP"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (peer, _) = listener.accept().await.unwrap();
        let (mut from_peer, mut to_peer) = peer.into_split();
        let (mut from_node, mut to_node) = TcpStream::connect(node).await.unwrap().into_split();
        let up = async {
            // Ends when either side has closed.
            let _ = tokio::io::copy(&mut from_peer, &mut to_node).await;
            let _ = to_node.shutdown().await;
        };
        let down = async {
            let (mut bytes, mut every) = (vec![0; 4_096], interval(SIP_EVERY));
            loop {
                let slow = *slowly.borrow();
                let most = if slow { SIP } else { bytes.len() };
                if slow {
                    every.tick().await;
                }
                let read = tokio::select! {
                    read = from_node.read(&mut bytes[..most]) => read,
                    Ok(()) = slowly.changed() => continue,
                };
                match read {
                    Ok(read) if read > 0 && to_peer.write_all(&bytes[..read]).await.is_ok() => {}
                    _ => return,
                }
            }
        };
        tokio::join!(up, down);
    });
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

async fn ride(driver: &Person, rider: &Person) {
    let ride = Ride::agreed(driver, rider, rider.request().await).await;
    ride.finish(driver, rider).await;
}

pub(super) async fn streams_that_are_never_finished_are_let_go_and_hold_nobody_up() {
    let driver = Spec::driver().start().await;
    let rider = Spec::rider().knows(&driver).await.start().await;
    let status = driver.status().await;
    let (addr, peer) = (status.listen[0].clone(), status.peer_id);
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut swarm = stall(addr.clone(), peer).await;
        slow.push(tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        }));
    }
    ride(&driver, &rider).await;
    // What stood half written is refused in the end, and counted: all that was taken in.
    let refused = async || {
        let text = driver.node.metrics_text();
        let line =
            text.lines().find(|line| line.starts_with("hailmesh_net_exchange_frames_refused_total "))?;
        let refused: usize = line.rsplit(' ').next()?.parse().ok()?;
        (refused >= TAKEN * 3 / 4).then_some(refused)
    };
    println!("{} unfinished frames were refused", eventually("refused frames", refused).await);
    // Others can still ask.
    let mut raw = Raw::connect(addr, peer).await;
    let frame = pad(&Frame::new(FrameContent::None).encode()).unwrap();
    assert!(raw.ask(frame).await.is_some(), "a stream is answered");
    ride(&driver, &rider).await;
    for task in slow {
        task.abort();
    }
    driver.stop().await;
    rider.stop().await;
}

pub(super) async fn a_peer_that_reads_a_few_bytes_a_second_is_let_go_and_holds_nobody_up() {
    let driver = Spec::driver().start().await;
    let rider = Spec::rider().knows(&driver).await.start().await;
    let status = driver.status().await;
    let mut swarm = wire::swarm(rand::rng().random());
    let slow = *swarm.local_peer_id();
    // It wants to hear everything.
    let network = crate::city::NETWORK.parse().unwrap();
    let topic = IdentTopic::new(Topic::evidence(&network).to_string());
    swarm.behaviour_mut().gossip.subscribe(&topic).unwrap();
    let (slow_down, slowly) = watch::channel(false);
    swarm.dial(slow_line(status.listen[0].clone(), slowly).await).unwrap();
    let task = tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let is_there =
        async || driver.node.peers().await.iter().any(|peer| hailmesh_net::peer_id(&peer.key) == slow);
    eventually("the slow reader", async || is_there().await.then_some(())).await;
    slow_down.send_replace(true);
    ride(&driver, &rider).await;
    let mut events = driver.node.events(Some(driver.node.last_event_id()));
    let gone = async {
        while is_there().await {
            events.next().await.expect("the node runs");
        }
    };
    timeout(LET_GO, gone).await.expect("it is let go");
    ride(&driver, &rider).await;
    assert!(driver.status().await.store_healthy);
    task.abort();
    driver.stop().await;
    rider.stop().await;
}
