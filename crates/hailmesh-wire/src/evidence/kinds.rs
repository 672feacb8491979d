//! The rule of each kind of evidence (P18.1).

use hailmesh_types::{PublicKey, StatementId};

use super::Outside;
use crate::{
    Accept, Ack, AnyVerified, Body, Confirm, Cosign, Counter, DecodeError, DriverOffer, EvidenceKind, Kind,
    Outcome, Release, Request, RiderOffer, Role, ShiftCert, Signatures, Signed, Verified, Void, board_hash,
    fare_limit, tariff_hash, tariff_of,
};

fn refuse<T>(what: impl Into<String>) -> Result<T, DecodeError> {
    Err(DecodeError::new("P18.1", what))
}

/// Checks what needs no signature: that there are as many statements as the kind asks
/// for, all different, each signed by the accused or of a kind that it may only name.
pub(super) fn check_shape(
    kind: EvidenceKind,
    accused: &PublicKey,
    statements: &[Outside<'_>],
) -> Result<(), DecodeError> {
    let expected = match kind {
        EvidenceKind::E4d => 1,
        EvidenceKind::E4c | EvidenceKind::E5b => 3,
        _ => 2,
    };
    if statements.len() != expected {
        return refuse(format!("{} statements for {kind}: expected {expected}", statements.len()));
    }
    for (index, statement) in statements.iter().enumerate() {
        if statements[..index].iter().any(|other| other.id == statement.id) {
            return refuse("one statement twice");
        }
        // Of the other side only what a statement of the accused names: the CONFIRM of an
        // ACK and the REQUEST of an ACCEPT.
        let may_be_named = match kind {
            EvidenceKind::E4c => statement.kind == Kind::Confirm,
            EvidenceKind::E5b => statement.kind == Kind::Request,
            _ => false,
        };
        if statement.signer != accused && !may_be_named {
            return refuse(format!("a {} that the accused has not signed", statement.kind));
        }
    }
    Ok(())
}

/// Checks the rule of the kind. The shape is that of [`check_shape`].
pub(super) fn check(
    kind: EvidenceKind,
    accused: &PublicKey,
    statements: &[AnyVerified],
    signatures: &dyn Signatures,
) -> Result<(), DecodeError> {
    let shown = match kind {
        EvidenceKind::E1 => e1(statements),
        EvidenceKind::E2 => e2(statements),
        EvidenceKind::E3 => e3(statements),
        EvidenceKind::E4a => e4a(statements),
        EvidenceKind::E4b => e4b(statements, signatures),
        EvidenceKind::E4c => e4c(statements, accused),
        EvidenceKind::E4d => e4d(statements, signatures),
        EvidenceKind::E5a => e5a(statements),
        EvidenceKind::E5b => e5b(statements, accused),
        EvidenceKind::E6 => e6(statements),
        EvidenceKind::E7 => e7(statements),
        EvidenceKind::E8 => e8(statements),
        EvidenceKind::E9 => e9(statements),
    };
    match shown {
        Some(true) => Ok(()),
        Some(false) => refuse(format!("these statements do not contradict each other as {kind} says")),
        None => refuse(format!("these are not the statements of {kind}")),
    }
}

macro_rules! all_of {
    ($name:ident, $kind:ident) => {
        /// The statements of this kind, in their order.
        fn $name(statements: &[AnyVerified]) -> Vec<&Verified<$kind>> {
            statements
                .iter()
                .filter_map(|statement| match statement {
                    AnyVerified::$kind(found) => Some(found),
                    _ => None,
                })
                .collect()
        }
    };
}

all_of!(accepts, Accept);
all_of!(confirms, Confirm);
all_of!(acks, Ack);
all_of!(voids, Void);
all_of!(requests, Request);
all_of!(counters, Counter);
all_of!(driver_offers, DriverOffer);
all_of!(rider_offers, RiderOffer);
all_of!(shift_certs, ShiftCert);

fn accept_slot(accept: &Accept) -> (u8, u64) {
    (accept.lane, accept.slot)
}

/// Two statements of one chain, the one with the lower slot first; nothing unless the
/// second follows immediately on the first.
fn neighbours<'s, T>(
    pair: &[&'s Verified<T>],
    slot: impl Fn(&T) -> (u8, u64),
) -> Option<(&'s Verified<T>, &'s Verified<T>)>
where
    T: Body,
{
    let [one, other] = *pair else { return None };
    let follows = |first: &Verified<T>, second: &Verified<T>| {
        let (lane, number) = slot(first.body());
        number.checked_add(1).is_some_and(|next| slot(second.body()) == (lane, next))
    };
    if follows(one, other) {
        Some((one, other))
    } else if follows(other, one) {
        Some((other, one))
    } else {
        None
    }
}

/// Two ACCEPTs for one slot.
fn e1(statements: &[AnyVerified]) -> Option<bool> {
    let [one, other] = accepts(statements)[..] else { return None };
    Some(accept_slot(one.body()) == accept_slot(other.body()) && one.id() != other.id())
}

/// Two CONFIRMs for one slot.
fn e2(statements: &[AnyVerified]) -> Option<bool> {
    let [one, other] = confirms(statements)[..] else { return None };
    Some(one.body().slot == other.body().slot && one.id() != other.id())
}

/// Firm, then denied: by a VOID or in the next ACCEPT.
fn e3(statements: &[AnyVerified]) -> Option<bool> {
    let [ack] = acks(statements)[..] else { return None };
    let (lane, slot) = (ack.body().lane, ack.body().slot);
    match (&voids(statements)[..], &accepts(statements)[..]) {
        ([void], []) => {
            let body = void.body();
            Some((body.lane, body.slot) == (lane, slot) && body.outcome == Outcome::HoldLapsed)
        }
        ([], [accept]) => {
            let body = accept.body();
            let follows = Some(accept_slot(body)) == slot.checked_add(1).map(|next| (lane, next));
            Some(follows && body.prev.outcome == Outcome::HoldLapsed)
        }
        _ => None,
    }
}

/// A forked chain: the next statement names another ACCEPT than the one before used.
fn e4a(statements: &[AnyVerified]) -> Option<bool> {
    let differs = |named: Option<StatementId>, bound: StatementId| named.is_some_and(|named| named != bound);
    match (&accepts(statements)[..], &confirms(statements)[..]) {
        (pair @ [_, _], []) => Some(
            neighbours(pair, accept_slot)
                .is_some_and(|(first, second)| differs(second.body().prev.accept_id, first.id())),
        ),
        ([], pair @ [_, _]) => Some(
            neighbours(pair, |confirm: &Confirm| (0, confirm.slot))
                .is_some_and(|(first, second)| differs(second.body().prev.accept_id, first.body().accept_id)),
        ),
        _ => None,
    }
}

/// A borrowed release: the proof in the next ACCEPT is signed by another than the rider
/// of the one before.
fn e4b(statements: &[AnyVerified], signatures: &dyn Signatures) -> Option<bool> {
    let accepts = accepts(statements);
    let [_, _] = accepts[..] else { return None };
    let Some((first, second)) = neighbours(&accepts, accept_slot) else { return Some(false) };
    let prev = &second.body().prev;
    if prev.accept_id != Some(first.id()) || prev.check_driver(second.body().slot, signatures).is_err() {
        // A fork (E4a) or void on its face (E4d), but not this.
        return Some(false);
    }
    let proof = prev.proof.as_deref().unwrap_or_default();
    let rider = match prev.outcome {
        Outcome::NotChosen | Outcome::RiderReleased => {
            Signed::<Release>::decode(proof).ok().map(|release| *release.signer())
        }
        Outcome::Completed => Signed::<Cosign>::decode(proof).ok().map(|cosign| *cosign.signer()),
        _ => None,
    };
    Some(rider.is_some_and(|rider| rider != first.body().to))
}

/// A false boarding: the secret in the next ACCEPT does not open the CONFIRM's hash.
fn e4c(statements: &[AnyVerified], accused: &PublicKey) -> Option<bool> {
    let ([ack], [confirm], [accept]) =
        (&acks(statements)[..], &confirms(statements)[..], &accepts(statements)[..])
    else {
        return None;
    };
    let (ack_body, body) = (ack.body(), accept.body());
    if ack.signer() != accused || accept.signer() != accused || ack_body.confirm_id != confirm.id() {
        return Some(false);
    }
    let follows = Some(accept_slot(body)) == ack_body.slot.checked_add(1).map(|next| (ack_body.lane, next));
    let secret: Option<[u8; 16]> = body.prev.proof.as_deref().and_then(|proof| proof.try_into().ok());
    Some(
        follows
            && body.prev.outcome == Outcome::CompletedUnilateral
            && body.prev.accept_id == Some(confirm.body().accept_id)
            && secret.is_some_and(|secret| board_hash(&secret) != confirm.body().board_hash),
    )
}

/// A statement that is not valid on its face.
fn e4d(statements: &[AnyVerified], signatures: &dyn Signatures) -> Option<bool> {
    match statements {
        [AnyVerified::Accept(accept)] => {
            Some(accept.body().prev.check_driver(accept.body().slot, signatures).is_err())
        }
        [AnyVerified::Confirm(confirm)] => {
            Some(confirm.body().prev.check_rider(confirm.body().slot).is_err())
        }
        _ => None,
    }
}

/// Another tariff than that of the offer.
fn e5a(statements: &[AnyVerified]) -> Option<bool> {
    let ([offer], [accept]) = (&driver_offers(statements)[..], &accepts(statements)[..]) else { return None };
    // A withdrawn offer has no tariff to depart from.
    let tariff = tariff_of(offer.body())?;
    Some(accept.body().offer_id == offer.id() && accept.body().tariff_hash != tariff_hash(tariff))
}

/// A higher fare than the offer, or the COUNTER that the REQUEST names, allows.
fn e5b(statements: &[AnyVerified], accused: &PublicKey) -> Option<bool> {
    let ([request], [accept]) = (&requests(statements)[..], &accepts(statements)[..]) else { return None };
    let (body, wanted) = (accept.body(), request.body());
    if accept.signer() != accused || body.request_id != request.id() || wanted.to != *accused {
        return Some(false);
    }
    let limit = match (&driver_offers(statements)[..], &counters(statements)[..]) {
        ([offer], []) => {
            if wanted.counter_id.is_some() || body.offer_id != offer.id() || wanted.offer_id != offer.id() {
                return Some(false);
            }
            fare_limit(tariff_of(offer.body())?, wanted, None).ok()
        }
        ([], [counter]) => {
            if wanted.counter_id != Some(counter.id()) {
                return Some(false);
            }
            Some(counter.body().fare.min(wanted.max_fare))
        }
        _ => return None,
    };
    // A fare that cannot be computed is nobody's fault.
    Some(limit.is_some_and(|limit| body.fare > limit))
}

/// Two offers with one sequence number.
fn e6(statements: &[AnyVerified]) -> Option<bool> {
    match (&driver_offers(statements)[..], &rider_offers(statements)[..]) {
        ([one, other], []) => Some(one.body().seq == other.body().seq && one.id() != other.id()),
        ([], [one, other]) => Some(one.body().seq == other.body().seq && one.id() != other.id()),
        _ => None,
    }
}

/// Two shifts at once. Riders have one key per ride, which overlap by design.
fn e7(statements: &[AnyVerified]) -> Option<bool> {
    let [one, other] = shift_certs(statements)[..] else { return None };
    let (a, b) = (one.body(), other.body());
    // A later certificate that names none says that all earlier keys are lost (P16.3).
    let replaces = |newer: &Verified<ShiftCert>, older: &Verified<ShiftCert>| {
        newer.body().replaces.as_ref().is_some_and(|replaces| match replaces.cert {
            Some(cert) => cert == older.id(),
            None => older.body().issued <= newer.body().issued,
        })
    };
    Some(
        a.role == Role::Driver
            && b.role == Role::Driver
            // Two certificates of one key are one shift.
            && a.subject != b.subject
            && a.from < b.until
            && b.from < a.until
            && !replaces(one, other)
            && !replaces(other, one),
    )
}

/// A signed end: which ACCEPT, and how.
fn end_of(statement: &AnyVerified) -> Option<(StatementId, Outcome)> {
    match statement {
        AnyVerified::Void(void) => Some((void.body().accept_id, void.body().outcome)),
        AnyVerified::Release(release) => Some((release.body().accept_id, release.body().outcome)),
        AnyVerified::Cosign(cosign) => Some((cosign.body().accept_id, Outcome::Completed)),
        AnyVerified::Accept(accept) => {
            accept.body().prev.accept_id.map(|id| (id, accept.body().prev.outcome))
        }
        AnyVerified::Confirm(confirm) => {
            confirm.body().prev.accept_id.map(|id| (id, confirm.body().prev.outcome))
        }
        _ => None,
    }
}

/// Contradictory ends.
fn e8(statements: &[AnyVerified]) -> Option<bool> {
    let [one, other] = statements else { return None };
    let ((one, how), (other, how_else)) = (end_of(one)?, end_of(other)?);
    Some(one == other && how != how_else)
}

/// A slot promised twice, shown by a public head.
fn e9(statements: &[AnyVerified]) -> Option<bool> {
    match (&driver_offers(statements)[..], &accepts(statements)[..]) {
        ([offer], [accept]) => {
            let body = accept.body();
            let follows = body.lane == 0 && body.slot.checked_add(1) == Some(offer.body().slot);
            Some(follows && offer.body().head.is_some_and(|head| head != accept.id()))
        }
        ([one, other], []) => {
            let (one, other) = (one.body(), other.body());
            Some(one.slot == other.slot && one.head != other.head)
        }
        _ => None,
    }
}
