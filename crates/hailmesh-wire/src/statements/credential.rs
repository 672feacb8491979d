//! Who may, and who broke the rules: CREDENTIAL, SHIFT_CERT, REVOCATION, EVIDENCE
//! (P4.8, P16, P18).

use hailmesh_types::{Class, Hash, PublicKey, StatementId, Timestamp};

use super::{Certs, Extensions, body};
use crate::DecodeError;
use crate::codec::{Bytes, Codec, List, Listed, Reader, U8, Writer, codes, record};
use crate::limits::STATEMENT_BYTES_MAX;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Longest life of a REVOCATION.
const REVOCATION_MS_MAX: u64 = 35 * DAY_MS;

codes! {
    /// Which rule a key broke (P18.1).
    pub enum EvidenceKind {
        /// Two ACCEPTs for one slot.
        E1 = 1 "E1",
        /// Two CONFIRMs for one slot.
        E2 = 2 "E2",
        /// Firm, then denied.
        E3 = 3 "E3",
        /// A forked chain.
        E4a = 4 "E4a",
        /// A borrowed release.
        E4b = 5 "E4b",
        /// A false boarding.
        E4c = 6 "E4c",
        /// A void statement.
        E4d = 7 "E4d",
        /// Bait and switch: another tariff.
        E5a = 8 "E5a",
        /// Bait and switch: another fare. Never gossiped.
        E5b = 9 "E5b",
        /// Two offers with one sequence number.
        E6 = 10 "E6",
        /// Two shifts at once.
        E7 = 11 "E7",
        /// Contradictory ends.
        E8 = 12 "E8",
        /// A slot promised twice, shown by a public head.
        E9 = 13 "E9",
    }
}

record! {
    /// Proof that a key broke the rules (P18).
    pub struct Evidence ("P4.8") {
        /// Which rule.
        pub kind: EvidenceKind,
        /// Who.
        pub accused: PublicKey,
        /// 1 to 3 statements.
        pub statements: Vec<Vec<u8>> as List<Bytes<STATEMENT_BYTES_MAX>, 1, 3>,
        /// At most 2 certificates of the accused.
        pub certs: Vec<Vec<u8>> as Certs,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(undated Evidence);

record! {
    /// Credentials that an issuer takes back (P16.1).
    pub struct Revocation ("P4.8", check_revocation) {
        /// Rising per issuer: the newest counts.
        pub seq: u64,
        /// When it was made.
        pub issued: Timestamp,
        /// How long it counts, at most 35 d after `issued`.
        pub until: Timestamp,
        /// At most 256, ascending.
        pub serials: Vec<u64> as List<u64, 0, 256>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(dated Revocation);

fn check_revocation(revocation: &Revocation) -> Result<(), DecodeError> {
    check_window("P4.8", revocation.issued, revocation.until, REVOCATION_MS_MAX)?;
    match revocation.serials.windows(2).find(|pair| pair[0] >= pair[1]) {
        None => Ok(()),
        Some(pair) => {
            Err(DecodeError::new("P4.8", format!("serial {} after {}: they must ascend", pair[1], pair[0])))
        }
    }
}

/// Checks that a window does not end before it begins nor lasts too long.
fn check_window(
    clause: &'static str,
    from: Timestamp,
    until: Timestamp,
    ms_max: u64,
) -> Result<(), DecodeError> {
    if until < from {
        let (from, until) = (from.as_millis(), until.as_millis());
        return Err(DecodeError::new(clause, format!("until {until} before {from}")));
    }
    match until.millis_since(from) {
        lasts if lasts <= ms_max => Ok(()),
        lasts => Err(DecodeError::new(clause, format!("lasts {lasts} ms: at most {ms_max} are allowed"))),
    }
}

codes! {
    /// How a credential names its subject (P16.1).
    pub enum CredentialMode {
        /// The subject is an identity key: at most 30 d.
        Accountable = 1 "accountable",
        /// The subject is a shift or ride key: at most 48 h.
        Pseudonymous = 2 "pseudonymous",
    }
}

impl CredentialMode {
    /// Longest life of such a credential, milliseconds.
    #[must_use]
    pub const fn life_ms_max(self) -> u64 {
        match self {
            Self::Accountable => 30 * DAY_MS,
            Self::Pseudonymous => 48 * HOUR_MS,
        }
    }
}

codes! {
    /// A side of the market.
    pub enum Role {
        /// Who drives.
        Driver = 1 "driver",
        /// Who rides.
        Rider = 2 "rider",
    }
}

/// The roles that a credential is for: one or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Roles(u8);

impl Roles {
    /// Only driving.
    pub const DRIVER: Self = Self(1);
    /// Only riding.
    pub const RIDER: Self = Self(2);
    /// Both.
    pub const BOTH: Self = Self(3);

    /// Whether this role is among them.
    #[must_use]
    pub const fn allows(self, role: Role) -> bool {
        // The code of a role is its bit.
        self.0 & role.code() != 0
    }

    /// The bits on the wire: 0 driver, 1 rider.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl Codec for Roles {
    type Value = Self;

    fn write(value: &Self, out: &mut Writer) {
        out.uint(u64::from(value.0));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        U8::<1, 3>::read(input).map(Self)
    }
}

record! {
    /// An issuer vouches for a key (P16.1).
    pub struct Credential ("P4.8", check_credential) {
        /// What a REVOCATION names.
        pub serial: u64,
        /// When it was made.
        pub issued: Timestamp,
        /// What kind of key the subject is.
        pub mode: CredentialMode,
        /// The key.
        pub subject: PublicKey,
        /// What for.
        pub roles: Roles,
        /// Valid from here
        pub from: Timestamp,
        /// to here: at most 30 d when accountable, 48 h when pseudonymous.
        pub until: Timestamp,
        /// Classes of vehicle, at most 8; none: not restricted.
        pub classes: Vec<Class> as Listed<Class, 8>,
        /// Salted commitment to the vehicle.
        pub vehicle_commit: Option<Hash>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(dated Credential);

fn check_credential(credential: &Credential) -> Result<(), DecodeError> {
    check_window("P16.1", credential.from, credential.until, credential.mode.life_ms_max())
}

codes! {
    /// What became of the key that a certificate replaces (P16.3).
    pub enum Replacement {
        /// Every slot of it has ended.
        Closed = 1 "closed",
        /// It is lost, with whatever was live under it: counted.
        Lost = 2 "lost",
    }
}

record! {
    /// The certificate that a new one replaces (P16.3).
    pub struct Replaces ("P4.8", check_replaces) {
        /// Which one; absent, with a lost key: every one issued earlier.
        pub cert: Option<StatementId>,
        /// What became of its key.
        pub how: Replacement,
    }
}

fn check_replaces(replaces: &Replaces) -> Result<(), DecodeError> {
    if replaces.how == Replacement::Closed && replaces.cert.is_none() {
        return Err(DecodeError::new("P16.3", "a closed key without the certificate it had"));
    }
    Ok(())
}

record! {
    /// An identity key vouches for a shift or ride key (P16.2).
    pub struct ShiftCert ("P4.8", check_shift_cert) {
        /// Chosen by the identity.
        pub serial: u64,
        /// When it was made.
        pub issued: Timestamp,
        /// The shift or ride key.
        pub subject: PublicKey,
        /// What for.
        pub role: Role,
        /// Valid from here
        pub from: Timestamp,
        /// to here: at most 12 h for drivers, 24 h for riders.
        pub until: Timestamp,
        /// The CREDENTIAL of the identity.
        pub cred_id: Option<StatementId>,
        /// What it replaces.
        pub replaces: Option<Replaces>,
        /// Extensions.
        pub ext: Extensions,
    }
}
body!(dated ShiftCert);

fn check_shift_cert(cert: &ShiftCert) -> Result<(), DecodeError> {
    let hours = match cert.role {
        Role::Driver => 12,
        Role::Rider => 24,
    };
    check_window("P4.8", cert.from, cert.until, hours * HOUR_MS)
}
