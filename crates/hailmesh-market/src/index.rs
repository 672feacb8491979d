//! The spatial index: an R-tree (rstar) over the places that offers show.
//!
//! An offer shows a cell, and everybody in one cell has the same rectangle, so the tree
//! holds one leaf per *occupied cell* and the cell holds its offers in the order of
//! their authors. A city of 100,000 cars is some thousand leaves; a car that moves
//! touches the tree only when it empties or opens a cell. A node that hears much and asks
//! nothing, as a driver among drivers does, has no tree at all: it is built from the
//! occupied cells for the first question, kept up as long as questions come, and dropped
//! when keeping it up has cost more than building it again.
//!
//! P14.4 asks for the cell's bounding box grown by the margin. That rectangle, in two
//! parts across the antimeridian, is kept with the cell and sharpens the bounds of
//! P14.5. What the tree compares is its equivalent in space: the cube, metres from the
//! centre of the Earth, around everywhere that somebody of this cell can be. Straight
//! distance through the Earth is never longer than the great circle, so the tree's
//! distances are true lower bounds everywhere; a flat map needs an origin, a rebuild
//! when the node moves far, and exceptions at 180° and at the poles, and is wrong in
//! between. f32 is good for half a metre here; the great circle is computed in f64 for
//! the shortlist only.

use std::cell::RefCell;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering as Memory};
use std::sync::{Arc, OnceLock};

use hailmesh_types::{Bounds, Cell, CellRect, GeoPoint};
use rstar::iterators::NearestNeighborDistance2Iterator;
use rstar::{AABB, Envelope as _, PointDistance, RTree, RTreeObject};
use smallvec::SmallVec;

use crate::book::EntryId;

/// Mean radius of the Earth, metres, as in `hailmesh-types`.
const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// What rounding to f32 may cost at the surface, metres.
const ROUNDING_M: f64 = 1.0;
/// So many leaves at least are changed before a tree that nobody asks is dropped.
const UNASKED_MIN: usize = 32;
/// Cells without offers whose geometry is kept, apart from as many as are occupied.
const VACANT_MAX: usize = 1_024;

/// The 32 bytes of an author's key: what tables are ordered by.
pub type Author = [u8; 32];

/// Somebody in a cell: the beginning of its key, which orders tenants, and its row in
/// the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenant {
    order: u64,
    entry: EntryId,
}

impl Tenant {
    /// The author of this row.
    #[must_use]
    pub const fn new(author: &Author, entry: EntryId) -> Self {
        let (first, _) = author.split_at(8);
        let order = match first.first_chunk() {
            Some(first) => u64::from_be_bytes(*first),
            None => 0,
        };
        Self { order, entry }
    }

    /// Its row.
    #[must_use]
    pub const fn entry(self) -> EntryId {
        self.entry
    }
}

/// Where somebody who shows a certain cell can be.
#[derive(Clone, PartialEq)]
struct Place {
    centre: GeoPoint,
    reach_m: f64,
    rect: CellRect,
    /// The part beyond the antimeridian.
    second_rect: Option<CellRect>,
    leaf: Leaf,
}

thread_local! {
    /// The geometry of cells that somebody uses or has used. It is a function of the cell,
    /// costs microseconds and takes more room than an offer: a car comes back to a cell that
    /// it has left, and every node of a simulation knows the same cells.
    static PLACES: RefCell<Places> = const { RefCell::new(Places { known: BTreeMap::new(), prune_at: 0 }) };
}

/// See [`PLACES`].
struct Places {
    known: BTreeMap<Cell, Arc<Place>>,
    /// When so many are known those that nobody uses any more are dropped: a stranger who
    /// roams must not fill the table.
    prune_at: usize,
}

impl Place {
    /// The geometry of a cell, which others may have computed already.
    fn shared(cell: Cell) -> Arc<Self> {
        PLACES.with_borrow_mut(|places| {
            if let Some(place) = places.known.get(&cell) {
                return Arc::clone(place);
            }
            if places.known.len() >= places.prune_at {
                places.known.retain(|_, place| Arc::strong_count(place) > 1);
                places.prune_at = 2 * places.known.len() + VACANT_MAX;
            }
            let place = Arc::new(Self::of(cell));
            places.known.insert(cell, Arc::clone(&place));
            place
        })
    }

    fn of(cell: Cell) -> Self {
        let centre = cell.centre();
        let reach_m = cell.radius_m() + cell.resolution().margin_m();
        let mut rects = cell.rects().into_iter();
        // A cell has one rectangle or two.
        let rect = rects.next().unwrap_or(CellRect { south: -90.0, west: -180.0, north: 90.0, east: 180.0 });
        let (low, high) = cube(centre, reach_m + ROUNDING_M);
        Self { centre, reach_m, rect, second_rect: rects.next(), leaf: Leaf { low, high, cell } }
    }

    /// As [`Cell::bounds`], from what is already known of the cell.
    fn bounds(&self, point: GeoPoint, centre_m: f64) -> Bounds {
        let second_m = self.second_rect.map_or(f64::INFINITY, |rect| rect.distance_m(point));
        Bounds::new(centre_m, self.reach_m, self.rect.distance_m(point).min(second_m))
    }
}

/// A leaf of the tree.
#[derive(Clone, Copy, PartialEq)]
struct Leaf {
    low: [f32; 3],
    high: [f32; 3],
    cell: Cell,
}

impl RTreeObject for Leaf {
    type Envelope = AABB<[f32; 3]>;

    fn envelope(&self) -> Self::Envelope {
        AABB::from_corners(self.low, self.high)
    }
}

impl PointDistance for Leaf {
    fn distance_2(&self, point: &[f32; 3]) -> f32 {
        let gap = |axis: usize| (self.low[axis] - point[axis]).max(point[axis] - self.high[axis]).max(0.0);
        let gaps = [gap(0), gap(1), gap(2)];
        gaps[0] * gaps[0] + gaps[1] * gaps[1] + gaps[2] * gaps[2]
    }
}

/// The point in metres from the centre of the Earth.
fn in_space(point: GeoPoint) -> [f64; 3] {
    let (sin_lat, cos_lat) = point.lat().to_radians().sin_cos();
    let (sin_lon, cos_lon) = point.lon().to_radians().sin_cos();
    [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat].map(|axis| axis * EARTH_RADIUS_M)
}

#[expect(clippy::cast_possible_truncation, reason = "half a metre, which ROUNDING_M allows for")]
fn rounded(metres: [f64; 3]) -> [f32; 3] {
    metres.map(|axis| axis as f32)
}

fn cube(centre: GeoPoint, half_m: f64) -> ([f32; 3], [f32; 3]) {
    let at = in_space(centre);
    (rounded(at.map(|axis| axis - half_m)), rounded(at.map(|axis| axis + half_m)))
}

/// One cell and who is in it: somebody.
#[derive(Clone)]
struct Tenancy {
    place: Arc<Place>,
    /// In the order of their authors; most cells have one or two.
    tenants: SmallVec<[Tenant; 1]>,
}

/// Offers by where they are. Nothing is allocated until the first one.
pub struct SpatialIndex {
    cells: BTreeMap<Cell, Tenancy>,
    /// One leaf per occupied cell, while there are questions.
    tree: OnceLock<RTree<Leaf>>,
    /// Leaves put in and taken out since the last question.
    unasked: AtomicUsize,
    len: usize,
}

impl Clone for SpatialIndex {
    fn clone(&self) -> Self {
        Self { cells: self.cells.clone(), len: self.len, ..Self::new() }
    }
}

impl Default for SpatialIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl SpatialIndex {
    /// An empty index.
    #[must_use]
    pub const fn new() -> Self {
        let unasked = AtomicUsize::new(0);
        Self { cells: BTreeMap::new(), tree: OnceLock::new(), unasked, len: 0 }
    }

    /// How many offers are indexed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is indexed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many cells hold at least one offer: the leaves of the tree.
    #[must_use]
    pub fn occupied_cells(&self) -> usize {
        self.cells.len()
    }

    /// Puts somebody into `cell`. False when it was there.
    pub fn insert(&mut self, cell: Cell, tenant: Tenant) -> bool {
        match self.cells.entry(cell) {
            Entry::Occupied(mut tenancy) => {
                let tenants = &mut tenancy.get_mut().tenants;
                let Err(position) = tenants.binary_search(&tenant) else { return false };
                tenants.insert(position, tenant);
            }
            Entry::Vacant(vacant) => {
                let place = Place::shared(cell);
                let leaf = place.leaf;
                vacant.insert(Tenancy { place, tenants: SmallVec::from([tenant]) });
                self.keep_up(|tree| tree.insert(leaf));
            }
        }
        self.len += 1;
        true
    }

    /// Takes somebody out of `cell`. False when it was not there.
    pub fn remove(&mut self, cell: Cell, tenant: Tenant) -> bool {
        let Some(tenancy) = self.cells.get_mut(&cell) else { return false };
        let Ok(position) = tenancy.tenants.binary_search(&tenant) else { return false };
        tenancy.tenants.remove(position);
        self.len -= 1;
        if tenancy.tenants.is_empty() {
            let leaf = tenancy.place.leaf;
            self.cells.remove(&cell);
            self.keep_up(|tree| {
                tree.remove(&leaf);
            });
        }
        true
    }

    /// Changes the tree, if there is one and somebody has asked lately.
    fn keep_up(&mut self, change: impl FnOnce(&mut RTree<Leaf>)) {
        let Some(tree) = self.tree.get_mut() else { return };
        let unasked = self.unasked.get_mut();
        *unasked += 1;
        if *unasked > UNASKED_MIN.max(self.cells.len() / 4) {
            self.tree = OnceLock::new();
        } else {
            change(tree);
        }
    }

    /// The tree, for a question.
    fn tree(&self) -> &RTree<Leaf> {
        self.unasked.store(0, Memory::Relaxed);
        self.tree
            .get_or_init(|| RTree::bulk_load(self.cells.values().map(|tenancy| tenancy.place.leaf).collect()))
    }

    /// Every offer with the bounds of its distance from `point`, nearest centre first,
    /// then in the order of authors. Lazy: what is not asked for is not computed.
    #[must_use]
    pub fn nearest(&self, point: GeoPoint) -> Nearest<'_> {
        let at = rounded(in_space(point));
        let mut leaves = (!self.is_empty()).then(|| self.tree().nearest_neighbor_iter_with_distance_2(at));
        let next_leaf =
            leaves.as_mut().and_then(Iterator::next).map(|(leaf, d2)| (leaf.cell, at_least_m(d2)));
        Nearest { index: self, point, leaves, next_leaf, pending: BinaryHeap::new(), current: Vec::new() }
    }

    /// Every offer whose author can be within `radius_m` of `point` (lower bound at most
    /// the radius), in the order of cells and authors.
    pub fn within(&self, point: GeoPoint, radius_m: f64) -> impl Iterator<Item = (EntryId, Bounds)> {
        let (low, high) = cube(point, radius_m.min(2.0 * EARTH_RADIUS_M) + ROUNDING_M);
        let mut cells: Vec<(Cell, Bounds)> = Vec::new();
        if !self.is_empty() {
            for leaf in self.tree().locate_in_envelope_intersecting(AABB::from_corners(low, high)) {
                let Some(tenancy) = self.cells.get(&leaf.cell) else { continue };
                let place = &tenancy.place;
                let bounds = place.bounds(point, place.centre.distance_m(point));
                if bounds.lower_m <= radius_m {
                    cells.push((leaf.cell, bounds));
                }
            }
        }
        cells.sort_unstable_by_key(|(cell, _)| *cell);
        cells.into_iter().flat_map(|(cell, bounds)| {
            let tenants = self.cells.get(&cell).map_or(&[][..], |tenancy| &tenancy.tenants);
            tenants.iter().map(move |tenant| (tenant.entry, bounds))
        })
    }

    /// How many offers [`SpatialIndex::within`] would yield, mostly without looking at
    /// them: a cell whose centre is inside counts whole, and only cells on the rim need
    /// their rectangle.
    #[must_use]
    pub fn count_within(&self, point: GeoPoint, radius_m: f64) -> usize {
        let (low, high) = cube(point, radius_m.min(2.0 * EARTH_RADIUS_M) + ROUNDING_M);
        let around = AABB::from_corners(low, high);
        let is_within = |tenancy: &&Tenancy| {
            let place = &tenancy.place;
            let centre_m = place.centre.distance_m(point);
            let is_clear = centre_m <= radius_m || centre_m - place.reach_m > radius_m;
            if is_clear { centre_m <= radius_m } else { place.bounds(point, centre_m).lower_m <= radius_m }
        };
        let count = |tenancy: &Tenancy| tenancy.tenants.len();
        match self.tree.get() {
            Some(tree) => {
                let leaves = tree.locate_in_envelope_intersecting(around);
                let tenancies = leaves.filter_map(|leaf| self.cells.get(&leaf.cell));
                tenancies.filter(is_within).map(count).sum()
            }
            // A number that is asked for now and then is not worth a tree.
            None => {
                let may_be = |tenancy: &&Tenancy| tenancy.place.leaf.envelope().intersects(&around);
                self.cells.values().filter(may_be).filter(is_within).map(count).sum()
            }
        }
    }
}

impl fmt::Debug for SpatialIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpatialIndex").field("offers", &self.len).field("cells", &self.cells.len()).finish()
    }
}

/// The least distance that a squared distance of the tree stands for, metres.
fn at_least_m(distance_2: f32) -> f64 {
    // f32 knows seven digits of it; the query point is rounded, too.
    f64::from(distance_2).sqrt() * (1.0 - 1e-6) - 2.0 * ROUNDING_M
}

/// A cell that waits for its turn, by the distance of its centre.
struct Pending {
    centre_m: f64,
    cell: Cell,
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> Ordering {
        self.centre_m.total_cmp(&other.centre_m).then(self.cell.cmp(&other.cell))
    }
}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pending {}

/// Offers by the distance of their cell's centre; see [`SpatialIndex::nearest`].
pub struct Nearest<'a> {
    index: &'a SpatialIndex,
    point: GeoPoint,
    leaves: Option<NearestNeighborDistance2Iterator<'a, Leaf>>,
    /// The next leaf of the tree with a lower bound of its distance, metres.
    next_leaf: Option<(Cell, f64)>,
    /// Cells that the tree has yielded but that may not be the nearest.
    pending: BinaryHeap<Reverse<Pending>>,
    /// The cells at the present distance: nearly always one.
    current: Vec<(Bounds, &'a [Tenant])>,
}

impl Nearest<'_> {
    /// Fills `current` with every cell at the next distance. False at the end.
    fn advance(&mut self) -> bool {
        loop {
            let nearest_m = self.pending.peek().map_or(f64::INFINITY, |Reverse(pending)| pending.centre_m);
            match self.next_leaf {
                // A leaf that begins farther away has its centre farther away, too.
                Some((cell, at_least_m)) if at_least_m <= nearest_m => {
                    if let Some(tenancy) = self.index.cells.get(&cell) {
                        let centre_m = tenancy.place.centre.distance_m(self.point);
                        self.pending.push(Reverse(Pending { centre_m, cell }));
                    }
                    let next = self.leaves.as_mut().and_then(Iterator::next);
                    self.next_leaf = next.map(|(leaf, d2)| (leaf.cell, self::at_least_m(d2)));
                }
                _ => break,
            }
        }
        let Some(Reverse(first)) = self.pending.pop() else { return false };
        self.open(&first);
        while self
            .pending
            .peek()
            .is_some_and(|Reverse(next)| next.centre_m.total_cmp(&first.centre_m).is_eq())
        {
            if let Some(Reverse(next)) = self.pending.pop() {
                self.open(&next);
            }
        }
        true
    }

    fn open(&mut self, pending: &Pending) {
        if let Some(tenancy) = self.index.cells.get(&pending.cell) {
            let bounds = tenancy.place.bounds(self.point, pending.centre_m);
            self.current.push((bounds, &tenancy.tenants));
        }
    }
}

impl Iterator for Nearest<'_> {
    type Item = (EntryId, Bounds);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.current.retain(|(_, tenants)| !tenants.is_empty());
            let first = self.current.iter_mut().min_by_key(|(_, tenants)| tenants[0]);
            if let Some((bounds, tenants)) = first {
                let (tenant, rest) = tenants.split_first()?;
                *tenants = rest;
                return Some((tenant.entry, *bounds));
            }
            if !self.advance() {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hailmesh_types::Resolution;
    use proptest::prelude::*;

    use super::*;

    fn car(number: u8) -> Tenant {
        Tenant::new(&[number; 32], EntryId::of(number.into()))
    }

    fn number(entry: EntryId) -> u8 {
        (0..=u8::MAX).find(|number| EntryId::of((*number).into()) == entry).unwrap()
    }

    /// Mostly one city, sometimes the seam, the poles, or anywhere.
    fn anywhere() -> impl Strategy<Value = GeoPoint> {
        prop_oneof![
            4 => (40.70..40.80_f64, -74.02..-73.93_f64),
            2 => (-17.0..-16.9_f64, prop_oneof![179.95..180.0_f64, -180.0..-179.95_f64]),
            1 => (prop_oneof![89.9..=90.0_f64, -90.0..=-89.9_f64], -180.0..180.0_f64),
            1 => (-90.0..=90.0_f64, -180.0..180.0_f64),
        ]
        .prop_map(|(lat, lon)| GeoPoint::from_degrees(lat, lon).unwrap())
    }

    fn any_cell() -> impl Strategy<Value = Cell> {
        (anywhere(), 7..=10_u8).prop_map(|(point, fine)| Cell::at(point, Resolution::new(fine).unwrap()))
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, Cell),
        Take(u8),
        Ask(GeoPoint, f64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..40_u8, any_cell()).prop_map(|(number, cell)| Step::Put(number, cell)),
            1 => (0..40_u8).prop_map(Step::Take),
            2 => (anywhere(), prop_oneof![0.0..5_000.0_f64, 0.0..3e7_f64]).prop_map(|(at, r)| Step::Ask(at, r)),
        ]
    }

    proptest! {
        /// Against a list that is searched from end to end.
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec(any_step(), 1..120)) {
            let mut index = SpatialIndex::new();
            let mut list: BTreeMap<u8, Cell> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(number, cell) => {
                        let before = list.insert(number, cell);
                        if let Some(old) = before.filter(|old| *old != cell) {
                            prop_assert!(index.remove(old, car(number)));
                        }
                        prop_assert_eq!(index.insert(cell, car(number)), before != Some(cell));
                    }
                    Step::Take(number) => {
                        let taken = list.remove(&number).map(|cell| index.remove(cell, car(number)));
                        prop_assert!(taken != Some(false));
                        prop_assert!(!index.remove(Cell::at("0,0".parse().unwrap(), Resolution::PICKUP), car(number)));
                    }
                    Step::Ask(point, radius_m) => {
                        let mut expected: Vec<(Bounds, u8)> =
                            list.iter().map(|(number, cell)| (cell.bounds(point), *number)).collect();
                        expected.sort_by(|a, b| a.0.centre_m.total_cmp(&b.0.centre_m).then(a.1.cmp(&b.1)));
                        let found: Vec<(Bounds, u8)> =
                            index.nearest(point).map(|(car, bounds)| (bounds, number(car))).collect();
                        prop_assert_eq!(&found, &expected);
                        let mut near: Vec<u8> = index.within(point, radius_m).map(|(car, _)| number(car)).collect();
                        near.sort_unstable();
                        prop_assert_eq!(index.count_within(point, radius_m), near.len());
                        let mut expected: Vec<u8> = expected.iter()
                            .filter(|(bounds, _)| bounds.lower_m <= radius_m).map(|(_, number)| *number).collect();
                        expected.sort_unstable();
                        prop_assert_eq!(near, expected);
                    }
                }
                prop_assert_eq!(index.len(), list.len());
                let cells: std::collections::BTreeSet<Cell> = list.values().copied().collect();
                prop_assert_eq!(index.occupied_cells(), cells.len());
            }
        }
    }

    #[test]
    fn a_roaming_author_does_not_fill_the_table() {
        let mut index = SpatialIndex::new();
        let mut before: Option<Cell> = None;
        for step in 0..5_000 {
            let point = GeoPoint::from_degrees(40.0 + f64::from(step) * 0.002, 10.0).unwrap();
            let cell = Cell::at(point, Resolution::PICKUP);
            if let Some(old) = before.replace(cell) {
                index.remove(old, car(1));
            }
            index.insert(cell, car(1));
            let kept = PLACES.with_borrow(|places| places.known.len());
            assert!(kept <= VACANT_MAX + 3 && index.cells.len() == 1, "{kept} {}", index.cells.len());
        }
        assert_eq!(index.len(), 1);
    }
}
