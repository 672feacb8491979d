//! Evidence (P18): statements that no honest party could have signed together.
//!
//! It is about a key, never about timing, and [`check`] judges it from its bytes alone.
//! Every statement in it is signed by the accused or named by id in one that is;
//! otherwise a stranger could frame an honest party. For the same reason whatever is
//! doubtful is not evidence: that no set of statements signed by an honest party is
//! accepted against it (S6) comes before catching every liar.

mod kinds;

use hailmesh_types::{PublicKey, StatementId};

use crate::chain::{Cert, check_readable};
use crate::{
    AnyStatement, AnyVerified, Body, DecodeError, Evidence, EvidenceKind, Extensions, Kind, NetworkId,
    Signatures,
};

/// What follows by default from evidence (P18.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing of the key is taken for 24 hours.
    Refuse24h,
    /// Nothing of it is ever taken again.
    PermanentBan,
}

/// What a piece of evidence shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// The key that signed what it must not have signed.
    pub accused: PublicKey,
    /// The identity key behind it, if the evidence holds its SHIFT_CERT: a ban hits both
    /// (P18.3). Anybody can make such a certificate for somebody else's key, so that
    /// hitting only the identity would let the accused choose whom it hits.
    pub identity: Option<PublicKey>,
    /// Who vouches for the identity, or for the key itself, if the evidence holds the
    /// CREDENTIAL. Whether that issuer counts is each node's configuration (P13.8).
    pub issuer: Option<PublicKey>,
    /// Which rule was broken.
    pub kind: EvidenceKind,
    /// What follows by default.
    pub severity: Severity,
    /// Whether it also counts against the reputation.
    pub counted: bool,
}

/// Whether evidence of this kind may be gossiped: E5b shows the rider's cells, so that it
/// never is.
#[must_use]
pub const fn gossipable(kind: EvidenceKind) -> bool {
    !matches!(kind, EvidenceKind::E5b)
}

/// The default consequence of a kind (P18.1).
#[must_use]
pub const fn severity(kind: EvidenceKind) -> Severity {
    match kind {
        EvidenceKind::E4d | EvidenceKind::E5a | EvidenceKind::E5b | EvidenceKind::E6 | EvidenceKind::E8 => {
            Severity::Refuse24h
        }
        EvidenceKind::E1
        | EvidenceKind::E2
        | EvidenceKind::E3
        | EvidenceKind::E4a
        | EvidenceKind::E4b
        | EvidenceKind::E4c
        | EvidenceKind::E7
        | EvidenceKind::E9 => Severity::PermanentBan,
    }
}

/// Whether a kind counts against the reputation besides its consequence (P18.1).
#[must_use]
pub const fn is_counted(kind: EvidenceKind) -> bool {
    matches!(kind, EvidenceKind::E5a | EvidenceKind::E5b | EvidenceKind::E6 | EvidenceKind::E8)
}

/// Judges evidence from its bytes alone: forms, network, signatures (about 40 µs each),
/// and the rule of its kind. The statements may come in any order.
///
/// # Errors
/// P2 for forms and signatures, P18.1 when what is there shows nothing, P16 when a
/// certificate does not belong to the accused.
pub fn check(
    evidence: &Evidence,
    network: NetworkId,
    signatures: &dyn Signatures,
) -> Result<Finding, DecodeError> {
    let statements = evidence
        .statements
        .iter()
        .map(|bytes| {
            let statement = AnyStatement::decode(bytes.as_slice())?;
            check_readable(&statement, network)?;
            Ok(statement)
        })
        .collect::<Result<Vec<_>, DecodeError>>()?;
    // What costs nothing comes before what costs 40 µs a statement.
    let outsides: Vec<Outside<'_>> = statements.iter().map(Outside::of).collect();
    kinds::check_shape(evidence.kind, &evidence.accused, &outsides)?;
    let statements = statements
        .into_iter()
        .map(|statement| statement.verify_with(signatures))
        .collect::<Result<Vec<AnyVerified>, DecodeError>>()?;
    kinds::check(evidence.kind, &evidence.accused, &statements, signatures)?;
    let (identity, issuer) = behind(evidence, network, signatures)?;
    Ok(Finding {
        accused: evidence.accused,
        identity,
        issuer,
        kind: evidence.kind,
        severity: severity(evidence.kind),
        counted: is_counted(evidence.kind),
    })
}

/// Whether verified statements of one network contradict each other as this kind says:
/// what [`check`] asks, without looking at their signatures again. Those of proofs inside
/// them are looked at.
#[must_use]
pub fn contradicts(
    kind: EvidenceKind,
    accused: &PublicKey,
    statements: &[AnyVerified],
    signatures: &dyn Signatures,
) -> bool {
    let outsides: Vec<Outside<'_>> = statements.iter().map(Outside::of_verified).collect();
    kinds::check_shape(kind, accused, &outsides).is_ok()
        && kinds::check(kind, accused, statements, signatures).is_ok()
}

/// Puts evidence together, to be signed with a throw-away key (P18.3). `statements` and
/// `certs` are envelopes.
///
/// # Errors
/// What [`check`] says: evidence that would not be accepted is not made. P4.8 when it does
/// not keep the bounds of an EVIDENCE.
pub fn build(
    kind: EvidenceKind,
    accused: PublicKey,
    statements: Vec<Vec<u8>>,
    certs: Vec<Vec<u8>>,
    network: NetworkId,
    signatures: &dyn Signatures,
) -> Result<Evidence, DecodeError> {
    let evidence = Evidence { kind, accused, statements, certs, ext: Extensions::NONE };
    // Whoever gets it reads it before judging it.
    Evidence::decode_body(&evidence.encode_body())?;
    check(&evidence, network, signatures)?;
    Ok(evidence)
}

/// What the rules ask of a statement before they read it.
struct Outside<'s> {
    kind: Kind,
    signer: &'s PublicKey,
    id: StatementId,
}

impl<'s> Outside<'s> {
    fn of(statement: &'s AnyStatement) -> Self {
        Self { kind: statement.kind(), signer: statement.signer(), id: statement.id() }
    }

    fn of_verified(statement: &'s AnyVerified) -> Self {
        Self { kind: statement.kind(), signer: statement.signer(), id: statement.id() }
    }
}

/// Identity and issuer behind the accused, from the certificates that came along.
fn behind(
    evidence: &Evidence,
    network: NetworkId,
    signatures: &dyn Signatures,
) -> Result<(Option<PublicKey>, Option<PublicKey>), DecodeError> {
    let refuse = |what: &str| Err(DecodeError::new("P16.2", what));
    let certs = evidence
        .certs
        .iter()
        .map(|bytes| Cert::read(bytes, network, signatures))
        .collect::<Result<Vec<_>, DecodeError>>()?;
    let leaf = match &certs[..] {
        [] => return Ok((None, None)),
        certs => certs.iter().position(|cert| *cert.subject() == evidence.accused),
    };
    let Some(leaf) = leaf else { return refuse("no certificate of the accused") };
    let above = certs.iter().enumerate().find(|(index, _)| *index != leaf).map(|(_, cert)| cert);
    match (&certs[leaf], above) {
        (Cert::Credential(credential), None) => Ok((None, Some(*credential.signer()))),
        (Cert::Credential(_), Some(_)) => refuse("a certificate besides the credential of the accused"),
        (Cert::Shift(cert), None) => Ok((Some(*cert.signer()), None)),
        (Cert::Shift(cert), Some(Cert::Credential(credential))) => {
            if credential.body().subject == *cert.signer() && cert.body().cred_id == Some(credential.id()) {
                Ok((Some(*cert.signer()), Some(*credential.signer())))
            } else {
                refuse("the credential is not the one that the certificate names")
            }
        }
        (Cert::Shift(_), Some(Cert::Shift(_))) => refuse("two certificates of the accused"),
    }
}
