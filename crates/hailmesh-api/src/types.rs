//! The JSON of the API.
//!
//! The same structs serve the server and its clients. Requests refuse unknown fields;
//! answers may gain fields, and clients ignore those they do not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A position in degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"lat": 40.758, "lon": -73.9855}))]
pub struct Point {
    /// Latitude, −90 to 90.
    #[schema(minimum = -90, maximum = 90)]
    pub lat: f64,
    /// Longitude, −180 to 180.
    #[schema(minimum = -180, maximum = 180)]
    pub lon: f64,
}

/// Where this node is, and whether the other side of a firm ride may see it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"lat": 40.758, "lon": -73.9855, "share": true}))]
pub struct PositionJson {
    /// Latitude, −90 to 90.
    #[schema(minimum = -90, maximum = 90)]
    pub lat: f64,
    /// Longitude, −180 to 180.
    #[schema(minimum = -180, maximum = 180)]
    pub lon: f64,
    /// For riders: whether the driver of the firm ride sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<bool>,
}

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"amount": 958, "currency": "USD"}))]
pub struct Money {
    /// Minor units, such as cents.
    pub amount: u64,
    /// ISO 4217.
    pub currency: String,
}

/// What a driver charges; amounts in minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TariffJson {
    /// ISO 4217.
    pub currency: String,
    /// For getting in.
    pub base: u32,
    /// For a kilometre.
    pub per_km: u32,
    /// For a minute under way.
    pub per_min: u32,
    /// The least that a ride costs, before waiting.
    pub minimum: u32,
    /// For a minute of waiting beyond `wait_free_ms`.
    pub wait_per_min: u32,
    /// Waiting that costs nothing.
    pub wait_free_ms: u32,
    /// Owed by a rider who cancels late.
    pub cancel_fee: u32,
    /// How long after the agreement a rider cancels for nothing.
    pub cancel_free_ms: u32,
    /// Owed by a rider who does not come.
    pub no_show_fee: u32,
    /// Factor on base, distance and time, in thousandths.
    pub surge: u16,
}

/// The vehicle, shown to a rider once the ride is firm.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VehicleJson {
    /// Licence plate.
    pub plate: String,
    /// Make and model.
    pub model: String,
    /// Colour.
    pub colour: String,
}

/// The rider, shown to the driver once the ride is firm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContactJson {
    /// Name.
    pub name: String,
    /// Telephone number.
    pub phone: String,
    /// A note for the driver.
    pub note: String,
}

/// This node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeJson {
    /// Version of the program.
    pub version: String,
    /// `driver`, `rider` or `relay`.
    pub role: String,
    /// Name of the network.
    pub network: String,
    /// libp2p peer id.
    pub peer_id: String,
    /// The key that signs now, hexadecimal.
    pub key: Option<String>,
    /// Multiaddresses the node listens on.
    pub listen: Vec<String>,
    /// Multiaddresses at which others have seen it.
    pub addresses: Vec<String>,
    /// From how far away: `nowhere`, `this machine`, `this network`, `public address`.
    pub reachability: String,
    /// Peers connected.
    pub peers: u64,
    /// Of those, how many gossip is exchanged with directly.
    pub mesh_peers: u64,
    /// How long there has been at least one peer.
    pub connected_ms: Option<u64>,
    /// How long the process has run.
    pub uptime_ms: u64,
    /// What keeps the journal.
    pub store: String,
    /// Whether that works.
    pub store_healthy: bool,
    /// What others can link through the transport identity, if anything.
    pub transport_note: Option<String>,
    /// The last thing that went wrong.
    pub last_error: Option<ErrorJson>,
    /// What could be done to make things better.
    pub hints: Vec<String>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorJson {
    /// When.
    pub at: String,
    /// What.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// The marketplace of this node at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StateJson {
    /// Every event up to this one is contained; go on with `Last-Event-ID`.
    pub as_of_event: u64,
    /// `free`, `held`, `firm`, `idle`, `shopping`, `committed`, `offline`.
    pub state: String,
    /// Open or bound slot.
    pub slot: u64,
    /// Our live offer.
    pub offer: Option<OwnOfferJson>,
    /// Published cell of a driver, searched cell of a rider; H3 index. Not shown to a
    /// token that may only read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<String>,
    /// Live driver offers in the book.
    pub drivers: u64,
    /// Live rider offers in the book.
    pub riders: u64,
    /// Offers heard since the start.
    pub heard: u64,
    /// Of those, how many each admission step stopped.
    pub stopped: BTreeMap<String, u64>,
    /// How long ago an offer of somebody else came in.
    pub last_offer_ms: Option<u64>,
    /// Topics joined.
    pub topics: u64,
    /// Peers connected.
    pub peers: u64,
    /// Statements that wait for their answer.
    pub outbox: u64,
    /// Keys banned.
    pub bans: u64,
    /// Why nothing is signed, when nothing is.
    pub halted: Option<String>,
    /// Rides that are not over.
    pub rides: Vec<RideSummary>,
}

/// An offer of ours that is out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OwnOfferJson {
    /// Sequence number.
    pub seq: u64,
    /// When it was issued.
    pub issued: String,
    /// What it says, of a driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileJson>,
}

/// What a driver offers. What is absent stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileJson {
    /// `standard`, `large`, `premium`, `two-wheeler`, `three-wheeler`, `wheelchair`.
    pub class: Option<String>,
    /// Seats for passengers, 1 to 16.
    #[schema(minimum = 1, maximum = 16)]
    pub seats: Option<u8>,
    /// `ramp`, `child-seat`, `pets`, `luggage`, `quiet`.
    pub features: Option<Vec<String>>,
    /// What it costs.
    pub tariff: Option<TariffJson>,
    /// `auto` or `ask`.
    pub accept: Option<String>,
    /// H3 resolution of the published position, 7 to 10.
    #[schema(minimum = 7, maximum = 10)]
    pub precision: Option<u8>,
    /// How far below the own fare a rider's limit may lie for a counter-offer at that
    /// limit, thousandths, 0 to 1000.
    #[schema(maximum = 1000)]
    pub discount: Option<u16>,
    /// What the rider is shown once the ride is firm.
    pub vehicle: Option<VehicleJson>,
}

/// What is asked of the offer book.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct OffersQuery {
    /// `LAT,LON`; without it the place of the node.
    pub near: Option<String>,
    /// Metres around it.
    pub radius_m: Option<u32>,
    /// `drivers` (default) or `riders`.
    pub side: Option<String>,
    /// Class of vehicle.
    pub class: Option<String>,
    /// Least number of seats.
    #[param(minimum = 1, maximum = 16)]
    pub seats: Option<u8>,
    /// At most so many; 50 unless said otherwise, 500 at most.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

/// Offers in the book.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OffersJson {
    /// Nearest first.
    pub items: Vec<OfferJson>,
    /// Why others are not among them.
    pub explain: ExplainJson,
    /// What could be done, when there are none.
    pub hint: Option<String>,
}

/// One offer of somebody else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OfferJson {
    /// Who signed it.
    pub author: String,
    /// `driver` or `rider`.
    pub side: String,
    /// Published cell, H3 index.
    pub cell: String,
    /// Least distance from the asked place to the cell.
    pub distance_min_m: u64,
    /// Greatest distance from the asked place to the cell.
    pub distance_max_m: u64,
    /// Time a car takes over that distance.
    pub eta_ms: u64,
    /// Class of vehicle.
    pub class: String,
    /// Seats offered or wanted.
    pub seats: u8,
    /// Features offered or required.
    pub features: Vec<String>,
    /// `auto` or `ask`, of a driver.
    pub accept: Option<String>,
    /// What it costs, of a driver.
    pub tariff: Option<TariffJson>,
    /// The most it may cost, of a rider.
    pub max_fare: Option<Money>,
    /// Time since it was issued.
    pub age_ms: u64,
    /// Time until it expires.
    pub expires_ms: u64,
}

/// Why offers were passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainJson {
    /// Offers that were looked at.
    pub heard: u64,
    /// Of those, how many are near enough.
    pub in_range: u64,
    /// How many were passed over, by reason.
    pub excluded: BTreeMap<String, u64>,
    /// Peers connected.
    pub peers: u64,
    /// How long ago an offer came in; null when none ever did.
    pub last_offer_ms: Option<u64>,
}

/// A trip to be priced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuoteRequestJson {
    /// Where from.
    pub from: Point,
    /// Where to.
    pub to: Point,
    /// Class of vehicle; standard unless said otherwise.
    #[serde(default)]
    pub class: Option<String>,
    /// Seats needed; one unless said otherwise.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 16)]
    pub seats: Option<u8>,
}

/// What the trip would cost with each driver in the book, cheapest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuotesJson {
    /// The quotes.
    pub items: Vec<QuoteJson>,
}

/// One price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuoteJson {
    /// The driver's key.
    pub driver: String,
    /// The fare by the signed tariff.
    pub fare: Money,
    /// Estimated time to the pickup.
    pub eta_ms: u64,
    /// `auto` or `ask`.
    pub accept: String,
    /// Estimated length of the ride.
    pub dist_m: u32,
    /// Estimated time of the ride.
    pub ride_time_ms: u64,
}

/// A ride that is wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RideRequestJson {
    /// Where from.
    pub from: Point,
    /// Where to; without it the ride is metered as directed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Point>,
    /// The most it may cost, minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fare: Option<u64>,
    /// Currency of `max_fare`; without it, that of each offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Class of vehicle; standard unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Seats needed; one unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 16)]
    pub seats: Option<u8>,
    /// Features required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// How long to search; 30 s unless said otherwise, at most 10 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1000, maximum = 600000)]
    pub patience_ms: Option<u32>,
    /// Whether to gossip a rider offer when nobody agrees at first; true unless said
    /// otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<bool>,
    /// Shown to the chosen driver only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Shown to the chosen driver only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phone: String,
    /// Shown to the chosen driver only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Rides, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RidesJson {
    /// The rides.
    pub items: Vec<RideSummary>,
    /// For `?before=` to see older ones; nothing when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A ride in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RideSummary {
    /// Its name on this node.
    pub ride_id: String,
    /// `driver` or `rider`: our side.
    pub role: String,
    /// Where it stands.
    pub state: String,
    /// The other side's signing key.
    pub counterparty: Option<String>,
    /// What both signed.
    pub agreement: Option<String>,
    /// Agreed fare or cap.
    pub fare: Option<Money>,
    /// When it began, ms since 1970.
    pub created_ms: u64,
}

/// A ride with everything its user may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RideJson {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: RideSummary,
    /// Every state it went through, oldest first.
    pub history: Vec<StepJson>,
    /// When it began.
    pub created: String,
    /// What the driver charged at the end.
    pub total: Option<Money>,
    /// Time to the pickup as the driver last said.
    pub eta_ms: Option<u64>,
    /// Time from the first request to firm.
    pub settle_ms: Option<u64>,
    /// Drivers asked.
    pub asked: u32,
    /// What the rider tells the driver: six digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boarding_code: Option<String>,
    /// The same as 26 characters, for a QR code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boarding_secret: Option<String>,
    /// Exact pickup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pickup: Option<Point>,
    /// Exact destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<Point>,
    /// The rider, for the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<ContactJson>,
    /// The vehicle, for the rider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vehicle: Option<VehicleJson>,
    /// Where the other side last said it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Point>,
    /// When it was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// Whether the other side is told where this node is (P8.10).
    #[serde(default)]
    pub sharing: bool,
    /// Whether there is a receipt.
    pub has_receipt: bool,
    /// What cancelling now would cost.
    pub cancel_fee: Option<Money>,
    /// Why nobody was found, when nobody was.
    pub no_match: Option<NoMatchJson>,
}

/// A moment in the life of a ride.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepJson {
    /// When.
    pub at: String,
    /// The state it entered.
    pub state: String,
    /// Why, when it is not obvious.
    pub reason: Option<String>,
}

/// Why a search found nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoMatchJson {
    /// What the book held.
    #[serde(flatten)]
    pub explain: ExplainJson,
    /// Drivers asked.
    pub asked: u32,
    /// Their answers, by reason.
    pub answers: BTreeMap<String, u32>,
}

/// How the driver sets out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnRouteJson {
    /// Time to the pickup.
    pub eta_ms: u32,
}

/// Another fare than the one asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CounterJson {
    /// Minor units.
    pub fare: u64,
}

/// How the driver shows that the rider is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BoardJson {
    /// Six digits, or the secret of 26 characters.
    pub code: String,
}

/// The figures of a finished ride; what is absent is taken from the request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompleteJson {
    /// Metres driven.
    pub dist_m: Option<u32>,
    /// Time driven.
    pub ride_time_ms: Option<u32>,
    /// Tolls and agreed additions, minor units; need the rider's consent.
    pub extra: Option<u64>,
}

/// An opinion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateJson {
    /// 1 to 5.
    #[schema(minimum = 1, maximum = 5)]
    pub stars: u8,
    /// At most 140 bytes.
    #[serde(default)]
    pub text: String,
}

/// A receipt in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptJson {
    /// Which ride.
    pub ride_id: String,
    /// The file, base 64.
    pub receipt: String,
    /// Its length.
    pub bytes: u64,
}

/// Peers connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeersJson {
    /// The peers.
    pub items: Vec<PeerJson>,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerJson {
    /// libp2p peer id.
    pub peer_id: String,
    /// Where it is connected.
    pub addresses: Vec<String>,
    /// What it calls itself.
    pub agent: Option<String>,
    /// How long it has been connected.
    pub connected_ms: u64,
    /// Whether the peer dialled.
    pub inbound: bool,
    /// In how many topics gossip is exchanged with it directly.
    pub mesh_topics: u64,
}

/// A peer to be dialled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddPeerJson {
    /// Its multiaddress, or an invite line.
    pub address: String,
}

/// How others find this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteJson {
    /// One line for `--bootstrap` on another machine.
    pub invite: String,
}

/// Tokens of lesser scope, to give to other programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokensJson {
    /// May look.
    pub read: String,
    /// May do what a rider does.
    pub ride: String,
    /// May do what a driver does.
    pub drive: String,
}

/// What works and what does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiagnosticsJson {
    /// Whether all is well.
    pub ok: bool,
    /// Each thing that was looked at.
    pub checks: Vec<CheckJson>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckJson {
    /// What.
    pub name: String,
    /// `ok`, `warning` or `failed`.
    pub result: String,
    /// What was found.
    pub detail: String,
    /// What to do, unless it is ok.
    pub hint: Option<String>,
}

/// An answer without content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoneJson {}

/// One event, as in the `data` of the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventJson {
    /// Rises by one from event to event.
    pub id: u64,
    /// When.
    pub at: String,
    /// `ride`, `asked`, `fare_disputed`, `boarding_refused`, `offer_published`, `offer_withdrawn`, `evidence`,
    /// `cloned`, `key_replaced`, `notice`, `peers`, `problem`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What belongs to this type: `ride_id`, `role`, `state`, `reason` of a ride, and so on.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

/// The stream could not keep up: read `/v1/state` and go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaggedJson {
    /// Events that were lost.
    pub missed: u64,
}
