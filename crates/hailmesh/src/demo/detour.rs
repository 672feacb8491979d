//! Slow links: a port in front of each node, where bytes wait as long as they would be on
//! their way.
//!
//! Everything that dials a node dials its *detour*, which passes the bytes of each
//! connection on in their order, both ways, each as late as the latency that was drawn for
//! the connection. The first bytes wait a round trip longer, for the handshake of TCP that
//! loopback does in no time.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

/// Connections of one detour at a time; more wait to be taken.
const CONNECTIONS_MAX: usize = 1_024;
/// Bytes taken from a connection at a time.
const CHUNK_BYTES: usize = 8_192;
/// Chunks of one direction of a connection that wait; while there are as many, nothing is
/// taken.
const CHUNKS_MAX: usize = 256;

/// A port in front of a node. Dropping it closes the port and every connection through it.
#[derive(Debug)]
pub(super) struct Detour {
    at: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Detour {
    /// Opens a port on loopback. One-way latencies of its connections are drawn from
    /// `latency_ms`, both ends included.
    pub(super) async fn open(latency_ms: RangeInclusive<u32>, rng: ChaCha8Rng) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let at = listener.local_addr()?;
        let target = watch::Sender::new(None);
        let task = tokio::spawn(serve(listener, target.subscribe(), latency_ms, rng));
        Ok(Self { at, target, task })
    }

    /// Where to dial.
    pub(super) const fn at(&self) -> SocketAddr {
        self.at
    }

    /// Where the node itself listens: connections wait until it is known.
    pub(super) fn leads_to(&self, node: SocketAddr) {
        self.target.send_replace(Some(node));
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        // With it go its connections.
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    target: watch::Receiver<Option<SocketAddr>>,
    latency_ms: RangeInclusive<u32>,
    mut rng: ChaCha8Rng,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((near, _)) => {
                    let latency = Duration::from_millis(rng.random_range(latency_ms.clone()).into());
                    connections.spawn(carry(near, target.clone(), latency));
                }
                // Out of descriptors, or the other side has gone already.
                Err(error) => {
                    tracing::warn!(%error, "a connection was not taken");
                    sleep(Duration::from_millis(10)).await;
                }
            },
        }
    }
}

/// Carries one connection until both sides are done or one fails.
async fn carry(near: TcpStream, mut target: watch::Receiver<Option<SocketAddr>>, latency: Duration) {
    let Ok(Some(node)) = target.wait_for(Option::is_some).await.map(|target| *target) else { return };
    sleep(2 * latency).await;
    let far = match TcpStream::connect(node).await {
        Ok(far) => far,
        Err(error) => return tracing::debug!(%error, "the node behind a slow link does not answer"),
    };
    let sockets = [&near, &far];
    if sockets.iter().any(|socket| socket.set_nodelay(true).is_err()) {
        return;
    }
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    // One direction that fails takes the other along.
    let _ = tokio::try_join!(delay(near_read, far_write, latency), delay(far_read, near_write, latency));
}

/// Passes on what comes, so much later, and then the end.
async fn delay(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, latency: Duration) -> std::io::Result<()> {
    let (chunks, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let take = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let count = from.read(&mut buffer).await?;
            let chunk = (Instant::now() + latency, buffer[..count].to_vec());
            if chunks.send(chunk).await.is_err() || count == 0 {
                return Ok(());
            }
        }
    };
    let give = async move {
        while let Some((due, chunk)) = waiting.recv().await {
            sleep_until(due).await;
            if chunk.is_empty() {
                break;
            }
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(take, give).map(|_| ())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    async fn detour(latency_ms: RangeInclusive<u32>) -> (Detour, TcpListener) {
        let node = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let detour = Detour::open(latency_ms, ChaCha8Rng::seed_from_u64(1)).await.unwrap();
        detour.leads_to(node.local_addr().unwrap());
        (detour, node)
    }

    #[tokio::test]
    async fn bytes_arrive_late_whole_and_in_order_both_ways() {
        let (detour, node) = detour(40..=40).await;
        let begun = Instant::now();
        let mut near = TcpStream::connect(detour.at()).await.unwrap();
        let sent: Vec<u8> = (0..500_000_u32).map(|n| (n % 251) as u8).collect();
        let echo = async {
            let (mut far, _) = node.accept().await.unwrap();
            assert!(begun.elapsed() >= Duration::from_millis(80), "a handshake takes a round trip");
            let mut heard = Vec::new();
            far.read_to_end(&mut heard).await.unwrap();
            assert!(begun.elapsed() >= Duration::from_millis(120), "{:?}", begun.elapsed());
            far.write_all(&heard).await.unwrap();
        };
        let talk = async {
            let (mut read, mut write) = near.split();
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
            let mut heard = Vec::new();
            read.read_to_end(&mut heard).await.unwrap();
            assert!(heard == sent, "{} of {} bytes", heard.len(), sent.len());
            assert!(begun.elapsed() >= Duration::from_millis(160), "{:?}", begun.elapsed());
        };
        tokio::join!(echo, talk);
    }

    #[tokio::test]
    async fn when_it_goes_its_connections_go() {
        let (detour, node) = detour(1..=1).await;
        let mut near = TcpStream::connect(detour.at()).await.unwrap();
        near.write_all(b"?").await.unwrap();
        let (mut far, _) = node.accept().await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'?');
        let at = detour.at();
        drop(detour);
        assert!(matches!(far.read(&mut [0; 1]).await, Ok(0) | Err(_)));
        assert!(matches!(near.read(&mut [0; 1]).await, Ok(0) | Err(_)));
        assert!(TcpStream::connect(at).await.is_err());
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_ends_the_connection() {
        let (detour, node) = detour(1..=1).await;
        drop(node);
        let mut near = TcpStream::connect(detour.at()).await.unwrap();
        assert!(matches!(near.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    }
}
