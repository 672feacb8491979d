//! The committed document, read as a client reads it: operations, what they take, and what
//! they may answer.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

const COMMITTED: &str = include_str!("../../../../docs/openapi.json");

/// Where a parameter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
}

#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) required: bool,
    pub(crate) schema: Value,
}

/// A path with a method.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// Upper-case.
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) parameters: Vec<Parameter>,
    /// The schema of the JSON body, if it has one.
    pub(crate) body: Option<Value>,
    pub(crate) needs_token: bool,
    /// Content types by status, each with a schema if it is JSON.
    pub(crate) answers: BTreeMap<u16, BTreeMap<String, Option<Value>>>,
}

impl Operation {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// The whole document.
pub(crate) struct Document {
    pub(crate) operations: Vec<Operation>,
    components: Value,
}

impl Document {
    pub(crate) fn committed() -> Self {
        Self::read(&serde_json::from_str(COMMITTED).expect("docs/openapi.json is JSON"))
    }

    pub(crate) fn read(document: &Value) -> Self {
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("a path item") {
                operations.push(read_operation(path, method, operation));
            }
        }
        Self { operations, components: document["components"].clone() }
    }

    pub(crate) fn operation(&self, method: &str, path: &str) -> &Operation {
        let found = self.operations.iter().find(|one| one.method == method && one.path == path);
        found.unwrap_or_else(|| panic!("{method} {path} is not in the document"))
    }

    /// What a reference leads to.
    pub(crate) fn resolve<'d>(&'d self, schema: &'d Value) -> &'d Value {
        let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/components/schemas/"))
        else {
            return schema;
        };
        &self.components["schemas"][name]
    }

    /// A validator of this schema, which may refer to components.
    pub(crate) fn validator(&self, schema: &Value) -> Validator {
        let mut whole = schema.as_object().cloned().unwrap_or_else(Map::new);
        whole.insert("components".to_owned(), self.components.clone());
        whole.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        jsonschema::validator_for(&Value::Object(whole)).expect("a schema of the document")
    }

    /// A validator of a named component.
    pub(crate) fn component(&self, name: &str) -> Validator {
        assert!(self.components["schemas"][name].is_object(), "no component {name}");
        self.validator(&json!({ "$ref": format!("#/components/schemas/{name}") }))
    }
}

fn read_operation(path: &str, method: &str, operation: &Value) -> Operation {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let parameters = list(&operation["parameters"]);
    let parameters = parameters.iter().map(|one| Parameter {
        name: one["name"].as_str().expect("a name").to_owned(),
        place: match one["in"].as_str() {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") => Place::Header,
            other => panic!("a parameter in {other:?}"),
        },
        required: one["required"].as_bool().unwrap_or(false),
        schema: one["schema"].clone(),
    });
    let body = operation.pointer("/requestBody/content/application~1json/schema").cloned();
    let mut answers = BTreeMap::new();
    for (status, answer) in operation["responses"].as_object().expect("responses") {
        let content = answer["content"].as_object().cloned().unwrap_or_default();
        let content = content.into_iter().map(|(kind, content)| {
            let schema = kind.ends_with("json").then(|| content["schema"].clone());
            (kind, schema)
        });
        answers.insert(status.parse().expect("a status"), content.collect());
    }
    Operation {
        method: method.to_uppercase(),
        path: path.to_owned(),
        parameters: parameters.collect(),
        body,
        needs_token: operation.get("security").is_none(),
        answers,
    }
}
