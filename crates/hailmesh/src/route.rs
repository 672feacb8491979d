//! A drive from a file: GPX or GeoJSON, replayed by its times or at a speed.

use std::path::Path;

use geojson::{GeoJson, GeometryValue};
use hailmesh_types::GeoPoint;

use crate::exit::Failure;

/// Most points of a track.
const POINTS_MAX: usize = 200_000;
/// Longest file.
const FILE_MAX: u64 = 64 * 1024 * 1024;
/// Speed along a track without times when none is given, km/h.
pub const SPEED_KMH: u16 = 25;

/// A place and when to be there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    /// Since the start of the drive.
    pub at_ms: u64,
    /// Where.
    pub point: GeoPoint,
}

/// A drive: at least one stop, times never fall, the first is 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Route(Vec<Stop>);

/// A point of a file, with its time if the file has one, ms since 1970.
type Raw = (GeoPoint, Option<i64>);

impl Route {
    /// Reads a file. Times of the file are used when every point has one and no speed is
    /// given; otherwise the drive goes at `speed_kmh` ([`SPEED_KMH`] without).
    ///
    /// # Errors
    /// Code 2, naming the file and what is wrong with it.
    pub fn read(path: &Path, speed_kmh: Option<u16>) -> Result<Self, Failure> {
        let bad = |what: String| Failure::usage(format!("--route {}: {what}", path.display()));
        let length = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?.len();
        if length > FILE_MAX {
            return Err(bad(format!("{length} bytes: at most {FILE_MAX} are read")));
        }
        let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let first =
            bytes.iter().find(|byte| !byte.is_ascii_whitespace() && !byte.eq_ignore_ascii_case(&0xef));
        let points = match first {
            Some(b'<') => gpx_points(&bytes),
            Some(b'{') => geojson_points(&bytes),
            _ => Err("expected GPX (XML) or GeoJSON".to_owned()),
        };
        Self::new(points.map_err(bad)?, speed_kmh).map_err(bad)
    }

    fn new(points: Vec<Raw>, speed_kmh: Option<u16>) -> Result<Self, String> {
        let Some((first, _)) = points.first().copied() else {
            return Err("no track in it: expected a track, a route or a LineString".to_owned());
        };
        if points.len() > POINTS_MAX {
            return Err(format!("{} points: at most {POINTS_MAX}", points.len()));
        }
        let times: Option<Vec<i64>> = points.iter().map(|(_, time)| *time).collect();
        let stops = match times.filter(|_| speed_kmh.is_none()) {
            Some(times) => by_times(&points, &times)?,
            None => by_speed(&points, first, speed_kmh.unwrap_or(SPEED_KMH)),
        };
        Ok(Self(stops))
    }

    /// Where the drive begins.
    #[must_use]
    pub fn start(&self) -> GeoPoint {
        self.0[0].point
    }

    /// How long it takes.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.0[self.0.len() - 1].at_ms
    }

    /// Where the car is after `ms`: on the straight line between two stops. The last stop
    /// from the end on.
    #[must_use]
    pub fn at(&self, ms: u64) -> GeoPoint {
        let after = self.0.partition_point(|stop| stop.at_ms <= ms);
        if after == 0 {
            return self.start();
        }
        let from = self.0[after - 1];
        let Some(to) = self.0.get(after) else { return from.point };
        let (span, gone) = (i128::from(to.at_ms - from.at_ms), i128::from(ms - from.at_ms));
        let between = |a: i32, b: i32| {
            let value = i128::from(a) + (i128::from(b) - i128::from(a)) * gone / span;
            i32::try_from(value).unwrap_or(a)
        };
        let lat = between(from.point.lat_e7(), to.point.lat_e7());
        let lon = between(from.point.lon_e7(), to.point.lon_e7());
        GeoPoint::from_e7(lat, lon).unwrap_or(from.point)
    }
}

fn by_times(points: &[Raw], times: &[i64]) -> Result<Vec<Stop>, String> {
    let start = times[0];
    if let Some(number) = times.windows(2).position(|pair| pair[1] < pair[0]) {
        return Err(format!("point {} is earlier than the one before it", number + 2));
    }
    let stops = points.iter().zip(times);
    Ok(stops.map(|((point, _), time)| Stop { at_ms: (time - start).unsigned_abs(), point: *point }).collect())
}

fn by_speed(points: &[Raw], first: GeoPoint, speed_kmh: u16) -> Vec<Stop> {
    let metres_per_ms = f64::from(speed_kmh) / 3_600.0;
    let mut last = first;
    let mut metres = 0.0;
    points
        .iter()
        .map(|(point, _)| {
            metres += last.distance_m(*point);
            last = *point;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 4e12 ms")]
            let at_ms = (metres / metres_per_ms).round() as u64;
            Stop { at_ms, point: *point }
        })
        .collect()
}

fn point(lat: f64, lon: f64, number: usize) -> Result<GeoPoint, String> {
    GeoPoint::from_degrees(lat, lon).map_err(|error| format!("point {number}: {error}"))
}

fn gpx_points(bytes: &[u8]) -> Result<Vec<Raw>, String> {
    let gpx = gpx::read(bytes).map_err(|error| format!("GPX: {error}"))?;
    let tracks = gpx.tracks.iter().flat_map(|track| &track.segments).flat_map(|segment| &segment.points);
    let routes = gpx.routes.iter().flat_map(|route| &route.points);
    let on_tracks: Vec<_> = tracks.collect();
    let points = if on_tracks.is_empty() { routes.collect() } else { on_tracks };
    points
        .into_iter()
        .enumerate()
        .map(|(number, waypoint)| {
            let place = waypoint.point();
            let time = waypoint.time.and_then(|time| time.format().ok()).and_then(|text| millis(&text));
            Ok((point(place.y(), place.x(), number + 1)?, time))
        })
        .collect()
}

fn millis(rfc3339: &str) -> Option<i64> {
    rfc3339.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

fn geojson_points(bytes: &[u8]) -> Result<Vec<Raw>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("GeoJSON: {error}"))?;
    let document: GeoJson = text.parse().map_err(|error| format!("GeoJSON: {error}"))?;
    let mut points = Vec::new();
    match document {
        GeoJson::Geometry(geometry) => line(&geometry.value, &[], &mut points)?,
        GeoJson::Feature(feature) => of_feature(&feature, &mut points)?,
        GeoJson::FeatureCollection(collection) => {
            for feature in &collection.features {
                of_feature(feature, &mut points)?;
            }
        }
    }
    Ok(points)
}

fn of_feature(feature: &geojson::Feature, points: &mut Vec<Raw>) -> Result<(), String> {
    let Some(geometry) = &feature.geometry else { return Ok(()) };
    // The custom of togeojson and others: times beside the coordinates.
    let times: Vec<i64> = ["coordTimes", "times"]
        .iter()
        .find_map(|name| feature.property(*name))
        .and_then(|value| value.as_array())
        .map(|items| {
            items.iter().filter_map(|item| item.as_str().and_then(millis).or_else(|| item.as_i64())).collect()
        })
        .unwrap_or_default();
    line(&geometry.value, &times, points)
}

fn line(geometry: &GeometryValue, times: &[i64], points: &mut Vec<Raw>) -> Result<(), String> {
    match geometry {
        GeometryValue::LineString { coordinates } => along(coordinates.iter(), times, points),
        GeometryValue::MultiLineString { coordinates } => along(coordinates.iter().flatten(), times, points),
        _ => Ok(()),
    }
}

fn along<'a>(
    coordinates: impl Iterator<Item = &'a geojson::Position>,
    times: &[i64],
    points: &mut Vec<Raw>,
) -> Result<(), String> {
    for (number, position) in coordinates.enumerate() {
        let values = position.as_slice();
        let [lon, lat, ..] = values else {
            return Err(format!("point {}: expected longitude and latitude", number + 1));
        };
        // kepler.gl and deck.gl: time as the fourth value, in seconds.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "saturates, and such times are refused by their order"
        )]
        let fourth =
            values.get(3).filter(|seconds| seconds.is_finite()).map(|seconds| (seconds * 1_000.0) as i64);
        points.push((point(*lat, *lon, points.len() + 1)?, times.get(number).copied().or(fourth)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, speed: Option<u16>) -> Result<Route, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Route::read(&path, speed)
    }

    const GPX: &str = r#"<?xml version="1.0"?><gpx version="1.1" creator="test" xmlns="http://www.topografix.com/GPX/1/1">
        <trk><trkseg>
        <trkpt lat="40.0" lon="-74.0"><time>2026-11-22T10:00:00Z</time></trkpt>
        <trkpt lat="40.001" lon="-74.0"><time>2026-11-22T10:00:10Z</time></trkpt>
        <trkpt lat="40.001" lon="-74.002"><time>2026-11-22T10:00:20Z</time></trkpt>
        </trkseg></trk></gpx>"#;

    #[test]
    fn a_track_is_replayed_by_its_times() {
        let route = read("a.gpx", GPX, None).unwrap();
        assert_eq!(route.duration_ms(), 20_000);
        assert_eq!(route.at(0), "40.0,-74.0".parse().unwrap());
        assert_eq!(route.at(5_000), "40.0005,-74.0".parse().unwrap());
        assert_eq!(route.at(15_000), "40.001,-74.001".parse().unwrap());
        assert_eq!(route.at(99_000), "40.001,-74.002".parse().unwrap());
    }

    #[test]
    fn a_speed_overrides_times() {
        let route = read("a.gpx", GPX, Some(36)).unwrap();
        // 111 m north and 170 m west at 10 m/s.
        assert!((27_000..30_000).contains(&route.duration_ms()), "{}", route.duration_ms());
    }

    #[test]
    fn geojson_with_and_without_times() {
        let plain = r#"{"type":"LineString","coordinates":[[-74.0,40.0],[-74.0,40.01]]}"#;
        let route = read("a.geojson", plain, Some(40)).unwrap();
        assert!((99_000..101_500).contains(&route.duration_ms()), "{}", route.duration_ms());
        let timed = r#"{"type":"Feature","properties":null,"geometry":{"type":"LineString",
            "coordinates":[[-74.0,40.0,0,1000],[-74.0,40.01,0,1030.5]]}}"#;
        assert_eq!(read("b.geojson", timed, None).unwrap().duration_ms(), 30_500);
    }

    #[test]
    fn what_is_no_drive_is_refused_by_name() {
        for (text, what) in [
            ("hello", "expected GPX"),
            ("{\"type\":\"Point\",\"coordinates\":[0,0]}", "no track"),
            ("{\"type\":\"LineString\",\"coordinates\":[[0,91],[0,0]]}", "latitude 91"),
            ("<gpx></gpx>", "GPX"),
            ("{", "GeoJSON"),
        ] {
            let failure = read("x", text, None).unwrap_err();
            assert_eq!(failure.exit, crate::exit::Exit::Usage);
            assert!(failure.message.contains(what), "{text}: {}", failure.message);
        }
        let backwards = GPX.replace("10:00:20", "09:00:00");
        assert!(read("x", &backwards, None).unwrap_err().message.contains("point 3 is earlier"));
    }
}
