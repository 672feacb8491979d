//! Which cases are run: the points are found by looking at rides in which nobody is killed,
//! and every point is crossed with every moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fault::Fault;
use crate::host::Point;
use crate::plan::{FailAt, Kept, Moment, Plan};
use crate::run::{Ran, run};
use crate::scenario::{Scenario, scenarios};

/// How many cases run at a time in this process. Most of their time they wait for a timer.
const AT_A_TIME: usize = 8;
/// One kill in so many leaves its victim down for longer than a hold lasts.
const LONG_ONE_IN: u32 = 8;
/// How long that is, milliseconds.
const LONG_MS: u64 = 2_600;
/// The latest that a kill comes after the beginning of a transaction, microseconds. A commit
/// takes a few thousand.
const WITHIN_US: u64 = 6_000;

/// Cases that are named for having taken longest.
const SLOWEST_SHOWN: usize = 8;

/// Cases that run now.
static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// Runs a case when it is its turn.
pub(crate) fn run_in_turn(plan: &Plan, postgres: Option<&str>, is_told: bool) -> Ran {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    while *running >= AT_A_TIME {
        running = ENDED.wait(running).unwrap_or_else(PoisonError::into_inner);
    }
    *running += 1;
    drop(running);
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let ran = std::panic::catch_unwind(|| run(plan, folder.path(), postgres, is_told));
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    ENDED.notify_one();
    ran.unwrap_or_else(|_| panic!("HAILMESH_KILL_ONLY={plan}"))
}

/// Runs cases on as many threads as may run at a time. `next` gives them, `done` takes what
/// came of them.
fn on_all_threads(
    postgres: Option<&str>,
    next: impl Fn() -> Option<Plan> + Sync,
    done: impl Fn(Plan, Ran) + Sync,
) {
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(plan) = next() {
                    let ran = run_in_turn(&plan, postgres, false);
                    done(plan, ran);
                }
            });
        }
    });
}

/// Runs these; the results are in their order.
pub(crate) fn run_all(plans: &[Plan], postgres: Option<&str>) -> Vec<Ran> {
    let left: Mutex<VecDeque<usize>> = Mutex::new((0..plans.len()).collect());
    let done: Mutex<Vec<(String, Ran)>> = Mutex::new(Vec::new());
    let next = || left.lock().expect("no case panics").pop_front().map(|index| plans[index].clone());
    on_all_threads(postgres, next, |plan, ran| {
        done.lock().expect("no case panics").push((plan.to_string(), ran));
    });
    let mut done = done.into_inner().expect("no case panics");
    let of = |plan: &Plan| {
        let place = done.iter().position(|(name, _)| *name == plan.to_string()).expect("it was run");
        done.swap_remove(place).1
    };
    plans.iter().map(of).collect()
}

/// The points of a scenario, from a ride in which nobody is killed.
pub(crate) fn points(
    kept: Kept,
    scenarios: &[Scenario],
    postgres: Option<&str>,
) -> Vec<(Scenario, Vec<Point>)> {
    let calm: Vec<Plan> = scenarios.iter().map(|scenario| Plan::calm(kept, *scenario)).collect();
    let ran = run_all(&calm, postgres);
    for (plan, ran) in calm.iter().zip(&ran) {
        assert!(
            ran.violations.is_empty(),
            "HAILMESH_KILL_ONLY={plan} {:?}\n{}",
            ran.violations,
            ran.complaints
        );
    }
    scenarios.iter().copied().zip(ran.into_iter().map(|ran| ran.points)).collect()
}

/// Every point at every moment.
pub(crate) fn cases(kept: Kept, points: &[(Scenario, Vec<Point>)]) -> Vec<(Plan, Point)> {
    let mut cases = Vec::new();
    for (scenario, points) in points {
        for point in points {
            for moment in Moment::ALL {
                if moment == Moment::Heard && !point.queued {
                    continue;
                }
                let at = FailAt { batch: point.batch.clone(), moment };
                let kill = Some((point.host, at));
                cases.push((Plan { kill, ..Plan::calm(kept, *scenario) }, point.clone()));
            }
        }
    }
    cases
}

/// Whose batch of which clause, and when.
type Class = (usize, String, Moment);

fn class(plan: &Plan) -> Option<Class> {
    let (host, at) = plan.kill.as_ref()?;
    let (clause, _) = at.batch.split_once('.')?;
    Some((*host, clause.to_owned(), at.moment))
}

/// In an order that is drawn, of each class one before the second of any, and of these one of
/// each side and clause before the second: however few are run, no clause is left out.
fn shuffled(cases: &[(Plan, Point)], draws: &mut ChaCha8Rng) -> Vec<Plan> {
    let mut plans: Vec<Plan> = cases.iter().map(|(plan, _)| plan.clone()).collect();
    for place in 0..plans.len() {
        let other = draws.random_range(place..plans.len());
        plans.swap(place, other);
    }
    let mut of_class: BTreeMap<Class, usize> = BTreeMap::new();
    let mut of_clause: BTreeMap<(usize, usize, String), usize> = BTreeMap::new();
    let mut rank = |plan: &Plan| {
        let class = class(plan).expect("somebody is killed");
        let (host, clause, _) = class.clone();
        let nth = of_class.entry(class).or_default();
        *nth += 1;
        let of_clause = of_clause.entry((*nth, host, clause)).or_default();
        *of_clause += 1;
        (*nth, *of_clause)
    };
    let mut ranked: Vec<((usize, usize), Plan)> = plans.into_iter().map(|plan| (rank(&plan), plan)).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked
        .into_iter()
        .map(|(_, mut plan)| {
            plan.down_ms = if draws.random_ratio(1, LONG_ONE_IN) { LONG_MS } else { 0 };
            plan.within_us = draws.random_range(0..WITHIN_US);
            plan
        })
        .collect()
}

/// What came of a search.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) kills: usize,
    /// Cases whose point was not reached: two runs of one ride are not the same.
    idle: usize,
    possible: usize,
    /// Kills after a send, and those of them at which the other side had heard all of it.
    sent: usize,
    heard: usize,
    by_class: BTreeMap<Class, usize>,
    /// Those that took longest, the slowest first.
    slowest: Vec<(Duration, String)>,
    all: Duration,
    pub(crate) broken: Vec<String>,
}

/// Kills so many.
pub(crate) fn search(kept: Kept, kills: usize, seed: u64, postgres: Option<&str>) -> Survey {
    let cases = cases(kept, &points(kept, &scenarios(), postgres));
    let mut draws = ChaCha8Rng::seed_from_u64(seed);
    let mut plans: VecDeque<Plan> = VecDeque::new();
    // Twice as many as are wanted, for those whose point is not reached.
    while plans.len() < 2 * kills {
        plans.extend(shuffled(&cases, &mut draws));
    }
    let left = Mutex::new((plans, kills));
    let survey = Mutex::new(Survey { possible: cases.len(), ..Survey::default() });
    let next = || {
        let mut left = left.lock().expect("no case panics");
        if left.1 == 0 {
            return None;
        }
        left.1 -= 1;
        left.0.pop_front()
    };
    on_all_threads(postgres, next, |plan, ran| {
        if !ran.is_killed {
            left.lock().expect("no case panics").1 += 1;
        }
        survey.lock().expect("no case panics").take(&plan, &ran);
    });
    survey.into_inner().expect("no case panics")
}

impl Survey {
    fn take(&mut self, plan: &Plan, ran: &Ran) {
        self.slowest.push((ran.took, plan.to_string()));
        self.slowest.sort_by(|a, b| b.cmp(a));
        self.slowest.truncate(SLOWEST_SHOWN);
        self.all += ran.took;
        for violation in &ran.violations {
            let line = format!("HAILMESH_KILL_ONLY={plan} {violation}");
            println!("{line}");
            self.broken.push(line);
        }
        if !ran.is_killed {
            self.idle += 1;
            return;
        }
        self.kills += 1;
        if self.kills.is_multiple_of(100) {
            println!("{} kills, {} violations", self.kills, self.broken.len());
        }
        let Some(class) = class(plan) else { return };
        if class.2 == Moment::Sent {
            self.sent += 1;
            self.heard += usize::from(ran.was_heard);
        }
        *self.by_class.entry(class).or_default() += 1;
    }

    /// The clauses at which somebody was killed.
    pub(crate) fn clauses(&self) -> BTreeSet<&str> {
        self.by_class.keys().map(|(_, clause, _)| clause.as_str()).collect()
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: BTreeSet<(usize, &String)> =
            self.by_class.keys().map(|(host, clause, _)| (*host, clause)).collect();
        for (host, clause) in hosts {
            write!(f, "{:<6} {clause:<5}", if host == 0 { "driver" } else { "rider" })?;
            for moment in Moment::ALL {
                let count = self.by_class.get(&(host, clause.clone(), moment)).unwrap_or(&0);
                write!(f, " {} {count:>3}", moment.name())?;
            }
            writeln!(f)?;
        }
        let Self { kills, idle, possible, sent, heard, slowest, all, broken, .. } = self;
        let mean = all.as_secs_f64() / (kills + idle).max(1) as f64;
        for (took, plan) in slowest {
            writeln!(f, "took {:.1} s: {plan}", took.as_secs_f64())?;
        }
        write!(
            f,
            "{kills} kills of {possible} cases ({idle} idle), {heard} of {sent} heard when killed after the send, \
             {mean:.1} s a case, {} violations",
            broken.len(),
        )
    }
}

/// Properties that a seeded fault breaks, at these points of these scenarios.
pub(crate) fn caught(fault: Fault, cases: &[Plan]) -> BTreeMap<&'static str, usize> {
    let plans: Vec<Plan> = cases.iter().map(|plan| Plan { fault: Some(fault), ..plan.clone() }).collect();
    let mut caught = BTreeMap::new();
    for ran in run_all(&plans, None) {
        let broken: BTreeSet<&'static str> = ran.violations.iter().map(|one| one.property).collect();
        for property in broken {
            *caught.entry(property).or_default() += 1;
        }
    }
    caught
}
