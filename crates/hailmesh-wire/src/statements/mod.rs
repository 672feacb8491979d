//! What statements say (P4). The order of the fields of each struct is the order on
//! the wire, and each declaration reads like its table in the protocol.

mod credential;
mod extensions;
mod handshake;
mod offer;
mod prev;
mod ride;
mod words;

pub use credential::{
    Credential, CredentialMode, Evidence, EvidenceKind, Replacement, Replaces, Revocation, Role,
};
pub use credential::{Roles, ShiftCert};
pub use extensions::Extensions;
pub use handshake::{Accept, Ack, ChainAsk, Confirm, Counter, Invite, Reject, Release, Request, Status};
pub use handshake::{StatusEntry, Void};
pub use offer::{Address, DriverOffer, DriverTerms, OfferStatus, RiderOffer, RiderTerms};
pub use prev::Prev;
pub use ride::{Arrived, BoardAsk, Boarded, Complete, Cosign, Dispute, EnRoute, FareItem, NoShow, Rating};
pub use words::{AcceptMode, EndReason, FareKind, ItemCode, Outcome, RejectReason, RideState};

use crate::codec::{Bytes, Listed};
use crate::limits::{ADDRS_MAX, CERT_BYTES_MAX, CERTS_MAX};

/// Optional addresses.
pub(crate) type Addrs = Listed<Address, ADDRS_MAX>;
/// Optional certificates.
pub(crate) type Certs = Listed<Bytes<CERT_BYTES_MAX>, CERTS_MAX>;

/// Makes a statement of a record. `direct` ones have `to` and `issued`, `dated` ones
/// only `issued`; some hold certificates.
macro_rules! body {
    (direct $name:ident) => {
        body!(@impl $name, |body| Some(&body.to), |body| Some(body.issued), |_body| &[]);
    };
    (direct $name:ident with certs) => {
        body!(@impl $name, |body| Some(&body.to), |body| Some(body.issued), |body| &body.certs);
    };
    (dated $name:ident) => {
        body!(@impl $name, |_body| None, |body| Some(body.issued), |_body| &[]);
    };
    (dated $name:ident with certs) => {
        body!(@impl $name, |_body| None, |body| Some(body.issued), |body| &body.certs);
    };
    (undated $name:ident) => {
        body!(@impl $name, |_body| None, |_body| None, |_body| &[]);
    };
    (
        @impl $name:ident, |$to_body:ident| $to:expr, |$issued_body:ident| $issued:expr,
        |$certs_body:ident| $certs:expr
    ) => {
        impl $crate::Body for $name {
            const KIND: $crate::Kind = $crate::Kind::$name;

            fn encode_body(&self) -> Vec<u8> {
                $crate::codec::encode::<Self>(self)
            }

            fn decode_body(bytes: &[u8]) -> Result<Self, $crate::DecodeError> {
                $crate::codec::decode::<Self>(bytes)
            }

            fn to(&self) -> Option<&hailmesh_types::PublicKey> {
                let $to_body = self;
                $to
            }

            fn issued(&self) -> Option<hailmesh_types::Timestamp> {
                let $issued_body = self;
                $issued
            }

            fn ext(&self) -> &$crate::Extensions {
                &self.ext
            }

            fn certs(&self) -> &[Vec<u8>] {
                let $certs_body = self;
                $certs
            }
        }
    };
}

pub(crate) use body;
