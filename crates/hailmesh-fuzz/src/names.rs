//! Texts that strangers, users and files spell names with: topics, networks, keys, cells,
//! places, money, policies.

use std::fmt::Display;
use std::str::FromStr;

use hailmesh_market::RideId;
use hailmesh_types::{
    AgreementId, Cell, Class, Currency, Features, GeoPoint, NetworkName, PeerKey, PublicKey, StatementId,
    Text,
};
use hailmesh_wire::{Subject, Topic, message_id};

use crate::{Checked, Input, ensure, mutated};

/// Spellings to begin with.
const SPELLED: [&str; 14] = [
    "/hailmesh/1/test/drivers/872a100d6ffffff",
    "/hailmesh/1/test/riders/872a100d6ffffff",
    "/hailmesh/1/test/evidence",
    "test",
    "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
    "0101010101010101010101010101010101010101010101010101010101010101",
    "40.7580,-73.9855",
    "-90,180",
    "standard",
    "USD",
    "01J00000000000000000000000",
    "batched:5",
    "assignment",
    "nearest",
];

/// Bytes as they are, and good spellings with changes.
///
/// # Errors
/// What did not hold.
pub fn run(bytes: &[u8]) -> Checked {
    let mut input = Input::new(bytes);
    let spelled = if input.below(3) == 0 {
        input.rest().to_vec()
    } else {
        let (base, donor) = (input.pick(&SPELLED).unwrap_or(&""), input.pick(&SPELLED).unwrap_or(&""));
        mutated(base.as_bytes(), donor.as_bytes(), &mut input)
    };
    let text = String::from_utf8_lossy(&spelled);
    topic(&text)?;
    round::<NetworkName>("network", &text)?;
    round::<PublicKey>("key", &text)?;
    round::<PeerKey>("peer key", &text)?;
    round::<StatementId>("statement id", &text)?;
    round::<AgreementId>("agreement id", &text)?;
    place(&text)?;
    round::<Class>("class", &text)?;
    round::<Currency>("currency", &text)?;
    round::<RideId>("ride", &text)?;
    round::<hailmesh_market::matching::Policy>("matching policy", &text)?;
    round::<hailmesh_sim::Policy>("policy", &text)?;
    texts(&text)?;
    cells(&mut input)
}

/// What is read and written again is what was read, and a refusal says something short.
fn round<T: FromStr + Display + PartialEq>(what: &str, text: &str) -> Checked
where
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(read) => {
            let written = read.to_string();
            let again = written.parse::<T>().ok();
            ensure(again.as_ref() == Some(&read), || format!("{what} {text:?} is written {written:?}"))
        }
        Err(error) => {
            let words = error.to_string();
            ensure(!words.is_empty() && words.len() <= 400 + 6 * text.len(), || {
                format!("{what}: a refusal of {} bytes for {} bytes", words.len(), text.len())
            })
        }
    }
}

/// A place that can be read is on the globe, and its exact degrees name it.
fn place(text: &str) -> Checked {
    let Ok(place) = text.parse::<GeoPoint>() else { return Ok(()) };
    let on_globe = (-90.0..=90.0).contains(&place.lat()) && (-180.0..=180.0).contains(&place.lon());
    let written = format!("{:.7},{:.7}", place.lat(), place.lon());
    ensure(on_globe && written.parse() == Ok(place), || format!("place {text:?} is {written}"))
}

/// A topic has one spelling (P13.1): two would be two topics to everybody who only passes
/// on what is said there.
fn topic(text: &str) -> Checked {
    let Ok(topic) = text.parse::<Topic>() else { return Ok(()) };
    ensure(topic.to_string() == text, || format!("{text:?} is topic {topic}"))?;
    let is_of_cell = match topic.subject() {
        Subject::Drivers(cell) => Topic::drivers(topic.network(), cell) == topic,
        Subject::Riders(cell) => Topic::riders(topic.network(), cell) == topic,
        Subject::Evidence => Topic::evidence(topic.network()) == topic,
    };
    ensure(is_of_cell, || format!("{topic} is not the topic of its cell"))?;
    ensure(message_id(text, b"a") != message_id(text, b"b"), || "one id for two messages".to_owned())
}

/// Free texts hold nothing that a screen would obey.
fn texts(text: &str) -> Checked {
    let Ok(read) = Text::<140>::new(text) else { return Ok(()) };
    let obeyed = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    ensure(read.as_str() == text && text.len() <= 140 && !text.chars().any(obeyed), || {
        format!("a text of {} bytes with {text:?}", text.len())
    })
}

/// Any number is a cell or is refused; a cell lies in its own parents.
fn cells(input: &mut Input<'_>) -> Checked {
    let index = u64::from(input.long()) << 32 | u64::from(input.long());
    for index in [index, 0x0872_a100_d6ff_ffff ^ index & 0xff] {
        let Ok(cell) = Cell::from_index(index, 5, 10) else { continue };
        ensure(cell.index() == index, || format!("cell {index:x} has another index"))?;
        let topic = cell.resolution().get() >= 7;
        if topic {
            let parent = cell.parent(hailmesh_types::Resolution::TOPIC);
            ensure(parent.resolution().get() == 7, || format!("the parent of {index:x} is finer"))?;
        }
    }
    let features = Features::from_bits(input.short().into());
    ensure(Features::from_bits(features.bits()) == features, || "features that change".to_owned())
}

/// Inputs to begin with.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let seed = |(at, text): (usize, &&str)| (format!("spelled-{at}"), [&[0], text.as_bytes()].concat());
    SPELLED.iter().enumerate().map(seed).collect()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::fmt;

    use super::*;

    /// Is written in another way than it was read.
    #[derive(PartialEq)]
    struct Lossy(String);

    impl FromStr for Lossy {
        type Err = Infallible;

        fn from_str(text: &str) -> Result<Self, Infallible> {
            Ok(Self(text.to_owned()))
        }
    }

    impl Display for Lossy {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0.trim())
        }
    }

    #[test]
    fn a_name_that_does_not_survive_being_written_is_noticed() {
        assert!(round::<Lossy>("lossy", "a").is_ok());
        assert!(round::<Lossy>("lossy", " a").is_err());
    }
}
