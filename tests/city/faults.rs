//! Cities with misfortune: it costs rides, and never a promise.

use hailmesh_sim::RideOutcome;
use hailmesh_sim::city::{City, Report};

fn city() -> City {
    City::grid().drivers(80).riders_per_hour(300.0).minutes(20)
}

/// Nobody sits in a car that does not know where to go: who was picked up so early that the
/// trip must be over has arrived. Cars drive at 6 m/s at least.
fn everybody_arrives(report: &Report) {
    let rides = &report.outcome().rides;
    let end = rides.iter().filter_map(|ride| ride.dropped_ms).max().expect("somebody has arrived");
    let due = |ride: &RideOutcome| Some(ride.picked_up_ms? + 300_000 + u64::from(ride.trip_m) * 1_000 / 6);
    let stranded = |ride: &&RideOutcome| ride.dropped_ms.is_none() && due(ride).is_some_and(|due| due < end);
    assert_eq!(rides.iter().find(stranded), None, "{report}");
}

#[test]
fn a_partition_heals() {
    let report = city().partition(4, 10, 0.4).seed(21).run();
    report.assert_sound();
    assert!(report.served_share() >= 0.8, "{report}");
}

#[test]
fn nodes_that_come_and_go_keep_their_promises() {
    let report = city().churn_per_min(0.1).seed(22).run();
    report.assert_sound();
    assert!(report.outcome().traffic.expect("nodes talk").restarts > 100, "{report}");
    everybody_arrives(&report);
    assert!(report.served_share() >= 0.8, "{report}");
}

#[test]
fn one_message_in_five_is_lost() {
    let report = city().loss(0.2).seed(23).run();
    report.assert_sound();
    everybody_arrives(&report);
    assert!(report.served_share() >= 0.8, "{report}");
}

#[test]
fn clocks_are_wrong_within_tolerance() {
    // Two clocks are at most 24 s apart, drift included: within the 30 s of P12.
    let report = city().clocks(8_000, 1_000).seed(24).run();
    report.assert_sound();
    assert!(report.served_share() >= 0.9, "{report}");
}

#[test]
fn everybody_restarts_at_once() {
    let report = city().restart_everybody(10).seed(25).run();
    report.assert_sound();
    assert!(report.outcome().traffic.expect("nodes talk").restarts >= 80, "{report}");
    everybody_arrives(&report);
    assert!(report.served_share() >= 0.85, "{report}");
}

#[test]
fn a_hundred_cheats_cost_rides_and_no_promises() {
    let fair = city().seed(26).run();
    let report = city().cheats(100).seed(26).run();
    report.assert_sound();
    println!("{report}");
    assert!(report.run.exposures > 0, "whoever tells two stories is exposed: {report}");
    // More than half of all that offer a ride here cheat.
    assert!(report.served_share() >= 0.6 * fair.served_share(), "{report}");
}
