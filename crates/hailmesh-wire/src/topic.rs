//! Gossip topics (P13.1). No unknown topic can be spelled: [`Topic`] has one variant
//! per thing that may be gossiped, and text is only ever parsed into it.

use std::fmt;
use std::str::FromStr;

use hailmesh_types::{Cell, NetworkName, Resolution};

/// What a topic carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Offers of drivers whose cell lies in this resolution-7 cell.
    Drivers(Cell),
    /// Offers of waiting riders whose cell lies in this resolution-7 cell.
    Riders(Cell),
    /// Evidence and revocations.
    Evidence,
}

/// A topic of one network: `/hailmesh/1/<network>/drivers/<cell>`,
/// `/hailmesh/1/<network>/riders/<cell>` or `/hailmesh/1/<network>/evidence`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic {
    network: NetworkName,
    subject: Subject,
}

/// A text that is no topic of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a topic of Hailmesh version 1 (P13.1)")]
pub struct TopicError;

impl Topic {
    /// The topic of drivers' offers that `cell` belongs to: that of its resolution-7 parent.
    #[must_use]
    pub fn drivers(network: &NetworkName, cell: Cell) -> Self {
        Self { network: network.clone(), subject: Subject::Drivers(cell.parent(Resolution::TOPIC)) }
    }

    /// The topic of riders' offers that `cell` belongs to: that of its resolution-7 parent.
    #[must_use]
    pub fn riders(network: &NetworkName, cell: Cell) -> Self {
        Self { network: network.clone(), subject: Subject::Riders(cell.parent(Resolution::TOPIC)) }
    }

    /// The evidence topic.
    #[must_use]
    pub fn evidence(network: &NetworkName) -> Self {
        Self { network: network.clone(), subject: Subject::Evidence }
    }

    /// The network it belongs to.
    #[must_use]
    pub const fn network(&self) -> &NetworkName {
        &self.network
    }

    /// What it carries.
    #[must_use]
    pub const fn subject(&self) -> Subject {
        self.subject
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = &self.network;
        match self.subject {
            Subject::Drivers(cell) => write!(f, "/hailmesh/1/{network}/drivers/{:015x}", cell.index()),
            Subject::Riders(cell) => write!(f, "/hailmesh/1/{network}/riders/{:015x}", cell.index()),
            Subject::Evidence => write!(f, "/hailmesh/1/{network}/evidence"),
        }
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let rest = text.strip_prefix("/hailmesh/1/").ok_or(TopicError)?;
        let (network, subject) = rest.split_once('/').ok_or(TopicError)?;
        let network = network.parse().map_err(|_| TopicError)?;
        if subject == "evidence" {
            return Ok(Self { network, subject: Subject::Evidence });
        }
        let (side, digits) = subject.split_once('/').ok_or(TopicError)?;
        let subject: fn(Cell) -> Subject = match side {
            "drivers" => Subject::Drivers,
            "riders" => Subject::Riders,
            _ => return Err(TopicError),
        };
        let lower_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if digits.len() != 15 || !digits.bytes().all(lower_hex) {
            return Err(TopicError);
        }
        let index = u64::from_str_radix(digits, 16).map_err(|_| TopicError)?;
        let topic = Resolution::TOPIC.get();
        let cell = Cell::from_index(index, topic, topic).map_err(|_| TopicError)?;
        Ok(Self { network, subject: subject(cell) })
    }
}

/// The gossip message id: the first 16 bytes of BLAKE3 over topic, a zero byte and the
/// whole message with its signature (P13.4), so that a copy with a broken signature
/// cannot occupy the place of the good one.
#[must_use]
pub fn message_id(topic: &str, message: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(topic.as_bytes()).update(&[0]).update(message);
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    id
}

#[cfg(test)]
mod tests {
    use hailmesh_types::GeoPoint;

    use super::*;

    #[test]
    fn topics_round_trip() {
        let place: GeoPoint = "40.7580,-73.9855".parse().unwrap();
        let network = NetworkName::default();
        let cell = Cell::at(place, Resolution::PICKUP);
        for (topic, text) in [
            (Topic::drivers(&network, cell), "/hailmesh/1/main/drivers/872a100d6ffffff"),
            (Topic::riders(&network, cell), "/hailmesh/1/main/riders/872a100d6ffffff"),
        ] {
            assert_eq!(topic.to_string(), text);
            assert_eq!(text.parse(), Ok(topic));
        }
        let evidence = Topic::evidence(&network);
        assert_eq!(evidence.to_string().parse(), Ok(evidence));
    }

    #[test]
    fn nothing_else_is_a_topic() {
        for text in [
            "",
            "/hailmesh/1/main",
            "/hailmesh/2/main/evidence",
            "/hailmesh/1/Main/evidence",
            "/hailmesh/1/main/evidence/",
            "/hailmesh/1/main/offers/872a100d6ffffff",
            "/hailmesh/1/main/drivers/892a100d2c3ffff",
            "/hailmesh/1/main/riders/872A100D2FFFFFF",
            "/hailmesh/1/main/drivers/0872a100d2ffffff",
        ] {
            assert_eq!(text.parse::<Topic>(), Err(TopicError), "{text}");
        }
    }
}
