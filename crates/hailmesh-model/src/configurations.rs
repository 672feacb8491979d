//! The cities that are checked, small to large, and the one in which each fault shows.

use crate::mutant::Mutant;
use crate::world::Configuration;

/// Those of the test run. Where there is a cap, it counts steps, of which about every
/// fourth leads to a new city.
#[must_use]
pub fn quick() -> Vec<Configuration> {
    capped(Some(600_000))
}

/// Those of the slow command: the same cities with room for many more steps, and larger
/// ones.
#[must_use]
pub fn deep() -> Vec<Configuration> {
    let two_one = Configuration::new("2x1", 2, 1);
    let two_two = Configuration::new("2x2", 2, 2);
    let cap = Some(DEEP_STEPS);
    let mut all = capped(cap);
    all.extend([
        Configuration {
            name: "2x2, two slots each, two crashes, cancelling, ride, STATUS",
            crashes: 2,
            cancel: true,
            ride: true,
            status: true,
            cap,
            ..two_two
        },
        Configuration {
            name: "2x1, everything honest people can do, two crashes",
            crashes: 2,
            cancel: true,
            ride: true,
            completes: 2,
            no_show: true,
            invite: true,
            counter: true,
            status: true,
            keys: true,
            cap,
            ..two_one
        },
        Configuration {
            name: "2x2, a Byzantine driver and a Byzantine rider who speak about others' rides, one crash",
            byzantine_drivers: 1,
            byzantine_riders: 1,
            crashes: 1,
            foreign: true,
            cap,
            ..two_two
        },
    ]);
    all
}

/// Steps after which a configuration of the slow command stops.
const DEEP_STEPS: usize = 60_000_000;

fn capped(cap: Option<usize>) -> Vec<Configuration> {
    let one_one = Configuration::new("1x1", 1, 1);
    let one_two = Configuration::new("1x2", 1, 2);
    let two_one = Configuration::new("2x1", 2, 1);
    let two_two = Configuration::new("2x2", 2, 2);
    vec![
        Configuration {
            name: "1x1, the whole ride, cancelling, no-shows, two COMPLETEs",
            cancel: true,
            ride: true,
            completes: 2,
            no_show: true,
            covers_everything: true,
            ..one_one
        },
        Configuration {
            name: "1x1, INVITE, COUNTER, STATUS, one crash",
            crashes: 1,
            invite: true,
            counter: true,
            status: true,
            cap,
            ..one_one
        },
        Configuration {
            name: "1x1, key replacement, STATUS, two crashes",
            crashes: 2,
            status: true,
            keys: true,
            ..one_one
        },
        Configuration { name: "1x2, two crashes", crashes: 2, cap, ..one_two },
        Configuration { name: "2x1, two crashes", crashes: 2, cap, ..two_one },
        Configuration { name: "2x1, the whole ride, cancelling", cancel: true, ride: true, cap, ..two_one },
        Configuration {
            name: "2x1, one rider slot, key replacement, one crash",
            rider_slots: 1,
            attempts: 1,
            crashes: 1,
            keys: true,
            cap,
            ..two_one
        },
        Configuration {
            name: "2x2, one slot each, two crashes",
            rider_slots: 1,
            driver_slots: 1,
            attempts: 1,
            crashes: 2,
            cap,
            ..two_two
        },
        Configuration {
            name: "2x1, one rider slot, a Byzantine driver, two crashes",
            rider_slots: 1,
            attempts: 1,
            crashes: 2,
            byzantine_drivers: 1,
            ..two_one
        },
        Configuration {
            name: "2x1, a Byzantine rider, one crash",
            crashes: 1,
            byzantine_riders: 1,
            ..two_one
        },
        Configuration {
            name: "1x2, a Byzantine driver who speaks about others' rides, one crash",
            crashes: 1,
            byzantine_drivers: 1,
            foreign: true,
            cap,
            ..one_two
        },
        Configuration {
            name: "3x1, one rider slot, a Byzantine driver and a Byzantine rider, three slots",
            riders: 3,
            rider_slots: 1,
            attempts: 1,
            byzantine_drivers: 1,
            byzantine_riders: 1,
            forged_accepts: 3,
            patient: true,
            cap,
            ..two_one
        },
    ]
}

/// A city in which a fault shows soon, and steps enough to see what all of it breaks.
#[must_use]
pub fn for_mutant(mutant: Mutant) -> Configuration {
    Configuration { cap: Some(200_000), ..smallest_for(mutant) }
}

fn smallest_for(mutant: Mutant) -> Configuration {
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
        Mutant::RiderSendsFirst => Configuration { crashes: 1, ..Configuration::new("1x2", 1, 2) },
        Mutant::SilentCancel => Configuration { cancel: true, ..one_one },
        Mutant::AnyConfirm | Mutant::AnyRelease => {
            Configuration { byzantine_riders: 1, foreign: true, ..two_one }
        }
        Mutant::CompletedAlone | Mutant::AnyCosign => Configuration { ride: true, ..one_one },
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
