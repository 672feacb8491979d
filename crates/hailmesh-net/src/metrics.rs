//! Counters of this crate, beside those that libp2p keeps.
//!
//! No label holds a topic: a topic names a cell, and with it where this node is. That
//! is also why of the router's own metrics, which are per topic, only sums are shown.

use libp2p::gossipsub;
use libp2p::metrics::{Metrics as Libp2p, Recorder};
use libp2p::swarm::SwarmEvent;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::behaviour::BehaviourEvent;
use crate::event::{PublishOutcome, SendFailure, Verdict};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What is counted. Without a registry it is counted all the same and shown nowhere.
pub(crate) struct Metrics {
    libp2p: Option<Libp2p>,
    /// Received messages handed to the node.
    pub(crate) gossip: Counter,
    verdicts: Family<Outcome, Counter>,
    /// Verdicts that found the message gone.
    pub(crate) verdicts_late: Counter,
    published: Family<Outcome, Counter>,
    /// Requests handed to the node.
    pub(crate) requests: Counter,
    asks: Family<Outcome, Counter>,
    ask_seconds: Histogram,
    /// Streams whose content was no frame.
    pub(crate) frames_refused: Counter,
    /// Peers of other networks.
    pub(crate) strangers: Counter,
    /// Messages dropped because a peer was slow.
    pub(crate) dropped: Counter,
    /// Connected peers.
    pub(crate) peers: Gauge,
    /// Subscribed topics.
    pub(crate) topics: Gauge,
    /// Events that wait for the node beyond its queue.
    pub(crate) backlog: Gauge,
}

impl Metrics {
    /// Registers everything with `registry`, ours under `net`.
    pub(crate) fn new(registry: Option<&mut Registry>) -> Self {
        let mut metrics = Self {
            libp2p: None,
            gossip: Counter::default(),
            verdicts: Family::default(),
            verdicts_late: Counter::default(),
            published: Family::default(),
            requests: Counter::default(),
            asks: Family::default(),
            // 0.25 ms to 8 s.
            ask_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            frames_refused: Counter::default(),
            strangers: Counter::default(),
            dropped: Counter::default(),
            peers: Gauge::default(),
            topics: Gauge::default(),
            backlog: Gauge::default(),
        };
        if let Some(registry) = registry {
            metrics.libp2p = Some(Libp2p::new(registry));
            metrics.register(registry.sub_registry_with_prefix("net"));
        }
        metrics
    }

    fn register(&self, net: &mut Registry) {
        net.register("gossip_messages", "Gossip messages handed to the node", self.gossip.clone());
        net.register("gossip_verdicts", "Verdicts on gossip messages", self.verdicts.clone());
        net.register(
            "gossip_verdicts_late",
            "Verdicts after the message was gone",
            self.verdicts_late.clone(),
        );
        net.register("gossip_published", "Own gossip messages by outcome", self.published.clone());
        net.register("gossip_dropped", "Gossip messages dropped for slow peers", self.dropped.clone());
        net.register("exchange_requests", "Requests handed to the node", self.requests.clone());
        net.register("exchange_asks", "Own exchanges by outcome", self.asks.clone());
        net.register("exchange_ask_seconds", "Seconds from asking to the answer", self.ask_seconds.clone());
        net.register("exchange_frames_refused", "Streams that held no frame", self.frames_refused.clone());
        net.register("peers_wrong_network", "Peers of other networks, disconnected", self.strangers.clone());
        net.register("peers", "Connected peers", self.peers.clone());
        net.register("topics", "Subscribed topics", self.topics.clone());
        net.register("events_backlog", "Events waiting beyond the queue", self.backlog.clone());
    }

    pub(crate) fn verdict(&self, verdict: Verdict) {
        let outcome = match verdict {
            Verdict::Accept => "accept",
            Verdict::Ignore => "ignore",
            Verdict::Reject => "reject",
        };
        self.verdicts.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn published(&self, outcome: PublishOutcome) {
        self.published.get_or_create(&Outcome { outcome: outcome.as_str() }).inc();
    }

    pub(crate) fn answered(&self, seconds: f64) {
        self.asks.get_or_create(&Outcome { outcome: "answered" }).inc();
        self.ask_seconds.observe(seconds);
    }

    pub(crate) fn failed(&self, reason: SendFailure) {
        self.asks.get_or_create(&Outcome { outcome: reason.as_str() }).inc();
    }

    /// Lets libp2p's own metrics see what happens.
    pub(crate) fn record(&self, event: &SwarmEvent<BehaviourEvent>) {
        let Some(libp2p) = &self.libp2p else { return };
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message { .. })) => {}
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => libp2p.record(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => libp2p.record(event),
            SwarmEvent::Behaviour(_) => {}
            event => libp2p.record(event),
        }
    }
}
