//! What the users of honest nodes do while attackers are about.

use std::time::Duration;

use hailmesh_node::market::{Answer, Command, Event, RideId, Wish};
use hailmesh_node::wire::RideState;
use hailmesh_node::{EventItem, NodeEvent};
use hailmesh_types::{GeoPoint, Private};

use super::court::Court;
use crate::city::{DEADLINE, NEAR, Person, Ride, point, wish};

/// How long a rider waits for a car that does not come, unless it has served its purpose.
const COMES_NOT: Duration = Duration::from_secs(12);
/// How long a rider stays at home between two rides when nobody waits for one.
const PAUSE: Duration = Duration::from_secs(15);
/// Honest rides that must be completed with attackers about.
pub(crate) const DURING: u32 = 3;
/// How long a driver waits for a rider that is not there.
const IS_NOT_THERE: Duration = Duration::from_secs(6);

/// Riders and drivers of a town, and where attackers wait for them.
pub(crate) struct People<'a> {
    pub(crate) court: &'a Court,
    pub(crate) drivers: &'a [Person],
    pub(crate) riders: &'a [Person],
    /// Where each attacker claims to be.
    pub(crate) places: &'a [(u32, GeoPoint)],
}

impl People<'_> {
    /// A rider who goes from one trap to the next, and where there is none rides honestly,
    /// until it is over.
    pub(crate) async fn ride(&self, rider: &Person, over: impl Fn(&Court) -> bool) {
        let mut turn = 0;
        while !over(self.court) {
            turn += 1;
            let busy = self.court.completed() >= DURING;
            if busy {
                // Cars that are hardly ever free are hardly ever attacked.
                self.court.until(PAUSE, |court| over(court) || !court.traps().is_empty()).await;
            }
            let traps = self.court.traps();
            let trap = traps.get(turn % traps.len().max(1)).filter(|_| busy || turn % 3 != 0);
            let trap = trap.and_then(|trap| self.places.iter().find(|(number, _)| number == trap));
            let (number, from) = match trap {
                Some((number, place)) => (Some(*number), Private(*place)),
                None => (None, point(NEAR)),
            };
            self.one_ride(rider, number, Wish { from, ..patient() }).await;
        }
    }

    async fn one_ride(&self, rider: &Person, trap: Option<u32>, wish: Wish) {
        let ride = match rider.node.command(Command::RequestRide(Box::new(wish))).await {
            Ok(Answer::Ride(ride)) => ride,
            other => return self.court.wrong(format!("a rider cannot ask: {other:?}")),
        };
        let settled = |state: RideState| {
            !state.is_open()
                || matches!(
                    state,
                    RideState::Firm | RideState::EnRoute | RideState::Arrived | RideState::InProgress
                )
        };
        let view = rider.node.wait_ride(ride, |view| settled(view.state), DEADLINE).await;
        let Ok(Some(view)) = view else { return self.court.wrong("a ride is gone") };
        if !view.state.is_open() {
            return;
        }
        if !settled(view.state) {
            return self.court.wrong(format!("a search does not end: {:?}", view.history));
        }
        if let Some(agreement) = view.agreement {
            self.court.agree(agreement);
        }
        for driver in self.drivers {
            if driver.status().await.key.is_some_and(|key| Some(key) == view.counterparty) {
                let ride = Ride::agreed(driver, rider, ride).await;
                ride.finish(driver, rider).await;
                self.court.complete();
                return;
            }
        }
        // A car that nobody sees coming.
        self.court.until(COMES_NOT, |court| trap.is_none_or(|number| court.is_met(number))).await;
        self.give_up(rider, ride).await;
    }

    async fn give_up(&self, person: &Person, ride: RideId) {
        // It may be over already.
        let _ = person.node.command(Command::Cancel(ride)).await;
        match person.node.wait_ride(ride, |view| !view.state.is_open(), DEADLINE).await {
            Ok(Some(view)) if !view.state.is_open() => {}
            other => self.court.wrong(format!("a ride that was given up does not end: {other:?}")),
        }
    }

    /// A driver who does not wait for ever at a kerb where nobody is.
    pub(crate) async fn drive(&self, driver: &Person) {
        let mut events = driver.node.events(Some(0));
        loop {
            let item = events.next().await.expect("the node runs");
            let EventItem::Numbered(numbered) = item else { continue };
            let NodeEvent::Market(Event::Ride { ride, state: RideState::Firm, .. }) = numbered.event else {
                continue;
            };
            let Ok(Some(view)) = driver.node.ride(ride).await else { continue };
            let Some(agreement) = view.agreement.filter(|_| view.state.is_open()) else { continue };
            if !self.court.until(IS_NOT_THERE, |court| court.is_agreed(agreement)).await {
                self.give_up(driver, ride).await;
            }
        }
    }
}

fn patient() -> Wish {
    Wish { patience: hailmesh_types::Duration::from_secs(20), ..wish() }
}
