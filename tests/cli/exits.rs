//! Every exit code for its reason.

use std::net::TcpListener;

use crate::process::{AT, FROM, Node, Place, TO, text};

#[test]
fn code_2_for_a_wrong_command_line() {
    let place = Place::new("usage");
    for (args, named) in [
        (&["driver", "--at", "91,0"][..], "latitude 91"),
        (&["driver", "--at", "NaN,0"], "latitude NaN"),
        (&["driver", "--at", "0,181"], "longitude 181"),
        (&["driver", "--at", "here"], "expected LAT,LON"),
        (&["driver", "--at", AT, "--seats", "0"], "0"),
        (&["driver", "--at", AT, "--class", "boat"], "boat"),
        (&["driver", "--at", AT, "--precision", "6"], "6"),
        (&["driver", "--at", AT, "--tariff", "bas=1"], "bas=1"),
        (&["driver", "--at", AT, "--route", "nowhere.gpx"], "nowhere.gpx"),
        (&["driver"], "--at LAT,LON"),
        (&["driver", "--at", AT, "--sedan"], "--sedan"),
        (&["fly"], "fly"),
        (&["ride", "request"], "--from"),
        (&["ride", "request", "--from", FROM, "--to", "0,inf"], "longitude inf"),
        (&["ride", "request", "--from", FROM, "--wait", "0s"], "1s to 2m"),
        (&["ride", "show", "xyz"], "26 characters"),
        (&["ride", "rate", "01J00000000000000000000000", "6"], "6"),
        (&["offers", "--radius", "2 miles"], "2 miles"),
        (&["demo", "--drivers", "0"], "0"),
        (&["key", "new"], "--role"),
        (&["sim", "run"], "sim"),
        (&[], "Usage"),
    ] {
        let message = place.refused(2, args);
        assert!(message.contains(named), "{args:?} does not name {named:?}:\n{message}");
    }
    assert!(!place.home("driver").exists(), "a wrong command line makes no home");
}

#[test]
fn code_3_when_no_node_runs() {
    let place = Place::new("nobody");
    for args in [
        &["ride", "request", "--from", FROM, "--to", TO][..],
        &["ride", "list"],
        &["status"],
        &["offers"],
        &["peers", "list"],
        &["invite"],
        &["events"],
    ] {
        let message = place.refused(3, args);
        assert!(message.contains("no node runs") && message.contains("hint:"), "{args:?}: {message}");
    }
    // A node that was killed leaves its files behind.
    let driver = place.driver(&[]);
    driver.kill();
    assert!(place.home("driver").join("api.json").exists());
    let message = place.refused(3, &["--home", &text(&place.home("driver")), "status"]);
    assert!(message.contains("does not answer"), "{message}");
}

#[test]
fn code_4_without_a_match_and_the_reasons() {
    let place = Place::new("no-match");
    let _rider = place.node(&["rider", "--at", AT]);
    let answer = place.json(4, &["ride", "request", "--from", FROM, "--to", TO, "--wait", "1s"]);
    assert_eq!(answer["state"], "no_match");
    let reasons = &answer["reasons"];
    assert_eq!(
        (reasons["heard"].as_u64(), reasons["in_range"].as_u64(), reasons["peers"].as_u64()),
        (Some(0), Some(0), Some(0))
    );
    assert!(reasons["excluded"].is_object() && reasons["last_offer_ms"].is_null(), "{answer}");
    let message = place.refused(4, &["ride", "request", "--from", FROM, "--to", TO, "--wait", "1s"]);
    assert!(message.contains("next:") && message.contains("invite"), "{message}");
}

#[test]
fn code_4_when_the_only_driver_is_too_dear() {
    let place = Place::new("too-dear");
    let _driver = place.driver(&[]);
    let _rider = place.rider(&[]);
    place.wait_offer(&place.home("rider"));
    let answer =
        place.json(4, &["ride", "request", "--from", FROM, "--to", TO, "--max-fare", "100", "--wait", "1s"]);
    assert_eq!(answer["state"], "no_match");
    assert_eq!(answer["reasons"]["excluded"]["fare"], 1, "{answer}");
}

#[test]
fn code_5_with_the_wrong_token() {
    let place = Place::new("token");
    let _rider = place.node(&["rider"]);
    std::fs::write(place.home("rider").join("api-token"), "0".repeat(64)).expect("written");
    let message = place.refused(5, &["status"]);
    assert!(message.contains("api-token"), "{message}");
}

#[test]
fn code_6_for_a_second_node_on_a_home() {
    let place = Place::new("second");
    let first = place.driver(&[]);
    let message = place.refused(6, &["driver", "--at", AT, "--no-mdns"]);
    assert!(message.contains("--home"), "{message}");
    let named = text(&place.home("driver"));
    let message = place.refused(6, &["rider", "--home", &named]);
    assert!(message.contains("in use") && message.contains("--home"), "{message}");
    // The first one is none the worse for it.
    assert_eq!(place.json(0, &["status"])["role"], "driver");
    assert_eq!(first.terminate(), Some(0));
}

#[test]
fn code_7_for_a_wrong_configuration() {
    let place = Place::new("config");
    let file = text(&place.path("bad.toml"));
    for (content, named) in [
        ("[netwrok]\nname = \"x\"", "netwrok"),
        ("[network]\nnam = \"x\"", "network.name"),
        ("[network]\nname = \"Not Allowed\"", "Not Allowed"),
        ("[driver]\nseats = 99", "99"),
        ("[timers]\nhold_ms = 1", "hold_ms"),
        ("[network", "bad.toml"),
    ] {
        std::fs::write(&file, content).expect("written");
        let message = place.refused(7, &["driver", "--at", AT, "--config", &file]);
        assert!(message.contains(named), "{content:?} does not name {named:?}:\n{message}");
        assert_eq!(
            place.run(&["config", "check", "--role", "driver", "--config", &file]).status.code(),
            Some(7)
        );
    }
    for (args, named) in [
        (&["rider", "--network", "Big City"][..], "Big City"),
        (&["rider", "--listen", "localhost:1"], "localhost:1"),
        (&["rider", "--bootstrap", "example.org"], "example.org"),
        (&["rider", "--store", "mysql://x"], "mysql"),
        (&["rider", "--api", "0.0.0.0:8080"], "TLS"),
        (&["rider", "--api", "here"], "here"),
        (&["rider", "--config", "missing.toml"], "missing.toml"),
    ] {
        let message = place.refused(7, args);
        assert!(message.contains(named), "{args:?} does not name {named:?}:\n{message}");
    }
    let mut command = place.command(&["rider"]);
    command.env("HAILMESH_DRIVER__SEETS", "3");
    let output = crate::process::finish(command);
    let (_, message) = crate::process::texts(&output);
    assert_eq!(output.status.code(), Some(7));
    assert!(message.contains("HAILMESH_DRIVER__SEETS") && message.contains("driver.seats"), "{message}");
}

#[test]
fn code_8_for_what_does_not_verify() {
    let place = Place::new("verify");
    let _driver = place.driver(&[]);
    let _rider = place.rider(&[]);
    place.wait_offer(&place.home("rider"));
    let firm = place.json(0, &["ride", "request", "--from", FROM, "--to", TO]);
    let file = place.path("x.receipt");
    let path = text(&file);
    let ride = firm["ride_id"].as_str().expect("an id");
    assert!(place.run(&["ride", "receipt", ride, "--out", &path]).status.success());
    let good = std::fs::read(&file).expect("written");
    assert_eq!(place.json(0, &["verify", &path])["valid"], true);
    for (what, bytes) in [
        ("truncated", good[..good.len() / 2].to_vec()),
        ("with a byte more", [&good[..], b"x"].concat()),
        ("empty", Vec::new()),
        ("text", b"not a receipt".to_vec()),
    ] {
        std::fs::write(&file, bytes).expect("written");
        let answer = place.json(8, &["verify", &path]);
        assert_eq!(answer["valid"], false, "{what}");
        assert!(answer["clause"].as_str().is_some_and(|clause| clause.starts_with('P')), "{what}: {answer}");
    }
    // One bit anywhere.
    for at in (0..good.len()).step_by(97) {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        std::fs::write(&file, bytes).expect("written");
        let answer = place.json(8, &["verify", &path]);
        assert!(answer["clause"].is_string(), "byte {at}: {answer}");
    }
    assert!(place.refused(1, &["verify", "nowhere"]).contains("nowhere"));
}

#[test]
fn code_130_when_a_search_is_interrupted() {
    let place = Place::new("interrupt");
    let rider = place.node(&["rider", "--at", AT, "--json"]);
    let request =
        Node::spawn(place.command(&["ride", "request", "--from", FROM, "--to", TO, "--wait", "60s"]));
    rider.wait_stdout(|line| line.contains("\"requested\""));
    assert_eq!(request.interrupt(), Some(130));
    let status = place.json(0, &["status"]);
    assert!(status["rides"].as_array().is_some_and(Vec::is_empty), "the search is called off: {status}");
}

#[test]
fn a_port_in_use_is_named() {
    let place = Place::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let message = place.refused(1, &["rider", "--no-mdns", "--listen", &listen]);
    assert!(message.contains(&listen), "{message}");
    let api = format!("127.0.0.1:{port}");
    let message = place.refused(1, &["rider", "--no-mdns", "--api", &api]);
    assert!(message.contains(&api), "{message}");
    // Nothing of the failed starts stands in the way.
    let rider = place.node(&["rider"]);
    assert_eq!(rider.terminate(), Some(0));
}

#[test]
fn files_made_from_the_program_itself() {
    let place = Place::new("made");
    for args in [
        &["completions", "bash"][..],
        &["completions", "zsh"],
        &["man"],
        &["openapi"],
        &["--help"],
        &["--version"],
    ] {
        let output = place.run(args);
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}");
    }
    let folder = text(&place.path("man"));
    assert!(place.run(&["man", "--out", &folder]).status.success());
    assert!(place.path("man").join("hailmesh.1").exists());
}
