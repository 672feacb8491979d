//! Where this node is, what a trip would cost, and asking for one.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use hailmesh_node::market::{Answer, Command, Role};
use hailmesh_types::Private;

use crate::app::App;
use crate::auth::Scope;
use crate::convert::{over_or_firm, quotes_json, ride_json};
use crate::extract::{Body, Params, WaitQuery};
use crate::guard::Caller;
use crate::intake::{point, quote_from_json, wish_from_json};
use crate::problem::{Code, Problem};
use crate::types::{DoneJson, Point, PositionJson, QuoteRequestJson, QuotesJson, RideJson, RideRequestJson};

/// This node is here now. With `share` a rider says whether the driver of its firm ride
/// sees where it is (P8.10), until that ride is over; without, that stays as it was, and
/// the default is no. A driver is seen by the rider of its firm ride anyway.
#[utoipa::path(put, path = "/v1/position", tag = "offers", request_body = PositionJson, responses(
    (status = 200, body = DoneJson),
    (status = 409, description = "`share` is for riders", body = Problem),
    (status = 422, description = "Not a position", body = Problem)
))]
pub(crate) async fn position(
    State(app): State<App>,
    Body(body, _): Body<PositionJson>,
) -> Result<Json<DoneJson>, Problem> {
    let PositionJson { lat, lon, share } = body;
    let place = Command::Move(Private(point(Point { lat, lon })?));
    let sharing = share.map(Command::SharePosition);
    // Consent is taken back before, and given after, the place is told. To other nodes
    // than riders it is refused, with the reason, before anything has changed.
    let given = share == Some(true) && app.node.role() == Some(Role::Rider);
    let (first, then) = if given { (Some(place), sharing) } else { (sharing, Some(place)) };
    for command in first.into_iter().chain(then) {
        app.node.command(command).await?;
    }
    Ok(Json(DoneJson {}))
}

/// The driver of a firm ride sees no further positions of this rider (P8.10).
#[utoipa::path(delete, path = "/v1/position", tag = "offers", responses(
    (status = 200, body = DoneJson),
    (status = 409, description = "This is for riders", body = Problem)
))]
pub(crate) async fn hide(State(app): State<App>) -> Result<Json<DoneJson>, Problem> {
    app.node.command(Command::SharePosition(false)).await?;
    Ok(Json(DoneJson {}))
}

/// What a trip would cost with the drivers in the book. Asks nobody.
#[utoipa::path(post, path = "/v1/quotes", tag = "rides", request_body = QuoteRequestJson, responses(
    (status = 200, body = QuotesJson),
    (status = 422, description = "A value is not acceptable", body = Problem)
))]
pub(crate) async fn quotes(
    State(app): State<App>,
    Body(body, _): Body<QuoteRequestJson>,
) -> Result<Json<QuotesJson>, Problem> {
    let quotes = app.node.quote(quote_from_json(&body)?).await?;
    Ok(Json(quotes_json(&quotes)))
}

/// Looks for a ride. With `wait` the answer comes when the ride is firm or the search is
/// over; without, at once.
#[utoipa::path(post, path = "/v1/rides", tag = "rides", request_body = RideRequestJson,
    params(WaitQuery, ("Idempotency-Key" = String, Header, description = "The same key and body again give the same ride")),
    responses(
        (status = 201, description = "The ride, as far as it is", body = RideJson),
        (status = 400, description = "No Idempotency-Key", body = Problem),
        (status = 409, description = "A ride is under way, or the key belongs to another body", body = Problem),
        (status = 422, description = "A value is not acceptable", body = Problem)
    )
)]
pub(crate) async fn request(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    headers: HeaderMap,
    Params(wait): Params<WaitQuery>,
    Body(body, bytes): Body<RideRequestJson>,
) -> Result<(StatusCode, Json<RideJson>), Problem> {
    let wait = wait.duration()?;
    let key = headers.get("idempotency-key").map(|value| value.to_str().unwrap_or_default());
    let key = key.ok_or_else(|| {
        Problem::new(Code::IdempotencyKeyMissing, "send a new random Idempotency-Key with every new request")
    })?;
    let wish = wish_from_json(&body, &app.rider)?;
    let entry = app.keys.entry(key, &bytes)?;
    let ride = *entry
        .ride
        .get_or_try_init(|| async {
            match app.node.command(Command::RequestRide(Box::new(wish))).await? {
                Answer::Ride(ride) => Ok(ride),
                Answer::Done => Err(Problem::new(Code::Internal, "the request was taken but has no ride")),
            }
        })
        .await?;
    let view = if wait > Duration::ZERO {
        app.node.wait_ride(ride, over_or_firm, wait).await?
    } else {
        app.node.ride(ride).await?
    };
    let view = view.ok_or_else(|| Problem::new(Code::UnknownRide, format!("no ride {ride} on this node")))?;
    Ok((StatusCode::CREATED, Json(ride_json(&view, scope != Scope::Read))))
}
