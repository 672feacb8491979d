//! Every bound and presence rule of the tables in P4, from the outside.

use hailmesh_types::{Amount, Cell, Currency, Duration, GeoPoint, Resolution, Tariff, Timestamp};
use hailmesh_wire::*;

use crate::common::{Generate, Source};

/// A value as small as its bounds allow.
fn least<T: Generate>() -> T {
    T::generate(&mut Source::slim(&[]))
}

/// Encodes a value that may break its bounds and says why it is refused.
fn refusal<T: Body>(body: T) -> String {
    T::decode_body(&body.encode_body()).expect_err("a broken bound").to_string()
}

fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms)
}

fn cell(resolution: u8) -> Cell {
    Cell::at(GeoPoint::from_e7(0, 0).unwrap(), Resolution::new(resolution).unwrap())
}

fn later(hours: u64, extra_ms: u64) -> Timestamp {
    Timestamp::from_millis(Timestamp::MIN.as_millis() + hours * 3_600_000 + extra_ms).unwrap()
}

fn live_driver() -> DriverOffer {
    DriverOffer {
        live: Some(DriverTerms {
            class: hailmesh_types::Class::STANDARD,
            seats: hailmesh_types::Seats::ONE,
            features: hailmesh_types::Features::NONE,
            tariff: Tariff::default(),
            accept_mode: AcceptMode::Auto,
        }),
        ..least()
    }
}

fn live_rider() -> RiderOffer {
    RiderOffer {
        live: Some(RiderTerms {
            class: hailmesh_types::Class::STANDARD,
            seats: hailmesh_types::Seats::ONE,
            features: hailmesh_types::Features::NONE,
            attempt: 1,
            max_fare: None,
            peer: hailmesh_types::PeerKey::from_bytes([1; 32]),
        }),
        ..least()
    }
}

#[test]
fn offers() {
    assert_eq!(
        refusal(DriverOffer { seq: 0, ..least() }),
        format!("P4.2: seq 0: expected 1 to {}", u64::MAX)
    );
    assert_eq!(
        refusal(DriverOffer { ttl: ms(9_999), ..least() }),
        "P4.2: ttl 9999: expected 10000 to 120000"
    );
    assert_eq!(
        refusal(RiderOffer { ttl: ms(120_001), ..least() }),
        "P4.3: ttl 120001: expected 10000 to 120000"
    );
    assert_eq!(
        refusal(DriverOffer { cell: cell(6), ..least() }),
        "P4.2: cell is no H3 cell of resolution 7 to 10"
    );
    assert_eq!(refusal(DriverOffer { slot: 1, ..least() }), "P4.2: head is missing with slot 1");
    let head = Some(hailmesh_types::StatementId::from_bytes([1; 32]));
    assert_eq!(refusal(DriverOffer { head, ..least() }), "P4.2: head is present with slot 0");
    let mut terms = live_driver().live.unwrap();
    terms.tariff.surge = 999;
    assert_eq!(
        refusal(DriverOffer { live: Some(terms), ..least() }),
        "P4.4: tariff tariff surge 999: expected 1000 to 5000"
    );
}

#[test]
fn withdrawn_offers_are_bare() {
    let address = Address::new([4, 127, 0, 0, 1]).unwrap();
    assert_eq!(
        refusal(DriverOffer { addrs: vec![address.clone()], ..least() }),
        "P4.2: addrs in a withdrawn offer"
    );
    let cert_id = Some(hailmesh_types::StatementId::from_bytes([1; 32]));
    let offer = RiderOffer { cert_id, certs: vec![vec![1]], ..least() };
    assert_eq!(refusal(offer), "P4.3: certs in a withdrawn offer");
    let offer = DriverOffer { certs: vec![vec![1]], ..live_driver() };
    assert_eq!(refusal(offer), "P4.2: certs without cert_id");
    let offer = DriverOffer { addrs: vec![address; 4], ..live_driver() };
    assert_eq!(refusal(offer), "P4.2: addrs has not 1 to 3 elements");
    let offer = DriverOffer { cert_id, certs: vec![vec![1; 289]], ..live_driver() };
    assert_eq!(refusal(offer), "P4.2: certs of 289 bytes: at most 288 are allowed");
    assert!(Address::new([0; 65]).is_err());
}

#[test]
fn status_decides_which_fields_there_are() {
    // Status is the fourth field: seq 1 byte, issued 9, ttl 3 after the head.
    let withdrawn = least::<DriverOffer>().encode_body();
    let at = 1 + 1 + 9 + 3;
    assert_eq!(withdrawn[at], 2);
    let with_status = |mut body: Vec<u8>, status: u8| {
        body[at] = status;
        body
    };
    let clause = |body: &[u8]| DriverOffer::decode_body(body).unwrap_err().to_string();
    assert_eq!(clause(&with_status(withdrawn.clone(), 1)), "P2.3: class is missing");
    assert_eq!(clause(&with_status(withdrawn, 3)), "P4.2: status 3: expected one of [1, 2]");
    let live = live_driver().encode_body();
    assert_eq!(clause(&with_status(live, 2)), "P4.2: class does not belong here");
    let live = live_rider().encode_body();
    let error = RiderOffer::decode_body(&with_status(live, 2)).unwrap_err();
    assert_eq!(error.to_string(), "P4.3: class does not belong here");
}

#[test]
fn a_rider_names_fare_and_currency_or_neither() {
    let mut offer = live_rider();
    offer.live.as_mut().unwrap().max_fare = Some((Amount::from_minor(5).unwrap(), Currency::USD));
    let body = offer.encode_body();
    let at = body.windows(5).position(|window| window == [5, 0x43, b'U', b'S', b'D']).unwrap();
    let without_currency = [&body[..at], &[5, 0xf6], &body[at + 5..]].concat();
    let error = RiderOffer::decode_body(&without_currency).unwrap_err();
    assert_eq!(error.to_string(), "P4.3: max_fare without currency");
    let without_fare = [&body[..at], &[0xf6], &body[at + 1..]].concat();
    let error = RiderOffer::decode_body(&without_fare).unwrap_err();
    assert_eq!(error.to_string(), "P4.3: currency without max_fare");
    let mut lower_case = body.clone();
    lower_case[at + 2] = b'u';
    assert_eq!(RiderOffer::decode_body(&lower_case).unwrap_err().clause, "P4.3");
}

#[test]
fn requests() {
    assert_eq!(refusal(Request { attempt: 0, ..least() }), "P4.5: attempt 0: expected 1 to 65535");
    assert_eq!(refusal(Request { dist: 500_001, ..least() }), "P4.5: dist 500001: expected 0 to 500000");
    assert_eq!(
        refusal(Request { ride_time: ms(43_200_001), ..least() }),
        "P4.5: ride_time 43200001: expected 0 to 43200000"
    );
    assert_eq!(refusal(Request { ttl: ms(999), ..least() }), "P4.5: ttl 999: expected 1000 to 30000");
    assert_eq!(
        refusal(Request { pickup_cell: cell(10), ..least() }),
        "P4.5: pickup_cell is no H3 cell of resolution 7 to 9"
    );
    assert_eq!(
        refusal(Request { drop_cell: Some(cell(8)), ..least() }),
        "P4.5: drop_cell is no H3 cell of resolution 5 to 7"
    );
    assert_eq!(refusal(Request { certs: vec![vec![1]], ..least() }), "P4.5: certs without cert_id");
}

#[test]
fn accepts() {
    assert_eq!(refusal(Accept { lane: 1, ..least() }), "P4.6: lane 1: expected 0 to 0");
    assert_eq!(refusal(Accept { hold: ms(1_999), ..least() }), "P4.6: hold 1999: expected 2000 to 20000");
    assert_eq!(refusal(Accept { hold: ms(20_001), ..least() }), "P4.6: hold 20001: expected 2000 to 20000");
    assert_eq!(
        refusal(Accept { eta: ms(30_001), ..least() }),
        "P4.6: eta 30001: expected a multiple of 30000"
    );
    assert_eq!(refusal(Accept { eta: ms(7_230_000), ..least() }), "P4.6: eta 7230000: expected 0 to 7200000");
    let late = Accept { pickup_by: later(24, 1), ..least() };
    assert_eq!(refusal(late), "P4.6: pickup_by 86400001 ms after issued: at most 86400000 are allowed");
    let long = Prev { proof: Some(vec![0; 321]), ..Prev::FIRST };
    assert_eq!(
        refusal(Accept { prev: long, ..least() }),
        "P3.5: prev proof of 321 bytes: at most 320 are allowed"
    );
}

#[test]
fn voids_and_releases() {
    let void = |outcome| Void { outcome, ..least() };
    let agreement_id = Some(hailmesh_types::AgreementId::from_bytes([1; 32]));
    for outcome in Outcome::ALL {
        let allowed = matches!(outcome.code(), 1 | 2 | 3 | 4 | 8 | 9);
        let firm = matches!(outcome.code(), 3 | 4 | 8 | 9);
        let board_secret = (outcome.code() == 8).then_some([7; 16]);
        let whole = Void { agreement_id: agreement_id.filter(|_| firm), board_secret, ..void(*outcome) };
        assert_eq!(Void::decode_body(&whole.encode_body()).is_ok(), allowed, "VOID {outcome}");
        let allowed = matches!(outcome.code(), 2 | 6..=10);
        let bound = outcome.code() != 2;
        let whole = Release {
            outcome: *outcome,
            agreement_id: agreement_id.filter(|_| bound),
            slot: bound.then_some(0),
            ..least()
        };
        assert_eq!(Release::decode_body(&whole.encode_body()).is_ok(), allowed, "RELEASE {outcome}");
        if allowed {
            let half = Release { slot: (!bound).then_some(0), ..whole.clone() };
            assert!(refusal(half).starts_with("P4.8: slot is "));
            let half = Release { agreement_id: agreement_id.filter(|_| !bound), ..whole };
            assert!(refusal(half).starts_with("P4.8: agreement_id is "));
        }
    }
    assert_eq!(
        refusal(Void { agreement_id, ..void(Outcome::HoldLapsed) }),
        "P4.8: agreement_id is present with outcome HOLD_LAPSED"
    );
    assert_eq!(
        refusal(void(Outcome::RiderReleased)),
        "P4.8: agreement_id is missing with outcome RIDER_RELEASED"
    );
    assert_eq!(
        refusal(Void { agreement_id, ..void(Outcome::CompletedUnilateral) }),
        "P4.8: board_secret is missing with outcome COMPLETED_UNILATERAL"
    );
    assert_eq!(
        refusal(Void { board_secret: Some([0; 16]), ..void(Outcome::DriverCancelled) }),
        "P4.8: board_secret is present with outcome DRIVER_CANCELLED"
    );
    assert_eq!(refusal(void(Outcome::NoAck)), "P4.8: outcome NO_ACK in a VOID");
}

#[test]
fn smaller_statements() {
    assert_eq!(refusal(Reject { retry: ms(600_001), ..least() }), "P4.8: retry 600001: expected 0 to 600000");
    assert_eq!(refusal(Counter { n: 4, ..least() }), "P4.8: n 4: expected 1 to 3");
    assert_eq!(refusal(Counter { valid: ms(4_999), ..least() }), "P4.8: valid 4999: expected 5000 to 60000");
    assert_eq!(refusal(Invite { valid: ms(10_001), ..least() }), "P4.8: valid 10001: expected 2000 to 10000");
    let entry = StatusEntry {
        agreement_id: hailmesh_types::AgreementId::from_bytes([1; 32]),
        state: RideState::Firm,
        own_last: hailmesh_types::StatementId::from_bytes([2; 32]),
        heard_last: None,
    };
    let status = Status { entries: vec![entry; 5], ..least() };
    assert_eq!(refusal(status), "P4.8: entries has not 0 to 4 elements");
    let ask = |from_slot, to_slot| ChainAsk { from_slot, to_slot, ..least() };
    assert_eq!(refusal(ask(3, 9)), "P4.8: slots 3 to 9: expected 1 to 6 slots");
    assert_eq!(refusal(ask(3, 2)), "P4.8: slots 3 to 2: expected 1 to 6 slots");
    assert!(ChainAsk::decode_body(&ask(3, 8).encode_body()).is_ok());
    assert_eq!(
        refusal(Arrived { cell: cell(10), ..least() }),
        "P4.8: cell is no H3 cell of resolution 7 to 9"
    );
    assert_eq!(refusal(BoardAsk { code: *b"12345a", ..least() }), "P4.8: code is not six digits");
    let item = FareItem { code: ItemCode::Extra, amount: Amount::ZERO };
    let twice = Complete { items: vec![item.clone(), item], ..least() };
    assert_eq!(refusal(twice), "P4.11: item extra occurs twice");
    assert_eq!(refusal(Complete { items: vec![], ..least() }), "P4.8: items has not 1 to 8 elements");
    assert_eq!(refusal(Rating { stars: 6, ..least() }), "P4.8: stars 6: expected 1 to 5");
    let heard = NoShow { heard: Some(vec![0; 401]), ..least() };
    assert_eq!(refusal(heard), "P4.8: heard of 401 bytes: at most 400 are allowed");
}

#[test]
fn texts_of_strangers() {
    let body = Rating { text: hailmesh_types::Text::new("good").unwrap(), ..least() }.encode_body();
    let at = body.len() - 4;
    let clause = |text: &[u8]| {
        let changed = [&body[..at], text].concat();
        Rating::decode_body(&changed).map_err(|error| error.to_string())
    };
    assert!(clause(b"fine").is_ok());
    assert_eq!(clause(&[0xff, 0xfe, b'a', b'b']), Err("P4.8: text is not UTF-8".to_owned()));
    assert_eq!(
        clause(b"a\nbc"),
        Err("P4.8: text text holds U+000A, a control or direction character".to_owned())
    );
}

#[test]
fn certificates() {
    let shift = |role, until| ShiftCert { role, until, ..least() };
    assert!(ShiftCert::decode_body(&shift(Role::Driver, later(12, 0)).encode_body()).is_ok());
    assert_eq!(
        refusal(shift(Role::Driver, later(12, 1))),
        "P4.8: lasts 43200001 ms: at most 43200000 are allowed"
    );
    assert!(ShiftCert::decode_body(&shift(Role::Rider, later(24, 0)).encode_body()).is_ok());
    assert!(refusal(shift(Role::Rider, later(24, 1))).starts_with("P4.8: lasts"));
    let backwards = ShiftCert { from: later(1, 0), until: later(0, 0), ..least() };
    assert!(refusal(backwards).starts_with("P4.8: until "));
    let replaces = Some(Replaces { cert: None, how: Replacement::Closed });
    assert_eq!(
        refusal(ShiftCert { replaces, ..least() }),
        "P16.3: replaces a closed key without the certificate it had"
    );
    let long = Credential { mode: CredentialMode::Pseudonymous, until: later(48, 1), ..least() };
    assert!(refusal(long).starts_with("P16.1: lasts"));
    let revocation = |serials, until| Revocation { serials, until, ..least() };
    assert_eq!(refusal(revocation(vec![2, 2], Timestamp::MIN)), "P4.8: serial 2 after 2: they must ascend");
    assert!(refusal(revocation(vec![], later(35 * 24, 1))).starts_with("P4.8: lasts"));
    assert_eq!(
        refusal(revocation((0..257).collect(), Timestamp::MIN)),
        "P4.8: serials has not 0 to 256 elements"
    );
    let evidence = |statements| Evidence { statements, ..least() };
    assert_eq!(refusal(evidence(vec![])), "P4.8: statements has not 1 to 3 elements");
    assert_eq!(refusal(evidence(vec![vec![]; 4])), "P4.8: statements has not 1 to 3 elements");
    assert_eq!(
        refusal(evidence(vec![vec![0; 1_025]])),
        "P4.8: statements of 1025 bytes: at most 1024 are allowed"
    );
    assert!(Roles::BOTH.allows(Role::Rider) && !Roles::DRIVER.allows(Role::Rider));
}

#[test]
fn codes_that_nobody_listed() {
    // Reasons are open: unknown codes are kept.
    for code in 0..=255 {
        let reject = Reject { reason: RejectReason::from_code(code), ..least() };
        assert_eq!(Reject::decode_body(&reject.encode_body()).unwrap().reason.code(), code);
        assert_eq!(EndReason::from_code(code).code(), code);
    }
    assert_eq!(RejectReason::from_code(14), RejectReason::Unsupported);
    assert_eq!(RejectReason::from_code(0), RejectReason::Other(0));
    // Outcomes are closed.
    assert_eq!(Outcome::from_code(12), None);
    assert_eq!(RideState::from_code(0), None);
    let words: Vec<&str> = RideState::ALL.iter().map(|state| state.name()).collect();
    let expected = "requested held committed firm en_route arrived in_progress completed cancelled released void \
                    no_show expired declined unknown";
    assert_eq!(words.join(" "), expected);
}

#[test]
fn every_kind_has_its_code() {
    let codes: Vec<u8> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    let expected: Vec<u8> = [0x01, 0x02]
        .into_iter()
        .chain(0x10..=0x1a)
        .chain(0x20..=0x28)
        .chain([0x30, 0x31, 0x40, 0x41])
        .collect();
    assert_eq!(codes, expected);
    for code in 0..=255 {
        assert_eq!(Kind::from_code(code).map(Kind::code), expected.contains(&code).then_some(code));
    }
}
