//! What every store does alike.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use hailmesh_market::journal::{Bound, ENDED_SLOTS_KEPT, Record, Role, SecretPurpose, SecretSeed, SlotRef};
use hailmesh_store::{BANS_KEPT, ERASED_KEYS_KEPT, EVIDENCE_KEPT, Error, PEERS_KEPT, Store};
use hailmesh_types::PublicKey;
use hailmesh_wire::{Kind, Outcome, RideState};

use crate::place::Place;
use crate::sample::*;

/// A test, by name, for suites that run all of them on one server.
pub(crate) type Named = (&'static str, for<'a> fn(&'a Place) -> Pin<Box<dyn Future<Output = ()> + 'a>>);

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        /// All tests of the suite.
        pub(crate) const ALL: &[Named] = &[$((stringify!($name), |place| Box::pin($name(place)))),*];

        mod memory {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(&super::Place::Memory).await;
                }
            )*
        }

        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(&super::Place::sqlite()).await;
                }
            )*
        }
    };
}

suite!(
    a_new_journal_is_empty,
    every_record_comes_back_in_order,
    what_is_done_is_done,
    what_contradicts_is_refused,
    a_conflict_takes_everything_back,
    references_may_point_forward,
    several_drivers_and_riders,
    an_erased_key_stays_erased,
    only_the_newest_ended_slots_are_recovered,
    ended_rides_are_listed_by_page,
    evidence_and_bans_have_limits,
    good_peers_are_remembered,
    the_start_mark_is_kept,
    appends_from_many_tasks,
    great_numbers_are_refused,
);

async fn a_new_journal_is_empty(place: &Place) {
    let store = place.open().await;
    assert_eq!(store.load().await, Ok(vec![]));
    assert_eq!(store.ended(None, 10).await, Ok(vec![]));
    assert_eq!(store.ride(ride(1)).await, Ok(vec![]));
    assert_eq!(store.peers().await, Ok(vec![]));
    assert_eq!(store.start_mark().await, Ok(None));
    store.append(&[]).await.expect("nothing to store");
    store.check().await.expect("it answers");
    assert!(["memory", "sqlite", "postgres"].contains(&store.kind()));
    if place.is_kept() {
        store.close().await;
        assert!(matches!(store.load().await, Err(Error::Unavailable { .. })), "closed is closed");
    }
}

async fn every_record_comes_back_in_order(place: &Place) {
    let store = place.open().await;
    let (driver, rider) = (slot(1, 0), slot(3, 0));
    let next = slot(1, 1);
    // Given in the order of a history, expected in the order of `Record`.
    let batches = vec![
        vec![Record::Key(key_record(1, Role::Driver)), Record::SeqReserved { key: key(1), below: 1_024 }],
        accepted(1, 0),
        vec![Record::Key(key_record(3, Role::Rider)), Record::SeqReserved { key: key(3), below: 7 }],
        vec![
            Record::Bound(bound(rider, Role::Rider)),
            secret(rider, SecretPurpose::Code, 5),
            secret(rider, SecretPurpose::Boarding, 4),
            statement(rider, Kind::Confirm, 900, true),
            outbox(rider, 900),
            // The RELEASE of an ACCEPT that was not chosen belongs to no bound slot.
            outbox(slot(3, 1), 901),
        ],
        vec![
            Record::Firm { slot: driver, at: at(50) },
            statement(driver, Kind::Ack, 4, true),
            secret(driver, SecretPurpose::Pickup, 1),
            Record::OutboxDone { statement: id(2) },
        ],
        vec![moved(driver, 202)],
        vec![progress(driver, RideState::EnRoute, 0), Record::SeqReserved { key: key(1), below: 2_048 }],
        vec![
            progress(driver, RideState::InProgress, 2),
            secret(driver, SecretPurpose::Pickup, 8),
            secret(driver, SecretPurpose::Drop, 2),
            secret(driver, SecretPurpose::Vehicle, 3),
        ],
        vec![ended(driver, Outcome::Completed), statement(driver, Kind::Rating, 6, false)],
        vec![moved(driver, 203)],
        vec![Record::Evidence { accused: key(9), kind: 1, bytes: envelope(1), at: at(60) }],
        vec![Record::Ban { key: key(9), until: Some(at(61)) }, Record::Ban { key: key(8), until: None }],
        accepted(1, 1),
    ];
    for batch in &batches {
        store.append(batch).await.expect("consistent");
    }
    let mut bans = [(key(9), Some(at(61))), (key(8), None)];
    bans.sort_by_key(|(key, _)| *key);
    let mut reserved = [(key(1), 2_048), (key(3), 7)];
    reserved.sort();
    let mut expected =
        vec![Record::Key(key_record(1, Role::Driver)), Record::Key(key_record(3, Role::Rider))];
    expected.extend(reserved.map(|(key, below)| Record::SeqReserved { key, below }));
    expected.extend([
        // Where the other side was reached last, after the end too.
        Record::Bound(Bound { peer: peer(203), ..bound(driver, Role::Driver) }),
        statement(driver, Kind::DriverOffer, 0, true),
        statement(driver, Kind::Request, 1, false),
        statement(driver, Kind::Accept, 2, true),
        statement(driver, Kind::Ack, 4, true),
        statement(driver, Kind::Rating, 6, false),
        secret(driver, SecretPurpose::Pickup, 8),
        secret(driver, SecretPurpose::Drop, 2),
        secret(driver, SecretPurpose::Vehicle, 3),
        Record::Firm { slot: driver, at: at(50) },
        progress(driver, RideState::EnRoute, 0),
        progress(driver, RideState::InProgress, 2),
        ended(driver, Outcome::Completed),
        Record::Bound(bound(rider, Role::Rider)),
        statement(rider, Kind::Confirm, 900, true),
        secret(rider, SecretPurpose::Boarding, 4),
        secret(rider, SecretPurpose::Code, 5),
        Record::Bound(bound(next, Role::Driver)),
        statement(next, Kind::DriverOffer, 100, true),
        statement(next, Kind::Request, 101, false),
        statement(next, Kind::Accept, 102, true),
        outbox(rider, 900),
        outbox(slot(3, 1), 901),
        outbox(next, 102),
        Record::Evidence { accused: key(9), kind: 1, bytes: envelope(1), at: at(60) },
    ]);
    expected.extend(bans.map(|(key, until)| Record::Ban { key, until }));
    assert_eq!(store.load().await.as_ref(), Ok(&expected));
    let store = place.reopen(store).await;
    assert_eq!(store.load().await.as_ref(), Ok(&expected), "after a restart");
    // What was given back can be stored anew and is the same again.
    let copy = Store::memory();
    copy.append(&expected).await.expect("a journal is a consistent history");
    assert_eq!(copy.load().await, Ok(expected));
    store.close().await;
}

async fn what_is_done_is_done(place: &Place) {
    let store = place.open().await;
    let of = slot(1, 0);
    store.append(&[Record::Key(key_record(1, Role::Driver))]).await.expect("stored");
    store.append(&accepted(1, 0)).await.expect("stored");
    let firm = Record::Firm { slot: of, at: at(1) };
    let evidence = Record::Evidence { accused: key(9), kind: 2, bytes: envelope(3), at: at(3) };
    let ban = Record::Ban { key: key(9), until: None };
    let end = ended(of, Outcome::DriverCancelled);
    let reserved = Record::SeqReserved { key: key(1), below: 4_096 };
    let step = progress(of, RideState::Arrived, 1);
    let once = [firm.clone(), step.clone(), evidence.clone(), ban.clone(), reserved.clone(), end.clone()];
    store.append(&once).await.expect("stored");
    let before = store.load().await.expect("loaded");
    let of_theirs =
        Record::Statement { slot: of, kind: Kind::Request, id: id(1), own: false, bytes: envelope(5) };
    let again = [
        Record::Key(key_record(1, Role::Driver)),
        Record::Firm { slot: of, at: at(2) },
        step,
        evidence,
        ban,
        reserved,
        Record::SeqReserved { key: key(1), below: 4_095 },
        end,
        moved(of, 201),
        statement(of, Kind::Accept, 2, true),
        statement(of, Kind::Request, 1, false),
        // Another signature of the other side under the same words.
        of_theirs,
        outbox(of, 2),
        Record::OutboxDone { statement: id(555) },
    ];
    for record in again {
        store
            .append(std::slice::from_ref(&record))
            .await
            .unwrap_or_else(|error| panic!("{record:?}: {error}"));
        assert_eq!(store.load().await.as_ref(), Ok(&before), "{record:?}");
    }
    // A key may come again with a newer certificate.
    let mut renewed = key_record(1, Role::Driver);
    renewed.cert = Some(envelope(42));
    renewed.until = at(86_400_000);
    store.append(&[Record::Key(renewed.clone())]).await.expect("stored");
    assert_eq!(store.load().await.expect("loaded")[0], Record::Key(renewed));
    // What was heard can be due again.
    let done = Record::OutboxDone { statement: id(2) };
    store.append(&[done, outbox(slot(1, 9), 2)]).await.expect("stored");
    assert!(store.load().await.expect("loaded").contains(&outbox(slot(1, 9), 2)));
    store.close().await;
}

async fn what_contradicts_is_refused(place: &Place) {
    let store = place.open().await;
    let setup = [
        vec![
            Record::Key(key_record(1, Role::Driver)),
            Record::Key(key_record(2, Role::Driver)),
            Record::Key(key_record(3, Role::Rider)),
            Record::Key(key_record(4, Role::Driver)),
            Record::KeyErased { key: key(4) },
        ],
        lapsed(1, 0),
        accepted(1, 1),
        vec![Record::Firm { slot: slot(1, 1), at: at(1) }, progress(slot(1, 1), RideState::Arrived, 2)],
        vec![Record::Bound(bound(slot(3, 0), Role::Rider))],
    ];
    for batch in setup {
        store.append(&batch).await.expect("consistent");
    }
    let before = store.load().await.expect("loaded");
    let free = |number, of| Record::Bound(bound(slot(number, of), Role::Driver));
    let mut again = bound(slot(1, 2), Role::Driver);
    again.request = bound(slot(1, 0), Role::Driver).request;
    let mut other_secret = key_record(1, Role::Driver);
    other_secret.secret = SecretSeed([99; 32]);
    let other_bytes = |own| Record::Statement {
        slot: slot(1, 1),
        kind: Kind::Accept,
        id: id(102),
        own,
        bytes: envelope(1),
    };
    let mut other_outbox = outbox(slot(1, 1), 102);
    if let Record::OutboxPut { bytes, .. } = &mut other_outbox {
        *bytes = envelope(7);
    }
    let refused: Vec<(&str, Vec<Record>)> = vec![
        ("the same slot again", vec![free(1, 1)]),
        ("an ended slot again", vec![free(1, 0)]),
        ("the next slot while this one is live", vec![free(1, 2)]),
        ("a live slot in the same lane under another driver key", vec![free(2, 0)]),
        ("a gap in the chain", vec![ended(slot(1, 1), Outcome::DriverCancelled), free(1, 3)]),
        ("a chain that does not begin at 0", vec![ended(slot(1, 1), Outcome::DriverCancelled), free(2, 1)]),
        ("a second live slot of a rider key", vec![Record::Bound(bound(slot(3, 1), Role::Rider))]),
        (
            "a REQUEST that bound a slot before",
            vec![ended(slot(1, 1), Outcome::DriverCancelled), Record::Bound(again)],
        ),
        ("a slot of a key that is not stored", vec![Record::Bound(bound(slot(7, 0), Role::Rider))]),
        ("a slot under the wrong role", vec![Record::Bound(bound(slot(2, 0), Role::Rider))]),
        ("another end of an ended slot", vec![ended(slot(1, 0), Outcome::NotChosen)]),
        (
            "another proof of an ended slot",
            vec![Record::Ended {
                slot: slot(1, 0),
                outcome: Outcome::HoldLapsed,
                shown: RideState::Expired,
                proof: Some(id(3)),
                at: at(4),
            }],
        ),
        ("an end of a slot that is not bound", vec![ended(slot(1, 5), Outcome::HoldLapsed)]),
        ("a lapsed hold of a firm slot (E3)", vec![ended(slot(1, 1), Outcome::HoldLapsed)]),
        ("a firm slot that was not chosen", vec![ended(slot(1, 1), Outcome::NotChosen)]),
        ("a release of a slot that was not firm", vec![ended(slot(3, 0), Outcome::RiderReleased)]),
        ("a rider's outcome for a driver", vec![ended(slot(1, 1), Outcome::CounterpartyVoid)]),
        ("a driver's outcome for a rider", vec![ended(slot(3, 0), Outcome::DriverCancelled)]),
        (
            "an end that is none",
            vec![Record::Ended {
                slot: slot(1, 1),
                outcome: Outcome::None,
                shown: RideState::Cancelled,
                proof: None,
                at: at(4),
            }],
        ),
        (
            "an end shown as a phase",
            vec![Record::Ended {
                slot: slot(1, 1),
                outcome: Outcome::Completed,
                shown: RideState::Firm,
                proof: None,
                at: at(4),
            }],
        ),
        ("firm after the end", vec![Record::Firm { slot: slot(1, 0), at: at(9) }]),
        ("firm without a binding", vec![Record::Firm { slot: slot(2, 0), at: at(9) }]),
        ("another peer without a binding", vec![moved(slot(2, 0), 202)]),
        ("progress after the end", vec![progress(slot(1, 0), RideState::Arrived, 0)]),
        ("progress without a binding", vec![progress(slot(2, 0), RideState::Arrived, 0)]),
        ("progress that is an end", vec![progress(slot(1, 1), RideState::Completed, 2)]),
        ("wrong codes taken back", vec![progress(slot(1, 1), RideState::Arrived, 1)]),
        ("a statement of no slot", vec![statement(slot(2, 0), Kind::Accept, 5, true)]),
        ("a secret of no slot", vec![secret(slot(2, 0), SecretPurpose::Drop, 5)]),
        ("other bytes of an own statement", vec![other_bytes(true)]),
        ("an own statement as theirs", vec![other_bytes(false)]),
        ("other bytes in the outbox", vec![other_outbox]),
        ("another secret of a key", vec![Record::Key(other_secret)]),
        ("a key in another role", vec![Record::Key(key_record(1, Role::Rider))]),
        ("a key after its erasure", vec![Record::Key(key_record(4, Role::Driver))]),
        ("erasing an unknown key", vec![Record::KeyErased { key: key(77) }]),
        ("sequence numbers of an unknown key", vec![Record::SeqReserved { key: key(77), below: 5 }]),
    ];
    for (what, batch) in refused {
        let error = store.append(&batch).await.expect_err(what);
        assert!(matches!(error, Error::Conflict { .. }), "{what}: {error}");
        assert_eq!(store.load().await.as_ref(), Ok(&before), "{what} left something behind");
    }
    let store = place.reopen(store).await;
    assert_eq!(store.load().await.as_ref(), Ok(&before));
    store.append(&[ended(slot(1, 1), Outcome::DriverCancelled)]).await.expect("it goes on");
    store.append(&accepted(2, 0)).await.expect("the lane is free now");
    store.close().await;
}

async fn a_conflict_takes_everything_back(place: &Place) {
    let store = place.open().await;
    store.append(&life(1).concat()).await.expect("consistent");
    store
        .append(&[Record::Ban { key: key(5), until: Some(at(5)) }, outbox(slot(1, 1), 7)])
        .await
        .expect("stored");
    let before = store.load().await.expect("loaded");
    // One of every kind of change, then the refusal, in one batch and over three.
    let mut changes = accepted(1, 1);
    changes.extend([
        Record::Key(key_record(2, Role::Driver)),
        Record::KeyErased { key: key(1) },
        Record::SeqReserved { key: key(1), below: 9_999 },
        Record::Firm { slot: slot(1, 1), at: at(1) },
        progress(slot(1, 1), RideState::Arrived, 3),
        secret(slot(1, 0), SecretPurpose::Pickup, 77),
        statement(slot(1, 0), Kind::Rating, 8, false),
        ended(slot(1, 1), Outcome::DriverCancelled),
        Record::OutboxDone { statement: id(7) },
        Record::Evidence { accused: key(9), kind: 2, bytes: envelope(3), at: at(3) },
        Record::Ban { key: key(5), until: None },
        Record::Ban { key: key(6), until: None },
    ]);
    let refusal = Record::Bound(bound(slot(1, 3), Role::Driver));
    let mut batch = changes.clone();
    batch.push(refusal.clone());
    assert!(matches!(store.append(&batch).await, Err(Error::Conflict { .. })));
    assert_eq!(store.load().await.as_ref(), Ok(&before));
    let group = [changes.clone(), vec![refusal], vec![Record::Ban { key: key(7), until: None }]];
    assert!(matches!(store.append_all(&group).await, Err(Error::Conflict { .. })));
    let store = place.reopen(store).await;
    assert_eq!(store.load().await.as_ref(), Ok(&before));
    store.append_all(&[changes, vec![]]).await.expect("without the refusal it is stored");
    assert_ne!(store.load().await.as_ref(), Ok(&before));
    store.close().await;
}

async fn references_may_point_forward(place: &Place) {
    let store = place.open().await;
    let of = slot(1, 0);
    let batch = [
        statement(of, Kind::Request, 1, false),
        secret(of, SecretPurpose::Code, 1),
        Record::SeqReserved { key: key(1), below: 5 },
        Record::Bound(bound(of, Role::Driver)),
        statement(of, Kind::Accept, 2, true),
        Record::Key(key_record(1, Role::Driver)),
    ];
    store.append(&batch).await.expect("whole at its end");
    let expected = vec![
        Record::Key(key_record(1, Role::Driver)),
        Record::SeqReserved { key: key(1), below: 5 },
        Record::Bound(bound(of, Role::Driver)),
        statement(of, Kind::Request, 1, false),
        statement(of, Kind::Accept, 2, true),
        secret(of, SecretPurpose::Code, 1),
    ];
    assert_eq!(store.load().await, Ok(expected));
    store.close().await;
}

async fn several_drivers_and_riders(place: &Place) {
    let store = place.open().await;
    let other_lane = SlotRef { lane: 1, ..slot(1, 0) };
    store
        .append(&[
            Record::Key(key_record(1, Role::Driver)),
            Record::Key(key_record(2, Role::Driver)),
            Record::Key(key_record(3, Role::Rider)),
            Record::Key(key_record(5, Role::Rider)),
        ])
        .await
        .expect("stored");
    store.append(&accepted(1, 0)).await.expect("a driver in lane 0");
    store.append(&[Record::Bound(bound(other_lane, Role::Driver))]).await.expect("another in lane 1");
    store.append(&[Record::Bound(bound(slot(3, 0), Role::Rider))]).await.expect("a rider");
    store.append(&[Record::Bound(bound(slot(5, 0), Role::Rider))]).await.expect("two wanted rides");
    assert!(matches!(store.append(&accepted(2, 0)).await, Err(Error::Conflict { .. })), "lane 0 is taken");
    store.append(&[ended(slot(1, 0), Outcome::HoldLapsed)]).await.expect("it ends");
    store.append(&accepted(2, 0)).await.expect("lane 0 is free");
    assert!(matches!(store.append(&accepted(1, 1)).await, Err(Error::Conflict { .. })), "lane 0 is taken");
    store.close().await;
}

async fn an_erased_key_stays_erased(place: &Place) {
    let store = place.open().await;
    store.append(&life(1).concat()).await.expect("consistent");
    store.append(&[Record::KeyErased { key: key(1) }]).await.expect("erased");
    store.append(&[Record::KeyErased { key: key(1) }]).await.expect("erased again");
    let store = place.reopen(store).await;
    let records = store.load().await.expect("loaded");
    let mut blank = key_record(1, Role::Driver);
    blank.secret = SecretSeed([0; 32]);
    assert_eq!(records[..2], [Record::Key(blank.clone()), Record::KeyErased { key: key(1) }]);
    assert!(records.contains(&Record::Bound(bound(slot(1, 0), Role::Driver))), "its rides stay");
    for revived in [Record::Key(key_record(1, Role::Driver)), Record::Key(blank)] {
        assert!(matches!(store.append(&[revived]).await, Err(Error::Conflict { .. })));
    }
    // Of many erased keys that no slot refers to, only the newest come back.
    for number in 10..100 {
        let records = [Record::Key(key_record(number, Role::Rider)), Record::KeyErased { key: key(number) }];
        store.append(&records).await.expect("stored");
    }
    let records = store.load().await.expect("loaded");
    let erased: Vec<PublicKey> = records
        .iter()
        .filter_map(|record| if let Record::KeyErased { key } = record { Some(*key) } else { None })
        .collect();
    let newest = (10..100).rev().take(ERASED_KEYS_KEPT).map(key).collect::<BTreeSet<_>>();
    assert_eq!(erased.len(), ERASED_KEYS_KEPT + 1, "and the one that has a slot");
    assert!(erased[1..].iter().all(|key| newest.contains(key)));
    store.close().await;
}

async fn only_the_newest_ended_slots_are_recovered(place: &Place) {
    let store = place.open().await;
    let others: Vec<Record> = [2, 4].map(|number| Record::Key(key_record(number, Role::Driver))).into();
    store.append(&others).await.expect("stored");
    store.append_all(&[lapsed(2, 0), lapsed(2, 1), lapsed(4, 0)]).await.expect("stored");
    store.append(&[Record::KeyErased { key: key(4) }]).await.expect("stored");
    let rides = ENDED_SLOTS_KEPT as u64 + 40;
    store.append(&life(0).concat()).await.expect("stored");
    let history: Vec<_> = (0..rides).map(|number| lapsed(1, number)).collect();
    store.append_all(&history).await.expect("stored");
    store.append(&accepted(1, rides)).await.expect("stored");
    let slots: Vec<SlotRef> = store
        .load()
        .await
        .expect("loaded")
        .iter()
        .filter_map(|record| if let Record::Bound(bound) = record { Some(bound.slot) } else { None })
        .collect();
    // The last of the other key, the newest of this one, the live one; nothing of the
    // erased key, whose chain can never go on.
    let mut expected = vec![slot(2, 1)];
    expected.extend((40..=rides).map(|number| slot(1, number)));
    assert_eq!(slots, expected);
    // What is not recovered can still be looked up.
    let old = store.ride(bound(slot(1, 5), Role::Driver).ride).await.expect("looked up");
    assert_eq!(old[0], Record::Bound(bound(slot(1, 5), Role::Driver)));
    assert_eq!(old.len(), 5, "binding, three statements, end: {old:?}");
    // And the chain goes on where it was.
    store.append(&[ended(slot(1, rides), Outcome::HoldLapsed)]).await.expect("stored");
    store.append(&accepted(2, 2)).await.expect("the other chain goes on");
    store.close().await;
}

async fn ended_rides_are_listed_by_page(place: &Place) {
    let store = place.open().await;
    store
        .append(&[Record::Key(key_record(1, Role::Driver)), Record::Key(key_record(3, Role::Rider))])
        .await
        .expect("stored");
    for number in 0..25 {
        store.append(&lapsed(1, number)).await.expect("stored");
    }
    store.append(&accepted(1, 25)).await.expect("a live one");
    // One ride that took a rider two slots, the second still live at first.
    let mut first = bound(slot(3, 0), Role::Rider);
    let mut second = bound(slot(3, 1), Role::Rider);
    first.ride = ride(7_777);
    second.ride = ride(7_777);
    let two = [Record::Bound(first), ended(slot(3, 0), Outcome::NoAck), Record::Bound(second)];
    store.append(&two).await.expect("stored");
    let list = |limit| {
        let store = store.clone();
        async move {
            let (mut rides, mut before) = (Vec::new(), None);
            loop {
                let page = store.ended(before, limit).await.expect("listed");
                assert!(page.len() <= limit);
                let Some(last) = page.last() else { break rides };
                let Record::Bound(bound) = &last[0] else { panic!("a group begins with its binding") };
                before = Some(bound.ride);
                rides.extend(page);
            }
        }
    };
    let all = list(100).await;
    assert_eq!(all.len(), 25);
    assert_eq!(all, list(7).await, "pages join without gap or repetition");
    let newest_first: Vec<_> =
        (0..25).rev().map(|number| bound(slot(1, number), Role::Driver)).map(Record::Bound).collect();
    assert!(all.iter().map(|group| &group[0]).eq(newest_first.iter()));
    store.append(&[ended(slot(3, 1), Outcome::RiderCancelled)]).await.expect("stored");
    let all = list(7).await;
    assert_eq!(all.len(), 26);
    let group =
        all.iter().find(|group| group.iter().any(|r| matches!(r, Record::Bound(b) if b.ride == ride(7_777))));
    assert_eq!(group.map(Vec::len), Some(4), "both slots with their ends: {group:?}");
    assert_eq!(store.ended(None, 0).await, Ok(vec![]));
    store.close().await;
}

async fn evidence_and_bans_have_limits(place: &Place) {
    let store = place.open().await;
    let too_many = 12;
    let evidence: Vec<Record> = (0..EVIDENCE_KEPT as u64 + too_many)
        .map(|number| {
            let accused = key((number % 250) as u8);
            Record::Evidence { accused, kind: 1, bytes: envelope(number), at: at(number) }
        })
        .collect();
    store.append(&evidence).await.expect("stored");
    let bans = |from: usize, count: usize| -> Vec<Record> {
        (from..from + count)
            .map(|number| {
                let seed = u32::try_from(number).expect("small").to_be_bytes().repeat(8);
                let signing = hailmesh_wire::SigningKey::from_bytes(&seed.try_into().expect("32 bytes"));
                let until = (number != 0).then(|| at(number as u64));
                Record::Ban { key: PublicKey::from(signing.verifying_key()), until }
            })
            .collect()
    };
    let all = bans(0, BANS_KEPT + 2);
    store.append(&all[..BANS_KEPT]).await.expect("stored");
    store.append(&all[BANS_KEPT..]).await.expect("stored");
    let records = store.load().await.expect("loaded");
    let kept: Vec<&Record> =
        records.iter().filter(|record| matches!(record, Record::Evidence { .. })).collect();
    assert!(
        kept.iter().copied().eq(&evidence[too_many as usize..]),
        "the newest {EVIDENCE_KEPT} stay, in order"
    );
    let kept: Vec<&Record> = records.iter().filter(|record| matches!(record, Record::Ban { .. })).collect();
    assert_eq!(kept.len(), BANS_KEPT);
    assert!(kept.contains(&&all[0]), "the one for ever stays");
    assert!(!kept.contains(&&all[1]) && !kept.contains(&&all[2]), "the first to end make room");
    // A later ban replaces an earlier one.
    let Record::Ban { key: banned, .. } = all[50].clone() else { unreachable!("a ban") };
    let longer = Record::Ban { key: banned, until: None };
    store.append(std::slice::from_ref(&longer)).await.expect("stored");
    assert!(store.load().await.expect("loaded").contains(&longer));
    store.close().await;
}

async fn good_peers_are_remembered(place: &Place) {
    let store = place.open().await;
    let address = |number: usize| (peer(11), format!("/ip4/192.0.2.1/tcp/{number}"));
    let all: Vec<_> = (1..=PEERS_KEPT + 5).map(address).collect();
    store.remember_peers(&all).await.expect("stored");
    let newest_first: Vec<_> = all[5..].iter().rev().cloned().collect();
    assert_eq!(store.peers().await.as_ref(), Ok(&newest_first));
    // One that is good again comes first; the same address of another peer is another.
    let again = [address(500), (peer(12), address(500).1)];
    store.remember_peers(&again).await.expect("stored");
    store
        .remember_peers(&[(peer(13), "x".repeat(5_000)), (peer(13), String::new())])
        .await
        .expect("passed over");
    let store = place.reopen(store).await;
    let peers = store.peers().await.expect("loaded");
    assert_eq!(peers[..2], [again[1].clone(), again[0].clone()]);
    assert_eq!(peers.len(), PEERS_KEPT);
    assert_eq!(peers.iter().collect::<BTreeSet<_>>().len(), PEERS_KEPT, "no address twice");
    store.close().await;
}

async fn the_start_mark_is_kept(place: &Place) {
    let store = place.open().await;
    for byte in [1, 2] {
        store.set_start_mark([byte; 32]).await.expect("stored");
        assert_eq!(store.start_mark().await, Ok(Some([byte; 32])));
    }
    let store = place.reopen(store).await;
    assert_eq!(store.start_mark().await, Ok(Some([2; 32])));
    assert_eq!(store.load().await, Ok(vec![]), "it is no record");
    store.close().await;
}

async fn appends_from_many_tasks(place: &Place) {
    let store = place.open().await;
    let tasks: Vec<_> = (0..20_u8)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                store.append(&[Record::Key(key_record(10 + number, Role::Rider))]).await?;
                let of = slot(10 + number, 0);
                store.append(&[Record::Bound(bound(of, Role::Rider)), outbox(of, u64::from(number))]).await
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic").expect("stored");
    }
    let records = store.load().await.expect("loaded");
    assert_eq!(records.iter().filter(|record| matches!(record, Record::Bound(_))).count(), 20);
    assert_eq!(records.iter().filter(|record| matches!(record, Record::OutboxPut { .. })).count(), 20);
    store.close().await;
}

/// Databases count to 2^63 - 1; nobody ever gets there.
async fn great_numbers_are_refused(place: &Place) {
    let store = place.open().await;
    store.append(&[Record::Key(key_record(1, Role::Driver))]).await.expect("stored");
    let before = store.load().await;
    for record in [
        Record::SeqReserved { key: key(1), below: u64::MAX },
        Record::Bound(bound(SlotRef { slot: 1 << 63, ..slot(1, 0) }, Role::Driver)),
    ] {
        let error = store.append(&[record]).await.expect_err("too great");
        assert!(matches!(error, Error::Conflict { .. }), "{error}");
    }
    assert_eq!(store.load().await, before);
    store.append(&[Record::SeqReserved { key: key(1), below: i64::MAX as u64 }]).await.expect("the greatest");
    store.close().await;
}
