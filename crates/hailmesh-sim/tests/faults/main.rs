use hailmesh_sim::city::{Mischief, Trial};

#[test]
fn walk() {
    let n: u64 = std::env::var("HF_N").map_or(200, |n| n.parse().unwrap());
    let from: u64 = std::env::var("HF_FROM").map_or(0, |n| n.parse().unwrap());
    let (mut bad, mut hs, mut firm, mut node_s) = (0, 0, 0, 0.0);
    let mut all = Mischief::default();
    for seed in from..n {
        let trial = Trial::of(seed);
        if std::env::var("HF_V").is_ok() { println!("{trial}"); }
        let run = trial.run().unwrap();
        let t = run.outcome.traffic.unwrap();
        hs += t.handshakes;
        firm += run.agreements;
        node_s += t.node_s;
        all.add(&run.mischief);
        if !run.violations.is_empty() {
            bad += 1;
            if bad < 15 {
                println!("{trial}");
                for violation in run.violations.iter().take(4) {
                    println!("   {violation:?}");
                }
            }
        }
    }
    println!("{n} seeds: {bad} bad, {hs} handshakes, {firm} firm, {:.1} node-hours\n{all}", node_s / 3600.0);
}
