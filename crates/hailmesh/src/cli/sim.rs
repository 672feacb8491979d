//! `hailmesh sim`, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use hailmesh_sim::Policy;
use hailmesh_sim::import::Area;
use hailmesh_sim::report::Assertion;
use hailmesh_types::GeoPoint;

const RUN_HELP: &str = "\
SCENARIO is a folder with nodes.csv, edges.csv, requests.csv and vehicles.csv, a TOML file that
describes a city, or `grid`: a synthetic downtown with 200 cars and 600 riders an hour.

Policies: p2p (every car and every rider is a node of its own; p2p:nearest, p2p:nearest-pair and
p2p:assignment name its rule) and dispatchers that see everything: first-come, batched:SECONDS,
nearest-pair:SECONDS. Every policy is run with every fleet and every seed.

Assertions: POLICY.METRIC OP LIMIT with one of >= <= > < == !=. METRIC is a field of a run such as
served_share or wait_s.all_mean; LIMIT is a number, or [NUMBER*]POLICY.METRIC[+NUMBER|-NUMBER].
POLICY@FLEET names one fleet. Figures are means over the seeds, judged for each fleet. One that does
not hold makes the exit code 10, after everything else has been printed and written.

Examples:
  hailmesh sim run grid
  hailmesh sim run data/manhattan-rush-hour --fleet 3200 --policy p2p,batched:5,first-come --json
  hailmesh sim run grid --seed 0,1,2 --loss 0.05 --churn 0.05/min --out report
  hailmesh sim run town.toml --policy p2p,batched:5 \\
      --assert 'p2p.double_bookings==0' \\
      --assert 'p2p.wait_s.all_mean<=1.05*batched:5.wait_s.all_mean'

Files of --out: report.html, report.md, report.json, rides.csv (every request of every run) and
trips.geojson (the rides of the first p2p run, for kepler.gl and deck.gl).";

const SCALE_HELP: &str = "\
Cities of one density and growing size, without any data. For each size it prints a line with
events a second, bytes a node and second, memory and time: what grows faster than the city does
not scale.

Examples:
  hailmesh sim scale
  hailmesh sim scale --nodes 1000,10000,100000 --json
  hailmesh sim scale --nodes 1000000 --minutes 2 --threads 8";

const LIVE_HELP: &str = "\
Nothing is simulated here but people: nodes, connections and signatures are those of `hailmesh
driver` and `hailmesh rider`. With --latency the bytes of each connection wait as long as they
would be on their way. Beside the measured delivery of gossip, from publishing to a listener, stands
what the simulator's model says for as many listeners and the same links.

Examples:
  hailmesh sim live
  hailmesh sim live --nodes 100 --rides 50 --json
  hailmesh sim live --nodes 100 --rides 300 --latency 50ms..200ms";

const IMPORT_HELP: &str = "\
A scenario folder needs roads and demand. Import the roads first, then the demand into the same
folder.

Examples:
  hailmesh sim import osm manhattan.osm.pbf --out city
  hailmesh sim import tlc trips_2013_11.csv --out city --from '2013-11-18 16:00' --hours 1
  hailmesh sim run city";

const REPORT_HELP: &str = "\
Draws report.html and report.md again from a saved report.json, without running anything.

Examples:
  hailmesh sim report results
  hailmesh sim report results/report.json --out elsewhere --json";

/// `hailmesh sim`.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// What about it.
    #[command(subcommand)]
    pub action: SimAction,
}

/// What to do with a simulated city.
#[derive(Debug, Subcommand)]
pub enum SimAction {
    /// Run a city: policies beside each other, for fleets and seeds.
    #[command(after_help = RUN_HELP)]
    Run(Box<SimRunArgs>),
    /// Run cities of growing size and say what a node costs in each.
    #[command(after_help = SCALE_HELP)]
    Scale(SimScaleArgs),
    /// Run real nodes in this process, connected over loopback.
    #[command(after_help = LIVE_HELP)]
    Live(SimLiveArgs),
    /// Make a scenario folder from public data.
    #[command(after_help = IMPORT_HELP)]
    Import(SimImportArgs),
    /// Draw a saved report again.
    #[command(after_help = REPORT_HELP)]
    Report(SimReportArgs),
}

/// `hailmesh sim run`.
#[derive(Debug, Clone, Args)]
pub struct SimRunArgs {
    /// Scenario folder, TOML file, or `grid`.
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// Cars; several with commas. Without it all cars of the scenario.
    #[arg(long, value_name = "N,…", env = "HAILMESH_SIM_FLEET", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub fleet: Vec<u32>,
    /// Seeds; several with commas. A seed chooses the cars and all chances of a run.
    #[arg(long, value_name = "S,…", env = "HAILMESH_SIM_SEED", value_delimiter = ',', default_value = "0")]
    pub seed: Vec<u64>,
    /// Who decides; several with commas.
    #[arg(
        long,
        value_name = "POLICY,…",
        env = "HAILMESH_SIM_POLICY",
        value_delimiter = ',',
        default_value = "p2p"
    )]
    pub policy: Vec<Policy>,
    /// One speed on all roads instead of theirs, km/h, 1 to 300.
    #[arg(long, value_name = "KMH", env = "HAILMESH_SIM_UNIFORM_SPEED", value_parser = speed)]
    pub uniform_speed: Option<f64>,
    /// What links and nodes are like.
    #[command(flatten)]
    pub conditions: Conditions,
    /// What has to hold, such as 'p2p.served_share>=0.98'; repeatable. Exit code 10 if it
    /// does not.
    #[arg(long = "assert", value_name = "ASSERTION", env = "HAILMESH_SIM_ASSERT", value_delimiter = ';')]
    pub assertions: Vec<Assertion>,
    /// Folder for the report: HTML, Markdown, JSON, CSV, GeoJSON.
    #[arg(long, value_name = "DIR", env = "HAILMESH_SIM_OUT")]
    pub out: Option<PathBuf>,
}

/// What links and nodes are like.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Links and nodes")]
pub struct Conditions {
    /// Share of messages that are lost, 0 to 0.9, or in per cent: 1%.
    #[arg(long, value_name = "SHARE", env = "HAILMESH_SIM_LOSS", default_value = "0.01", value_parser = share)]
    pub loss: f64,
    /// Time a message takes, evenly spread: 50ms..200ms, or one time.
    #[arg(long, value_name = "SPAN", env = "HAILMESH_SIM_LATENCY", default_value = "50ms..200ms", value_parser = latency)]
    pub latency: Latency,
    /// Share of nodes that crash in a minute and come back: 0.05/min.
    #[arg(long, value_name = "SHARE/min", env = "HAILMESH_SIM_CHURN", default_value = "0/min", value_parser = churn)]
    pub churn: f64,
    /// Share of messages that arrive twice, 0 to 1.
    #[arg(long, value_name = "SHARE", env = "HAILMESH_SIM_DUPLICATION", default_value = "0.01", value_parser = share)]
    pub duplication: f64,
    /// Greatest error of a node's clock, milliseconds, 0 to 3600000.
    #[arg(long, value_name = "MS", env = "HAILMESH_SIM_SKEW", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=3_600_000))]
    pub skew: u32,
    /// Greatest drift of a node's clock, millionths, 0 to 1000.
    #[arg(long, value_name = "PPM", env = "HAILMESH_SIM_DRIFT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000))]
    pub drift: u32,
    /// Nodes that cheat, in addition to the fleet.
    #[arg(long, value_name = "N", env = "HAILMESH_SIM_CHEATS", default_value_t = 0)]
    pub cheats: u32,
    /// Share of requests that drivers agree to, 0 to 1; below 1 they decide themselves,
    /// within 2 to 8 s.
    #[arg(long, value_name = "SHARE", env = "HAILMESH_SIM_ACCEPTANCE", default_value = "1", value_parser = share)]
    pub acceptance: f64,
    /// Breaks of 5 to 15 minutes that a driver takes in an hour, 0 to 60.
    #[arg(long, value_name = "N", env = "HAILMESH_SIM_BREAKS", default_value_t = 0.0)]
    pub breaks: f64,
    /// How finely cars say where they are: 7 (5 km²) to 10 (0.015 km²). Without it as
    /// nodes do.
    #[arg(long, value_name = "7..10", env = "HAILMESH_SIM_PRECISION", value_parser = clap::value_parser!(u8).range(7..=10))]
    pub precision: Option<u8>,
    /// The same for riders who wait.
    #[arg(long, value_name = "7..10", env = "HAILMESH_SIM_RIDER_PRECISION", value_parser = clap::value_parser!(u8).range(7..=10))]
    pub rider_precision: Option<u8>,
    /// Signatures: Ed25519, or a keyed hash that is hundreds of times faster and gives the
    /// same run.
    #[arg(long, env = "HAILMESH_SIM_SIGNATURES", value_enum, default_value_t = Signatures::StandIn)]
    pub signatures: Signatures,
    /// Worker threads, 1 to 64; the outcome does not depend on them. Without it one for
    /// each core.
    #[arg(long, value_name = "N", env = "HAILMESH_SIM_THREADS", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: Option<u8>,
}

/// One-way latency, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// The least.
    pub least_ms: u32,
    /// The most.
    pub most_ms: u32,
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}ms..{}ms", self.least_ms, self.most_ms)
    }
}

/// How signatures are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Signatures {
    /// Ed25519.
    Real,
    /// A keyed hash.
    StandIn,
}

/// `hailmesh sim scale`.
#[derive(Debug, Clone, Args)]
pub struct SimScaleArgs {
    /// Sizes, drivers and riders together, 10 to 10000000; several with commas.
    #[arg(long, value_name = "N,…", env = "HAILMESH_SIM_NODES", value_delimiter = ',', default_value = "1000,10000,100000", value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    pub nodes: Vec<u32>,
    /// Minutes of demand, 1 to 60; two more let the last rides settle.
    #[arg(long, value_name = "MINUTES", env = "HAILMESH_SIM_MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub minutes: u32,
    /// Seed of the cities and of the runs.
    #[arg(long, value_name = "S", env = "HAILMESH_SIM_SEED", default_value_t = 0)]
    pub seed: u64,
    /// What links and nodes are like.
    #[command(flatten)]
    pub conditions: Conditions,
}

/// `hailmesh sim live`.
#[derive(Debug, Clone, Args)]
pub struct SimLiveArgs {
    /// Nodes, 2 to 600: a quarter are riders.
    #[arg(long, value_name = "N", env = "HAILMESH_SIM_NODES", default_value_t = 40, value_parser = clap::value_parser!(u16).range(2..=600))]
    pub nodes: u16,
    /// Ends after so many completed rides.
    #[arg(long, value_name = "M", env = "HAILMESH_SIM_RIDES", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub rides: u32,
    /// Where people are and where they want to go.
    #[arg(long, value_name = "S", env = "HAILMESH_SIM_SEED", default_value_t = 1)]
    pub seed: u64,
    /// One-way latency of connections, evenly spread: 50ms..200ms, or one time. Without it
    /// that of loopback, next to nothing.
    #[arg(long, value_name = "SPAN", env = "HAILMESH_SIM_LATENCY", value_parser = latency)]
    pub latency: Option<Latency>,
}

/// `hailmesh sim import`.
#[derive(Debug, Args)]
pub struct SimImportArgs {
    /// What kind of data.
    #[command(subcommand)]
    pub format: ImportFormat,
}

/// Kinds of public data.
#[derive(Debug, Subcommand)]
pub enum ImportFormat {
    /// Roads: an OpenStreetMap extract (.osm.pbf) of a city; writes nodes.csv and edges.csv.
    Osm {
        /// The extract.
        file: PathBuf,
        /// Folder of the scenario.
        #[arg(long, value_name = "DIR", env = "HAILMESH_SIM_OUT")]
        out: PathBuf,
        /// Only roads in this rectangle: its corners in degrees.
        #[arg(long, value_name = "SOUTH,WEST,NORTH,EAST", env = "HAILMESH_SIM_AREA", allow_hyphen_values = true, value_parser = area)]
        area: Option<Area>,
    },
    /// Demand: trip records of the New York City Taxi and Limousine Commission with
    /// coordinates (.csv); writes requests.csv and vehicles.csv.
    Tlc {
        /// The records.
        file: PathBuf,
        /// Folder of the scenario.
        #[arg(long, value_name = "DIR", env = "HAILMESH_SIM_OUT")]
        out: PathBuf,
        /// The first moment in the time of the records, such as '2013-11-18 16:00'; without
        /// it the full hour of the earliest trip.
        #[arg(long, value_name = "TIME", env = "HAILMESH_SIM_FROM")]
        from: Option<String>,
        /// How many hours, 1 to 168.
        #[arg(long, value_name = "N", env = "HAILMESH_SIM_HOURS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=168))]
        hours: u32,
        /// Only trips in this rectangle; without it in that of the roads in the folder, if
        /// there are any.
        #[arg(long, value_name = "SOUTH,WEST,NORTH,EAST", env = "HAILMESH_SIM_AREA", allow_hyphen_values = true, value_parser = area)]
        area: Option<Area>,
        /// Seed of the order of the cars.
        #[arg(long, value_name = "S", env = "HAILMESH_SIM_SEED", default_value_t = 0)]
        seed: u64,
    },
}

/// `hailmesh sim report`.
#[derive(Debug, Clone, Args)]
pub struct SimReportArgs {
    /// Folder of a report, or its report.json.
    #[arg(value_name = "DIR|report.json")]
    pub report: PathBuf,
    /// Folder for the pages; without it beside report.json.
    #[arg(long, value_name = "DIR", env = "HAILMESH_SIM_OUT")]
    pub out: Option<PathBuf>,
}

/// A share from `0.01` or `1%`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let bad = || "expected a share from 0 to 1, such as 0.05 or 5%".to_owned();
    let value = number.trim().parse::<f64>().map_err(|_| bad())? / unit;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(bad()) }
}

/// A share from `0.05/min`.
fn churn(text: &str) -> Result<f64, String> {
    share(text.strip_suffix("/min").unwrap_or(text)).map_err(|_| {
        "expected a share of the nodes per minute from 0/min to 1/min, such as 0.05/min".to_owned()
    })
}

/// `50ms..200ms`, or one time for both ends.
fn latency(text: &str) -> Result<Latency, String> {
    let bad = || "expected 1ms to 10s, the smaller first, such as 50ms..200ms".to_owned();
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let ms = |text: &str| {
        let span = humantime::parse_duration(text.trim()).map_err(|_| bad())?;
        u32::try_from(span.as_millis()).ok().filter(|ms| (1..=10_000).contains(ms)).ok_or_else(bad)
    };
    let latency = Latency { least_ms: ms(least)?, most_ms: ms(most)? };
    if latency.least_ms <= latency.most_ms { Ok(latency) } else { Err(bad()) }
}

/// A rectangle from its corners in degrees.
fn area(text: &str) -> Result<Area, String> {
    let bad = || "expected SOUTH,WEST,NORTH,EAST in degrees, such as 40.70,-74.02,40.88,-73.91".to_owned();
    let degrees: Vec<f64> =
        text.split(',').map(|part| part.trim().parse().map_err(|_| bad())).collect::<Result<_, _>>()?;
    let &[south, west, north, east] = degrees.as_slice() else { return Err(bad()) };
    if !(south < north && west < east) {
        return Err(format!("{}, south below north and west below east", bad()));
    }
    let corner = |lat, lon| GeoPoint::from_degrees(lat, lon).map_err(|error| error.to_string());
    Ok(Area { south_west: corner(south, west)?, north_east: corner(north, east)? })
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(kmh) if (1.0..=300.0).contains(&kmh) => Ok(kmh),
        _ => Err("expected 1 to 300 km/h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_spans() {
        assert_eq!((share("0.05"), share("5%")), (Ok(0.05), Ok(0.05)));
        assert_eq!((churn("0.05/min"), churn("0")), (Ok(0.05), Ok(0.0)));
        assert_eq!(latency("50ms..200ms"), Ok(Latency { least_ms: 50, most_ms: 200 }));
        assert_eq!(latency("1s"), Ok(Latency { least_ms: 1_000, most_ms: 1_000 }));
        for bad in ["", "NaN", "-0.1", "1.1", "inf", "101%"] {
            assert!(share(bad).is_err() && churn(bad).is_err(), "{bad}");
        }
        for bad in ["", "0ms", "200ms..50ms", "11s", "50..200", "50ms..", "..50ms"] {
            assert!(latency(bad).is_err(), "{bad}");
        }
        assert!(area("40.7,-74.02,40.88,-73.91").is_ok());
        for bad in ["", "1,2,3", "1,2,3,4,5", "40.9,-74,40.7,-73", "NaN,0,1,1", "0,0,91,1", "a,b,c,d"] {
            assert!(area(bad).is_err(), "{bad}");
        }
        assert!(speed("NaN").is_err() && speed("0.5").is_err() && speed("20") == Ok(20.0));
    }
}
