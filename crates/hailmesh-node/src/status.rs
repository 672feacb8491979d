//! How a node is, and what to do when it sees nobody.

use std::collections::{BTreeMap, BTreeSet};

use hailmesh_market::admission::Stop;
use hailmesh_market::{Role, Snapshot};
use hailmesh_net::{Multiaddr, PeerId};
use hailmesh_types::{NetworkName, PublicKey, Timestamp};

/// Something that is wrong with this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// When it was noticed.
    pub at: Timestamp,
    /// What is wrong.
    pub what: String,
    /// What can be done about it.
    pub hint: String,
}

/// A node at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeStatus {
    /// Version of the program.
    pub version: &'static str,
    /// Driver, rider, or neither: a relay.
    pub role: Option<Role>,
    /// The network it is in.
    pub network: NetworkName,
    /// Its transport identity as libp2p writes it.
    pub peer_id: PeerId,
    /// The key that signs now, if any.
    pub key: Option<PublicKey>,
    /// Where it listens, one address for each interface.
    pub listen: Vec<Multiaddr>,
    /// Where others are told to reach it, at most three.
    pub addresses: Vec<Multiaddr>,
    /// From how far away those can be reached, as far as the addresses tell: `nowhere`,
    /// `this machine`, `this network`, `public address`.
    pub reachability: &'static str,
    /// Peers connected.
    pub peers: usize,
    /// Of those, how many gossip is exchanged with directly.
    pub mesh_peers: usize,
    /// For how long there has been a peer without a break.
    pub connected_ms: Option<u64>,
    /// Since the start of the process.
    pub uptime_ms: u64,
    /// The marketplace.
    pub snapshot: Snapshot,
    /// What keeps the journal: `memory`, `sqlite`, `postgres`.
    pub store: &'static str,
    /// Whether it can; when not, nothing is signed.
    pub store_healthy: bool,
    /// What others can link through the transport identity.
    pub transport_note: Option<String>,
    /// What last went wrong.
    pub last_error: Option<Problem>,
    /// What to do, most important first; empty when all is well.
    pub hints: Vec<String>,
}

/// What riders are told of their transport identity (P3.1).
pub(crate) const TRANSPORT_NOTE: &str =
    "one transport identity serves this whole run: peers can link the rides of one run with each other";

/// From how far away the best of these addresses can be reached, as far as
/// they tell: whether a router lets anybody in is not known.
pub(crate) fn reachability(addresses: &[Multiaddr]) -> &'static str {
    let reach = |address: &Multiaddr| {
        let text = address.to_string();
        let ip = text.split('/').nth(2).and_then(|host| host.parse::<std::net::IpAddr>().ok());
        match ip.map(|ip| ip.to_canonical()) {
            None if text.starts_with("/memory/") => 0,
            Some(ip) if ip.is_loopback() => 0,
            Some(std::net::IpAddr::V4(v4)) if v4.is_private() || v4.is_link_local() || is_shared(v4) => 1,
            Some(std::net::IpAddr::V6(v6)) if v6.is_unique_local() || v6.is_unicast_link_local() => 1,
            _ => 2,
        }
    };
    match addresses.iter().map(reach).max() {
        None => "nowhere",
        Some(0) => "this machine",
        Some(1) => "this network",
        Some(_) => "public address",
    }
}

/// The range that carriers share between customers (RFC 6598).
const fn is_shared(ip: std::net::Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 100 && b >= 64 && b < 128
}

/// What the network has shown since the start, as far as it helps to explain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Configured bootstrap addresses that do not answer now, with the reason.
    pub(crate) bootstrap_failed: BTreeMap<String, String>,
    /// Networks that other peers spoke for.
    pub(crate) other_networks: BTreeSet<String>,
}

/// Names of other networks that are remembered.
const OTHER_NETWORKS_MAX: usize = 16;

impl Seen {
    pub(crate) fn other_network(&mut self, theirs: String) {
        if self.other_networks.len() < OTHER_NETWORKS_MAX {
            self.other_networks.insert(theirs);
        }
    }
}

/// What hints are made of.
pub(crate) struct Scene<'a> {
    pub(crate) network: &'a NetworkName,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) seen: &'a Seen,
    pub(crate) peers: usize,
    pub(crate) mesh_peers: usize,
    pub(crate) bootstrap: usize,
    pub(crate) mdns: bool,
    pub(crate) issuers: usize,
    pub(crate) positioned: bool,
    pub(crate) now: Timestamp,
}

/// Admission steps that stop offers whose time is not now (P13.7 step 8).
const STEPS_TIME: [Stop; 2] = [Stop::Future, Stop::Stale];

/// Why nobody may be there, and what to do (interface: `status` explains itself).
pub(crate) fn hints(scene: &Scene<'_>) -> Vec<String> {
    let mut hints = Vec::new();
    let snapshot = scene.snapshot;
    if let Some(why) = snapshot.halted {
        hints.push(format!("nothing is signed: {why}; see the last error"));
    }
    if scene.peers == 0 {
        no_peers(scene, &mut hints);
    } else if snapshot.topics > 0 && scene.mesh_peers == 0 {
        hints.push(format!(
            "{} connected, but none exchanges gossip with this node yet: that takes a few seconds, and peers \
             far away never do",
            count(scene.peers, "peer")
        ));
    }
    if !scene.seen.other_networks.is_empty() {
        let names: Vec<&str> = scene.seen.other_networks.iter().map(String::as_str).collect();
        hints.push(format!(
            "peers of other networks were met and left ({}); this node is in {}: use the same --network on all",
            names.join(", "),
            scene.network
        ));
    }
    refused(snapshot, &mut hints);
    if 2 * snapshot.late > snapshot.accepted {
        hints.push(format!(
            "offers come more than 30 s after they were made ({} of {}): your clock or theirs is off, and nobody \
             agrees on such terms; set it with NTP",
            snapshot.late, snapshot.accepted,
        ));
    }
    if snapshot.role == Some(Role::Driver) && !scene.positioned {
        hints.push(
            "no position is set, so nothing is offered: start with --at LAT,LON or PUT /v1/position"
                .to_owned(),
        );
    }
    if snapshot.away {
        let (whose, why) = match (snapshot.role, snapshot.state) {
            (Some(Role::Driver), "free" | "held") => ("of other drivers", "many cars are free"),
            _ => ("of others", "a ride is under way"),
        };
        hints.push(format!(
            "offers {whose} are not listened to for a while, since {why}: few are known here, and the own offer is \
             heard all the same"
        ));
    }
    let quiet = snapshot.last_offer.is_none_or(|at| scene.now.millis_since(at) > 120_000);
    if scene.peers > 0 && snapshot.topics > 0 && snapshot.heard == 0 && quiet && !snapshot.away {
        hints.push(
            "no offer was heard: nobody offers near this position, or nobody who does is connected"
                .to_owned(),
        );
    }
    if snapshot.role.is_some() && scene.issuers == 0 {
        hints.push(
            "no issuers are configured: everybody counts as uncredentialed (P16.5); set network.issuers to trust \
             credentials"
                .to_owned(),
        );
    }
    hints
}

fn no_peers(scene: &Scene<'_>, hints: &mut Vec<String>) {
    for (address, reason) in &scene.seen.bootstrap_failed {
        hints.push(format!(
            "bootstrap address {address} does not answer ({reason}): check that the node there runs"
        ));
    }
    if scene.bootstrap == 0 && !scene.mdns {
        hints.push(
            "no way into the network: mDNS is off and no bootstrap address is set; run `hailmesh invite` on \
             another node and pass the line with --bootstrap"
                .to_owned(),
        );
    } else if scene.bootstrap == 0 {
        hints.push(
            "no peer found on the local network: run `hailmesh invite` on a node elsewhere and pass the line with \
             --bootstrap"
                .to_owned(),
        );
    } else if scene.seen.bootstrap_failed.is_empty() {
        hints.push("no peer is connected yet: the bootstrap addresses are being dialled".to_owned());
    }
}

/// Offers came, and none was let in.
fn refused(snapshot: &Snapshot, hints: &mut Vec<String>) {
    let stopped: u64 = snapshot.stopped.values().sum();
    if snapshot.heard == 0 || stopped < snapshot.heard {
        return;
    }
    let by_step: Vec<String> = snapshot.stopped.iter().map(|(step, n)| format!("{step} {n}")).collect();
    hints.push(format!(
        "{} heard and all were refused, by reason: {}",
        count(usize::try_from(snapshot.heard).unwrap_or(usize::MAX), "offer"),
        by_step.join(", ")
    ));
    let of_time: u64 = STEPS_TIME.iter().filter_map(|step| snapshot.stopped.get(step.name())).sum();
    if 2 * of_time >= stopped {
        hints.push(
            "most of them are from another time: your clock or theirs is off by more than 30 s; set it with NTP"
                .to_owned(),
        );
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use hailmesh_types::PeerKey;

    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            role: Some(Role::Rider),
            key: None,
            peer: PeerKey::from_bytes([1; 32]),
            cell: None,
            state: "idle",
            slot: 0,
            offer: None,
            drivers: 0,
            riders: 0,
            heard: 0,
            stopped: BTreeMap::new(),
            late: 0,
            accepted: 0,
            last_offer: None,
            topics: 8,
            away: false,
            peers: 0,
            outbox: 0,
            bans: 0,
            evidence: 0,
            open_rides: 0,
            started: Timestamp::MIN,
            halted: None,
        }
    }

    fn told(snapshot: &Snapshot, seen: &Seen, peers: usize, change: impl FnOnce(&mut Scene<'_>)) -> String {
        let network = NetworkName::default();
        let mut scene = Scene {
            network: &network,
            snapshot,
            seen,
            peers,
            mesh_peers: peers,
            bootstrap: 0,
            mdns: true,
            issuers: 1,
            positioned: true,
            now: Timestamp::MIN,
        };
        change(&mut scene);
        hints(&scene).join("\n")
    }

    #[test]
    fn an_empty_neighbourhood_explains_itself() {
        let (snapshot, mut seen) = (snapshot(), Seen::default());
        assert!(told(&snapshot, &seen, 0, |scene| scene.mdns = false).contains("mDNS is off"));
        assert!(told(&snapshot, &seen, 0, |scene| scene.bootstrap = 1).contains("being dialled"));
        assert!(told(&snapshot, &seen, 2, |scene| scene.mesh_peers = 0).contains("none exchanges gossip"));
        seen.bootstrap_failed.insert("/ip4/192.0.2.1/tcp/4001".to_owned(), "refused".to_owned());
        let text = told(&snapshot, &seen, 0, |scene| scene.bootstrap = 1);
        assert!(text.contains("/ip4/192.0.2.1/tcp/4001") && text.contains("refused"), "{text}");
        seen.other_network("test".to_owned());
        assert!(told(&snapshot, &seen, 0, |_| ()).contains("(test); this node is in main"));
    }

    #[test]
    fn a_wrong_clock_is_named() {
        let mut snapshot = snapshot();
        snapshot.heard = 12;
        snapshot.stopped = BTreeMap::from([(Stop::Stale.name(), 11), ("signature", 1)]);
        let text = told(&snapshot, &Seen::default(), 1, |_| ());
        assert!(text.contains("signature 1, stale 11") && text.contains("clock"), "{text}");
        snapshot.stopped = BTreeMap::from([("signature", 12)]);
        (snapshot.accepted, snapshot.late) = (4, 2);
        assert!(!told(&snapshot, &Seen::default(), 1, |_| ()).contains("clock"));
    }

    #[test]
    fn offers_that_are_old_on_arrival_mean_a_wrong_clock() {
        let mut snapshot = snapshot();
        (snapshot.heard, snapshot.accepted, snapshot.late) = (3, 3, 2);
        let text = told(&snapshot, &Seen::default(), 1, |_| ());
        assert!(text.contains("2 of 3") && text.contains("clock"), "{text}");
    }

    #[test]
    fn a_node_that_does_not_listen_says_why() {
        let mut snapshot = Snapshot { role: Some(Role::Driver), state: "free", away: true, ..snapshot() };
        assert!(told(&snapshot, &Seen::default(), 1, |_| ()).contains("many cars are free"));
        snapshot.state = "firm";
        assert!(told(&snapshot, &Seen::default(), 1, |_| ()).contains("a ride is under way"));
        snapshot.away = false;
        assert!(!told(&snapshot, &Seen::default(), 1, |_| ()).contains("not listened to"));
    }

    #[test]
    fn a_driver_without_a_position_is_told() {
        let snapshot = Snapshot { role: Some(Role::Driver), ..snapshot() };
        let text = told(&snapshot, &Seen::default(), 1, |scene| scene.positioned = false);
        assert!(text.contains("--at LAT,LON"), "{text}");
    }
}
