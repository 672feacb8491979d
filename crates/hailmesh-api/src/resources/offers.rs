//! The offer book.

use axum::Json;
use axum::extract::State;

use crate::app::App;
use crate::convert::offers_json;
use crate::extract::Params;
use crate::intake::search_from_query;
use crate::problem::Problem;
use crate::types::{OffersJson, OffersQuery};

/// Offers near a place, nearest first, and why others are not among them. Asks nobody: the
/// answer comes from this node's own book.
#[utoipa::path(get, path = "/v1/offers", tag = "offers", params(OffersQuery), responses(
    (status = 200, body = OffersJson),
    (status = 400, description = "A parameter cannot be read", body = Problem)
))]
pub(crate) async fn offers(
    State(app): State<App>,
    Params(query): Params<OffersQuery>,
) -> Result<Json<OffersJson>, Problem> {
    let answer = app.node.search(search_from_query(&query)?).await?;
    Ok(Json(offers_json(&answer)))
}
