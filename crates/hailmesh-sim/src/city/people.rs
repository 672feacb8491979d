//! What people tell each other face to face, without any network: they stand beside the
//! same car.

use hailmesh_types::AgreementId;

use crate::roads::Junction;

/// Something one person tells or shows another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// A driver to the rider it came for: I am here.
    Here(Arrival),
    /// The rider to the driver: what its node says is the boarding code, or the secret
    /// behind the QR code.
    Code {
        /// Of which agreement.
        agreement: AgreementId,
        /// Six digits, or 26 characters.
        code: String,
    },
    /// The rider to the driver: I am no longer waiting for you.
    Gone {
        /// Of which agreement.
        agreement: AgreementId,
    },
    /// The driver to the rider: we are there.
    There {
        /// When, milliseconds.
        at_ms: u64,
    },
}

/// A car at a pickup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The agreement that brought it.
    pub(super) agreement: AgreementId,
    /// When it came, milliseconds.
    pub(super) at_ms: u64,
    /// Where it set out.
    pub(super) set_out: Junction,
    /// Road to the pickup, metres.
    pub(super) drive_m: u32,
    /// Drive to the pickup, milliseconds.
    pub(super) drive_ms: u32,
    /// The driver's node could not read the code: show the secret.
    pub(super) show_secret: bool,
}

/// How long one waits for an answer of the other before one repeats oneself.
pub(super) const REPEAT_MS: u64 = 2_000;
