//! Whether the process is alive and fit, and its figures.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use crate::app::App;
use crate::problem::{Code, Problem};

/// Whether the process answers at all. Needs no token.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, description = "`ok`", body = String)))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the node can make promises: it runs and its store works. Needs no token.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, description = "`ready`", body = String),
    (status = 503, description = "Not now", body = Problem)
))]
pub(crate) async fn readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    let status = app.node.status().await?;
    match status.snapshot.halted {
        None if status.store_healthy => Ok("ready\n"),
        None => Err(Problem::new(Code::StoreUnavailable, "the store is unavailable")),
        Some(why) => Err(Problem::new(Code::StoreUnavailable, why)),
    }
}

/// Figures in the text format of Prometheus. No label holds a place or a key.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"),
    (status = 401, description = "Token missing", body = Problem)
))]
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (StatusCode::OK, [(header::CONTENT_TYPE, kind)], app.node.metrics_text())
}
