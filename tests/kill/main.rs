//! Real processes that are killed at named points of what they write, with real journals on
//! disk: the node that ships, in SQLite and on a Postgres server. The same properties hold
//! as for crashes in memory (`crates/hailmesh-sim/tests/crashes`), and are judged by the
//! same code.
//!
//! ```text
//! cargo test -p hailmesh-tests --test kill -- --nocapture
//! HAILMESH_KILLS=2000 cargo test -p hailmesh-tests --test kill sqlite -- --nocapture
//! HAILMESH_KILLS=500 cargo test -p hailmesh-tests --test kill postgres -- --nocapture
//! HAILMESH_KILL_ONLY=sqlite/ride/0.W1.0.sent/0.0 cargo test -p hailmesh-tests --test kill one -- --nocapture
//! ```

mod audit;
mod child;
mod fault;
mod host;
mod person;
mod plan;
#[expect(dead_code, reason = "shared with the crashes in memory, which number their points")]
#[path = "../../crates/hailmesh-sim/tests/crashes/point.rs"]
mod point;
mod run;
mod scenario;
mod search;
#[expect(dead_code, reason = "shared with the tests of the store, which stop the server, too")]
#[path = "../store/server.rs"]
mod server;

use fault::Fault;
use plan::{Kept, Plan};
use scenario::scenario;
use search::{Survey, search};
use server::Server;

/// Kills in the ordinary run.
const SQLITE_KILLS: usize = 200;
const POSTGRES_KILLS: usize = 50;

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value}: expected a number")))
}

/// A new seed for every run, or the one in `HAILMESH_TEST_SEED`.
fn seed() -> u64 {
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs());
    let seed = setting("HAILMESH_TEST_SEED").unwrap_or_else(now);
    println!("HAILMESH_TEST_SEED={seed}");
    seed
}

fn kills(ordinary: usize) -> usize {
    setting("HAILMESH_KILLS").map_or(ordinary, |kills| usize::try_from(kills).expect("a number of kills"))
}

fn report(kept: Kept, survey: &Survey, wanted: usize) {
    println!("{}:\n{survey}", kept.name());
    assert!(survey.broken.is_empty(), "{} violations, the first: {}", survey.broken.len(), survey.broken[0]);
    assert!(
        survey.kills >= wanted,
        "only {} of {wanted} were killed: too few points are reached",
        survey.kills
    );
    let clauses = survey.clauses();
    for clause in point::clauses_of_the_protocol() {
        // Nobody here gives cause for evidence.
        let occurs = clause == "W11" || clauses.contains(clause.as_str());
        assert!(occurs, "nobody was killed at {clause}");
    }
}

#[test]
fn sqlite_processes_are_killed_at_every_point() {
    let wanted = kills(SQLITE_KILLS);
    report(Kept::Sqlite, &search(Kept::Sqlite, wanted, seed(), None), wanted);
}

#[tokio::test]
async fn postgres_processes_are_killed_at_every_point() {
    let Some(server) = Server::start().await else { return };
    let (wanted, seed, url) = (kills(POSTGRES_KILLS), seed(), server.url.clone());
    let search = move || search(Kept::Postgres, wanted, seed, Some(&url));
    let survey = tokio::task::spawn_blocking(search).await.expect("no case panics");
    report(Kept::Postgres, &survey, wanted);
}

/// Every fault is made at bindings and ends of both sides, where it can do harm.
#[test]
fn seeded_faults_are_found() {
    let scenarios = ["ride", "driver-cancels"].map(|name| scenario(name).expect("a scenario"));
    let points = search::points(Kept::Sqlite, &scenarios, None);
    let cases = search::cases(Kept::Sqlite, &points);
    for fault in Fault::ALL {
        let is_wanted = |plan: &&Plan| {
            let at = plan.kill.as_ref().map(|(_, at)| (at.batch.as_str(), at.moment));
            at.is_some_and(|(batch, moment)| moment == fault.moment() && fault.batches().contains(&batch))
        };
        let wanted: Vec<Plan> = cases.iter().map(|(plan, _)| plan).filter(is_wanted).cloned().collect();
        let caught = search::caught(fault, &wanted);
        assert!(!caught.is_empty(), "{} is not caught", fault.name());
        let by: Vec<String> =
            caught.iter().map(|(property, cases)| format!("{property} ({cases})")).collect();
        println!("{}: {} cases, caught by {}", fault.name(), wanted.len(), by.join(" "));
    }
}

#[tokio::test]
async fn one_case_by_its_name() {
    let Ok(name) = std::env::var("HAILMESH_KILL_ONLY") else { return };
    let plan: Plan = name.parse().unwrap();
    let server = match plan.kept {
        Kept::Sqlite => None,
        Kept::Postgres => Some(Server::start().await.expect("a Postgres server")),
    };
    let url = server.as_ref().map(|server| server.url.clone());
    let run = move || search::run_in_turn(&plan, url.as_deref(), true);
    let ran = tokio::task::spawn_blocking(run).await.expect("no case panics");
    for line in &ran.transcript {
        println!("{line}");
    }
    if let Some(point) = ran.killed_at.filter(|_| ran.is_killed) {
        println!("host {} was killed at {}: {}", point.host, point.batch, point.records);
    }
    println!("{:?}\n{}", ran.took, ran.complaints);
    for violation in &ran.violations {
        println!("{violation}");
    }
    assert!(ran.violations.is_empty());
}
