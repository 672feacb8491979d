//! Past our code: what the schema refuses by itself (P11.5).
//!
//! The same SQL runs on both databases, against a journal with one live driver slot,
//! one live rider slot and a few ended ones.

use std::future::Future;

use hailmesh_market::journal::{Record, Role, SecretPurpose};
use hailmesh_wire::{Kind, Outcome, RideState};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::place::Place;
use crate::sample::*;

/// A connection that runs SQL as it is given.
pub(crate) trait Raw {
    /// Rows changed, or the text of the refusal; any other failure panics.
    fn run(&mut self, sql: &'static str) -> impl Future<Output = Result<u64, String>>;
}

impl Raw for SqliteConnection {
    async fn run(&mut self, sql: &'static str) -> Result<u64, String> {
        match sqlx::raw_sql(sql).execute(self).await {
            Ok(done) => Ok(done.rows_affected()),
            Err(sqlx::Error::Database(error)) => {
                let code: i32 = error.code().expect("a result code").parse().expect("a number");
                assert_eq!(code & 0xff, 19, "not refused by a constraint: {sql}: {error}");
                Err(error.message().to_owned())
            }
            Err(error) => panic!("{sql}: {error}"),
        }
    }
}

impl Raw for sqlx::PgConnection {
    async fn run(&mut self, sql: &'static str) -> Result<u64, String> {
        match sqlx::raw_sql(sql).execute(self).await {
            Ok(done) => Ok(done.rows_affected()),
            Err(sqlx::Error::Database(error)) => {
                let code = error.code().expect("a SQLSTATE").into_owned();
                assert!(code.starts_with("23"), "not refused by a constraint: {sql}: {error} ({code})");
                Err(error.message().to_owned())
            }
            Err(error) => panic!("{sql}: {error}"),
        }
    }
}

/// All columns of a new row of `slots` that is live, but for key, slot and request.
macro_rules! bind {
    ($key:literal, $slot:literal, $request:literal, $from:literal) => {
        concat!(
            "INSERT INTO slots (key, lane, slot, seq, role, ride, counterparty, peer, request, accept, \
             agreement, fare, currency, bound_at, deadline) SELECT ",
            $key,
            ", lane, ",
            $slot,
            ", (SELECT MAX(seq) + 1 FROM slots), role, ride, counterparty, peer, ",
            $request,
            ", accept, agreement, fare, currency, bound_at, deadline FROM slots WHERE ",
            $from
        )
    };
}

const FORBIDDEN: &[(&str, &str)] = &[
    (
        "two live slots of one driver lane, under two keys",
        bind!(
            "(SELECT k.key FROM keys AS k WHERE k.role = 1 AND k.key <> slots.key AND k.secret IS NOT NULL LIMIT 1)",
            "0",
            "request",
            "role = 1 AND outcome IS NULL"
        ),
    ),
    ("two live slots of one driver key", bind!("key", "slot + 1", "accept", "role = 1 AND outcome IS NULL")),
    ("two live slots of one rider key", bind!("key", "slot + 1", "accept", "role = 2 AND outcome IS NULL")),
    ("a slot twice", bind!("key", "slot", "accept", "role = 1 AND outcome IS NULL")),
    ("an ended slot once more", bind!("key", "slot", "accept", "role = 1 AND slot = 0")),
    (
        "a gap in the chain",
        bind!("key", "slot + 2", "accept", "role = 2 AND outcome IS NOT NULL AND slot = 0"),
    ),
    (
        "one REQUEST for two slots",
        "UPDATE slots SET outcome = 4, shown = 'cancelled', ended_at = bound_at \
        WHERE role = 1 AND outcome IS NULL; INSERT INTO slots (key, lane, slot, seq, role, ride, counterparty, \
        peer, request, accept, agreement, fare, currency, bound_at, deadline) SELECT key, lane, slot + 1, \
        (SELECT MAX(seq) + 1 FROM slots), role, ride, counterparty, peer, request, accept, agreement, fare, \
        currency, bound_at, deadline FROM slots AS s WHERE role = 1 AND slot = (SELECT MAX(slot) FROM slots AS t \
        WHERE t.key = s.key)",
    ),
    ("a slot of no key", bind!("accept", "0", "request", "role = 2 AND outcome IS NULL")),
    (
        "an end taken back",
        "UPDATE slots SET outcome = NULL, shown = NULL, proof = NULL, ended_at = NULL WHERE slot = 0 AND role = 1",
    ),
    ("another end", "UPDATE slots SET outcome = 4 WHERE role = 1 AND outcome IS NOT NULL"),
    ("another proof", "UPDATE slots SET proof = accept WHERE role = 1 AND outcome IS NOT NULL"),
    (
        "firm after the end",
        "UPDATE slots SET firm_at = bound_at WHERE role = 2 AND outcome IS NOT NULL AND firm_at IS NULL",
    ),
    ("half an end", "UPDATE slots SET outcome = 4 WHERE role = 1 AND outcome IS NULL"),
    (
        "an outcome that does not exist",
        "UPDATE slots SET outcome = 12, shown = 'void', ended_at = bound_at WHERE outcome IS NULL",
    ),
    (
        "the outcome NONE",
        "UPDATE slots SET outcome = 0, shown = 'void', ended_at = bound_at WHERE outcome IS NULL",
    ),
    (
        "a rider's outcome for a driver",
        "UPDATE slots SET outcome = 10, shown = 'cancelled', ended_at = bound_at WHERE role = 1 AND outcome IS NULL",
    ),
    (
        "a driver's outcome for a rider",
        "UPDATE slots SET outcome = 4, shown = 'cancelled', ended_at = bound_at WHERE role = 2 AND outcome IS NULL",
    ),
    (
        "a lapse after firm",
        "UPDATE slots SET outcome = 1, shown = 'expired', ended_at = bound_at, firm_at = bound_at WHERE role = 1 AND outcome IS NULL",
    ),
    (
        "a state that does not exist",
        "UPDATE slots SET outcome = 4, shown = 'gone', ended_at = bound_at WHERE role = 1 AND outcome IS NULL",
    ),
    (
        "a phase that does not exist",
        "INSERT INTO steps (seq, key, lane, slot, phase, wrong_codes, made_at) \
        SELECT 1000, key, lane, slot, 'flying', 0, bound_at FROM slots WHERE role = 1 AND outcome IS NULL",
    ),
    (
        "a step after the end",
        "INSERT INTO steps (seq, key, lane, slot, phase, wrong_codes, made_at) \
        SELECT 1000, key, lane, slot, 'arrived', 9, bound_at FROM slots WHERE role = 1 AND slot = 0",
    ),
    (
        "wrong codes taken back",
        "INSERT INTO steps (seq, key, lane, slot, phase, wrong_codes, made_at) \
        SELECT 1000, key, lane, slot, 'arrived', 1, bound_at FROM slots WHERE role = 2 AND outcome IS NULL",
    ),
    ("a step changed", "UPDATE steps SET wrong_codes = 0"),
    ("a step removed", "DELETE FROM steps"),
    ("another REQUEST under a slot", "UPDATE slots SET request = accept WHERE outcome IS NULL"),
    ("another counterparty", "UPDATE slots SET counterparty = accept WHERE outcome IS NULL"),
    ("another number", "UPDATE slots SET slot = slot + 7 WHERE outcome IS NULL"),
    ("a slot removed", "DELETE FROM slots WHERE role = 1"),
    ("statement bytes changed", "UPDATE statements SET bytes = id WHERE own = 1"),
    ("a statement removed", "DELETE FROM statements WHERE own = 0"),
    (
        "a statement of no slot",
        "INSERT INTO statements (seq, key, lane, slot, id, kind, own, bytes) \
        SELECT seq + 1000000, key, lane, slot + 50, id, kind, own, bytes FROM statements",
    ),
    (
        "a statement twice",
        "INSERT INTO statements (seq, key, lane, slot, id, kind, own, bytes) \
        SELECT seq + 1000000, key, lane, slot, id, kind, own, key FROM statements",
    ),
    ("a secret of no slot", "UPDATE secrets SET slot = slot + 50"),
    ("an erased key that comes back", "UPDATE keys SET secret = key WHERE secret IS NULL"),
    ("another secret", "UPDATE keys SET secret = key WHERE secret IS NOT NULL"),
    ("another role", "UPDATE keys SET role = 3 - role"),
    ("a key removed", "DELETE FROM keys WHERE secret IS NULL"),
    ("sequence numbers given back", "UPDATE sequences SET below = below - 1"),
    ("sequence numbers forgotten", "DELETE FROM sequences"),
    ("other bytes in the outbox", "UPDATE outbox SET bytes = statement"),
];

pub(crate) async fn prepare(place: &Place) {
    let store = place.open().await;
    let (ended_slot, live) = (slot(3, 0), slot(3, 1));
    let mut batches = life(1);
    batches.push(vec![
        Record::Key(key_record(2, Role::Driver)),
        Record::Key(key_record(3, Role::Rider)),
        Record::Key(key_record(4, Role::Rider)),
        Record::KeyErased { key: key(4) },
    ]);
    batches.push(accepted(1, 1));
    batches.push(vec![Record::Bound(bound(ended_slot, Role::Rider)), ended(ended_slot, Outcome::NoAck)]);
    batches.push(vec![Record::Bound(bound(live, Role::Rider)), secret(live, SecretPurpose::Code, 1)]);
    batches.push(vec![statement(live, Kind::Confirm, 12, true), progress(live, RideState::Firm, 2)]);
    store.append_all(&batches).await.expect("consistent");
    store.close().await;
}

pub(crate) async fn refuses(raw: &mut impl Raw) {
    for (what, sql) in FORBIDDEN {
        // In a transaction, as what is several statements must be refused as a whole.
        raw.run("BEGIN").await.expect("begun");
        let done = match raw.run(sql).await {
            Ok(changed) => {
                assert!(changed > 0, "{what}: the statement had nothing to do: {sql}");
                raw.run("COMMIT").await.map(drop)
            }
            Err(refusal) => Err(refusal),
        };
        assert!(done.is_err(), "{what}: not refused: {sql}");
        raw.run("ROLLBACK").await.ok();
    }
    // The tables are not simply closed: the other side may be reached elsewhere, and the next
    // slot may be bound once this one has ended.
    let allowed = [
        "UPDATE slots SET peer = accept WHERE role = 2 AND outcome IS NOT NULL",
        "UPDATE slots SET outcome = 4, shown = 'cancelled', ended_at = bound_at WHERE role = 1 AND outcome IS NULL",
        bind!("key", "slot + 1", "accept", "role = 1 AND slot = 1"),
    ];
    for sql in allowed {
        assert_eq!(raw.run(sql).await, Ok(1), "{sql}");
    }
}

#[tokio::test]
async fn the_sqlite_schema_refuses() {
    let place = Place::sqlite();
    prepare(&place).await;
    let hailmesh_store::StoreUrl::Sqlite(path) = place.url() else { unreachable!("a file") };
    let mut raw = SqliteConnectOptions::new().filename(path).connect().await.expect("connected");
    // SQLite says a failed ROLLBACK outside a transaction with code 1; ours are all inside.
    refuses(&mut raw).await;
    raw.close().await.expect("closed");
}
