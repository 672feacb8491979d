//! Scratch.
use std::sync::Arc;
use hailmesh_sim::city::{self, City, Settings};
use hailmesh_sim::{Policy, Scenario};
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "scratch")]
fn main() {
    let mut args = std::env::args().skip(1);
    let kind = args.next().unwrap();
    let fleet: u32 = args.next().unwrap().parse().unwrap();
    let seed: u64 = args.next().unwrap().parse().unwrap();
    let threads: usize = args.next().unwrap().parse().unwrap();
    let loss: f64 = args.next().map_or(0.01, |v| v.parse().unwrap());
    let scenario: Arc<Scenario> = match kind.as_str() {
        "grid" => City::grid().drivers(fleet).riders_per_hour(fleet as f64 * 4.0).minutes(30).scenario().unwrap(),
        dir => {
            let open = |n: &str| std::fs::File::open(format!("{dir}/{n}")).unwrap();
            let files = hailmesh_sim::scenario::Files { nodes: open("nodes.csv"), edges: open("edges.csv"), requests: open("requests.csv"), vehicles: open("vehicles.csv") };
            Arc::new(Scenario::from_files("manhattan", dir, files, None).unwrap())
        }
    };
    let settings = Settings { threads, loss, ..Settings::default() };
    let t = std::time::Instant::now();
    let run = city::run(&scenario, &settings, fleet, seed, Policy::PeerToPeer(None), &mut |p| {
        eprintln!("{:>6} s of {} s, {} events, wall {:.1}", p.at_ms / 1000, p.end_ms / 1000, p.events, t.elapsed().as_secs_f64());
    }).unwrap();
    println!("{:?}", run.violations.first());
    println!("{}", city::Report { seed, run: run.clone() });
    println!("{:?} wall {:.1}", run.outcome.traffic, t.elapsed().as_secs_f64());
    println!("hash {:02x?}", &run.outcome.trace_hash[..8]);
}
