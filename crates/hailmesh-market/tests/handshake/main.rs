//! The two tables of the handshake (P6, P7), a clause at a time: what is written and what is
//! sent for every event in every state, and for statements of somebody else.
//!
//! The model check looks at what follows from the tables; this says what stands in them.

mod driver;
mod rider;

use hailmesh_types::{PublicKey, StatementId};

/// A statement for every number.
const fn id(number: u8) -> StatementId {
    StatementId::from_bytes([number; 32])
}

/// A key for every number.
fn key(number: u8) -> PublicKey {
    ed25519_dalek::SigningKey::from_bytes(&[number; 32]).verifying_key().into()
}
