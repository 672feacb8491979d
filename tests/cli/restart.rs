//! Processes that are killed in the middle of a ride: after a restart the ride is where it
//! was, and goes on.

use std::path::Path;

use crate::process::{FROM, Node, Place, TO, text};

/// Kills the process of one side in every phase of a ride and finishes the ride all the
/// same.
fn survives(network: &str, victim: &str) {
    let place = Place::new(network);
    // A driver that comes back at another port, with nothing written down yet, is found
    // only through the local network, which these tests stay away from.
    let listen = free_address();
    let listen = ["--listen", listen.as_str()];
    let mut driver = place.driver(&listen);
    let mut rider = place.rider(&[]);
    let (driver_home, rider_home) = (place.home("driver"), place.home("rider"));
    place.wait_offer(&rider_home);
    let firm = place.json(0, &["ride", "request", "--from", FROM, "--to", TO]);
    let theirs = firm["ride_id"].as_str().expect("an id").to_owned();
    let ours = place.newest(&driver_home)["ride_id"].as_str().expect("an id").to_owned();
    let agreement = place.newest(&rider_home)["agreement"].clone();
    let code =
        place.json(0, &["ride", "show", &theirs])["boarding_code"].as_str().expect("a code").to_owned();
    place.wait_state(&driver_home, &ours, "firm");

    let check = |home: &Path, ride: &str, state: &str| {
        let found = place.newest(home);
        let now = found["state"].as_str().unwrap_or_default();
        // A driver's node sets out by itself a moment after the ride is firm.
        let is_same = now == state || (state == "firm" && now == "en_route");
        assert!(is_same, "{now} after the restart, {state} before");
        assert_eq!((found["ride_id"].as_str(), &found["agreement"]), (Some(ride), &agreement));
    };
    let mut strike = |state: &str| {
        if victim == "driver" {
            driver.kill();
            driver = place.driver(&listen);
            check(&driver_home, &ours, state);
        } else {
            rider.kill();
            rider = place.rider(&[]);
            check(&rider_home, &theirs, state);
        }
    };
    strike("firm");
    place.json(0, &["ride", "arrive", &ours]);
    place.wait_state(&rider_home, &theirs, "arrived");
    strike("arrived");
    // The other side has to be found again first: a code that cannot be asked for now is
    // asked for when it can.
    place.run(&["ride", "board", &ours, "--code", &code]);
    place.wait_state(&driver_home, &ours, "in_progress");
    place.wait_state(&rider_home, &theirs, "in_progress");
    strike("in_progress");
    place.run(&["ride", "complete", &ours]);
    place.wait_state(&driver_home, &ours, "completed");
    place.wait_state(&rider_home, &theirs, "completed");
    strike("completed");

    let file = text(&place.path("x.receipt"));
    for ride in [&ours, &theirs] {
        assert!(place.run(&["ride", "receipt", ride, "--out", &file]).status.success());
        let facts = place.json(0, &["verify", &file]);
        assert_eq!(facts["agreement"], agreement);
        assert_eq!(facts["facts"]["cosigned"], true);
    }
    // Nothing is left that would bind anybody: the next ride is agreed at once.
    place.wait_offer(&rider_home);
    let next = place.json(0, &["ride", "request", "--from", FROM, "--to", TO]);
    assert_eq!(next["state"], "firm");
}

/// An address that was free a moment ago.
fn free_address() -> String {
    let bound = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    format!("/ip4/127.0.0.1/tcp/{}", bound.expect("a free port").port())
}

#[test]
fn a_driver_that_is_killed_in_every_phase() {
    survives("kill-driver", "driver");
}

#[test]
fn a_rider_that_is_killed_in_every_phase() {
    survives("kill-rider", "rider");
}

#[test]
fn a_relay_that_is_killed_is_found_where_it_was() {
    let place = Place::new("kill-relay");
    let listen = free_address();
    let listen = ["relay", "--listen", listen.as_str()];
    let relay = place.node(&listen);
    let home = text(&place.home("relay"));
    let invite =
        || place.json(0, &["--home", &home, "invite"])["invite"].as_str().expect("a line").to_owned();
    let before = invite();
    relay.kill();
    let relay = place.node(&listen);
    assert_eq!(invite(), before, "the line that others have in their configuration holds");
    assert_eq!(relay.terminate(), Some(0));
}

#[test]
fn a_rider_that_is_killed_while_it_searches_binds_nobody() {
    let place = Place::new("kill-search");
    let _driver = place.driver(&["--accept", "ask", "--json"]);
    let rider = place.rider(&[]);
    let home = place.home("rider");
    place.wait_offer(&home);
    let args = ["ride", "request", "--from", FROM, "--to", TO, "--json"];
    let request = Node::spawn(place.command(&args));
    _driver.wait_stdout(|line| line.contains("\"asked\""));
    rider.kill();
    assert_eq!(request.ended(), Some(3), "its node is gone");
    let rider = place.rider(&[]);
    let open = place.json(0, &["--home", &text(&home), "status"]);
    assert!(open["rides"].as_array().is_some_and(Vec::is_empty), "{open}");
    assert_eq!(rider.terminate(), Some(0));
}
