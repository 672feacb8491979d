//! What a marketplace shows of itself.

use std::collections::BTreeMap;

use hailmesh_types::{
    AgreementId, Amount, Cell, Currency, Duration, GeoPoint, PeerKey, Private, PublicKey, Timestamp,
};
use hailmesh_wire::{RideState, VehicleCard};

use crate::journal::{RideId, Role};
use crate::matching::{Explain, Policy};

/// A moment in the life of a ride.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// The state it entered.
    pub state: RideState,
    /// Why, when it is not obvious.
    pub reason: Option<String>,
}

/// One ride as its user may see it.
#[derive(Debug, Clone, PartialEq)]
pub struct RideView {
    /// Its local name.
    pub ride: RideId,
    /// Our side.
    pub role: Role,
    /// Where it stands.
    pub state: RideState,
    /// The other side's signing key, once there is one.
    pub counterparty: Option<PublicKey>,
    /// What both signed, once there is one.
    pub agreement: Option<AgreementId>,
    /// Agreed fare or cap.
    pub fare: Option<(Amount, Currency)>,
    /// What the driver charged at the end.
    pub total: Option<Amount>,
    /// When the ride began here.
    pub created: Timestamp,
    /// Every state it went through, oldest first.
    pub history: Vec<Step>,
    /// Time to the pickup as the driver last said.
    pub eta: Option<Duration>,
    /// Milliseconds from the first REQUEST to FIRM (riders).
    pub settle_ms: Option<u64>,
    /// Drivers asked so far (riders).
    pub asked: u32,
    /// What the rider tells the driver: six digits.
    pub boarding_code: Option<Private<String>>,
    /// The same as 26 characters, for a QR code.
    pub boarding_secret: Option<Private<String>>,
    /// Exact pickup, for the two parties.
    pub pickup: Option<Private<GeoPoint>>,
    /// Exact destination, for the two parties.
    pub drop: Option<Private<GeoPoint>>,
    /// Name, phone and note of the rider, for the driver.
    pub contact: Option<Private<[String; 3]>>,
    /// The vehicle, for the rider.
    pub vehicle: Option<Private<VehicleCard>>,
    /// Where the other side of a firm ride last said it was, and when that was (P8.10).
    pub seen_at: Option<(Private<GeoPoint>, Timestamp)>,
    /// Whether the other side is told where this node is.
    pub sharing: bool,
    /// Whether a receipt can be written.
    pub has_receipt: bool,
    /// What cancelling now would cost this user (P9.5).
    pub cancel_fee: Option<Amount>,
    /// Why nobody was found, when nobody was.
    pub no_match: Option<NoMatch>,
    /// Why the driver that was asked last was asked (riders).
    pub choice: Option<Choice>,
}

/// Why a search found nobody.
#[derive(Debug, Clone, PartialEq)]
pub struct NoMatch {
    /// What the book held and why each offer was passed over.
    pub explain: Explain,
    /// Drivers asked.
    pub asked: u32,
    /// Their answers, by reason.
    pub answers: BTreeMap<String, u32>,
    /// Peers connected at the end.
    pub peers: u32,
}

/// Why a driver was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Who.
    pub driver: PublicKey,
    /// By which policy.
    pub policy: Policy,
    /// The expected drive to the pickup: its score.
    pub drive: Duration,
    /// The longest drive that would have done at that moment; none: any ([`Reach`]).
    ///
    /// [`Reach`]: crate::matching::Reach
    pub limit: Option<Duration>,
    /// How many candidates there were to choose from.
    pub candidates: usize,
    /// What the book held and why the others were passed over.
    pub explain: Explain,
}

/// A marketplace at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Driver, rider, or neither (a relay).
    pub role: Option<Role>,
    /// The key that signs now, if any.
    pub key: Option<PublicKey>,
    /// The transport identity.
    pub peer: PeerKey,
    /// The published cell of a driver, the searched cell of a rider.
    pub cell: Option<Private<Cell>>,
    /// State of the driver's lane or the rider's chain: `free`, `held`, `firm`, `idle`,
    /// `shopping`, `committed`, `offline`.
    pub state: &'static str,
    /// Open or bound slot.
    pub slot: u64,
    /// Our live offer: sequence number and when it was issued.
    pub offer: Option<(u64, Timestamp)>,
    /// Live driver offers in the book.
    pub drivers: usize,
    /// Live rider offers in the book.
    pub riders: usize,
    /// Offers heard since the start, whatever became of them.
    pub heard: u64,
    /// Of those, how many each admission step stopped, by its stable name.
    pub stopped: BTreeMap<&'static str, u64>,
    /// Offers heard that were let in though they took longer to come than gossip takes:
    /// many of them mean that a clock is wrong, here or there.
    pub late: u64,
    /// Messages let in.
    pub accepted: u64,
    /// When an offer of somebody else last came in.
    pub last_offer: Option<Timestamp>,
    /// Topics joined.
    pub topics: usize,
    /// Whether offers are not listened to for a while: bound, or one of many free cars.
    pub away: bool,
    /// Peers connected.
    pub peers: usize,
    /// Statements that wait for their answer.
    pub outbox: usize,
    /// Keys banned.
    pub bans: usize,
    /// Pieces of evidence found or heard.
    pub evidence: usize,
    /// When this marketplace began.
    pub started: Timestamp,
    /// Rides that are not over.
    pub open_rides: usize,
    /// Why nothing is signed, when nothing is.
    pub halted: Option<&'static str>,
}
