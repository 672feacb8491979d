//! The city as a stateright model.

use std::cell::RefCell;

use hailmesh_market::handshake::{LaneState, RiderState};
use stateright::{Model, Property};

use crate::city::{City, Packed};
use crate::driver::DriverOwn;
use crate::mutant::Mutant;
use crate::properties::{Broken, PROPERTIES};
use crate::rider::RiderOwn;
use crate::statement::{Id, Statement, Via};
use crate::step::Action;
use crate::world::{PAIRS, World, pair_name};

/// What the checker explores.
pub struct CityModel {
    /// The run.
    pub world: World,
    /// Pairs of state and event that must occur.
    pub wanted: Vec<usize>,
}

thread_local! {
    /// The city that this thread looked at last, and what is broken in it: a checker asks
    /// for every property of one city, and then for its actions and their results.
    static LAST: RefCell<Option<Look>> = const { RefCell::new(None) };
}

/// One city of one run, looked at.
struct Look {
    run: u64,
    packed: Packed,
    city: City,
    broken: Option<Broken>,
}

impl CityModel {
    fn with_city<T>(&self, state: &Packed, look: impl FnOnce(&City, &mut Option<Broken>) -> T) -> T {
        LAST.with_borrow_mut(|last| {
            let run = self.world.run;
            let fresh = last.as_ref().is_some_and(|last| last.run == run && last.packed == *state);
            if !fresh {
                let config = &self.world.config;
                let city = City::unpack(state, config.riders, config.drivers, &self.world.book);
                *last = Some(Look { run, packed: state.clone(), city, broken: None });
            }
            let last = last.as_mut().expect("it was just put there");
            look(&last.city, &mut last.broken)
        })
    }

    fn holds(&self, state: &Packed, property: usize) -> bool {
        self.with_city(state, |city, broken| {
            let broken = broken.get_or_insert_with(|| self.world.broken(city));
            *broken & (1 << property) == 0
        })
    }

    fn driver_actions(&self, city: &City, driver: u8, actions: &mut Vec<Action>) {
        let config = &self.world.config;
        let node = &city.drivers[usize::from(driver)];
        let lane = &node.lanes[usize::from(node.generation)];
        let held = lane.held().is_some();
        let mut own = vec![DriverOwn::HoldEnded];
        if config.cancel {
            own.push(DriverOwn::Cancel);
        }
        if config.no_show {
            own.extend([DriverOwn::Arrived, DriverOwn::NoShow]);
        }
        if config.ride {
            own.push(DriverOwn::EndAlone);
            // The secret is with the rider's node from W4 on.
            if self.world.gives_secret(city, driver) || !held {
                own.push(DriverOwn::Boarded);
            }
            let signed = node.rows.iter().rev().find(|row| row.ended.is_none()).map_or(0, |row| row.complete);
            let nth = match signed {
                0 => 0,
                signed => match self.world.book.get(signed) {
                    Statement::Complete { nth, .. } => nth + 1,
                    _ => 0,
                },
            };
            if nth < config.completes {
                own.push(DriverOwn::Complete);
            }
        }
        for own in own {
            actions.push(Action::Drive { driver, own, crash: false });
            if city.crashes < config.crashes && held {
                actions.push(Action::Drive { driver, own, crash: true });
            }
        }
        if config.invite && lane.state == LaneState::Free {
            actions.extend((0..config.riders).map(|rider| Action::Invite { driver, rider }));
        }
        if config.keys && node.generation == 0 {
            actions.push(Action::Rotate(driver));
        }
        if config.keys && node.generation == 0 && city.crashes < config.crashes {
            actions.push(Action::Restore { driver, empty: false });
            actions.push(Action::Restore { driver, empty: true });
        }
        if self.world.is(Mutant::CompletedAlone) {
            actions.push(Action::CompleteAlone(driver));
        }
    }

    fn rider_actions(&self, city: &City, rider: u8, actions: &mut Vec<Action>) {
        let config = &self.world.config;
        let node = &city.riders[usize::from(rider)];
        let state = &node.chain.state;
        let bound = node.chain.binding().is_some();
        let mut own = vec![RiderOwn::DoubtEnded];
        if *state != RiderState::Idle
            || (node.attempts < config.attempts && node.chain.slot < u64::from(config.rider_slots))
        {
            own.push(RiderOwn::Want);
        }
        if !config.patient {
            own.push(RiderOwn::Stop);
        }
        if config.cancel {
            own.push(RiderOwn::Cancel);
        }
        if config.no_show {
            own.push(RiderOwn::NoShow);
        }
        if config.ride {
            own.push(RiderOwn::EndAlone);
        }
        for own in own {
            actions.push(Action::Ride { rider, own, crash: false });
            if city.crashes < config.crashes && bound {
                actions.push(Action::Ride { rider, own, crash: true });
            }
        }
        if *state == RiderState::Shopping {
            for driver in 0..config.drivers {
                let generation = city.drivers[usize::from(driver)].generation;
                actions.push(Action::Ask { rider, driver: crate::statement::driver_key(driver, generation) });
            }
            if !config.patient {
                actions.extend(node.asks.iter().map(|request| Action::AskEnded { rider, request: *request }));
            }
            if city.crashes < config.crashes {
                actions.push(Action::CrashRider(rider));
            }
        }
    }
}

impl World {
    /// Whether the rider of a firm driver would hand over the boarding secret: an honest
    /// one when it is bound to this very ride, another one always.
    fn gives_secret(&self, city: &City, driver: u8) -> bool {
        let node = &city.drivers[usize::from(driver)];
        let Some(row) = node.rows.iter().find(|row| row.ended.is_none() && row.confirm != 0) else {
            return false;
        };
        let Statement::Confirm { rider, .. } = self.book.get(row.confirm) else { return false };
        let honest = self.config.is_honest_rider(rider);
        !honest || city.riders[usize::from(rider)].live().is_some_and(|theirs| theirs.confirm == row.confirm)
    }
}

impl Model for CityModel {
    type State = Packed;
    type Action = Action;

    fn init_states(&self) -> Vec<Packed> {
        vec![City::new(self.world.config.riders, self.world.config.drivers).pack()]
    }

    fn actions(&self, state: &Packed, actions: &mut Vec<Action>) {
        let world = &self.world;
        let config = &world.config;
        self.with_city(state, |city, _| {
            for (id, statement) in world.book.all(&city.net) {
                if !config.is_honest(statement.to()) {
                    continue;
                }
                let choices = match statement {
                    Statement::Request { via: Via::Choice, .. } if config.counter => 2,
                    Statement::Complete { .. } => 2,
                    _ => 1,
                };
                for choice in 0..choices {
                    actions.push(Action::Deliver { id, choice, crash: false });
                    if city.crashes < config.crashes {
                        actions.push(Action::Deliver { id, choice, crash: true });
                    }
                }
            }
            let honest_drivers = (0..config.drivers).filter(|driver| config.is_honest_driver(*driver));
            for driver in honest_drivers {
                self.driver_actions(city, driver, actions);
            }
            let honest_riders = (0..config.riders).filter(|rider| config.is_honest_rider(*rider));
            for rider in honest_riders {
                self.rider_actions(city, rider, actions);
            }
            self.repetitions(city, actions);
            let mut forged = Vec::new();
            world.forgeries(city, &mut forged);
            actions.extend(forged.into_iter().map(Action::Forge));
        });
    }

    fn next_state(&self, state: &Packed, action: Action) -> Option<Packed> {
        self.with_city(state, |city, _| self.world.after(city, action).map(|city| city.pack()))
    }

    fn format_action(&self, action: &Action) -> String {
        match *action {
            Action::Deliver { id, .. } | Action::Forge(id) => {
                format!("{action:?} {:?}", self.world.book.get(id))
            }
            Action::Status { accept, .. } => format!("{action:?} {:?}", self.world.book.get(accept)),
            _ => format!("{action:?}"),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties: Vec<Property<Self>> =
            PROPERTIES.into_iter().zip(ALWAYS).map(|(name, holds)| Property::always(name, holds)).collect();
        if self.world.mutant.is_some() {
            // A fault is to be seen from outside.
            properties.retain(|property| property.name != "R");
        }
        for pair in &self.wanted {
            properties.push(Property::sometimes(NAMES.with(|names| names[*pair]), SOMETIMES[*pair]));
        }
        properties
    }
}

impl CityModel {
    /// Outboxes and STATUS, where they bring something that is not on the network.
    fn repetitions(&self, city: &City, actions: &mut Vec<Action>) {
        let world = &self.world;
        let config = &world.config;
        let lacks = |ids: Vec<Id>| ids.into_iter().any(|id| !city.is_sent(id));
        let resends = !world.is(Mutant::NoResend) && config.crashes > 0;
        for driver in (0..config.drivers).filter(|driver| resends && config.is_honest_driver(*driver)) {
            if lacks(world.driver_outbox(&city.drivers[usize::from(driver)])) {
                actions.push(Action::ResendDriver(driver));
            }
        }
        for rider in (0..config.riders).filter(|rider| resends && config.is_honest_rider(*rider)) {
            if lacks(world.rider_outbox(&city.riders[usize::from(rider)])) {
                actions.push(Action::ResendRider(rider));
            }
        }
        if !config.status {
            return;
        }
        for row in city.drivers.iter().flat_map(|driver| &driver.rows) {
            let Statement::Accept { driver, rider, .. } = world.book.get(row.accept) else { continue };
            if !config.is_honest(driver) || !config.is_honest(rider) {
                continue;
            }
            let theirs = city.riders[usize::from(rider)]
                .rows
                .iter()
                .find(|theirs| crate::city::accept_of(&world.book, theirs.confirm) == row.accept);
            let rider_open = theirs.is_some_and(|theirs| theirs.ended.is_none());
            if rider_open && lacks(world.driver_said(row)) {
                actions.push(Action::Status { accept: row.accept, driver_asks: false });
            }
            let unheard = theirs.is_some_and(|theirs| {
                [theirs.confirm, theirs.end].into_iter().any(|id| id != 0 && !city.is_sent(id))
            });
            if row.ended.is_none() && (unheard || world.is(Mutant::StatusBelieved)) {
                actions.push(Action::Status { accept: row.accept, driver_asks: true });
            }
        }
    }
}

type Condition = fn(&CityModel, &Packed) -> bool;

fn always<const PROPERTY: usize>(model: &CityModel, state: &Packed) -> bool {
    model.holds(state, PROPERTY)
}

/// Self-loops count, too, so that this looks at what occurred rather than at the city.
fn sometimes<const PAIR: usize>(model: &CityModel, _: &Packed) -> bool {
    model.world.coverage.has(PAIR)
}

const ALWAYS: [Condition; PROPERTIES.len()] = [
    always::<0>,
    always::<1>,
    always::<2>,
    always::<3>,
    always::<4>,
    always::<5>,
    always::<6>,
    always::<7>,
    always::<8>,
    always::<9>,
];

macro_rules! tens {
    ($($ten:literal)*) => {
        [$(
            sometimes::<{ 10 * $ten }>, sometimes::<{ 10 * $ten + 1 }>, sometimes::<{ 10 * $ten + 2 }>,
            sometimes::<{ 10 * $ten + 3 }>, sometimes::<{ 10 * $ten + 4 }>, sometimes::<{ 10 * $ten + 5 }>,
            sometimes::<{ 10 * $ten + 6 }>, sometimes::<{ 10 * $ten + 7 }>, sometimes::<{ 10 * $ten + 8 }>,
            sometimes::<{ 10 * $ten + 9 }>,
        )*]
    };
}

const SOMETIMES: [Condition; PAIRS] = tens!(0 1 2 3 4 5 6 7 8 9 10);

thread_local! {
    /// The checker wants names that live as long as the program.
    static NAMES: [&'static str; PAIRS] = std::array::from_fn(static_name);
}

fn static_name(pair: usize) -> &'static str {
    static KNOWN: [std::sync::OnceLock<String>; PAIRS] = [const { std::sync::OnceLock::new() }; PAIRS];
    KNOWN[pair].get_or_init(|| pair_name(pair))
}
