//! What came of a run: facts, from which reports are made.

use crate::policy::Policy;
use crate::roads::Junction;

/// One request and what became of it. Times are milliseconds of simulated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RideOutcome {
    /// Row of the request in the scenario.
    pub request: u32,
    /// When it was made.
    pub requested_ms: u64,
    /// The car that served it, by its place in the fleet.
    pub vehicle: Option<u32>,
    /// When a car was sent (a dispatcher) or both sides were firm (nodes).
    pub matched_ms: Option<u64>,
    /// When the car was at the pickup; none: the request was lost.
    pub picked_up_ms: Option<u64>,
    /// When the rider was at the destination; none: not before the end of the run.
    pub dropped_ms: Option<u64>,
    /// Where the car set out for the pickup.
    pub set_out: Option<Junction>,
    /// The junction of the pickup.
    pub from: Junction,
    /// The junction of the destination.
    pub to: Junction,
    /// Road from where the car set out to the pickup, metres.
    pub pickup_m: u32,
    /// Drive from where the car set out to the pickup.
    pub pickup_ms: u32,
    /// Road from the pickup to the destination, metres.
    pub trip_m: u32,
}

impl RideOutcome {
    /// Time from the request to the pickup, without boarding, if there was one.
    #[must_use]
    pub fn wait_ms(&self) -> Option<u64> {
        Some(self.picked_up_ms?.saturating_sub(self.requested_ms))
    }
}

/// What nodes said to each other and what they knew. Dispatchers say nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Traffic {
    /// People found bound to two live agreements at once; anything but 0 is a fault.
    pub double_bookings: u64,
    /// REQUESTs sent.
    pub handshakes: u64,
    /// REQUESTs that were refused because the driver was engaged or gone.
    pub conflicts: u64,
    /// Messages between nodes: each copy of a gossip message and each frame.
    pub messages: u64,
    /// Bytes of these messages without transport overhead.
    pub bytes: u64,
    /// Node-seconds: how long all nodes together were up.
    pub node_s: f64,
    /// Share of the live offers on its topics that a node knew, mean over samples, 0 to 1.
    pub view_share: f64,
    /// Hosts that crashed or were restarted.
    pub restarts: u64,
    /// From the publication of a gossip message to a listener, half of them at most,
    /// milliseconds.
    pub delivery_p50_ms: u32,
    /// The same for 99 of 100.
    pub delivery_p99_ms: u32,
}

/// What went on between nodes since the moment before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// When, milliseconds since the first request could be made; before that 0.
    pub at_ms: u64,
    /// Nodes that are up.
    pub nodes: u32,
    /// Topics that they listen to, all together.
    pub listening: u64,
    /// Live offers of cars.
    pub cars: u32,
    /// Live offers of riders who wait.
    pub riders: u32,
    /// Messages since the moment before: each copy of a gossip message and each frame.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Events since the moment before.
    pub events: u64,
    /// Share of the live offers on its topics that a node knew, thousandths; none when
    /// there was nothing to know.
    pub view: Option<u16>,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOutcome {
    /// Who decided.
    pub policy: Policy,
    /// Cars.
    pub fleet: u32,
    /// The seed of the run.
    pub seed: u64,
    /// One for each request of the scenario, in its order.
    pub rides: Vec<RideOutcome>,
    /// How long a lost request counts as waiting, milliseconds.
    pub patience_ms: u64,
    /// Road driven without a passenger, metres.
    pub empty_m: u64,
    /// Road driven with one, metres.
    pub full_m: u64,
    /// What nodes said; none for a dispatcher.
    pub traffic: Option<Traffic>,
    /// The same over time, in order; empty for a dispatcher.
    pub moments: Vec<Moment>,
    /// Simulated events.
    pub events: u64,
    /// Hash over everything that happened, in order: one seed, one hash.
    pub trace_hash: [u8; 32],
}
