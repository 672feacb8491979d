//! What every operation of the document can answer besides what it says of itself.
//!
//! Guards and extractors answer for all resources, and what they answer follows from the
//! operation: whether it needs a token, takes parameters, or a body. Writing it beside every
//! resource would be forgotten at the next one.

use utoipa::openapi::path::Operation;
use utoipa::openapi::{Content, ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};

/// The content type of problems (RFC 9457).
const PROBLEM: &str = "application/problem+json";
const PROBLEM_REF: &str = "#/components/schemas/Problem";

/// Adds to every operation what guards and extractors may answer, and gives problems their
/// content type.
pub(crate) fn complete(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.options,
            &mut item.head,
            &mut item.patch,
        ];
        for operation in operations.into_iter().flatten() {
            retype(operation);
            add(operation);
        }
    }
}

/// Problems are `application/problem+json`, and files have no schema (OpenAPI 3.1).
fn retype(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        if response.content.get("application/json").is_some_and(is_problem)
            && let Some(content) = response.content.shift_remove("application/json")
        {
            response.content.insert(PROBLEM.to_owned(), content);
        }
        if let Some(RefOr::T(file)) = response.content.get_mut("application/octet-stream") {
            file.schema = None;
        }
    }
}

fn is_problem(content: &RefOr<Content>) -> bool {
    match content {
        RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }) => schema.ref_location == PROBLEM_REF,
        _ => false,
    }
}

fn add(operation: &mut Operation) {
    // Without an entry of its own an operation has the document's: a token.
    let needs_token = operation.security.is_none();
    let has_body = operation.request_body.is_some();
    let has_parameters = operation.parameters.as_ref().is_some_and(|all| !all.is_empty());
    let answers = [
        (has_body || has_parameters, "400", "A parameter or the body cannot be read; the field is named"),
        (needs_token, "401", "No token, or one that this node does not know"),
        (true, "403", "The host or the origin is not served, or the token lacks the scope"),
        (has_body, "413", "The body is larger than 64 KiB"),
        (has_body, "415", "The body is not JSON"),
        (has_body, "422", "A value is not acceptable"),
        (needs_token, "500", "A fault of the node"),
        (needs_token, "503", "The store cannot keep promises, or the node is about to end"),
        (needs_token, "504", "No answer in time"),
    ];
    for (may, status, description) in answers {
        if may {
            let responses = &mut operation.responses.responses;
            responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem(description)));
        }
    }
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(RefOr::Ref(Ref::new(PROBLEM_REF)))).build();
    ResponseBuilder::new().description(description).content(PROBLEM, content).build()
}
