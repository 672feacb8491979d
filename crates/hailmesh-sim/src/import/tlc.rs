//! Trip records of the New York City Taxi and Limousine Commission with coordinates
//! (yellow and green cabs until June 2016).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read;

use hailmesh_types::GeoPoint;
use jiff::Unit;
use jiff::civil::DateTime;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::Area;
use crate::scenario::{Row, ScenarioError, Sheet};

/// Which trips to take.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The first moment, local time such as `2013-11-18T16:00:00` or `2013-11-18 16:00`;
    /// none: the full hour of the earliest trip.
    pub from: Option<String>,
    /// How many hours from then on, 1 to 168.
    pub hours: u32,
    /// Trips that begin or end elsewhere are skipped.
    pub area: Option<Area>,
    /// Seed of the order of the cars.
    pub seed: u64,
}

impl Default for Window {
    /// The first hour, everywhere.
    fn default() -> Self {
        Self { from: None, hours: 1, area: None, seed: 0 }
    }
}

/// The files of the demand, as text, and what they are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TripFiles {
    /// `requests.csv`: the trips of the window by time.
    pub requests: String,
    /// `vehicles.csv`: a car for each cab that ends a trip in the window, where it does so
    /// first; for records that do not name the cab, a car for each trip. In random order.
    pub vehicles: String,
    /// Trips taken.
    pub trips: u64,
    /// Cars made.
    pub cars: u64,
    /// The first moment of the window.
    pub from: String,
    /// Trips not taken.
    pub skipped: Skipped,
}

/// Trips that were not taken, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// One of its ends is 0,0: the meter had no position.
    pub without_position: u64,
    /// It began before or after the window.
    pub other_time: u64,
    /// It began or ended outside of the area.
    pub other_place: u64,
}

const COLUMNS: [(&str, &[&str]); 7] = [
    (
        "pickup_datetime",
        &["pickup_datetime", "tpep_pickup_datetime", "lpep_pickup_datetime", "trip_pickup_datetime"],
    ),
    (
        "dropoff_datetime",
        &["dropoff_datetime", "tpep_dropoff_datetime", "lpep_dropoff_datetime", "trip_dropoff_datetime"],
    ),
    ("pickup_longitude", &["pickup_longitude", "start_lon"]),
    ("pickup_latitude", &["pickup_latitude", "start_lat"]),
    ("dropoff_longitude", &["dropoff_longitude", "end_lon"]),
    ("dropoff_latitude", &["dropoff_latitude", "end_lat"]),
    ("passenger_count", &["passenger_count"]),
];
/// The cab: only the records of 2010 to 2013 name it.
const CAB: (&str, &[&str]) = ("medallion", &["medallion"]);
/// Other ways to write a time; the first is that of jiff itself.
const FORMATS: [&str; 4] = ["%Y-%m-%d %H:%M", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M"];
const EXPECTED_TIME: &str = "a local time such as 2013-11-18 16:00:00 or 11/18/2013 04:00:00 PM";
const MAX_HOURS: u32 = 168;
const SEATS: u8 = 4;

struct Trip {
    pickup: DateTime,
    dropoff: DateTime,
    from: GeoPoint,
    to: GeoPoint,
    party: u8,
    /// The cab's name, or a number of its own where there is none.
    cab: String,
}

/// Takes the trips of a window from trip records. Rows may be in any order; their times
/// are taken as they are written, in whole seconds.
///
/// # Errors
/// When a column is missing, a value is not a time, a number or a position on the globe,
/// the window is out of range, or no trip is in it.
pub fn trips(file: &str, reader: impl Read, window: &Window) -> Result<TripFiles, ScenarioError> {
    if !(1..=MAX_HOURS).contains(&window.hours) {
        return Err(parameter("hours", &window.hours.to_string(), "1 to 168"));
    }
    let wanted = match &window.from {
        Some(text) => Some(time(text).ok_or_else(|| parameter("from", text, EXPECTED_TIME))?),
        None => None,
    };
    let mut skipped = Skipped::default();
    let mut trips = Vec::new();
    let mut sheet = Sheet::open_spelled(file, reader, &COLUMNS, &[CAB])?;
    while let Some(row) = sheet.next()? {
        let trip = read(&row)?;
        if [trip.from, trip.to].iter().any(|point| point.lat_e7() == 0 && point.lon_e7() == 0) {
            skipped.without_position += 1;
        } else if window.area.is_some_and(|area| !area.contains(trip.from) || !area.contains(trip.to)) {
            skipped.other_place += 1;
        } else {
            trips.push(trip);
        }
    }
    trips.sort_by_key(|trip| trip.pickup);
    let nothing = || {
        let Skipped { without_position, other_place, other_time } = skipped;
        let reason = format!(
            "no trip in the window; {without_position} have no position, {other_place} are elsewhere, \
             {} at other times",
            other_time + trips.len() as u64
        );
        ScenarioError::Nothing { file: file.to_owned(), reason }
    };
    let hour = |first: &Trip| first.pickup.with().minute(0).second(0).subsec_nanosecond(0).build().ok();
    let from = wanted.or_else(|| trips.first().and_then(hour)).ok_or_else(nothing)?;
    let length_s = f64::from(window.hours) * 3_600.0;
    let since = |at: DateTime| (at - from).total((Unit::Second, from)).unwrap_or(f64::NAN);
    if !trips.iter().any(|trip| (0.0..length_s).contains(&since(trip.pickup))) {
        return Err(nothing());
    }
    let mut requests = "request_id,t_s,o_lat,o_lon,d_lat,d_lon,passengers\n".to_owned();
    let mut taken = 0;
    for trip in &trips {
        let t_s = since(trip.pickup);
        if (0.0..length_s).contains(&t_s) {
            let (from, to) = (trip.from, trip.to);
            let (o_lat, o_lon, d_lat, d_lon) = (from.lat(), from.lon(), to.lat(), to.lon());
            let _ = writeln!(requests, "{taken},{t_s},{o_lat},{o_lon},{d_lat},{d_lon},{}", trip.party);
            taken += 1;
        } else {
            skipped.other_time += 1;
        }
    }
    trips.retain(|trip| (0.0..length_s).contains(&since(trip.dropoff)) || since(trip.pickup) >= 0.0);
    trips.retain(|trip| since(trip.pickup) < length_s);
    trips.sort_by_key(|trip| trip.dropoff);
    let mut seen = BTreeSet::new();
    let mut cars: Vec<&Trip> = trips.iter().filter(|trip| seen.insert(&trip.cab)).collect();
    shuffle(&mut cars, window.seed);
    let mut vehicles = "vehicle_id,available_from_s,lat,lon,seats\n".to_owned();
    for (number, car) in cars.iter().enumerate() {
        let (lat, lon) = (car.to.lat(), car.to.lon());
        let _ = writeln!(vehicles, "{number},{},{lat},{lon},{SEATS}", since(car.dropoff));
    }
    let cars = cars.len() as u64;
    Ok(TripFiles { requests, vehicles, trips: taken, cars, from: from.to_string(), skipped })
}

fn read(row: &Row<'_>) -> Result<Trip, ScenarioError> {
    let at = |column| time(row.text(column)).ok_or_else(|| row.refuse(column, EXPECTED_TIME));
    // Meters that nobody told write 0.
    let party = match row.text("passenger_count") {
        "0" => 1,
        _ => row.people("passenger_count")?,
    };
    let cab = row.text(CAB.0);
    Ok(Trip {
        pickup: at("pickup_datetime")?,
        dropoff: at("dropoff_datetime")?,
        from: row.point("pickup_latitude", "pickup_longitude")?,
        to: row.point("dropoff_latitude", "dropoff_longitude")?,
        party,
        cab: if cab.is_empty() { format!("line {}", row.line) } else { cab.to_owned() },
    })
}

fn time(text: &str) -> Option<DateTime> {
    let own = text.parse().ok();
    own.or_else(|| FORMATS.iter().find_map(|format| DateTime::strptime(format, text).ok()))
}

/// Fisher and Yates.
fn shuffle<T>(list: &mut [T], seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for last in (1..list.len()).rev() {
        list.swap(last, rng.random_range(0..=last));
    }
}

fn parameter(parameter: &str, value: &str, expected: &str) -> ScenarioError {
    ScenarioError::Parameter {
        parameter: parameter.to_owned(),
        value: value.to_owned(),
        expected: expected.to_owned(),
    }
}
