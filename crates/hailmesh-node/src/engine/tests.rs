//! Whole nodes whose store or clock fails.

use std::sync::atomic::Ordering;

use hailmesh_market::{Answer, Command, CommandError, RideId, RideView, Role, Wish};
use hailmesh_types::{Class, Features, Private, Seats, Text};
use hailmesh_wire::RideState;
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
    let (node, task, journal) = start(config, Clock::start()).await.unwrap();
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
