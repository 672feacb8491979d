//! Faults of whoever starts a killed node again, to show that the checks see them. The node
//! is the same as in every other case.

use std::path::Path;

use sqlx::{ConnectOptions, Connection};

use crate::plan::Moment;

/// Where a victim puts its journal as it was before the batch at the point.
pub(crate) const BEFORE: &str = "before";

/// The files of a journal in SQLite.
const FILES: [&str; 2] = ["hailmesh.db", "hailmesh.db-wal"];

/// What is lost between a kill and the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// What was sent is not in the journal: as if the node had sent before it wrote.
    LastBatch,
    /// The journal is gone, with the marks beside it, and nobody tells the node.
    Journal,
    /// What waits to be sent is forgotten.
    Outbox,
    /// What the other side said is forgotten.
    TheirWords,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::LastBatch, Self::Journal, Self::Outbox, Self::TheirWords];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::LastBatch => "the-last-batch-is-lost",
            Self::Journal => "the-journal-is-lost",
            Self::Outbox => "the-outbox-is-lost",
            Self::TheirWords => "their-words-are-lost",
        }
    }

    /// When the victim dies: when what is lost has been heard, or before it was sent.
    pub(crate) const fn moment(self) -> Moment {
        match self {
            Self::LastBatch | Self::Journal => Moment::Sent,
            Self::Outbox | Self::TheirWords => Moment::After,
        }
    }

    /// The batches at which it is made.
    pub(crate) const fn batches(self) -> &'static [&'static str] {
        match self {
            Self::LastBatch | Self::Journal => &["W1.0", "W2.0", "W3.0", "W4.0", "W6.0", "W8.0"],
            Self::Outbox => &["W3.0", "W6.0", "W7.2", "W7.4"],
            Self::TheirWords => &["W2.0", "W5.0", "W8.0"],
        }
    }

    /// Does it to the home of a node that was killed.
    pub(crate) async fn strike(self, home: &Path) {
        match self {
            Self::LastBatch => copy_journal(&home.join(BEFORE), home),
            Self::Journal => {
                for file in FILES.into_iter().chain(["start-mark", "host-mark"]) {
                    std::fs::remove_file(home.join(file)).ok();
                }
            }
            Self::Outbox => run(home, "DELETE FROM outbox").await,
            Self::TheirWords => {
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
