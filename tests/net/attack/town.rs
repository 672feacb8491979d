//! A small town of honest nodes, and the attackers that come to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::{join, join_all};
use hailmesh_node::NodeStatus;
use hailmesh_node::config::Settings;
use hailmesh_node::market::{Command, Record, Wish};
use hailmesh_node::wire::{Ed25519, RideState};
use hailmesh_sim::adversary::{Behaviour, Player, Setup};
use hailmesh_sim::judge::{AttackTally, EXPOSED_WITHIN_MS};
use hailmesh_store::{Options, Store, StoreUrl};
use hailmesh_types::{Features, GeoPoint};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::court::Court;
use super::host::{Attacker, Victim, Victims};
use super::people::{DURING, People};
use crate::city::{DEADLINE, HERE, NETWORK, Person, Spec, eventually, wish};

/// Drivers, riders with somewhere to go, and a rider whom nobody serves.
const DRIVERS: usize = 3;
const RIDERS: usize = 2;
/// Numbers of attackers begin here.
const HOSTILE: u32 = 100;
/// Within this time every attack must have taken place and have been found out.
const MET: Duration = Duration::from_secs(100);
/// When two more come to town: offers of the beginning are old by then.
const NEW: Duration = Duration::from_secs(12);
/// When they come though more than one attack waits for somebody to listen, which may get
/// in each other's way.
const NEW_LATEST: Duration = Duration::from_secs(30);
/// How often honest nodes are asked what they have stopped.
const LOOK: Duration = Duration::from_millis(400);
/// Honest rides that must be completed after the attackers have gone.
const AFTER: u32 = 2;
/// Longer than `hold_ms` below by what a crowded machine takes.
const HELD_MS: u64 = 2_000 + 6_000;
/// Bounds of P20.
const OFFERS: usize = 100_000;
const BANS: usize = 10_000;
const EVIDENCE: usize = 10_000;
const OUTBOX: usize = 1_000;
const TOPICS: usize = 64;
const PEERS: usize = 256;

/// Timers as short as they may be.
pub(crate) fn quick(settings: &mut Settings) {
    let timers = &mut settings.timers;
    timers.ask_auto_ms = 1_000;
    timers.hold_ms = 2_000;
    timers.hold_uncredentialed_ms = 2_000;
    timers.doubt_ms = 7_000;
    timers.status_ms = 2_000;
    timers.unreach_ms = 6_000;
    timers.open_after_ms = 0;
    timers.outbox_max_ms = 2_000;
    timers.offer_ttl_ms = 20_000;
    timers.offer_refresh_ms = 9_000;
    timers.evidence_ms = 500;
    timers.turnover_ms = 0;
    settings.policy.matching = "nearest".to_owned();
}

/// What came of a town.
pub(crate) struct Outcome {
    pub(crate) tallies: Vec<AttackTally>,
    pub(crate) wrong: Vec<String>,
    /// Honest rides.
    pub(crate) completed: u32,
    /// Agreements that both sides of which are honest held.
    pub(crate) agreements: u64,
    pub(crate) seconds: u64,
    /// When each attack was first seen to be met.
    pub(crate) met_ms: BTreeMap<Behaviour, u64>,
}

/// Honest nodes, each with a home on disk and somebody who follows it.
pub(crate) struct Town {
    pub(crate) court: Court,
    drivers: Vec<Person>,
    riders: Vec<Person>,
    /// A rider who wants what nobody has, and says so.
    waiter: Person,
    newcomers: Vec<Person>,
    followers: Vec<JoinHandle<()>>,
    homes: TempDir,
}

impl Town {
    pub(crate) async fn start() -> Self {
        let (court, homes) = (Court::new(), tempfile::tempdir().unwrap());
        let mut followers = Vec::new();
        let mut people: Vec<Person> = Vec::new();
        for host in 0..=(DRIVERS + RIDERS) {
            let mut spec = if host < DRIVERS { Spec::driver() } else { Spec::rider() };
            for known in &people {
                spec = spec.knows(known).await;
            }
            people.push(settle(&court, &homes, &mut followers, host, spec).await);
        }
        let waiter = people.pop().expect("the last one");
        let riders = people.split_off(DRIVERS);
        Self { court, drivers: people, riders, waiter, newcomers: Vec::new(), followers, homes }
    }

    fn people(&self) -> impl Iterator<Item = (u32, &Person)> {
        let people = self.drivers.iter().chain(&self.riders).chain([&self.waiter]).chain(&self.newcomers);
        (0..).zip(people)
    }

    /// Lets these attackers loose, and judges.
    pub(crate) async fn suffer(mut self, seed: [u8; 32], behaviours: &[Behaviour]) -> Outcome {
        for rider in &self.riders {
            rider.sees_drivers(DRIVERS).await;
        }
        let court = self.court.clone();
        let (tell_victims, victims) = watch::channel(Victims::new());
        for (_, person) in self.people() {
            tell(&tell_victims, person, None).await;
        }
        let (mut attackers, mut places) = (Vec::new(), Vec::new());
        for (number, behaviour) in (HOSTILE..).zip(behaviours) {
            let setup = setup(seed, number - HOSTILE);
            let place = setup.place;
            attackers.push((number, Attacker::start(number, *behaviour, setup, &court, victims.clone())));
            places.push((number, place));
        }
        let enough = AtomicU32::new(u32::MAX);
        let Self { drivers, riders, waiter, newcomers, followers, homes, .. } = &mut self;
        let (drivers, riders, waiter) = (&*drivers, &*riders, &*waiter);
        let people = People { court: &court, drivers, riders, places: &places };
        let riding = join_all(
            riders
                .iter()
                .map(|rider| people.ride(rider, |court| court.completed() >= enough.load(Ordering::SeqCst))),
        );
        let story = async {
            ask_in_vain(&court, waiter).await;
            let come = async {
                let mut settle = async |spec| {
                    let host = DRIVERS + RIDERS + 1 + newcomers.len();
                    newcomers.push(settle(&court, homes, followers, host, spec).await);
                };
                // One who hears from honest people what is true now, and one who hears
                // nothing but what attackers tell it that need somebody to listen.
                settle(Spec::rider().knows(&drivers[0]).await).await;
                settle(Spec::rider()).await;
                tell(&tell_victims, &newcomers[0], None).await;
                let only = Some(court.unheard()).filter(|unheard| !unheard.is_empty());
                tell(&tell_victims, &newcomers[1], only).await;
                &newcomers[..]
            };
            watch_over(&people, waiter, come).await;
            let mut players = BTreeMap::new();
            for (number, attacker) in attackers {
                players.insert(number, attacker.stop().await);
            }
            enough.store(court.completed() + AFTER, Ordering::SeqCst);
            give_up(&court, waiter).await;
            players
        };
        let living = async {
            let (players, _) = join(story, riding).await;
            all_are_free(drivers.iter().chain(riders).chain([waiter])).await;
            players
        };
        let driving = join_all(drivers.iter().map(|driver| people.drive(driver)));
        let players = tokio::select! {
            players = living => players,
            _ = driving => unreachable!("drivers go on as long as they are asked to"),
        };
        self.judge(players).await
    }

    /// The end: what must hold when everybody has gone.
    async fn judge(self, players: BTreeMap<u32, Player>) -> Outcome {
        let court = self.court.clone();
        let within = Duration::from_millis(EXPOSED_WITHIN_MS);
        // Whatever is not is said at the close.
        court.until(within, |court| court.unexposed() == 0).await;
        for (host, person) in self.people() {
            bounds(&court, host, &person.status().await);
            rides(&court, host, person).await;
        }
        let people = self.drivers.into_iter().chain(self.riders).chain([self.waiter]).chain(self.newcomers);
        let specs = join_all(people.map(Person::stop)).await;
        for follower in self.followers {
            timeout(DEADLINE, follower).await.expect("a node that has ended says no more").unwrap();
        }
        for (host, spec) in (0..).zip(specs) {
            let (path, identity) = spec.journal();
            let store = Store::open(&StoreUrl::Sqlite(path), &identity, Options::default()).await.unwrap();
            for record in store.load().await.unwrap() {
                if let Record::Evidence { accused, bytes, .. } = record {
                    court.evidence(host, accused, &bytes);
                }
            }
            store.close().await;
        }
        let seconds = court.at_ms() / 1_000;
        let (completed, agreements) = (court.completed(), court.firm());
        let met_ms = court.met_ms();
        let (tallies, wrong) = court.close(&players);
        Outcome { tallies, wrong, completed, agreements, seconds, met_ms }
    }
}

/// One more honest node, with a home of its own and somebody who follows it.
async fn settle(
    court: &Court,
    homes: &TempDir,
    followers: &mut Vec<JoinHandle<()>>,
    host: usize,
    spec: Spec,
) -> Person {
    let number = u32::try_from(host).unwrap();
    let spec = spec.at_home(&homes.path().join(host.to_string())).tapped(court.tap(number)).with(quick);
    let person = spec.start().await;
    followers.push(tokio::spawn(court.clone().follow(number, person.node.clone())));
    person
}

/// Tells attackers where somebody is.
async fn tell(victims: &watch::Sender<Victims>, person: &Person, only: Option<BTreeSet<u32>>) {
    let mut known = victims.borrow().clone();
    listen(&mut known, person, only).await;
    victims.send_replace(known);
}

/// Notes where somebody listens.
pub(crate) async fn listen(victims: &mut Victims, person: &Person, only: Option<BTreeSet<u32>>) {
    let status = person.status().await;
    victims.insert(status.peer_id, Victim { addr: status.listen[0].clone(), only });
}

/// Keys and place of the attacker with this number.
pub(crate) fn setup(mut seed: [u8; 32], number: u32) -> Setup {
    seed[0] ^= u8::try_from(number).unwrap();
    let network = NETWORK.parse().unwrap();
    Setup { network, signatures: Arc::new(Ed25519), seed, place: beside(number) }
}

/// A wish that no car can fulfil.
async fn ask_in_vain(court: &Court, rider: &Person) {
    let patience = hailmesh_types::Duration::from_secs(600);
    let wish = Wish { features: Features::RAMP, patience, ..wish() };
    if let Err(error) = rider.node.command(Command::RequestRide(Box::new(wish))).await {
        court.wrong(format!("a rider cannot ask: {error}"));
    }
}

async fn give_up(court: &Court, rider: &Person) {
    for view in rider.node.rides().await.unwrap() {
        if view.state.is_open()
            && let Err(error) = rider.node.command(Command::Cancel(view.ride)).await
        {
            court.wrong(format!("a rider cannot give up: {error}"));
        }
    }
}

/// Where the attacker with this number stands: far enough apart that each is the nearest
/// car of whoever stands where it is.
fn beside(number: u32) -> GeoPoint {
    let here: GeoPoint = HERE.parse().unwrap();
    let (row, column) = (i32::try_from(number / 4).unwrap(), i32::try_from(number % 4).unwrap());
    // About 450 m each way.
    GeoPoint::from_e7(here.lat_e7() + 40_000 * (row + 1), here.lon_e7() + 53_000 * (column - 2)).unwrap()
}

/// Looks at what honest nodes make of it until every attack has been met; in between
/// two more come.
async fn watch_over<'n>(people: &People<'_>, waiter: &Person, come: impl Future<Output = &'n [Person]>) {
    let People { court, drivers, riders, .. } = *people;
    let (begun, mut every) = (Instant::now(), interval(LOOK));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut come, mut newcomers) = (Some(come), &[][..]);
    loop {
        every.tick().await;
        let all = drivers.iter().chain(riders).chain([waiter]).chain(newcomers);
        for (host, person) in (0..).zip(all) {
            let snapshot = person.status().await.snapshot;
            court.stopped(host, snapshot.stopped, snapshot.accepted);
        }
        let waits = begun.elapsed() < NEW || court.unheard().len() > 1 && begun.elapsed() < NEW_LATEST;
        if !waits && let Some(come) = come.take() {
            newcomers = come.await;
        }
        let unmet = court.unmet();
        if come.is_none() && unmet.is_empty() && court.completed() >= DURING {
            return;
        }
        if begun.elapsed() >= MET {
            for (number, behaviour) in unmet {
                court.wrong(format!("nothing came of {behaviour}: {}", court.so_far(number)));
            }
            let completed = court.completed();
            if completed < DURING {
                court.wrong(format!("only {completed} honest rides with attackers about"));
            }
            return;
        }
    }
}

/// Waits until nobody is bound to anything: every hold has ended, and every ride.
async fn all_are_free(people: impl Iterator<Item = &Person> + Clone) {
    eventually("everybody to be free", async || {
        for person in people.clone() {
            let snapshot = person.status().await.snapshot;
            if snapshot.open_rides > 0 || !["free", "idle"].contains(&snapshot.state) {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// The node is alive, and its tables are in bounds.
fn bounds(court: &Court, host: u32, status: &NodeStatus) {
    let snapshot = &status.snapshot;
    let sizes = [
        (snapshot.drivers + snapshot.riders, OFFERS),
        (snapshot.bans, BANS),
        (snapshot.evidence, EVIDENCE),
        (snapshot.outbox, OUTBOX),
        (snapshot.topics, TOPICS),
        (status.peers, PEERS),
    ];
    if !status.store_healthy || snapshot.halted.is_some() || sizes.iter().any(|(size, most)| size > most) {
        court.wrong(format!("host {host} is not well: {status:?}"));
    }
}

/// Every ride of a node is over, no hold lasted longer than it may, and whatever was
/// signed by both verifies.
async fn rides(court: &Court, host: u32, person: &Person) {
    for view in person.node.rides().await.unwrap() {
        let held = view.history.iter().position(|step| step.state == RideState::Held);
        let ended = held.and_then(|held| view.history.get(held + 1));
        let lasted = held.and_then(|held| Some(ended?.at.millis_since(view.history[held].at)));
        let in_time = held.is_none() || lasted.is_some_and(|lasted| lasted <= HELD_MS);
        if view.state.is_open() || !in_time {
            court.wrong(format!("a ride of host {host} does not end in time: {:?}", view.history));
        }
        if view.has_receipt
            && let Some(bytes) = person.node.receipt(view.ride).await.unwrap()
        {
            court.last_receipt(host, &bytes, view.counterparty);
        }
    }
}
