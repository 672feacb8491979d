//! Whom to ask, when, and why the others were passed over.
//!
//! [`candidates`](search_drivers) answers a search from the book. [`Policy`] is *with
//! whom*: pure functions over a local view of waiting riders and free drivers. Every node
//! in a neighbourhood hears nearly the same offers of both sides, so every node computes
//! nearly the same pairs and contacts the partner that they give it. Where views differ
//! two riders ask one driver, the handshake refuses one, and a round trip is lost: never
//! a double booking. [`Reach`] is *when*: a pair that is far apart waits for its turn.
//! [`TravelTime`] is how far apart they are.

mod candidates;
mod policy;
mod reach;
mod travel;

use hailmesh_types::Duration;

pub use candidates::{
    Candidate, DriverWant, Exclusion, Explain, Query, RiderWant, SearchReport, search_drivers, search_riders,
};
pub use policy::{Policy, PolicyError, View};
pub use reach::Reach;
pub(crate) use travel::DETOUR;
pub use travel::{DRIVE_MAX, Spot, StraightLine, TravelTime};

/// Times are told in steps of 30 s (P14.6).
pub const TOLD_STEP: Duration = Duration::from_secs(30);
/// What a rider without any other car would lose at the most: beyond this all are alike.
const WORTH_MAX: Duration = Duration::from_secs(600);

/// The time a car takes over a great-circle distance, rounded up to 30 s and at most two
/// hours (P14.6): 1.3 times the distance at this mean speed. Metres and km/h.
#[must_use]
pub fn eta_over(distance_m: f64, speed_kmh: u16) -> Duration {
    told(StraightLine { speed_kmh }.over(distance_m))
}

/// A driving time as it is told to others: rounded up to 30 s, at most two hours (P14.6).
#[must_use]
pub fn told(drive: Duration) -> Duration {
    let steps = drive.as_millis().div_ceil(TOLD_STEP.as_millis());
    TOLD_STEP.saturating_mul(steps).min(DRIVE_MAX)
}

/// What it is worth that this car serves a request, milliseconds: how much later the next
/// best car would be there. Of several riders who ask, the one for whom this is most is
/// served: the others find somebody else more easily. Without another car the wait is
/// unknown and long, 600 s, so that of riders who have nobody else the nearest is
/// served. It is computed from public offers: nobody has to be believed.
#[must_use]
pub fn worth(drive: Duration, next_best: Option<Duration>) -> i64 {
    let next = next_best.map_or(WORTH_MAX, |next| next.min(WORTH_MAX));
    i64::from(next.as_millis()) - i64::from(drive.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_to_half_minutes() {
        assert_eq!(eta_over(0.0, 20), Duration::ZERO);
        assert_eq!(eta_over(1.0, 20), Duration::from_secs(30));
        // 1 km is 1.3 km of road, 234 s at 20 km/h.
        assert_eq!(eta_over(1_000.0, 20), Duration::from_secs(240));
        assert_eq!(eta_over(2e7, 20), Duration::from_secs(7_200));
        assert_eq!(told(Duration::from_secs(30)), Duration::from_secs(30));
    }

    #[test]
    fn who_has_nobody_else_is_worth_most() {
        let secs = Duration::from_secs;
        let (alone, far) = (worth(secs(90), None), worth(secs(90), Some(secs(300))));
        let next_door = worth(secs(30), Some(secs(40)));
        assert!(alone > far && far > next_door);
        assert!(worth(secs(60), None) > alone, "of those who have nobody else the nearest");
        assert!(worth(secs(60), Some(secs(30))) < 0);
    }
}
