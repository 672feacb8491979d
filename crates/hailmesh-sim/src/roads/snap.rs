//! The junction nearest to a position.

use hailmesh_types::GeoPoint;
use rstar::RTree;
use rstar::primitives::GeomWithData;

use super::Junction;

/// Metres of a degree of latitude on the sphere that [`GeoPoint::distance_m`] uses.
pub(super) const DEGREE_M: f64 = 6_371_008.8 * std::f64::consts::PI / 180.0;

/// An index over the junctions of a network on a plane, in metres.
#[derive(Debug)]
pub(super) struct Snap {
    plane: Plane,
    tree: RTree<GeomWithData<[f64; 2], Junction>>,
}

impl Snap {
    pub(super) fn new(points: &[GeoPoint]) -> Self {
        let plane = Plane::around(points);
        let placed = points
            .iter()
            .zip(0..)
            .map(|(&point, number)| GeomWithData::new(plane.place(point), Junction(number)));
        Self { plane, tree: RTree::bulk_load(placed.collect()) }
    }

    pub(super) fn nearest(&self, point: GeoPoint) -> Junction {
        let nearest = self.tree.nearest_neighbors(&self.plane.place(point));
        nearest.iter().map(|found| found.data).min().expect("a network has a junction")
    }
}

/// A plane that touches the globe: metres east and north.
#[derive(Debug, Clone, Copy)]
struct Plane {
    lat: f64,
    lon: f64,
    east: f64,
}

impl Plane {
    /// The plane in the middle of some points, at least one.
    fn around(points: &[GeoPoint]) -> Self {
        let middle = |of: fn(GeoPoint) -> f64| {
            let (low, high) = points
                .iter()
                .map(|&point| of(point))
                .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
            f64::midpoint(low, high)
        };
        let (lat, lon) = (middle(GeoPoint::lat), middle(GeoPoint::lon));
        Self { lat, lon, east: lat.to_radians().cos() }
    }

    fn place(self, point: GeoPoint) -> [f64; 2] {
        [(point.lon() - self.lon) * self.east * DEGREE_M, (point.lat() - self.lat) * DEGREE_M]
    }
}
