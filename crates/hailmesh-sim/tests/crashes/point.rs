//! Persistence points, as they are seen: a batch of records and the clause of P11.1 that
//! asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hailmesh_market::{Record, Role};
use hailmesh_types::{PublicKey, StatementId};
use hailmesh_wire::Outcome;

use crate::plan::Name;

/// A batch that was to be made durable.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) host: Name,
    /// Counted over all runs of the host.
    pub(crate) batch: usize,
    pub(crate) kind: PointKind,
    /// Whether something was put into the outbox with it.
    pub(crate) queued: bool,
}

/// The clause of a batch, and what its records say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PointKind {
    /// W1 to W12, or `-` for a note that nothing waits for: that something was heard.
    pub(crate) clause: &'static str,
    /// The kinds of its records.
    pub(crate) records: String,
}

impl fmt::Display for PointKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.clause, self.records)
    }
}

/// What a batch is. `roles` knows the keys of the journal so far.
pub(crate) fn kind_of(records: &[Record], roles: &BTreeMap<PublicKey, Role>) -> PointKind {
    let is_driver = |key: &PublicKey| roles.get(key) == Some(&Role::Driver);
    // From the least to the most that a batch can hold: the last one names it.
    let rank = |record: &Record| match record {
        Record::OutboxPut { .. } | Record::OutboxDone { .. } => (0, "-"),
        Record::Statement { .. } | Record::Secret { .. } | Record::Progress { .. } => (1, "W7"),
        Record::SeqReserved { .. } => (2, "W10"),
        Record::Peer { .. } => (2, "W12"),
        Record::Key(_) | Record::KeyErased { .. } => (3, "W9"),
        Record::Evidence { .. } | Record::Ban { .. } => (4, "W11"),
        Record::Firm { slot, .. } => (5, if is_driver(&slot.key) { "W2" } else { "W5" }),
        Record::Bound(bound) => (6, if bound.role == Role::Driver { "W1" } else { "W4" }),
        Record::Ended { slot, outcome, .. } => match (is_driver(&slot.key), *outcome) {
            (true, Outcome::Completed) => (7, "W8"),
            (true, _) => (7, "W3"),
            (false, _) => (7, "W6"),
        },
    };
    let clause = records.iter().map(rank).max().map_or("-", |(_, clause)| clause);
    let mut words: Vec<String> = Vec::new();
    for record in records {
        let word = match record {
            Record::Statement { kind, own, .. } => format!("{}{kind}", if *own { "own " } else { "" }),
            Record::Ended { outcome, .. } => format!("{outcome:?}"),
            Record::Bound(_) => "Bound".to_owned(),
            Record::Firm { .. } => "Firm".to_owned(),
            Record::Peer { .. } => "Peer".to_owned(),
            Record::Key(_) => "Key".to_owned(),
            Record::KeyErased { .. } => "KeyErased".to_owned(),
            Record::SeqReserved { .. } => "SeqReserved".to_owned(),
            Record::Progress { phase, .. } => phase.to_string(),
            Record::Secret { purpose, .. } => format!("{purpose:?} secret"),
            Record::OutboxDone { .. } => "OutboxDone".to_owned(),
            Record::Evidence { .. } => "Evidence".to_owned(),
            Record::Ban { .. } => "Ban".to_owned(),
            // Said by the statement that is put there.
            Record::OutboxPut { .. } => continue,
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    PointKind { clause, records: words.join(", ") }
}

/// Statements that a batch puts into the outbox.
pub(crate) fn queued(records: &[Record]) -> BTreeSet<StatementId> {
    let put = |record: &Record| match record {
        Record::OutboxPut { statement, .. } => Some(*statement),
        _ => None,
    };
    records.iter().filter_map(put).collect()
}

/// The clauses of P11.1 as the protocol lists them.
pub(crate) fn clauses_of_the_protocol() -> BTreeSet<String> {
    let protocol = include_str!("../../../../docs/protocol.md");
    let row = |line: &str| {
        let name = line.strip_prefix("| W")?.split(' ').next()?;
        name.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("W{name}"))
    };
    protocol.lines().filter_map(row).collect()
}
