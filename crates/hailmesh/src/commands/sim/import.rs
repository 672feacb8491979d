//! `hailmesh sim import`.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use hailmesh_sim::import::{self, Area, Window};
use hailmesh_sim::scenario::{EDGES, NODES, REQUESTS, VEHICLES};
use hailmesh_types::GeoPoint;
use serde_json::json;

use super::run::unwritable;
use super::scenario;
use crate::cli::sim::{ImportFormat, SimImportArgs};
use crate::exit::{Exit, Failure};
use crate::output::Output;

pub(super) fn run(args: &SimImportArgs, out: Output) -> Result<Exit, Failure> {
    let folder = match &args.format {
        ImportFormat::Osm { out: folder, file, area } => {
            roads(file, folder, *area, out)?;
            folder
        }
        ImportFormat::Tlc { out: folder, file, from, hours, area, seed } => {
            let area = area.map_or_else(|| area_of_roads(folder), |area| Ok(Some(area)))?;
            let window = Window { from: from.clone(), hours: *hours, area, seed: *seed };
            demand(file, folder, &window, out)?;
            folder
        }
    };
    let missing: Vec<&str> =
        [NODES, EDGES, REQUESTS, VEHICLES].into_iter().filter(|file| !folder.join(file).is_file()).collect();
    if missing.is_empty() {
        // Files of two sources have to fit: better to hear it now than at the first run.
        scenario::load(&folder.display().to_string(), None)?;
        out.remark(format!("{} is a scenario: hailmesh sim run {0}", folder.display()));
    } else {
        out.remark(format!("{} still lacks {}", folder.display(), missing.join(", ")));
    }
    Ok(Exit::Ok)
}

fn roads(file: &Path, folder: &Path, area: Option<Area>, out: Output) -> Result<(), Failure> {
    let name = file.display().to_string();
    let made = import::roads(&name, open(file)?, area).map_err(scenario::bad)?;
    write(folder, NODES, &made.nodes)?;
    write(folder, EDGES, &made.edges)?;
    if out.json {
        return out.document(&json!({
            "junctions": made.junctions, "links": made.links, "junctions_cut_off": made.cut_off,
        }));
    }
    out.line(format!(
        "{} junctions and {} links; {} junctions without a way there and back are left out",
        made.junctions, made.links, made.cut_off
    ))
}

fn demand(file: &Path, folder: &Path, window: &Window, out: Output) -> Result<(), Failure> {
    let name = file.display().to_string();
    let made = import::trips(&name, open(file)?, window).map_err(scenario::bad)?;
    write(folder, REQUESTS, &made.requests)?;
    write(folder, VEHICLES, &made.vehicles)?;
    let skipped = &made.skipped;
    if out.json {
        return out.document(&json!({
            "from": made.from, "hours": window.hours, "trips": made.trips, "cars": made.cars,
            "skipped": {
                "without_position": skipped.without_position,
                "other_time": skipped.other_time,
                "other_place": skipped.other_place,
            },
        }));
    }
    out.line(format!(
        "{} trips and {} cars of {} h from {}; skipped: {} without a position, {} at other times, {} elsewhere",
        made.trips,
        made.cars,
        window.hours,
        made.from,
        skipped.without_position,
        skipped.other_time,
        skipped.other_place
    ))
}

/// Around the junctions that the folder already has; none without any.
fn area_of_roads(folder: &Path) -> Result<Option<Area>, Failure> {
    let path = folder.join(NODES);
    if !path.is_file() {
        return Ok(None);
    }
    let refuse = |what: String| Failure::new(Exit::BadConfig, format!("{}: {what}", path.display()));
    let text = fs::read_to_string(&path).map_err(|error| refuse(error.to_string()))?;
    points(&text).map(Area::around).map_err(refuse)
}

/// The points of a file of junctions; numbers in it need no quotes.
fn points(text: &str) -> Result<Vec<GeoPoint>, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let head: Vec<&str> =
        lines.next().map(|(_, line)| line.split(',').map(str::trim).collect()).unwrap_or_default();
    let place = |column: &str| {
        let at =
            head.iter().position(|name| name.trim_start_matches('\u{feff}').eq_ignore_ascii_case(column));
        at.ok_or_else(|| format!("line 1: no column \"{column}\""))
    };
    let (lat, lon) = (place("lat")?, place("lon")?);
    lines
        .map(|(number, line)| {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let degrees = |at: usize| {
                let field = fields.get(at).copied().unwrap_or_default();
                let value = field.parse::<f64>();
                value.map_err(|_| format!("line {}: \"{field}\": expected degrees", number + 1))
            };
            GeoPoint::from_degrees(degrees(lat)?, degrees(lon)?)
                .map_err(|error| format!("line {}: {error}", number + 1))
        })
        .collect()
}

fn open(path: &Path) -> Result<BufReader<File>, Failure> {
    let file = File::open(path)
        .map_err(|error| Failure::new(Exit::BadConfig, format!("{}: {error}", path.display())))?;
    Ok(BufReader::new(file))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    let path = folder.join(name);
    fs::write(&path, text).map_err(|error| unwritable(&path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_of_a_folder_is_around_its_junctions() {
        let area = Area::around(points("node,lat,lon\n0,1.5,2\n1,-1,3\n").unwrap()).unwrap();
        assert_eq!((area.south_west.lat(), area.north_east.lon()), (-1.0, 3.0));
        assert!(points("node,lat\n").unwrap_err().contains("lon"));
        assert!(points("node,lat,lon\n0,x,2\n").unwrap_err().contains("line 2"));
        assert!(points("node,lat,lon\n0,95,2\n").unwrap_err().contains("95"));
    }
}
