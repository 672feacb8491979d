//! What must not be in a log: places, contacts, codes, tokens, whole keys.

use serde_json::Value;

use crate::process::{FROM, Place, TO, text};

/// A whole ride with the most talkative logs.
fn logs(format: &str) -> (String, Vec<String>) {
    let place = Place::new(&format!("logs-{format}"));
    let more = ["-vv", "--log-format", format];
    let driver = place.driver(&more);
    let rider = place.rider(&more);
    place.wait_offer(&place.home("rider"));
    let args = ["ride", "request", "--from", FROM, "--to", TO, "--note", "the-red-door"];
    let firm = place.json(0, &args);
    let theirs = firm["ride_id"].as_str().expect("an id").to_owned();
    let shown = place.json(0, &["ride", "show", &theirs]);
    let ours = place.newest(&place.home("driver"))["ride_id"].as_str().expect("an id").to_owned();
    let code = shown["boarding_code"].as_str().expect("a code").to_owned();
    // The rider lets its driver see where it is.
    let shared = place.json(0, &["ride", "share", &theirs, "--at", "40.7571,-73.9866"]);
    assert_eq!(shared["sharing"], true);
    let seen = place.wait_seen(&place.home("driver"), &ours);
    assert_eq!(seen["seen_at"], serde_json::json!({ "lat": 40.7571, "lon": -73.9866 }));
    let hidden = place.json(0, &["ride", "share", &theirs, "--off"]);
    assert_eq!(hidden["sharing"], false);
    place.json(0, &["ride", "arrive", &ours]);
    place.json(0, &["ride", "board", &ours, "--code", &code]);
    place.json(0, &["ride", "complete", &ours]);
    place.wait_state(&place.home("rider"), &theirs, "completed");

    let mut secrets: Vec<String> = Vec::new();
    // Degrees, also shortened, and 1e-7 degrees.
    secrets.extend(
        ["40.75", "73.98", "40.70", "74.00", "407580", "739855", "407590", "739845", "407571", "739866"]
            .map(str::to_owned),
    );
    secrets.push("the-red-door".to_owned());
    secrets.push(code);
    secrets.push(shown["boarding_secret"].as_str().expect("a secret").to_owned());
    for role in ["driver", "rider"] {
        let home = place.home(role);
        let token = std::fs::read_to_string(home.join("api-token")).expect("a token");
        secrets.push(token.trim().to_owned());
        let status = place.json(0, &["--home", &text(&home), "status"]);
        let key = place.json(0, &["--home", &text(&home), "key", "show"]);
        let whole = |value: &Value| value.as_str().map(str::to_owned);
        secrets.extend(whole(&status["key"]));
        secrets.extend(whole(&key["identity"]));
        if format == "json" {
            // The banner for people shows who the node is; a log does not.
            secrets.extend(whole(&status["peer_id"]));
        }
    }
    secrets.extend(firm["driver"].as_str().map(str::to_owned));
    secrets.extend(shown["agreement"].as_str().map(str::to_owned));
    assert_eq!(driver.terminate(), Some(0));
    assert_eq!(rider.terminate(), Some(0));
    (format!("{}{}", driver.stderr(), rider.stderr()), secrets)
}

#[test]
fn a_whole_ride_leaves_no_secrets_in_json_logs() {
    let (log, secrets) = logs("json");
    for line in log.lines().filter(|line| *line != "Ready.") {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "not JSON: {line}");
    }
    assert!(log.contains("ride"), "something was logged");
    assert_clean(&log, &secrets);
}

#[test]
fn a_whole_ride_leaves_no_secrets_in_logs_for_people() {
    let (log, secrets) = logs("pretty");
    assert!(log.contains("firm"), "something was logged");
    assert_clean(&log, &secrets);
}

fn assert_clean(log: &str, secrets: &[String]) {
    for secret in secrets {
        if let Some(line) = log.lines().find(|line| holds(line, secret)) {
            panic!("{secret:?} is in the log: {line}");
        }
    }
}

/// Whether a line holds a secret, and not merely digits of a longer number such as a time.
fn holds(line: &str, secret: &str) -> bool {
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    line.match_indices(secret).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !(is_digit(before) && secret.starts_with(|c: char| c.is_ascii_digit())) && before != Some(':')
            || !secret.starts_with(|c: char| c.is_ascii_digit())
    })
}
