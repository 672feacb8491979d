//! A city for integration tests, in a few lines.

use std::sync::Arc;

use hailmesh_types::Resolution;

use super::engine::{Run, run};
use super::settings::{Partition, RunError, Settings, Signing};
use crate::adversary::Behaviour;
use crate::judge::AttackTally;
use crate::outcome::RunOutcome;
use crate::policy::Policy;
use crate::scenario::{GridCity, Scenario, ScenarioError};

/// A city to be run in a test: what is not said has a sensible default.
///
/// ```
/// use hailmesh_sim::city::City;
///
/// let report = City::grid().drivers(30).riders_per_hour(120.0).minutes(10).loss(0.02).seed(7).run();
/// report.assert_sound();
/// assert!(report.served_share() > 0.9, "{report}");
/// ```
#[derive(Debug, Clone)]
pub struct City {
    grid: GridCity,
    scenario: Option<Arc<Scenario>>,
    drivers: Option<u32>,
    seed: u64,
    settings: Settings,
    hostile_share: f64,
}

impl City {
    /// A downtown of 6 × 4 km with one-way streets, two centres, 200 cars and 600 riders
    /// in an hour ([`GridCity`]).
    #[must_use]
    pub fn grid() -> Self {
        Self::of(GridCity::default())
    }

    /// A synthetic city of one's own.
    #[must_use]
    pub fn of(grid: GridCity) -> Self {
        let settings = Settings { verify_receipts: true, ..Settings::default() };
        Self { grid, scenario: None, drivers: None, seed: 1, settings, hostile_share: 0.0 }
    }

    /// A city that was loaded from files.
    #[must_use]
    pub fn from_scenario(scenario: Arc<Scenario>) -> Self {
        Self { scenario: Some(scenario), ..Self::grid() }
    }

    /// So many cars.
    #[must_use]
    pub const fn drivers(mut self, drivers: u32) -> Self {
        self.drivers = Some(drivers);
        self
    }

    /// So many requests an hour, on average.
    #[must_use]
    pub const fn riders_per_hour(mut self, riders: f64) -> Self {
        self.grid.riders_per_hour = riders;
        self
    }

    /// Demand for so long; ten minutes more until the last rider is there.
    #[must_use]
    pub fn minutes(mut self, minutes: u32) -> Self {
        self.grid.hours = f64::from(minutes) / 60.0;
        self
    }

    /// Share of messages that a link loses, 0 to 0.9.
    #[must_use]
    pub const fn loss(mut self, loss: f64) -> Self {
        self.settings.loss = loss;
        self
    }

    /// One-way latency, milliseconds.
    #[must_use]
    pub const fn latency_ms(mut self, least: u32, most: u32) -> Self {
        self.settings.latency_ms = (least, most);
        self
    }

    /// Share of the nodes that crash in a minute, 0 to 1.
    #[must_use]
    pub const fn churn_per_min(mut self, churn: f64) -> Self {
        self.settings.churn_per_min = churn;
        self
    }

    /// Greatest error and drift of clocks, milliseconds and parts per million.
    #[must_use]
    pub const fn clocks(mut self, skew_ms: u32, drift_ppm: u32) -> Self {
        self.settings.skew_ms = skew_ms;
        self.settings.drift_ppm = drift_ppm;
        self
    }

    /// The network is in two parts from one minute of the run to another.
    #[must_use]
    pub fn partition(mut self, from_min: u32, until_min: u32, share: f64) -> Self {
        let ms = |minute: u32| super::engine::WARM_MS + u64::from(minute) * 60_000;
        let (from_ms, until_ms) = (ms(from_min), ms(until_min));
        self.settings.partitions.push(Partition { from_ms, until_ms, share, one_way: false });
        self
    }

    /// Every node crashes at this minute of the run and comes back from its journal.
    #[must_use]
    pub fn restart_everybody(mut self, minute: u32) -> Self {
        self.settings.restart_all_ms = Some(super::engine::WARM_MS + u64::from(minute) * 60_000);
        self
    }

    /// How finely drivers and waiting riders tell where they are.
    #[must_use]
    pub const fn precision(mut self, drivers: Resolution, riders: Resolution) -> Self {
        self.settings.driver_precision = drivers;
        self.settings.rider_precision = riders;
        self
    }

    /// Drivers decide themselves, within seconds, and agree to this share of requests.
    #[must_use]
    pub const fn acceptance(mut self, share: f64) -> Self {
        self.settings.acceptance = share;
        self
    }

    /// So many breaks of 5 to 15 minutes in an hour for each driver, on average.
    #[must_use]
    pub const fn breaks_per_hour(mut self, breaks: f64) -> Self {
        self.settings.breaks_per_h = breaks;
        self
    }

    /// So many attackers of one kind, beside the honest nodes.
    #[must_use]
    pub fn adversary(mut self, behaviour: Behaviour, nodes: u32) -> Self {
        self.settings.adversaries.push((behaviour, nodes));
        self
    }

    /// Attackers of every kind in turn, until they are at least this share of all nodes that
    /// are ever up, 0 to 0.9.
    #[must_use]
    pub const fn adversaries(mut self, share: f64) -> Self {
        self.hostile_share = share.clamp(0.0, 0.9);
        self
    }

    /// Nodes that cheat, beside the honest ones.
    #[must_use]
    pub const fn cheats(mut self, cheats: u32) -> Self {
        self.settings.cheats = cheats;
        self
    }

    /// Real Ed25519 instead of the stand-in.
    #[must_use]
    pub const fn real_signatures(mut self) -> Self {
        self.settings.signing = Signing::Real;
        self
    }

    /// Worker threads; the outcome is the same.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.settings.threads = threads;
        self
    }

    /// The seed of the run.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whatever else can be set.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// The scenario that will be run.
    ///
    /// # Errors
    /// A parameter of the synthetic city outside its bounds.
    pub fn scenario(&self) -> Result<Arc<Scenario>, ScenarioError> {
        match &self.scenario {
            Some(scenario) => Ok(Arc::clone(scenario)),
            None => {
                let mut grid = self.grid.clone();
                if let Some(drivers) = self.drivers {
                    grid.vehicles = grid.vehicles.max(drivers);
                }
                Ok(Arc::new(grid.generate()?))
            }
        }
    }

    /// The attackers that make up the share of all nodes, of which so many are honest.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of nodes"
    )]
    fn crowd(&self, honest: usize) -> Vec<(Behaviour, u32)> {
        let share = self.hostile_share;
        let all = (honest as f64 * share / (1.0 - share)).ceil() as usize;
        let kinds = Behaviour::ALL.len();
        let of = |place: usize| u32::try_from((all + kinds - 1 - place) / kinds).unwrap_or(u32::MAX);
        Behaviour::ALL.iter().enumerate().map(|(place, behaviour)| (*behaviour, of(place))).collect()
    }

    /// Runs the city.
    ///
    /// # Errors
    /// A setting or a parameter outside its bounds.
    pub fn try_run(&self) -> Result<Report, RunError> {
        let scenario = self.scenario()?;
        let cars = u32::try_from(scenario.vehicles.len()).unwrap_or(u32::MAX);
        let drivers = self.drivers.unwrap_or(cars);
        let policy = Policy::PeerToPeer(None);
        let mut settings = self.settings.clone();
        settings.adversaries.extend(self.crowd(drivers as usize + scenario.requests.len()));
        let run = run(&scenario, &settings, drivers, self.seed, policy, &mut |_| {})?;
        Ok(Report { seed: self.seed, run })
    }

    /// Runs the city. The seed is printed first, for whoever has to look into a failure.
    ///
    /// # Panics
    /// When a setting is outside its bounds.
    #[must_use]
    pub fn run(&self) -> Report {
        println!("city: seed {}", self.seed);
        match self.try_run() {
            Ok(report) => report,
            Err(error) => panic!("{error}"),
        }
    }
}

/// What came of a city in a test.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed it was run with.
    pub seed: u64,
    /// Everything that is known.
    pub run: Run,
}

impl Report {
    /// The facts.
    #[must_use]
    pub const fn outcome(&self) -> &RunOutcome {
        &self.run.outcome
    }

    /// Requests that were picked up in time.
    #[must_use]
    pub fn served(&self) -> usize {
        self.outcome().rides.iter().filter(|ride| ride.picked_up_ms.is_some()).count()
    }

    /// Their share of all requests; 1 when there was none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of rides")]
    pub fn served_share(&self) -> f64 {
        let all = self.outcome().rides.len();
        if all == 0 { 1.0 } else { self.served() as f64 / all as f64 }
    }

    /// Mean time from request to pickup, seconds; a lost request counts as the whole of
    /// its patience.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of milliseconds")]
    pub fn mean_wait_s(&self) -> f64 {
        let outcome = self.outcome();
        let waits = outcome.rides.iter().map(|ride| ride.wait_ms().unwrap_or(outcome.patience_ms));
        waits.sum::<u64>() as f64 / 1_000.0 / outcome.rides.len().max(1) as f64
    }

    /// What became of an attack.
    #[must_use]
    pub fn tally(&self, behaviour: Behaviour) -> Option<&AttackTally> {
        self.run.tallies.iter().find(|tally| tally.behaviour == behaviour)
    }

    /// Share of the live offers around it that a node knew, 0 to 1.
    #[must_use]
    pub fn view_share(&self) -> f64 {
        self.outcome().traffic.map_or(1.0, |traffic| traffic.view_share)
    }

    /// What must hold in every city: nobody in two live agreements, all agreements doubly
    /// signed, all bounds kept, every hold over in time.
    ///
    /// # Panics
    /// When something did not hold.
    pub fn assert_sound(&self) {
        let first = self.run.violations.first();
        assert!(
            first.is_none(),
            "seed {}: {} violations, first {first:?}\n{self}",
            self.seed,
            self.run.violations.len()
        );
        let double = self.outcome().traffic.map_or(0, |traffic| traffic.double_bookings);
        assert_eq!(double, 0, "seed {}: double bookings\n{self}", self.seed);
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outcome = self.outcome();
        let traffic = outcome.traffic.unwrap_or_default();
        write!(
            f,
            "seed {}: {} of {} served ({:.2} %), mean wait {:.1} s, {} agreements, {} conflicts, \
             {} restarts, view {:.3}, {} events",
            self.seed,
            self.served(),
            outcome.rides.len(),
            100.0 * self.served_share(),
            self.mean_wait_s(),
            self.run.agreements,
            traffic.conflicts,
            traffic.restarts,
            traffic.view_share,
            outcome.events,
        )
    }
}
