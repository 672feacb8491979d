//! The command that makes a run again.

use std::fmt::Write as _;

use crate::cli::sim::{Conditions, Latency, Signatures, SimRunArgs, SimScaleArgs};

/// The command for these fleets, seeds and policies of a run, with everything that the
/// outcome depends on.
pub(super) fn command(args: &SimRunArgs, fleets: &[u32], seeds: &[u64], policies: &[String]) -> String {
    let mut line = format!(
        "hailmesh sim run {} --fleet {} --seed {} --policy {}",
        quoted(&args.scenario),
        list(fleets),
        list(seeds),
        list(policies)
    );
    if let Some(kmh) = args.uniform_speed {
        // A String takes everything.
        let _ = write!(line, " --uniform-speed {kmh}");
    }
    line + &conditions(&args.conditions)
}

/// The same for one size of `sim scale`.
pub(super) fn scale(args: &SimScaleArgs, nodes: u32) -> String {
    let SimScaleArgs { minutes, seed, .. } = args;
    format!("hailmesh sim scale --nodes {nodes} --minutes {minutes} --seed {seed}")
        + &conditions(&args.conditions)
}

/// Flags for links and nodes. What is as it would be without a flag is left out.
fn conditions(conditions: &Conditions) -> String {
    let Conditions { loss, latency: Latency { least_ms, most_ms }, churn, duplication, .. } = conditions;
    let mut flags = format!(" --loss {loss} --latency {least_ms}ms..{most_ms}ms --churn {churn}/min");
    let mut add = |flag: &str, value: String, is_default: bool| {
        if !is_default {
            let _ = write!(flags, " --{flag} {value}");
        }
    };
    add("duplication", duplication.to_string(), *duplication == 0.01);
    add("skew", conditions.skew.to_string(), conditions.skew == 0);
    add("drift", conditions.drift.to_string(), conditions.drift == 0);
    add("cheats", conditions.cheats.to_string(), conditions.cheats == 0);
    add("acceptance", conditions.acceptance.to_string(), conditions.acceptance >= 1.0);
    add("breaks", conditions.breaks.to_string(), conditions.breaks <= 0.0);
    let level = |level: Option<u8>| level.map(|level| level.to_string()).unwrap_or_default();
    add("precision", level(conditions.precision), conditions.precision.is_none());
    add("rider-precision", level(conditions.rider_precision), conditions.rider_precision.is_none());
    add("signatures", "real".to_owned(), conditions.signatures == Signatures::StandIn);
    flags
}

/// An argument as a POSIX shell reads it.
pub(super) fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', "'\\''"))
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::sim::SimAction;
    use crate::cli::{Cli, Command};

    fn parsed(line: &[&str]) -> SimRunArgs {
        match Cli::try_parse_from(line).unwrap().command {
            Command::Sim(args) => match args.action {
                SimAction::Run(args) => *args,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_of_a_run_makes_the_same_run() {
        let args = parsed(&[
            "hailmesh",
            "sim",
            "run",
            "a city",
            "--fleet",
            "10,20",
            "--seed",
            "1,2",
            "--policy",
            "p2p,batched:5",
            "--loss",
            "5%",
            "--latency",
            "1s",
            "--churn",
            "0.05/min",
            "--skew",
            "9",
            "--precision",
            "8",
            "--signatures",
            "real",
            "--uniform-speed",
            "20",
            "--duplication",
            "0",
        ]);
        let line = command(&args, &[20], &[2], &["p2p".to_owned()]);
        assert!(line.starts_with("hailmesh sim run 'a city' --fleet 20 --seed 2 --policy p2p "), "{line}");
        let words: Vec<&str> = line.split(' ').collect();
        let (city, flags) = (["'a", "city'"], &words[5..]);
        assert_eq!(words[3..5], city);
        let again = parsed(&[&["hailmesh", "sim", "run", "a city"], flags].concat());
        assert_eq!(again.conditions, args.conditions);
        assert_eq!((again.fleet, again.seed, again.uniform_speed), (vec![20], vec![2], Some(20.0)));
    }

    #[test]
    fn the_command_of_a_size_makes_the_same_run() {
        let scaled = |line: &str| match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Command::Sim(args) => match args.action {
                SimAction::Scale(args) => args,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let args = scaled("hailmesh sim scale --nodes 10,20 --minutes 3 --seed 4 --loss 5% --precision 8");
        let again = scaled(&scale(&args, 20));
        assert_eq!((again.nodes, again.minutes, again.seed), (vec![20], 3, 4));
        assert_eq!(again.conditions, args.conditions);
    }

    #[test]
    fn arguments_are_quoted_for_the_shell() {
        assert_eq!(quoted("p2p.served>=1"), "'p2p.served>=1'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!((quoted("data/x-1").as_str(), quoted("").as_str()), ("data/x-1", "''"));
    }
}
