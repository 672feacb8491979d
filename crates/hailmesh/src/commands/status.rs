//! `hailmesh status`.

use hailmesh_api::types::{NodeJson, RideSummary, StateJson};
use serde_json::{Value, json};

use crate::client::{self, Pick};
use crate::exit::{Exit, Failure};
use crate::homes::Homes;
use crate::output::{self, Output};

pub(super) async fn run(homes: &Homes, out: Output) -> Result<Exit, Failure> {
    let client = client::find(homes, Pick::Rider, out).await?;
    let node: NodeJson = client.get("/v1/node").await?;
    let state: StateJson = client.get("/v1/state").await?;
    if out.json {
        out.document(&document(&node, &state))?;
        return Ok(Exit::Ok);
    }
    let mut lines = vec![
        ("home", client.home().display().to_string()),
        (
            "node",
            format!(
                "{} on network {}, version {}, up {}",
                node.role,
                node.network,
                node.version,
                output::span(node.uptime_ms)
            ),
        ),
        ("peer id", node.peer_id.clone()),
        ("signing key", node.key.clone().unwrap_or_else(|| "none yet".to_owned())),
        ("listening", node.listen.join("\n")),
        ("reachability", node.reachability.clone()),
        ("peers", format!("{} connected, {} topics joined", node.peers, state.topics)),
        (
            "offers",
            format!(
                "{} heard, {} drivers and {} riders live, last {}",
                state.heard,
                state.drivers,
                state.riders,
                state
                    .last_offer_ms
                    .map_or_else(|| "never".to_owned(), |ms| format!("{} ago", output::span(ms)))
            ),
        ),
        ("state", state.state.clone()),
        ("store", node.store.clone()),
    ];
    if let Some(offer) = &state.offer {
        lines.push(("own offer", format!("number {}, issued {}", offer.seq, output::clock(&offer.issued))));
    }
    if state.outbox > 0 {
        lines.push(("outbox", format!("{} statements wait for their answer", state.outbox)));
    }
    match state.rides.as_slice() {
        [] => lines.push(("ride", "none under way".to_owned())),
        rides => lines.extend(rides.iter().map(|ride| ("ride", ride_line(ride)))),
    }
    if let Some(why) = &state.halted {
        lines.push(("HALTED", why.clone()));
    }
    if let Some(note) = &node.transport_note {
        lines.push(("privacy", note.clone()));
    }
    if let Some(error) = &node.last_error {
        lines.push(("last error", format!("{} {} – {}", output::clock(&error.at), error.what, error.hint)));
    }
    lines.extend(node.hints.iter().map(|hint| ("hint", hint.clone())));
    for (name, value) in lines {
        for (number, part) in value.lines().enumerate() {
            out.line(format!("{:<13} {part}", if number == 0 { name } else { "" }))?;
        }
    }
    Ok(Exit::Ok)
}

fn ride_line(ride: &RideSummary) -> String {
    let fare = ride.fare.as_ref().map_or_else(String::new, |fare| format!(", {}", output::money(fare)));
    format!("{} {}{fare}", ride.ride_id, ride.state.replace('_', " "))
}

fn document(node: &NodeJson, state: &StateJson) -> Value {
    json!({
        "version": node.version,
        "role": node.role,
        "network": node.network,
        "peer_id": node.peer_id,
        "key": node.key,
        "listen": node.listen,
        "addresses": node.addresses,
        "reachability": node.reachability,
        "peers": node.peers,
        "connected_ms": node.connected_ms,
        "uptime_ms": node.uptime_ms,
        "store": node.store,
        "state": state.state,
        "mesh": { "topics": state.topics },
        "offers": {
            "heard": state.heard,
            "stopped": state.stopped,
            "drivers": state.drivers,
            "riders": state.riders,
            "last_offer_ms": state.last_offer_ms,
        },
        "offer": state.offer,
        "outbox": state.outbox,
        "halted": state.halted,
        "rides": state.rides,
        "ride": state.rides.first(),
        "transport_note": node.transport_note,
        "last_error": node.last_error,
        "hints": node.hints,
        "as_of_event": state.as_of_event,
    })
}
