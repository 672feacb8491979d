//! A node under test: a service and what it has reported.

use std::time::Duration;

use hailmesh_net::{Command, Config, Event, Events, Handle, Multiaddr, Service, peer_id};
use hailmesh_types::NetworkName;
use hailmesh_wire::Topic;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// How long any step may take. Far above what it does take, for crowded machines.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

pub(crate) struct Node {
    pub(crate) handle: Handle,
    pub(crate) events: Events,
    pub(crate) task: JoinHandle<()>,
    name: &'static str,
}

/// Alone on loopback, with quick redials.
pub(crate) fn config(listen: &str) -> Config {
    let mut config = Config { listen: vec![listen.parse().unwrap()], mdns: false, ..Config::default() };
    config.discovery.redial_min = Duration::from_millis(50);
    config.discovery.redial_max = Duration::from_millis(200);
    config.gossip.heartbeat = Duration::from_millis(200);
    config.gossip.heartbeat_delay = Duration::from_millis(50);
    config
}

/// A fresh seed, printed so that a failure can be repeated.
pub(crate) fn seed(name: &str) -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("seed of {name}: {hex}");
    seed
}

impl Node {
    pub(crate) async fn start(name: &'static str, config: Config) -> Self {
        Self::start_as(name, config, &seed(name)).await
    }

    pub(crate) async fn start_as(name: &'static str, config: Config, seed: &[u8; 32]) -> Self {
        let (handle, events, task) = Service::start(config, seed, None).await.unwrap();
        Self { handle, events, task, name }
    }

    /// Its first address, with its peer id.
    pub(crate) fn addr(&self) -> Multiaddr {
        let addr = self.handle.listeners().remove(0);
        addr.with_p2p(peer_id(&self.handle.local_peer())).unwrap()
    }

    pub(crate) async fn send(&self, command: Command) {
        self.handle.send(command).await.unwrap();
    }

    /// The first event that `pick` takes; those before it are dropped.
    pub(crate) async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        loop {
            match timeout_at(deadline, self.events.next()).await {
                Ok(Some(event)) => match pick(&event) {
                    Some(found) => return found,
                    None => seen.push(event),
                },
                Ok(None) => panic!("{} ended while waiting for {what}; saw {seen:?}", self.name),
                Err(_) => panic!("{} waited in vain for {what}; saw {seen:?}", self.name),
            }
        }
    }

    pub(crate) async fn wait_connected(&mut self) {
        self.wait("a connection", |event| matches!(event, Event::Connected { .. }).then_some(())).await;
    }

    pub(crate) async fn wait_subscribed(&mut self, topic: &Topic, peers: usize) {
        for _ in 0..peers {
            self.wait("a subscription", |event| {
                matches!(event, Event::Subscribed { topic: t, .. } if t == topic).then_some(())
            })
            .await;
        }
    }
}

/// Dials `to` from `from` and waits until both know.
pub(crate) async fn connect(from: &mut Node, to: &mut Node) {
    from.send(Command::Dial { addr: to.addr() }).await;
    tokio::join!(from.wait_connected(), to.wait_connected());
}

pub(crate) fn evidence() -> Topic {
    Topic::evidence(&NetworkName::default())
}
