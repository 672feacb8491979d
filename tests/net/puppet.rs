//! A marketplace on strings: the real one over a real network service, but it says only
//! what the test lets through. So a handshake can be held at any of its steps.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use hailmesh_net::{Command as Net, Config as NetConfig, Event, Events, Handle, MessageToken, Service};
use hailmesh_node::clock::Clock;
use hailmesh_node::config::Settings;
use hailmesh_node::market::{
    Answer, AskId, Command, CommandError, Config, ExchangeId, Input, Keys, Marketplace, MessageRef, Origin,
    Output, RideView, Role,
};
use hailmesh_node::wire::{Address, AnyStatement, Frame, FrameContent, Kind, RideState};
use hailmesh_types::{NetworkName, PeerKey};
use rand::RngExt as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

use crate::city::{DEADLINE, NETWORK, Spec};

type Reply = oneshot::Sender<Result<Answer, CommandError>>;

enum Pull {
    Command(Box<Command>, Reply),
    Mute(BTreeSet<Kind>),
}

/// The strings.
pub(crate) struct Puppet {
    pulls: mpsc::UnboundedSender<Pull>,
    rides: watch::Receiver<Vec<RideView>>,
}

impl Puppet {
    /// Starts one that is set up like this node, and never says any of these.
    pub(crate) async fn start(role: Role, spec: &Spec, mute: impl IntoIterator<Item = Kind>) -> Self {
        let seeds: [[u8; 32]; 3] = [(); 3].map(|()| rand::rng().random());
        println!("seeds of the puppet: {seeds:?}");
        let own = SigningKey::from_bytes(&seeds[0]);
        let keys = Keys {
            role: Some(role),
            identity: SigningKey::from_bytes(&seeds[1]),
            transport: Some(PeerKey::from_bytes(own.verifying_key().to_bytes())),
            lost: false,
            new_host: false,
        };
        let clock = Clock::start();
        let config: Config = spec.settings.market_config().unwrap();
        let market = Marketplace::new(config, keys, seeds[2], clock.now()).unwrap();
        let seed = market.transport_seed().map_or(seeds[0], |seed| seed.0);
        let (handle, events, _task) = Service::start(net_config(&spec.settings), &seed, None).await.unwrap();
        let (pulls, inbox) = mpsc::unbounded_channel();
        let (seen, rides) = watch::channel(Vec::new());
        let stage = Stage { market, clock, handle, mute: mute.into_iter().collect(), seen };
        tokio::spawn(stage.run(events, inbox));
        Self { pulls, rides }
    }

    pub(crate) async fn command(&self, command: Command) -> Answer {
        let (reply, answer) = oneshot::channel();
        assert!(self.pulls.send(Pull::Command(Box::new(command), reply)).is_ok(), "the puppet runs");
        answer.await.unwrap().unwrap()
    }

    /// From now on it says whatever it wants to.
    pub(crate) fn let_speak(&self) {
        assert!(self.pulls.send(Pull::Mute(BTreeSet::new())).is_ok(), "the puppet runs");
    }

    /// Waits until any of its rides is in one of these states.
    pub(crate) async fn until(&mut self, states: &[RideState]) -> RideView {
        let wanted = |view: &&RideView| states.contains(&view.state);
        let waiting = self.rides.wait_for(|rides| rides.iter().any(|view| wanted(&view)));
        let rides = timeout(DEADLINE, waiting).await;
        let rides = rides.unwrap_or_else(|_| panic!("no ride of the puppet became {states:?}")).unwrap();
        rides.iter().find(wanted).expect("it was just there").clone()
    }
}

/// A network service as the settings have it, for whoever is not a node.
pub(crate) fn net_config(settings: &Settings) -> NetConfig {
    let name: NetworkName = NETWORK.parse().unwrap();
    let mut config = NetConfig {
        network: name,
        listen: settings.network.listen_addrs().unwrap(),
        bootstrap: settings.network.bootstrap_addrs().unwrap(),
        mdns: false,
        ..NetConfig::default()
    };
    config.discovery.redial_min = std::time::Duration::from_millis(100);
    config
}

struct Stage {
    market: Marketplace,
    clock: Clock,
    handle: Handle,
    mute: BTreeSet<Kind>,
    seen: watch::Sender<Vec<RideView>>,
}

impl Stage {
    async fn run(mut self, mut events: Events, mut inbox: mpsc::UnboundedReceiver<Pull>) {
        let addresses = self.handle.addresses();
        self.input(Input::Addresses(known(addresses))).await;
        loop {
            let due = self.market.poll_timeout().map(|(at, _)| self.clock.instant_of(at).into());
            let timer = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                pull = inbox.recv() => match pull {
                    Some(Pull::Command(command, reply)) => {
                        let answer = self.market.command(self.clock.now(), *command);
                        self.drain().await;
                        // A test that ends early does not listen any more.
                        let _ = reply.send(answer);
                    }
                    Some(Pull::Mute(kinds)) => self.mute = kinds,
                    None => return,
                },
                event = events.next() => match event {
                    Some(event) => self.on_event(event).await,
                    None => return,
                },
                () = timer => self.input(Input::Timeout).await,
            }
        }
    }

    async fn on_event(&mut self, event: Event) {
        let input = match event {
            Event::Gossip { message, topic, data } => {
                let message = MessageRef { id: message.id, source: message.source };
                Input::Gossip { message, topic, heard: data.into() }
            }
            Event::Request { exchange, peer, frame } => {
                Input::Request { exchange: ExchangeId(exchange), peer, frame }
            }
            Event::Response { ask, peer, frame } => Input::Response { ask: AskId(ask), peer, frame },
            Event::SendFailed { ask, peer, .. } => Input::SendFailed { ask: AskId(ask), peer },
            Event::Connected { peer, .. } => Input::PeerConnected { peer, origin: Origin::Loopback },
            Event::Disconnected { peer } => Input::PeerGone { peer },
            Event::Subscribed { peer, topic } => Input::PeerSubscribed { peer, topic },
            Event::Listening { .. } => Input::Addresses(known(self.handle.addresses())),
            _ => return,
        };
        self.input(input).await;
    }

    async fn input(&mut self, input: Input) {
        self.market.handle_input(self.clock.now(), input);
        self.drain().await;
    }

    fn is_mute(&self, frame: &[u8]) -> bool {
        let Ok(Frame { content: FrameContent::Statement(bytes), .. }) = Frame::decode(frame) else {
            return false;
        };
        AnyStatement::decode(bytes).is_ok_and(|statement| self.mute.contains(&statement.kind()))
    }

    async fn drain(&mut self) {
        while let Some(output) = self.market.poll_output() {
            let command = match output {
                Output::Publish { topic, bytes } => Net::Publish { topic, data: bytes.to_vec() },
                Output::Send { ask, peer, frame, .. } if self.is_mute(&frame) => {
                    // As if it had been lost on the way.
                    self.market.handle_input(self.clock.now(), Input::SendFailed { ask, peer });
                    continue;
                }
                Output::Send { ask, peer, addrs, frame } => {
                    let addrs = addrs.iter().map(|addr| addr.as_bytes().to_vec()).collect();
                    Net::Send { ask: ask.0, peer, addrs, frame }
                }
                Output::Reply { exchange, frame } => {
                    let frame =
                        if self.is_mute(&frame) { Frame::new(FrameContent::None).encode() } else { frame };
                    Net::Reply { exchange: exchange.0, frame }
                }
                Output::Judge { message, verdict } => {
                    let message = MessageToken { id: message.id, source: message.source };
                    Net::Judge { message, verdict: judged(verdict) }
                }
                Output::Subscribe(topic) => Net::Subscribe(topic),
                Output::Unsubscribe(topic) => Net::Unsubscribe(topic),
                Output::Dial { peer, addrs } => {
                    self.dial(&peer, &addrs).await;
                    continue;
                }
                // It keeps nothing, and has nobody to tell.
                Output::Persist(_) | Output::Notify(_) | Output::Score { .. } | Output::Work(_) => continue,
            };
            self.send(command).await;
        }
        self.seen.send_replace(self.market.rides(self.clock.now()));
    }

    async fn dial(&self, peer: &PeerKey, addrs: &[Address]) {
        for addr in addrs {
            let Ok(addr) = hailmesh_net::Multiaddr::try_from(addr.as_bytes().to_vec()) else { continue };
            let pinned = format!("{addr}/p2p/{}", hailmesh_net::peer_id(peer));
            if let Ok(addr) = pinned.parse() {
                self.send(Net::Dial { addr }).await;
            }
        }
    }

    async fn send(&self, command: Net) {
        // A service that has ended takes nothing: then the test is over.
        let _ = self.handle.send(command).await;
    }
}

fn known(addresses: Vec<Vec<u8>>) -> Vec<Address> {
    addresses.into_iter().filter_map(|bytes| Address::new(bytes).ok()).collect()
}

fn judged(verdict: hailmesh_node::market::Verdict) -> hailmesh_net::Verdict {
    use hailmesh_node::market::Verdict;
    match verdict {
        Verdict::Accept => hailmesh_net::Verdict::Accept,
        Verdict::Ignore => hailmesh_net::Verdict::Ignore,
        Verdict::Reject => hailmesh_net::Verdict::Reject,
    }
}
