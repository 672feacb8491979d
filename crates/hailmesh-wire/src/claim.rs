//! What is left of a driver's offer when it is over.

use std::fmt;
use std::sync::Arc;

use hailmesh_types::{PublicKey, StatementId};

use crate::signatures::Signatures;
use crate::statements::DriverOffer;
use crate::{DecodeError, Verified};

/// What a driver's offer says of its author's slots (P4.2), with the bytes that prove it:
/// all that later offers and ACCEPTs are compared with (P18, E6 and E9), in a third of the
/// memory of the offer.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotClaim {
    signer: PublicKey,
    seq: u64,
    slot: u64,
    head: Option<StatementId>,
    bytes: Arc<[u8]>,
}

impl SlotClaim {
    /// That of an offer; [`Verified::slot_claim`] makes it once.
    pub(crate) fn of(offer: &Verified<DriverOffer>) -> Self {
        let body = offer.body();
        let (signer, bytes) = (*offer.signer(), Arc::clone(offer.bytes()));
        Self { signer, seq: body.seq, slot: body.slot, head: body.head, bytes }
    }

    /// Whose slots.
    #[must_use]
    pub const fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// The sequence number of the offer.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The open slot.
    #[must_use]
    pub const fn slot(&self) -> u64 {
        self.slot
    }

    /// The ACCEPT that is said to have bound the slot before.
    #[must_use]
    pub const fn head(&self) -> Option<&StatementId> {
        self.head.as_ref()
    }

    /// The offer itself, read and verified again.
    ///
    /// # Errors
    /// P2.5 when `signatures` are not those with which it was verified before.
    pub fn offer(&self, signatures: &dyn Signatures) -> Result<Verified<DriverOffer>, DecodeError> {
        Verified::from_own_journal(Arc::clone(&self.bytes), signatures)
    }
}

impl fmt::Debug for SlotClaim {
    /// Not the bytes: an offer in them shows where somebody is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotClaim")
            .field("signer", &self.signer)
            .field("seq", &self.seq)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}
