//! Whole nodes whose store or clock fails.

use std::sync::atomic::Ordering;

use hailmesh_market::{Answer, Command, CommandError, Record, RideId, RideView, Role, SlotRef, Wish};
use hailmesh_types::{Class, Features, Private, Seats, StatementId, Text, Timestamp};
use hailmesh_wire::{Receipt, RideState};
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};

use crate::clock::Clock;
use crate::config::Settings;
use crate::events::{EventItem, NodeEvent};
use crate::journal::Journal;
use crate::start::{NodeConfig, start};
use crate::{NodeError, NodeHandle, Problem};

const DEADLINE: Duration = Duration::from_secs(30);
const HERE: &str = "40.7580,-73.9855";

struct Running {
    node: NodeHandle,
    task: JoinHandle<Result<(), NodeError>>,
    journal: Journal,
}

async fn run(role: Role, network: &str, bootstrap: Vec<String>) -> Running {
    let mut settings = Settings::default();
    settings.network.name = network.to_owned();
    settings.network.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    settings.network.bootstrap = bootstrap;
    settings.network.mdns = false;
    settings.timers.offer_change_ms = 0;
    settings.driver.at = Some(HERE.to_owned());
    settings.rider.at = Some(HERE.to_owned());
    let config = NodeConfig::ephemeral(Some(role), settings).unwrap();
    let (node, task, journal) = start(config, Clock::start(), None, |_| {}).await.unwrap();
    Running { node, task, journal }
}

impl Running {
    async fn stop(self) {
        timeout(DEADLINE, self.node.shutdown()).await.unwrap();
        timeout(DEADLINE, self.task).await.unwrap().unwrap().unwrap();
    }

    /// Waits for an event with a number above `after`, which then is its number.
    async fn next_event<T>(&self, after: &mut u64, wanted: impl Fn(NodeEvent) -> Option<T>) -> T {
        let mut events = self.node.events(Some(*after));
        let found = async {
            while let Some(item) = events.next().await {
                let EventItem::Numbered(numbered) = item else { panic!("events were lost") };
                *after = numbered.id;
                if let Some(found) = wanted(numbered.event) {
                    return found;
                }
            }
            panic!("the node has ended")
        };
        timeout(DEADLINE, found).await.expect("the event comes")
    }

    async fn next_problem(&self, after: &mut u64) -> Problem {
        let problem = |event| if let NodeEvent::Problem(problem) = event { Some(problem) } else { None };
        self.next_event(after, problem).await
    }

    async fn request(&self) -> RideId {
        let wish = Wish {
            from: Private(HERE.parse().unwrap()),
            to: Some(Private("40.7484,-73.9857".parse().unwrap())),
            max_fare: None,
            currency: None,
            class: Class::STANDARD,
            party: Seats::ONE,
            features: Features::NONE,
            patience: hailmesh_types::Duration::from_secs(60),
            pickup_within: None,
            open: true,
            name: Text::default(),
            phone: Text::default(),
            note: Text::default(),
        };
        match self.node.command(Command::RequestRide(Box::new(wish))).await.unwrap() {
            Answer::Ride(ride) => ride,
            Answer::Done => panic!("a ride was asked for"),
        }
    }

    async fn until(&self, ride: RideId, state: RideState) -> RideView {
        let wanted = |view: &RideView| view.state == state;
        let view = self.node.wait_ride(ride, wanted, DEADLINE).await.unwrap().unwrap();
        assert_eq!(view.state, state, "{:?}", view.history);
        view
    }

    async fn sees_drivers(&self, count: usize) {
        let look = async {
            let mut every = tokio::time::interval(Duration::from_millis(20));
            while self.node.status().await.unwrap().snapshot.drivers != count {
                every.tick().await;
            }
        };
        timeout(DEADLINE, look).await.expect("the book follows");
    }

    async fn healthy(&self) {
        let look = async {
            let mut every = tokio::time::interval(Duration::from_millis(20));
            while !self.node.status().await.unwrap().store_healthy {
                every.tick().await;
            }
        };
        timeout(DEADLINE, look).await.expect("the node goes on by itself");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_promised_while_the_store_fails() {
    let driver = run(Role::Driver, "test-halt", Vec::new()).await;
    let rider = run(Role::Rider, "test-halt", vec![driver.node.invite().await.unwrap()]).await;
    driver.journal.faults.store.store(true, Ordering::SeqCst);

    // The ACCEPT cannot be kept, so it is not sent.
    let ride = rider.request().await;
    let problem = driver.next_problem(&mut 0).await;
    assert!(problem.what.contains("not available") && problem.hint.contains("by itself"), "{problem:?}");
    let status = driver.node.status().await.unwrap();
    assert!(!status.store_healthy && status.snapshot.halted.is_some(), "{status:?}");
    assert_eq!(status.last_error, Some(problem));
    assert!(status.hints[0].contains("nothing is signed"), "{:?}", status.hints);
    assert_eq!(
        driver.node.command(Command::GoOffline).await,
        Err(NodeError::Command(CommandError::StoreUnavailable))
    );
    assert!(matches!(driver.node.rides().await, Err(NodeError::Store(_))));
    assert!(driver.node.metrics_text().contains("hailmesh_store_commit_failures_total 1"));
    // P11.1: the offer is withdrawn, so nobody asks in vain.
    rider.sees_drivers(0).await;
    let asked = rider.node.ride(ride).await.unwrap().unwrap();
    assert_eq!(asked.state, RideState::Requested, "{:?}", asked.history);

    // When it works again the node offers again by itself, and the search finds it.
    driver.journal.faults.store.store(false, Ordering::SeqCst);
    driver.healthy().await;
    let firm = rider.until(ride, RideState::Firm).await;
    let theirs = driver.node.rides().await.unwrap();
    assert!(theirs.iter().any(|view| view.agreement == firm.agreement), "{theirs:?}");
    rider.stop().await;
    driver.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_cannot_be_kept_is_not_answered_as_done() {
    let rider = run(Role::Rider, "test-answer", Vec::new()).await;
    let driver = run(Role::Driver, "test-answer", vec![rider.node.invite().await.unwrap()]).await;
    let ride = rider.request().await;
    // Not before what the driver says by itself has come.
    let firm = rider.until(ride, RideState::EnRoute).await;
    rider.journal.faults.store.store(true, Ordering::SeqCst);
    let answer = rider.node.command(Command::Cancel(ride)).await;
    assert!(matches!(answer, Err(NodeError::Store(_))), "{answer:?}");
    rider.journal.faults.store.store(false, Ordering::SeqCst);
    rider.healthy().await;
    // It never happened.
    let view = rider.node.ride(ride).await.unwrap().unwrap();
    assert_eq!((view.state, view.agreement), (RideState::EnRoute, firm.agreement), "{:?}", view.history);
    rider.stop().await;
    driver.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ride_survives_a_clock_that_is_set_back() {
    let driver = run(Role::Driver, "test-clock", Vec::new()).await;
    let rider = run(Role::Rider, "test-clock", vec![driver.node.invite().await.unwrap()]).await;
    let ride = rider.request().await;
    let firm = rider.until(ride, RideState::Firm).await;
    driver.journal.faults.clock_ms.store(-20_000, Ordering::SeqCst);
    let problem = driver.next_problem(&mut 0).await;
    assert!(problem.what.contains("moved by -"), "{problem:?}");
    driver.healthy().await;
    let theirs = driver.node.rides().await.unwrap();
    let theirs = theirs.iter().find(|view| view.agreement == firm.agreement).expect("the ride is known").ride;
    driver.node.command(Command::Arrive(theirs)).await.unwrap();
    rider.until(ride, RideState::Arrived).await;
    rider.stop().await;
    driver.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ride_survives_a_new_network_service() {
    let driver = run(Role::Driver, "test-service", Vec::new()).await;
    let rider = run(Role::Rider, "test-service", vec![driver.node.invite().await.unwrap()]).await;
    let ride = rider.request().await;
    rider.until(ride, RideState::EnRoute).await;
    let theirs = driver.node.rides().await.unwrap()[0].ride;
    let before = driver.node.status().await.unwrap();
    let mut seen = driver.node.last_event_id();
    driver.journal.faults.network.store(true, Ordering::SeqCst);
    let is = |wanted: bool| wanted.then_some(());
    driver.next_event(&mut seen, |event| is(matches!(event, NodeEvent::PeerDown { peers: 0 }))).await;
    // It finds the rider again by what it remembers, under the same identity.
    driver.next_event(&mut seen, |event| is(matches!(event, NodeEvent::PeerUp { .. }))).await;
    let after = driver.node.status().await.unwrap();
    assert_eq!(after.peer_id, before.peer_id);
    assert_ne!(after.listen, before.listen, "another port");
    driver.node.command(Command::Arrive(theirs)).await.unwrap();
    rider.until(ride, RideState::Arrived).await;
    rider.stop().await;
    driver.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_other_side_of_a_ride_listens_is_soon_written_down() {
    let driver = run(Role::Driver, "test-remember", Vec::new()).await;
    let known = |running: &Running| {
        let store = running.journal.store().clone();
        async move { store.peers().await.unwrap() }
    };
    // The first look at good peers is over before the rider comes.
    let invite = driver.node.invite().await.unwrap();
    let other = run(Role::Rider, "test-remember", vec![invite.clone()]).await;
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let first = async {
        while known(&driver).await.is_empty() {
            every.tick().await;
        }
    };
    timeout(DEADLINE, first).await.expect("good peers are written down");
    let rider = run(Role::Rider, "test-remember", vec![invite]).await;
    let ride = rider.request().await;
    rider.until(ride, RideState::Firm).await;
    let peer = rider.node.status().await.unwrap().snapshot.peer;
    let then = async {
        // The next look as a matter of course is a minute away, beyond the deadline.
        while !known(&driver).await.iter().any(|(known, _)| *known == peer) {
            every.tick().await;
        }
    };
    timeout(DEADLINE, then).await.expect("the rider is written down");
    for node in [rider, other, driver] {
        node.stop().await;
    }
}

/// The records of a ride, as if an earlier one had left the same.
fn earlier(records: &[Record], number: u64) -> (RideId, Vec<Record>) {
    let then = Timestamp::from_millis(1_700_000_000_000 + number).unwrap();
    let ride = RideId::new(then, number.into());
    let slot_of = |slot: &SlotRef| SlotRef { slot: number, ..*slot };
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let past = records.iter().cloned().map(|mut record| {
        match &mut record {
            Record::Bound(bound) => {
                (bound.slot, bound.ride) = (slot_of(&bound.slot), ride);
                (bound.request, bound.accept) = (StatementId::from_bytes(id), StatementId::from_bytes(id));
            }
            Record::Firm { slot, .. }
            | Record::Peer { slot, .. }
            | Record::Progress { slot, .. }
            | Record::Ended { slot, .. }
            | Record::Statement { slot, .. }
            | Record::Secret { slot, .. } => *slot = slot_of(slot),
            other => panic!("no record of a ride: {other:?}"),
        }
        record
    });
    (ride, past.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rides_that_only_the_store_holds_are_found_and_listed() {
    let driver = run(Role::Driver, "test-history", Vec::new()).await;
    let rider = run(Role::Rider, "test-history", vec![driver.node.invite().await.unwrap()]).await;
    let ride = rider.request().await;
    rider.until(ride, RideState::EnRoute).await;
    rider.node.command(Command::Cancel(ride)).await.unwrap();
    let latest = rider.until(ride, RideState::Cancelled).await;
    let store = rider.journal.store().clone();
    let records = store.ride(ride).await.unwrap();
    let mut old: Vec<RideId> = Vec::new();
    for number in 1..=9 {
        let (earlier, records) = earlier(&records, number);
        store.append(&records).await.unwrap();
        old.insert(0, earlier);
    }
    assert_eq!(rider.node.rides().await.unwrap().len(), 1, "memory knows one");

    let mut listed = Vec::new();
    let mut before = None;
    for size in [4, 4, 2] {
        let page = rider.node.rides_page(before, 4).await.unwrap();
        assert_eq!(page.items.len(), size);
        listed.extend(page.items.iter().map(|view| view.ride));
        before = page.next;
    }
    assert_eq!(before, None, "that was the last page");
    let expected: Vec<RideId> = std::iter::once(ride).chain(old.iter().copied()).collect();
    assert_eq!(listed, expected);
    for limit in [0, crate::RIDES_MAX + 1] {
        assert!(matches!(rider.node.rides_page(None, limit).await, Err(NodeError::BadInput(_))));
    }

    let found = rider.node.ride(old[5]).await.unwrap().expect("the store has it");
    assert_eq!((found.state, found.agreement), (RideState::Cancelled, latest.agreement));
    assert_eq!(found.history[0].state, RideState::Requested);
    let receipt = rider.node.receipt(old[5]).await.unwrap().expect("a receipt");
    let facts = Receipt::decode(&receipt).unwrap().verify(&[]).unwrap();
    assert!(facts.agreed && facts.firm, "{facts:?}");
    let unknown = RideId::new(Timestamp::MIN, 1);
    assert_eq!(rider.node.ride(unknown).await.unwrap(), None);
    assert_eq!(rider.node.receipt(unknown).await.unwrap(), None);

    // An open ride is on the first page, however full that is.
    let again = rider.request().await;
    let page = rider.node.rides_page(None, 1).await.unwrap();
    assert_eq!(page.items.iter().map(|view| view.ride).collect::<Vec<_>>(), [again]);
    assert_eq!(page.next, Some(again));
    rider.stop().await;
    driver.stop().await;
}
