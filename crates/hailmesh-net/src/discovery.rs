//! Looking for peers: bootstrap addresses, remembered peers, the local network (P15.1).
//!
//! Nothing here touches a socket. The service asks what to dial, and tells what came
//! of it.

use std::collections::{BTreeMap, HashMap};

use hailmesh_types::PeerKey;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};
use tokio::time::{Duration, Instant};

use crate::address::{self, Scope};
use crate::config::{Config, DiscoveryConfig};
use crate::keys::{peer_id, peer_key};

/// Addresses kept for one remembered peer.
const ADDRS_PER_PEER: usize = 3;
/// After so many failures in a row a peer is no longer worth remembering.
const FAILURES_MAX: u32 = 8;
/// For how long a peer of another network is not dialled.
const STRANGER: Duration = Duration::from_secs(600);
/// Peers of other networks that are remembered as such.
const STRANGERS_MAX: usize = 1_000;
/// Connected peers above which those of the local network are no longer dialled on sight.
const LOCAL_PEERS_MAX: usize = 64;

/// Pauses between failures: doubling, with jitter, so that a crowd that lost its
/// bootstrap node does not come back all at once.
#[derive(Debug, Clone)]
struct Backoff {
    failures: u32,
    next: Instant,
}

impl Backoff {
    fn new(now: Instant) -> Self {
        Self { failures: 0, next: now }
    }

    fn fail(&mut self, now: Instant, config: &DiscoveryConfig) {
        let pause = config.redial_min.saturating_mul(1 << self.failures.min(16)).min(config.redial_max);
        self.failures = self.failures.saturating_add(1);
        self.next = now + pause.mul_f64(jitter());
    }
}

/// From 0.75 to 1.25.
fn jitter() -> f64 {
    // Without entropy a fixed pause is better than none.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    0.75 + f64::from(random) / f64::from(u32::MAX) / 2.0
}

#[derive(Debug)]
struct Bootstrap {
    /// As configured, which is how it is reported.
    addr: Multiaddr,
    /// Who must answer there.
    pinned: Option<PeerId>,
    /// Who answered last.
    peer: Option<PeerId>,
    backoff: Backoff,
    dialling: bool,
}

#[derive(Debug)]
struct Known {
    addrs: Vec<Multiaddr>,
    /// Whether a connection ever succeeded in this run.
    proven: bool,
    /// Dialled on sight: from the local network, or asked for by nobody else.
    eager: bool,
    last_seen: Instant,
    backoff: Backoff,
    dialling: bool,
}

#[derive(Debug, Clone)]
enum Origin {
    Bootstrap(usize),
    Known(PeerId),
    /// By a command.
    Asked(Multiaddr),
}

/// A failure worth telling the node.
#[derive(Debug, PartialEq)]
pub(crate) struct Failed {
    pub(crate) addr: Multiaddr,
    pub(crate) peer: Option<PeerKey>,
    pub(crate) reason: String,
}

/// Who may be dialled, and when.
#[derive(Debug)]
pub(crate) struct Discovery {
    local: PeerId,
    config: DiscoveryConfig,
    memory: bool,
    remembered_max: usize,
    per_prefix_max: usize,
    bootstrap: Vec<Bootstrap>,
    known: BTreeMap<PeerId, Known>,
    strangers: BTreeMap<PeerId, Instant>,
    dials: HashMap<ConnectionId, Origin>,
}

impl Discovery {
    /// With the bootstrap addresses and remembered peers of `config`, this node's own
    /// left out.
    pub(crate) fn new(config: &Config, local: PeerId, memory: bool, now: Instant) -> Self {
        let mut discovery = Self {
            local,
            config: config.discovery.clone(),
            memory,
            remembered_max: config.limits.remembered,
            per_prefix_max: config.limits.remembered_per_prefix,
            bootstrap: Vec::new(),
            known: BTreeMap::new(),
            strangers: BTreeMap::new(),
            dials: HashMap::new(),
        };
        for addr in &config.bootstrap {
            let (_, pinned) = address::split_peer(addr);
            let double = discovery.bootstrap.iter().any(|other| other.addr == *addr);
            if pinned != Some(local) && !double {
                let backoff = Backoff::new(now);
                let entry = Bootstrap { addr: addr.clone(), pinned, peer: pinned, backoff, dialling: false };
                discovery.bootstrap.push(entry);
            }
        }
        for (key, addr) in &config.remembered {
            discovery.learn(peer_id(key), std::slice::from_ref(addr), Scope::Loopback, now);
        }
        discovery
    }

    /// Remembers addresses that `peer` says are its own, or that it was seen at: those
    /// that are dialable and reach at least as far as `seen_from`. A peer across the
    /// internet has no say about what is at this machine's loopback.
    pub(crate) fn learn(&mut self, peer: PeerId, addrs: &[Multiaddr], seen_from: Scope, now: Instant) {
        if peer == self.local || peer_key(&peer).is_none() || self.is_stranger(&peer, now) {
            return;
        }
        let mut fresh: Vec<Multiaddr> = Vec::new();
        for addr in addrs {
            let (bare, named) = address::split_peer(addr);
            let own = named.is_none_or(|named| named == peer);
            if own
                && address::dialable(&bare, self.memory)
                && address::scope(&bare) >= seen_from
                && !fresh.contains(&bare)
            {
                fresh.push(bare);
            }
        }
        if fresh.is_empty() {
            return;
        }
        if let Some(known) = self.known.get_mut(&peer) {
            // What is new comes behind what has worked.
            let worked = known.proven.then(|| known.addrs.first().cloned()).flatten();
            let old = std::mem::take(&mut known.addrs);
            for addr in worked.into_iter().chain(fresh).chain(old) {
                if known.addrs.len() < ADDRS_PER_PEER && !known.addrs.contains(&addr) {
                    known.addrs.push(addr);
                }
            }
            known.last_seen = now;
            return;
        }
        fresh.truncate(ADDRS_PER_PEER);
        if self.make_room(&fresh[0]) {
            let known = Known {
                addrs: fresh,
                proven: false,
                eager: false,
                last_seen: now,
                backoff: Backoff::new(now),
                dialling: false,
            };
            self.known.insert(peer, known);
        }
    }

    /// Makes room for a peer at `addr`, if need be at the cost of one that fails; the
    /// one with most failures, and of these the one unseen for longest.
    fn make_room(&mut self, addr: &Multiaddr) -> bool {
        let prefix = address::prefix(addr);
        let same =
            |known: &Known| prefix.is_some() && known.addrs.iter().any(|a| address::prefix(a) == prefix);
        let crowded = self.known.values().filter(|known| same(known)).count() >= self.per_prefix_max;
        if !crowded && self.known.len() < self.remembered_max {
            return true;
        }
        let evictable = self.known.iter().filter(|(_, known)| known.backoff.failures > 0);
        let evictable = evictable.filter(|(_, known)| !crowded || same(known));
        let worst =
            evictable.max_by_key(|(_, known)| (known.backoff.failures, std::cmp::Reverse(known.last_seen)));
        match worst.map(|(peer, _)| *peer) {
            Some(peer) => self.known.remove(&peer).is_some(),
            None => false,
        }
    }

    /// A peer announced itself on the local network: it is dialled on sight.
    pub(crate) fn discovered(&mut self, peer: PeerId, addr: &Multiaddr, now: Instant) {
        self.learn(peer, std::slice::from_ref(addr), Scope::Loopback, now);
        if let Some(known) = self.known.get_mut(&peer) {
            known.eager = known.backoff.failures == 0;
        }
    }

    /// A peer is of another network: it is forgotten and not dialled for a while,
    /// bootstrap addresses apart, which wait for their longest pause.
    pub(crate) fn estrange(&mut self, peer: PeerId, now: Instant) {
        self.known.remove(&peer);
        for entry in self.bootstrap.iter_mut().filter(|entry| entry.peer == Some(peer)) {
            entry.backoff.failures = 16;
            entry.backoff.fail(now, &self.config);
        }
        if self.strangers.len() >= STRANGERS_MAX {
            self.strangers.retain(|_, since| *since + STRANGER > now);
        }
        if self.strangers.len() < STRANGERS_MAX {
            self.strangers.insert(peer, now);
        }
    }

    fn is_stranger(&self, peer: &PeerId, now: Instant) -> bool {
        self.strangers.get(peer).is_some_and(|since| *since + STRANGER > now)
    }

    /// What to dial now, with `peers` peers connected.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        peers: usize,
        connected: impl Fn(&PeerId) -> bool,
    ) -> Vec<DialOpts> {
        let mut dials = Vec::new();
        for (index, entry) in self.bootstrap.iter_mut().enumerate() {
            let here = entry.peer.as_ref().is_some_and(&connected);
            if here || entry.dialling || entry.backoff.next > now || self.dials.len() >= self.config.dials {
                continue;
            }
            let opts = match entry.pinned {
                Some(peer) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::Disconnected)
                    .addresses(vec![address::split_peer(&entry.addr).0])
                    .build(),
                None => DialOpts::unknown_peer_id().address(entry.addr.clone()).build(),
            };
            entry.dialling = true;
            self.dials.insert(opts.connection_id(), Origin::Bootstrap(index));
            dials.push(opts);
        }
        // One dial at a time to one peer, whatever is known of it.
        let dialled: Vec<PeerId> =
            self.bootstrap.iter().filter(|entry| entry.dialling).filter_map(|entry| entry.peer).collect();
        let mut ready: Vec<(u32, std::cmp::Reverse<Instant>, PeerId)> = self
            .known
            .iter()
            .filter(|(peer, known)| {
                let wanted = peers < self.config.peers_wanted || known.eager && peers < LOCAL_PEERS_MAX;
                let idle = !known.dialling && known.backoff.next <= now && !dialled.contains(peer);
                wanted && idle && !connected(peer)
            })
            .map(|(peer, known)| (known.backoff.failures, std::cmp::Reverse(known.last_seen), *peer))
            .collect();
        ready.sort_unstable();
        for (_, _, peer) in ready {
            if self.dials.len() >= self.config.dials {
                break;
            }
            let Some(known) = self.known.get_mut(&peer) else { continue };
            known.dialling = true;
            let opts = DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(known.addrs.clone())
                .build();
            self.dials.insert(opts.connection_id(), Origin::Known(peer));
            dials.push(opts);
        }
        dials
    }

    /// A dial that a command asked for.
    pub(crate) fn asked(&mut self, addr: Multiaddr) -> DialOpts {
        let opts = match address::split_peer(&addr) {
            (bare, Some(peer)) => {
                DialOpts::peer_id(peer).condition(PeerCondition::Disconnected).addresses(vec![bare]).build()
            }
            (bare, None) => DialOpts::unknown_peer_id().address(bare).build(),
        };
        self.dials.insert(opts.connection_id(), Origin::Asked(addr));
        opts
    }

    /// A connection was established; `dialled` is its address when this node dialled.
    pub(crate) fn established(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        dialled: Option<&Multiaddr>,
        now: Instant,
    ) {
        let origin = self.dials.remove(&connection);
        if let Some(Origin::Bootstrap(index)) = origin
            && let Some(entry) = self.bootstrap.get_mut(index)
        {
            entry.dialling = false;
            entry.peer = Some(peer);
            entry.backoff = Backoff::new(now);
        }
        if let Some(Origin::Known(peer)) = origin
            && let Some(known) = self.known.get_mut(&peer)
        {
            known.dialling = false;
        }
        // A peer of another network stays on its long pause until it says otherwise.
        if self.is_stranger(&peer, now) {
            self.estrange(peer, now);
            return;
        }
        if let Some(addr) = dialled {
            let addr = address::split_peer(addr).0;
            self.learn(peer, std::slice::from_ref(&addr), Scope::Loopback, now);
            if let Some(known) = self.known.get_mut(&peer) {
                known.addrs.retain(|other| *other != addr);
                known.addrs.insert(0, addr);
                known.addrs.truncate(ADDRS_PER_PEER);
                known.proven = true;
                known.eager = false;
            }
        }
        if let Some(known) = self.known.get_mut(&peer) {
            known.backoff = Backoff::new(now);
            known.last_seen = now;
        }
    }

    /// A peer proved to be of this network.
    pub(crate) fn confirmed(&mut self, peer: &PeerId) {
        self.strangers.remove(peer);
    }

    /// The last connection with `peer` ended: it may be dialled after the least pause.
    pub(crate) fn disconnected(&mut self, peer: &PeerId, now: Instant) {
        let config = &self.config;
        let pause = |backoff: &mut Backoff| {
            if backoff.failures == 0 {
                backoff.fail(now, config);
                backoff.failures = 0;
            }
        };
        self.bootstrap
            .iter_mut()
            .filter(|e| e.peer.as_ref() == Some(peer))
            .for_each(|e| pause(&mut e.backoff));
        if let Some(known) = self.known.get_mut(peer) {
            pause(&mut known.backoff);
            known.last_seen = now;
        }
    }

    /// A dial failed. What the node has an interest in comes back.
    pub(crate) fn failed(
        &mut self,
        connection: ConnectionId,
        error: &DialError,
        now: Instant,
    ) -> Option<Failed> {
        match self.dials.remove(&connection)? {
            Origin::Bootstrap(index) => {
                let entry = self.bootstrap.get_mut(index)?;
                entry.dialling = false;
                if let DialError::DialPeerConditionFalse(_) = error {
                    return None;
                }
                entry.backoff.fail(now, &self.config);
                if let DialError::LocalPeerId { .. } = error {
                    // This node itself: as good as connected, for ever.
                    entry.backoff.next = now + Duration::from_secs(365 * 86_400);
                    return None;
                }
                let peer = entry.pinned.as_ref().and_then(peer_key);
                Some(Failed { addr: entry.addr.clone(), peer, reason: reason(error) })
            }
            Origin::Known(peer) => {
                let known = self.known.get_mut(&peer)?;
                known.dialling = false;
                if let DialError::DialPeerConditionFalse(_) = error {
                    return None;
                }
                known.backoff.fail(now, &self.config);
                known.eager = known.eager && known.backoff.failures < 3;
                if known.backoff.failures >= FAILURES_MAX && !known.proven {
                    self.known.remove(&peer);
                }
                None
            }
            Origin::Asked(addr) => {
                if let DialError::DialPeerConditionFalse(_) = error {
                    return None;
                }
                let peer = address::split_peer(&addr).1.as_ref().and_then(peer_key);
                Some(Failed { addr, peer, reason: reason(error) })
            }
        }
    }

    /// Addresses known for `peer`.
    pub(crate) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.known.get(peer).map_or(&[], |known| &known.addrs)
    }

    /// Whether `peer` answers at a bootstrap address.
    pub(crate) fn is_bootstrap(&self, peer: &PeerId) -> bool {
        self.bootstrap.iter().any(|entry| entry.peer.as_ref() == Some(peer))
    }

    /// Peers worth remembering for the next run, the best first.
    pub(crate) fn good_peers(&self) -> Vec<(PeerKey, Multiaddr)> {
        let mut known: Vec<(&PeerId, &Known)> = self.known.iter().collect();
        known.sort_by_key(|(_, known)| {
            (!known.proven, known.backoff.failures, std::cmp::Reverse(known.last_seen))
        });
        known
            .into_iter()
            .filter_map(|(peer, known)| Some((peer_key(peer)?, known)))
            .flat_map(|(key, known)| known.addrs.iter().map(move |addr| (key, addr.clone())))
            .collect()
    }
}

/// Why a dial failed, in a few words and without any key.
fn reason(error: &DialError) -> String {
    match error {
        DialError::WrongPeerId { .. } => "another peer answers there".to_owned(),
        DialError::LocalPeerId { .. } => "that is this node itself".to_owned(),
        DialError::NoAddresses => "no usable address".to_owned(),
        DialError::Aborted => "the attempt was given up".to_owned(),
        DialError::DialPeerConditionFalse(_) => "already connected".to_owned(),
        DialError::Denied { cause } => format!("refused here: {}", innermost(cause)),
        DialError::Transport(errors) => {
            let mut reasons: Vec<String> = errors.iter().map(|(_, error)| innermost(error)).collect();
            reasons.sort();
            reasons.dedup();
            reasons.truncate(3);
            if reasons.is_empty() { "no transport took the address".to_owned() } else { reasons.join("; ") }
        }
    }
}

/// The text at the end of the chain of sources, which is the one that says something.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> PeerKey {
        PeerKey::from_bytes([n; 32])
    }

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn discovery(config: &Config) -> (Discovery, Instant) {
        let now = Instant::now();
        (Discovery::new(config, peer_id(&key(255)), false, now), now)
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let config = DiscoveryConfig::default();
        let now = Instant::now();
        let mut backoff = Backoff::new(now);
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            backoff.fail(now, &config);
            let pause = (backoff.next - now).as_secs_f64();
            assert!((0.75 * expected..=1.25 * expected).contains(&pause), "{pause} for {expected}");
        }
    }

    #[test]
    fn a_bootstrap_address_is_tried_for_ever_and_reported() {
        let bootstrap = vec![addr("/ip4/203.0.113.1/tcp/1")];
        let (mut discovery, mut now) = discovery(&Config { bootstrap, ..Config::default() });
        for _ in 0..20 {
            let dials = discovery.due(now, 0, |_| false);
            assert_eq!(dials.len(), 1);
            assert!(discovery.due(now, 0, |_| false).is_empty(), "one at a time");
            let failed = discovery.failed(dials[0].connection_id(), &DialError::Aborted, now).unwrap();
            assert_eq!(failed.addr, addr("/ip4/203.0.113.1/tcp/1"));
            assert!(discovery.due(now, 0, |_| false).is_empty(), "not before the pause");
            now += Duration::from_secs(80);
        }
        let dials = discovery.due(now, 0, |_| false);
        let peer = peer_id(&key(1));
        discovery.established(dials[0].connection_id(), peer, Some(&addr("/ip4/203.0.113.1/tcp/1")), now);
        assert!(discovery.is_bootstrap(&peer));
        now += Duration::from_secs(80);
        assert!(discovery.due(now, 1, |other| *other == peer).is_empty());
        discovery.disconnected(&peer, now);
        assert_eq!(discovery.due(now + Duration::from_secs(2), 1, |_| false).len(), 1);
    }

    #[test]
    fn the_own_address_is_left_out() {
        let own = addr("/ip4/203.0.113.1/tcp/1").with_p2p(peer_id(&key(255))).unwrap();
        let (mut discovery, now) = discovery(&Config { bootstrap: vec![own], ..Config::default() });
        assert!(discovery.due(now, 0, |_| false).is_empty());
    }

    #[test]
    fn remembered_peers_are_dialled_while_too_few_are_connected() {
        let remembered = (1..=20).map(|n| (key(n), addr(&format!("/ip4/203.{n}.113.1/tcp/1")))).collect();
        let (mut discovery, now) = discovery(&Config { remembered, ..Config::default() });
        assert!(discovery.due(now, 4, |_| false).is_empty());
        assert_eq!(discovery.due(now, 3, |_| false).len(), DiscoveryConfig::default().dials);
    }

    #[test]
    fn a_prefix_holds_eight_and_gives_way_only_when_failing() {
        let remembered = (1..=9).map(|n| (key(n), addr(&format!("/ip4/203.0.113.{n}/tcp/1")))).collect();
        let (mut discovery, now) = discovery(&Config { remembered, ..Config::default() });
        assert_eq!(discovery.known.len(), 8);
        assert!(discovery.addresses(&peer_id(&key(9))).is_empty());
        let dial = discovery.due(now, 0, |_| false).remove(0);
        let victim = dial.get_peer_id().unwrap();
        discovery.failed(dial.connection_id(), &DialError::Aborted, now);
        discovery.learn(peer_id(&key(9)), &[addr("/ip4/203.0.113.9/tcp/1")], Scope::Global, now);
        assert_eq!(discovery.known.len(), 8);
        assert!(!discovery.addresses(&peer_id(&key(9))).is_empty());
        assert!(discovery.addresses(&victim).is_empty());
    }

    #[test]
    fn a_distant_peer_cannot_name_local_addresses() {
        let (mut discovery, now) = discovery(&Config::default());
        let (peer, local) = (peer_id(&key(1)), addr("/ip4/127.0.0.1/tcp/1"));
        discovery.learn(peer, &[local.clone(), addr("/ip4/10.0.0.1/tcp/1")], Scope::Global, now);
        assert!(discovery.addresses(&peer).is_empty());
        discovery.learn(peer, std::slice::from_ref(&local), Scope::Loopback, now);
        assert_eq!(discovery.addresses(&peer), [local]);
    }

    #[test]
    fn strangers_are_forgotten() {
        let (mut discovery, now) = discovery(&Config::default());
        let peer = peer_id(&key(1));
        discovery.discovered(peer, &addr("/ip4/10.0.0.1/tcp/1"), now);
        discovery.estrange(peer, now);
        discovery.discovered(peer, &addr("/ip4/10.0.0.1/tcp/1"), now);
        assert!(discovery.due(now, 0, |_| false).is_empty());
        discovery.discovered(peer, &addr("/ip4/10.0.0.1/tcp/1"), now + STRANGER);
        assert_eq!(discovery.due(now + STRANGER, 0, |_| false).len(), 1);
    }

    #[test]
    fn proven_peers_come_first() {
        let remembered = (1..=3).map(|n| (key(n), addr(&format!("/ip4/203.{n}.113.1/tcp/1")))).collect();
        let (mut discovery, now) = discovery(&Config { remembered, ..Config::default() });
        let dialled = addr("/ip4/203.3.113.1/udp/9/quic-v1");
        discovery.established(ConnectionId::new_unchecked(0), peer_id(&key(3)), Some(&dialled), now);
        let good = discovery.good_peers();
        assert_eq!(good[0], (key(3), dialled));
        assert_eq!(good.len(), 4);
    }
}
