//! What riders and drivers do. They look at their node, do the next thing, and look again:
//! it is all the same to them whether their node has been killed in between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hailmesh::client::Client;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::node::Node;
use crate::stage::{Moment, Stage};

/// People look at their nodes when something happens, and this often anyway.
const LOOK: Duration = Duration::from_millis(1_500);
/// Something that was not taken is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// Times of the city, milliseconds: between two rides of a rider, to the pickup, the ride.
const PAUSE: std::ops::Range<u64> = 4_000..25_000;
const PICKUP: std::ops::Range<u64> = 2_000..12_000;
const RIDE: std::ops::Range<u64> = 3_000..20_000;
/// How long a rider looks for a driver, milliseconds.
const SEARCH_MS: u64 = 20_000;
/// How long a rider who is not picked up waits before it cancels, one on board before it
/// ends the ride without the driver, and a driver at the pickup before it says that nobody
/// came (P9.6 wants 180 s).
const WAITS: Duration = Duration::from_secs(120);
const RIDES: Duration = Duration::from_secs(240);
const STANDS: Duration = Duration::from_secs(185);
/// Half the width and height of the city around Times Square, degrees.
const REACH: f64 = 0.018;
const CENTRE: (f64, f64) = (40.758, -73.9855);

/// A place somewhere in the city.
pub(crate) fn place(rng: &mut ChaCha8Rng) -> (f64, f64) {
    (CENTRE.0 + rng.random_range(-REACH..REACH), CENTRE.1 + rng.random_range(-REACH..REACH))
}

/// The draws of one person, or of something else that draws.
pub(crate) fn draws(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

fn ms(rng: &mut ChaCha8Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}

/// What a person has in mind for one ride.
struct Plan {
    state: String,
    /// Since when it is in this state.
    since: Instant,
    /// Gives up at that time unless somebody has boarded.
    cancels: Option<Instant>,
    /// Never shows up.
    stays_away: bool,
    /// When the last thing that may be refused was done.
    tried: Option<Instant>,
    way: Duration,
    ride: Duration,
    said: bool,
    is_complete: bool,
}

/// One person and its node.
pub(crate) struct Person<'a> {
    stage: &'a Stage,
    node: &'a Node,
    rng: ChaCha8Rng,
    plans: BTreeMap<String, Plan>,
    next: Instant,
    /// A request of which it is not known whether the node has it.
    asking: Option<(String, Value)>,
    asked: u32,
}

impl<'a> Person<'a> {
    pub(crate) fn new(stage: &'a Stage, node: &'a Node) -> Self {
        let mut rng = draws(stage.seed, node.index as u64 + 1);
        let next = Instant::now() + ms(&mut rng, 0..PAUSE.end);
        Self { stage, node, rng, plans: BTreeMap::new(), next, asking: None, asked: 0 }
    }

    /// Drives, for ever.
    pub(crate) async fn drive(mut self) {
        loop {
            let Some((client, rides)) = self.look().await else { continue };
            for ride in &rides {
                self.give(&client, ride).await;
            }
        }
    }

    /// Wants one ride after the other, for ever.
    pub(crate) async fn travel(mut self) {
        loop {
            let Some((client, rides)) = self.look().await else { continue };
            for ride in &rides {
                self.take(&client, ride).await;
            }
            if rides.is_empty() && !self.stage.is_closing() && Instant::now() >= self.next {
                self.ask(&client).await;
            }
        }
    }

    /// Waits for the next look; the rides that are not over, in their states.
    async fn look(&mut self) -> Option<(Client, Vec<Value>)> {
        let _at_the_latest = timeout(LOOK, self.node.wake.notified()).await;
        let client = self.node.client()?;
        let rides = self.stage.look(self.node, &client).await?;
        let mut open = BTreeSet::new();
        for ride in &rides {
            let (Some(id), Some(state)) = (ride["ride_id"].as_str(), ride["state"].as_str()) else {
                continue;
            };
            open.insert(id.to_owned());
            if !self.plans.contains_key(id) {
                let plan = self.plan();
                self.plans.insert(id.to_owned(), plan);
            }
            if let Some(plan) = self.plans.get_mut(id)
                && plan.state != state
            {
                state.clone_into(&mut plan.state);
                (plan.since, plan.tried) = (Instant::now(), None);
            }
        }
        let over: Vec<String> = self.plans.keys().filter(|id| !open.contains(*id)).cloned().collect();
        for id in over {
            let last = self.plans[&id].state.clone();
            if self.stage.finish(self.node, &client, &id, &last).await {
                self.plans.remove(&id);
                self.next = Instant::now() + ms(&mut self.rng, PAUSE);
            }
        }
        Some((client, rides))
    }

    fn plan(&mut self) -> Plan {
        let now = Instant::now();
        let fate = self.rng.random_range(0..100);
        // Some cancel while it is not even settled, some later.
        let cancels = match fate {
            0..3 => Some(now + ms(&mut self.rng, 0..1_000)),
            3..9 => Some(now + ms(&mut self.rng, 1_000..15_000)),
            _ => None,
        };
        let (way, ride) = (ms(&mut self.rng, PICKUP), ms(&mut self.rng, RIDE));
        Plan {
            state: "requested".to_owned(),
            since: now,
            cancels,
            stays_away: fate == 9,
            tried: None,
            way,
            ride,
            said: false,
            is_complete: false,
        }
    }

    /// A driver's next step.
    async fn give(&mut self, client: &Client, ride: &Value) {
        let (Some(id), Some(agreement)) = (ride["ride_id"].as_str(), ride["agreement"].as_str()) else {
            return;
        };
        let Some(plan) = self.plans.get_mut(id) else { return };
        if plan.tried.is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        let path = |step: &str| format!("/v1/rides/{id}/{step}");
        let none = json!({});
        match plan.state.as_str() {
            "firm" | "en_route" | "arrived" if plan.cancels.is_some_and(|at| at <= Instant::now()) => {
                plan.cancels = None;
                let _refused = client.post::<Value>(&path("cancel"), &none).await;
            }
            "firm" | "en_route" if plan.since.elapsed() >= plan.way => {
                plan.tried = Some(Instant::now());
                let Ok(view) = client.get::<Value>(&format!("/v1/rides/{id}")).await else { return };
                let _moved = client.put::<Value>("/v1/position", &view["pickup"]).await;
                let _later = client.post::<Value>(&path("arrive"), &none).await;
            }
            "arrived" => {
                let code = self.stage.kerb().get(agreement).and_then(|meeting| meeting.code.clone());
                if let Some(code) = code {
                    plan.tried = Some(Instant::now());
                    let _later = client.post::<Value>(&path("board"), &json!({ "code": code })).await;
                } else if plan.since.elapsed() > STANDS {
                    plan.tried = Some(Instant::now());
                    let _later = client.post::<Value>(&path("no-show"), &none).await;
                }
            }
            "in_progress" if plan.since.elapsed() >= plan.ride && !plan.is_complete => {
                plan.tried = Some(Instant::now());
                let Ok(view) = client.get::<Value>(&format!("/v1/rides/{id}")).await else { return };
                let _moved = client.put::<Value>("/v1/position", &view["drop"]).await;
                plan.is_complete = client.post::<Value>(&path("complete"), &none).await.is_ok();
            }
            _ => {}
        }
    }

    /// A rider's next step.
    async fn take(&mut self, client: &Client, ride: &Value) {
        let Some(id) = ride["ride_id"].as_str() else { return };
        let is_closing = self.stage.is_closing();
        let Some(plan) = self.plans.get_mut(id) else { return };
        let path = |step: &str| format!("/v1/rides/{id}/{step}");
        let none = json!({});
        let is_late = plan.since.elapsed() > WAITS && !plan.stays_away;
        match plan.state.as_str() {
            "in_progress"
                if plan.since.elapsed() > RIDES && plan.tried.is_none_or(|at| at.elapsed() > AGAIN) =>
            {
                plan.tried = Some(Instant::now());
                let _refused = client.post::<Value>(&path("end"), &none).await;
            }
            "in_progress" => {}
            _ if is_late || plan.cancels.is_some_and(|at| at <= Instant::now()) => {
                plan.cancels = None;
                let _refused = client.post::<Value>(&path("cancel"), &none).await;
            }
            "arrived" if !plan.said && (!plan.stays_away || is_closing) => {
                let Ok(view) = client.get::<Value>(&format!("/v1/rides/{id}")).await else { return };
                let (code, agreement) = (view["boarding_code"].as_str(), view["agreement"].as_str());
                let Some((code, agreement)) = code.zip(agreement) else { return };
                let driver = {
                    let mut kerb = self.stage.kerb();
                    let meeting = kerb.entry(agreement.to_owned()).or_default();
                    meeting.code = Some(code.to_owned());
                    meeting.driver
                };
                plan.said = true;
                if let Some(driver) = driver {
                    self.stage.nodes[driver].wake.notify_one();
                }
            }
            _ => {}
        }
    }

    async fn ask(&mut self, client: &Client) {
        if self.asking.is_none() {
            let ((lat, lon), (to_lat, to_lon)) = (place(&mut self.rng), place(&mut self.rng));
            let wish = json!({
                "from": { "lat": lat, "lon": lon },
                "to": { "lat": to_lat, "lon": to_lon },
                "patience_ms": SEARCH_MS,
            });
            self.asked += 1;
            self.asking = Some((format!("{}-{}", self.node.name, self.asked), wish));
        }
        let Some((key, wish)) = self.asking.clone() else { return };
        // Before the answer: a kill may be waiting for this very moment.
        let _nobody = self.stage.moments.send(Moment::Asked(self.node.index));
        match client.post_once::<Value>("/v1/rides", &wish, &key, Duration::ZERO).await {
            Ok(view) => {
                self.asking = None;
                if let Some(id) = view["ride_id"].as_str() {
                    let plan = self.plan();
                    self.plans.insert(id.to_owned(), plan);
                }
            }
            // Killed under its hands: the same key again, once there is a node.
            Err(failure) if failure.exit == hailmesh::exit::Exit::Unreachable => sleep(LOOK).await,
            Err(failure) => {
                self.asking = None;
                self.next = Instant::now() + AGAIN;
                self.stage.note(format!("a request was refused: {}", failure.message));
            }
        }
    }
}
