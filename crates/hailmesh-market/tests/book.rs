//! The offer book against a plain list, its bounds, and what searches say.

mod common;

use std::collections::BTreeMap;

use common::*;
use hailmesh_market::admission::{News, Stop};
use hailmesh_market::book::Side;
use hailmesh_market::certificates::Level;
use hailmesh_market::limits::Limits;
use hailmesh_market::matching::{DriverWant, Exclusion, Query, RiderWant, search_drivers, search_riders};
use hailmesh_types::{
    Amount, Bounds, Cell, Class, Currency, Duration, Features, GeoPoint, PublicKey, Resolution, Seats,
    StatementId, Tariff, Timestamp,
};
use proptest::prelude::*;

/// Mostly one city, sometimes the seam, the poles, or anywhere.
fn anywhere() -> impl Strategy<Value = GeoPoint> {
    prop_oneof![
        4 => (40.70..40.80_f64, -74.02..-73.93_f64),
        2 => (-17.0..-16.9_f64, prop_oneof![179.95..180.0_f64, -180.0..-179.95_f64]),
        1 => (prop_oneof![89.9..=90.0_f64, -90.0..=-89.9_f64], -180.0..180.0_f64),
        1 => (-90.0..=90.0_f64, -180.0..180.0_f64),
    ]
    .prop_map(|(lat, lon)| GeoPoint::from_degrees(lat, lon).unwrap())
}

#[derive(Debug, Clone)]
enum Step {
    Offer { author: u8, side: Side, at: GeoPoint, resolution: u8, ttl_s: u32 },
    Withdraw { author: u8, side: Side },
    Wait { ms: u32 },
    Search { near: GeoPoint, radius_m: Option<u32>, limit: usize },
}

fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![3 => Just(Side::Drivers), 1 => Just(Side::Riders)]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..24_u8, any_side(), anywhere(), 7..=10_u8, 10..=120_u32).prop_map(
            |(author, side, at, resolution, ttl_s)| Step::Offer { author, side, at, resolution, ttl_s }),
        1 => (0..24_u8, any_side()).prop_map(|(author, side)| Step::Withdraw { author, side }),
        1 => (0..40_000_u32).prop_map(|ms| Step::Wait { ms }),
        2 => (anywhere(), prop::option::of(0..20_000_u32), 1..30_usize).prop_map(
            |(near, radius_m, limit)| Step::Search { near, radius_m, limit }),
    ]
}

/// One line of the list that the book is compared with.
struct Line {
    key: PublicKey,
    side: Side,
    cell: Cell,
    expires: Timestamp,
}

fn expected(list: &[Line], side: Side, near: GeoPoint, now: Timestamp) -> Vec<(Bounds, PublicKey)> {
    let live = list.iter().filter(|line| line.side == side && line.expires > now);
    let mut ranked: Vec<(Bounds, PublicKey)> = live.map(|line| (line.cell.bounds(near), line.key)).collect();
    ranked.sort_by(|a, b| a.0.centre_m.total_cmp(&b.0.centre_m).then(a.1.cmp(&b.1)));
    ranked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever is offered, moved, withdrawn, let expire and asked: the book says what a
    /// list says that is searched from end to end.
    #[test]
    fn agrees_with_a_list(steps in prop::collection::vec(any_step(), 1..80)) {
        let mut node = Node::new(unhurried());
        let mut list: Vec<Line> = Vec::new();
        let mut seq = 0;
        for step in steps {
            let now = node.now;
            match step {
                Step::Offer { author, side, at, resolution, ttl_s } => {
                    seq += 1;
                    let signer = key(author.into());
                    let cell = cell_at(at, resolution);
                    let bytes = match side {
                        Side::Drivers => {
                            let mut offer = driver_offer(seq, now, cell);
                            offer.ttl = secs(ttl_s);
                            sign(&signer, offer)
                        }
                        Side::Riders => {
                            let mut offer = rider_offer(seq, now, cell);
                            offer.ttl = secs(ttl_s);
                            sign(&signer, offer)
                        }
                    };
                    prop_assert_eq!(node.admission.admit_direct(&mut node.book, now, peer(1), &bytes.into()).stop, Stop::None);
                    list.retain(|line| line.key != public(&signer));
                    list.push(Line { key: public(&signer), side, cell, expires: now + secs(ttl_s) });
                }
                Step::Withdraw { author, side } => {
                    seq += 1;
                    let signer = key(author.into());
                    let bytes = match side {
                        Side::Drivers => {
                            let mut offer = driver_offer(seq, now, home());
                            offer.live = None;
                            sign(&signer, offer)
                        }
                        Side::Riders => {
                            let mut offer = rider_offer(seq, now, home());
                            offer.live = None;
                            sign(&signer, offer)
                        }
                    };
                    let judgement = node.admission.admit_direct(&mut node.book, now, peer(1), &bytes.into());
                    prop_assert_eq!(&judgement.news, &[News::Withdrawn(public(&signer), side)]);
                    list.retain(|line| line.key != public(&signer));
                }
                Step::Wait { ms } => node.now = now + Duration::from_millis(ms),
                Step::Search { near, radius_m, limit } => {
                    let ranked = expected(&list, Side::Drivers, near, now);
                    let found: Vec<(Bounds, PublicKey)> =
                        node.book.nearest_drivers(near, now).map(|(booked, bounds)| (bounds, *booked.key())).collect();
                    prop_assert_eq!(&found, &ranked);
                    let riders: Vec<(Bounds, PublicKey)> =
                        node.book.nearest_riders(near, now).map(|(booked, bounds)| (bounds, *booked.key())).collect();
                    prop_assert_eq!(riders, expected(&list, Side::Riders, near, now));

                    let query = Query { radius_m, limit, ..anyone(near) };
                    let report = search_drivers(&node.book, now, &query);
                    let within: Vec<&(Bounds, PublicKey)> = ranked.iter()
                        .filter(|(bounds, _)| radius_m.is_none_or(|radius| bounds.lower_m <= f64::from(radius))).collect();
                    let candidates: Vec<PublicKey> = report.candidates.iter().map(|one| *one.booked.key()).collect();
                    let wanted: Vec<PublicKey> = within.iter().take(limit).map(|(_, key)| *key).collect();
                    prop_assert_eq!(candidates, wanted);
                    prop_assert_eq!(report.explain.heard, ranked.len());
                    prop_assert_eq!(report.explain.in_range, within.len());
                    let too_far = report.explain.excluded.get(&Exclusion::TooFar).copied().unwrap_or(0);
                    prop_assert_eq!(too_far as usize, ranked.len() - within.len());
                }
            }
            let now = node.now;
            for side in [Side::Drivers, Side::Riders] {
                let live = list.iter().filter(|line| line.side == side && line.expires > now).count();
                prop_assert_eq!(node.book.live_count(side, now), live);
            }
            if now.as_millis().is_multiple_of(2) {
                node.book.expire(now);
                list.retain(|line| line.expires > now);
                prop_assert_eq!(node.book.len(), list.len());
                // When the next one is looked at: after now, and no later than it ends.
                let (next, ends) = (node.book.next_expiry(), list.iter().map(|line| line.expires).min());
                prop_assert_eq!(next.is_some(), ends.is_some());
                prop_assert!(next <= ends && next.is_none_or(|next| next > now), "{next:?} {ends:?}");
                let mut keys: Vec<PublicKey> =
                    list.iter().filter(|line| line.side == Side::Drivers).map(|line| line.key).collect();
                keys.sort_unstable();
                prop_assert!(node.book.drivers().map(|booked| *booked.key()).eq(keys));
            }
        }
    }
}

fn anyone(near: GeoPoint) -> Query<'static, DriverWant> {
    Query { near, radius_m: None, limit: 10, want: DriverWant::default(), speed_kmh: 20, exclude: &|_| None }
}

fn admit<T: hailmesh_wire::Body>(node: &mut Node, signer: u32, offer: T) -> Stop {
    let bytes = sign(&key(signer), offer);
    node.admission.admit_direct(&mut node.book, node.now, peer(1), &bytes.into()).stop
}

#[test]
fn an_empty_book_explains_itself() {
    let node = Node::new(unhurried());
    let report = search_drivers(&node.book, start(), &anyone(times_square()));
    assert!(report.candidates.is_empty());
    assert_eq!(report.explain, Default::default());
    assert_eq!(node.book.next_expiry(), None);
}

#[test]
fn every_exclusion_is_counted_under_its_reason() {
    let mut node = Node::new(unhurried());
    let base = || driver_offer(1, start(), home());
    let with = |change: &dyn Fn(&mut hailmesh_wire::DriverTerms)| {
        let mut offer = base();
        change(offer.live.as_mut().unwrap());
        offer
    };
    let euro: Currency = "EUR".parse().unwrap();
    assert_eq!(admit(&mut node, 1, base()), Stop::None);
    assert_eq!(admit(&mut node, 2, with(&|terms| terms.class = Class::LARGE)), Stop::None);
    assert_eq!(admit(&mut node, 3, with(&|terms| terms.seats = Seats::ONE)), Stop::None);
    assert_eq!(admit(&mut node, 4, with(&|terms| terms.features = Features::NONE)), Stop::None);
    assert_eq!(
        admit(&mut node, 5, with(&|terms| terms.tariff = Tariff { currency: euro, ..terms.tariff })),
        Stop::None
    );
    assert_eq!(
        admit(&mut node, 6, with(&|terms| terms.tariff = Tariff { base: 9_000, ..terms.tariff })),
        Stop::None
    );
    let far = cell_at("40.9,-73.9855".parse().unwrap(), 9);
    assert_eq!(admit(&mut node, 7, driver_offer(1, start(), far)), Stop::None);
    assert_eq!(admit(&mut node, 8, base()), Stop::None);
    for one in [1, 2, 3, 5, 6, 7, 8] {
        let mut offer = node.book.driver(&public(&key(one))).unwrap().offer.body().clone();
        let terms = offer.live.as_mut().unwrap();
        terms.features = Features::RAMP;
        offer.seq = 2;
        assert_eq!(admit(&mut node, one, offer), Stop::None);
    }
    let busy = public(&key(8));
    let exclude = move |key: &PublicKey| (*key == busy).then_some(Exclusion::Busy);
    let want = DriverWant {
        class: Some(Class::STANDARD),
        seats: Seats::new(2).unwrap(),
        features: Features::RAMP,
        max_fare: Some(Amount::from_minor(3_000).unwrap()),
        currency: Some(Currency::USD),
        dist_m: Some(5_000),
        ride_time: Some(secs(600)),
        min_level: Level::L0,
    };
    let query = Query {
        near: times_square(),
        radius_m: Some(3_000),
        limit: 10,
        want: want.clone(),
        speed_kmh: 20,
        exclude: &exclude,
    };
    let report = search_drivers(&node.book, start(), &query);
    assert_eq!(report.candidates.len(), 1);
    assert_eq!(*report.candidates[0].booked.key(), public(&key(1)));
    // 250 + 5 × 120 + 10 × 30 minor units.
    assert_eq!(report.candidates[0].fare, Some(Amount::from_minor(1_150).unwrap()));
    let names = report.explain.excluded_by_name();
    let expected = ["busy", "class", "currency", "fare", "features", "seats", "too_far"];
    assert_eq!(names, expected.into_iter().map(|name| (name, 1)).collect::<BTreeMap<_, _>>());
    assert_eq!((report.explain.heard, report.explain.in_range, report.explain.examined), (8, 7, 7));
    assert_eq!(report.explain.last_offer, Some(start()));

    let picky = Query { want: DriverWant { min_level: Level::L2, ..want }, ..query };
    let report = search_drivers(&node.book, start(), &picky);
    assert!(report.candidates.is_empty());
    assert_eq!(report.explain.excluded_by_name()["level"], 6);
}

#[test]
fn a_freed_driver_finds_the_riders_it_can_serve() {
    let mut node = Node::new(unhurried());
    let hear = |node: &mut Node, signer, change: &dyn Fn(&mut hailmesh_wire::RiderTerms)| {
        let mut offer = rider_offer(1, start(), cell_at(times_square(), 8));
        change(offer.live.as_mut().unwrap());
        let bytes = sign(&key(signer), offer);
        assert_eq!(
            node.admission.admit_direct(&mut node.book, start(), peer(1), &bytes.into()).stop,
            Stop::None
        );
    };
    hear(&mut node, 1, &|_| {});
    hear(&mut node, 2, &|terms| terms.seats = Seats::new(5).unwrap());
    hear(&mut node, 3, &|terms| terms.max_fare = Some((Amount::from_minor(499).unwrap(), Currency::USD)));
    hear(&mut node, 4, &|terms| terms.max_fare = Some((Amount::from_minor(500).unwrap(), Currency::USD)));
    let query = Query {
        near: times_square(),
        radius_m: None,
        limit: 10,
        want: RiderWant {
            class: Some(Class::STANDARD),
            seats: Seats::new(4).unwrap(),
            features: Features::NONE,
            tariff: Some(Tariff::default()),
            min_level: Level::L0,
        },
        speed_kmh: 20,
        exclude: &|_| None,
    };
    let report = search_riders(&node.book, start(), &query);
    let mut found: Vec<PublicKey> = report.candidates.iter().map(|one| *one.booked.key()).collect();
    found.sort_unstable();
    let mut wanted = [public(&key(1)), public(&key(4))];
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    assert_eq!(report.explain.excluded_by_name(), BTreeMap::from([("fare", 1), ("seats", 1)]));
}

#[test]
fn what_newly_appears_is_how_many_are_there_by_how_long_they_stay() {
    let mut node = Node::new(unhurried());
    let least = Duration::from_secs(5);
    let flow = |node: &Node, now, partner| {
        let of = |side| node.book.flow_per_s(now, side, usize::from(side == partner), least);
        of(Side::Drivers) + of(Side::Riders)
    };
    assert_eq!(flow(&node, start(), Side::Drivers), 0.0);
    assert_eq!(admit(&mut node, 1, driver_offer(1, start(), home())), Stop::None);
    assert_eq!(flow(&node, start(), Side::Drivers), 0.0, "a pair alone has no others");
    assert_eq!(flow(&node, start(), Side::Riders), 0.2, "one that has just come");
    for rider in 2..=5 {
        assert_eq!(admit(&mut node, rider, rider_offer(1, start(), home())), Stop::None);
    }
    // After 40 s: four riders who wait, and one car that nobody takes.
    let later = start() + Duration::from_secs(40);
    assert_eq!(flow(&node, later, Side::Drivers), 4.0 / 40.0);
    // A refresh is nothing new.
    node.now = later;
    assert_eq!(admit(&mut node, 1, driver_offer(2, later, home())), Stop::None);
    assert_eq!(node.book.driver(&public(&key(1))).unwrap().since, start());
    assert_eq!(flow(&node, later, Side::Drivers), 4.0 / 40.0);
    // A car that is free for its next ride is.
    let mut next = driver_offer(3, later, home());
    (next.slot, next.head) = (1, Some(StatementId::from_bytes([7; 32])));
    assert_eq!(admit(&mut node, 1, next), Stop::None);
    assert_eq!(node.book.driver(&public(&key(1))).unwrap().since, later);
    assert_eq!(flow(&node, later, Side::Riders), 1.0 / 5.0 + 3.0 / 40.0);
}

fn tight() -> Limits {
    Limits { offers_per_cell: 10, offers: 25, ..unhurried() }
}

#[test]
fn a_full_cell_keeps_what_is_worth_more() {
    let mut node = Node::new(tight());
    for author in 0..10 {
        let mut offer = driver_offer(1, start(), home());
        offer.ttl = secs(60 + author);
        assert_eq!(admit(&mut node, author, offer), Stop::None);
    }
    let mut brief = driver_offer(1, start(), home());
    brief.ttl = secs(30);
    assert_eq!(admit(&mut node, 100, brief), Stop::Full, "it would be the first to go");
    node.book.pin(&public(&key(0)));
    assert_eq!(admit(&mut node, 101, driver_offer(1, start(), home())), Stop::None);
    assert!(node.book.driver(&public(&key(0))).is_some(), "pinned");
    assert!(node.book.driver(&public(&key(1))).is_none(), "the next to expire");
    assert_eq!((node.book.len(), node.book.evicted()), (10, 1));
    // An author in the book replaces its own offer and nobody else's.
    assert_eq!(admit(&mut node, 5, driver_offer(2, start(), home())), Stop::None);
    assert_eq!((node.book.len(), node.book.evicted()), (10, 1));
    // Expired ones go before anybody is evicted.
    node.now = start() + secs(61);
    let late = driver_offer(1, node.now, home());
    assert_eq!(admit(&mut node, 102, late), Stop::None);
    assert_eq!(node.book.evicted(), 1);
    node.book.unpin(&public(&key(0)));
}

#[test]
fn a_refresh_saves_an_offer_from_going_first() {
    let mut node = Node::new(tight());
    let lasting =
        |seq, ttl| hailmesh_wire::DriverOffer { ttl: secs(ttl), ..driver_offer(seq, start(), home()) };
    for author in 0..10 {
        assert_eq!(admit(&mut node, author, lasting(1, 60 + author)), Stop::None);
    }
    // From the first eviction on the cell keeps its offers in order.
    assert_eq!(admit(&mut node, 100, lasting(1, 120)), Stop::None);
    assert!(node.book.driver(&public(&key(0))).is_none());
    assert_eq!(admit(&mut node, 1, lasting(2, 119)), Stop::None);
    for (newcomer, gone) in [(101, 2), (102, 3), (103, 4)] {
        assert_eq!(admit(&mut node, newcomer, lasting(1, 118)), Stop::None);
        assert!(node.book.driver(&public(&key(gone))).is_none(), "{gone} was the next to expire");
        assert!(node.book.driver(&public(&key(1))).is_some(), "refreshed");
    }
    // A cell that was full once and is no more lets everybody in.
    node.now = start() + secs(70);
    let now = node.now;
    assert_eq!(node.book.expire(now).len(), 5);
    assert_eq!(admit(&mut node, 104, driver_offer(1, now, home())), Stop::None);
    assert_eq!((node.book.len(), node.book.evicted()), (6, 4));
}

#[test]
fn the_book_as_a_whole_is_bounded_too() {
    let mut node = Node::new(tight());
    for author in 0..200_u32 {
        let point = GeoPoint::from_degrees(40.0 + f64::from(author % 7) * 0.1, -73.9855).unwrap();
        let mut offer = driver_offer(1, start(), Cell::at(point, Resolution::PICKUP));
        offer.ttl = Duration::from_millis(60_000 + author);
        assert_eq!(admit(&mut node, author, offer), Stop::None);
        assert!(node.book.len() <= 25);
    }
    assert_eq!(node.book.evicted(), 175);
    assert!(
        (175..200).all(|author| node.book.driver(&public(&key(author))).is_some()),
        "the longest-lived stay"
    );
}

#[test]
fn uncredentialed_offers_never_displace_credentialed_ones() {
    let issuer = key(1_000);
    let limits = Limits { uncredentialed_percent: 100, ..tight() };
    let mut node = Node::with(limits, 0, &[public(&issuer)]);
    for author in 0..10 {
        assert_eq!(admit(&mut node, author, driver_offer(1, start(), home())), Stop::None);
    }
    for author in 10..20 {
        let (driver, identity) = (key(author), key(10_000 + author));
        let mut offer = certify(driver_offer(1, start(), home()), &driver, &identity, &issuer);
        offer.ttl = secs(60);
        assert_eq!(admit(&mut node, author, offer), Stop::None);
    }
    assert!(node.book.drivers().all(|booked| booked.level == Level::L2), "the strangers went");
    assert_eq!(admit(&mut node, 20, driver_offer(1, start(), home())), Stop::Full);
    assert_eq!(node.book.len(), 10);
}

#[test]
fn strangers_have_a_share_of_a_cell() {
    let issuer = key(1_000);
    let limits = Limits { uncredentialed_places: 4, ..unhurried() };
    let mut node = Node::with(limits.clone(), 0, &[public(&issuer)]);
    let admitted =
        (0..20).filter(|author| admit(&mut node, *author, driver_offer(1, start(), home())) == Stop::None);
    assert_eq!(admitted.count(), 4);
    for author in 100..120 {
        let (driver, identity) = (key(author), key(10_000 + author));
        let offer = certify(driver_offer(1, start(), home()), &driver, &identity, &issuer);
        assert_eq!(admit(&mut node, author, offer), Stop::None);
    }
    // A quarter of 24 and one more.
    let admitted =
        (20..60).filter(|author| admit(&mut node, *author, driver_offer(1, start(), home())) == Stop::None);
    assert_eq!(admitted.count(), 2);
    // One that is in stays in when it refreshes.
    assert_eq!(admit(&mut node, 0, driver_offer(2, start(), home())), Stop::None);

    let mut open = Node::new(limits);
    assert!((0..20).all(|author| admit(&mut open, author, driver_offer(1, start(), home())) == Stop::None));
}
