//! The event stream.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt};
use hailmesh_node::EventItem;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::{App, STREAMS_MAX};
use crate::convert::numbered_event;
use crate::extract::Params;
use crate::problem::{Code, Problem};
use crate::types::LaggedJson;

/// Where to begin.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AfterQuery {
    /// As the header `Last-Event-ID`: events after this one. The header wins.
    after: Option<u64>,
}

/// What happens, as server-sent events. Ids rise by one. After a pause send the last id
/// as `Last-Event-ID`: what was missed comes first, as far as it is still known. When
/// events were lost an event `lagged` says how many; read `/v1/state` and go on from its
/// `as_of_event`.
#[utoipa::path(get, path = "/v1/events", tag = "node", params(AfterQuery, ("Last-Event-ID" = Option<u64>, Header, description = "Events after this one")),
    responses(
        (status = 200, description = "Each event is an EventJson, or a LaggedJson under the name `lagged`", body = String, content_type = "text/event-stream"),
        (status = 503, description = "Too many streams", body = Problem)
    ))]
pub(crate) async fn events(
    State(app): State<App>,
    headers: HeaderMap,
    Params(query): Params<AfterQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let after = match headers.get("last-event-id") {
        None => query.after,
        Some(value) => {
            let text = value.to_str().unwrap_or("?");
            let number = text.trim().parse().map_err(|_| {
                Problem::new(Code::BadParameter, format!("Last-Event-ID {text:?}: expected a number"))
            })?;
            Some(number)
        }
    };
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Code::TooManyStreams, format!("{STREAMS_MAX} event streams are open: close one"))
    })?;
    let stream = app.node.events(after).map(move |item| {
        // The permit lives as long as the stream.
        let _held = &permit;
        Ok(sse(&item))
    });
    let stream = stream.take_until(app.closing.clone().cancelled_owned());
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

fn sse(item: &EventItem) -> Event {
    let event = match item {
        EventItem::Numbered(numbered) => {
            let json = numbered_event(numbered);
            Event::default().id(json.id.to_string()).event(json.kind.clone()).json_data(json)
        }
        EventItem::Lagged { missed } => {
            Event::default().event("lagged").json_data(LaggedJson { missed: *missed })
        }
    };
    event.unwrap_or_else(|error| Event::default().comment(error.to_string()))
}
