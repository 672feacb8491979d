//! What a run with a plan of faults looks at beside everything else: what was signed,
//! what went wrong on the way, and whether all is settled at the end.

use std::collections::{BTreeMap, BTreeSet};

use hailmesh_market::AskId;
use hailmesh_market::admission::Stop;
use hailmesh_types::PeerKey;

use super::{Engine, Shared};
use crate::city::audit::Audit;
use crate::city::fault::Mischief;
use crate::city::host::{Arrival, EXCHANGE_MS};
use crate::city::link::{Draws, is_cut};
use crate::city::settings::Settings;
use crate::city::settle::{Parties, Settled, settled};
use crate::city::shard::Shard;

/// Drift from which on a clock counts as wrong, parts per million.
const DRIFTING_PPM: u64 = 5_000;

/// Kept between windows.
#[derive(Default)]
pub(super) struct Watch {
    audit: Audit,
    pub(super) counts: Mischief,
    /// When an exchange began: it is over [`EXCHANGE_MS`] later.
    asked: BTreeMap<(u32, u32, AskId), u64>,
    /// Where every host is reached.
    addresses: BTreeMap<u32, u32>,
    /// Where hosts have heard, or seen, that peers are reached.
    known: BTreeMap<(u32, PeerKey), BTreeSet<u32>>,
    /// Whom hosts tried to reach without a connection.
    tried: BTreeSet<(u32, PeerKey)>,
    /// When the last frame from one host reaches another.
    last: BTreeMap<(u32, u32), u64>,
    /// When two hosts were last connected, the lower number first.
    since: BTreeMap<(u32, u32), u64>,
}

impl Shared {
    /// Loss and duplication at a time: none once nothing goes wrong any more.
    pub(in crate::city) fn at(&self, at_ms: u64) -> &Settings {
        match (&self.calm, self.calm_from()) {
            (Some(calm), Some(from)) if at_ms >= from => calm,
            _ => &self.settings,
        }
    }

    /// When the faults of a plan are over.
    pub(in crate::city) fn calm_from(&self) -> Option<u64> {
        self.settings.faults.as_ref().map(|faults| faults.until_ms)
    }

    /// How much longer a message takes by the plan of faults.
    pub(in crate::city) fn late_ms(&self, from: u32, to: u32, at_ms: u64, draws: &mut Draws) -> u32 {
        let faults = self.settings.faults.as_ref();
        faults.map_or(0, |faults| faults.extra_ms(self.seed, from, to, at_ms, draws))
    }
}

impl Engine {
    /// Somebody has said this: what it shows that nobody honest may have signed.
    pub(super) fn audit(&mut self, at_ms: u64, frame: &[u8]) {
        let Some(watch) = self.watch.as_mut() else { return };
        for fault in watch.audit.read(frame) {
            self.oracle.violation(at_ms, fault);
        }
    }

    /// A host is reached here from now on.
    pub(super) fn moved(&mut self, host: u32, address: u32) {
        if let Some(watch) = self.watch.as_mut() {
            watch.addresses.insert(host, address);
        }
    }

    /// A host has heard where a peer is reached.
    pub(super) fn hinted(&mut self, host: u32, peer: PeerKey, addresses: Vec<u32>) {
        if let Some(watch) = self.watch.as_mut() {
            watch.known.entry((host, peer)).or_default().extend(addresses);
        }
    }

    /// Two hosts are connected: each sees where the other is.
    pub(super) fn met(&mut self, at_ms: u64, one: u32, other: u32) {
        let peers = (self.peer(one), self.peer(other));
        let Some(watch) = self.watch.as_mut() else { return };
        watch.since.insert((one.min(other), one.max(other)), at_ms);
        for (here, there, peer) in [(one, other, peers.1), (other, one, peers.0)] {
            if let Some(address) = watch.addresses.get(&there) {
                watch.known.entry((here, peer)).or_default().insert(*address);
            }
        }
    }

    /// Whether a host knows under which name and where another is reached now.
    fn knows(&self, from: u32, to: u32) -> bool {
        let Some(watch) = self.watch.as_ref() else { return true };
        let address = watch.addresses.get(&to);
        let known = watch.known.get(&(from, self.peer(to)));
        address.is_some_and(|address| known.is_some_and(|known| known.contains(address)))
    }

    fn are_connected(&self, one: u32, other: u32) -> bool {
        self.connected.get(&one).is_some_and(|peers| peers.contains(&other))
    }

    /// Whether one host can reach another, if need be by dialling it: a connection needs
    /// both ways, somebody who knows where to go, and somebody there.
    pub(super) fn can_dial(&self, from: u32, to: u32, at_ms: u64) -> bool {
        if self.down.contains(&to) {
            return false;
        }
        if self.watch.is_none() || self.are_connected(from, to) {
            return true;
        }
        if !self.knows(from, to) {
            return false;
        }
        let cut = |from, to| is_cut(&self.shared.settings, self.shared.seed, from, to, at_ms);
        !cut(from, to) && !cut(to, from)
    }

    /// A host wants to be connected to another.
    pub(super) fn dial(&mut self, shards: &mut [Shard], at_ms: u64, from: u32, to: PeerKey) {
        if let Some(watch) = self.watch.as_mut() {
            watch.tried.insert((from, to));
        }
        let Some(host) = self.identities.get(&to).copied() else { return };
        if self.can_dial(from, host, at_ms) {
            self.connect(shards, at_ms, from, host);
        }
    }

    /// A host is somebody else from now on: nobody reaches it under the old name, and its
    /// connections were made under it.
    pub(super) fn renamed(&mut self, shards: &mut [Shard], at_ms: u64, host: u32, peer: PeerKey) {
        let Some(old) = self.peers.get(&host).copied().filter(|old| *old != peer) else { return };
        let others: Vec<u32> = self.connected.get(&host).into_iter().flatten().copied().collect();
        for other in others {
            let gone = Arrival::Gone { peer: self.peer(other) };
            self.deliver(shards, at_ms + self.length_ms, host, gone);
        }
        self.gone(shards, at_ms, host);
        self.identities.remove(&old);
    }

    /// A frame is on its way, or not: counts what became of it.
    pub(super) fn sent(&mut self, from: u32, to: u32, at_ms: u64, cut: bool, arrivals: &[Option<u64>]) {
        let both = cut && is_cut(&self.shared.settings, self.shared.seed, to, from, at_ms);
        let Some(watch) = self.watch.as_mut() else { return };
        if cut {
            watch.counts.cut += u64::from(both);
            watch.counts.cut_one_way += u64::from(!both);
            return;
        }
        watch.counts.lost += u64::from(arrivals[0].is_none());
        watch.counts.doubled += u64::from(arrivals.iter().flatten().count() > 1);
        let last = watch.last.entry((from, to)).or_default();
        for arrives in arrivals.iter().flatten() {
            watch.counts.overtaken += u64::from(*arrives < *last);
            *last = (*last).max(*arrives);
        }
    }

    pub(super) fn was_late(&mut self, late_ms: u32) {
        if let Some(watch) = self.watch.as_mut() {
            watch.counts.late += u64::from(late_ms > 0);
        }
    }

    /// An exchange begins.
    pub(super) fn asked(&mut self, from: u32, run: u32, ask: AskId, at_ms: u64) {
        if let Some(watch) = self.watch.as_mut() {
            watch.asked.insert((from, run, ask), at_ms);
        }
    }

    /// When the exchange is over without the answer that arrives at this time; nothing
    /// when it arrives early enough.
    pub(super) fn too_late(&mut self, to: u32, run: u32, ask: AskId, arrives_ms: u64) -> Option<u64> {
        let watch = self.watch.as_mut()?;
        let over_ms = watch.asked.remove(&(to, run, ask))? + EXCHANGE_MS;
        let late = arrives_ms > over_ms;
        watch.counts.timed_out += u64::from(late);
        late.then_some(over_ms)
    }

    /// The end of a run: what is not settled is a violation.
    pub(super) fn settle(&mut self, shards: &[Shard]) -> (Settled, Mischief) {
        let Some(watch) = self.watch.as_ref() else { return (Settled::default(), Mischief::default()) };
        let mut counts = watch.counts;
        for host in shards.iter().flat_map(Shard::hosts) {
            counts.drifting += u64::from(host.clock.drift_ppm.unsigned_abs() > DRIFTING_PPM);
            if let Some(market) = host.market.as_ref() {
                counts.capped += market.admission_stats().count(Stop::Full);
            }
            if let Some(mishaps) = host.mishaps.as_ref() {
                counts.add(&mishaps.counts);
            }
        }
        // A rider knows its driver by the key of their agreement, which names a process until
        // the driver replaces that key. A driver knows its rider's process only if it has heard
        // from it: then it has that down, and dials it. Who could not find each other may have
        // met by chance, in the last moment.
        let reach = |pair: &Parties| {
            let (driver, rider) = (pair.driver, pair.rider);
            let present = self.peer(rider);
            let follows = pair.followed == Some(present) || watch.tried.contains(&(driver, present));
            let is_named = self.peer(driver) == pair.key.to_peer_key();
            let since = watch.since.get(&(driver.min(rider), driver.max(rider)));
            let finds = (is_named && self.knows(rider, driver)) || (follows && self.knows(driver, rider));
            finds.then(|| since.copied().unwrap_or(0))
        };
        let times = (self.shared.calm_from().unwrap_or(0), self.end_ms);
        let (settled, wrong) = settled(shards.iter().flat_map(Shard::hosts), times, &reach);
        for text in wrong {
            self.oracle.violation(self.end_ms, text);
        }
        (settled, counts)
    }
}
