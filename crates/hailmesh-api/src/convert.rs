//! From the words of the node to the JSON of the API.

use std::collections::BTreeMap;

use base64::Engine as _;
use hailmesh_node::market::book::Side;
use hailmesh_node::market::matching::Explain;
use hailmesh_node::market::{DriverProfile, Event, RideView, Role, Snapshot};
use hailmesh_node::wire::{RideState, VehicleCard};
use hailmesh_node::{NodeEvent, NodeStatus, Numbered, PeerInfo, Problem, Quote, SearchAnswer, SearchItem};
use hailmesh_types::{Amount, Currency, Features, GeoPoint, Tariff, Timestamp};
use serde_json::{Value, json};

use crate::types::{
    ContactJson, ErrorJson, EventJson, ExplainJson, Money, NoMatchJson, NodeJson, OfferJson, OffersJson,
    OwnOfferJson, PeerJson, Point, ProfileJson, QuoteJson, QuotesJson, RideJson, RideSummary, StateJson,
    StepJson, TariffJson, VehicleJson,
};

/// Names of the features, by bit.
pub(crate) const FEATURES: [(&str, Features); 5] = [
    ("ramp", Features::RAMP),
    ("child-seat", Features::CHILD_SEAT),
    ("pets", Features::PETS),
    ("luggage", Features::LUGGAGE),
    ("quiet", Features::QUIET),
];

/// RFC 3339 UTC with milliseconds.
pub(crate) fn time(at: Timestamp) -> String {
    let ms = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(at) => format!("{at:.3}"),
        // Our own range ends in 2099: not reached.
        Err(_) => String::new(),
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn money(amount: Amount, currency: Currency) -> Money {
    Money { amount: amount.minor(), currency: currency.to_string() }
}

fn point(point: GeoPoint) -> Point {
    Point { lat: point.lat(), lon: point.lon() }
}

fn count(n: usize) -> u64 {
    n as u64
}

fn features(features: Features) -> Vec<String> {
    let known = FEATURES.iter().filter(|(_, bit)| features.contains(*bit));
    let mut names: Vec<String> = known.map(|(name, _)| (*name).to_owned()).collect();
    let all = FEATURES.iter().fold(Features::NONE, |all, (_, bit)| all.union(*bit));
    let others = features.bits() & !all.bits();
    names.extend((0..32).filter(|bit| others & (1 << bit) != 0).map(|bit| format!("bit-{bit}")));
    names
}

fn tariff(tariff: &Tariff) -> TariffJson {
    TariffJson {
        currency: tariff.currency.to_string(),
        base: tariff.base,
        per_km: tariff.per_km,
        per_min: tariff.per_min,
        minimum: tariff.minimum,
        wait_per_min: tariff.wait_per_min,
        wait_free_ms: tariff.wait_free.as_millis(),
        cancel_fee: tariff.cancel_fee,
        cancel_free_ms: tariff.cancel_free.as_millis(),
        no_show_fee: tariff.no_show_fee,
        surge: tariff.surge,
    }
}

fn vehicle(card: &VehicleCard) -> VehicleJson {
    VehicleJson {
        plate: card.plate.to_string(),
        model: card.model.to_string(),
        colour: card.colour.to_string(),
    }
}

fn profile(profile: &DriverProfile) -> ProfileJson {
    ProfileJson {
        class: Some(profile.class.to_string()),
        seats: Some(profile.seats.get()),
        features: Some(features(profile.features)),
        tariff: Some(tariff(&profile.tariff)),
        accept: Some(profile.accept_mode.name().to_owned()),
        precision: Some(profile.precision.get()),
        discount: Some(profile.discount),
        vehicle: Some(vehicle(&profile.vehicle)),
    }
}

fn error(problem: &Problem) -> ErrorJson {
    ErrorJson { at: time(problem.at), what: problem.what.clone(), hint: problem.hint.clone() }
}

pub(crate) fn node_json(status: &NodeStatus) -> NodeJson {
    NodeJson {
        version: status.version.to_owned(),
        role: status.role.map_or("relay", Role::name).to_owned(),
        network: status.network.to_string(),
        peer_id: status.peer_id.to_string(),
        key: status.key.map(|key| key.to_string()),
        listen: status.listen.iter().map(ToString::to_string).collect(),
        addresses: status.addresses.iter().map(ToString::to_string).collect(),
        reachability: status.reachability.to_owned(),
        peers: count(status.peers),
        mesh_peers: count(status.mesh_peers),
        connected_ms: status.connected_ms,
        uptime_ms: status.uptime_ms,
        store: if status.store_healthy {
            status.store.to_owned()
        } else {
            format!("{} (unavailable)", status.store)
        },
        store_healthy: status.store_healthy,
        transport_note: status.transport_note.clone(),
        last_error: status.last_error.as_ref().map(error),
        hints: status.hints.clone(),
    }
}

pub(crate) fn own_offer_json(snapshot: &Snapshot, offered: Option<&DriverProfile>) -> Option<OwnOfferJson> {
    let (seq, issued) = snapshot.offer?;
    let offered = offered.filter(|_| snapshot.role == Some(Role::Driver));
    Some(OwnOfferJson { seq, issued: time(issued), profile: offered.map(profile) })
}

pub(crate) fn state_json(
    as_of_event: u64,
    now: Timestamp,
    status: &NodeStatus,
    rides: &[RideView],
    offered: Option<&DriverProfile>,
    reveal: bool,
) -> StateJson {
    let snapshot = &status.snapshot;
    let mut open: Vec<RideSummary> =
        rides.iter().filter(|ride| ride.state.is_open()).map(summary_json).collect();
    open.sort_by_key(|ride| std::cmp::Reverse(ride.created_ms));
    StateJson {
        as_of_event,
        state: snapshot.state.to_owned(),
        slot: snapshot.slot,
        offer: own_offer_json(snapshot, offered),
        cell: snapshot.cell.filter(|_| reveal).map(|cell| format!("{:x}", cell.expose().index())),
        drivers: count(snapshot.drivers),
        riders: count(snapshot.riders),
        heard: snapshot.heard,
        stopped: snapshot.stopped.iter().map(|(step, n)| ((*step).to_owned(), *n)).collect(),
        last_offer_ms: snapshot.last_offer.map(|at| now.millis_since(at)),
        topics: count(snapshot.topics),
        peers: count(status.peers),
        outbox: count(snapshot.outbox),
        bans: count(snapshot.bans),
        halted: snapshot.halted.map(str::to_owned),
        rides: open,
    }
}

/// Whether a search is over, or has led to something.
pub(crate) fn over_or_firm(ride: &RideView) -> bool {
    !matches!(ride.state, RideState::Requested | RideState::Held | RideState::Committed)
}

fn explain(explain: &Explain, peers: u64, now: Timestamp) -> ExplainJson {
    ExplainJson {
        heard: count(explain.heard),
        in_range: count(explain.in_range),
        excluded: explain
            .excluded_by_name()
            .into_iter()
            .map(|(name, n)| (name.to_owned(), n.into()))
            .collect(),
        peers,
        last_offer_ms: explain.last_offer.map(|at| now.millis_since(at)),
    }
}

pub(crate) fn offers_json(answer: &SearchAnswer) -> OffersJson {
    OffersJson {
        items: answer.items.iter().map(offer).collect(),
        explain: explain(&answer.explain, count(answer.peers), answer.now),
        hint: answer.hint.clone(),
    }
}

fn offer(item: &SearchItem) -> OfferJson {
    OfferJson {
        author: item.author.to_string(),
        side: match item.side {
            Side::Drivers => "driver",
            Side::Riders => "rider",
        }
        .to_owned(),
        cell: format!("{:x}", item.cell.index()),
        distance_min_m: metres(item.bounds.lower_m),
        distance_max_m: metres(item.bounds.upper_m),
        eta_ms: item.eta.as_millis().into(),
        class: item.class.to_string(),
        seats: item.seats.get(),
        features: features(item.features),
        accept: item.accept_mode.map(|mode| mode.name().to_owned()),
        tariff: item.tariff.as_ref().map(tariff),
        max_fare: item.max_fare.map(|(amount, currency)| money(amount, currency)),
        age_ms: item.age_ms,
        expires_ms: item.expires_ms,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to half the globe")]
fn metres(metres: f64) -> u64 {
    metres.max(0.0).round() as u64
}

pub(crate) fn quotes_json(quotes: &[Quote]) -> QuotesJson {
    let quote = |quote: &Quote| QuoteJson {
        driver: quote.driver.to_string(),
        fare: money(quote.fare, quote.currency),
        eta_ms: quote.eta.as_millis().into(),
        accept: quote.accept_mode.name().to_owned(),
        dist_m: quote.dist_m,
        ride_time_ms: quote.ride_time.as_millis().into(),
    };
    QuotesJson { items: quotes.iter().map(quote).collect() }
}

pub(crate) fn peer_json(peer: &PeerInfo) -> PeerJson {
    PeerJson {
        peer_id: hailmesh_node::peer_id(&peer.key).to_string(),
        addresses: peer.addrs.iter().map(ToString::to_string).collect(),
        agent: peer.agent.clone(),
        connected_ms: peer.connected_ms,
        inbound: peer.inbound,
        mesh_topics: count(peer.mesh_topics),
    }
}

pub(crate) fn summary_json(ride: &RideView) -> RideSummary {
    RideSummary {
        ride_id: ride.ride.to_string(),
        role: ride.role.name().to_owned(),
        state: ride.state.name().to_owned(),
        counterparty: ride.counterparty.map(|key| key.to_string()),
        agreement: ride.agreement.map(|id| id.to_string()),
        fare: ride.fare.map(|(amount, currency)| money(amount, currency)),
        created_ms: ride.created.as_millis(),
    }
}

/// A ride as its user may see it. Without `reveal` no places, contacts and codes.
#[must_use]
pub fn ride_json(ride: &RideView, reveal: bool) -> RideJson {
    let currency = ride.fare.map(|(_, currency)| currency);
    let in_currency = |amount: Option<Amount>| Some(money(amount?, currency?));
    let last = ride.history.last().map_or(ride.created, |step| step.at);
    RideJson {
        summary: summary_json(ride),
        history: ride
            .history
            .iter()
            .map(|step| StepJson {
                at: time(step.at),
                state: step.state.name().to_owned(),
                reason: step.reason.clone(),
            })
            .collect(),
        created: time(ride.created),
        total: in_currency(ride.total),
        eta_ms: ride.eta.map(|eta| eta.as_millis().into()),
        settle_ms: ride.settle_ms,
        asked: ride.asked,
        boarding_code: ride.boarding_code.as_ref().filter(|_| reveal).map(|code| code.expose().clone()),
        boarding_secret: ride
            .boarding_secret
            .as_ref()
            .filter(|_| reveal)
            .map(|secret| secret.expose().clone()),
        pickup: ride.pickup.filter(|_| reveal).map(|place| point(*place.expose())),
        drop: ride.drop.filter(|_| reveal).map(|place| point(*place.expose())),
        contact: ride.contact.as_ref().filter(|_| reveal).map(|contact| {
            let [name, phone, note] = contact.expose().clone();
            ContactJson { name, phone, note }
        }),
        vehicle: ride.vehicle.as_ref().filter(|_| reveal).map(|card| vehicle(card.expose())),
        seen_at: ride.seen_at.filter(|_| reveal).map(|(place, _)| point(*place.expose())),
        seen: ride.seen_at.filter(|_| reveal).map(|(_, at)| time(at)),
        sharing: ride.sharing,
        has_receipt: ride.has_receipt,
        cancel_fee: in_currency(ride.cancel_fee),
        no_match: ride.no_match.as_ref().map(|no_match| NoMatchJson {
            explain: explain(&no_match.explain, no_match.peers.into(), last),
            asked: no_match.asked,
            answers: no_match.answers.clone(),
        }),
    }
}

/// An event as the stream and the command line print it.
#[must_use]
pub fn numbered_event(numbered: &Numbered) -> EventJson {
    let (kind, fields) = match &numbered.event {
        NodeEvent::Market(event) => market_event(event),
        NodeEvent::PeerUp { peers } => ("peers", json!({ "peers": peers, "change": "up" })),
        NodeEvent::PeerDown { peers } => ("peers", json!({ "peers": peers, "change": "down" })),
        NodeEvent::Problem(problem) => ("problem", json!({ "what": problem.what, "hint": problem.hint })),
    };
    let fields: BTreeMap<String, Value> = match fields {
        Value::Object(fields) => fields.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    EventJson { id: numbered.id, at: time(numbered.at), kind: kind.to_owned(), fields }
}

fn market_event(event: &Event) -> (&'static str, Value) {
    match event {
        Event::Ride { ride, role, state, reason } => (
            "ride",
            json!({ "ride_id": ride.to_string(), "role": role.name(), "state": state.name(), "reason": reason }),
        ),
        Event::Asked { ride, fare, currency, valid_ms } => (
            "asked",
            json!({ "ride_id": ride.to_string(), "fare": money(*fare, *currency), "valid_ms": valid_ms }),
        ),
        Event::FareDisputed { ride, total } => {
            ("fare_disputed", json!({ "ride_id": ride.to_string(), "total": total.minor() }))
        }
        Event::Seen { ride } => ("seen", json!({ "ride_id": ride.to_string() })),
        Event::BoardingRefused { ride, reason } => {
            ("boarding_refused", json!({ "ride_id": ride.to_string(), "reason": reason }))
        }
        Event::OfferPublished { role, seq } => {
            ("offer_published", json!({ "role": role.name(), "seq": seq }))
        }
        Event::OfferWithdrawn { role } => ("offer_withdrawn", json!({ "role": role.name() })),
        Event::Evidence { accused, kind } => {
            let name =
                hailmesh_node::wire::EvidenceKind::from_code(*kind).map_or("unknown", |kind| kind.name());
            ("evidence", json!({ "accused": accused.to_string(), "code": name }))
        }
        Event::Cloned { key } => ("cloned", json!({ "key": key.to_string() })),
        Event::KeyReplaced { key } => ("key_replaced", json!({ "key": key.to_string() })),
        Event::Notice(text) => ("notice", json!({ "text": text })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        let at = Timestamp::from_millis(1_763_823_845_007).unwrap();
        assert_eq!(time(at), "2025-11-22T15:04:05.007Z");
    }

    #[test]
    fn features_have_names_and_strange_ones_their_bit() {
        let both = Features::RAMP.union(Features::from_bits(1 << 9));
        assert_eq!(features(both), ["ramp", "bit-9"]);
        assert!(features(Features::NONE).is_empty());
    }

    #[test]
    fn an_event_is_flat() {
        let event = Event::Ride {
            ride: "01J00000000000000000000000".parse().unwrap(),
            role: Role::Rider,
            state: RideState::Firm,
            reason: None,
        };
        let numbered = Numbered { id: 7, at: Timestamp::MIN, event: NodeEvent::Market(event) };
        let value = serde_json::to_value(numbered_event(&numbered)).unwrap();
        assert_eq!(
            value,
            json!({
                "id": 7, "at": "2020-09-13T12:26:40.000Z", "type": "ride",
                "ride_id": "01J00000000000000000000000", "role": "rider", "state": "firm", "reason": null
            })
        );
    }
}
