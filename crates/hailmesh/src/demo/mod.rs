//! A small city in one process: real nodes, real swarms on loopback, real signatures.
//!
//! Everything goes through [`hailmesh_node::NodeHandle`], as it would from outside. What
//! people do is simulated and takes seconds instead of minutes: a driver "drives" to the
//! pickup, rider and driver "meet" and the rider says the boarding code, the ride ends.
//! What nodes do is not simulated at all.
//!
//! * `city`: starts the nodes and connects each with a few others;
//! * `people`: what drivers and riders do;
//! * `audit`: collects every receipt of both sides and looks for double bookings without
//!   trusting any node;
//! * `detour`: links that take their time;
//! * `meter`: how long gossip takes, and whom it reaches;
//! * `figures`: percentiles, and what gossip cost.

mod audit;
mod city;
mod detour;
mod figures;
mod meter;
mod people;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hailmesh_api::types::Money;
use hailmesh_types::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use audit::Audit;
pub use figures::{Delivery, Gossip, Percentiles, Report};
pub use meter::Audience;

use city::City;
use figures::Settling;
use people::Stage;

use crate::exit::Failure;

/// How long nothing may happen before the demo gives up.
const STANDSTILL: Duration = Duration::from_secs(60);
/// How long the last receipts may take to the other side.
const RECEIPTS: Duration = Duration::from_secs(3);
/// How often is looked whether they have come.
const LOOK: Duration = Duration::from_millis(100);

/// How big the city is and for how long it lives.
#[derive(Debug, Clone)]
pub struct DemoConfig {
    /// Driver nodes.
    pub drivers: u16,
    /// Rider nodes.
    pub riders: u16,
    /// Ends after so many completed rides; without it when cancelled.
    pub rides: Option<u32>,
    /// Where people are and where they want to go.
    pub seed: u64,
    /// Keeps the keys and journals of the nodes below this folder; without it nothing is on
    /// disk.
    pub home: Option<PathBuf>,
    /// One-way latency of each connection, evenly drawn from this range, milliseconds;
    /// without it that of loopback.
    pub latency_ms: Option<(u32, u32)>,
}

/// Something to tell the one who watches.
#[derive(Debug, Clone, PartialEq)]
pub enum Scene {
    /// So many nodes run, and riders see drivers.
    Open {
        /// Nodes.
        nodes: usize,
        /// How long it took to start and connect them.
        took: Duration,
    },
    /// A ride is agreed.
    Firm {
        /// Number of the ride, from 1.
        ride: u32,
        /// Number of the rider, from 0.
        rider: usize,
        /// Number of the driver, from 0.
        driver: usize,
        /// What it costs.
        fare: Money,
        /// Time from the request to firm.
        settle: Duration,
        /// Drivers asked.
        asked: u32,
    },
    /// A ride is over, and both receipts hold.
    Completed {
        /// Number of the ride.
        ride: u32,
        /// What was paid.
        total: Option<Money>,
    },
    /// A search or ride that came to nothing.
    Failed {
        /// Number of the rider.
        rider: usize,
        /// Why.
        why: String,
    },
}

/// Runs a city until it has seen enough rides or `stop` is cancelled, and says how it went.
///
/// # Errors
/// When the nodes cannot be started, or nothing happens for a minute.
pub async fn run(
    config: DemoConfig,
    stop: CancellationToken,
    mut tell: impl FnMut(Scene),
) -> Result<Report, Failure> {
    let begun = Instant::now();
    let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    let since = Timestamp::from_millis(now_ms).ok();
    let city = tokio::select! {
        city = City::start(&config) => Arc::new(city?),
        () = stop.cancelled() => return Err(Failure::new(crate::exit::Exit::Interrupted, "")),
    };
    tell(Scene::Open { nodes: city.nodes().count(), took: begun.elapsed() });
    city.meter.begin();
    let before = figures::Counters::read(&city);
    let measured = Instant::now();

    let closing = stop.child_token();
    let (scenes, mut heard) = mpsc::unbounded_channel();
    let stage = Arc::new(Stage::new(Arc::clone(&city), &config, scenes, closing.clone()));
    let mut people = stage.open();
    let mut settling = Settling::new();
    let (mut settled, mut completed) = (0, 0);
    let mut result = Ok(());
    loop {
        let scene = tokio::select! {
            scene = heard.recv() => scene,
            () = tokio::time::sleep(STANDSTILL) => {
                result = Err(Failure::failed(format!(
                    "nothing has happened for {} s after {completed} completed rides",
                    STANDSTILL.as_secs()
                )));
                None
            }
            () = stop.cancelled() => None,
        };
        let Some(scene) = scene else { break };
        match &scene {
            Scene::Firm { settle, .. } => {
                settled += 1;
                settling.add(*settle);
            }
            Scene::Completed { .. } => completed += 1,
            Scene::Open { .. } | Scene::Failed { .. } => {}
        }
        tell(scene);
        if config.rides.is_some_and(|rides| completed >= rides) {
            break;
        }
    }
    closing.cancel();
    while people.join_next().await.is_some() {}
    result?;
    let wall = measured.elapsed();
    let nodes = city.nodes().count();
    let gossip = figures::Counters::read(&city).since(before, wall, nodes, city.meter.finish());
    let audit = audit(&city, since, completed).await?;
    city.check_links().await?;
    city.stop().await;
    Ok(Report {
        nodes: usize::from(config.drivers) + usize::from(config.riders),
        drivers: config.drivers.into(),
        riders: config.riders.into(),
        rides_settled: settled,
        rides_completed: completed,
        double_bookings: audit.double_bookings(),
        settle_ms: settling.percentiles(),
        receipts_verified: audit.verified(),
        receipts_refused: audit.refused(),
        gossip,
        wall_s: seconds(begun.elapsed()),
    })
}

/// Looks through all receipts; again for a while, when the last of them are still on their
/// way to the other side.
async fn audit(city: &City, since: Option<Timestamp>, completed: u32) -> Result<Audit, Failure> {
    let deadline = Instant::now() + RECEIPTS;
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let audit = Audit::of(city, since).await?;
        let is_whole = u32::try_from(audit.verified()).is_ok_and(|verified| verified >= completed);
        if is_whole || audit.refused() > 0 || Instant::now() >= deadline {
            return Ok(audit);
        }
    }
}

/// Seconds with three decimals.
fn seconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1_000.0).round() / 1_000.0
}
