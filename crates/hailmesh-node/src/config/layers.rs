//! Where values come from.

use std::path::PathBuf;

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

use super::{ConfigError, ENV_PREFIX, KEYS, Settings};

/// Name of the layer that holds the flags; the origin of a value adds which.
pub(super) const FLAGS: &str = "flag";

/// The embedded defaults.
pub(super) struct Defaults;

impl Provider for Defaults {
    fn metadata(&self) -> Metadata {
        Metadata::named("default")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(dict_of(&Settings::default())?))
    }
}

/// A configuration file.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) table: toml::Table,
}

impl Provider for File {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("file {}", self.path.display()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(dict_of(&self.table)?))
    }
}

#[expect(clippy::result_large_err, reason = "the error that a provider must give")]
fn dict_of(values: &impl serde::Serialize) -> Result<Dict, Error> {
    Value::serialize(values)?.into_dict().ok_or_else(|| Error::from("not a table".to_owned()))
}

/// One variable of the environment, always text: a telephone number keeps its zeros.
pub(super) struct EnvVariable {
    name: String,
    path: String,
    value: String,
}

impl EnvVariable {
    /// The layer of a variable, when it names a key. `HAILMESH_HOME` and other short
    /// names belong to the command line and name none.
    pub(super) fn new(name: String, value: String) -> Result<Option<Self>, ConfigError> {
        let rest = name.strip_prefix(ENV_PREFIX).unwrap_or_default().to_ascii_lowercase();
        if rest.contains("__") {
            let path = rest.replace("__", ".");
            return Ok(Some(Self { name, path, value }));
        }
        // `HAILMESH_NETWORK_NAME` is a key with too few underscores, not a short name.
        let meant = KEYS.iter().find(|key| key.path.replace('.', "_") == rest);
        match meant {
            Some(key) => Err(ConfigError::Unknown {
                origin: "environment".to_owned(),
                key: name,
                suggestion: Some(env_name(key.path)),
            }),
            None => Ok(None),
        }
    }
}

impl Provider for EnvVariable {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("environment {}", self.name))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let nested = figment::util::nest(&self.path, Value::from(self.value.as_str()));
        Ok(Profile::Default.collect(nested.into_dict().unwrap_or_default()))
    }
}

/// The variable that sets a key.
pub(super) fn env_name(path: &str) -> String {
    format!("{ENV_PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}

/// What was given on the command line.
pub(super) struct Flags(pub(super) Dict);

impl Provider for Flags {
    fn metadata(&self) -> Metadata {
        Metadata::named(FLAGS)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}
