//! From the JSON of the API to the words of the node: every value is checked here, and a
//! wrong one is named together with what is allowed.

use hailmesh_node::config::RiderSettings;
use hailmesh_node::market::book::Side;
use hailmesh_node::market::{Completion, DriverProfile, Wish};
use hailmesh_node::wire::{AcceptMode, VehicleCard};
use hailmesh_node::{QuoteRequest, SearchRequest};
use hailmesh_types::{
    Amount, Class, Currency, Duration, Features, GeoPoint, Private, Resolution, Seats, Tariff, Text,
};

use crate::convert::FEATURES;
use crate::problem::{Code, Problem};
use crate::types::{
    CompleteJson, OffersQuery, Point, ProfileJson, QuoteRequestJson, RateJson, RideRequestJson, TariffJson,
    VehicleJson,
};

/// How long a search goes on when nothing else is said.
const PATIENCE_MS: u32 = 30_000;
/// Longest search.
const PATIENCE_MAX_MS: u32 = 600_000;
/// Offers in an answer when nothing else is said, and at the most.
const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 500;

fn bad(what: &str, error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::BadValue, format!("{what}: {error}"))
}

/// A position.
pub(crate) fn point(point: Point) -> Result<GeoPoint, Problem> {
    GeoPoint::from_degrees(point.lat, point.lon)
        .map_err(|error| Problem::new(Code::BadValue, error.to_string()))
}

fn class(name: Option<&str>) -> Result<Class, Problem> {
    name.map_or(Ok(Class::STANDARD), |name| {
        name.parse()
            .map_err(|error: hailmesh_types::ClassError| Problem::new(Code::BadValue, error.to_string()))
    })
}

fn seats(seats: Option<u8>) -> Result<Seats, Problem> {
    seats.map_or(Ok(Seats::ONE), |seats| {
        Seats::new(seats).map_err(|error| Problem::new(Code::BadValue, error.to_string()))
    })
}

fn features(names: &[String]) -> Result<Features, Problem> {
    names.iter().try_fold(Features::NONE, |all, name| {
        let known = FEATURES.iter().find(|(known, _)| known == name);
        known.map(|(_, bit)| all.union(*bit)).ok_or_else(|| {
            Problem::new(
                Code::BadValue,
                format!("feature {name:?}: expected ramp, child-seat, pets, luggage or quiet"),
            )
        })
    })
}

fn amount(what: &str, minor: u64) -> Result<Amount, Problem> {
    Amount::from_minor(minor).map_err(|error| bad(what, error))
}

fn text<const N: usize>(what: &str, content: &str) -> Result<Text<N>, Problem> {
    Text::new(content).map_err(|error| bad(what, error))
}

/// What is asked of the book.
pub(crate) fn search_from_query(query: &OffersQuery) -> Result<SearchRequest, Problem> {
    let parameter = |error: String| Problem::new(Code::BadParameter, error);
    let near = query.near.as_deref().map(str::parse::<GeoPoint>).transpose();
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(parameter(format!("limit {limit}: expected 1 to {LIMIT_MAX}")));
    }
    Ok(SearchRequest {
        near: near.map_err(|error| parameter(error.to_string()))?,
        radius_m: query.radius_m,
        side: match query.side.as_deref() {
            None | Some("drivers") => Side::Drivers,
            Some("riders") => Side::Riders,
            Some(other) => return Err(parameter(format!("side {other:?}: expected drivers or riders"))),
        },
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        class: query.class.as_deref().map(|name| class(Some(name))).transpose().map_err(in_query)?,
        seats: query.seats.map(|wanted| seats(Some(wanted))).transpose().map_err(in_query)?,
        max_fare: None,
    })
}

/// What is wrong with a value of a query is wrong with a parameter.
fn in_query(problem: Problem) -> Problem {
    Problem::new(Code::BadParameter, problem.detail)
}

/// A trip to be priced.
pub(crate) fn quote_from_json(json: &QuoteRequestJson) -> Result<QuoteRequest, Problem> {
    Ok(QuoteRequest {
        from: point(json.from)?,
        to: point(json.to)?,
        class: class(json.class.as_deref())?,
        seats: seats(json.seats)?,
        features: Features::NONE,
    })
}

/// A ride that is wanted; what is absent comes from the settings of the rider.
pub(crate) fn wish_from_json(json: &RideRequestJson, rider: &RiderSettings) -> Result<Wish, Problem> {
    let patience_ms = json.patience_ms.unwrap_or(PATIENCE_MS);
    if !(1_000..=PATIENCE_MAX_MS).contains(&patience_ms) {
        return Err(Problem::new(
            Code::BadValue,
            format!("patience_ms {patience_ms}: expected 1000 to {PATIENCE_MAX_MS}"),
        ));
    }
    let currency = json.currency.as_deref().map(str::parse::<Currency>).transpose();
    let or = |given: &str, set: &str| if given.is_empty() { set.to_owned() } else { given.to_owned() };
    Ok(Wish {
        from: Private(point(json.from)?),
        to: json.to.map(|to| point(to).map(Private)).transpose()?,
        max_fare: json.max_fare.map(|minor| amount("max_fare", minor)).transpose()?,
        currency: currency.map_err(|error| Problem::new(Code::BadValue, error.to_string()))?,
        class: class(json.class.as_deref())?,
        party: seats(json.seats)?,
        features: features(&json.features)?,
        patience: Duration::from_millis(patience_ms),
        pickup_within: None,
        open: json.open.unwrap_or(rider.open),
        name: text("name", &or(&json.name, &rider.name))?,
        phone: text("phone", &or(&json.phone, &rider.phone))?,
        note: text("note", &json.note)?,
    })
}

/// What a driver offers; what is absent stays as it was.
pub(crate) fn profile_from_json(
    json: ProfileJson,
    before: Option<DriverProfile>,
) -> Result<DriverProfile, Problem> {
    let mut profile = before.unwrap_or_else(|| DriverProfile {
        class: Class::STANDARD,
        seats: Seats::ONE,
        features: Features::NONE,
        tariff: Tariff::default(),
        accept_mode: AcceptMode::Auto,
        precision: Resolution::DRIVER,
        discount: 0,
        vehicle: VehicleCard {
            plate: Text::default(),
            model: Text::default(),
            colour: Text::default(),
            photo: None,
            credential_salt: None,
        },
    });
    if let Some(name) = &json.class {
        profile.class = class(Some(name))?;
    }
    if json.seats.is_some() {
        profile.seats = seats(json.seats)?;
    }
    if let Some(names) = &json.features {
        profile.features = features(names)?;
    }
    if let Some(json) = &json.tariff {
        profile.tariff = tariff(json)?;
    }
    if let Some(mode) = &json.accept {
        profile.accept_mode = match mode.as_str() {
            "auto" => AcceptMode::Auto,
            "ask" => AcceptMode::Ask,
            _ => return Err(Problem::new(Code::BadValue, format!("accept {mode:?}: expected auto or ask"))),
        };
    }
    if let Some(precision) = json.precision {
        let resolution = Resolution::new(precision).ok().filter(|_| (7..=10).contains(&precision));
        profile.precision = resolution.ok_or_else(|| {
            Problem::new(Code::BadValue, format!("precision {precision}: expected 7 to 10"))
        })?;
    }
    if let Some(discount) = json.discount {
        if discount > 1_000 {
            return Err(Problem::new(Code::BadValue, format!("discount {discount}: expected 0 to 1000")));
        }
        profile.discount = discount;
    }
    if let Some(VehicleJson { plate, model, colour }) = &json.vehicle {
        profile.vehicle.plate = text("vehicle.plate", plate)?;
        profile.vehicle.model = text("vehicle.model", model)?;
        profile.vehicle.colour = text("vehicle.colour", colour)?;
    }
    Ok(profile)
}

fn tariff(json: &TariffJson) -> Result<Tariff, Problem> {
    let tariff = Tariff {
        currency: json.currency.parse().map_err(|error| bad("tariff", error))?,
        base: json.base,
        per_km: json.per_km,
        per_min: json.per_min,
        minimum: json.minimum,
        wait_per_min: json.wait_per_min,
        wait_free: Duration::from_millis(json.wait_free_ms),
        cancel_fee: json.cancel_fee,
        cancel_free: Duration::from_millis(json.cancel_free_ms),
        no_show_fee: json.no_show_fee,
        surge: json.surge,
    };
    tariff.check().map_err(|error| Problem::new(Code::BadValue, error.to_string()))?;
    Ok(tariff)
}

/// The figures of a finished ride.
pub(crate) fn completion_from_json(json: &CompleteJson) -> Result<Completion, Problem> {
    Ok(Completion {
        dist_m: json.dist_m,
        ride_time: json.ride_time_ms.map(Duration::from_millis),
        extra: json.extra.map(|minor| amount("extra", minor)).transpose()?,
    })
}

/// A fare that a driver proposes.
pub(crate) fn fare(minor: u64) -> Result<Amount, Problem> {
    amount("fare", minor)
}

/// The words of a rating, whose stars are right.
pub(crate) fn rating_text(json: &RateJson) -> Result<Text<140>, Problem> {
    if (1..=5).contains(&json.stars) {
        text("text", &json.text)
    } else {
        Err(Problem::new(Code::BadValue, format!("stars {}: expected 1 to 5", json.stars)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut RideRequestJson)) -> Result<Wish, Problem> {
        let mut json: RideRequestJson =
            serde_json::from_str(r#"{"from":{"lat":40.758,"lon":-73.9855},"to":{"lat":40.7,"lon":-74.0}}"#)
                .unwrap();
        change(&mut json);
        wish_from_json(&json, &RiderSettings::default())
    }

    #[test]
    fn wrong_values_are_named() {
        assert!(request(|_| ()).is_ok());
        let detail = |change: fn(&mut RideRequestJson)| request(change).unwrap_err().detail;
        assert_eq!(detail(|json| json.from.lat = 91.0), "latitude 91: expected a number from -90 to 90");
        assert!(detail(|json| json.class = Some("boat".into())).contains("\"boat\""));
        assert!(detail(|json| json.seats = Some(0)).contains("1 to 16"));
        assert!(detail(|json| json.currency = Some("usd".into())).contains("three upper-case letters"));
        assert!(detail(|json| json.max_fare = Some(u64::MAX)).contains("max_fare"));
        assert!(detail(|json| json.features = vec!["wings".into()]).contains("wings"));
        assert!(detail(|json| json.patience_ms = Some(0)).contains("patience_ms 0"));
        assert!(detail(|json| json.name = "x".repeat(33)).contains("at most 32"));
    }

    #[test]
    fn the_settings_of_the_rider_fill_what_is_absent() {
        let rider = RiderSettings { name: "Ada".into(), open: false, ..RiderSettings::default() };
        let json: RideRequestJson = serde_json::from_str(r#"{"from":{"lat":0,"lon":0}}"#).unwrap();
        let wish = wish_from_json(&json, &rider).unwrap();
        assert_eq!(wish.name.as_str(), "Ada");
        assert!(!wish.open && wish.to.is_none());
    }

    #[test]
    fn a_part_of_an_offer_can_be_changed() {
        let first =
            profile_from_json(ProfileJson { seats: Some(3), ..ProfileJson::default() }, None).unwrap();
        let json = ProfileJson { accept: Some("ask".into()), ..ProfileJson::default() };
        let second = profile_from_json(json, Some(first)).unwrap();
        assert_eq!((second.seats.get(), second.accept_mode), (3, AcceptMode::Ask));
        let json = ProfileJson { precision: Some(6), ..ProfileJson::default() };
        assert!(profile_from_json(json, None).unwrap_err().detail.contains("7 to 10"));
    }
}
