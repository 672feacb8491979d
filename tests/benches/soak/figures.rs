//! Memory, open files and processor time of the processes, sizes of their journals, and
//! what is printed of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::node::{Node, Role};
use crate::stage::{Ended, Stage};

/// Ticks of `/proc/PID/stat` in a second: the same on every Linux.
const TICKS: f64 = 100.0;

/// One look at one process.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    node: usize,
    role: Role,
    resident_kib: u64,
    files: u64,
}

/// All looks at all processes.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    all: Vec<Sample>,
    /// Processor time by node and life, ticks.
    ticks: BTreeMap<(usize, u32), u64>,
}

/// Least, median and greatest.
fn spread(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_unstable_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    Some([least, values[values.len() / 2], most].map(rounded))
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

impl Samples {
    pub(crate) fn is_possible() -> bool {
        Path::new("/proc/self/fd").exists()
    }

    /// Looks at every process that runs.
    pub(crate) fn take(&mut self, stage: &Stage) {
        let at = stage.begun.elapsed();
        for node in stage.nodes.iter().filter(|node| node.client().is_some()) {
            let Some(pid) = node.pid() else { continue };
            let proc = Path::new("/proc").join(pid.to_string());
            let read = |name: &str| std::fs::read_to_string(proc.join(name)).unwrap_or_default();
            let status = read("status");
            let kib = |line: &str| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok();
            let Some(resident_kib) = status.lines().find_map(kib) else { continue };
            let files = std::fs::read_dir(proc.join("fd")).map_or(0, |files| files.count() as u64);
            self.all.push(Sample { at, node: node.index, role: node.role, resident_kib, files });
            // Behind the name in brackets: utime and stime are the 12th and 13th.
            let stat = read("stat");
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            let ticks = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
            self.ticks.insert((node.index, node.lives()), ticks);
        }
    }

    /// Processor time of all nodes, seconds.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn processor_s(&self) -> f64 {
        self.ticks.values().sum::<u64>() as f64 / TICKS
    }

    fn of(&self, wanted: impl Fn(&Sample) -> bool) -> (Option<[f64; 3]>, Option<[f64; 3]>) {
        let of: Vec<&Sample> = self.all.iter().filter(|sample| wanted(sample)).collect();
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let files = spread(of.iter().map(|sample| sample.files as f64).collect());
        (spread(of.iter().map(|sample| mib(sample.resident_kib)).collect()), files)
    }

    /// Memory and files by role since that time.
    fn since(&self, since: Duration) -> (Value, Value) {
        let (mut memory, mut files) = (BTreeMap::new(), BTreeMap::new());
        for role in Role::ALL {
            let (found, open) = self.of(|sample| sample.role == role && sample.at >= since);
            memory.insert(role.name(), found);
            files.insert(role.name(), open);
        }
        (json!(memory), json!(files))
    }

    /// How memory went: least, median, greatest, the medians of the first and the last
    /// quarter, and the slope between the middles of these, MiB an hour.
    fn course(&self, whole: Duration, wanted: impl Fn(&Sample) -> bool) -> Value {
        let (all, files) = self.of(&wanted);
        let median = |from: Duration, to: Duration| {
            self.of(|sample| wanted(sample) && from <= sample.at && sample.at < to).0.map(|found| found[1])
        };
        let (first, last) = (median(Duration::ZERO, whole / 4), median(whole * 3 / 4, whole));
        let hours = whole.as_secs_f64() * 0.75 / 3_600.0;
        let slope = first.zip(last).map(|(first, last)| rounded((last - first) / hours));
        json!({
            "resident_mib": all, "first_quarter": first, "last_quarter": last,
            "slope_mib_per_h": slope, "files": files,
        })
    }
}

/// Bytes of the journal of a node, with its log.
fn journal_kib(node: &Node) -> u64 {
    let size = |name: &str| std::fs::metadata(node.home.join(name)).map_or(0, |meta| meta.len());
    (size("hailmesh.db") + size("hailmesh.db-wal")) / 1024
}

fn journals(stage: &Stage) -> Value {
    let of = |role: Role| {
        let nodes = stage.nodes.iter().filter(|node| node.role == role);
        spread(nodes.map(|node| mib(journal_kib(node))).collect())
    };
    json!(Role::ALL.map(|role| (role.name(), of(role))).into_iter().collect::<BTreeMap<_, _>>())
}

/// Rides of riders that are over, by how.
fn outcomes(stage: &Stage) -> (u64, BTreeMap<&'static str, u64>, BTreeMap<String, u64>) {
    let (mut firm, mut counts, mut details) = (0, BTreeMap::new(), BTreeMap::new());
    for name in ["completed", "cancelled", "no_show", "expired", "forgotten"] {
        counts.insert(name, 0);
    }
    let board = stage.board();
    let riders = |node: usize| stage.nodes[node].role == Role::Rider;
    for ((_, _), Ended { state, reason, was_firm, .. }) in
        board.ended.iter().filter(|((node, _), _)| riders(*node))
    {
        firm += u64::from(*was_firm);
        let kind = match state.as_str() {
            "completed" => "completed",
            "no_show" => "no_show",
            "forgotten" => "forgotten",
            "expired" | "declined" | "unknown" => "expired",
            _ => "cancelled",
        };
        *counts.entry(kind).or_default() += 1;
        *details.entry(format!("{state}: {reason}")).or_default() += 1;
    }
    (firm, counts, details)
}

/// Rides and kills so far.
fn tally(stage: &Stage) -> Value {
    let (firm, ended, _) = outcomes(stage);
    let down = stage.nodes.iter().filter(|node| node.is_taken()).count();
    let board = stage.board();
    let mut ready = board.ready.clone();
    ready.sort_unstable();
    let ms = |at: usize| ready.get(at).map(Duration::as_millis);
    let verified = board.ended.values().filter(|ended| ended.is_verified).count();
    let (agreements, completed) = board.audit.counts();
    let open = board.open.iter().filter(|(node, _)| stage.nodes[**node].role == Role::Rider);
    let open = open.map(|(_, (rides, _))| *rides as u64).sum::<u64>();
    json!({
        "requested": ended.values().sum::<u64>() + open, "open": open, "firm": firm, "ended": ended,
        "agreements": agreements, "completed_both": completed, "receipts": board.audit.receipts(), "verified": verified,
        "kills": board.kills.values().sum::<u64>(), "restarts": board.restarts, "down": down,
        "ready_p50_ms": ms(ready.len() / 2), "ready_max_ms": ready.last().map(Duration::as_millis),
        "violations": board.violations.len(),
    })
}

/// One line for every minute.
pub(crate) fn minute(stage: &Stage, samples: &Samples, minute: u64) {
    let begun = Duration::from_secs(60 * (minute.saturating_sub(1)));
    let (memory, files) = samples.since(begun);
    println!(
        "{}",
        json!({
            "minute": minute, "rides": tally(stage), "resident_mib": memory, "files": files,
            "journal_mib": journals(stage), "processor_s": rounded(samples.processor_s()),
        })
    );
}

/// What came of it all.
pub(crate) fn summary(stage: &Stage, samples: &Samples, load: Duration, drained: Option<Duration>) {
    let (_, _, details) = outcomes(stage);
    let spared = |role: Role| {
        let node = stage.nodes.iter().find(|node| node.role == role && node.spared).map(|node| node.index);
        samples.course(load, |sample| Some(sample.node) == node)
    };
    let by_role: BTreeMap<&str, Value> = Role::ALL
        .map(|role| (role.name(), samples.course(load, |sample| sample.role == role)))
        .into_iter()
        .collect();
    let tally = tally(stage);
    let journals = journals(stage);
    let board = stage.board();
    let summary = json!({
        "seed": stage.seed,
        "load_min": rounded(load.as_secs_f64() / 60.0),
        "rides": tally,
        "outcomes": details,
        "kills": board.kills,
        "all_over_s": drained.map(|took| rounded(took.as_secs_f64())),
        "by_role": by_role,
        "never_killed": { "driver": spared(Role::Driver), "rider": spared(Role::Rider) },
        "journal_mib": journals,
        "processor_s": rounded(samples.processor_s()),
        "notes": board.notes,
        "violations": board.violations,
    });
    println!("{}", serde_json::to_string_pretty(&summary).unwrap_or_default());
}
