//! The suite on a real Postgres server, and what only a server can suffer.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use hailmesh_market::journal::{Record, Role};
use hailmesh_store::{Error, Options, Store, StoreUrl};
use hailmesh_types::PublicKey;
use hailmesh_wire::SigningKey;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::conformance;
use crate::place::Place;
use crate::random::{agrees, seed};
use crate::raw;
use crate::sample::*;
use crate::server::Server;

/// One test, so that one server is enough and surely stopped.
#[tokio::test]
async fn postgres() {
    let Some(mut server) = Server::start().await else { return };
    let mut failed = Vec::new();
    for (number, (name, test)) in conformance::ALL.iter().enumerate() {
        let place = place(&server, number as u64);
        let start = std::time::Instant::now();
        let passed = passes(test(&place)).await;
        println!("postgres::{name} {} ({:?})", if passed { "ok" } else { "FAILED" }, start.elapsed());
        if !passed {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "failed on Postgres: {failed:?}");
    let mut clock = Clock(std::time::Instant::now());
    agrees(&place(&server, 100), seed(), 400).await;
    clock.says("random histories");
    the_schema_refuses(&server).await;
    clock.says("the schema refuses");
    one_user_at_a_time(&server).await;
    clock.says("one user at a time");
    a_newer_schema_is_refused(&server).await;
    bad_addresses(&server).await;
    clock.says("bad addresses, newer schema");
    if server.is_private() {
        a_server_that_goes_away(&mut server).await;
        clock.says("a server that goes away");
    }
}

/// Says how long each part took: of one test the runner shows only the sum.
struct Clock(std::time::Instant);

impl Clock {
    fn says(&mut self, part: &str) {
        println!("postgres: {part} ok ({:?})", self.0.elapsed());
        self.0 = std::time::Instant::now();
    }
}

/// Whether a test ends without a panic; the others go on in either case.
async fn passes(mut test: Pin<Box<dyn Future<Output = ()> + '_>>) -> bool {
    poll_fn(move |context| {
        let step = catch_unwind(AssertUnwindSafe(|| test.as_mut().poll(context)));
        match step {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(true),
            Err(_) => Poll::Ready(false),
        }
    })
    .await
}

/// An identity that no other test and no earlier run has.
fn place(server: &Server, number: u64) -> Place {
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    let mut seed = [u8::try_from(std::process::id() % 251).expect("small"); 32];
    seed[..8].copy_from_slice(&now.to_be_bytes());
    seed[8..16].copy_from_slice(&number.to_be_bytes());
    let identity = PublicKey::from(SigningKey::from_bytes(&seed).verifying_key());
    Place::Postgres(server.url.clone(), identity)
}

/// A connection of somebody else, who looks at the tables of this place.
async fn raw(server: &Server, place: &Place) -> PgConnection {
    let options: PgConnectOptions = server.url.parse().expect("an address");
    let mut raw = options.connect().await.expect("connected");
    let path = format!("SET search_path TO {}", schema(place));
    sqlx::raw_sql(AssertSqlSafe(path)).execute(&mut raw).await.expect("set");
    raw
}

fn schema(place: &Place) -> String {
    format!("hailmesh_{}", &place.identity().to_string()[..32])
}

async fn the_schema_refuses(server: &Server) {
    let place = place(server, 200);
    raw::prepare(&place).await;
    let mut raw = raw(server, &place).await;
    raw::refuses(&mut raw).await;
    raw.close().await.expect("closed");
}

async fn one_user_at_a_time(server: &Server) {
    let first = place(server, 201);
    let store = first.open().await;
    let error = first.try_open().await.expect_err("in use");
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    store.append_all(&life(1)).await.expect("the first goes on");
    // Another identity has its own place on the same server.
    let second = place(server, 202);
    let other = second.open().await;
    assert_eq!(other.load().await, Ok(vec![]));
    other.close().await;
    store.close().await;
    let store = first.open().await;
    assert!(!store.load().await.expect("loaded").is_empty());

    // The connection is cut from outside. Its next word finds out and connects again, for
    // nobody was there meanwhile.
    cut(server).await;
    store.append(&accepted(1, 1)).await.expect("a cut before the first word costs nothing");
    // Cut again, and another one takes over before it is back.
    cut(server).await;
    let thief = first.open().await;
    let error =
        store.append(&[ended(slot(1, 1), hailmesh_wire::Outcome::HoldLapsed)]).await.expect_err("taken");
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    thief.close().await;
    // Even when the lock is free again: what it knows is out of date.
    let error = store.load().await.expect_err("taken");
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    store.close().await;
    let store = first.open().await;
    assert!(store.load().await.expect("loaded").contains(&Record::Bound(bound(slot(1, 1), Role::Driver))));
    store.close().await;
}

/// Ends all connections of stores, as a network would, and waits until the server has
/// freed their locks.
async fn cut(server: &Server) {
    let options: PgConnectOptions = server.url.parse().expect("an address");
    let mut raw = options.connect().await.expect("connected");
    let ours = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
                WHERE application_name = 'hailmesh' AND datname = current_database()";
    let ended = sqlx::raw_sql(ours).fetch_all(&mut raw).await.expect("asked");
    assert!(!ended.is_empty(), "there was nothing to cut");
    raw.close().await.expect("closed");
}

async fn a_newer_schema_is_refused(server: &Server) {
    let place = place(server, 203);
    place.open().await.close().await;
    let mut raw = raw(server, &place).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'from the future', true, '\\x00', 1)";
    sqlx::raw_sql(newer).execute(&mut raw).await.expect("written");
    raw.close().await.expect("closed");
    let error = place.try_open().await.expect_err("too new");
    assert!(matches!(error, Error::Newer { found: 9999, .. }), "{error}");
}

async fn bad_addresses(server: &Server) {
    let quick = Options { timeout: Duration::from_secs(3), ..Options::default() };
    for address in [
        "postgres://u:geheim@127.0.0.1:1/nothing-there".to_owned(),
        server.url.replace("/postgres?", "/no_such_database?"),
    ] {
        let url: StoreUrl = address.parse().expect("an address");
        let error = Store::open(&url, &key(1), quick.clone()).await.expect_err("no such place");
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
    }
    let url: StoreUrl = "postgres://u:geheim@host:notaport/x".parse().expect("the form of an address");
    let error = Store::open(&url, &key(1), quick).await.expect_err("no address");
    assert!(matches!(error, Error::BadUrl { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
}

async fn a_server_that_goes_away(server: &mut Server) {
    let place = place(server, 204);
    let store = place.open().await;
    let batches = life(4);
    for batch in &batches[..6] {
        store.append(batch).await.expect("stored");
    }
    let before = store.load().await.expect("loaded");
    server.crash();
    for _ in 0..2 {
        let error = store.append(&batches[6]).await.expect_err("the server is gone");
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    }
    assert!(store.check().await.is_err(), "and it says so");
    server.restart().await;
    store.check().await.expect("it is back");
    assert_eq!(store.load().await, Ok(before), "what was acknowledged survived the crash");
    for batch in &batches[6..] {
        store.append(batch).await.expect("stored");
    }
    store.close().await;
}
