//! The figures of a demo.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::city::City;
use super::meter::{Audience, Measured};

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
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Gossip {
    /// Messages handed to nodes, all nodes together.
    pub messages: u64,
    /// Bytes sent by a node in a second, everything together.
    pub bytes_per_node_s: f64,
    /// Copies of a message that reach a node, the first included.
    pub copies: f64,
    /// From the moment at which its author's node publishes a message until the
    /// marketplace of a node that listens gets it.
    pub delivery_ms: Delivery,
    /// Deliveries that these times are of.
    pub deliveries: u64,
    /// Share of those who listened when a message was published that got it within 5 s,
    /// 0 to 1.
    pub heard_share: f64,
    /// How many listened to the topic of a message, the mean over all deliveries.
    pub listeners: f64,
    /// With how many of them its author was connected, likewise.
    pub peers: f64,
    /// Deliveries of messages to such an audience.
    #[serde(skip)]
    pub audiences: BTreeMap<Audience, u64>,
}

/// Milliseconds: so many of a hundred are at most that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Delivery {
    /// A tenth.
    pub p10: f64,
    /// A quarter.
    pub p25: f64,
    /// Half.
    pub p50: f64,
    /// Three quarters.
    pub p75: f64,
    /// Nine tenths.
    pub p90: f64,
    /// 99 of a hundred.
    pub p99: f64,
}

impl Delivery {
    /// These, of what takes so many milliseconds at a percentile.
    pub(crate) fn at(percentile: impl Fn(u8) -> f64) -> Self {
        let [p10, p25, p50, p75, p90, p99] = [10, 25, 50, 75, 90, 99].map(percentile);
        Self { p10, p25, p50, p75, p90, p99 }
    }
}

/// Times from 1 µs to 10 min with three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("sound bounds")
}

pub(super) fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
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
    pub(super) fn since(self, before: Self, wall: Duration, nodes: usize, measured: Measured) -> Gossip {
        let bytes = self.bytes - before.bytes;
        let per_node_s = bytes / nodes.max(1) as f64 / wall.as_secs_f64().max(0.001);
        Gossip {
            messages: (self.messages - before.messages).max(0.0) as u64,
            bytes_per_node_s: (per_node_s * 10.0).round() / 10.0,
            copies: (100.0 * (self.copies - before.copies) / (self.received - before.received).max(1.0))
                .round()
                / 100.0,
            delivery_ms: measured.delivery_ms,
            deliveries: measured.deliveries,
            heard_share: measured.heard_share,
            listeners: mean(&measured.audiences, |audience| audience.listeners),
            peers: mean(&measured.audiences, |audience| audience.peers),
            audiences: measured.audiences,
        }
    }
}

/// The mean of what was counted, with one decimal.
#[expect(clippy::cast_precision_loss, reason = "counts")]
fn mean(counts: &BTreeMap<Audience, u64>, value: impl Fn(&Audience) -> u32) -> f64 {
    let all: u64 = counts.values().sum();
    let sum: f64 = counts.iter().map(|(audience, count)| f64::from(value(audience)) * *count as f64).sum();
    (10.0 * sum / all.max(1) as f64).round() / 10.0
}

/// The sum of the samples of a metric whose labels contain `label`.
fn total(text: &str, name: &str, label: &str) -> f64 {
    text.lines()
        .filter(|line| line.starts_with(name) && line.contains(label))
        .filter(|line| line[name.len()..].starts_with([' ', '{']))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
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
