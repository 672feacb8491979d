//! What can go wrong, by culprit.

/// Why a store did not do what it was asked. Texts name the store but never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another process, or another store of this one, uses it (P17.4).
    #[error("{what} is in use by another node: only one may run per home and identity")]
    InUse {
        /// Which store.
        what: String,
    },
    /// What is there cannot be read as a journal. Nothing of it was removed.
    #[error("{what} is damaged and was not used: {detail}")]
    Corrupt {
        /// Which store.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A newer version of Hailmesh wrote it.
    #[error("{what} was written by a newer version (schema {found}; this version knows up to {known})")]
    Newer {
        /// Which store.
        what: String,
        /// Version of its schema.
        found: i64,
        /// Newest version this program knows.
        known: i64,
    },
    /// It belongs to another identity key.
    #[error("{what} belongs to the identity {stored}…, not to {given}…")]
    OtherIdentity {
        /// Which store.
        what: String,
        /// First digits of the identity it was made for.
        stored: String,
        /// First digits of the identity it was opened for.
        given: String,
    },
    /// The machine does not do its part: disk full, no permission, connection lost.
    #[error("{what} is not available: {detail}")]
    Unavailable {
        /// Which store.
        what: String,
        /// What the machine said.
        detail: String,
    },
    /// The records contradict what is stored; nothing of them was stored.
    #[error("refused by the journal: {what}")]
    Conflict {
        /// Which record, and which rule.
        what: String,
    },
    /// Not the address of a store.
    #[error("store {value:?}: {detail}; expected sqlite:PATH, postgres://… or memory")]
    BadUrl {
        /// The address, without its password.
        value: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    pub(crate) fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict { what: what.into() }
    }

    /// Names the record that caused a conflict.
    pub(crate) fn about(self, record: impl FnOnce() -> String) -> Self {
        match self {
            Self::Conflict { what } => Self::Conflict { what: format!("{}: {what}", record()) },
            other => other,
        }
    }

    /// Whether the connection must be made anew before it can be trusted again.
    pub(crate) fn breaks_connection(&self) -> bool {
        !matches!(self, Self::Conflict { .. })
    }
}
