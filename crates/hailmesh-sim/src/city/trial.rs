//! A tiny city with a random subset of all faults: one of thousands.
//!
//! A few cars and a few more riders on a grid of a few streets, who ask in bursts so that
//! they get into each other's way; faults of random kinds and strengths for some minutes;
//! then a minute in which nothing goes wrong any more. All of it follows from one number.

use std::fmt;
use std::sync::Arc;

use hailmesh_market::Config;
use hailmesh_types::Duration;

use super::engine::{Run, WARM_MS, run};
use super::fault::{Broken, Faults, Slow, Spike};
use super::link::Draws;
use super::settings::{Partition, RunError, Settings};
use crate::policy::Policy;
use crate::scenario::{GridCity, Scenario};

/// Requests are made for so long, milliseconds.
const DEMAND_MS: u32 = 90_000;
/// How long a rider waits for a car, milliseconds.
const PATIENCE_MS: u64 = 90_000;
/// Faults end so long after the last request, milliseconds.
const AFTER_MS: u64 = 40_000;
/// After the end of all faults everybody has this long to agree, milliseconds.
const QUIET_MS: u64 = 60_000;
/// When faults begin: nodes are up, and the first request is about to come.
const FROM_MS: u32 = 50_000;
/// When they end.
const UNTIL_MS: u64 = WARM_MS + DEMAND_MS as u64 + AFTER_MS;

/// A tiny city and what goes wrong in it.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Everything follows from it.
    pub seed: u64,
    /// Cars.
    pub drivers: u32,
    /// People who want a ride, at the most.
    pub riders: u32,
    /// What goes wrong, and everything else.
    pub settings: Settings,
    capped: bool,
}

impl Trial {
    /// The trial of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut draws = Draws::of(seed, 0x7e57, 0, 0);
        let drivers = draws.between(2, 4);
        let riders = draws.between(2, 7);
        let mut settings = Settings {
            latency_ms: (50, *pick(&mut draws, &[100, 200, 800, 2_000])),
            loss: 0.0,
            duplication: 0.0,
            down_ms: (500, 20_000),
            verify_receipts: true,
            node: node(),
            ..Settings::default()
        };
        if draws.chance(0.2) {
            settings.acceptance = 0.8;
        }
        let faults = faults(&mut draws, &mut settings);
        settings.faults = Some(faults);
        let capped = draws.chance(0.25);
        if capped {
            cap(&mut draws, &mut settings.node);
        }
        Self { seed, drivers, riders, settings, capped }
    }

    /// The same with nodes that break a rule.
    #[must_use]
    pub fn broken(mut self, rule: Broken) -> Self {
        if let Some(faults) = self.settings.faults.as_mut() {
            faults.broken = Some(rule);
        }
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// A setting or a parameter outside its bounds.
    pub fn run(&self) -> Result<Run, RunError> {
        let scenario = Arc::new(self.scenario()?);
        run(&scenario, &self.settings, self.drivers, self.seed, Policy::PeerToPeer(None), &mut |_| {})
    }

    fn scenario(&self) -> Result<Scenario, RunError> {
        let mut draws = Draws::of(self.seed, 0x7e57, 1, 0);
        let grid = GridCity {
            blocks_x: 6,
            blocks_y: 6,
            block_m: 200,
            speed_kmh: 80.0,
            one_way: false,
            centres: Vec::new(),
            // Half as many again: the number of a Poisson process varies.
            riders_per_hour: f64::from(self.riders) * 1.5 * 3_600_000.0 / f64::from(DEMAND_MS),
            hours: f64::from(DEMAND_MS) / 3_600_000.0,
            vehicles: self.drivers,
            peak: 1.0,
            seed: self.seed,
            ..GridCity::default()
        };
        let mut scenario = grid.generate()?;
        scenario.requests.truncate(self.riders as usize);
        // One or two bursts, in which everybody wants the same cars.
        let bursts = [draws.between(0, 10_000), draws.between(30_000, DEMAND_MS - 5_000)];
        for request in &mut scenario.requests {
            let burst = bursts[draws.between(0, 1) as usize];
            request.t_ms = u64::from(burst + draws.between(0, 4_000));
        }
        scenario.requests.sort_by_key(|request| request.t_ms);
        scenario.hour_ms = u64::from(DEMAND_MS);
        scenario.drain_ms = AFTER_MS + QUIET_MS;
        scenario.patience_ms = PATIENCE_MS;
        scenario.boarding_ms = 3_000;
        Ok(scenario)
    }
}

fn node() -> Config {
    let mut node = Config::default();
    node.timers.cosign = Duration::from_secs(30);
    node.timers.unreach = Duration::from_secs(30);
    node
}

/// Each kind of fault with a chance of its own, and a strength.
fn faults(draws: &mut Draws, settings: &mut Settings) -> Faults {
    let mut faults = Faults { until_ms: UNTIL_MS, ..Faults::default() };
    if draws.chance(0.5) {
        settings.loss = *pick(draws, &[0.02, 0.1, 0.3, 0.6]);
    }
    if draws.chance(0.4) {
        settings.duplication = *pick(draws, &[0.05, 0.3, 1.0]);
    }
    if draws.chance(0.5) {
        settings.churn_per_min = *pick(draws, &[0.2, 0.5, 1.0]);
    }
    if draws.chance(0.1) {
        settings.restart_all_ms = Some(u64::from(within(draws)));
    }
    if draws.chance(0.3) {
        settings.drift_ppm = 10_000;
        settings.skew_ms = *pick(draws, &[0, 5_000, 12_000]);
    }
    if draws.chance(0.4) {
        for _ in 0..draws.between(1, 2) {
            let from_ms = u64::from(within(draws));
            let until_ms = (from_ms + u64::from(draws.between(2_000, 60_000))).min(UNTIL_MS);
            let share = *pick(draws, &[0.2, 0.5]);
            settings.partitions.push(Partition { from_ms, until_ms, share, one_way: draws.chance(0.5) });
        }
    }
    if draws.chance(0.3) {
        for _ in 0..draws.between(1, 3) {
            let from_ms = u64::from(within(draws));
            let until_ms = from_ms + u64::from(draws.between(1_000, 20_000));
            let extra_ms = *pick(draws, &[1_000, 5_000, 15_000]);
            faults.spikes.push(Spike { from_ms, until_ms, extra_ms });
        }
    }
    if draws.chance(0.25) {
        faults.slow = Some(Slow { share: 0.3, extra_ms: *pick(draws, &[500, 2_000, 8_000]) });
    }
    if draws.chance(0.3) {
        faults.disk = *pick(draws, &[0.02, 0.1, 0.3]);
    }
    if draws.chance(0.25) {
        faults.backups = *pick(draws, &[0.2, 1.0]);
    }
    if draws.chance(0.3) {
        faults.moves = *pick(draws, &[0.3, 1.0]);
    }
    if draws.chance(0.2) {
        faults.jumps = *pick(draws, &[0.2, 0.5]);
    }
    faults
}

/// Small limits: what strangers can fill is full.
fn cap(draws: &mut Draws, node: &mut Config) {
    let limits = &mut node.limits;
    let mut one = |limit: &mut usize, value: usize| {
        if draws.chance(0.5) {
            *limit = value;
        }
    };
    one(&mut limits.offers, 3);
    one(&mut limits.authors, 3);
    one(&mut limits.certificates, 2);
    one(&mut limits.peer_buckets, 2);
    one(&mut limits.request_buckets, 1);
    one(&mut limits.identities, 1);
    one(&mut limits.exchanges_in_flight, 1);
    one(&mut limits.invites_open, 1);
    one(&mut limits.pending_asks, 1);
    one(&mut limits.witnessed_accepts, 1);
    one(&mut limits.sticky_answers, 1);
    one(&mut limits.outbox, 2);
}

fn within(draws: &mut Draws) -> u32 {
    draws.between(FROM_MS, u32::try_from(UNTIL_MS).unwrap_or(u32::MAX) - 2_000)
}

fn pick<'a, T>(draws: &mut Draws, from: &'a [T]) -> &'a T {
    &from[draws.between(0, u32::try_from(from.len()).unwrap_or(1) - 1) as usize]
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        write!(
            f,
            "seed {}: {} drivers, {} riders, latency {:?} ms",
            self.seed, self.drivers, self.riders, settings.latency_ms
        )?;
        let mut share = |name: &str, value: f64| {
            if value > 0.0 { write!(f, ", {name} {value}") } else { Ok(()) }
        };
        share("loss", settings.loss)?;
        share("duplication", settings.duplication)?;
        share("churn", settings.churn_per_min)?;
        share("choosy", 1.0 - settings.acceptance)?;
        if let Some(faults) = &settings.faults {
            share("disk", faults.disk)?;
            share("backups", faults.backups)?;
            share("moves", faults.moves)?;
            share("jumps", faults.jumps)?;
            if let Some(slow) = faults.slow {
                write!(f, ", slow {} by {} ms", slow.share, slow.extra_ms)?;
            }
            for Spike { from_ms, until_ms, extra_ms } in &faults.spikes {
                write!(f, ", spike {from_ms}..{until_ms} by {extra_ms} ms")?;
            }
            if let Some(rule) = faults.broken {
                write!(f, ", broken rule {rule:?}")?;
            }
        }
        if settings.drift_ppm > 0 {
            write!(f, ", clocks {} ms and {} ppm off", settings.skew_ms, settings.drift_ppm)?;
        }
        if let Some(at_ms) = settings.restart_all_ms {
            write!(f, ", all restart at {at_ms}")?;
        }
        for Partition { from_ms, until_ms, share, one_way } in &settings.partitions {
            let way = if *one_way { "one way" } else { "both ways" };
            write!(f, ", {way} cut {from_ms}..{until_ms} of {share}")?;
        }
        if self.capped {
            write!(f, ", small limits")?;
        }
        Ok(())
    }
}
