//! Garbage on every protocol: the node stays up, counts it, thinks less of who sent it,
//! and honest people do not notice.

use std::collections::BTreeSet;

use hailmesh_net::{Command as Net, Event, Events, FRAME_CONTENT_BYTES_MAX, Handle, Service};
use hailmesh_node::market::{Event as MarketEvent, RideId};
use hailmesh_node::wire::{Frame, FrameContent, RejectReason, Topic};
use hailmesh_node::{NodeEvent, NodeHandle};
use hailmesh_types::{Cell, GeoPoint, NetworkName, Resolution};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::time::timeout;

use crate::city::{DEADLINE, HERE, NETWORK, Person, Ride, Spec, eventually};
use crate::puppet::net_config;
use crate::raw::Raw;

/// A peer that means no good.
struct Hostile {
    handle: Handle,
    events: Events,
    rng: ChaCha8Rng,
}

impl Hostile {
    async fn start(victim: &Person) -> Self {
        let seed: u64 = rand::rng().random();
        println!("seed of the hostile peer: {seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let settings = Spec::relay().knows(victim).await.settings;
        let (handle, events, _task) =
            Service::start(net_config(&settings), &rng.random(), None).await.unwrap();
        Self { handle, events, rng }
    }

    /// The first event that is wanted.
    async fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let waiting = async {
            loop {
                if let Some(found) = wanted(self.events.next().await.expect("the service runs")) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    fn noise(&mut self, most: usize) -> Vec<u8> {
        let length = self.rng.random_range(0..=most);
        (0..length).map(|_| self.rng.random()).collect()
    }

    /// What the victim thinks of it.
    async fn score_at(&self, victim: &NodeHandle) -> f64 {
        let own = self.handle.local_peer();
        let peers = victim.peers().await;
        peers.iter().find(|peer| peer.key == own).expect("still connected").score
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_exchanges_and_gossip_harms_nobody_but_its_sender() {
    let driver = Spec::driver().start().await;
    let mut hostile = Hostile::start(&driver).await;
    let victim = driver.node.clone();
    let network: NetworkName = NETWORK.parse().unwrap();

    // It learns a real offer on its real topic first.
    let here: GeoPoint = HERE.parse().unwrap();
    let cell = Cell::at(here, Resolution::DRIVER).parent(Resolution::TOPIC);
    let (offers, evidence) = (Topic::offers(&network, cell), Topic::evidence(&network));
    for topic in [&offers, &evidence] {
        hostile.handle.send(Net::Subscribe(topic.clone())).await.unwrap();
    }
    let mut listening = BTreeSet::new();
    hostile
        .wait("the driver's topics", |event| {
            if let Event::Subscribed { topic, .. } = event {
                listening.insert(topic);
            }
            (listening.contains(&offers) && listening.contains(&evidence)).then_some(())
        })
        .await;
    let genuine = hostile
        .wait("the driver's offer", |event| match event {
            Event::Gossip { topic, data, .. } => Some((topic, data)),
            _ => None,
        })
        .await;
    let before = hostile.score_at(&victim).await;

    exchanges(&mut hostile, &driver).await;
    let after_exchanges = hostile.score_at(&victim).await;
    assert!(after_exchanges < before, "{before} then {after_exchanges}");

    let bad = garbage(&mut hostile, &genuine, &offers, &evidence);
    let sent = bad.len();
    for (topic, data) in bad {
        hostile.handle.send(Net::Publish { topic, data }).await.unwrap();
    }
    // At the score where it is ignored altogether nothing is counted any more.
    let counted = async || {
        let stopped = victim.status().await.unwrap().snapshot.stopped;
        (stopped.values().sum::<u64>() >= 4).then_some(stopped)
    };
    let stopped = eventually("garbage to be counted", counted).await;
    println!("of {sent} messages: {stopped:?}");
    let fell = async || {
        let score = hostile.score_at(&victim).await;
        (score < after_exchanges - 100.0).then_some(score)
    };
    let score = eventually("its score to fall", fell).await;
    println!("score {before}, after exchanges {after_exchanges}, after gossip {score}");
    let metrics = victim.metrics_text();
    assert!(metrics.contains("verdict=\"reject\""), "verdicts are counted:\n{metrics}");

    raw_streams(&driver).await;

    let rider = Spec::rider().knows(&driver).await.start().await;
    let ride = Ride::agreed(&driver, &rider, rider.request().await).await;
    ride.finish(&driver, &rider).await;
    nobody_was_fooled(&driver, ride.at_driver).await;
    driver.stop().await;
    rider.stop().await;
}

/// Random bytes and broken frames as requests.
async fn exchanges(hostile: &mut Hostile, driver: &Person) {
    let peer = driver.status().await.key.expect("a driver has a key").to_peer_key();
    for ask in 0..30 {
        let frame = match ask % 3 {
            0 => hostile.noise(600),
            1 => Frame::new(FrameContent::Statement(hostile.noise(900))).encode(),
            _ => {
                let mut frame = Frame::new(FrameContent::Refused(RejectReason::Bad)).encode();
                frame.extend(hostile.noise(30));
                frame
            }
        };
        hostile.handle.send(Net::Send { ask, peer, addrs: Vec::new(), frame }).await.unwrap();
        let refused = hostile
            .wait("the end of an exchange", |event| match event {
                Event::Response { ask: of, frame, .. } if of == ask => Some(Some(frame)),
                Event::SendFailed { ask: of, .. } if of == ask => Some(None),
                _ => None,
            })
            .await;
        // Strangers cannot make a node sign (P5.6).
        if let Some(frame) = refused {
            let answer = Frame::decode(&frame).unwrap();
            let unsigned = matches!(answer.content, FrameContent::Refused(_) | FrameContent::None);
            assert!(unsigned && answer.attachments.is_empty(), "{answer:?}");
        }
    }
}

/// Messages of every kind of badness.
fn garbage(
    hostile: &mut Hostile,
    genuine: &(Topic, Vec<u8>),
    offers: &Topic,
    evidence: &Topic,
) -> Vec<(Topic, Vec<u8>)> {
    let mut bad = Vec::new();
    let (topic, offer) = genuine;
    let mut flipped = offer.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    bad.push((topic.clone(), flipped));
    bad.push((evidence.clone(), offer.clone()));
    bad.push((topic.clone(), offer[..offer.len() / 2].to_vec()));
    bad.push((topic.clone(), vec![0; 1_500]));
    for _ in 0..30 {
        let noise = hostile.noise(1_000);
        let topic = if hostile.rng.random() { offers } else { evidence };
        bad.push((topic.clone(), noise));
        let mut mutant = offer.clone();
        let at = hostile.rng.random_range(0..mutant.len());
        mutant[at] = mutant[at].wrapping_add(hostile.rng.random_range(1..=255));
        bad.push((genuine.0.clone(), mutant));
    }
    bad
}

/// What no codec of ours would write: wrong sizes, filler that is not zero, more than
/// there may be.
async fn raw_streams(driver: &Person) {
    let status = driver.status().await;
    let mut raw = Raw::connect(status.listen[0].clone(), status.peer_id).await;
    let padded = |content: usize, size: usize| {
        let mut bytes = u32::try_from(content).unwrap().to_be_bytes().to_vec();
        bytes.resize(size, 0);
        bytes
    };
    let mut filler = padded(10, 512);
    filler[511] = 1;
    let streams = [
        Vec::new(),
        padded(10, 513),
        padded(u32::MAX as usize, 8_192),
        padded(FRAME_CONTENT_BYTES_MAX, 8_193),
        vec![0xff; 90_000],
        filler,
    ];
    for bytes in streams {
        let length = bytes.len();
        assert_eq!(raw.ask(bytes).await, None, "{length} bytes were answered");
    }
    // A frame of the right size with nonsense in it is refused in words.
    let answer = raw.ask(padded(10, 512)).await.expect("an answer");
    let frame = hailmesh_node::wire::unpad(&answer).unwrap();
    let content = Frame::decode(frame).unwrap().content;
    assert!(matches!(content, FrameContent::Refused(_)), "{content:?}");
}

/// Nothing came of it but the one honest ride.
async fn nobody_was_fooled(driver: &Person, honest: RideId) {
    let rides: Vec<RideId> = driver.node.rides().await.unwrap().iter().map(|view| view.ride).collect();
    assert_eq!(rides, [honest]);
    let status = driver.status().await;
    assert!(status.store_healthy && status.snapshot.halted.is_none(), "{status:?}");
    assert_eq!((status.snapshot.evidence, status.snapshot.bans), (0, 0));
    let mut events = driver.node.events(Some(0));
    let last = driver.node.last_event_id();
    while let Some(hailmesh_node::EventItem::Numbered(numbered)) = events.next().await {
        let bad = matches!(
            &numbered.event,
            NodeEvent::Market(MarketEvent::Cloned { .. } | MarketEvent::Evidence { .. })
        );
        assert!(!bad, "{:?}", numbered.event);
        if numbered.id >= last {
            break;
        }
    }
}
