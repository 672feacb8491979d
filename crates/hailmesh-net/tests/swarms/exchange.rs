//! Exchanges between real nodes, and with one that does not play by the rules.

use std::time::{Duration, Instant};

use hailmesh_net::{Command, Config, Event, SendFailure, peer_id};
use libp2p::request_response;
use libp2p::swarm::SwarmEvent;

use crate::raw::{Raw, RawBehaviourEvent};
use crate::support::{Node, QUIC, TCP, config, connect};

/// Answers every request with its own bytes turned round, until dropped.
fn echo(mut node: Node) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(event) = node.events.next().await {
            if let Event::Request { exchange, mut frame, .. } = event {
                frame.reverse();
                node.send(Command::Reply { exchange, frame }).await;
            }
        }
    })
}

fn ask(ask: u64, to: &Node, frame: Vec<u8>) -> Command {
    Command::Send { ask, peer: to.handle.local_peer(), addrs: to.handle.addresses(), frame }
}

async fn result(node: &mut Node, name: u64) -> Result<Vec<u8>, SendFailure> {
    node.wait("the end of an exchange", |event| match event {
        Event::Response { ask, frame, .. } if *ask == name => Some(Ok(frame.clone())),
        Event::SendFailed { ask, reason, .. } if *ask == name => Some(Err(*reason)),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_goes_there_and_another_comes_back() {
    for listen in [TCP, QUIC] {
        let mut here = Node::start("here", config(listen)).await;
        let there = Node::start("there", config(listen)).await;
        let key = there.handle.local_peer();
        let addrs = there.handle.addresses();
        let echo = echo(there);
        for (name, length) in [0, 1, 508, 509, 4_092, 8_188].into_iter().enumerate() {
            let frame: Vec<u8> = (0..length).map(|i| (i % 250) as u8).collect();
            // The first finds the peer by the addresses it came with.
            let command =
                Command::Send { ask: name as u64, peer: key, addrs: addrs.clone(), frame: frame.clone() };
            here.send(command).await;
            let mut expected = frame;
            expected.reverse();
            assert_eq!(result(&mut here, name as u64).await, Ok(expected));
        }
        let mut times: Vec<Duration> = Vec::new();
        for name in 100..400 {
            let begun = Instant::now();
            here.send(Command::Send { ask: name, peer: key, addrs: Vec::new(), frame: vec![1; 300] }).await;
            assert!(result(&mut here, name).await.is_ok());
            times.push(begun.elapsed());
        }
        times.sort();
        println!("{listen}: median {:?}, 99 % {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
        assert!(times[times.len() / 2] < Duration::from_millis(50), "{:?}", times[times.len() / 2]);
        echo.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_wait_their_turn() {
    let mut here = Node::start("here", config(QUIC)).await;
    let there = Node::start("there", config(QUIC)).await;
    for name in 0..37 {
        here.send(ask(name, &there, vec![name as u8])).await;
    }
    // 4 in flight and 32 in line, since nobody answers yet.
    assert_eq!(result(&mut here, 36).await, Err(SendFailure::Busy));
    let echo = echo(there);
    let mut ended = Vec::new();
    while ended.len() < 36 {
        here.wait("an answer", |event| match event {
            Event::Response { ask, frame, .. } => {
                assert_eq!(*frame, [*ask as u8]);
                ended.push(*ask);
                Some(())
            }
            Event::SendFailed { ask, reason, .. } => panic!("{ask}: {reason}"),
            _ => None,
        })
        .await;
    }
    ended.sort_unstable();
    assert_eq!(ended, (0..36).collect::<Vec<u64>>());
    echo.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_has_its_name() {
    let mut here_config = config(TCP);
    here_config.limits.exchange = Duration::from_millis(500);
    let mut here = Node::start("here", here_config).await;
    // Nobody there.
    let nobody = hailmesh_types::PeerKey::from_bytes([3; 32]);
    here.send(Command::Send { ask: 1, peer: nobody, addrs: Vec::new(), frame: vec![1] }).await;
    assert_eq!(result(&mut here, 1).await, Err(SendFailure::Unreachable));
    let own = here.handle.local_peer();
    here.send(Command::Send { ask: 2, peer: own, addrs: Vec::new(), frame: vec![1] }).await;
    assert_eq!(result(&mut here, 2).await, Err(SendFailure::Unreachable));
    // A peer that takes its time: both sides forget, and a late answer does no harm.
    let mut slow = Node::start("slow", config(TCP)).await;
    here.send(ask(3, &slow, vec![1])).await;
    let exchange = slow
        .wait("the request", |event| match event {
            Event::Request { exchange, .. } => Some(*exchange),
            _ => None,
        })
        .await;
    assert_eq!(result(&mut here, 3).await, Err(SendFailure::Timeout));
    slow.send(Command::Reply { exchange, frame: vec![2] }).await;
    slow.send(Command::Reply { exchange, frame: vec![2] }).await;
    here.send(ask(4, &slow, vec![0; 8_189])).await;
    assert_eq!(result(&mut here, 4).await, Err(SendFailure::TooLarge));
    // It ends in the middle.
    here.send(ask(5, &slow, vec![1])).await;
    slow.wait("the request", |event| matches!(event, Event::Request { .. }).then_some(())).await;
    slow.handle.shutdown().await;
    let reason = result(&mut here, 5).await.unwrap_err();
    assert!(matches!(reason, SendFailure::Closed | SendFailure::NoAnswer), "{reason:?}");
}

/// What is no frame, each for its own reason.
fn garbage() -> Vec<Vec<u8>> {
    let padded = |content: usize, size: usize| {
        let mut bytes = (content as u32).to_be_bytes().to_vec();
        bytes.resize(size, 0);
        bytes
    };
    let mut filler = padded(10, 512);
    filler[511] = 1;
    vec![
        Vec::new(),
        vec![0; 3],
        padded(10, 511),
        padded(10, 513),
        padded(10, 1_024),
        padded(600, 512),
        padded(u32::MAX as usize, 8_192),
        padded(8_188, 8_193),
        vec![0xff; 90_000],
        filler,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_refused_and_the_node_goes_on() {
    let mut node = Node::start("node", config(TCP)).await;
    let peer = peer_id(&node.handle.local_peer());
    let mut raw = Raw::new();
    raw.connect(node.addr()).await;
    for bytes in garbage() {
        let length = bytes.len();
        assert_eq!(raw.ask(peer, bytes).await, None, "{length} bytes");
    }
    let mut good = 1u32.to_be_bytes().to_vec();
    good.push(42);
    good.resize(512, 0);
    let answer = async {
        let (exchange, frame) = node
            .wait("the one good request", |event| match event {
                Event::Request { exchange, frame, .. } => Some((*exchange, frame.clone())),
                _ => None,
            })
            .await;
        assert_eq!(frame, [42], "nothing before it passed");
        node.send(Command::Reply { exchange, frame }).await;
    };
    let (answered, ()) = tokio::join!(raw.ask(peer, good.clone()), answer);
    assert_eq!(answered, Some(good));
    assert_eq!(node.handle.peers().await.len(), 1, "still connected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_answers_are_refused() {
    let mut node = Node::start("node", config(TCP)).await;
    let mut raw = Raw::new();
    raw.connect(node.addr()).await;
    node.wait_connected().await;
    let raw_key = node.handle.peers().await[0].key;
    for (name, bytes) in garbage().into_iter().enumerate() {
        let expected = if bytes.is_empty() { SendFailure::NoAnswer } else { SendFailure::BadAnswer };
        let name = name as u64;
        node.send(Command::Send { ask: name, peer: raw_key, addrs: Vec::new(), frame: vec![1] }).await;
        let answering = async {
            let channel = raw
                .until(|event| match event {
                    SwarmEvent::Behaviour(RawBehaviourEvent::Exchange(
                        request_response::Event::Message {
                            message: request_response::Message::Request { channel, .. },
                            ..
                        },
                    )) => Some(channel),
                    _ => None,
                })
                .await;
            raw.swarm.behaviour_mut().exchange.send_response(channel, bytes).unwrap();
            raw.until(|_| None::<()>).await
        };
        tokio::select! {
            failure = result(&mut node, name) => assert_eq!(failure, Err(expected), "answer {name}"),
            () = answering => unreachable!("it waits for ever"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_look_is_not_drowned_and_can_still_send() {
    let mut narrow = config(TCP);
    narrow.limits.events = 1;
    narrow.limits.commands = 1;
    let mut slow = Node::start("slow", narrow).await;
    let mut busy = Node::start("busy", Config { bootstrap: vec![slow.addr()], ..config(TCP) }).await;
    busy.wait_connected().await;
    for name in 0..36 {
        busy.send(ask(name, &slow, vec![1; 8_000])).await;
    }
    // Commands pass while its events wait.
    for _ in 0..100 {
        slow.send(Command::Subscribe(crate::support::evidence())).await;
        slow.send(Command::Unsubscribe(crate::support::evidence())).await;
    }
    // And once it looks, everything is there.
    let mut answered = 0;
    while answered < 36 {
        let exchange = slow
            .wait("a request", |event| match event {
                Event::Request { exchange, .. } => Some(*exchange),
                _ => None,
            })
            .await;
        slow.send(Command::Reply { exchange, frame: vec![2] }).await;
        answered += 1;
    }
    for _ in 0..36 {
        busy.wait("an answer", |event| matches!(event, Event::Response { .. }).then_some(())).await;
    }
    connect_again(&mut busy, &mut slow).await;
}

/// A closed connection can be opened again at once.
async fn connect_again(from: &mut Node, to: &mut Node) {
    from.send(Command::Disconnect { peer: to.handle.local_peer() }).await;
    from.wait("the end", |event| matches!(event, Event::Disconnected { .. }).then_some(())).await;
    to.wait("the end", |event| matches!(event, Event::Disconnected { .. }).then_some(())).await;
    connect(from, to).await;
}
