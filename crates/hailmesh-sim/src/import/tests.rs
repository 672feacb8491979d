use super::*;
use crate::scenario::{Files, Scenario, ScenarioError};

const TRIPS: &str = "\
medallion,pickup_datetime,dropoff_datetime,passenger_count,pickup_longitude,pickup_latitude,dropoff_longitude,dropoff_latitude
A,2013-11-18 16:10:30,2013-11-18 16:20:00,2,-73.99,40.75,-73.98,40.76
B,2013-11-18 16:05:00,2013-11-18 16:30:00,0,-73.98,40.74,-73.97,40.77
A,2013-11-18 16:40:00,2013-11-18 16:50:00,1,-73.97,40.75,-73.96,40.76
C,2013-11-18 17:00:00,2013-11-18 17:05:00,1,-73.97,40.75,-73.96,40.76
D,2013-11-18 16:15:00,2013-11-18 16:25:00,1,0,0,-73.96,40.76
E,2013-11-18 16:16:00,2013-11-18 16:25:00,1,-73.99,40.75,-70.0,42.0
";

fn manhattan() -> Window {
    let corner = |lat, lon| GeoPoint::from_degrees(lat, lon).unwrap();
    let area = Area { south_west: corner(40.7, -74.1), north_east: corner(40.9, -73.9) };
    Window { area: Some(area), ..Window::default() }
}

#[test]
fn trips_become_requests_by_time_and_cabs_become_cars() {
    let files = trips("trips.csv", TRIPS.as_bytes(), &manhattan()).unwrap();
    assert_eq!(
        files.requests,
        "request_id,t_s,o_lat,o_lon,d_lat,d_lon,passengers\n\
         0,300,40.74,-73.98,40.77,-73.97,1\n\
         1,630,40.75,-73.99,40.76,-73.98,2\n\
         2,2400,40.75,-73.97,40.76,-73.96,1\n"
    );
    let mut cars: Vec<&str> =
        files.vehicles.lines().skip(1).map(|line| line.split_once(',').unwrap().1).collect();
    cars.sort_unstable();
    assert_eq!(cars, ["1200,40.76,-73.98,4", "1800,40.77,-73.97,4"], "cab A once, where it was free first");
    assert_eq!((files.trips, files.cars), (3, 2));
    assert_eq!(files.skipped, Skipped { without_position: 1, other_time: 1, other_place: 1 });
    assert_eq!(files.from, "2013-11-18T16:00:00");
}

#[test]
fn historic_spellings_and_times_are_known() {
    for (pickup, dropoff, lon, lat, end_lon, end_lat) in [
        (
            "tpep_pickup_datetime",
            "tpep_dropoff_datetime",
            "pickup_longitude",
            "pickup_latitude",
            "dropoff_longitude",
            "dropoff_latitude",
        ),
        (
            "lpep_pickup_datetime",
            "Lpep_dropoff_datetime",
            "Pickup_longitude",
            "Pickup_latitude",
            "Dropoff_longitude",
            "Dropoff_latitude",
        ),
        ("Trip_Pickup_DateTime", "Trip_Dropoff_DateTime", "Start_Lon", "Start_Lat", "End_Lon", "End_Lat"),
    ] {
        for time in ["2014-01-02 13:30:00", "01/02/2014 01:30:00 PM", "01/02/2014 13:30:00"] {
            let text = format!(
                "{pickup}, {dropoff},{lon},{lat},{end_lon},{end_lat}, Passenger_count\n\
                 {time},{time},-73.99,40.75,-73.98,40.76,1\n"
            );
            let files =
                trips("t.csv", text.as_bytes(), &Window::default()).unwrap_or_else(|error| panic!("{error}"));
            assert!(files.requests.contains("\n0,1800,40.75,"), "{pickup} {time}: {}", files.requests);
        }
    }
}

#[test]
fn wrong_records_are_named() {
    let error = |text: &str, window: &Window| trips("t.csv", text.as_bytes(), window).unwrap_err();
    let wrong_time = error(&TRIPS.replace("2013-11-18 16:05:00", "yesterday"), &Window::default());
    assert!(
        matches!(&wrong_time, ScenarioError::Value { file, line: 3, column, value, .. }
            if file == "t.csv" && column == "pickup_datetime" && value == "yesterday"),
        "{wrong_time}"
    );
    let wrong_place = error(&TRIPS.replace("40.74", "140.74"), &Window::default());
    assert!(matches!(wrong_place, ScenarioError::Value { line: 3, .. }), "{wrong_place}");
    let missing = error(&TRIPS.replace("pickup_longitude", "zone"), &Window::default());
    assert!(matches!(missing, ScenarioError::MissingColumn { .. }), "{missing}");
    let later = Window { from: Some("2013-11-19 00:00".to_owned()), ..Window::default() };
    assert!(matches!(error(TRIPS, &later), ScenarioError::Nothing { .. }));
    let never = Window { from: Some("noon".to_owned()), ..Window::default() };
    assert!(matches!(error(TRIPS, &never), ScenarioError::Parameter { .. }));
    let too_long = Window { hours: 0, ..Window::default() };
    assert!(matches!(error(TRIPS, &too_long), ScenarioError::Parameter { .. }));
}

/// Just enough of the format to write an extract.
mod pbf {
    fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value >= 0x80 {
            out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    fn zigzag(value: i64) -> u64 {
        ((value << 1) ^ (value >> 63)) as u64
    }

    fn number(field: u64, value: u64, out: &mut Vec<u8>) {
        varint(field << 3, out);
        varint(value, out);
    }

    fn bytes(field: u64, value: &[u8], out: &mut Vec<u8>) {
        varint(field << 3 | 2, out);
        varint(value.len() as u64, out);
        out.extend_from_slice(value);
    }

    fn packed(field: u64, values: impl IntoIterator<Item = u64>, out: &mut Vec<u8>) {
        let mut list = Vec::new();
        values.into_iter().for_each(|value| varint(value, &mut list));
        bytes(field, &list, out);
    }

    pub(super) type Tags<'a> = &'a [(&'a str, &'a str)];

    pub(super) fn extract(nodes: &[(i64, i64, i64)], ways: &[(&[i64], Tags<'_>)]) -> Vec<u8> {
        let mut strings = vec![String::new()];
        let mut group = Vec::new();
        for &(id, lat_e7, lon_e7) in nodes {
            let mut node = Vec::new();
            number(1, zigzag(id), &mut node);
            number(8, zigzag(lat_e7), &mut node);
            number(9, zigzag(lon_e7), &mut node);
            bytes(1, &node, &mut group);
        }
        for (id, (refs, tags)) in (0..).zip(ways) {
            let mut way = Vec::new();
            number(1, id, &mut way);
            let first = strings.len() as u64;
            for (key, value) in *tags {
                strings.extend([(*key).to_owned(), (*value).to_owned()]);
            }
            packed(2, (0..tags.len() as u64).map(|at| first + 2 * at), &mut way);
            packed(3, (0..tags.len() as u64).map(|at| first + 2 * at + 1), &mut way);
            let deltas = refs.iter().scan(0, |before, &id| Some(zigzag(id - std::mem::replace(before, id))));
            packed(8, deltas, &mut way);
            bytes(3, &way, &mut group);
        }
        let mut table = Vec::new();
        strings.iter().for_each(|text| bytes(1, text.as_bytes(), &mut table));
        let mut block = Vec::new();
        bytes(1, &table, &mut block);
        bytes(2, &group, &mut block);
        let mut blob = Vec::new();
        bytes(1, &block, &mut blob);
        let mut header = Vec::new();
        bytes(1, b"OSMData", &mut header);
        number(3, blob.len() as u64, &mut header);
        let mut file = (header.len() as u32).to_be_bytes().to_vec();
        file.extend(header);
        file.extend(blob);
        file
    }
}

/// A square 1-2-3-4 of about 111 m, a bend (5) in its south side, and more around it.
fn square() -> Vec<(i64, i64, i64)> {
    vec![
        (10, 0, 0),
        (20, 0, 10_000),
        (30, 10_000, 10_000),
        (40, 10_000, 0),
        (50, -5_000, 5_000),
        (60, 20_000, 0),
        (70, 500_000, 500_000),
        (80, 510_000, 500_000),
    ]
}

#[test]
fn an_extract_becomes_a_network() {
    let ways: [(&[i64], pbf::Tags<'_>); 7] = [
        (&[10, 50, 20], &[("highway", "residential"), ("oneway", "yes"), ("maxspeed", "30 mph")]),
        (&[20, 30, 40], &[("highway", "primary"), ("maxspeed", "60")]),
        (&[40, 10], &[("highway", "secondary"), ("oneway", "-1")]),
        // A dead end into which one can drive, but not out again.
        (&[40, 60], &[("highway", "tertiary"), ("oneway", "yes")]),
        // Not for cars, private, and a part of its own.
        (&[10, 30], &[("highway", "footway")]),
        (&[10, 30], &[("highway", "residential"), ("access", "private")]),
        (&[70, 80], &[("highway", "residential")]),
    ];
    let files = roads("city.pbf", pbf::extract(&square(), &ways).as_slice(), None).unwrap();
    // 10 -> 20 (one-way), 20 <-> 40 through 30, 10 -> 40 against the drawing: nobody gets
    // back to 10, so that what is left is 20 and 40.
    assert_eq!((files.junctions, files.links, files.cut_off), (2, 2, 4), "{}{}", files.nodes, files.edges);
    let both: [(&[i64], pbf::Tags<'_>); 3] =
        [ways[0], ways[1], (&[40, 10], &[("highway", "secondary_link")])];
    let files = roads("city.pbf", pbf::extract(&square(), &both).as_slice(), None).unwrap();
    assert_eq!((files.junctions, files.links, files.cut_off), (3, 5, 0), "{}{}", files.nodes, files.edges);
    assert_eq!(files.nodes, "node,lat,lon\n0,0,0\n1,0,0.001\n2,0.001,0\n");
    let mut edges: Vec<&str> = files.edges.lines().skip(1).collect();
    edges.sort_unstable();
    // The bend makes the south side longer: twice 78.6 m; 30 mph are 48.28 km/h.
    assert!(edges[0].starts_with("0,1,0.1572") && edges[0].ends_with(",48.280"), "{}", edges[0]);
    assert!(edges[1].starts_with("0,2,0.1111") && edges[1].ends_with(",45.000"), "{}", edges[1]);
    assert!(edges[2].starts_with("1,2,0.2223") && edges[2].ends_with(",60.000"), "{}", edges[2]);
    assert!(edges[3].starts_with("2,0,0.1111"), "{}", edges[3]);
    assert!(edges[4].starts_with("2,1,0.2223"), "{}", edges[4]);
    load(&files);
}

/// What was imported is a scenario.
fn load(files: &RoadFiles) {
    let requests = "request_id,t_s,o_lat,o_lon,d_lat,d_lon,passengers\n0,1,0,0,0.001,0.001,1\n";
    let vehicles = "vehicle_id,lat,lon,seats\n0,0,0,4\n";
    let files = Files { nodes: files.nodes.as_str(), edges: files.edges.as_str(), requests, vehicles };
    let files = Files {
        nodes: files.nodes.as_bytes(),
        edges: files.edges.as_bytes(),
        requests: files.requests.as_bytes(),
        vehicles: files.vehicles.as_bytes(),
    };
    Scenario::from_files("import", "", files, None).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn an_area_cuts_roads_off() {
    let ways: [(&[i64], pbf::Tags<'_>); 1] = [(&[10, 20, 30, 40, 10, 70], &[("highway", "primary")])];
    let bytes = pbf::extract(&square(), &ways);
    let whole = roads("city.pbf", bytes.as_slice(), None).unwrap();
    let area =
        Area::around([(-0.01, -0.01), (0.01, 0.01)].map(|(a, b)| GeoPoint::from_degrees(a, b).unwrap()));
    let part = roads("city.pbf", bytes.as_slice(), area).unwrap_err();
    assert_eq!(whole.junctions, 2, "the loop at 10 leads nowhere, the road to 70 does");
    assert!(matches!(part, ScenarioError::Nothing { .. }), "{part}");
}

#[test]
fn what_is_not_an_extract_is_refused() {
    let error = roads("city.pbf", b"not a map at all".as_slice(), None).unwrap_err();
    assert!(matches!(&error, ScenarioError::Unreadable { file, .. } if file == "city.pbf"), "{error}");
    let error = roads("city.pbf", pbf::extract(&square(), &[]).as_slice(), None).unwrap_err();
    assert!(matches!(error, ScenarioError::Nothing { .. }), "{error}");
}
