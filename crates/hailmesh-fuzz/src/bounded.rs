//! A bounded run: the corpus as it is, then inputs made of it, drawn from a seed.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::{Checked, Finding, Input, Target, mutated};

/// Most random decisions about one changed input.
const DECISIONS_MAX: usize = 1_024;

/// What a bounded run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// Inputs of the corpus.
    pub replayed: usize,
    /// Inputs that were drawn.
    pub drawn: u64,
    /// How long it took.
    pub took: Duration,
}

/// An input that something was found with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The input.
    pub bytes: Vec<u8>,
    /// What.
    pub finding: Finding,
}

/// The committed inputs of a target, by file name.
///
/// # Panics
/// When the folder cannot be read.
#[must_use]
pub fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder entry").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

/// Feeds one input and takes a panic for a finding.
///
/// # Errors
/// What did not hold.
pub fn caught(check: &dyn Fn(&[u8]) -> Checked, bytes: &[u8]) -> Checked {
    match catch_unwind(AssertUnwindSafe(|| check(bytes))) {
        Ok(checked) => checked,
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("(no words)");
            Err(Finding(format!("a panic: {text}")))
        }
    }
}

/// Replays the corpus of a target, then tries `inputs` more or as many as there is time for.
/// An input is random bytes, or one of the corpus with changes; which follows from the seed.
///
/// # Errors
/// The first input that something was found with.
pub fn run(
    check: &dyn Fn(&[u8]) -> Checked,
    target: &Target,
    seed: u64,
    inputs: u64,
    time: Duration,
) -> Result<Ran, Box<Found>> {
    let began = Instant::now();
    let known = corpus(target.name);
    for (_, bytes) in &known {
        try_one(check, bytes)?;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn = 0;
    while drawn < inputs && began.elapsed() < time {
        let bytes = draw(&mut rng, &known, target.len_max);
        try_one(check, &bytes)?;
        drawn += 1;
    }
    Ok(Ran { replayed: known.len(), drawn, took: began.elapsed() })
}

fn draw(rng: &mut ChaCha8Rng, known: &[(PathBuf, Vec<u8>)], len_max: usize) -> Vec<u8> {
    let random = |rng: &mut ChaCha8Rng, len: usize| {
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    if known.is_empty() || rng.random_range(0..3) == 0 {
        // Short ones are quick and mostly as good.
        let len = if rng.random_range(0..4) == 0 { len_max } else { len_max.min(256) };
        let len = rng.random_range(0..=len);
        return random(rng, len);
    }
    let decisions = random(rng, DECISIONS_MAX);
    let base = &known[rng.random_range(0..known.len())].1;
    let donor = &known[rng.random_range(0..known.len())].1;
    let mut bytes = mutated(base, donor, &mut Input::new(&decisions));
    // What comes after the end of an input decides, too.
    let more = rng.random_range(0..64);
    bytes.extend(random(rng, more));
    bytes.truncate(len_max);
    bytes
}

fn try_one(check: &dyn Fn(&[u8]) -> Checked, bytes: &[u8]) -> Result<(), Box<Found>> {
    caught(check, bytes).map_err(|finding| Box::new(Found { bytes: bytes.to_vec(), finding }))
}

/// Tries this many shorter inputs before it gives up.
const SHORTER_MAX: usize = 2_000;

/// Leaves out what is not needed to find something.
#[must_use]
pub fn shortened(check: &dyn Fn(&[u8]) -> Checked, mut found: Found) -> Found {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut tries = 0;
    let mut piece = found.bytes.len().div_ceil(2);
    while piece > 0 && tries < SHORTER_MAX {
        let mut at = 0;
        let mut shrank = false;
        while at < found.bytes.len() && tries < SHORTER_MAX {
            let end = (at + piece).min(found.bytes.len());
            let shorter = [&found.bytes[..at], &found.bytes[end..]].concat();
            tries += 1;
            match caught(check, &shorter) {
                Err(finding) => {
                    found = Found { bytes: shorter, finding };
                    shrank = true;
                }
                Ok(()) => at = end,
            }
        }
        if !shrank {
            piece /= 2;
        }
    }
    std::panic::set_hook(hook);
    found
}
