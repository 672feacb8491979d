//! What one run is about: the configuration, the fault seeded into it, the book of its
//! statements, and which pairs of state and event it has come by.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::mutant::Mutant;
use crate::statement::{Book, Id, Key, RIDERS_MAX, driver_of};

/// Who is in a city and what may happen there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuration {
    /// Its name in reports.
    pub name: &'static str,
    /// Riders, the Byzantine ones last.
    pub riders: u8,
    /// Drivers, the Byzantine ones last.
    pub drivers: u8,
    /// How many riders sign what they like.
    pub byzantine_riders: u8,
    /// How many drivers sign what they like.
    pub byzantine_drivers: u8,
    /// Slots that each driver may bind.
    pub driver_slots: u8,
    /// Slots that each rider may bind.
    pub rider_slots: u8,
    /// Searches that each rider may begin.
    pub attempts: u8,
    /// Crashes in all.
    pub crashes: u8,
    /// Users may cancel before boarding.
    pub cancel: bool,
    /// Boarding, COMPLETE and COSIGN, and ends without the other's signature.
    pub ride: bool,
    /// COMPLETEs that a driver may sign for one agreement.
    pub completes: u8,
    /// ARRIVED and claims of a no-show.
    pub no_show: bool,
    /// Drivers may INVITE.
    pub invite: bool,
    /// Drivers may answer with a COUNTER.
    pub counter: bool,
    /// STATUS is exchanged.
    pub status: bool,
    /// Drivers may replace their key once: as planned, or because a store was lost.
    pub keys: bool,
    /// Byzantine parties also speak about agreements of others.
    pub foreign: bool,
    /// ACCEPTs that a Byzantine driver may forge.
    pub forged_accepts: u8,
    /// Searches, asks and REQUESTs are not given up before they are answered, but by crashes.
    pub patient: bool,
    /// Stop after about this many states, where the whole is too large.
    pub cap: Option<usize>,
    /// Every pair of state and event must occur.
    pub covers_everything: bool,
}

impl Configuration {
    /// Two slots and two searches each, and nothing but the handshake.
    #[must_use]
    pub const fn new(name: &'static str, riders: u8, drivers: u8) -> Self {
        Self {
            name,
            riders,
            drivers,
            byzantine_riders: 0,
            byzantine_drivers: 0,
            driver_slots: 2,
            rider_slots: 2,
            attempts: 2,
            crashes: 0,
            cancel: false,
            ride: false,
            completes: 1,
            no_show: false,
            invite: false,
            counter: false,
            status: false,
            keys: false,
            foreign: false,
            forged_accepts: 2,
            patient: false,
            cap: None,
            covers_everything: false,
        }
    }

    /// Whether a rider keeps the protocol.
    #[must_use]
    pub const fn is_honest_rider(&self, rider: u8) -> bool {
        rider + self.byzantine_riders < self.riders
    }

    /// Whether a driver keeps the protocol.
    #[must_use]
    pub const fn is_honest_driver(&self, driver: u8) -> bool {
        driver + self.byzantine_drivers < self.drivers
    }

    /// Whether a key is that of somebody who keeps the protocol.
    #[must_use]
    pub const fn is_honest(&self, key: Key) -> bool {
        if key < RIDERS_MAX { self.is_honest_rider(key) } else { self.is_honest_driver(driver_of(key).0) }
    }
}

/// States that coverage tells apart, on each side.
pub const STATES: usize = 5;
/// Events of a driver's lane, and as many of a rider's chain.
pub const EVENTS: usize = 11;
/// Pairs of state and event, drivers first.
pub const PAIRS: usize = 2 * STATES * EVENTS;

/// Names of the states of a lane, in the order of their numbers.
pub const DRIVER_STATES: [&str; STATES] = ["FREE", "HELD", "FIRM", "FIRM boarded", "FIRM complete"];
/// Names of the states of a chain.
pub const RIDER_STATES: [&str; STATES] = ["IDLE", "SHOPPING", "COMMITTED", "FIRM", "FIRM boarded"];
/// Names of the events of a lane.
pub const DRIVER_EVENTS: [&str; EVENTS] = [
    "REQUEST",
    "CONFIRM",
    "RELEASE",
    "COSIGN",
    "hold ended",
    "cancel",
    "no-show",
    "arrived",
    "boarded",
    "complete",
    "end alone",
];
/// Names of the events of a chain.
pub const RIDER_EVENTS: [&str; EVENTS] = [
    "want",
    "stop",
    "ACCEPT",
    "ACK",
    "VOID",
    "doubt ended",
    "cancel",
    "no-show",
    "BOARDED",
    "COMPLETE",
    "end alone",
];

/// Pairs that occurred, as bits.
#[derive(Debug, Default)]
pub struct Coverage([AtomicU64; 2]);

impl Coverage {
    /// Notes one.
    pub fn note(&self, pair: usize) {
        let (word, bit) = (&self.0[pair / 64], 1 << (pair % 64));
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether it occurred.
    #[must_use]
    pub fn has(&self, pair: usize) -> bool {
        self.0[pair / 64].load(Ordering::Relaxed) & (1 << (pair % 64)) != 0
    }

    /// How many did.
    #[must_use]
    pub fn count(&self) -> usize {
        (0..PAIRS).filter(|pair| self.has(*pair)).count()
    }
}

/// Name of a pair: who, state, event.
#[must_use]
pub fn pair_name(pair: usize) -> String {
    let (side, rest) = (pair / (STATES * EVENTS), pair % (STATES * EVENTS));
    let (state, event) = (rest / EVENTS, rest % EVENTS);
    if side == 0 {
        format!("driver {} × {}", DRIVER_STATES[state], DRIVER_EVENTS[event])
    } else {
        format!("rider {} × {}", RIDER_STATES[state], RIDER_EVENTS[event])
    }
}

/// One run.
#[derive(Debug)]
pub struct World {
    /// Who and what.
    pub config: Configuration,
    /// The fault, if one is seeded.
    pub mutant: Option<Mutant>,
    /// Statements by number.
    pub book: Book,
    /// Pairs that occurred.
    pub coverage: Coverage,
    /// The ACCEPT that nobody ever signed, for forks.
    pub nobody: Id,
    /// Tells runs apart.
    pub run: u64,
}

impl World {
    /// A run of this configuration with this fault.
    #[must_use]
    pub fn new(config: Configuration, mutant: Option<Mutant>) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let (book, coverage) = (Book::default(), Coverage::default());
        Self { config, mutant, book, coverage, nobody: (1 << 24) - 1, run }
    }

    /// Whether this fault is seeded.
    #[must_use]
    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}
