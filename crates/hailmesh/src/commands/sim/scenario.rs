//! Opens scenarios.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use hailmesh_sim::Scenario;
use hailmesh_sim::scenario::{
    Description, EDGES, Files, GridCity, NODES, REQUESTS, ScenarioError, Source, VEHICLES,
};

use crate::exit::{Exit, Failure};

/// The name of the synthetic city; a folder of this name is `./grid`.
const GRID: &str = "grid";

/// A scenario by the name of its folder, of its TOML file, or of a city that needs none.
///
/// # Errors
/// Code 7 with file, line, column and value of what is wrong.
pub(super) fn load(name: &str, uniform_speed_kmh: Option<f64>) -> Result<Scenario, Failure> {
    let path = Path::new(name);
    if name == GRID {
        return grid(&GridCity::default(), uniform_speed_kmh);
    }
    if path.is_dir() {
        return folder(path, name, uniform_speed_kmh);
    }
    let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    if is_toml {
        return described(path, name, uniform_speed_kmh);
    }
    let found = if path.exists() { "is neither a folder nor a .toml file" } else { "does not exist" };
    Err(Failure::new(
        Exit::BadConfig,
        format!("scenario \"{name}\" {found}: expected a scenario folder, a .toml file or {GRID}"),
    )
    .hint("`hailmesh sim run grid` needs no data; `hailmesh sim run --help` says what a folder holds"))
}

/// What is wrong with a scenario, with the code for it.
pub(super) fn bad(error: ScenarioError) -> Failure {
    Failure::new(Exit::BadConfig, error)
}

fn grid(city: &GridCity, uniform_speed_kmh: Option<f64>) -> Result<Scenario, Failure> {
    let scenario = city.generate().map_err(bad)?;
    match uniform_speed_kmh {
        Some(kmh) => scenario.with_uniform_speed(kmh).map_err(|error| bad(error.into())),
        None => Ok(scenario),
    }
}

fn folder(path: &Path, shown: &str, uniform_speed_kmh: Option<f64>) -> Result<Scenario, Failure> {
    let open = |file: &str| {
        let path = path.join(file);
        match File::open(&path) {
            Ok(file) => Ok(BufReader::new(file)),
            Err(error) => Err(Failure::new(Exit::BadConfig, format!("{}: {error}", path.display()))
                .hint(format!("a scenario folder holds {NODES}, {EDGES}, {REQUESTS} and {VEHICLES}"))),
        }
    };
    let files = Files {
        nodes: open(NODES)?,
        edges: open(EDGES)?,
        requests: open(REQUESTS)?,
        vehicles: open(VEHICLES)?,
    };
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let name = whole.file_name().map_or_else(|| shown.into(), |name| name.to_string_lossy());
    Scenario::from_files(&name, shown, files, uniform_speed_kmh).map_err(bad)
}

fn described(path: &Path, shown: &str, uniform_speed_kmh: Option<f64>) -> Result<Scenario, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::new(Exit::BadConfig, format!("{shown}: {error}")))?;
    let description = Description::from_toml(shown, &text).map_err(bad)?;
    let speed = uniform_speed_kmh.or(description.uniform_speed_kmh);
    let scenario = match &description.source {
        Source::Grid(city) => grid(city, speed)?,
        Source::Folder(name) => {
            let place: PathBuf = path.parent().unwrap_or(Path::new("")).join(name);
            folder(&place, &place.display().to_string(), speed)?
        }
    };
    Ok(description.adjust(scenario))
}
