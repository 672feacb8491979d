//! H3 cells, and what is known about a point when only its cell is.

use std::fmt;

use h3o::{CellIndex, LatLng};

use crate::{GeoError, GeoPoint};

/// Radius of the sphere that distances are measured on, metres (as in the `geo` crate).
const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// Least and greatest resolution that any statement may carry.
const RESOLUTION_MIN: u8 = 5;
const RESOLUTION_MAX: u8 = 10;

/// A resolution of the H3 grid that the protocol uses, 5 to 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resolution(u8);

impl Resolution {
    /// 253 km², of provider records.
    pub const PROVIDER: Self = Self(5);
    /// 5.16 km², of topics.
    pub const TOPIC: Self = Self(7);
    /// 0.737 km², the default of a rider's offer.
    pub const RIDER: Self = Self(8);
    /// 0.105 km², of the pickup in a REQUEST and of ARRIVED.
    pub const PICKUP: Self = Self(9);
    /// 0.015 km², the default of a driver's offer.
    pub const DRIVER: Self = Self(10);

    /// A resolution.
    ///
    /// # Errors
    /// Outside 5 to 10.
    pub fn new(resolution: u8) -> Result<Self, CellError> {
        if (RESOLUTION_MIN..=RESOLUTION_MAX).contains(&resolution) {
            Ok(Self(resolution))
        } else {
            Err(CellError::Resolution { got: resolution, min: RESOLUTION_MIN, max: RESOLUTION_MAX })
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The margin h by which a position may leave its published cell, metres: half
    /// the mean edge length (P14.3). Only resolutions 7 to 10 are published; coarser
    /// cells have none.
    #[must_use]
    pub const fn margin_m(self) -> f64 {
        match self.0 {
            7 => 700.0,
            8 => 265.0,
            9 => 100.0,
            10 => 38.0,
            _ => 0.0,
        }
    }

    fn h3(self) -> h3o::Resolution {
        match self.0 {
            5 => h3o::Resolution::Five,
            6 => h3o::Resolution::Six,
            7 => h3o::Resolution::Seven,
            8 => h3o::Resolution::Eight,
            9 => h3o::Resolution::Nine,
            _ => h3o::Resolution::Ten,
        }
    }
}

/// Why a number is not a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// Not an H3 cell index at all.
    #[error("{0:#x} is not an H3 cell")]
    Index(u64),
    /// A cell of a size that is not allowed here.
    #[error("cell resolution {got}: expected {min} to {max}")]
    Resolution {
        /// The resolution found.
        got: u8,
        /// Coarsest allowed.
        min: u8,
        /// Finest allowed.
        max: u8,
    },
}

/// A cell of the H3 grid with resolution 5 to 10. `Debug` prints only the resolution:
/// a fine cell is nearly a position.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell(CellIndex);

/// A rectangle of latitudes and longitudes, degrees; never across the antimeridian.
#[derive(Clone, Copy, PartialEq)]
pub struct CellRect {
    /// Least latitude.
    pub south: f64,
    /// Least longitude.
    pub west: f64,
    /// Greatest latitude.
    pub north: f64,
    /// Greatest longitude.
    pub east: f64,
}

/// What is known of a distance to somebody who only shows a cell, metres.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Bounds {
    /// It is not nearer than this.
    pub lower_m: f64,
    /// Distance to the centre of the cell: what ranking uses.
    pub centre_m: f64,
    /// It is not farther than this.
    pub upper_m: f64,
}

impl Cell {
    /// The cell with this index, when its resolution lies in `min..=max`.
    ///
    /// # Errors
    /// When the number is not an H3 cell, or of another resolution.
    pub fn from_index(index: u64, min: u8, max: u8) -> Result<Self, CellError> {
        let cell = CellIndex::try_from(index).map_err(|_| CellError::Index(index))?;
        let got = u8::from(cell.resolution());
        let (min, max) = (min.max(RESOLUTION_MIN), max.min(RESOLUTION_MAX));
        if (min..=max).contains(&got) { Ok(Self(cell)) } else { Err(CellError::Resolution { got, min, max }) }
    }

    /// The cell that holds `point`.
    #[must_use]
    pub fn at(point: GeoPoint, resolution: Resolution) -> Self {
        // A `GeoPoint` is finite, which is all that H3 asks for.
        let place = LatLng::new(point.lat(), point.lon()).unwrap_or_default();
        Self(place.to_cell(resolution.h3()))
    }

    /// The index of H3.
    #[must_use]
    pub fn index(self) -> u64 {
        u64::from(self.0)
    }

    /// How fine the cell is.
    #[must_use]
    pub fn resolution(self) -> Resolution {
        Resolution(u8::from(self.0.resolution()))
    }

    /// The coarser cell that holds this one; the cell itself when it is not finer.
    #[must_use]
    pub fn parent(self, resolution: Resolution) -> Self {
        self.0.parent(resolution.h3()).map_or(self, Self)
    }

    /// The middle of the cell.
    #[must_use]
    pub fn centre(self) -> GeoPoint {
        point_of(LatLng::from(self.0))
    }

    /// The cells within `k` steps, this one included: 7 for 1, 19 for 2. In the order
    /// of their index.
    #[must_use]
    pub fn disk(self, k: u32) -> Vec<Self> {
        let mut cells: Vec<Self> = self.0.grid_disk::<Vec<_>>(k).into_iter().map(Self).collect();
        cells.sort_unstable();
        cells
    }

    /// Greatest distance from the centre to a vertex, metres.
    #[must_use]
    pub fn radius_m(self) -> f64 {
        let centre = self.centre();
        self.vertices().map(|vertex| centre.distance_m(vertex)).fold(0.0, f64::max)
    }

    /// The corners of the cell in order, five or more.
    pub fn vertices(self) -> impl Iterator<Item = GeoPoint> {
        let boundary = self.0.boundary();
        let vertices: Vec<GeoPoint> = boundary.iter().map(|vertex| point_of(*vertex)).collect();
        vertices.into_iter()
    }

    /// The bounding box of the cell grown by the margin of its resolution (P14.4): one
    /// rectangle, or two across the antimeridian. Around a pole it spans every
    /// longitude.
    #[must_use]
    pub fn rects(self) -> Vec<CellRect> {
        let centre = self.centre();
        let margin_deg = (self.resolution().margin_m() / EARTH_RADIUS_M).to_degrees();
        let mut south = centre.lat();
        let mut north = centre.lat();
        let (mut west, mut east) = (0.0_f64, 0.0_f64);
        for vertex in self.vertices() {
            south = south.min(vertex.lat());
            north = north.max(vertex.lat());
            // Longitudes relative to the centre have no seam.
            let offset = wrap_degrees(vertex.lon() - centre.lon());
            west = west.min(offset);
            east = east.max(offset);
        }
        south -= margin_deg;
        north += margin_deg;
        let widest = south.abs().max(north.abs());
        if widest >= 89.9 || self.holds_a_pole() {
            let (south, north) = if centre.lat() > 0.0 { (south, 90.0) } else { (-90.0, north) };
            return vec![CellRect { south, west: -180.0, north, east: 180.0 }];
        }
        let margin_lon = margin_deg / widest.to_radians().cos();
        let west = centre.lon() + west - margin_lon;
        let east = centre.lon() + east + margin_lon;
        if west < -180.0 {
            vec![
                CellRect { south, west: west + 360.0, north, east: 180.0 },
                CellRect { south, west: -180.0, north, east },
            ]
        } else if east > 180.0 {
            vec![
                CellRect { south, west, north, east: 180.0 },
                CellRect { south, west: -180.0, north, east: east - 360.0 },
            ]
        } else {
            vec![CellRect { south, west, north, east }]
        }
    }

    fn holds_a_pole(self) -> bool {
        let pole = if self.centre().lat() > 0.0 { 90.0 } else { -90.0 };
        GeoPoint::from_degrees(pole, 0.0).is_ok_and(|pole| Self::at(pole, self.resolution()) == self)
    }

    /// What is known of the distance from `point` to somebody in this cell (P14.5).
    #[must_use]
    pub fn bounds(self, point: GeoPoint) -> Bounds {
        let reach = self.radius_m() + self.resolution().margin_m();
        let to_rect = self.rects().iter().map(|rect| rect.distance_m(point)).fold(f64::INFINITY, f64::min);
        Bounds::new(self.centre().distance_m(point), reach, to_rect)
    }

    /// Least distance between a place in this cell and one in `other`, metres, as far
    /// as the cells tell; both within their margins.
    #[must_use]
    pub fn least_distance_m(self, other: Self) -> f64 {
        let reach = |cell: Self| cell.radius_m() + cell.resolution().margin_m();
        (self.centre().distance_m(other.centre()) - reach(self) - reach(other)).max(0.0)
    }
}

impl Bounds {
    /// Bounds from the distance to the centre, the greatest distance of the place from
    /// the centre, and the distance to the rectangle, metres.
    #[must_use]
    pub fn new(centre_m: f64, reach_m: f64, rect_m: f64) -> Self {
        Self { lower_m: (centre_m - reach_m).max(rect_m).max(0.0), centre_m, upper_m: centre_m + reach_m }
    }
}

impl CellRect {
    /// Whether the rectangle holds the point.
    #[must_use]
    pub fn contains(&self, point: GeoPoint) -> bool {
        (self.south..=self.north).contains(&point.lat()) && (self.west..=self.east).contains(&point.lon())
    }

    /// Great-circle distance from a point to the rectangle, metres; zero inside.
    #[must_use]
    pub fn distance_m(&self, point: GeoPoint) -> f64 {
        let (lat, lon) = (point.lat(), point.lon());
        if (self.west..=self.east).contains(&lon) {
            let gap_deg = (self.south - lat).max(lat - self.north).max(0.0);
            return gap_deg.to_radians() * EARTH_RADIUS_M;
        }
        self.edge_distance_m(point, self.west).min(self.edge_distance_m(point, self.east))
    }

    /// Distance to the piece of the meridian `lon` that bounds the rectangle.
    fn edge_distance_m(&self, point: GeoPoint, lon: f64) -> f64 {
        let turn = wrap_degrees(point.lon() - lon).to_radians();
        let nearest = if turn.cos() > 0.0 {
            (point.lat().to_radians().tan() / turn.cos()).atan().to_degrees()
        } else {
            // Over the pole: the nearer end of the piece is the one nearer to it.
            point.lat().signum() * 90.0
        };
        let at = |lat: f64| {
            GeoPoint::from_degrees(lat.clamp(-90.0, 90.0), lon).map_or(0.0, |edge| point.distance_m(edge))
        };
        let inner = at(nearest.clamp(self.south, self.north));
        inner.min(at(self.south)).min(at(self.north))
    }
}

fn wrap_degrees(degrees: f64) -> f64 {
    (degrees + 180.0).rem_euclid(360.0) - 180.0
}

fn point_of(place: LatLng) -> GeoPoint {
    let wrapped = wrap_degrees(place.lng());
    let point: Result<GeoPoint, GeoError> = GeoPoint::from_degrees(place.lat().clamp(-90.0, 90.0), wrapped);
    // H3 yields finite degrees, clamped and wrapped above: there is nothing to refuse.
    point.unwrap_or_else(|_| unreachable!("a clamped place is on the globe"))
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<cell r{}>", self.resolution().get())
    }
}

impl fmt::Debug for CellRect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<rectangle>")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anywhere() -> impl Strategy<Value = GeoPoint> {
        prop_oneof![
            4 => (-90.0..=90.0_f64, -180.0..=180.0_f64),
            1 => (-90.0..=90.0_f64, prop_oneof![179.9..=180.0_f64, -180.0..=-179.9_f64]),
            1 => (prop_oneof![89.0..=90.0_f64, -90.0..=-89.0_f64], -180.0..=180.0_f64),
        ]
        .prop_map(|(lat, lon)| GeoPoint::from_degrees(lat, lon).unwrap())
    }

    proptest! {
        /// Wherever in its cell somebody is, the bounds hold and a rectangle contains it.
        #[test]
        fn bounds_hold(place in anywhere(), from in anywhere(), resolution in 7..=10_u8) {
            let cell = Cell::at(place, Resolution::new(resolution).unwrap());
            let bounds = cell.bounds(from);
            let truth = from.distance_m(place);
            prop_assert!(bounds.lower_m <= truth + 0.1, "{bounds:?} {truth}");
            prop_assert!(truth <= bounds.upper_m + 0.1, "{bounds:?} {truth}");
            prop_assert!(cell.rects().iter().any(|rect| rect.contains(place)));
        }

        /// The same near by, where the rectangle and not the circle decides.
        #[test]
        fn bounds_hold_near_by(place in anywhere(), dlat in -0.05..0.05_f64, dlon in -0.05..0.05_f64) {
            let lat = (place.lat() + dlat).clamp(-90.0, 90.0);
            let lon = wrap_degrees(place.lon() + dlon);
            let from = GeoPoint::from_degrees(lat, lon).unwrap();
            let cell = Cell::at(place, Resolution::PICKUP);
            let bounds = cell.bounds(from);
            let truth = from.distance_m(place);
            prop_assert!(bounds.lower_m <= truth + 0.1 && truth <= bounds.upper_m + 0.1, "{bounds:?} {truth}");
        }

        #[test]
        fn cells_round_trip(place in anywhere(), resolution in 5..=10_u8) {
            let cell = Cell::at(place, Resolution::new(resolution).unwrap());
            prop_assert_eq!(Cell::from_index(cell.index(), 5, 10).unwrap(), cell);
            prop_assert_eq!(Cell::at(cell.centre(), cell.resolution()), cell);
        }
    }

    #[test]
    fn rings_and_parents() {
        let place: GeoPoint = "40.7580,-73.9855".parse().unwrap();
        let cell = Cell::at(place, Resolution::TOPIC);
        assert_eq!(cell.disk(1).len(), 7);
        assert_eq!(cell.disk(2).len(), 19);
        assert_eq!(
            Cell::at(place, Resolution::PICKUP).parent(Resolution::TOPIC).resolution(),
            Resolution::TOPIC
        );
    }

    #[test]
    fn refused_cells_say_why() {
        assert_eq!(Cell::from_index(7, 7, 10).unwrap_err().to_string(), "0x7 is not an H3 cell");
        let place: GeoPoint = "0,0".parse().unwrap();
        let coarse = Cell::at(place, Resolution::PROVIDER).index();
        let refused = Cell::from_index(coarse, 7, 10).unwrap_err().to_string();
        assert_eq!(refused, "cell resolution 5: expected 7 to 10");
    }
}
