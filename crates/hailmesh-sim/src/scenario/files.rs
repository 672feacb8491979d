//! The four files of a scenario folder.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use csv::{ErrorKind, ReaderBuilder, StringRecord, StringRecordsIntoIter, Trim};
use hailmesh_types::GeoPoint;

use super::{BOARDING_MS, DRAIN_MS, PATIENCE_MS, Scenario, ScenarioError, TripRequest, VehicleStart};
use crate::roads::{Junction, Link, MAX_LINK_KM, MAX_SPEED_KMH, MIN_SPEED_KMH, Roads, RoadsError};

/// File of the junctions: `node,lat,lon`.
pub const NODES: &str = "nodes.csv";
/// File of the links: `from,to,length_km,speed_kmh`.
pub const EDGES: &str = "edges.csv";
/// File of the demand: `request_id,t_s,o_lat,o_lon,d_lat,d_lon,passengers`, by time.
pub const REQUESTS: &str = "requests.csv";
/// File of the cars: `vehicle_id,lat,lon,seats`.
pub const VEHICLES: &str = "vehicles.csv";

/// Readers of the four files. Columns are found by their names; others are ignored.
#[derive(Debug)]
pub struct Files<R> {
    /// [`NODES`].
    pub nodes: R,
    /// [`EDGES`].
    pub edges: R,
    /// [`REQUESTS`].
    pub requests: R,
    /// [`VEHICLES`].
    pub vehicles: R,
}

const HOUR_MS: u64 = 3_600_000;
/// A year: longer runs are a mistake in a column.
const MAX_T_S: f64 = 31_536_000.0;
const MAX_PEOPLE: u64 = 100;

impl Scenario {
    /// Reads a scenario folder. `folder` names it in errors; `uniform_speed_kmh` replaces
    /// the speeds of all links (which still have to be valid).
    ///
    /// # Errors
    /// The first fault in the order of nodes, edges, requests, vehicles: file, line,
    /// column, value, and what is allowed.
    pub fn from_files<R: Read>(
        name: &str,
        folder: &str,
        files: Files<R>,
        uniform_speed_kmh: Option<f64>,
    ) -> Result<Self, ScenarioError> {
        let path = |file: &str| match folder.trim_end_matches('/') {
            "" => file.to_owned(),
            folder => format!("{folder}/{file}"),
        };
        let nodes = Nodes::read(path(NODES), files.nodes)?;
        let links = read_links(path(EDGES), files.edges, &nodes, uniform_speed_kmh)?;
        let roads =
            Roads::new(nodes.points.clone(), links).map_err(|error| nodes.explain(path(EDGES), error))?;
        let requests = read_requests(path(REQUESTS), files.requests, &roads)?;
        let vehicles = read_vehicles(path(VEHICLES), files.vehicles, &roads)?;
        let last = requests.last().map_or(0, |request| request.t_ms);
        Ok(Self {
            name: name.to_owned(),
            roads: Arc::new(roads),
            requests,
            vehicles,
            hour_ms: (last / HOUR_MS + 1) * HOUR_MS,
            drain_ms: DRAIN_MS,
            patience_ms: PATIENCE_MS,
            boarding_ms: BOARDING_MS,
        })
    }
}

struct Nodes {
    file: String,
    points: Vec<GeoPoint>,
    /// By the number in the file: the junction and its line.
    numbers: BTreeMap<u64, (Junction, u64)>,
}

impl Nodes {
    fn read(file: String, reader: impl Read) -> Result<Self, ScenarioError> {
        let mut nodes = Self { file, points: Vec::new(), numbers: BTreeMap::new() };
        let mut sheet = Sheet::open(&nodes.file, reader, &["node", "lat", "lon"])?;
        while let Some(row) = sheet.next()? {
            let number = row.whole("node", 0, u64::MAX)?;
            let junction = Junction(u32::try_from(nodes.points.len()).unwrap_or(u32::MAX));
            if let Some((_, first_line)) = nodes.numbers.insert(number, (junction, row.line)) {
                return Err(ScenarioError::Duplicate {
                    file: nodes.file,
                    line: row.line,
                    column: "node".to_owned(),
                    value: row.text("node").to_owned(),
                    first_line,
                });
            }
            nodes.points.push(row.point("lat", "lon")?);
        }
        Ok(nodes)
    }

    fn junction(&self, row: &Row<'_>, column: &str) -> Result<Junction, ScenarioError> {
        let number = row.whole(column, 0, u64::MAX)?;
        self.numbers.get(&number).map(|&(junction, _)| junction).ok_or_else(|| {
            ScenarioError::UnknownJunction {
                file: row.file.to_owned(),
                line: row.line,
                column: column.to_owned(),
                value: row.text(column).to_owned(),
                junctions: self.points.len(),
                nodes: self.file.clone(),
            }
        })
    }

    /// Says an error of the roads in the words of the files.
    fn explain(&self, file: String, error: RoadsError) -> ScenarioError {
        let RoadsError::Disconnected { from, to } = error else { return error.into() };
        let find = |junction: Junction| {
            let mut numbers = self.numbers.iter();
            let found =
                numbers.find(|(_, (at, _))| *at == junction).map(|(number, (_, line))| (*number, *line));
            found.expect("a junction of the file")
        };
        let (to, line) = find(to);
        ScenarioError::Disconnected {
            file,
            nodes: self.file.clone(),
            from: find(from).0.to_string(),
            to: to.to_string(),
            line,
        }
    }
}

fn read_links(
    file: String,
    reader: impl Read,
    nodes: &Nodes,
    uniform_speed_kmh: Option<f64>,
) -> Result<Vec<Link>, ScenarioError> {
    if let Some(kmh) = uniform_speed_kmh
        && !(MIN_SPEED_KMH..=MAX_SPEED_KMH).contains(&kmh)
    {
        return Err(RoadsError::Speed(kmh).into());
    }
    let mut links = Vec::new();
    let mut sheet = Sheet::open(&file, reader, &["from", "to", "length_km", "speed_kmh"])?;
    while let Some(row) = sheet.next()? {
        let (from, to) = (nodes.junction(&row, "from")?, nodes.junction(&row, "to")?);
        let length_km = row.number("length_km", "a number of km, more than 0 and at most 100", |value| {
            value > 0.0 && value <= MAX_LINK_KM
        })?;
        let speed_kmh = row.number("speed_kmh", "a number of km/h from 1 to 300", |value| {
            (MIN_SPEED_KMH..=MAX_SPEED_KMH).contains(&value)
        })?;
        links.push(Link { from, to, length_km, speed_kmh: uniform_speed_kmh.unwrap_or(speed_kmh) });
    }
    Ok(links)
}

fn read_requests(file: String, reader: impl Read, roads: &Roads) -> Result<Vec<TripRequest>, ScenarioError> {
    let mut requests: Vec<TripRequest> = Vec::new();
    let mut previous: Option<(f64, String)> = None;
    let columns = ["request_id", "t_s", "o_lat", "o_lon", "d_lat", "d_lon", "passengers"];
    let mut sheet = Sheet::open(&file, reader, &columns)?;
    while let Some(row) = sheet.next()? {
        let t_s = row.number("t_s", "seconds, a number from 0 to 31536000", |value| {
            (0.0..=MAX_T_S).contains(&value)
        })?;
        if let Some((_, previous)) = previous.filter(|&(before, _)| t_s < before) {
            return Err(ScenarioError::OutOfOrder {
                file: file.clone(),
                line: row.line,
                column: "t_s".to_owned(),
                value: row.text("t_s").to_owned(),
                previous,
            });
        }
        previous = Some((t_s, row.text("t_s").to_owned()));
        let (from, to) = (row.point("o_lat", "o_lon")?, row.point("d_lat", "d_lon")?);
        requests.push(TripRequest {
            t_ms: whole_ms(t_s),
            from,
            to,
            from_junction: roads.snap(from),
            to_junction: roads.snap(to),
            party: row.people("passengers")?,
        });
    }
    Ok(requests)
}

fn read_vehicles(file: String, reader: impl Read, roads: &Roads) -> Result<Vec<VehicleStart>, ScenarioError> {
    let mut vehicles = Vec::new();
    let mut sheet = Sheet::open(&file, reader, &["vehicle_id", "lat", "lon", "seats"])?;
    while let Some(row) = sheet.next()? {
        let point = row.point("lat", "lon")?;
        vehicles.push(VehicleStart { point, junction: roads.snap(point), seats: row.people("seats")? });
    }
    Ok(vehicles)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a year, checked")]
fn whole_ms(seconds: f64) -> u64 {
    (seconds * 1_000.0).round() as u64
}

/// A CSV file with named columns.
pub(crate) struct Sheet<R> {
    file: String,
    /// Names and places of the wanted columns.
    places: Vec<(&'static str, usize)>,
    records: StringRecordsIntoIter<R>,
    record: StringRecord,
    rows: u64,
}

impl<R: Read> Sheet<R> {
    /// Reads the header.
    pub(crate) fn open(file: &str, reader: R, columns: &[&'static str]) -> Result<Self, ScenarioError> {
        let columns: Vec<(&str, &[&str])> =
            columns.iter().map(|name| (*name, std::slice::from_ref(name))).collect();
        Self::open_spelled(file, reader, &columns, &[])
    }

    /// Reads the header; each column has one of several spellings, and some may be
    /// missing. Capitals and blanks around a name do not matter.
    pub(crate) fn open_spelled(
        file: &str,
        reader: R,
        columns: &[(&'static str, &[&str])],
        optional: &[(&'static str, &[&str])],
    ) -> Result<Self, ScenarioError> {
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(reader);
        let header = reader.headers().map_err(|error| unreadable(file, &error))?.clone();
        let names: Vec<String> =
            header.iter().map(|name| name.trim_start_matches('\u{feff}').to_ascii_lowercase()).collect();
        if names.iter().all(String::is_empty) {
            let columns = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",");
            return Err(ScenarioError::Empty { file: file.to_owned(), columns });
        }
        let mut places = Vec::new();
        let needed = columns.iter().map(|column| (column, true));
        for (&(column, spellings), needed) in needed.chain(optional.iter().map(|column| (column, false))) {
            let mut found = (0..names.len()).filter(|&place| spellings.contains(&names[place].as_str()));
            match (found.next(), found.next()) {
                (Some(place), None) => places.push((column, place)),
                (Some(_), Some(_)) => {
                    return Err(ScenarioError::DuplicateColumn {
                        file: file.to_owned(),
                        column: column.to_owned(),
                    });
                }
                (None, _) if !needed => {}
                (None, _) => {
                    return Err(ScenarioError::MissingColumn {
                        file: file.to_owned(),
                        column: spellings.join("\" or \""),
                        found: names.join(","),
                    });
                }
            }
        }
        let records = reader.into_records();
        Ok(Self { file: file.to_owned(), places, records, record: StringRecord::new(), rows: 0 })
    }

    /// The next row; a file without any is an error.
    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>, ScenarioError> {
        match self.records.next() {
            Some(Ok(record)) => self.record = record,
            Some(Err(error)) => return Err(unreadable(&self.file, &error)),
            None if self.rows == 0 => {
                let columns = self.places.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",");
                return Err(ScenarioError::Empty { file: self.file.clone(), columns });
            }
            None => return Ok(None),
        }
        self.rows += 1;
        let line = self.record.position().map_or(0, csv::Position::line);
        Ok(Some(Row { file: &self.file, line, places: &self.places, record: &self.record }))
    }
}

fn unreadable(file: &str, error: &csv::Error) -> ScenarioError {
    let file = file.to_owned();
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            ScenarioError::Fields { file, line, found: *len, expected: *expected_len }
        }
        ErrorKind::Io(error) => ScenarioError::Unreadable { file, reason: error.to_string() },
        ErrorKind::Utf8 { .. } => {
            ScenarioError::Unreadable { file, reason: format!("line {line}: it is not UTF-8: expected text") }
        }
        _ => ScenarioError::Unreadable { file, reason: error.to_string() },
    }
}

/// A row of a [`Sheet`].
pub(crate) struct Row<'a> {
    file: &'a str,
    pub(crate) line: u64,
    places: &'a [(&'static str, usize)],
    record: &'a StringRecord,
}

impl Row<'_> {
    /// What is written in a column, without blanks around it; nothing if it is missing.
    pub(crate) fn text(&self, column: &str) -> &str {
        let place =
            self.places.iter().find(|(name, _)| *name == column).map_or(usize::MAX, |&(_, place)| place);
        self.record.get(place).unwrap_or_default()
    }

    /// The error of a value.
    pub(crate) fn refuse(&self, column: &str, expected: impl Into<String>) -> ScenarioError {
        ScenarioError::Value {
            file: self.file.to_owned(),
            line: self.line,
            column: column.to_owned(),
            value: self.text(column).to_owned(),
            expected: expected.into(),
        }
    }

    /// A number that meets a condition; NaN meets none.
    pub(crate) fn number(
        &self,
        column: &str,
        expected: &str,
        allowed: impl Fn(f64) -> bool,
    ) -> Result<f64, ScenarioError> {
        let number =
            self.text(column).parse().ok().filter(|&number: &f64| number.is_finite() && allowed(number));
        number.ok_or_else(|| self.refuse(column, expected))
    }

    /// A whole number in a range, both ends included.
    pub(crate) fn whole(&self, column: &str, low: u64, high: u64) -> Result<u64, ScenarioError> {
        let number = self.text(column).parse().ok().filter(|number| (low..=high).contains(number));
        number.ok_or_else(|| {
            let range =
                if high == u64::MAX { format!("from {low} on") } else { format!("from {low} to {high}") };
            self.refuse(column, format!("a whole number {range}"))
        })
    }

    /// A number of people.
    pub(crate) fn people(&self, column: &str) -> Result<u8, ScenarioError> {
        let people = self.whole(column, 1, MAX_PEOPLE)?;
        u8::try_from(people).map_err(|_| self.refuse(column, "a whole number from 1 to 100"))
    }

    /// A position from two columns.
    pub(crate) fn point(&self, lat: &str, lon: &str) -> Result<GeoPoint, ScenarioError> {
        let lat_degrees =
            self.number(lat, "degrees from -90 to 90", |value| (-90.0..=90.0).contains(&value))?;
        let lon_degrees =
            self.number(lon, "degrees from -180 to 180", |value| (-180.0..=180.0).contains(&value))?;
        GeoPoint::from_degrees(lat_degrees, lon_degrees).map_err(|error| self.refuse(lat, error.to_string()))
    }
}
