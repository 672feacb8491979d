//! Gossip (P13): the router and its settings, scores, and own messages that nobody
//! takes yet.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hailmesh_types::NetworkName;
use hailmesh_wire::{Topic, message_id};
use libp2p::PeerId;
use libp2p::gossipsub::{
    Behaviour, ConfigBuilder, IdentTopic, IdentityTransform, MaxCountSubscriptionFilter, Message,
    MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds, PublishError, TopicHash,
    TopicScoreParams, TopicSubscriptionFilter, ValidationMode,
};
use tokio::time::Instant;

use crate::config::{GossipConfig, SUBSCRIPTIONS_MAX, ScoreConfig};
use crate::event::{MessageToken, PublishOutcome};
use crate::keys::peer_key;
use crate::limits::Limits;

/// Prefix of the protocol: `/hailmesh/gossip/1.1.0` and `/hailmesh/gossip/1.0.0`.
pub(crate) const GOSSIP_PREFIX: &str = "/hailmesh/gossip";
/// Largest packet (P13.5). The limit is compared with a whole read buffer, so a small
/// one would close streams on coalesced small messages.
const PACKET_BYTES_MAX: usize = 65_536;
/// Subscriptions and their ends that a peer may send in one packet.
const SUBSCRIPTIONS_PER_PACKET_MAX: usize = 2 * SUBSCRIPTIONS_MAX;
/// Farthest from zero that the application's part of a score can be.
const GIVEN_SCORE_MAX: f64 = 10_000.0;
/// Scores that are remembered for peers that are gone.
const GIVEN_SCORES_MAX: usize = 1_000;

/// The router, with at most 64 topics of one network per peer.
pub(crate) type Gossip = Behaviour<IdentityTransform, MaxCountSubscriptionFilter<NetworkTopics>>;

/// Lets pass what is a topic of this network and nothing else (P13.1).
#[derive(Debug, Clone)]
pub(crate) struct NetworkTopics(NetworkName);

impl TopicSubscriptionFilter for NetworkTopics {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        parse(topic).is_some_and(|topic| *topic.network() == self.0)
    }
}

/// The router as P13.5 and P13.11 ask. The configuration has been validated.
///
/// # Errors
/// What libp2p finds wrong with it after all.
pub(crate) fn behaviour(network: &NetworkName, config: &GossipConfig) -> Result<Gossip, String> {
    let settings = ConfigBuilder::default()
        .protocol_id_prefix(GOSSIP_PREFIX)
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(id_of)
        .mesh_n(config.mesh)
        .mesh_n_low(config.mesh_low)
        .mesh_n_high(config.mesh_high)
        .mesh_outbound_min(config.mesh_outbound_min)
        .heartbeat_interval(config.heartbeat)
        .heartbeat_initial_delay(config.heartbeat_delay)
        .gossip_lazy(config.lazy)
        .gossip_factor(config.lazy_factor)
        .history_length(config.history)
        .history_gossip(config.history_told)
        .flood_publish(config.flood_publish)
        .connection_handler_queue_len(config.queue)
        .publish_queue_duration(config.publish_expiry)
        .forward_queue_duration(config.forward_expiry)
        .duplicate_cache_time(config.duplicate_cache)
        .max_transmit_size(PACKET_BYTES_MAX)
        .max_publish_messages(config.messages_per_packet)
        .max_control_messages_sent(config.ids_per_packet)
        .build()
        .map_err(|error| error.to_string())?;
    let filter = MaxCountSubscriptionFilter {
        filter: NetworkTopics(network.clone()),
        max_subscribed_topics: SUBSCRIPTIONS_MAX,
        max_subscriptions_per_request: SUBSCRIPTIONS_PER_PACKET_MAX,
    };
    let mut router: Gossip =
        Behaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, settings, filter)?;
    router.with_peer_score(score_params(&config.score), thresholds(&config.score))?;
    Ok(router)
}

fn id_of(message: &Message) -> MessageId {
    MessageId::from(message_id(message.topic.as_str(), &message.data).to_vec())
}

fn score_params(score: &ScoreConfig) -> PeerScoreParams {
    PeerScoreParams {
        topic_score_cap: 0.0,
        app_specific_weight: 1.0,
        // Its list of exempt addresses takes single addresses only, private ranges are
        // none: `Scores` does it instead.
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: score.misbehaviour,
        behaviour_penalty_threshold: score.misbehaviour_above,
        behaviour_penalty_decay: 0.9,
        decay_to_zero: 0.01,
        ..PeerScoreParams::default()
    }
}

fn thresholds(score: &ScoreConfig) -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: score.gossip_threshold,
        publish_threshold: score.publish_threshold,
        graylist_threshold: score.graylist_threshold,
        opportunistic_graft_threshold: score.graft_threshold,
        ..PeerScoreThresholds::default()
    }
}

/// The parameters of each of `topics` topics. The two terms that count deliveries in
/// the mesh are off: quiet cells would punish honest peers.
fn topic_params(score: &ScoreConfig, topics: usize) -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0 / topics.max(1) as f64,
        time_in_mesh_weight: score.time_in_mesh,
        time_in_mesh_quantum: Duration::from_secs(1),
        // libp2p caps the seconds, the configuration the points.
        time_in_mesh_cap: if score.time_in_mesh > 0.0 {
            score.time_in_mesh_cap / score.time_in_mesh
        } else {
            1.0
        },
        first_message_deliveries_weight: score.first_delivery,
        first_message_deliveries_decay: score.first_delivery_decay,
        first_message_deliveries_cap: score.first_delivery_cap,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: score.invalid,
        invalid_message_deliveries_decay: score.invalid_decay,
        ..TopicScoreParams::default()
    }
}

/// Sets the score parameters of every subscribed topic, whose number has just changed.
/// Topics without parameters are not scored.
pub(crate) fn weigh_topics(router: &mut Gossip, topics: &BTreeMap<Topic, TopicHash>, score: &ScoreConfig) {
    for topic in topics.keys() {
        let set = router.set_topic_params(ident(topic), topic_params(score, topics.len()));
        debug_assert!(set.is_ok(), "peer scores are on");
    }
}

/// The topic as libp2p takes it.
pub(crate) fn ident(topic: &Topic) -> IdentTopic {
    IdentTopic::new(topic.to_string())
}

/// The topic that libp2p names.
pub(crate) fn parse(topic: &TopicHash) -> Option<Topic> {
    topic.as_str().parse().ok()
}

/// Connected peers that are in a topic.
pub(crate) fn peers_in(router: &Gossip, topic: &Topic) -> usize {
    let hash = ident(topic).hash();
    router.all_peers().filter(|(_, topics)| topics.contains(&&hash)).count()
}

/// How the node names a message from `source`.
pub(crate) fn token(id: &MessageId, source: &PeerId) -> Option<MessageToken> {
    Some(MessageToken { id: id.0.as_slice().try_into().ok()?, source: peer_key(source)? })
}

/// Publishes.
pub(crate) fn publish(router: &mut Gossip, topic: &Topic, data: Vec<u8>) -> PublishOutcome {
    match router.publish(ident(topic), data) {
        Ok(_) => PublishOutcome::Sent,
        Err(PublishError::Duplicate) => PublishOutcome::Duplicate,
        Err(PublishError::NoPeersSubscribedToTopic) => PublishOutcome::Kept,
        Err(PublishError::AllQueuesFull(_)) => PublishOutcome::Dropped,
        Err(
            PublishError::MessageTooLarge | PublishError::SigningError(_) | PublishError::TransformFailed(_),
        ) => PublishOutcome::Refused,
    }
}

/// Own messages for topics that nobody is subscribed to: the latest few per topic.
#[derive(Debug)]
pub(crate) struct Unsent {
    per_topic: usize,
    keep: Duration,
    topics: BTreeMap<Topic, VecDeque<(Instant, Vec<u8>)>>,
}

impl Unsent {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { per_topic: limits.unsent_per_topic, keep: limits.unsent, topics: BTreeMap::new() }
    }

    /// Keeps a message; the oldest makes room.
    pub(crate) fn keep(&mut self, topic: Topic, data: Vec<u8>, now: Instant) {
        if !self.topics.contains_key(&topic) && self.topics.len() >= SUBSCRIPTIONS_MAX {
            return;
        }
        let messages = self.topics.entry(topic).or_default();
        if messages.iter().any(|(_, kept)| *kept == data) {
            return;
        }
        if messages.len() >= self.per_topic {
            messages.pop_front();
        }
        messages.push_back((now, data));
    }

    /// Takes what is kept for `topic` and still of use, the oldest first.
    pub(crate) fn take(&mut self, topic: &Topic, now: Instant) -> Vec<Vec<u8>> {
        let messages = self.topics.remove(topic).unwrap_or_default();
        let fresh = messages.into_iter().filter(|(since, _)| *since + self.keep > now);
        fresh.map(|(_, data)| data).collect()
    }

    /// Drops what has become too old.
    pub(crate) fn expire(&mut self, now: Instant) {
        for messages in self.topics.values_mut() {
            messages.retain(|(since, _)| *since + self.keep > now);
        }
        self.topics.retain(|_, messages| !messages.is_empty());
    }
}

/// The application's part of each peer's score: what the node gave, the bonus of
/// bootstrap peers, and the penalty for a shared address (P13.11).
#[derive(Debug, Default)]
pub(crate) struct Scores {
    given: BTreeMap<PeerId, f64>,
}

impl Scores {
    /// Notes what the node gives. `connected` tells whose entry must not be evicted.
    pub(crate) fn give(&mut self, peer: PeerId, score: f64, connected: impl Fn(&PeerId) -> bool) {
        if score.is_nan() {
            return;
        }
        if score == 0.0 {
            self.given.remove(&peer);
            return;
        }
        self.given.insert(peer, score.clamp(-GIVEN_SCORE_MAX, GIVEN_SCORE_MAX));
        if self.given.len() > GIVEN_SCORES_MAX {
            let gone = self.given.keys().find(|given| **given != peer && !connected(given)).copied();
            if let Some(gone) = gone {
                self.given.remove(&gone);
            }
        }
    }

    /// The score of `peer`, with `sharing` connections at its address.
    pub(crate) fn of(&self, peer: &PeerId, bootstrap: bool, sharing: u32, score: &ScoreConfig) -> f64 {
        let given = self.given.get(peer).copied().unwrap_or(0.0);
        let bonus = if bootstrap { score.bootstrap } else { 0.0 };
        let surplus = f64::from(sharing.saturating_sub(score.shared_address_above));
        given + bonus + score.shared_address * surplus * surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(network: &str) -> Topic {
        Topic::evidence(&network.parse().unwrap())
    }

    #[test]
    fn the_defaults_suit_libp2p() {
        let network = NetworkName::default();
        assert!(behaviour(&network, &GossipConfig::default()).is_ok());
        assert!(topic_params(&ScoreConfig::default(), 19).validate().is_ok());
        let off =
            ScoreConfig { time_in_mesh: 0.0, first_delivery: 0.0, invalid: 0.0, ..ScoreConfig::default() };
        assert!(topic_params(&off, 0).validate().is_ok());
    }

    #[test]
    fn topics_of_others_are_filtered() {
        let mut filter = NetworkTopics("main".parse().unwrap());
        assert!(filter.can_subscribe(&ident(&topic("main")).hash()));
        for other in ["/hailmesh/1/other/evidence", "/hailmesh/1/main/chat", "blocks", ""] {
            assert!(!filter.can_subscribe(&TopicHash::from_raw(other)), "{other}");
        }
    }

    #[test]
    fn the_latest_unsent_messages_are_kept_for_a_while() {
        let limits = Limits::default();
        let mut unsent = Unsent::new(&limits);
        let now = Instant::now();
        for n in 0..6 {
            unsent.keep(topic("main"), vec![n], now);
            unsent.keep(topic("main"), vec![n], now);
        }
        assert_eq!(unsent.take(&topic("main"), now), [[2], [3], [4], [5]]);
        assert!(unsent.take(&topic("main"), now).is_empty());
        unsent.keep(topic("main"), vec![1], now);
        assert!(unsent.take(&topic("main"), now + limits.unsent).is_empty());
        unsent.keep(topic("main"), vec![1], now);
        unsent.expire(now + limits.unsent);
        assert!(unsent.topics.is_empty());
    }

    #[test]
    fn scores_add_up_and_are_bounded() {
        let config = ScoreConfig::default();
        let mut scores = Scores::default();
        let peer = PeerId::random();
        scores.give(peer, -20.0, |_| true);
        assert_eq!(scores.of(&peer, true, 34, &config), -20.0 + 20.0 - 20.0);
        scores.give(peer, f64::NAN, |_| true);
        assert_eq!(scores.of(&peer, false, 0, &config), -20.0);
        for _ in 0..2 * GIVEN_SCORES_MAX {
            scores.give(PeerId::random(), 1.0, |given| *given == peer);
        }
        assert_eq!(scores.given.len(), GIVEN_SCORES_MAX);
        assert!(scores.given.contains_key(&peer));
    }
}
