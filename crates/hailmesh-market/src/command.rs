//! What the local user can ask for, and what the answer is.

use hailmesh_types::{
    Amount, Class, Currency, Duration, Features, GeoPoint, Private, Resolution, Seats, Tariff, Text,
};
use hailmesh_wire::{AcceptMode, RideState, VehicleCard};

use crate::journal::RideId;

/// What a driver offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverProfile {
    /// Class of the vehicle.
    pub class: Class,
    /// Seats for passengers.
    pub seats: Seats,
    /// What the vehicle has.
    pub features: Features,
    /// What it costs.
    pub tariff: Tariff,
    /// Whether the node agrees by itself or asks its user.
    pub accept_mode: AcceptMode,
    /// How finely the position is published, resolution 7 to 10.
    pub precision: Resolution,
    /// How far below the own fare a rider's limit may lie for a COUNTER at that limit
    /// instead of a refusal, thousandths, 0 to 1,000 (P5.10).
    pub discount: u16,
    /// What the rider is shown once the ride is firm.
    pub vehicle: VehicleCard,
}

/// What a rider wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Where from.
    pub from: Private<GeoPoint>,
    /// Where to; without it the ride is metered as directed.
    pub to: Option<Private<GeoPoint>>,
    /// The most it may cost, minor units. With a currency: only that one; without:
    /// every offer's own.
    pub max_fare: Option<Amount>,
    /// Currency of `max_fare`.
    pub currency: Option<Currency>,
    /// Class of vehicle.
    pub class: Class,
    /// Seats needed.
    pub party: Seats,
    /// What the vehicle must have.
    pub features: Features,
    /// How long to search at most.
    pub patience: Duration,
    /// The latest pickup that is of use, from the request on: drivers who cannot be there
    /// are not asked, and not chosen when they say so. None: any.
    pub pickup_within: Option<Duration>,
    /// Whether to gossip a rider offer when nobody agrees at first (P5.13).
    pub open: bool,
    /// Shown to the chosen driver only.
    pub name: Text<32>,
    /// Shown to the chosen driver only.
    pub phone: Text<24>,
    /// Shown to the chosen driver only.
    pub note: Text<200>,
}

/// A command of the local user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Begin or go on offering rides with this profile (drivers).
    GoOnline(DriverProfile),
    /// Stop offering; a ride under way goes on.
    GoOffline,
    /// This node is here now.
    Move(Private<GeoPoint>),
    /// Whether the driver of a firm ride sees where this node is, from now on and until
    /// that ride is over (riders; P8.10). Before, and after every ride,
    /// [`Config::share_position`](crate::Config::share_position) holds.
    SharePosition(bool),
    /// Look for a ride (riders).
    RequestRide(Box<Wish>),
    /// Agree to a ride that waits for an answer (drivers, mode `ask`), or to a final
    /// fare (riders).
    Accept(RideId),
    /// Do not.
    Decline(RideId),
    /// Propose another fare, minor units (drivers, mode `ask`).
    Counter(RideId, Amount),
    /// End a ride before boarding, or stop a search.
    Cancel(RideId),
    /// The driver sets out; with the time it will take.
    EnRoute(RideId, Duration),
    /// The driver is at the pickup.
    Arrive(RideId),
    /// The driver has the boarding code (six digits) or the secret (26 characters).
    Board(RideId, String),
    /// The ride is over.
    Complete(RideId, Completion),
    /// End a ride after boarding without the other side's signature (P6.18, P7.17).
    EndAlone(RideId),
    /// The other side did not come (P9.6).
    NoShow(RideId),
    /// An opinion, one to five stars (P8.12).
    Rate(RideId, u8, Text<140>),
    /// Withdraw offers and take no new business: the process is about to end.
    Shutdown,
}

/// The figures of a finished ride. What is absent is taken from the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Completion {
    /// Metres driven.
    pub dist_m: Option<u32>,
    /// Time driven.
    pub ride_time: Option<Duration>,
    /// Tolls and agreed additions, minor units; need the rider's consent.
    pub extra: Option<Amount>,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done,
    /// This ride was begun or changed.
    Ride(RideId),
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such ride.
    #[error("no ride {0} on this node")]
    UnknownRide(RideId),
    /// The ride is in a state in which this cannot be done.
    #[error("ride {ride} is {state}: this can be done when it is {}", words(allowed))]
    WrongState {
        /// Which ride.
        ride: RideId,
        /// Its state.
        state: RideState,
        /// States in which it could be done.
        allowed: Vec<RideState>,
    },
    /// The command belongs to the other kind of node.
    #[error("{0}")]
    WrongRole(&'static str),
    /// A live ride or search stands in the way (P3.4).
    #[error("ride {0} is under way: finish or cancel it first")]
    Busy(RideId),
    /// A value is not acceptable.
    #[error("{what} {value}: expected {expected}")]
    BadValue {
        /// The field.
        what: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The boarding code is wrong or can no longer be tried.
    #[error("{0}")]
    Boarding(&'static str),
    /// It is too early for this (P9.6).
    #[error("too early: possible in {0} s")]
    TooEarly(u64),
    /// The store cannot keep promises, so none is made.
    #[error("the store is unavailable: nothing is signed until it works again")]
    StoreUnavailable,
    /// The signing key was found in use elsewhere (P11.9).
    #[error("this home was copied or rolled back: its key signs nothing any more")]
    Cloned,
    /// The node is about to end.
    #[error("the node is shutting down")]
    ShuttingDown,
}

fn words(states: &[RideState]) -> String {
    states.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
