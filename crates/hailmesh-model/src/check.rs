//! Running a check and saying what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::model::CityModel;
use crate::mutant::Mutant;
use crate::properties::PROPERTIES;
use crate::world::{Configuration, PAIRS, World, pair_name};

/// What one check found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The configuration's name.
    pub name: &'static str,
    /// Different cities.
    pub unique: usize,
    /// Cities that steps led to, repetitions included.
    pub generated: usize,
    /// Whether that is all there are.
    pub exhaustive: bool,
    /// The longest way to a city, in steps.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Properties that do not hold, each with the steps that lead there.
    pub violated: Vec<(&'static str, Vec<String>)>,
    /// Pairs of state and event that should have occurred and did not.
    pub missing: Vec<String>,
    /// Pairs that occurred.
    pub covered: usize,
    /// Different statements that were signed.
    pub statements: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.exhaustive { "exhaustive" } else { "capped" };
        write!(f, "{}: unique states: {}, {how}", self.name, self.unique)
    }
}

impl Report {
    /// The properties that do not hold, or that there are none.
    #[must_use]
    pub fn caught_by(&self) -> String {
        match self.violated.iter().map(|(name, _)| *name).collect::<Vec<_>>().as_slice() {
            [] => "nothing".to_owned(),
            names => names.join(" "),
        }
    }

    /// The figures behind the line.
    #[must_use]
    pub fn details(&self) -> String {
        format!(
            "  generated {}, depth {}, {:.1} s, {} of {PAIRS} pairs of state and event, {} statements",
            self.generated,
            self.depth,
            self.took.as_secs_f64(),
            self.covered,
            self.statements
        )
    }
}

/// Explores a configuration on two threads until nothing new comes, the cap is reached,
/// or a property breaks; with a fault seeded, until all of them have.
#[must_use]
pub fn check(config: Configuration, mutant: Option<Mutant>) -> Report {
    let wanted = if config.covers_everything { reachable_pairs() } else { Vec::new() };
    let model = CityModel { world: World::new(config, mutant), wanted };
    let began = Instant::now();
    let mut builder = model.checker().threads(2);
    if let Some(cap) = config.cap {
        builder = builder.target_state_count(cap);
    }
    // With a fault seeded, everything that it breaks is of interest.
    let enough = if mutant.is_some() { HasDiscoveries::AllFailures } else { HasDiscoveries::AnyFailures };
    builder = builder.finish_when(enough);
    let checker = builder.spawn_bfs().join();
    let took = began.elapsed();
    let model = checker.model();
    let mut violated = Vec::new();
    let discoveries: BTreeMap<_, _> = checker.discoveries().into_iter().collect();
    for (name, path) in discoveries {
        if model.property(name).expectation == Expectation::Always {
            let steps = path.into_actions().iter().map(|action| model.format_action(action)).collect();
            violated.push((name, steps));
        }
    }
    violated.sort_by_key(|(name, _)| PROPERTIES.iter().position(|property| property == name));
    let missing = model.wanted.iter().filter(|pair| !model.world.coverage.has(**pair));
    Report {
        name: config.name,
        unique: checker.unique_state_count(),
        generated: checker.state_count(),
        exhaustive: violated.is_empty() && config.cap.is_none_or(|cap| checker.state_count() < cap),
        depth: checker.max_depth(),
        took,
        violated,
        missing: missing.map(|pair| pair_name(*pair)).collect(),
        covered: model.world.coverage.count(),
        statements: model.world.book.len(),
    }
}

/// Pairs that the tables are never asked about, whatever happens, because a node does not
/// ask: the boarding secret comes to nobody before a CONFIRM (P8.6), and a BOARDED that
/// is not of the firm ride stays with its ride (`on_boarded`).
const NEVER_ASKED: [&str; 4] = [
    "driver HELD × boarded",
    "rider IDLE × BOARDED",
    "rider SHOPPING × BOARDED",
    "rider COMMITTED × BOARDED",
];

/// Pairs that can occur at all.
fn reachable_pairs() -> Vec<usize> {
    (0..PAIRS).filter(|pair| !NEVER_ASKED.contains(&pair_name(*pair).as_str())).collect()
}
