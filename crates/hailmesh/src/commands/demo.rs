//! `hailmesh demo`.

use tokio_util::sync::CancellationToken;

use crate::cli::{DemoArgs, Global};
use crate::demo::{self, DemoConfig, Report, Scene};
use crate::exit::{Exit, Failure};
use crate::output::{self, Output};
use crate::signals::Signals;
use crate::telemetry;

pub(super) async fn run(global: &Global, args: &DemoArgs, out: Output) -> Result<Exit, Failure> {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let json = global.log_format.is_some_and(|format| format == telemetry::LogFormat::Json);
    telemetry::start(level, json)?;
    let config = DemoConfig {
        drivers: args.drivers,
        riders: args.riders,
        rides: args.rides,
        seed: args.seed,
        home: global.home.as_ref().map(|home| home.join("demo")),
        latency_ms: None,
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
    out.remark(format!(
        "a city of {} drivers and {} riders: real nodes on loopback, minutes of driving take seconds",
        config.drivers, config.riders
    ));
    if config.rides.is_none() {
        out.remark("press Ctrl-C to end it");
    }
    let report = demo::run(config.clone(), stop.clone(), |scene| show(&scene, out)).await?;
    if out.json {
        out.document(&report)?;
    } else {
        summary(&report, out)?;
    }
    if report.double_bookings > 0 || report.receipts_refused > 0 {
        return Err(Failure::failed(format!(
            "{} double bookings, {} receipts that do not verify",
            report.double_bookings, report.receipts_refused
        )));
    }
    // Whoever ends an endless demo has seen what they wanted.
    let is_short = config.rides.is_some_and(|rides| report.rides_completed < rides);
    Ok(if is_short { Exit::Interrupted } else { Exit::Ok })
}

/// A line as it happens: data when it is all there is, a remark beside JSON.
fn show(scene: &Scene, out: Output) {
    let line = match scene {
        Scene::Open { nodes, took } => {
            format!("{nodes} nodes are connected after {:.1} s", took.as_secs_f64())
        }
        Scene::Firm { ride, rider, driver, fare, settle, asked } => format!(
            "ride {ride:>4}  rider {rider:>2} ↔ driver {driver:>2}  {:>10}  agreed in {} ms, {asked} asked",
            output::money(fare),
            settle.as_millis()
        ),
        Scene::Completed { ride, total } => format!(
            "ride {ride:>4}  completed  {:>10}  receipt verified",
            total.as_ref().map(output::money).unwrap_or_default()
        ),
        Scene::Failed { rider, why } => format!("rider {rider:>2}    no ride: {why}"),
    };
    if out.json || matches!(scene, Scene::Open { .. }) {
        out.remark(line);
    } else {
        // A reader who is gone ends the process in here; anything else shows at the end.
        let _ = out.line(line);
    }
}

fn summary(report: &Report, out: Output) -> Result<(), Failure> {
    let settle = &report.settle_ms;
    out.line("")?;
    out.line(format!(
        "{} rides settled, {} completed, {} receipts verified on both sides, {} double bookings",
        report.rides_settled, report.rides_completed, report.receipts_verified, report.double_bookings
    ))?;
    out.line(format!("settled in p50 {} ms, p95 {} ms, p99 {} ms", settle.p50, settle.p95, settle.p99))?;
    let gossip = &report.gossip;
    out.line(format!(
        "gossip: {} messages, {} bytes a node and second, delivered in p50 {} ms, p99 {} ms",
        gossip.messages, gossip.bytes_per_node_s, gossip.delivery_ms.p50, gossip.delivery_ms.p99
    ))?;
    out.line(format!("{:.1} s in all", report.wall_s))
}
