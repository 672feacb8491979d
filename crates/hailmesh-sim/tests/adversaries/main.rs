//! Attackers against production marketplaces: every behaviour alone, and all of them
//! together. Each test prints its seed and a line for each behaviour.

mod alone;
mod together;

use hailmesh_sim::adversary::Exposure;
use hailmesh_sim::city::AttackTally;

/// What became of an attack, in a line.
pub fn line(tally: &AttackTally) -> String {
    let met: Vec<String> = tally.met.iter().map(|(what, count)| format!("{what} {count}")).collect();
    let exposed = match tally.behaviour.exposure() {
        _ if tally.exposed > 0 => format!(
            "exposed in {:.1} s ({} of {} contradictions read, evidence at up to {} nodes)",
            tally.slowest_ms as f64 / 1_000.0,
            tally.exposed,
            tally.complete,
            tally.known_to
        ),
        Exposure::Proof(kind) => format!("not exposed: nobody had read both sides of {kind}"),
        Exposure::None(why) => format!("not exposable: {why}"),
    };
    format!(
        "adversary {}: {} attempts, met with {}; {exposed}",
        tally.behaviour,
        tally.attempts,
        met.join(", ")
    )
}
