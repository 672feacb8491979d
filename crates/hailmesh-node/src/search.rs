//! Questions to the offer book and their answers.

use hailmesh_market::book::Side;
use hailmesh_market::matching::Explain;
use hailmesh_types::{
    Amount, Bounds, Cell, Class, Currency, Duration, Features, GeoPoint, PublicKey, Seats, Tariff, Timestamp,
};
use hailmesh_wire::AcceptMode;

/// What is asked of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRequest {
    /// Around here; without it around this node.
    pub near: Option<GeoPoint>,
    /// Nobody who is certainly farther than this, metres.
    pub radius_m: Option<u32>,
    /// Drivers or riders.
    pub side: Side,
    /// At most so many, 1 to 500.
    pub limit: usize,
    /// Only this class of vehicle.
    pub class: Option<Class>,
    /// Drivers with at least so many seats; riders who need at most so many.
    pub seats: Option<Seats>,
    /// Only drivers whose least fare is at most this, minor units of their currency.
    pub max_fare: Option<Amount>,
}

impl Default for SearchRequest {
    /// The 50 nearest drivers.
    fn default() -> Self {
        Self {
            near: None,
            radius_m: None,
            side: Side::Drivers,
            limit: 50,
            class: None,
            seats: None,
            max_fare: None,
        }
    }
}

/// What the book holds.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchAnswer {
    /// The nearest first.
    pub items: Vec<SearchItem>,
    /// What was heard, in range, excluded and why.
    pub explain: Explain,
    /// Peers connected.
    pub peers: usize,
    /// When this was so.
    pub now: Timestamp,
    /// Why there may be nothing, when there is nothing.
    pub hint: Option<String>,
}

/// An offer of somebody else.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchItem {
    /// Who signed it.
    pub author: PublicKey,
    /// Driver or rider.
    pub side: Side,
    /// The cell it shows.
    pub cell: Cell,
    /// What is known of the distance.
    pub bounds: Bounds,
    /// Time a car takes over it.
    pub eta: Duration,
    /// Class of vehicle.
    pub class: Class,
    /// Seats offered or wanted.
    pub seats: Seats,
    /// Features offered or required.
    pub features: Features,
    /// What it costs, of a driver.
    pub tariff: Option<Tariff>,
    /// Who decides, of a driver.
    pub accept_mode: Option<AcceptMode>,
    /// The most it may cost, of a rider.
    pub max_fare: Option<(Amount, Currency)>,
    /// Milliseconds since it was issued.
    pub age_ms: u64,
    /// Milliseconds until it expires.
    pub expires_ms: u64,
}

/// A trip to be priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteRequest {
    /// Where from.
    pub from: GeoPoint,
    /// Where to.
    pub to: GeoPoint,
    /// Class of vehicle.
    pub class: Class,
    /// Seats needed.
    pub seats: Seats,
    /// What the vehicle must have.
    pub features: Features,
}

/// What a trip would cost with one driver, by its signed tariff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The driver.
    pub driver: PublicKey,
    /// The fare, minor units.
    pub fare: Amount,
    /// Its currency.
    pub currency: Currency,
    /// Time to the pickup.
    pub eta: Duration,
    /// Who decides.
    pub accept_mode: AcceptMode,
    /// Estimated length of the ride, metres.
    pub dist_m: u32,
    /// Estimated time of the ride.
    pub ride_time: Duration,
}
