//! `trips.geojson`.

use std::fmt::Write as _;

use crate::outcome::{RideOutcome, RunOutcome};
use crate::roads::{Junction, Roads};

/// What simulated time 0 is on the calendar of a trip: 2026-01-01 00:00:00 UTC, seconds of
/// Unix time. Viewers want a date; scenarios have none.
pub const EPOCH_S: u64 = 1_767_225_600;

/// The served rides of a run as GeoJSON: one `LineString` each, along the roads from where
/// the car set out over the pickup to the destination. Positions are longitude, latitude,
/// height 0 and Unix time in seconds, which kepler.gl and deck.gl play back. `boarding_ms`
/// is how long boarding takes.
#[must_use]
pub fn trips_geojson(run: &RunOutcome, roads: &Roads, boarding_ms: u64) -> String {
    let mut text = "{\"type\":\"FeatureCollection\",\"features\":[".to_owned();
    let mut is_first = true;
    for ride in &run.rides {
        let Some(line) = line(ride, roads, boarding_ms) else { continue };
        let comma = if std::mem::take(&mut is_first) { "" } else { "," };
        // A String takes everything.
        let _ = write!(
            text,
            "{comma}\n{{\"type\":\"Feature\",\"properties\":{{\"policy\":\"{}\",\"fleet\":{},\"seed\":{},\
             \"request\":{},\"vehicle\":{},\"wait_s\":{},\"pickup_m\":{},\"trip_m\":{}}},\
             \"geometry\":{{\"type\":\"LineString\",\"coordinates\":[{line}]}}}}",
            run.policy,
            run.fleet,
            run.seed,
            ride.request,
            ride.vehicle.map_or_else(|| "null".to_owned(), |vehicle| vehicle.to_string()),
            ride.wait_ms().unwrap_or_default() as f64 / 1_000.0,
            ride.pickup_m,
            ride.trip_m,
        );
    }
    text.push_str("\n]}\n");
    text
}

/// The positions of a ride; none when it was lost.
fn line(ride: &RideOutcome, roads: &Roads, boarding_ms: u64) -> Option<String> {
    let picked_up = ride.picked_up_ms?;
    let left = picked_up + boarding_ms;
    let mut line = String::new();
    if let Some(set_out) = ride.set_out {
        let begun = picked_up.saturating_sub(ride.pickup_ms.into());
        drive(&mut line, roads, (set_out, ride.from), (begun, picked_up));
    }
    // A ride that was under way at the end of the run is drawn as it would have gone on.
    let dropped = ride.dropped_ms.unwrap_or_else(|| left + u64::from(roads.drive(ride.from, ride.to).ms));
    drive(&mut line, roads, (ride.from, ride.to), (left.min(dropped), dropped));
    Some(line)
}

/// The junctions of a drive, each at its time between both ends.
fn drive(line: &mut String, roads: &Roads, (from, to): (Junction, Junction), (begun, done): (u64, u64)) {
    let path = roads.timed_path(from, to);
    let whole = path.last().map_or(1, |(_, ms)| u64::from(*ms).max(1));
    let span = done.saturating_sub(begun);
    for (junction, ms) in path {
        let at = begun + span * u64::from(ms) / whole;
        let point = roads.point(junction);
        let comma = if line.is_empty() { "" } else { "," };
        let _ = write!(
            line,
            "{comma}[{:.6},{:.6},0,{}.{:03}]",
            point.lon(),
            point.lat(),
            EPOCH_S + at / 1_000,
            at % 1_000
        );
    }
}
