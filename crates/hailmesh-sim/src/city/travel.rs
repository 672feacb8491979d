//! What everybody can know of the roads: how long it takes, on average, from one cell to
//! another. A road map is no secret; where somebody is inside a cell is.

use std::collections::BTreeMap;
use std::sync::Arc;

use hailmesh_market::matching::{Spot, TravelTime};
use hailmesh_types::{Cell, Duration, GeoPoint, Resolution};

use crate::roads::{Junction, Roads};

/// Junctions that stand for a cell: evenly picked out of those inside.
const PICKED: usize = 4;
/// Most cells for which times are computed beforehand: a table of 9 MB.
const TABLE_CELLS: usize = 1_500;

/// Expected driving times between cells, from a road network.
#[derive(Debug)]
pub struct RoadTimes {
    roads: Arc<Roads>,
    cells: BTreeMap<Cell, u32>,
    picked: Vec<Vec<Junction>>,
    /// Milliseconds from cell to cell, row by row; empty when there are too many.
    table: Vec<u32>,
}

impl RoadTimes {
    /// Times between the cells of these resolutions in which there are roads.
    #[must_use]
    pub fn new(roads: &Arc<Roads>, resolutions: &[Resolution]) -> Self {
        let mut inside: BTreeMap<Cell, Vec<Junction>> = BTreeMap::new();
        // A lattice of a million people is asked directly.
        if roads.as_lattice().is_none() {
            for number in 0..u32::try_from(roads.len()).unwrap_or(u32::MAX) {
                let junction = Junction(number);
                for resolution in resolutions {
                    let cell = Cell::at(roads.point(junction), *resolution);
                    let list = inside.entry(cell).or_default();
                    if list.last() != Some(&junction) {
                        list.push(junction);
                    }
                }
            }
        }
        let cells: BTreeMap<Cell, u32> = inside.keys().copied().zip(0..).collect();
        let picked: Vec<Vec<Junction>> = inside.into_values().map(|list| pick(&list)).collect();
        let mut times = Self { roads: Arc::clone(roads), cells, picked, table: Vec::new() };
        if times.picked.len() <= TABLE_CELLS {
            let places = 0..times.picked.len();
            times.table = places
                .clone()
                .flat_map(|from| places.clone().map(move |to| (from, to)))
                .map(|(from, to)| times.mean_ms(&times.picked[from], &times.picked[to]))
                .collect();
        }
        times
    }

    /// Expected driving time from somewhere in one cell to somewhere in the other,
    /// milliseconds.
    #[must_use]
    pub fn drive_ms(&self, from: Cell, to: Cell) -> u32 {
        match (self.cells.get(&from), self.cells.get(&to)) {
            (Some(from), Some(to)) if !self.table.is_empty() => {
                self.table[*from as usize * self.picked.len() + *to as usize]
            }
            (Some(from), Some(to)) => self.mean_ms(&self.picked[*from as usize], &self.picked[*to as usize]),
            _ => {
                let near = |cell: Cell| self.roads.snap(cell.centre());
                self.roads.drive(near(from), near(to)).ms
            }
        }
    }

    /// From a place that is known to a cell.
    fn drive_from_ms(&self, from: GeoPoint, to: Cell) -> u32 {
        let from = [self.roads.snap(from)];
        match self.cells.get(&to) {
            Some(to) => self.mean_ms(&from, &self.picked[*to as usize]),
            None => self.roads.drive(from[0], self.roads.snap(to.centre())).ms,
        }
    }

    /// From a cell to a place that is known.
    fn drive_to_ms(&self, from: Cell, to: GeoPoint) -> u32 {
        let to = [self.roads.snap(to)];
        match self.cells.get(&from) {
            Some(from) => self.mean_ms(&self.picked[*from as usize], &to),
            None => self.roads.drive(self.roads.snap(from.centre()), to[0]).ms,
        }
    }

    fn mean_ms(&self, from: &[Junction], to: &[Junction]) -> u32 {
        let all = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
        let sum: u64 = all.map(|(from, to)| u64::from(self.roads.drive(from, to).ms)).sum();
        let pairs = (from.len() * to.len()).max(1) as u64;
        u32::try_from(sum / pairs).unwrap_or(u32::MAX)
    }
}

impl TravelTime for RoadTimes {
    fn drive(&self, from: Spot, to: Spot) -> Duration {
        Duration::from_millis(match (from, to) {
            (Spot::Cell(from), Spot::Cell(to)) => self.drive_ms(from, to),
            (Spot::Point(from), Spot::Cell(to)) => self.drive_from_ms(from, to),
            (Spot::Cell(from), Spot::Point(to)) => self.drive_to_ms(from, to),
            (Spot::Point(from), Spot::Point(to)) => {
                self.roads.drive(self.roads.snap(from), self.roads.snap(to)).ms
            }
        })
    }
}

fn pick(list: &[Junction]) -> Vec<Junction> {
    if list.len() <= PICKED {
        return list.to_vec();
    }
    (0..PICKED).map(|n| list[(2 * n + 1) * list.len() / (2 * PICKED)]).collect()
}
