//! The walk of the two terminals, as the README prints it.

use serde_json::Value;

use crate::process::{FROM, Place, TO, text};

#[test]
fn two_terminals_from_request_to_verified_receipt() {
    let place = Place::new("walk");
    let driver = place.driver(&[]);
    let rider = place.rider(&[]);
    place.wait_offer(&place.home("rider"));

    let firm = place.json(0, &["ride", "request", "--from", FROM, "--to", TO]);
    assert_eq!(firm["state"], "firm");
    for field in ["ride_id", "driver", "receipt"] {
        assert!(firm[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {firm}");
    }
    for field in ["eta_s", "settle_ms", "asked"] {
        assert!(firm[field].is_u64(), "{field}: {firm}");
    }
    assert_eq!(firm["fare"]["currency"], "USD");
    let theirs = firm["ride_id"].as_str().expect("checked").to_owned();

    // Both sides list one ride under one agreement.
    let rides = place.json(0, &["ride", "list"]);
    let rides = rides["items"].as_array().expect("items");
    assert_eq!(rides.len(), 2, "{rides:?}");
    assert_eq!(rides[0]["agreement"], rides[1]["agreement"]);
    let of = |role: &str| rides.iter().find(|ride| ride["role"] == role).expect("a ride of each side");
    for field in ["ride_id", "role", "state", "counterparty", "agreement", "fare", "created_ms"] {
        assert!(!of("rider")[field].is_null(), "{field}");
    }
    assert_eq!(of("rider")["ride_id"], theirs.as_str());
    let ours = of("driver")["ride_id"].as_str().expect("an id").to_owned();

    let newest = place.json(0, &["ride", "list", "--limit", "1"]);
    let first = newest["items"][0]["ride_id"].as_str().expect("an id");
    assert_eq!(newest["next"], first, "there are older ones");
    let all = place.json(0, &["ride", "list", "--limit", "1", "--all"]);
    assert_eq!(all["items"].as_array(), Some(rides));
    let none = place.json(0, &["--home", &text(&place.home("rider")), "ride", "list", "--before", &theirs]);
    assert_eq!(none["items"], Value::Array(Vec::new()));

    let shown = place.json(0, &["ride", "show", &theirs]);
    let code = shown["boarding_code"].as_str().expect("the rider's code").to_owned();
    assert!(code.len() == 6 && shown["history"].as_array().is_some_and(|steps| !steps.is_empty()));
    assert!(place.json(0, &["ride", "show", &ours])["boarding_code"].is_null());

    let done = |args: &[&str], state: &str| {
        let after = place.json(0, args);
        assert_eq!(after["state"], state, "{args:?}");
    };
    done(&["ride", "arrive", &ours], "arrived");
    let wrong = if code == "111111" { "222222" } else { "111111" };
    assert!(place.refused(1, &["ride", "board", &ours, "--code", wrong]).contains("wrong code"));
    done(&["ride", "board", &ours, "--code", &code], "in_progress");
    done(&["ride", "complete", &ours], "completed");
    let finished = place.wait_state(&place.home("rider"), &theirs, "completed");
    assert_eq!(finished["total"], firm["fare"]);
    done(&["ride", "rate", &theirs, "5"], "completed");

    // Two receipts of one agreement, checked without any node.
    let receipt = |ride: &str, name: &str| {
        let path = text(&place.path(name));
        assert!(place.run(&["ride", "receipt", ride, "--out", &path]).status.success());
        place.json(0, &["verify", &path])
    };
    let (rider_copy, driver_copy) = (receipt(&theirs, "rider.receipt"), receipt(&ours, "driver.receipt"));
    for facts in [&rider_copy, &driver_copy] {
        assert_eq!((&facts["kind"], &facts["valid"]), (&Value::from("receipt"), &Value::from(true)));
        assert_eq!(facts["agreement"], of("rider")["agreement"]);
        assert_eq!(facts["driver"], firm["driver"]);
        assert_eq!(facts["fare"]["amount"], firm["fare"]["amount"]);
        let states: Vec<&str> =
            facts["states"].as_array().expect("states").iter().filter_map(Value::as_str).collect();
        for state in ["firm", "arrived", "in_progress", "completed"] {
            assert!(states.contains(&state), "{state} in {states:?}");
        }
    }
    let decoded = place.json(0, &["ride", "receipt", &theirs]);
    assert_eq!(decoded["agreement"], rider_copy["agreement"]);

    assert_eq!(rider.terminate(), Some(0));
    assert_eq!(driver.terminate(), Some(0));
}

#[test]
fn a_driver_who_decides_can_agree_and_decline() {
    let place = Place::new("ask");
    let driver = place.driver(&["--accept", "ask", "--json"]);
    let rider = place.rider(&[]);
    place.wait_offer(&place.home("rider"));
    let ask = |wait: &str| {
        let args = ["ride", "request", "--from", FROM, "--to", TO, "--wait", wait, "--json"];
        let request = crate::process::Node::spawn(place.command(&args));
        let asked = driver.wait_stdout(|line| line.contains("\"asked\""));
        let asked: Value = serde_json::from_str(&asked).expect("an event");
        assert_eq!(asked["fare"]["currency"], "USD");
        (request, asked["ride_id"].as_str().expect("an id").to_owned())
    };

    let (request, ride) = ask("2s");
    place.json(0, &["ride", "decline", &ride]);
    let answer: Value = serde_json::from_str(&request.wait_stdout(|_| true)).expect("a document");
    assert_eq!(request.ended(), Some(4));
    assert_eq!(answer["reasons"]["asked"], 1, "{answer}");
    assert!(answer["state"] == "declined" || answer["state"] == "no_match", "{answer}");

    let (request, ride) = ask("30s");
    place.json(0, &["ride", "accept", &ride]);
    let answer: Value = serde_json::from_str(&request.wait_stdout(|_| true)).expect("a document");
    assert_eq!((request.ended(), &answer["state"]), (Some(0), &Value::from("firm")));

    // A ride that is firm is cancelled, and both sides know.
    let theirs = answer["ride_id"].as_str().expect("an id");
    assert_eq!(place.json(0, &["ride", "cancel", &ride])["state"], "cancelled");
    let after = place.wait_state(&place.home("rider"), theirs, "void");
    assert_eq!(after["state"], "void");
    drop((driver, rider));
}

#[test]
fn a_node_that_ends_withdraws_its_offer() {
    let place = Place::new("withdraw");
    let driver = place.driver(&[]);
    let rider = place.rider(&[]);
    let home = place.home("rider");
    place.wait_offer(&home);
    let args = ["--home", &text(&home), "offers", "--watch", "--json"];
    let watch = crate::process::Node::spawn(place.command(&args));
    watch.wait_stdout(|line| line.contains("\"author\""));
    assert_eq!(driver.terminate(), Some(0));
    watch.wait_stdout(|line| line.contains("\"items\":[]"));
    for gone in ["api.json", "api-token"] {
        assert!(!place.home("driver").join(gone).exists(), "{gone} is still there");
    }
    assert_eq!(rider.interrupt(), Some(0));
}

#[test]
fn every_command_for_a_running_node_answers() {
    let place = Place::new("answers");
    let _driver = place.driver(&[]);
    let home = text(&place.home("driver"));
    let api: Value =
        serde_json::from_slice(&std::fs::read(place.home("driver").join("api.json")).expect("api.json"))
            .expect("JSON");
    let status = place.json(0, &["status"]);
    assert_eq!(status["role"], "driver");
    assert_eq!(status["peer_id"], api["peer_id"]);
    assert!(api["url"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")));
    assert!(api["pid"].is_u64() && api["listen"].as_array().is_some_and(|listen| !listen.is_empty()));
    assert!(status["hints"].as_array().is_some_and(|hints| !hints.is_empty()), "nobody is there: {status}");
    assert!(place.json(0, &["peers", "list"])["items"].as_array().is_some_and(Vec::is_empty));
    let invite = place.json(0, &["invite"])["invite"].as_str().expect("a line").to_owned();
    assert!(invite.starts_with("hailmesh:/ip4/127.0.0.1/tcp/"), "{invite}");
    let offers = place.json(0, &["offers"]);
    assert!(offers["explain"]["heard"].is_u64() && offers["hint"].is_string(), "{offers}");
    let doctor = place.json(1, &["doctor", "--no-mdns"]);
    assert_eq!(doctor["ok"], false, "without peers not all is well");
    let config = place.json(0, &["--home", &home, "config", "show", "--origin"]);
    assert!(config["items"].as_array().is_some_and(|items| items.len() > 20));
    let key = place.json(0, &["key", "show"]);
    assert_eq!(key["items"][0]["identity"].as_str().map(str::len), Some(64));
    // The same for people.
    for args in [&["status"][..], &["offers"], &["peers", "list"], &["ride", "list"], &["invite"]] {
        assert!(place.run(args).status.success(), "{args:?}");
    }
}
