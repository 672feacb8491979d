//! What can go wrong, by culprit.

use hailmesh_market::{CommandError, RecoverError};

use crate::config::{ConfigError, ValueError};
use crate::home::HomeError;
use crate::keys::KeyFileError;

/// Why a running node did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The marketplace refuses the command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The node has ended.
    #[error("the node has ended")]
    Stopped,
    /// The store does not work, so nothing is decided.
    #[error("nothing is decided while the store does not work: {0}")]
    Store(String),
    /// What the store holds of earlier rides cannot be read.
    #[error("the history of rides cannot be read: {0}")]
    History(String),
    /// What was asked makes no sense.
    #[error("{0}")]
    BadInput(String),
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot work.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The home cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The journal cannot be used.
    #[error(transparent)]
    Store(#[from] hailmesh_store::Error),
    /// What the journal holds makes no sense together.
    #[error("the journal cannot be understood: {0}; it was left as it is")]
    Recover(RecoverError),
    /// The network cannot be started: a port is in use, an address is not ours.
    #[error(transparent)]
    Network(#[from] hailmesh_net::Error),
    /// The start mark beside the journal cannot be read or written.
    #[error("start mark {path}: {source}", path = path.display())]
    Mark {
        /// Which file.
        path: std::path::PathBuf,
        /// What the machine says.
        source: std::io::Error,
    },
    /// The marketplace refuses what the driver offers.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The machine has no randomness.
    #[error("no randomness: {0}")]
    Random(String),
}

impl StartError {
    /// The exit code of the program (interface, section 1): 6 already running, 7 bad
    /// configuration, 1 otherwise.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        use hailmesh_store::Error as Store;
        match self {
            Self::Home(HomeError::AlreadyRunning { .. }) | Self::Store(Store::InUse { .. }) => 6,
            Self::Value(_)
            | Self::Config(_)
            | Self::Store(Store::BadUrl { .. })
            | Self::Network(hailmesh_net::Error::Config(_))
            | Self::Command(CommandError::BadValue { .. })
            | Self::Home(HomeError::Loose { .. })
            | Self::Key(KeyFileError::Home(HomeError::Loose { .. })) => 7,
            _ => 1,
        }
    }
}
