//! What the gossip router counts, without the topics.
//!
//! The router's metrics are per topic, and a topic names a cell and with it where this
//! node is. They stay in a registry that nobody can read, and only sums come out.

use std::fmt;

use libp2p::gossipsub::MetricsConfig;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use crate::gossip::Gossip;

/// Sums that are shown: the name of the router, ours, and what it is.
const SUMS: [(&str, &str, &str); 3] = [
    (
        "topic_msg_recv_counts_unfiltered_total",
        "gossip_copies",
        "Gossip messages received, duplicates included",
    ),
    ("topic_msg_recv_counts_total", "gossip_received", "Gossip messages received for the first time"),
    ("topic_msg_sent_counts_total", "gossip_sent", "Gossip messages sent, own and forwarded, to each peer"),
];

/// Lets the router count, and shows its sums in `registry`.
pub(crate) fn count(router: Gossip, registry: Option<&mut Registry>) -> Gossip {
    let Some(registry) = registry else { return router };
    let mut topics = Registry::default();
    let router = router.with_metrics(&mut topics, MetricsConfig::default());
    registry.sub_registry_with_prefix("net").register_collector(Box::new(Sums(topics)));
    router
}

struct Sums(Registry);

impl fmt::Debug for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sums")
    }
}

impl Collector for Sums {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut all = String::new();
        text::encode(&mut all, &self.0)?;
        for (theirs, ours, help) in SUMS {
            let counter = ConstCounter::new(sum(&all, theirs));
            let metric = encoder.encode_descriptor(ours, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

/// The sum of the samples of a metric over all its labels.
fn sum(text: &str, name: &str) -> u64 {
    let samples = text.lines().filter_map(|line| line.strip_prefix(name));
    let samples = samples.filter(|rest| rest.starts_with([' ', '{']));
    samples.filter_map(|rest| rest.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use hailmesh_types::{Cell, GeoPoint, NetworkName, Resolution};
    use hailmesh_wire::Topic;
    use libp2p::gossipsub::IdentTopic;

    use super::*;
    use crate::config::GossipConfig;

    #[test]
    fn sums_are_shown_and_cells_are_not() {
        let network = NetworkName::default();
        let mut registry = Registry::default();
        let router = crate::gossip::behaviour(&network, &GossipConfig::default()).unwrap();
        let mut router = count(router, Some(&mut registry));
        let cell = Cell::at(GeoPoint::from_degrees(40.7580, -73.9855).unwrap(), Resolution::TOPIC);
        let topic = Topic::drivers(&network, cell);
        router.subscribe(&IdentTopic::new(topic.to_string())).unwrap();
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        for (_, ours, _) in SUMS {
            assert!(shown.contains(&format!("net_{ours}_total 0")), "{shown}");
        }
        assert!(!shown.contains("offers"), "{shown}");
    }

    #[test]
    fn samples_are_summed_over_topics() {
        let text = "a_total{hash=\"x\"} 5\na_total{hash=\"y\"} 7\na_total_more 9\nb_total 3\n";
        assert_eq!((sum(text, "a_total"), sum(text, "b_total"), sum(text, "c_total")), (12, 3, 0));
    }
}
