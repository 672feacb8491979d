//! Garbage on every protocol: the node stays up, counts it, thinks less of who sent it,
//! and honest people do not notice.

use std::collections::BTreeSet;
use std::iter;

use hailmesh_net::{Command as Net, Event, Events, FRAME_CONTENT_BYTES_MAX, Handle, Service};
use hailmesh_node::clock::Clock;
use hailmesh_node::market::{Event as MarketEvent, RideId};
use hailmesh_node::wire::{Frame, FrameContent, RejectReason, Topic};
use hailmesh_node::{NodeEvent, NodeHandle};
use hailmesh_types::{Cell, GeoPoint, NetworkName, Resolution};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::time::timeout;

use crate::book::offer;
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

    /// Waits until the victim is known to listen to these.
    async fn hears_of(&mut self, topics: [&Topic; 2]) {
        let mut heard = BTreeSet::new();
        self.wait("the driver's topics", |event| {
            if let Event::Subscribed { topic, .. } = event {
                heard.insert(topic);
            }
            topics.iter().all(|topic| heard.contains(*topic)).then_some(())
        })
        .await;
    }

    /// What the victim thinks of it.
    async fn score_at(&self, victim: &NodeHandle) -> f64 {
        let own = self.handle.local_peer();
        let peers = victim.peers().await;
        peers.iter().find(|peer| peer.key == own).expect("still connected").score
    }
}

fn noise(rng: &mut ChaCha8Rng, most: usize) -> Vec<u8> {
    let length = rng.random_range(0..=most);
    (0..length).map(|_| rng.random()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_exchanges_and_gossip_harms_nobody_but_its_sender() {
    let driver = Spec::driver().start().await;
    let mut hostile = Hostile::start(&driver).await;
    let victim = driver.node.clone();
    let network: NetworkName = NETWORK.parse().unwrap();

    // It learns a real offer on its real topic first.
    let here: GeoPoint = HERE.parse().unwrap();
    let cell = Cell::at(here, Resolution::PICKUP).parent(Resolution::TOPIC);
    let (offers, evidence) = (Topic::drivers(&network, cell), Topic::evidence(&network));
    for topic in [&offers, &evidence] {
        hostile.handle.send(Net::Subscribe(topic.clone())).await.unwrap();
    }
    hostile.hears_of([&offers, &evidence]).await;
    let genuine = hostile
        .wait("the driver's offer", |event| match event {
            Event::Gossip { topic, data, .. } if topic == offers => Some(data),
            _ => None,
        })
        .await;
    let before = hostile.score_at(&victim).await;

    exchanges(&mut hostile, &driver).await;
    let after_exchanges = hostile.score_at(&victim).await;
    assert!(after_exchanges < before, "{before} then {after_exchanges}");

    let own = (offers.clone(), genuine);
    // On the same topic: offers come from a circle that reaches into the next one, which
    // the victim may not listen to, and then none of their mutants would reach it.
    let other = iter::repeat_with(|| offer(&mut hostile.rng, &network, Clock::start().now()))
        .find(|(topic, _)| *topic == offers)
        .expect("most of the circle is on the driver's topic");
    let bad = garbage(&mut hostile.rng, [own, other], &evidence);
    // Nobody is listened to for long with such a record: some more to say the rest.
    let mut gang = vec![hostile];
    while gang.len() < GANG {
        gang.push(Hostile::start(&driver).await);
    }
    for other in &mut gang[1..] {
        other.hears_of([&offers, &evidence]).await;
    }
    for (number, (topic, data)) in bad.iter().enumerate() {
        let publish = Net::Publish { topic: topic.clone(), data: data.clone() };
        gang[number % GANG].handle.send(publish).await.unwrap();
    }
    // At the score where a peer is ignored altogether nothing is counted any more.
    let counted = async || {
        let stopped = victim.status().await.unwrap().snapshot.stopped;
        let named = ["size", "envelope", "wrong_topic", "signature"];
        let all = named.iter().all(|step| stopped.contains_key(step));
        (all && stopped.values().sum::<u64>() >= 5 * GANG as u64).then_some(stopped)
    };
    let stopped = eventually("garbage to be counted", counted).await;
    println!("of {} messages: {stopped:?}", bad.len());
    for one in &gang {
        let fell = async || {
            let score = one.score_at(&victim).await;
            (score < -100.0).then_some(score)
        };
        println!("score after gossip: {}", eventually("its score to fall", fell).await);
    }
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
            0 => noise(&mut hostile.rng, 600),
            1 => Frame::new(FrameContent::Statement(noise(&mut hostile.rng, 900))).encode(),
            _ => {
                let mut frame = Frame::new(FrameContent::Refused(RejectReason::Bad)).encode();
                frame.extend(noise(&mut hostile.rng, 30));
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

/// Peers that publish garbage.
const GANG: usize = 5;

/// Messages of every kind of badness; the first few are what they are called. Of two
/// offers one is the victim's own.
fn garbage(rng: &mut ChaCha8Rng, genuine: [(Topic, Vec<u8>); 2], evidence: &Topic) -> Vec<(Topic, Vec<u8>)> {
    let (topic, offer) = &genuine[1];
    let half = offer[..offer.len() / 2].to_vec();
    let mut forged = offer.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let mut bad = vec![
        (topic.clone(), vec![0; 1_500]),
        (topic.clone(), half),
        (evidence.clone(), offer.clone()),
        (topic.clone(), forged),
    ];
    for (topic, offer) in &genuine {
        for _ in 0..15 {
            let on = if rng.random() { topic } else { evidence };
            bad.push((on.clone(), noise(rng, 1_000)));
            let mut mutant = offer.clone();
            let at = rng.random_range(0..mutant.len());
            mutant[at] = mutant[at].wrapping_add(rng.random_range(1..=255));
            bad.push((topic.clone(), mutant));
        }
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
