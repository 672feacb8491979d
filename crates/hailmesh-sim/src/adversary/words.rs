//! Statements that an attacker writes, well formed unless a program spoils them.

use hailmesh_types::{
    Amount, Class, Duration, Features, Hash, PublicKey, Resolution, Seats, StatementId, Tariff, Text,
};
use hailmesh_wire::{
    Accept, AcceptMode, Ack, Attachment, Body, Confirm, DriverOffer, DriverTerms, EndReason, Extensions,
    FareKind, Frame, Outcome, PickupPlace, Prev, Purpose, Release, Request, RiderOffer, RiderTerms, Signed,
    Verified, Void, agreement_id, board_hash, commit, tariff_hash,
};

use super::stage::Stage;

/// How long its offers live.
const TTL: Duration = Duration::from_secs(60);
/// What its rides cost, in its offers.
const TARIFF: fn() -> Tariff = Tariff::default;

/// The chain of one driver key as an honest driver would keep it: programs depart from
/// it where they lie.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) seq: u64,
    pub(super) slot: u64,
    last: Option<(StatementId, Outcome)>,
}

impl Chain {
    /// How the slot before ended.
    pub(super) fn prev(&self) -> Prev {
        match self.last {
            None => Prev::FIRST,
            Some((accept, outcome)) => Prev { outcome, accept_id: Some(accept), proof: None },
        }
    }

    /// The ACCEPT of the slot before.
    pub(super) fn head(&self) -> Option<StatementId> {
        self.last.map(|(accept, _)| accept)
    }

    /// The open slot was bound by this ACCEPT, and has ended so.
    pub(super) const fn step(&mut self, accept: StatementId, outcome: Outcome) {
        self.slot += 1;
        self.last = Some((accept, outcome));
    }

    /// The last slot ended otherwise after all.
    pub(super) fn amend(&mut self, accept: StatementId, outcome: Outcome) {
        if let Some(last) = self.last.as_mut().filter(|last| last.0 == accept) {
            last.1 = outcome;
        }
    }

    /// The next offer of this chain.
    pub(super) fn offer(&mut self, stage: &mut Stage, key: u32) -> Verified<DriverOffer> {
        self.seq += 1;
        let body = stage.driver_offer(self.seq, self.slot, self.head());
        stage.sign(key, body)
    }
}

impl Stage {
    /// An offer of a car at its place.
    pub(super) fn driver_offer(&self, seq: u64, slot: u64, head: Option<StatementId>) -> DriverOffer {
        DriverOffer {
            seq,
            issued: self.now(),
            ttl: TTL,
            cell: self.cell(),
            slot,
            live: Some(DriverTerms {
                class: Class::STANDARD,
                seats: Seats::new(4).unwrap_or(Seats::ONE),
                features: Features::NONE,
                tariff: TARIFF(),
                accept_mode: AcceptMode::Auto,
            }),
            addrs: Vec::new(),
            cert_id: None,
            certs: Vec::new(),
            pow: None,
            head,
            ext: Extensions::NONE,
        }
    }

    /// A wish of a rider at its place.
    pub(super) fn rider_offer(&mut self, seq: u64) -> RiderOffer {
        let peer = self.public(0).to_peer_key();
        RiderOffer {
            seq,
            issued: self.now(),
            ttl: TTL,
            cell: self.cell(),
            slot: 0,
            live: Some(RiderTerms {
                class: Class::STANDARD,
                seats: Seats::ONE,
                features: Features::NONE,
                attempt: 1,
                max_fare: None,
                peer,
            }),
            addrs: Vec::new(),
            cert_id: None,
            certs: Vec::new(),
            pow: None,
            ext: Extensions::NONE,
        }
    }

    /// Asks for a ride that any driver would like.
    pub(super) fn request(&mut self, key: u32, offer: &Signed<DriverOffer>) -> Verified<Request> {
        let nonce = self.bytes();
        let body = Request {
            to: *offer.signer(),
            issued: self.now(),
            offer_id: offer.id(),
            driver_slot: offer.body().slot,
            rider_slot: 0,
            attempt: 1,
            nonce,
            pickup_cell: self.cell(),
            drop_cell: Some(self.cell().parent(Resolution::TOPIC)),
            dist: 20_000,
            ride_time: Duration::from_secs(3_000),
            party: Seats::ONE,
            class: Class::STANDARD,
            features: Features::NONE,
            max_fare: Amount::MAX,
            ttl: Duration::from_secs(2),
            counter_id: None,
            invite_id: None,
            cert_id: None,
            certs: Vec::new(),
            pow: None,
            ext: Extensions::NONE,
        };
        self.sign(key, body)
    }

    /// An ACCEPT as an honest driver with this slot would give it.
    pub(super) fn accept_body(&self, request: &Signed<Request>, slot: u64, prev: Prev) -> Accept {
        let asked = request.body();
        let tariff = TARIFF();
        let fare = tariff.fare(asked.dist, asked.ride_time, Duration::ZERO);
        let fare = fare.map_or(Amount::ZERO, |fare| fare.total).min(asked.max_fare);
        Accept {
            to: *request.signer(),
            issued: self.now(),
            request_id: request.id(),
            offer_id: asked.offer_id,
            tariff_hash: tariff_hash(&tariff),
            lane: 0,
            slot,
            prev,
            fare_kind: if asked.drop_cell.is_some() { FareKind::Fixed } else { FareKind::Metered },
            fare,
            eta: Duration::from_secs(60),
            hold: Duration::from_secs(8),
            pickup_by: self.now() + Duration::from_secs(600),
            vehicle_commit: Hash::from_bytes([7; 32]),
            ext: Extensions::NONE,
        }
    }

    /// Signs [`Stage::accept_body`].
    pub(super) fn accept(
        &mut self,
        key: u32,
        request: &Signed<Request>,
        slot: u64,
        prev: Prev,
    ) -> Verified<Accept> {
        let body = self.accept_body(request, slot, prev);
        self.sign(key, body)
    }

    /// The CONFIRM of an ACCEPT, with the frame that opens the pickup.
    pub(super) fn confirm(
        &mut self,
        key: u32,
        to: PublicKey,
        request: &Verified<Request>,
        accept: StatementId,
    ) -> (Verified<Confirm>, Frame) {
        let place = PickupPlace {
            point: self.place(),
            name: Text::new("nobody").unwrap_or_default(),
            phone: Text::default(),
            note: Text::default(),
            peer: self.public(0).to_peer_key(),
            addrs: Vec::new(),
        };
        let opening = place.to_opening(self.bytes());
        let (secret, drop): ([u8; 16], [u8; 32]) = (self.bytes(), self.bytes());
        let body = Confirm {
            to,
            issued: self.now(),
            accept_id: accept,
            agreement_id: agreement_id(&request.id(), &accept),
            slot: 0,
            prev: Prev::FIRST,
            pickup_commit: commit(Purpose::Pickup, &opening),
            drop_commit: request.body().drop_cell.map(|_| Hash::from_bytes(drop)),
            board_hash: board_hash(&secret),
            ext: Extensions::NONE,
        };
        let confirm = self.sign(key, body);
        let frame = Frame::statement(confirm.bytes()).with(Attachment::PickupOpening(opening));
        (confirm, frame)
    }

    /// The ACK of a CONFIRM.
    pub(super) fn ack(&mut self, key: u32, confirm: &Signed<Confirm>, slot: u64) -> Verified<Ack> {
        let body = Ack {
            to: *confirm.signer(),
            issued: self.now(),
            agreement_id: confirm.body().agreement_id,
            confirm_id: confirm.id(),
            lane: 0,
            slot,
            ext: Extensions::NONE,
        };
        self.sign(key, body)
    }

    /// A VOID of an ACCEPT; `confirm` when the slot was firm.
    pub(super) fn void(
        &mut self,
        key: u32,
        accept: &Verified<Accept>,
        confirm: Option<&Signed<Confirm>>,
        outcome: Outcome,
    ) -> Verified<Void> {
        let body = Void {
            to: accept.body().to,
            issued: self.now(),
            accept_id: accept.id(),
            agreement_id: confirm.map(|confirm| confirm.body().agreement_id),
            lane: 0,
            slot: accept.body().slot,
            outcome,
            reason: EndReason::User,
            fee: Amount::ZERO,
            ref_id: None,
            board_secret: None,
            ext: Extensions::NONE,
        };
        self.sign(key, body)
    }

    /// A RELEASE of an ACCEPT; `confirm` when it was taken.
    pub(super) fn release(
        &mut self,
        key: u32,
        to: PublicKey,
        accept: StatementId,
        confirm: Option<&Signed<Confirm>>,
        outcome: Outcome,
    ) -> Verified<Release> {
        let body = Release {
            to,
            issued: self.now(),
            accept_id: accept,
            agreement_id: confirm.map(|confirm| confirm.body().agreement_id),
            slot: confirm.map(|confirm| confirm.body().slot),
            outcome,
            reason: EndReason::User,
            fee: Amount::ZERO,
            ref_id: None,
            ext: Extensions::NONE,
        };
        self.sign(key, body)
    }
}

/// A statement of one kind in a frame, whoever signed it.
pub(super) fn said<T: Body>(frame: &Frame) -> Option<Signed<T>> {
    match &frame.content {
        hailmesh_wire::FrameContent::Statement(bytes) => Signed::decode(bytes.as_slice()).ok(),
        _ => None,
    }
}
