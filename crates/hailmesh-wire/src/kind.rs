//! The kinds of statement (P4.1).

use crate::codec::codes;
use crate::limits::{EVIDENCE_BYTES_MAX, PROOF_BYTES_MAX, STATEMENT_BYTES_MAX};

codes! {
    /// What a statement is.
    pub enum Kind {
        /// A driver is available.
        DriverOffer = 0x01 "DRIVER_OFFER",
        /// A rider wants a ride.
        RiderOffer = 0x02 "RIDER_OFFER",
        /// A rider asks a driver.
        Request = 0x10 "REQUEST",
        /// A driver binds itself for a short hold.
        Accept = 0x11 "ACCEPT",
        /// A rider binds itself.
        Confirm = 0x12 "CONFIRM",
        /// A driver says: firm.
        Ack = 0x13 "ACK",
        /// A driver ends a slot.
        Void = 0x14 "VOID",
        /// A rider ends a slot and frees the driver's.
        Release = 0x15 "RELEASE",
        /// No.
        Reject = 0x16 "REJECT",
        /// A driver names another fare.
        Counter = 0x17 "COUNTER",
        /// What a party knows of its agreements.
        Status = 0x18 "STATUS",
        /// A driver asks a rider to ask.
        Invite = 0x19 "INVITE",
        /// A rider asks for the ACCEPTs of other slots.
        ChainAsk = 0x1a "CHAIN_ASK",
        /// The driver is on its way.
        EnRoute = 0x20 "EN_ROUTE",
        /// The driver is there.
        Arrived = 0x21 "ARRIVED",
        /// The driver shows the code that the rider said.
        BoardAsk = 0x22 "BOARD_ASK",
        /// The driver shows the boarding secret.
        Boarded = 0x23 "BOARDED",
        /// The driver proposes the final fare.
        Complete = 0x24 "COMPLETE",
        /// The rider agrees to it.
        Cosign = 0x25 "COSIGN",
        /// The other side did not come.
        NoShow = 0x26 "NO_SHOW",
        /// Something is wrong.
        Dispute = 0x27 "DISPUTE",
        /// An opinion of the other side.
        Rating = 0x28 "RATING",
        /// Proof that a key broke the rules.
        Evidence = 0x30 "EVIDENCE",
        /// Credentials an issuer takes back.
        Revocation = 0x31 "REVOCATION",
        /// An issuer vouches for a key.
        Credential = 0x40 "CREDENTIAL",
        /// An identity key vouches for a shift or ride key.
        ShiftCert = 0x41 "SHIFT_CERT",
    }
}

impl Kind {
    /// Whether it is sent to one addressee, named at index 0 of the body.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        matches!(self.code(), 0x10..=0x2f)
    }

    /// Whether it is published on a topic (P13.1).
    #[must_use]
    pub const fn is_gossip(self) -> bool {
        matches!(self, Self::DriverOffer | Self::RiderOffer | Self::Evidence | Self::Revocation)
    }

    /// Most bytes of a statement of this kind (P4.1). RELEASE and COSIGN must fit into
    /// the next ACCEPT as its proof (P3.5): with a longer one a rider could leave a
    /// driver without a provable end of its slot.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Evidence | Self::Revocation => EVIDENCE_BYTES_MAX,
            Self::Release | Self::Cosign => PROOF_BYTES_MAX,
            _ => STATEMENT_BYTES_MAX,
        }
    }
}
