//! All pairs of a network, computed once.

use std::num::NonZero;
use std::thread;

use petgraph::algo::dijkstra;
use petgraph::graph::{DiGraph, NodeIndex};

use super::Junction;
use super::cost::Cost;
use super::network::Network;

/// Cost of every pair: a row for each destination, in it a column for each origin.
#[derive(Debug)]
pub(super) struct Table {
    junctions: usize,
    costs: Vec<Cost>,
}

impl Table {
    /// The table of a network in which every junction can be reached from every other.
    /// Rows are shared out between threads; what they hold does not depend on how many.
    pub(super) fn new(network: &Network) -> Self {
        let junctions = network.points().len();
        // Links turned round: one search from a destination finds what every origin takes.
        let mut graph = DiGraph::<(), Cost>::with_capacity(junctions, 0);
        for _ in 0..junctions {
            graph.add_node(());
        }
        for (from, to, cost) in network.edges() {
            graph.add_edge(NodeIndex::new(to.index()), NodeIndex::new(from.index()), cost);
        }
        let mut costs = vec![Cost::default(); junctions * junctions];
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(16);
        let rows_each = junctions.div_ceil(threads);
        thread::scope(|scope| {
            for (part, rows) in costs.chunks_mut(rows_each * junctions).enumerate() {
                let graph = &graph;
                scope.spawn(move || {
                    for (place, row) in rows.chunks_mut(junctions).enumerate() {
                        fill(row, graph, NodeIndex::new(part * rows_each + place));
                    }
                });
            }
        });
        Self { junctions, costs }
    }

    pub(super) fn cost(&self, from: Junction, to: Junction) -> Cost {
        self.row(to)[from.index()]
    }

    /// The fastest path after `from`: each junction and the milliseconds to it. Follows
    /// the links whose cost is exactly the difference between what the two ends take;
    /// of several the one to the lowest number.
    pub(super) fn steps<'a>(
        &'a self,
        network: &'a Network,
        from: Junction,
        to: Junction,
    ) -> impl Iterator<Item = (Junction, u32)> + 'a {
        let row = self.row(to);
        let mut here = from;
        let mut driven = Cost::default();
        std::iter::from_fn(move || {
            if here == to {
                return None;
            }
            let left = row[here.index()];
            let &(next, cost) =
                network.ways(here).iter().find(|&&(next, cost)| cost + row[next.index()] == left)?;
            here = next;
            driven = driven + cost;
            Some((here, driven.drive().ms))
        })
    }

    fn row(&self, to: Junction) -> &[Cost] {
        &self.costs[to.index() * self.junctions..][..self.junctions]
    }
}

fn fill(row: &mut [Cost], graph: &DiGraph<(), Cost>, to: NodeIndex) {
    let costs = dijkstra(graph, to, None, |edge| *edge.weight());
    for (from, cell) in row.iter_mut().enumerate() {
        *cell = costs[&NodeIndex::new(from)];
    }
}
