//! `hailmesh-model`: the checks of the test run, or with `--deep` the large ones.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use hailmesh_model::{Mutant, check, configurations};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut deep = false;
    let mut mutants = false;
    let mut only: Option<&str> = None;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--deep" => deep = true,
            "--mutants" => mutants = true,
            "--only" => only = rest.next().map(String::as_str),
            other => {
                eprintln!("unknown word {other:?}: expected --deep, --mutants or --only NAME");
                return ExitCode::from(2);
            }
        }
    }
    let mut failed = false;
    if mutants {
        for mutant in Mutant::ALL {
            if only.is_some_and(|only| !mutant.name().contains(only)) {
                continue;
            }
            let report = check(configurations::for_mutant(mutant), Some(mutant));
            failed |= report.violated.is_empty();
            println!("mutant {}: caught by {}", mutant.name(), report.caught_by());
            println!("{}", report.details());
            if only.is_some() {
                show(&report);
            }
        }
        return if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let mut total = 0;
    let configurations = if deep { configurations::deep() } else { configurations::quick() };
    for config in configurations {
        if only.is_some_and(|only| !config.name.contains(only)) {
            continue;
        }
        let report = check(config, None);
        println!("{report}");
        println!("{}", report.details());
        show(&report);
        failed |= !report.violated.is_empty() || !report.missing.is_empty();
        total += report.unique;
    }
    println!("all: unique states: {total}");
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn show(report: &hailmesh_model::Report) {
    for (property, steps) in &report.violated {
        println!("  {property} does not hold after:");
        for step in steps {
            println!("    {step}");
        }
    }
    for pair in &report.missing {
        println!("  never occurred: {pair}");
    }
}
