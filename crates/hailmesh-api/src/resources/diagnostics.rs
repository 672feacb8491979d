//! What works and what does not.

use axum::Json;
use axum::extract::State;
use hailmesh_node::NodeStatus;

use crate::app::App;
use crate::problem::Problem;
use crate::types::{CheckJson, DiagnosticsJson};

/// Looks at the parts of the node and says what to do about those that do not work.
#[utoipa::path(get, path = "/v1/diagnostics", tag = "node", responses((status = 200, body = DiagnosticsJson)))]
pub(crate) async fn diagnostics(State(app): State<App>) -> Result<Json<DiagnosticsJson>, Problem> {
    let checks = checks(&app.node.status().await?);
    Ok(Json(DiagnosticsJson { ok: checks.iter().all(|check| check.result != "failed"), checks }))
}

fn checks(status: &NodeStatus) -> Vec<CheckJson> {
    let snapshot = &status.snapshot;
    let mut checks = vec![
        if status.store_healthy {
            ok("store", format!("{} works", status.store))
        } else {
            failed(
                "store",
                format!("{} is unavailable", status.store),
                "nothing is signed until it works again: check the disk or the database",
            )
        },
        match snapshot.halted {
            None => ok("signing", "the node signs".to_owned()),
            Some(why) => failed("signing", why.to_owned(), "see docs/operations.md, halted nodes"),
        },
        if status.peers > 0 {
            ok("peers", format!("{} connected", status.peers))
        } else {
            failed(
                "peers",
                "no peer is connected".to_owned(),
                "run `hailmesh invite` on another node and pass the line here with --bootstrap",
            )
        },
        if snapshot.heard > 0 || snapshot.drivers + snapshot.riders > 0 {
            ok("offers", format!("{} heard, {} live", snapshot.heard, snapshot.drivers + snapshot.riders))
        } else {
            warning(
                "offers",
                "none heard yet".to_owned(),
                "nobody offers near this place, or nobody who does is connected",
            )
        },
    ];
    if snapshot.role.is_some() {
        checks.push(if snapshot.topics > 0 {
            ok("cells", format!("{} topics joined", snapshot.topics))
        } else {
            warning(
                "cells",
                "no topic is joined".to_owned(),
                "a driver needs --at LAT,LON; a rider joins when it first searches",
            )
        });
    }
    if let Some(problem) = &status.last_error {
        checks.push(warning("last error", problem.what.clone(), &problem.hint));
    }
    checks
}

fn ok(name: &str, detail: String) -> CheckJson {
    CheckJson { name: name.to_owned(), result: "ok".to_owned(), detail, hint: None }
}

fn warning(name: &str, detail: String, hint: &str) -> CheckJson {
    CheckJson { name: name.to_owned(), result: "warning".to_owned(), detail, hint: Some(hint.to_owned()) }
}

fn failed(name: &str, detail: String, hint: &str) -> CheckJson {
    CheckJson { name: name.to_owned(), result: "failed".to_owned(), detail, hint: Some(hint.to_owned()) }
}
