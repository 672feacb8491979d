//! Figures for Prometheus. Names begin with `hailmesh_` and end in their unit; no label
//! holds a place or a key.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use hailmesh_market::journal::Role;
use hailmesh_market::{Snapshot, Verdict};
use hailmesh_wire::RideState;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

macro_rules! labels {
    ($name:ident { $($field:ident),* }) => {
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($field: &'static str),* }
    };
}

labels!(BySide { side });
labels!(ByStep { step });
labels!(ByVerdict { verdict });
labels!(ByOutcome { outcome });
labels!(ByRide { role, state });
labels!(ByResult { role, result });

/// The figures of a node.
#[derive(Debug)]
pub(crate) struct Metrics {
    offers: Family<BySide, Gauge>,
    heard: Family<ByStep, Counter>,
    verdicts: Family<ByVerdict, Counter>,
    published: Family<ByOutcome, Counter>,
    rides: Family<ByRide, Counter>,
    open_rides: Gauge,
    handshakes: Family<ByResult, Counter>,
    settle: Histogram,
    commit: Histogram,
    commits_failed: Counter,
    outbox: Gauge,
    peers: Gauge,
    topics: Gauge,
    bans: Gauge,
    halted: Gauge,
    clock_jumps: Counter,
    uptime: Gauge<f64, AtomicU64>,
    /// What the marketplace had counted at the last look: it counts anew after a halt.
    counted: BTreeMap<&'static str, u64>,
}

/// Name under which offers that passed every step are counted.
const ADMITTED: &str = "accepted";

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            offers: Family::default(),
            heard: Family::default(),
            verdicts: Family::default(),
            published: Family::default(),
            rides: Family::default(),
            open_rides: Gauge::default(),
            handshakes: Family::default(),
            settle: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            commit: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            commits_failed: Counter::default(),
            outbox: Gauge::default(),
            peers: Gauge::default(),
            topics: Gauge::default(),
            bans: Gauge::default(),
            halted: Gauge::default(),
            clock_jumps: Counter::default(),
            uptime: Gauge::default(),
            counted: BTreeMap::new(),
        };
        let ours = registry.sub_registry_with_prefix("hailmesh");
        ours.register("offers", "Live offers in the book", metrics.offers.clone());
        ours.register(
            "gossip_offers",
            "Offers heard, by the admission step that stopped them",
            metrics.heard.clone(),
        );
        ours.register("gossip_verdicts", "Verdicts on gossip messages", metrics.verdicts.clone());
        ours.register("gossip_published", "Own messages, by what became of them", metrics.published.clone());
        ours.register("ride_states", "States that rides entered", metrics.rides.clone());
        ours.register("rides_open", "Rides that are not over", metrics.open_rides.clone());
        ours.register("handshakes", "Handshakes that ended, by how", metrics.handshakes.clone());
        ours.register(
            "settle_seconds",
            "Time from the first REQUEST to firm, riders",
            metrics.settle.clone(),
        );
        ours.register("store_commit_seconds", "Time to make a batch durable", metrics.commit.clone());
        ours.register(
            "store_commit_failures",
            "Batches that could not be made durable",
            metrics.commits_failed.clone(),
        );
        ours.register("outbox_rows", "Statements that wait for their answer", metrics.outbox.clone());
        ours.register("peers", "Peers connected", metrics.peers.clone());
        ours.register("topics", "Topics joined", metrics.topics.clone());
        ours.register("bans", "Keys that nothing is taken from", metrics.bans.clone());
        ours.register("halted", "1 while nothing is signed", metrics.halted.clone());
        ours.register(
            "clock_jumps",
            "Times the wall clock was found to have jumped",
            metrics.clock_jumps.clone(),
        );
        ours.register("uptime_seconds", "Time since the start", metrics.uptime.clone());
        metrics
    }

    /// Takes over what the marketplace shows.
    pub(crate) fn observe(&mut self, snapshot: &Snapshot, halted: bool, uptime: std::time::Duration) {
        let int = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.offers.get_or_create(&BySide { side: "driver" }).set(int(snapshot.drivers));
        self.offers.get_or_create(&BySide { side: "rider" }).set(int(snapshot.riders));
        self.open_rides.set(int(snapshot.open_rides));
        self.outbox.set(int(snapshot.outbox));
        self.peers.set(int(snapshot.peers));
        self.topics.set(int(snapshot.topics));
        self.bans.set(int(snapshot.bans));
        self.halted.set(i64::from(halted || snapshot.halted.is_some()));
        self.uptime.set(uptime.as_secs_f64());
        let stopped: u64 = snapshot.stopped.values().sum();
        self.count(ADMITTED, snapshot.heard.saturating_sub(stopped));
        for (step, total) in &snapshot.stopped {
            self.count(step, *total);
        }
    }

    fn count(&mut self, step: &'static str, total: u64) {
        let before = self.counted.insert(step, total).unwrap_or(0);
        // A smaller total is that of a new marketplace.
        let more = if total >= before { total - before } else { total };
        if more > 0 {
            self.heard.get_or_create(&ByStep { step }).inc_by(more);
        }
    }

    pub(crate) fn verdict(&self, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::Accept => "accept",
            Verdict::Ignore => "ignore",
            Verdict::Reject => "reject",
        };
        self.verdicts.get_or_create(&ByVerdict { verdict }).inc();
    }

    pub(crate) fn published(&self, outcome: &'static str) {
        self.published.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// A ride entered a state; riders say how long it took to become firm.
    pub(crate) fn ride(&self, role: Role, state: RideState, settle_ms: Option<u64>) {
        let role = role.name();
        self.rides.get_or_create(&ByRide { role, state: state.name() }).inc();
        let result = match state {
            RideState::Firm => "firm",
            RideState::Expired | RideState::Released | RideState::Void | RideState::Declined => state.name(),
            _ => return,
        };
        self.handshakes.get_or_create(&ByResult { role, result }).inc();
        if let Some(ms) = settle_ms.filter(|_| state == RideState::Firm) {
            #[expect(clippy::cast_precision_loss, reason = "a time in a histogram")]
            self.settle.observe(ms as f64 / 1_000.0);
        }
    }

    pub(crate) fn commit(&self, took: std::time::Duration, durable: bool) {
        if durable {
            self.commit.observe(took.as_secs_f64());
        } else {
            self.commits_failed.inc();
        }
    }

    pub(crate) fn clock_jump(&self) {
        self.clock_jumps.inc();
    }
}

/// Everything of these registries as one OpenMetrics text.
pub(crate) fn text(registries: &[&Registry]) -> String {
    const END: &str = "# EOF\n";
    let mut out = String::new();
    for registry in registries {
        let mut part = String::new();
        // Writing into a String does not fail.
        if prometheus_client::encoding::text::encode(&mut part, registry).is_ok() {
            out.push_str(part.strip_suffix(END).unwrap_or(&part));
        }
    }
    out.push_str(END);
    out
}
