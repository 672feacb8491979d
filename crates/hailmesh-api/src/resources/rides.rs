//! Rides and what can be done with them.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use hailmesh_node::market::{Command, Event, RideId, RideView};
use hailmesh_node::wire::RideState;
use hailmesh_node::{EventItem, NodeEvent};
use hailmesh_types::Duration;
use tokio::time::timeout;

use crate::app::App;
use crate::auth::Scope;
use crate::convert::{base64, ride_json, summary_json};
use crate::extract::{Body, PageQuery, Params, RidePath};
use crate::guard::Caller;
use crate::intake::{completion_from_json, fare, rating_text};
use crate::problem::{Code, Problem};
use crate::types::{
    BoardJson, CompleteJson, CounterJson, EnRouteJson, RateJson, ReceiptJson, RideJson, RidesJson,
};

/// How long an action waits for what the other side's node answers by itself.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(5);

/// Rides of this node, newest first, also those that only the store still holds. The first
/// page holds every ride that is not over besides; `next` asks for the following one.
#[utoipa::path(get, path = "/v1/rides", tag = "rides", params(PageQuery), responses(
    (status = 200, body = RidesJson),
    (status = 400, description = "Not a ride id, or not a limit", body = Problem)
))]
pub(crate) async fn list(
    State(app): State<App>,
    Params(query): Params<PageQuery>,
) -> Result<Json<RidesJson>, Problem> {
    let (before, limit) = query.page()?;
    let page = app.node.rides_page(before, limit).await?;
    let items = page.items.iter().map(summary_json).collect();
    Ok(Json(RidesJson { items, next: page.next.map(|ride| ride.to_string()) }))
}

/// One ride with everything its user may see.
#[utoipa::path(get, path = "/v1/rides/{id}", tag = "rides", params(("id" = String, Path, description = "Ride id")),
    responses((status = 200, body = RideJson), (status = 404, description = "No such ride", body = Problem)))]
pub(crate) async fn show(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    RidePath(ride): RidePath,
) -> Result<Json<RideJson>, Problem> {
    answer(&app, scope, ride).await
}

/// The receipt: a file that anyone can check offline. JSON with the file in base 64 when
/// `Accept` asks for JSON, otherwise the bytes.
#[utoipa::path(get, path = "/v1/rides/{id}/receipt", tag = "rides", params(("id" = String, Path, description = "Ride id")),
    responses(
        (status = 200, content(
            (Vec<u8> = "application/octet-stream"),
            (ReceiptJson = "application/json")
        )),
        (status = 404, description = "No such ride, or no receipt yet", body = Problem)
    ))]
pub(crate) async fn receipt(
    State(app): State<App>,
    headers: HeaderMap,
    RidePath(ride): RidePath,
) -> Result<Response, Problem> {
    let Some(bytes) = app.node.receipt(ride).await? else {
        return Err(match app.node.ride(ride).await? {
            Some(view) => Problem::new(
                Code::NoReceipt,
                format!("ride {ride} is {}: a receipt exists from the moment it is committed", view.state),
            ),
            None => Problem::new(Code::UnknownRide, format!("no ride {ride} on this node")),
        });
    };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    if accept.split(',').any(|kind| kind.split(';').next().is_some_and(|k| k.trim() == "application/json")) {
        let length = bytes.len() as u64;
        let receipt = ReceiptJson { ride_id: ride.to_string(), receipt: base64(&bytes), bytes: length };
        return Ok(Json(receipt).into_response());
    }
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let name = format!("attachment; filename=\"{ride}.receipt\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// Agrees: a driver to a ride that waits for an answer, a rider to a final fare.
#[utoipa::path(post, path = "/v1/rides/{id}/accept", tag = "rides", params(("id" = String, Path, description = "Ride id")),
    responses((status = 200, body = RideJson), (status = 404, body = Problem, description = "No such ride"), (status = 409, body = Problem, description = "Not in this state")))]
pub(crate) async fn accept(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    RidePath(ride): RidePath,
) -> Result<Json<RideJson>, Problem> {
    // The other side's answer is part of it, when it comes soon.
    let undecided = [RideState::Requested, RideState::Held, RideState::Committed];
    act_until(&app, scope, ride, Command::Accept(ride), |view| !undecided.contains(&view.state)).await
}

/// Does not agree.
#[utoipa::path(post, path = "/v1/rides/{id}/decline", tag = "rides", params(("id" = String, Path, description = "Ride id")),
    responses((status = 200, body = RideJson), (status = 404, body = Problem, description = "No such ride"), (status = 409, body = Problem, description = "Not in this state")))]
pub(crate) async fn decline(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    RidePath(ride): RidePath,
) -> Result<Json<RideJson>, Problem> {
    act(&app, scope, ride, Command::Decline(ride)).await
}

/// Proposes another fare to a rider who waits for an answer. For drivers.
#[utoipa::path(post, path = "/v1/rides/{id}/counter", tag = "rides", params(("id" = String, Path, description = "Ride id")), request_body = CounterJson,
    responses((status = 200, body = RideJson), (status = 404, body = Problem, description = "No such ride"), (status = 409, body = Problem, description = "Not in this state")))]
pub(crate) async fn counter(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    RidePath(ride): RidePath,
    Body(body, _): Body<CounterJson>,
) -> Result<Json<RideJson>, Problem> {
    act(&app, scope, ride, Command::Counter(ride, fare(body.fare)?)).await
}

/// Ends a ride after boarding without the other side's signature.
#[utoipa::path(post, path = "/v1/rides/{id}/end", tag = "rides", params(("id" = String, Path, description = "Ride id")),
    responses((status = 200, body = RideJson), (status = 404, body = Problem, description = "No such ride"), (status = 409, body = Problem, description = "Not in this state, or too early")))]
pub(crate) async fn end(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    RidePath(ride): RidePath,
) -> Result<Json<RideJson>, Problem> {
    act(&app, scope, ride, Command::EndAlone(ride)).await
}

/// Ends a ride before boarding, or stops a search. `cancel_fee` of the ride says what it
/// costs.
#[utoipa::path(post, path = "/v1/rides/{id}/cancel", tag = "rides", params(("id" = String, Path, description = "Ride id")),
    responses((status = 200, body = RideJson), (status = 404, body = Problem, description = "No such ride"), (status = 409, body = Problem, description = "Not in this state")))]
pub(crate) async fn cancel(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    RidePath(ride): RidePath,
) -> Result<Json<RideJson>, Problem> {
    act(&app, scope, ride, Command::Cancel(ride)).await
}

/// The driver sets out.
#[utoipa::path(post, path = "/v1/rides/{id}/en-route", tag = "rides", params(("id" = String, Path, description = "Ride id")), request_body = EnRouteJson,
    responses((status = 200, body = RideJson), (status = 404, body = Problem, description = "No such ride"), (status = 409, body = Problem, description = "Not in this state")))]
pub(crate) async fn en_route(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    RidePath(ride): RidePath,
    Body(body, _): Body<EnRouteJson>,
) -> Result<Json<RideJson>, Problem> {
    act(&app, scope, ride, Command::EnRoute(ride, Duration::from_millis(body.eta_ms))).await
}

/// The driver is at the pickup.
#[utoipa::path(post, path = "/v1/rides/{id}/arrive", tag = "rides", params(("id" = String, Path, description = "Ride id")),
    responses((status = 200, body = RideJson), (status = 404, body = Problem, description = "No such ride"), (status = 409, body = Problem, description = "Not in this state")))]
pub(crate) async fn arrive(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    RidePath(ride): RidePath,
) -> Result<Json<RideJson>, Problem> {
    act(&app, scope, ride, Command::Arrive(ride)).await
}

/// The rider is on board: the driver has the rider's code.
#[utoipa::path(post, path = "/v1/rides/{id}/board", tag = "rides", params(("id" = String, Path, description = "Ride id")), request_body = BoardJson,
    responses((status = 200, body = RideJson), (status = 404, body = Problem, description = "No such ride"), (status = 409, body = Problem, description = "Not in this state, or a wrong code")))]
pub(crate) async fn board(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    RidePath(ride): RidePath,
    Body(body, _): Body<BoardJson>,
) -> Result<Json<RideJson>, Problem> {
    // The rider's node compares the code: its answer comes as an event.
    let mut events = app.node.events(Some(app.node.last_event_id()));
    app.node.command(Command::Board(ride, body.code)).await?;
    let answered = async {
        while let Some(item) = events.next().await {
            let EventItem::Numbered(numbered) = item else { continue };
            match numbered.event {
                NodeEvent::Market(Event::BoardingRefused { ride: of, reason }) if of == ride => {
                    return Err(Problem::new(Code::Boarding, reason));
                }
                NodeEvent::Market(Event::Ride { ride: of, .. }) if of == ride => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    };
    if let Ok(refused) = timeout(ANSWER, answered).await {
        refused?;
    }
    answer(&app, scope, ride).await
}

/// The ride is over.
#[utoipa::path(post, path = "/v1/rides/{id}/complete", tag = "rides", params(("id" = String, Path, description = "Ride id")), request_body = CompleteJson,
    responses((status = 200, body = RideJson), (status = 404, body = Problem, description = "No such ride"), (status = 409, body = Problem, description = "Not in this state")))]
pub(crate) async fn complete(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    RidePath(ride): RidePath,
    Body(body, _): Body<CompleteJson>,
) -> Result<Json<RideJson>, Problem> {
    let command = Command::Complete(ride, completion_from_json(&body)?);
    // The rider's node co-signs by itself when the figures are right (P9.4).
    act_until(&app, scope, ride, command, |view| view.state != RideState::InProgress).await
}

/// The other side did not come.
#[utoipa::path(post, path = "/v1/rides/{id}/no-show", tag = "rides", params(("id" = String, Path, description = "Ride id")),
    responses((status = 200, body = RideJson), (status = 404, body = Problem, description = "No such ride"), (status = 409, body = Problem, description = "Not in this state, or too early")))]
pub(crate) async fn no_show(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    RidePath(ride): RidePath,
) -> Result<Json<RideJson>, Problem> {
    act(&app, scope, ride, Command::NoShow(ride)).await
}

/// An opinion about the other side, beside a receipt that proves a completed ride.
#[utoipa::path(post, path = "/v1/rides/{id}/rate", tag = "rides", params(("id" = String, Path, description = "Ride id")), request_body = RateJson,
    responses((status = 200, body = RideJson), (status = 404, body = Problem, description = "No such ride"), (status = 409, body = Problem, description = "Not in this state")))]
pub(crate) async fn rate(
    State(app): State<App>,
    Extension(Caller(scope)): Extension<Caller>,
    RidePath(ride): RidePath,
    Body(body, _): Body<RateJson>,
) -> Result<Json<RideJson>, Problem> {
    let text = rating_text(&body)?;
    act(&app, scope, ride, Command::Rate(ride, body.stars, text)).await
}

async fn act(app: &App, scope: Scope, ride: RideId, command: Command) -> Result<Json<RideJson>, Problem> {
    app.node.command(command).await?;
    answer(app, scope, ride).await
}

/// As [`act`], and waits a moment for what the other side's node does about it.
async fn act_until(
    app: &App,
    scope: Scope,
    ride: RideId,
    command: Command,
    wanted: impl Fn(&RideView) -> bool,
) -> Result<Json<RideJson>, Problem> {
    app.node.command(command).await?;
    app.node.wait_ride(ride, wanted, ANSWER).await?;
    answer(app, scope, ride).await
}

async fn answer(app: &App, scope: Scope, ride: RideId) -> Result<Json<RideJson>, Problem> {
    let view = app.node.ride(ride).await?;
    let view = view.ok_or_else(|| Problem::new(Code::UnknownRide, format!("no ride {ride} on this node")))?;
    Ok(Json(ride_json(&view, scope != Scope::Read)))
}
