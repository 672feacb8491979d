//! What a receipt proves (P10.5): a list of facts, not one word.

use hailmesh_types::{AgreementId, Amount, Currency, NetworkName, PublicKey, Timestamp};

use super::parts::Parts;
use crate::chain::Standing;
use crate::codec::codes;
use crate::statements::Status;
use crate::{FareKind, NoShow, Outcome, RideState, Role, Signatures, Signed, Verified};

codes! {
    /// How much stands behind the claim that somebody did not come (P9.7).
    pub enum ClaimGrade {
        /// The claim alone.
        G0 = 0 "G0",
        /// The other side's node knew of the ARRIVED.
        G1 = 1 "G1",
        /// The other side ended the ride on this claim.
        G2 = 2 "G2",
    }
}

/// What a verified receipt proves to have been signed. It does not prove that a ride took
/// place (P24.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFacts {
    /// The network it was signed for.
    pub network: NetworkName,
    /// The driver's shift key.
    pub driver: PublicKey,
    /// The rider's ride key.
    pub rider: PublicKey,
    /// The identity behind the driver's key, if the receipt holds its SHIFT_CERT.
    pub driver_identity: Option<PublicKey>,
    /// The identity behind the rider's key, if the receipt holds its SHIFT_CERT.
    pub rider_identity: Option<PublicKey>,
    /// Who vouches for the driver, if the receipt holds the CREDENTIAL.
    pub driver_issuer: Option<PublicKey>,
    /// Who vouches for the rider, if the receipt holds the CREDENTIAL.
    pub rider_issuer: Option<PublicKey>,
    /// The agreement.
    pub agreement: AgreementId,
    /// Fare or cap of the ACCEPT, before waiting.
    pub fare: (Amount, Currency),
    /// What `fare` means.
    pub fare_kind: FareKind,
    /// Whether it came of a COUNTER, and is settled like a fixed one.
    pub countered: bool,
    /// When the rider says to have signed the CONFIRM.
    pub agreed_at: Timestamp,
    /// Everything that is proven of the course of the ride, in its order; the last is how
    /// it ended, if it did.
    pub states: Vec<RideState>,
    /// Both have signed: always, since there is no receipt without it.
    pub agreed: bool,
    /// The driver acknowledged.
    pub firm: bool,
    /// The driver said to be there.
    pub arrived: bool,
    /// The driver showed the boarding secret.
    pub boarded: bool,
    /// The driver proposed a final fare.
    pub completed: bool,
    /// The rider agreed to it.
    pub cosigned: bool,
    /// What the driver proposed; a claim unless it is `cosigned`.
    pub asked: Option<Amount>,
    /// What both have signed.
    pub total: Option<Amount>,
    /// Who ended it first, and how; `ends` has both sides.
    pub ended: Option<(Role, Outcome)>,
    /// The signed ends, the one that answers another after it.
    pub ends: Vec<(Role, Outcome)>,
    /// The fee that the driver claims in its VOID.
    pub fee_claimed: Option<Amount>,
    /// The fee that the rider concedes in its RELEASE.
    pub fee_conceded: Option<Amount>,
    /// Who says that the other did not come, and what stands behind it.
    pub no_shows: Vec<(Role, ClaimGrade)>,
    /// Somebody said that something is wrong.
    pub disputed: bool,
    /// Who rated the other side, 1 to 5 stars. Two different ratings of one author cancel
    /// each other (P8.12), and so do ratings of a ride that was not completed.
    pub rated: Vec<(PublicKey, u8)>,
}

/// Reads the facts off verified statements.
pub(super) fn facts(
    network: &NetworkName,
    parts: &Parts,
    currency: Currency,
    (driver, rider): (Standing, Standing),
    signatures: &dyn Signatures,
) -> ReceiptFacts {
    let accept = parts.accept.body();
    let ends = ends(parts);
    let boarded = parts.boarded.is_some()
        || parts.complete.as_ref().is_some_and(|complete| complete.body().board_secret.is_some())
        || parts.void.as_ref().is_some_and(|void| void.body().board_secret.is_some());
    let asked = parts.complete.as_ref().map(|complete| complete.body().total);
    let mut facts = ReceiptFacts {
        network: network.clone(),
        driver: *parts.accept.signer(),
        rider: *parts.confirm.signer(),
        driver_identity: driver.identity,
        rider_identity: rider.identity,
        driver_issuer: driver.issuer,
        rider_issuer: rider.issuer,
        agreement: parts.confirm.body().agreement_id,
        fare: (accept.fare, currency),
        fare_kind: accept.fare_kind,
        countered: parts.counter.is_some(),
        agreed_at: parts.confirm.body().issued,
        states: Vec::new(),
        agreed: true,
        firm: parts.ack.is_some(),
        arrived: parts.arrived.is_some(),
        boarded,
        completed: asked.is_some(),
        cosigned: parts.cosign.is_some(),
        asked,
        total: parts.cosign.as_ref().map(|cosign| cosign.body().total),
        ended: ends.first().copied(),
        ends,
        fee_claimed: parts.void.as_ref().map(|void| void.body().fee),
        fee_conceded: parts.release.as_ref().map(|release| release.body().fee),
        no_shows: parts.no_shows.iter().map(|no_show| graded(parts, no_show, signatures)).collect(),
        disputed: !parts.disputes.is_empty(),
        rated: Vec::new(),
    };
    facts.states = states(&facts);
    if facts.states.last() == Some(&RideState::Completed) {
        facts.rated = rated(parts);
    }
    facts
}

/// The signed ends. COSIGN ends both sides; a VOID that only answers a RELEASE comes
/// after it, every other before.
fn ends(parts: &Parts) -> Vec<(Role, Outcome)> {
    let cosign = parts.cosign.as_ref().map(|_| (Role::Rider, Outcome::Completed));
    let void = parts.void.as_ref().map(|void| (Role::Driver, void.body().outcome));
    let release = parts.release.as_ref().map(|release| (Role::Rider, release.body().outcome));
    let answers = matches!(void, Some((_, Outcome::NotChosen | Outcome::RiderReleased)))
        && release.is_some_and(|(_, outcome)| outcome != Outcome::CounterpartyVoid);
    let pair = if answers { [release, void] } else { [void, release] };
    cosign.into_iter().chain(pair.into_iter().flatten()).collect()
}

fn states(facts: &ReceiptFacts) -> Vec<RideState> {
    let mut states = vec![RideState::Requested, RideState::Held, RideState::Committed];
    for (is_proven, state) in [
        (facts.firm, RideState::Firm),
        (facts.arrived, RideState::Arrived),
        (facts.boarded, RideState::InProgress),
    ] {
        if is_proven {
            states.push(state);
        }
    }
    states.extend(facts.ended.and_then(|(_, outcome)| outcome.shown_as()));
    states
}

fn graded(parts: &Parts, no_show: &Verified<NoShow>, signatures: &dyn Signatures) -> (Role, ClaimGrade) {
    let claim = Some(no_show.id());
    let is_driver = no_show.signer() == parts.accept.signer();
    if is_driver {
        let countersigned = parts.release.as_ref().is_some_and(|release| release.body().ref_id == claim);
        (Role::Driver, if countersigned { ClaimGrade::G2 } else { heard(parts, no_show, signatures) })
    } else {
        let countersigned = parts.void.as_ref().is_some_and(|void| void.body().ref_id == claim);
        (Role::Rider, if countersigned { ClaimGrade::G2 } else { ClaimGrade::G0 })
    }
}

/// G1 when the rider's own STATUS says that its node had heard the ARRIVED.
fn heard(parts: &Parts, no_show: &Verified<NoShow>, signatures: &dyn Signatures) -> ClaimGrade {
    let claim = no_show.body();
    let status = claim.heard.as_deref().map(Signed::<Status>::decode).and_then(Result::ok);
    let status = status.filter(|status| status.network() == no_show.network());
    let status = status.and_then(|status| status.verify_by(parts.confirm.signer(), signatures).ok());
    let knew = status.is_some_and(|status| {
        let body = status.body();
        body.to == *no_show.signer()
            && claim.arrived_id.is_some()
            && matches!(&body.entries[..], [entry] if entry.agreement_id == claim.agreement_id
                && entry.heard_last == claim.arrived_id)
    });
    if knew { ClaimGrade::G1 } else { ClaimGrade::G0 }
}

fn rated(parts: &Parts) -> Vec<(PublicKey, u8)> {
    let by = |author: &PublicKey| parts.ratings.iter().filter(|rating| rating.signer() == author).count();
    parts
        .ratings
        .iter()
        .filter(|rating| by(rating.signer()) == 1)
        .map(|rating| (*rating.signer(), rating.body().stars))
        .collect()
}
