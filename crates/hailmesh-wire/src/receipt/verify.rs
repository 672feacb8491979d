//! The verification of a receipt, in the order of P10.4: the first failure is named by
//! its clause.

use hailmesh_types::{PublicKey, StatementId, Tariff};

use super::facts::facts;
use super::parts::{Letter, Parts};
use super::{Receipt, ReceiptFacts};
use crate::chain::{Cert, Standing, standing};
use crate::{
    DecodeError, Ed25519, FareKind, NetworkId, Outcome, Purpose, Role, Signatures, agreement_id, board_hash,
    check_complete, commit, fare_limit, tariff_hash, tariff_of,
};

impl Receipt {
    /// Checks everything that P10.4 lists, in that order, and says what it proves. About
    /// 40 µs a statement.
    ///
    /// `issuers` are the keys whose CREDENTIALs count; with none, a credential is followed
    /// to whoever signed it. Certificates that are missing are no failure: the facts then
    /// name no issuer.
    ///
    /// # Errors
    /// The first clause that fails: P10.1, P10.2 and P2 for form; P2.8 for a key or
    /// signature; P8.9 and P16 for certificates; P4.5 to P4.8, P5.10 and P2.6 for what
    /// names what; P5.6 for the parties; P9.2 for the fare; P3.8 for a `prev`; P8.4 for
    /// the boarding secret; P9.3 and P9.4 for the final fare; P18.1 for contradicting
    /// ends; P2.7 for openings, and for another network.
    pub fn verify(&self, issuers: &[PublicKey]) -> Result<ReceiptFacts, DecodeError> {
        self.verify_with(issuers, &Ed25519)
    }

    /// As [`Receipt::verify`] with these signatures.
    ///
    /// # Errors
    /// As [`Receipt::verify`].
    pub fn verify_with(
        &self,
        issuers: &[PublicKey],
        signatures: &dyn Signatures,
    ) -> Result<ReceiptFacts, DecodeError> {
        let parts = Parts::read(self, signatures)?;
        let network = NetworkId::of(&self.network);
        let (driver, rider) = check_certificates(&parts, network, issuers, signatures)?;
        let tariff = check_offer(&parts)?;
        check_names(&parts)?;
        check_parties(&parts)?;
        check_fare(&parts, tariff)?;
        parts.accept.body().prev.check_driver(parts.accept.body().slot, signatures)?;
        parts.confirm.body().prev.check_rider(parts.confirm.body().slot)?;
        check_ack(&parts)?;
        check_boarding(&parts)?;
        check_final_fare(&parts, tariff)?;
        check_ends(&parts)?;
        self.check_openings(&parts)?;
        Ok(facts(&self.network, &parts, tariff.currency, (driver, rider), signatures))
    }

    fn check_openings(&self, parts: &Parts) -> Result<(), DecodeError> {
        for (purpose, opening) in &self.openings {
            let commitment = match purpose {
                Purpose::Pickup => Some(parts.confirm.body().pickup_commit),
                Purpose::Drop => parts.confirm.body().drop_commit,
                Purpose::Vehicle => Some(parts.accept.body().vehicle_commit),
            };
            if commitment != Some(commit(*purpose, opening)) {
                return Err(DecodeError::new(
                    "P2.7",
                    format!("the {purpose} opening does not open its commitment"),
                ));
            }
        }
        Ok(())
    }
}

/// Certificates cover the times (P8.9) and chain to an issuer, if any (P16).
fn check_certificates(
    parts: &Parts,
    network: NetworkId,
    issuers: &[PublicKey],
    signatures: &dyn Signatures,
) -> Result<(Standing, Standing), DecodeError> {
    let offer = parts.offer.body();
    let request = parts.request.body();
    // Those that came inside the statements serve too, for holders who have no others.
    let inline = |certs: &[Vec<u8>]| -> Result<Vec<Cert>, DecodeError> {
        certs.iter().map(|bytes| Cert::read(bytes, network, signatures)).collect()
    };
    let of_driver: Vec<Cert> = parts.certs.iter().cloned().chain(inline(&offer.certs)?).collect();
    let of_rider: Vec<Cert> = parts.certs.iter().cloned().chain(inline(&request.certs)?).collect();
    let find_driver = |id: &StatementId| of_driver.iter().find(|cert| cert.id() == *id);
    let find_rider = |id: &StatementId| of_rider.iter().find(|cert| cert.id() == *id);
    let driver = standing(
        find_driver,
        offer.cert_id.as_ref(),
        parts.accept.signer(),
        Role::Driver,
        parts.accept.body().issued,
        issuers,
    )?;
    let rider = standing(
        find_rider,
        request.cert_id.as_ref(),
        parts.request.signer(),
        Role::Rider,
        request.issued,
        issuers,
    )?;
    let belongs = |cert: &Cert| {
        let subject = cert.subject();
        subject == parts.accept.signer()
            || subject == parts.request.signer()
            || driver.identity.as_ref() == Some(subject)
            || rider.identity.as_ref() == Some(subject)
    };
    if parts.certs.iter().all(belongs) {
        Ok((driver, rider))
    } else {
        Err(DecodeError::new("P16.2", "a certificate of neither party"))
    }
}

/// The offer is the one that REQUEST and ACCEPT name, and so is its tariff.
fn check_offer(parts: &Parts) -> Result<&Tariff, DecodeError> {
    if parts.request.body().offer_id != parts.offer.id() {
        return Err(DecodeError::new("P4.5", "the REQUEST names another offer"));
    }
    if parts.accept.body().offer_id != parts.offer.id() {
        return Err(DecodeError::new("P4.6", "the ACCEPT names another offer"));
    }
    let tariff = tariff_of(parts.offer.body())
        .ok_or_else(|| DecodeError::new("P4.6", "the offer is a withdrawn one"))?;
    if parts.accept.body().tariff_hash != tariff_hash(tariff) {
        return Err(DecodeError::new("P4.6", "the ACCEPT names another tariff"));
    }
    let counter = parts.counter.as_ref().map(|counter| counter.id());
    if parts.request.body().counter_id != counter {
        return Err(DecodeError::new("P5.10", "the COUNTER is not the one that the REQUEST names"));
    }
    Ok(tariff)
}

/// What names what (P2.6).
fn check_names(parts: &Parts) -> Result<(), DecodeError> {
    let accept = parts.accept.id();
    if parts.accept.body().request_id != parts.request.id() {
        return Err(DecodeError::new("P2.6", "the ACCEPT names another REQUEST"));
    }
    if parts.confirm.body().accept_id != accept {
        return Err(DecodeError::new("P2.6", "the CONFIRM names another ACCEPT"));
    }
    let agreement = agreement_id(&parts.request.id(), &accept);
    if let Some((name, _)) = parts.agreements().find(|(_, found)| *found != agreement) {
        return Err(DecodeError::new("P2.6", format!("the {name} names another agreement")));
    }
    let ends = [
        ("COSIGN", parts.cosign.as_ref().map(|cosign| cosign.body().accept_id)),
        ("VOID", parts.void.as_ref().map(|void| void.body().accept_id)),
        ("RELEASE", parts.release.as_ref().map(|release| release.body().accept_id)),
    ];
    match ends.iter().find(|(_, found)| found.is_some_and(|found| found != accept)) {
        None => Ok(()),
        Some((name, _)) => Err(DecodeError::new("P2.6", format!("the {name} names another ACCEPT"))),
    }
}

/// All statements of the driver are signed by the ACCEPT's signer and for the CONFIRM's,
/// and the reverse (P5.6).
fn check_parties(parts: &Parts) -> Result<(), DecodeError> {
    let (driver, rider) = (parts.accept.signer(), parts.confirm.signer());
    let refuse =
        |whose: &str| Err(DecodeError::new("P5.6", format!("a statement that is not the {whose}'s")));
    if parts.offer.signer() != driver {
        return refuse("driver");
    }
    let goes = |letter: &Letter<'_>, from: &PublicKey, to: &PublicKey| letter.from == from && letter.to == to;
    let (by_driver, by_rider) = parts.signed_by_side();
    if !by_driver.iter().all(|letter| goes(letter, driver, rider)) {
        return refuse("driver");
    }
    if !by_rider.iter().all(|letter| goes(letter, rider, driver)) {
        return refuse("rider");
    }
    let either = |letter: &Letter<'_>| goes(letter, driver, rider) || goes(letter, rider, driver);
    if parts.signed_by_either().iter().all(either) { Ok(()) } else { refuse("parties") }
}

fn check_fare(parts: &Parts, tariff: &Tariff) -> Result<(), DecodeError> {
    let request = parts.request.body();
    let accept = parts.accept.body();
    let counter = parts.counter.as_ref().map(|counter| counter.body());
    let limit =
        fare_limit(tariff, request, counter).map_err(|error| DecodeError::new("P9.2", error.to_string()))?;
    if accept.fare > limit {
        return Err(DecodeError::new("P9.2", format!("fare {}: at most {limit} is allowed", accept.fare)));
    }
    if request.drop_cell.is_none() && accept.fare_kind == FareKind::Fixed {
        return Err(DecodeError::new("P4.5", "a fixed fare without a destination"));
    }
    if request.drop_cell.is_some() != parts.confirm.body().drop_commit.is_some() {
        return Err(DecodeError::new("P4.7", "drop_commit does not go with drop_cell"));
    }
    Ok(())
}

/// ACK names the CONFIRM, and so does COMPLETE; slots are those that were bound.
fn check_ack(parts: &Parts) -> Result<(), DecodeError> {
    let refuse = |what: &str| Err(DecodeError::new("P4.8", what));
    let confirm = parts.confirm.id();
    let driver_slot = (parts.accept.body().lane, parts.accept.body().slot);
    let rider_slot = parts.confirm.body().slot;
    if let Some(ack) = parts.ack.as_ref().map(|ack| ack.body()) {
        if ack.confirm_id != confirm {
            return refuse("the ACK names another CONFIRM");
        }
        if (ack.lane, ack.slot) != driver_slot {
            return refuse("the ACK names another slot");
        }
    }
    if parts.complete.as_ref().is_some_and(|complete| complete.body().confirm_id != confirm) {
        return refuse("the COMPLETE names another CONFIRM");
    }
    if parts.void.as_ref().is_some_and(|void| (void.body().lane, void.body().slot) != driver_slot) {
        return refuse("the VOID names another slot");
    }
    if parts
        .release
        .as_ref()
        .is_some_and(|release| release.body().slot.is_some_and(|slot| slot != rider_slot))
    {
        return refuse("the RELEASE names another slot");
    }
    if parts.cosign.as_ref().is_some_and(|cosign| cosign.body().slot != rider_slot) {
        return refuse("the COSIGN names another slot");
    }
    Ok(())
}

fn check_boarding(parts: &Parts) -> Result<(), DecodeError> {
    let shown = [
        ("BOARDED", parts.boarded.as_ref().map(|boarded| boarded.body().board_secret)),
        ("COMPLETE", parts.complete.as_ref().and_then(|complete| complete.body().board_secret)),
        ("VOID", parts.void.as_ref().and_then(|void| void.body().board_secret)),
    ];
    for (name, secret) in shown {
        if secret.is_some_and(|secret| board_hash(&secret) != parts.confirm.body().board_hash) {
            return Err(DecodeError::new("P8.4", format!("the {name} shows another boarding secret")));
        }
    }
    Ok(())
}

/// A COSIGN agrees to the COMPLETE that is there, and that one keeps P9.3. What nobody
/// has co-signed is a claim, and stands in the facts as one.
fn check_final_fare(parts: &Parts, tariff: &Tariff) -> Result<(), DecodeError> {
    let Some(cosign) = parts.cosign.as_ref().map(|cosign| cosign.body()) else { return Ok(()) };
    let complete = parts
        .complete
        .as_ref()
        .filter(|complete| complete.id() == cosign.complete_id)
        .ok_or_else(|| DecodeError::new("P9.3", "a COSIGN without the COMPLETE that it names"))?;
    if complete.body().total != cosign.total {
        let (found, expected) = (cosign.total, complete.body().total);
        return Err(DecodeError::new("P9.3", format!("a COSIGN of {found} to a COMPLETE of {expected}")));
    }
    let countered = parts.counter.is_some();
    check_complete(tariff, parts.request.body(), parts.accept.body(), countered, complete.body())?;
    Ok(())
}

/// No key has signed two different ends (E8), and no driver both ACK and a lapse (E3).
fn check_ends(parts: &Parts) -> Result<(), DecodeError> {
    if parts.cosign.is_some() && parts.release.is_some() {
        return Err(DecodeError::new("P18.1", "the rider co-signed and released"));
    }
    let lapsed = |outcome| matches!(outcome, Outcome::HoldLapsed | Outcome::NotChosen);
    if parts.ack.is_some() && parts.void.as_ref().is_some_and(|void| lapsed(void.body().outcome)) {
        return Err(DecodeError::new("P18.1", "the driver acknowledged and ended a hold"));
    }
    if parts.release.as_ref().is_some_and(|release| release.body().outcome == Outcome::NotChosen) {
        return Err(DecodeError::new("P18.1", "the rider confirmed and did not choose"));
    }
    Ok(())
}
