//! Attackers against real nodes: every program of [`hailmesh_sim::adversary`] over real
//! connections, beside honest people with real stores and clocks who go on riding.
//!
//! * `wire`, `host`: an attacker's node.
//! * `court`: who judges, by the rules of the simulated city ([`hailmesh_sim::judge`]).
//! * `town`, `people`: honest nodes and what their users do.
//! * `eclipse`, `slow`: two attacks on connections themselves, which a simulated city cannot
//!   show.
//! * `proof`: that the judge finds something.

mod court;
mod eclipse;
mod host;
mod people;
mod proof;
mod slow;
mod town;
mod wire;

use futures::future::join_all;
use hailmesh_node::market::admission::Stop;
use hailmesh_sim::adversary::{Behaviour, Exposure};
use rand::RngExt as _;

use self::town::Town;

/// Towns at a time. More attackers beside so few honest people would get in each other's
/// way, more towns would take more time.
const TOWNS: usize = 6;
/// Steps of admission that everybody meets with.
const COMMON: [&str; 2] = [Stop::None.name(), Stop::Banned.name()];
/// Who uses up what strangers may say in a cell: what is not read there contradicts nothing.
const FLOODS: [Behaviour; 2] = [Behaviour::Sybils, Behaviour::SignatureFlood];

/// Whether two attacks must not come to one town, because it could not be told what was
/// made of which.
fn conflict(one: Behaviour, other: Behaviour) -> bool {
    let steps = |behaviour: Behaviour| behaviour.met_with().iter().filter(|met| !met.contains(' '));
    let alike = steps(one).any(|step| !COMMON.contains(step) && steps(other).any(|met| met == step));
    let drowned = |flood: Behaviour, other: Behaviour| {
        FLOODS.contains(&flood)
            && (FLOODS.contains(&other) || matches!(other.exposure(), Exposure::Proof(_)))
            && steps(other).next().is_some()
    };
    alike || drowned(one, other) || drowned(other, one)
}

/// Whether honest riders have to come to it.
fn lies_in_wait(behaviour: Behaviour) -> bool {
    behaviour.met_with().iter().any(|met| met.starts_with("asked with"))
}

/// Who comes to which town: every attack to one, each kind spread evenly.
fn towns() -> Vec<Vec<Behaviour>> {
    let mut towns = vec![Vec::new(); TOWNS];
    let (cars, others): (Vec<Behaviour>, Vec<Behaviour>) =
        Behaviour::ALL.iter().copied().partition(|behaviour| lies_in_wait(*behaviour));
    for behaviour in cars.into_iter().chain(others) {
        let bears = |town: &&mut Vec<Behaviour>| !town.iter().any(|other| conflict(behaviour, *other));
        match towns.iter_mut().filter(bears).min_by_key(|town| town.len()) {
            Some(town) => town.push(behaviour),
            None => towns.push(vec![behaviour]),
        }
    }
    towns
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_meets_real_nodes_and_harms_nobody() {
    let seed: [u8; 32] = rand::rng().random();
    println!("seed of the attackers: {seed:?}");
    let towns = towns();
    assert_eq!(towns.iter().map(Vec::len).sum::<usize>(), Behaviour::ALL.len(), "everybody comes to town");
    let lived = towns
        .iter()
        .map(|behaviours| Box::pin(async move { Town::start().await.suffer(seed, behaviours).await }));
    let mut wrong = Vec::new();
    for (number, outcome) in join_all(lived).await.into_iter().enumerate() {
        for tally in &outcome.tallies {
            let met_ms = outcome.met_ms.get(&tally.behaviour).copied().unwrap_or(u64::MAX);
            println!("town {number}, after {met_ms} ms: {tally}");
        }
        println!(
            "town {number}: {} attackers, {} honest rides, {} agreements, {} s",
            outcome.tallies.len(),
            outcome.completed,
            outcome.agreements,
            outcome.seconds
        );
        wrong.extend(outcome.wrong.into_iter().map(|wrong| format!("town {number}, {wrong}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Side by side, because most of each is waiting for nodes to lose patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_on_connections_harm_nobody() {
    tokio::join!(
        Box::pin(eclipse::whoever_is_surrounded_is_not_bound_to_anybody_and_is_served_once_it_gets_out()),
        Box::pin(slow::streams_that_are_never_finished_are_let_go_and_hold_nobody_up()),
        Box::pin(slow::a_peer_that_reads_a_few_bytes_a_second_is_let_go_and_holds_nobody_up()),
    );
}
