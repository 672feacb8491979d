//! What contradicts itself (P18.1), over the statements of the model: E1 to E4d and E8.
//! E5 is about fares, E6 and E9 about offers and E7 about certificates, which the model
//! does not have.

use hailmesh_wire::Outcome;

use crate::statement::{Book, Id, Prev, Proof, Statement};

/// A statement and its number.
type Numbered = (Id, Statement);

/// The kind of evidence that two statements of one key are together, if any.
#[must_use]
pub fn contradiction(book: &Book, one: &Numbered, other: &Numbered) -> Option<&'static str> {
    if one.1.signer() != other.1.signer() || one.0 == other.0 {
        return None;
    }
    ordered(book, one, other).or_else(|| ordered(book, other, one)).or_else(|| ends(one, other))
}

fn ordered(book: &Book, (first, one): &Numbered, (_, other): &Numbered) -> Option<&'static str> {
    match (*one, *other) {
        (Statement::Accept { slot: m, rider, .. }, Statement::Accept { slot, prev, .. }) => {
            if m == slot {
                Some("E1")
            } else if m + 1 == slot && prev.accept != 0 && prev.accept != *first {
                Some("E4a")
            } else if m + 1 == slot
                && prev.accept == *first
                && is_valid_for_driver(book, slot, &prev)
                && matches!(prev.proof, Proof::Statement(proof) if book.get(proof).signer() != rider)
            {
                Some("E4b")
            } else {
                None
            }
        }
        (
            Statement::Confirm { slot: m, accept: bound, .. },
            Statement::Confirm { slot, prev: Prev { accept, .. }, .. },
        ) => {
            if m == slot {
                Some("E2")
            } else {
                (m + 1 == slot && accept != 0 && accept != bound).then_some("E4a")
            }
        }
        (Statement::Ack { slot: m, .. }, Statement::Void { slot, outcome, .. }) => {
            (m == slot && outcome == Outcome::HoldLapsed).then_some("E3")
        }
        (Statement::Ack { slot: m, confirm, .. }, Statement::Accept { slot, prev, .. }) if m + 1 == slot => {
            if prev.outcome == Outcome::HoldLapsed {
                return Some("E3");
            }
            let Statement::Confirm { accept, .. } = book.get(confirm) else { return None };
            let false_boarding = prev.outcome == Outcome::CompletedUnilateral
                && prev.accept == accept
                && prev.proof == Proof::Secret { right: false };
            false_boarding.then_some("E4c")
        }
        _ => None,
    }
}

/// Whether one statement alone is void on its face (E4d).
#[must_use]
pub fn is_void_on_its_face(book: &Book, statement: &Statement) -> bool {
    match statement {
        Statement::Accept { slot, prev, .. } => !is_valid_for_driver(book, *slot, prev),
        Statement::Confirm { slot, prev, .. } => !is_valid_for_rider(*slot, prev),
        _ => false,
    }
}

/// P3.8 for an ACCEPT.
#[must_use]
pub fn is_valid_for_driver(book: &Book, slot: u8, prev: &Prev) -> bool {
    let is_first = matches!(prev.outcome, Outcome::None | Outcome::KeyReplaced);
    if is_first != (slot == 0) || (prev.accept == 0) != is_first {
        return false;
    }
    match prev.outcome {
        Outcome::NotChosen | Outcome::RiderReleased => match prev.proof {
            Proof::Statement(proof) => {
                matches!(book.get(proof), Statement::Release { accept, .. } if accept == prev.accept)
            }
            _ => false,
        },
        Outcome::Completed => match prev.proof {
            Proof::Statement(proof) => {
                matches!(book.get(proof), Statement::Cosign { accept, .. } if accept == prev.accept)
            }
            _ => false,
        },
        Outcome::CompletedUnilateral => matches!(prev.proof, Proof::Secret { .. }),
        Outcome::CounterpartyVoid | Outcome::NoAck | Outcome::RiderCancelled => false,
        Outcome::None
        | Outcome::HoldLapsed
        | Outcome::DriverCancelled
        | Outcome::NoShowClaimed
        | Outcome::KeyReplaced => prev.proof == Proof::None,
    }
}

/// P3.8 for a CONFIRM.
#[must_use]
pub fn is_valid_for_rider(slot: u8, prev: &Prev) -> bool {
    let is_first = prev.outcome == Outcome::None;
    let allowed = matches!(
        prev.outcome,
        Outcome::None
            | Outcome::Completed
            | Outcome::CounterpartyVoid
            | Outcome::NoAck
            | Outcome::CompletedUnilateral
            | Outcome::NoShowClaimed
            | Outcome::RiderCancelled
    );
    allowed && is_first == (slot == 0) && (prev.accept == 0) == is_first && prev.proof == Proof::None
}

/// Whether the outcome admits what it ends, to be counted (P18.2).
#[must_use]
pub const fn is_counted_admission(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::DriverCancelled | Outcome::NoShowClaimed | Outcome::KeyReplaced)
}

/// Contradictory ends (E8).
fn ends((_, one): &Numbered, (_, other): &Numbered) -> Option<&'static str> {
    let ((one, how), (other, how_else)) = (end_of(one)?, end_of(other)?);
    (one == other && how != how_else).then_some("E8")
}

fn end_of(statement: &Statement) -> Option<(Id, Outcome)> {
    match *statement {
        Statement::Void { accept, outcome, .. } | Statement::Release { accept, outcome, .. } => {
            Some((accept, outcome))
        }
        Statement::Cosign { accept, .. } => Some((accept, Outcome::Completed)),
        Statement::Accept { prev, .. } | Statement::Confirm { prev, .. } if prev.accept != 0 => {
            Some((prev.accept, prev.outcome))
        }
        _ => None,
    }
}
