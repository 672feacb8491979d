//! One completed ride, statement by statement, with a hook before every signature.

use std::sync::Arc;

use hailmesh_types::{
    AgreementId, Amount, Cell, Class, Duration, Features, GeoPoint, NetworkName, PeerKey, PublicKey,
    Resolution, Seats, Tariff, Text, Timestamp,
};
use hailmesh_wire::{
    Accept, AcceptMode, Ack, Arrived, Boarded, Body, Complete, Confirm, Cosign, Counter, Credential,
    CredentialMode, Dispute, DriverOffer, DriverTerms, DropPlace, EndReason, Extensions, FareKind, Figures,
    NetworkId, NoShow, Opening, Outcome, PickupPlace, Prev, Purpose, Rating, Receipt, Release, Request, Role,
    Roles, ShiftCert, SigningKey, VehicleCard, Verified, Void, agreement_id, board_hash, commit, final_fare,
    tariff_hash,
};

/// The boarding secret of every ride here.
pub(crate) const SECRET: [u8; 16] = *b"boarding-secret!";

pub(crate) fn network_name() -> NetworkName {
    "test".parse().unwrap()
}

pub(crate) fn network() -> NetworkId {
    NetworkId::of(&network_name())
}

/// The key with a seed of 32 times this byte.
pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub(crate) fn public(n: u8) -> PublicKey {
    key(n).verifying_key().into()
}

pub(crate) fn sign<T: Body>(n: u8, body: T) -> Verified<T> {
    Verified::sign(&key(n), network(), body)
}

/// Milliseconds after the beginning of the story.
pub(crate) fn at(ms: u32) -> Timestamp {
    Timestamp::from_millis(1_900_000_000_000).unwrap() + Duration::from_millis(ms)
}

pub(crate) fn amount(minor: u64) -> Amount {
    Amount::from_minor(minor).unwrap()
}

pub(crate) fn point() -> GeoPoint {
    "40.7580,-73.9855".parse().unwrap()
}

pub(crate) fn cell(resolution: u8) -> Cell {
    Cell::at(point(), Resolution::new(resolution).unwrap())
}

/// Who takes part, by the byte of the seed.
pub(crate) const DRIVER: u8 = 1;
pub(crate) const RIDER: u8 = 2;
pub(crate) const DRIVER_IDENTITY: u8 = 3;
pub(crate) const RIDER_IDENTITY: u8 = 4;
pub(crate) const ISSUER: u8 = 5;
pub(crate) const STRANGER: u8 = 6;

/// A body that is about to be signed, to be tampered with.
pub(crate) enum Draft<'d> {
    Offer(&'d mut DriverOffer),
    Counter(&'d mut Counter),
    Request(&'d mut Request),
    Accept(&'d mut Accept),
    Confirm(&'d mut Confirm),
    Ack(&'d mut Ack),
    Arrived(&'d mut Arrived),
    Boarded(&'d mut Boarded),
    Complete(&'d mut Complete),
    Cosign(&'d mut Cosign),
    DriverCert(&'d mut ShiftCert),
    RiderCert(&'d mut ShiftCert),
    Credential(&'d mut Credential),
}

/// What a ride is to be like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plan {
    /// The driver names another fare first.
    pub(crate) countered: bool,
    /// The fare is a cap on the measured ride.
    pub(crate) metered: bool,
    /// Both parties have SHIFT_CERTs, and the driver's identity a CREDENTIAL.
    pub(crate) certified: bool,
    /// Agreed additions, minor units.
    pub(crate) extra: u64,
}

/// Every statement of a completed ride.
pub(crate) struct Ride {
    pub(crate) offer: Verified<DriverOffer>,
    pub(crate) counter: Option<Verified<Counter>>,
    pub(crate) request: Verified<Request>,
    pub(crate) accept: Verified<Accept>,
    pub(crate) confirm: Verified<Confirm>,
    pub(crate) ack: Verified<Ack>,
    pub(crate) arrived: Verified<Arrived>,
    pub(crate) boarded: Verified<Boarded>,
    pub(crate) complete: Verified<Complete>,
    pub(crate) cosign: Verified<Cosign>,
    pub(crate) certs: Vec<Arc<[u8]>>,
    pub(crate) openings: Vec<(Purpose, Opening)>,
}

pub(crate) fn tariff() -> Tariff {
    Tariff { surge: 1_200, ..Tariff::default() }
}

pub(crate) fn openings() -> [Opening; 3] {
    let text = |text: &str| text.to_owned();
    let pickup = PickupPlace {
        point: point(),
        name: Text::new(text("Ada")).unwrap(),
        phone: Text::new(text("+1 212 555 0100")).unwrap(),
        note: Text::new(text("north entrance")).unwrap(),
        peer: PeerKey::from_bytes([7; 32]),
        addrs: Vec::new(),
    };
    let drop = DropPlace { point: "40.7061,-74.0088".parse().unwrap(), note: Text::default() };
    let vehicle = VehicleCard {
        plate: Text::new(text("T123456C")).unwrap(),
        model: Text::new(text("saloon")).unwrap(),
        colour: Text::new(text("yellow")).unwrap(),
        photo: None,
        credential_salt: None,
    };
    [pickup.to_opening([0x11; 32]), drop.to_opening([0x12; 32]), vehicle.to_opening([0x13; 32])]
}

pub(crate) fn driver_offer() -> DriverOffer {
    DriverOffer {
        seq: 7,
        issued: at(0),
        ttl: Duration::from_secs(120),
        cell: cell(9),
        slot: 0,
        live: Some(DriverTerms {
            class: Class::STANDARD,
            seats: Seats::new(4).unwrap(),
            features: Features::LUGGAGE,
            tariff: tariff(),
            accept_mode: AcceptMode::Auto,
        }),
        addrs: Vec::new(),
        cert_id: None,
        certs: Vec::new(),
        pow: None,
        head: None,
        ext: Extensions::NONE,
    }
}

pub(crate) fn request(driver: u8, offer: &Verified<DriverOffer>) -> Request {
    Request {
        to: public(driver),
        issued: at(1_000),
        offer_id: offer.id(),
        driver_slot: offer.body().slot,
        rider_slot: 0,
        attempt: 1,
        nonce: [0x21; 16],
        pickup_cell: cell(9),
        drop_cell: Some(cell(7)),
        dist: 6_200,
        ride_time: Duration::from_secs(840),
        party: Seats::ONE,
        class: Class::STANDARD,
        features: Features::NONE,
        max_fare: amount(2_000),
        ttl: Duration::from_secs(2),
        counter_id: None,
        invite_id: None,
        cert_id: None,
        certs: Vec::new(),
        pow: None,
        ext: Extensions::NONE,
    }
}

/// The ACCEPT of a slot, with the fare that the offer gives.
pub(crate) fn accept(request: &Verified<Request>, slot: u64, prev: Prev) -> Accept {
    let wanted = request.body();
    Accept {
        to: *request.signer(),
        issued: at(1_200),
        request_id: request.id(),
        offer_id: wanted.offer_id,
        tariff_hash: tariff_hash(&tariff()),
        lane: 0,
        slot,
        prev,
        fare_kind: FareKind::Fixed,
        fare: tariff().fare(wanted.dist, wanted.ride_time, Duration::ZERO).unwrap().total,
        eta: Duration::from_secs(150),
        hold: Duration::from_secs(8),
        pickup_by: at(600_000),
        vehicle_commit: commit(Purpose::Vehicle, &openings()[2]),
        ext: Extensions::NONE,
    }
}

pub(crate) fn confirm(accept: &Verified<Accept>, slot: u64, prev: Prev) -> Confirm {
    let [pickup, drop, _] = openings();
    Confirm {
        to: *accept.signer(),
        issued: at(1_300),
        accept_id: accept.id(),
        agreement_id: agreement_id(&accept.body().request_id, &accept.id()),
        slot,
        prev,
        pickup_commit: commit(Purpose::Pickup, &pickup),
        drop_commit: Some(commit(Purpose::Drop, &drop)),
        board_hash: board_hash(&SECRET),
        ext: Extensions::NONE,
    }
}

pub(crate) fn ack(confirm: &Verified<Confirm>, slot: u64) -> Ack {
    Ack {
        to: *confirm.signer(),
        issued: at(1_400),
        agreement_id: confirm.body().agreement_id,
        confirm_id: confirm.id(),
        lane: 0,
        slot,
        ext: Extensions::NONE,
    }
}

pub(crate) fn void(accept: &Verified<Accept>, outcome: Outcome) -> Void {
    let firm = !matches!(outcome, Outcome::HoldLapsed | Outcome::NotChosen);
    Void {
        to: accept.body().to,
        issued: at(1_500_000),
        accept_id: accept.id(),
        agreement_id: firm.then(|| agreement_id(&accept.body().request_id, &accept.id())),
        lane: 0,
        slot: accept.body().slot,
        outcome,
        reason: EndReason::User,
        fee: Amount::ZERO,
        ref_id: None,
        board_secret: (outcome == Outcome::CompletedUnilateral).then_some(SECRET),
        ext: Extensions::NONE,
    }
}

pub(crate) fn release(accept: &Verified<Accept>, slot: u64, outcome: Outcome) -> Release {
    let bound = outcome != Outcome::NotChosen;
    Release {
        to: *accept.signer(),
        issued: at(1_500_000),
        accept_id: accept.id(),
        agreement_id: bound.then(|| agreement_id(&accept.body().request_id, &accept.id())),
        slot: bound.then_some(slot),
        outcome,
        reason: EndReason::User,
        fee: Amount::ZERO,
        ref_id: None,
        ext: Extensions::NONE,
    }
}

pub(crate) fn credential() -> Credential {
    Credential {
        serial: 41,
        issued: at(0),
        mode: CredentialMode::Accountable,
        subject: public(DRIVER_IDENTITY),
        roles: Roles::DRIVER,
        from: at(0),
        until: at(0) + Duration::from_secs(30 * 86_400),
        classes: vec![Class::STANDARD],
        vehicle_commit: None,
        ext: Extensions::NONE,
    }
}

pub(crate) fn shift_cert(subject: u8, role: Role, serial: u64) -> ShiftCert {
    let hours = if role == Role::Driver { 12 } else { 24 };
    ShiftCert {
        serial,
        issued: at(0),
        subject: public(subject),
        role,
        from: at(0),
        until: at(0) + Duration::from_secs(hours * 3_600),
        cred_id: None,
        replaces: None,
        ext: Extensions::NONE,
    }
}

pub(crate) fn rating(from: u8, to: u8, agreement: AgreementId, stars: u8) -> Verified<Rating> {
    sign(
        from,
        Rating {
            to: public(to),
            issued: at(2_000_000),
            agreement_id: agreement,
            complete_id: None,
            stars,
            tags: 0b101,
            text: Text::new("on time").unwrap(),
            ext: Extensions::NONE,
        },
    )
}

pub(crate) fn no_show(to: u8, agreement: AgreementId) -> NoShow {
    NoShow {
        to: public(to),
        issued: at(1_400_000),
        agreement_id: agreement,
        arrived_id: None,
        waited: Duration::from_secs(200),
        fee: amount(500),
        heard: None,
        ext: Extensions::NONE,
    }
}

pub(crate) fn dispute(from: u8, to: u8, ride: &Ride) -> Verified<Dispute> {
    sign(
        from,
        Dispute {
            to: public(to),
            issued: at(1_600_000),
            agreement_id: ride.confirm.body().agreement_id,
            about: ride.complete.id(),
            code: 1,
            text: Text::new("the way was longer than it had to be").unwrap(),
            ext: Extensions::NONE,
        },
    )
}

impl Ride {
    /// A ride that keeps every rule.
    pub(crate) fn honest(plan: Plan) -> Self {
        Self::tampered(plan, |_| {})
    }

    /// A ride whose bodies pass through `hook` before they are signed. What follows
    /// builds on what comes out.
    pub(crate) fn tampered(plan: Plan, mut hook: impl FnMut(Draft<'_>)) -> Self {
        let mut credential = credential();
        hook(Draft::Credential(&mut credential));
        let credential = sign(ISSUER, credential);
        let mut cert = ShiftCert { cred_id: Some(credential.id()), ..shift_cert(DRIVER, Role::Driver, 1) };
        hook(Draft::DriverCert(&mut cert));
        let driver_cert = sign(DRIVER_IDENTITY, cert);
        let mut cert = shift_cert(RIDER, Role::Rider, 2);
        hook(Draft::RiderCert(&mut cert));
        let rider_cert = sign(RIDER_IDENTITY, cert);

        let mut offer = DriverOffer { cert_id: plan.certified.then(|| driver_cert.id()), ..driver_offer() };
        hook(Draft::Offer(&mut offer));
        let offer = sign(DRIVER, offer);
        let counter = plan.countered.then(|| {
            let first = sign(RIDER, Request { nonce: [0x20; 16], ..request(DRIVER, &offer) });
            let mut counter = Counter {
                to: public(RIDER),
                issued: at(900),
                request_id: first.id(),
                n: 1,
                fare: amount(1_900),
                eta: Duration::from_secs(150),
                valid: Duration::from_secs(20),
                ext: Extensions::NONE,
            };
            hook(Draft::Counter(&mut counter));
            sign(DRIVER, counter)
        });
        let mut wanted = Request {
            counter_id: counter.as_ref().map(|counter| counter.id()),
            cert_id: plan.certified.then(|| rider_cert.id()),
            ..request(DRIVER, &offer)
        };
        hook(Draft::Request(&mut wanted));
        let request = sign(RIDER, wanted);
        let mut bound = accept(&request, 0, Prev::FIRST);
        if plan.countered {
            bound.fare = amount(1_900);
        }
        if plan.metered {
            bound.fare_kind = FareKind::Metered;
        }
        hook(Draft::Accept(&mut bound));
        let accept = sign(DRIVER, bound);
        let mut agreed = confirm(&accept, 0, Prev::FIRST);
        hook(Draft::Confirm(&mut agreed));
        let confirm = sign(RIDER, agreed);
        let agreement = confirm.body().agreement_id;
        let mut acked = ack(&confirm, 0);
        hook(Draft::Ack(&mut acked));
        let ack = sign(DRIVER, acked);
        let mut arrived = Arrived {
            to: public(RIDER),
            issued: at(151_000),
            agreement_id: agreement,
            cell: cell(9),
            ext: Extensions::NONE,
        };
        hook(Draft::Arrived(&mut arrived));
        let arrived = sign(DRIVER, arrived);
        let mut boarded = Boarded {
            to: public(RIDER),
            issued: at(451_000),
            agreement_id: agreement,
            board_secret: SECRET,
            ext: Extensions::NONE,
        };
        hook(Draft::Boarded(&mut boarded));
        let boarded = sign(DRIVER, boarded);
        let figures =
            Figures { dist: 6_050, ride_time: Duration::from_secs(901), wait: Duration::from_secs(300) };
        let fare =
            final_fare(&tariff(), request.body(), accept.body(), plan.countered, figures, amount(plan.extra))
                .unwrap();
        let mut complete = Complete {
            to: public(RIDER),
            issued: at(1_352_000),
            agreement_id: agreement,
            confirm_id: confirm.id(),
            board_secret: Some(SECRET),
            dist: figures.dist,
            ride_time: figures.ride_time,
            wait: figures.wait,
            items: fare.items,
            total: fare.total,
            amended: fare.amended,
            ext: Extensions::NONE,
        };
        hook(Draft::Complete(&mut complete));
        let complete = sign(DRIVER, complete);
        let mut cosign = Cosign {
            to: public(DRIVER),
            issued: at(1_353_000),
            agreement_id: agreement,
            accept_id: accept.id(),
            complete_id: complete.id(),
            slot: 0,
            total: complete.body().total,
            ext: Extensions::NONE,
        };
        hook(Draft::Cosign(&mut cosign));
        let cosign = sign(RIDER, cosign);
        let certs = if plan.certified {
            [driver_cert.bytes(), credential.bytes(), rider_cert.bytes()].into_iter().cloned().collect()
        } else {
            Vec::new()
        };
        let openings =
            [Purpose::Pickup, Purpose::Drop, Purpose::Vehicle].into_iter().zip(openings()).collect();
        Self {
            offer,
            counter,
            request,
            accept,
            confirm,
            ack,
            arrived,
            boarded,
            complete,
            cosign,
            certs,
            openings,
        }
    }

    /// The envelopes of the handshake: what both hold once the rider has committed.
    pub(crate) fn agreement(&self) -> Vec<Arc<[u8]>> {
        let mut statements = vec![Arc::clone(self.offer.bytes())];
        statements.extend(self.counter.iter().map(|counter| Arc::clone(counter.bytes())));
        for bytes in [self.request.bytes(), self.accept.bytes(), self.confirm.bytes()] {
            statements.push(Arc::clone(bytes));
        }
        statements
    }

    /// The envelopes up to and with the ACK.
    pub(crate) fn firm(&self) -> Vec<Arc<[u8]>> {
        let mut statements = self.agreement();
        statements.push(Arc::clone(self.ack.bytes()));
        statements
    }

    /// All envelopes, in the order of a receipt.
    pub(crate) fn statements(&self) -> Vec<Arc<[u8]>> {
        let mut statements = self.firm();
        for bytes in [self.arrived.bytes(), self.boarded.bytes(), self.complete.bytes(), self.cosign.bytes()]
        {
            statements.push(Arc::clone(bytes));
        }
        statements
    }

    /// The receipt with everything in it but the openings.
    pub(crate) fn receipt(&self) -> Receipt {
        Receipt {
            network: network_name(),
            statements: self.statements(),
            certs: self.certs.clone(),
            openings: Vec::new(),
        }
    }
}
