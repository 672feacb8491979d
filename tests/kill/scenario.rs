//! Rides, and what people do in them. All of them end within seconds, so that those are
//! missing in which somebody waits for minutes: `crates/hailmesh-sim/tests/crashes` has
//! those, on virtual time.

use hailmesh_node::config::Settings;

/// What a driver does that is not a plain ride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DriverWay {
    /// Drives.
    Drives,
    /// Names another fare first, and is asked about every ride.
    Haggles,
    /// Cancels on the way.
    Cancels,
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
    /// Ends the ride alone.
    EndsAlone,
    /// Its process dies once when the ride is firm, beside the one that the case kills: the
    /// driver finds it under another transport identity.
    StartsAgain,
}

/// A ride and who takes part: one driver and one rider.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) driver: DriverWay,
    pub(crate) rider: RiderWay,
    /// Whether both meet again, in the slots that name how the ones before ended.
    pub(crate) again: bool,
    /// Whether the rider rates what is completed.
    pub(crate) rates: bool,
}

impl Scenario {
    const fn plain(name: &'static str) -> Self {
        Self { name, driver: DriverWay::Drives, rider: RiderWay::Rides, again: false, rates: false }
    }

    /// The settings of every node: the quickest timers that the protocol allows.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.network.name = "kill".to_owned();
        settings.network.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        settings.network.mdns = false;
        settings.driver.at = Some(HERE.to_owned());
        settings.driver.vehicle.plate = "HM 1".to_owned();
        if self.driver == DriverWay::Haggles {
            settings.driver.accept = "ask".to_owned();
        }
        settings.rider.at = Some(NEAR.to_owned());
        let timers = &mut settings.timers;
        timers.offer_change_ms = 0;
        timers.withdraw_ms = 0;
        timers.offer_freed_ms = 0;
        timers.offer_refresh_ms = 2_000;
        timers.ask_auto_ms = 1_000;
        timers.ask_human_ms = 2_000;
        timers.hold_ms = 2_000;
        timers.hold_uncredentialed_ms = 2_000;
        timers.confirm_retry_ms = 100;
        timers.confirm_retry_max_ms = 500;
        timers.doubt_ms = 7_000;
        timers.status_ms = 2_000;
        timers.unreach_ms = 20_000;
        timers.outbox_ms = 100;
        timers.outbox_max_ms = 500;
        timers.open_after_ms = 500;
        timers.turnover_ms = 0;
        settings
    }
}

/// Where drivers are.
pub(crate) const HERE: &str = "40.7580,-73.9855";
/// Where riders want to be picked up.
pub(crate) const NEAR: &str = "40.7590,-73.9845";
/// Where they want to go.
pub(crate) const THERE: &str = "40.7484,-73.9857";

/// All of them.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let plain = Scenario::plain;
    vec![
        Scenario { again: true, rates: true, ..plain("ride") },
        Scenario { rider: RiderWay::Cancels, again: true, ..plain("rider-cancels") },
        Scenario { driver: DriverWay::Cancels, again: true, ..plain("driver-cancels") },
        Scenario { driver: DriverWay::PaysToll, ..plain("toll") },
        Scenario { driver: DriverWay::Haggles, ..plain("haggled") },
        Scenario { rider: RiderWay::EndsAlone, again: true, ..plain("rider-ends-alone") },
        Scenario { rider: RiderWay::StartsAgain, again: true, ..plain("rider-starts-again") },
    ]
}

/// The one of this name.
pub(crate) fn scenario(name: &str) -> Option<Scenario> {
    scenarios().into_iter().find(|one| one.name == name)
}
