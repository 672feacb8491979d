//! Admission on the evidence topic (P13.8), and what evidence does (P18).

use std::collections::BTreeMap;

use hailmesh_types::{PeerKey, PublicKey, Timestamp};
use hailmesh_wire::{Evidence, EvidenceKind, Revocation, Signed};

use super::{Admission, EvidenceCheck, News, Stop};
use crate::book::OfferBook;
use crate::certificates::CertRefusal;
use crate::index::Author;

/// Which evidence is known, by accused identity and kind. At most a limit.
#[derive(Debug, Clone)]
pub(super) struct EvidenceTable {
    limit: usize,
    known: BTreeMap<(Author, u8), Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    /// An issuer vouches for the accused.
    is_vouched: bool,
    at: Timestamp,
}

impl EvidenceTable {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, known: BTreeMap::new() }
    }

    fn contains(&self, subject: &PublicKey, kind: EvidenceKind) -> bool {
        self.known.contains_key(&(*subject.as_bytes(), kind.code()))
    }

    /// Whether one more finds room, if need be in the place of one against a key that
    /// nobody vouches for.
    fn has_room(&self) -> bool {
        self.known.len() < self.limit || self.known.values().any(|known| !known.is_vouched)
    }

    fn insert(&mut self, now: Timestamp, subject: &PublicKey, kind: EvidenceKind, is_vouched: bool) {
        let subject = (*subject.as_bytes(), kind.code());
        if let Some(known) = self.known.get_mut(&subject) {
            known.is_vouched |= is_vouched;
            return;
        }
        if self.known.len() >= self.limit {
            let worthless = self.known.iter().filter(|(_, known)| !known.is_vouched);
            let Some(oldest) = worthless.min_by_key(|(_, known)| known.at).map(|(subject, _)| *subject)
            else {
                return;
            };
            self.known.remove(&oldest);
        }
        self.known.insert(subject, Known { is_vouched, at: now });
    }

    /// Forgets what is older than this against keys that nobody vouches for.
    pub(super) fn expire(&mut self, before: Timestamp) {
        self.known.retain(|_, known| known.is_vouched || known.at > before);
    }
}

/// Whether evidence of this kind bans for good, or for a while (P18.1).
const fn is_permanent(kind: EvidenceKind) -> bool {
    use EvidenceKind::{E1, E2, E3, E4a, E4b, E4c, E4d, E5a, E5b, E6, E7, E8, E9};
    match kind {
        E1 | E2 | E3 | E4a | E4b | E4c | E7 | E9 => true,
        E4d | E5a | E5b | E6 | E8 => false,
    }
}

impl Admission {
    /// Whether evidence of this kind against this identity or key is known already.
    #[must_use]
    pub fn knows_evidence(&self, subject: &PublicKey, kind: EvidenceKind) -> bool {
        self.evidence.contains(subject, kind)
    }

    /// Draws the default consequence of evidence that holds (P18.1, P18.3): the identity
    /// behind the accused, else the accused key, is banned, for good or for a day by
    /// the kind, and only for a day when no issuer vouches for it. Returns until when,
    /// none for a ban for good; to be stored by the caller.
    pub fn punish(
        &mut self,
        now: Timestamp,
        accused: &PublicKey,
        identity: Option<&PublicKey>,
        is_credentialed: bool,
        kind: EvidenceKind,
    ) -> Option<Timestamp> {
        let subject = identity.unwrap_or(accused);
        let until =
            if is_permanent(kind) && is_credentialed { None } else { Some(now + self.config.limits.refusal) };
        let is_vouched = is_credentialed && self.credentials_matter();
        self.bans.ban(now, subject, until, is_vouched);
        self.evidence.insert(now, subject, kind, is_vouched);
        until
    }

    pub(super) fn admit_evidence(
        &mut self,
        book: &mut OfferBook,
        now: Timestamp,
        source: PeerKey,
        statement: &Signed<Evidence>,
        check: EvidenceCheck<'_>,
        news: &mut Vec<News>,
    ) -> Stop {
        match self.try_evidence(book, now, source, statement, check) {
            Ok(admitted) => {
                news.push(admitted);
                Stop::None
            }
            Err(stop) => stop,
        }
    }

    fn try_evidence(
        &mut self,
        book: &mut OfferBook,
        now: Timestamp,
        source: PeerKey,
        statement: &Signed<Evidence>,
        check: EvidenceCheck<'_>,
    ) -> Result<News, Stop> {
        let body = statement.body();
        // E5b shows the rider's cells and is never gossiped (P18.1).
        if body.kind == EvidenceKind::E5b {
            return Err(Stop::EvidenceWrong);
        }
        let chain =
            self.certificates.stand_behind(&body.accused, &body.certs).map_err(|refusal| match refusal {
                CertRefusal::Unsupported(_) => Stop::CertificateExtension,
                _ => Stop::EvidenceWrong,
            })?;
        let booked = book.standing_of(&body.accused);
        // Only an identity that an issuer vouches for takes the blame of its keys: any
        // other could be put in front to shield the guilty one.
        let shown = Some((chain.standing.identity, chain.standing.level));
        let backed = [shown, booked].into_iter().flatten().find(|(_, level)| level.is_credentialed());
        let (is_backed, identity) = (backed.is_some(), backed.and_then(|(identity, _)| identity));
        let subject = identity.unwrap_or(body.accused);
        if self.evidence.contains(&subject, body.kind) {
            return Err(Stop::EvidenceKnown);
        }
        if !is_backed && !book.knows(&body.accused) {
            return Err(Stop::EvidenceIrrelevant);
        }
        if !self.evidence.has_room() {
            return Err(Stop::Full);
        }
        if !(self.peers_evidence.take(&source, now)
            && self.evidence_rate.has_token(self.config.limits.evidence_rate, now))
        {
            return Err(Stop::EvidenceRate);
        }
        check(body).map_err(|_| Stop::EvidenceWrong)?;
        chain.verify(&*self.signatures).map_err(|_| Stop::EvidenceWrong)?;
        let statement = statement.clone().verify_with(&*self.signatures).map_err(|_| Stop::Signature)?;
        self.evidence_rate.take(self.config.limits.evidence_rate, now);
        self.certificates.keep(chain);
        let body = statement.body();
        self.punish(now, &body.accused, identity.as_ref(), is_backed, body.kind);
        self.purge(book, now);
        Ok(News::Evidence(statement))
    }

    pub(super) fn admit_revocation(
        &mut self,
        book: &mut OfferBook,
        now: Timestamp,
        source: PeerKey,
        statement: &Signed<Revocation>,
        news: &mut Vec<News>,
    ) -> Stop {
        let body = statement.body();
        let is_current = body.issued <= now + self.config.limits.clock_tolerance && now <= body.until;
        if !is_current || !self.certificates.is_news(statement) {
            return Stop::RevocationIrrelevant;
        }
        if !(self.peers_evidence.take(&source, now)
            && self.evidence_rate.has_token(self.config.limits.evidence_rate, now))
        {
            return Stop::EvidenceRate;
        }
        let Ok(revocation) = statement.clone().verify_with(&*self.signatures) else {
            return Stop::Signature;
        };
        self.evidence_rate.take(self.config.limits.evidence_rate, now);
        self.certificates.revoke(&revocation);
        self.purge(book, now);
        news.push(News::Revocation(revocation));
        Stop::None
    }
}
