//! Crashes of production marketplaces at every persistence point, on virtual time, with a
//! journal in memory and a network that loses, repeats and reorders what follows.
//!
//! `HAILMESH_CRASH_ONLY=SCHEDULE cargo test -p hailmesh-sim --test crashes -- --nocapture one`
//! runs a single schedule by its name and tells what happened in it.

mod crash;
mod fault;
mod network;
mod person;
mod plan;
mod point;
mod run;
mod scenario;
mod search;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use fault::Fault;
use plan::Plan;
use run::run;
use scenario::scenarios;
use search::{Survey, search};

/// Pairs of crashes that are run of one scenario; of more a sample is drawn.
const PAIRS_MAX: usize = 1_600;

/// From what samples are drawn.
const SEED: u64 = 1;

#[test]
fn every_persistence_point_of_the_protocol_occurs() {
    let mut seen: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for scenario in scenarios() {
        let ran = run(scenario, &Plan::calm(scenario.name), None, None, false);
        assert_eq!(ran.violations, [], "{}", scenario.name);
        for point in ran.points {
            seen.entry(point.kind.clause).or_default().insert(point.kind.records);
        }
    }
    for (clause, kinds) in &seen {
        println!("{clause}:");
        for kind in kinds {
            println!("    {kind}");
        }
    }
    for clause in point::clauses_of_the_protocol() {
        // Nobody here gives cause for evidence.
        let occurs = clause == "W11" || seen.contains_key(clause.as_str());
        assert!(occurs, "{clause} occurs in no scenario");
    }
}

#[test]
fn nobody_is_booked_twice_whenever_a_node_crashes() {
    println!("seed {SEED}");
    report(search(&scenarios(), Some(PAIRS_MAX), SEED));
}

/// All pairs of the scenarios that `HAILMESH_CRASH_SCENARIOS` names, with commas between, or
/// of `all`. That takes a quarter of an hour, so that nobody gets it who does not ask for it.
#[test]
fn nobody_is_booked_twice_by_any_pair_of_crashes() {
    let Some(wanted) = setting("HAILMESH_CRASH_SCENARIOS") else { return };
    let is_wanted = |name: &str| wanted == "all" || wanted.split(',').any(|one| one == name);
    let scenarios: Vec<_> = scenarios().into_iter().filter(|one| is_wanted(one.name)).collect();
    report(search(&scenarios, None, SEED));
}

#[expect(clippy::disallowed_methods, reason = "which schedules are run is said from outside")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn report(surveys: Vec<Survey>) {
    let mut all = 0;
    let mut broken = Vec::new();
    for survey in surveys {
        all += survey.singles + survey.pairs;
        broken.extend(survey.broken);
    }
    println!("{all} schedules");
    for (plan, violation) in broken.iter().take(20) {
        println!("HAILMESH_CRASH_ONLY={plan} {violation}");
    }
    assert!(broken.is_empty(), "{} schedules break something", broken.len());
}

#[test]
fn seeded_faults_are_found() {
    let wanted = ["ride", "driver-cancels", "hold-lapses"];
    let scenarios: Vec<_> = scenarios().into_iter().filter(|one| wanted.contains(&one.name)).collect();
    for fault in Fault::ALL {
        let caught = search::caught(&scenarios, fault);
        assert!(!caught.is_empty(), "mutant {} is not caught", fault.name());
        println!("mutant {}: caught by {}", fault.name(), caught.into_iter().collect::<Vec<_>>().join(" "));
    }
}

#[test]
fn one_schedule_by_its_name() {
    let Some(name) = setting("HAILMESH_CRASH_ONLY") else { return };
    let plan: Plan = name.parse().unwrap();
    let scenario = scenarios().into_iter().find(|one| one.name == plan.scenario).expect("a scenario");
    let calm = run(scenario, &Plan::calm(scenario.name), None, None, false);
    let ran = run(scenario, &plan, None, Some(calm.took_ms), true);
    for line in &ran.transcript {
        println!("{line}");
    }
    for violation in &ran.violations {
        println!("{violation}");
    }
    assert_eq!(ran.violations, []);
}
