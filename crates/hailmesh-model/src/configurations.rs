//! The cities that are checked, small to large, and the one in which each fault shows.

use crate::mutant::Mutant;
use crate::world::Configuration;

/// Those of the test run: with the time they take all together in mind.
#[must_use]
pub fn quick() -> Vec<Configuration> {
    let one_one = Configuration::new("1x1", 1, 1);
    let one_two = Configuration::new("1x2", 1, 2);
    let two_one = Configuration::new("2x1", 2, 1);
    let two_two = Configuration::new("2x2", 2, 2);
    let cap = Some(1_000_000);
    vec![
        Configuration { name: "1x1 ride", cancel: true, ride: true, completes: 2, no_show: true, status: false, covers_everything: true, cap, ..one_one },
        Configuration { name: "1x1 talk c1", crashes: 1, invite: true, counter: true, status: true, cap, ..one_one },
        Configuration { name: "1x1 keys c2", crashes: 2, status: true, keys: true, cap, ..one_one },
        Configuration { name: "2x1 keys c1", crashes: 1, keys: true, rider_slots: 1, attempts: 1, cap, ..two_one },
        Configuration { name: "1x2 c1 s1", crashes: 1, attempts: 1, rider_slots: 1,  driver_slots: 1, cap, ..one_two },
        Configuration { name: "1x2 c1 rs2", crashes: 1, attempts: 2, rider_slots: 2,  driver_slots: 1, cap, ..one_two },
        Configuration { name: "2x1 c1 s1", crashes: 1, rider_slots: 1, attempts: 1, cap, ..two_one },
        Configuration { name: "2x1 bd c2", crashes: 2, byzantine_drivers: 1, rider_slots: 1, attempts: 1, cap, ..two_one },
        Configuration { name: "2x1 br c1", crashes: 1, byzantine_riders: 1, cap, ..two_one },
        Configuration { name: "2x2 s1 c1", crashes: 1, rider_slots: 1, driver_slots: 1, attempts: 1, cap, ..two_two },
        Configuration { name: "3x1 bb", riders: 3, byzantine_drivers: 1, byzantine_riders: 1, rider_slots: 1, attempts: 1, forged_accepts: 3, patient: true, cap, ..two_one },
    ]
}

/// Those of the slow command.
#[must_use]
pub fn deep() -> Vec<Configuration> {
    quick()
}

/// A city in which a fault shows soon.
#[must_use]
pub fn for_mutant(mutant: Mutant) -> Configuration {
    let one_one = Configuration::new("1x1", 1, 1);
    let two_one = Configuration::new("2x1", 2, 1);
    match mutant {
        Mutant::SendBeforePersist | Mutant::NoResend => Configuration { crashes: 1, ..two_one },
        Mutant::SilentLapse
        | Mutant::SlotReused
        | Mutant::NoRelease
        | Mutant::AcceptWhileHeld
        | Mutant::AckAfterLapse
        | Mutant::ConfirmReleased
        | Mutant::ProofLost
        | Mutant::FirmForgotten => two_one,
        Mutant::SilentCancel => Configuration { cancel: true, ..one_one },
        Mutant::AnyConfirm | Mutant::AnyRelease => {
            Configuration { byzantine_riders: 1, foreign: true, ..two_one }
        }
        Mutant::CompletedAlone => Configuration { ride: true, ..one_one },
        Mutant::AnyCosign => Configuration { ride: true, completes: 1, ..two_one },
        Mutant::StatusBelieved => Configuration { status: true, ..two_one },
        Mutant::OldStore => Configuration { keys: true, crashes: 1, ..two_one },
        Mutant::RotateWhileBound => Configuration { keys: true, ..two_one },
        Mutant::AnyAck => Configuration {
            byzantine_drivers: 1,
            foreign: true,
            ..Configuration::new("1x2, a Byzantine driver", 1, 2)
        },
    }
}
