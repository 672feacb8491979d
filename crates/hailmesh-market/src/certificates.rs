//! Certificates: who stands behind a key (P16).
//!
//! Two shapes count. *Accountable*: an issuer's CREDENTIAL names an identity key, whose
//! SHIFT_CERT names the key that signs. *Pseudonymous*: the CREDENTIAL names the signing
//! key itself. A SHIFT_CERT without a credential names an identity and no more.
//!
//! Checking is in two parts, because admission has cheap checks to make in between:
//! `Certificates::resolve` looks only at bytes and tables and changes nothing,
//! `Chain::verify` pays for signatures, and only then `Certificates::keep` remembers.

use std::collections::BTreeMap;

use hailmesh_types::{Class, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{
    AnyStatement, Body, Credential, CredentialMode, DecodeError, NetworkId, Revocation, Role, ShiftCert,
    Signatures, Signed, Verified,
};

use crate::index::Author;
use crate::table::{HashKey, Keyed, Register};

/// How far somebody is known here (P16.4). Local policy, not consensus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing but a proof of work.
    #[default]
    L0,
    /// This node itself holds a co-signed receipt with the identity.
    L1,
    /// A credential of a configured issuer.
    L2,
    /// That, and co-signed receipts with at least three credentialed counterparties.
    L3,
}

impl Level {
    /// Whether an issuer vouches.
    #[must_use]
    pub fn is_credentialed(self) -> bool {
        self >= Self::L2
    }

    /// `L0` to `L3`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::L0 => "L0",
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
        }
    }
}

/// What certificates say of the signer of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// How far it is known.
    pub level: Level,
    /// The identity key behind a SHIFT_CERT. Without one the key stands for itself.
    pub identity: Option<PublicKey>,
    /// Classes of vehicle the credential is for; none: not restricted.
    pub classes: Vec<Class>,
    /// A certificate that is named and not known here: until it is, the signer counts
    /// as uncredentialed (P13.7, step 13).
    pub missing: Option<StatementId>,
}

/// Why certificates do not stand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertRefusal {
    /// Their own bytes, or those of the statement they came with, are at odds: whoever
    /// passed it on could have known (P13.7, step 12).
    #[error("certificate: {0}")]
    Invalid(DecodeError),
    /// The statement is at odds with a certificate that is known here and did not come
    /// along: whoever passed it on need not know that one, so that it is not to blame
    /// (P13.6).
    #[error("certificate that is known here: {0}")]
    NotShown(DecodeError),
    /// A critical extension that this version does not know (P2.11).
    #[error("certificate with the unknown critical extension {0:#06x}")]
    Unsupported(u16),
    /// It ended before now by this node's clock (P13.7, step 13).
    #[error("certificate ended at {} ms", .0.as_millis())]
    Expired(Timestamp),
    /// Its issuer has taken it back (P16.1).
    #[error("credential {0} is revoked")]
    Revoked(u64),
    /// A signature does not fit (P13.7, step 15).
    #[error("certificate: {0}")]
    Signature(DecodeError),
}

fn invalid(clause: &'static str, what: impl Into<String>) -> CertRefusal {
    CertRefusal::Invalid(DecodeError::new(clause, what))
}

impl CertRefusal {
    /// The same, as seen by somebody who knows only what came along.
    fn unless_shown(self, shown: bool) -> Self {
        match self {
            Self::Invalid(error) if !shown => Self::NotShown(error),
            other => other,
        }
    }
}

/// A certificate, verified when it comes from the cache.
#[derive(Debug, Clone)]
enum Certificate {
    Shift(Signed<ShiftCert>),
    Credential(Signed<Credential>),
}

impl Certificate {
    fn of(statement: AnyStatement) -> Result<Self, CertRefusal> {
        match statement {
            AnyStatement::ShiftCert(cert) => Ok(Self::Shift(cert)),
            AnyStatement::Credential(credential) => Ok(Self::Credential(credential)),
            other => Err(invalid("P4.3", format!("a {} where a certificate belongs", other.kind()))),
        }
    }

    fn id(&self) -> &StatementId {
        match self {
            Self::Shift(cert) => cert.id_ref(),
            Self::Credential(credential) => credential.id_ref(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shift(cert) => cert.bytes(),
            Self::Credential(credential) => credential.bytes(),
        }
    }

    fn verify(&self, signatures: &dyn Signatures) -> Result<(), DecodeError> {
        match self {
            Self::Shift(cert) => cert.clone().verify_with(signatures).map(|_| ()),
            Self::Credential(credential) => credential.clone().verify_with(signatures).map(|_| ()),
        }
    }
}

/// Certificates that were seen before: a leaf and its credential.
type Known = [Option<StatementId>; 2];

/// What the certificates of a statement claim, before their signatures are checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    /// What holds if the signatures do.
    pub standing: Standing,
    /// The SHIFT_CERT of the bearer.
    leaf: Option<Signed<ShiftCert>>,
    /// Not seen before: to be verified, then kept.
    fresh: Vec<Certificate>,
    /// Seen before: used again.
    known: Known,
}

impl Chain {
    /// The SHIFT_CERT of the bearer: who signed it is the identity.
    pub(crate) const fn leaf(&self) -> Option<&Signed<ShiftCert>> {
        self.leaf.as_ref()
    }

    /// How many signatures [`Chain::verify`] will check.
    pub(crate) fn cost(&self) -> usize {
        self.fresh.len()
    }

    /// Checks the signatures of what was not seen before.
    pub(crate) fn verify(&self, signatures: &dyn Signatures) -> Result<(), CertRefusal> {
        let verify = |certificate: &Certificate| certificate.verify(signatures);
        self.fresh.iter().try_for_each(verify).map_err(CertRefusal::Signature)
    }
}

/// The statement that certificates came with.
#[derive(Clone, Copy)]
pub(crate) struct Bearer<'a> {
    pub signer: &'a PublicKey,
    pub role: Role,
    pub issued: Timestamp,
    pub cert_id: Option<StatementId>,
    pub certs: Inline<'a>,
    /// The verified SHIFT_CERT of the last statement of this signer, as far as it is at
    /// hand: nearly always the same.
    pub last: Option<&'a Signed<ShiftCert>>,
}

/// Certificates as they came.
#[derive(Clone, Copy)]
pub(crate) struct Inline<'a> {
    pub bytes: &'a [Vec<u8>],
    /// Reads the one of this index.
    pub read: &'a dyn Fn(usize) -> Result<AnyStatement, DecodeError>,
}

/// What an issuer has taken back: the newest list only.
#[derive(Debug, Clone)]
struct Withdrawn {
    seq: u64,
    /// Ascending.
    serials: Vec<u64>,
}

/// Verified certificates, revocations, issuers, and what this node knows of identities
/// from its own receipts.
#[derive(Debug, Clone)]
pub struct Certificates {
    network: NetworkId,
    issuers: Vec<PublicKey>,
    cache: Cache,
    revocations: BTreeMap<Author, Withdrawn>,
    familiar: BTreeMap<Author, Level>,
    familiar_max: usize,
}

impl Certificates {
    pub(crate) fn new(
        network: NetworkId,
        issuers: Vec<PublicKey>,
        limit: usize,
        familiar_max: usize,
        hash_key: HashKey,
    ) -> Self {
        Self {
            network,
            issuers,
            cache: Cache::new(limit, hash_key),
            revocations: BTreeMap::new(),
            familiar: BTreeMap::new(),
            familiar_max,
        }
    }

    /// The configured issuers.
    #[must_use]
    pub fn issuers(&self) -> &[PublicKey] {
        &self.issuers
    }

    /// Verified certificates kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether no certificate is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// The bytes of a certificate that has been verified here, for whoever lacks it.
    #[must_use]
    pub fn bytes_of(&self, id: &StatementId) -> Option<&[u8]> {
        self.cache.peek(id).map(Certificate::bytes)
    }

    /// Remembers what this node's receipts say of an identity: L1 when it has ridden
    /// with it, L3 when three credentialed counterparties have. L0 forgets. When the
    /// table is full new identities are not remembered.
    pub fn remember(&mut self, identity: &PublicKey, level: Level) {
        if level == Level::L0 {
            self.familiar.remove(identity.as_bytes());
        } else if self.familiar.len() < self.familiar_max || self.familiar.contains_key(identity.as_bytes()) {
            self.familiar.insert(*identity.as_bytes(), level);
        }
    }

    fn level(&self, key: &PublicKey, credentialed: bool) -> Level {
        match (credentialed, self.familiar.get(key.as_bytes()).copied().unwrap_or_default()) {
            (true, Level::L3) => Level::L3,
            (true, _) => Level::L2,
            (false, Level::L0) => Level::L0,
            (false, _) => Level::L1,
        }
    }

    /// The identity behind a certificate that is known here.
    pub(crate) fn identity_of(&self, cert_id: Option<&StatementId>) -> Option<&PublicKey> {
        match self.cache.peek(cert_id?)? {
            Certificate::Shift(cert) => Some(cert.signer()),
            Certificate::Credential(_) => None,
        }
    }

    /// What the certificates of a statement claim. Looks at bytes and tables only and
    /// changes nothing: the signatures are still to be checked.
    pub(crate) fn resolve(&self, now: Timestamp, bearer: &Bearer<'_>) -> Result<Chain, CertRefusal> {
        let Some(leaf_id) = bearer.cert_id else {
            let standing = Standing { level: self.level(bearer.signer, false), ..Standing::default() };
            return Ok(Chain { standing, ..Chain::default() });
        };
        let last = bearer.last.filter(|last| *last.id_ref() == leaf_id);
        let mut gathered = match last {
            // Known, and nothing else came along.
            Some(_) if bearer.certs.bytes.is_empty() => Gathered::default(),
            _ => self.gather(&bearer.certs, Some(&leaf_id))?,
        };
        let leaf_shown = gathered.holds(leaf_id);
        if !leaf_shown && !bearer.certs.bytes.is_empty() {
            // Also where it is known here: others could not make sense of what came along.
            return Err(invalid("P4.3", "cert_id names none of the certificates"));
        }
        let leaf = match last {
            Some(last) if bearer.certs.bytes.is_empty() => Some(Certificate::Shift(last.clone())),
            _ => gathered.take(self, leaf_id),
        };
        let mut shift = None;
        let standing = match leaf {
            None => Standing {
                level: self.level(bearer.signer, false),
                missing: Some(leaf_id),
                ..Standing::default()
            },
            Some(Certificate::Credential(credential)) => self
                .pseudonymous(now, bearer, &credential)
                .map_err(|refusal| refusal.unless_shown(leaf_shown))?,
            Some(Certificate::Shift(cert)) => {
                check_bearer(&cert, bearer).map_err(|refusal| refusal.unless_shown(leaf_shown))?;
                let named = cert.body().cred_id;
                let credential_shown = leaf_shown && named.is_none_or(|id| gathered.holds(id));
                let credential = match named.and_then(|id| gathered.take(self, id)) {
                    Some(Certificate::Credential(credential)) => Some(credential),
                    Some(Certificate::Shift(_)) => {
                        let refusal = invalid("P4.8", "cred_id names no credential");
                        return Err(refusal.unless_shown(credential_shown));
                    }
                    None => None,
                };
                let standing = self
                    .accountable(now, bearer, &cert, credential.as_ref())
                    .map_err(|refusal| refusal.unless_shown(credential_shown))?;
                shift = Some(cert);
                standing
            }
        };
        if !gathered.left.is_empty() {
            return Err(invalid("P4.3", "a certificate that the leaf does not need"));
        }
        Ok(Chain { standing, leaf: shift, fresh: gathered.fresh, known: gathered.known })
    }

    /// Remembers a chain whose signatures have been checked.
    pub(crate) fn keep(&mut self, chain: Chain) {
        for id in chain.known.into_iter().flatten() {
            self.cache.touch(&id);
        }
        for certificate in chain.fresh {
            self.cache.insert(certificate);
        }
    }

    /// Reads what came inline; what is known byte for byte is not read again.
    fn gather(&self, certs: &Inline<'_>, leaf: Option<&StatementId>) -> Result<Gathered, CertRefusal> {
        let known_leaf = leaf.and_then(|id| self.cache.peek(id));
        let known_credential = match known_leaf {
            Some(Certificate::Shift(cert)) => cert.body().cred_id.as_ref().and_then(|id| self.cache.peek(id)),
            _ => None,
        };
        let mut gathered = Gathered::default();
        for (index, bytes) in certs.bytes.iter().enumerate() {
            let mut expected = [known_leaf, known_credential].into_iter().flatten();
            if let Some(known) = expected.find(|known| known.bytes() == bytes.as_slice()) {
                gathered.left.push((known.clone(), false));
                continue;
            }
            let read = (certs.read)(index).map_err(CertRefusal::Invalid)?;
            let certificate = Certificate::of(read)?;
            let (network, critical) = match &certificate {
                Certificate::Shift(cert) => (cert.network(), cert.body().ext().unknown_critical()),
                Certificate::Credential(cred) => (cred.network(), cred.body().ext().unknown_critical()),
            };
            if network != self.network {
                return Err(invalid("P2.1", "a certificate of another network"));
            }
            if let Some(id) = critical {
                return Err(CertRefusal::Unsupported(id));
            }
            let seen =
                self.cache.peek(certificate.id()).is_some_and(|known| known.bytes() == bytes.as_slice());
            gathered.left.push((certificate, !seen));
        }
        Ok(gathered)
    }

    fn pseudonymous(
        &self,
        now: Timestamp,
        bearer: &Bearer<'_>,
        credential: &Signed<Credential>,
    ) -> Result<Standing, CertRefusal> {
        let body = credential.body();
        if body.mode != CredentialMode::Pseudonymous {
            return Err(invalid("P16.1", "an accountable credential without a SHIFT_CERT"));
        }
        check_subject(&body.subject, bearer.signer)?;
        check_covers(body.from, body.until, bearer.issued)?;
        check_roles(credential, bearer.role)?;
        let credentialed = self.check_issuer(now, credential)?;
        let classes = body.classes.clone();
        Ok(Standing {
            level: self.level(bearer.signer, credentialed),
            identity: None,
            classes,
            missing: None,
        })
    }

    /// What a SHIFT_CERT that [`check_bearer`] has let through is worth.
    fn accountable(
        &self,
        now: Timestamp,
        bearer: &Bearer<'_>,
        cert: &Signed<ShiftCert>,
        credential: Option<&Signed<Credential>>,
    ) -> Result<Standing, CertRefusal> {
        let body = cert.body();
        let identity = *cert.signer();
        let mut standing = Standing { identity: Some(identity), ..Standing::default() };
        let mut credentialed = false;
        if let Some(credential) = credential {
            let vouched = credential.body();
            if vouched.mode != CredentialMode::Accountable {
                return Err(invalid("P16.1", "a pseudonymous credential behind a SHIFT_CERT"));
            }
            check_subject(&vouched.subject, &identity)?;
            check_roles(credential, bearer.role)?;
            if body.from < vouched.from || body.until > vouched.until {
                return Err(invalid("P16.2", "the certificate's window is not inside its credential's"));
            }
            credentialed = self.check_issuer(now, credential)?;
            standing.classes.clone_from(&vouched.classes);
        } else {
            standing.missing = body.cred_id;
        }
        if now > body.until {
            return Err(CertRefusal::Expired(body.until));
        }
        standing.level = self.level(&identity, credentialed);
        Ok(standing)
    }

    /// Whether an issuer that counts here vouches and has not taken it back.
    fn check_issuer(&self, now: Timestamp, credential: &Signed<Credential>) -> Result<bool, CertRefusal> {
        let body = credential.body();
        if now > body.until {
            return Err(CertRefusal::Expired(body.until));
        }
        if self.is_revoked(credential.signer(), body.serial) {
            return Err(CertRefusal::Revoked(body.serial));
        }
        Ok(self.issuers.contains(credential.signer()))
    }

    fn is_revoked(&self, issuer: &PublicKey, serial: u64) -> bool {
        let list = self.revocations.get(issuer.as_bytes());
        list.is_some_and(|list| list.serials.binary_search(&serial).is_ok())
    }

    /// Whether a revocation is by a configured issuer and newer than what is known
    /// (P13.8).
    #[must_use]
    pub(crate) fn is_news(&self, revocation: &Signed<Revocation>) -> bool {
        let known = self.revocations.get(revocation.signer().as_bytes());
        self.issuers.contains(revocation.signer())
            && known.is_none_or(|known| known.seq < revocation.body().seq)
    }

    /// Takes over a verified revocation that [`Certificates::is_news`].
    pub(crate) fn revoke(&mut self, revocation: &Verified<Revocation>) {
        let list = Withdrawn { seq: revocation.body().seq, serials: revocation.body().serials.clone() };
        self.revocations.insert(*revocation.signer().as_bytes(), list);
    }

    /// Whether the credential behind a known certificate has been taken back.
    pub(crate) fn leads_to_revoked(&self, cert_id: Option<&StatementId>) -> bool {
        if self.revocations.is_empty() {
            return false;
        }
        let credential = match cert_id.and_then(|id| self.cache.peek(id)) {
            Some(Certificate::Shift(cert)) => cert.body().cred_id.as_ref().and_then(|id| self.cache.peek(id)),
            known => known,
        };
        match credential {
            Some(Certificate::Credential(credential)) => {
                self.is_revoked(credential.signer(), credential.body().serial)
            }
            _ => false,
        }
    }

    /// The identity behind evidence, and whether a configured issuer vouches for it: the
    /// certificates lead from the accused to a credential, whenever they were valid,
    /// since what is shown may be old. Signatures are still to be checked.
    pub(crate) fn stand_behind(&self, accused: &PublicKey, certs: &[Vec<u8>]) -> Result<Chain, CertRefusal> {
        let read = |index: usize| AnyStatement::decode(certs[index].as_slice());
        let gathered = self.gather(&Inline { bytes: certs, read: &read }, None)?;
        let mut chain = Chain::default();
        let mut subject = *accused;
        for (certificate, _) in &gathered.left {
            if let Certificate::Shift(cert) = certificate
                && cert.body().subject == *accused
            {
                subject = *cert.signer();
                chain.standing.identity = Some(subject);
            }
        }
        let vouches = |(certificate, _): &(Certificate, bool)| match certificate {
            Certificate::Credential(credential) => {
                credential.body().subject == subject && self.issuers.contains(credential.signer())
            }
            Certificate::Shift(_) => false,
        };
        chain.standing.level = self.level(&subject, gathered.left.iter().any(vouches));
        for (certificate, is_fresh) in gathered.left {
            if is_fresh {
                chain.fresh.push(certificate);
            }
        }
        Ok(chain)
    }
}

/// Whether a SHIFT_CERT is one for the signer of the statement, whoever vouches for it.
fn check_bearer(cert: &Signed<ShiftCert>, bearer: &Bearer<'_>) -> Result<(), CertRefusal> {
    let body = cert.body();
    check_subject(&body.subject, bearer.signer)?;
    if body.role != bearer.role {
        return Err(invalid("P16.2", format!("a {} certificate for a {}", body.role, bearer.role)));
    }
    check_covers(body.from, body.until, bearer.issued)
}

fn check_subject(subject: &PublicKey, expected: &PublicKey) -> Result<(), CertRefusal> {
    if subject == expected {
        Ok(())
    } else {
        Err(invalid("P16.2", format!("for {subject}: expected {expected}")))
    }
}

fn check_covers(from: Timestamp, until: Timestamp, issued: Timestamp) -> Result<(), CertRefusal> {
    if (from..=until).contains(&issued) {
        return Ok(());
    }
    let (from, until, issued) = (from.as_millis(), until.as_millis(), issued.as_millis());
    Err(invalid("P16.2", format!("valid from {from} to {until} ms: the statement is of {issued} ms")))
}

fn check_roles(credential: &Signed<Credential>, role: Role) -> Result<(), CertRefusal> {
    if credential.body().roles.allows(role) {
        return Ok(());
    }
    Err(invalid(
        "P16.1",
        format!("a credential of roles {:#04b} for a {role}", credential.body().roles.bits()),
    ))
}

/// Certificates of one statement, being put in order.
#[derive(Default)]
struct Gathered {
    /// Inline and not placed yet, each with whether it must be verified.
    left: Vec<(Certificate, bool)>,
    fresh: Vec<Certificate>,
    known: Known,
}

impl Gathered {
    /// Whether the certificate with this id came along and is not placed yet.
    fn holds(&self, id: StatementId) -> bool {
        self.left.iter().any(|(certificate, _)| *certificate.id() == id)
    }

    /// The certificate with this id: inline, else from the cache.
    fn take(&mut self, certificates: &Certificates, id: StatementId) -> Option<Certificate> {
        if let Some(position) = self.left.iter().position(|(certificate, _)| *certificate.id() == id) {
            let (certificate, is_fresh) = self.left.swap_remove(position);
            if is_fresh {
                self.fresh.push(certificate.clone());
            } else {
                self.note(id);
            }
            return Some(certificate);
        }
        let certificate = certificates.cache.peek(&id)?.clone();
        self.note(id);
        Some(certificate)
    }

    fn note(&mut self, id: StatementId) {
        if let Some(place) = self.known.iter_mut().find(|place| place.is_none()) {
            *place = Some(id);
        }
    }
}

/// A certificate and when it was last used, as a count.
#[derive(Debug, Clone)]
struct Kept {
    certificate: Certificate,
    used: u64,
}

impl Keyed for Kept {
    fn key(&self) -> &[u8; 32] {
        self.certificate.id().as_bytes()
    }
}

/// Verified certificates, the least recently used going first.
#[derive(Debug, Clone)]
struct Cache {
    limit: usize,
    uses: u64,
    by_id: Register<Kept>,
}

impl Cache {
    const fn new(limit: usize, hash_key: HashKey) -> Self {
        Self { limit, uses: 0, by_id: Register::new(hash_key) }
    }

    fn len(&self) -> usize {
        self.by_id.len()
    }

    fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Looks without counting it as a use.
    fn peek(&self, id: &StatementId) -> Option<&Certificate> {
        self.by_id.get(id.as_bytes()).map(|kept| &kept.certificate)
    }

    fn touch(&mut self, id: &StatementId) {
        if let Some(kept) = self.by_id.get_mut(id.as_bytes()) {
            self.uses += 1;
            kept.used = self.uses;
        }
    }

    fn insert(&mut self, certificate: Certificate) {
        if self.by_id.len() >= self.limit && self.peek(certificate.id()).is_none() {
            // An eighth, so that a full cache is not looked through for every newcomer.
            self.by_id.drop_first((self.limit / 8).max(1), |kept| kept.used);
        }
        self.uses += 1;
        self.by_id.put(Kept { certificate, used: self.uses });
    }
}
