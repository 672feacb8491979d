//! The writer: one task makes batches durable, in order, and says so.

use std::time::Duration;

use hailmesh_market::Record;
use hailmesh_store::{Error, Store};
use tokio::sync::mpsc;

use crate::clock::Stopwatch;
use crate::fail_point::{FailPoint, FailPoints};
use crate::start_mark::Mark;

/// The store as the loop uses it. In the tests of this crate it can be made to fail.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    store: Store,
    points: Option<FailPoints>,
    #[cfg(test)]
    pub(crate) faults: std::sync::Arc<Faults>,
}

/// What a test can make go wrong.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Whether the store fails.
    pub(crate) store: std::sync::atomic::AtomicBool,
    /// Whether the network service is to end.
    pub(crate) network: std::sync::atomic::AtomicBool,
    /// How far the wall clock has been set, milliseconds.
    pub(crate) clock_ms: std::sync::atomic::AtomicI64,
}

/// What became of a commit.
#[derive(Debug)]
pub(crate) struct Ack {
    pub(crate) result: Result<(), Error>,
    pub(crate) took: Duration,
}

impl Journal {
    pub(crate) fn new(store: Store, points: Option<FailPoints>) -> Self {
        Self {
            store,
            points,
            #[cfg(test)]
            faults: std::sync::Arc::default(),
        }
    }

    /// Everything that does not make promises.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    fn fault(&self) -> Result<(), Error> {
        #[cfg(test)]
        if self.faults.store.load(std::sync::atomic::Ordering::SeqCst) {
            let detail = "a fault that the test asked for".to_owned();
            return Err(Error::Unavailable { what: "the journal".to_owned(), detail });
        }
        Ok(())
    }

    pub(crate) async fn append_all(&self, batches: Vec<Vec<Record>>) -> Result<(), Error> {
        self.fault()?;
        self.reach(FailPoint::BeforeCommit(&batches));
        self.store.append_all(&batches).await?;
        self.reach(FailPoint::AfterCommit(&batches));
        Ok(())
    }

    /// Tells whoever wants to know that a point is reached.
    pub(crate) fn reach(&self, point: FailPoint<'_>) {
        if let Some(points) = &self.points {
            points.reach(point);
        }
    }

    /// Finds out whether the store can be written to again, and reads it.
    pub(crate) async fn reload(&self, mark: Option<Mark>) -> Result<Vec<Record>, Error> {
        self.fault()?;
        self.store.check().await?;
        if let Some(mark) = mark {
            self.store.set_start_mark(mark).await?;
        }
        self.store.load().await
    }
}

/// Starts the writer. It ends when the sender of commits is dropped.
pub(crate) fn spawn_writer(journal: Journal) -> (mpsc::Sender<Vec<Vec<Record>>>, mpsc::Receiver<Ack>) {
    let (commits, mut inbox) = mpsc::channel::<Vec<Vec<Record>>>(1);
    let (acks, outbox) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(batches) = inbox.recv().await {
            let watch = Stopwatch::start();
            let result = journal.append_all(batches).await;
            if acks.send(Ack { result, took: watch.elapsed() }).await.is_err() {
                break;
            }
        }
    });
    (commits, outbox)
}
