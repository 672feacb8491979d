//! Faults of whoever starts a killed node again, to show that the checks see them. The node
//! is the same as in every other case.

use std::path::Path;

use sqlx::{ConnectOptions, Connection};

use crate::plan::Moment;

/// Where a victim puts its journal as it was before the batch at the point.
pub(crate) const BEFORE: &str = "before";

/// The files of a journal in SQLite.
const FILES: [&str; 2] = ["hailmesh.db", "hailmesh.db-wal"];

/// What is done wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// What was sent is not in the journal: as if the node had sent before it wrote.
    LastBatchLost,
    /// The journal is gone, with the marks beside it, and nobody tells the node.
    JournalLost,
    /// What waits to be sent is forgotten.
    OutboxLost,
    /// What the other side said is forgotten.
    TheirWordsLost,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] =
        [Self::LastBatchLost, Self::JournalLost, Self::OutboxLost, Self::TheirWordsLost];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::LastBatchLost => "the-last-batch-is-lost",
            Self::JournalLost => "the-journal-is-lost",
            Self::OutboxLost => "the-outbox-is-lost",
            Self::TheirWordsLost => "their-words-are-lost",
        }
    }

    /// When the victim dies: when what is lost has been heard, or before it was sent.
    pub(crate) const fn moment(self) -> Moment {
        match self {
            Self::LastBatchLost | Self::JournalLost => Moment::Sent,
            Self::OutboxLost | Self::TheirWordsLost => Moment::After,
        }
    }

    /// The batches at which it is made.
    pub(crate) const fn batches(self) -> &'static [&'static str] {
        match self {
            Self::LastBatchLost | Self::JournalLost => &["W1.0", "W2.0", "W3.0", "W4.0", "W6.0", "W8.0"],
            Self::OutboxLost => &["W3.0", "W6.0", "W7.2", "W7.4"],
            Self::TheirWordsLost => &["W2.0", "W5.0", "W8.0"],
        }
    }

    /// Does it to the home of a node that was killed.
    pub(crate) async fn strike(self, home: &Path) {
        match self {
            Self::LastBatchLost => copy_journal(&home.join(BEFORE), home),
            Self::JournalLost => {
                for file in FILES.into_iter().chain(["start-mark", "host-mark"]) {
                    std::fs::remove_file(home.join(file)).ok();
                }
            }
            Self::OutboxLost => run(home, "DELETE FROM outbox").await,
            Self::TheirWordsLost => {
                // CONFIRM, ACK, COSIGN: what makes a side firm, or ends a ride.
                let sql = "DROP TRIGGER statements_stay; \
                           DELETE FROM statements WHERE own = 0 AND kind IN (18, 19, 37)";
                run(home, sql).await;
            }
        }
    }
}

/// Copies the journal from one folder to another, as it lies there.
pub(crate) fn copy_journal(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for file in FILES {
        std::fs::remove_file(to.join(file)).ok();
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file)).expect("a file can be copied");
        }
    }
}

async fn run(home: &Path, sql: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(home.join(FILES[0]));
    let mut connection = options.connect().await.expect("the journal is free");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("it can be changed");
    connection.close().await.expect("closed");
}
