//! Who stands behind a key: the certificates that come with a receipt or with evidence
//! (P16.1, P16.2, P8.9).

use hailmesh_types::{PublicKey, StatementId, Timestamp};

use crate::{
    AnyStatement, AnyVerified, Credential, CredentialMode, DecodeError, NetworkId, Role, ShiftCert,
    Signatures, Verified,
};

/// A certificate whose signature has been checked.
#[derive(Debug, Clone)]
pub(crate) enum Cert {
    /// Of an issuer.
    Credential(Verified<Credential>),
    /// Of an identity key.
    Shift(Verified<ShiftCert>),
}

impl Cert {
    /// Reads and verifies a certificate of this network.
    pub(crate) fn read(
        bytes: &[u8],
        network: NetworkId,
        signatures: &dyn Signatures,
    ) -> Result<Self, DecodeError> {
        let statement = AnyStatement::decode(bytes)?;
        check_readable(&statement, network)?;
        Self::of(statement.verify_with(signatures)?)
    }

    /// A verified statement as a certificate.
    pub(crate) fn of(statement: AnyVerified) -> Result<Self, DecodeError> {
        match statement {
            AnyVerified::Credential(credential) => Ok(Self::Credential(credential)),
            AnyVerified::ShiftCert(cert) => Ok(Self::Shift(cert)),
            other => Err(DecodeError::new("P16.1", format!("a {} is no certificate", other.kind()))),
        }
    }

    pub(crate) fn id(&self) -> StatementId {
        match self {
            Self::Credential(credential) => credential.id(),
            Self::Shift(cert) => cert.id(),
        }
    }

    pub(crate) fn subject(&self) -> &PublicKey {
        match self {
            Self::Credential(credential) => &credential.body().subject,
            Self::Shift(cert) => &cert.body().subject,
        }
    }
}

/// Refuses a statement of another network, and one with an extension that version 1 must
/// understand and does not (P2.11).
pub(crate) fn check_readable(statement: &AnyStatement, network: NetworkId) -> Result<(), DecodeError> {
    let kind = statement.kind();
    if statement.network() != network {
        return Err(DecodeError::new(
            "P2.7",
            format!("a {kind} of another network: {:?}", statement.network()),
        ));
    }
    match statement.ext().unknown_critical() {
        None => Ok(()),
        Some(id) => Err(DecodeError::new("P2.11", format!("a {kind} with the critical extension {id:#06x}"))),
    }
}

/// Who vouches for the key of a party.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The identity behind a shift or ride key.
    pub(crate) identity: Option<PublicKey>,
    /// The issuer that vouches for the identity, or for the key itself.
    pub(crate) issuer: Option<PublicKey>,
}

/// Follows the chain from `leaf` and checks that it stands for `key` in `role` at the
/// moment `at` (P8.9). A certificate that is missing is no error: nothing stands behind
/// the key then.
pub(crate) fn standing<'c>(
    find: impl Fn(&StatementId) -> Option<&'c Cert>,
    leaf: Option<&StatementId>,
    key: &PublicKey,
    role: Role,
    at: Timestamp,
    issuers: &[PublicKey],
) -> Result<Standing, DecodeError> {
    let Some(leaf) = leaf.and_then(&find) else {
        return Ok(Standing::default());
    };
    if leaf.subject() != key {
        return Err(DecodeError::new("P16.2", format!("a certificate for another key than the {role}'s")));
    }
    match leaf {
        Cert::Credential(credential) => {
            check_credential(credential, CredentialMode::Pseudonymous, role, issuers)?;
            covers(credential.body().from, credential.body().until, at, role)?;
            Ok(Standing { identity: None, issuer: Some(*credential.signer()) })
        }
        Cert::Shift(cert) => {
            let body = cert.body();
            if body.role != role {
                let found = body.role;
                return Err(DecodeError::new(
                    "P16.2",
                    format!("a certificate for a {found}: expected a {role}"),
                ));
            }
            covers(body.from, body.until, at, role)?;
            let identity = Some(*cert.signer());
            let Some(above) = body.cred_id.as_ref().and_then(&find) else {
                return Ok(Standing { identity, issuer: None });
            };
            let Cert::Credential(credential) = above else {
                return Err(DecodeError::new("P16.2", "cred_id names a SHIFT_CERT"));
            };
            if credential.body().subject != *cert.signer() {
                return Err(DecodeError::new("P16.2", "a credential for another identity"));
            }
            check_credential(credential, CredentialMode::Accountable, role, issuers)?;
            if body.from < credential.body().from || body.until > credential.body().until {
                return Err(DecodeError::new("P16.2", "a certificate that outlasts its credential"));
            }
            Ok(Standing { identity, issuer: Some(*credential.signer()) })
        }
    }
}

fn check_credential(
    credential: &Verified<Credential>,
    mode: CredentialMode,
    role: Role,
    issuers: &[PublicKey],
) -> Result<(), DecodeError> {
    let body = credential.body();
    if body.mode != mode {
        return Err(DecodeError::new(
            "P16.1",
            format!("a credential that is {}: expected {mode}", body.mode),
        ));
    }
    if !body.roles.allows(role) {
        return Err(DecodeError::new("P16.1", format!("a credential that is not for a {role}")));
    }
    if issuers.is_empty() || issuers.contains(credential.signer()) {
        Ok(())
    } else {
        Err(DecodeError::new("P16.1", format!("{} is no issuer of this node", credential.signer())))
    }
}

fn covers(from: Timestamp, until: Timestamp, at: Timestamp, role: Role) -> Result<(), DecodeError> {
    if (from..=until).contains(&at) {
        Ok(())
    } else {
        let (from, until, at) = (from.as_millis(), until.as_millis(), at.as_millis());
        let what = format!("the {role}'s certificate of {from} to {until} does not cover {at}");
        Err(DecodeError::new("P8.9", what))
    }
}
