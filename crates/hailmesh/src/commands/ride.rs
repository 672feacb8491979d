//! `hailmesh ride`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use hailmesh_api::types::{
    BoardJson, CompleteJson, CounterJson, DoneJson, EnRouteJson, Money, PositionJson, RateJson, RideJson,
    RideSummary, RidesJson,
};
use hailmesh_market::RideId;
use hailmesh_types::GeoPoint;
use serde::Serialize;
use serde_json::json;

use super::{request, verify};
use crate::cli::{ListArgs, RideAction};
use crate::client::{self, Client, Pick};
use crate::exit::{Exit, Failure};
use crate::homes::Homes;
use crate::output::{self, Output};
use crate::proof;

pub(super) async fn run(homes: &Homes, action: RideAction, out: Output) -> Result<Exit, Failure> {
    let nothing = json!({});
    match action {
        RideAction::Request(args) => return request::run(homes, &args, out).await,
        RideAction::List(args) => list(homes, &args, out).await?,
        RideAction::Show(ride) => {
            let node = client::find(homes, Pick::Ride(ride.id), out).await?;
            show(&node.get(&format!("/v1/rides/{}", ride.id)).await?, out)?;
        }
        RideAction::Receipt { ride, out: file } => receipt(homes, ride.id, file.as_deref(), out).await?,
        RideAction::Cancel(ride) => cancel(homes, ride.id, out).await?,
        RideAction::Accept(ride) => act(homes, ride.id, "accept", &nothing, out).await?,
        RideAction::Decline(ride) => act(homes, ride.id, "decline", &nothing, out).await?,
        RideAction::Counter { ride, fare } => {
            act(homes, ride.id, "counter", &CounterJson { fare }, out).await?
        }
        RideAction::EnRoute { ride, eta } => {
            let eta_ms = u32::try_from(eta.as_millis())
                .map_err(|_| Failure::usage("--eta: expected at most two hours"))?;
            act(homes, ride.id, "en-route", &EnRouteJson { eta_ms }, out).await?;
        }
        RideAction::Arrive(ride) => act(homes, ride.id, "arrive", &nothing, out).await?,
        RideAction::Share { ride, at, off } => share(homes, ride.id, at.filter(|_| !off), out).await?,
        RideAction::Board { ride, code } => {
            let code = match code {
                Some(code) => code,
                None => ask_code()?,
            };
            act(homes, ride.id, "board", &BoardJson { code }, out).await?;
        }
        RideAction::Complete { ride, distance, duration, extra } => {
            let ride_time_ms = duration
                .map(|span| u32::try_from(span.as_millis()))
                .transpose()
                .map_err(|_| Failure::usage("--duration: expected at most 12 hours"))?;
            act(homes, ride.id, "complete", &CompleteJson { dist_m: distance, ride_time_ms, extra }, out)
                .await?;
        }
        RideAction::End(ride) => act(homes, ride.id, "end", &nothing, out).await?,
        RideAction::NoShow(ride) => act(homes, ride.id, "no-show", &nothing, out).await?,
        RideAction::Rate { ride, stars, text } => {
            act(homes, ride.id, "rate", &RateJson { stars, text }, out).await?;
        }
    }
    Ok(Exit::Ok)
}

async fn list(homes: &Homes, args: &ListArgs, out: Output) -> Result<(), Failure> {
    // A driver and a rider of one machine: the rides of both, each with its role.
    let mut found = BTreeMap::new();
    let mut more = false;
    for (node, _) in client::running(homes).await? {
        let mut before = args.before.map(|ride| ride.to_string());
        loop {
            let mut query = vec![("limit", args.limit.to_string())];
            query.extend(before.take().map(|ride| ("before", ride)));
            let page: RidesJson = node.query("/v1/rides", &query).await?;
            found.extend(page.items.into_iter().map(|ride| (ride.ride_id.clone(), ride)));
            before = page.next;
            if !args.all || before.is_none() {
                more |= before.is_some();
                break;
            }
        }
    }
    // The time of its beginning comes first in the name of a ride.
    let mut items: Vec<RideSummary> = found.into_values().rev().collect();
    let oldest = items.get(usize::from(args.limit) - 1).map(|ride| ride.ride_id.clone());
    let mut next = oldest.filter(|_| more || items.len() > usize::from(args.limit));
    if args.all {
        next = None;
    } else if let Some(oldest) = &next {
        items.retain(|ride| ride.ride_id >= *oldest || is_open(ride));
    }
    if out.json {
        return out.document(&RidesJson { items, next });
    }
    if items.is_empty() {
        out.remark("no rides yet");
        return Ok(());
    }
    out.table(&["RIDE", "ROLE", "STATE", "WITH", "FARE", "SINCE"], items.iter().map(row).collect())?;
    if let Some(next) = next {
        out.remark(format!("older ones: hailmesh ride list --before {next} (or --all)"));
    }
    Ok(())
}

fn is_open(ride: &RideSummary) -> bool {
    let open = ["requested", "held", "committed", "firm", "en_route", "arrived", "in_progress"];
    open.contains(&ride.state.as_str())
}

fn row(ride: &RideSummary) -> Vec<String> {
    let created =
        i64::try_from(ride.created_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    vec![
        ride.ride_id.clone(),
        ride.role.clone(),
        ride.state.clone(),
        ride.counterparty.as_deref().map(output::short).unwrap_or_default(),
        ride.fare.as_ref().map(output::money).unwrap_or_default(),
        created.map_or_else(String::new, |at| {
            at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        }),
    ]
}

/// Does something with a ride and prints it as it is then.
async fn act(
    homes: &Homes,
    ride: RideId,
    action: &str,
    body: &impl Serialize,
    out: Output,
) -> Result<(), Failure> {
    let node = client::find(homes, Pick::Ride(ride), out).await?;
    let after: RideJson = post(&node, ride, action, body).await?;
    if out.json {
        return out.document(&after);
    }
    out.line(format!("ride {} is {}", after.summary.ride_id, after.summary.state.replace('_', " ")))?;
    if let Some(next) = next_step(&after) {
        out.remark(format!("next: {next}"));
    }
    Ok(())
}

async fn post(node: &Client, ride: RideId, action: &str, body: &impl Serialize) -> Result<RideJson, Failure> {
    node.post(&format!("/v1/rides/{ride}/{action}"), body).await
}

async fn cancel(homes: &Homes, ride: RideId, out: Output) -> Result<(), Failure> {
    let node = client::find(homes, Pick::Ride(ride), out).await?;
    let before: RideJson = node.get(&format!("/v1/rides/{ride}")).await?;
    if let Some(fee) = before.cancel_fee.as_ref().filter(|fee| fee.amount > 0) {
        out.remark(format!("cancelling now costs {}", output::money(fee)));
    }
    let after: RideJson = post(&node, ride, "cancel", &json!({})).await?;
    if out.json {
        return out.document(&after);
    }
    out.line(format!("ride {ride} is {}", after.summary.state.replace('_', " ")))
}

/// With a place: the driver may see it. Without: no longer.
async fn share(homes: &Homes, ride: RideId, at: Option<GeoPoint>, out: Output) -> Result<(), Failure> {
    let node = client::find(homes, Pick::Ride(ride), out).await?;
    let _: DoneJson = match at {
        Some(at) => {
            let (lat, lon) = (at.lat(), at.lon());
            node.put("/v1/position", &PositionJson { lat, lon, share: Some(true) }).await?
        }
        None => node.delete("/v1/position").await?,
    };
    let after: RideJson = node.get(&format!("/v1/rides/{ride}")).await?;
    if out.json {
        return out.document(&after);
    }
    out.line(format!(
        "ride {ride}: the driver {}",
        match (at, after.sharing) {
            (Some(_), true) => "sees where the rider is",
            (Some(_), false) => "will see where the rider is once the ride is firm",
            (None, _) => "is told no further positions",
        }
    ))
}

async fn receipt(homes: &Homes, ride: RideId, file: Option<&Path>, out: Output) -> Result<(), Failure> {
    let node = client::find(homes, Pick::Ride(ride), out).await?;
    let bytes = node.receipt(&ride.to_string()).await?;
    if let Some(path) = file {
        std::fs::write(path, &bytes)
            .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        out.remark(format!(
            "wrote {}: `hailmesh verify {}` checks it anywhere",
            path.display(),
            path.display()
        ));
    }
    if out.json {
        // What a node gives out it has checked; what is printed is checked again.
        return match proof::check(&bytes, &[]) {
            Ok(proof) => out.document(&proof::document(&proof)),
            Err(refuted) => Err(verify::refusal(&refuted)),
        };
    }
    if file.is_some() {
        return Ok(());
    }
    if io::stdout().is_terminal() {
        return Err(Failure::usage("a receipt is binary: write it with --out FILE, or print it with --json"));
    }
    out.raw(&bytes)
}

/// Prints a ride for people, or as it is.
fn show(ride: &RideJson, out: Output) -> Result<(), Failure> {
    if out.json {
        return out.document(ride);
    }
    let summary = &ride.summary;
    let mut lines = vec![
        ("ride", summary.ride_id.clone()),
        ("role", summary.role.clone()),
        ("state", summary.state.clone()),
    ];
    let mut add = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    add("with", summary.counterparty.clone());
    add("agreement", summary.agreement.clone());
    add("fare", summary.fare.as_ref().map(output::money));
    add("total", ride.total.as_ref().map(output::money));
    add("eta", ride.eta_ms.map(output::span));
    add(
        "boarding code",
        ride.boarding_code.as_ref().map(|code| format!("{code} (tell it to the driver, nobody else)")),
    );
    add(
        "vehicle",
        ride.vehicle.as_ref().map(|v| format!("{} {} {}", v.colour, v.model, v.plate).trim().to_owned()),
    );
    add(
        "rider",
        ride.contact.as_ref().map(|c| format!("{} {} {}", c.name, c.phone, c.note).trim().to_owned()),
    );
    add("pickup", ride.pickup.map(|point| format!("{},{}", point.lat, point.lon)));
    add("seen at", seen_at(ride));
    add("shared", ride.sharing.then(|| "the other side sees where this node is".to_owned()));
    add("destination", ride.drop.map(|point| format!("{},{}", point.lat, point.lon)));
    add(
        "cancelling",
        ride.cancel_fee.as_ref().map(|fee: &Money| {
            if fee.amount == 0 {
                "costs nothing now".to_owned()
            } else {
                format!("costs {} now", output::money(fee))
            }
        }),
    );
    for (name, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        out.line(format!("{name:<14} {value}"))?;
    }
    for step in &ride.history {
        let reason = step.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        out.line(format!("  {} {}{reason}", output::clock(&step.at), step.state))?;
    }
    if let Some(no_match) = &ride.no_match {
        for line in output::explain(&no_match.explain) {
            out.line(line)?;
        }
        out.remark(format!("next: {}", output::advice(&no_match.explain)));
    } else if let Some(next) = next_step(ride) {
        out.remark(format!("next: {next}"));
    }
    Ok(())
}

fn seen_at(ride: &RideJson) -> Option<String> {
    let (point, at) = ride.seen_at.zip(ride.seen.as_ref())?;
    Some(format!("{},{} at {}", point.lat, point.lon, output::clock(at)))
}

/// What its user does next.
pub(super) fn next_step(ride: &RideJson) -> Option<String> {
    let id = &ride.summary.ride_id;
    let driver = ride.summary.role == "driver";
    match (ride.summary.state.as_str(), driver) {
        ("firm", true) => Some(format!("drive to the pickup, then `hailmesh ride arrive {id}`")),
        ("en_route", true) => Some(format!("`hailmesh ride arrive {id}` at the pickup")),
        ("arrived", true) => Some(format!("ask for the code, then `hailmesh ride board {id} --code CODE`")),
        ("in_progress", true) => Some(format!("`hailmesh ride complete {id}` at the destination")),
        ("firm" | "en_route" | "arrived", false) => Some(match &ride.boarding_code {
            Some(code) => format!("tell the driver {code} when you board"),
            None => format!("`hailmesh ride show {id}` has the code to tell the driver when you board"),
        }),
        ("completed", _) if ride.has_receipt => Some(format!("`hailmesh ride receipt {id} --out FILE`")),
        _ => None,
    }
}

fn ask_code() -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("--code CODE is missing: what the rider says, six digits"));
    }
    eprint!("code the rider says: ");
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|error| Failure::failed(format!("terminal: {error}")))?;
    Ok(line.trim().to_owned())
}
