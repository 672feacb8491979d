//! `hailmesh sim live`.

use hailmesh_sim::city::Overlay;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::machine;
use crate::cli::sim::{Latency, SimLiveArgs};
use crate::demo::{self, Delivery, DemoConfig, Gossip, Report, Scene};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::signals::Signals;
use crate::telemetry;

/// What `sim live --json` prints: the fields of `demo --json` and these.
#[derive(Debug, Serialize)]
struct Live {
    #[serde(flatten)]
    report: Report,
    /// Memory of a node: what the process held at most, less what it held before there
    /// were any.
    rss_mib_per_node: Option<f64>,
    /// From the first start until every rider saw a driver.
    mesh_ready_s: f64,
    /// What the simulator's model of gossip says of the same deliveries.
    model: Model,
}

/// What the simulator's model of gossip says: beside `gossip` of the same document.
#[derive(Debug, Serialize)]
struct Model {
    /// For as many deliveries to as many listeners over the same links.
    delivery_ms: Delivery,
    /// Copies of a message that reach a node, the first included.
    copies: f64,
    /// Share of those who listen that hears a message, 0 to 1.
    heard_share: f64,
}

impl Model {
    /// Most deliveries that are drawn; of more, each counts for several.
    const DRAWN_MAX: u64 = 200_000;

    fn of(gossip: &Gossip, latency: Option<Latency>, seed: u64) -> Self {
        let overlay = Overlay::default();
        let latency_ms = latency.map_or((0, 0), |latency| (latency.least_ms, latency.most_ms));
        let every = gossip.deliveries / Self::DRAWN_MAX + 1;
        let mut delays: Vec<u32> = Vec::new();
        let (mut heard, mut all) = (0.0, 0.0);
        for (audience, deliveries) in &gossip.audiences {
            let overlay = Overlay { flood: audience.peers.max(1), ..overlay };
            let drawn = deliveries.div_ceil(every);
            let weight = f64::from(u32::try_from(drawn).unwrap_or(u32::MAX));
            heard += weight * overlay.heard_share(audience.listeners);
            all += weight;
            let count = usize::try_from(drawn).unwrap_or(usize::MAX);
            delays.extend(overlay.delays_ms(latency_ms, audience.listeners, seed).take(count));
        }
        delays.sort_unstable();
        let quantile = |percent: u8| {
            let place = (delays.len() * usize::from(percent)).div_ceil(100).saturating_sub(1);
            delays.get(place).map_or(0.0, |ms| f64::from(*ms))
        };
        let heard_share = if all > 0.0 { super::rounded(heard / all, 4) } else { 1.0 };
        Self { delivery_ms: Delivery::at(quantile), copies: overlay.copies, heard_share }
    }
}

pub(super) async fn run(args: &SimLiveArgs, out: Output) -> Result<Exit, Failure> {
    telemetry::start(if out.quiet { "error" } else { "warn" }, false)?;
    let riders = (args.nodes / 4).max(1);
    let config = DemoConfig {
        drivers: args.nodes - riders,
        riders,
        rides: Some(args.rides),
        seed: args.seed,
        home: None,
        latency_ms: args.latency.map(|latency| (latency.least_ms, latency.most_ms)),
    };
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        signals.next().await;
        cancel.cancel();
        signals.next().await;
        std::process::exit(Exit::Interrupted as i32);
    });
    let links = args.latency.map(|latency| format!(", {latency} a link")).unwrap_or_default();
    out.remark(format!("{} real nodes on loopback{links}, of which {riders} are riders", args.nodes));
    let before = machine::rss_mib();
    let (mut mesh_ready_s, mut completed) = (0.0, 0);
    let report = demo::run(config, stop, |scene| match scene {
        Scene::Open { took, .. } => {
            mesh_ready_s = super::rounded(took.as_secs_f64(), 3);
            out.remark(format!("every rider sees a driver after {mesh_ready_s:.1} s"));
        }
        Scene::Completed { .. } => {
            completed += 1;
            if completed % 10 == 0 {
                out.remark(format!("{completed} of {} rides", args.rides));
            }
        }
        Scene::Failed { rider, why } => out.remark(format!("rider {rider}: no ride: {why}")),
        Scene::Firm { .. } => {}
    })
    .await?;
    let held = machine::peak_rss_mib().zip(before);
    let rss_mib_per_node =
        held.map(|(peak, before)| super::rounded((peak - before).max(0.0) / f64::from(args.nodes), 2));
    let model = Model::of(&report.gossip, args.latency, args.seed);
    let live = Live { report, rss_mib_per_node, mesh_ready_s, model };
    if out.json {
        out.document(&live)?;
    } else {
        print(&live, out)?;
    }
    let report = &live.report;
    if report.double_bookings > 0 || report.receipts_refused > 0 {
        return Err(Failure::failed(format!(
            "{} double bookings, {} receipts that do not verify",
            report.double_bookings, report.receipts_refused
        ))
        .hint(format!(
            "replay it with: hailmesh sim live --nodes {} --rides {} --seed {}{}",
            args.nodes,
            args.rides,
            args.seed,
            args.latency.map(|latency| format!(" --latency {latency}")).unwrap_or_default()
        )));
    }
    Ok(if report.rides_completed < args.rides { Exit::Interrupted } else { Exit::Ok })
}

fn print(live: &Live, out: Output) -> Result<(), Failure> {
    let Live { report, rss_mib_per_node, mesh_ready_s, model } = live;
    let (settle, gossip) = (&report.settle_ms, &report.gossip);
    let heard = super::rounded(gossip.heard_share * 100.0, 2);
    let rss = rss_mib_per_node.map_or_else(|| "-".to_owned(), |mib| format!("{mib:.2} MiB"));
    let rows = [
        ("nodes", format!("{} ({} drivers, {} riders)", report.nodes, report.drivers, report.riders)),
        ("mesh ready", format!("{mesh_ready_s:.1} s")),
        ("rides completed", report.rides_completed.to_string()),
        ("receipts verified on both sides", report.receipts_verified.to_string()),
        ("double bookings", report.double_bookings.to_string()),
        ("settled", format!("p50 {} ms, p95 {} ms, p99 {} ms", settle.p50, settle.p95, settle.p99)),
        ("offers delivered", delivered(gossip.delivery_ms)),
        ("… says the simulator's model", delivered(model.delivery_ms)),
        ("copies of a message", format!("{:.2}", gossip.copies)),
        ("… says the simulator's model", format!("{:.2}", model.copies)),
        ("listeners to a message", format!("{:.1}, of which {} % heard it", gossip.listeners, heard)),
        ("… says the simulator's model", format!("{:.2} %", model.heard_share * 100.0)),
        ("bytes a node and second", gossip.bytes_per_node_s.to_string()),
        ("memory a node", rss),
        ("time", format!("{:.1} s", report.wall_s)),
    ];
    out.table(&["figure", "value"], rows.map(|(name, value)| vec![name.to_owned(), value]).to_vec())
}

fn delivered(delivery_ms: Delivery) -> String {
    format!("p50 {} ms, p99 {} ms", delivery_ms.p50, delivery_ms.p99)
}
