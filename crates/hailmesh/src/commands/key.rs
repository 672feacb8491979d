//! `hailmesh key`.

use std::path::Path;

use hailmesh_node::home::{Existing, Home, HomeError, write_private};
use hailmesh_node::keys::{IdentityKey, KeyFileError};
use serde_json::json;

use super::passphrase;
use crate::cli::{Global, KeyAction, KeyArgs};
use crate::exit::{Exit, Failure};
use crate::homes::Homes;
use crate::output::Output;

pub(super) fn run(global: &Global, homes: &Homes, args: &KeyArgs, out: Output) -> Result<Exit, Failure> {
    if args.role.is_none() && !homes.is_named() && matches!(args.action, KeyAction::Show) {
        return show_all(global, homes, out);
    }
    let dir = homes.single(args.role)?;
    match &args.action {
        KeyAction::New => {
            let home = open(&dir)?;
            let key = IdentityKey::create(&home, passphrase::given(global)?).map_err(refused)?;
            print(&home, &key, out)?;
        }
        KeyAction::Show => {
            let home = existing(&dir)?;
            print(&home, &load(global, &home)?, out)?;
        }
        KeyAction::Export { out: file } => {
            let home = existing(&dir)?;
            let key = load(global, &home)?;
            let exported = key.export(passphrase::given(global)?).map_err(refused)?;
            match file {
                Some(path) => {
                    write_private(path, &exported, Existing::Keep)
                        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
                    out.remark(format!(
                        "whoever has {} is you: keep it safe, never run two homes on it",
                        path.display()
                    ));
                }
                None => out.raw(&exported)?,
            }
        }
        KeyAction::Import { file } => {
            let bytes = std::fs::read(file)
                .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
            let home = open(&dir)?;
            let key = IdentityKey::import(&home, &bytes, passphrase::given(global)?).map_err(refused)?;
            print(&home, &key, out)?;
        }
    }
    Ok(Exit::Ok)
}

fn show_all(global: &Global, homes: &Homes, out: Output) -> Result<Exit, Failure> {
    let mut items = Vec::new();
    for dir in homes.candidates().iter().filter(|dir| dir.join("identity.key").exists()) {
        let home = existing(dir)?;
        let key = load(global, &home)?;
        items.push((home.dir().display().to_string(), key.public().to_string()));
    }
    if items.is_empty() {
        return Err(Failure::failed("no key yet")
            .hint("`hailmesh key new --role driver` makes one; so does the first start"));
    }
    if out.json {
        let items: Vec<_> =
            items.iter().map(|(home, key)| json!({ "home": home, "identity": key })).collect();
        out.document(&json!({ "items": items }))?;
    } else {
        out.table(&["HOME", "IDENTITY"], items.into_iter().map(|(home, key)| vec![home, key]).collect())?;
    }
    Ok(Exit::Ok)
}

fn open(dir: &Path) -> Result<Home, Failure> {
    Home::open(dir).map_err(refused_home)
}

/// A home that must be there already: looking must not make one.
fn existing(dir: &Path) -> Result<Home, Failure> {
    if dir.is_dir() { open(dir) } else { Err(Failure::failed(format!("{} does not exist", dir.display()))) }
}

fn load(global: &Global, home: &Home) -> Result<IdentityKey, Failure> {
    IdentityKey::load(home, passphrase::needed(global, home)?).map_err(refused)
}

fn print(home: &Home, key: &IdentityKey, out: Output) -> Result<(), Failure> {
    let encrypted = IdentityKey::is_encrypted(home).map_err(refused)?;
    if out.json {
        return out.document(&json!({
            "home": home.dir(),
            "file": home.key(),
            "identity": key.public().to_string(),
            "encrypted": encrypted,
        }));
    }
    out.line(key.public().to_string())?;
    out.remark(format!(
        "{} ({})",
        home.key().display(),
        if encrypted { "encrypted" } else { "not encrypted, mode 0600" }
    ));
    Ok(())
}

fn refused(error: KeyFileError) -> Failure {
    match error {
        KeyFileError::Home(error) => refused_home(error),
        _ => Failure::failed(error),
    }
}

fn refused_home(error: HomeError) -> Failure {
    match error {
        HomeError::AlreadyRunning { .. } => Failure::new(Exit::AlreadyRunning, error),
        HomeError::Loose { .. } | HomeError::Nowhere => Failure::new(Exit::BadConfig, error),
        HomeError::Io { .. } => Failure::failed(error),
    }
}
