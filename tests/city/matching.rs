//! How well a city without a dispatcher matches, beside one with a dispatcher.

use std::sync::Arc;

use hailmesh_sim::city::City;
use hailmesh_sim::{Policy, Scenario, baseline};

#[test]
fn scarce_cars_are_matched_nearly_as_well_as_by_a_dispatcher() {
    let city = City::grid().drivers(70).riders_per_hour(420.0).minutes(40).seed(31);
    let scenario: Arc<Scenario> = city.scenario().expect("a city");
    let nodes = city.run();
    nodes.assert_sound();
    let wait = |policy| {
        let outcome = baseline::run(&scenario, 70, 31, policy).expect("a dispatcher");
        let waits = outcome.rides.iter().map(|ride| ride.wait_ms().unwrap_or(outcome.patience_ms));
        waits.sum::<u64>() as f64 / 1_000.0 / outcome.rides.len() as f64
    };
    let batched = wait(Policy::Batched { seconds: 5 });
    println!("mean wait: nodes {:.1} s, batched {batched:.1} s", nodes.mean_wait_s());
    assert!(nodes.mean_wait_s() <= 1.25 * batched, "{nodes}, batched {batched:.1} s");
}
