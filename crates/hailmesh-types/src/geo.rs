//! Points on the globe as integers.

use std::fmt;
use std::str::FromStr;

use geo::{Distance, Haversine, Point};

/// Greatest latitude in 1e-7 degree.
const LAT_MAX_E7: i32 = 900_000_000;
/// Least longitude in 1e-7 degree; the greatest is one step below its negative.
const LON_MIN_E7: i32 = -1_800_000_000;
const LON_MAX_E7: i32 = 1_799_999_999;
const E7: f64 = 1e7;

/// A position: latitude −90 … 90, longitude −180 … 180 (180 itself is −180), in steps
/// of 1e-7 degree (about 11 mm).
///
/// `Debug` prints no coordinates: positions are personal and logs are not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GeoPoint {
    lat_e7: i32,
    lon_e7: i32,
}

/// Why something is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeoError {
    /// Latitude outside −90 … 90, or not a number.
    #[error("latitude {0}: expected a number from -90 to 90")]
    Latitude(String),
    /// Longitude outside −180 … 180, or not a number.
    #[error("longitude {0}: expected a number from -180 to 180")]
    Longitude(String),
    /// Not two numbers.
    #[error("position {0:?}: expected LAT,LON in degrees, for example 40.7580,-73.9855")]
    Form(String),
}

impl GeoPoint {
    /// A position from 1e-7 degrees.
    ///
    /// # Errors
    /// When a value is off the globe; longitude 180° is written −180°.
    pub fn from_e7(lat_e7: i32, lon_e7: i32) -> Result<Self, GeoError> {
        if !(-LAT_MAX_E7..=LAT_MAX_E7).contains(&lat_e7) {
            return Err(GeoError::Latitude(format!("{}", f64::from(lat_e7) / E7)));
        }
        if !(LON_MIN_E7..=LON_MAX_E7).contains(&lon_e7) {
            return Err(GeoError::Longitude(format!("{}", f64::from(lon_e7) / E7)));
        }
        Ok(Self { lat_e7, lon_e7 })
    }

    /// The nearest position to the given degrees.
    ///
    /// # Errors
    /// When a value is not a finite number or off the globe.
    pub fn from_degrees(lat: f64, lon: f64) -> Result<Self, GeoError> {
        if !(-90.0..=90.0).contains(&lat) {
            return Err(GeoError::Latitude(lat.to_string()));
        }
        if !(-180.0..=180.0).contains(&lon) {
            return Err(GeoError::Longitude(lon.to_string()));
        }
        let lon_e7 = round_e7(lon);
        Self::from_e7(round_e7(lat), if lon_e7 > LON_MAX_E7 { LON_MIN_E7 } else { lon_e7 })
    }

    /// Latitude in 1e-7 degree.
    #[must_use]
    pub const fn lat_e7(self) -> i32 {
        self.lat_e7
    }

    /// Longitude in 1e-7 degree.
    #[must_use]
    pub const fn lon_e7(self) -> i32 {
        self.lon_e7
    }

    /// Latitude in degrees.
    #[must_use]
    pub fn lat(self) -> f64 {
        f64::from(self.lat_e7) / E7
    }

    /// Longitude in degrees.
    #[must_use]
    pub fn lon(self) -> f64 {
        f64::from(self.lon_e7) / E7
    }

    /// Great-circle distance in metres on a sphere of mean radius 6,371,008.8 m
    /// (haversine, as in the `geo` crate).
    #[must_use]
    pub fn distance_m(self, other: Self) -> f64 {
        Haversine.distance(Point::new(self.lon(), self.lat()), Point::new(other.lon(), other.lat()))
    }
}

/// Rounds degrees that are known to lie within ±180 to 1e-7 degree.
#[expect(clippy::cast_possible_truncation, reason = "at most 1.8e9, which an i32 holds")]
fn round_e7(degrees: f64) -> i32 {
    (degrees * E7).round() as i32
}

impl FromStr for GeoPoint {
    type Err = GeoError;

    fn from_str(text: &str) -> Result<Self, GeoError> {
        let (lat, lon) = text.split_once(',').ok_or_else(|| GeoError::Form(text.to_owned()))?;
        let number = |part: &str| part.trim().parse::<f64>().map_err(|_| GeoError::Form(text.to_owned()));
        Self::from_degrees(number(lat)?, number(lon)?)
    }
}

impl fmt::Debug for GeoPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<position>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_positions_are_named() {
        let error = |text: &str| text.parse::<GeoPoint>().unwrap_err().to_string();
        assert_eq!(error("91,0"), "latitude 91: expected a number from -90 to 90");
        assert_eq!(error("NaN,0"), "latitude NaN: expected a number from -90 to 90");
        assert_eq!(error("0,inf"), "longitude inf: expected a number from -180 to 180");
        assert!(error("here").contains("expected LAT,LON"));
    }

    #[test]
    fn the_antimeridian_has_one_name() {
        let east: GeoPoint = "0,180".parse().unwrap();
        assert_eq!(east, "0,-180".parse().unwrap());
    }

    #[test]
    fn known_distance() {
        // London to Paris, 343.6 km on the sphere.
        let london: GeoPoint = "51.5074,-0.1278".parse().unwrap();
        let paris: GeoPoint = "48.8566,2.3522".parse().unwrap();
        assert!((london.distance_m(paris) - 343_560.0).abs() < 100.0);
    }

    #[test]
    fn debug_hides_the_place() {
        let point: GeoPoint = "40.7580,-73.9855".parse().unwrap();
        assert_eq!(format!("{point:?}"), "<position>");
    }
}
