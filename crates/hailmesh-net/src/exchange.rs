//! Exchanges `/hailmesh/match/1`: the frame on the stream (P5.1) and the table of those
//! that are under way.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use hailmesh_wire::limits::{FRAME_BYTES_MAX, FRAME_SIZES};
use hailmesh_wire::{pad, unpad};
use libp2p::request_response::{
    Behaviour, Codec, Config, InboundRequestId, OutboundFailure, OutboundRequestId, ProtocolSupport,
    ResponseChannel,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use crate::event::SendFailure;
use crate::limits::Limits;

/// The protocol of exchanges.
pub const MATCH_PROTOCOL: &str = "/hailmesh/match/1";
/// Most bytes of a frame without its length and filler.
pub const FRAME_CONTENT_BYTES_MAX: usize = FRAME_BYTES_MAX - 4;

/// The behaviour that carries frames.
pub(crate) type Exchange = Behaviour<FrameCodec>;

/// The behaviour with `limits`; `refused` counts what strangers sent that was no frame.
pub(crate) fn behaviour(limits: &Limits, refused: Counter) -> Exchange {
    let codec = FrameCodec { read: limits.frame_read, refused };
    let protocols = [(StreamProtocol::new(MATCH_PROTOCOL), ProtocolSupport::Full)];
    let config =
        Config::default().with_request_timeout(limits.exchange).with_max_concurrent_streams(limits.streams);
    Behaviour::with_codec(codec, protocols, config)
}

/// Reads and writes `u32be n ‖ frame of n bytes ‖ zero bytes` of one of five sizes, with
/// nothing after it. Frames are handed on without length and filler.
#[derive(Clone)]
pub(crate) struct FrameCodec {
    read: Duration,
    refused: Counter,
}

impl Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let read = tokio::time::timeout(self.read, read_frame(io)).await;
        self.counted(read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        // The peer may take its time to answer, but not to say it.
        let mut start = [0; 1];
        if io.read(&mut start).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut io = start.as_slice().chain(io);
        let read = tokio::time::timeout(self.read, read_frame(&mut io)).await;
        // Whatever broke off in the middle was no frame.
        self.counted(read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))).map_err(no_frame)
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&pad(&frame).map_err(no_frame)?).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&pad(&frame).map_err(no_frame)?).await
    }
}

impl FrameCodec {
    fn counted(&self, result: io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
        if result.is_err() {
            self.refused.inc();
        }
        result
    }
}

fn no_frame(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Reads one frame up to the end of the stream. Never holds more than one byte above
/// the largest size.
async fn read_frame<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(FRAME_SIZES[1]);
    io.take(FRAME_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(unpad(&bytes).map_err(no_frame)?.to_vec())
}

/// Why an outbound exchange failed, in our words.
pub(crate) fn failure(error: &OutboundFailure) -> SendFailure {
    match error {
        OutboundFailure::DialFailure => SendFailure::Unreachable,
        OutboundFailure::Timeout => SendFailure::Timeout,
        OutboundFailure::ConnectionClosed => SendFailure::Closed,
        OutboundFailure::UnsupportedProtocols => SendFailure::Unsupported,
        OutboundFailure::Io(error) => match error.kind() {
            io::ErrorKind::InvalidData => SendFailure::BadAnswer,
            io::ErrorKind::UnexpectedEof => SendFailure::NoAnswer,
            _ => SendFailure::Closed,
        },
    }
}

/// An own exchange.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The node's name for it.
    pub(crate) ask: u64,
    /// Who is asked.
    pub(crate) peer: PeerId,
    /// When it began.
    pub(crate) begun: Instant,
    state: AskState,
}

#[derive(Debug)]
enum AskState {
    Waiting {
        frame: Vec<u8>,
        addrs: Vec<Multiaddr>,
    },
    /// Handed to libp2p, and the id that it gave.
    Sent(Option<OutboundRequestId>),
}

/// What to hand to libp2p; [`Asks::sent`] must follow.
pub(crate) struct Sending {
    pub(crate) ticket: u64,
    pub(crate) peer: PeerId,
    pub(crate) frame: Vec<u8>,
    pub(crate) addrs: Vec<Multiaddr>,
}

#[derive(Debug, Default)]
struct Queue {
    in_flight: usize,
    waiting: VecDeque<u64>,
}

/// The table of own exchanges: at most so many in flight per peer, the rest in line.
#[derive(Debug)]
pub(crate) struct Asks {
    per_peer: usize,
    waiting: usize,
    in_all: usize,
    timeout: Duration,
    /// By ticket. Tickets rise and the timeout is the same for all, so the first entry
    /// is always the next to expire.
    asks: BTreeMap<u64, Ask>,
    next_ticket: u64,
    sent: HashMap<OutboundRequestId, u64>,
    queues: HashMap<PeerId, Queue>,
}

impl Asks {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            per_peer: limits.exchanges_per_peer,
            waiting: limits.exchanges_waiting,
            in_all: limits.exchanges,
            timeout: limits.exchange,
            asks: BTreeMap::new(),
            next_ticket: 0,
            sent: HashMap::new(),
            queues: HashMap::new(),
        }
    }

    /// Takes an exchange in: it is to be sent at once, or stands in line.
    ///
    /// # Errors
    /// Why it cannot be taken.
    pub(crate) fn begin(
        &mut self,
        ask: u64,
        peer: PeerId,
        addrs: Vec<Multiaddr>,
        frame: Vec<u8>,
        now: Instant,
    ) -> Result<Option<Sending>, SendFailure> {
        if frame.len() > FRAME_CONTENT_BYTES_MAX {
            return Err(SendFailure::TooLarge);
        }
        let queue = self.queues.entry(peer).or_default();
        let free = queue.in_flight < self.per_peer;
        if self.asks.len() >= self.in_all || !free && queue.waiting.len() >= self.waiting {
            self.tidy(peer);
            return Err(SendFailure::Busy);
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        queue.waiting.push_back(ticket);
        let state = AskState::Waiting { frame, addrs };
        self.asks.insert(ticket, Ask { ask, peer, begun: now, state });
        Ok(self.next(peer))
    }

    /// Notes the id that libp2p gave to what was sent.
    pub(crate) fn sent(&mut self, ticket: u64, id: OutboundRequestId) {
        if let Some(ask) = self.asks.get_mut(&ticket) {
            ask.state = AskState::Sent(Some(id));
            self.sent.insert(id, ticket);
        }
    }

    /// Ends the exchange that libp2p names, if it has not expired, and yields the next in line.
    pub(crate) fn end(&mut self, id: OutboundRequestId) -> Option<(Ask, Option<Sending>)> {
        let ticket = self.sent.remove(&id)?;
        let ask = self.asks.remove(&ticket)?;
        let next = self.release(ask.peer);
        Some((ask, next))
    }

    /// Ends one exchange whose time is over, and yields the next in line.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(Ask, Option<Sending>)> {
        let entry = self.asks.first_entry()?;
        if entry.get().begun + self.timeout > now {
            return None;
        }
        let (ticket, ask) = entry.remove_entry();
        let next = match ask.state {
            AskState::Sent(id) => {
                if let Some(id) = id {
                    self.sent.remove(&id);
                }
                self.release(ask.peer)
            }
            AskState::Waiting { .. } => {
                if let Some(queue) = self.queues.get_mut(&ask.peer) {
                    queue.waiting.retain(|waiting| *waiting != ticket);
                }
                self.tidy(ask.peer);
                None
            }
        };
        Some((ask, next))
    }

    /// When [`Self::expire`] is next due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.asks.first_key_value().map(|(_, ask)| ask.begun + self.timeout)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.asks.len()
    }

    fn release(&mut self, peer: PeerId) -> Option<Sending> {
        if let Some(queue) = self.queues.get_mut(&peer) {
            queue.in_flight = queue.in_flight.saturating_sub(1);
        }
        self.next(peer)
    }

    fn next(&mut self, peer: PeerId) -> Option<Sending> {
        let queue = self.queues.get_mut(&peer)?;
        if queue.in_flight < self.per_peer
            && let Some(ticket) = queue.waiting.pop_front()
        {
            queue.in_flight += 1;
            if let Some(ask) = self.asks.get_mut(&ticket)
                && let AskState::Waiting { frame, addrs } =
                    std::mem::replace(&mut ask.state, AskState::Sent(None))
            {
                return Some(Sending { ticket, peer, frame, addrs });
            }
        }
        self.tidy(peer);
        None
    }

    fn tidy(&mut self, peer: PeerId) {
        if self.queues.get(&peer).is_some_and(|queue| queue.in_flight == 0 && queue.waiting.is_empty()) {
            self.queues.remove(&peer);
        }
    }
}

/// The table of requests that the node has yet to answer. It is bounded by the streams
/// of the connections.
#[derive(Default)]
pub(crate) struct Requests {
    next: u64,
    open: BTreeMap<u64, (InboundRequestId, ResponseChannel<Vec<u8>>)>,
    by_id: HashMap<InboundRequestId, u64>,
}

impl Requests {
    /// Takes a request in and names the exchange.
    pub(crate) fn begin(&mut self, id: InboundRequestId, channel: ResponseChannel<Vec<u8>>) -> u64 {
        let exchange = self.next;
        self.next += 1;
        self.open.insert(exchange, (id, channel));
        self.by_id.insert(id, exchange);
        exchange
    }

    /// The way back for an answer, once.
    pub(crate) fn answer(&mut self, exchange: u64) -> Option<ResponseChannel<Vec<u8>>> {
        let (id, channel) = self.open.remove(&exchange)?;
        self.by_id.remove(&id);
        Some(channel)
    }

    /// Forgets a request that can no longer be answered.
    pub(crate) fn end(&mut self, id: InboundRequestId) {
        if let Some(exchange) = self.by_id.remove(&id) {
            self.open.remove(&exchange);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        block_on(read_frame(&mut Cursor::new(bytes)))
    }

    #[test]
    fn frames_round_trip_at_every_boundary() {
        for length in [0, 1, 507, 508, 509, 1_020, 1_021, 2_044, 4_092, 4_093, 8_188] {
            let frame: Vec<u8> = (0..length).map(|i| (i % 251) as u8 + 1).collect();
            let wire = pad(&frame).unwrap();
            assert!(FRAME_SIZES.contains(&wire.len()), "{length}");
            assert_eq!(read(&wire).unwrap(), frame);
        }
        assert!(pad(&[0; 8_189]).is_err());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let good = pad(&[7; 100]).unwrap();
        let mut filler = good.clone();
        filler[511] = 1;
        let mut long = good.clone();
        long.push(0);
        let mut large = good.clone();
        large[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        // A small frame in a larger size than it needs.
        let mut roomy = good.clone();
        roomy.resize(1_024, 0);
        for bad in [&filler, &long, &large, &roomy, &good[..511].to_vec(), &Vec::new()] {
            assert!(read(bad).is_err());
        }
        assert!(read(&good).is_ok());
    }

    fn asks() -> (Asks, PeerId, Instant) {
        let limits = Limits { exchanges_per_peer: 2, exchanges_waiting: 2, ..Limits::default() };
        (Asks::new(&limits), PeerId::random(), Instant::now())
    }

    #[test]
    fn the_third_waits_and_the_fifth_is_refused() {
        let (mut asks, peer, now) = asks();
        let mut begin = |n| asks.begin(n, peer, Vec::new(), vec![n as u8], now);
        assert!(begin(0).unwrap().is_some());
        assert!(begin(1).unwrap().is_some());
        assert!(begin(2).unwrap().is_none());
        assert!(begin(3).unwrap().is_none());
        assert_eq!(begin(4).err(), Some(SendFailure::Busy));
        let other = asks.begin(5, PeerId::random(), Vec::new(), Vec::new(), now);
        assert!(other.unwrap().is_some());
    }

    #[test]
    fn time_ends_every_exchange_once_and_leaves_nothing() {
        let (mut asks, peer, now) = asks();
        for n in 0..4 {
            asks.begin(n, peer, Vec::new(), Vec::new(), now).unwrap();
        }
        assert!(asks.expire(now).is_none());
        let late = asks.deadline().unwrap();
        let mut ended = Vec::new();
        while let Some((ask, _)) = asks.expire(late) {
            ended.push(ask.ask);
        }
        assert_eq!(ended, [0, 1, 2, 3]);
        assert_eq!(asks.len(), 0);
        assert!(asks.deadline().is_none());
        assert!(asks.queues.is_empty() && asks.sent.is_empty());
    }

    #[test]
    fn too_large_a_frame_is_refused_before_anything_else() {
        let (mut asks, peer, now) = asks();
        let refused = asks.begin(1, peer, Vec::new(), vec![0; 8_189], now);
        assert_eq!(refused.err(), Some(SendFailure::TooLarge));
        assert_eq!(asks.len(), 0);
    }
}
