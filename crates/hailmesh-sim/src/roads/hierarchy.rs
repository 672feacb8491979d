//! Fastest paths on demand, for networks whose table would be too large.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use fast_paths::{FastGraph, InputGraph, PathCalculator, ShortestPath};

use super::Junction;
use super::cost::Cost;
use super::network::Network;

/// A contraction hierarchy and the scratch space of the threads that ask it.
pub(super) struct Hierarchy {
    graph: FastGraph,
    /// One for each thread that asks at the same time; their state never reaches a result.
    idle: Mutex<Vec<PathCalculator>>,
}

impl Hierarchy {
    pub(super) fn new(network: &Network) -> Self {
        let mut input = InputGraph::new();
        for (from, to, cost) in network.edges() {
            let weight = usize::try_from(cost.packed()).expect("the simulator needs 64-bit integers");
            input.add_edge(from.index(), to.index(), weight);
        }
        input.freeze();
        Self { graph: fast_paths::prepare(&input), idle: Mutex::new(Vec::new()) }
    }

    pub(super) fn cost(&self, from: Junction, to: Junction) -> Cost {
        if from == to {
            return Cost::default();
        }
        Cost::from_packed(self.ask(from, to).get_weight() as u64)
    }

    pub(super) fn path(&self, from: Junction, to: Junction) -> Vec<Junction> {
        if from == to {
            return vec![from];
        }
        let number = |node: &usize| Junction(u32::try_from(*node).expect("a junction of the network"));
        self.ask(from, to).get_nodes().iter().map(number).collect()
    }

    fn ask(&self, from: Junction, to: Junction) -> ShortestPath {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut calculator = taken.unwrap_or_else(|| fast_paths::create_calculator(&self.graph));
        let path = calculator
            .calc_path(&self.graph, from.index(), to.index())
            .expect("every junction is reached from every other: checked when the network was made");
        idle().push(calculator);
        path
    }
}

impl fmt::Debug for Hierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hierarchy").field("junctions", &self.graph.get_num_nodes()).finish_non_exhaustive()
    }
}
