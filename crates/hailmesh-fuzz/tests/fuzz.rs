//! Corpus replay and a bounded run of every target, and faults that each must find.
//!
//! `HAILMESH_FUZZ_SEED` chooses the seed, `HAILMESH_FUZZ_SECONDS` how long a target of weight
//! one may take, `HAILMESH_FUZZ_TARGET` one target.

use std::time::Duration;

use hailmesh_fuzz::{TARGETS, Target, bounded, target};

/// The seed of runs of the test suite: a failure is the same for everybody.
const SEED: u64 = 1;
/// How long a target of weight one may take, seconds: all together less than a minute.
const SECONDS: f64 = 2.0;

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} = {text:?} cannot be read")))
}

#[test]
fn nothing_is_found_in_a_bounded_run() {
    let seed = setting("HAILMESH_FUZZ_SEED").unwrap_or(SEED);
    let seconds: f64 = setting("HAILMESH_FUZZ_SECONDS").unwrap_or(SECONDS);
    let only: Option<String> = setting("HAILMESH_FUZZ_TARGET");
    println!("seed {seed}");
    let mut broken = Vec::new();
    for target in TARGETS.iter().filter(|target| only.as_ref().is_none_or(|only| only == target.name)) {
        let time = Duration::from_secs_f64(seconds * f64::from(target.weight));
        match bounded::run(&|bytes| target.check(bytes), target, seed, u64::MAX, time) {
            Ok(ran) => {
                println!("{}: {} replayed, {} drawn in {:?}", target.name, ran.replayed, ran.drawn, ran.took);
            }
            Err(found) => {
                let check = |bytes: &[u8]| target.check(bytes);
                broken.push(report(target, &bounded::shortened(&check, *found)));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Keeps an input that something was found with, where it can be replayed from.
fn report(target: &Target, found: &bounded::Found) -> String {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("found-{}", target.name));
    std::fs::write(&path, &found.bytes).expect("the input can be kept");
    format!("{}: {}\n    the input: {}", target.name, found.finding, path.display())
}

#[test]
fn every_target_has_its_seeds_in_the_corpus_and_a_program_for_libfuzzer() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let update = std::env::var_os("UPDATE_CORPUS").is_some();
    for target in &TARGETS {
        for (name, bytes) in (target.seeds)() {
            let path = root.join("corpus").join(target.name).join(&name);
            if update {
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("the corpus can be written");
                std::fs::write(&path, &bytes).expect("the corpus can be written");
            }
            assert!(std::fs::read(&path).is_ok_and(|found| found == bytes), "{}", path.display());
        }
        let program = root.join("../../fuzz/fuzz_targets").join(format!("{}.rs", target.name));
        let text = std::fs::read_to_string(&program).unwrap_or_default();
        assert!(text.contains(&format!("\"{}\"", target.name)), "{} does not feed it", program.display());
        let total: usize = bounded::corpus(target.name).iter().map(|(_, bytes)| bytes.len()).sum();
        let files = bounded::corpus(target.name).len();
        assert!(files <= 96 && total <= 96 * 1_024, "{}: {files} files of {total} bytes", target.name);
    }
}

/// Replays the input in the file that `HAILMESH_FUZZ_INPUT` names, for the target of
/// `HAILMESH_FUZZ_TARGET`, and tells what happened in it.
#[test]
fn one_input_from_a_file() {
    let Some(path) = setting::<String>("HAILMESH_FUZZ_INPUT") else { return };
    let name: String = setting("HAILMESH_FUZZ_TARGET").expect("HAILMESH_FUZZ_TARGET names the target");
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    if name == "handshake" {
        for line in hailmesh_fuzz::handshake::watched(&bytes, None, true).told {
            println!("{line}");
        }
    }
    target(&name).check(&bytes).unwrap();
}
