//! What can happen to a node beside a crash: a disk that fails, a journal from an older
//! backup, a clock that jumps, another address. A node that lives through it does what a
//! process of `hailmesh-node` does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hailmesh_market::{Input, Origin, Output, Record};
use hailmesh_types::{PeerKey, PublicKey};
use hailmesh_wire::Address;

use super::engine::Shared;
use super::fault::{Broken, DAY_MS, Mischief};
use super::host::{Host, What};
use super::link::Draws;

/// Pause between two attempts to go on after the disk has failed, milliseconds.
const RETRY_MS: u64 = 1_000;
/// For so many of these pauses a disk fails at the most.
const RETRIES_MAX: u32 = 8;
/// A clock that jumped is put right after this time, milliseconds.
const WRONG_MS: (u32, u32) = (1_000, 60_000);
/// Of what fails at a disk, this much is kept all the same, and so many nodes die of it.
const KEPT: f64 = 0.5;
const DEADLY: f64 = 0.3;

/// A clock that jumps and is put right.
#[derive(Clone, Copy)]
struct Jump {
    at_ms: u64,
    by_ms: i64,
    /// The way back, while the clock is right.
    back_ms: Option<u64>,
}

/// What happened to a node and what its process knows beside the marketplace.
#[derive(Default)]
pub(super) struct Mishaps {
    /// Length of the journal after each batch, and when that was.
    pub(super) batches: Vec<(usize, u64)>,
    /// Keys of a journal that was restored from an older one.
    pub(super) lost: BTreeSet<PublicKey>,
    pub(super) counts: Mischief,
    /// The process lives though its marketplace is gone.
    pub(super) halted: bool,
    /// The next start finds a journal and a start mark that do not belong together.
    pub(super) restored: bool,
    /// The process is about to start: if it cannot, it ends.
    pub(super) starting: bool,
    /// Where it is reached: a new number is a new address.
    address: u32,
    commits: u64,
    peers: BTreeMap<PeerKey, u32>,
    offer_out: Option<Arc<[u8]>>,
    jump: Option<Jump>,
}

impl Mishaps {
    /// What will happen to a host; nothing in a run without a plan.
    pub(super) fn of(shared: &Shared, id: u32, at_ms: u64) -> Option<Box<Self>> {
        let faults = shared.settings.faults.as_ref()?;
        let mut draws = Draws::of(shared.seed, 0x10b5, id.into(), 0);
        let span = u32::try_from(faults.until_ms.saturating_sub(at_ms)).unwrap_or(u32::MAX);
        let jump = draws.chance(faults.jumps).then(|| {
            let at_ms = at_ms + u64::from(draws.between(0, span));
            let by_ms = if draws.chance(0.5) { DAY_MS } else { -DAY_MS };
            let back_ms = Some(at_ms + u64::from(draws.between(WRONG_MS.0, WRONG_MS.1)));
            Jump { at_ms, by_ms, back_ms: back_ms.map(|back| back.min(faults.until_ms)) }
        });
        Some(Box::new(Self { jump: jump.filter(|jump| jump.at_ms < faults.until_ms), ..Self::default() }))
    }

    pub(super) fn connected(&mut self, peer: PeerKey, host: u32) {
        self.peers.insert(peer, host);
    }

    pub(super) fn gone(&mut self, peer: &PeerKey) {
        self.peers.remove(peer);
    }

    pub(super) fn published(&mut self, bytes: &Arc<[u8]>) {
        self.offer_out = Some(Arc::clone(bytes));
    }

    /// The process is gone, and with it what it knew.
    pub(super) fn died(&mut self) {
        self.peers.clear();
        self.offer_out = None;
        self.halted = false;
        self.starting = false;
    }
}

impl Host {
    /// When something happens to this host that it does not do itself.
    pub(super) fn fate_ms(&self) -> u64 {
        self.back_ms.unwrap_or(self.crash_ms).min(self.jump_ms())
    }

    fn jump_ms(&self) -> u64 {
        self.mishaps.as_ref().and_then(|mishaps| mishaps.jump).map_or(u64::MAX, |jump| jump.at_ms)
    }

    /// It happens.
    pub(super) fn meet_fate(&mut self, shared: &Shared, at_ms: u64) {
        if self.jump_ms() <= at_ms {
            self.jump(shared, at_ms);
        } else if self.back_ms.take().is_some() {
            self.start(shared, at_ms);
        } else {
            self.crash(shared, at_ms);
        }
    }

    fn jump(&mut self, shared: &Shared, at_ms: u64) {
        let Some(mishaps) = self.mishaps.as_mut() else { return };
        let Some(jump) = mishaps.jump.take() else { return };
        // Nor does a clock jump under a journal that was restored and has not been started.
        if mishaps.restored && jump.back_ms.is_some() {
            return;
        }
        mishaps.jump =
            jump.back_ms.map(|back| Jump { at_ms: back.max(at_ms + 1), by_ms: -jump.by_ms, back_ms: None });
        if jump.by_ms > 0 {
            mishaps.counts.jumps_ahead += 1;
        } else {
            mishaps.counts.jumps_back += 1;
        }
        self.clock.skew_ms += jump.by_ms;
        // Ahead, timers are due early; back, they would be due in a day, so that the
        // node goes back to its journal.
        if jump.by_ms < 0 && self.market.take().is_some() {
            self.abandon_exchanges(at_ms);
            self.rebuild(shared, at_ms);
        }
    }

    /// Makes a batch durable. False: the disk failed, and nothing that follows may happen.
    pub(super) fn keep(&mut self, shared: &Shared, at_ms: u64, records: Vec<Record>) -> bool {
        let (Some(mishaps), Some(faults)) = (self.mishaps.as_mut(), shared.settings.faults.as_ref()) else {
            // Where no node ever comes back nobody reads what it has written.
            if shared.settings.has_restarts() {
                self.journal.extend(records);
            }
            return true;
        };
        mishaps.commits += 1;
        let mut draws = Draws::of(shared.seed, 0xd15c, self.id.into(), mishaps.commits);
        let fails = at_ms < faults.until_ms && draws.chance(faults.disk);
        let kept = !fails || draws.chance(KEPT);
        if kept {
            self.journal.extend(records);
            mishaps.batches.push((self.journal.len(), at_ms));
            mishaps.counts.kept_unsaid += u64::from(fails);
        } else {
            mishaps.counts.unkept += 1;
        }
        !fails || faults.broken == Some(Broken::SendsWhatWasNotKept)
    }

    /// The disk has failed: what is in memory has run ahead of it and is given up.
    pub(super) fn store_failed(&mut self, shared: &Shared, at_ms: u64) {
        let until = shared.settings.faults.as_ref().map_or(at_ms, |faults| faults.until_ms);
        let Some(mishaps) = self.mishaps.as_mut() else { return };
        let mut draws = Draws::of(shared.seed, 0xd1ed, self.id.into(), mishaps.commits);
        if mishaps.starting || draws.chance(DEADLY) {
            return self.crash(shared, at_ms);
        }
        mishaps.halted = true;
        let sent = mishaps.offer_out.take();
        let now = self.clock.reads(at_ms);
        let last = self.market.as_mut().zip(sent).and_then(|(market, sent)| market.last_words(now, &sent));
        if let Some(Output::Publish { topic, bytes }) = last {
            self.say(at_ms, What::Publish { topic, bytes });
        }
        self.market = None;
        self.abandon_exchanges(at_ms);
        let pauses = u64::from(draws.between(1, RETRIES_MAX));
        self.back_ms = Some((at_ms + pauses * RETRY_MS).min(until.max(at_ms + 1)));
    }

    /// A process that lives goes back to what its journal says, under the same keys.
    pub(super) fn rebuild(&mut self, shared: &Shared, at_ms: u64) {
        let left = std::mem::take(&mut self.topics);
        if let Some(mishaps) = self.mishaps.as_mut() {
            mishaps.halted = false;
        }
        self.run += 1;
        if !self.recover(shared, at_ms, false) {
            self.topics = left;
            return;
        }
        let peers: Vec<(PeerKey, u32)> = self
            .mishaps
            .as_ref()
            .map(|mishaps| mishaps.peers.iter().map(|(peer, host)| (*peer, *host)).collect())
            .unwrap_or_default();
        for (peer, host) in peers {
            self.input(shared, at_ms, Input::PeerConnected { peer, origin: origin_of(host) });
        }
        self.person_starts(shared, at_ms);
        for topic in left {
            if !self.topics.contains(&topic) {
                self.say(at_ms, What::Left(topic.clone()));
                self.joined.push((topic, false));
            }
        }
    }

    /// The node learns where it is reached, and tells others with its next offer.
    pub(super) fn tell_address(&mut self, shared: &Shared, at_ms: u64) {
        let Some(address) = self.mishaps.as_ref().map(|mishaps| mishaps.address) else { return };
        self.say(at_ms, What::Moved(address));
        if let Ok(address) = Address::new(address.to_be_bytes()) {
            self.input(shared, at_ms, Input::Addresses(vec![address]));
        }
    }

    /// Where a peer may be reached, as an offer or a CONFIRM said.
    pub(super) fn pass_hint(&mut self, at_ms: u64, peer: PeerKey, addrs: &[Address]) {
        if self.mishaps.is_none() || addrs.is_empty() {
            return;
        }
        let numbers = addrs.iter().filter_map(|address| address.as_bytes().try_into().ok());
        let numbers = numbers.map(u32::from_be_bytes).collect();
        self.say(at_ms, What::Hint(peer, numbers));
    }

    /// What a crash leaves of the journal, by the plan of the run.
    pub(super) fn journal_after_crash(&mut self, shared: &Shared, at_ms: u64) {
        let Some(faults) = shared.settings.faults.as_ref() else { return };
        let Some(mishaps) = self.mishaps.as_mut() else { return };
        mishaps.counts.crashes += 1;
        mishaps.died();
        let mut moving = Draws::of(shared.seed, 0x307e, self.id.into(), self.run.into());
        if moving.chance(faults.moves) {
            mishaps.address += 1;
            mishaps.counts.moved += 1;
        }
        let mut draws = Draws::of(shared.seed, 0xbac2, self.id.into(), self.run.into());
        let all = u32::try_from(mishaps.batches.len()).unwrap_or(u32::MAX);
        // Who restores a journal while its clock is a day behind forgets certificates that
        // last longer than it can know: two misfortunes at once (docs/guarantees.md).
        let is_wrong = mishaps.jump.is_some_and(|jump| jump.back_ms.is_none());
        let kept = if all > 0 && !is_wrong && draws.chance(faults.backups) {
            // Half of the backups are recent.
            let oldest = if draws.chance(0.5) { all.saturating_sub(8) } else { 0 };
            mishaps.counts.backups += 1;
            mishaps.restored = faults.broken != Some(Broken::KeepsKeysOfBackup);
            draws.between(oldest, all - 1)
        } else if faults.broken == Some(Broken::LosesLastBatch) {
            all.saturating_sub(1)
        } else {
            return;
        };
        if mishaps.restored {
            let keys = self.journal.iter().filter_map(|record| match record {
                Record::Key(key) => Some(key.key),
                _ => None,
            });
            mishaps.lost.extend(keys);
        }
        mishaps.batches.truncate(kept as usize);
        let length = mishaps.batches.last().map_or(0, |(length, _)| *length);
        self.journal.truncate(length);
        if self.mishaps.as_ref().is_some_and(|mishaps| mishaps.restored) {
            self.say(at_ms, What::Forgot);
        }
    }
}

/// Where a host's connections come from, as others see it.
pub(super) const fn origin_of(host: u32) -> Origin {
    let [a, b, c, d] = host.to_be_bytes();
    Origin::Prefix([100, a, b, c, d, 0, 0, 0])
}
