//! All behaviours at once, one node in five hostile.

use hailmesh_sim::adversary::Behaviour;
use hailmesh_sim::city::City;

/// The seed of the city: 1, or what `HAILMESH_ATTACK_SEED` says.
#[expect(clippy::disallowed_methods, reason = "which city is run is said from outside")]
fn seed() -> u64 {
    std::env::var("HAILMESH_ATTACK_SEED")
        .map_or(1, |seed| seed.parse().expect("HAILMESH_ATTACK_SEED: a number"))
}

#[test]
fn one_hostile_node_in_five_costs_less_than_one_match_in_ten() {
    let seed = seed();
    println!("seed {seed}");
    let city = || City::grid().drivers(130).riders_per_hour(300.0).minutes(15).seed(seed);
    let fair = city().run();
    let report = city().adversaries(0.2).run();
    for tally in &report.run.tallies {
        println!("adversary {tally}");
    }
    println!("without attackers: {fair}");
    println!("one node in five hostile: {report}");
    let kept = report.served_share() / fair.served_share();
    println!("matched share: {:.1} % of the run without attackers", 100.0 * kept);
    fair.assert_sound();
    report.assert_sound();
    assert_eq!(report.run.tallies.len(), Behaviour::ALL.len(), "all of them are there");
    assert!(kept > 0.9, "{:.1} %", 100.0 * kept);
}
