//! What a user can set, and where each value came from.
//!
//! Four layers, the later one wins: the embedded defaults, `config.toml` in the home (or
//! the file named with `--config`), variables `HAILMESH_<SECTION>__<KEY>`, flags. A key
//! that nobody knows is an error, and so is a value that cannot work: both say which
//! key, which value, where it was set and what is allowed.

mod convert;
mod layers;
mod lenient;
mod settings;
mod template;

use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::value::{Dict, Value};
use figment::{Figment, Metadata};

pub(crate) use convert::{INVITE_PREFIX, dialable};
pub use convert::{ValueError, tariff_overrides};
pub use settings::{
    ApiSettings, DriverSettings, LogSettings, NetworkSettings, PolicySettings, RiderSettings, Settings,
    StoreSettings, TariffSettings, TimerSettings, VehicleSettings,
};
pub use template::{KEYS, Key, example_toml};

use layers::{EnvVariable, Flags};

/// Every environment variable of ours begins with this.
pub const ENV_PREFIX: &str = "HAILMESH_";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named with `--config` or found in the home cannot be read.
    #[error("configuration file {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {path}: {message}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, with the line.
        message: String,
    },
    /// Nobody knows this key.
    #[error("unknown key {key} ({origin}){}", did_you_mean(suggestion.as_deref()))]
    Unknown {
        /// The key as it was written.
        key: String,
        /// Where.
        origin: String,
        /// The known key that is written most like it.
        suggestion: Option<String>,
    },
    /// A value that cannot work.
    #[error("{key} = {value} ({origin}): expected {allowed}")]
    Value {
        /// The key.
        key: String,
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: String,
        /// Where it was set.
        origin: String,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|key| format!(": did you mean {key}?")).unwrap_or_default()
}

/// Settings together with where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub settings: Settings,
    figment: Figment,
}

impl Loaded {
    /// Where the value of `key` (`network.name`) was set: `default`, `file PATH`,
    /// `environment HAILMESH_NETWORK__NAME`, `flag --network`.
    #[must_use]
    pub fn origin(&self, key: &str) -> String {
        origin(&self.figment, key)
    }

    /// Every key with its value as TOML writes it and its origin, for
    /// `config show --origin`. Keys without a value say `-`.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, String, String)> {
        let show = |path: &str| match self.figment.find_value(path) {
            Ok(value) => shown(&value),
            Err(_) => "-".to_owned(),
        };
        KEYS.iter().map(|key| (key.path, show(key.path), self.origin(key.path))).collect()
    }
}

/// Reads every layer. `config_file` replaces the `config.toml` of the home and must then
/// exist; `overrides` are the flags, nested as in the file.
///
/// # Errors
/// [`ConfigError`] for the first thing that is wrong.
pub fn load(
    home: impl AsRef<Path>,
    config_file: Option<&Path>,
    overrides: Dict,
) -> Result<Loaded, ConfigError> {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.to_str()?.to_owned();
        name.starts_with(ENV_PREFIX).then(|| (name, value.to_string_lossy().into_owned()))
    });
    load_with(home.as_ref(), config_file, variables, overrides)
}

/// [`load`] with the environment as an argument.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    home: &Path,
    config_file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    overrides: Dict,
) -> Result<Loaded, ConfigError> {
    let mut figment = Figment::from(layers::Defaults);
    if let Some((path, text)) = read_file(home, config_file)? {
        let table: toml::Table = toml::from_str(&text)
            .map_err(|error| ConfigError::Syntax { path: path.clone(), message: error.to_string() })?;
        figment = figment.merge(layers::File { path, table });
    }
    let mut variables: Vec<(String, String)> = environment.into_iter().collect();
    variables.sort();
    for (name, value) in variables {
        if let Some(variable) = EnvVariable::new(name, value)? {
            figment = figment.merge(variable);
        }
    }
    figment = figment.merge(Flags(overrides));
    refuse_unknown(&figment)?;
    let settings: Settings = figment.extract().map_err(|error| explain(&figment, &error))?;
    settings.check().map_err(|bad| bad.at(origin(&figment, &bad.key)))?;
    Ok(Loaded { settings, figment })
}

fn read_file(home: &Path, config_file: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let path = config_file.map_or_else(|| home.join(crate::home::CONFIG_FILE), Path::to_path_buf);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if config_file.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Unreadable { path, source }),
    }
}

/// The first key of any layer that is not in [`KEYS`].
fn refuse_unknown(figment: &Figment) -> Result<(), ConfigError> {
    let all = figment.find_value("").ok().and_then(Value::into_dict).unwrap_or_default();
    let mut found = Vec::new();
    leaves("", &all, &mut found);
    for key in found {
        if !KEYS.iter().any(|known| known.path == key) {
            return Err(ConfigError::Unknown {
                suggestion: suggest(&key),
                origin: origin(figment, &key),
                key,
            });
        }
    }
    Ok(())
}

fn leaves(prefix: &str, dict: &Dict, found: &mut Vec<String>) {
    for (name, value) in dict {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let section = KEYS.iter().any(|key| key.path.starts_with(&format!("{path}.")));
        match value {
            Value::Dict(_, inner) if section && !inner.is_empty() => leaves(&path, inner, found),
            Value::Dict(_, _) if section => {}
            _ => found.push(path),
        }
    }
}

/// The known key that is written most like `key`, if any is close.
fn suggest(key: &str) -> Option<String> {
    let last = key.rsplit('.').next().unwrap_or(key);
    let score = |known: &str| {
        let whole = strsim::jaro_winkler(key, known);
        // A right key in the wrong section is as good as a close spelling.
        if known.rsplit('.').next() == Some(last) { whole.max(0.95) } else { whole }
    };
    let best = KEYS.iter().map(|known| (score(known.path), known.path)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then(|| best.1.to_owned())
}

/// Turns an error of the deserialiser into one that names key, value and origin.
fn explain(figment: &Figment, error: &figment::Error) -> ConfigError {
    let key = error.path.join(".");
    let origin = origin(figment, &key);
    let value = figment.find_value(&key).map_or_else(|_| "?".to_owned(), |value| shown(&value));
    let allowed = match &error.kind {
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => expected.clone(),
        other => other.to_string(),
    };
    ConfigError::Value { key, value, allowed, origin }
}

fn origin(figment: &Figment, key: &str) -> String {
    figment.find_metadata(key).map_or_else(|| "default".to_owned(), |metadata| described(metadata, key))
}

fn described(metadata: &Metadata, key: &str) -> String {
    if metadata.name == layers::FLAGS {
        let flag = KEYS.iter().find(|known| known.path == key).and_then(|known| known.flag);
        return flag.map_or_else(|| "flag".to_owned(), |flag| format!("flag {flag}"));
    }
    metadata.name.clone().into_owned()
}

/// A value as TOML writes it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, c) => format!("{:?}", c.to_string()),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => number
            .to_u128()
            .map(|n| n.to_string())
            .or_else(|| number.to_i128().map(|n| n.to_string()))
            .or_else(|| number.to_f64().map(|n| n.to_string()))
            .unwrap_or_default(),
        Value::Array(_, items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::Dict(..) => "a section".to_owned(),
        Value::Empty(..) => "-".to_owned(),
    }
}
