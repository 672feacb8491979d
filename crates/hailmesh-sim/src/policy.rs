//! Who decides which car serves whom.

use std::fmt;
use std::str::FromStr;

/// A way to match riders and drivers that a run can be made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Nobody: every car and every rider is a node of its own, with the rule that the
    /// node's default configuration holds or the one that is named.
    PeerToPeer(Option<hailmesh_market::matching::Policy>),
    /// A dispatcher with a global view: every request takes the nearest idle car at
    /// once, a freed car goes to the oldest waiting request that it can reach in time.
    FirstCome,
    /// A dispatcher with a global view: every so many seconds an assignment of maximum
    /// size and, among those, least total pickup time.
    Batched {
        /// Length of a batch, 1 to 600 s.
        seconds: u32,
    },
    /// A dispatcher with a global view: every so many seconds the nearest pair first.
    NearestPair {
        /// Length of a batch, 1 to 600 s.
        seconds: u32,
    },
}

/// A policy that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown policy \"{0}\": expected p2p, p2p:nearest, p2p:nearest-pair, p2p:assignment, first-come, \
     batched:SECONDS or nearest-pair:SECONDS with 1 to 600 seconds"
)]
pub struct PolicyError(String);

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let refuse = || PolicyError(text.to_owned());
        let seconds = |text: &str| match text.parse() {
            Ok(seconds @ 1..=600) => Ok(seconds),
            _ => Err(refuse()),
        };
        match text.split_once(':') {
            None if text == "p2p" => Ok(Self::PeerToPeer(None)),
            None if text == "first-come" => Ok(Self::FirstCome),
            Some(("p2p", rule)) => Ok(Self::PeerToPeer(Some(rule.parse().map_err(|_| refuse())?))),
            Some(("batched", span)) => Ok(Self::Batched { seconds: seconds(span)? }),
            Some(("nearest-pair", span)) => Ok(Self::NearestPair { seconds: seconds(span)? }),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerToPeer(None) => f.write_str("p2p"),
            Self::PeerToPeer(Some(rule)) => write!(f, "p2p:{rule}"),
            Self::FirstCome => f.write_str("first-come"),
            Self::Batched { seconds } => write!(f, "batched:{seconds}"),
            Self::NearestPair { seconds } => write!(f, "nearest-pair:{seconds}"),
        }
    }
}
