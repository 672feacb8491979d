//! Bytes on the network.
//!
//! Parsing here *is* validation: a value of one of these types was canonical, within
//! every bound of the protocol and complete when it was read. What it does not say is
//! whether it is true. That is in the types, too:
//!
//! ```text
//! bytes ── Header::peek ──▶ Header          the envelope, cheaply (P13.7, 1 to 4)
//!       ── Signed::decode ─▶ Signed<T>       well formed; anybody may have written it
//!       ── Signed::verify ─▶ Verified<T>     really signed, for this network, as this kind
//! ```
//!
//! Only a signature check and the secret key itself make a [`Verified`]. No state of a
//! node may advance before there is one (P2.9). [`AnyStatement`] and [`AnyVerified`] are
//! the same two stages for a kind that is not known beforehand, and [`Heard`] goes through
//! them once for many hosts in one process. What "really signed" means is in
//! [`Signatures`]: [`Ed25519`], unless a simulation says otherwise.
//!
//! A statement is declared once, as a struct whose fields are its table in the protocol,
//! in the order of the wire and with their bounds; reading and writing follow from it.
//! Whatever is read is written again and compared, so that one value has one encoding
//! (P2.4). The received bytes stay with the value and are what is stored, forwarded and
//! shown (P2.10).
//!
//! `Debug` prints no place, address, contact, free text or secret, here as everywhere.
//!
//! There is no clock here, no randomness and no I/O. Clause numbers such as `P2.4` refer
//! to `docs/protocol.md`.
#![forbid(unsafe_code)]

mod any;
mod chain;
mod claim;
mod codec;
mod envelope;
mod error;
pub mod evidence;
mod fare;
mod frame;
mod hash;
mod heard;
mod kind;
pub mod limits;
mod place;
mod receipt;
mod signatures;
mod signed;
mod statements;
mod topic;

pub use any::{AnyStatement, AnyVerified};
pub use claim::SlotClaim;
pub use ed25519_dalek::SigningKey;
pub use envelope::{Header, NetworkId, VERSION};
pub use error::DecodeError;
pub use fare::{
    Figures, FinalFare, LATE_GRACE, cancel_fee, check_complete, fare_limit, final_fare, items_total,
    no_show_fee, tariff_of,
};
pub use frame::{Attachment, Frame, FrameContent, FrameTooLong, Opening, Position, pad, unpad};
pub use hash::{Purpose, agreement_id, board_hash, commit, pow_ok, pow_search, prefixed, tariff_hash};
pub use heard::Heard;
pub use kind::Kind;
pub use place::{DropPlace, PickupPlace, VehicleCard};
pub use receipt::{ClaimGrade, Receipt, ReceiptFacts};
pub use signatures::{Ed25519, SignatureTag, Signatures, SimulatedSignatures};
pub use signed::{Body, Signed, Verified};
pub use statements::{
    Accept, AcceptMode, Ack, Address, Arrived, BoardAsk, Boarded, ChainAsk, Complete, Confirm, Cosign,
    Counter, Credential, CredentialMode, Dispute, DriverOffer, DriverTerms, EnRoute, EndReason, Evidence,
    EvidenceKind, Extensions, FareItem, FareKind, Invite, ItemCode, NoShow, OfferStatus, Outcome, Prev,
    Rating, Reject, RejectReason, Release, Replacement, Replaces, Request, Revocation, RideState, RiderOffer,
    RiderTerms, Role, Roles, ShiftCert, Status, StatusEntry, Void,
};
pub use topic::{Subject, Topic, TopicError, message_id};
