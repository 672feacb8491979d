//! Random histories: a database and memory must agree about every batch.
//!
//! Two implementations of the same rules, one in SQL and one in Rust: where they differ,
//! one of them is wrong.

use hailmesh_market::journal::{Record, Role, SecretPurpose, SecretSeed, SlotRef};
use hailmesh_store::{Error, Store};
use hailmesh_wire::{Kind, Outcome, RideState};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::place::Place;
use crate::sample::*;

#[tokio::test]
async fn sqlite_agrees_with_memory() {
    agrees(&Place::sqlite(), seed(), 500).await;
}

/// A new seed for every run, or the one in `HAILMESH_TEST_SEED`.
pub(crate) fn seed() -> u64 {
    match std::env::var("HAILMESH_TEST_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("HAILMESH_TEST_SEED={text}: expected a number")),
        Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_millis() as u64),
    }
}

pub(crate) async fn agrees(place: &Place, seed: u64, steps: usize) {
    eprintln!("HAILMESH_TEST_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let reference = Store::memory();
    let mut store = place.open().await;
    let mut stored = 0;
    for step in 0..steps {
        let open = open_slots(&reference.load().await.expect("loaded"));
        let batch: Vec<Record> = (0..rng.random_range(1..4)).map(|_| record(&mut rng, &open)).collect();
        let expected = reference.append(&batch).await;
        let got = store.append(&batch).await;
        match (&expected, &got) {
            (Ok(()), Ok(())) => stored += 1,
            (Err(Error::Conflict { .. }), Err(Error::Conflict { .. })) => {}
            _ => panic!("step {step}: memory {expected:?}, {} {got:?}, for {batch:#?}", store.kind()),
        }
        if step % 25 == 0 {
            store = place.reopen(store).await;
            same(&reference, &store, step).await;
        }
    }
    same(&reference, &store, steps).await;
    assert!(stored > steps / 10, "only {stored} of {steps} batches were consistent: a weak test");
    store.close().await;
}

async fn same(reference: &Store, store: &Store, step: usize) {
    let (left, right) = (reference.load().await.expect("loaded"), store.load().await.expect("loaded"));
    if left != right {
        let first = left.iter().zip(&right).position(|(a, b)| a != b).unwrap_or(left.len().min(right.len()));
        panic!(
            "step {step}, record {first}: memory {:#?}, {} {:#?}",
            left.get(first),
            store.kind(),
            right.get(first)
        );
    }
    assert_eq!(reference.ended(None, 1_000).await, store.ended(None, 1_000).await, "step {step}");
}

/// The last slot of every chain, as far as it is bound.
fn open_slots(records: &[Record]) -> Vec<SlotRef> {
    let mut last = std::collections::BTreeMap::new();
    for record in records {
        if let Record::Bound(bound) = record {
            last.insert((bound.slot.key, bound.slot.lane), bound.slot);
        }
    }
    last.into_values().collect()
}

/// A record about few things, so that many meet; half of them about slots that are there.
fn record(rng: &mut ChaCha8Rng, open: &[SlotRef]) -> Record {
    let number = rng.random_range(1..5_u8);
    // Mostly the same role for the same key.
    let role = if number.is_multiple_of(2) != rng.random_ratio(1, 20) { Role::Driver } else { Role::Rider };
    let any =
        SlotRef { key: key(number), lane: u8::from(rng.random_ratio(1, 10)), slot: rng.random_range(0..3) };
    let of = match open.len() {
        0 => any,
        count if rng.random_ratio(4, 5) => open[rng.random_range(0..count)],
        _ => any,
    };
    let now = at(rng.random_range(0..1_000));
    match rng.random_range(0..16) {
        0 => {
            let mut record = key_record(number, role);
            record.cert = rng.random_bool(0.5).then(|| envelope(rng.next_u64()));
            if rng.random_ratio(1, 10) {
                record.secret = SecretSeed([77; 32]);
            }
            Record::Key(record)
        }
        1 if rng.random_ratio(1, 8) => Record::KeyErased { key: key(number) },
        1 => Record::SeqReserved { key: key(number), below: rng.random_range(0..100) },
        2..=4 => {
            let next = SlotRef { slot: of.slot + 1, ..of };
            let slot = if rng.random_bool(0.7) { next } else { any };
            // The key decides the role, mostly: `any` was made with this number.
            let role =
                if (1..5).any(|n| key(n) == slot.key && n.is_multiple_of(2)) { Role::Driver } else { role };
            let mut bound = bound(slot, role);
            if rng.random_ratio(1, 10) {
                bound.request = id(5);
            }
            Record::Bound(bound)
        }
        5 => Record::Firm { slot: of, at: now },
        6 => {
            let phases = [
                RideState::Firm,
                RideState::EnRoute,
                RideState::Arrived,
                RideState::InProgress,
                RideState::Held,
            ];
            progress(of, phases[rng.random_range(0..phases.len())], rng.random_range(0..4))
        }
        7..=9 => {
            let outcome = Outcome::ALL[rng.random_range(0..Outcome::ALL.len())];
            let shown = outcome.shown_as().unwrap_or(RideState::Requested);
            let proof = rng.random_ratio(1, 5).then(|| id(3));
            Record::Ended { slot: of, outcome, shown, proof, at: now }
        }
        10 => {
            let number = rng.random_range(0..40);
            let bytes = envelope(if rng.random_ratio(1, 10) { 99 } else { number });
            let kind = if number.is_multiple_of(2) { Kind::Accept } else { Kind::Request };
            let own = number.is_multiple_of(2) != rng.random_ratio(1, 20);
            Record::Statement { slot: of, kind, id: id(number), own, bytes }
        }
        11 => {
            let purpose = SecretPurpose::from_code(rng.random_range(1..6)).expect("1 to 5");
            secret(of, purpose, rng.random())
        }
        12 if rng.random_bool(0.4) => Record::OutboxDone { statement: id(rng.random_range(0..20)) },
        12 => outbox(of, rng.random_range(0..20)),
        13 => moved(of, rng.random_range(201..204)),
        14 => Record::Evidence {
            accused: key(number),
            kind: rng.random_range(1..3),
            bytes: envelope(rng.random_range(0..3)),
            at: now,
        },
        _ => Record::Ban { key: key(number), until: rng.random_bool(0.5).then_some(now) },
    }
}
