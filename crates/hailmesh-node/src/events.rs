//! What the user is told as it happens: numbered, and kept for whoever comes back.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::{FutureExt, Stream};
use hailmesh_market::Event;
use hailmesh_types::Timestamp;
use tokio::sync::watch;

use crate::status::Problem;

/// Events kept for readers that fall behind or come back.
pub const EVENTS_KEPT: usize = 1_024;

/// Something that happened on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEvent {
    /// In the marketplace: rides, offers, evidence.
    Market(Event),
    /// A peer has connected.
    PeerUp {
        /// Peers connected now.
        peers: usize,
    },
    /// The last connection to a peer has ended.
    PeerDown {
        /// Peers connected now.
        peers: usize,
    },
    /// Something is wrong with this node, and what to do about it.
    Problem(Problem),
}

/// An event with its place in the sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Rises by one from event to event, from 1 at the start of the process.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: NodeEvent,
}

/// What a reader of events gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventItem {
    /// The next event.
    Numbered(Numbered),
    /// So many events were lost to this reader: ask for the state, then go on.
    Lagged {
        /// How many; 0 when the reader knows ids that this process has not given yet.
        missed: u64,
    },
}

/// The sequence of events of one process.
#[derive(Debug)]
pub(crate) struct EventLog {
    kept: Mutex<VecDeque<Numbered>>,
    last: watch::Sender<u64>,
}

impl EventLog {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { kept: Mutex::new(VecDeque::with_capacity(EVENTS_KEPT)), last: watch::Sender::new(0) })
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Numbered>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, at: Timestamp, event: NodeEvent) {
        let mut kept = self.kept();
        let id = *self.last.borrow() + 1;
        if kept.len() == EVENTS_KEPT {
            kept.pop_front();
        }
        kept.push_back(Numbered { id, at, event });
        // Under the lock, so that whoever sees the id finds the event.
        self.last.send_replace(id);
    }

    pub(crate) fn last_id(&self) -> u64 {
        *self.last.borrow()
    }

    /// Everything after `after`; without it only what is to come.
    pub(crate) fn stream(self: &Arc<Self>, after: Option<u64>, closed: watch::Receiver<bool>) -> EventStream {
        let last = self.last_id();
        let next = after.map_or(last + 1, |after| after.saturating_add(1));
        let ahead = next > last + 1;
        EventStream {
            log: Arc::clone(self),
            next: if ahead { 1 } else { next },
            lagged: ahead.then_some(0),
            closed,
            wait: None,
        }
    }
}

type Wait = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Events in order, see [`NodeHandle::events`](crate::NodeHandle::events). Ends when the
/// node has ended and everything was read.
pub struct EventStream {
    log: Arc<EventLog>,
    next: u64,
    lagged: Option<u64>,
    closed: watch::Receiver<bool>,
    wait: Option<Wait>,
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("next", &self.next).finish_non_exhaustive()
    }
}

impl EventStream {
    /// The next event; waits for it. None when the node has ended.
    pub async fn next(&mut self) -> Option<EventItem> {
        futures::StreamExt::next(self).await
    }

    fn take(&mut self) -> Option<EventItem> {
        if let Some(missed) = self.lagged.take() {
            return Some(EventItem::Lagged { missed });
        }
        let kept = self.log.kept();
        let first = kept.front()?.id;
        if self.next < first {
            let missed = first - self.next;
            self.next = first;
            return Some(EventItem::Lagged { missed });
        }
        let at = usize::try_from(self.next - first).ok()?;
        let found = kept.get(at)?.clone();
        self.next += 1;
        Some(EventItem::Numbered(found))
    }
}

impl Stream for EventStream {
    type Item = EventItem;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<EventItem>> {
        loop {
            if let Some(item) = self.take() {
                return Poll::Ready(Some(item));
            }
            let next = self.next;
            if self.wait.is_none() {
                let mut last = self.log.last.subscribe();
                let mut closed = self.closed.clone();
                self.wait = Some(Box::pin(async move {
                    tokio::select! {
                        biased;
                        arrived = last.wait_for(|id| *id >= next) => arrived.is_ok(),
                        _ended = closed.wait_for(|closed| *closed) => false,
                    }
                }));
            }
            let Some(wait) = self.wait.as_mut() else { continue };
            match wait.poll_unpin(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(arrived) => {
                    self.wait = None;
                    if !arrived {
                        return Poll::Ready(self.take());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(events: u64) -> Arc<EventLog> {
        let log = EventLog::new();
        for peers in 0..events {
            log.push(Timestamp::MIN, NodeEvent::PeerUp { peers: peers as usize });
        }
        log
    }

    async fn ids(stream: &mut EventStream, count: usize) -> Vec<u64> {
        let mut ids = Vec::new();
        while ids.len() < count {
            match stream.next().await {
                Some(EventItem::Numbered(numbered)) => ids.push(numbered.id),
                Some(EventItem::Lagged { missed }) => panic!("lost {missed}"),
                None => break,
            }
        }
        ids
    }

    #[tokio::test]
    async fn ids_rise_by_one_and_the_past_can_be_read() {
        let log = log_of(5);
        let closed = watch::Sender::new(false);
        let mut stream = log.stream(Some(2), closed.subscribe());
        let mut fresh = log.stream(None, closed.subscribe());
        log.push(Timestamp::MIN, NodeEvent::PeerDown { peers: 0 });
        closed.send_replace(true);
        assert_eq!(ids(&mut stream, 9).await, [3, 4, 5, 6]);
        assert_eq!(ids(&mut fresh, 9).await, [6]);
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_lost() {
        let log = log_of(EVENTS_KEPT as u64 + 10);
        let closed = watch::Sender::new(true);
        let mut stream = log.stream(Some(3), closed.subscribe());
        assert_eq!(stream.next().await, Some(EventItem::Lagged { missed: 7 }));
        assert_eq!(ids(&mut stream, 2).await, [11, 12]);
    }

    #[tokio::test]
    async fn a_reader_of_an_earlier_run_begins_anew() {
        let log = log_of(2);
        let closed = watch::Sender::new(true);
        let mut stream = log.stream(Some(900), closed.subscribe());
        assert_eq!(stream.next().await, Some(EventItem::Lagged { missed: 0 }));
        assert_eq!(ids(&mut stream, 9).await, [1, 2]);
    }

    #[tokio::test]
    async fn waits_for_what_comes() {
        let log = log_of(0);
        let closed = watch::Sender::new(false);
        let mut stream = log.stream(None, closed.subscribe());
        let reader = tokio::spawn(async move { ids(&mut stream, 2).await });
        tokio::task::yield_now().await;
        log.push(Timestamp::MIN, NodeEvent::PeerUp { peers: 1 });
        log.push(Timestamp::MIN, NodeEvent::PeerDown { peers: 0 });
        assert_eq!(reader.await.unwrap(), [1, 2]);
    }
}
