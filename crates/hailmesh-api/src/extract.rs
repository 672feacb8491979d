//! Reading requests, with problem documents when they cannot be read.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use hailmesh_node::RIDES_MAX;
use hailmesh_node::market::RideId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::IntoParams;

use crate::problem::{Code, Problem};

/// Longest `?wait`.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Rides on a page when nothing is said.
const RIDES_PAGE: usize = 100;

/// A JSON body, and its bytes as they came.
pub(crate) struct Body<T>(pub(crate) T, pub(crate) Bytes);

impl<S: Send + Sync, T: DeserializeOwned + Serialize> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
        if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
            return Err(Problem::new(
                Code::NotJson,
                format!("content type {:?}: expected application/json", kind.unwrap_or("(none)")),
            ));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(Code::TooLarge, "a body may hold 65536 bytes")
            } else {
                Problem::new(Code::BadBody, rejection.body_text())
            }
        })?;
        let mut deserializer = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| Problem::new(Code::BadBody, unreadable(&error)))?;
        deserializer.end().map_err(|error| Problem::new(Code::BadBody, format!("body: {error}")))?;
        refuse_lists(&value, &bytes)?;
        Ok(Self(value, bytes))
    }
}

/// Readers of structs take a list of their fields, too, which no document speaks of. Where an
/// object was read there has to be one.
fn refuse_lists(read: &impl Serialize, bytes: &[u8]) -> Result<(), Problem> {
    let unreadable = |error| Problem::new(Code::BadBody, format!("body: {error}"));
    let said: Value = serde_json::from_slice(bytes).map_err(unreadable)?;
    let read = serde_json::to_value(read).map_err(unreadable)?;
    match listed(&said, &read) {
        None => Ok(()),
        Some(path) => Err(Problem::new(Code::BadBody, format!("body{path}: a list: expected an object"))),
    }
}

/// Where a list was read as an object, if anywhere: `: from` for the field `from`.
fn listed(said: &Value, read: &Value) -> Option<String> {
    match (said, read) {
        (Value::Array(_), Value::Object(_)) => Some(String::new()),
        (Value::Object(said), Value::Object(read)) => said
            .iter()
            .find_map(|(name, said)| listed(said, read.get(name)?).map(|path| format!(": {name}{path}"))),
        _ => None,
    }
}

/// Names the field, where it is one.
fn unreadable(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let path = error.path();
    if path.iter().next().is_none() {
        format!("body: {}", error.inner())
    } else {
        format!("body: {path}: {}", error.inner())
    }
}

/// The query of a request.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let Query(value) = query.map_err(|rejection| {
            Problem::new(Code::BadParameter, format!("query: {}", rejection.body_text()))
        })?;
        Ok(Self(value))
    }
}

/// The ride named by the path.
pub(crate) struct RidePath(pub(crate) RideId);

impl<S: Send + Sync> FromRequestParts<S> for RidePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|rejection| Problem::new(Code::BadParameter, rejection.body_text()))?;
        let ride = text.parse().map_err(|error| Problem::new(Code::BadParameter, format!("{error}")))?;
        Ok(Self(ride))
    }
}

/// `?wait=30s`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// Answer only when the search is over, or after this time: a number with `ms`, `s` or
    /// `m`, at most two minutes.
    wait: Option<String>,
}

impl WaitQuery {
    /// The time to wait, zero when none was asked for.
    pub(crate) fn duration(&self) -> Result<Duration, Problem> {
        let Some(text) = &self.wait else { return Ok(Duration::ZERO) };
        parse_span(text).filter(|span| *span <= WAIT_MAX).ok_or_else(|| {
            Problem::new(
                Code::BadParameter,
                format!("wait {text:?}: expected up to {} s, such as 30s or 500ms", WAIT_MAX.as_secs()),
            )
        })
    }
}

/// `?before=…&limit=…`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Only rides begun before this one: `next` of the page before.
    before: Option<String>,
    /// How many, 1 to 500; 100 without it.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

impl PageQuery {
    /// The ride before which the page begins, and how many it may hold.
    pub(crate) fn page(&self) -> Result<(Option<RideId>, usize), Problem> {
        let limit = self.limit.unwrap_or(RIDES_PAGE);
        if !(1..=RIDES_MAX).contains(&limit) {
            return Err(Problem::new(
                Code::BadParameter,
                format!("limit {limit}: expected 1 to {RIDES_MAX}"),
            ));
        }
        let read = |text: &String| {
            text.parse().map_err(|error| Problem::new(Code::BadParameter, format!("before: {error}")))
        };
        Ok((self.before.as_ref().map(read).transpose()?, limit))
    }
}

fn parse_span(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u32 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number.into())),
        "s" => Some(Duration::from_secs(number.into())),
        "m" => Some(Duration::from_secs(60 * u64::from(number))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_no_object() {
        let read = serde_json::json!({ "from": { "lat": 1, "lon": 2 }, "features": ["pets"] });
        assert_eq!(listed(&read, &read), None);
        let said = serde_json::json!({ "from": [1, 2], "features": ["pets"] });
        assert_eq!(listed(&said, &read).as_deref(), Some(": from"));
        assert_eq!(listed(&serde_json::json!([1]), &read).as_deref(), Some(""));
    }

    #[test]
    fn waits() {
        let wait = |text: &str| WaitQuery { wait: Some(text.to_owned()) }.duration();
        assert_eq!(wait("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(wait("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(wait("2m").unwrap(), WAIT_MAX);
        for bad in ["", "30", "s", "3h", "-1s", "121s", "1.5s"] {
            assert_eq!(wait(bad).unwrap_err().code, Code::BadParameter, "{bad}");
        }
    }
}
