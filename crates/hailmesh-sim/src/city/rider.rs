//! What a rider does: it asks for a ride, waits, boards, and goes its way.

use hailmesh_market::{Answer, Command, RideId, Wish};
use hailmesh_types::{Class, Duration, Features, Private, Seats, Text};
use hailmesh_wire::RideState;

use super::engine::Shared;
use super::host::{Host, Person, What};
use super::link::Draws;
use super::people::{Arrival, Word};
use crate::outcome::RideOutcome;

/// How long a rider waits before it asks again, milliseconds.
const AGAIN_MS: u64 = 1_000;
/// How long a node stays up after its ride, for what is still to be delivered.
const LINGER_MS: u64 = 20_000;

/// Somebody who wants to go somewhere.
pub(super) struct RiderPerson {
    pub(super) request: u32,
    pub(super) next_ms: Option<u64>,
    pub(super) outcome: RideOutcome,
    pub(super) mood: Mood,
    pub(super) ride: Option<RideId>,
    /// Its node is no longer needed.
    pub(super) done: bool,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// It has not asked yet.
    Early,
    /// It waits for a car.
    Waiting,
    /// It sits in one.
    Riding,
    /// It is there, or has given up.
    Leaving,
}

impl RiderPerson {
    pub(super) const fn new(request: u32, outcome: RideOutcome) -> Self {
        let next_ms = Some(outcome.requested_ms);
        Self { request, next_ms, outcome, mood: Mood::Early, ride: None, done: false }
    }
}

impl Host {
    fn rider(&mut self) -> &mut RiderPerson {
        match &mut self.person {
            Person::Rider(person) => person,
            _ => unreachable!("a driver does not ride"),
        }
    }

    fn deadline(&mut self, shared: &Shared) -> u64 {
        self.rider().outcome.requested_ms + shared.patience_ms
    }

    pub(super) fn rider_starts(&mut self, shared: &Shared, at_ms: u64) {
        let request = self.rider().request;
        let from = shared.request(request).from;
        self.command(shared, at_ms, Command::Move(Private(from)));
        // After a crash: what was bound is still there, what was searched is not.
        let open = match self.market.as_ref() {
            Some(market) => {
                let now = self.clock.reads(at_ms);
                market.rides(now).into_iter().find(|view| view.state.is_open()).map(|view| view.ride)
            }
            None => None,
        };
        let person = self.rider();
        if person.mood == Mood::Waiting {
            person.ride = open;
            if open.is_none() {
                person.next_ms = Some(at_ms);
            }
        }
    }

    pub(super) fn rider_hears(&mut self, shared: &Shared, at_ms: u64, ride: RideId, state: RideState) {
        if self.rider().mood != Mood::Waiting || self.rider().ride.is_some_and(|own| own != ride) {
            return;
        }
        let deadline = self.deadline(shared);
        match state {
            RideState::Firm => {
                let person = self.rider();
                person.ride = Some(ride);
                person.outcome.matched_ms = Some(at_ms);
                person.next_ms = Some(deadline);
            }
            // What the app says of the arrival is exact now. Too late is of no use, and the
            // car can serve somebody else.
            RideState::EnRoute => {
                let eta = self.ride(at_ms, ride).and_then(|view| view.eta);
                if eta.is_some_and(|eta| at_ms + u64::from(eta.as_millis()) > deadline) {
                    self.command(shared, at_ms, Command::Cancel(ride));
                }
            }
            state if !state.is_open() => {
                let person = self.rider();
                person.ride = None;
                person.outcome.matched_ms = None;
                person.next_ms = Some((at_ms + AGAIN_MS).min(deadline));
            }
            _ => {}
        }
    }

    pub(super) fn rider_acts(&mut self, shared: &Shared, at_ms: u64) {
        let deadline = self.deadline(shared);
        self.rider().next_ms = None;
        match self.rider().mood {
            Mood::Early => {
                self.rider().mood = Mood::Waiting;
                self.ask(shared, at_ms);
            }
            Mood::Waiting if at_ms >= deadline => {
                let ride = self.rider().ride;
                let person = self.rider();
                person.mood = Mood::Leaving;
                person.outcome.matched_ms = None;
                person.next_ms = Some(at_ms + LINGER_MS);
                if let Some(ride) = ride {
                    self.command(shared, at_ms, Command::Cancel(ride));
                }
            }
            Mood::Waiting => {
                if self.rider().ride.is_none() {
                    self.ask(shared, at_ms);
                } else {
                    self.rider().next_ms = Some(deadline);
                }
            }
            Mood::Riding => {}
            // A plan of faults wants to see what is delivered at last.
            Mood::Leaving => self.rider().done = shared.settings.faults.is_none(),
        }
    }

    fn ask(&mut self, shared: &Shared, at_ms: u64) {
        let deadline = self.deadline(shared);
        let left = deadline.saturating_sub(at_ms);
        if self.market.is_none() || left < 1_000 {
            self.rider().next_ms = Some(deadline.max(at_ms + 1));
            return;
        }
        let patience = Duration::from_millis(u32::try_from(left).unwrap_or(u32::MAX));
        let id = self.id;
        let trip = shared.request(self.rider().request);
        let wish = Wish {
            from: Private(trip.from),
            to: Some(Private(trip.to)),
            max_fare: None,
            currency: None,
            class: Class::STANDARD,
            party: Seats::new(trip.party.clamp(1, 16)).unwrap_or(Seats::ONE),
            features: Features::NONE,
            patience,
            pickup_within: Some(patience),
            open: true,
            name: Text::new(id.to_string()).unwrap_or_default(),
            phone: Text::default(),
            note: Text::default(),
        };
        let answer = self.command(shared, at_ms, Command::RequestRide(Box::new(wish)));
        match answer {
            Some(Ok(Answer::Ride(ride))) => {
                let person = self.rider();
                // It may be over already.
                if person.mood == Mood::Waiting && person.ride.is_none() {
                    person.ride = Some(ride);
                }
                person.next_ms = Some(person.next_ms.unwrap_or(deadline).min(deadline));
            }
            _ => self.rider().next_ms = Some((at_ms + AGAIN_MS).min(deadline)),
        }
    }

    pub(super) fn rider_is_told(&mut self, shared: &Shared, at_ms: u64, from: u32, word: Word) {
        match word {
            Word::Here(arrival) => self.greet(shared, at_ms, from, arrival),
            Word::There { at_ms: there } => {
                let person = self.rider();
                if person.mood == Mood::Riding {
                    person.outcome.dropped_ms = Some(there);
                    person.mood = Mood::Leaving;
                    person.next_ms = Some(at_ms + LINGER_MS);
                }
            }
            Word::Code { .. } | Word::Gone { .. } => {}
        }
    }

    /// A car is here.
    fn greet(&mut self, shared: &Shared, at_ms: u64, from: u32, arrival: Arrival) {
        let deadline = self.deadline(shared);
        let agreement = arrival.agreement;
        let person = self.rider();
        let waits =
            person.mood == Mood::Riding || (person.mood == Mood::Waiting && arrival.at_ms <= deadline);
        if !waits {
            return self.say(at_ms, What::Word { to: from, word: Word::Gone { agreement } });
        }
        let ride = person.ride;
        // A node that is down cannot show its code: the driver asks again.
        let Some(view) = ride.and_then(|ride| self.ride(at_ms, ride)) else { return };
        if view.agreement != Some(agreement) {
            return self.say(at_ms, What::Word { to: from, word: Word::Gone { agreement } });
        }
        // Half of the people read six digits aloud, the others show the QR code.
        let by_code = Draws::of(shared.seed, 0xc0de, self.id.into(), 0).next() & 1 == 0;
        let by_code = by_code && !arrival.show_secret;
        let code = if by_code { view.boarding_code } else { view.boarding_secret };
        let Some(code) = code else { return };
        let word = Word::Code { agreement, code: code.expose().clone() };
        self.say(at_ms, What::Word { to: from, word });
        let person = self.rider();
        person.mood = Mood::Riding;
        person.next_ms = None;
        let outcome = &mut person.outcome;
        outcome.vehicle = Some(from);
        // A car that stood there can be quicker than the word that it comes.
        outcome.matched_ms.get_or_insert(arrival.at_ms);
        outcome.picked_up_ms = Some(arrival.at_ms);
        outcome.set_out = Some(arrival.set_out);
        outcome.pickup_m = arrival.drive_m;
        outcome.pickup_ms = arrival.drive_ms;
    }
}
