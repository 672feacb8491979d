//! The program itself: what it prints without any node. More about real processes is in the
//! package of the tests that span crates; this one makes cargo build the program for them.

use std::process::{Command, Output};

fn hailmesh(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hailmesh"));
    command.args(args).env_remove("HAILMESH_HOME");
    command.output().expect("the program starts")
}

#[test]
fn help_goes_to_stdout_and_errors_to_stderr() {
    let help = hailmesh(&["--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success());
    for heading in ["RUN A NODE", "USE A RUNNING NODE", "TRY AND TEST", "MANAGE"] {
        assert!(text.contains(heading), "{text}");
    }
    let wrong = hailmesh(&["drive"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stdout.is_empty() && String::from_utf8_lossy(&wrong.stderr).contains("driver"));
}

#[test]
fn a_small_demo_ends_by_itself_and_every_receipt_holds() {
    let demo =
        hailmesh(&["demo", "--drivers", "4", "--riders", "2", "--rides", "4", "--seed", "7", "--json"]);
    let errors = String::from_utf8_lossy(&demo.stderr);
    assert!(demo.status.success(), "{errors}");
    let report: serde_json::Value = serde_json::from_slice(&demo.stdout).unwrap();
    assert_eq!(report["nodes"], 6);
    assert_eq!(report["rides_completed"], 4, "{report}");
    assert_eq!(report["receipts_verified"], 4, "{report}");
    assert_eq!(report["double_bookings"], 0, "{report}");
    assert!(report["rides_settled"].as_u64() >= Some(4));
    assert!(report["settle_ms"]["p50"].as_f64() > Some(0.0), "{report}");
    assert!(report["gossip"]["messages"].as_u64() > Some(0), "{report}");
    assert!(report["gossip"]["bytes_per_node_s"].as_f64() > Some(0.0), "{report}");
    assert!(report["gossip"]["delivery_ms"]["p99"].is_f64() && report["wall_s"].is_f64());
}
