//! One line that brings another machine into the network (P15.1).
//!
//! `hailmesh:` and multiaddresses with `/p2p/…`, separated by commas. It holds nothing
//! secret, but it does say where the node is on the internet.

use hailmesh_net::{Multiaddr, PeerId};

use crate::config::{INVITE_PREFIX, ValueError, dialable};

/// Most addresses in a line.
const ADDRESSES_MAX: usize = 8;

/// The line for these addresses; nothing when there are none.
#[must_use]
pub fn line(addresses: &[Multiaddr], peer: &PeerId) -> Option<String> {
    if addresses.is_empty() {
        return None;
    }
    let named: Vec<String> =
        addresses.iter().take(ADDRESSES_MAX).map(|address| format!("{address}/p2p/{peer}")).collect();
    Some(format!("{INVITE_PREFIX}{}", named.join(",")))
}

/// Reads a line, or a single multiaddress.
///
/// # Errors
/// The first part that is no multiaddress.
pub fn parse(text: &str) -> Result<Vec<Multiaddr>, ValueError> {
    let addresses: Vec<Multiaddr> = text
        .split(',')
        .filter(|part| !part.trim().is_empty())
        .map(|part| dialable("address", part))
        .collect::<Result<_, _>>()?;
    if addresses.is_empty() { dialable("address", text).map(|address| vec![address]) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let peer = hailmesh_net::peer_id(&hailmesh_types::PeerKey::from_bytes([7; 32]));
        let addresses: Vec<Multiaddr> =
            ["/ip4/192.0.2.7/udp/4001/quic-v1", "/ip4/192.0.2.7/tcp/4001"].map(|a| a.parse().unwrap()).into();
        let line = line(&addresses, &peer).unwrap();
        assert!(line.starts_with("hailmesh:/ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3"), "{line}");
        let back = parse(&line).unwrap();
        assert_eq!(back.len(), 2);
        assert!(back.iter().all(|address| address.to_string().ends_with(&format!("/p2p/{peer}"))));
        assert_eq!(parse(" /ip4/192.0.2.7/tcp/4001 ").unwrap(), addresses[1..]);
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for bad in ["", "hailmesh:", "192.0.2.7:4001", "hailmesh:/ip4/192.0.2.7/tcp/4001,nonsense"] {
            let error = parse(bad).expect_err(bad).to_string();
            assert!(error.contains("multiaddress"), "{error}");
        }
    }
}
