//! Tiny cities with random faults, as many as there is time for.
//!
//! ```text
//! cargo run --release -p hailmesh-sim --example faults -- --seeds 0..1000000 [--threads 2]
//! ```

use std::ops::Range;
use std::process::ExitCode;

use hailmesh_sim::city::{Tally, trials};

/// So many seeds between two words about how far it is.
const AT_ONCE: u64 = 1_000;
const USAGE: &str = "usage: faults --seeds FROM..TO [--threads N]";

fn main() -> ExitCode {
    let Some((seeds, threads)) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut all = Tally::default();
    let mut from = seeds.start;
    while from < seeds.end {
        let until = (from + AT_ONCE).min(seeds.end);
        match trials(from..until, threads, None) {
            Ok(tally) => {
                for failure in &tally.failures {
                    println!("{failure}");
                }
                all.add(tally);
            }
            Err(error) => {
                eprintln!("seeds {from}..{until}: {error}");
                return ExitCode::FAILURE;
            }
        }
        from = until;
        println!("up to seed {from}: {:.0} node-hours, {} violations", all.node_hours(), all.violations);
    }
    println!("{all}");
    match all.failures.first() {
        None => ExitCode::SUCCESS,
        Some(first) => {
            println!(
                "replay: HAILMESH_FAULT_SEED={} cargo test -p hailmesh-sim --test faults -- --nocapture",
                first.trial.seed
            );
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<(Range<u64>, usize)> {
    let (mut seeds, mut threads) = (None, 2);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next()?;
        match argument.as_str() {
            "--seeds" => {
                let (from, to) = value.split_once("..")?;
                seeds = Some(from.parse().ok()?..to.parse().ok()?);
            }
            "--threads" => threads = value.parse().ok().filter(|threads| (1..=64).contains(threads))?,
            _ => return None,
        }
    }
    Some((seeds?, threads))
}
