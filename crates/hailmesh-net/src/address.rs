//! What can be said about an address without asking anybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hailmesh_wire::limits::{ADDR_BYTES_MAX, ADDRS_MAX};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// From how far away an address can be reached, nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// This machine or this process.
    Loopback,
    /// This network: private, carrier-shared and link-local ranges.
    Private,
    /// Everywhere, as far as the address tells. Names count as this.
    Global,
}

/// The transport that an address speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// TCP with noise and yamux.
    Tcp,
    /// QUIC version 1.
    Quic,
    /// A channel inside this process, for tests and demonstrations.
    Memory,
}

/// Splits a trailing `/p2p/<peer>` off.
pub(crate) fn split_peer(addr: &Multiaddr) -> (Multiaddr, Option<PeerId>) {
    let mut bare = addr.clone();
    match bare.pop() {
        Some(Protocol::P2p(peer)) => (bare, Some(peer)),
        _ => (addr.clone(), None),
    }
}

/// The IP address at the head of `addr`, if there is one.
pub(crate) fn ip(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        _ => None,
    }
}

/// The scope of an IP address.
pub(crate) fn scope_of_ip(ip: IpAddr) -> Scope {
    match ip {
        _ if ip.is_loopback() => Scope::Loopback,
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let carrier_shared = a == 100 && (64..128).contains(&b);
            if v4.is_private() || v4.is_link_local() || carrier_shared {
                Scope::Private
            } else {
                Scope::Global
            }
        }
        IpAddr::V6(v6) => {
            if v6.is_unique_local() || v6.is_unicast_link_local() {
                Scope::Private
            } else {
                Scope::Global
            }
        }
    }
}

/// The scope of an address: that of its IP address, global for names.
pub(crate) fn scope(addr: &Multiaddr) -> Scope {
    match (ip(addr), addr.iter().next()) {
        (Some(ip), _) => scope_of_ip(ip),
        (None, Some(Protocol::Memory(_))) => Scope::Loopback,
        (None, _) => Scope::Global,
    }
}

/// What counts as *one address* in the limit of connections: an IPv4 address, or the
/// /64 of an IPv6 address, since one host owns all of it. Loopback and private
/// addresses are exempt and have none (P15.10).
pub(crate) fn counted(addr: &Multiaddr) -> Option<IpAddr> {
    match ip(addr)? {
        ip if scope_of_ip(ip) != Scope::Global => None,
        IpAddr::V4(v4) => Some(IpAddr::V4(v4)),
        IpAddr::V6(v6) => Some(IpAddr::V6(masked(v6, 4))),
    }
}

/// The /16 (IPv4) or /48 (IPv6) that remembered peers are counted by (P20). Loopback
/// and private addresses have none, nor have names.
pub(crate) fn prefix(addr: &Multiaddr) -> Option<IpAddr> {
    match ip(addr)? {
        ip if scope_of_ip(ip) != Scope::Global => None,
        IpAddr::V4(v4) => Some(IpAddr::V4(Ipv4Addr::new(v4.octets()[0], v4.octets()[1], 0, 0))),
        IpAddr::V6(v6) => Some(IpAddr::V6(masked(v6, 3))),
    }
}

/// The first `groups` groups of 16 bits, the rest zero.
fn masked(ip: Ipv6Addr, groups: usize) -> Ipv6Addr {
    let mut segments = ip.segments();
    segments[groups..].fill(0);
    Ipv6Addr::from(segments)
}

/// The transport of `addr` when it is one that this crate speaks, `/p2p` at its end
/// apart: `/ip4|ip6|dns…/…/tcp/…`, `/…/udp/…/quic-v1` or `/memory/…`.
pub(crate) fn carrier(addr: &Multiaddr) -> Option<Carrier> {
    let (bare, _) = split_peer(addr);
    let mut parts = bare.iter();
    let host = parts.next()?;
    if let Protocol::Memory(_) = host {
        return parts.next().is_none().then_some(Carrier::Memory);
    }
    let is_host = matches!(
        host,
        Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)
    );
    match (is_host, parts.next()?, parts.next(), parts.next()) {
        (true, Protocol::Tcp(_), None, None) => Some(Carrier::Tcp),
        (true, Protocol::Udp(_), Some(Protocol::QuicV1), None) => Some(Carrier::Quic),
        _ => None,
    }
}

/// Whether somebody else's `addr` is worth a dial: a transport of ours, a port, and a
/// host that means the same machine to both sides.
pub(crate) fn dialable(addr: &Multiaddr, memory: bool) -> bool {
    let host = match ip(addr) {
        Some(IpAddr::V6(v6)) => !v6.is_unspecified() && !v6.is_unicast_link_local() && !v6.is_multicast(),
        Some(IpAddr::V4(v4)) => !v4.is_unspecified() && !v4.is_broadcast() && !v4.is_multicast(),
        None => true,
    };
    let port = !addr.iter().any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0)));
    let known = carrier(addr).is_some_and(|carrier| memory || carrier != Carrier::Memory);
    host && port && known
}

/// The addresses of `peer` among binary hints from a statement: those that decode, are
/// dialable and, if they name a peer, name this one. The name is taken off.
pub(crate) fn hints(hints: &[Vec<u8>], peer: &PeerId, memory: bool) -> Vec<Multiaddr> {
    let mut out: Vec<Multiaddr> = Vec::new();
    for bytes in hints.iter().take(ADDRS_MAX) {
        let Ok(addr) = Multiaddr::try_from(bytes.clone()) else { continue };
        let (bare, named) = split_peer(&addr);
        if named.is_none_or(|named| named == *peer) && dialable(&bare, memory) && !out.contains(&bare) {
            out.push(bare);
        }
    }
    out
}

/// The addresses to put into an offer: at most 3 of at most 64 bytes each, binary and
/// without `/p2p`; configured ones first, then those with the widest reach, loopback
/// only when there is nothing else.
pub(crate) fn offered(external: &[Multiaddr], listeners: &[Multiaddr]) -> Vec<Vec<u8>> {
    let widest = listeners.iter().map(scope).max().unwrap_or(Scope::Loopback);
    let mut own: Vec<(usize, &Multiaddr)> = listeners
        .iter()
        .enumerate()
        .filter(|(_, addr)| {
            dialable(addr, true) && (scope(addr) > Scope::Loopback || widest == Scope::Loopback)
        })
        .collect();
    // Host by host in the order of their first mention, so that the first host is
    // offered with each of its transports before the second gets a place.
    let hosts: Vec<Option<IpAddr>> = own.iter().map(|(_, addr)| ip(addr)).collect();
    own.sort_by_key(|(index, addr)| {
        let host = hosts.iter().position(|host| *host == ip(addr));
        (std::cmp::Reverse(scope(addr)), host, carrier(addr) != Some(Carrier::Quic), *index)
    });
    let mut out: Vec<Vec<u8>> = Vec::new();
    for addr in external.iter().chain(own.into_iter().map(|(_, addr)| addr)) {
        let bytes = split_peer(addr).0.to_vec();
        if bytes.len() <= ADDR_BYTES_MAX && !out.contains(&bytes) && out.len() < ADDRS_MAX {
            out.push(bytes);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn scopes() {
        for (text, expected) in [
            ("/ip4/127.0.0.1/tcp/1", Scope::Loopback),
            ("/ip6/::1/tcp/1", Scope::Loopback),
            ("/memory/9", Scope::Loopback),
            ("/ip4/10.1.2.3/tcp/1", Scope::Private),
            ("/ip4/100.64.0.1/tcp/1", Scope::Private),
            ("/ip6/fd00::1/tcp/1", Scope::Private),
            ("/ip6/::ffff:192.168.0.1/tcp/1", Scope::Private),
            ("/ip4/203.0.113.5/tcp/1", Scope::Global),
            ("/dns/example.org/tcp/1", Scope::Global),
        ] {
            assert_eq!(scope(&addr(text)), expected, "{text}");
        }
    }

    #[test]
    fn only_our_transports_are_dialable() {
        for good in ["/ip4/1.2.3.4/tcp/5", "/ip6/2001:db8::1/udp/5/quic-v1", "/dns4/a.example/tcp/5"] {
            assert!(dialable(&addr(good), false), "{good}");
        }
        for bad in [
            "/ip4/0.0.0.0/tcp/5",
            "/ip4/1.2.3.4/tcp/0",
            "/ip4/1.2.3.4/udp/5",
            "/ip4/1.2.3.4/tcp/5/ws",
            "/ip4/224.0.0.1/tcp/5",
            "/memory/5",
            "/ip4/1.2.3.4/tcp/5/p2p-circuit",
        ] {
            assert!(!dialable(&addr(bad), false), "{bad}");
        }
        assert!(dialable(&addr("/memory/5"), true));
    }

    #[test]
    fn hints_of_another_peer_are_dropped() {
        let (me, other) = (PeerId::random(), PeerId::random());
        let base = addr("/ip4/1.2.3.4/tcp/5");
        let bytes = [
            base.clone().with(Protocol::P2p(other)).to_vec(),
            vec![0xff, 0xff],
            base.clone().with(Protocol::P2p(me)).to_vec(),
        ];
        assert_eq!(hints(&bytes, &me, false), [base]);
    }

    #[test]
    fn loopback_is_offered_only_alone() {
        let listeners = [
            addr("/ip4/127.0.0.1/udp/1/quic-v1"),
            addr("/ip4/192.168.1.2/udp/1/quic-v1"),
            addr("/ip4/172.17.0.1/udp/1/quic-v1"),
            addr("/ip4/127.0.0.1/tcp/2"),
            addr("/ip4/192.168.1.2/tcp/2"),
        ];
        let expected: Vec<Vec<u8>> = [1, 4, 2].into_iter().map(|i: usize| listeners[i].to_vec()).collect();
        assert_eq!(offered(&[], &listeners), expected);
        assert_eq!(offered(&[], &listeners[..1]), [listeners[0].to_vec()]);
        let public = addr("/ip4/203.0.113.5/tcp/9");
        assert_eq!(offered(std::slice::from_ref(&public), &listeners)[0], public.to_vec());
    }

    #[test]
    fn prefixes() {
        assert_eq!(prefix(&addr("/ip4/203.0.113.5/tcp/1")), Some("203.0.0.0".parse().unwrap()));
        assert_eq!(prefix(&addr("/ip6/2001:db8:1:2::3/tcp/1")), Some("2001:db8:1::".parse().unwrap()));
        assert_eq!(prefix(&addr("/ip4/10.0.0.1/tcp/1")), None);
        assert_eq!(counted(&addr("/ip6/2001:db8:1:2::3/tcp/1")), Some("2001:db8:1:2::".parse().unwrap()));
    }
}
