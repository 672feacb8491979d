//! `hailmesh sim`: files, progress, time and memory around the simulator, which knows none
//! of them.

mod import;
mod live;
mod machine;
mod replay;
mod report;
mod run;
mod scale;
mod scenario;

use hailmesh_sim::city::Settings;
use hailmesh_sim::city::settings::Signing;
use hailmesh_types::Resolution;

use crate::cli::sim::{Conditions, Signatures, SimAction};
use crate::exit::{Exit, Failure};
use crate::output::Output;

pub(super) async fn run(action: SimAction, out: Output) -> Result<Exit, Failure> {
    // A run takes all cores for minutes: the runtime has to know.
    match action {
        SimAction::Run(args) => tokio::task::block_in_place(|| run::run(&args, out)),
        SimAction::Scale(args) => tokio::task::block_in_place(|| scale::run(&args, out)),
        SimAction::Live(args) => live::run(&args, out).await,
        SimAction::Import(args) => tokio::task::block_in_place(|| import::run(&args, out)),
        SimAction::Report(args) => report::run(&args, out),
    }
}

/// What the simulator is told.
fn settings(conditions: &Conditions) -> Result<Settings, Failure> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from).min(64);
    let mut settings = Settings {
        loss: conditions.loss,
        duplication: conditions.duplication,
        latency_ms: (conditions.latency.least_ms, conditions.latency.most_ms),
        churn_per_min: conditions.churn,
        skew_ms: conditions.skew,
        drift_ppm: conditions.drift,
        cheats: conditions.cheats,
        acceptance: conditions.acceptance,
        breaks_per_h: conditions.breaks,
        signing: match conditions.signatures {
            Signatures::Real => Signing::Real,
            Signatures::StandIn => Signing::StandIn,
        },
        threads: conditions.threads.map_or_else(cores, usize::from),
        ..Settings::default()
    };
    let resolution = |level| Resolution::new(level).map_err(Failure::usage);
    if let Some(level) = conditions.precision {
        settings.driver_precision = resolution(level)?;
    }
    if let Some(level) = conditions.rider_precision {
        settings.rider_precision = resolution(level)?;
    }
    settings.check().map_err(Failure::usage)?;
    Ok(settings)
}

/// A number with so many decimals.
fn rounded(value: f64, decimals: i32) -> f64 {
    let unit = 10_f64.powi(decimals);
    (value * unit).round() / unit
}
