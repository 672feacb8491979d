//! The handshake and what surrounds it: REQUEST to CHAIN_ASK (P4.5 to P4.8).

use hailmesh_types::{
    AgreementId, Amount, Cell, Class, Duration, Features, Hash, PublicKey, Seats, StatementId, Timestamp,
};

use super::{Certs, EndReason, Extensions, FareKind, Outcome, Prev, RejectReason, RideState, body};
use crate::DecodeError;
use crate::codec::{Cells, Eta, List, Millis, Secret, U8, U16, U32, record};

/// Longest time from an ACCEPT to its `pickup_by`.
const PICKUP_BY_MS_MAX: u64 = 24 * 3_600_000;
/// Most slots that one CHAIN_ASK asks for.
const CHAIN_SLOTS_MAX: u64 = 6;
/// The only lane of version 1 (P21.1).
type Lane = U8<0, 0>;

record! {
    /// A rider asks one driver (P4.5). Binds nobody.
    pub struct Request ("P4.5", check_request) {
        /// The driver.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The DRIVER_OFFER it answers.
        pub offer_id: StatementId,
        /// The slot in that offer.
        pub driver_slot: u64,
        /// The rider's open slot.
        pub rider_slot: u64,
        /// At least 1, as in the RIDER_OFFER.
        pub attempt: u16 as U16<1, { u16::MAX }>,
        /// Random.
        pub nonce: [u8; 16],
        /// Resolution 7 to 9.
        pub pickup_cell: Cell as Cells<7, 9>,
        /// Resolution 5 to 7; none: as directed, metered only.
        pub drop_cell: Option<Cell> as Option<Cells<5, 7>>,
        /// The rider's own estimate, metres, at most 500,000.
        pub dist: u32 as U32<0, 500_000>,
        /// The rider's own estimate, at most 12 h.
        pub ride_time: Duration as Millis<0, 43_200_000>,
        /// Passengers.
        pub party: Seats,
        /// The class wanted.
        pub class: Class,
        /// What the vehicle must have.
        pub features: Features,
        /// The most that the ride may cost, in the currency of the offer's tariff.
        pub max_fare: Amount,
        /// How long it stands, 1 s to 30 s.
        pub ttl: Duration as Millis<1_000, 30_000>,
        /// The COUNTER it takes up.
        pub counter_id: Option<StatementId>,
        /// The INVITE it takes up.
        pub invite_id: Option<StatementId>,
        /// The leaf certificate.
        pub cert_id: Option<StatementId>,
        /// At most 2 certificates of at most 288 bytes; only with `cert_id`.
        pub certs: Vec<Vec<u8>> as Certs,
        /// Proof of work (P16.6).
        pub pow: Option<[u8; 8]>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Request with certs);

fn check_request(request: &Request) -> Result<(), DecodeError> {
    if request.cert_id.is_none() && !request.certs.is_empty() {
        return Err(DecodeError::new("P4.5", "certs without cert_id"));
    }
    Ok(())
}

record! {
    /// A driver binds one slot for a short hold (P4.6).
    pub struct Accept ("P4.6", check_accept) {
        /// The rider.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The REQUEST it answers.
        pub request_id: StatementId,
        /// The offer that the REQUEST names.
        pub offer_id: StatementId,
        /// Of the tariff in that offer.
        pub tariff_hash: Hash,
        /// 0 in version 1.
        pub lane: u8 as Lane,
        /// The slot used up.
        pub slot: u64,
        /// How the slot before ended.
        pub prev: Prev,
        /// What `fare` means.
        pub fare_kind: FareKind,
        /// The fare, or its cap, before waiting.
        pub fare: Amount,
        /// Time until arrival, at most 2 h, in steps of 30 s.
        pub eta: Duration as Eta,
        /// How long the driver is bound without a CONFIRM, 2 s to 20 s.
        pub hold: Duration as Millis<2_000, 20_000>,
        /// When the driver will have come, at most 24 h after `issued`.
        pub pickup_by: Timestamp,
        /// Salted commitment to the vehicle, purpose 3.
        pub vehicle_commit: Hash,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Accept);

fn check_accept(accept: &Accept) -> Result<(), DecodeError> {
    let ahead = accept.pickup_by.millis_since(accept.issued);
    if ahead > PICKUP_BY_MS_MAX {
        let what = format!("pickup_by {ahead} ms after issued: at most {PICKUP_BY_MS_MAX} are allowed");
        return Err(DecodeError::new("P4.6", what));
    }
    Ok(())
}

record! {
    /// A rider binds one slot (P4.7).
    pub struct Confirm ("P4.7") {
        /// The driver.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The ACCEPT it takes up.
        pub accept_id: StatementId,
        /// Of REQUEST and ACCEPT (P2.6).
        pub agreement_id: AgreementId,
        /// The rider slot used up.
        pub slot: u64,
        /// How the slot before ended.
        pub prev: Prev,
        /// Salted commitment to the exact pickup, purpose 1.
        pub pickup_commit: Hash,
        /// Salted commitment to the exact destination, purpose 2; absent exactly when
        /// the REQUEST has no `drop_cell`.
        pub drop_commit: Option<Hash>,
        /// Hash of the boarding secret.
        pub board_hash: Hash,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Confirm);

record! {
    /// A driver says: firm (P4.8).
    pub struct Ack ("P4.8") {
        /// The rider.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The agreement.
        pub agreement_id: AgreementId,
        /// The CONFIRM it answers.
        pub confirm_id: StatementId,
        /// 0 in version 1.
        pub lane: u8 as Lane,
        /// The driver's slot.
        pub slot: u64,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Ack);

record! {
    /// A driver ends a slot (P4.8).
    pub struct Void ("P4.8", check_void) {
        /// The rider.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The ACCEPT that bound the slot.
        pub accept_id: StatementId,
        /// The agreement, exactly when the slot was firm.
        pub agreement_id: Option<AgreementId>,
        /// 0 in version 1.
        pub lane: u8 as Lane,
        /// The slot.
        pub slot: u64,
        /// One of 1, 2, 3, 4, 8 and 9.
        pub outcome: Outcome,
        /// Why.
        pub reason: EndReason,
        /// What the driver claims (P9.5).
        pub fee: Amount,
        /// The RELEASE, COMPLETE or NO_SHOW behind it.
        pub ref_id: Option<StatementId>,
        /// Exactly with outcome 8.
        pub board_secret: Option<[u8; 16]> as Option<Secret<16>>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Void);

fn check_void(void: &Void) -> Result<(), DecodeError> {
    // 1 and 2 end a held slot, 3, 8 and 9 a firm one; a driver can cancel either (P6.14).
    let firm = match void.outcome {
        Outcome::HoldLapsed | Outcome::NotChosen => Some(false),
        Outcome::RiderReleased | Outcome::CompletedUnilateral | Outcome::NoShowClaimed => Some(true),
        Outcome::DriverCancelled => None,
        other => return Err(DecodeError::new("P4.8", format!("outcome {other} in a VOID"))),
    };
    presence("agreement_id", void.agreement_id.is_some(), firm, void.outcome)?;
    let boarded = void.outcome == Outcome::CompletedUnilateral;
    presence("board_secret", void.board_secret.is_some(), Some(boarded), void.outcome)
}

record! {
    /// A rider ends a slot, or turns an ACCEPT down; either way the driver's is free
    /// (P4.8).
    pub struct Release ("P4.8", check_release) {
        /// The driver.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The ACCEPT.
        pub accept_id: StatementId,
        /// The agreement; absent exactly with outcome 2.
        pub agreement_id: Option<AgreementId>,
        /// The rider's slot; absent exactly with outcome 2.
        pub slot: Option<u64>,
        /// One of 2 and 6 to 10.
        pub outcome: Outcome,
        /// Why.
        pub reason: EndReason,
        /// What the rider concedes (P9.5).
        pub fee: Amount,
        /// What it answers.
        pub ref_id: Option<StatementId>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Release);

fn check_release(release: &Release) -> Result<(), DecodeError> {
    let bound = match release.outcome {
        Outcome::NotChosen => false,
        Outcome::CounterpartyVoid
        | Outcome::NoAck
        | Outcome::CompletedUnilateral
        | Outcome::NoShowClaimed
        | Outcome::RiderCancelled => true,
        other => return Err(DecodeError::new("P4.8", format!("outcome {other} in a RELEASE"))),
    };
    presence("agreement_id", release.agreement_id.is_some(), Some(bound), release.outcome)?;
    presence("slot", release.slot.is_some(), Some(bound), release.outcome)
}

/// Checks that a field is there when it must be and only then.
fn presence(field: &str, found: bool, expected: Option<bool>, outcome: Outcome) -> Result<(), DecodeError> {
    match expected {
        Some(expected) if expected != found => {
            let found = if found { "present" } else { "missing" };
            Err(DecodeError::new("P4.8", format!("{field} is {found} with outcome {outcome}")))
        }
        _ => Ok(()),
    }
}

record! {
    /// No, to a REQUEST, INVITE or something else (P4.8).
    pub struct Reject ("P4.8") {
        /// Who asked.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The statement it answers.
        pub about: StatementId,
        /// Why.
        pub reason: RejectReason,
        /// The driver's open slot.
        pub slot: Option<u64>,
        /// When another try makes sense, at most 10 min.
        pub retry: Duration as Millis<0, 600_000>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Reject);

record! {
    /// A driver names another fare (P4.8, P5.10). Binds nobody.
    pub struct Counter ("P4.8") {
        /// The rider.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The REQUEST it answers.
        pub request_id: StatementId,
        /// The how-manieth, 1 to 3.
        pub n: u8 as U8<1, 3>,
        /// The fare.
        pub fare: Amount,
        /// Time until arrival, as in an ACCEPT.
        pub eta: Duration as Eta,
        /// How long it stands, 5 s to 60 s.
        pub valid: Duration as Millis<5_000, 60_000>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Counter);

record! {
    /// What a party knows of one agreement (P4.8, P8.8).
    pub struct StatusEntry ("P4.8") {
        /// The agreement.
        pub agreement_id: AgreementId,
        /// What has become of it.
        pub state: RideState,
        /// The last statement on it that the signer has made.
        pub own_last: StatementId,
        /// The last one of the other side up to which the signer has heard all.
        pub heard_last: Option<StatementId>,
    }
}

record! {
    /// What a party knows of its agreements with the addressee (P4.8, P8.8). Changes
    /// nothing by itself.
    pub struct Status ("P4.8") {
        /// The other party.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// Random.
        pub nonce: [u8; 16],
        /// The nonce of the STATUS it answers.
        pub reply_to: Option<[u8; 16]>,
        /// At most 4.
        pub entries: Vec<StatusEntry> as List<StatusEntry, 0, 4>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Status);

record! {
    /// A driver asks a rider to ask (P4.8, P5.11). Binds nobody.
    pub struct Invite ("P4.8") {
        /// The rider.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// The RIDER_OFFER it answers.
        pub rider_offer_id: StatementId,
        /// The driver's own offer.
        pub offer_id: StatementId,
        /// The driver's open slot.
        pub slot: u64,
        /// Time until arrival, as in an ACCEPT.
        pub eta: Duration as Eta,
        /// How long it stands, 2 s to 10 s.
        pub valid: Duration as Millis<2_000, 10_000>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct Invite);

record! {
    /// A rider asks for the ACCEPTs of other slots of the same key (P4.8, P5.12).
    pub struct ChainAsk ("P4.8", check_chain_ask) {
        /// The driver.
        pub to: PublicKey,
        /// When it was made.
        pub issued: Timestamp,
        /// An ACCEPT that this driver gave the asker.
        pub accept_id: StatementId,
        /// The first slot asked for (`from` in the protocol).
        pub from_slot: u64,
        /// The last slot asked for (`to` in the protocol), at most 5 more.
        pub to_slot: u64,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(direct ChainAsk);

fn check_chain_ask(ask: &ChainAsk) -> Result<(), DecodeError> {
    match ask.to_slot.checked_sub(ask.from_slot) {
        Some(more) if more < CHAIN_SLOTS_MAX => Ok(()),
        _ => {
            let (from, to) = (ask.from_slot, ask.to_slot);
            Err(DecodeError::new(
                "P4.8",
                format!("slots {from} to {to}: expected 1 to {CHAIN_SLOTS_MAX} slots"),
            ))
        }
    }
}
