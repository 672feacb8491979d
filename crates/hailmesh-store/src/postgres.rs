//! A journal on a Postgres server (P11.4).
//!
//! Each identity has a schema of its own, so that several nodes can share a database,
//! and an advisory lock that lives as long as the connection. A secret that is erased is
//! gone from the table, but the server may keep old row versions and logs for a while:
//! whoever must be sure of that uses SQLite.

use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Executor, Postgres as Dialect, Row as _, TypeInfo, ValueRef,
};

use crate::sql::{Backend, Cell, Connection, Execute, Row, Script, Value};
use crate::sqlite::migration_failure;
use crate::{Error, StoreUrl};

/// How long a lock may still be held by a process that has ended.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried meanwhile.
const LOCK_RETRY: Duration = Duration::from_millis(50);
/// How long each step of the end of a connection may take.
const FAREWELL: Duration = Duration::from_secs(1);

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// A server, and the place of one identity on it.
pub(crate) struct Postgres {
    options: PgConnectOptions,
    what: String,
    /// 32 hexadecimal digits after `hailmesh_`: the first 16 bytes of the identity. All
    /// 32 bytes are compared with the table `meta`.
    schema: String,
    /// The advisory lock: the first 8 bytes of the identity.
    lock: i64,
    timeout: Duration,
}

impl Postgres {
    pub(crate) fn new(
        address: &str,
        url: &StoreUrl,
        identity: &[u8; 32],
        timeout: Duration,
    ) -> Result<Self, Error> {
        let what = url.to_string();
        // The parser may quote the address in its message, with its password.
        let detail = "the address cannot be read".to_owned();
        let options = PgConnectOptions::from_str(address)
            .map_err(|_| Error::BadUrl { value: what.clone(), detail })?
            .application_name("hailmesh")
            .disable_statement_logging();
        let digits: String = identity[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let lock = identity[..8].iter().fold(0, |lock, byte| lock << 8 | i64::from(*byte));
        Ok(Self { options, what, schema: format!("hailmesh_{digits}"), lock, timeout })
    }

    /// Takes the advisory lock. The server frees that of a process that has just ended a
    /// moment later, so a restart at once must have a little patience.
    async fn take_lock(&self, session: &mut Session) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + LOCK_PATIENCE.min(self.timeout);
        loop {
            let sql = "SELECT CAST(pg_try_advisory_lock($1) AS INT)";
            if session.fetch(sql, &[self.lock.into()]).await? == [[Cell::Int(1)]] {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::InUse { what: self.what.clone() });
            }
            tokio::time::sleep(LOCK_RETRY).await;
        }
    }

    /// Everything between the connection and its first use.
    async fn prepare(&self, session: &mut Session) -> Result<(), Error> {
        let timeout_ms = self.timeout.as_millis();
        session
            .run(format!(
                "SET client_min_messages = warning; SET synchronous_commit = on; \
                 SET default_transaction_isolation = 'read committed'; \
                 SET idle_in_transaction_session_timeout = '60s'; \
                 SET statement_timeout = {timeout_ms}; SET lock_timeout = {timeout_ms}"
            ))
            .await?;
        // A server that is gone is noticed, and one that lost us frees our lock, within
        // half a minute. Connections through a socket of the same machine refuse these.
        session
            .run(
                "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
                    .to_owned(),
            )
            .await
            .ok();
        self.take_lock(session).await?;
        if session.fetch("SHOW fsync", &[]).await? == [[Cell::Text("off".to_owned())]] {
            tracing::warn!(
                store = self.what,
                "the server runs with fsync off: a power loss can lose promises"
            );
        }
        let schema = &self.schema;
        let there = session
            .fetch("SELECT nspname::text FROM pg_namespace WHERE nspname = $1", &[schema.as_str().into()])
            .await?;
        if there.is_empty() {
            session.run(format!("CREATE SCHEMA {schema}")).await?;
        }
        session.run(format!("SET search_path TO {schema}")).await?;
        let migrated = async {
            let applied = MIGRATIONS.run_direct(None, &mut session.connection, false).await;
            applied.map_err(|error| {
                migration_failure(&self.what, &MIGRATIONS, error, |e| failure(&self.what, e))
            })
        };
        within(self.timeout, &self.what, migrated).await
    }
}

impl Backend for Postgres {
    type Connection = Session;

    fn what(&self) -> &str {
        &self.what
    }

    async fn connect(&self, _first: bool) -> Result<Session, Error> {
        let connected = async { self.options.connect().await.map_err(|error| failure(&self.what, &error)) };
        let connection = within(self.timeout, &self.what, connected).await?;
        let mut session = Session { connection, what: self.what.clone(), timeout: self.timeout };
        match self.prepare(&mut session).await {
            Ok(()) => Ok(session),
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }
}

/// The one connection to the server.
pub(crate) struct Session {
    connection: PgConnection,
    what: String,
    timeout: Duration,
}

impl Session {
    /// Statements without parameters; nothing that a stranger wrote may be in them.
    async fn run(&mut self, sql: String) -> Result<(), Error> {
        let what = &self.what;
        let done = self.connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
        let done = async { done.await.map(drop).map_err(|error| failure(what, &error)) };
        within(self.timeout, what, done).await
    }
}

impl Execute for Session {
    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Error> {
        let what = &self.what;
        let done = bind(sql, values).execute(&mut self.connection);
        let done = async { done.await.map_err(|error| failure(what, &error)) };
        within(self.timeout, what, done).await.map(|done| done.rows_affected())
    }

    async fn fetch(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        let what = &self.what;
        let rows = bind(sql, values).fetch_all(&mut self.connection);
        let rows = async { rows.await.map_err(|error| failure(what, &error)) };
        let rows = within(self.timeout, what, rows).await?;
        rows.iter().map(|row| cells(row).map_err(|error| failure(what, &error))).collect()
    }
}

impl Connection for Session {
    /// Its protocol takes one statement at a time.
    const SCRIPTS: bool = false;

    async fn run(&mut self, _: Script) -> Result<(), Error> {
        Err(Error::conflict("no scripts here"))
    }

    async fn begin(&mut self) -> Result<(), Error> {
        self.run("BEGIN".to_owned()).await
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.run("COMMIT".to_owned()).await
    }

    async fn rollback(&mut self) -> Result<(), Error> {
        self.run("ROLLBACK".to_owned()).await
    }

    async fn wipe(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn close(mut self) {
        // The lock goes first, for the server is in no hurry to end a session. A farewell
        // to one that is gone must not hold anybody up.
        let unlocked = self.connection.execute("SELECT pg_advisory_unlock_all()");
        tokio::time::timeout(self.timeout.min(FAREWELL), unlocked).await.ok();
        let farewell = sqlx::Connection::close(self.connection);
        if !matches!(tokio::time::timeout(self.timeout.min(FAREWELL), farewell).await, Ok(Ok(()))) {
            tracing::debug!(store = self.what, "the connection was not closed in order");
        }
    }
}

async fn within<T>(
    timeout: Duration,
    what: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(timeout, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::Unavailable {
            what: what.to_owned(),
            detail: format!("no answer within {} ms", timeout.as_millis()),
        }),
    }
}

fn bind<'q>(sql: &'static str, values: &[Value<'q>]) -> Query<'q, Dialect, PgArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match *value {
        Value::Int(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
    })
}

fn cells(row: &PgRow) -> Result<Row, sqlx::Error> {
    let cell = |column: &sqlx::postgres::PgColumn| {
        let index = column.ordinal();
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        match column.type_info().name() {
            "INT8" => row.try_get(index).map(Cell::Int),
            "INT4" => row.try_get::<i32, _>(index).map(|number| Cell::Int(number.into())),
            "BYTEA" => row.try_get(index).map(Cell::Bytes),
            _ => row.try_get(index).map(Cell::Text),
        }
    };
    row.columns().iter().map(cell).collect()
}

/// Whose fault a failure is, by the class of its SQLSTATE.
fn failure(what: &str, error: &sqlx::Error) -> Error {
    let what = what.to_owned();
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            let detail = format!("{} ({code})", error.message());
            match (code.get(..2), &*code) {
                // A constraint, one of our triggers, a value that does not fit.
                (Some("22" | "23" | "44" | "P0"), _) => Error::Conflict { what: detail },
                (_, "XX001" | "XX002") => Error::Corrupt { what, detail },
                _ => Error::Unavailable { what, detail },
            }
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            Error::Corrupt { what, detail: error.to_string() }
        }
        _ => Error::Unavailable { what, detail: error.to_string() },
    }
}
