//! Configuration, and what of it is possible.

use std::fmt;
use std::time::Duration;

use hailmesh_types::{NetworkName, PeerKey};
use hailmesh_wire::limits::TOPICS_MAX;
use libp2p::Multiaddr;

use crate::address::{self, Carrier};
use crate::keys::peer_key;
use crate::limits::Limits;
use crate::tap::Tap;

/// Everything that can be chosen about the network of a node.
#[derive(Debug, Clone)]
pub struct Config {
    /// The network to be in; peers of others are told apart and disconnected.
    pub network: NetworkName,
    /// Where to listen: `/ip4|ip6/…/udp/…/quic-v1`, `/ip4|ip6/…/tcp/…`, and for tests
    /// and demonstrations inside one process `/memory/…`. Port 0 is any free port.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which others reach this node though it does not listen on them,
    /// behind a forwarded port for instance. They come first in offers.
    pub external: Vec<Multiaddr>,
    /// Whether others are told the addresses of `listen`, too. Without it `external` is all
    /// that offers and peers learn.
    pub tell_listeners: bool,
    /// Where to look for the network; `/p2p/<peer>` at the end pins who must answer.
    pub bootstrap: Vec<Multiaddr>,
    /// Peers of earlier runs, the best first.
    pub remembered: Vec<(PeerKey, Multiaddr)>,
    /// Whether to look for peers on the local network, and be found there.
    pub mdns: bool,
    /// Gossip.
    pub gossip: GossipConfig,
    /// Looking for peers.
    pub discovery: DiscoveryConfig,
    /// What strangers get.
    pub limits: Limits,
    /// Who sees gossip and frames pass, for measurements.
    pub tap: Option<Tap>,
}

impl Default for Config {
    fn default() -> Self {
        let listen = ["/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0"];
        Self {
            network: NetworkName::default(),
            listen: listen.into_iter().map(|addr| addr.parse().expect("a valid address")).collect(),
            external: Vec::new(),
            tell_listeners: true,
            bootstrap: Vec::new(),
            remembered: Vec::new(),
            mdns: true,
            gossip: GossipConfig::default(),
            discovery: DiscoveryConfig::default(),
            limits: Limits::default(),
            tap: None,
        }
    }
}

/// How peers are looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoveryConfig {
    /// While fewer peers than this are connected, remembered ones are dialled.
    pub peers_wanted: usize,
    /// Pause before a failed address is dialled again; doubled at each failure.
    pub redial_min: Duration,
    /// Longest such pause.
    pub redial_max: Duration,
    /// Dials of this kind at a time; exchanges need some of `limits.pending_outbound`.
    pub dials: usize,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            peers_wanted: 4,
            redial_min: Duration::from_secs(1),
            redial_max: Duration::from_secs(60),
            dials: 8,
        }
    }
}

/// Gossip (P13.5). The defaults are the protocol's.
#[derive(Debug, Clone, PartialEq)]
pub struct GossipConfig {
    /// Peers per topic that messages are exchanged with directly (D).
    pub mesh: usize,
    /// Fewer than this: more are taken.
    pub mesh_low: usize,
    /// More than this: some are let go.
    pub mesh_high: usize,
    /// At least so many of them were dialled by this node, against eclipse.
    pub mesh_outbound_min: usize,
    /// Time between two rounds of mesh upkeep.
    pub heartbeat: Duration,
    /// Time before the first.
    pub heartbeat_delay: Duration,
    /// Least number of other peers that are told ids of messages each round.
    pub lazy: usize,
    /// Share of the other peers that are told, 0 to 1.
    pub lazy_factor: f64,
    /// Rounds for which a message is kept, awaiting a verdict or a question for it.
    pub history: usize,
    /// Rounds for which its id is told.
    pub history_told: usize,
    /// Whether own messages go to every subscribed peer.
    pub flood_publish: bool,
    /// Messages that wait for one peer.
    pub queue: usize,
    /// An own message that waited longer for a peer is dropped.
    pub publish_expiry: Duration,
    /// A forwarded one likewise.
    pub forward_expiry: Duration,
    /// How long an id is known as seen; at least 180 s (P13.5).
    pub duplicate_cache: Duration,
    /// Messages taken from one packet of a peer.
    pub messages_per_packet: usize,
    /// Ids told or asked for in one packet.
    pub ids_per_packet: usize,
    /// Scores of peers.
    pub score: ScoreConfig,
}

impl Default for GossipConfig {
    fn default() -> Self {
        Self {
            mesh: 6,
            mesh_low: 4,
            mesh_high: 10,
            mesh_outbound_min: 3,
            heartbeat: Duration::from_millis(700),
            heartbeat_delay: Duration::from_millis(500),
            lazy: 3,
            lazy_factor: 0.1,
            history: 6,
            history_told: 2,
            flood_publish: true,
            queue: 1_000,
            publish_expiry: Duration::from_secs(2),
            forward_expiry: Duration::from_millis(500),
            duplicate_cache: Duration::from_secs(180),
            messages_per_packet: 500,
            ids_per_packet: 600,
            score: ScoreConfig::default(),
        }
    }
}

/// How peers are scored (P13.11). A filter, not a proof.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreConfig {
    /// Points per second in a mesh.
    pub time_in_mesh: f64,
    /// Most points from that, per topic.
    pub time_in_mesh_cap: f64,
    /// Points for being the first to deliver a message.
    pub first_delivery: f64,
    /// What is left of them after a second, 0 to 1.
    pub first_delivery_decay: f64,
    /// Most points from that, per topic.
    pub first_delivery_cap: f64,
    /// Points, at most 0, times the square of the number of rejected messages.
    pub invalid: f64,
    /// What is left of that number after a second, 0 to 1.
    pub invalid_decay: f64,
    /// Points, at most 0, times the square of the connections above the next value that
    /// share one public address.
    pub shared_address: f64,
    /// Connections that may share one.
    pub shared_address_above: u32,
    /// Points, at most 0, times the square of breaches of the gossip protocol above the
    /// next value.
    pub misbehaviour: f64,
    /// Breaches that are overlooked.
    pub misbehaviour_above: f64,
    /// Points for a bootstrap peer.
    pub bootstrap: f64,
    /// Below this score no gossip is exchanged; at most 0.
    pub gossip_threshold: f64,
    /// Below this no own messages are sent; at most the above.
    pub publish_threshold: f64,
    /// Below this the peer is ignored; at most the above.
    pub graylist_threshold: f64,
    /// While the middle score of a mesh is below this, better peers are added; at
    /// least 0.
    pub graft_threshold: f64,
}

impl Default for ScoreConfig {
    fn default() -> Self {
        Self {
            time_in_mesh: 0.01,
            time_in_mesh_cap: 10.0,
            first_delivery: 1.0,
            first_delivery_decay: 0.99,
            first_delivery_cap: 20.0,
            invalid: -100.0,
            invalid_decay: 0.997,
            shared_address: -5.0,
            shared_address_above: 32,
            misbehaviour: -10.0,
            misbehaviour_above: 6.0,
            bootstrap: 20.0,
            gossip_threshold: -200.0,
            publish_threshold: -500.0,
            graylist_threshold: -1_000.0,
            graft_threshold: 2.0,
        }
    }
}

/// A value that is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: expected {allowed}")]
pub struct ConfigError {
    /// The field, as `gossip.mesh`.
    pub key: &'static str,
    /// What it holds.
    pub value: String,
    /// What it may hold.
    pub allowed: &'static str,
}

impl Config {
    /// Checks every value. libp2p itself checks few of them: mesh sizes out of order,
    /// for one, pass its builder unseen.
    ///
    /// # Errors
    /// The first impossible value, with its key and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_addresses()?;
        self.gossip.validate()?;
        self.gossip.score.validate()?;
        self.discovery.validate(&self.limits)?;
        self.limits.validate()
    }

    fn validate_addresses(&self) -> Result<(), ConfigError> {
        const LISTEN: &str =
            "/ip4|ip6/<address>/udp/<port>/quic-v1, /ip4|ip6/<address>/tcp/<port> or /memory/<port>";
        const DIAL: &str =
            "/ip4|ip6|dns/<host>/udp/<port>/quic-v1 or /…/tcp/<port>, then at most /p2p/<Ed25519 peer>";
        for addr in &self.listen {
            let local = address::ip(addr).is_some() || address::carrier(addr) == Some(Carrier::Memory);
            let bare = address::split_peer(addr).1.is_none();
            check("listen", addr, LISTEN, local && bare && address::carrier(addr).is_some())?;
        }
        let dialable = |addr: &Multiaddr| {
            let (bare, peer) = address::split_peer(addr);
            address::dialable(&bare, true) && peer.is_none_or(|peer| peer_key(&peer).is_some())
        };
        for addr in &self.external {
            check("external", addr, DIAL, dialable(addr))?;
        }
        for addr in &self.bootstrap {
            check("bootstrap", addr, DIAL, dialable(addr))?;
        }
        Ok(())
    }
}

impl GossipConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        const MESH: &str =
            "mesh_outbound_min <= mesh_low <= mesh <= mesh_high <= 64 and mesh_outbound_min <= mesh / 2";
        let ordered = self.mesh_outbound_min <= self.mesh_low
            && self.mesh_low <= self.mesh
            && self.mesh <= self.mesh_high
            && self.mesh_high <= 64
            && self.mesh > 0;
        let mesh = format!("{}/{}/{}/{}", self.mesh_outbound_min, self.mesh_low, self.mesh, self.mesh_high);
        check("gossip.mesh", mesh, MESH, ordered && 2 * self.mesh_outbound_min <= self.mesh)?;
        within("gossip.heartbeat", self.heartbeat, 100, 60_000, "100 ms to 60 s")?;
        within("gossip.heartbeat_delay", self.heartbeat_delay, 0, 60_000, "0 to 60 s")?;
        check("gossip.lazy", self.lazy, "0 to 64", self.lazy <= 64)?;
        check("gossip.lazy_factor", self.lazy_factor, "0 to 1", (0.0..=1.0).contains(&self.lazy_factor))?;
        let history = self.history > 0 && self.history <= 100;
        check("gossip.history", self.history, "1 to 100 rounds", history)?;
        let told = self.history_told <= self.history;
        check("gossip.history_told", self.history_told, "at most gossip.history", told)?;
        check("gossip.queue", self.queue, "16 to 100000", (16..=100_000).contains(&self.queue))?;
        within("gossip.publish_expiry", self.publish_expiry, 1, 60_000, "1 ms to 60 s")?;
        within("gossip.forward_expiry", self.forward_expiry, 1, 60_000, "1 ms to 60 s")?;
        within("gossip.duplicate_cache", self.duplicate_cache, 180_000, 3_600_000, "180 s to 1 h (P13.5)")?;
        let messages = self.messages_per_packet;
        check("gossip.messages_per_packet", messages, "1 to 5000", (1..=5_000).contains(&messages))?;
        // 16,384 bytes of control messages close the stream at the receiver, and an id
        // takes about 18.
        let ids = self.ids_per_packet;
        check("gossip.ids_per_packet", ids, "1 to 800", (1..=800).contains(&ids))
    }
}

impl ScoreConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        const REWARD: &str = "a number from 0 to 1000000";
        const CAP: &str = "a number above 0, at most 1000000";
        const PENALTY: &str = "a number from -1000000 to 0";
        const DECAY: &str = "above 0 and below 1";
        let reward = |value: f64| (0.0..=1e6).contains(&value);
        let cap = |value: f64| value > 0.0 && value <= 1e6;
        let penalty = |value: f64| (-1e6..=0.0).contains(&value);
        let decay = |value: f64| value > 0.0 && value < 1.0;
        check("gossip.score.time_in_mesh", self.time_in_mesh, REWARD, reward(self.time_in_mesh))?;
        check("gossip.score.time_in_mesh_cap", self.time_in_mesh_cap, CAP, cap(self.time_in_mesh_cap))?;
        check("gossip.score.first_delivery", self.first_delivery, REWARD, reward(self.first_delivery))?;
        let fades = decay(self.first_delivery_decay);
        check("gossip.score.first_delivery_decay", self.first_delivery_decay, DECAY, fades)?;
        check("gossip.score.first_delivery_cap", self.first_delivery_cap, CAP, cap(self.first_delivery_cap))?;
        check("gossip.score.invalid", self.invalid, PENALTY, penalty(self.invalid))?;
        check("gossip.score.invalid_decay", self.invalid_decay, DECAY, decay(self.invalid_decay))?;
        check("gossip.score.shared_address", self.shared_address, PENALTY, penalty(self.shared_address))?;
        check("gossip.score.misbehaviour", self.misbehaviour, PENALTY, penalty(self.misbehaviour))?;
        let above = self.misbehaviour_above;
        check("gossip.score.misbehaviour_above", above, REWARD, reward(above))?;
        check("gossip.score.bootstrap", self.bootstrap, REWARD, reward(self.bootstrap))?;
        check("gossip.score.graft_threshold", self.graft_threshold, REWARD, reward(self.graft_threshold))?;
        let (gossip, publish, graylist) =
            (self.gossip_threshold, self.publish_threshold, self.graylist_threshold);
        check("gossip.score.gossip_threshold", gossip, PENALTY, penalty(gossip))?;
        let ordered = penalty(publish) && publish <= gossip;
        check("gossip.score.publish_threshold", publish, "at most gossip_threshold", ordered)?;
        let ordered = penalty(graylist) && graylist <= publish;
        check("gossip.score.graylist_threshold", graylist, "at most publish_threshold", ordered)
    }
}

impl DiscoveryConfig {
    fn validate(&self, limits: &Limits) -> Result<(), ConfigError> {
        let wanted = self.peers_wanted;
        let room = wanted <= limits.connections as usize;
        check("discovery.peers_wanted", wanted, "at most limits.connections", room)?;
        within("discovery.redial_min", self.redial_min, 10, 3_600_000, "10 ms to 1 h")?;
        let ordered = self.redial_min <= self.redial_max && self.redial_max <= Duration::from_secs(3_600);
        check("discovery.redial_max", Millis(self.redial_max), "discovery.redial_min to 1 h", ordered)?;
        let dials = self.dials > 0 && self.dials <= limits.pending_outbound as usize;
        check("discovery.dials", self.dials, "1 to limits.pending_outbound", dials)
    }
}

impl Limits {
    fn validate(&self) -> Result<(), ConfigError> {
        let count = |value: usize, max: usize| (1..=max).contains(&value);
        const CONNECTIONS: &str = "1 to 65536";
        for (key, value) in [
            ("limits.connections", self.connections),
            ("limits.pending_inbound", self.pending_inbound),
            ("limits.pending_outbound", self.pending_outbound),
            ("limits.per_peer", self.per_peer),
            ("limits.per_address", self.per_address),
        ] {
            check(key, value, CONNECTIONS, count(value as usize, 65_536))?;
        }
        let inbound = self.connections_inbound;
        let room = inbound <= self.connections;
        check("limits.connections_inbound", inbound, "at most limits.connections", room)?;
        if let Some(bytes) = self.memory_bytes {
            check("limits.memory_bytes", bytes, "at least 67108864, or none", bytes >= 64 << 20)?;
        }
        within("limits.idle", self.idle, 10_000, 86_400_000, "10 s to 24 h")?;
        for (key, value) in [
            ("limits.streams", self.streams),
            ("limits.exchanges_per_peer", self.exchanges_per_peer),
            ("limits.exchanges_waiting", self.exchanges_waiting),
            ("limits.exchanges", self.exchanges),
            ("limits.remembered", self.remembered),
            ("limits.remembered_per_prefix", self.remembered_per_prefix),
            ("limits.unsent_per_topic", self.unsent_per_topic),
            ("limits.commands", self.commands),
            ("limits.events", self.events),
        ] {
            check(key, value, "1 to 65536", count(value, 65_536))?;
        }
        let streams = self.exchanges_per_peer <= self.streams;
        check("limits.exchanges_per_peer", self.exchanges_per_peer, "at most limits.streams", streams)?;
        within("limits.exchange", self.exchange, 100, 120_000, "100 ms to 2 min")?;
        within("limits.frame_read", self.frame_read, 100, 60_000, "100 ms to 1 min")?;
        within("limits.unsent", self.unsent, 0, 3_600_000, "0 to 1 h")
    }
}

/// Most topics that this node and each of its peers may be subscribed to (P13.2).
pub(crate) const SUBSCRIPTIONS_MAX: usize = TOPICS_MAX;

struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0.as_millis())
    }
}

fn within(
    key: &'static str,
    value: Duration,
    min_ms: u64,
    max_ms: u64,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    let possible = value >= Duration::from_millis(min_ms) && value <= Duration::from_millis(max_ms);
    check(key, Millis(value), allowed, possible)
}

fn check(
    key: &'static str,
    value: impl fmt::Display,
    allowed: &'static str,
    possible: bool,
) -> Result<(), ConfigError> {
    if possible { Ok(()) } else { Err(ConfigError { key, value: value.to_string(), allowed }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_possible() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn mesh_sizes_out_of_order_are_named() {
        let mut config = Config::default();
        config.gossip.mesh_low = 7;
        let error = config.validate().unwrap_err();
        assert_eq!((error.key, error.value.as_str()), ("gossip.mesh", "3/7/6/10"));
        config.gossip.mesh_low = 4;
        config.gossip.mesh = 5;
        assert_eq!(config.validate().unwrap_err().key, "gossip.mesh");
    }

    #[test]
    fn addresses_are_checked() {
        let with = |listen: &str, bootstrap: &str| Config {
            listen: vec![listen.parse().unwrap()],
            bootstrap: vec![bootstrap.parse().unwrap()],
            ..Config::default()
        };
        let good = "/dns4/boot.example/tcp/4001";
        assert_eq!(with("/ip4/0.0.0.0/tcp/0", good).validate(), Ok(()));
        assert_eq!(with("/ip4/0.0.0.0/udp/0", good).validate().unwrap_err().key, "listen");
        assert_eq!(with("/dns/me.example/tcp/1", good).validate().unwrap_err().key, "listen");
        let error = with("/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/tcp/1").validate().unwrap_err();
        assert_eq!((error.key, error.value.as_str()), ("bootstrap", "/ip4/0.0.0.0/tcp/1"));
    }

    #[test]
    fn numbers_are_checked() {
        let mut config = Config::default();
        config.gossip.score.invalid = f64::NAN;
        assert_eq!(config.validate().unwrap_err().key, "gossip.score.invalid");
        let mut config = Config::default();
        config.limits.frame_read = Duration::ZERO;
        let error = config.validate().unwrap_err();
        assert_eq!(error.to_string(), "limits.frame_read = 0 ms: expected 100 ms to 1 min");
    }
}
