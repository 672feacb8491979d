//! What drivers and riders of the demo do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hailmesh_api::types::Money;
use hailmesh_market::{Answer, Command, Completion, Event, RideId, RideView, Wish};
use hailmesh_node::{EventItem, NodeEvent, NodeHandle};
use hailmesh_types::{AgreementId, Class, Features, GeoPoint, Private, Seats, Text};
use hailmesh_wire::{Receipt, RideState};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::city::{City, place};
use super::{DemoConfig, Scene};

/// How long a rider looks for a driver.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a step of a ride may take before somebody gives up.
const STEP: Duration = Duration::from_secs(20);
/// The way to the pickup, in the compressed time of the demo.
const PICKUP: std::ops::Range<u64> = 200..700;
/// The ride, likewise.
const RIDE: std::ops::Range<u64> = 300..1_200;
/// Between two rides of one rider, likewise.
const PAUSE: std::ops::Range<u64> = 100..600;
/// Between two steps of a driver who waits for riders.
const WANDER: std::ops::Range<u64> = 3_000..6_000;

/// Where riders and drivers meet: the code a rider says aloud, by agreement.
#[derive(Debug, Default)]
struct Kerb {
    codes: Mutex<BTreeMap<AgreementId, String>>,
    said: Notify,
}

impl Kerb {
    fn say(&self, agreement: AgreementId, code: String) {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).insert(agreement, code);
        self.said.notify_waiters();
    }

    async fn hear(&self, agreement: AgreementId) -> String {
        loop {
            let said = self.said.notified();
            tokio::pin!(said);
            said.as_mut().enable();
            let code = self.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(&agreement);
            match code {
                Some(code) => return code,
                None => said.await,
            }
        }
    }
}

/// Everything that people share.
#[derive(Debug)]
pub(super) struct Stage {
    city: Arc<City>,
    seed: u64,
    kerb: Kerb,
    scenes: mpsc::UnboundedSender<Scene>,
    /// Rides that may still be begun; what fails gives its place back.
    tickets: Arc<Semaphore>,
    numbers: AtomicU32,
    closing: CancellationToken,
}

impl Stage {
    pub(super) fn new(
        city: Arc<City>,
        config: &DemoConfig,
        scenes: mpsc::UnboundedSender<Scene>,
        closing: CancellationToken,
    ) -> Self {
        let rides = config.rides.map_or(Semaphore::MAX_PERMITS, |rides| rides as usize);
        Self {
            city,
            seed: config.seed,
            kerb: Kerb::default(),
            scenes,
            tickets: Arc::new(Semaphore::new(rides)),
            numbers: AtomicU32::new(0),
            closing,
        }
    }

    /// Lets everybody begin; they end when the stage is closed.
    pub(super) fn open(self: &Arc<Self>) -> JoinSet<()> {
        let mut people = JoinSet::new();
        let (drivers, riders) = (self.city.drivers.len(), self.city.riders.len());
        for number in 0..drivers {
            let stage = Arc::clone(self);
            people.spawn(async move {
                let closing = stage.closing.clone();
                closing.run_until_cancelled(stage.drive(number)).await;
            });
        }
        for number in 0..riders {
            let stage = Arc::clone(self);
            people.spawn(async move {
                let closing = stage.closing.clone();
                closing.run_until_cancelled(stage.travel(number)).await;
            });
        }
        people
    }

    fn rng(&self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream + 1);
        rng
    }

    fn tell(&self, scene: Scene) {
        // Nobody listens any more when the demo ends.
        let _ = self.scenes.send(scene);
    }

    /// A driver: wanders until somebody wants a ride, and gives it.
    async fn drive(&self, number: usize) {
        let node = &self.city.drivers[number];
        let mut rng = self.rng(number as u64);
        let mut at = place(&mut rng);
        let mut events = node.events(None);
        loop {
            let next = timeout(Duration::from_millis(rng.random_range(WANDER)), events.next()).await;
            let ride = match next {
                Err(_) => {
                    at = near(&mut rng, at);
                    // A driver who is told that the node ends has nothing left to do.
                    let _ = node.command(Command::Move(Private(at))).await;
                    continue;
                }
                Ok(None) => return,
                Ok(Some(item)) => firm_ride(&item),
            };
            let Some(ride) = ride else { continue };
            if let Err(why) = self.give(node, ride, &mut rng).await {
                tracing::warn!(driver = number, %ride, why, "a driver of the demo gave up");
                let _ = node.command(Command::Cancel(ride)).await;
            }
        }
    }

    async fn give(&self, node: &NodeHandle, ride: RideId, rng: &mut ChaCha8Rng) -> Result<(), String> {
        let view = known(node, ride).await?;
        let agreement = view.agreement.ok_or("firm without an agreement")?;
        let way = Duration::from_millis(rng.random_range(PICKUP));
        let eta = hailmesh_types::Duration::from_millis(u32::try_from(way.as_millis()).unwrap_or(0));
        node.command(Command::EnRoute(ride, eta)).await.map_err(said)?;
        sleep(way).await;
        if let Some(pickup) = &view.pickup {
            node.command(Command::Move(*pickup)).await.map_err(said)?;
        }
        node.command(Command::Arrive(ride)).await.map_err(said)?;
        let code = timeout(STEP, self.kerb.hear(agreement)).await.map_err(|_| "the rider said no code")?;
        node.command(Command::Board(ride, code)).await.map_err(said)?;
        reach(node, ride, |view| view.state == RideState::InProgress).await?;
        sleep(Duration::from_millis(rng.random_range(RIDE))).await;
        if let Some(drop) = known(node, ride).await?.drop {
            node.command(Command::Move(drop)).await.map_err(said)?;
        }
        node.command(Command::Complete(ride, Completion::default())).await.map_err(said)?;
        reach(node, ride, |view| view.state == RideState::Completed).await?;
        Ok(())
    }

    /// A rider: wants one ride after the other.
    async fn travel(&self, number: usize) {
        let node = &self.city.riders[number];
        let mut rng = self.rng((self.city.drivers.len() + number) as u64);
        loop {
            sleep(Duration::from_millis(rng.random_range(PAUSE))).await;
            let Ok(ticket) = Arc::clone(&self.tickets).acquire_owned().await else { return };
            match self.ride(number, node, &mut rng).await {
                // This ride is one of those that were wanted.
                Ok(()) => ticket.forget(),
                Err(why) => self.tell(Scene::Failed { rider: number, why }),
            }
        }
    }

    async fn ride(&self, rider: usize, node: &NodeHandle, rng: &mut ChaCha8Rng) -> Result<(), String> {
        let wish = Wish {
            from: Private(place(rng)),
            to: Some(Private(place(rng))),
            max_fare: None,
            currency: None,
            class: Class::STANDARD,
            party: Seats::ONE,
            features: Features::NONE,
            patience: hailmesh_types::Duration::from_secs(20),
            pickup_within: None,
            open: true,
            name: Text::default(),
            phone: Text::default(),
            note: Text::default(),
        };
        let answer = node.command(Command::RequestRide(Box::new(wish))).await.map_err(said)?;
        let Answer::Ride(ride) = answer else { return Err("a request without a ride".to_owned()) };
        let outcome = self.see_through(rider, node, ride).await;
        if outcome.is_err() {
            // The next request needs the slot; a ride that has ended by itself says so.
            let _ = node.command(Command::Cancel(ride)).await;
        }
        outcome
    }

    async fn see_through(&self, rider: usize, node: &NodeHandle, ride: RideId) -> Result<(), String> {
        let searching = |view: &RideView| {
            !matches!(view.state, RideState::Requested | RideState::Held | RideState::Committed)
        };
        let view = node.wait_ride(ride, searching, PATIENCE + STEP).await.map_err(said)?;
        let view = view.ok_or("the ride is unknown")?;
        let is_on = matches!(
            view.state,
            RideState::Firm | RideState::EnRoute | RideState::Arrived | RideState::InProgress
        );
        if !is_on {
            return Err(format!("{}: {}", view.state, reasons(&view)));
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let agreement = view.agreement.ok_or("firm without an agreement")?;
        let (fare, currency) = view.fare.ok_or("firm without a fare")?;
        let money = |minor: u64| Money { amount: minor, currency: currency.to_string() };
        self.tell(Scene::Firm {
            ride: number,
            rider,
            driver: self.driver_of(&view).await.unwrap_or(usize::MAX),
            fare: money(fare.minor()),
            settle: Duration::from_millis(view.settle_ms.unwrap_or_default()),
            asked: view.asked,
        });
        let code = view.boarding_code.ok_or("firm without a boarding code")?;
        reach(node, ride, |view| matches!(view.state, RideState::Arrived | RideState::InProgress)).await?;
        self.kerb.say(agreement, code.expose().clone());
        let done = reach(node, ride, |view| view.state == RideState::Completed).await?;
        let receipt = node.receipt(ride).await.map_err(said)?.ok_or("completed without a receipt")?;
        let facts = Receipt::decode(&receipt).and_then(|receipt| receipt.verify(&[])).map_err(said)?;
        if !facts.cosigned || facts.agreement != agreement {
            return Err("the receipt does not prove the completed ride".to_owned());
        }
        self.tell(Scene::Completed { ride: number, total: done.total.map(|total| money(total.minor())) });
        Ok(())
    }

    /// The number of the driver of a ride.
    async fn driver_of(&self, view: &RideView) -> Option<usize> {
        let key = view.counterparty?;
        self.city.drivers.iter().position(|node| node.peer_id() == hailmesh_node::peer_id(&key.to_peer_key()))
    }
}

/// The ride of a driver that has just become firm.
fn firm_ride(item: &EventItem) -> Option<RideId> {
    match item {
        EventItem::Numbered(numbered) => match &numbered.event {
            NodeEvent::Market(Event::Ride { ride, state: RideState::Firm, .. }) => Some(*ride),
            _ => None,
        },
        EventItem::Lagged { .. } => None,
    }
}

async fn known(node: &NodeHandle, ride: RideId) -> Result<RideView, String> {
    node.ride(ride).await.map_err(said)?.ok_or_else(|| "the ride is unknown".to_owned())
}

/// Waits until a ride is as wanted.
async fn reach(
    node: &NodeHandle,
    ride: RideId,
    wanted: impl Fn(&RideView) -> bool,
) -> Result<RideView, String> {
    let is_over = |view: &RideView| {
        !matches!(
            view.state,
            RideState::Firm
                | RideState::EnRoute
                | RideState::Arrived
                | RideState::InProgress
                | RideState::Completed
        )
    };
    let view = node.wait_ride(ride, |view| wanted(view) || is_over(view), STEP).await.map_err(said)?;
    let view = view.ok_or_else(|| "the ride is unknown".to_owned())?;
    if wanted(&view) {
        Ok(view)
    } else {
        Err(format!("the ride is {} after {} s", view.state, STEP.as_secs()))
    }
}

/// A step of some 100 m.
fn near(rng: &mut ChaCha8Rng, at: GeoPoint) -> GeoPoint {
    let step = |rng: &mut ChaCha8Rng| rng.random_range(-0.001..0.001);
    GeoPoint::from_degrees(at.lat() + step(rng), at.lon() + step(rng)).unwrap_or(at)
}

fn reasons(view: &RideView) -> String {
    let Some(no_match) = &view.no_match else { return "no reason was given".to_owned() };
    let answers: Vec<String> = no_match.answers.iter().map(|(reason, n)| format!("{n} × {reason}")).collect();
    let found = &no_match.explain;
    format!(
        "{} offers heard, {} in range, {} asked, answers: {}",
        found.heard,
        found.in_range,
        no_match.asked,
        if answers.is_empty() { "none".to_owned() } else { answers.join(", ") }
    )
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
