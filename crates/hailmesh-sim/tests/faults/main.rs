//! Thousands of tiny cities with random faults: no promise is broken, and a minute after
//! the last fault everybody agrees.
//!
//! ```text
//! cargo test -p hailmesh-sim --test faults -- --nocapture
//! HAILMESH_FAULT_SEED=17 cargo test -p hailmesh-sim --test faults -- --nocapture
//! cargo run --release -p hailmesh-sim --example faults -- --seeds 0..1000000
//! ```

use hailmesh_sim::city::{Broken, Tally, Trial, Violation, trials};

/// Seeds of a test run.
const SEEDS: u64 = 5_000;
/// Seeds among which a broken rule has to be found.
const SEARCH: u64 = 1_000;
const THREADS: usize = 2;
/// Seeds beyond those in which something was wrong once (docs/guarantees.md, "What the faults found").
const FOUND: [u64; 4] = [1_220_529, 1_227_542, 1_249_660, 1_260_107];

/// The seed that is to be replayed alone.
#[expect(clippy::disallowed_methods, reason = "whoever replays a seed names it")]
fn only() -> Option<u64> {
    std::env::var("HAILMESH_FAULT_SEED").ok().map(|seed| seed.parse().expect("a seed is a number"))
}

fn assert_sound(tally: &Tally) {
    println!("{tally}");
    if let Some(first) = tally.failures.first() {
        panic!(
            "{}\nreplay: HAILMESH_FAULT_SEED={} cargo test -p hailmesh-sim --test faults -- --nocapture",
            first.trial, first.trial.seed
        );
    }
}

#[test]
fn five_thousand_seeds_break_no_promise_and_all_agree_a_minute_later() {
    if let Some(seed) = only() {
        println!("{}", Trial::of(seed));
        return assert_sound(&trials(seed..seed + 1, 1, None).expect("sound settings"));
    }
    let tally = trials(0..SEEDS, THREADS, None).expect("sound settings");
    assert_sound(&tally);
    assert_eq!(tally.seeds, SEEDS);
    // Nothing holds for want of anything happening.
    for (name, count) in tally.mischief.all() {
        assert!(count >= 500, "{name}: only {count}\n{tally}");
    }
    assert!(tally.handshakes > 10 * SEEDS && tally.firm > 2 * SEEDS && tally.rides > SEEDS, "{tally}");
    // What is left out of the last check is little.
    let settled = tally.settled;
    assert!(settled.agreed > 5 * SEEDS && settled.firm > SEEDS / 4, "{tally}");
    assert!(settled.apart + settled.young < settled.agreed / 100, "{tally}");
}

#[test]
fn what_was_wrong_once_is_not_again() {
    for seed in FOUND {
        assert_sound(&trials(seed..seed + 1, 1, None).expect("sound settings"));
    }
}

/// Somebody is bound twice: by what was signed, or by what people were told.
fn is_double(violation: &Violation) -> bool {
    ["S1", "S2", "E3"].iter().any(|promise| violation.what.starts_with(promise))
        || violation.what.contains("two agreements")
        || violation.what.contains("two live slots")
}

/// The search finds what it looks for: something soon, and a double promise, too.
#[test]
fn nodes_that_break_a_rule_are_caught() {
    for rule in [Broken::LosesLastBatch, Broken::KeepsKeysOfBackup, Broken::SendsWhatWasNotKept] {
        let (mut first, mut double) = (None, None);
        for seed in 0..SEARCH {
            let run = Trial::of(seed).broken(rule).run().expect("sound settings");
            let text = |violation: &Violation| (seed, violation.what.clone());
            first = first.or_else(|| run.violations.first().map(text));
            double = double.or_else(|| run.violations.iter().find(|one| is_double(one)).map(text));
            if double.is_some() {
                break;
            }
        }
        let (Some(first), Some(double)) = (first, double) else {
            panic!("{rule:?} is not found in {SEARCH} seeds")
        };
        println!("{rule:?}: seed {}, {}; double promise: seed {}, {}", first.0, first.1, double.0, double.1);
    }
}

#[test]
fn one_seed_gives_one_trace_whatever_the_threads() {
    for seed in 0..20 {
        let trial = Trial::of(seed);
        let mut threads = trial.clone();
        threads.settings.threads = 3;
        assert_eq!(trial.run().expect("sound settings"), threads.run().expect("sound settings"), "{trial}");
    }
}
