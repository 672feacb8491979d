//! Protocol faults to be found: a check that finds nothing must show that it can.
//!
//! Each is a change to what the model does *around* the tables (what it feeds them, what
//! becomes durable, what is sent), or to what a table answered. The code that ships has
//! no switch.

/// One seeded fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// M1: what is signed is sent before it is durable.
    SendBeforePersist,
    /// M2: the outbox is not sent again.
    NoResend,
    /// M3: a lapse is not answered with VOID.
    SilentLapse,
    /// M4: a slot is used again after a lapse.
    SlotReused,
    /// M5: a rider in doubt moves on without signing RELEASE.
    NoRelease,
    /// M6: a driver accepts while it is HELD.
    AcceptWhileHeld,
    /// M7: a driver acknowledges after it recorded a lapse.
    AckAfterLapse,
    /// M8: a driver becomes firm on another rider's CONFIRM.
    AnyConfirm,
    /// M9: RELEASE frees the slot whatever it names and whoever signed it.
    AnyRelease,
    /// M10: a driver ends COMPLETED without a COSIGN.
    CompletedAlone,
    /// M11: STATUS is believed: a slot ends without a signed end.
    StatusBelieved,
    /// M12: restart from an old store without replacing the key.
    OldStore,
    /// M13: an ACCEPT that was turned down is confirmed later after all.
    ConfirmReleased,
    /// M14: ACK is taken from anybody who names the CONFIRM.
    AnyAck,
    /// M15: a driver cancels without signing VOID.
    SilentCancel,
    /// M16: the shift key is replaced while a slot is bound.
    RotateWhileBound,
    /// M17: the proof of a RELEASE is not kept.
    ProofLost,
    /// M18: FIRM is not made durable on the driver's side.
    FirmForgotten,
    /// M19: a COSIGN counts for whatever ride is under way.
    AnyCosign,
    /// M20: a rider sends what it signed before it is durable.
    RiderSendsFirst,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::SendBeforePersist,
        Self::NoResend,
        Self::SilentLapse,
        Self::SlotReused,
        Self::NoRelease,
        Self::AcceptWhileHeld,
        Self::AckAfterLapse,
        Self::AnyConfirm,
        Self::AnyRelease,
        Self::CompletedAlone,
        Self::StatusBelieved,
        Self::OldStore,
        Self::ConfirmReleased,
        Self::AnyAck,
        Self::SilentCancel,
        Self::RotateWhileBound,
        Self::ProofLost,
        Self::FirmForgotten,
        Self::AnyCosign,
        Self::RiderSendsFirst,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendBeforePersist => "M1 send before persist",
            Self::NoResend => "M2 no outbox resend",
            Self::SilentLapse => "M3 a lapse is not answered with VOID",
            Self::SlotReused => "M4 slot re-used after a lapse",
            Self::NoRelease => "M5 rider moves on without signing RELEASE",
            Self::AcceptWhileHeld => "M6 driver accepts while HELD",
            Self::AckAfterLapse => "M7 driver acknowledges after it recorded a lapse",
            Self::AnyConfirm => "M8 driver firm on another rider's CONFIRM",
            Self::AnyRelease => "M9 RELEASE frees the slot without matching ACCEPT and rider",
            Self::CompletedAlone => "M10 driver ends COMPLETED without a COSIGN",
            Self::StatusBelieved => "M11 STATUS is believed",
            Self::OldStore => "M12 restart from an old store without replacing the key",
            Self::ConfirmReleased => "M13 released ACCEPT confirmed later",
            Self::AnyAck => "M14 ACK taken from anybody",
            Self::SilentCancel => "M15 driver cancels without signing VOID",
            Self::RotateWhileBound => "M16 shift key replaced while bound",
            Self::ProofLost => "M17 proof of a RELEASE not kept",
            Self::FirmForgotten => "M18 driver's FIRM not durable",
            Self::AnyCosign => "M19 COSIGN of another ride counts",
            Self::RiderSendsFirst => "M20 rider sends before it persists",
        }
    }
}
