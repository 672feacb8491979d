//! A city of right angles in closed form.

use hailmesh_types::GeoPoint;

use super::snap::DEGREE_M;
use super::{Drive, Junction, MAX_LINK_KM, MAX_SPEED_KMH, MIN_SPEED_KMH, RoadsError};

const MAX_JUNCTIONS: u64 = 1 << 24;

/// Two-way streets (east–west) and avenues (north–south) at equal distances, one speed
/// for all streets and one for all avenues. Junctions are numbered from the south-west
/// corner, eastwards first. The fastest path goes along the street and then along the
/// avenue: all paths without a detour take the same time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lattice {
    south_west: GeoPoint,
    columns: u32,
    rows: u32,
    block_m: u32,
    /// Degrees from one junction to the next, north and east.
    step: (f64, f64),
    /// Milliseconds for a block on a street and on an avenue.
    block_ms: (u32, u32),
}

impl Lattice {
    /// A lattice of `columns` × `rows` junctions, blocks of `block_m` metres, streets and
    /// avenues with their speeds in km/h.
    ///
    /// # Errors
    /// When there are no junctions or more than 16,777,216, a block is not of 1 m to
    /// 100 km, a speed not of 1 to 300 km/h, or the city would not fit on the globe
    /// between the 80th parallels.
    pub fn new(
        south_west: GeoPoint,
        (columns, rows): (u32, u32),
        block_m: u32,
        (streets_kmh, avenues_kmh): (f64, f64),
    ) -> Result<Self, RoadsError> {
        let refuse = |what: String| Err(RoadsError::Lattice(what));
        if columns == 0 || rows == 0 || u64::from(columns) * u64::from(rows) > MAX_JUNCTIONS {
            return refuse(format!("{columns} x {rows} junctions: expected 1 to {MAX_JUNCTIONS} in all"));
        }
        if block_m == 0 || f64::from(block_m) > MAX_LINK_KM * 1_000.0 {
            return refuse(format!("blocks of {block_m} m: expected 1 to 100000"));
        }
        let north = f64::from(block_m) / DEGREE_M;
        // The width of a degree is that of the middle of the city.
        let middle = south_west.lat() + north * f64::from(rows) / 2.0;
        let east = north / middle.to_radians().cos().abs().max(1e-3);
        let top = south_west.lat() + north * f64::from(rows);
        let right = south_west.lon() + east * f64::from(columns);
        if south_west.lat() < -80.0 || top > 80.0 || right >= 180.0 {
            return refuse(format!(
                "its corners are at {:.4},{:.4} and {top:.4},{right:.4}: expected latitudes within 80 degrees \
                 and longitudes below 180",
                south_west.lat(),
                south_west.lon()
            ));
        }
        let lattice = Self { south_west, columns, rows, block_m, step: (north, east), block_ms: (1, 1) };
        lattice.with_speeds(streets_kmh, avenues_kmh)
    }

    /// Junctions of a street, from west to east, and of an avenue, from south to north.
    #[must_use]
    pub const fn size(&self) -> (u32, u32) {
        (self.columns, self.rows)
    }

    /// Length of a block, metres.
    #[must_use]
    pub const fn block_m(&self) -> u32 {
        self.block_m
    }

    pub(super) fn with_uniform_speed(&self, kmh: f64) -> Result<Self, RoadsError> {
        self.with_speeds(kmh, kmh)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 3.6e8")]
    fn with_speeds(self, streets_kmh: f64, avenues_kmh: f64) -> Result<Self, RoadsError> {
        let ms = |kmh: f64| match (MIN_SPEED_KMH..=MAX_SPEED_KMH).contains(&kmh) {
            true => Ok((f64::from(self.block_m) * 3_600.0 / kmh).round().max(1.0) as u32),
            false => Err(RoadsError::Speed(kmh)),
        };
        Ok(Self { block_ms: (ms(streets_kmh)?, ms(avenues_kmh)?), ..self })
    }

    pub(super) const fn len(&self) -> usize {
        self.columns as usize * self.rows as usize
    }

    pub(super) fn point(&self, junction: Junction) -> GeoPoint {
        let (column, row) = self.place(junction);
        self.point_at(f64::from(column), f64::from(row))
    }

    /// The position so many blocks east and north of the south-west corner.
    pub(crate) fn point_at(&self, column: f64, row: f64) -> GeoPoint {
        let lat = self.south_west.lat() + self.step.0 * row;
        let lon = self.south_west.lon() + self.step.1 * column;
        GeoPoint::from_degrees(lat, lon).expect("within the bounds that were checked")
    }

    /// Halves go to the lower number, as for other networks.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the city")]
    pub(super) fn snap(&self, point: GeoPoint) -> Junction {
        let nearest = |offset: f64, count: u32| (offset - 0.5).ceil().clamp(0.0, f64::from(count - 1)) as u32;
        let column = nearest((point.lon() - self.south_west.lon()) / self.step.1, self.columns);
        let row = nearest((point.lat() - self.south_west.lat()) / self.step.0, self.rows);
        self.junction(column, row)
    }

    pub(super) fn drive(&self, from: Junction, to: Junction) -> Drive {
        let ((from_x, from_y), (to_x, to_y)) = (self.place(from), self.place(to));
        let (x, y) = (from_x.abs_diff(to_x), from_y.abs_diff(to_y));
        let ms = x.saturating_mul(self.block_ms.0).saturating_add(y.saturating_mul(self.block_ms.1));
        Drive { ms, m: (x + y).saturating_mul(self.block_m) }
    }

    pub(super) fn timed_path(&self, from: Junction, to: Junction) -> Vec<(Junction, u32)> {
        let ((from_x, from_y), (to_x, to_y)) = (self.place(from), self.place(to));
        let (x, y) = (from_x.abs_diff(to_x), from_y.abs_diff(to_y));
        let step = |blocks: u32| {
            let (column, row) =
                (toward(from_x, to_x, blocks), toward(from_y, to_y, blocks.saturating_sub(x)));
            let here = self.junction(column, row);
            (here, self.drive(from, here).ms)
        };
        (0..=x + y).map(step).collect()
    }

    pub(super) fn junction_after(&self, from: Junction, to: Junction, ms: u32) -> Junction {
        let ((from_x, from_y), (to_x, to_y)) = (self.place(from), self.place(to));
        let x = from_x.abs_diff(to_x);
        let left = ms.saturating_sub(x.saturating_mul(self.block_ms.0));
        let column = toward(from_x, to_x, ms / self.block_ms.0);
        self.junction(column, toward(from_y, to_y, left / self.block_ms.1))
    }

    pub(super) fn point_after(&self, from: Junction, to: Junction, ms: u32) -> GeoPoint {
        let ((from_x, from_y), (to_x, to_y)) = (self.place(from), self.place(to));
        let street_ms = from_x.abs_diff(to_x).saturating_mul(self.block_ms.0);
        let part = |from: u32, to: u32, ms: u32, block_ms: u32| {
            let blocks = (f64::from(ms) / f64::from(block_ms)).min(f64::from(from.abs_diff(to)));
            f64::from(from) + if to < from { -blocks } else { blocks }
        };
        let column = part(from_x, to_x, ms, self.block_ms.0);
        self.point_at(column, part(from_y, to_y, ms.saturating_sub(street_ms), self.block_ms.1))
    }

    const fn place(&self, junction: Junction) -> (u32, u32) {
        assert!(junction.index() < self.len(), "not a junction of this lattice");
        (junction.0 % self.columns, junction.0 / self.columns)
    }

    const fn junction(&self, column: u32, row: u32) -> Junction {
        Junction(row * self.columns + column)
    }
}

/// So many steps from one number towards another, and no farther.
fn toward(from: u32, to: u32, steps: u32) -> u32 {
    let steps = steps.min(from.abs_diff(to));
    if to < from { from - steps } else { from + steps }
}
