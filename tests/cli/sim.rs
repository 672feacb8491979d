//! `hailmesh sim` as a script sees it: documents, files, exit codes, bad scenarios.

use std::path::PathBuf;

use serde_json::Value;

use crate::process::{Place, text};

/// A town that is simulated in a moment.
const TOWN: &str = "\
name = \"town\"
drain_s = 300
[grid]
blocks_x = 8
blocks_y = 6
riders_per_hour = 120
hours = 0.1
vehicles = 12
";

fn town(place: &Place) -> String {
    let path = place.path("town.toml");
    std::fs::write(&path, TOWN).expect("written");
    text(&path)
}

/// Two junctions, a street, a request and two cars.
fn folder(place: &Place, name: &str) -> PathBuf {
    let folder = place.path(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    for (file, content) in [
        ("nodes.csv", "node,lat,lon\n0,40.70,-74.00\n1,40.71,-74.00\n"),
        ("edges.csv", "from,to,length_km,speed_kmh\n0,1,1.2,20\n1,0,1.2,20\n"),
        (
            "requests.csv",
            "request_id,t_s,o_lat,o_lon,d_lat,d_lon,passengers\n0,10,40.70,-74.00,40.71,-74.00,1\n1,20,40.71,-74.00,40.70,-74.00,1\n",
        ),
        ("vehicles.csv", "vehicle_id,lat,lon,seats\n0,40.70,-74.00,4\n1,40.71,-74.00,4\n"),
    ] {
        std::fs::write(folder.join(file), content).expect("written");
    }
    folder
}

#[test]
fn a_run_prints_the_document_of_the_contract_and_writes_its_report() {
    let place = Place::new("sim-run");
    let town = town(&place);
    let out = text(&place.path("report"));
    let line = ["sim", "run", &town, "--policy", "p2p,batched:5", "--seed", "0,1", "--out", &out];
    let document = place.json(0, &line);
    let fields =
        |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(fields(&document), "peak_rss_mib requests runs scenario wall_s");
    assert_eq!(document["scenario"], "town");
    let runs = document["runs"].as_array().expect("runs");
    let named: Vec<(&str, u64)> = runs
        .iter()
        .map(|run| (run["policy"].as_str().unwrap_or(""), run["seed"].as_u64().unwrap_or(9)))
        .collect();
    assert_eq!(named, [("p2p", 0), ("batched:5", 0), ("p2p", 1), ("batched:5", 1)]);
    for run in runs {
        assert_eq!(
            fields(run),
            "bytes_per_node_s bytes_per_ride conflicts_per_ride delivery_ms double_bookings empty_km_share events \
             fleet handshakes_per_ride messages_per_ride pickup_s policy seed served served_share trace_hash view_share \
             wait_s wall_s"
        );
        assert_eq!(fields(&run["wait_s"]), "all_mean mean p50 p95");
        // Dispatchers gossip nothing.
        assert_eq!(run["delivery_ms"]["p50"].is_f64(), run["policy"] == "p2p", "{run}");
        assert_eq!((run["fleet"].as_u64(), run["double_bookings"].as_u64()), (Some(12), Some(0)));
        assert!(run["served"].as_u64() > Some(0), "{run}");
    }
    let read = |name: &str| std::fs::read_to_string(place.path("report").join(name)).expect(name);
    let requests = document["requests"].as_u64().expect("a number") as usize;
    let rides = read("rides.csv");
    assert_eq!(rides.lines().count(), 1 + 4 * requests, "a line for each request of each run");
    assert_eq!(rides.lines().filter(|line| line.starts_with("policy,")).count(), 1);
    let trips: Value = serde_json::from_str(&read("trips.geojson")).expect("GeoJSON");
    let features = trips["features"].as_array().expect("features");
    assert_eq!(features.len() as u64, runs[0]["served"].as_u64().expect("a number"));
    let times = |feature: &Value| -> Vec<f64> {
        let positions = feature["geometry"]["coordinates"].as_array().expect("positions");
        positions.iter().map(|position| position[3].as_f64().expect("a time")).collect()
    };
    for feature in features {
        assert_eq!(feature["geometry"]["type"], "LineString");
        let times = times(feature);
        assert!(times.len() >= 2 && times.is_sorted() && times[0] > 1.7e9, "{times:?}");
    }
    let page = read("report.html");
    assert!(page.contains("<svg") && page.contains("batched:5") && !page.contains("<script"));
    assert!(read("report.md").contains("| 12 | p2p | 0,1 |"));

    // Drawn again without running anything.
    let again = text(&place.path("again"));
    let summary = place.json(0, &["sim", "report", &out, "--out", &again]);
    assert_eq!(summary, document);
    assert_eq!(std::fs::read_to_string(place.path("again").join("report.html")).expect("a page"), page);
}

#[test]
fn one_seed_gives_one_trace_for_any_number_of_threads() {
    let place = Place::new("sim-trace");
    let town = town(&place);
    let trace = |threads: &str| {
        let document =
            place.json(0, &["sim", "run", &town, "--seed", "7", "--loss", "5%", "--threads", threads]);
        document["runs"][0]["trace_hash"].as_str().expect("a hash").to_owned()
    };
    let one = trace("1");
    assert_eq!((one.len(), one.as_str()), (64, trace("3").as_str()));
}

#[test]
fn an_assertion_that_fails_is_named_with_its_value_and_exits_10() {
    let place = Place::new("sim-assert");
    let folder = text(&folder(&place, "pair"));
    let run = |code: i32, assertion: &str| {
        place.refused(
            code,
            &["sim", "run", &folder, "--policy", "first-come,batched:5", "--assert", assertion],
        )
    };
    run(0, "first-come.served_share>=1");
    run(0, "first-come.wait_s.all_mean<=1.05*batched:5.wait_s.all_mean");
    let message = run(10, "batched:5.served_share>1");
    assert!(
        message.contains("batched:5.served_share>1 does not hold at fleet 2 (seed 0): 1 against 1"),
        "{message}"
    );
    let replay = "hailmesh sim run ";
    assert!(message.contains(replay) && message.contains("--assert 'batched:5.served_share>1'"), "{message}");
    // What cannot be judged is a mistake of the command line.
    for (assertion, named) in [
        ("first-come.happiness>=1", "wait_s.all_mean"),
        ("p2p.served_share>=1", "first-come, batched:5"),
        ("first-come@3.served>=1", "there are 2"),
        ("first-come.served_share", "POLICY.METRIC OP LIMIT"),
    ] {
        let message = run(2, assertion);
        assert!(message.contains(named), "{assertion}: {message}");
    }
}

#[test]
fn a_bad_scenario_exits_7_and_names_the_place() {
    let place = Place::new("sim-bad");
    for (file, content, named) in [
        ("nodes.csv", "node,lat\n0,40.7\n", &["nodes.csv", "lon"][..]),
        (
            "edges.csv",
            "from,to,length_km,speed_kmh\n0,1,1.2,20\n1,9,1.2,20\n",
            &["edges.csv", "3", "to", "9"],
        ),
        ("edges.csv", "from,to,length_km,speed_kmh\n0,1,1.2,20\n", &["edges.csv", "1", "0"]),
        (
            "edges.csv",
            "from,to,length_km,speed_kmh\n0,1,-1.2,20\n1,0,1,20\n",
            &["edges.csv", "2", "length_km", "-1.2"],
        ),
        (
            "requests.csv",
            "request_id,t_s,o_lat,o_lon,d_lat,d_lon,passengers\n0,x,40.7,-74,40.71,-74,1\n",
            &["requests.csv", "2", "t_s", "x"],
        ),
        ("vehicles.csv", "vehicle_id,lat,lon,seats\n0,95,-74,4\n", &["vehicles.csv", "2", "lat", "95"]),
    ] {
        let folder = folder(&place, "bad");
        std::fs::write(folder.join(file), content).expect("written");
        let message = place.refused(7, &["sim", "run", &text(&folder), "--policy", "first-come"]);
        assert!(named.iter().all(|word| message.contains(word)), "{file}: {named:?}: {message}");
    }
    let whole = text(&folder(&place, "whole"));
    let message = place.refused(7, &["sim", "run", &whole, "--policy", "first-come", "--fleet", "3"]);
    assert!(message.contains('3') && message.contains('2'), "{message}");
    std::fs::remove_file(place.path("whole").join("edges.csv")).expect("removed");
    assert!(place.refused(7, &["sim", "run", &whole]).contains("edges.csv"));
    let message = place.refused(7, &["sim", "run", "nowhere"]);
    assert!(message.contains("\"nowhere\"") && message.contains("grid"), "{message}");
    std::fs::write(place.path("typo.toml"), "[grid]\nblocks = 3\n").expect("written");
    assert!(place.refused(7, &["sim", "run", "typo.toml"]).contains("blocks"));
    std::fs::write(place.path("report.json"), "{}").expect("written");
    assert!(place.refused(7, &["sim", "report", "report.json"]).contains("report.json"));
}

#[test]
fn flags_out_of_range_exit_2_and_say_what_is_allowed() {
    let place = Place::new("sim-flags");
    for (flag, value, named) in [
        ("--loss", "0.95", "0 to 0.9"),
        ("--loss", "-1", "-1"),
        ("--latency", "200ms..50ms", "smaller first"),
        ("--churn", "2/min", "0.05/min"),
        ("--precision", "6", "7"),
        ("--threads", "0", "1"),
        ("--policy", "batched:0", "1 to 600 seconds"),
        ("--policy", "magic", "first-come"),
        ("--fleet", "0", "0"),
        ("--signatures", "none", "stand-in"),
        ("--uniform-speed", "0", "1 to 300"),
    ] {
        let flag_and_value = format!("{flag}={value}");
        let message = place.refused(2, &["sim", "run", "grid", &flag_and_value]);
        assert!(message.contains(named), "{flag} {value}: {message}");
    }
}

#[test]
fn sizes_are_printed_one_a_line() {
    let place = Place::new("sim-scale");
    let output = place.run(&["sim", "scale", "--nodes", "30,60", "--minutes", "2", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    for (line, nodes) in lines.iter().zip([30, 60]) {
        assert_eq!((line["nodes"].as_u64(), line["simulated_s"].as_f64()), (Some(nodes), Some(240.0)));
        for field in ["events", "events_per_s", "bytes_per_node_s", "rss_mib", "wall_s", "matched_share"] {
            assert!(line[field].is_number(), "{field}: {line}");
        }
    }
}

#[test]
fn live_nodes_report_as_the_demo_does_and_more() {
    let place = Place::new("sim-live");
    let live = place.json(0, &["sim", "live", "--nodes", "4", "--rides", "2"]);
    assert_eq!((live["nodes"].as_u64(), live["riders"].as_u64()), (Some(4), Some(1)));
    assert_eq!((live["rides_completed"].as_u64(), live["double_bookings"].as_u64()), (Some(2), Some(0)));
    assert!(live["mesh_ready_s"].as_f64() > Some(0.0) && live["settle_ms"]["p50"].is_number(), "{live}");
    if cfg!(target_os = "linux") {
        assert!(live["rss_mib_per_node"].is_number(), "{live}");
    }
}

#[test]
fn live_links_take_the_time_that_was_asked_for() {
    let place = Place::new("sim-live-slow");
    let line = ["sim", "live", "--nodes", "8", "--rides", "3", "--latency", "20ms..40ms"];
    // A connection past the slow links would have ended it with an error.
    let live = place.json(0, &line);
    assert_eq!(live["rides_completed"].as_u64(), Some(3), "{live}");
    // From REQUEST to ACK is four times a link.
    assert!(live["settle_ms"]["p50"].as_f64() >= Some(80.0), "{live}");
    let (gossip, model) = (&live["gossip"], &live["model"]);
    assert!(gossip["deliveries"].as_u64() > Some(0), "{live}");
    for found in [&gossip["delivery_ms"], &model["delivery_ms"]] {
        assert!(found["p50"].as_f64() >= Some(20.0) && found["p99"].is_f64(), "{live}");
    }
    let share = gossip["heard_share"].as_f64().expect("a share");
    assert!((0.0..=1.0).contains(&share) && model["copies"].as_f64() >= Some(1.0), "{live}");
    for bad in ["0ms", "200ms..50ms", "11s", "quick"] {
        let message = place.refused(2, &["sim", "live", "--latency", bad]);
        assert!(message.contains(bad) && message.contains("1ms to 10s"), "{message}");
    }
}
