//! What must hold of any answer.

use serde_json::Value;

use crate::document::{Document, Operation};

/// An answer as it came.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Without its parameters.
    pub(crate) content_type: String,
    /// Empty for a stream.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON answer")
    }
}

/// What an answer has to be, beyond the document, because of what is wrong with the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    /// One of these.
    pub(crate) statuses: Vec<u16>,
    /// The detail of the problem names it.
    pub(crate) names: Option<String>,
}

/// Faults that are no fault of the node: the store, the end, or time.
const UNAVAILABLE: [u16; 2] = [503, 504];

/// Whether an answer is one of those that the document promises. `said` is all that the
/// request said; of `secrets` an error repeats only what was said.
pub(crate) fn check(
    document: &Document,
    operation: &Operation,
    answer: &Answer,
    expected: Option<&Expected>,
    said: &str,
    secrets: &[String],
) -> Result<(), String> {
    let status = answer.status;
    if status >= 500 && !UNAVAILABLE.contains(&status) {
        return Err(format!("a fault of the node: {status} {}", String::from_utf8_lossy(&answer.body)));
    }
    let Some(kinds) = operation.answers.get(&status) else {
        let known: Vec<&u16> = operation.answers.keys().collect();
        return Err(format!(
            "status {status} is not among {known:?}: {}",
            String::from_utf8_lossy(&answer.body)
        ));
    };
    let Some(schema) = kinds.get(&answer.content_type) else {
        let known: Vec<&String> = kinds.keys().collect();
        return Err(format!("content type {:?} of {status}: expected one of {known:?}", answer.content_type));
    };
    if let Some(schema) = schema {
        let json: Value =
            serde_json::from_slice(&answer.body).map_err(|error| format!("no JSON: {error}"))?;
        let validator = document.validator(schema);
        if let Some(error) = validator.iter_errors(&json).next() {
            return Err(format!(
                "{status} is not as documented: {error} at {}: {json}",
                error.instance_path()
            ));
        }
    }
    if let Some(expected) = expected
        && !expected.statuses.contains(&status)
    {
        return Err(format!(
            "status {status}: expected one of {:?}: {}",
            expected.statuses,
            String::from_utf8_lossy(&answer.body)
        ));
    }
    if status >= 400 { problem(answer, expected, said, secrets) } else { Ok(()) }
}

fn problem(
    answer: &Answer,
    expected: Option<&Expected>,
    said: &str,
    secrets: &[String],
) -> Result<(), String> {
    if answer.content_type != "application/problem+json" {
        return Err(format!("{} as {:?}", answer.status, answer.content_type));
    }
    let json = answer.json();
    let (code, detail) = (json["code"].as_str().unwrap_or(""), json["detail"].as_str().unwrap_or(""));
    if json["status"] != answer.status
        || json["type"] != format!("urn:hailmesh:problem:{code}")
        || detail.is_empty()
    {
        return Err(format!("a problem that contradicts itself: {json}"));
    }
    if let Some(name) = expected.and_then(|expected| expected.names.as_ref())
        && !detail.contains(name.as_str())
    {
        return Err(format!("the error does not name {name:?}: {json}"));
    }
    let text = String::from_utf8_lossy(&answer.body);
    match secrets.iter().find(|secret| text.contains(secret.as_str()) && !said.contains(secret.as_str())) {
        Some(_) => Err(format!("an error of {} tells a secret", answer.status)),
        None => Ok(()),
    }
}
