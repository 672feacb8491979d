//! `hailmesh config`.

use hailmesh_node::config::example_toml;
use hailmesh_node::home::{Existing, Home, write_private};
use serde_json::json;

use super::settings;
use crate::cli::{ConfigAction, ConfigArgs, Global};
use crate::exit::{Exit, Failure};
use crate::homes::Homes;
use crate::output::Output;

pub(super) fn run(global: &Global, homes: &Homes, args: &ConfigArgs, out: Output) -> Result<Exit, Failure> {
    let dir = homes.single(args.role)?;
    match args.action {
        ConfigAction::Init => {
            let home = Home::open(&dir).map_err(|error| Failure::new(Exit::BadConfig, error))?;
            let path = home.config();
            write_private(&path, example_toml().as_bytes(), Existing::Keep).map_err(|error| {
                if error.kind() == std::io::ErrorKind::AlreadyExists {
                    Failure::failed(format!("{} exists: it is not overwritten", path.display()))
                } else {
                    Failure::failed(format!("{}: {error}", path.display()))
                }
            })?;
            if out.json {
                out.document(&json!({ "path": path }))?;
            } else {
                out.line(path.display().to_string())?;
                out.remark("every default stands in it as a comment; `hailmesh config check` reads it");
            }
        }
        ConfigAction::Show { origin } => {
            let loaded = settings::load(global, homes, &dir, settings::of_global(global))?;
            let entries = loaded.entries();
            if out.json {
                let items: Vec<_> = entries
                    .iter()
                    .map(|(key, value, from)| json!({ "key": key, "value": value, "origin": from }))
                    .collect();
                out.document(&json!({ "items": items }))?;
            } else if origin {
                let rows =
                    entries.into_iter().map(|(key, value, from)| vec![key.to_owned(), value, from]).collect();
                out.table(&["KEY", "VALUE", "ORIGIN"], rows)?;
            } else {
                let rows = entries.into_iter().map(|(key, value, _)| vec![key.to_owned(), value]).collect();
                out.table(&["KEY", "VALUE"], rows)?;
            }
        }
        ConfigAction::Check => {
            settings::load(global, homes, &dir, settings::of_global(global))?;
            if out.json {
                out.document(&json!({ "ok": true }))?;
            } else {
                out.line("ok")?;
            }
        }
    }
    Ok(Exit::Ok)
}
