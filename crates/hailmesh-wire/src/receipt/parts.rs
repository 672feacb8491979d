//! The statements of a receipt, each under its name.

use std::collections::BTreeSet;
use std::sync::Arc;

use hailmesh_types::{AgreementId, PublicKey};

use super::{CERTS_MAX, OPENINGS_MAX, Receipt, STATEMENTS_MAX, STATEMENTS_MIN, is_either, rank};
use crate::chain::{Cert, check_readable};
use crate::{
    Accept, Ack, AnyStatement, AnyVerified, Arrived, Boarded, Complete, Confirm, Cosign, Counter,
    DecodeError, Dispute, DriverOffer, NetworkId, NoShow, Rating, Release, Request, Signatures, Verified,
    Void,
};

/// A receipt whose statements decode, are in order and are really signed: steps 1 to 3
/// of P10.4.
pub(super) struct Parts {
    pub(super) offer: Verified<DriverOffer>,
    pub(super) counter: Option<Verified<Counter>>,
    pub(super) request: Verified<Request>,
    pub(super) accept: Verified<Accept>,
    pub(super) confirm: Verified<Confirm>,
    pub(super) ack: Option<Verified<Ack>>,
    pub(super) arrived: Option<Verified<Arrived>>,
    pub(super) boarded: Option<Verified<Boarded>>,
    pub(super) complete: Option<Verified<Complete>>,
    pub(super) cosign: Option<Verified<Cosign>>,
    pub(super) void: Option<Verified<Void>>,
    pub(super) release: Option<Verified<Release>>,
    pub(super) no_shows: Vec<Verified<NoShow>>,
    pub(super) disputes: Vec<Verified<Dispute>>,
    pub(super) ratings: Vec<Verified<Rating>>,
    pub(super) certs: Vec<Cert>,
}

impl Parts {
    pub(super) fn read(receipt: &Receipt, signatures: &dyn Signatures) -> Result<Self, DecodeError> {
        check_container(receipt)?;
        let network = NetworkId::of(&receipt.network);
        let statements = decode_all(&receipt.statements, network)?;
        let certs = decode_all(&receipt.certs, network)?;
        check_order(&statements)?;
        let mut slots = Slots::default();
        for statement in statements {
            slots.put(signed(statement, signatures)?);
        }
        let certs = certs
            .into_iter()
            .map(|cert| signed(cert, signatures).and_then(Cert::of))
            .collect::<Result<_, _>>()?;
        slots.into_parts(certs)
    }

    /// The agreement id of every statement that names one.
    pub(super) fn agreements(&self) -> impl Iterator<Item = (&'static str, AgreementId)> + '_ {
        let one = |name, id: Option<AgreementId>| id.map(|id| (name, id));
        let singles = [
            one("CONFIRM", Some(self.confirm.body().agreement_id)),
            one("ACK", self.ack.as_ref().map(|ack| ack.body().agreement_id)),
            one("ARRIVED", self.arrived.as_ref().map(|arrived| arrived.body().agreement_id)),
            one("BOARDED", self.boarded.as_ref().map(|boarded| boarded.body().agreement_id)),
            one("COMPLETE", self.complete.as_ref().map(|complete| complete.body().agreement_id)),
            one("COSIGN", self.cosign.as_ref().map(|cosign| cosign.body().agreement_id)),
            one("VOID", self.void.as_ref().and_then(|void| void.body().agreement_id)),
            one("RELEASE", self.release.as_ref().and_then(|release| release.body().agreement_id)),
        ];
        singles
            .into_iter()
            .flatten()
            .chain(self.no_shows.iter().map(|no_show| ("NO_SHOW", no_show.body().agreement_id)))
            .chain(self.disputes.iter().map(|dispute| ("DISPUTE", dispute.body().agreement_id)))
            .chain(self.ratings.iter().map(|rating| ("RATING", rating.body().agreement_id)))
    }

    /// Who signed what for whom, of the statements that only one side signs: by the
    /// driver, then by the rider.
    pub(super) fn signed_by_side(&self) -> (Vec<Letter<'_>>, Vec<Letter<'_>>) {
        macro_rules! letters {
            ($($field:ident),*) => {
                [$( self.$field.as_ref().map(|statement| Letter {
                    from: statement.signer(),
                    to: &statement.body().to,
                }) ),*]
            };
        }
        let required = |from, to| Some(Letter { from, to });
        let mut driver = vec![required(self.accept.signer(), &self.accept.body().to)];
        driver.extend(letters!(counter, ack, arrived, boarded, complete, void));
        let mut rider = vec![
            required(self.request.signer(), &self.request.body().to),
            required(self.confirm.signer(), &self.confirm.body().to),
        ];
        rider.extend(letters!(cosign, release));
        (driver.into_iter().flatten().collect(), rider.into_iter().flatten().collect())
    }

    /// The same of the statements that either side signs.
    pub(super) fn signed_by_either(&self) -> Vec<Letter<'_>> {
        let no_shows = self.no_shows.iter().map(|no_show| (no_show.signer(), &no_show.body().to));
        let disputes = self.disputes.iter().map(|dispute| (dispute.signer(), &dispute.body().to));
        let ratings = self.ratings.iter().map(|rating| (rating.signer(), &rating.body().to));
        no_shows.chain(disputes).chain(ratings).map(|(from, to)| Letter { from, to }).collect()
    }
}

/// Signer and addressee of a statement.
pub(super) struct Letter<'s> {
    pub(super) from: &'s PublicKey,
    pub(super) to: &'s PublicKey,
}

/// What [`Receipt::decode`] has checked, for receipts that were put together by hand.
fn check_container(receipt: &Receipt) -> Result<(), DecodeError> {
    let within = |what: &str, found: usize, min: usize, max: usize| {
        if (min..=max).contains(&found) {
            Ok(())
        } else {
            Err(DecodeError::new("P10.1", format!("{found} {what}: expected {min} to {max}")))
        }
    };
    within("statements", receipt.statements.len(), STATEMENTS_MIN, STATEMENTS_MAX)?;
    within("certificates", receipt.certs.len(), 0, CERTS_MAX)?;
    within("openings", receipt.openings.len(), 0, OPENINGS_MAX)?;
    let purposes: BTreeSet<_> = receipt.openings.iter().map(|(purpose, _)| *purpose).collect();
    if purposes.len() < receipt.openings.len() {
        return Err(DecodeError::new("P10.1", "two openings of one commitment"));
    }
    Ok(())
}

fn decode_all(envelopes: &[Arc<[u8]>], network: NetworkId) -> Result<Vec<AnyStatement>, DecodeError> {
    let decode = |bytes: &Arc<[u8]>| {
        let statement = AnyStatement::decode(Arc::clone(bytes))?;
        check_readable(&statement, network)?;
        Ok(statement)
    };
    envelopes.iter().map(decode).collect()
}

fn check_order(statements: &[AnyStatement]) -> Result<(), DecodeError> {
    let mut last = None;
    for statement in statements {
        let kind = statement.kind();
        let rank = rank(kind).ok_or_else(|| DecodeError::new("P10.2", format!("a {kind} in a receipt")))?;
        if last > Some(rank) || (last == Some(rank) && !is_either(kind)) {
            return Err(DecodeError::new("P10.2", format!("a {kind} out of order or twice")));
        }
        last = Some(rank);
    }
    Ok(())
}

/// P10.4 names P2.8 for keys and signatures alike.
fn signed(statement: AnyStatement, signatures: &dyn Signatures) -> Result<AnyVerified, DecodeError> {
    statement.verify_with(signatures).map_err(|error| DecodeError::new("P2.8", error.what))
}

/// The statements as they come.
#[derive(Default)]
struct Slots {
    offer: Option<Verified<DriverOffer>>,
    counter: Option<Verified<Counter>>,
    request: Option<Verified<Request>>,
    accept: Option<Verified<Accept>>,
    confirm: Option<Verified<Confirm>>,
    ack: Option<Verified<Ack>>,
    arrived: Option<Verified<Arrived>>,
    boarded: Option<Verified<Boarded>>,
    complete: Option<Verified<Complete>>,
    cosign: Option<Verified<Cosign>>,
    void: Option<Verified<Void>>,
    release: Option<Verified<Release>>,
    no_shows: Vec<Verified<NoShow>>,
    disputes: Vec<Verified<Dispute>>,
    ratings: Vec<Verified<Rating>>,
}

impl Slots {
    fn put(&mut self, statement: AnyVerified) {
        match statement {
            AnyVerified::DriverOffer(offer) => self.offer = Some(offer),
            AnyVerified::Counter(counter) => self.counter = Some(counter),
            AnyVerified::Request(request) => self.request = Some(request),
            AnyVerified::Accept(accept) => self.accept = Some(accept),
            AnyVerified::Confirm(confirm) => self.confirm = Some(confirm),
            AnyVerified::Ack(ack) => self.ack = Some(ack),
            AnyVerified::Arrived(arrived) => self.arrived = Some(arrived),
            AnyVerified::Boarded(boarded) => self.boarded = Some(boarded),
            AnyVerified::Complete(complete) => self.complete = Some(complete),
            AnyVerified::Cosign(cosign) => self.cosign = Some(cosign),
            AnyVerified::Void(void) => self.void = Some(void),
            AnyVerified::Release(release) => self.release = Some(release),
            AnyVerified::NoShow(no_show) => self.no_shows.push(no_show),
            AnyVerified::Dispute(dispute) => self.disputes.push(dispute),
            AnyVerified::Rating(rating) => self.ratings.push(rating),
            // `check_order` has refused every other kind.
            _ => {}
        }
    }

    fn into_parts(self, certs: Vec<Cert>) -> Result<Parts, DecodeError> {
        let missing = |what: &str| DecodeError::new("P10.2", format!("a receipt without its {what}"));
        Ok(Parts {
            offer: self.offer.ok_or_else(|| missing("DRIVER_OFFER"))?,
            counter: self.counter,
            request: self.request.ok_or_else(|| missing("REQUEST"))?,
            accept: self.accept.ok_or_else(|| missing("ACCEPT"))?,
            confirm: self.confirm.ok_or_else(|| missing("CONFIRM"))?,
            ack: self.ack,
            arrived: self.arrived,
            boarded: self.boarded,
            complete: self.complete,
            cosign: self.cosign,
            void: self.void,
            release: self.release,
            no_shows: self.no_shows,
            disputes: self.disputes,
            ratings: self.ratings,
            certs,
        })
    }
}
