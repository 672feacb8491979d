//! How the slot before ended (P3.5), and what of it can be checked on its face (P3.8).

use hailmesh_types::StatementId;

use super::{Cosign, Outcome, Release};
use crate::codec::{Bytes, record};
use crate::limits::PROOF_BYTES_MAX;
use crate::{DecodeError, Signatures, Signed};

/// The clause of everything that this file refuses.
const CLAUSE: &str = "P3.8";
/// Bytes of a boarding secret.
const SECRET_BYTES: usize = 16;

record! {
    /// How the previous slot of the same chain ended.
    ///
    /// Decoding checks its form only: one that is not valid on its face must still be
    /// readable, because it is evidence (E4d).
    pub struct Prev ("P3.5") {
        /// How it ended; NONE or KEY_REPLACED for slot 0.
        pub outcome: Outcome,
        /// The ACCEPT that bound it.
        pub accept_id: Option<StatementId>,
        /// In a driver's chain: the RELEASE or COSIGN that ended it, or the boarding
        /// secret. At most 320 bytes.
        pub proof: Option<Vec<u8>> as Option<Bytes<PROOF_BYTES_MAX>>,
    }
}

impl Prev {
    /// That of slot 0.
    pub const FIRST: Self = Self { outcome: Outcome::None, accept_id: None, proof: None };

    /// Whether this is valid on its face in the ACCEPT of `slot` (P3.8). A proof is
    /// decoded and its signature verified: about 40 µs for outcomes 2, 3 and 5.
    ///
    /// Who signed the proof is not known here; that it was the rider of the ACCEPT that
    /// `accept_id` names is for whoever has seen that one (E4b).
    ///
    /// # Errors
    /// P3.8 with what is wrong.
    pub fn check_driver(&self, slot: u64, signatures: &dyn Signatures) -> Result<(), DecodeError> {
        self.check_place(slot)?;
        match self.outcome {
            Outcome::NotChosen | Outcome::RiderReleased => {
                let release = Signed::<Release>::decode(self.proof()?)
                    .and_then(|release| release.verify_with(signatures))
                    .map_err(broken)?;
                self.names(release.body().accept_id)
            }
            Outcome::Completed => {
                let cosign = Signed::<Cosign>::decode(self.proof()?)
                    .and_then(|cosign| cosign.verify_with(signatures))
                    .map_err(broken)?;
                self.names(cosign.body().accept_id)
            }
            Outcome::CompletedUnilateral => match self.proof()?.len() {
                SECRET_BYTES => Ok(()),
                found => Err(refuse(format!("a boarding secret of {found} bytes: expected {SECRET_BYTES}"))),
            },
            Outcome::None
            | Outcome::HoldLapsed
            | Outcome::DriverCancelled
            | Outcome::NoShowClaimed
            | Outcome::KeyReplaced => self.without_proof(),
            Outcome::CounterpartyVoid | Outcome::NoAck | Outcome::RiderCancelled => {
                Err(refuse(format!("{} ends no slot of a driver", self.outcome)))
            }
        }
    }

    /// Whether this is valid on its face in the CONFIRM of `slot` (P3.8).
    ///
    /// # Errors
    /// P3.8 with what is wrong.
    pub fn check_rider(&self, slot: u64) -> Result<(), DecodeError> {
        self.check_place(slot)?;
        match self.outcome {
            Outcome::None
            | Outcome::Completed
            | Outcome::CounterpartyVoid
            | Outcome::NoAck
            | Outcome::CompletedUnilateral
            | Outcome::NoShowClaimed
            | Outcome::RiderCancelled => self.without_proof(),
            Outcome::HoldLapsed
            | Outcome::NotChosen
            | Outcome::RiderReleased
            | Outcome::DriverCancelled
            | Outcome::KeyReplaced => Err(refuse(format!("{} ends no slot of a rider", self.outcome))),
        }
    }

    /// What holds for both: slot 0 has no earlier one, every other has.
    fn check_place(&self, slot: u64) -> Result<(), DecodeError> {
        let is_first = matches!(self.outcome, Outcome::None | Outcome::KeyReplaced);
        if is_first != (slot == 0) {
            return Err(refuse(format!("outcome {} before slot {slot}", self.outcome)));
        }
        if self.accept_id.is_some() == is_first {
            let found = if is_first { "present" } else { "missing" };
            return Err(refuse(format!("accept_id is {found} with outcome {}", self.outcome)));
        }
        Ok(())
    }

    fn proof(&self) -> Result<&[u8], DecodeError> {
        self.proof.as_deref().ok_or_else(|| refuse(format!("outcome {} without its proof", self.outcome)))
    }

    fn without_proof(&self) -> Result<(), DecodeError> {
        match self.proof {
            None => Ok(()),
            Some(_) => Err(refuse(format!("a proof with outcome {}, which has none", self.outcome))),
        }
    }

    fn names(&self, accept_id: StatementId) -> Result<(), DecodeError> {
        if self.accept_id == Some(accept_id) {
            Ok(())
        } else {
            Err(refuse("the proof names another ACCEPT".to_owned()))
        }
    }
}

fn refuse(what: String) -> DecodeError {
    DecodeError::new(CLAUSE, format!("prev: {what}"))
}

fn broken(error: DecodeError) -> DecodeError {
    refuse(format!("the proof is broken: {error}"))
}
