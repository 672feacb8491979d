//! Rules for the Rust files: unsafe code, length, unfinished work, paths.

use crate::files::{Violations, root, rust_files, text_files};

/// Past this a file is two files.
const LINES_MAX: usize = 700;

#[test]
fn every_crate_root_forbids_unsafe_code() {
    let mut violations = Violations::default();
    let mut roots = 0;
    for file in rust_files() {
        if is_crate_root(&file.path) {
            roots += 1;
            if !file.lines().any(|(_, line)| line.trim() == "#![forbid(unsafe_code)]") {
                violations.add(&file.path, 1, "a crate root needs #![forbid(unsafe_code)]");
            }
        }
    }
    let crates = std::fs::read_dir(root().join("crates")).expect("crates/ can be read").count();
    assert!(roots >= crates, "{roots} crate roots for {crates} crates");
    violations.assert_none();
}

#[test]
fn no_file_is_longer_than_a_reader_likes() {
    let mut violations = Violations::default();
    for file in rust_files() {
        let lines = file.lines().count();
        if lines > LINES_MAX {
            violations.add(
                &file.path,
                LINES_MAX,
                format!("{lines} lines; split it, the limit is {LINES_MAX}"),
            );
        }
    }
    violations.assert_none();
}

#[test]
fn nothing_is_left_unfinished() {
    // In two parts each, so that this file does not contain what it looks for.
    let banned = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("#[ign", "ore"),
        concat!("db", "g!("),
    ];
    let mut violations = Violations::default();
    for file in rust_files() {
        for (number, line) in file.lines() {
            for word in banned {
                if line.contains(word) {
                    violations.add(&file.path, number, format!("{word} must not be committed"));
                }
            }
        }
    }
    violations.assert_none();
}

#[test]
fn nothing_points_outside_the_repository() {
    // Scenario folders that tests and benches may read when they are there; everything
    // else must work from a clone alone.
    let outside = concat!("../", "shared");
    let never = concat!("../", "shared/", "design");
    let mut violations = Violations::default();
    for file in text_files() {
        let may = file.path.starts_with("tests/")
            || file.path.contains("/tests/")
            || file.path.contains("/benches/");
        for (number, line) in file.lines() {
            if line.contains(never) || (line.contains(outside) && !may) {
                violations.add(&file.path, number, "points outside the repository");
            }
        }
    }
    violations.assert_none();
}

#[test]
fn only_simulations_sign_for_everybody() {
    // Whoever holds the secret of these signatures signs in anybody's name: nothing that
    // talks to a network may know them, and the market takes them as an argument.
    let name = concat!("Simulated", "Signatures");
    let may = ["crates/hailmesh-wire/", "crates/hailmesh-sim/", "crates/hailmesh-fuzz/", "tests/"];
    let mut violations = Violations::default();
    for file in rust_files() {
        let is_test = file.path.contains("/tests/") || file.path.contains("/benches/");
        if is_test || may.iter().any(|folder| file.path.starts_with(folder)) {
            continue;
        }
        for (number, line) in file.lines() {
            if line.contains(name) {
                violations.add(&file.path, number, format!("{name} must not be known here"));
            }
        }
    }
    violations.assert_none();
}

#[test]
fn nothing_that_ships_asks_for_fail_points() {
    // They are passed by every node; that nobody outside of tests is told is what makes them
    // harmless.
    let names = [concat!("Fail", "Points"), concat!("fail_", "points")];
    let mut violations = Violations::default();
    for file in rust_files() {
        let is_test = file.path.starts_with("tests/") || file.path.contains("/tests/");
        if is_test || file.path.starts_with("crates/hailmesh-node/src/") {
            continue;
        }
        for (number, line) in file.lines() {
            for name in names.iter().filter(|name| line.contains(**name)) {
                violations.add(&file.path, number, format!("{name} are for tests alone"));
            }
        }
    }
    violations.assert_none();
}

#[test]
fn the_market_signs_and_checks_as_it_was_told() {
    // The forms without an argument are those of the network.
    let fixed = [".verify()", "Signed::verify)", "Verified::sign(", "&Ed25519"];
    let mut violations = Violations::default();
    let is_ours =
        |path: &str| path.starts_with("crates/hailmesh-market/src/") && !path.ends_with("/tests.rs");
    for file in rust_files().iter().filter(|file| is_ours(&file.path)) {
        for (number, line) in file.lines().take_while(|(_, line)| line.trim() != "#[cfg(test)]") {
            for word in fixed.iter().filter(|word| line.contains(**word)) {
                violations.add(
                    &file.path,
                    number,
                    format!("{word} takes no signatures: use the form that does"),
                );
            }
        }
    }
    violations.assert_none();
}

/// `src/lib.rs`, `src/main.rs` and the files of `src/bin` of every crate.
fn is_crate_root(path: &str) -> bool {
    let mut parts = path.split('/');
    if parts.next() != Some("crates") || parts.next().is_none() {
        return false;
    }
    matches!(parts.collect::<Vec<_>>().as_slice(), ["src", "lib.rs" | "main.rs"] | ["src", "bin", _])
}

#[test]
fn crate_roots_are_recognised() {
    assert!(is_crate_root("crates/hailmesh-wire/src/lib.rs"));
    assert!(is_crate_root("crates/hailmesh/src/bin/other.rs"));
    assert!(!is_crate_root("crates/hailmesh-wire/src/codec/lib.rs"));
    assert!(!is_crate_root("tests/tidy/main.rs"));
}
