//! What goes wrong: with stores, as inputs say, and with whoever drives a marketplace, to
//! show that the checks notice.

use hailmesh_market::Record;

/// What the next batch of a host meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreFault {
    /// The append fails, and nothing of it is durable.
    Fails,
    /// The append fails as far as can be told, and all of it is durable.
    FailsAndKeeps,
    /// The process dies before it.
    CrashBefore,
    /// The process dies after it and before the sends.
    CrashAfter,
    /// The process dies after the sends that follow.
    CrashAfterSends,
}

/// A driver of marketplaces that does something wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What follows a batch goes out though the batch could not be kept.
    SendsAllTheSame,
    /// After a failed append the marketplace goes on as if nothing had happened.
    GoesOnAfterFailure,
    /// Of a batch before a crash the first half is durable.
    TearsBatches,
    /// A restart forgets the outbox.
    ForgetsOutbox,
    /// A restart forgets that slots became firm.
    ForgetsFirm,
    /// A restart forgets how slots ended.
    ForgetsEnds,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::SendsAllTheSame,
        Self::GoesOnAfterFailure,
        Self::TearsBatches,
        Self::ForgetsOutbox,
        Self::ForgetsFirm,
        Self::ForgetsEnds,
    ];

    /// What a restart reads.
    pub(super) fn recovered(self, records: &[Record]) -> Vec<Record> {
        let forgets = |record: &Record| {
            matches!(
                (self, record),
                (Self::ForgetsOutbox, Record::OutboxPut { .. })
                    | (Self::ForgetsFirm, Record::Firm { .. })
                    | (Self::ForgetsEnds, Record::Ended { .. })
            )
        };
        records.iter().filter(|record| !forgets(record)).cloned().collect()
    }
}
