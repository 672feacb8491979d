//! The enumerations of P3.6 and P4.

use crate::codec::{codes, open_codes};

codes! {
    /// How a slot ended (P3.6).
    pub enum Outcome {
        /// There is no earlier slot.
        None = 0 "NONE",
        /// No CONFIRM came during the hold.
        HoldLapsed = 1 "HOLD_LAPSED",
        /// The rider released it before any CONFIRM.
        NotChosen = 2 "NOT_CHOSEN",
        /// The rider released a firm agreement.
        RiderReleased = 3 "RIDER_RELEASED",
        /// The driver cancelled: counted.
        DriverCancelled = 4 "DRIVER_CANCELLED",
        /// Both signed the final fare.
        Completed = 5 "COMPLETED",
        /// The other side ended it first, by VOID.
        CounterpartyVoid = 6 "COUNTERPARTY_VOID",
        /// The rider was in doubt for too long.
        NoAck = 7 "NO_ACK",
        /// Ended after boarding without the other's signature.
        CompletedUnilateral = 8 "COMPLETED_UNILATERAL",
        /// A claim that the other side did not come: counted.
        NoShowClaimed = 9 "NO_SHOW_CLAIMED",
        /// The rider cancelled.
        RiderCancelled = 10 "RIDER_CANCELLED",
        /// The key replaces a lost one: counted.
        KeyReplaced = 11 "KEY_REPLACED",
    }
}

impl Outcome {
    /// What the user is shown (last column of P3.6). Nothing for NONE; for
    /// COUNTERPARTY_VOID the VOID's own outcome says more.
    #[must_use]
    pub const fn shown_as(self) -> Option<RideState> {
        Some(match self {
            Self::None => return None,
            Self::HoldLapsed => RideState::Expired,
            Self::NotChosen | Self::NoAck => RideState::Released,
            Self::RiderReleased | Self::DriverCancelled | Self::RiderCancelled | Self::KeyReplaced => {
                RideState::Cancelled
            }
            Self::Completed | Self::CompletedUnilateral => RideState::Completed,
            Self::CounterpartyVoid => RideState::Void,
            Self::NoShowClaimed => RideState::NoShow,
        })
    }
}

open_codes! {
    /// Why something is not done (P4.9), in REJECT and REFUSED.
    pub enum RejectReason {
        /// Engaged with somebody else.
        Busy = 1 "busy",
        /// The slot asked for is not open yet.
        SlotAhead = 2 "slot_ahead",
        /// Too late.
        Expired = 3 "expired",
        /// What it refers to is not known here.
        Unknown = 4 "unknown",
        /// The fare does not fit.
        Tariff = 5 "tariff",
        /// The class of vehicle does not fit.
        Class = 6 "class",
        /// Too many seats.
        Seats = 7 "seats",
        /// Too far away.
        TooFar = 8 "too_far",
        /// A rule of the node.
        Policy = 9 "policy",
        /// The credential does not suffice.
        Credential = 10 "credential",
        /// Too often.
        Rate = 11 "rate",
        /// It does not keep the protocol.
        Bad = 12 "bad",
        /// It is over.
        Ended = 13 "ended",
        /// Not in this version.
        Unsupported = 14 "unsupported",
    }
}

open_codes! {
    /// Why somebody ends an agreement (P4.9), in VOID and RELEASE.
    pub enum EndReason {
        /// The user wants it.
        User = 1 "user",
        /// The other side cannot be reached.
        Unreachable = 2 "unreachable",
        /// The other side is late.
        Late = 3 "late",
        /// The exact place lies outside the cell that was named.
        PlaceMismatch = 4 "place_mismatch",
        /// It is another vehicle.
        VehicleMismatch = 5 "vehicle_mismatch",
        /// No agreement on the fare.
        FareDispute = 6 "fare_dispute",
        /// Safety.
        Safety = 7 "safety",
        /// The node stops.
        Shutdown = 8 "shutdown",
    }
}

codes! {
    /// What has become of an agreement, as STATUS says it (P4.10) and users see it.
    pub enum RideState {
        /// Asked for.
        Requested = 1 "requested",
        /// The driver is bound.
        Held = 2 "held",
        /// The rider is bound, too.
        Committed = 3 "committed",
        /// Both know.
        Firm = 4 "firm",
        /// The driver is on its way.
        EnRoute = 5 "en_route",
        /// The driver is there.
        Arrived = 6 "arrived",
        /// The rider is on board.
        InProgress = 7 "in_progress",
        /// The ride is over.
        Completed = 8 "completed",
        /// Somebody cancelled.
        Cancelled = 9 "cancelled",
        /// The rider let go.
        Released = 10 "released",
        /// The driver said that it is not so.
        Void = 11 "void",
        /// Somebody is said not to have come.
        NoShow = 12 "no_show",
        /// The hold ran out.
        Expired = 13 "expired",
        /// The driver said no.
        Declined = 14 "declined",
        /// Not known to the one who says it.
        Unknown = 15 "unknown",
    }
}

impl RideState {
    /// Whether the ride is wanted or under way.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Requested
                | Self::Held
                | Self::Committed
                | Self::Firm
                | Self::EnRoute
                | Self::Arrived
                | Self::InProgress
        )
    }

    /// Whether nothing more can come of the ride; of an unknown one nothing is said.
    #[must_use]
    pub const fn is_over(self) -> bool {
        !self.is_open() && !matches!(self, Self::Unknown)
    }
}

codes! {
    /// Who decides on requests (P4.3).
    pub enum AcceptMode {
        /// The node does.
        Auto = 1 "auto",
        /// A human is asked.
        Ask = 2 "ask",
    }
}

codes! {
    /// What the fare in an ACCEPT means (P4.6).
    pub enum FareKind {
        /// It is the fare, before waiting.
        Fixed = 1 "fixed",
        /// It is the most that the measured ride may cost, before waiting.
        Metered = 2 "metered",
    }
}

codes! {
    /// What an item of the final fare is for (P4.11).
    pub enum ItemCode {
        /// Getting in.
        Base = 1 "base",
        /// Distance.
        Distance = 2 "distance",
        /// Time under way.
        Time = 3 "time",
        /// What surge adds.
        Surge = 4 "surge",
        /// What lifts the ride to the minimum.
        MinimumTopUp = 5 "minimum_top_up",
        /// Waiting.
        Waiting = 6 "waiting",
        /// Tolls and agreed additions.
        Extra = 7 "extra",
        /// Subtracted.
        Discount = 8 "discount",
    }
}
