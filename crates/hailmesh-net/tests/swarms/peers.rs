//! Finding peers, and telling why not.

use std::net::UdpSocket;

use hailmesh_net::{Command, Config, Error, Event, ListenReason, Multiaddr, Service, peer_id};
use hailmesh_types::{Cell, GeoPoint, NetworkName, Resolution};
use hailmesh_wire::Topic;
use prometheus_client::registry::Registry;
use tokio::net::TcpSocket;

use crate::support::{Node, QUIC, TCP, config, connect, seed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bootstrap_address_is_enough() {
    for listen in [TCP, QUIC] {
        let mut first = Node::start("first", config(listen)).await;
        // Without the peer id at its end, as people write it down.
        let bootstrap = first.handle.listeners();
        let mut second = Node::start("second", Config { bootstrap, ..config(listen) }).await;
        let first_key = first.handle.local_peer();
        let second_key = second.handle.local_peer();
        let addr = second
            .wait("the bootstrap peer", |event| match event {
                Event::Connected { peer, addr, inbound: false } if *peer == first_key => Some(addr.clone()),
                _ => None,
            })
            .await;
        assert_eq!(addr, first.handle.listeners()[0]);
        first
            .wait("the newcomer", |event| match event {
                Event::Connected { peer, inbound: true, .. } if *peer == second_key => Some(()),
                _ => None,
            })
            .await;
        let peers = second.handle.peers().await;
        assert_eq!(peers.len(), 1);
        assert_eq!((peers[0].key, &peers[0].addrs), (first_key, &vec![addr.clone()]));
        assert!(second.handle.good_peers().await.contains(&(first_key, addr)));
        assert_eq!(first.handle.addresses(), [first.handle.listeners()[0].to_vec()]);
        first.handle.shutdown().await;
        second
            .wait("the end of the connection", |event| {
                (*event == Event::Disconnected { peer: first_key }).then_some(())
            })
            .await;
        first.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_one_process_can_meet_in_memory() {
    let mut first = Node::start("first", config("/memory/0")).await;
    let mut second = Node::start("second", config("/memory/0")).await;
    connect(&mut second, &mut first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_network_is_told_apart_by_both() {
    let mut here = Node::start("here", config(TCP)).await;
    let elsewhere =
        Config { network: "elsewhere".parse().unwrap(), bootstrap: vec![here.addr()], ..config(TCP) };
    let mut there = Node::start("there", elsewhere).await;
    let theirs = |event: &Event| match event {
        Event::WrongNetwork { theirs, .. } => Some(theirs.clone()),
        _ => None,
    };
    let (at_here, at_there) = tokio::join!(here.wait("a stranger", theirs), there.wait("a stranger", theirs));
    assert_eq!((at_here.as_str(), at_there.as_str()), ("/hailmesh/1/elsewhere", "/hailmesh/1/main"));
    here.wait("its end", |event| matches!(event, Event::Disconnected { .. }).then_some(())).await;
    let stranger = there.handle.local_peer();
    assert!(here.handle.good_peers().await.iter().all(|(peer, _)| *peer != stranger));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_bootstrap_address_is_reported_and_tried_again() {
    // Bound and not listening: nobody else gets the port, and whoever dials is refused.
    let reserved = TcpSocket::new_v4().unwrap();
    reserved.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = reserved.local_addr().unwrap().port();
    let addr: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    let mut early = Node::start("early", Config { bootstrap: vec![addr.clone()], ..config(TCP) }).await;
    for _ in 0..2 {
        let (failed, reason) = early
            .wait("a failure", |event| match event {
                Event::DialFailed { addr, peer: None, reason } => Some((addr.clone(), reason.clone())),
                _ => None,
            })
            .await;
        assert_eq!(failed, Some(addr.clone()));
        assert!(reason.to_lowercase().contains("refused"), "{reason}");
    }
    drop(reserved);
    let _late = Node::start("late", config(&addr.to_string())).await;
    early.wait_connected().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_bootstrap_peer_must_be_the_one() {
    let there = Node::start("there", config(TCP)).await;
    let stranger = peer_id(&hailmesh_types::PeerKey::from_bytes([9; 32]));
    let addr = there.handle.listeners()[0].clone().with_p2p(stranger).unwrap();
    let mut here = Node::start("here", Config { bootstrap: vec![addr.clone()], ..config(TCP) }).await;
    let reason = here
        .wait("a failure", |event| match event {
            Event::DialFailed { addr: failed, peer: Some(_), reason } if *failed == Some(addr.clone()) => {
                Some(reason.clone())
            }
            _ => None,
        })
        .await;
    assert_eq!(reason, "another peer answers there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remembered_peers_replace_the_bootstrap_node() {
    let mut first = Node::start("first", config(QUIC)).await;
    let mut second = Node::start("second", config(QUIC)).await;
    connect(&mut second, &mut first).await;
    let remembered = second.handle.good_peers().await;
    let mut later = Node::start("later", Config { remembered, ..config(QUIC) }).await;
    let key = first.handle.local_peer();
    later
        .wait("the remembered peer", |event| {
            matches!(event, Event::Connected { peer, .. } if *peer == key).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named() {
    let node = Node::start("node", config(TCP)).await;
    let theirs = node.handle.listeners()[0].clone();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let quic: Multiaddr =
        format!("/ip4/127.0.0.1/udp/{}/quic-v1", socket.local_addr().unwrap().port()).parse().unwrap();
    for taken in [theirs, quic] {
        let error = Service::start(config(&taken.to_string()), &seed("loser"), None).await.unwrap_err();
        match &error {
            Error::Listen { addr, reason: ListenReason::InUse } => assert_eq!(*addr, taken),
            other => panic!("{other:?}"),
        }
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
    }
}

#[tokio::test]
async fn an_address_of_another_machine_is_named() {
    let addr = "/ip4/203.0.113.7/tcp/0";
    let error = Service::start(config(addr), &seed("node"), None).await.unwrap_err();
    assert!(
        matches!(&error, Error::Listen { addr: a, reason: ListenReason::NotAvailable } if a.to_string() == addr),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unspecified_addresses_become_concrete() {
    let mut config = config("/ip4/0.0.0.0/tcp/0");
    config.listen.push("/ip4/0.0.0.0/udp/0/quic-v1".parse().unwrap());
    let node = Node::start("node", config).await;
    let listeners = node.handle.listeners();
    assert!(listeners.len() >= 2, "{listeners:?}");
    assert!(listeners.iter().all(|addr| !addr.to_string().contains("0.0.0.0")), "{listeners:?}");
    let offered = node.handle.addresses();
    assert!((1..=3).contains(&offered.len()) && offered.iter().all(|addr| addr.len() <= 64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_either_end_ends_the_service() {
    let Node { handle, events, task, .. } = Node::start("node", config(TCP)).await;
    drop(events);
    task.await.unwrap();
    assert!(handle.send(Command::Subscribe(crate::support::evidence())).await.is_err());
    let Node { handle, mut events, task, .. } = Node::start("node", config(TCP)).await;
    drop(handle);
    task.await.unwrap();
    while events.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_registered_and_name_no_topic() {
    let mut registry = Registry::default();
    let (handle, mut events, _task) =
        Service::start(config(TCP), &seed("node"), Some(&mut registry)).await.unwrap();
    let topic = Topic::drivers(&NetworkName::default(), "40.7580,-73.9855".parse().map(place).unwrap());
    handle.send(Command::Subscribe(topic.clone())).await.unwrap();
    handle.send(Command::Publish { topic: topic.clone(), data: vec![1] }).await.unwrap();
    while !matches!(events.next().await.unwrap(), Event::Published { .. }) {}
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for expected in ["net_topics 1", "net_gossip_published_total{outcome=\"kept\"} 1", "libp2p_swarm"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let cell = topic.to_string().split('/').next_back().unwrap().to_owned();
    assert!(!text.contains(&cell), "{text}");
}

fn place(point: GeoPoint) -> Cell {
    Cell::at(point, Resolution::TOPIC)
}
