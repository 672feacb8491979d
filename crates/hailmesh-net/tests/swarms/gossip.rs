//! Gossip between real nodes.

use std::sync::{Arc, Mutex};

use hailmesh_net::{Command, Config, Event, MessageToken, PublishOutcome, Tap, Tapped, Verdict};
use hailmesh_wire::message_id;
use libp2p::swarm::SwarmEvent;

use crate::raw::{Raw, RawBehaviourEvent};
use crate::support::{Node, QUIC, TCP, config, connect, evidence};

fn message(event: &Event) -> Option<(MessageToken, Vec<u8>)> {
    match event {
        Event::Gossip { message, data, .. } => Some((*message, data.clone())),
        _ => None,
    }
}

async fn judge(node: &mut Node, verdict: Verdict, expected: &[u8]) {
    let (token, data) = node.wait("a message", message).await;
    assert_eq!(data, expected);
    node.send(Command::Judge { message: token, verdict }).await;
}

async fn publish(node: &Node, data: &[u8]) {
    node.send(Command::Publish { topic: evidence(), data: data.to_vec() }).await;
}

/// Subscribes all, and connects them in a line.
async fn line(nodes: &mut [Node]) {
    for node in nodes.iter() {
        node.send(Command::Subscribe(evidence())).await;
    }
    for left in 1..nodes.len() {
        let (before, after) = nodes.split_at_mut(left);
        connect(&mut before[left - 1], &mut after[0]).await;
        before[left - 1].wait_subscribed(&evidence(), 1).await;
        after[0].wait_subscribed(&evidence(), 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_accepted_is_forwarded() {
    let mut nodes = [
        Node::start("left", config(TCP)).await,
        Node::start("middle", config(TCP)).await,
        Node::start("right", config(TCP)).await,
    ];
    line(&mut nodes).await;
    let [left, middle, right] = &mut nodes;
    publish(left, b"ignored").await;
    judge(middle, Verdict::Ignore, b"ignored").await;
    publish(left, b"rejected").await;
    judge(middle, Verdict::Reject, b"rejected").await;
    publish(left, b"accepted").await;
    judge(middle, Verdict::Accept, b"accepted").await;
    let (token, data) = right.wait("the accepted message", message).await;
    assert_eq!(data, b"accepted");
    assert_eq!(token.source, middle.handle.local_peer(), "the source is the forwarder");
    // Had one of the others been forwarded it would be here by now, since a peer's
    // messages arrive in order.
    publish(left, b"accepted, too").await;
    judge(middle, Verdict::Accept, b"accepted, too").await;
    assert_eq!(right.wait("the next", message).await.1, b"accepted, too");
    // Only the rejected one counts against who sent it.
    let peers = middle.handle.peers().await;
    let score = peers.iter().find(|peer| peer.key == left.handle.local_peer()).unwrap().score;
    assert!((-110.0..-80.0).contains(&score), "{score}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_to_nobody_arrives_at_the_first_who_subscribes() {
    let mut early = Node::start("early", config(QUIC)).await;
    let mut late = Node::start("late", config(QUIC)).await;
    early.send(Command::Subscribe(evidence())).await;
    publish(&early, b"into the void").await;
    let outcome = |event: &Event| match event {
        Event::Published { outcome, .. } => Some(*outcome),
        _ => None,
    };
    assert_eq!(early.wait("the outcome", outcome).await, PublishOutcome::Kept);
    connect(&mut late, &mut early).await;
    late.send(Command::Subscribe(evidence())).await;
    assert_eq!(early.wait("the outcome", outcome).await, PublishOutcome::Sent);
    assert_eq!(late.wait("the message", message).await.1, b"into the void");
    publish(&early, b"into the void").await;
    assert_eq!(early.wait("the outcome", outcome).await, PublishOutcome::Duplicate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_small_messages_passes() {
    const MESSAGES: usize = 2_000;
    // Fewer than wait for one peer before they are dropped, and far more than one
    // read of the network holds.
    const WINDOW: usize = 500;
    for listen in [TCP, QUIC] {
        let mut nodes = [Node::start("from", config(listen)).await, Node::start("to", config(listen)).await];
        line(&mut nodes).await;
        let [from, to] = &mut nodes;
        let mut seen = std::collections::BTreeSet::new();
        let mut published = 0;
        while seen.len() < MESSAGES {
            while published < MESSAGES && published - seen.len() < WINDOW {
                let mut data = vec![7; 280];
                data[..8].copy_from_slice(&(published as u64).to_be_bytes());
                publish(from, &data).await;
                published += 1;
            }
            let (token, data) = to.wait("a message", message).await;
            assert!(seen.insert(data[..8].to_vec()), "each once");
            to.send(Command::Judge { message: token, verdict: Verdict::Accept }).await;
        }
        let peers = to.handle.peers().await;
        assert_eq!(peers.len(), 1, "still connected");
        assert!(peers[0].score > 0.0, "{}", peers[0].score);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_others_are_not_joined() {
    let mut node = Node::start("node", config(TCP)).await;
    node.send(Command::Subscribe(evidence())).await;
    // The node itself does not join a topic of another network.
    let foreign = hailmesh_wire::Topic::evidence(&"other".parse().unwrap());
    node.send(Command::Subscribe(foreign.clone())).await;
    node.send(Command::Publish { topic: foreign.clone(), data: vec![1] }).await;
    node.wait("the refusal", |event| {
        (*event == Event::Published { topic: foreign.clone(), outcome: PublishOutcome::Refused })
            .then_some(())
    })
    .await;
    // Nor does it take note that others do; ours come last, so that their arrival
    // says that the foreign ones have been seen.
    let mut raw = Raw::new();
    raw.connect(node.addr()).await;
    raw.subscribe(&foreign.to_string());
    raw.subscribe("blocks");
    raw.subscribe(&evidence().to_string());
    let mut joined = Vec::new();
    let listen = async {
        node.wait("our topic", |event| match event {
            Event::Subscribed { topic, .. } => {
                joined.push(topic.clone());
                (*topic == evidence()).then_some(())
            }
            _ => None,
        })
        .await;
    };
    tokio::select! {
        () = listen => {}
        () = raw.until(|_| None) => unreachable!("it waits for ever"),
    }
    assert_eq!(joined, [evidence()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_statement_can_be_is_rejected_unseen() {
    let mut node = Node::start("node", config(TCP)).await;
    node.send(Command::Subscribe(evidence())).await;
    node.send(Command::Publish { topic: evidence(), data: vec![1; 4_097] }).await;
    let refused = Event::Published { topic: evidence(), outcome: PublishOutcome::Refused };
    node.wait("the refusal", |event| (*event == refused).then_some(())).await;
    let mut raw = Raw::new();
    raw.connect(node.addr()).await;
    raw.subscribe(&evidence().to_string());
    raw.until(|event| {
        use libp2p::gossipsub::Event::Subscribed;
        matches!(event, SwarmEvent::Behaviour(RawBehaviourEvent::Gossip(Subscribed { .. }))).then_some(())
    })
    .await;
    for data in [vec![1; 4_097], vec![2; 4_096]] {
        raw.publish(&evidence().to_string(), data);
    }
    tokio::select! {
        (_, data) = node.wait("the message", message) => assert_eq!(data, vec![2; 4_096]),
        () = raw.until(|_| None) => unreachable!("it waits for ever"),
    }
    let score = node.handle.peers().await[0].score;
    assert!(score < -80.0, "{score}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_score_shuts_a_peer_out() {
    let mut nodes = [Node::start("abuser", config(TCP)).await, Node::start("node", config(TCP)).await];
    line(&mut nodes).await;
    let [abuser, node] = &mut nodes;
    node.send(Command::SetScore { peer: abuser.handle.local_peer(), score: -2_000.0 }).await;
    // Answered after the score was set: orders are taken in order.
    let score = node.handle.peers().await[0].score;
    assert!(score < -1_000.0, "{score}");
    publish(abuser, b"unheard").await;
    abuser.wait("the outcome", |event| matches!(event, Event::Published { .. }).then_some(())).await;
    // A third node is heard; the abuser's message, sent earlier, is not.
    let mut third = Node::start("third", config(TCP)).await;
    third.send(Command::Subscribe(evidence())).await;
    connect(&mut third, node).await;
    third.wait_subscribed(&evidence(), 1).await;
    publish(&third, b"heard").await;
    assert_eq!(node.wait("a message", message).await.1, b"heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tap_sees_topics_and_own_messages() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&seen);
    let tap = Tap::new(move |tapped| {
        let line = match tapped {
            Tapped::Published { topic, id, peers, .. } => {
                assert_eq!(id, message_id(&topic.to_string(), b"heard"));
                format!("published to {peers}")
            }
            Tapped::Received { .. } => "received".to_owned(),
            Tapped::Joined(topic) => format!("joined {topic}"),
            Tapped::Left(topic) => format!("left {topic}"),
            Tapped::Frame { .. } => "a frame".to_owned(),
        };
        log.lock().unwrap().push(line);
    });
    let own = Config { tap: Some(tap), tell_listeners: false, ..config(TCP) };
    let mut nodes = [Node::start("author", own).await, Node::start("listener", config(TCP)).await];
    assert!(nodes[0].handle.addresses().is_empty() && nodes[0].handle.listeners().len() == 1);
    // Nobody is there yet: it is kept, not published, and leaves when somebody comes.
    publish(&nodes[0], b"heard").await;
    line(&mut nodes).await;
    judge(&mut nodes[1], Verdict::Accept, b"heard").await;
    nodes[0].send(Command::Unsubscribe(evidence())).await;
    nodes[0].handle.shutdown().await;
    let topic = evidence();
    let expected = [format!("joined {topic}"), "published to 1".to_owned(), format!("left {topic}")];
    assert_eq!(*seen.lock().unwrap(), expected);
}
