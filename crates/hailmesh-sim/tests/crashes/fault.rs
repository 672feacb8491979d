//! Seeded faults of whoever drives a marketplace, to show that the search finds them. The
//! marketplaces themselves have no switch.

use hailmesh_market::Record;

/// What is done wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// What follows a batch goes out before the batch is durable.
    SendsFirst,
    /// The journal loses the last batch in a crash.
    LosesLastBatch,
    /// Of the last batch before a crash the first half is durable.
    TearsBatches,
    /// A restart forgets the outbox.
    ForgetsOutbox,
    /// A restart forgets that slots became firm.
    ForgetsFirm,
    /// A restart forgets how slots ended.
    ForgetsEnds,
    /// A restart forgets what the other side said.
    ForgetsTheirs,
}

impl Fault {
    pub(crate) const ALL: [Self; 7] = [
        Self::SendsFirst,
        Self::LosesLastBatch,
        Self::TearsBatches,
        Self::ForgetsOutbox,
        Self::ForgetsFirm,
        Self::ForgetsEnds,
        Self::ForgetsTheirs,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SendsFirst => "sends before it persists",
            Self::LosesLastBatch => "the journal loses the last batch",
            Self::TearsBatches => "half a batch is durable",
            Self::ForgetsOutbox => "a restart forgets the outbox",
            Self::ForgetsFirm => "a restart forgets that a slot is firm",
            Self::ForgetsEnds => "a restart forgets how slots ended",
            Self::ForgetsTheirs => "a restart forgets what the other side said",
        }
    }

    /// What is durable of the batch at which a host crashes.
    pub(crate) fn torn(self, mut records: Vec<Record>) -> Vec<Record> {
        if self == Self::TearsBatches {
            records.truncate(records.len() / 2);
        }
        records
    }

    /// What a restart reads.
    pub(crate) fn recovered(self, records: &[Record]) -> Vec<Record> {
        let forgets = |record: &Record| match (self, record) {
            (Self::ForgetsOutbox, Record::OutboxPut { .. })
            | (Self::ForgetsFirm, Record::Firm { .. })
            | (Self::ForgetsEnds, Record::Ended { .. }) => true,
            (Self::ForgetsTheirs, Record::Statement { own, kind, .. }) => {
                use hailmesh_wire::Kind;
                !own && !matches!(kind, Kind::DriverOffer | Kind::Request | Kind::Accept | Kind::Counter)
            }
            _ => false,
        };
        records.iter().filter(|record| !forgets(record)).cloned().collect()
    }
}
