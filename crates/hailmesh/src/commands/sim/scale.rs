//! `hailmesh sim scale`.

use std::sync::Arc;
use std::time::Instant;

use hailmesh_sim::city;
use hailmesh_sim::city::settings::RunError;
use hailmesh_sim::scenario::GridCity;
use hailmesh_sim::{Policy, Scenario};
use serde::Serialize;

use super::{machine, replay, scenario};
use crate::cli::sim::SimScaleArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Requests of a car in an hour, as in the default city.
const REQUESTS_PER_CAR_HOUR: f64 = 3.0;
/// Blocks of a car, as in the default city.
const BLOCKS_PER_CAR: f64 = 3.0;
/// How long the last rides may take to settle.
const DRAIN_MS: u64 = 120_000;

/// A size and what it cost: what `sim scale --json` prints for each.
#[derive(Debug, Serialize)]
struct Size {
    nodes: u32,
    simulated_s: f64,
    events: u64,
    events_per_s: f64,
    bytes_per_node_s: f64,
    rss_mib: Option<f64>,
    wall_s: f64,
    matched_share: f64,
}

pub(super) fn run(args: &SimScaleArgs, out: Output) -> Result<Exit, Failure> {
    let settings = super::settings(&args.conditions)?;
    let mut rows = Vec::new();
    let mut broken = None;
    for nodes in &args.nodes {
        out.remark(format!("{nodes} nodes, {} min", args.minutes));
        machine::forget_peak();
        let scenario = Arc::new(city_of(*nodes, args.minutes, args.seed)?);
        let cars = u32::try_from(scenario.vehicles.len()).unwrap_or(u32::MAX);
        let begun = Instant::now();
        let policy = Policy::PeerToPeer(None);
        let run = city::run(&scenario, &settings, cars, args.seed, policy, &mut |_| {});
        let run = run.map_err(|error| match error {
            RunError::Scenario(error) => scenario::bad(error),
            RunError::Settings(error) => Failure::usage(error),
        })?;
        let wall_s = begun.elapsed().as_secs_f64();
        let outcome = &run.outcome;
        let matched = outcome.rides.iter().filter(|ride| ride.matched_ms.is_some()).count();
        let traffic = outcome.traffic.unwrap_or_default();
        let size = Size {
            nodes: *nodes,
            simulated_s: scenario.end_ms() as f64 / 1_000.0,
            events: outcome.events,
            events_per_s: (outcome.events as f64 / wall_s.max(1e-6)).round(),
            bytes_per_node_s: super::rounded(traffic.bytes as f64 / traffic.node_s.max(1.0), 1),
            rss_mib: machine::peak_rss_mib(),
            wall_s: super::rounded(wall_s, 3),
            matched_share: super::rounded(matched as f64 / outcome.rides.len().max(1) as f64, 4),
        };
        if let Some(violation) = run.violations.first() {
            let at_s = violation.at_ms as f64 / 1_000.0;
            let what = format!("{nodes} nodes, seed {}: {at_s:.1} s: {}", args.seed, violation.what);
            broken.get_or_insert((what, *nodes));
        }
        if out.json {
            out.document(&size)?;
        } else {
            rows.push(row(&size));
        }
    }
    if !out.json {
        let columns =
            ["nodes", "simulated", "events", "events/s", "B/node/s", "memory", "wall", "rides matched"];
        out.table(&columns, rows)?;
    }
    broken.map_or(Ok(Exit::Ok), |(what, nodes)| {
        let replay = replay::scale(args, nodes);
        Err(Failure::failed(what).hint(format!("replay it with: {replay}")))
    })
}

/// A city in which about so many nodes are up in the time that is simulated, as dense as
/// the default one, whatever its size: two-way streets in closed form, demand without
/// centres, all kilometres alike.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below ten million")]
fn city_of(nodes: u32, minutes: u32, seed: u64) -> Result<Scenario, Failure> {
    let hours = f64::from(minutes) / 60.0;
    let cars = (f64::from(nodes) / (1.0 + REQUESTS_PER_CAR_HOUR * hours)).round().max(1.0);
    let riders = (f64::from(nodes) - cars).max(1.0);
    let side = (cars * BLOCKS_PER_CAR).sqrt().round().max(3.0) as u32;
    let city = GridCity {
        blocks_x: side,
        blocks_y: side,
        vehicles: cars as u32,
        riders_per_hour: riders / hours,
        hours,
        seed,
        ..GridCity::of_nodes(nodes)
    };
    let mut scenario = city.generate().map_err(scenario::bad)?;
    scenario.drain_ms = DRAIN_MS;
    Ok(scenario)
}

fn row(size: &Size) -> Vec<String> {
    vec![
        size.nodes.to_string(),
        format!("{:.0} s", size.simulated_s),
        size.events.to_string(),
        format!("{:.0}", size.events_per_s),
        format!("{:.1}", size.bytes_per_node_s),
        size.rss_mib.map_or_else(|| "-".to_owned(), |mib| format!("{mib:.0} MiB")),
        format!("{:.1} s", size.wall_s),
        format!("{:.2} %", size.matched_share * 100.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cities_of_all_sizes_are_equally_dense() {
        for nodes in [100, 1_000, 20_000] {
            let scenario = city_of(nodes, 10, 0).unwrap();
            let people = scenario.vehicles.len() + scenario.requests.len();
            // Arrivals are a Poisson process: within four deviations.
            let spread = 4.0 * (scenario.requests.len() as f64).sqrt() + 1.0;
            assert!((people as f64 - f64::from(nodes)).abs() < spread, "{nodes}: {people}");
            let blocks_per_car = scenario.roads.len() as f64 / scenario.vehicles.len() as f64;
            assert!((2.5..4.2).contains(&blocks_per_car), "{nodes}: {blocks_per_car}");
        }
    }
}
