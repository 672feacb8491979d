//! What strangers, users and machines can feed to Hailmesh, as functions from bytes to
//! checks.
//!
//! A [`Target`] takes any bytes and says what did not hold; a panic counts as well. Nothing
//! here knows an engine: the tests of this crate replay the committed corpus and try a
//! bounded number of changed inputs, and `fuzz/` hands the same functions to libFuzzer.
//!
//! Targets read their bytes with [`Input`], so that every input means something: which
//! golden vector to begin with and how to change it, which message to deliver next, when to
//! crash. Those that read bytes as they are have a mode for that, too.
#![forbid(unsafe_code)]

pub mod admission;
pub mod bounded;
pub mod evidence;
pub mod frame;
pub mod handshake;
mod input;
mod mutate;
pub mod names;
pub mod receipt;
pub mod scenario;
mod seal;
pub mod statement;
pub mod vectors;

use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

pub use input::Input;
pub use mutate::mutated;

/// Something that must never happen, and did: what, with the values that show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding(pub String);

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Finding {}

/// What a check says.
pub type Checked = Result<(), Finding>;

/// Fails with this text unless the condition holds.
///
/// # Errors
/// The finding, when it does not.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Finding(what())) }
}

/// One thing that can be fed, and what must hold then.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: of the folder of its corpus, and of its program for libFuzzer.
    pub name: &'static str,
    /// The checks.
    pub run: fn(&[u8]) -> Checked,
    /// Inputs to begin with, by name.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
    /// Longest input that makes sense, bytes.
    pub len_max: usize,
    /// Most memory that the checks of one input may hold at a time, bytes, what the checks
    /// themselves need included.
    pub memory_max: u64,
    /// Longest that an input may take in any build, of machines that are busy.
    pub time_max: Duration,
    /// Share of a bounded run, relative to the other targets.
    pub weight: u32,
}

impl Target {
    /// Feeds one input and judges what came of it, memory and time included.
    ///
    /// # Errors
    /// What did not hold.
    pub fn check(&self, bytes: &[u8]) -> Checked {
        // Read once for all inputs: none of them is to blame for what that takes.
        LazyLock::force(&vectors::VECTORS);
        // So is the table of points of keys, which a thread makes with the first one it reads.
        let _ = hailmesh_types::PublicKey::from_bytes(&vectors::A_KEY);
        let began = Instant::now();
        let mut checked = Ok(());
        let memory = allocation_counter::measure(|| checked = (self.run)(bytes));
        checked?;
        ensure(memory.bytes_max <= self.memory_max, || {
            format!("{} bytes of memory at a time: at most {} are allowed", memory.bytes_max, self.memory_max)
        })?;
        let took = began.elapsed();
        ensure(took <= self.time_max, || format!("{took:?}: at most {:?} are allowed", self.time_max))
    }
}

const SECOND: Duration = Duration::from_secs(1);
const KIB: u64 = 1_024;

/// All targets.
pub const TARGETS: [Target; 8] = [
    Target {
        name: "statement",
        run: statement::run,
        seeds: statement::seeds,
        len_max: 4_608,
        memory_max: 256 * KIB,
        time_max: SECOND.saturating_mul(5),
        weight: 2,
    },
    Target {
        name: "frame",
        run: frame::run,
        seeds: frame::seeds,
        len_max: 8_704,
        memory_max: 256 * KIB,
        time_max: SECOND.saturating_mul(5),
        weight: 1,
    },
    Target {
        name: "receipt",
        run: receipt::run,
        seeds: receipt::seeds,
        len_max: 16_896,
        memory_max: 512 * KIB,
        time_max: SECOND.saturating_mul(5),
        weight: 1,
    },
    Target {
        name: "evidence",
        run: evidence::run,
        seeds: evidence::seeds,
        len_max: 4_608,
        memory_max: 512 * KIB,
        time_max: SECOND.saturating_mul(5),
        weight: 1,
    },
    Target {
        name: "names",
        run: names::run,
        seeds: names::seeds,
        len_max: 512,
        memory_max: 64 * KIB,
        time_max: SECOND,
        weight: 1,
    },
    Target {
        name: "admission",
        run: admission::run,
        seeds: admission::seeds,
        len_max: 4_096,
        memory_max: 8 * 1_024 * KIB,
        time_max: SECOND.saturating_mul(20),
        weight: 3,
    },
    Target {
        name: "handshake",
        run: handshake::run,
        seeds: handshake::seeds,
        len_max: 2_048,
        memory_max: 64 * 1_024 * KIB,
        time_max: SECOND.saturating_mul(60),
        weight: 6,
    },
    Target {
        name: "scenario",
        run: scenario::run,
        seeds: scenario::seeds,
        len_max: 4_096,
        memory_max: 32 * 1_024 * KIB,
        time_max: SECOND.saturating_mul(20),
        weight: 2,
    },
];

/// The target of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target {name}"))
}

/// What a program for libFuzzer does with one input.
///
/// # Panics
/// When a check finds something: that is how libFuzzer hears of it.
pub fn feed(name: &str, bytes: &[u8]) {
    if let Err(finding) = target(name).check(bytes) {
        panic!("{name}: {finding}");
    }
}
