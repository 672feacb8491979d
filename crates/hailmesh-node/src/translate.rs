//! The vocabulary of the market in that of the network, and back.

use std::net::IpAddr;

use hailmesh_market::{MessageRef, Origin, Verdict};
use hailmesh_net::{MessageToken, Multiaddr, peer_id, peer_key};
use hailmesh_types::PeerKey;
use hailmesh_wire::Address;
use hailmesh_wire::limits::ADDRS_MAX;

pub(crate) fn token(message: MessageRef) -> MessageToken {
    MessageToken { id: message.id, source: message.source }
}

pub(crate) fn message_ref(message: MessageToken) -> MessageRef {
    MessageRef { id: message.id, source: message.source }
}

pub(crate) fn verdict(verdict: Verdict) -> hailmesh_net::Verdict {
    match verdict {
        Verdict::Accept => hailmesh_net::Verdict::Accept,
        Verdict::Ignore => hailmesh_net::Verdict::Ignore,
        Verdict::Reject => hailmesh_net::Verdict::Reject,
    }
}

/// Where a connection comes from, as far as limits care (P20): the first 32 bits of an
/// IPv4 address, the first 56 of an IPv6 address, or the relay.
pub(crate) fn origin(addr: &Multiaddr) -> Origin {
    let text = addr.to_string();
    let parts: Vec<&str> = text.split('/').collect();
    if let Some(at) = parts.iter().position(|part| *part == "p2p-circuit") {
        let relay = parts.get(at.wrapping_sub(1)).and_then(|peer| peer.parse().ok());
        if let Some(key) = relay.and_then(|peer| peer_key(&peer)) {
            return Origin::Relay(key);
        }
    }
    let ip = match parts.as_slice() {
        ["", "ip4" | "ip6", ip, ..] => ip.parse::<IpAddr>().ok(),
        // Inside this process.
        ["", "memory", ..] => return Origin::Loopback,
        _ => None,
    };
    let mut prefix = [0; 8];
    match ip.map(|ip| ip.to_canonical()) {
        Some(ip) if ip.is_loopback() => return Origin::Loopback,
        Some(IpAddr::V4(v4)) => prefix[..4].copy_from_slice(&v4.octets()),
        Some(IpAddr::V6(v6)) => prefix[..7].copy_from_slice(&v6.octets()[..7]),
        // A name tells nothing: all of them share one place.
        None => {}
    }
    Origin::Prefix(prefix)
}

/// The addresses to put into offers; those too long for one are left out.
pub(crate) fn offered(addresses: Vec<Vec<u8>>) -> Vec<Address> {
    addresses.into_iter().filter_map(|bytes| Address::new(bytes).ok()).take(ADDRS_MAX).collect()
}

/// The bytes of addresses in a statement.
pub(crate) fn hints(addrs: &[Address]) -> Vec<Vec<u8>> {
    addrs.iter().map(|addr| addr.as_bytes().to_vec()).collect()
}

/// Those of the addresses that can be read, each pinned to `peer`.
pub(crate) fn pinned(addrs: &[Address], peer: &PeerKey) -> Vec<Multiaddr> {
    let suffix = format!("/p2p/{}", peer_id(peer));
    let read = addrs.iter().filter_map(|addr| Multiaddr::try_from(addr.as_bytes().to_vec()).ok());
    read.filter_map(|addr| {
        let text = addr.to_string();
        if text.contains("/p2p/") {
            text.ends_with(&suffix).then_some(addr)
        } else {
            format!("{text}{suffix}").parse().ok()
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let origin = |text: &str| origin(&text.parse().unwrap());
        assert_eq!(origin("/ip4/127.0.0.1/tcp/1"), Origin::Loopback);
        assert_eq!(origin("/ip6/::1/udp/1/quic-v1"), Origin::Loopback);
        assert_eq!(origin("/ip6/::ffff:127.0.0.1/tcp/1"), Origin::Loopback);
        assert_eq!(origin("/memory/7"), Origin::Loopback);
        assert_eq!(origin("/ip4/192.0.2.7/tcp/1"), Origin::Prefix([192, 0, 2, 7, 0, 0, 0, 0]));
        let v6 = origin("/ip6/2001:db8:1:2:3::4/tcp/1");
        assert_eq!(v6, Origin::Prefix([0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0]));
        let key = PeerKey::from_bytes([7; 32]);
        let relayed = format!("/ip4/192.0.2.7/tcp/1/p2p/{}/p2p-circuit", peer_id(&key));
        assert_eq!(origin(&relayed), Origin::Relay(key));
        assert_eq!(origin("/dns4/example.org/tcp/1"), Origin::Prefix([0; 8]));
    }

    #[test]
    fn dialled_addresses_are_pinned_to_their_peer() {
        let (peer, other) = (PeerKey::from_bytes([7; 32]), PeerKey::from_bytes([8; 32]));
        let bare: Multiaddr = "/ip4/192.0.2.7/tcp/1".parse().unwrap();
        let named: Multiaddr = format!("{bare}/p2p/{}", peer_id(&other)).parse().unwrap();
        let addrs = [Address::new(bare.to_vec()).unwrap(), Address::new(named.to_vec()).unwrap()];
        let pinned = pinned(&addrs, &peer);
        assert_eq!(pinned.len(), 1);
        assert_eq!(pinned[0].to_string(), format!("{bare}/p2p/{}", peer_id(&peer)));
    }
}
