//! That the judge finds something: made-up accusations, nodes with a fault on purpose.

use ed25519_dalek::SigningKey;
use hailmesh_net::{Tapped, Verdict};
use hailmesh_node::clock::Clock;
use hailmesh_node::market::Role;
use hailmesh_node::wire::{Frame, FrameContent, Topic, message_id};
use hailmesh_sim::adversary::{Action, Behaviour, Player};
use hailmesh_types::{AgreementId, NetworkName, PublicKey};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;

use super::court::Court;
use super::host::{Attacker, Victims};
use super::town::{listen, quick, setup};
use crate::book::offer;
use crate::city::{DEADLINE, NETWORK, Spec};

fn player(behaviour: Behaviour) -> Player {
    Player::new(behaviour, setup([3; 32], 1), Clock::start().now())
}

/// A court that one attacker has come to, and what this does first.
fn accused(behaviour: Behaviour) -> (Court, Player, Vec<Action>) {
    let (court, mut player) = (Court::new(), player(behaviour));
    court.suspect(100, &mut player);
    let actions = player.timer(Clock::start().now());
    court.acts(100, &actions);
    (court, player, actions)
}

fn published(actions: &[Action]) -> impl Iterator<Item = (&Topic, &[u8])> {
    actions.iter().filter_map(|action| match action {
        Action::Publish { topic, bytes } => Some((topic, &**bytes)),
        _ => None,
    })
}

#[test]
fn an_accusation_of_an_honest_key_is_a_fault() {
    let (court, mut player, _) = accused(Behaviour::TwoStories);
    court.accuses(0, PublicKey::from(SigningKey::from_bytes(&player.transport()).verifying_key()));
    assert_eq!(court.faults(), [""; 0], "an attacker may be accused");
    court.accuses(0, PublicKey::from(SigningKey::from_bytes(&[9; 32]).verifying_key()));
    let [fault] = &court.faults()[..] else { panic!("{:?}", court.faults()) };
    assert!(fault.contains("accuses an honest key"), "{fault}");
}

#[test]
fn evidence_that_shows_nothing_is_a_fault() {
    let (court, mut player, actions) = accused(Behaviour::TwoStories);
    let key = PublicKey::from(SigningKey::from_bytes(&player.transport()).verifying_key());
    let (_, bytes) = published(&actions).next().expect("it says something");
    court.evidence(0, key, bytes);
    let [fault] = &court.faults()[..] else { panic!("{:?}", court.faults()) };
    assert!(fault.contains("shows nothing"), "{fault}");
}

#[test]
fn a_contradiction_that_was_read_and_not_exposed_is_a_fault() {
    let (court, player, actions) = accused(Behaviour::TwoStories);
    let tap = court.tap(7);
    let mut said = published(&actions).map(|(topic, bytes)| message_id(&topic.to_string(), bytes));
    tap.see(Tapped::Received { id: said.next().expect("one story"), data: &[] });
    assert_eq!(court.unexposed(), 0, "half of it shows nothing");
    tap.see(Tapped::Received { id: said.next().expect("the other"), data: &[] });
    assert_eq!(court.unexposed(), 1);
    let (_, wrong) = court.close(&[(100, player)].into());
    assert!(wrong.iter().any(|wrong| wrong.contains("host 7 had read it all")), "{wrong:?}");
}

#[test]
fn letting_in_what_nobody_has_signed_is_a_fault() {
    let (court, mut player, _) = accused(Behaviour::ForgedCopies);
    let network: NetworkName = NETWORK.parse().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut forged = Vec::new();
    while forged.is_empty() {
        let now = Clock::start().now();
        let (topic, bytes) = offer(&mut rng, &network, now);
        forged = player.gossip(now, &topic, &bytes.into());
    }
    court.acts(100, &forged);
    let (topic, bytes) = published(&forged).next().expect("a forged copy");
    let id = message_id(&topic.to_string(), bytes);
    court.tap(7).see(Tapped::Judged { id, verdict: Verdict::Reject });
    assert_eq!(court.faults(), [""; 0]);
    court.tap(7).see(Tapped::Judged { id, verdict: Verdict::Accept });
    assert_eq!(court.faults().len(), 1, "{:?}", court.faults());
}

#[test]
fn two_agreements_at_a_time_are_a_fault() {
    let court = Court::new();
    let agreement = |n| Some(AgreementId::from_bytes([n; 32]));
    court.bind(1, Role::Driver, None, agreement(1));
    court.bind(1, Role::Driver, agreement(1), agreement(2));
    assert_eq!(court.faults(), [""; 0]);
    court.bind(1, Role::Driver, None, agreement(3));
    assert_eq!(court.faults().len(), 1, "{:?}", court.faults());
}

#[test]
fn a_receipt_that_is_none_is_a_fault() {
    let court = Court::new();
    court.last_receipt(1, &Frame::new(FrameContent::None).encode(), None);
    assert_eq!(court.faults().len(), 1, "{:?}", court.faults());
}

/// A driver that its owner believes to be honest tells two stories. Real nodes find it out,
/// and the judge takes that for an accusation of somebody honest: so a real node with that
/// fault would not go unnoticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_node_with_a_fault_is_noticed() {
    let court = Court::new();
    let driver = Spec::driver().tapped(court.tap(0)).with(quick).start().await;
    let rider = Spec::rider().knows(&driver).await.tapped(court.tap(1)).with(quick).start().await;
    let followers = [(0, &driver), (1, &rider)]
        .map(|(host, person)| tokio::spawn(court.clone().follow(host, person.node.clone())));
    let mut around = Victims::new();
    for person in [&driver, &rider] {
        listen(&mut around, person, None).await;
    }
    let (_tell, victims) = watch::channel(around);
    let faulty = Attacker::start_disguised(100, Behaviour::TwoStories, setup([5; 32], 0), &court, victims);
    let noticed = |court: &Court| court.faults().iter().any(|fault| fault.contains("accuses an honest key"));
    assert!(court.until(DEADLINE, noticed).await, "{:?}", court.faults());
    faulty.stop().await;
    driver.stop().await;
    rider.stop().await;
    for follower in followers {
        follower.await.unwrap();
    }
}
