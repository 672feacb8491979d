//! Peers and how to become one.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;
use crate::convert::peer_json;
use crate::extract::Body;
use crate::problem::{Code, Problem};
use crate::types::{AddPeerJson, DoneJson, InviteJson, PeersJson};

/// The peers connected now.
#[utoipa::path(get, path = "/v1/peers", tag = "network", responses((status = 200, body = PeersJson)))]
pub(crate) async fn list(State(app): State<App>) -> Json<PeersJson> {
    let items = app.node.peers().await.iter().map(peer_json).collect();
    Json(PeersJson { items })
}

/// Dials a peer and remembers it.
#[utoipa::path(post, path = "/v1/peers", tag = "network", request_body = AddPeerJson, responses(
    (status = 202, description = "Being dialled", body = DoneJson),
    (status = 422, description = "Not an address", body = Problem)
))]
pub(crate) async fn add(
    State(app): State<App>,
    Body(body, _): Body<AddPeerJson>,
) -> Result<(StatusCode, Json<DoneJson>), Problem> {
    let addresses = hailmesh_node::invite::parse(&body.address)
        .map_err(|error| Problem::new(Code::BadValue, error.to_string()))?;
    for address in addresses {
        app.node.add_peer(address).await?;
    }
    Ok((StatusCode::ACCEPTED, Json(DoneJson {})))
}

/// One line for `--bootstrap` on another machine.
#[utoipa::path(get, path = "/v1/invite", tag = "network", responses((status = 200, body = InviteJson)))]
pub(crate) async fn invite(State(app): State<App>) -> Result<Json<InviteJson>, Problem> {
    Ok(Json(InviteJson { invite: app.node.invite().await? }))
}
