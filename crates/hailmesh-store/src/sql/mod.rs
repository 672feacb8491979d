//! What SQLite and Postgres have in common: the SQL, one connection, one writer.
//!
//! Both take the same statements with `$1` placeholders, so the SQL is written once, on
//! top of the small trait [`Connection`]: integers of 64 bits, byte strings, texts.

mod read;
mod script;
mod write;

use std::future::Future;

use hailmesh_market::journal::{Record, RideId};
use hailmesh_types::PeerKey;
use tokio::sync::{Mutex, MutexGuard};

use crate::Error;
pub(crate) use script::{Owned, Script};

/// A parameter of a statement. The absent ones keep their type, which Postgres needs.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Int(Option<i64>),
    Bytes(Option<&'a [u8]>),
    Text(Option<&'a str>),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(Some(value))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::Bytes(Some(value))
    }
}

impl<'a> From<Option<&'a [u8]>> for Value<'a> {
    fn from(value: Option<&'a [u8]>) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value))
    }
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
}

pub(crate) type Row = Vec<Cell>;

/// What statements are given to.
pub(crate) trait Execute: Send {
    /// Runs a statement; how many rows it changed.
    fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Runs a query; all its rows.
    fn fetch(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;
}

/// One connection to a database, with the lock that makes it the only one.
pub(crate) trait Connection: Execute {
    /// Whether [`Connection::run`] is quicker than one statement after the other.
    const SCRIPTS: bool;

    /// Runs a script; durable when it returns. After a failure a transaction may be open.
    fn run(&mut self, script: Script) -> impl Future<Output = Result<(), Error>> + Send;

    fn begin(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Durable when it returns.
    fn commit(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    fn rollback(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Wipes what a committed change left behind of erased secrets, as far as the
    /// database can.
    fn wipe(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Makes connections to one database.
pub(crate) trait Backend: Send + Sync {
    type Connection: Connection;

    /// Name for error texts, without passwords.
    fn what(&self) -> &str;

    /// Connects, takes the lock and brings the schema up to date. `first` is false when
    /// an earlier connection was lost: then the database must be there already.
    fn connect(&self, first: bool) -> impl Future<Output = Result<Self::Connection, Error>> + Send;
}

/// A journal in a database.
pub(crate) struct Database<B: Backend> {
    backend: B,
    identity: [u8; 32],
    session: Mutex<Session<B::Connection>>,
}

struct Session<C> {
    /// None after a failure, until the next call.
    connection: Option<C>,
    /// The count of openings that ours made; another one shows another user.
    epoch: u64,
    /// A call was abandoned inside a transaction if this is set when another begins.
    in_transaction: bool,
    closed: bool,
}

impl<B: Backend> Database<B> {
    pub(crate) async fn open(backend: B, identity: [u8; 32]) -> Result<Self, Error> {
        let mut connection = backend.connect(true).await?;
        match enter(&mut connection, backend.what(), &identity).await {
            Ok(epoch) => {
                let session =
                    Session { connection: Some(connection), epoch, in_transaction: false, closed: false };
                Ok(Self { backend, identity, session: Mutex::new(session) })
            }
            Err(error) => {
                connection.close().await;
                Err(error)
            }
        }
    }

    pub(crate) async fn append(&self, batches: &[&[Record]]) -> Result<(), Error> {
        let mut session = self.ready().await?;
        let mut result = write::append_quickly(&mut session, batches).await;
        if matches!(result, Ok(false)) {
            drop(session);
            session = self.begin().await?;
            result = write::append(&mut session, batches).await.map(|()| true);
        }
        let result = result.map(drop);
        let erased = batches.iter().any(|batch| batch.iter().any(|r| matches!(r, Record::KeyErased { .. })));
        if erased
            && result.is_ok()
            && let Some(connection) = &mut session.connection
            && let Err(error) = connection.wipe().await
        {
            // The key is gone from the journal; its traces go with the next checkpoint.
            tracing::warn!(store = self.backend.what(), %error, "erased key not wiped from the log yet");
        }
        self.settle(session, result).await
    }

    pub(crate) async fn load(&self) -> Result<Vec<Record>, Error> {
        let mut session = self.ready().await?;
        let result = read::load(session.connection()?, self.backend.what()).await;
        self.settle(session, result).await
    }

    pub(crate) async fn ended(
        &self,
        before: Option<RideId>,
        limit: usize,
    ) -> Result<Vec<Vec<Record>>, Error> {
        let mut session = self.ready().await?;
        let result = read::ended(session.connection()?, self.backend.what(), before, limit).await;
        self.settle(session, result).await
    }

    pub(crate) async fn ride(&self, ride: RideId) -> Result<Vec<Record>, Error> {
        let mut session = self.ready().await?;
        let result = read::ride(session.connection()?, self.backend.what(), ride).await;
        self.settle(session, result).await
    }

    pub(crate) async fn peers(&self) -> Result<Vec<(PeerKey, String)>, Error> {
        let mut session = self.ready().await?;
        let result = read::peers(session.connection()?, self.backend.what()).await;
        self.settle(session, result).await
    }

    pub(crate) async fn remember_peers(&self, peers: &[(PeerKey, String)]) -> Result<(), Error> {
        let mut session = self.begin().await?;
        let result = write::remember_peers(&mut session, peers).await;
        self.settle(session, result).await
    }

    pub(crate) async fn start_mark(&self) -> Result<Option<[u8; 32]>, Error> {
        let mut session = self.ready().await?;
        let result = read::start_mark(session.connection()?, self.backend.what()).await;
        self.settle(session, result).await
    }

    pub(crate) async fn set_start_mark(&self, mark: [u8; 32]) -> Result<(), Error> {
        let mut session = self.ready().await?;
        let result = write::set_meta(session.connection()?, "start_mark", &mark).await;
        self.settle(session, result).await
    }

    pub(crate) async fn check(&self) -> Result<(), Error> {
        let mut session = self.ready().await?;
        let result = read::check(session.connection()?, self.backend.what()).await;
        self.settle(session, result).await
    }

    pub(crate) async fn close(&self) {
        let mut session = self.session.lock().await;
        session.closed = true;
        if let Some(connection) = session.connection.take() {
            connection.close().await;
        }
    }

    /// The session with a connection that can be used: as it was, or made anew.
    async fn ready(&self) -> Result<MutexGuard<'_, Session<B::Connection>>, Error> {
        let mut session = self.session.lock().await;
        if session.closed {
            return Err(self.unavailable("it was closed"));
        }
        if session.in_transaction
            && let Some(abandoned) = session.connection.take()
        {
            abandoned.close().await;
        }
        session.in_transaction = false;
        if session.connection.is_none() {
            let mut connection = self.backend.connect(false).await?;
            match entered(&mut connection, self.backend.what(), &self.identity).await {
                Ok(epoch) if epoch == session.epoch => session.connection = Some(connection),
                other => {
                    connection.close().await;
                    other?;
                    let what =
                        format!("{} (used by another node since this one lost it)", self.backend.what());
                    return Err(Error::InUse { what });
                }
            }
            tracing::info!(store = self.backend.what(), "connected again");
        }
        Ok(session)
    }

    /// A session inside a new transaction. Only here is a failure tried again: nothing has
    /// been written yet, and a server that was restarted shows in the first word.
    async fn begin(&self) -> Result<MutexGuard<'_, Session<B::Connection>>, Error> {
        let mut session = self.ready().await?;
        let mut begun = session.connection()?.begin().await;
        if matches!(begun, Err(Error::Unavailable { .. })) {
            self.settle(session, begun).await.ok();
            session = self.ready().await?;
            begun = session.connection()?.begin().await;
        }
        match begun {
            Ok(()) => {
                session.in_transaction = true;
                Ok(session)
            }
            Err(error) => self.settle(session, Err(error)).await,
        }
    }

    /// Gives up a connection that failed: the next call makes a new one.
    async fn settle<T>(
        &self,
        mut session: MutexGuard<'_, Session<B::Connection>>,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        if result.as_ref().is_err_and(Error::breaks_connection)
            && let Some(connection) = session.connection.take()
        {
            session.in_transaction = false;
            connection.close().await;
        }
        result
    }

    fn unavailable(&self, detail: &str) -> Error {
        Error::Unavailable { what: self.backend.what().to_owned(), detail: detail.to_owned() }
    }
}

impl<C: Connection> Session<C> {
    fn connection(&mut self) -> Result<&mut C, Error> {
        self.connection.as_mut().ok_or_else(|| Error::Unavailable {
            what: "store".to_owned(),
            detail: "the connection is gone".to_owned(),
        })
    }
}

/// Enters a journal as its new user: it must be of this identity, and the count of its
/// openings rises.
async fn enter<C: Connection>(connection: &mut C, what: &str, identity: &[u8; 32]) -> Result<u64, Error> {
    connection.begin().await?;
    let entered = async {
        let epoch = match read::meta(connection, "identity").await? {
            Some(_) => entered(connection, what, identity).await?,
            None => {
                write::set_meta(connection, "identity", identity).await?;
                0
            }
        };
        write::set_meta(connection, "openings", &(epoch + 1).to_be_bytes()).await?;
        Ok(epoch + 1)
    }
    .await;
    match entered {
        Ok(epoch) => connection.commit().await.map(|()| epoch),
        Err(error) => {
            // The connection is closed next, which ends the transaction too.
            connection.rollback().await.ok();
            Err(error)
        }
    }
}

/// The count of openings of a journal, which must be of this identity.
async fn entered<C: Connection>(connection: &mut C, what: &str, identity: &[u8; 32]) -> Result<u64, Error> {
    let corrupt = |detail: &str| Error::Corrupt { what: what.to_owned(), detail: detail.to_owned() };
    let stored = read::meta(connection, "identity").await?.ok_or_else(|| corrupt("it names no identity"))?;
    if stored != identity {
        let short = |key: &[u8]| key.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        return Err(Error::OtherIdentity {
            what: what.to_owned(),
            stored: short(&stored),
            given: short(identity),
        });
    }
    let count = read::meta(connection, "openings").await?.ok_or_else(|| corrupt("it counts no openings"))?;
    let count = count.as_slice().try_into().map_err(|_| corrupt("its count of openings is no number"))?;
    Ok(u64::from_be_bytes(count))
}
