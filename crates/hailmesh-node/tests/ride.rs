//! Whole nodes in one process, with real swarms on loopback.

use std::time::Duration;

use hailmesh_node::config::Settings;
use hailmesh_node::home::Home;
use hailmesh_node::keys::IdentityKey;
use hailmesh_node::market::{Answer, Command, Completion, RideId, RideView, Role, Wish};
use hailmesh_node::wire::{Receipt, RideState};
use hailmesh_node::{EventItem, Node, NodeConfig, NodeError, NodeEvent, NodeHandle, StartError};
use hailmesh_types::{Class, Features, GeoPoint, Private, Seats, Text};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);
const HERE: &str = "40.7580,-73.9855";
const NEAR: &str = "40.7590,-73.9845";
const THERE: &str = "40.7484,-73.9857";

type Task = JoinHandle<Result<(), NodeError>>;

fn settings(network: &str) -> Settings {
    let mut settings = Settings::default();
    settings.network.name = network.to_owned();
    settings.network.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    settings.network.mdns = false;
    settings.timers.offer_change_ms = 0;
    settings.timers.withdraw_ms = 0;
    settings
}

fn driver_settings(network: &str) -> Settings {
    let mut settings = settings(network);
    settings.driver.at = Some(HERE.to_owned());
    settings.driver.vehicle.plate = "T123".to_owned();
    settings
}

async fn start_driver(network: &str, dir: &std::path::Path) -> (NodeHandle, Task) {
    let home = Home::open(dir).unwrap();
    let identity = IdentityKey::load_or_create(&home, None).unwrap();
    let config = NodeConfig {
        role: Some(Role::Driver),
        settings: driver_settings(network),
        home: Some(home),
        identity,
        registry: Registry::default(),
    };
    Node::start(config).await.unwrap()
}

async fn start_rider(network: &str, invite: String) -> (NodeHandle, Task) {
    let mut settings = settings(network);
    settings.network.bootstrap = vec![invite];
    settings.rider.at = Some(NEAR.to_owned());
    Node::start(NodeConfig::ephemeral(Some(Role::Rider), settings).unwrap()).await.unwrap()
}

fn point(text: &str) -> Private<GeoPoint> {
    Private(text.parse().unwrap())
}

fn wish() -> Box<Wish> {
    Box::new(Wish {
        from: point(NEAR),
        to: Some(point(THERE)),
        max_fare: None,
        currency: None,
        class: Class::STANDARD,
        party: Seats::ONE,
        features: Features::NONE,
        patience: hailmesh_types::Duration::from_secs(25),
        pickup_within: None,
        open: true,
        name: Text::new("Ada").unwrap(),
        phone: Text::new("555").unwrap(),
        note: Text::default(),
    })
}

async fn request(rider: &NodeHandle) -> RideId {
    match rider.command(Command::RequestRide(wish())).await.unwrap() {
        Answer::Ride(ride) => ride,
        Answer::Done => panic!("a ride was asked for"),
    }
}

async fn until(node: &NodeHandle, ride: RideId, state: RideState) -> RideView {
    let view = node.wait_ride(ride, |view| view.state == state, DEADLINE).await.unwrap().unwrap();
    assert_eq!(view.state, state, "{:?} {:?}", view.history, view.no_match);
    view
}

/// Waits for a ride of this node to enter a state.
async fn any_ride(node: &NodeHandle, state: RideState) -> RideView {
    let mut events = node.events(Some(0));
    let wanted = async {
        loop {
            if let Some(view) = node.rides().await.unwrap().into_iter().find(|view| view.state == state) {
                return view;
            }
            events.next().await.expect("the node runs");
        }
    };
    timeout(DEADLINE, wanted).await.unwrap_or_else(|_| panic!("no ride became {state}"))
}

async fn stop(node: NodeHandle, task: Task) {
    timeout(DEADLINE, node.shutdown()).await.unwrap();
    timeout(DEADLINE, task).await.unwrap().unwrap().unwrap();
}

fn check_receipt(bytes: &[u8]) -> hailmesh_node::wire::ReceiptFacts {
    Receipt::decode(bytes).unwrap().verify(&[]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ride_from_request_to_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let (driver, driver_task) = start_driver("test-ride", &dir.path().join("home")).await;
    let (rider, rider_task) = start_rider("test-ride", driver.invite().await.unwrap()).await;

    let ride = request(&rider).await;
    let firm = until(&rider, ride, RideState::Firm).await;
    let theirs = any_ride(&driver, RideState::Firm).await;
    assert!(firm.agreement.is_some());
    assert_eq!(firm.agreement, theirs.agreement, "both hold the same agreement");
    assert_eq!(firm.fare, theirs.fare);
    assert_eq!(firm.vehicle.as_ref().unwrap().expose().plate.as_str(), "T123");
    let theirs = theirs.ride;

    driver.command(Command::Arrive(theirs)).await.unwrap();
    let arrived = until(&rider, ride, RideState::Arrived).await;
    let code = arrived.boarding_code.expect("a code").expose().clone();
    let wrong = if code == "000000" { "111111" } else { "000000" };
    assert!(
        driver.command(Command::EnRoute(ride, hailmesh_types::Duration::ZERO)).await.is_err(),
        "not its ride"
    );
    driver.command(Command::Board(theirs, code)).await.unwrap();
    until(&rider, ride, RideState::InProgress).await;
    until(&driver, theirs, RideState::InProgress).await;
    assert!(driver.command(Command::Board(theirs, wrong.to_owned())).await.is_err());
    driver.command(Command::Complete(theirs, Completion::default())).await.unwrap();
    until(&rider, ride, RideState::Completed).await;
    until(&driver, theirs, RideState::Completed).await;

    let facts = check_receipt(&rider.receipt(ride).await.unwrap().expect("a receipt"));
    assert!(facts.firm && facts.completed && facts.cosigned, "{facts:?}");
    let facts = check_receipt(&driver.receipt(theirs).await.unwrap().expect("a receipt"));
    assert_eq!(Some(facts.agreement), firm.agreement);

    let metrics = rider.metrics_text();
    for line in [
        "hailmesh_ride_states_total{role=\"rider\",state=\"completed\"} 1",
        "hailmesh_handshakes_total{role=\"rider\",result=\"firm\"} 1",
        "hailmesh_settle_seconds_count 1",
        "hailmesh_net_",
        "hailmesh_libp2p_",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n") && metrics.matches("# EOF").count() == 1);

    let status = rider.status().await.unwrap();
    assert!(status.transport_note.as_ref().is_some_and(|note| note.contains("link")), "{status:?}");
    assert_eq!((status.peers, status.store, status.store_healthy), (1, "memory", true));
    assert_eq!(driver.status().await.unwrap().transport_note, None);
    stop(rider, rider_task).await;
    stop(driver, driver_task).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_comes_back_to_its_ride() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let (driver, driver_task) = start_driver("test-back", &home).await;
    let (rider, rider_task) = start_rider("test-back", driver.invite().await.unwrap()).await;
    let ride = request(&rider).await;
    let firm = until(&rider, ride, RideState::Firm).await;
    let theirs = any_ride(&driver, RideState::Firm).await.ride;
    let peer = driver.peer_id();
    stop(driver, driver_task).await;

    let (driver, driver_task) = start_driver("test-back", &home).await;
    assert_eq!(driver.peer_id(), peer, "the shift key is the transport identity, and it was kept");
    let view = driver.ride(theirs).await.unwrap().expect("the ride is known");
    assert_eq!(view.agreement, firm.agreement);
    // It reaches the rider by the address that the rider gave it.
    driver.command(Command::Arrive(theirs)).await.unwrap();
    until(&rider, ride, RideState::Arrived).await;
    stop(rider, rider_task).await;
    stop(driver, driver_task).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_a_home() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    let (driver, task) = start_driver("test-lock", home.dir()).await;
    let identity = IdentityKey::load(&home, None).unwrap();
    let config = NodeConfig {
        role: Some(Role::Driver),
        settings: driver_settings("test-lock"),
        home: Some(home.clone()),
        identity: identity.clone(),
        registry: Registry::default(),
    };
    let refused = Node::start(config).await.unwrap_err();
    assert_eq!(refused.exit_code(), 6, "{refused}");

    // Another home, but the same journal.
    let mut settings = driver_settings("test-lock");
    settings.store.url = Some(format!("sqlite:{}", home.store().display()));
    let other = Home::open(dir.path().join("other")).unwrap();
    let config = NodeConfig {
        role: Some(Role::Driver),
        settings,
        home: Some(other),
        identity,
        registry: Registry::default(),
    };
    let refused = Node::start(config).await.unwrap_err();
    assert_eq!(refused.exit_code(), 6, "{refused}");
    stop(driver, task).await;
    // The home is free again.
    let (driver, task) = start_driver("test-lock", home.dir()).await;
    stop(driver, task).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_put_back_gets_new_keys() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    let (driver, task) = start_driver("test-copy", home.dir()).await;
    let first = driver.status().await.unwrap().key.unwrap();
    stop(driver, task).await;
    let backup = std::fs::read(home.store()).unwrap();

    let (driver, task) = start_driver("test-copy", home.dir()).await;
    assert_eq!(driver.status().await.unwrap().key, Some(first), "an ordinary restart keeps the key");
    stop(driver, task).await;

    std::fs::write(home.store(), backup).unwrap();
    let (driver, task) = start_driver("test-copy", home.dir()).await;
    let second = driver.status().await.unwrap().key.unwrap();
    assert_ne!(second, first, "P11.8: what was signed since the backup is not known");
    stop(driver, task).await;
    let (driver, task) = start_driver("test-copy", home.dir()).await;
    assert_eq!(driver.status().await.unwrap().key, Some(second), "and that once only");
    stop(driver, task).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_is_refused_at_the_start() {
    let start = async |settings: Settings| {
        let config = NodeConfig::ephemeral(Some(Role::Driver), settings).unwrap();
        Node::start(config).await.expect_err("refused")
    };
    let mut bad = driver_settings("test-bad");
    bad.driver.seats = 0;
    let refused = start(bad).await;
    assert!(matches!(refused, StartError::Value(_)), "{refused}");
    assert_eq!(refused.exit_code(), 7);
    assert!(refused.to_string().contains("driver.seats = 0"), "{refused}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bad = driver_settings("test-bad");
    bad.network.listen = vec![format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port())];
    let refused = start(bad).await;
    assert_eq!(refused.exit_code(), 1, "{refused}");
    assert!(refused.to_string().contains(&taken.local_addr().unwrap().port().to_string()), "{refused}");

    let mut bad = driver_settings("test-bad");
    bad.store.url = Some("sqlite:/proc/no/such/place.db".to_owned());
    let refused = start(bad).await;
    assert_eq!(refused.exit_code(), 1, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_networks_and_dead_addresses_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let (driver, driver_task) = start_driver("test-one", &dir.path().join("home")).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut settings = settings("test-two");
    let dead = format!("/ip4/127.0.0.1/tcp/{free}");
    settings.network.bootstrap = vec![driver.invite().await.unwrap(), dead.clone()];
    settings.rider.at = Some(NEAR.to_owned());
    let (rider, rider_task) =
        Node::start(NodeConfig::ephemeral(Some(Role::Rider), settings).unwrap()).await.unwrap();
    let mut events = rider.events(Some(0));
    let explained = async {
        loop {
            let hints = rider.status().await.unwrap().hints.join("\n");
            if hints.contains("test-one") && hints.contains(&dead) {
                break;
            }
            // Both come with an event: the connection that ends, the dial that fails.
            events.next().await.expect("the node runs");
        }
    };
    timeout(DEADLINE, explained).await.expect("the hints name the other network and the dead address");

    // An empty search says why as well.
    let answer = rider.search(hailmesh_node::SearchRequest::default()).await.unwrap();
    assert!(answer.items.is_empty() && answer.hint.is_some(), "{answer:?}");
    stop(rider, rider_task).await;
    stop(driver, driver_task).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_book_is_searched_and_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let (driver, driver_task) = start_driver("test-book", &dir.path().join("home")).await;
    let (rider, rider_task) = start_rider("test-book", driver.invite().await.unwrap()).await;
    let trip = hailmesh_node::QuoteRequest {
        from: NEAR.parse().unwrap(),
        to: THERE.parse().unwrap(),
        class: Class::STANDARD,
        seats: Seats::ONE,
        features: Features::NONE,
    };
    // No event tells that an offer of somebody else came in: look until it is there.
    let offered = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            look.tick().await;
            if let Some(quote) = rider.quote(trip.clone()).await.unwrap().first() {
                return quote.clone();
            }
        }
    };
    let quote = timeout(DEADLINE, offered).await.expect("the driver's offer is heard");
    // About a kilometre and 1.3 times that by road: the minimum fare of the tariff.
    assert!((500..1_000).contains(&quote.fare.minor()), "{quote:?}");
    assert_eq!(Some(quote.driver), driver.status().await.unwrap().key);
    let answer = rider.search(hailmesh_node::SearchRequest::default()).await.unwrap();
    assert_eq!(answer.items.len(), 1);
    assert!(answer.items[0].bounds.upper_m < 1_000.0);
    stop(rider, rider_task).await;
    stop(driver, driver_task).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_numbered_from_one() {
    let (driver, task) =
        Node::start(NodeConfig::ephemeral(Some(Role::Driver), driver_settings("test-events")).unwrap())
            .await
            .unwrap();
    let mut events = driver.events(Some(0));
    let EventItem::Numbered(first) = timeout(DEADLINE, events.next()).await.unwrap().unwrap() else {
        panic!("nothing was lost")
    };
    assert_eq!(first.id, 1);
    assert!(matches!(first.event, NodeEvent::Market(_)), "{first:?}");
    stop(driver.clone(), task).await;
    assert_eq!(driver.command(Command::GoOffline).await, Err(NodeError::Stopped));
    // What happened can still be read, then the stream ends.
    while timeout(DEADLINE, events.next()).await.unwrap().is_some() {}
}
