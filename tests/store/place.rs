//! Where the journal of a test is kept.

use hailmesh_store::{Error, Options, Store, StoreUrl};
use hailmesh_types::PublicKey;
use tempfile::TempDir;

use crate::sample::key;

/// A place for one journal, empty at first.
pub(crate) enum Place {
    /// It can be opened once.
    Memory,
    /// A file in a folder that goes with the place.
    Sqlite(TempDir),
    /// A server, and an identity that nobody else has.
    Postgres(String, PublicKey),
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().expect("a folder for temporary files"))
    }

    pub(crate) fn url(&self) -> StoreUrl {
        match self {
            Self::Memory => StoreUrl::Memory,
            Self::Sqlite(folder) => StoreUrl::Sqlite(folder.path().join("home").join("hailmesh.db")),
            Self::Postgres(url, _) => url.parse().expect("an address"),
        }
    }

    pub(crate) fn identity(&self) -> PublicKey {
        match self {
            Self::Postgres(_, identity) => *identity,
            _ => key(250),
        }
    }

    pub(crate) async fn try_open(&self) -> Result<Store, Error> {
        Store::open(&self.url(), &self.identity(), Options::default()).await
    }

    pub(crate) async fn open(&self) -> Store {
        self.try_open().await.expect("the journal can be opened")
    }

    /// The journal as it is after a restart. Memory has none: there it is the same one.
    pub(crate) async fn reopen(&self, store: Store) -> Store {
        if self.is_kept() {
            store.close().await;
            self.open().await
        } else {
            store
        }
    }

    pub(crate) fn is_kept(&self) -> bool {
        !matches!(self, Self::Memory)
    }
}
