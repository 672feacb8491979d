//! People: they look at what their node shows and do what is next, also after a crash.
//! What they have seen they remember; what their node has forgotten they say again.

use hailmesh_market::{Answer, Command, Completion, RideView, Role};
use hailmesh_sim::promises::cast::{HERE, place, profile, wish};
use hailmesh_types::{Amount, Text};
use hailmesh_wire::{AcceptMode, RideState};

use crate::plan::Name;
use crate::scenario::{DriverWay, RiderWay};
use crate::world::World;

/// How often somebody looks at their node when it has something new.
pub(crate) const LOOK_MS: u64 = 500;
/// How long before the same thing is tried again, and before somebody looks all the same.
const AGAIN_MS: u64 = 2_000;
/// How often somebody asks for a ride before they walk.
const TRIES_MAX: u32 = 8;

/// What somebody remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Person {
    /// Whether the node was told to offer rides since it started.
    online: bool,
    /// When the last thing was tried.
    tried_ms: Option<u64>,
    /// When the node was last looked at.
    looked_ms: u64,
    /// Rides asked for.
    tries: u32,
    /// Has typed a wrong code, disputed, named another fare, or closed the app; has rated.
    erred: bool,
    rated: bool,
    /// The plan was carried out: nothing more is wanted.
    pub(crate) done: bool,
}

impl Person {
    /// The node was started again.
    pub(crate) const fn woke(&mut self) {
        self.online = false;
    }
}

/// Rides that are over and were ever one: both were bound.
fn had(rides: &[RideView]) -> usize {
    let firm = [RideState::Firm, RideState::EnRoute, RideState::Arrived, RideState::InProgress];
    let was_firm = |ride: &&RideView| ride.history.iter().any(|step| firm.contains(&step.state));
    rides.iter().filter(|ride| ride.state.is_over()).filter(was_firm).count()
}

impl World {
    /// What a node shows, newest first; nothing when it is down.
    pub(crate) fn rides(&self, name: Name) -> Vec<RideView> {
        let now = self.time();
        self.hosts[name].market.as_ref().map(|market| market.rides(now)).unwrap_or_default()
    }

    /// Whoever sits at this host looks at it.
    pub(crate) fn act(&mut self, name: Name) {
        let now_ms = self.now_ms;
        let host = &mut self.hosts[name];
        let is_due = host.has_news || now_ms >= host.person.looked_ms + AGAIN_MS;
        if host.market.is_none() || !is_due {
            return;
        }
        host.has_news = false;
        host.person.looked_ms = now_ms;
        match self.hosts[name].role {
            Role::Driver => self.driver_acts(name),
            Role::Rider => self.rider_acts(name),
        }
    }

    /// Whether something may be tried again.
    fn may_try(&mut self, name: Name) -> bool {
        let now_ms = self.now_ms;
        let person = &mut self.hosts[name].person;
        let may = person.tried_ms.is_none_or(|at| now_ms >= at + AGAIN_MS);
        if may {
            person.tried_ms = Some(now_ms);
        }
        may
    }

    fn driver_acts(&mut self, name: Name) {
        let rides = self.rides(name);
        let first = had(&rides) == 0;
        let way = if first || !self.scenario.again { self.scenario.driver } else { DriverWay::Drives };
        if !self.hosts[name].person.online && self.now_ms >= self.scenario.online_ms {
            self.command(name, Command::Move(place(HERE)));
            self.command(
                name,
                Command::GoOnline(profile(if way == DriverWay::Haggles {
                    AcceptMode::Ask
                } else {
                    AcceptMode::Auto
                })),
            );
            self.hosts[name].person.online = true;
        }
        let open = rides.iter().find(|ride| !ride.state.is_over());
        self.hosts[name].person.done = open.is_none();
        let Some(ride) = open else { return self.rate(name, &rides) };
        let id = ride.ride;
        let (erred, mut errs) = (self.hosts[name].person.erred, false);
        let command = match (ride.state, way) {
            (RideState::Requested, DriverWay::Haggles) if !erred => {
                errs = true;
                Command::Counter(id, Amount::from_minor(700).unwrap())
            }
            (RideState::Requested, _) => Command::Accept(id),
            (RideState::EnRoute, DriverWay::Cancels) => Command::Cancel(id),
            (RideState::EnRoute, DriverWay::StaysAway) => return,
            (RideState::EnRoute, _) => Command::Arrive(id),
            (RideState::Arrived, DriverWay::MissesRider) => Command::NoShow(id),
            (RideState::Arrived, _) => {
                let Some(code) = self.told_code(ride) else { return };
                if way == DriverWay::Mistypes && !erred {
                    errs = true;
                    Command::Board(id, if code == "000000" { "000001" } else { "000000" }.to_owned())
                } else {
                    Command::Board(id, code)
                }
            }
            (RideState::InProgress, _) if ride.total.is_none() => {
                let extra = (way == DriverWay::PaysToll).then(|| Amount::from_minor(650).unwrap());
                Command::Complete(id, Completion { extra, ..Completion::default() })
            }
            _ => return,
        };
        if self.may_try(name) {
            self.hosts[name].person.erred |= errs;
            self.command(name, command);
        }
    }

    /// The code that the rider of this ride says, if it can look at it.
    fn told_code(&self, ride: &RideView) -> Option<String> {
        let shown = |rider: Name| {
            let rides = self.rides(rider);
            let same = rides.iter().find(|other| other.agreement == ride.agreement)?;
            same.boarding_code.as_ref().map(|code| code.0.clone())
        };
        self.names(Role::Rider).find_map(shown)
    }

    fn rider_acts(&mut self, name: Name) {
        let rides = self.rides(name);
        // The second time it is only about the slots.
        let way = if had(&rides) == 0 { self.scenario.rider } else { RiderWay::Cancels };
        let Some(ride) = rides.iter().find(|ride| !ride.state.is_over()) else {
            let satisfied = had(&rides) > usize::from(self.scenario.again);
            let gives_up = self.hosts[name].person.tries >= TRIES_MAX;
            if satisfied || gives_up {
                if !satisfied {
                    self.watch.violation("L1", format!("host {name} never got a ride"));
                }
                self.hosts[name].person.done = true;
                return self.rate(name, &rides);
            }
            if self.now_ms >= self.scenario.wanted_ms && self.may_try(name) {
                let wish = wish((self.scenario.driver == DriverWay::Haggles).then_some(900), true);
                if let Some(Ok(Answer::Ride(_))) = self.command(name, Command::RequestRide(Box::new(wish))) {
                    self.hosts[name].person.tries += 1;
                }
            }
            return;
        };
        self.hosts[name].person.done = false;
        let id = ride.ride;
        let (erred, mut errs) = (self.hosts[name].person.erred, false);
        if way == RiderWay::StartsAgain && !erred && ride.state == RideState::EnRoute {
            self.hosts[name].person.erred = true;
            return self.stop(name);
        }
        let command = match (ride.state, way) {
            (RideState::Committed, RiderWay::CancelsInDoubt) => Command::Cancel(id),
            (RideState::Firm | RideState::EnRoute, RiderWay::Cancels) => Command::Cancel(id),
            (RideState::Firm | RideState::EnRoute, RiderWay::MissesDriver) => Command::NoShow(id),
            (RideState::InProgress, RiderWay::EndsAlone) => Command::EndAlone(id),
            (RideState::InProgress, RiderWay::Disputes) if ride.total.is_some() => {
                if erred {
                    return;
                }
                errs = true;
                Command::Decline(id)
            }
            (RideState::InProgress, _) if ride.total.is_some() => Command::Accept(id),
            _ => return,
        };
        if self.may_try(name) {
            self.hosts[name].person.erred |= errs;
            self.command(name, command);
        }
    }

    /// Somebody rates what is over, once.
    fn rate(&mut self, name: Name, rides: &[RideView]) {
        let completed = rides.iter().find(|ride| ride.state == RideState::Completed);
        let (Some(ride), true, false) = (completed, self.scenario.rates, self.hosts[name].person.rated)
        else {
            return;
        };
        self.hosts[name].person.rated = true;
        self.command(name, Command::Rate(ride.ride, 5, Text::default()));
    }
}
