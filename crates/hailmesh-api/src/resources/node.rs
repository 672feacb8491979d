//! This node.

use axum::Json;
use axum::extract::{Extension, State};

use hailmesh_types::Timestamp;

use crate::app::App;
use crate::auth::Scope;
use crate::convert::{node_json, state_json};
use crate::guard::Caller;
use crate::problem::Problem;
use crate::types::{NodeJson, StateJson, TokensJson};

/// Who this node is and how it is connected.
#[utoipa::path(get, path = "/v1/node", tag = "node", responses((status = 200, body = NodeJson)))]
pub(crate) async fn node(State(app): State<App>) -> Result<Json<NodeJson>, Problem> {
    Ok(Json(node_json(&app.node.status().await?)))
}

/// The marketplace of this node at a glance.
#[utoipa::path(get, path = "/v1/state", tag = "node", responses((status = 200, body = StateJson)))]
pub(crate) async fn state(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
) -> Result<Json<StateJson>, Problem> {
    // Read before the state: what happens in between is in both, never in neither.
    let as_of_event = app.node.last_event_id();
    let status = app.node.status().await?;
    let rides = app.node.rides().await?;
    let profile = app.profile();
    let reveal = scope != Scope::Read;
    Ok(Json(state_json(as_of_event, now(), &status, &rides, profile.as_ref(), reveal)))
}

fn now() -> Timestamp {
    let ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
    Timestamp::from_millis(ms).unwrap_or(Timestamp::MIN)
}

/// Tokens of lesser scope, to give to other programs. For administrators.
#[utoipa::path(get, path = "/v1/tokens", tag = "node", responses(
    (status = 200, body = TokensJson),
    (status = 403, description = "Not an administrator", body = Problem)
))]
pub(crate) async fn tokens(State(app): State<App>) -> Json<TokensJson> {
    let derive = |scope| app.admin.derive(scope).expose().to_owned();
    Json(TokensJson { read: derive(Scope::Read), ride: derive(Scope::Ride), drive: derive(Scope::Drive) })
}
