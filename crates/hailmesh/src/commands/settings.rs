//! Flags as the last layer of the configuration.

use std::path::Path;

use figment::value::{Dict, Value};
use hailmesh_node::config::{self, Loaded};

use crate::cli::{AcceptArg, DriverArgs, Global, RiderArgs};
use crate::exit::Failure;
use crate::homes::Homes;

/// Reads the configuration of a home with these flags on top.
pub(super) fn load(global: &Global, homes: &Homes, home: &Path, flags: Dict) -> Result<Loaded, Failure> {
    let shared = homes.shared_config(home);
    let file = global.config.as_deref().or(shared.as_deref());
    Ok(config::load(home, file, flags)?)
}

/// The flags of all commands.
pub(super) fn of_global(global: &Global) -> Dict {
    let mut flags = Dict::new();
    let list = |items: &[String]| {
        Value::from(items.iter().map(|item| Value::from(item.as_str())).collect::<Vec<_>>())
    };
    if !global.listen.is_empty() {
        put(&mut flags, "network", "listen", list(&global.listen));
    }
    if !global.bootstrap.is_empty() {
        put(&mut flags, "network", "bootstrap", list(&global.bootstrap));
    }
    if let Some(name) = &global.network {
        put(&mut flags, "network", "name", name.as_str());
    }
    if global.no_mdns {
        put(&mut flags, "network", "mdns", false);
    }
    if let Some(url) = &global.store {
        put(&mut flags, "store", "url", url.as_str());
    }
    if let Some(addr) = &global.api {
        put(&mut flags, "api", "addr", addr.as_str());
    }
    if let Some(format) = global.log_format {
        put(&mut flags, "log", "format", format.name());
    }
    let level = match (global.quiet, global.verbose) {
        (true, _) => Some("error"),
        (false, 0) => None,
        (false, 1) => Some("debug"),
        (false, _) => Some("trace"),
    };
    if let Some(level) = level {
        put(&mut flags, "log", "level", level);
    }
    flags
}

/// The flags of `hailmesh driver`.
pub(super) fn of_driver(mut flags: Dict, args: &DriverArgs) -> Result<Dict, Failure> {
    if let Some(at) = args.at {
        put(&mut flags, "driver", "at", format!("{},{}", at.lat(), at.lon()));
    }
    if let Some(seats) = args.seats {
        put(&mut flags, "driver", "seats", seats);
    }
    if let Some(class) = args.class {
        put(&mut flags, "driver", "class", class.to_string());
    }
    if let Some(precision) = args.precision {
        put(&mut flags, "driver", "precision", precision);
    }
    if let Some(accept) = args.accept {
        put(&mut flags, "driver", "accept", if accept == AcceptArg::Ask { "ask" } else { "auto" });
    }
    if let Some(tariff) = &args.tariff {
        let tariff =
            config::tariff_overrides(tariff).map_err(|error| Failure::usage(format!("--tariff: {error}")))?;
        put(&mut flags, "driver", "tariff", Value::from(tariff));
    }
    Ok(flags)
}

/// The flags of `hailmesh rider`.
pub(super) fn of_rider(mut flags: Dict, args: &RiderArgs) -> Dict {
    if let Some(at) = args.at {
        put(&mut flags, "rider", "at", format!("{},{}", at.lat(), at.lon()));
    }
    flags
}

fn put(flags: &mut Dict, section: &str, key: &str, value: impl Into<Value>) {
    let entry = flags.entry(section.to_owned()).or_insert_with(|| Value::from(Dict::new()));
    if let Value::Dict(_, section) = entry {
        section.insert(key.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_the_last_layer() {
        let global = Global {
            network: Some("test".into()),
            no_mdns: true,
            bootstrap: vec!["/ip4/127.0.0.1/tcp/1".into()],
            verbose: 1,
            ..Global::default()
        };
        let args = DriverArgs {
            at: Some("40.758,-73.9855".parse().unwrap()),
            tariff: Some("base=300,currency=EUR".into()),
            ..DriverArgs::default()
        };
        let flags = of_driver(of_global(&global), &args).unwrap();
        let loaded = config::load_with(Path::new("/nonexistent"), None, [], flags).unwrap();
        let settings = &loaded.settings;
        assert_eq!(settings.network.name, "test");
        assert!(!settings.network.mdns);
        assert_eq!(settings.network.bootstrap, ["/ip4/127.0.0.1/tcp/1"]);
        assert_eq!(settings.log.level, "debug");
        assert_eq!(settings.driver.at.as_deref(), Some("40.758,-73.9855"));
        assert_eq!(settings.driver.tariff.base, 300);
        assert_eq!(settings.driver.tariff.currency, "EUR");
        assert_eq!(loaded.origin("network.name"), "flag --network");
    }

    #[test]
    fn a_bad_tariff_is_a_usage_error() {
        let args = DriverArgs { tariff: Some("bas=1".into()), ..DriverArgs::default() };
        let failure = of_driver(Dict::new(), &args).unwrap_err();
        assert_eq!(failure.exit, crate::exit::Exit::Usage);
        assert!(failure.message.contains("bas=1"), "{}", failure.message);
    }
}
