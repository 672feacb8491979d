//! A journal in a file: SQLite in WAL mode with every commit synced (P11.4).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteLockingMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Row as _, Sqlite as Dialect, TypeInfo, ValueRef};

use crate::sql::{Backend, Cell, Connection, Execute, Owned, Row, Script, Value};
use crate::{Error, StoreUrl};

/// "HAIL", as migration 0001 writes it into the header of the file.
const APPLICATION_ID: i64 = 1_212_238_156;
/// Bytes in a page.
const PAGE_BYTES: u64 = 4_096;
/// Up to this size the whole file is checked when it is opened.
const CHECKED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The log is cut back to this size when it begins anew.
const LOG_BYTES_KEPT: u64 = 8 * 1024 * 1024;
/// How long another process may take to get out of the way. A node holds its lock as
/// long as it runs, so waiting longer would not help.
const BUSY_TIMEOUT: Duration = Duration::from_millis(300);

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/sqlite");

/// The file of a journal.
pub(crate) struct Sqlite {
    path: PathBuf,
    what: String,
    max_bytes: Option<u64>,
}

impl Sqlite {
    pub(crate) fn new(path: &Path, max_bytes: Option<u64>) -> Result<Self, Error> {
        let what = StoreUrl::Sqlite(path.to_owned()).to_string();
        // Absolute, because SQLite reads some relative names as addresses.
        let path = std::path::absolute(path)
            .map_err(|error| Error::BadUrl { value: what.clone(), detail: error.to_string() })?;
        if path.to_str().is_none() {
            return Err(Error::BadUrl { value: what, detail: "the path is not UTF-8".to_owned() });
        }
        Ok(Self { path, what, max_bytes })
    }

    fn corrupt(&self, detail: impl Into<String>) -> Error {
        Error::Corrupt { what: self.what.clone(), detail: detail.into() }
    }

    fn io(&self, doing: &str, error: &io::Error) -> Error {
        Error::Unavailable { what: self.what.clone(), detail: format!("{doing}: {error}") }
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(ending);
        name.into()
    }

    /// Opens a database that is there, with the lock that keeps others out. Nothing is
    /// written by that: who knows what it is.
    async fn connect_to(&self, path: &Path) -> Result<File, Error> {
        let mut options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .page_size(u32::try_from(PAGE_BYTES).unwrap_or(4_096))
            .locking_mode(SqliteLockingMode::Exclusive)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("secure_delete", "ON")
            // Drives of Apple machines need it to make a sync what it says.
            .pragma("fullfsync", "ON")
            .pragma("checkpoint_fullfsync", "ON")
            .pragma("trusted_schema", "OFF")
            .pragma("journal_size_limit", LOG_BYTES_KEPT.to_string())
            .disable_statement_logging();
        if let Some(bytes) = self.max_bytes {
            options = options.pragma("max_page_count", (bytes / PAGE_BYTES).max(1).to_string());
        }
        let connection = options.connect().await.map_err(|error| failure(&self.what, &error))?;
        Ok(File { connection, what: self.what.clone() })
    }

    /// Whether the file is whole and ours.
    async fn examine(&self, file: &mut File, bytes: u64) -> Result<(), Error> {
        let application = file.fetch("PRAGMA application_id", &[]).await?;
        if application != [[Cell::Int(APPLICATION_ID)]] {
            return Err(self.corrupt("a SQLite database of another program"));
        }
        if bytes > CHECKED_BYTES_MAX {
            tracing::info!(store = self.what, bytes, "too large to be checked at every start");
            return Ok(());
        }
        match file.fetch("PRAGMA quick_check(1)", &[]).await?.into_iter().flatten().next() {
            Some(Cell::Text(text)) if text == "ok" => Ok(()),
            Some(Cell::Text(text)) => Err(self.corrupt(text)),
            other => Err(self.corrupt(format!("the check answered {other:?}"))),
        }
    }

    /// Sets the mode in which a commit is one sync of the log, and brings the schema up
    /// to date.
    async fn migrate(&self, file: &mut File) -> Result<(), Error> {
        let mode = file.fetch("PRAGMA journal_mode = WAL", &[]).await?;
        if mode != [[Cell::Text("wal".to_owned())]] {
            let detail = format!("the file system does not take a write-ahead log: {mode:?}");
            return Err(Error::Unavailable { what: self.what.clone(), detail });
        }
        let applied = MIGRATIONS.run_direct(None, &mut file.connection, false).await;
        applied.map_err(|error| migration_failure(&self.what, &MIGRATIONS, error, |e| failure(&self.what, e)))
    }

    /// Makes the database aside and moves it to its name when it is whole, so that an
    /// empty or half-made file at that name is always the trace of an accident.
    async fn create(&self) -> Result<(), Error> {
        for ending in ["-wal", "-journal"] {
            let log = self.beside(ending);
            if fs::metadata(&log).is_ok_and(|found| found.len() > 0) {
                // SQLite would apply the changes of the lost database to the new one.
                let detail = format!("the file is gone, but its log {} is there", log.display());
                return Err(self.corrupt(detail));
            }
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        make_folder(folder)
            .map_err(|error| self.io(&format!("cannot make the folder {}", folder.display()), &error))?;
        let aside = self.beside(&format!(".new-{}", std::process::id()));
        let made = self.create_aside(&aside, folder).await;
        if made.is_err() {
            fs::remove_file(&aside).ok();
        }
        made
    }

    async fn create_aside(&self, aside: &Path, folder: &Path) -> Result<(), Error> {
        // Left over from a process with our number that was killed at this very point.
        fs::remove_file(aside).ok();
        make_file(aside).map_err(|error| self.io(&format!("cannot make {}", aside.display()), &error))?;
        let mut file = self.connect_to(aside).await?;
        let migrated = self.migrate(&mut file).await;
        file.close().await;
        migrated?;
        let moved =
            fs::File::open(aside).and_then(|file| file.sync_all()).and_then(|()| publish(aside, &self.path));
        match moved {
            Ok(()) => {}
            // Another process was faster: then it has the lock, or had it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(aside).ok();
                return Ok(());
            }
            Err(error) => return Err(self.io("cannot make the file", &error)),
        }
        sync_folder(folder).map_err(|error| self.io(&format!("cannot sync {}", folder.display()), &error))
    }

    /// SQLite reads a last page that was cut short as if zeros followed. Without a log
    /// that still holds that page the file must be as long as it says.
    async fn measure(&self, file: &mut File, bytes: u64) -> Result<(), Error> {
        let pages = file.fetch("PRAGMA page_count", &[]).await?;
        let Some(Cell::Int(pages)) = pages.into_iter().flatten().next() else {
            return Err(self.corrupt("it does not say how long it is"));
        };
        let expected = pages.cast_unsigned().saturating_mul(PAGE_BYTES);
        if bytes >= expected {
            Ok(())
        } else {
            Err(self.corrupt(format!("{bytes} bytes instead of {expected}")))
        }
    }

    /// Size of the file; none when there is none.
    fn size(&self) -> Result<Option<u64>, Error> {
        match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => {
                Err(Error::BadUrl { value: self.what.clone(), detail: "a folder, not a file".to_owned() })
            }
            Ok(found) if found.len() == 0 => Err(self.corrupt("the file is empty")),
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io("cannot look at the file", &error)),
        }
    }
}

impl Backend for Sqlite {
    type Connection = File;

    fn what(&self) -> &str {
        &self.what
    }

    async fn connect(&self, first: bool) -> Result<File, Error> {
        let mut bytes = self.size()?;
        if bytes.is_none() && first {
            self.create().await?;
            bytes = self.size()?;
        }
        let bytes = bytes.ok_or_else(|| self.corrupt("the file is gone"))?;
        let has_log = fs::metadata(self.beside("-wal")).is_ok_and(|log| log.len() > 0);
        let mut file = self.connect_to(&self.path).await?;
        let usable = async {
            self.examine(&mut file, bytes).await?;
            if !has_log {
                self.measure(&mut file, bytes).await?;
            }
            self.migrate(&mut file).await
        };
        let usable = usable.await;
        match usable {
            Ok(()) => Ok(file),
            Err(error) => {
                file.close().await;
                Err(error)
            }
        }
    }
}

/// The one connection to the file.
pub(crate) struct File {
    connection: SqliteConnection,
    what: String,
}

impl Execute for File {
    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Error> {
        match bind(sql, values).execute(&mut self.connection).await {
            Ok(done) => Ok(done.rows_affected()),
            Err(error) => Err(failure(&self.what, &error)),
        }
    }

    async fn fetch(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        let rows = bind(sql, values).fetch_all(&mut self.connection).await;
        let rows = rows.map_err(|error| failure(&self.what, &error))?;
        rows.iter().map(|row| cells(row).map_err(|error| failure(&self.what, &error))).collect()
    }
}

impl Connection for File {
    const SCRIPTS: bool = true;

    async fn run(&mut self, script: Script) -> Result<(), Error> {
        let (sql, values) = script.finish();
        // Nothing in the text comes from outside: it is made of those of this crate.
        let query = sqlx::query::<Dialect>(AssertSqlSafe(sql));
        let query = values.into_iter().fold(query, |query, value| match value {
            Owned::Int(value) => query.bind(value),
            Owned::Bytes(value) => query.bind(value),
            Owned::Text(value) => query.bind(value),
        });
        query.execute(&mut self.connection).await.map(drop).map_err(|error| failure(&self.what, &error))
    }

    async fn begin(&mut self) -> Result<(), Error> {
        self.execute("BEGIN IMMEDIATE", &[]).await.map(drop)
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.execute("COMMIT", &[]).await.map(drop)
    }

    async fn rollback(&mut self) -> Result<(), Error> {
        match self.execute("ROLLBACK", &[]).await {
            Ok(_) => Ok(()),
            // Some failures have already ended the transaction.
            Err(Error::Unavailable { detail, .. }) if detail.contains("no transaction is active") => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn wipe(&mut self) -> Result<(), Error> {
        // The page without the secret goes into the file, the log that had it is cut.
        self.fetch("PRAGMA wal_checkpoint(TRUNCATE)", &[]).await.map(drop)
    }

    async fn close(self) {
        if let Err(error) = sqlx::Connection::close(self.connection).await {
            // Everything committed is in the log and found at the next opening.
            tracing::warn!(store = self.what, %error, "the database was not closed in order");
        }
    }
}

fn bind<'q>(sql: &'static str, values: &[Value<'q>]) -> Query<'q, Dialect, SqliteArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match *value {
        Value::Int(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
    })
}

fn cells(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let cell = |column: &sqlx::sqlite::SqliteColumn| {
        let index = column.ordinal();
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let kind = value.type_info().into_owned();
        match kind.name() {
            "INTEGER" => row.try_get(index).map(Cell::Int),
            "TEXT" => row.try_get(index).map(Cell::Text),
            _ => row.try_get(index).map(Cell::Bytes),
        }
    };
    row.columns().iter().map(cell).collect()
}

/// Whose fault a failure is, by SQLite's primary result code.
fn failure(what: &str, error: &sqlx::Error) -> Error {
    let what = what.to_owned();
    let unavailable = |what, detail| Error::Unavailable { what, detail };
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().and_then(|code| i32::from_str(&code).ok()).unwrap_or(1) & 0xff;
            let detail = error.message().to_owned();
            match code {
                5 | 6 | 15 => Error::InUse { what },
                11 | 26 => Error::Corrupt { what, detail },
                18..=20 => Error::Conflict { what: detail },
                _ => unavailable(what, detail),
            }
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            Error::Corrupt { what, detail: error.to_string() }
        }
        _ => unavailable(what, error.to_string()),
    }
}

/// Why the schema could not be brought up to date.
pub(crate) fn migration_failure(
    what: &str,
    known: &sqlx::migrate::Migrator,
    error: MigrateError,
    failure: impl FnOnce(&sqlx::Error) -> Error,
) -> Error {
    let corrupt = |detail: String| Error::Corrupt { what: what.to_owned(), detail };
    let newest = known.iter().map(|migration| migration.version).max().unwrap_or(0);
    match error {
        MigrateError::VersionMissing(found) if found > newest => {
            Error::Newer { what: what.to_owned(), found, known: newest }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failure(&error),
        other => corrupt(other.to_string()),
    }
}

/// A new, empty file that only its owner can read.
fn make_file(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// A folder that only its owner can enter, with those above it.
fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Gives a finished file its name, which nobody else may have taken meanwhile.
fn publish(aside: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(aside, path) {
        Ok(()) => fs::remove_file(aside),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // File systems without links.
        Err(_) if fs::symlink_metadata(path).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(aside, path),
    }
}

/// Makes the names in a folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(path)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P11.4, as the connection itself answers.
    #[tokio::test]
    async fn every_commit_is_synced_and_the_file_is_locked() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Sqlite::new(&folder.path().join("x.db"), Some(1 << 20)).expect("a path");
        let mut file = journal.connect(true).await.expect("opened");
        let number = |number| vec![vec![Cell::Int(number)]];
        let text = |text: &str| vec![vec![Cell::Text(text.to_owned())]];
        for (pragma, expected) in [
            ("PRAGMA synchronous", number(2)),
            ("PRAGMA journal_mode", text("wal")),
            ("PRAGMA locking_mode", text("exclusive")),
            ("PRAGMA foreign_keys", number(1)),
            ("PRAGMA secure_delete", number(1)),
            ("PRAGMA max_page_count", number(256)),
            ("PRAGMA application_id", number(APPLICATION_ID)),
        ] {
            assert_eq!(file.fetch(pragma, &[]).await, Ok(expected), "{pragma}");
        }
        file.close().await;
    }

    /// Between a killed creation and the next start nothing is in the way.
    #[tokio::test]
    async fn a_creation_that_was_cut_short_is_begun_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.db");
        let journal = Sqlite::new(&path, None).expect("a path");
        fs::write(journal.beside(&format!(".new-{}", std::process::id())), "half").expect("written");
        journal.connect(true).await.expect("opened").close().await;
        fs::remove_file(&path).expect("removed");
        // But a file that was there and is gone is not made anew below an open store.
        let error = journal.connect(false).await.err();
        assert!(matches!(error, Some(Error::Corrupt { .. })), "{error:?}");
        assert!(!path.exists());
    }
}
