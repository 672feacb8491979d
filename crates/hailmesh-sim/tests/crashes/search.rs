//! All single crashes and all pairs of them, enumerated by looking at runs: where a batch
//! of records was to be made durable, a node can crash.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fault::Fault;
use crate::plan::{Crash, Net, Plan, Position};
use crate::point::Point;
use crate::run::{Ran, run};
use crate::scenario::Scenario;
use hailmesh_sim::promises::Violation;

/// How many schedules run at once.
const THREADS: usize = 2;

/// What came of a scenario.
pub(crate) struct Survey {
    scenario: &'static str,
    points: usize,
    pub(crate) singles: usize,
    pub(crate) pairs: usize,
    /// Pairs that there are; the rest was not drawn.
    of_pairs: usize,
    /// Schedules in which a crash found nothing to fall on.
    idle: usize,
    /// The longest that a schedule took beyond the same ride without a crash.
    slowest_ms: u64,
    pub(crate) broken: Vec<(Plan, Violation)>,
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, points, singles, pairs, of_pairs, idle, slowest_ms, broken } = self;
        let sampled = if pairs < of_pairs { format!(" of {of_pairs}") } else { String::new() };
        write!(
            f,
            "{scenario}: {points} points, {singles} single crashes, {pairs}{sampled} pairs ({idle} idle), \
             at most {} s late, {} violations",
            slowest_ms.div_ceil(1_000),
            broken.len(),
        )
    }
}

/// Runs single crashes of all scenarios and pairs of them, of each at most so many.
pub(crate) fn search(scenarios: &[Scenario], pairs_max: Option<usize>, seed: u64) -> Vec<Survey> {
    let mut draws = ChaCha8Rng::seed_from_u64(seed);
    let told = |scenario: &Scenario| {
        let survey = survey(*scenario, pairs_max, &mut draws);
        println!("{survey}");
        survey
    };
    scenarios.iter().map(told).collect()
}

fn survey(scenario: Scenario, pairs_max: Option<usize>, draws: &mut ChaCha8Rng) -> Survey {
    let calm = run(scenario, &Plan::calm(scenario.name), None, None, false);
    let mut survey = Survey {
        scenario: scenario.name,
        points: calm.points.len(),
        singles: 0,
        pairs: 0,
        of_pairs: 0,
        idle: 0,
        slowest_ms: 0,
        broken: Vec::new(),
    };
    let note = |survey: &mut Survey, plan: &Plan, ran: &Ran| {
        survey.idle += usize::from(ran.crashes < plan.crashes.len());
        survey.slowest_ms = survey.slowest_ms.max(ran.took_ms.saturating_sub(calm.took_ms));
        survey.broken.extend(ran.violations.iter().map(|one| (plan.clone(), one.clone())));
    };
    let singles: Vec<Plan> = plans(&Plan::calm(scenario.name), &calm.points, &Net::ALL);
    let ran = run_all(scenario, &singles, None, calm.took_ms);
    survey.singles = singles.len();
    let mut pairs = Vec::new();
    for (plan, ran) in singles.iter().zip(&ran) {
        note(&mut survey, plan, ran);
        // Whatever comes after the crash.
        let first = plan.crashes[0];
        let fell = ran.points.iter().position(|point| (point.host, point.batch) == (first.host, first.batch));
        let later = fell.map_or(&[][..], |fell| &ran.points[fell + 1..]);
        pairs.extend(plans(plan, later, &[plan.net]));
    }
    survey.of_pairs = pairs.len();
    if let Some(most) = pairs_max {
        for place in 0..most.min(pairs.len()) {
            let other = draws.random_range(place..pairs.len());
            pairs.swap(place, other);
        }
        pairs.truncate(most);
    }
    survey.pairs = pairs.len();
    let ran = run_all(scenario, &pairs, None, calm.took_ms);
    for (plan, ran) in pairs.iter().zip(&ran) {
        note(&mut survey, plan, ran);
    }
    survey
}

/// The schedules that have one crash more than this one, at any of these points.
fn plans(before: &Plan, points: &[Point], nets: &[Net]) -> Vec<Plan> {
    let mut plans = Vec::new();
    for point in points {
        for position in Position::ALL {
            if position == Position::Heard && !point.queued {
                continue;
            }
            for net in nets {
                let mut plan = Plan { net: *net, ..before.clone() };
                plan.crashes.push(Crash { host: point.host, batch: point.batch, position });
                plans.push(plan);
            }
        }
    }
    plans
}

/// Runs schedules on all threads; the results are in their order.
fn run_all(scenario: Scenario, plans: &[Plan], fault: Option<Fault>, calm_ms: u64) -> Vec<Ran> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Ran>>> = Mutex::new(plans.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(plan) = plans.get(index) else { return };
                    let ran = run(scenario, plan, fault, Some(calm_ms), false);
                    done.lock().unwrap()[index] = Some(ran);
                }
            });
        }
    });
    done.into_inner().unwrap().into_iter().flatten().collect()
}

/// Properties that a seeded fault breaks in single crashes of some scenarios.
pub(crate) fn caught(scenarios: &[Scenario], fault: Fault) -> BTreeSet<&'static str> {
    let mut caught = BTreeSet::new();
    for scenario in scenarios {
        let calm = run(*scenario, &Plan::calm(scenario.name), None, None, false);
        let singles = plans(&Plan::calm(scenario.name), &calm.points, &[Net::Calm]);
        let ran = run_all(*scenario, &singles, Some(fault), calm.took_ms);
        caught.extend(ran.iter().flat_map(|ran| &ran.violations).map(|one| one.property));
    }
    caught
}
