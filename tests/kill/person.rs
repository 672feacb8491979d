//! Whoever sits at a node: looks at what it shows and does what is next, also after it was
//! killed. What people have seen they remember; what their node has forgotten they say
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hailmesh_market::{Command, Completion, RideView, Role, Snapshot, Wish};
use hailmesh_node::{NodeError, NodeHandle};
use hailmesh_types::{Amount, Class, Features, Private, Seats, Text};
use hailmesh_wire::RideState;
use serde_json::{Value, json};

use crate::scenario::{DriverWay, NEAR, RiderWay, Scenario, THERE};

/// How long before the same thing is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Somebody.
pub(crate) struct Person {
    scenario: Scenario,
    role: Role,
    tried: Option<(RideState, Instant)>,
    /// Boarding codes that riders have said, by agreement.
    heard: BTreeMap<String, String>,
    /// Those that this rider has said.
    told: BTreeSet<String>,
    haggled: bool,
    rated: bool,
    says_rated: bool,
    /// This is its first process.
    is_first: bool,
}

/// How a node stands, for whoever watches it.
pub(crate) struct Look;

impl Look {
    /// Everything that the watcher wants to know. `number` is that of its question.
    pub(crate) fn of(rides: &[RideView], snapshot: &Snapshot, done: bool, number: u64) -> Value {
        let rides: Vec<Value> = rides
            .iter()
            .map(|ride| {
                json!({
                    "ride": ride.ride.to_string(),
                    "state": ride.state.to_string(),
                    "agreement": ride.agreement.map(|agreement| agreement.to_string()),
                    "firm": was_firm(&ride),
                })
            })
            .collect();
        json!({
            "rides": rides, "outbox": snapshot.outbox, "lane": snapshot.state, "done": done,
            "accused": snapshot.bans + snapshot.evidence, "number": number,
        })
    }
}

/// Whether a ride was ever one: both were bound.
fn was_firm(ride: &&RideView) -> bool {
    let firm = [RideState::Firm, RideState::EnRoute, RideState::Arrived, RideState::InProgress];
    ride.history.iter().any(|step| firm.contains(&step.state))
}

/// Rides that are over and were ever one.
fn had(rides: &[RideView]) -> usize {
    rides.iter().filter(|ride| ride.state.is_over()).filter(was_firm).count()
}

fn wish(max_fare: Option<u64>) -> Wish {
    Wish {
        from: Private(NEAR.parse().expect("a place")),
        to: Some(Private(THERE.parse().expect("a place"))),
        max_fare: max_fare.map(|fare| Amount::from_minor(fare).expect("an amount")),
        currency: None,
        class: Class::STANDARD,
        party: Seats::ONE,
        features: Features::NONE,
        patience: hailmesh_types::Duration::from_secs(60),
        pickup_within: None,
        open: true,
        name: Text::new("R").expect("a name"),
        phone: Text::default(),
        note: Text::default(),
    }
}

impl Person {
    pub(crate) fn new(scenario: Scenario, role: Role, rated: bool, is_first: bool) -> Self {
        let (heard, told) = (BTreeMap::new(), BTreeSet::new());
        Self { scenario, role, tried: None, heard, told, haggled: false, rated, says_rated: false, is_first }
    }

    /// A rider says its code.
    pub(crate) fn hear(&mut self, agreement: &str, code: &str) {
        self.heard.insert(agreement.to_owned(), code.to_owned());
    }

    /// What this person says to the others.
    pub(crate) fn tells(&mut self, rides: &[RideView]) -> Vec<String> {
        let mut lines = Vec::new();
        for ride in rides {
            if let (Some(agreement), Some(code)) = (ride.agreement, &ride.boarding_code)
                && self.role == Role::Rider
                && self.told.insert(agreement.to_string())
            {
                lines.push(format!("CODE {agreement} {}", code.expose()));
            }
        }
        let leaves = self.role == Role::Rider && self.scenario.rider == RiderWay::StartsAgain;
        let is_firm = |ride: &RideView| was_firm(&ride) && !ride.state.is_over();
        if leaves && self.is_first && rides.iter().any(is_firm) {
            self.is_first = false;
            lines.push("AGAIN".to_owned());
        }
        if std::mem::take(&mut self.says_rated) {
            lines.push("RATED".to_owned());
        }
        lines
    }

    /// Whether nothing more is wanted.
    pub(crate) fn is_done(&self, rides: &[RideView]) -> bool {
        let is_over = rides.iter().all(|ride| ride.state.is_over());
        match self.role {
            Role::Driver => is_over,
            Role::Rider => is_over && self.is_satisfied(rides) && self.ask_or_rate(rides).is_none(),
        }
    }

    fn is_satisfied(&self, rides: &[RideView]) -> bool {
        had(rides) > usize::from(self.scenario.again)
    }

    /// Does what is next, if anything.
    pub(crate) async fn act(&mut self, node: &NodeHandle) {
        let Ok(rides) = node.rides().await else { return };
        let open = rides.iter().find(|ride| !ride.state.is_over());
        let (command, state) = match (self.role, open) {
            (_, Some(ride)) => {
                let next = if self.role == Role::Driver {
                    self.drive(ride, &rides)
                } else {
                    self.ride(ride, &rides)
                };
                (next, ride.state)
            }
            (Role::Driver, None) => (None, RideState::Unknown),
            (Role::Rider, None) => (self.ask_or_rate(&rides), RideState::Unknown),
        };
        let Some(command) = command else { return };
        let now = Instant::now();
        if self.tried.is_some_and(|(last, at)| last == state && now < at + AGAIN) {
            return;
        }
        self.tried = Some((state, now));
        let (rates, haggles) =
            (matches!(command, Command::Rate(..)), matches!(command, Command::Counter(..)));
        let answer = node.command(command).await;
        // What is refused is tried again, as long as it is still next; but for an opinion that
        // was given just before the kill.
        let is_said = rates && matches!(answer, Err(NodeError::Command(_)));
        self.haggled |= haggles && answer.is_ok();
        self.rated |= rates && (answer.is_ok() || is_said);
        self.says_rated |= self.rated && rates;
    }

    fn drive(&self, ride: &RideView, rides: &[RideView]) -> Option<Command> {
        let way = if had(rides) == 0 { self.scenario.driver } else { DriverWay::Drives };
        let id = ride.ride;
        match (ride.state, way) {
            (RideState::Requested, DriverWay::Haggles) if !self.haggled => {
                Some(Command::Counter(id, Amount::from_minor(700).expect("an amount")))
            }
            (RideState::Requested, _) => Some(Command::Accept(id)),
            (RideState::EnRoute, DriverWay::Cancels) => Some(Command::Cancel(id)),
            (RideState::EnRoute, _) => Some(Command::Arrive(id)),
            (RideState::Arrived, _) => {
                let code = self.heard.get(&ride.agreement?.to_string())?;
                Some(Command::Board(id, code.clone()))
            }
            (RideState::InProgress, _) if ride.total.is_none() => {
                let extra = (way == DriverWay::PaysToll).then(|| Amount::from_minor(650).expect("an amount"));
                Some(Command::Complete(id, Completion { extra, ..Completion::default() }))
            }
            _ => None,
        }
    }

    fn ride(&self, ride: &RideView, rides: &[RideView]) -> Option<Command> {
        // The second time it is only about the slots.
        let way = if had(rides) == 0 { self.scenario.rider } else { RiderWay::Cancels };
        let id = ride.ride;
        match (ride.state, way) {
            (RideState::Firm | RideState::EnRoute, RiderWay::Cancels) => Some(Command::Cancel(id)),
            (RideState::InProgress, RiderWay::EndsAlone) => Some(Command::EndAlone(id)),
            (RideState::InProgress, _) if ride.total.is_some() => Some(Command::Accept(id)),
            _ => None,
        }
    }

    fn ask_or_rate(&self, rides: &[RideView]) -> Option<Command> {
        if !self.is_satisfied(rides) {
            let max_fare = (self.scenario.driver == DriverWay::Haggles).then_some(900);
            return Some(Command::RequestRide(Box::new(wish(max_fare))));
        }
        if !self.scenario.rates || self.rated {
            return None;
        }
        let completed = rides.iter().find(|ride| ride.state == RideState::Completed)?;
        Some(Command::Rate(completed.ride, 5, Text::default()))
    }
}
