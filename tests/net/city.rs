//! Nodes as tests start, watch, stop and kill them. Nothing sleeps: whatever has an event
//! is waited for by its event, and the rest is looked at until it is as it should be,
//! with a deadline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hailmesh_net::Tap;
use hailmesh_node::clock::Clock;
use hailmesh_node::config::Settings;
use hailmesh_node::home::Home;
use hailmesh_node::keys::IdentityKey;
use hailmesh_node::market::{Answer, Command, Completion, Event, RideId, RideView, Role, Wish};
use hailmesh_node::wire::{Receipt, ReceiptFacts, RideState};
use hailmesh_node::{
    EventItem, Node, NodeConfig, NodeError, NodeEvent, NodeHandle, NodeStatus, SearchRequest,
};
use hailmesh_types::{AgreementId, Class, Features, GeoPoint, Private, PublicKey, Seats, Text};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long anything may take. Far above what it does take, for crowded machines.
pub(crate) const DEADLINE: Duration = Duration::from_secs(45);
/// How often a state without an event is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The network of every node here, unless a test says otherwise.
pub(crate) const NETWORK: &str = "test";
/// Where drivers are.
pub(crate) const HERE: &str = "40.7580,-73.9855";
/// Where riders want to be picked up.
pub(crate) const NEAR: &str = "40.7590,-73.9845";
/// Where they want to go.
pub(crate) const THERE: &str = "40.7484,-73.9857";

pub(crate) fn point(text: &str) -> Private<GeoPoint> {
    Private(text.parse().unwrap())
}

/// How a node is to be started, and started again.
#[derive(Clone)]
pub(crate) struct Spec {
    role: Option<Role>,
    pub(crate) settings: Settings,
    home: Option<PathBuf>,
    clock_ms: i64,
    tap: Option<Tap>,
}

impl Spec {
    fn new(role: Option<Role>) -> Self {
        let mut settings = Settings::default();
        settings.network.name = NETWORK.to_owned();
        settings.network.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        settings.network.mdns = false;
        settings.timers.offer_change_ms = 0;
        settings.timers.withdraw_ms = 0;
        Self { role, settings, home: None, clock_ms: 0, tap: None }
    }

    /// A driver in the middle of the city, who agrees by itself.
    pub(crate) fn driver() -> Self {
        Self::driver_at(HERE)
    }

    pub(crate) fn driver_at(place: &str) -> Self {
        let mut spec = Self::new(Some(Role::Driver));
        spec.settings.driver.at = Some(place.to_owned());
        spec.settings.driver.vehicle.plate = "HM 1".to_owned();
        spec
    }

    pub(crate) fn rider() -> Self {
        let mut spec = Self::new(Some(Role::Rider));
        spec.settings.rider.at = Some(NEAR.to_owned());
        spec
    }

    pub(crate) fn relay() -> Self {
        Self::new(None)
    }

    /// A way into the network; there are no others but those it is told.
    pub(crate) async fn knows(mut self, other: &Person) -> Self {
        self.settings.network.bootstrap.push(other.node.invite().await.unwrap());
        self
    }

    /// Keeps its journal in this folder.
    pub(crate) fn at_home(mut self, folder: &Path) -> Self {
        self.home = Some(folder.to_owned());
        self
    }

    /// So many milliseconds ahead of everybody else.
    pub(crate) fn ahead(mut self, ms: i64) -> Self {
        self.clock_ms = ms;
        self
    }

    /// Shows what reaches it, on the right clock.
    pub(crate) fn tapped(mut self, tap: Tap) -> Self {
        self.tap = Some(tap);
        self
    }

    /// The folder of its journal and the identity that the journal belongs to.
    pub(crate) fn journal(&self) -> (PathBuf, PublicKey) {
        let home = Home::open(self.home.as_ref().expect("it has a home")).unwrap();
        (home.store(), IdentityKey::load(&home, None).unwrap().public())
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    fn config(&self) -> NodeConfig {
        let home = self.home.as_ref().map(|folder| Home::open(folder).unwrap());
        let identity = match &home {
            Some(home) => IdentityKey::load_or_create(home, None).unwrap(),
            None => IdentityKey::ephemeral().unwrap(),
        };
        let settings = self.settings.clone();
        NodeConfig { role: self.role, settings, home, identity, registry: Registry::default() }
    }

    /// Starts it. A home whose last user was killed is free when the system has cleaned
    /// up after it, which in one process takes a moment.
    pub(crate) async fn start(self) -> Person {
        let started = eventually("a free home", async || {
            let started = match self.tap.clone() {
                Some(tap) => Node::start_with_network(self.config(), |network| network.tap = Some(tap)).await,
                None => Node::start_with_clock(self.config(), Clock::with_offset(self.clock_ms)).await,
            };
            match started {
                Ok(started) => Some(started),
                Err(error) if error.exit_code() == 6 => None,
                Err(error) => panic!("the node does not start: {error}"),
            }
        });
        let (node, task) = started.await;
        Person { node, task, spec: self }
    }
}

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        let mut every = interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    timeout(DEADLINE, looking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A running node.
pub(crate) struct Person {
    pub(crate) node: NodeHandle,
    task: JoinHandle<Result<(), NodeError>>,
    pub(crate) spec: Spec,
}

impl Person {
    /// Ends it as a user would.
    pub(crate) async fn stop(self) -> Spec {
        timeout(DEADLINE, self.node.shutdown()).await.expect("a node ends when it is told to");
        timeout(DEADLINE, self.task).await.expect("its task ends").unwrap().unwrap();
        self.spec
    }

    /// Ends it as a power cut would: no farewell, nothing is written any more.
    pub(crate) async fn kill(self) -> Spec {
        self.task.abort();
        let ended = timeout(DEADLINE, self.task).await.expect("the task ends");
        assert!(ended.is_err_and(|error| error.is_cancelled()), "it was killed");
        self.spec
    }

    /// Killed, then started again on the same home.
    pub(crate) async fn crash(self) -> Self {
        self.kill().await.start().await
    }

    pub(crate) async fn status(&self) -> NodeStatus {
        self.node.status().await.unwrap()
    }

    pub(crate) async fn command(&self, command: Command) -> Answer {
        self.node.command(command).await.unwrap()
    }

    /// Begins to look for a ride.
    pub(crate) async fn request(&self) -> RideId {
        self.request_as(wish()).await
    }

    pub(crate) async fn request_as(&self, wish: Wish) -> RideId {
        match self.command(Command::RequestRide(Box::new(wish))).await {
            Answer::Ride(ride) => ride,
            Answer::Done => panic!("a ride was asked for"),
        }
    }

    /// Waits until a ride is in one of these states.
    pub(crate) async fn until(&self, ride: RideId, states: &[RideState]) -> RideView {
        let view = self.node.wait_ride(ride, |view| states.contains(&view.state), DEADLINE).await;
        let view = view.unwrap().expect("the ride is known");
        if !states.contains(&view.state) {
            panic!("expected {states:?}: {}", self.said(&view).await);
        }
        view
    }

    /// Waits until a ride is firm or beyond, but not over.
    pub(crate) async fn until_agreed(&self, ride: RideId) -> RideView {
        self.until(ride, &[RideState::Firm, RideState::EnRoute, RideState::Arrived]).await
    }

    /// Waits until any ride is as wanted.
    pub(crate) async fn any(&self, what: &str, wanted: impl Fn(&RideView) -> bool) -> RideView {
        let mut events = self.node.events(Some(self.node.last_event_id()));
        let waiting = async {
            loop {
                if let Some(view) = self.node.rides().await.unwrap().into_iter().find(&wanted) {
                    return view;
                }
                events.next().await.expect("the node runs");
            }
        };
        let found = timeout(DEADLINE, waiting).await;
        let Ok(found) = found else { panic!("no ride {what}: {:?}", self.node.rides().await) };
        found
    }

    /// This side's ride for what both have signed.
    pub(crate) async fn ride_of(&self, agreement: Option<AgreementId>) -> RideId {
        assert!(agreement.is_some(), "nothing was signed");
        self.any("of this agreement", |view| view.agreement == agreement).await.ride
    }

    /// Enters the code as often as it takes: a rider's node that is out of reach for a
    /// moment cannot be asked, and the driver is told so.
    pub(crate) async fn board(&self, ride: RideId, code: &str) {
        let mut again = tokio::time::interval(Duration::from_millis(50));
        let until = tokio::time::Instant::now() + DEADLINE;
        loop {
            assert!(again.tick().await < until, "the rider is out of reach for too long");
            let seen = self.node.last_event_id();
            self.command(Command::Board(ride, code.to_owned())).await;
            let boarded = self
                .event("what came of the code", seen, |event| match event {
                    NodeEvent::Market(Event::Ride { ride: of, state: RideState::InProgress, .. })
                        if *of == ride =>
                    {
                        Some(true)
                    }
                    NodeEvent::Market(Event::BoardingRefused { ride: of, .. }) if *of == ride => Some(false),
                    _ => None,
                })
                .await;
            if boarded {
                return;
            }
        }
    }

    /// Waits for an event that came after the one with the number `after`.
    pub(crate) async fn event<T>(
        &self,
        what: &str,
        after: u64,
        wanted: impl Fn(&NodeEvent) -> Option<T>,
    ) -> T {
        let mut events = self.node.events(Some(after));
        let waiting = async {
            loop {
                if let EventItem::Numbered(numbered) = events.next().await.expect("the node runs")
                    && let Some(found) = wanted(&numbered.event)
                {
                    return found;
                }
            }
        };
        timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    /// Waits until gossip reaches this node. Gossip has no history: what was published
    /// before that is heard when its author says it again.
    pub(crate) async fn listens(&self) {
        eventually("a peer to gossip with", async || (self.status().await.mesh_peers > 0).then_some(()))
            .await;
    }

    /// Waits until this node's book holds so many live offers of drivers.
    pub(crate) async fn sees_drivers(&self, count: usize) {
        let what = format!("{count} drivers in the book");
        eventually(&what, async || (self.status().await.snapshot.drivers == count).then_some(())).await;
    }

    /// Drivers around this node, as a search answers.
    pub(crate) async fn search(&self) -> hailmesh_node::SearchAnswer {
        self.node.search(SearchRequest { limit: 500, ..SearchRequest::default() }).await.unwrap()
    }

    pub(crate) async fn receipt(&self, ride: RideId) -> Receipt {
        let bytes = self.node.receipt(ride).await.unwrap().expect("a receipt");
        Receipt::decode(&bytes).unwrap()
    }

    async fn said(&self, view: &RideView) -> String {
        let history: Vec<String> = view
            .history
            .iter()
            .map(|step| {
                format!("{} {} {}", step.at.as_millis(), step.state, step.reason.as_deref().unwrap_or(""))
            })
            .collect();
        let peers = self.node.peers().await.len();
        format!("{history:#?}, no match: {:?}, {peers} peers", view.no_match)
    }
}

/// From near to there, with patience.
pub(crate) fn wish() -> Wish {
    Wish {
        from: point(NEAR),
        to: Some(point(THERE)),
        max_fare: None,
        currency: None,
        class: Class::STANDARD,
        party: Seats::ONE,
        features: Features::NONE,
        patience: hailmesh_types::Duration::from_secs(120),
        pickup_within: None,
        open: true,
        name: Text::new("Ada").unwrap(),
        phone: Text::new("555").unwrap(),
        note: Text::default(),
    }
}

/// A ride that both sides have signed, by the names it has at each.
pub(crate) struct Ride {
    pub(crate) at_driver: RideId,
    pub(crate) at_rider: RideId,
}

impl Ride {
    /// Waits until what the rider looks for is agreed with this driver.
    pub(crate) async fn agreed(driver: &Person, rider: &Person, at_rider: RideId) -> Self {
        let view = rider.until_agreed(at_rider).await;
        Self { at_driver: driver.ride_of(view.agreement).await, at_rider }
    }

    pub(crate) async fn arrive(&self, driver: &Person, rider: &Person) {
        driver.command(Command::Arrive(self.at_driver)).await;
        rider.until(self.at_rider, &[RideState::Arrived]).await;
    }

    pub(crate) async fn board(&self, driver: &Person, rider: &Person) {
        let view = rider.node.ride(self.at_rider).await.unwrap().unwrap();
        let code = view.boarding_code.expect("the rider has a code").expose().clone();
        driver.board(self.at_driver, &code).await;
        rider.until(self.at_rider, &[RideState::InProgress]).await;
    }

    pub(crate) async fn complete(&self, driver: &Person, rider: &Person) {
        driver.command(Command::Complete(self.at_driver, Completion::default())).await;
        self.is_completed(driver, rider).await;
    }

    /// Waits until both call it completed, and compares what they can show for it.
    pub(crate) async fn is_completed(&self, driver: &Person, rider: &Person) -> ReceiptFacts {
        let here = rider.until(self.at_rider, &[RideState::Completed]).await;
        let there = driver.until(self.at_driver, &[RideState::Completed]).await;
        assert_eq!((here.agreement, here.fare, here.total), (there.agreement, there.fare, there.total));
        let (here, there) = (rider.receipt(self.at_rider).await, driver.receipt(self.at_driver).await);
        let facts = here.verify(&[]).unwrap();
        assert!(
            facts.agreed && facts.firm && facts.boarded && facts.completed && facts.cosigned,
            "{facts:?}"
        );
        let theirs = there.verify(&[]).unwrap();
        assert_eq!(
            (facts.agreement, facts.driver, facts.rider, facts.fare, facts.total, facts.ended),
            (theirs.agreement, theirs.driver, theirs.rider, theirs.fare, theirs.total, theirs.ended),
        );
        assert_eq!(here.statements, there.statements, "both hold the very same statements");
        facts
    }

    /// From wherever it is before boarding to the end.
    pub(crate) async fn finish(&self, driver: &Person, rider: &Person) {
        self.arrive(driver, rider).await;
        self.board(driver, rider).await;
        self.complete(driver, rider).await;
    }
}

/// Whether a ride is in a state, for [`Person::event`].
pub(crate) fn is_ride(state: RideState) -> impl Fn(&NodeEvent) -> Option<RideId> {
    move |event| match event {
        NodeEvent::Market(Event::Ride { ride, state: now, .. }) if *now == state => Some(*ride),
        _ => None,
    }
}
