//! Misfortune, planned: what goes wrong in a run beside loss, churn and partitions, and
//! until when.
//!
//! Everything is drawn from the seed of the run. From [`Faults::until_ms`] on nothing
//! goes wrong any more: no message is lost or late, nobody crashes, clocks are right and
//! whoever was down is back. What is left open then must be settled soon, and `settle`
//! looks whether it is.

use std::fmt;

use super::link::Draws;

/// A day, by which clocks jump, milliseconds.
pub(super) const DAY_MS: i64 = 86_400_000;

/// Everything takes longer for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spike {
    /// From this time on, milliseconds.
    pub from_ms: u64,
    /// Over at this time, milliseconds.
    pub until_ms: u64,
    /// How much longer a message takes, evenly from nothing to this, milliseconds.
    pub extra_ms: u32,
}

/// Some nodes are always slow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slow {
    /// Share of the nodes, 0 to 1.
    pub share: f64,
    /// How much longer a message from or to one of them takes, half of it at the least,
    /// milliseconds.
    pub extra_ms: u32,
}

/// A rule of P11 that nodes break: what the search for violations has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A crash loses the last batch of the journal, and nobody notices.
    LosesLastBatch,
    /// A journal is restored from an older backup, and the keys in it go on signing.
    KeepsKeysOfBackup,
    /// What could not be kept is sent all the same.
    SendsWhatWasNotKept,
}

/// What goes wrong, and until when.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Faults {
    /// From here on nothing goes wrong any more, milliseconds.
    pub until_ms: u64,
    /// Times at which everything is late.
    pub spikes: Vec<Spike>,
    /// Nodes that are always slow.
    pub slow: Option<Slow>,
    /// Share of the batches of records that the disk does not take, 0 to 1. Half of
    /// these are kept all the same, but the node is told otherwise; in three of ten the
    /// node dies with its disk, in the others it goes on when the disk does (P11.1).
    pub disk: f64,
    /// Share of the crashed nodes whose journal comes back from an older backup, 0 to 1.
    pub backups: f64,
    /// Share of the crashed nodes that come back at another address, 0 to 1.
    pub moves: f64,
    /// Share of the nodes whose clock jumps by a day and is put right later, 0 to 1.
    pub jumps: f64,
    /// A rule that every node breaks.
    pub broken: Option<Broken>,
}

impl Faults {
    /// How much longer a message takes than the link says.
    pub(super) fn extra_ms(&self, seed: u64, from: u32, to: u32, at_ms: u64, draws: &mut Draws) -> u32 {
        if at_ms >= self.until_ms {
            return 0;
        }
        let mut extra = 0;
        for spike in &self.spikes {
            if (spike.from_ms..spike.until_ms).contains(&at_ms) {
                extra += draws.between(0, spike.extra_ms);
            }
        }
        if let Some(slow) = self.slow {
            for host in [from, to] {
                if Draws::of(seed, 0x510e, host.into(), 0).chance(slow.share) {
                    extra += draws.between(slow.extra_ms / 2, slow.extra_ms);
                }
            }
        }
        extra
    }
}

/// What went wrong in a run, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mischief {
    /// Frames that were lost.
    pub lost: u64,
    /// Frames that came twice.
    pub doubled: u64,
    /// Frames that overtook one that was sent earlier.
    pub overtaken: u64,
    /// Frames that were late, by spikes or slow nodes.
    pub late: u64,
    /// Exchanges that were over before the answer came.
    pub timed_out: u64,
    /// Frames that a partition of both ways stopped.
    pub cut: u64,
    /// Frames that a partition of one way stopped.
    pub cut_one_way: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Journals that came back from an older backup.
    pub backups: u64,
    /// Batches that were not kept.
    pub unkept: u64,
    /// Batches that were kept though the disk said otherwise.
    pub kept_unsaid: u64,
    /// Nodes that came back at another address.
    pub moved: u64,
    /// Clocks that jumped ahead by a day.
    pub jumps_ahead: u64,
    /// Clocks that jumped back by a day.
    pub jumps_back: u64,
    /// Nodes whose clock is wrong by more than half a per cent.
    pub drifting: u64,
    /// Offers and requests that a limit turned away.
    pub capped: u64,
}

impl Mischief {
    /// Every count by its name.
    #[must_use]
    pub const fn all(&self) -> [(&'static str, u64); 16] {
        [
            ("frames lost", self.lost),
            ("frames doubled", self.doubled),
            ("frames overtaken", self.overtaken),
            ("frames late", self.late),
            ("exchanges timed out", self.timed_out),
            ("frames cut", self.cut),
            ("frames cut one way", self.cut_one_way),
            ("crashes", self.crashes),
            ("old backups", self.backups),
            ("batches not kept", self.unkept),
            ("batches kept unsaid", self.kept_unsaid),
            ("address changes", self.moved),
            ("clocks a day ahead", self.jumps_ahead),
            ("clocks a day back", self.jumps_back),
            ("drifting clocks", self.drifting),
            ("turned away by limits", self.capped),
        ]
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        let Self {
            lost,
            doubled,
            overtaken,
            late,
            timed_out,
            cut,
            cut_one_way,
            crashes,
            backups,
            unkept,
            kept_unsaid,
            moved,
            jumps_ahead,
            jumps_back,
            drifting,
            capped,
        } = self;
        *lost += other.lost;
        *doubled += other.doubled;
        *overtaken += other.overtaken;
        *late += other.late;
        *timed_out += other.timed_out;
        *cut += other.cut;
        *cut_one_way += other.cut_one_way;
        *crashes += other.crashes;
        *backups += other.backups;
        *unkept += other.unkept;
        *kept_unsaid += other.kept_unsaid;
        *moved += other.moved;
        *jumps_ahead += other.jumps_ahead;
        *jumps_back += other.jumps_back;
        *drifting += other.drifting;
        *capped += other.capped;
    }
}

impl fmt::Display for Mischief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, count)) in self.all().into_iter().enumerate() {
            write!(f, "{}{name} {count}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
