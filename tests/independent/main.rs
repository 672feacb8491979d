//! The golden vectors, checked by a decoder that shares no code with ours: `verify.py`.
//!
//! It runs with the Python that `HAILMESH_TEST_PYTHON` names, else `python3`, if that has
//! the modules `cbor2` and `cryptography` (`blake3` is used if it is there). Without them
//! the test says that it was skipped; where `CI` is `true` it fails instead.
#![forbid(unsafe_code)]

use std::env;
use std::path::Path;
use std::process::Command;

/// Fewer vectors than this, and the files are not the ones that are meant.
const VECTORS_MIN: u32 = 400;

#[test]
fn golden_vectors_mean_the_same_to_others() {
    let python = env::var("HAILMESH_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let modules = Command::new(&python).args(["-c", "import cbor2, cryptography"]).output();
    let missing = match modules {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("{python}: {error}")),
    };
    if let Some(why) = missing {
        let hint = "pip install cbor2 cryptography blake3, and name that Python in HAILMESH_TEST_PYTHON";
        assert!(env::var("CI").as_deref() != Ok("true"), "the independent decoder cannot run: {why}; {hint}");
        println!("SKIPPED: {why}; {hint}");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("independent/verify.py");
    let output = Command::new(&python).arg(&script).output().expect("a program that has just run");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{text}");
    assert!(output.status.success(), "{python} {}: {}\n{text}{errors}", script.display(), output.status);
    let last = text.lines().last().unwrap_or_default();
    let passed = last.strip_suffix(" passed, 0 failed").and_then(|passed| passed.parse::<u32>().ok());
    assert!(passed.is_some_and(|passed| passed >= VECTORS_MIN), "the last line was {last:?}");
}
