//! One statement or more of every kind, for the golden vectors.

use hailmesh_types::{Amount, Class, Currency, Duration, Features, Hash, PeerKey, Seats, StatementId, Text};
use hailmesh_wire::{
    Address, AnyVerified, BoardAsk, Body, ChainAsk, Credential, CredentialMode, DriverOffer, Ed25519,
    EnRoute, EndReason, Evidence, EvidenceKind, Extensions, Invite, Kind, Outcome, Prev, Reject,
    RejectReason, Replacement, Replaces, Request, Revocation, RideState, RiderOffer, Role, Roles, ShiftCert,
    Status, StatusEntry, Verified,
};

use crate::evidence::{guilty, raw, rider_offer};
use crate::ride::{
    DRIVER, DRIVER_IDENTITY, Draft, ISSUER, Plan, RIDER, RIDER_IDENTITY, Ride, STRANGER, accept, amount, at,
    credential, dispute, driver_offer, no_show, public, rating, release, request, shift_cert, sign, void,
};

/// A statement with its name and the byte that its signer's seed consists of.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) signer: u8,
    pub(crate) statement: AnyVerified,
}

struct Samples(Vec<Sample>);

impl Samples {
    fn add<T: Body>(&mut self, name: &str, signer: u8, statement: &Verified<T>)
    where
        AnyVerified: From<Verified<T>>,
    {
        let name = if name.is_empty() { T::KIND.to_string() } else { format!("{} {name}", T::KIND) };
        self.0.push(Sample { name, signer, statement: statement.clone().into() });
    }

    fn sign<T: Body>(&mut self, name: &str, signer: u8, body: T)
    where
        AnyVerified: From<Verified<T>>,
    {
        self.add(name, signer, &sign(signer, body));
    }
}

fn some_address() -> Vec<Address> {
    // /ip4/203.0.113.7/udp/4001/quic-v1
    vec![Address::new([0x04, 203, 0, 113, 7, 0x91, 0x02, 0x0f, 0xa1, 0xcd, 0x03]).unwrap()]
}

pub(crate) fn samples() -> Vec<Sample> {
    let mut all = Samples(Vec::new());
    offers(&mut all);
    handshake(&mut all);
    after_firm(&mut all);
    trust(&mut all);
    all.0
}

fn offers(all: &mut Samples) {
    let certified = Ride::honest(Plan { certified: true, ..Plan::default() });
    all.sign("smallest", DRIVER, driver_offer());
    all.sign(
        "full",
        DRIVER,
        DriverOffer {
            seq: u64::MAX,
            slot: 3,
            addrs: some_address(),
            cert_id: certified.offer.body().cert_id,
            certs: certified.certs[..2].iter().map(|bytes| bytes.to_vec()).collect(),
            pow: Some([1, 2, 3, 4, 5, 6, 7, 8]),
            head: Some(StatementId::from_bytes([0xab; 32])),
            ext: Extensions::new(vec![(0x0010, vec![0, 1]), (0x0032, Vec::new())]).unwrap(),
            ..driver_offer()
        },
    );
    all.sign("withdrawn", DRIVER, DriverOffer { live: None, ..driver_offer() });
    all.sign("", RIDER, rider_offer(1, 0));
    let mut plain = rider_offer(2, 0);
    plain.addrs = some_address();
    if let Some(terms) = &mut plain.live {
        terms.max_fare = None;
        terms.peer = PeerKey::from_bytes([0x77; 32]);
    }
    all.sign("without a fare", RIDER, plain);
    all.sign("withdrawn", RIDER, RiderOffer { live: None, ..rider_offer(3, 0) });
}

fn handshake(all: &mut Samples) {
    let ride = Ride::honest(Plan { countered: true, certified: true, ..Plan::default() });
    let metered = Ride::tampered(Plan { metered: true, ..Plan::default() }, |draft| match draft {
        Draft::Request(request) => request.drop_cell = None,
        Draft::Confirm(confirm) => confirm.drop_commit = None,
        _ => {}
    });
    all.add("with certificate and COUNTER", RIDER, &ride.request);
    all.add("as directed", RIDER, &metered.request);
    all.sign(
        "full",
        RIDER,
        Request {
            class: Class::from_code(0x8001),
            features: Features::from_bits(u32::MAX),
            party: Seats::new(16).unwrap(),
            invite_id: Some(StatementId::from_bytes([0x1e; 32])),
            certs: ride.certs[2..].iter().map(|bytes| bytes.to_vec()).collect(),
            pow: Some([9; 8]),
            ..ride.request.body().clone()
        },
    );
    all.add("slot 0", DRIVER, &ride.accept);
    let freed = sign(RIDER, release(&ride.accept, 0, Outcome::RiderCancelled));
    let wanted = sign(STRANGER, Request { nonce: [0x44; 16], ..request(DRIVER, &ride.offer) });
    let after = |outcome, proof| {
        let prev = Prev { outcome, accept_id: Some(ride.accept.id()), proof };
        accept(&wanted, 1, prev)
    };
    all.sign("after a RELEASE", DRIVER, after(Outcome::RiderReleased, Some(freed.bytes().to_vec())));
    all.sign("after a COSIGN", DRIVER, after(Outcome::Completed, Some(ride.cosign.bytes().to_vec())));
    all.sign("after a lapse", DRIVER, after(Outcome::HoldLapsed, None));
    all.add("", RIDER, &ride.confirm);
    all.add("as directed", RIDER, &metered.confirm);
    all.add("", DRIVER, &ride.ack);
    all.sign("of a hold", DRIVER, void(&ride.accept, Outcome::HoldLapsed));
    all.sign("after boarding", DRIVER, void(&ride.accept, Outcome::CompletedUnilateral));
    let mut unseen = release(&ride.accept, 0, Outcome::NotChosen);
    unseen.reason = EndReason::from_code(200);
    all.sign("not chosen", RIDER, unseen);
    let mut late = release(&ride.accept, 0, Outcome::RiderCancelled);
    late.fee = amount(300);
    late.ref_id = Some(ride.arrived.id());
    all.sign("late", RIDER, late);
    let reject = Reject {
        to: public(RIDER),
        issued: at(1_100),
        about: ride.request.id(),
        reason: RejectReason::SlotAhead,
        slot: Some(0),
        retry: Duration::from_secs(5),
        ext: Extensions::NONE,
    };
    all.sign("with a slot", DRIVER, reject.clone());
    all.sign("", DRIVER, Reject { slot: None, reason: RejectReason::Busy, ..reject });
    all.add("", DRIVER, ride.counter.as_ref().unwrap());
    let status = Status {
        to: public(DRIVER),
        issued: at(5_000),
        nonce: [0x55; 16],
        reply_to: Some([0x56; 16]),
        entries: vec![StatusEntry {
            agreement_id: ride.confirm.body().agreement_id,
            state: RideState::Committed,
            own_last: ride.confirm.id(),
            heard_last: None,
        }],
        ext: Extensions::NONE,
    };
    all.sign("", RIDER, status.clone());
    all.sign("of nothing", RIDER, Status { reply_to: None, entries: Vec::new(), ..status });
    all.sign(
        "",
        DRIVER,
        Invite {
            to: public(RIDER),
            issued: at(100),
            rider_offer_id: StatementId::from_bytes([0x0f; 32]),
            offer_id: ride.offer.id(),
            slot: 0,
            eta: Duration::from_secs(90),
            valid: Duration::from_secs(5),
            ext: Extensions::NONE,
        },
    );
    all.sign(
        "",
        RIDER,
        ChainAsk {
            to: public(DRIVER),
            issued: at(1_250),
            accept_id: ride.accept.id(),
            from_slot: 3,
            to_slot: 8,
            ext: Extensions::NONE,
        },
    );
}

fn after_firm(all: &mut Samples) {
    let ride = Ride::honest(Plan { extra: 650, ..Plan::default() });
    let agreement = ride.confirm.body().agreement_id;
    all.sign(
        "",
        DRIVER,
        EnRoute {
            to: public(RIDER),
            issued: at(2_000),
            agreement_id: agreement,
            eta: Duration::from_millis(149_001),
            ext: Extensions::NONE,
        },
    );
    all.add("", DRIVER, &ride.arrived);
    all.sign(
        "",
        DRIVER,
        BoardAsk {
            to: public(RIDER),
            issued: at(200_000),
            agreement_id: agreement,
            code: *b"004217",
            ext: Extensions::NONE,
        },
    );
    all.add("", DRIVER, &ride.boarded);
    all.add("with an extra", DRIVER, &ride.complete);
    all.add("", RIDER, &ride.cosign);
    let mut claim = no_show(RIDER, agreement);
    claim.arrived_id = Some(ride.arrived.id());
    claim.heard = Some(vec![0x42; 5]);
    all.sign("", DRIVER, claim);
    all.sign("of the driver", RIDER, no_show(DRIVER, agreement));
    all.add("", RIDER, &dispute(RIDER, DRIVER, &ride));
    all.add("", RIDER, &rating(RIDER, DRIVER, agreement, 5));
    let mut words = rating(DRIVER, RIDER, agreement, 4).body().clone();
    words.text = Text::new("trés agréable ✓").unwrap();
    words.complete_id = Some(ride.complete.id());
    all.sign("in UTF-8", DRIVER, words);
}

fn trust(all: &mut Samples) {
    let guilty = guilty();
    let first = guilty.iter().find(|case| case.kind == EvidenceKind::E1).unwrap();
    all.sign("", STRANGER, raw(first.kind, first.accused, &first.statements));
    let certified = Ride::honest(Plan { certified: true, ..Plan::default() });
    let certs = certified.certs[..2].iter().map(|bytes| bytes.to_vec()).collect();
    all.sign(
        "with certificates",
        STRANGER,
        Evidence { certs, ..raw(first.kind, first.accused, &first.statements) },
    );
    let revocation = Revocation {
        seq: 2,
        issued: at(0),
        until: at(0) + Duration::from_secs(35 * 86_400),
        serials: vec![0, 23, 24, 0xffff_ffff, u64::MAX],
        ext: Extensions::NONE,
    };
    all.sign("", ISSUER, revocation.clone());
    all.sign("of nothing", ISSUER, Revocation { serials: Vec::new(), ..revocation });
    all.sign("", ISSUER, credential());
    all.sign(
        "pseudonymous",
        ISSUER,
        Credential {
            mode: CredentialMode::Pseudonymous,
            subject: public(RIDER),
            roles: Roles::BOTH,
            until: at(0) + Duration::from_secs(48 * 3_600),
            classes: Vec::new(),
            vehicle_commit: Some(Hash::from_bytes([0xc0; 32])),
            ..credential()
        },
    );
    all.sign("", RIDER_IDENTITY, shift_cert(RIDER, Role::Rider, 2));
    let first = sign(DRIVER_IDENTITY, shift_cert(DRIVER, Role::Driver, 1));
    let closed = Replaces { cert: Some(first.id()), how: Replacement::Closed };
    let lost = Replaces { cert: None, how: Replacement::Lost };
    for (name, replaces) in [("that replaces a closed one", closed), ("that replaces all", lost)] {
        let body = shift_cert(STRANGER, Role::Driver, 9);
        all.sign(name, DRIVER_IDENTITY, ShiftCert { replaces: Some(replaces), ..body });
    }
}

#[test]
fn there_is_a_sample_of_every_kind_and_none_is_too_long() {
    let samples = samples();
    for kind in Kind::ALL {
        let of_kind = samples.iter().filter(|sample| sample.statement.kind() == *kind);
        assert!(of_kind.clone().count() > 0, "{kind}");
        for sample in of_kind {
            assert!(sample.statement.bytes().len() <= kind.bytes_max(), "{}", sample.name);
            let again =
                AnyVerified::from_own_journal(std::sync::Arc::clone(sample.statement.bytes()), &Ed25519);
            assert_eq!(again.as_ref(), Ok(&sample.statement), "{}", sample.name);
        }
    }
    assert_eq!(Amount::MAX.minor(), 1_000_000_000);
    assert_eq!(Currency::USD.as_str(), "USD");
}
