//! Cities with misfortune: it costs rides, and never a promise.

use hailmesh_sim::city::City;

fn city() -> City {
    City::grid().drivers(80).riders_per_hour(300.0).minutes(20)
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
    assert!(report.served_share() >= 0.8, "{report}");
}

#[test]
fn one_message_in_five_is_lost() {
    let report = city().loss(0.2).seed(23).run();
    report.assert_sound();
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
