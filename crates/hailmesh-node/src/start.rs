//! From settings to a running node.

use std::path::PathBuf;
use std::sync::Arc;

use hailmesh_market::{Command, Marketplace, Role};
use hailmesh_net as net;
use hailmesh_store::{Store, StoreUrl};
use hailmesh_types::{PeerKey, Private};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::config::Settings;
use crate::engine::{Engine, Identity, LastSaid, Link};
use crate::error::{NodeError, StartError};
use crate::events::EventLog;
use crate::fail_point::FailPoints;
use crate::handle::{NodeHandle, Shared};
use crate::home::{Home, HomeLock};
use crate::host_mark;
use crate::journal::{Journal, spawn_writer};
use crate::keys::IdentityKey;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::start_mark::{self, Mark};
use crate::status::Seen;
use crate::work::spawn_worker;

/// Requests that wait for the loop.
const REQUESTS: usize = 256;

/// What a node is started with.
#[derive(Debug)]
pub struct NodeConfig {
    /// Which side it stands on; neither: a relay, which only passes gossip on.
    pub role: Option<Role>,
    /// Everything that can be set.
    pub settings: Settings,
    /// Its folder; none: nothing is on disk unless the settings name a store.
    pub home: Option<Home>,
    /// Whose node it is.
    pub identity: IdentityKey,
    /// Where figures are registered; the default is as good as any.
    pub registry: Registry,
}

impl NodeConfig {
    /// A node that keeps nothing, with an identity of its own.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn ephemeral(role: Option<Role>, settings: Settings) -> Result<Self, StartError> {
        let identity = IdentityKey::ephemeral()?;
        Ok(Self { role, settings, home: None, identity, registry: Registry::default() })
    }
}

/// The node.
#[derive(Debug, Clone, Copy)]
pub struct Node;

impl Node {
    /// Starts a node: takes its home, reads its journal, opens its ports, says what its
    /// settings say. Returns when it is ready, with a handle and the task, which ends
    /// after [`NodeHandle::shutdown`] or when every handle is gone.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then, and nothing stored was changed but for the
    /// start mark.
    pub async fn start(
        config: NodeConfig,
    ) -> Result<(NodeHandle, JoinHandle<Result<(), NodeError>>), StartError> {
        Self::start_with_clock(config, Clock::start()).await
    }

    /// [`Node::start`] with a clock of the caller's, for simulations and to see what a
    /// wrong clock does.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_with_clock(
        config: NodeConfig,
        clock: Clock,
    ) -> Result<(NodeHandle, JoinHandle<Result<(), NodeError>>), StartError> {
        // On the heap: a start is large, and callers' threads may have little stack.
        Box::pin(start(config, clock, None, |_| {})).await.map(|(handle, task, _)| (handle, task))
    }

    /// [`Node::start`] with `change` made to the configuration of the network, for what
    /// settings do not say: addresses behind which the node is reached, a
    /// [`Tap`](net::Tap) on its gossip.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_with_network(
        config: NodeConfig,
        change: impl FnOnce(&mut net::Config) + Send,
    ) -> Result<(NodeHandle, JoinHandle<Result<(), NodeError>>), StartError> {
        Box::pin(start(config, Clock::start(), None, change)).await.map(|(handle, task, _)| (handle, task))
    }

    /// [`Node::start_with_network`] with a watch over its commits, for tests that let the
    /// process die at one of them.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_with_fail_points(
        config: NodeConfig,
        points: FailPoints,
        change: impl FnOnce(&mut net::Config) + Send,
    ) -> Result<(NodeHandle, JoinHandle<Result<(), NodeError>>), StartError> {
        let started = Box::pin(start(config, Clock::start(), Some(points), change));
        started.await.map(|(handle, task, _)| (handle, task))
    }
}

/// [`Node::start`], with the journal for the tests of this crate.
pub(crate) async fn start(
    config: NodeConfig,
    clock: Clock,
    points: Option<FailPoints>,
    change: impl FnOnce(&mut net::Config) + Send,
) -> Result<(NodeHandle, JoinHandle<Result<(), NodeError>>, Journal), StartError> {
    let NodeConfig { role, settings, home, identity, mut registry } = config;
    settings.check()?;
    let market_config = settings.market_config()?;
    let lock = home.as_ref().map(Home::lock).transpose()?;
    let url: StoreUrl = settings.store_url(home.as_ref().map(Home::dir)).parse()?;
    let store = Store::open(&url, &identity.public(), settings.store.options()).await?;
    let journal = Journal::new(store, points);
    let closed = watch::Sender::new(false);
    let opening =
        Opening { role, settings: &settings, home: home.as_ref(), journal: &journal, closed: &closed };
    let opened = opening.open(identity, clock, market_config, &mut registry, change).await;
    let (engine, shared, requests) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            // The next attempt must find the store free.
            journal.store().close().await;
            return Err(error);
        }
    };
    let handle = NodeHandle { requests, shared: Arc::new(Shared { registry, ..shared }) };
    let task = tokio::spawn(run(engine, lock, closed));
    Ok((handle, task, journal))
}

/// The lock of the home lives as long as the loop; then whoever waits for the end is told.
async fn run(engine: Engine, lock: Option<HomeLock>, closed: watch::Sender<bool>) -> Result<(), NodeError> {
    let outcome = engine.run().await;
    drop(lock);
    closed.send_replace(true);
    outcome
}

type Opened = (Engine, Shared, mpsc::Sender<crate::engine::Request>);

/// What a start has so far.
struct Opening<'a> {
    role: Option<Role>,
    settings: &'a Settings,
    home: Option<&'a Home>,
    journal: &'a Journal,
    closed: &'a watch::Sender<bool>,
}

impl Opening<'_> {
    async fn open(
        &self,
        key: IdentityKey,
        clock: Clock,
        market_config: hailmesh_market::Config,
        registry: &mut Registry,
        change: impl FnOnce(&mut net::Config) + Send,
    ) -> Result<Opened, StartError> {
        let Self { role, settings, home, journal, closed } = *self;
        #[cfg(test)]
        let clock = clock.faulty(&journal.faults);
        let marks = Marks::compare(home, journal.store()).await?;
        let lost = marks.as_ref().is_some_and(|marks| marks.lost);
        if lost {
            tracing::warn!(
                "the journal is not that of the last run (restored, copied, lost, or kept in memory): every shift \
                 and ride key is replaced (P11.8)"
            );
        }
        let new_host = match home.as_ref().filter(|_| marks.is_some()) {
            Some(home) => host_mark::is_new_host(&home.host_mark())
                .map_err(|source| StartError::Mark { path: home.host_mark(), source })?,
            None => false,
        };
        if new_host {
            tracing::warn!(
                "this home comes from another host: nothing is offered for two refresh periods (P11.9)"
            );
        }
        let records = journal.store().load().await?;
        // A relay takes no rides that could be linked, and has to be found again.
        let own_seed = if role.is_none() { key.relay_seed() } else { random()? };
        let transport = (role != Some(Role::Driver)).then(|| peer_of(&own_seed));
        let identity = Identity { role, key, transport };
        let now = clock.now();
        let market = Marketplace::recover(
            market_config.clone(),
            identity.keys(lost, new_host),
            *random()?,
            records,
            now,
        )
        .map_err(StartError::Recover)?;
        let seed = market.transport_seed().map_or(own_seed, |seed| Zeroizing::new(seed.0));
        let (commits, acks) = spawn_writer(journal.clone());
        let (work, work_done) = spawn_worker();
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let log = EventLog::new();
        let mut start = Start { market, queue: Queue::default() };
        // A key signs nothing, and names nobody, before it is durable (W9).
        start.settle(journal).await?;
        // Only now: had this start failed before the keys were replaced, the next one must
        // see the difference again.
        if let Some(marks) = &marks {
            marks.write(journal.store()).await?;
        }
        let mut network = network_config(settings, journal.store()).await?;
        change(&mut network);
        let link = Link::start(network, seed).await?;
        let Start { market, queue } = start;
        let shared = Shared {
            role,
            network: market_config.network.clone(),
            bootstrap: settings.network.bootstrap.len(),
            mdns: settings.network.mdns,
            issuers: market_config.issuers.len(),
            journal: journal.store().clone(),
            registry: Registry::default(),
            log: Arc::clone(&log),
            current: link.watch(),
            closed: closed.subscribe(),
        };
        let mut engine = Engine {
            identity,
            config: market_config,
            clock,
            market,
            halt: None,
            journal: journal.clone(),
            mark: marks.map(|marks| marks.mark),
            commits,
            acks,
            work,
            work_done,
            queue,
            link,
            peers: std::collections::BTreeMap::new(),
            connected_since: None,
            topics: std::collections::BTreeSet::new(),
            remember_at: tokio::time::Instant::now() + crate::engine::REMEMBER_SOON,
            key_replaced: false,
            rebuild_due: false,
            seen: Seen::default(),
            said: LastSaid::default(),
            offer_out: None,
            last_error: None,
            log,
            metrics: Metrics::register(registry),
            requests: inbox,
        };
        if let Err(error) = engine.begin(first_words(role, settings)?).await {
            engine.abandon().await;
            return Err(error.into());
        }
        Ok((engine, shared, requests))
    }
}

/// A marketplace that nobody can hear yet.
struct Start {
    market: Marketplace,
    queue: Queue<crate::engine::Effect>,
}

impl Start {
    /// Makes durable what recovering has caused, and keeps the rest for later.
    async fn settle(&mut self, journal: &Journal) -> Result<(), StartError> {
        while let Some(output) = self.market.poll_output() {
            match output {
                hailmesh_market::Output::Persist(records) => self.queue.push_batch(records),
                output => self.queue.push(crate::engine::Effect::Output(output)),
            }
        }
        if let Some(batches) = self.queue.begin_commit() {
            journal.append_all(batches).await?;
            self.queue.committed();
        }
        Ok(())
    }
}

/// What the settings say to the marketplace: where the node is and what it offers.
fn first_words(role: Option<Role>, settings: &Settings) -> Result<Vec<Command>, StartError> {
    let position = match role {
        Some(Role::Driver) => settings.driver.position()?,
        Some(Role::Rider) => settings.rider.position()?,
        None => None,
    };
    let position = position.map(|point| Command::Move(Private(point)));
    let profile = match role {
        Some(Role::Driver) => Some(Command::GoOnline(settings.driver.profile()?)),
        _ => None,
    };
    Ok(position.into_iter().chain(profile).collect())
}

async fn network_config(settings: &Settings, store: &Store) -> Result<net::Config, StartError> {
    let remembered = store.peers().await?;
    let remembered =
        remembered.into_iter().filter_map(|(key, addr)| Some((key, addr.parse().ok()?))).collect();
    Ok(net::Config {
        network: settings.network.network_name()?,
        listen: settings.network.listen_addrs()?,
        bootstrap: settings.network.bootstrap_addrs()?,
        mdns: settings.network.mdns,
        remembered,
        ..net::Config::default()
    })
}

/// The mark of this start, and what the last one left.
struct Marks {
    path: PathBuf,
    journal: Option<Mark>,
    mark: Mark,
    /// Whether journal and file do not belong together.
    lost: bool,
}

impl Marks {
    /// Compares the mark in the journal with the one beside it (P11.8). Without a home there
    /// are none. A journal in memory has none either, and is lost from the second start on.
    async fn compare(home: Option<&Home>, store: &Store) -> Result<Option<Self>, StartError> {
        let Some(home) = home else { return Ok(None) };
        let path = home.start_mark();
        let file =
            start_mark::read(&path).map_err(|source| StartError::Mark { path: path.clone(), source })?;
        let journal = store.start_mark().await?;
        let lost = !start_mark::agree(journal, &file);
        Ok(Some(Self { path, journal, mark: *random()?, lost }))
    }

    /// Puts the new mark into both. The old one stays in the file until the journal has
    /// the new one.
    async fn write(&self, store: &Store) -> Result<(), StartError> {
        let failed = |source| StartError::Mark { path: self.path.clone(), source };
        let old = self.journal.unwrap_or(start_mark::ABSENT);
        start_mark::write(&self.path, &[old, self.mark]).map_err(failed)?;
        store.set_start_mark(self.mark).await?;
        start_mark::write(&self.path, &[self.mark]).map_err(failed)
    }
}

fn random() -> Result<Zeroizing<[u8; 32]>, StartError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|error| StartError::Random(error.to_string()))?;
    Ok(bytes)
}

fn peer_of(seed: &[u8; 32]) -> PeerKey {
    PeerKey::from_bytes(ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes())
}
