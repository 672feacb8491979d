//! The one type the node uses, over the three places a journal can be in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hailmesh_market::journal::{Record, RideId};
use hailmesh_types::{PeerKey, PublicKey};

use crate::memory::Memory;
use crate::sql::Database;
use crate::sqlite::Sqlite;
use crate::{Error, StoreUrl};

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most bytes the database file may grow to (SQLite, in pages of 4,096 bytes; the
    /// write-ahead log of up to some MiB comes on top). Past it appends fail with
    /// [`Error::Unavailable`] and what is stored stays. No limit when absent. Memory
    /// and Postgres do not look at it.
    pub max_bytes: Option<u64>,
    /// How long a database server may take to connect or to answer one statement
    /// (Postgres). Default 10 s.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_bytes: None, timeout: Duration::from_secs(10) }
    }
}

/// A journal, open for one node. Clones share it; calls are carried out one at a time.
///
/// Call [`Store::close`] at the end: a store that is merely dropped is closed in the
/// background and may refuse another opening for a moment. Nothing is lost either way.
#[derive(Clone)]
pub struct Store {
    place: Arc<Place>,
}

enum Place {
    Memory(tokio::sync::Mutex<Memory>),
    Sqlite(Database<Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Database<crate::postgres::Postgres>),
}

/// The same call on whichever place it is.
macro_rules! on_place {
    ($store:expr, $memory:ident => $in_memory:expr, $database:ident => $in_database:expr) => {
        match &*$store.place {
            Place::Memory($memory) => $in_memory,
            Place::Sqlite($database) => $in_database,
            #[cfg(feature = "postgres")]
            Place::Postgres($database) => $in_database,
        }
    };
}

impl Store {
    /// Opens the journal of `identity`, makes it when there is none, and brings its
    /// schema up to date.
    ///
    /// A new SQLite file is made with mode 0600, missing folders above it with 0700.
    ///
    /// # Errors
    /// Any but [`Error::Conflict`]. Nothing that was there is removed or replaced.
    pub async fn open(url: &StoreUrl, identity: &PublicKey, options: Options) -> Result<Self, Error> {
        let identity = *identity.as_bytes();
        let place = match url {
            StoreUrl::Memory => Place::Memory(tokio::sync::Mutex::default()),
            StoreUrl::Sqlite(path) => {
                Place::Sqlite(Database::open(Sqlite::new(path, options.max_bytes)?, identity).await?)
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres(address) => {
                let server =
                    crate::postgres::Postgres::new(address.expose(), url, &identity, options.timeout)?;
                Place::Postgres(Database::open(server, identity).await?)
            }
            #[cfg(not(feature = "postgres"))]
            StoreUrl::Postgres(_) => {
                return Err(Error::BadUrl {
                    value: url.to_string(),
                    detail: "this program was built without Postgres (cargo feature `postgres`)".to_owned(),
                });
            }
        };
        Ok(Self { place: Arc::new(place) })
    }

    /// A journal in memory, which dies with the process (P11.7).
    #[must_use]
    pub fn memory() -> Self {
        Self { place: Arc::new(Place::Memory(tokio::sync::Mutex::default())) }
    }

    /// Everything a marketplace needs to go on, in the order described at [`Record`].
    ///
    /// Of ended slots it holds the newest
    /// [`ENDED_SLOTS_KEPT`](hailmesh_market::journal::ENDED_SLOTS_KEPT) and the last of
    /// each key that is not erased. An erased key comes as `Key` with a secret of zeros,
    /// directly followed by its `KeyErased`; only those that a slot refers to and the
    /// newest [`ERASED_KEYS_KEPT`](crate::ERASED_KEYS_KEPT) come at all.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a row cannot be understood; [`Error::Unavailable`];
    /// [`Error::InUse`] when another node took the journal over meanwhile.
    pub async fn load(&self) -> Result<Vec<Record>, Error> {
        on_place!(self, memory => Ok(memory.lock().await.load()), database => database.load().await)
    }

    /// Stores a batch, all of it or nothing; durable when this returns.
    ///
    /// What is already stored in the same words is taken as done: a key, a firm slot,
    /// an end, a statement, an outbox row, evidence. A statement of the other side whose
    /// id is known with other bytes (another signature) is left as it was first.
    ///
    /// # Errors
    /// [`Error::Conflict`]: nothing was stored. [`Error::Unavailable`] and others: it is
    /// unknown whether it was, see the crate's first page.
    pub async fn append(&self, records: &[Record]) -> Result<(), Error> {
        self.append_records(&[records]).await
    }

    /// Stores several batches, in order, in *one* transaction: group commit.
    ///
    /// # Errors
    /// As [`Store::append`]; a conflict in any batch refuses all of them.
    pub async fn append_all(&self, batches: &[Vec<Record>]) -> Result<(), Error> {
        let batches: Vec<&[Record]> = batches.iter().map(Vec::as_slice).collect();
        self.append_records(&batches).await
    }

    async fn append_records(&self, batches: &[&[Record]]) -> Result<(), Error> {
        if batches.iter().all(|batch| batch.is_empty()) {
            return Ok(());
        }
        on_place!(self, memory => memory.lock().await.append(batches), database => database.append(batches).await)
    }

    /// Rides all of whose slots have ended, newest ride first, at most `limit`, only
    /// those made before the ride `before`. Each comes with all its slots, oldest first,
    /// in the order described at [`Record`].
    ///
    /// # Errors
    /// As [`Store::load`].
    pub async fn ended(&self, before: Option<RideId>, limit: usize) -> Result<Vec<Vec<Record>>, Error> {
        on_place!(self, memory => Ok(memory.lock().await.ended(before, limit)), database => database.ended(before, limit).await)
    }

    /// All slots of one ride, ended or not, oldest first; empty for an unknown ride.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub async fn ride(&self, ride: RideId) -> Result<Vec<Record>, Error> {
        on_place!(self, memory => Ok(memory.lock().await.ride(ride)), database => database.ride(ride).await)
    }

    /// Addresses of peers that were good to know, most recently good first (P15.1).
    ///
    /// # Errors
    /// As [`Store::load`].
    pub async fn peers(&self) -> Result<Vec<(PeerKey, String)>, Error> {
        on_place!(self, memory => Ok(memory.lock().await.peers()), database => database.peers().await)
    }

    /// Remembers addresses as the most recently good ones, the last one foremost. The
    /// oldest beyond [`PEERS_KEPT`](crate::PEERS_KEPT) are forgotten; an address longer
    /// than [`PEER_ADDRESS_BYTES_MAX`](crate::PEER_ADDRESS_BYTES_MAX) is passed over.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub async fn remember_peers(&self, peers: &[(PeerKey, String)]) -> Result<(), Error> {
        let fits = |address: &str| !address.is_empty() && address.len() <= crate::PEER_ADDRESS_BYTES_MAX;
        let peers: Vec<_> = peers.iter().filter(|(_, address)| fits(address)).cloned().collect();
        if peers.is_empty() {
            return Ok(());
        }
        on_place!(self,
            memory => { memory.lock().await.remember_peers(&peers); Ok(()) },
            database => database.remember_peers(&peers).await)
    }

    /// The mark of the last start (P11.8); none in a new journal.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub async fn start_mark(&self) -> Result<Option<[u8; 32]>, Error> {
        on_place!(self, memory => Ok(memory.lock().await.start_mark), database => database.start_mark().await)
    }

    /// Replaces the mark of the last start (P11.8); durable when this returns.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub async fn set_start_mark(&self, mark: [u8; 32]) -> Result<(), Error> {
        on_place!(self,
            memory => { memory.lock().await.start_mark = Some(mark); Ok(()) },
            database => database.set_start_mark(mark).await)
    }

    /// Whether the store answers; a lost connection is made anew.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub async fn check(&self) -> Result<(), Error> {
        on_place!(self, _memory => Ok(()), database => database.check().await)
    }

    /// `memory`, `sqlite` or `postgres`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &*self.place {
            Place::Memory(_) => "memory",
            Place::Sqlite(_) => "sqlite",
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => "postgres",
        }
    }

    /// Ends the use of the store by this and all its clones and gives up its lock.
    /// Later calls fail with [`Error::Unavailable`], in memory they go on.
    pub async fn close(&self) {
        on_place!(self, _memory => (), database => database.close().await);
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.kind()).finish()
    }
}
