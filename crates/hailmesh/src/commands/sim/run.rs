//! `hailmesh sim run`.

use std::fs::{self, File};
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hailmesh_sim::baseline::{self, BaselineError};
use hailmesh_sim::city::settings::RunError;
use hailmesh_sim::city::{self, Settings, Violation};
use hailmesh_sim::report::{self, Curves, Failed, Figures, Group, Map, Report, Summary};
use hailmesh_sim::{Policy, RunOutcome, Scenario};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{machine, replay, scenario};
use crate::cli::sim::SimRunArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// One run by what is special about it.
#[derive(Debug, Clone, Copy)]
struct Case {
    policy: Policy,
    fleet: u32,
    seed: u64,
}

/// What all runs of a command share.
struct Bench<'a> {
    args: &'a SimRunArgs,
    scenario: Arc<Scenario>,
    settings: Settings,
    out: Output,
}

pub(super) fn run(args: &SimRunArgs, out: Output) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let policies = unique(&args.policy);
    let names: Vec<String> = policies.iter().map(ToString::to_string).collect();
    let settings = super::settings(&args.conditions)?;
    // Whoever misspells a policy need not wait until the roads are loaded.
    let check = |fleets: &[u32]| args.assertions.iter().try_for_each(|one| one.check(&names, fleets));
    if !args.fleet.is_empty() {
        check(&args.fleet).map_err(Failure::usage)?;
    }
    let mut files = args.out.as_deref().map(Files::create).transpose()?;
    let scenario = Arc::new(scenario::load(&args.scenario, args.uniform_speed)?);
    let all = u32::try_from(scenario.vehicles.len()).unwrap_or(u32::MAX);
    let fleets = if args.fleet.is_empty() { vec![all] } else { unique(&args.fleet) };
    let seeds = unique(&args.seed);
    check(&fleets).map_err(Failure::usage)?;
    for fleet in &fleets {
        scenario.fleet(*fleet, 0).map_err(scenario::bad)?;
    }
    let bench = Bench { args, scenario, settings, out };
    let mut cases = Vec::new();
    for fleet in &fleets {
        for seed in &seeds {
            cases.extend(policies.iter().map(|policy| Case { policy: *policy, fleet: *fleet, seed: *seed }));
        }
    }
    // Trips and the map are those of one run: of nodes, if there is one.
    let shown =
        cases.iter().position(|case| matches!(case.policy, Policy::PeerToPeer(_))).unwrap_or_default();
    let (mut runs, mut curves, mut map, mut broken) = (Vec::new(), Vec::new(), None, Vec::new());
    for (place, case) in cases.iter().enumerate() {
        let (outcome, figures, violations) = bench.run(*case)?;
        if let Some(files) = &mut files {
            curves.push(Curves::of(&outcome));
            files.rides(&outcome)?;
            if place == shown {
                map = Some(Map::of(&bench.scenario.roads, &outcome));
                files.trips(&outcome, &bench.scenario)?;
            }
        }
        if let Some(first) = violations.into_iter().next() {
            broken.push((*case, first));
        }
        runs.push(figures);
    }
    let summary = Summary {
        scenario: bench.scenario.name.clone(),
        requests: bench.scenario.requests.len() as u64,
        wall_s: super::rounded(begun.elapsed().as_secs_f64(), 3),
        peak_rss_mib: machine::peak_rss_mib(),
        runs,
    };
    if out.json {
        out.document(&summary)?;
    } else {
        print(&summary, out)?;
    }
    let failed: Vec<Failed> = args.assertions.iter().flat_map(|one| one.judge(&summary.runs)).collect();
    if let Some(files) = files {
        let command = replay::command(args, &fleets, &seeds, &names);
        let settings = described(args);
        files.report(&Report { summary, command, settings, curves, map }, out)?;
    }
    bench.verdict(&broken, &failed, &seeds, &names)
}

impl Bench<'_> {
    /// One run.
    fn run(&self, case: Case) -> Result<(RunOutcome, Figures, Vec<Violation>), Failure> {
        let Case { policy, fleet, seed } = case;
        let bar = bar(self.out);
        bar.set_message(format!("{policy}, {fleet} cars, seed {seed}"));
        let begun = Instant::now();
        let one = || match policy {
            Policy::PeerToPeer(_) => {
                let mut tell = |progress: city::Progress| {
                    bar.set_length(progress.end_ms / 1_000);
                    bar.set_position(progress.at_ms / 1_000);
                };
                let run = city::run(&self.scenario, &self.settings, fleet, seed, policy, &mut tell);
                run.map(|run| (run.outcome, run.violations)).map_err(|error| match error {
                    RunError::Scenario(error) => scenario::bad(error),
                    RunError::Settings(error) => Failure::usage(error),
                })
            }
            _ => baseline::run(&self.scenario, fleet, seed, policy)
                .map(|outcome| (outcome, Vec::new()))
                .map_err(|error| match error {
                    BaselineError::Scenario(error) => scenario::bad(error),
                    BaselineError::NotCentral(_) => Failure::failed(error),
                }),
        };
        // An invariant that a run breaks must leave behind how to see it again.
        let result = catch_unwind(AssertUnwindSafe(one));
        bar.finish_and_clear();
        let (outcome, violations) = match result {
            Ok(result) => result?,
            Err(_) => return Err(Failure::failed("the run broke off").hint(self.replay(case))),
        };
        let figures = Figures::of(&outcome, begun.elapsed().as_secs_f64());
        Ok((outcome, figures, violations))
    }

    fn replay(&self, case: Case) -> String {
        let command = replay::command(self.args, &[case.fleet], &[case.seed], &[case.policy.to_string()]);
        format!("replay it with: {command}")
    }

    /// The exit code: what broke and what was not reached, with the command to see it again.
    fn verdict(
        &self,
        broken: &[(Case, Violation)],
        failed: &[Failed],
        seeds: &[u64],
        policies: &[String],
    ) -> Result<Exit, Failure> {
        for (case, violation) in broken {
            eprintln!(
                "error: {}, {} cars, seed {}: {:.1} s: {}",
                case.policy,
                case.fleet,
                case.seed,
                violation.at_ms as f64 / 1_000.0,
                violation.what
            );
            eprintln!("hint: {}", self.replay(*case));
        }
        for failure in failed {
            eprintln!("error: assertion failed: {failure}");
        }
        if failed.is_empty() {
            return Ok(if broken.is_empty() { Exit::Ok } else { Exit::Failed });
        }
        let mut fleets: Vec<u32> = failed.iter().map(|failure| failure.fleet).collect();
        fleets.sort_unstable();
        fleets.dedup();
        let mut command = replay::command(self.args, &fleets, seeds, policies);
        for text in unique(&failed.iter().map(|failure| failure.assertion.clone()).collect::<Vec<_>>()) {
            command += &format!(" --assert {}", replay::quoted(&text));
        }
        eprintln!("hint: replay it with: {command}");
        Ok(Exit::AssertionFailed)
    }
}

/// Progress for people who look; nothing for pipes and logs.
fn bar(out: Output) -> ProgressBar {
    if out.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} s simulated, {elapsed}, {eta} to go");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The table for people: each run, and the mean of several seeds.
pub(super) fn print(summary: &Summary, out: Output) -> Result<(), Failure> {
    let columns = [
        "fleet",
        "policy",
        "seed",
        "served",
        "wait",
        "p50",
        "p95",
        "lost incl.",
        "pickup",
        "empty km",
        "double",
        "msgs/ride",
        "B/node/s",
        "view",
        "wall",
    ];
    let mut rows = Vec::new();
    for group in report::groups(&summary.runs) {
        for run in &group.runs {
            rows.push(row(&Group { runs: vec![run], ..group.clone() }, run.seed.to_string()));
        }
        if group.runs.len() > 1 {
            rows.push(row(&group, "mean".to_owned()));
        }
    }
    out.table(&columns, rows)?;
    let rss = summary.peak_rss_mib.map_or_else(String::new, |mib| format!(", {mib:.0} MiB at most"));
    out.line(format!("{}: {} requests; {:.1} s{rss}", summary.scenario, summary.requests, summary.wall_s))
}

fn row(group: &Group<'_>, seed: String) -> Vec<String> {
    let is_nodes = group.policy.starts_with("p2p");
    let show = |metric: &str, factor: f64, decimals: usize, unit: &str| {
        let value = group.mean(metric);
        value.map_or_else(|| "-".to_owned(), |value| format!("{:.decimals$}{unit}", value * factor))
    };
    let said = |metric: &str| if is_nodes { show(metric, 1.0, 0, "") } else { "-".to_owned() };
    vec![
        group.fleet.to_string(),
        group.policy.to_owned(),
        seed,
        show("served_share", 100.0, 2, " %"),
        show("wait_s.mean", 1.0, 1, " s"),
        show("wait_s.p50", 1.0, 0, " s"),
        show("wait_s.p95", 1.0, 0, " s"),
        show("wait_s.all_mean", 1.0, 1, " s"),
        show("pickup_s.mean", 1.0, 1, " s"),
        show("empty_km_share", 100.0, 1, " %"),
        said("double_bookings"),
        said("messages_per_ride"),
        said("bytes_per_node_s"),
        if is_nodes { show("view_share", 100.0, 1, " %") } else { "-".to_owned() },
        show("wall_s", 1.0, 1, " s"),
    ]
}

/// What the report says the runs were made with.
fn described(args: &SimRunArgs) -> Vec<(String, String)> {
    let conditions = &args.conditions;
    let mut settings = vec![
        ("loss".to_owned(), format!("{} %", super::rounded(conditions.loss * 100.0, 3))),
        (
            "latency".to_owned(),
            format!("{} to {} ms", conditions.latency.least_ms, conditions.latency.most_ms),
        ),
        (
            "churn".to_owned(),
            format!("{} % of the nodes a minute", super::rounded(conditions.churn * 100.0, 3)),
        ),
        ("duplication".to_owned(), format!("{} %", super::rounded(conditions.duplication * 100.0, 3))),
    ];
    let defaults = Settings::default();
    let level = |level: Option<u8>, default: u8| level.unwrap_or(default).to_string();
    let drivers = level(conditions.precision, defaults.driver_precision.get());
    let riders = level(conditions.rider_precision, defaults.rider_precision.get());
    settings.push(("precision of cars".to_owned(), drivers));
    settings.push(("precision of riders".to_owned(), riders));
    if conditions.skew + conditions.drift > 0 {
        settings.push(("clocks".to_owned(), format!("±{} ms, {} ppm", conditions.skew, conditions.drift)));
    }
    if conditions.acceptance < 1.0 {
        let share = super::rounded(conditions.acceptance * 100.0, 3);
        settings.push(("requests that drivers agree to".to_owned(), format!("{share} %")));
    }
    if conditions.breaks > 0.0 {
        settings.push(("breaks of a driver an hour".to_owned(), conditions.breaks.to_string()));
    }
    if conditions.cheats > 0 {
        settings.push(("nodes that cheat".to_owned(), conditions.cheats.to_string()));
    }
    if let Some(kmh) = args.uniform_speed {
        settings.push(("speed everywhere".to_owned(), format!("{kmh} km/h")));
    }
    settings
}

/// The files of `--out`. What is large is written while the runs are made.
struct Files {
    folder: PathBuf,
    rides: BufWriter<File>,
    is_empty: bool,
}

impl Files {
    fn create(folder: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
        let path = folder.join("rides.csv");
        let file = File::create(&path).map_err(|error| unwritable(&path, &error))?;
        Ok(Self { folder: folder.to_path_buf(), rides: BufWriter::new(file), is_empty: true })
    }

    fn rides(&mut self, outcome: &RunOutcome) -> Result<(), Failure> {
        let csv = report::rides_csv([outcome]);
        let is_first = std::mem::take(&mut self.is_empty);
        // One head for all runs.
        let text = if is_first { &csv } else { csv.split_once('\n').map_or("", |(_, rows)| rows) };
        let written = self.rides.write_all(text.as_bytes());
        written.map_err(|error| unwritable(&self.folder.join("rides.csv"), &error))
    }

    fn trips(&self, outcome: &RunOutcome, scenario: &Scenario) -> Result<(), Failure> {
        let text = report::trips_geojson(outcome, &scenario.roads, scenario.boarding_ms);
        write(&self.folder, "trips.geojson", &text)
    }

    fn report(mut self, report: &Report, out: Output) -> Result<(), Failure> {
        self.rides.flush().map_err(|error| unwritable(&self.folder.join("rides.csv"), &error))?;
        write(&self.folder, "report.json", &report.to_json())?;
        pages(&self.folder, report)?;
        out.remark(format!("the report is {}", self.folder.join("report.html").display()));
        Ok(())
    }
}

/// The pages that can be drawn from a report.
pub(super) fn pages(folder: &Path, report: &Report) -> Result<(), Failure> {
    write(folder, "report.html", &report::html(report))?;
    write(folder, "report.md", &report::markdown(report))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|error| unwritable(&path, &error))
}

/// A file or folder that cannot be written.
pub(super) fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}

/// Each once, in the order of their first mention.
fn unique<T: Clone + PartialEq>(items: &[T]) -> Vec<T> {
    let mut unique: Vec<T> = Vec::new();
    for item in items {
        if !unique.contains(item) {
            unique.push(item.clone());
        }
    }
    unique
}
