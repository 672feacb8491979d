//! What a driver does: it goes where its node sends it, opens the door, drives, and
//! takes the next.

use hailmesh_market::{Command, Completion, DriverProfile, RideId};
use hailmesh_types::{AgreementId, Class, Features, GeoPoint, Private, Seats, Tariff, Text};
use hailmesh_wire::{AcceptMode, RideState, VehicleCard};

use super::engine::Shared;
use super::host::{Host, Person, What};
use super::link::Draws;
use super::people::{Arrival, REPEAT_MS, Word};
use crate::roads::Junction;

/// How often a moving car tells its node where it is, milliseconds.
const FIX_EVERY_MS: u64 = 15_000;
/// How long a driver waits at a pickup for somebody whose node is silent.
const GIVE_UP_MS: u64 = 300_000;
/// How long a driver looks at a request before it answers, milliseconds.
const LOOK_MS: (u32, u32) = (2_000, 8_000);

/// Somebody who drives.
pub(super) struct DriverPerson {
    pub(super) seats: u8,
    pub(super) task: Task,
    pub(super) next_ms: Option<u64>,
    /// Requests to answer, and when.
    asked: Vec<(u64, RideId)>,
    /// Whether its node has been told to be found.
    online: bool,
    /// When it will want a break.
    break_ms: u64,
    /// Breaks so far, and requests answered.
    draws: u64,
    /// Road driven without and with a passenger, metres.
    pub(super) empty_m: u64,
    pub(super) full_m: u64,
}

/// What the car is doing.
pub(super) enum Task {
    Idle {
        at: Junction,
    },
    /// Offline for a while.
    Break {
        at: Junction,
        until_ms: u64,
    },
    ToPickup(Trip),
    /// At the pickup, until the node has seen the boarding code.
    Boarding {
        trip: Trip,
        arrived_ms: u64,
        code: Option<String>,
        refused: u32,
    },
    ToDrop(Trip),
    /// There, until the node has the rider's signature.
    Paying(Trip),
}

/// A leg of a ride.
#[derive(Clone, Copy)]
pub(super) struct Trip {
    ride: RideId,
    agreement: AgreementId,
    rider: u32,
    from: Junction,
    to: Junction,
    left_ms: u64,
    due_ms: u64,
    drive_m: u32,
}

impl DriverPerson {
    pub(super) const fn new(at: Junction, seats: u8) -> Self {
        Self {
            seats,
            task: Task::Idle { at },
            next_ms: None,
            asked: Vec::new(),
            online: false,
            break_ms: u64::MAX,
            draws: 0,
            empty_m: 0,
            full_m: 0,
        }
    }

    /// When it next does something by itself.
    pub(super) fn acts_ms(&self) -> Option<u64> {
        let answer = self.asked.iter().map(|(at, _)| *at).min();
        [self.next_ms, answer].into_iter().flatten().min()
    }

    fn ride(&self) -> Option<RideId> {
        match &self.task {
            Task::Idle { .. } | Task::Break { .. } => None,
            Task::ToPickup(trip) | Task::ToDrop(trip) | Task::Paying(trip) => Some(trip.ride),
            Task::Boarding { trip, .. } => Some(trip.ride),
        }
    }

    /// Where the car is now.
    fn at(&self, shared: &Shared, at_ms: u64) -> Junction {
        match &self.task {
            Task::Idle { at } | Task::Break { at, .. } => *at,
            Task::ToPickup(trip) | Task::ToDrop(trip) => {
                let driven = at_ms.clamp(trip.left_ms, trip.due_ms) - trip.left_ms;
                let driven = u32::try_from(driven).unwrap_or(u32::MAX);
                shared.roads().junction_after(trip.from, trip.to, driven)
            }
            Task::Boarding { trip, .. } | Task::Paying(trip) => trip.to,
        }
    }
}

fn profile(shared: &Shared, seats: u8) -> DriverProfile {
    DriverProfile {
        class: Class::STANDARD,
        seats: Seats::new(seats.clamp(1, 16)).unwrap_or(Seats::ONE),
        features: Features::NONE,
        tariff: Tariff::default(),
        accept_mode: if shared.settings.acceptance < 1.0 { AcceptMode::Ask } else { AcceptMode::Auto },
        precision: shared.settings.driver_precision,
        discount: 0,
        vehicle: VehicleCard {
            plate: Text::new("SIM 1").unwrap_or_default(),
            model: Text::new("Estate").unwrap_or_default(),
            colour: Text::new("blue").unwrap_or_default(),
            photo: None,
            credential_salt: None,
        },
    }
}

impl Host {
    fn driver(&mut self) -> &mut DriverPerson {
        match &mut self.person {
            Person::Driver(person) => person,
            _ => unreachable!("a rider does not drive"),
        }
    }

    fn move_to(&mut self, shared: &Shared, at_ms: u64, place: GeoPoint) {
        self.command(shared, at_ms, Command::Move(Private(place)));
    }

    pub(super) fn driver_starts(&mut self, shared: &Shared, at_ms: u64) {
        let at = self.driver().at(shared, at_ms);
        self.driver().asked.clear();
        self.move_to(shared, at_ms, shared.roads().point(at));
        if let Task::Break { until_ms, .. } = self.driver().task {
            self.driver().next_ms = Some(until_ms.max(at_ms));
            return;
        }
        if self.driver().break_ms == u64::MAX {
            self.plan_break(shared, at_ms);
        }
        self.go_online(shared, at_ms);
        // What the node knows of the ride may differ from what the person remembers.
        match self.driver().ride() {
            None => self.rest_or_wait(at_ms),
            Some(ride) => {
                let state = self.ride(at_ms, ride).map(|view| view.state);
                match state {
                    Some(state) if is_under_way(state) => self.driver().next_ms = Some(at_ms),
                    _ => self.become_idle(shared, at_ms),
                }
            }
        }
    }

    fn go_online(&mut self, shared: &Shared, at_ms: u64) {
        let online = Command::GoOnline(profile(shared, self.driver().seats));
        self.driver().online = true;
        if let Some(Err(error)) = self.command(shared, at_ms, online) {
            let text = format!("driver {} cannot go online: {error}", self.id);
            self.say(at_ms, What::Violation(text));
        }
    }

    fn driver_draws(&mut self, shared: &Shared) -> Draws {
        let id = self.id;
        let driver = self.driver();
        driver.draws += 1;
        Draws::of(shared.seed, 0xb4ea, id.into(), driver.draws)
    }

    fn plan_break(&mut self, shared: &Shared, at_ms: u64) {
        let rate = shared.settings.breaks_per_h;
        if rate <= 0.0 {
            return;
        }
        let mut draws = self.driver_draws(shared);
        // Exponential with this mean.
        let ms = -(1.0 - draws.unit()).ln() * 3_600_000.0 / rate;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a year")]
        let after = ms.clamp(1.0, 3e10) as u64;
        self.driver().break_ms = at_ms + after;
    }

    /// A free driver does nothing by itself until it wants a break.
    fn rest_or_wait(&mut self, at_ms: u64) {
        let driver = self.driver();
        driver.next_ms = (driver.break_ms < u64::MAX).then(|| driver.break_ms.max(at_ms));
    }

    /// After a ride that was agreed on just before a break.
    fn return_online(&mut self, shared: &Shared, at_ms: u64) {
        if !self.driver().online {
            self.plan_break(shared, at_ms);
            self.rest_or_wait(at_ms);
            self.go_online(shared, at_ms);
        }
    }

    fn take_break(&mut self, shared: &Shared, at_ms: u64) {
        let at = self.driver().at(shared, at_ms);
        let (least, most) = shared.settings.break_ms;
        let until_ms = at_ms + u64::from(self.driver_draws(shared).between(least, most));
        let driver = self.driver();
        driver.task = Task::Break { at, until_ms };
        driver.next_ms = Some(until_ms);
        driver.online = false;
        self.command(shared, at_ms, Command::GoOffline);
    }

    fn end_break(&mut self, shared: &Shared, at_ms: u64) {
        let at = self.driver().at(shared, at_ms);
        self.driver().task = Task::Idle { at };
        self.plan_break(shared, at_ms);
        self.rest_or_wait(at_ms);
        self.go_online(shared, at_ms);
    }

    /// Somebody wants a ride, and the driver decides.
    pub(super) fn driver_is_asked(&mut self, shared: &Shared, at_ms: u64, ride: RideId) {
        let look = u64::from(self.driver_draws(shared).between(LOOK_MS.0, LOOK_MS.1));
        self.driver().asked.push((at_ms + look, ride));
    }

    /// Answers the request whose time has come; false: there is none.
    fn answer(&mut self, shared: &Shared, at_ms: u64) -> bool {
        let driver = self.driver();
        let Some(place) = driver.asked.iter().position(|(due, _)| *due <= at_ms) else { return false };
        let (_, ride) = driver.asked.swap_remove(place);
        let agrees = self.driver_draws(shared).chance(shared.settings.acceptance);
        // Meanwhile the rider may have gone elsewhere: then there is nothing to answer.
        let command = if agrees { Command::Accept(ride) } else { Command::Decline(ride) };
        self.command(shared, at_ms, command);
        true
    }

    /// The node says something about a ride.
    pub(super) fn driver_hears(&mut self, shared: &Shared, at_ms: u64, ride: RideId, state: RideState) {
        match state {
            RideState::Firm if self.driver().ride().is_none() => self.set_out(shared, at_ms, ride),
            state if !is_under_way(state) && self.driver().ride() == Some(ride) => {
                self.become_idle(shared, at_ms);
            }
            RideState::InProgress if self.driver().ride() == Some(ride) => {
                // The door may be open before the next look.
                if let Task::Boarding { arrived_ms, .. } = &self.driver().task {
                    let ready = (*arrived_ms + shared.boarding_ms).max(at_ms);
                    self.driver().next_ms = Some(ready);
                }
            }
            _ => {}
        }
    }

    fn set_out(&mut self, shared: &Shared, at_ms: u64, ride: RideId) {
        let Some(view) = self.ride(at_ms, ride) else { return };
        let (Some(pickup), Some(contact), Some(agreement)) = (view.pickup, view.contact, view.agreement)
        else {
            let text = format!("driver {} is firm and does not know where to go", self.id);
            return self.say(at_ms, What::Violation(text));
        };
        // The name on the door sign tells the rider apart. Under any other name nobody will
        // be there, which a driver finds out at the kerb.
        let rider = contact.expose()[0].parse().unwrap_or(u32::MAX);
        let from = self.driver().at(shared, at_ms);
        let to = shared.roads().snap(*pickup.expose());
        let drive = shared.roads().drive(from, to);
        let trip = Trip {
            ride,
            agreement,
            rider,
            from,
            to,
            left_ms: at_ms,
            due_ms: at_ms + u64::from(drive.ms),
            drive_m: drive.m,
        };
        let person = self.driver();
        person.next_ms = Some(trip.due_ms.min(at_ms + FIX_EVERY_MS));
        person.task = Task::ToPickup(trip);
    }

    fn become_idle(&mut self, shared: &Shared, at_ms: u64) {
        let at = self.driver().at(shared, at_ms);
        let person = self.driver();
        match &person.task {
            Task::ToPickup(trip) => {
                let whole = (trip.due_ms - trip.left_ms).max(1);
                let driven = at_ms.clamp(trip.left_ms, trip.due_ms) - trip.left_ms;
                person.empty_m += u64::from(trip.drive_m) * driven / whole;
            }
            Task::ToDrop(trip) => person.full_m += u64::from(trip.drive_m),
            _ => {}
        }
        person.task = Task::Idle { at };
        self.rest_or_wait(at_ms);
        self.move_to(shared, at_ms, shared.roads().point(at));
        self.return_online(shared, at_ms);
    }

    /// Somebody at the car says something.
    pub(super) fn driver_is_told(&mut self, shared: &Shared, at_ms: u64, _from: u32, word: Word) {
        match word {
            Word::Code { agreement, code } => {
                let Task::Boarding { trip, code: known, .. } = &mut self.driver().task else { return };
                if trip.agreement == agreement && known.is_none() {
                    *known = Some(code);
                    self.proceed(shared, at_ms);
                }
            }
            Word::Gone { agreement } => {
                let Task::Boarding { trip, .. } = &self.driver().task else { return };
                let (ride, same) = (trip.ride, trip.agreement == agreement);
                if same {
                    self.command(shared, at_ms, Command::Cancel(ride));
                }
            }
            Word::Here(_) | Word::There { .. } => {}
        }
    }

    /// It is time to do the next thing.
    pub(super) fn driver_acts(&mut self, shared: &Shared, at_ms: u64) {
        let is_due = self.driver().next_ms.is_some_and(|next| next <= at_ms);
        if !self.answer(shared, at_ms) && is_due {
            self.proceed(shared, at_ms);
        }
    }

    fn proceed(&mut self, shared: &Shared, at_ms: u64) {
        let here = self.driver().at(shared, at_ms);
        let place = shared.roads().point(here);
        match &mut self.driver().task {
            Task::Idle { .. } => self.take_break(shared, at_ms),
            Task::Break { .. } => self.end_break(shared, at_ms),
            Task::ToPickup(trip) | Task::ToDrop(trip) if at_ms < trip.due_ms => {
                let next = trip.due_ms.min(at_ms + FIX_EVERY_MS);
                self.driver().next_ms = Some(next);
                self.move_to(shared, at_ms, place);
            }
            Task::ToPickup(trip) => {
                let trip = *trip;
                let person = self.driver();
                person.empty_m += u64::from(trip.drive_m);
                person.task = Task::Boarding { trip, arrived_ms: at_ms, code: None, refused: 0 };
                self.move_to(shared, at_ms, place);
                self.command(shared, at_ms, Command::Arrive(trip.ride));
                self.knock(at_ms);
            }
            Task::Boarding { trip, arrived_ms, code, refused } => {
                let (ride, arrived_ms, code, refused) = (trip.ride, *arrived_ms, code.clone(), *refused);
                self.board(shared, at_ms, ride, arrived_ms, code, refused);
            }
            Task::ToDrop(trip) => {
                let trip = *trip;
                let person = self.driver();
                person.full_m += u64::from(trip.drive_m);
                person.task = Task::Paying(trip);
                person.next_ms = Some(at_ms + REPEAT_MS);
                self.say(at_ms, What::Word { to: trip.rider, word: Word::There { at_ms } });
                self.move_to(shared, at_ms, place);
                self.command(shared, at_ms, Command::Complete(trip.ride, Completion::default()));
            }
            Task::Paying(trip) => {
                // A node that was down when we arrived has not been told yet.
                let trip = *trip;
                self.driver().next_ms = Some(at_ms + 10 * REPEAT_MS);
                let told = self.ride(at_ms, trip.ride).is_some_and(|view| view.total.is_some());
                if !told {
                    self.command(shared, at_ms, Command::Complete(trip.ride, Completion::default()));
                }
            }
        }
    }

    /// Tells the rider that the car is here.
    fn knock(&mut self, at_ms: u64) {
        let Task::Boarding { trip, arrived_ms, refused, .. } = &self.driver().task else { return };
        let arrival = Arrival {
            agreement: trip.agreement,
            at_ms: *arrived_ms,
            set_out: trip.from,
            drive_m: trip.drive_m,
            drive_ms: u32::try_from(trip.due_ms - trip.left_ms).unwrap_or(u32::MAX),
            show_secret: *refused > 0,
        };
        let to = trip.rider;
        self.say(at_ms, What::Word { to, word: Word::Here(arrival) });
        self.driver().next_ms = Some(at_ms + REPEAT_MS);
    }

    fn board(
        &mut self,
        shared: &Shared,
        at_ms: u64,
        ride: RideId,
        arrived_ms: u64,
        code: Option<String>,
        refused: u32,
    ) {
        let state = self.ride(at_ms, ride).map(|view| view.state);
        if state == Some(RideState::InProgress) {
            let ready = arrived_ms + shared.boarding_ms;
            if at_ms < ready {
                self.driver().next_ms = Some(ready);
            } else {
                self.depart(shared, at_ms, ride);
            }
            return;
        }
        if state == Some(RideState::Firm) || state == Some(RideState::EnRoute) {
            // The node was down when we arrived.
            self.command(shared, at_ms, Command::Arrive(ride));
        }
        let Some(code) = code else {
            if at_ms >= arrived_ms + GIVE_UP_MS {
                self.command(shared, at_ms, Command::Cancel(ride));
                self.driver().next_ms = Some(at_ms + REPEAT_MS);
            } else {
                self.knock(at_ms);
            }
            return;
        };
        self.driver().next_ms = Some(at_ms + REPEAT_MS);
        let answer = self.command(shared, at_ms, Command::Board(ride, code));
        let boarded = self.ride(at_ms, ride).is_some_and(|view| view.state == RideState::InProgress);
        if !boarded
            && (matches!(answer, Some(Err(_))) || refused > 0 || at_ms > arrived_ms + 2 * REPEAT_MS)
            && let Task::Boarding { code, refused, .. } = &mut self.driver().task
        {
            // Ask again, for the secret this time.
            *code = None;
            *refused += 1;
        }
    }

    fn depart(&mut self, shared: &Shared, at_ms: u64, ride: RideId) {
        let Task::Boarding { trip, .. } = &self.driver().task else { return };
        let (from, rider, agreement) = (trip.to, trip.rider, trip.agreement);
        let Some(drop) = self.ride(at_ms, ride).and_then(|view| view.drop) else {
            // The destination comes with the boarding; look again in a moment.
            self.driver().next_ms = Some(at_ms + REPEAT_MS / 4);
            return;
        };
        let to = shared.roads().snap(*drop.expose());
        let drive = shared.roads().drive(from, to);
        let due_ms = at_ms + u64::from(drive.ms);
        let trip = Trip { ride, agreement, rider, from, to, left_ms: at_ms, due_ms, drive_m: drive.m };
        let person = self.driver();
        person.task = Task::ToDrop(trip);
        person.next_ms = Some(due_ms.min(at_ms + FIX_EVERY_MS));
    }
}

const fn is_under_way(state: RideState) -> bool {
    matches!(
        state,
        RideState::Held
            | RideState::Committed
            | RideState::Firm
            | RideState::EnRoute
            | RideState::Arrived
            | RideState::InProgress
    )
}
