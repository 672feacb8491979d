//! Which resource answers where, and the OpenAPI document made from it.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use tower::limit::GlobalConcurrencyLimitLayer;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::problem::{Code, Problem};
use crate::resources::{diagnostics, events, health, network, node, offer, offers, rides, trips};
use crate::{document, guard};

/// Longest body.
const BODY_MAX: usize = 64 * 1024;
/// Most requests worked on at a time; more wait.
const REQUESTS_MAX: usize = 256;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hailmesh local API",
        version = "1",
        description = "The API of one node, served on loopback. Every path but /healthz and /readyz needs \
                       the bearer token of the node's home. Errors are problem documents (RFC 9457) with a \
                       stable `code`. Times are RFC 3339 UTC, durations `_ms`, distances `_m`, money minor units \
                       with its currency.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(Problem, crate::types::EventJson, crate::types::LaggedJson)),
    modifiers(&BearerToken),
    security(("token" = [])),
    servers((url = "http://127.0.0.1", description = "The address is in api.json of the node's home"))
)]
struct Document;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The content of the file api-token in the node's home"))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

fn open() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
}

/// Resources that answer at once.
fn prompt() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(node::node))
        .routes(routes!(node::state))
        .routes(routes!(node::tokens))
        .routes(routes!(diagnostics::diagnostics))
        .routes(routes!(network::list, network::add))
        .routes(routes!(network::invite))
        .routes(routes!(offers::offers))
        .routes(routes!(offer::get, offer::put, offer::delete))
        .routes(routes!(trips::position, trips::hide))
        .routes(routes!(trips::quotes))
        .routes(routes!(rides::list))
        .routes(routes!(rides::show))
        .routes(routes!(rides::receipt))
        .routes(routes!(rides::accept))
        .routes(routes!(rides::decline))
        .routes(routes!(rides::counter))
        .routes(routes!(rides::cancel))
        .routes(routes!(rides::end))
        .routes(routes!(rides::en_route))
        .routes(routes!(rides::arrive))
        .routes(routes!(rides::board))
        .routes(routes!(rides::complete))
        .routes(routes!(rides::no_show))
        .routes(routes!(rides::rate))
        .routes(routes!(health::metrics))
}

/// Resources that wait on purpose and keep their own time.
fn patient() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(trips::request)).routes(routes!(events::events))
}

/// All routes, without what guards them.
fn routes() -> (OpenApiRouter<App>, OpenApiRouter<App>, OpenApiRouter<App>) {
    (open(), prompt(), patient())
}

pub(crate) fn router(app: App) -> Router {
    let (open, prompt, patient) = routes();
    let guarded = prompt
        .layer(from_fn(guard::deadline))
        .merge(patient)
        .route_layer(from_fn_with_state(app.clone(), guard::token));
    let (router, _) = open.merge(guarded).split_for_parts();
    router
        .fallback(|| async { Problem::new(Code::NotFound, "no such path; see docs/openapi.json") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::MethodNotAllowed, "this path does not know that method")
        })
        .layer(from_fn(guard::trace))
        .layer(from_fn_with_state(app.clone(), guard::host_and_origin))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(GlobalConcurrencyLimitLayer::new(REQUESTS_MAX))
        .with_state(app)
}

/// The OpenAPI 3.1 document of this API, as committed in `docs/openapi.json`.
///
/// # Panics
/// Never: the document is plain data.
#[must_use]
pub fn openapi_json() -> String {
    let (open, prompt, patient) = routes();
    let mut document = open.merge(prompt).merge(patient).into_openapi();
    document::complete(&mut document);
    let text = document.to_pretty_json().expect("an OpenAPI document is plain data");
    // As the registry of formats spells them; utoipa puts a hyphen into them.
    let mut text = text.replace(r#""format": "u-int"#, r#""format": "uint"#);
    text.push('\n');
    text
}
