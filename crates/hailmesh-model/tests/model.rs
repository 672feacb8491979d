//! The model check of the test run, and that it can find something.

use hailmesh_model::city::City;
use hailmesh_model::world::World;
use hailmesh_model::{CityModel, Configuration, Mutant, check, configurations};
use stateright::Model;

/// Different cities that the test run looks at, at the least.
const UNIQUE_MIN: usize = 1_300_000;

#[test]
fn nothing_that_can_happen_in_a_small_city_breaks_a_promise() {
    let mut unique = 0;
    for config in configurations::quick() {
        let report = check(config, None);
        println!("{report}");
        println!("{}", report.details());
        assert!(report.violated.is_empty(), "{report}: {:#?}", report.violated);
        assert!(report.missing.is_empty(), "{report}: never occurred: {:#?}", report.missing);
        unique += report.unique;
    }
    println!("all: unique states: {unique}");
    assert!(unique >= UNIQUE_MIN, "{unique} different cities: expected at least {UNIQUE_MIN}");
}

#[test]
fn every_seeded_fault_is_caught() {
    let mut escaped = Vec::new();
    for mutant in Mutant::ALL {
        let report = check(configurations::for_mutant(mutant), Some(mutant));
        println!("mutant {}: caught by {}", mutant.name(), report.caught_by());
        if report.violated.is_empty() {
            escaped.push(mutant.name());
        }
        // Without the fault the same city is sound.
        let config = Configuration { cap: Some(20_000), ..configurations::for_mutant(mutant) };
        let sound = check(config, None);
        assert!(sound.violated.is_empty(), "{}: {:#?}", mutant.name(), sound.violated);
    }
    assert!(escaped.is_empty(), "not caught: {escaped:?}");
}

#[test]
fn a_city_is_the_same_after_packing_and_a_restart_of_every_node() {
    let config = Configuration {
        crashes: 2,
        cancel: true,
        ride: true,
        completes: 2,
        no_show: true,
        invite: true,
        counter: true,
        status: true,
        keys: true,
        ..Configuration::new("2x2", 2, 2)
    };
    let model = CityModel { world: World::new(config, None), wanted: Vec::new() };
    // A fixed walk that looks random: the high bits of a linear congruential generator.
    let mut seed: u64 = 20_261_122;
    for _ in 0..200 {
        let mut state = model.init_states().remove(0);
        for _ in 0..60 {
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let action = actions[usize::try_from(seed >> 33).expect("31 bits") % actions.len()];
            if let Some(next) = model.next_state(&state, action) {
                let city = City::unpack(&next, config.riders, config.drivers, &model.world.book);
                assert_eq!(city.pack(), next, "after {}", model.format_action(&action));
                assert_eq!(model.world.broken(&city), 0, "after {}", model.format_action(&action));
                state = next;
            }
        }
    }
}
