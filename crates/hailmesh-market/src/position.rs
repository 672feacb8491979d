//! Where a node says it is, and which topics it follows.
//!
//! Both change reluctantly: a car on the border of two cells must not publish at every
//! turn (P14.3), and a topic that was left and joined again costs a mesh its peace
//! (P13.2).

use std::collections::BTreeMap;

use hailmesh_types::{Cell, Duration, GeoPoint, Resolution, Timestamp};

/// How long a position may be outside its published cell (P14.3).
const DWELL: Duration = Duration::from_secs(60);
/// How long a topic is kept after the ring has moved on (P13.2).
const LINGER: Duration = Duration::from_secs(120);
/// How far around its cell a node listens in a crowd, metres.
const NEAR_M: f64 = 600.0;
/// Mean radius of the Earth, metres, as in `hailmesh-types`.
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// The cell that a node publishes instead of its position, with the hysteresis of
/// P14.3: it changes when the position is further than the margin of the resolution
/// outside the cell, or has been outside for 60 s. So whoever knows the cell knows the
/// bounds of [`Cell::bounds`] and nothing more.
#[derive(Debug, Clone)]
pub struct PublishedPosition {
    resolution: Resolution,
    cell: Option<Cell>,
    last: Option<GeoPoint>,
    outside_since: Option<Timestamp>,
}

impl PublishedPosition {
    /// No position yet; cells of this resolution, 7 to 10.
    #[must_use]
    pub const fn new(resolution: Resolution) -> Self {
        Self { resolution, cell: None, last: None, outside_since: None }
    }

    /// The published cell, once there is a position.
    #[must_use]
    pub const fn cell(&self) -> Option<Cell> {
        self.cell
    }

    /// The resolution that is published.
    #[must_use]
    pub const fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// The true position as last told.
    #[must_use]
    pub const fn position(&self) -> Option<GeoPoint> {
        self.last
    }

    /// The node is at `point` now. Returns the new cell when the published one changes.
    pub fn update(&mut self, now: Timestamp, point: GeoPoint) -> Option<Cell> {
        self.last = Some(point);
        let here = Cell::at(point, self.resolution);
        let Some(published) = self.cell else {
            self.cell = Some(here);
            return Some(here);
        };
        if here == published {
            self.outside_since = None;
            return None;
        }
        let since = *self.outside_since.get_or_insert(now);
        if now >= since + DWELL || metres_outside(published, point) > self.resolution.margin_m() {
            self.outside_since = None;
            self.cell = Some(here);
            return self.cell;
        }
        None
    }

    /// Time has passed: a position that has been outside for 60 s moves the cell.
    pub fn tick(&mut self, now: Timestamp) -> Option<Cell> {
        if self.next_deadline()? <= now { self.update(now, self.last?) } else { None }
    }

    /// When [`PublishedPosition::tick`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.outside_since.map(|since| since + DWELL)
    }
}

/// How far `point` is from the nearest place in `cell`, metres; only for points that
/// are not inside.
///
/// In the gnomonic plane around the point the edges of the cell, which are arcs of
/// great circles, are straight, and the nearest one stays the nearest.
fn metres_outside(cell: Cell, point: GeoPoint) -> f64 {
    let up = unit(point);
    let (sin_lon, cos_lon) = point.lon().to_radians().sin_cos();
    let east = [-sin_lon, cos_lon, 0.0];
    let north = [
        up[1] * east[2] - up[2] * east[1],
        up[2] * east[0] - up[0] * east[2],
        up[0] * east[1] - up[1] * east[0],
    ];
    let mut corners: Vec<[f64; 2]> = Vec::with_capacity(10);
    for vertex in cell.vertices() {
        let vertex = unit(vertex);
        let height = dot(vertex, up);
        if height < 0.1 {
            return f64::INFINITY; // a quarter of the globe away
        }
        corners.push([dot(vertex, east) / height, dot(vertex, north) / height]);
    }
    let nearest = (0..corners.len())
        .map(|i| distance_to_segment(corners[i], corners[(i + 1) % corners.len()]))
        .fold(f64::INFINITY, f64::min);
    nearest.atan() * EARTH_RADIUS_M
}

/// Distance from the origin to the segment from `a` to `b`.
fn distance_to_segment(a: [f64; 2], b: [f64; 2]) -> f64 {
    let along = [b[0] - a[0], b[1] - a[1]];
    let length_2 = along[0] * along[0] + along[1] * along[1];
    let share = if length_2 > 0.0 { -(a[0] * along[0] + a[1] * along[1]) / length_2 } else { 0.0 };
    let share = share.clamp(0.0, 1.0);
    (a[0] + share * along[0]).hypot(a[1] + share * along[1])
}

fn unit(point: GeoPoint) -> [f64; 3] {
    let (sin_lat, cos_lat) = point.lat().to_radians().sin_cos();
    let (sin_lon, cos_lon) = point.lon().to_radians().sin_cos();
    [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Topics to join and to leave, each as its resolution-7 cell, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RingChange {
    /// Subscribe to these.
    pub join: Vec<Cell>,
    /// Unsubscribe from these.
    pub leave: Vec<Cell>,
}

impl RingChange {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.join.is_empty() && self.leave.is_empty()
    }
}

/// How far around it a node listens (P13.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// Two rings, 19 topics: hardly anybody is there.
    Wide,
    /// One ring, 7 topics.
    Usual,
    /// The topics within 600 m of the own cell, 1 to 5: so many are there that
    /// nobody farther away will be a partner, and each of them is heard by all.
    Near,
    /// The topic of the own cell.
    Home,
}

/// Topics of two rings.
const WIDE: usize = 19;

/// The offer topics of one side that a node follows, around it (P13.2).
#[derive(Debug, Clone)]
pub struct TopicRing {
    /// Joined topics, each with the time to leave it once the ring has moved on.
    joined: BTreeMap<Cell, Option<Timestamp>>,
    limit: usize,
    width: Width,
}

impl TopicRing {
    /// No topics yet, and never more than `limit`, which is at least the 19 of two rings.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { joined: BTreeMap::new(), limit: limit.max(WIDE), width: Width::Wide }
    }

    /// The joined topics as resolution-7 cells, in order.
    pub fn joined(&self) -> impl Iterator<Item = Cell> + '_ {
        self.joined.keys().copied()
    }

    /// How far around it listens now.
    #[must_use]
    pub const fn width(&self) -> Width {
        self.width
    }

    /// How many topics are joined.
    #[must_use]
    pub fn len(&self) -> usize {
        self.joined.len()
    }

    /// Whether none is joined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }

    /// The node is in `cell` (of any resolution from 7 on) and listens so far around. To
    /// be called at every change and at [`TopicRing::next_deadline`].
    pub fn follow(&mut self, now: Timestamp, cell: Cell, width: Width) -> RingChange {
        let home = cell.parent(Resolution::TOPIC);
        let mut wanted = home.disk(match width {
            Width::Wide => 2,
            Width::Usual | Width::Near => 1,
            Width::Home => 0,
        });
        if width == Width::Near {
            wanted.retain(|topic| *topic == home || cell.least_distance_m(*topic) <= NEAR_M);
        }
        let mut change = RingChange::default();
        self.width = width;
        // What the node drives past it may come back to, and a mesh does not take it back
        // for a minute (P13.2). What it no longer cares for where it is goes at once.
        let around = home.disk(2);
        for (joined, leave_at) in &mut self.joined {
            if wanted.binary_search(joined).is_ok() {
                *leave_at = None;
            } else if around.binary_search(joined).is_ok() && leave_at.is_none() {
                *leave_at = Some(now);
            } else {
                leave_at.get_or_insert(now + LINGER);
            }
        }
        for cell in wanted {
            self.joined.entry(cell).or_insert_with(|| {
                change.join.push(cell);
                None
            });
        }
        self.leave_overdue(now, &mut change);
        self.leave_surplus(&mut change);
        change.leave.sort_unstable();
        change
    }

    /// Leaves every topic at once, for a node that does not need to hear anything for a
    /// while; [`TopicRing::follow`] joins again.
    pub fn leave_all(&mut self) -> RingChange {
        RingChange { join: Vec::new(), leave: std::mem::take(&mut self.joined).into_keys().collect() }
    }

    /// When [`TopicRing::follow`] has a topic to leave.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.joined.values().filter_map(|leave_at| *leave_at).min()
    }

    fn leave_overdue(&mut self, now: Timestamp, change: &mut RingChange) {
        self.joined.retain(|cell, leave_at| {
            let overdue = leave_at.is_some_and(|at| at <= now);
            if overdue {
                change.leave.push(*cell);
            }
            !overdue
        });
    }

    /// A fast node leaves what it passed longest ago rather than exceed its limit.
    fn leave_surplus(&mut self, change: &mut RingChange) {
        while self.joined.len() > self.limit {
            let passed = self.joined.iter().filter_map(|(cell, leave_at)| leave_at.map(|at| (at, *cell)));
            let Some((_, oldest)) = passed.min() else { return };
            self.joined.remove(&oldest);
            change.leave.push(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).unwrap()
    }

    fn place(lat: f64, lon: f64) -> GeoPoint {
        let lon = (lon + 180.0).rem_euclid(360.0) - 180.0;
        GeoPoint::from_degrees(lat.clamp(-90.0, 90.0), lon).unwrap()
    }

    proptest! {
        /// A random walk: the bounds of the published cell always contain the truth,
        /// and nothing is published while the position stays inside the margin.
        #[test]
        fn the_published_cell_never_lies(
            lat in prop_oneof![-85.0..85.0_f64, 89.9..90.0_f64],
            lon in prop_oneof![-180.0..180.0_f64, 179.99..180.0_f64],
            resolution in 7..=10_u8,
            steps in prop::collection::vec((-0.002..0.002_f64, -0.002..0.002_f64, 0..20_000_u32), 1..80),
            asked_from in (-0.1..0.1_f64, -0.1..0.1_f64),
        ) {
            let mut published = PublishedPosition::new(Resolution::new(resolution).unwrap());
            let (mut lat, mut lon, mut now) = (lat, lon, start());
            let asked_from = place(lat + asked_from.0, lon + asked_from.1);
            for (dlat, dlon, pause) in steps {
                lat = (lat + dlat).clamp(-90.0, 90.0);
                lon += dlon / lat.to_radians().cos().max(0.01);
                now = now + Duration::from_millis(pause);
                let truth = place(lat, lon);
                let before = published.cell();
                let change = published.update(now, truth);
                let cell = published.cell().unwrap();
                prop_assert_eq!(change.is_some(), before != Some(cell));
                let bounds = cell.bounds(asked_from);
                let distance = asked_from.distance_m(truth);
                prop_assert!(bounds.lower_m <= distance + 0.5 && distance <= bounds.upper_m + 0.5,
                    "{:?} {}", bounds, distance);
                prop_assert!(cell.rects().iter().any(|rect| rect.contains(truth)));
            }
        }

        /// The distance to the cell is right to a metre: a sweep over its places agrees.
        #[test]
        fn outside_is_measured_to_the_edge(
            lat in -70.0..70.0_f64, lon in -180.0..180.0_f64, turn in 0.0..360.0_f64, far in 1.0..3.0_f64,
        ) {
            let cell = Cell::at(place(lat, lon), Resolution::PICKUP);
            let centre = cell.centre();
            let (sin, cos) = turn.to_radians().sin_cos();
            let reach = far * cell.radius_m() / 111_195.0;
            let point = place(centre.lat() + reach * cos, centre.lon() + reach * sin / centre.lat().to_radians().cos());
            prop_assume!(Cell::at(point, Resolution::PICKUP) != cell);
            let corners: Vec<GeoPoint> = cell.vertices().collect();
            let mut swept = f64::INFINITY;
            for (i, a) in corners.iter().enumerate() {
                let b = corners[(i + 1) % corners.len()];
                for share in 0..=200 {
                    let share = f64::from(share) / 200.0;
                    let east = (b.lon() - a.lon() + 180.0).rem_euclid(360.0) - 180.0;
                    let edge = place(a.lat() + share * (b.lat() - a.lat()), a.lon() + share * east);
                    swept = swept.min(edge.distance_m(point));
                }
            }
            let measured = metres_outside(cell, point);
            prop_assert!((measured - swept).abs() < 1.0, "{} {}", measured, swept);
        }
    }

    #[test]
    fn it_moves_beyond_the_margin_or_after_a_minute() {
        let centre = Cell::at(place(40.758, -73.9855), Resolution::PICKUP).centre();
        let mut published = PublishedPosition::new(Resolution::PICKUP);
        let first = published.update(start(), centre).unwrap();
        // Southwards until just outside, within the margin of 100 m.
        let mut point = centre;
        while Cell::at(point, Resolution::PICKUP) == first {
            point = place(point.lat() - 0.0001, point.lon());
        }
        assert_eq!(published.update(start(), point), None);
        assert_eq!(published.next_deadline(), Some(start() + DWELL));
        assert_eq!(published.tick(start() + Duration::from_secs(59)), None);
        // A step back inside forgets the minute.
        assert_eq!(published.update(start() + Duration::from_secs(59), centre), None);
        assert_eq!(published.next_deadline(), None);
        assert_eq!(published.update(start() + Duration::from_secs(60), point), None);
        let moved = published.tick(start() + Duration::from_secs(120)).unwrap();
        assert_eq!(moved, Cell::at(point, Resolution::PICKUP));
        // Far away: at once.
        assert!(published.update(start() + Duration::from_secs(121), place(40.80, -73.9855)).is_some());
    }

    #[test]
    fn the_ring_follows_widens_and_lingers() {
        let home = Cell::at(place(40.758, -73.9855), Resolution::PICKUP);
        let mut ring = TopicRing::new(64);
        assert_eq!(ring.follow(start(), home, Width::Usual).join.len(), 7);
        assert_eq!(ring.follow(start(), home, Width::Wide).join.len(), 12);
        assert_eq!(ring.len(), 19);
        assert!(ring.follow(start(), home, Width::Wide).is_empty());
        assert_eq!(ring.follow(start(), home, Width::Usual).leave.len(), 12, "what is not needed here goes");
        // What it drives away from lingers.
        let away = Cell::at(place(40.858, -73.9855), Resolution::PICKUP);
        assert_eq!(ring.follow(start(), away, Width::Usual).join.len(), 7);
        assert_eq!(ring.len(), 14);
        let leave_at = ring.next_deadline().unwrap();
        assert_eq!(leave_at, start() + LINGER);
        assert_eq!(ring.follow(leave_at, away, Width::Usual).leave.len(), 7);
        assert_eq!(ring.next_deadline(), None);
    }

    #[test]
    fn in_a_crowd_only_what_is_near_is_heard() {
        let home = Cell::at(place(40.758, -73.9855), Resolution::PICKUP);
        let mut ring = TopicRing::new(64);
        let near = ring.follow(start(), home, Width::Near).join;
        assert!((1..=5).contains(&near.len()), "{near:?}");
        assert!(near.contains(&home.parent(Resolution::TOPIC)));
        assert_eq!(ring.follow(start(), home, Width::Usual).join.len(), 7 - near.len());
    }

    #[test]
    fn a_fast_node_stays_below_the_limit() {
        let mut ring = TopicRing::new(64);
        let mut joined = std::collections::BTreeSet::new();
        for step in 0..100_u32 {
            let cell = Cell::at(place(40.0 + f64::from(step) * 0.02, -73.9855), Resolution::PICKUP);
            let change = ring.follow(start() + Duration::from_secs(step), cell, Width::Wide);
            for cell in change.join {
                assert!(joined.insert(cell));
            }
            for cell in change.leave {
                assert!(joined.remove(&cell));
            }
            assert!(ring.len() <= 64);
            assert!(joined.iter().copied().eq(ring.joined()));
            let around = cell.parent(Resolution::TOPIC);
            assert!(around.disk(2).iter().all(|cell| joined.contains(cell)));
        }
    }
}
