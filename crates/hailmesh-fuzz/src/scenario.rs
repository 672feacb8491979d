//! Scenario files: CSV of a city, TOML that describes one, trip records of others.

use std::sync::LazyLock;

use hailmesh_sim::import::{Window, trips};
use hailmesh_sim::scenario::{Description, EDGES, Files, NODES, REQUESTS, Source, VEHICLES};
use hailmesh_sim::{Policy, Scenario, baseline};

use crate::{Checked, Finding, Input, ensure, mutated};

const NODES_CSV: &str = "node,lat,lon\n700,40.00,-74.00\n3,40.00,-73.99\n41,40.01,-73.99\n";
const EDGES_CSV: &str = "from,to,length_km,speed_kmh\n700,3,0.85,17\n3,41,1.11,30\n41,700,1.4,36\n";
const REQUESTS_CSV: &str = "request_id,t_s,o_lat,o_lon,d_lat,d_lon,passengers\n\
                            0,0.5,40.0001,-74.0001,40.0099,-73.9901,1\n\
                            1,3700,40.0,-73.99,40.0,-74.0,4\n";
const VEHICLES_CSV: &str = "vehicle_id,available_from_s,lat,lon,seats\n\
                            9,-20,40.0,-74.0,4\n8,0,40.0,-73.99,5\n7,0,40.01,-73.99,6\n";
const GRID_TOML: &str = "name = \"town\"\npatience_s = 300\nboarding_s = 30\ndrain_s = 600\n\
                         uniform_speed_kmh = 20\n[grid]\nblocks_x = 4\nblocks_y = 3\nblock_m = 200\n\
                         riders_per_hour = 40\nvehicles = 5\nhours = 0.5\npeak = 1.2\ncommute = 0.3\n\
                         one_way = true\nlat = 40.0\nlon = -74.0\nseed = 7\n\
                         centres = [{ x = 0.3, y = 0.5, weight = 0.4, spread_m = 500.0 }]\n";
const FOLDER_TOML: &str = "folder = \"data/town\"\ndrain_s = 0\npatience_s = 1\n";
const TRIPS_CSV: &str = "medallion,pickup_datetime,dropoff_datetime,passenger_count,pickup_longitude,\
                         pickup_latitude,dropoff_longitude,dropoff_latitude\n\
                         A,2013-11-18 16:10:30,2013-11-18 16:20:00,2,-73.99,40.75,-73.98,40.76\n\
                         B,11/18/2013 04:05:00 PM,11/18/2013 16:30,0,-73.98,40.74,-73.97,40.77\n";
/// What goes well wrong in texts: numbers that are none, ends of ranges, quotes, no text.
const DONOR: &[u8] = b"nan,inf,-inf,1e400,-0.0,1e-320,99999999999999999999,18446744073709551615,-1,0,180,90.1,\
                       \"\n\",\"\"\",\xef\xbb\xbf,\xff,\r\n,9999-12-31 23:59:59,-9999-01-01 00:00:00,300.1,0x10, 1 ,";

/// Cities of more blocks, riders or cars than this are not built: that they are valid is not
/// what takes the time.
const BLOCKS_MAX: u32 = 30;
const PEOPLE_MAX: f64 = 2_000.0;

/// Longest value that an error may quote besides what it says.
const QUOTED_MAX: usize = 8_192;

/// Files of a scenario, descriptions, and trip records, each with changes or as they are.
///
/// # Errors
/// What did not hold.
pub fn run(bytes: &[u8]) -> Checked {
    run_with(bytes, &|[nodes, edges, requests, vehicles]| {
        let files = Files { nodes, edges, requests, vehicles };
        Scenario::from_files("fuzzed", "city", files, None).map_err(|error| error.to_string())
    })
}

/// Makes a scenario of the four files, or says what is wrong.
pub type Loader<'a> = &'a dyn Fn([&[u8]; 4]) -> Result<Scenario, String>;

/// As [`run`], with this loader of folders.
///
/// # Errors
/// What did not hold.
pub fn run_with(bytes: &[u8], loader: Loader<'_>) -> Checked {
    let mut input = Input::new(bytes);
    match input.below(4) {
        0 => folder(&mut input, loader),
        1 => description(&mut input),
        2 => records(&mut input),
        _ => whole(&mut input, loader),
    }
}

/// The four files, one or more of them changed.
fn folder(input: &mut Input<'_>, loader: Loader<'_>) -> Checked {
    let changed = input.byte();
    let mut at = 0;
    let texts = [NODES_CSV, EDGES_CSV, REQUESTS_CSV, VEHICLES_CSV].map(|base| {
        at += 1;
        let is_changed = changed >> (at - 1) & 1 == 1;
        if is_changed { mutated(base.as_bytes(), DONOR, input) } else { base.as_bytes().to_vec() }
    });
    load(&texts, loader)
}

/// Bytes as they are, cut into four files at zero bytes.
fn whole(input: &mut Input<'_>, loader: Loader<'_>) -> Checked {
    let mut parts = input.rest().splitn(4, |byte| *byte == 0).map(<[u8]>::to_vec);
    let texts: [Vec<u8>; 4] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    load(&texts, loader)
}

fn load(texts: &[Vec<u8>; 4], loader: Loader<'_>) -> Checked {
    match loader(texts.each_ref().map(Vec::as_slice)) {
        Ok(scenario) => runnable(&scenario),
        Err(words) => {
            let files = [NODES, EDGES, REQUESTS, VEHICLES];
            names_its_place(&words, &files.map(|file| format!("city/{file}")), texts)
        }
    }
}

/// An error names a file, and a line of it that is there.
fn names_its_place(words: &str, files: &[String], texts: &[Vec<u8>]) -> Checked {
    ensure(words.len() <= QUOTED_MAX, || format!("an error of {} bytes", words.len()))?;
    let named = files.iter().position(|file| words.starts_with(file.as_str()));
    let Some(named) = named else { return Err(Finding(format!("no file is named: {words}"))) };
    let rest = &words[files[named].len()..];
    let Some(rest) = rest.strip_prefix(", line ") else {
        // What concerns a whole file: it is empty, not text, or the roads do not hang together.
        return ensure(rest.starts_with(": "), || format!("neither a line nor a file: {words}"));
    };
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let line: usize = digits.parse().map_err(|_| Finding(format!("no line: {words}")))?;
    // A row may end in the middle of the file only if a line break comes after it.
    let lines = texts[named].iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    ensure((1..=lines).contains(&line), || format!("line {line} of {lines}: {words}"))?;
    ensure(rest.contains(": "), || format!("nothing is said to be wrong: {words}"))
}

/// What loads can be run, and what came of it makes sense.
fn runnable(scenario: &Scenario) -> Checked {
    ensure(scenario.requests.is_sorted_by_key(|request| request.t_ms), || {
        "requests that are not in the order of their time".to_owned()
    })?;
    let fleet = u32::try_from(scenario.vehicles.len().min(3)).unwrap_or(1);
    let policy: Policy = "first-come".parse().map_err(|error| Finding(format!("{error}")))?;
    let outcome = baseline::run(scenario, fleet, 1, policy)
        .map_err(|error| Finding(format!("a scenario that loads and does not run: {error}")))?;
    ensure(outcome.rides.len() == scenario.requests.len(), || {
        format!("{} requests, {} outcomes", scenario.requests.len(), outcome.rides.len())
    })?;
    for ride in &outcome.rides {
        let times = [Some(ride.requested_ms), ride.matched_ms, ride.picked_up_ms, ride.dropped_ms];
        ensure(times.iter().flatten().is_sorted(), || format!("times that fall: {ride:?}"))?;
        let wait = ride.wait_ms().unwrap_or(0);
        ensure(wait <= scenario.patience_ms, || format!("a wait of {wait} ms: {ride:?}"))?;
    }
    Ok(())
}

/// A description in TOML.
fn description(input: &mut Input<'_>) -> Checked {
    let base = if input.chance(64) { FOLDER_TOML } else { GRID_TOML };
    let text = if input.chance(40) { input.rest().to_vec() } else { mutated(base.as_bytes(), DONOR, input) };
    let text = String::from_utf8_lossy(&text);
    let description = match Description::from_toml("town.toml", &text) {
        Ok(description) => description,
        Err(error) => {
            let words = error.to_string();
            let named = words.starts_with("town.toml: ") && words.len() <= QUOTED_MAX;
            return ensure(named, || format!("an error of a description: {words}"));
        }
    };
    let Source::Grid(city) = &description.source else { return Ok(()) };
    let is_small = city.blocks_x <= BLOCKS_MAX
        && city.blocks_y <= BLOCKS_MAX
        && city.riders_per_hour * city.hours <= PEOPLE_MAX
        && f64::from(city.vehicles) <= PEOPLE_MAX;
    // Not a number is never small; the city has to say so itself.
    let is_sane = !city.riders_per_hour.is_nan() && !city.hours.is_nan();
    if !is_small && is_sane {
        return Ok(());
    }
    let made = city.generate().map(|scenario| match description.uniform_speed_kmh {
        Some(kmh) => scenario.with_uniform_speed(kmh).map_err(|error| error.to_string()),
        None => Ok(scenario),
    });
    match made {
        Ok(Ok(scenario)) => runnable(&description.adjust(scenario)),
        Ok(Err(words)) => ensure(!words.is_empty(), || "a refusal without words".to_owned()),
        Err(error) => {
            let words = error.to_string();
            let named = words.contains("expected") && words.len() <= QUOTED_MAX;
            ensure(named, || format!("a parameter that is refused without a reason: {words}"))
        }
    }
}

/// Trip records; what they become can be loaded again.
fn records(input: &mut Input<'_>) -> Checked {
    let hours = 1 + u32::from(input.byte()) % 170;
    let from = input.chance(64).then(|| "2013-11-18 16:00".to_owned());
    let seed = input.byte().into();
    let text = mutated(TRIPS_CSV.as_bytes(), DONOR, input);
    let window = Window { from, hours, area: None, seed };
    let files = match trips("trips.csv", text.as_slice(), &window) {
        Ok(files) => files,
        Err(error) => {
            let words = error.to_string();
            if words.starts_with("hours = ") {
                return ensure(hours > 168, || format!("{hours} hours: {words}"));
            }
            return names_its_place(&words, &["trips.csv".to_owned()], &[text]);
        }
    };
    let roads = &*ROADS;
    let texts =
        [roads[0].clone(), roads[1].clone(), files.requests.into_bytes(), files.vehicles.into_bytes()];
    let [nodes, edges, requests, vehicles] = texts.each_ref().map(Vec::as_slice);
    let scenario = Scenario::from_files("taxis", "city", Files { nodes, edges, requests, vehicles }, None)
        .map_err(|error| Finding(format!("imported, and not to be loaded: {error}")))?;
    ensure(scenario.requests.len() as u64 == files.trips, || "a trip that got lost".to_owned())?;
    runnable(&scenario)
}

/// The roads that imported trips are loaded with.
static ROADS: LazyLock<[Vec<u8>; 2]> =
    LazyLock::new(|| [NODES_CSV.as_bytes().to_vec(), EDGES_CSV.as_bytes().to_vec()]);

/// Inputs to begin with.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let whole = [NODES_CSV, EDGES_CSV, REQUESTS_CSV, VEHICLES_CSV].join("\0");
    vec![
        ("files".to_owned(), [&[3], whole.as_bytes()].concat()),
        ("folder".to_owned(), vec![0, 0]),
        ("grid".to_owned(), vec![1, 0, 0, 0]),
        ("grid-text".to_owned(), [&[1, 0, 255], GRID_TOML.as_bytes()].concat()),
        ("folder-text".to_owned(), [&[1, 0, 255], FOLDER_TOML.as_bytes()].concat()),
        (
            "not-a-number".to_owned(),
            [&[1, 0, 255][..], b"[grid]\nriders_per_hour = nan\nhours = nan\n"].concat(),
        ),
        ("trips".to_owned(), vec![2, 0, 0, 0, 0]),
    ]
}
