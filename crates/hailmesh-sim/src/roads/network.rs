//! Junctions and links as they were described.

use hailmesh_types::GeoPoint;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, Reversed};

use super::cost::Cost;
use super::{Junction, RoadsError};

/// The longest link, kilometres.
pub const MAX_LINK_KM: f64 = 100.0;
/// The slowest speed of a link, km/h.
pub const MIN_SPEED_KMH: f64 = 1.0;
/// The highest speed of a link, km/h.
pub const MAX_SPEED_KMH: f64 = 300.0;

const MAX_JUNCTIONS: usize = 1 << 24;

/// A road in one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Where it begins.
    pub from: Junction,
    /// Where it ends.
    pub to: Junction,
    /// Kilometres, more than 0 and at most 100.
    pub length_km: f64,
    /// Kilometres an hour, 1 to 300.
    pub speed_kmh: f64,
}

impl Link {
    /// What driving it costs: at least a millisecond, so that every path ends.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranges are checked: at most 3.6e8 ms and 1e5 m"
    )]
    pub(super) fn cost(&self) -> Cost {
        let ms = (self.length_km / self.speed_kmh * 3_600_000.0).round().max(1.0) as u32;
        Cost::new(ms, (self.length_km * 1_000.0).round() as u32)
    }
}

/// Points, links, and which links leave a junction.
#[derive(Debug)]
pub(super) struct Network {
    points: Vec<GeoPoint>,
    links: Vec<Link>,
    /// Links that leave junction `j`: `ways[first[j]..first[j + 1]]`.
    first: Vec<u32>,
    ways: Vec<(Junction, Cost)>,
}

impl Network {
    pub(super) fn new(points: Vec<GeoPoint>, mut links: Vec<Link>) -> Result<Self, RoadsError> {
        if points.is_empty() {
            return Err(RoadsError::Empty);
        }
        if points.len() > MAX_JUNCTIONS {
            return Err(RoadsError::TooManyJunctions(points.len()));
        }
        for (place, link) in links.iter().enumerate() {
            check(place, link, points.len())?;
        }
        links.retain(|link| link.from != link.to);
        let (ms, m) = links.iter().fold((0, 0), |(ms, m), link| {
            let drive = link.cost().drive();
            (ms + u64::from(drive.ms), m + u64::from(drive.m))
        });
        if ms > Cost::LIMIT.0 || m > Cost::LIMIT.1 {
            return Err(RoadsError::TooLong { km: links.iter().map(|link| link.length_km).sum() });
        }
        let mut sorted: Vec<(Junction, Junction, Cost)> =
            links.iter().map(|link| (link.from, link.to, link.cost())).collect();
        // The fastest of parallel links comes first and is the one that stays.
        sorted.sort_unstable();
        sorted.dedup_by_key(|&mut (from, to, _)| (from, to));
        let mut first = vec![0_u32; points.len() + 1];
        for &(from, _, _) in &sorted {
            first[from.index() + 1] += 1;
        }
        for place in 1..first.len() {
            first[place] += first[place - 1];
        }
        let ways = sorted.into_iter().map(|(_, to, cost)| (to, cost)).collect();
        Ok(Self { points, links, first, ways })
    }

    pub(super) fn points(&self) -> &[GeoPoint] {
        &self.points
    }

    pub(super) fn links(&self) -> std::iter::Copied<std::slice::Iter<'_, Link>> {
        self.links.iter().copied()
    }

    /// The links that leave a junction, by the number of where they lead to.
    pub(super) fn ways(&self, from: Junction) -> &[(Junction, Cost)] {
        &self.ways[self.first[from.index()] as usize..self.first[from.index() + 1] as usize]
    }

    /// Cost of the link between two neighbours.
    pub(super) fn cost_between(&self, from: Junction, to: Junction) -> Cost {
        let ways = self.ways(from);
        let place = ways.binary_search_by_key(&to, |&(junction, _)| junction).expect("a link of a path");
        ways[place].1
    }

    /// All usable links: from, to, cost.
    pub(super) fn edges(&self) -> impl Iterator<Item = (Junction, Junction, Cost)> + '_ {
        (0..)
            .map(Junction)
            .take(self.points.len())
            .flat_map(move |from| self.ways(from).iter().map(move |&(to, cost)| (from, to, cost)))
    }

    /// # Errors
    /// Names the junction with the lowest number that cannot be reached from junction 0,
    /// or else the one from which junction 0 cannot be reached.
    pub(super) fn check_connected(&self) -> Result<(), RoadsError> {
        let mut graph = DiGraph::<(), ()>::with_capacity(self.points.len(), self.ways.len());
        for _ in &self.points {
            graph.add_node(());
        }
        graph.extend_with_edges(self.edges().map(|(from, to, _)| (from.0, to.0)));
        let origin = Junction(0);
        let mut forward = Dfs::new(&graph, NodeIndex::new(0));
        if let Some(to) = first_missing(self.points.len(), || forward.next(&graph)) {
            return Err(RoadsError::Disconnected { from: origin, to });
        }
        let mut backward = Dfs::new(Reversed(&graph), NodeIndex::new(0));
        match first_missing(self.points.len(), || backward.next(Reversed(&graph))) {
            Some(from) => Err(RoadsError::Disconnected { from, to: origin }),
            None => Ok(()),
        }
    }
}

/// The first junction that a search does not reach.
fn first_missing(junctions: usize, mut next: impl FnMut() -> Option<NodeIndex>) -> Option<Junction> {
    let mut reached = vec![false; junctions];
    while let Some(node) = next() {
        reached[node.index()] = true;
    }
    (0..).map(Junction).zip(reached).find(|(_, there)| !there).map(|(junction, _)| junction)
}

fn check(place: usize, link: &Link, junctions: usize) -> Result<(), RoadsError> {
    for end in [link.from, link.to] {
        if end.index() >= junctions {
            return Err(RoadsError::Endpoint { link: place, junction: end.0, junctions });
        }
    }
    if !(link.length_km > 0.0 && link.length_km <= MAX_LINK_KM) {
        return Err(RoadsError::Length { link: place, value: link.length_km });
    }
    if !(MIN_SPEED_KMH..=MAX_SPEED_KMH).contains(&link.speed_kmh) {
        return Err(RoadsError::LinkSpeed { link: place, value: link.speed_kmh });
    }
    Ok(())
}
