//! What a run can be told.

use hailmesh_market::Config;
use hailmesh_types::{Duration, Resolution};

use super::fault::Faults;
use super::overlay::Overlay;
use crate::adversary::Behaviour;
use crate::scenario::ScenarioError;

/// The network is in two parts for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Partition {
    /// From this time on, milliseconds.
    pub from_ms: u64,
    /// Healed at this time, milliseconds.
    pub until_ms: u64,
    /// Share of the hosts on the first side, 0 to 1.
    pub share: f64,
    /// Whether the second side still reaches the first.
    pub one_way: bool,
}

/// How signatures are made and checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Signing {
    /// A keyed hash in place of Ed25519: as unforgeable inside the simulation, and
    /// hundreds of times faster. Everything else stays real.
    #[default]
    StandIn,
    /// Ed25519, as nodes have it.
    Real,
}

/// Everything about a run that is not the scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Share of messages that are lost on a link, 0 to 0.9.
    pub loss: f64,
    /// Share of frames that arrive a second time, 0 to 1. Copies draw their own latency,
    /// and so do different frames: they overtake each other.
    pub duplication: f64,
    /// One-way latency between two nodes, evenly spread, milliseconds, 1 to 10,000. The
    /// least of it is also how far ahead hosts can be simulated independently: small
    /// values cost time.
    pub latency_ms: (u32, u32),
    /// Share of the nodes that crash in a minute, 0 to 1. They come back from their
    /// journals.
    pub churn_per_min: f64,
    /// How long a crashed node is away, milliseconds.
    pub down_ms: (u32, u32),
    /// Greatest error of a node's clock, milliseconds, at most a day.
    pub skew_ms: u32,
    /// Greatest drift of a node's clock, parts per million, at most 100,000.
    pub drift_ppm: u32,
    /// Times at which the network is in two parts.
    pub partitions: Vec<Partition>,
    /// Every node crashes at this time, milliseconds.
    pub restart_all_ms: Option<u64>,
    /// What else goes wrong, and until when. With a plan everything that is sent is
    /// audited, riders' nodes stay up, and at the end everybody has to agree.
    pub faults: Option<Faults>,
    /// Nodes that cheat, in addition to the fleet; five attacks take turns.
    pub cheats: u32,
    /// Attackers, in addition to the fleet: what they do, and how many.
    pub adversaries: Vec<(Behaviour, u32)>,
    /// How finely drivers tell where they are, resolution 7 to 10.
    pub driver_precision: Resolution,
    /// How finely waiting riders do, resolution 7 to 10.
    pub rider_precision: Resolution,
    /// Share of the requests that a driver agrees to, 0 to 1. Below 1 drivers decide
    /// themselves, within seconds; otherwise their nodes answer for them.
    pub acceptance: f64,
    /// Breaks that a driver takes in an hour, 0 to 60, between rides.
    pub breaks_per_h: f64,
    /// How long a break is, milliseconds.
    pub break_ms: (u32, u32),
    /// How long before it asks for a ride a rider's node is up, milliseconds.
    pub rider_lead_ms: u64,
    /// How signatures are made.
    pub signing: Signing,
    /// Worker threads, 1 to 64. The outcome does not depend on it.
    pub threads: usize,
    /// How gossip spreads.
    pub overlay: Overlay,
    /// Configuration of every node, apart from what is set above.
    pub node: Config,
    /// Whether every receipt is verified as a stranger would: both signatures and all.
    pub verify_receipts: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let mut node = Config::default();
        // Every ten seconds a signed STATUS over thousands of rides is most of what a
        // city says, and says nothing while both sit in one car. Once a minute is within
        // the bounds of P12.
        node.timers.status = Duration::from_secs(60);
        node.timers.unreach = Duration::from_secs(180);
        Self {
            loss: 0.01,
            duplication: 0.01,
            latency_ms: (50, 200),
            churn_per_min: 0.0,
            down_ms: (5_000, 30_000),
            skew_ms: 0,
            drift_ppm: 0,
            partitions: Vec::new(),
            restart_all_ms: None,
            faults: None,
            cheats: 0,
            adversaries: Vec::new(),
            driver_precision: Resolution::DRIVER,
            rider_precision: Resolution::RIDER,
            acceptance: 1.0,
            breaks_per_h: 0.0,
            break_ms: (300_000, 900_000),
            rider_lead_ms: 30_000,
            signing: Signing::default(),
            threads: 1,
            overlay: Overlay::default(),
            node,
            verify_receipts: false,
        }
    }
}

/// A setting outside its bounds.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{what} is {value}: expected {expected}")]
pub struct SettingsError {
    /// Which.
    pub what: &'static str,
    /// What was given.
    pub value: String,
    /// What is allowed.
    pub expected: &'static str,
}

impl Settings {
    /// Whether a node can fail and come back from its journal.
    pub(super) const fn has_restarts(&self) -> bool {
        self.churn_per_min > 0.0 || self.restart_all_ms.is_some() || self.faults.is_some()
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first one outside its bounds.
    pub fn check(&self) -> Result<(), SettingsError> {
        let refuse = |what, value: String, expected| Err(SettingsError { what, value, expected });
        let share = |what, value: f64, most: f64, expected| {
            if (0.0..=most).contains(&value) { Ok(()) } else { refuse(what, value.to_string(), expected) }
        };
        share("loss", self.loss, 0.9, "a share from 0 to 0.9")?;
        share("duplication", self.duplication, 1.0, "a share from 0 to 1")?;
        share("churn", self.churn_per_min, 1.0, "a share per minute from 0 to 1")?;
        let (least, most) = self.latency_ms;
        if !(1..=10_000).contains(&least) || !(least..=10_000).contains(&most) {
            let value = format!("{least}ms..{most}ms");
            return refuse("latency", value, "1ms to 10000ms, the smaller first");
        }
        if self.down_ms.0 > self.down_ms.1 || self.down_ms.1 > 3_600_000 {
            let value = format!("{}ms..{}ms", self.down_ms.0, self.down_ms.1);
            return refuse("down time", value, "at most an hour, the smaller first");
        }
        share("acceptance", self.acceptance, 1.0, "a share from 0 to 1")?;
        if !(0.0..=60.0).contains(&self.breaks_per_h) {
            return refuse("breaks an hour", self.breaks_per_h.to_string(), "0 to 60");
        }
        if self.break_ms.0 > self.break_ms.1 || self.break_ms.1 > 3_600_000 {
            let value = format!("{}ms..{}ms", self.break_ms.0, self.break_ms.1);
            return refuse("length of a break", value, "at most an hour, the smaller first");
        }
        if self.skew_ms > 86_400_000 {
            return refuse("skew of clocks", format!("{} ms", self.skew_ms), "at most 86400000 ms, a day");
        }
        if self.drift_ppm > 100_000 {
            return refuse("drift of clocks", format!("{} ppm", self.drift_ppm), "at most 100000 ppm");
        }
        if !(1..=64).contains(&self.threads) {
            return refuse("threads", self.threads.to_string(), "1 to 64");
        }
        if self.rider_lead_ms > 3_600_000 {
            return refuse("rider lead", format!("{} ms", self.rider_lead_ms), "at most 3600000 ms");
        }
        for partition in &self.partitions {
            share("share of a partition", partition.share, 1.0, "a share from 0 to 1")?;
            if partition.from_ms >= partition.until_ms {
                let value = format!("{}ms..{}ms", partition.from_ms, partition.until_ms);
                return refuse("span of a partition", value, "its beginning before its end");
            }
        }
        if let Some(faults) = &self.faults {
            share("failing disks", faults.disk, 0.9, "a share from 0 to 0.9")?;
            share("old backups", faults.backups, 1.0, "a share from 0 to 1")?;
            share("changed addresses", faults.moves, 1.0, "a share from 0 to 1")?;
            share("jumping clocks", faults.jumps, 1.0, "a share from 0 to 1")?;
            let slow = faults.slow.map_or((0.0, 0), |slow| (slow.share, slow.extra_ms));
            share("slow nodes", slow.0, 1.0, "a share from 0 to 1")?;
            let extra = faults.spikes.iter().map(|spike| spike.extra_ms).chain([slow.1]).max().unwrap_or(0);
            if extra > 60_000 {
                return refuse("delay", format!("{extra} ms"), "at most 60000 ms");
            }
        }
        let overlay = &self.overlay;
        if !(2..=12).contains(&overlay.mesh)
            || !(1..=1_000).contains(&overlay.flood)
            || !(1.0..).contains(&overlay.copies)
            || !(0.0..=1.0).contains(&overlay.lazy)
        {
            let expected = "mesh 2 to 12, flood 1 to 1000, copies at least 1, lazy 0 to 1";
            return refuse("overlay", format!("{overlay:?}"), expected);
        }
        self.node.check().map_err(|error| SettingsError {
            what: "node configuration",
            value: error.to_string(),
            expected: "the bounds of P12 and P16.6",
        })
    }
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting outside its bounds.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The scenario does not have what is asked of it.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}
