//! How long a car takes to a pickup, as far as anybody may know.

use hailmesh_types::{Cell, Duration, GeoPoint};

/// Roads are longer than great circles: the usual detour factor of a city.
pub(crate) const DETOUR: f64 = 1.3;
/// The longest time that can be told (P4.6): anything longer counts as this.
pub const DRIVE_MAX: Duration = Duration::from_secs(7_200);

/// An end of a drive, as exactly as the node that asks knows it.
///
/// Others are known by the cell that they show. Only its own place a node knows exactly,
/// and only a rider may decide by it: what a driver decides by itself is a function of
/// its published cell (P6.20).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// Somewhere in this cell.
    Cell(Cell),
    /// Here.
    Point(GeoPoint),
}

impl Spot {
    /// The place, or the centre of the cell.
    #[must_use]
    pub fn centre(self) -> GeoPoint {
        match self {
            Self::Cell(cell) => cell.centre(),
            Self::Point(point) => point,
        }
    }
}

/// Expected driving times. A map of roads is public knowledge: a node may plug in a
/// router, and two nodes with different ones still understand each other, since times
/// only rank and, rounded up to 30 s, estimate (P14.6).
///
/// An implementation is a pure function: the same ends give the same time in every run.
pub trait TravelTime: Send + Sync {
    /// The time that a car at `from` is expected to take to `to`.
    fn drive(&self, from: Spot, to: Spot) -> Duration;
}

/// The default: 1.3 times the great circle between centres at one mean speed (P14.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StraightLine {
    /// Mean speed, km/h, at least 1.
    pub speed_kmh: u16,
}

impl StraightLine {
    /// The time over a great-circle distance in metres, at most two hours.
    #[must_use]
    pub fn over(self, distance_m: f64) -> Duration {
        let metres_per_ms = f64::from(self.speed_kmh.max(1)) / 3_600.0;
        let ms = (DETOUR * distance_m / metres_per_ms).ceil().clamp(0.0, f64::from(DRIVE_MAX.as_millis()));
        // Between 0 and two hours, and a whole number.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 0 to 7,200,000"
        )]
        Duration::from_millis(ms as u32)
    }
}

impl TravelTime for StraightLine {
    fn drive(&self, from: Spot, to: Spot) -> Duration {
        self.over(from.centre().distance_m(to.centre()))
    }
}

#[cfg(test)]
mod tests {
    use hailmesh_types::Resolution;

    use super::*;

    #[test]
    fn a_kilometre_of_air_is_a_mile_of_streets() {
        let line = StraightLine { speed_kmh: 20 };
        assert_eq!(line.over(0.0), Duration::ZERO);
        assert_eq!(line.over(1_000.0), Duration::from_secs(234));
        assert_eq!(line.over(2e7), DRIVE_MAX);
    }

    #[test]
    fn a_cell_stands_for_its_centre() {
        let line = StraightLine { speed_kmh: 20 };
        let point: GeoPoint = "40.7580,-73.9855".parse().unwrap();
        let cell = Cell::at(point, Resolution::PICKUP);
        assert_eq!(line.drive(Spot::Cell(cell), Spot::Cell(cell)), Duration::ZERO);
        assert_eq!(
            line.drive(Spot::Cell(cell), Spot::Point(point)),
            line.over(cell.centre().distance_m(point))
        );
    }
}
