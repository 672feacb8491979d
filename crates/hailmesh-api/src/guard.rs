//! What happens to a request before any resource sees it.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::auth::Scope;
use crate::problem::{Code, Problem};

/// The scope with which a request came; resources find it among the extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller(pub(crate) Scope);

/// How long a request may take that does not wait for something on purpose.
const DEADLINE: Duration = Duration::from_secs(15);

/// Refuses names under which this server was not asked to appear (DNS rebinding) and pages
/// it does not serve (cross-site requests).
pub(crate) async fn host_and_origin(State(app): State<App>, request: Request, next: Next) -> Response {
    match check_names(&app, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check_names(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or("");
    // More than one Host header would let two readers see two names.
    if headers.get_all(header::HOST).iter().count() != 1 || !app.hosts.iter().any(|allowed| allowed == host) {
        let allowed = app.hosts.join(", ");
        return Err(Problem::new(Code::HostNotAllowed, format!("host {host:?}: expected one of {allowed}")));
    }
    match text(header::ORIGIN) {
        None => Ok(()),
        Some(origin) if app.origins.iter().any(|allowed| allowed == origin) => Ok(()),
        Some(origin) => {
            let allowed = app.origins.join(", ");
            Err(Problem::new(
                Code::OriginNotAllowed,
                format!("origin {origin:?}: expected none, or one of {allowed}"),
            ))
        }
    }
}

/// Asks for a token whose scope allows what the request wants.
pub(crate) async fn token(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let Some(scope) = presented(request.headers()).and_then(|token| app.tokens.scope_of(token)) else {
        return Problem::new(
            Code::Unauthorised,
            "send the token from the file api-token of the node's home as: Authorization: Bearer TOKEN",
        )
        .into_response();
    };
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let needed = needed(request.method(), path);
    if !scope.allows(needed) {
        let words: Vec<&str> = needed.iter().map(|scope| scope.name()).collect();
        let detail = format!(
            "this token has the scope {}: {} is needed",
            scope.name(),
            if words.is_empty() { "admin".to_owned() } else { words.join(" or ") }
        );
        return Problem::new(Code::ScopeMissing, detail).into_response();
    }
    request.extensions_mut().insert(Caller(scope));
    next.run(request).await
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The scopes of which one is needed; none means that only an administrator may.
fn needed(method: &Method, path: &str) -> &'static [Scope] {
    if path == "/v1/tokens" {
        &[]
    } else if method == Method::GET || method == Method::HEAD || path == "/v1/quotes" {
        &[Scope::Read]
    } else {
        match path {
            "/v1/offer" => &[Scope::Drive],
            "/v1/position" => &[Scope::Ride, Scope::Drive],
            "/v1/rides" => &[Scope::Ride],
            _ => match path.strip_prefix("/v1/rides/{id}/") {
                Some("arrive" | "board" | "complete" | "counter" | "en-route") => &[Scope::Drive],
                Some(_) => &[Scope::Ride, Scope::Drive],
                None => &[],
            },
        }
    }
}

/// Ends requests that take too long.
pub(crate) async fn deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem::new(Code::Timeout, format!("no answer within {} s", DEADLINE.as_secs())).into_response()
        }
    }
}

/// One line a request. The query stays out of it: it may hold a position.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let start = Instant::now();
    let response = next.run(request).await;
    tracing::debug!(
        %method,
        path = path.as_deref().unwrap_or("(none)"),
        status = response.status().as_u16(),
        took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_needs_an_administrator() {
        assert!(needed(&Method::POST, "/v1/peers").is_empty());
        assert!(needed(&Method::GET, "/v1/tokens").is_empty());
        assert!(needed(&Method::DELETE, "/v1/unheard-of").is_empty());
        assert_eq!(needed(&Method::POST, "/v1/rides/{id}/board"), [Scope::Drive]);
        assert_eq!(needed(&Method::POST, "/v1/rides"), [Scope::Ride]);
        assert_eq!(needed(&Method::GET, "/v1/state"), [Scope::Read]);
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        let mut headers = HeaderMap::new();
        assert_eq!(presented(&headers), None);
        headers.insert(header::AUTHORIZATION, "bearer abc".parse().unwrap());
        assert_eq!(presented(&headers), Some("abc"));
        headers.insert(header::AUTHORIZATION, "Basic abc".parse().unwrap());
        assert_eq!(presented(&headers), None);
    }
}
