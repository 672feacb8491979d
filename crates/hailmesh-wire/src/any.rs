//! A statement whose kind is not known beforehand.

use std::sync::Arc;

use hailmesh_types::{PublicKey, StatementId, Timestamp};

use crate::envelope::Header;
use crate::signatures::{Ed25519, Signatures};
use crate::statements::{
    Accept, Ack, Arrived, BoardAsk, Boarded, ChainAsk, Complete, Confirm, Cosign, Counter, Credential,
    Dispute, DriverOffer, EnRoute, Evidence, Invite, NoShow, Rating, Reject, Release, Request, Revocation,
    RiderOffer, ShiftCert, Status, Void,
};
use crate::{Body, DecodeError, Extensions, Kind, NetworkId, Signed, Verified};

macro_rules! any {
    ($($kind:ident),* $(,)?) => {
        /// A well-formed statement of any kind. **Its signature is not checked.**
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each variant is the statement of its name")]
        pub enum AnyStatement {
            $( $kind(Signed<$kind>), )*
        }

        /// A statement of any kind that its signer has really signed.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each variant is the statement of its name")]
        pub enum AnyVerified {
            $( $kind(Verified<$kind>), )*
        }

        impl AnyStatement {
            /// Reads a statement of any kind.
            ///
            /// # Errors
            /// The first clause that the bytes break.
            pub fn decode(bytes: impl Into<Arc<[u8]>>) -> Result<Self, DecodeError> {
                let bytes = bytes.into();
                let header = Header::peek(&bytes)?;
                Self::decode_peeked(bytes, header)
            }

            /// Reads the rest of a statement from the header that [`Header::peek`] found
            /// in the same bytes.
            ///
            /// # Errors
            /// The first clause that the bytes break.
            pub fn decode_peeked(bytes: Arc<[u8]>, header: Header) -> Result<Self, DecodeError> {
                match header.kind()? {
                    $( Kind::$kind => Signed::from_header(bytes, header).map(Self::$kind), )*
                }
            }

            /// Checks the signature (P2.5, P2.8).
            ///
            /// # Errors
            /// P2.5 when it does not fit.
            pub fn verify(self) -> Result<AnyVerified, DecodeError> {
                self.verify_with(&Ed25519)
            }

            /// As [`AnyStatement::verify`] with these signatures.
            ///
            /// # Errors
            /// P2.5 when it does not fit.
            pub fn verify_with(self, signatures: &dyn Signatures) -> Result<AnyVerified, DecodeError> {
                match self {
                    $( Self::$kind(statement) => statement.verify_with(signatures).map(AnyVerified::$kind), )*
                }
            }
        }

        impl AnyVerified {
            /// Reads a statement that this node has verified or signed before, and
            /// verifies it again.
            ///
            /// # Errors
            /// As [`AnyStatement::decode`] and [`AnyStatement::verify`].
            pub fn from_own_journal(
                bytes: impl Into<Arc<[u8]>>,
                signatures: &dyn Signatures,
            ) -> Result<Self, DecodeError> {
                AnyStatement::decode(bytes)?.verify_with(signatures)
            }

            /// The statement without the proof.
            #[must_use]
            pub fn into_statement(self) -> AnyStatement {
                match self {
                    $( Self::$kind(statement) => AnyStatement::$kind(statement.into_signed()), )*
                }
            }
        }

        any!(@accessors AnyStatement: $($kind),*);
        any!(@accessors AnyVerified: $($kind),*);

        $(
            impl From<Signed<$kind>> for AnyStatement {
                fn from(statement: Signed<$kind>) -> Self {
                    Self::$kind(statement)
                }
            }

            impl From<Verified<$kind>> for AnyVerified {
                fn from(statement: Verified<$kind>) -> Self {
                    Self::$kind(statement)
                }
            }

            impl TryFrom<AnyStatement> for Signed<$kind> {
                type Error = DecodeError;

                fn try_from(statement: AnyStatement) -> Result<Self, DecodeError> {
                    match statement {
                        AnyStatement::$kind(statement) => Ok(statement),
                        other => Err(wrong_kind(other.kind(), Kind::$kind)),
                    }
                }
            }

            impl TryFrom<AnyVerified> for Verified<$kind> {
                type Error = DecodeError;

                fn try_from(statement: AnyVerified) -> Result<Self, DecodeError> {
                    match statement {
                        AnyVerified::$kind(statement) => Ok(statement),
                        other => Err(wrong_kind(other.kind(), Kind::$kind)),
                    }
                }
            }
        )*
    };
    (@accessors $any:ident: $($kind:ident),*) => {
        impl $any {
            /// Its kind.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self {
                    $( Self::$kind(_) => Kind::$kind, )*
                }
            }

            /// The key that signed, or is said to have.
            #[must_use]
            pub fn signer(&self) -> &PublicKey {
                match self {
                    $( Self::$kind(statement) => statement.signer(), )*
                }
            }

            /// The network it was signed for.
            #[must_use]
            pub fn network(&self) -> NetworkId {
                match self {
                    $( Self::$kind(statement) => statement.network(), )*
                }
            }

            /// Its name (P2.6).
            #[must_use]
            pub fn id(&self) -> StatementId {
                match self {
                    $( Self::$kind(statement) => statement.id(), )*
                }
            }

            /// The envelope as received.
            #[must_use]
            pub fn bytes(&self) -> &Arc<[u8]> {
                match self {
                    $( Self::$kind(statement) => statement.bytes(), )*
                }
            }

            /// The addressee of a direct statement.
            #[must_use]
            pub fn to(&self) -> Option<&PublicKey> {
                match self {
                    $( Self::$kind(statement) => statement.body().to(), )*
                }
            }

            /// When it says to have been made; EVIDENCE does not say.
            #[must_use]
            pub fn issued(&self) -> Option<Timestamp> {
                match self {
                    $( Self::$kind(statement) => statement.body().issued(), )*
                }
            }

            /// Its extensions (P2.11).
            #[must_use]
            pub fn ext(&self) -> &Extensions {
                match self {
                    $( Self::$kind(statement) => statement.body().ext(), )*
                }
            }
        }
    };
}

any! {
    DriverOffer, RiderOffer, Request, Accept, Confirm, Ack, Void, Release, Reject, Counter, Status, Invite, ChainAsk,
    EnRoute, Arrived, BoardAsk, Boarded, Complete, Cosign, NoShow, Dispute, Rating, Evidence, Revocation, Credential,
    ShiftCert,
}

fn wrong_kind(found: Kind, expected: Kind) -> DecodeError {
    DecodeError::new("P4.1", format!("a {found}: expected a {expected}"))
}
