//! How long gossip takes, and whom it reaches: from the moment at which its author's node
//! gives a message to the router until the marketplace of a node gets it.
//!
//! All nodes are in one process and have one clock, so that taps on each of them are all
//! it takes. Who counts is whoever listened to the topic when the message was published.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hailmesh_net::{Tap, Tapped};
use hailmesh_wire::Topic;
use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::figures::{Delivery, histogram, ms};

/// How long a message is waited for. What comes later was lost: gossip tells of a message
/// for two heartbeats, and nobody asks for it after that.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most messages waited for at a time; beyond it the oldest are given up early.
const UNDER_WAY_MAX: usize = 100_000;

/// Measures the gossip of all nodes of a city.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<Mutex<Passing>>);

/// What has been measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    /// From publishing to a listener's marketplace.
    pub delivery_ms: Delivery,
    /// Deliveries that these are of.
    pub deliveries: u64,
    /// Those who listened and got the message, out of those who listened, 0 to 1.
    pub heard_share: f64,
    /// How many deliveries there were of messages to such an audience.
    pub audiences: BTreeMap<Audience, u64>,
}

/// Who is there to hear a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Audience {
    /// Nodes that listen to the topic, the author included if it does.
    pub listeners: u32,
    /// Those of them that the author is connected with.
    pub peers: u32,
}

#[derive(Debug)]
struct Message {
    topic: Topic,
    at: Instant,
    audience: Audience,
    /// Who has not got it yet.
    waiting: BTreeSet<usize>,
}

#[derive(Debug)]
struct Passing {
    /// Messages published from then on count.
    since: Option<Instant>,
    listening: BTreeMap<Topic, BTreeSet<usize>>,
    under_way: BTreeMap<[u8; 16], Message>,
    /// The same, the oldest first.
    order: VecDeque<[u8; 16]>,
    delays: Histogram<u64>,
    audiences: BTreeMap<Audience, u64>,
    missed: u64,
}

impl Default for Passing {
    fn default() -> Self {
        Self {
            since: None,
            listening: BTreeMap::new(),
            under_way: BTreeMap::new(),
            order: VecDeque::new(),
            delays: histogram(),
            audiences: BTreeMap::new(),
            missed: 0,
        }
    }
}

impl Meter {
    /// A tap for the node with this number.
    pub(super) fn tap(&self, node: usize) -> Tap {
        let meter = self.clone();
        Tap::new(move |tapped| {
            let now = Instant::now();
            meter.with(|passing| match tapped {
                Tapped::Published { topic, id, at, peers } => {
                    passing.published(node, topic, id, at, peers);
                }
                Tapped::Received { id, .. } => passing.received(node, id, now),
                Tapped::Joined(topic) => passing.joined(node, topic),
                Tapped::Left(topic) => passing.left(node, topic),
                Tapped::Judged { .. } | Tapped::Asked { .. } | Tapped::Answered { .. } => {}
            });
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Passing) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins to measure.
    pub(super) fn begin(&self) {
        self.with(|passing| passing.since = Some(Instant::now()));
    }

    /// Ends it. What is still on its way is neither delivered nor lost.
    pub(super) fn finish(&self) -> Measured {
        self.with(|passing| {
            passing.since = None;
            passing.give_up(Instant::now());
            passing.measured()
        })
    }
}

impl Passing {
    fn joined(&mut self, node: usize, topic: &Topic) {
        self.listening.entry(topic.clone()).or_default().insert(node);
    }

    fn left(&mut self, node: usize, topic: &Topic) {
        if let Some(nodes) = self.listening.get_mut(topic) {
            nodes.remove(&node);
        }
        for message in self.under_way.values_mut().filter(|message| message.topic == *topic) {
            message.waiting.remove(&node);
        }
    }

    fn published(&mut self, node: usize, topic: &Topic, id: [u8; 16], at: Instant, peers: usize) {
        if self.since.is_none_or(|since| at < since) {
            return;
        }
        self.give_up(at);
        let mut waiting = self.listening.get(topic).cloned().unwrap_or_default();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let audience = Audience { listeners: count(waiting.len()), peers: count(peers) };
        waiting.remove(&node);
        let message = Message { topic: topic.clone(), at, audience, waiting };
        if self.under_way.insert(id, message).is_none() {
            self.order.push_back(id);
        }
    }

    fn received(&mut self, node: usize, id: [u8; 16], now: Instant) {
        let Some(message) = self.under_way.get_mut(&id) else { return };
        if message.waiting.remove(&node) {
            let us = now.saturating_duration_since(message.at).as_micros();
            self.delays.saturating_record(u64::try_from(us).unwrap_or(u64::MAX).max(1));
            *self.audiences.entry(message.audience).or_default() += 1;
        }
    }

    /// Gives up what has been on its way for too long.
    fn give_up(&mut self, now: Instant) {
        while let Some(id) = self.order.front() {
            let is_old = self.under_way.get(id).is_none_or(|message| message.at + PATIENCE <= now);
            if !is_old && self.order.len() < UNDER_WAY_MAX {
                return;
            }
            if let Some(message) = self.under_way.remove(id) {
                self.missed += message.waiting.len() as u64;
            }
            self.order.pop_front();
        }
    }

    fn measured(&self) -> Measured {
        let deliveries = self.delays.len();
        let all = (deliveries + self.missed).max(1);
        #[expect(clippy::cast_precision_loss, reason = "counts of deliveries")]
        let heard_share = if deliveries + self.missed == 0 { 1.0 } else { deliveries as f64 / all as f64 };
        Measured {
            delivery_ms: Delivery::at(|percent| ms(&self.delays, f64::from(percent) / 100.0)),
            deliveries,
            heard_share: (heard_share * 10_000.0).round() / 10_000.0,
            audiences: self.audiences.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use hailmesh_types::NetworkName;

    use super::*;

    fn topic() -> Topic {
        Topic::evidence(&NetworkName::default())
    }

    #[test]
    fn only_who_listened_counts_and_only_the_first_copy() {
        let (mut passing, topic, now) = (Passing::default(), topic(), Instant::now());
        passing.since = Some(now);
        (0..5).for_each(|node| passing.joined(node, &topic));
        passing.published(0, &topic, [1; 16], now, 3);
        passing.joined(5, &topic);
        for (node, late) in [(1, 20), (2, 30), (1, 90), (5, 90), (0, 90)] {
            passing.received(node, [1; 16], now + Duration::from_millis(late));
        }
        // One leaves before it can have heard, one never hears.
        passing.left(3, &topic);
        passing.give_up(now + PATIENCE);
        let found = passing.measured();
        assert_eq!((found.deliveries, passing.missed, found.heard_share), (2, 1, 0.6667));
        assert_eq!(found.audiences, BTreeMap::from([(Audience { listeners: 5, peers: 3 }, 2)]));
        assert!((19.9..20.1).contains(&found.delivery_ms.p50), "{found:?}");
        assert!((29.9..30.1).contains(&found.delivery_ms.p99), "{found:?}");
        // Too late.
        passing.received(4, [1; 16], now + 2 * PATIENCE);
        assert_eq!(passing.measured().deliveries, 2);
    }

    #[test]
    fn what_was_published_before_it_began_does_not_count() {
        let (meter, topic) = (Meter::default(), topic());
        let (author, listener) = (meter.tap(0), meter.tap(1));
        listener.see(Tapped::Joined(&topic));
        author.see(Tapped::Published { topic: &topic, id: [1; 16], at: Instant::now(), peers: 1 });
        meter.begin();
        author.see(Tapped::Published { topic: &topic, id: [2; 16], at: Instant::now(), peers: 1 });
        listener.see(Tapped::Received { id: [1; 16], data: &[] });
        listener.see(Tapped::Received { id: [2; 16], data: &[] });
        let found = meter.finish();
        assert_eq!(
            (found.deliveries, found.audiences),
            (1, BTreeMap::from([(Audience { listeners: 1, peers: 1 }, 1)]))
        );
    }
}
