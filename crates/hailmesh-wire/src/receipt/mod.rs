//! Receipts (P10): the statements of one agreement in one file, which proves what was
//! signed without a network and without any context.

mod facts;
mod parts;
mod verify;

use std::fmt;
use std::sync::Arc;

use hailmesh_types::{NetworkName, StatementId};

pub use self::facts::{ClaimGrade, ReceiptFacts};
use crate::codec::{self, Bytes, List, Listed, Secret, U8, record};
use crate::limits::{CERT_BYTES_MAX, OPENING_CONTENT_BYTES_MAX, RECEIPT_BYTES_MAX, STATEMENT_BYTES_MAX};
use crate::{AnyStatement, DecodeError, Kind, Opening, Purpose};

/// Fewest statements: DRIVER_OFFER, REQUEST, ACCEPT, CONFIRM (P10.2).
const STATEMENTS_MIN: usize = 4;
/// Most statements (P10.1).
const STATEMENTS_MAX: usize = 16;
/// Most certificates: two of each party (P10.1).
const CERTS_MAX: usize = 4;
/// Most openings: one of each purpose (P10.1).
const OPENINGS_MAX: usize = 3;

/// The order of the statements in a receipt (P10.2).
const ORDER: [Kind; 15] = [
    Kind::DriverOffer,
    Kind::Counter,
    Kind::Request,
    Kind::Accept,
    Kind::Confirm,
    Kind::Ack,
    Kind::Arrived,
    Kind::Boarded,
    Kind::Complete,
    Kind::Cosign,
    Kind::Void,
    Kind::Release,
    Kind::NoShow,
    Kind::Dispute,
    Kind::Rating,
];

/// Where a kind stands in a receipt; nothing when it does not belong there.
fn rank(kind: Kind) -> Option<usize> {
    ORDER.iter().position(|known| *known == kind)
}

/// Whether both parties may sign one, so that a receipt may hold several.
const fn is_either(kind: Kind) -> bool {
    matches!(kind, Kind::NoShow | Kind::Dispute | Kind::Rating)
}

/// The statements of one agreement, byte for byte. **Nothing of it is checked** before
/// [`Receipt::verify`].
///
/// `Debug` shows sizes only: openings hold exact places.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The network all of it was signed for.
    pub network: NetworkName,
    /// 4 to 16 envelopes in the order of P10.2.
    pub statements: Vec<Arc<[u8]>>,
    /// At most 4 envelopes of certificates of the two parties.
    pub certs: Vec<Arc<[u8]>>,
    /// At most one of each purpose; left out unless the holder wants to show them (P10.3).
    pub openings: Vec<(Purpose, Opening)>,
}

record! {
    /// A receipt as the file has it.
    struct RawReceipt ("P10.1") {
        /// The version of the container.
        version: u8 as U8<1, 1>,
        /// The name of the network.
        network: Vec<u8> as Bytes<16>,
        /// Envelopes.
        statements: Vec<Vec<u8>> as List<Bytes<STATEMENT_BYTES_MAX>, STATEMENTS_MIN, STATEMENTS_MAX>,
        /// Envelopes of certificates.
        certs: Vec<Vec<u8>> as Listed<Bytes<CERT_BYTES_MAX>, CERTS_MAX>,
        /// Openings.
        openings: Vec<RawOpening> as Listed<RawOpening, OPENINGS_MAX>,
    }
}

record! {
    /// An opening as the file has it.
    struct RawOpening ("P10.1") {
        /// Which commitment it opens.
        purpose: Purpose,
        /// Random.
        salt: [u8; 32] as Secret<32>,
        /// What was committed to.
        content: Vec<u8> as Bytes<OPENING_CONTENT_BYTES_MAX>,
    }
}

impl Receipt {
    /// Puts statements of one agreement, in any order, into the order of P10.2.
    ///
    /// Left out is what has no place in a receipt: other kinds, what does not decode,
    /// copies, an offer or COUNTER that the REQUEST does not name, a COMPLETE that is not the
    /// co-signed one (without a COSIGN: all but the last), and all but the first of every
    /// other kind that only one party signs. What
    /// would make the file too long goes from the end, never the agreement itself.
    #[must_use]
    pub fn assemble(
        network: NetworkName,
        statements: impl IntoIterator<Item = Arc<[u8]>>,
        certs: Vec<Arc<[u8]>>,
        openings: Vec<(Purpose, Opening)>,
    ) -> Self {
        let mut found: Vec<(usize, AnyStatement)> = Vec::new();
        for bytes in statements {
            let Ok(statement) = AnyStatement::decode(bytes) else { continue };
            let Some(rank) = rank(statement.kind()) else { continue };
            if !found.iter().any(|(_, known)| known.id() == statement.id()) {
                found.push((rank, statement));
            }
        }
        found.sort_by_key(|(rank, _)| *rank);
        let named = Named::in_statements(found.iter().map(|(_, statement)| statement));
        let last_complete =
            found.iter().rev().find(|(_, statement)| named.complete(statement)).map(|(_, s)| s.id());
        let mut seen = Vec::new();
        found.retain(|(_, statement)| {
            let kind = statement.kind();
            let is_wanted = match kind {
                Kind::DriverOffer => named.offer.is_none_or(|id| id == statement.id()),
                Kind::Counter => named.counter == Some(statement.id()),
                Kind::Complete => last_complete == Some(statement.id()),
                _ => true,
            };
            is_wanted && (is_either(kind) || !seen.contains(&kind)) && {
                seen.push(kind);
                true
            }
        });
        found.truncate(STATEMENTS_MAX);
        let statements = found.into_iter().map(|(_, statement)| Arc::clone(statement.bytes())).collect();
        let mut receipt = Self { network, statements, certs, openings };
        receipt.certs.truncate(CERTS_MAX);
        receipt.openings.sort_by_key(|(purpose, _)| *purpose);
        receipt.openings.dedup_by_key(|(purpose, _)| *purpose);
        while receipt.statements.len() > STATEMENTS_MIN && receipt.encode().len() > RECEIPT_BYTES_MAX {
            receipt.statements.pop();
        }
        receipt
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode::<RawReceipt>(&RawReceipt {
            version: 1,
            network: self.network.as_str().as_bytes().to_vec(),
            statements: self.statements.iter().map(|bytes| bytes.to_vec()).collect(),
            certs: self.certs.iter().map(|bytes| bytes.to_vec()).collect(),
            openings: self
                .openings
                .iter()
                .map(|(purpose, opening)| RawOpening {
                    purpose: *purpose,
                    salt: opening.salt,
                    content: opening.content.clone(),
                })
                .collect(),
        })
    }

    /// Reads the container. What it holds is not looked at.
    ///
    /// # Errors
    /// P2.2 to P2.4 when it is not the canonical encoding of a receipt, P10.1 when
    /// something in it is out of bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > RECEIPT_BYTES_MAX {
            let found = bytes.len();
            let what = format!("a receipt of {found} bytes: at most {RECEIPT_BYTES_MAX} are allowed");
            return Err(DecodeError::new("P10.1", what));
        }
        let raw = codec::decode::<RawReceipt>(bytes)?;
        let network = std::str::from_utf8(&raw.network)
            .map_err(|_| DecodeError::new("P2.12", "the name of the network is not UTF-8"))?
            .parse()
            .map_err(|error| DecodeError::new("P2.12", format!("{error}")))?;
        let opening = |raw: RawOpening| (raw.purpose, Opening { salt: raw.salt, content: raw.content });
        Ok(Self {
            network,
            statements: raw.statements.into_iter().map(Arc::from).collect(),
            certs: raw.certs.into_iter().map(Arc::from).collect(),
            openings: raw.openings.into_iter().map(opening).collect(),
        })
    }
}

/// What statements of an agreement say of which others belong to it.
#[derive(Default)]
struct Named {
    offer: Option<StatementId>,
    counter: Option<StatementId>,
    cosigned: Option<StatementId>,
}

impl Named {
    fn in_statements<'s>(statements: impl Iterator<Item = &'s AnyStatement>) -> Self {
        let mut named = Self::default();
        for statement in statements {
            match statement {
                AnyStatement::Request(request) => {
                    named.offer.get_or_insert(request.body().offer_id);
                    named.counter = named.counter.or(request.body().counter_id);
                }
                AnyStatement::Cosign(cosign) => {
                    named.cosigned.get_or_insert(cosign.body().complete_id);
                }
                _ => {}
            }
        }
        named
    }

    /// Whether this is a COMPLETE that may stand in the receipt.
    fn complete(&self, statement: &AnyStatement) -> bool {
        statement.kind() == Kind::Complete && self.cosigned.is_none_or(|id| id == statement.id())
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("network", &self.network)
            .field("statements", &self.statements.len())
            .field("certs", &self.certs.len())
            .field("openings", &self.openings.len())
            .finish()
    }
}
