//! Rides, and what people do in them.

use hailmesh_market::Config;
use hailmesh_types::Duration;
use hailmesh_wire::Kind;

use crate::network::Drops;

/// What a driver does that is not a plain ride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DriverWay {
    /// Drives.
    Drives,
    /// Names another fare first.
    Haggles,
    /// Cancels on the way.
    Cancels,
    /// Never arrives.
    StaysAway,
    /// Says that nobody came.
    MissesRider,
    /// Types a wrong code first.
    Mistypes,
    /// Asks for a toll on top.
    PaysToll,
}

/// What a rider does that is not a plain ride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RiderWay {
    /// Rides, and agrees to the fare.
    Rides,
    /// Cancels when the car is on its way.
    Cancels,
    /// Cancels before the driver has acknowledged.
    CancelsInDoubt,
    /// Says that the driver did not come.
    MissesDriver,
    /// Does not agree to the fare.
    Disputes,
    /// Ends the ride alone.
    EndsAlone,
    /// Closes the app when the car is on its way, and opens it again: it has another
    /// transport identity then.
    StartsAgain,
}

/// A ride and who takes part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) drivers: usize,
    pub(crate) riders: usize,
    pub(crate) driver: DriverWay,
    pub(crate) rider: RiderWay,
    /// When drivers begin to offer, and riders to look.
    pub(crate) online_ms: u64,
    pub(crate) wanted_ms: u64,
    /// Whether both meet again, in the slots that name how the ones before ended.
    pub(crate) again: bool,
    /// Whether both rate what is completed.
    pub(crate) rates: bool,
    /// What the network loses in this scenario, schedule or not.
    pub(crate) drops: Option<Drops>,
    tune: fn(&mut Config),
}

impl Scenario {
    const fn plain(name: &'static str) -> Self {
        Self {
            name,
            drivers: 1,
            riders: 1,
            driver: DriverWay::Drives,
            rider: RiderWay::Rides,
            online_ms: 0,
            wanted_ms: 1_000,
            again: false,
            rates: false,
            drops: None,
            tune: |_| {},
        }
    }

    /// The configuration of every node: the protocol's, with a shorter wait for a COSIGN
    /// and for a driver that is late, which are the longest.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.timers.cosign = Duration::from_secs(30);
        config.timers.no_show_late = Duration::ZERO;
        (self.tune)(&mut config);
        config
    }
}

/// All of them.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let plain = Scenario::plain;
    vec![
        Scenario { again: true, rates: true, ..plain("ride") },
        Scenario {
            online_ms: 2_000,
            wanted_ms: 0,
            tune: |config| config.timers.open_after = Duration::ZERO,
            ..plain("invited")
        },
        Scenario { driver: DriverWay::Haggles, ..plain("haggled") },
        Scenario { driver: DriverWay::Mistypes, ..plain("wrong-code") },
        Scenario { driver: DriverWay::PaysToll, ..plain("toll") },
        Scenario { rider: RiderWay::Cancels, again: true, ..plain("rider-cancels") },
        Scenario {
            rider: RiderWay::CancelsInDoubt,
            drops: Some(|kind, at_ms| at_ms < 10_000 && kind == Kind::Ack),
            ..plain("rider-cancels-in-doubt")
        },
        Scenario { driver: DriverWay::Cancels, again: true, ..plain("driver-cancels") },
        Scenario {
            drops: Some(|kind, at_ms| at_ms < 12_000 && matches!(kind, Kind::Confirm | Kind::Status)),
            ..plain("hold-lapses")
        },
        Scenario {
            drops: Some(|kind, at_ms| at_ms < 30_000 && matches!(kind, Kind::Ack | Kind::Status)),
            ..plain("no-ack")
        },
        Scenario { driver: DriverWay::MissesRider, again: true, ..plain("no-rider") },
        Scenario {
            driver: DriverWay::StaysAway,
            rider: RiderWay::MissesDriver,
            again: true,
            ..plain("no-driver")
        },
        Scenario { driver: DriverWay::PaysToll, rider: RiderWay::Disputes, again: true, ..plain("disputed") },
        Scenario { rider: RiderWay::EndsAlone, again: true, ..plain("rider-ends-alone") },
        Scenario { rider: RiderWay::StartsAgain, again: true, ..plain("rider-starts-again") },
        Scenario {
            drivers: 2,
            tune: |config| config.timers.hedge_step = Duration::ZERO,
            ..plain("two-drivers")
        },
        Scenario { riders: 2, ..plain("two-riders") },
    ]
}
