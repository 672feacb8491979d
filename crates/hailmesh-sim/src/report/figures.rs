//! The figures of one run.

use serde::{Deserialize, Serialize};

use crate::outcome::{RideOutcome, RunOutcome, Traffic};

/// One run in figures: an entry of `runs` in what `hailmesh sim run --json` prints.
///
/// A mean of nothing is none (`null`), never 0: a run that served nobody must not look
/// good. A dispatcher says nothing and sees everything: its messages are 0, its view is 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Who decided, as on the command line.
    pub policy: String,
    /// Cars.
    pub fleet: u32,
    /// Seed of the run.
    pub seed: u64,
    /// Requests that were picked up.
    pub served: u64,
    /// Of all requests, 0 to 1.
    pub served_share: Option<f64>,
    /// From request to pickup, seconds.
    pub wait_s: Wait,
    /// Drive to the pickup, seconds.
    pub pickup_s: Pickup,
    /// Of all kilometres driven, those without a passenger, 0 to 1.
    pub empty_km_share: Option<f64>,
    /// People bound to two live agreements at once.
    pub double_bookings: u64,
    /// REQUESTs sent for each ride.
    pub handshakes_per_ride: Option<f64>,
    /// REQUESTs refused because the driver was engaged or gone, for each ride.
    pub conflicts_per_ride: Option<f64>,
    /// Messages between nodes for each ride: every copy of gossip, every frame.
    pub messages_per_ride: Option<f64>,
    /// Bytes of these for each ride.
    pub bytes_per_ride: Option<f64>,
    /// Bytes a node sends in a second.
    pub bytes_per_node_s: Option<f64>,
    /// Share of the live offers on its topics that a node knew, 0 to 1.
    pub view_share: Option<f64>,
    /// From the publication of an offer to a node that listens.
    #[serde(default)]
    pub delivery_ms: Delivery,
    /// Simulated events.
    pub events: u64,
    /// Time the run took on the machine, seconds.
    pub wall_s: f64,
    /// Hash over everything that happened, hexadecimal.
    pub trace_hash: String,
}

/// Waits from request to pickup without boarding, seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// Mean over the served.
    pub mean: Option<f64>,
    /// Half of the served waited at most this long.
    pub p50: Option<f64>,
    /// 95 of 100 served waited at most this long.
    pub p95: Option<f64>,
    /// Mean over all requests, a lost one counted as waiting for the whole patience.
    pub all_mean: Option<f64>,
}

/// How long gossip takes, milliseconds; none for a dispatcher.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Half of the messages took at most this long.
    pub p50: Option<f64>,
    /// 99 of 100 did.
    pub p99: Option<f64>,
}

/// Drive to the pickup, seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pickup {
    /// Mean over the served.
    pub mean: Option<f64>,
}

/// A figure by its name.
type Metric = (&'static str, fn(&Figures) -> Option<f64>);

/// All figures that can be named in an assertion, in the order of the document.
pub const METRICS: [Metric; 20] = [
    ("served", |run| Some(count(run.served))),
    ("served_share", |run| run.served_share),
    ("wait_s.mean", |run| run.wait_s.mean),
    ("wait_s.p50", |run| run.wait_s.p50),
    ("wait_s.p95", |run| run.wait_s.p95),
    ("wait_s.all_mean", |run| run.wait_s.all_mean),
    ("pickup_s.mean", |run| run.pickup_s.mean),
    ("empty_km_share", |run| run.empty_km_share),
    ("double_bookings", |run| Some(count(run.double_bookings))),
    ("handshakes_per_ride", |run| run.handshakes_per_ride),
    ("conflicts_per_ride", |run| run.conflicts_per_ride),
    ("messages_per_ride", |run| run.messages_per_ride),
    ("bytes_per_ride", |run| run.bytes_per_ride),
    ("bytes_per_node_s", |run| run.bytes_per_node_s),
    ("view_share", |run| run.view_share),
    ("delivery_ms.p50", |run| run.delivery_ms.p50),
    ("delivery_ms.p99", |run| run.delivery_ms.p99),
    ("events", |run| Some(count(run.events))),
    ("wall_s", |run| Some(run.wall_s)),
    ("fleet", |run| Some(f64::from(run.fleet))),
];

/// The names of [`METRICS`], with commas.
#[must_use]
pub fn metric_names() -> String {
    METRICS.map(|(name, _)| name).join(", ")
}

impl Figures {
    /// The figures of a run that took `wall_s` seconds on the machine.
    #[must_use]
    pub fn of(run: &RunOutcome, wall_s: f64) -> Self {
        let mut waits: Vec<u64> = run.rides.iter().filter_map(RideOutcome::wait_ms).collect();
        waits.sort_unstable();
        let pickups: Vec<u64> = run
            .rides
            .iter()
            .filter(|ride| ride.picked_up_ms.is_some())
            .map(|ride| ride.pickup_ms.into())
            .collect();
        let served = waits.len() as u64;
        let lost = run.rides.len() as u64 - served;
        let waited: u64 = waits.iter().sum();
        let all = waited.saturating_add(lost.saturating_mul(run.patience_ms));
        let seconds = |ms: Option<f64>| ms.map(|ms| rounded(ms / 1_000.0, 3));
        let quantile = |share: f64| seconds(quantile(&waits, share).map(count));
        let said = run.traffic.unwrap_or_default();
        let is_silent = run.traffic.is_none();
        let per_ride = |n: u64| if is_silent { Some(0.0) } else { ratio(count(n), count(served), 3) };
        let Traffic { double_bookings, handshakes, conflicts, messages, bytes, node_s, view_share, .. } =
            said;
        Self {
            policy: run.policy.to_string(),
            fleet: run.fleet,
            seed: run.seed,
            served,
            served_share: ratio(count(served), run.rides.len() as f64, 6),
            wait_s: Wait {
                mean: seconds(mean(&waits)),
                p50: quantile(0.5),
                p95: quantile(0.95),
                all_mean: ratio(count(all), run.rides.len() as f64 * 1_000.0, 3),
            },
            pickup_s: Pickup { mean: seconds(mean(&pickups)) },
            empty_km_share: ratio(count(run.empty_m), count(run.empty_m.saturating_add(run.full_m)), 6),
            double_bookings,
            handshakes_per_ride: per_ride(handshakes),
            conflicts_per_ride: per_ride(conflicts),
            messages_per_ride: per_ride(messages),
            bytes_per_ride: per_ride(bytes),
            bytes_per_node_s: if is_silent { Some(0.0) } else { ratio(count(bytes), node_s, 3) },
            view_share: Some(if is_silent { 1.0 } else { rounded(view_share, 6) }),
            delivery_ms: Delivery {
                p50: run.traffic.map(|said| said.delivery_p50_ms.into()),
                p99: run.traffic.map(|said| said.delivery_p99_ms.into()),
            },
            events: run.events,
            wall_s: rounded(wall_s, 3),
            trace_hash: run.trace_hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// A figure by its name: none when there is no figure of this name, and none inside
    /// when the run has no value for it.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<Option<f64>> {
        METRICS.iter().find(|(known, _)| *known == name).map(|(_, read)| read(self))
    }
}

/// A count as a number; exact below 2^53, which no run reaches.
pub(super) fn count(n: u64) -> f64 {
    n as f64
}

/// A number with so many decimals.
pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let unit = 10_f64.powi(decimals);
    (value * unit).round() / unit
}

fn ratio(part: f64, whole: f64, decimals: i32) -> Option<f64> {
    (whole > 0.0).then(|| rounded(part / whole, decimals))
}

fn mean(values: &[u64]) -> Option<f64> {
    ratio(count(values.iter().sum()), values.len() as f64, 6)
}

/// The least value that this share of sorted values does not exceed (nearest rank).
fn quantile(sorted: &[u64], share: f64) -> Option<u64> {
    let rank = (sorted.len() as f64 * share).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::outcome::Moment;
    use crate::policy::Policy;
    use crate::roads::Junction;

    /// A run in which request `n` waits for `waits[n]` seconds, or for ever.
    pub(in crate::report) fn run(policy: &str, fleet: u32, seed: u64, waits: &[Option<u64>]) -> RunOutcome {
        let policy: Policy = policy.parse().expect("a policy");
        let rides = waits.iter().enumerate().map(|(request, wait)| {
            let requested_ms = request as u64 * 60_000;
            let picked_up_ms = wait.map(|wait| requested_ms + wait * 1_000);
            RideOutcome {
                request: request as u32,
                requested_ms,
                vehicle: wait.map(|_| 7),
                matched_ms: picked_up_ms.map(|at| at.saturating_sub(30_000)),
                picked_up_ms,
                dropped_ms: picked_up_ms.map(|at| at + 330_000),
                set_out: wait.map(|_| Junction(0)),
                from: Junction(1),
                to: Junction(2),
                pickup_m: 150,
                pickup_ms: 30_000,
                trip_m: 1_500,
            }
        });
        let moments = [0, 30_000, 60_000, 90_000].map(|at_ms| Moment {
            at_ms,
            nodes: 10,
            messages: 3 * at_ms / 1_000,
            view: Some(900),
            ..Moment::default()
        });
        let moments = moments.to_vec();
        let traffic = matches!(policy, Policy::PeerToPeer(_)).then_some(Traffic {
            double_bookings: 0,
            handshakes: 6,
            conflicts: 2,
            messages: 400,
            bytes: 80_000,
            node_s: 1_000.0,
            view_share: 0.9,
            restarts: 0,
            delivery_p50_ms: 120,
            delivery_p99_ms: 400,
        });
        RunOutcome {
            policy,
            fleet,
            seed,
            rides: rides.collect(),
            patience_ms: 600_000,
            empty_m: 250,
            full_m: 750,
            traffic,
            moments: if traffic.is_some() { moments } else { Vec::new() },
            events: 1_000,
            trace_hash: [0xab; 32],
        }
    }

    #[test]
    fn figures_of_a_small_run() {
        let run = run("p2p", 10, 3, &[Some(60), Some(120), Some(180), None]);
        let figures = Figures::of(&run, 1.23456);
        assert_eq!((figures.served, figures.served_share), (3, Some(0.75)));
        let wait = Wait {
            mean: Some(120.0),
            p50: Some(120.0),
            p95: Some(180.0),
            all_mean: Some((360.0 + 600.0) / 4.0),
        };
        assert_eq!(figures.wait_s, wait);
        assert_eq!(figures.pickup_s.mean, Some(30.0));
        assert_eq!(figures.empty_km_share, Some(0.25));
        assert_eq!((figures.handshakes_per_ride, figures.conflicts_per_ride), (Some(2.0), Some(0.667)));
        assert_eq!((figures.bytes_per_node_s, figures.view_share), (Some(80.0), Some(0.9)));
        assert_eq!(figures.wall_s, 1.235);
        assert_eq!(figures.trace_hash, "ab".repeat(32));
    }

    #[test]
    fn a_run_that_served_nobody_has_no_mean_wait() {
        let figures = Figures::of(&run("p2p", 10, 0, &[None, None]), 0.0);
        assert_eq!(figures.wait_s, Wait { all_mean: Some(600.0), ..Wait::default() });
        assert_eq!((figures.served_share, figures.handshakes_per_ride), (Some(0.0), None));
        let json = serde_json::to_value(&figures).unwrap();
        assert!(json["wait_s"]["mean"].is_null() && json["wait_s"]["all_mean"] == 600.0, "{json}");
    }

    #[test]
    fn a_dispatcher_says_nothing_and_sees_everything() {
        let figures = Figures::of(&run("batched:5", 10, 0, &[Some(1)]), 0.0);
        assert_eq!((figures.messages_per_ride, figures.view_share), (Some(0.0), Some(1.0)));
    }

    #[test]
    fn the_document_has_the_fields_of_the_contract_and_metrics_name_its_numbers() {
        let figures = Figures::of(&run("p2p", 10, 0, &[Some(1)]), 0.0);
        let json = serde_json::to_value(&figures).unwrap();
        for (name, read) in METRICS {
            let found = name.split('.').fold(&json, |value, key| &value[key]);
            assert_eq!(found.as_f64(), read(&figures), "{name}");
        }
        let fields = "policy fleet seed served served_share wait_s pickup_s empty_km_share double_bookings \
            handshakes_per_ride conflicts_per_ride messages_per_ride bytes_per_ride bytes_per_node_s view_share \
            events wall_s trace_hash";
        for field in fields.split_whitespace() {
            assert!(json.get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.95)), (Some(50), Some(95)));
        assert_eq!((quantile(&[9], 0.5), quantile(&[], 0.5)), (Some(9), None));
    }
}
