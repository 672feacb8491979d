//! Which home a command means.
//!
//! With `--home` there is one. Without it each role has its own folder below the data
//! folder of the user: `hailmesh driver` and `hailmesh rider` in two terminals of one
//! machine are two nodes with two keys, and commands that talk to a node find the one that
//! runs.

use std::path::{Path, PathBuf};

use hailmesh_node::home;

use crate::cli::{Global, RoleArg};
use crate::exit::{Exit, Failure};

/// Roles in the order in which their homes are looked through.
const ROLES: [RoleArg; 3] = [RoleArg::Rider, RoleArg::Driver, RoleArg::Relay];

/// The homes of this user.
#[derive(Debug, Clone)]
pub struct Homes {
    named: Option<PathBuf>,
    base: PathBuf,
}

impl Homes {
    /// From the flags.
    ///
    /// # Errors
    /// When neither a flag nor the system says where.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        if let Some(dir) = &global.home {
            if dir.as_os_str().is_empty() {
                return Err(Failure::usage("--home is empty: expected a folder"));
            }
            return Ok(Self { named: Some(dir.clone()), base: dir.clone() });
        }
        let base = home::default_dir().map_err(|error| Failure::new(Exit::BadConfig, error))?;
        Ok(Self { named: None, base })
    }

    /// Whether `--home` or its variable names the home.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        self.named.is_some()
    }

    /// The home of a node of this role.
    #[must_use]
    pub fn of(&self, role: RoleArg) -> PathBuf {
        self.named.clone().unwrap_or_else(|| self.base.join(role.name()))
    }

    /// The homes in which a node may run, the likeliest first.
    #[must_use]
    pub fn candidates(&self) -> Vec<PathBuf> {
        match &self.named {
            Some(dir) => vec![dir.clone()],
            None => ROLES.iter().map(|role| self.of(*role)).collect(),
        }
    }

    /// The one home a command about files means.
    ///
    /// # Errors
    /// Code 2 when several come into question and none is named.
    pub fn single(&self, role: Option<RoleArg>) -> Result<PathBuf, Failure> {
        match (&self.named, role) {
            (Some(dir), _) => Ok(dir.clone()),
            (None, Some(role)) => Ok(self.of(role)),
            (None, None) => {
                Err(Failure::usage("which home? Say --role driver, --role rider, --role relay or --home DIR"))
            }
        }
    }

    /// The configuration file of a home when none is named: its own, else the one that all
    /// roles share, if there is one.
    #[must_use]
    pub fn shared_config(&self, home: &Path) -> Option<PathBuf> {
        let shared = self.base.join(home::CONFIG_FILE);
        (self.named.is_none() && !home.join(home::CONFIG_FILE).exists() && shared.exists()).then_some(shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_their_own_homes_unless_one_is_named() {
        let named = Homes::new(&Global { home: Some("/x".into()), ..Global::default() }).unwrap();
        assert_eq!(named.of(RoleArg::Driver), named.of(RoleArg::Rider));
        assert_eq!(named.candidates(), [PathBuf::from("/x")]);
        let default = Homes { named: None, base: "/data/hailmesh".into() };
        assert_eq!(default.of(RoleArg::Driver), PathBuf::from("/data/hailmesh/driver"));
        assert_eq!(default.candidates()[0], PathBuf::from("/data/hailmesh/rider"));
        assert_eq!(default.single(None).unwrap_err().exit, Exit::Usage);
    }
}
