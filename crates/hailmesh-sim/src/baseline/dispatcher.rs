//! Cars, waiting requests, and sending one to the other.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::assign::Pair;
use crate::outcome::{RideOutcome, RunOutcome};
use crate::policy::Policy;
use crate::roads::Junction;
use crate::scenario::{Scenario, TripRequest, VehicleStart};

/// The state of a run with a dispatcher.
pub(super) struct Dispatcher<'a> {
    scenario: &'a Scenario,
    /// Where each car stands, or will stand when it is idle again.
    places: Vec<Junction>,
    /// Idle cars, in no order.
    idle: Vec<u32>,
    /// Cars at work and when they are idle again.
    busy: BinaryHeap<Reverse<(u64, u32)>>,
    /// Requests without a car, the oldest first.
    waiting: Vec<u32>,
    /// The next request that nobody knows of yet.
    next: usize,
    rides: Vec<RideOutcome>,
    empty_m: u64,
    full_m: u64,
    events: u64,
    trace: blake3::Hasher,
}

/// What happens, for the trace.
#[derive(Clone, Copy)]
enum Event {
    Requested,
    Sent,
    PickedUp,
    Idle,
    Lost,
}

const NOBODY: u32 = u32::MAX;

impl<'a> Dispatcher<'a> {
    pub(super) fn new(scenario: &'a Scenario, cars: &[VehicleStart]) -> Self {
        let rides = scenario.requests.iter().zip(0..).map(|(request, number)| RideOutcome {
            request: number,
            requested_ms: request.t_ms,
            vehicle: None,
            matched_ms: None,
            picked_up_ms: None,
            dropped_ms: None,
            set_out: None,
            from: request.from_junction,
            to: request.to_junction,
            pickup_m: 0,
            pickup_ms: 0,
            trip_m: 0,
        });
        Self {
            scenario,
            places: cars.iter().map(|car| car.junction).collect(),
            idle: (0..).take(cars.len()).collect(),
            busy: BinaryHeap::new(),
            waiting: Vec::new(),
            next: 0,
            rides: rides.collect(),
            empty_m: 0,
            full_m: 0,
            events: 0,
            trace: blake3::Hasher::new(),
        }
    }

    /// Every request takes the nearest idle car at once.
    pub(super) fn first_come(&mut self) {
        loop {
            let freed = self.busy.peek().map(|&Reverse((at, _))| at);
            let made = self.scenario.requests.get(self.next).map(|request| request.t_ms);
            let now = match (freed, made) {
                (Some(freed), Some(made)) => freed.min(made),
                (Some(only), None) | (None, Some(only)) => only,
                (None, None) => break,
            };
            if now > self.scenario.end_ms() {
                break;
            }
            self.lose_the_late(now);
            if freed == Some(now) {
                let car = self.free_one(now);
                self.take_oldest(now, car);
            } else {
                let request = self.receive(now);
                match self.nearest_idle(now, request) {
                    Some(place) => {
                        let car = self.idle.swap_remove(place);
                        self.send(now, request, car);
                    }
                    None => self.waiting.push(request),
                }
            }
        }
    }

    /// Matches every so many seconds.
    pub(super) fn in_batches(&mut self, seconds: u32, choose: fn(Vec<Pair>, usize, usize) -> Vec<Pair>) {
        let step_ms = usize::try_from(seconds).unwrap_or(usize::MAX).saturating_mul(1_000);
        for now in (0..=self.scenario.end_ms()).step_by(step_ms).skip(1) {
            while self.scenario.requests.get(self.next).is_some_and(|request| request.t_ms < now) {
                let request = self.receive(now);
                self.waiting.push(request);
            }
            while self.busy.peek().is_some_and(|&Reverse((at, _))| at < now) {
                let car = self.free_one(now);
                self.idle.push(car);
            }
            self.lose_the_late(now);
            // Ties go to the lower place.
            self.idle.sort_unstable();
            let chosen = choose(self.pairs(now), self.waiting.len(), self.idle.len());
            for pair in &chosen {
                self.send(now, self.waiting[pair.request as usize], self.idle[pair.car as usize]);
            }
            strike_out(&mut self.waiting, chosen.iter().map(|pair| pair.request));
            strike_out(&mut self.idle, chosen.iter().map(|pair| pair.car));
        }
    }

    pub(super) fn finish(mut self, policy: Policy, fleet: u32, seed: u64) -> RunOutcome {
        for number in std::mem::take(&mut self.waiting) {
            self.note(Event::Lost, self.scenario.end_ms(), number, NOBODY);
        }
        RunOutcome {
            policy,
            fleet,
            seed,
            rides: self.rides,
            patience_ms: self.scenario.patience_ms,
            empty_m: self.empty_m,
            full_m: self.full_m,
            traffic: None,
            moments: Vec::new(),
            events: self.events,
            trace_hash: *self.trace.finalize().as_bytes(),
        }
    }

    fn request(&self, number: u32) -> &'a TripRequest {
        &self.scenario.requests[number as usize]
    }

    /// The last moment at which a car may be at the pickup.
    fn limit(&self, number: u32) -> u64 {
        (self.request(number).t_ms + self.scenario.patience_ms).min(self.scenario.end_ms())
    }

    fn receive(&mut self, now: u64) -> u32 {
        let number = u32::try_from(self.next).expect("fewer requests than numbers");
        self.next += 1;
        self.note(Event::Requested, now, number, NOBODY);
        number
    }

    fn free_one(&mut self, now: u64) -> u32 {
        let Reverse((_, car)) = self.busy.pop().expect("the caller saw one");
        self.note(Event::Idle, now, NOBODY, car);
        car
    }

    fn lose_the_late(&mut self, now: u64) {
        let waiting = std::mem::take(&mut self.waiting);
        let (kept, late) = waiting.into_iter().partition(|&number| self.limit(number) >= now);
        self.waiting = kept;
        let late: Vec<u32> = late;
        for number in late {
            self.note(Event::Lost, now, number, NOBODY);
        }
    }

    /// The place in `idle` of the car with the least drive, if that is in time.
    fn nearest_idle(&self, now: u64, number: u32) -> Option<usize> {
        let from = self.request(number).from_junction;
        let drives =
            self.idle.iter().enumerate().map(|(place, &car)| {
                (self.scenario.roads.drive(self.places[car as usize], from).ms, car, place)
            });
        let (ms, _, place) = drives.min()?;
        (now + u64::from(ms) <= self.limit(number)).then_some(place)
    }

    /// Sends a car that got idle to the oldest request that it reaches in time.
    fn take_oldest(&mut self, now: u64, car: u32) {
        let place = self.places[car as usize];
        let in_time = |&number: &u32| {
            let drive = self.scenario.roads.drive(place, self.request(number).from_junction);
            now + u64::from(drive.ms) <= self.limit(number)
        };
        match self.waiting.iter().position(in_time) {
            Some(place) => {
                let request = self.waiting.remove(place);
                self.send(now, request, car);
            }
            None => self.idle.push(car),
        }
    }

    /// All pairs of waiting requests and idle cars that are in time.
    fn pairs(&self, now: u64) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (&number, request) in self.waiting.iter().zip(0..) {
            let (from, slack) = (self.request(number).from_junction, self.limit(number) - now);
            for (&idle, car) in self.idle.iter().zip(0..) {
                let ms = self.scenario.roads.drive(self.places[idle as usize], from).ms;
                if u64::from(ms) <= slack {
                    pairs.push(Pair { ms, request, car });
                }
            }
        }
        pairs
    }

    fn send(&mut self, now: u64, number: u32, car: u32) {
        let request = self.request(number);
        let roads = &self.scenario.roads;
        let set_out = self.places[car as usize];
        let pickup = roads.drive(set_out, request.from_junction);
        let trip = roads.drive(request.from_junction, request.to_junction);
        let picked_up_ms = now + u64::from(pickup.ms);
        let dropped_ms = picked_up_ms + self.scenario.boarding_ms + u64::from(trip.ms);
        self.note(Event::Sent, now, number, car);
        self.note(Event::PickedUp, picked_up_ms, number, car);
        let ride = &mut self.rides[number as usize];
        ride.vehicle = Some(car);
        ride.matched_ms = Some(now);
        ride.picked_up_ms = Some(picked_up_ms);
        ride.dropped_ms = (dropped_ms <= self.scenario.end_ms()).then_some(dropped_ms);
        ride.set_out = Some(set_out);
        (ride.pickup_m, ride.pickup_ms, ride.trip_m) = (pickup.m, pickup.ms, trip.m);
        self.empty_m += u64::from(pickup.m);
        self.full_m += u64::from(trip.m);
        self.places[car as usize] = request.to_junction;
        self.busy.push(Reverse((dropped_ms, car)));
    }

    fn note(&mut self, event: Event, at_ms: u64, request: u32, car: u32) {
        self.events += 1;
        self.trace.update(&[event as u8]);
        self.trace.update(&at_ms.to_le_bytes());
        self.trace.update(&request.to_le_bytes());
        self.trace.update(&car.to_le_bytes());
    }
}

/// Removes what is at the given places and keeps the order of the rest.
fn strike_out(list: &mut Vec<u32>, places: impl Iterator<Item = u32>) {
    let mut struck = vec![false; list.len()];
    for place in places {
        struck[place as usize] = true;
    }
    let mut struck = struck.into_iter();
    list.retain(|_| !struck.next().unwrap_or(false));
}
