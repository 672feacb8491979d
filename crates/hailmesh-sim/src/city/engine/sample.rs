//! A look at the city from time to time: views, bounds, holds, and how much is said.

use std::collections::BTreeMap;

use super::{Engine, WARM_MS};
use crate::city::shard::Shard;
use crate::outcome::Moment;

/// How often views and bounds are looked at.
pub(super) const SAMPLE_MS: u64 = 30_000;
/// One host out of so many is asked for its view.
const SAMPLE_EVERY: u64 = 16;
/// An offer this young may still be on its way.
const SETTLED_MS: u64 = 2_000;

impl Engine {
    /// Looks at views, bounds and holds.
    pub(super) fn sample(&mut self, shards: &mut [Shard], at_ms: u64) {
        let turn = at_ms / SAMPLE_MS;
        let view_before = self.view;
        let mut held = BTreeMap::new();
        let limits = self.shared.settings.node.limits.clone();
        for shard in shards.iter() {
            for host in shard.hosts() {
                let Some(market) = host.market.as_ref() else { continue };
                if !(u64::from(host.id) + turn).is_multiple_of(SAMPLE_EVERY)
                    && !self.held.contains_key(&host.id)
                {
                    continue;
                }
                let snapshot = market.snapshot(host.clock.reads(at_ms));
                if snapshot.state == "held" {
                    if self.held.get(&host.id) == Some(&snapshot.slot) {
                        let text = format!("driver {} holds slot {} for ever", host.id, snapshot.slot);
                        self.oracle.violation(at_ms, text);
                    }
                    held.insert(host.id, snapshot.slot);
                }
                let known = snapshot.drivers + snapshot.riders;
                if known > limits.offers
                    || snapshot.outbox > limits.outbox
                    || snapshot.topics > limits.topics + 1
                {
                    let text = format!(
                        "host {} is beyond its bounds: {known} offers, {} in the outbox, {} topics",
                        host.id, snapshot.outbox, snapshot.topics
                    );
                    self.oracle.violation(at_ms, text);
                }
                let there = host.topics.iter().filter_map(|topic| self.offers.get(topic)).map(|offers| {
                    let settled = |(author, (since, until)): &(&u32, &(u64, u64))| {
                        **author != host.id && *since + SETTLED_MS <= at_ms && *until > at_ms
                    };
                    offers.iter().filter(settled).count()
                });
                let there: usize = there.sum();
                if there > 0 && host.started_ms + self.shared.settings.rider_lead_ms.min(SAMPLE_MS) <= at_ms {
                    #[expect(clippy::cast_precision_loss, reason = "counts of offers")]
                    let share = (known as f64 / there as f64).min(1.0);
                    self.view.0 += share;
                    self.view.1 += 1;
                }
            }
        }
        self.held = held;
        for offers in self.offers.values_mut() {
            offers.retain(|_, (_, until)| *until > at_ms);
        }
        self.note_moment(shards, at_ms, view_before);
    }

    /// How much goes on.
    fn note_moment(&mut self, shards: &[Shard], at_ms: u64, view_before: (f64, u64)) {
        let up = || shards.iter().flat_map(Shard::hosts).filter(|host| host.market.is_some());
        let authors = || self.offers.values().flat_map(BTreeMap::keys);
        let cars = authors().filter(|author| **author < self.fleet).count();
        let (messages, bytes) = self.traffic_of(shards);
        let events = shards.iter().map(|shard| shard.events).sum();
        let (share, seen) = (self.view.0 - view_before.0, self.view.1 - view_before.1);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share"
        )]
        let view = (seen > 0).then(|| (1_000.0 * share / seen as f64).round() as u16);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        self.moments.push(Moment {
            at_ms: at_ms.saturating_sub(WARM_MS),
            nodes: count(up().count()),
            listening: up().map(|host| host.topics.len() as u64).sum(),
            cars: count(cars),
            riders: count(authors().count() - cars),
            messages: messages - self.before.messages,
            bytes: bytes - self.before.bytes,
            events: events - self.before.events,
            view,
        });
        self.before = Moment { messages, bytes, events, ..Moment::default() };
    }

    /// Messages and bytes so far: what hosts sent each other, and gossip with its copies.
    pub(super) fn traffic_of(&self, shards: &[Shard]) -> (u64, u64) {
        let delivered: u64 = shards.iter().map(|shard| shard.delivered).sum();
        let bytes: u64 = shards.iter().map(|shard| shard.delivered_bytes).sum();
        let copies = self.shared.settings.overlay.copies;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts"
        )]
        let all = |number: u64| (number as f64 * copies) as u64;
        (self.traffic.messages + all(delivered), self.traffic.bytes + all(bytes))
    }
}
