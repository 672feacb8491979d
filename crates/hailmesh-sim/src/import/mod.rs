//! Other people's records as the files of a scenario folder.
//!
//! [`trips`] reads taxi trip records and makes `requests.csv` and `vehicles.csv`;
//! [`roads`] reads an extract of OpenStreetMap and makes `nodes.csv` and `edges.csv`. Both
//! take readers and give text: nothing here opens a file.

mod osm;
mod tlc;

use hailmesh_types::GeoPoint;

pub use osm::{RoadFiles, roads};
pub use tlc::{Skipped, TripFiles, Window, trips};

/// A rectangle of the globe that does not cross the 180th meridian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// The corner with the least latitude and longitude.
    pub south_west: GeoPoint,
    /// The corner with the greatest.
    pub north_east: GeoPoint,
}

impl Area {
    /// The smallest area around some points; none without points.
    #[must_use]
    pub fn around(points: impl IntoIterator<Item = GeoPoint>) -> Option<Self> {
        let mut points = points.into_iter();
        let first = points.next()?;
        let (mut south_west, mut north_east) = (first, first);
        for point in points {
            let corner = |lat, lon| GeoPoint::from_e7(lat, lon).unwrap_or(first);
            south_west =
                corner(south_west.lat_e7().min(point.lat_e7()), south_west.lon_e7().min(point.lon_e7()));
            north_east =
                corner(north_east.lat_e7().max(point.lat_e7()), north_east.lon_e7().max(point.lon_e7()));
        }
        Some(Self { south_west, north_east })
    }

    /// Whether a point is in it, its border included.
    #[must_use]
    pub fn contains(&self, point: GeoPoint) -> bool {
        (self.south_west.lat_e7()..=self.north_east.lat_e7()).contains(&point.lat_e7())
            && (self.south_west.lon_e7()..=self.north_east.lon_e7()).contains(&point.lon_e7())
    }
}

#[cfg(test)]
mod tests;
