//! `hailmesh events`, and events in words.

use hailmesh_api::types::{EventJson, Money};
use serde_json::Value;

use crate::cli::EventsArgs;
use crate::client::{self, Pick, StreamItem};
use crate::exit::{Exit, Failure};
use crate::homes::Homes;
use crate::output::{self, Output};

pub(super) async fn run(homes: &Homes, args: &EventsArgs, out: Output) -> Result<Exit, Failure> {
    let node = client::find(homes, Pick::Rider, out).await?;
    node.events(args.after, |item| match item {
        StreamItem::Event(event) if out.json => out.document(&event),
        StreamItem::Event(event) => out.line(in_words(&event)),
        StreamItem::Lagged(lagged) if out.json => {
            out.document(&serde_json::json!({ "type": "lagged", "missed": lagged.missed }))
        }
        StreamItem::Lagged(lagged) => out.line(format!("{} events were lost", lagged.missed)),
    })
    .await?;
    Ok(Exit::Ok)
}

/// An event as one line for people.
pub(super) fn in_words(event: &EventJson) -> String {
    let text = |key: &str| event.fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |key: &str| event.fields.get(key).and_then(Value::as_u64).unwrap_or_default();
    let ride = || text("ride_id");
    let money = |key: &str| {
        let value = event.fields.get(key).cloned().unwrap_or_default();
        serde_json::from_value::<Money>(value).map(|money| output::money(&money)).unwrap_or_default()
    };
    let words = match event.kind.as_str() {
        "ride" => {
            let reason = text("reason");
            let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            format!("ride {} is {}{why}", ride(), text("state").replace('_', " "))
        }
        "asked" => format!(
            "a rider would pay {} and waits {}: hailmesh ride accept {} (or decline)",
            money("fare"),
            output::span(number("valid_ms")),
            ride()
        ),
        "fare_disputed" => format!(
            "the driver asks {} in the end: hailmesh ride accept {} (or decline)",
            number("total"),
            ride()
        ),
        "seen" => format!("ride {}: the other side said where it is (hailmesh ride show)", ride()),
        "boarding_refused" => format!("ride {}: boarding was refused ({})", ride(), text("reason")),
        "offer_published" => format!("offer {} is out", number("seq")),
        "offer_withdrawn" => "the offer was withdrawn".to_owned(),
        "evidence" => format!("{} was caught: {}", output::short(&text("accused")), text("code")),
        "cloned" => "this home was copied or rolled back: its key signs nothing any more".to_owned(),
        "key_replaced" => "the shift key was replaced".to_owned(),
        "peers" => format!("{} peers connected", number("peers")),
        "problem" => format!("problem: {} ({})", text("what"), text("hint")),
        "notice" => text("text"),
        other => format!("{other} {}", serde_json::to_string(&event.fields).unwrap_or_default()),
    };
    format!("{} {words}", output::clock(&event.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ride_in_words() {
        let event: EventJson = serde_json::from_str(
            r#"{"id":1,"at":"2026-11-22T10:00:00Z","type":"ride","ride_id":"R","role":"rider","state":"en_route","reason":null}"#,
        )
        .unwrap();
        assert!(in_words(&event).ends_with(" ride R is en route"), "{}", in_words(&event));
    }
}
