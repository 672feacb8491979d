//! What people do: what is next, or anything at all.

use hailmesh_market::{Command, Completion, RideId, RideView, Role};
use hailmesh_sim::promises::cast::{HERE, NEAR, THERE, place, profile, wish};
use hailmesh_types::{Amount, Duration, Text};
use hailmesh_wire::{AcceptMode, RideState};

use super::world::{Name, World};
use crate::Input;

/// What somebody remembers.
#[derive(Debug, Clone, Default)]
pub(super) struct Person {
    /// Whether the node was told to offer rides since it started.
    online: bool,
}

impl Person {
    /// The node was started again.
    pub(super) const fn woke(&mut self) {
        self.online = false;
    }
}

fn amount(minor: u64) -> Amount {
    Amount::from_minor(minor).expect("an amount")
}

impl World {
    /// Whoever sits at this host does what is next in a plain ride.
    pub(super) fn acts(&mut self, name: Name) {
        let rides = self.rides(name);
        let open = rides.iter().find(|ride| !ride.state.is_over());
        match (self.hosts[name].role, open) {
            (Role::Driver, None) if !self.hosts[name].person.online => {
                self.command(name, Command::Move(place(HERE)));
                let is_online = self.command(name, Command::GoOnline(profile(AcceptMode::Auto)));
                self.hosts[name].person.online = is_online;
            }
            (Role::Driver, None) => {}
            (Role::Rider, None) => {
                self.command(name, Command::RequestRide(Box::new(wish(None, true))));
            }
            (_, Some(ride)) => {
                if let Some(command) = self.next_for(name, ride) {
                    self.command(name, command);
                }
            }
        }
    }

    /// What is next for somebody in this ride.
    fn next_for(&self, name: Name, ride: &RideView) -> Option<Command> {
        let id = ride.ride;
        match (self.hosts[name].role, ride.state) {
            (Role::Driver, RideState::Requested) => Some(Command::Accept(id)),
            (Role::Driver, RideState::EnRoute) => Some(Command::Arrive(id)),
            (Role::Driver, RideState::Arrived) => Some(Command::Board(id, self.told_code(ride)?)),
            (Role::Driver, RideState::InProgress) if ride.total.is_none() => {
                Some(Command::Complete(id, Completion::default()))
            }
            (Role::Rider, RideState::InProgress) if ride.total.is_some() => Some(Command::Accept(id)),
            _ => None,
        }
    }

    /// The code that the rider of this ride says, if it can look at it.
    fn told_code(&self, ride: &RideView) -> Option<String> {
        self.names(Role::Rider).into_iter().find_map(|rider| {
            let rides = self.rides(rider);
            let same = rides.iter().find(|other| other.agreement == ride.agreement)?;
            same.boarding_code.as_ref().map(|code| code.0.clone())
        })
    }
}

/// Anything that somebody at this host could say.
pub(super) fn any_command(world: &World, name: Name, input: &mut Input<'_>) -> Command {
    let rides = world.rides(name);
    let ride = input.pick(&rides);
    let id =
        ride.map_or_else(|| "01J00000000000000000000000".parse::<RideId>().expect("an id"), |ride| ride.ride);
    match input.below(20) {
        0 => Command::GoOnline(profile(if input.chance(128) { AcceptMode::Ask } else { AcceptMode::Auto })),
        1 => Command::GoOffline,
        2 => Command::Move(place(if input.chance(128) { NEAR } else { HERE })),
        3 => Command::SharePosition(input.chance(128)),
        4 => {
            let max_fare = input.chance(128).then(|| u64::from(input.short()));
            Command::RequestRide(Box::new(wish(max_fare, input.chance(128))))
        }
        5 | 6 => Command::Cancel(id),
        7 => Command::Accept(id),
        8 => Command::Decline(id),
        9 => Command::Counter(id, amount(u64::from(input.short()))),
        10 => Command::EnRoute(id, Duration::from_millis(input.long())),
        11 => Command::Arrive(id),
        12 => Command::Board(id, "000000".to_owned()),
        13 => {
            let code = ride.and_then(|ride| world.told_code(ride)).unwrap_or_default();
            Command::Board(id, code)
        }
        14 | 15 => {
            let completion = Completion {
                dist_m: input.chance(64).then(|| input.long()),
                ride_time: input.chance(64).then(|| Duration::from_millis(input.long())),
                extra: input.chance(64).then(|| amount(u64::from(input.short()))),
            };
            Command::Complete(id, completion)
        }
        16 => Command::EndAlone(id),
        17 => Command::NoShow(id),
        18 => Command::Rate(id, 1 + input.byte() % 5, Text::default()),
        _ => Command::Move(place(THERE)),
    }
}
