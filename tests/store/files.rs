//! What can be wrong with the file of a journal, and that it is never made worse.

use std::fs;
use std::path::{Path, PathBuf};

use hailmesh_market::journal::{Record, Role, SecretSeed};
use hailmesh_store::{Error, Options, Store, StoreUrl};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::place::Place;
use crate::sample::*;

fn path_of(place: &Place) -> PathBuf {
    let StoreUrl::Sqlite(path) = place.url() else { unreachable!("a file") };
    path
}

async fn open(path: &Path) -> Result<Store, Error> {
    Store::open(&StoreUrl::Sqlite(path.to_owned()), &key(250), Options::default()).await
}

/// A journal with some history, closed, in one file.
async fn written(place: &Place) -> PathBuf {
    let store = place.open().await;
    store.append_all(&life(20)).await.expect("stored");
    store.close().await;
    path_of(place)
}

#[tokio::test]
async fn only_its_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::sqlite();
    let store = place.open().await;
    store.append_all(&life(1)).await.expect("stored");
    let path = path_of(&place);
    let home = path.parent().expect("in a folder");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(home), 0o700);
    for entry in fs::read_dir(home).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    store.close().await;
    let left: Vec<_> =
        fs::read_dir(home).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(left, [path], "a closed journal is one file");
}

#[tokio::test]
async fn a_second_opening_is_refused() {
    let place = Place::sqlite();
    let store = place.open().await;
    for _ in 0..2 {
        let error = place.try_open().await.expect_err("in use");
        assert!(matches!(&error, Error::InUse { what } if what.contains("hailmesh.db")), "{error}");
        store.append_all(&life(0)).await.expect("the first goes on");
    }
    store.close().await;
    place.open().await.close().await;
}

#[tokio::test]
async fn another_identity_is_refused() {
    let place = Place::sqlite();
    let path = written(&place).await;
    let url = StoreUrl::Sqlite(path.clone());
    let error = Store::open(&url, &key(5), Options::default()).await.expect_err("not ours");
    assert!(matches!(error, Error::OtherIdentity { .. }), "{error}");
    open(&path).await.expect("the owner can open it").close().await;
}

#[tokio::test]
async fn a_cut_file_is_refused_and_left_alone() {
    let place = Place::sqlite();
    let whole = fs::read(written(&place).await).expect("read");
    assert!(whole.len() > 20 * 4_096, "{} bytes", whole.len());
    let pages = whole.len() / 4_096;
    let cuts = [
        0,
        1,
        99,
        100,
        511,
        512,
        4_095,
        4_096,
        4_097,
        pages / 2 * 4_096,
        whole.len() - 4_096,
        whole.len() - 1,
    ];
    for cut in cuts {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cut.db");
        fs::write(&path, &whole[..cut]).expect("written");
        let Err(error) = open(&path).await else { panic!("cut at {cut}: opened") };
        assert!(
            matches!(&error, Error::Corrupt { what, .. } if what.contains("cut.db")),
            "cut at {cut}: {error}"
        );
        assert!(fs::read(&path).expect("still there") == whole[..cut], "cut at {cut}: changed");
    }
}

#[tokio::test]
async fn other_files_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("text.db");
    fs::write(&text, "Not a database at all. ".repeat(400)).expect("written");
    let foreign = folder.path().join("foreign.db");
    let mut other =
        SqliteConnectOptions::new().filename(&foreign).create_if_missing(true).connect().await.expect("made");
    sqlx::raw_sql("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('x')")
        .execute(&mut other)
        .await
        .expect("written");
    other.close().await.expect("closed");
    for path in [&text, &foreign] {
        let before = fs::read(path).expect("read");
        let error = open(path).await.expect_err("not ours");
        assert!(matches!(error, Error::Corrupt { .. }), "{}: {error}", path.display());
        assert!(fs::read(path).expect("still there") == before, "{}: changed", path.display());
    }
    let mut other = SqliteConnectOptions::new().filename(&foreign).connect().await.expect("opened");
    let rows = sqlx::raw_sql("SELECT * FROM bookmarks").fetch_all(&mut other).await.expect("read");
    assert_eq!(rows.len(), 1, "it still holds what it held");
    other.close().await.expect("closed");

    let error = open(folder.path()).await.expect_err("a folder");
    assert!(matches!(error, Error::BadUrl { .. }), "{error}");
    let error = open(&foreign.join("below-a-file.db")).await.expect_err("no folder");
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn damaged_pages_are_found() {
    let place = Place::sqlite();
    let whole = fs::read(written(&place).await).expect("read");
    let mut refused = 0;
    for page in 0..whole.len() / 4_096 {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("damaged.db");
        let mut damaged = whole.clone();
        damaged[page * 4_096..][..64].fill(0xee);
        fs::write(&path, &damaged).expect("written");
        match open(&path).await {
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. }), "page {page}: {error}");
                refused += 1;
            }
            // A page that belongs to nothing.
            Ok(store) => store.close().await,
        }
    }
    let pages = whole.len() / 4_096;
    assert!(refused * 10 >= pages * 9, "only {refused} of {pages} damaged pages were found");
}

#[tokio::test]
async fn a_log_without_its_database_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lost.db");
    crate::crash::leave_behind(&path, 5);
    fs::remove_file(&path).expect("lost");
    let error = open(&path).await.expect_err("half of it is gone");
    assert!(matches!(&error, Error::Corrupt { detail, .. } if detail.contains("lost.db-wal")), "{error}");
    assert!(!path.exists() && folder.path().join("lost.db-wal").exists());
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let place = Place::sqlite();
    let path = written(&place).await;
    let mut raw = SqliteConnectOptions::new().filename(&path).connect().await.expect("opened");
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'from the future', 1, x'00', 1)";
    sqlx::raw_sql(newer).execute(&mut raw).await.expect("written");
    raw.close().await.expect("closed");
    let error = open(&path).await.expect_err("too new");
    assert!(matches!(error, Error::Newer { found: 9999, .. }), "{error}");
}

#[tokio::test]
async fn a_changed_schema_is_refused() {
    let place = Place::sqlite();
    let path = written(&place).await;
    let mut raw = SqliteConnectOptions::new().filename(&path).connect().await.expect("opened");
    sqlx::raw_sql("UPDATE _sqlx_migrations SET checksum = x'00'").execute(&mut raw).await.expect("written");
    raw.close().await.expect("closed");
    let error = open(&path).await.expect_err("not the schema of this program");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_damage() {
    let place = Place::sqlite();
    let path = written(&place).await;
    let mut raw = SqliteConnectOptions::new().filename(&path).connect().await.expect("opened");
    // 0x55 is no kind of statement; the columns themselves cannot know that.
    let odd = "INSERT INTO statements (seq, key, lane, slot, id, kind, own, bytes) \
               SELECT seq + 100000, key, lane, slot, bytes(id), 85, own, bytes FROM statements LIMIT 1";
    let odd = odd.replace("bytes(id)", "zeroblob(32)");
    sqlx::raw_sql(sqlx::AssertSqlSafe(odd)).execute(&mut raw).await.expect("written");
    raw.close().await.expect("closed");
    let store = open(&path).await.expect("its pages are whole");
    let error = store.load().await.expect_err("but it makes no sense");
    assert!(matches!(&error, Error::Corrupt { detail, .. } if detail.contains("statements")), "{error}");
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let place = Place::sqlite();
    let path = path_of(&place);
    let url = place.url();
    let capped = Options { max_bytes: Some(300 * 1_024), ..Options::default() };
    let store = Store::open(&url, &key(250), capped.clone()).await.expect("opened");
    let batches = life(2_000);
    let mut done = 0;
    let error = loop {
        match store.append(&batches[done]).await {
            Ok(()) => done += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, Error::Unavailable { detail, .. } if detail.contains("full")), "{error}");
    assert!(done > 20, "{done} batches");
    let expected = prefixes(&batches[..done]).await.pop().expect("one state more than batches");
    // The same store goes on reading, and still has no room.
    assert_eq!(store.load().await.as_ref(), Ok(&expected));
    assert!(matches!(store.append(&batches[done]).await, Err(Error::Unavailable { .. })));
    assert_eq!(store.load().await.as_ref(), Ok(&expected));
    store.close().await;
    assert!(fs::metadata(&path).expect("there").len() <= 300 * 1_024);
    // With more room it continues where it stood.
    let store = open(&path).await.expect("opened");
    assert_eq!(store.load().await.as_ref(), Ok(&expected));
    store.append(&batches[done]).await.expect("there is room");
    store.close().await;
}

#[tokio::test]
async fn an_erased_secret_is_gone_from_the_disk() {
    let place = Place::sqlite();
    let store = place.open().await;
    let path = path_of(&place);
    let mut record = key_record(1, Role::Driver);
    let pattern: [u8; 32] = std::array::from_fn(|index| 0xa0 ^ (index as u8).wrapping_mul(37));
    record.secret = SecretSeed(pattern);
    store.append(&[Record::Key(record)]).await.expect("stored");
    let holds = |ending: &str| {
        let mut name = path.clone().into_os_string();
        name.push(ending);
        let bytes = fs::read(name).unwrap_or_default();
        bytes.windows(32).any(|window| window == pattern)
    };
    assert!(holds("") || holds("-wal"), "it was there");
    store.append(&[Record::KeyErased { key: key(1) }]).await.expect("stored");
    assert!(!holds("-wal"), "the log still holds it");
    assert!(!holds(""), "the file still holds it");
    store.close().await;
    assert!(!holds(""), "the file holds it again");
}
