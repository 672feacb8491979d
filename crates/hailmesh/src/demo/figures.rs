//! The figures of a demo.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hailmesh_node::{NodeHandle, SearchRequest};
use hailmesh_types::PublicKey;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::city::City;

/// Riders whose books are watched to measure how long offers take.
const WATCHED: usize = 3;
/// How often they are looked at: a delivery is measured this much too long at the most.
const LOOK: Duration = Duration::from_millis(5);
/// Offers older than this at the first look were there before: not a delivery.
const FRESH_MS: u64 = 5_000;

/// How a demo went: what `demo --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Nodes.
    pub nodes: usize,
    /// Of those, drivers.
    pub drivers: usize,
    /// Of those, riders.
    pub riders: usize,
    /// Rides that became firm.
    pub rides_settled: u32,
    /// Rides that were completed.
    pub rides_completed: u32,
    /// Slots or people bound twice, by the receipts of all nodes.
    pub double_bookings: usize,
    /// From the request to firm.
    pub settle_ms: Percentiles,
    /// Completed rides of which both sides hold a receipt that verifies.
    pub receipts_verified: usize,
    /// Receipts that do not verify.
    pub receipts_refused: u32,
    /// What gossip cost and how fast it was.
    pub gossip: Gossip,
    /// From the start to the end.
    pub wall_s: f64,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half are at most this.
    pub p50: f64,
    /// 95 of 100 are at most this.
    pub p95: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
}

/// What gossip cost and how fast it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Gossip {
    /// Messages handed to nodes, all nodes together.
    pub messages: u64,
    /// Bytes sent by a node in a second, everything together.
    pub bytes_per_node_s: f64,
    /// Copies of a message that reach a node, the first included.
    pub copies: f64,
    /// From the signature of an offer to a rider's book.
    pub delivery_ms: Delivery,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Delivery {
    /// Half are at most this.
    pub p50: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
}

/// Times from 1 µs to 10 min with three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("sound bounds")
}

fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most ten minutes in µs")]
    let us = histogram.value_at_quantile(quantile) as f64;
    (us / 10.0).round() / 100.0
}

/// Times from request to firm.
#[derive(Debug)]
pub(super) struct Settling(Histogram<u64>);

impl Settling {
    pub(super) fn new() -> Self {
        Self(histogram())
    }

    pub(super) fn add(&mut self, settle: Duration) {
        self.0.saturating_record(u64::try_from(settle.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        Percentiles { p50: ms(&self.0, 0.5), p95: ms(&self.0, 0.95), p99: ms(&self.0, 0.99) }
    }
}

/// What the nodes have counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    messages: f64,
    bytes: f64,
    copies: f64,
    received: f64,
}

impl Counters {
    pub(super) fn read(city: &City) -> Self {
        city.nodes().fold(Self::default(), |sum, node| {
            let text = node.metrics_text();
            Self {
                messages: sum.messages + total(&text, "hailmesh_net_gossip_messages_total", ""),
                bytes: sum.bytes
                    + total(&text, "hailmesh_libp2p_bandwidth_bytes_total", "direction=\"Outbound\""),
                copies: sum.copies + total(&text, "hailmesh_net_gossip_copies_total", ""),
                received: sum.received + total(&text, "hailmesh_net_gossip_received_total", ""),
            }
        })
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    #[expect(clippy::cast_precision_loss, reason = "a number of nodes")]
    pub(super) fn since(self, before: Self, wall: Duration, nodes: usize, delivery_ms: Delivery) -> Gossip {
        let bytes = self.bytes - before.bytes;
        let per_node_s = bytes / nodes.max(1) as f64 / wall.as_secs_f64().max(0.001);
        Gossip {
            messages: (self.messages - before.messages).max(0.0) as u64,
            bytes_per_node_s: (per_node_s * 10.0).round() / 10.0,
            copies: (100.0 * (self.copies - before.copies) / (self.received - before.received).max(1.0))
                .round()
                / 100.0,
            delivery_ms,
        }
    }
}

/// The sum of the samples of a metric whose labels contain `label`.
fn total(text: &str, name: &str, label: &str) -> f64 {
    text.lines()
        .filter(|line| line.starts_with(name) && line.contains(label))
        .filter(|line| line[name.len()..].starts_with([' ', '{']))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Riders' books being watched.
#[derive(Debug)]
pub(super) struct Watch {
    tasks: Vec<JoinHandle<Histogram<u64>>>,
    stop: CancellationToken,
}

/// Begins to measure how long offers take from their signature to a rider's book.
pub(super) fn watch(city: Arc<City>, stop: CancellationToken) -> Watch {
    let tasks = city.riders.iter().take(WATCHED).map(|node| {
        let (node, stop) = (node.clone(), stop.clone());
        tokio::spawn(async move {
            let mut delivered = histogram();
            stop.run_until_cancelled(look(&node, &mut delivered)).await;
            delivered
        })
    });
    Watch { tasks: tasks.collect(), stop }
}

async fn look(node: &NodeHandle, delivered: &mut Histogram<u64>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // An offer is named by its author and when it was issued.
    let mut known: BTreeSet<(PublicKey, u64)> = BTreeSet::new();
    let mut is_first = true;
    loop {
        looks.tick().await;
        let Ok(answer) = node.search(SearchRequest { limit: 500, ..SearchRequest::default() }).await else {
            return;
        };
        let now = answer.now.as_millis();
        let mut seen = BTreeSet::new();
        for item in &answer.items {
            let name = (item.author, now.saturating_sub(item.age_ms));
            if !is_first && !known.contains(&name) && item.age_ms < FRESH_MS {
                delivered.saturating_record((item.age_ms * 1_000).max(1));
            }
            seen.insert(name);
        }
        known = seen;
        is_first = false;
    }
}

impl Watch {
    pub(super) async fn finish(self) -> Delivery {
        self.stop.cancel();
        let mut all = histogram();
        for task in self.tasks {
            if let Ok(delivered) = task.await {
                let _ = all.add(&delivered);
            }
        }
        Delivery { p50: ms(&all, 0.5), p99: ms(&all, 0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_label() {
        let text = "# TYPE a counter\na_total{d=\"In\"} 5\na_total{d=\"Out\"} 7\na_total{d=\"Out\",p=\"q\"} 1\na_total_more 9\nb_total 3\n";
        assert_eq!(total(text, "a_total", "d=\"Out\""), 8.0);
        assert_eq!(total(text, "b_total", ""), 3.0);
        assert_eq!(total(text, "c_total", ""), 0.0);
    }

    #[test]
    fn percentiles_are_of_the_whole() {
        let mut settling = Settling::new();
        (1..=100).for_each(|ms| settling.add(Duration::from_millis(ms)));
        let found = settling.percentiles();
        assert!((49.9..50.2).contains(&found.p50), "{found:?}");
        assert!((94.8..95.2).contains(&found.p95) && (98.8..99.2).contains(&found.p99), "{found:?}");
    }
}
