//! Errors as problem documents (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hailmesh_node::NodeError;
use hailmesh_node::market::CommandError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong, for programs. The words never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No token, or one that this node does not know.
    Unauthorised,
    /// The token lacks the scope.
    ScopeMissing,
    /// The `Host` header is not on the list.
    HostNotAllowed,
    /// The `Origin` header is not on the list.
    OriginNotAllowed,
    /// No such resource.
    NotFound,
    /// The resource knows other methods only.
    MethodNotAllowed,
    /// The body is not `application/json`.
    NotJson,
    /// The body is JSON, but not the expected one.
    BadBody,
    /// A parameter of the path, the query or a header.
    BadParameter,
    /// More than 64 KiB.
    TooLarge,
    /// No answer in time.
    Timeout,
    /// `Idempotency-Key` is required here.
    IdempotencyKeyMissing,
    /// The key was used with another body.
    IdempotencyKeyReused,
    /// No ride of this id.
    UnknownRide,
    /// The ride is in a state in which this cannot be done; `allowed` says in which it can.
    WrongState,
    /// For the other kind of node.
    WrongRole,
    /// Another ride is under way.
    Busy,
    /// A value is not acceptable.
    BadValue,
    /// The boarding code is wrong or can no longer be tried.
    Boarding,
    /// Not yet.
    TooEarly,
    /// The store cannot keep promises.
    StoreUnavailable,
    /// The signing key is in use elsewhere.
    Cloned,
    /// The node is about to end.
    ShuttingDown,
    /// There is no receipt for this ride.
    NoReceipt,
    /// No offer is out.
    NoOffer,
    /// Too many event streams.
    TooManyStreams,
    /// A fault of the node.
    Internal,
}

impl Code {
    /// The word in the document.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unauthorised => "unauthorised",
            Self::ScopeMissing => "scope_missing",
            Self::HostNotAllowed => "host_not_allowed",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NotJson => "not_json",
            Self::BadBody => "bad_body",
            Self::BadParameter => "bad_parameter",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::IdempotencyKeyMissing => "idempotency_key_missing",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::UnknownRide => "unknown_ride",
            Self::WrongState => "wrong_state",
            Self::WrongRole => "wrong_role",
            Self::Busy => "busy",
            Self::BadValue => "bad_value",
            Self::Boarding => "boarding",
            Self::TooEarly => "too_early",
            Self::StoreUnavailable => "store_unavailable",
            Self::Cloned => "cloned",
            Self::ShuttingDown => "shutting_down",
            Self::NoReceipt => "no_receipt",
            Self::NoOffer => "no_offer",
            Self::TooManyStreams => "too_many_streams",
            Self::Internal => "internal",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Unauthorised => StatusCode::UNAUTHORIZED,
            Self::ScopeMissing | Self::HostNotAllowed | Self::OriginNotAllowed => StatusCode::FORBIDDEN,
            Self::NotFound | Self::UnknownRide | Self::NoReceipt | Self::NoOffer => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadBody | Self::BadParameter | Self::IdempotencyKeyMissing => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::IdempotencyKeyReused
            | Self::WrongState
            | Self::WrongRole
            | Self::Busy
            | Self::Boarding
            | Self::TooEarly => StatusCode::CONFLICT,
            Self::BadValue => StatusCode::UNPROCESSABLE_ENTITY,
            Self::StoreUnavailable | Self::Cloned | Self::ShuttingDown | Self::TooManyStreams => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Unauthorised => "A valid token is required",
            Self::ScopeMissing => "The token does not allow this",
            Self::HostNotAllowed => "This host name is not served",
            Self::OriginNotAllowed => "This origin is not served",
            Self::NotFound => "There is nothing here",
            Self::MethodNotAllowed => "Not with this method",
            Self::NotJson => "JSON is expected",
            Self::BadBody => "The body cannot be read",
            Self::BadParameter => "A parameter cannot be read",
            Self::TooLarge => "The body is too large",
            Self::Timeout => "No answer in time",
            Self::IdempotencyKeyMissing => "An Idempotency-Key is required",
            Self::IdempotencyKeyReused => "The Idempotency-Key belongs to another request",
            Self::UnknownRide => "No such ride",
            Self::WrongState => "Not in this state",
            Self::WrongRole => "Not for this kind of node",
            Self::Busy => "A ride is under way",
            Self::BadValue => "A value is not acceptable",
            Self::Boarding => "Boarding was refused",
            Self::TooEarly => "Too early",
            Self::StoreUnavailable => "The store is unavailable",
            Self::Cloned => "This home is in use elsewhere",
            Self::ShuttingDown => "The node is shutting down",
            Self::NoReceipt => "No receipt yet",
            Self::NoOffer => "No offer is out",
            Self::TooManyStreams => "Too many event streams",
            Self::Internal => "The node failed",
        }
    }
}

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:hailmesh:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: Box<str>,
    /// The code in words.
    #[schema(value_type = String)]
    pub title: Box<str>,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong, for programs.
    pub code: Code,
    /// What went wrong this time, for people.
    pub detail: String,
    /// The state of the ride, with `wrong_state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The states in which it could be done, with `wrong_state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
}

impl Problem {
    /// A problem with these words.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:hailmesh:problem:{}", code.name()).into(),
            title: code.title().into(),
            status: code.status().as_u16(),
            code,
            detail: detail.into(),
            state: None,
            allowed: None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.code.status(), axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.code == Code::Unauthorised {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<NodeError> for Problem {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Command(error) => error.into(),
            NodeError::Stopped => Self::new(Code::ShuttingDown, "the node has stopped"),
            NodeError::Store(_) => Self::new(Code::StoreUnavailable, error.to_string()),
            NodeError::History(_) => Self::new(Code::Internal, error.to_string()),
            NodeError::BadInput(text) => Self::new(Code::BadValue, text.to_string()),
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let detail = error.to_string();
        match error {
            CommandError::UnknownRide(_) => Self::new(Code::UnknownRide, detail),
            CommandError::WrongState { state, allowed, .. } => Self {
                state: Some(state.to_string()),
                allowed: Some(allowed.iter().map(ToString::to_string).collect()),
                ..Self::new(Code::WrongState, detail)
            },
            CommandError::WrongRole(_) => Self::new(Code::WrongRole, detail),
            CommandError::Busy(_) => Self::new(Code::Busy, detail),
            CommandError::BadValue { .. } => Self::new(Code::BadValue, detail),
            CommandError::Boarding(_) => Self::new(Code::Boarding, detail),
            CommandError::TooEarly(_) => Self::new(Code::TooEarly, detail),
            CommandError::StoreUnavailable => Self::new(Code::StoreUnavailable, detail),
            CommandError::Cloned => Self::new(Code::Cloned, detail),
            CommandError::ShuttingDown => Self::new(Code::ShuttingDown, detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_word_in_the_document() {
        for code in [Code::Unauthorised, Code::WrongState, Code::IdempotencyKeyReused, Code::Internal] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
        }
    }

    #[test]
    fn a_wrong_state_names_the_allowed_ones() {
        let ride = "01J00000000000000000000000".parse().unwrap();
        let error = CommandError::WrongState {
            ride,
            state: hailmesh_node::wire::RideState::Firm,
            allowed: vec![hailmesh_node::wire::RideState::InProgress],
        };
        let problem = Problem::from(error);
        assert_eq!((problem.status, problem.code), (409, Code::WrongState));
        assert_eq!(problem.allowed.unwrap(), ["in_progress"]);
    }
}
