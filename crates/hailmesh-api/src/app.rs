//! What all resources share.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use hailmesh_node::NodeHandle;
use hailmesh_node::config::RiderSettings;
use hailmesh_node::market::DriverProfile;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::auth::{Token, Tokens};
use crate::idempotency::Table;
use crate::server::ApiConfig;

/// Most event streams at a time.
pub(crate) const STREAMS_MAX: usize = 64;

/// The state behind every resource; cloning shares it.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) node: NodeHandle,
    /// `Host` values that are served.
    pub(crate) hosts: Vec<String>,
    /// `Origin` values that are served.
    pub(crate) origins: Vec<String>,
    pub(crate) tokens: Tokens,
    /// The administrator's token, for whoever may derive lesser ones.
    pub(crate) admin: Token,
    pub(crate) keys: Table,
    profile: Mutex<Option<DriverProfile>>,
    /// What a rider says of itself when a request does not.
    pub(crate) rider: RiderSettings,
    pub(crate) streams: Arc<Semaphore>,
    /// Ends the streams when the server stops.
    pub(crate) closing: CancellationToken,
}

impl App {
    /// The state of a server that serves these names.
    pub(crate) fn new(
        node: NodeHandle,
        config: ApiConfig,
        hosts: Vec<String>,
        origins: Vec<String>,
        closing: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            node,
            hosts,
            origins,
            tokens: Tokens::from_admin(&config.token),
            admin: config.token,
            keys: Table::default(),
            profile: Mutex::new(config.profile),
            rider: config.rider,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            closing,
        }))
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    /// What this driver offers, as far as the server was told.
    pub(crate) fn profile(&self) -> Option<DriverProfile> {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers what this driver offers.
    pub(crate) fn set_profile(&self, profile: DriverProfile) {
        *self.profile.lock().unwrap_or_else(PoisonError::into_inner) = Some(profile);
    }
}
