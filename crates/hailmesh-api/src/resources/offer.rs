//! Our own offer.

use axum::Json;
use axum::extract::State;
use hailmesh_node::market::Command;

use crate::app::App;
use crate::convert::own_offer_json;
use crate::extract::Body;
use crate::intake::profile_from_json;
use crate::problem::{Code, Problem};
use crate::types::{DoneJson, OwnOfferJson, ProfileJson};

/// The offer that is out.
#[utoipa::path(get, path = "/v1/offer", tag = "offers", responses(
    (status = 200, body = OwnOfferJson),
    (status = 404, description = "None is out", body = Problem)
))]
pub(crate) async fn get(State(app): State<App>) -> Result<Json<OwnOfferJson>, Problem> {
    let status = app.node.status().await?;
    own_offer_json(&status.snapshot, app.profile().as_ref())
        .map(Json)
        .ok_or_else(|| Problem::new(Code::NoOffer, "this node offers nothing now"))
}

/// Begins to offer rides, or changes what is offered. What is absent stays as it was.
#[utoipa::path(put, path = "/v1/offer", tag = "offers", request_body = ProfileJson, responses(
    (status = 200, body = DoneJson),
    (status = 409, description = "Not a driver", body = Problem),
    (status = 422, description = "A value is not acceptable", body = Problem)
))]
pub(crate) async fn put(
    State(app): State<App>,
    Body(body, _): Body<ProfileJson>,
) -> Result<Json<DoneJson>, Problem> {
    let profile = profile_from_json(body, app.profile())?;
    app.node.command(Command::GoOnline(profile.clone())).await?;
    app.set_profile(profile);
    Ok(Json(DoneJson {}))
}

/// Stops offering. A ride under way goes on.
#[utoipa::path(delete, path = "/v1/offer", tag = "offers", responses(
    (status = 200, body = DoneJson),
    (status = 409, description = "Not a driver", body = Problem)
))]
pub(crate) async fn delete(State(app): State<App>) -> Result<Json<DoneJson>, Problem> {
    app.node.command(Command::GoOffline).await?;
    Ok(Json(DoneJson {}))
}
