//! `hailmesh ride request`: asks for a ride and waits until it is firm.

use std::time::Duration;

use base64::Engine as _;
use hailmesh_api::types::{ExplainJson, NoMatchJson, Point, RideJson, RideRequestJson, StateJson};
use hailmesh_types::GeoPoint;
use serde_json::{Value, json};

use super::ride::next_step;
use crate::cli::RequestArgs;
use crate::client::{self, Client, Pick};
use crate::exit::{Exit, Failure};
use crate::homes::Homes;
use crate::output::{self, Output};
use crate::signals::Signals;

/// What the node gets on top of the patience of its user, so that the search ends by
/// itself and says why.
const MARGIN: Duration = Duration::from_secs(2);

pub(super) async fn run(homes: &Homes, args: &RequestArgs, out: Output) -> Result<Exit, Failure> {
    let node = client::find(homes, Pick::Rider, out).await?;
    let key = match &args.idempotency_key {
        Some(key) => key.clone(),
        None => random_key()?,
    };
    let body = RideRequestJson {
        from: point(args.from),
        to: args.to.map(point),
        max_fare: args.max_fare,
        currency: None,
        class: args.class.map(|class| class.to_string()),
        seats: args.seats,
        features: Vec::new(),
        patience_ms: u32::try_from(args.wait.as_millis()).ok(),
        open: None,
        name: String::new(),
        phone: String::new(),
        note: args.note.clone(),
    };
    // Listened to from before the search begins: whoever stops this process must not leave
    // a search behind.
    let mut stop = Signals::new()?;
    // The first answer gives the id, so that an interrupted search can be called off.
    let begun: RideJson = node.post_once("/v1/rides", &body, &key, Duration::ZERO).await?;
    let ride = begun.summary.ride_id;
    let settled = tokio::select! {
        settled = node.post_once::<RideJson>("/v1/rides", &body, &key, (args.wait + MARGIN).min(Duration::from_secs(120))) => settled?,
        () = stop.next() => {
            call_off(&node, &ride).await?;
            out.remark("called off");
            return Ok(Exit::Interrupted);
        }
    };
    let settled = if is_open(&settled) { call_off(&node, &ride).await? } else { settled };
    if is_firm(&settled) {
        firm(&node, &settled, out).await?;
        return Ok(Exit::Ok);
    }
    refused(&node, &settled, out).await?;
    Ok(Exit::NoMatch)
}

fn is_open(ride: &RideJson) -> bool {
    matches!(ride.summary.state.as_str(), "requested" | "held" | "committed")
}

fn is_firm(ride: &RideJson) -> bool {
    matches!(ride.summary.state.as_str(), "firm" | "en_route" | "arrived" | "in_progress" | "completed")
}

/// Stops a search. It may have become firm in this very moment: then it stays.
async fn call_off(node: &Client, ride: &str) -> Result<RideJson, Failure> {
    let path = format!("/v1/rides/{ride}");
    let now: RideJson = node.get(&path).await?;
    if is_open(&now)
        && let Err(failure) = node.post::<RideJson>(&format!("{path}/cancel"), &json!({})).await
        && failure.exit != Exit::Failed
    {
        return Err(failure);
    }
    node.get(&path).await
}

async fn firm(node: &Client, ride: &RideJson, out: Output) -> Result<(), Failure> {
    let summary = &ride.summary;
    if out.json {
        let receipt = node.receipt(&summary.ride_id).await?;
        return out.document(&json!({
            "ride_id": summary.ride_id,
            "state": "firm",
            "driver": summary.counterparty,
            "fare": summary.fare,
            "eta_s": ride.eta_ms.map(|ms| ms / 1_000),
            "settle_ms": ride.settle_ms,
            "asked": ride.asked,
            "receipt": base64::engine::general_purpose::STANDARD.encode(receipt),
        }));
    }
    let fare = summary.fare.as_ref().map_or_else(|| "metered".to_owned(), output::money);
    let eta = ride.eta_ms.map_or_else(String::new, |ms| format!(", there in {}", output::span(ms)));
    let settled = ride.settle_ms.map_or_else(String::new, |ms| format!(", settled in {ms} ms"));
    out.line(format!("ride {} is firm: {fare}{eta}{settled}", summary.ride_id))?;
    if let Some(driver) = &summary.counterparty {
        out.line(format!("driver {driver}"))?;
    }
    if let Some(vehicle) = &ride.vehicle {
        let words = format!("{} {} {}", vehicle.colour, vehicle.model, vehicle.plate);
        if !words.trim().is_empty() {
            out.line(format!("vehicle {}", words.trim()))?;
        }
    }
    if let Some(next) = next_step(ride) {
        out.line(format!("next: {next}"))?;
    }
    Ok(())
}

/// The word for a search that came to nothing.
fn verdict(ride: &RideJson) -> &str {
    let asked = ride.asked.max(ride.no_match.as_ref().map_or(0, |no_match| no_match.asked));
    match ride.summary.state.as_str() {
        "declined" if asked > 0 => "declined",
        "expired" if asked > 0 => "expired",
        "void" => "void",
        "released" if asked > 0 => "released",
        _ => "no_match",
    }
}

async fn refused(node: &Client, ride: &RideJson, out: Output) -> Result<(), Failure> {
    let no_match = match &ride.no_match {
        Some(no_match) => no_match.clone(),
        // Called off before the node had said why: what it knows now.
        None => {
            let state: StateJson = node.get("/v1/state").await?;
            let explain = ExplainJson {
                heard: state.drivers,
                in_range: 0,
                excluded: std::collections::BTreeMap::new(),
                peers: state.peers,
                last_offer_ms: state.last_offer_ms,
            };
            NoMatchJson { explain, asked: ride.asked, answers: std::collections::BTreeMap::new() }
        }
    };
    let verdict = verdict(ride);
    if out.json {
        return out.document(&document(ride, verdict, &no_match));
    }
    let why = match verdict {
        "declined" => "no driver agreed",
        "expired" => "the time ran out before a driver agreed",
        "void" => "the driver said that it is not so",
        "released" => "the driver did not confirm in time",
        _ => "no match",
    };
    out.remark(format!("{why}: {} drivers were asked", no_match.asked));
    for (reason, count) in &no_match.answers {
        out.remark(format!("  {count} answered: {}", reason.replace('_', " ")));
    }
    for line in output::explain(&no_match.explain) {
        out.remark(line);
    }
    let next = match verdict {
        "no_match" => output::advice(&no_match.explain),
        _ => "ask again, or raise --max-fare or --wait",
    };
    out.remark(format!("next: {next}"));
    Ok(())
}

fn document(ride: &RideJson, verdict: &str, no_match: &NoMatchJson) -> Value {
    json!({
        "ride_id": ride.summary.ride_id,
        "state": verdict,
        "reasons": {
            "heard": no_match.explain.heard,
            "in_range": no_match.explain.in_range,
            "excluded": no_match.explain.excluded,
            "peers": no_match.explain.peers,
            "last_offer_ms": no_match.explain.last_offer_ms,
            "asked": no_match.asked,
            "answers": no_match.answers,
        },
    })
}

fn point(point: GeoPoint) -> Point {
    Point { lat: point.lat(), lon: point.lon() }
}

fn random_key() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::failed(format!("no randomness: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
