//! Scenario files and synthetic cities: what they mean, and how faults are named.

use hailmesh_sim::roads::TABLE_JUNCTIONS;
use hailmesh_sim::scenario::{Centre, Description, Files, GridCity, Scenario, ScenarioError, Source};

/// Three junctions in a ring, numbered as badly as a file may number them.
const NODES: &str = "node,lat,lon\n700,40.00,-74.00\n3,40.00,-73.99\n41,40.01,-73.99\n";
const EDGES: &str = "from,to,length_km,speed_kmh\n700,3,0.85,17\n3,41,1.11,30\n41,700,1.4,36\n";
const REQUESTS: &str = "request_id,t_s,o_lat,o_lon,d_lat,d_lon,passengers\n\
                        0,0.5,40.0001,-74.0001,40.0099,-73.9901,1\n\
                        1,3700,40.0,-73.99,40.0,-74.0,4\n";
const VEHICLES: &str = "vehicle_id,available_from_s,lat,lon,seats\n\
                        9,-20,40.0,-74.0,4\n8,0,40.0,-73.99,5\n7,0,40.01,-73.99,6\n";

/// The four files with some text replaced in one of them.
fn load_with(file: &str, from: &str, to: &str) -> Result<Scenario, ScenarioError> {
    let text = |name: &str, text: &str| {
        assert!(name != file || text.contains(from), "{from} is not in {file}");
        if name == file { text.replacen(from, to, 1) } else { text.to_owned() }
    };
    let texts = [("nodes", NODES), ("edges", EDGES), ("requests", REQUESTS), ("vehicles", VEHICLES)]
        .map(|(name, whole)| text(name, whole));
    let [nodes, edges, requests, vehicles] = texts.each_ref().map(String::as_bytes);
    Scenario::from_files("ring", "cities/ring/", Files { nodes, edges, requests, vehicles }, None)
}

fn load() -> Scenario {
    load_with("nodes", "node", "node").unwrap()
}

/// The message of the error that a replacement leads to.
fn message(file: &str, from: &str, to: &str) -> String {
    match load_with(file, from, to) {
        Ok(_) => panic!("{file}: {from:?} -> {to:?} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn files_become_a_scenario() {
    let scenario = load();
    assert_eq!(scenario.name, "ring");
    assert_eq!(scenario.roads.len(), 3);
    let first = scenario.requests[0];
    assert_eq!((first.t_ms, first.from_junction.0, first.to_junction.0, first.party), (500, 0, 2, 1));
    assert_eq!(scenario.roads.drive(first.from_junction, first.to_junction).ms, 180_000 + 133_200);
    assert_eq!(scenario.roads.drive(first.from_junction, first.to_junction).m, 850 + 1_110);
    let cars: Vec<(u32, u8)> = scenario.vehicles.iter().map(|car| (car.junction.0, car.seats)).collect();
    assert_eq!(cars, [(0, 4), (1, 5), (2, 6)]);
    assert_eq!(scenario.hour_ms, 7_200_000, "the end of the last full hour");
    assert_eq!(scenario.end_ms(), 7_800_000);
    assert_eq!((scenario.patience_ms, scenario.boarding_ms), (600_000, 30_000));
}

#[test]
fn columns_may_be_in_any_order_and_others_are_ignored() {
    let scenario =
        load_with("nodes", NODES, "lon , colour,lat,node\n-74,red,40,700\n-73.99,,40,3\n-73.99,x,40.01,41\n");
    assert_eq!(scenario.unwrap().requests, load().requests);
}

#[test]
fn fleets_are_rows_from_a_place_that_the_seed_names() {
    let scenario = load();
    let seats =
        |fleet, seed| scenario.fleet(fleet, seed).unwrap().iter().map(|car| car.seats).collect::<Vec<_>>();
    assert_eq!(seats(2, 0), [4, 5]);
    assert_eq!(seats(2, 1), [5, 6], "997 mod 3 is 1");
    assert_eq!(seats(2, 2), [6, 4], "and it wraps");
    assert_eq!(seats(3, u64::MAX), seats(3, u64::MAX % 3));
    for wrong in [0, 4] {
        let error = scenario.fleet(wrong, 0).unwrap_err().to_string();
        assert_eq!(error, format!("ring: a fleet of {wrong}: expected 1 to 3, the number of its vehicles"));
    }
}

#[test]
fn missing_and_double_columns_are_named() {
    for (file, column) in [
        ("nodes", "lat"),
        ("edges", "speed_kmh"),
        ("edges", "from"),
        ("requests", "t_s"),
        ("requests", "passengers"),
        ("vehicles", "seats"),
    ] {
        let message = message(file, column, "other");
        let start = format!("cities/ring/{file}.csv, line 1: column \"{column}\" is missing: found ");
        assert!(message.starts_with(&start), "{message}");
    }
    let twice = message("vehicles", "available_from_s", "seats");
    assert!(twice.contains("vehicles.csv, line 1: column \"seats\" is there twice"), "{twice}");
}

#[test]
fn wrong_values_are_named_with_line_and_column() {
    for (file, from, to, line, column, value) in [
        ("nodes", "3,40.00", "3,90.5", 3, "lat", "90.5"),
        ("nodes", "-73.99", "181", 3, "lon", "181"),
        ("nodes", "-73.99", "west", 3, "lon", "west"),
        ("nodes", "41", "-1", 4, "node", "-1"),
        ("edges", "0.85", "-0.85", 2, "length_km", "-0.85"),
        ("edges", "0.85", "0", 2, "length_km", "0"),
        ("edges", "1.11", "NaN", 3, "length_km", "NaN"),
        ("edges", "1.11", "101", 3, "length_km", "101"),
        ("edges", "36", "inf", 4, "speed_kmh", "inf"),
        ("edges", "36", "-36", 4, "speed_kmh", "-36"),
        ("edges", "36", "", 4, "speed_kmh", ""),
        ("requests", "0.5", "-0.5", 2, "t_s", "-0.5"),
        ("requests", "0.5", "soon", 2, "t_s", "soon"),
        ("requests", "3700", "nan", 3, "t_s", "nan"),
        ("requests", "40.0099", "-95", 2, "d_lat", "-95"),
        ("requests", "-74.0,4", "-74.0,0", 3, "passengers", "0"),
        ("requests", "-74.0,4", "-74.0,1.5", 3, "passengers", "1.5"),
        ("vehicles", "-74.0,4", "-74.0,none", 2, "seats", "none"),
        ("vehicles", "-73.99,5", "-73.99,101", 3, "seats", "101"),
    ] {
        let message = message(file, from, to);
        let start =
            format!("cities/ring/{file}.csv, line {line}, column \"{column}\": value \"{value}\": expected ");
        assert!(message.starts_with(&start), "{message}\ninstead of\n{start}");
    }
}

#[test]
fn rows_that_do_not_fit_are_named() {
    let ragged = message("edges", "3,41,1.11,30", "3,41,1.11");
    assert_eq!(ragged, "cities/ring/edges.csv, line 3: 3 fields: expected 4 as in the header");
    let unknown = message("edges", "3,41", "3,42");
    assert!(
        unknown.starts_with(
            "cities/ring/edges.csv, line 3, column \"to\": value \"42\": unknown junction; expected one of the 3 \
             listed in cities/ring/nodes.csv"
        ),
        "{unknown}"
    );
    let twice = message("nodes", "41", "700");
    assert!(twice.starts_with("cities/ring/nodes.csv, line 4, column \"node\": value \"700\""), "{twice}");
    assert!(twice.ends_with("line 2 has it"), "{twice}");
    let order = message("requests", "3700", "0.4");
    assert!(
        order.starts_with("cities/ring/requests.csv, line 3, column \"t_s\": value \"0.4\": out of order")
            && order.contains("at least 0.5"),
        "{order}"
    );
}

#[test]
fn empty_files_are_named() {
    for (file, whole) in [("nodes", NODES), ("edges", EDGES), ("requests", REQUESTS), ("vehicles", VEHICLES)]
    {
        let header = whole.split_inclusive('\n').next().unwrap();
        for text in ["", "\n\n", header] {
            let message = message(file, whole, text);
            assert!(
                message.starts_with(&format!("cities/ring/{file}.csv: it is empty: expected")),
                "{message}"
            );
        }
    }
}

#[test]
fn disconnected_networks_are_named() {
    let one_way_out = message("edges", "41,700,1.4,36", "3,700,1.4,36");
    assert_eq!(
        one_way_out,
        "cities/ring/edges.csv: the road network is disconnected: junction 700 (cities/ring/nodes.csv, line 2) \
         cannot be reached from junction 41; expected a way from every junction to every other"
    );
    let island = message("edges", "3,41,1.11,30", "3,700,1.11,30");
    assert!(island.contains("junction 41 (cities/ring/nodes.csv, line 4)"), "{island}");
}

#[test]
fn what_is_not_text_is_named() {
    let wrong: &[u8] = b"node,lat,lon\n1,40,\xff\xfe\n";
    let files = Files { nodes: wrong, edges: b"", requests: b"", vehicles: b"" };
    let error = Scenario::from_files("x", "x", files, None).unwrap_err().to_string();
    assert_eq!(error, "x/nodes.csv: line 2: it is not UTF-8: expected text");
}

#[test]
fn a_uniform_speed_replaces_those_of_the_file() {
    let files = || Files {
        nodes: NODES.as_bytes(),
        edges: EDGES.as_bytes(),
        requests: REQUESTS.as_bytes(),
        vehicles: VEHICLES.as_bytes(),
    };
    let scenario = Scenario::from_files("ring", "", files(), Some(20.0)).unwrap();
    assert!(scenario.roads.links().all(|link| link.speed_kmh == 20.0));
    let changed = Scenario::from_files("ring", "", files(), None).unwrap().with_uniform_speed(20.0).unwrap();
    let (a, b) = (scenario.requests[0].from_junction, scenario.requests[0].to_junction);
    assert_eq!(scenario.roads.drive(a, b), changed.roads.drive(a, b));
    let error = Scenario::from_files("ring", "", files(), Some(0.0)).unwrap_err().to_string();
    assert!(error.contains("speed 0 km/h: expected 1 to 300"), "{error}");
}

#[test]
fn descriptions_name_a_folder_or_a_city() {
    let folder =
        Description::from_toml("a.toml", "folder = \"rush\"\npatience_s = 300\nname = \"Rush\"").unwrap();
    assert_eq!(folder.source, Source::Folder("rush".to_owned()));
    let scenario = folder.adjust(load());
    assert_eq!((scenario.name.as_str(), scenario.patience_ms), ("Rush", 300_000));
    assert_eq!((scenario.boarding_ms, scenario.drain_ms), (30_000, 600_000), "as it was");
    let city = "[grid]\nblocks_x = 12\nvehicles = 60\nriders_per_hour = 200\n\
                centres = [{ x = 0.5, y = 0.5, weight = 0.5, spread_m = 300 }]";
    let Source::Grid(grid) = Description::from_toml("b.toml", city).unwrap().source else { panic!("a grid") };
    assert_eq!((grid.blocks_x, grid.blocks_y, grid.vehicles), (12, GridCity::default().blocks_y, 60));
    assert_eq!(grid.centres, [Centre { x: 0.5, y: 0.5, weight: 0.5, spread_m: 300.0 }]);
    grid.generate().unwrap();
}

#[test]
fn wrong_descriptions_are_named() {
    for (text, expected) in [
        ("", "expected folder"),
        ("folder = \"a\"\n[grid]", "expected one of them"),
        ("folder = \"a\"\npatience_s = 0", "patience_s = 0: expected 1 to 86400"),
        ("folder = \"a\"\nspeed = 3", "speed"),
        ("[grid]\nblocks = 3", "line 2"),
        ("[grid]\nblocks_x = \"many\"", "line 2"),
        ("grid =", "line 1"),
    ] {
        let error = Description::from_toml("city.toml", text).unwrap_err().to_string();
        assert!(error.starts_with("city.toml: ") && error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn a_synthetic_city_is_what_its_parameters_say() {
    let city = GridCity::default();
    let scenario = city.generate().unwrap();
    assert_eq!(scenario.roads.len(), 31 * 21);
    assert_eq!(scenario.vehicles.len(), 200);
    assert_eq!(scenario.hour_ms, 3_600_000);
    // 600 expected; five standard deviations of a Poisson number either way.
    let requests = scenario.requests.len();
    assert!((478..=722).contains(&requests), "{requests} requests");
    assert!(scenario.requests.is_sorted_by_key(|request| request.t_ms));
    assert!(scenario.requests.iter().all(|request| request.t_ms < scenario.hour_ms));
    assert!(scenario.requests.iter().all(|request| request.from_junction != request.to_junction));
    assert!(scenario.requests.iter().all(|request| (1..=3).contains(&request.party)));
    // One-way streets: two lists of links that are not mirrors of each other.
    let links: Vec<(u32, u32)> = scenario.roads.links().map(|link| (link.from.0, link.to.0)).collect();
    let one_way = links.iter().filter(|(from, to)| !links.contains(&(*to, *from))).count();
    assert!(one_way * 10 > links.len() * 8, "{one_way} of {} links are one-way", links.len());
    assert!(scenario.roads.with_uniform_speed(20.0).is_ok(), "connected");
}

#[test]
fn one_seed_makes_one_city() {
    let make = |seed| GridCity { seed, ..GridCity::default() }.generate().unwrap();
    let (one, again, other) = (make(5), make(5), make(6));
    assert_eq!(one.requests, again.requests);
    assert_eq!(one.vehicles, again.vehicles);
    assert!(one.roads.links().eq(again.roads.links()));
    assert_ne!(one.requests, other.requests);
}

#[test]
fn demand_peaks_in_the_middle_and_gathers_at_centres() {
    let centre = Centre { x: 0.5, y: 0.5, weight: 0.8, spread_m: 300.0 };
    let city = GridCity { riders_per_hour: 6_000.0, peak: 2.0, centres: vec![centre], ..GridCity::default() };
    let scenario = city.generate().unwrap();
    let share = |low: u64, high: u64| {
        let inside = scenario.requests.iter().filter(|request| (low..high).contains(&request.t_ms)).count();
        inside as f64 / scenario.requests.len() as f64
    };
    // The middle third of 1 - cos: 1/3 + sqrt(3)/(2 pi) = 0.609.
    let middle = share(1_200_000, 2_400_000);
    assert!((middle - 0.609).abs() < 0.04, "{middle}");
    let heart = scenario.requests.iter().filter(|request| {
        let (lat, lon) = (40.0 + 2_000.0 / 111_195.0, -74.0 + 3_000.0 / 85_180.0);
        (request.from.lat() - lat).abs() * 111_195.0 < 1_000.0
            && (request.from.lon() - lon).abs() * 85_180.0 < 1_000.0
    });
    let heart = heart.count() as f64 / scenario.requests.len() as f64;
    // 0.7 of the trips begin where the demand is, 0.8 of these at the centre; a sixth of
    // the others are there by chance.
    assert!((heart - (0.56 + 0.44 / 6.0)).abs() < 0.05, "{heart}");
}

#[test]
fn large_cities_come_in_closed_form_at_the_same_density() {
    for nodes in [1_000_u32, 100_000] {
        let city = GridCity { hours: 0.1, ..GridCity::of_nodes(nodes) };
        let scenario = city.generate().unwrap();
        assert!(scenario.roads.as_lattice().is_some());
        let cars_per_km2 = f64::from(nodes) / 4.0 / (f64::from(city.blocks_x * city.blocks_y) * 0.04);
        assert!((cars_per_km2 / (200.0 / 24.0) - 1.0).abs() < 0.03, "{cars_per_km2} at {nodes}");
        assert_eq!(scenario.vehicles.len(), nodes as usize / 4);
        for request in scenario.requests.iter().take(100) {
            let drive = scenario.roads.drive(request.from_junction, request.to_junction);
            assert!(drive.ms > 0 && drive.m as f64 + 400.0 > request.from.distance_m(request.to));
        }
        assert!(nodes < 100_000 || scenario.roads.len() > TABLE_JUNCTIONS);
    }
}

#[test]
fn wrong_parameters_of_a_city_are_named() {
    let city = GridCity::default;
    for (wrong, name) in [
        (GridCity { blocks_x: 0, ..city() }, "blocks_x = 0"),
        (GridCity { speed_kmh: f64::NAN, ..city() }, "speed_kmh = NaN"),
        (GridCity { riders_per_hour: -1.0, ..city() }, "riders_per_hour = -1"),
        (GridCity { hours: 0.0, ..city() }, "hours = 0"),
        (GridCity { vehicles: 0, ..city() }, "vehicles = 0"),
        (GridCity { peak: 2.5, ..city() }, "peak = 2.5"),
        (GridCity { commute: 1.5, ..city() }, "commute = 1.5"),
        (GridCity { lat: 91.0, ..city() }, "lat, lon = 91"),
        (GridCity { lat: 79.99, ..city() }, "lattice"),
        (
            GridCity { centres: vec![Centre { x: 0.5, y: 0.5, weight: 0.7, spread_m: 9.0 }; 2], ..city() },
            "the weights of all centres = 1.4",
        ),
        (
            GridCity { centres: vec![Centre { x: 0.5, y: -1.0, weight: 0.7, spread_m: 9.0 }], ..city() },
            "centres[0].y = -1",
        ),
    ] {
        let error = wrong.generate().unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("expected"), "{name}: {error}");
    }
}
