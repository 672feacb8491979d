//! Requests made from the document: valid by its schemas, at the edges of them, and wrong in
//! one way that is known.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::check::Expected;
use crate::document::{Document, Operation, Parameter, Place};

/// How a request shows who it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bearer {
    Admin,
    Read,
    Ride,
    Drive,
    None,
    Wrong,
}

/// A request, all of it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) bearer: Bearer,
    /// What the answer has to be because of what is wrong.
    pub(crate) expected: Option<Expected>,
}

const STRINGS: [&str; 22] = [
    "",
    "standard",
    "large",
    "auto",
    "ask",
    "USD",
    "usd",
    "000000",
    "ramp",
    "pets",
    "drivers",
    "riders",
    "40.75,-73.98",
    "95,0",
    "0ms",
    "1ms",
    "-1s",
    "10h",
    "\u{202e}gnp.exe",
    "a\u{0}b",
    "é😀",
    "01J00000000000000000000000",
];
const INTEGERS: [&str; 16] = [
    "0",
    "1",
    "2",
    "4",
    "7",
    "10",
    "255",
    "256",
    "1000",
    "65535",
    "65536",
    "1000000000",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
];
const NUMBERS: [f64; 12] =
    [0.0, -0.0, 1.0, 40.758, -73.9855, 90.0, 90.000_001, -90.0, 180.0, -180.5, 1e308, 5e-324];
/// Longest wait that a request asks for.
const WAITS: [&str; 8] = ["0ms", "1ms", "50ms", "", "30", "1h", "-1s", "99999999999s"];
/// One more than a body may hold.
const TOO_LARGE: usize = 64 * 1_024 + 1;

pub(crate) struct Generator<'d> {
    pub(crate) document: &'d Document,
    pub(crate) rng: ChaCha8Rng,
    /// Rides that the node knows.
    pub(crate) rides: Vec<String>,
    keys: u64,
}

impl<'d> Generator<'d> {
    pub(crate) fn new(document: &'d Document, rng: ChaCha8Rng, rides: Vec<String>) -> Self {
        Self { document, rng, rides, keys: 0 }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.random_range(0..bound.max(1))
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// A request for this operation.
    pub(crate) fn request(&mut self, operation: &Operation) -> Request {
        let mut request = self.sound(operation);
        match self.below(10) {
            0..=3 => {}
            4 if operation.needs_token => {
                request.bearer = if self.below(2) == 0 { Bearer::None } else { Bearer::Wrong };
                request.expected = Some(Expected { statuses: vec![401], names: None });
            }
            5 if operation.needs_token => {
                request.bearer = self.pick(&[Bearer::Read, Bearer::Ride, Bearer::Drive]);
            }
            6 => {
                request.headers.push(("host".to_owned(), "evil.example".to_owned()));
                request.expected = Some(Expected { statuses: vec![403], names: None });
            }
            7 => self.misspell(operation, &mut request),
            _ if operation.body.is_some() => self.break_body(operation, &mut request),
            _ => {}
        }
        request
    }

    /// Nothing about it is known to be wrong.
    pub(crate) fn sound(&mut self, operation: &Operation) -> Request {
        let mut request = Request {
            target: String::new(),
            headers: Vec::new(),
            content_type: None,
            body: None,
            bearer: Bearer::Admin,
            expected: None,
        };
        let mut values = Vec::new();
        for parameter in &operation.parameters {
            let is_there = parameter.required || self.below(2) == 0;
            if is_there {
                let value = self.parameter(parameter);
                values.push((parameter.clone(), value));
            }
        }
        place(operation, &values, &mut request);
        if let Some(schema) = &operation.body {
            let value = self.value(schema, 0);
            request.content_type = Some("application/json");
            request.body = Some(value.to_string().into_bytes());
        }
        request
    }

    fn parameter(&mut self, parameter: &Parameter) -> String {
        match (parameter.place, parameter.name.as_str()) {
            (Place::Path, _) if !self.rides.is_empty() && self.below(3) > 0 => {
                let at = self.below(self.rides.len());
                self.rides[at].clone()
            }
            (Place::Path, _) => {
                self.pick(&["01J00000000000000000000000", "xyz", "%00", "é", "..%2f", "0"]).to_owned()
            }
            (_, "wait") => self.pick(&WAITS).to_owned(),
            (Place::Header, "Idempotency-Key") => {
                self.keys += 1;
                match self.below(6) {
                    0 => "key-1".to_owned(),
                    1 => "k".repeat(129),
                    _ => format!("fuzz-{}", self.keys),
                }
            }
            _ if is_of(&parameter.schema, "integer") => self.pick(&INTEGERS).to_owned(),
            (Place::Header, _) => self.pick(&["", "0", "x"]).to_owned(),
            _ => self.pick(&STRINGS).to_owned(),
        }
    }

    /// A value of a schema, as far as the schema tells.
    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        let schema = self.document.resolve(schema);
        if let Some(choices) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            let at = self.below(choices.len());
            return self.value(&choices[at], depth);
        }
        if let Some(words) = schema["enum"].as_array() {
            let at = self.below(words.len());
            return words[at].clone();
        }
        if is_of(schema, "null") && self.below(4) == 0 {
            return Value::Null;
        }
        if is_of(schema, "object") {
            // The example of the document is mostly of more use than a drawn value.
            if schema["example"].is_object() && self.below(4) > 0 {
                return schema["example"].clone();
            }
            return self.object(schema, depth);
        }
        if is_of(schema, "array") {
            let count = if depth > 6 { 0 } else { self.below(4) };
            return (0..count).map(|_| self.value(&schema["items"], depth + 1)).collect();
        }
        if is_of(schema, "integer") {
            let digits = self.pick(&INTEGERS);
            return serde_json::from_str(digits).expect("a number");
        }
        if is_of(schema, "number") {
            return json!(self.pick(&NUMBERS));
        }
        if is_of(schema, "boolean") {
            return json!(self.below(2) == 0);
        }
        match self.below(12) {
            0 => json!("x".repeat(300)),
            _ => json!(self.pick(&STRINGS)),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let mut object = Map::new();
        let required = names_of(&schema["required"]);
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        for (name, property) in properties {
            if required.contains(&name) || (depth < 4 && self.below(2) == 0) {
                object.insert(name, self.value(&property, depth + 1));
            }
        }
        Value::Object(object)
    }

    /// A parameter that is wrong by its schema.
    fn misspell(&mut self, operation: &Operation, request: &mut Request) {
        let wrong: Vec<Parameter> = operation
            .parameters
            .iter()
            .filter(|one| one.place == Place::Query && is_of(&one.schema, "integer"))
            .cloned()
            .collect();
        if wrong.is_empty() {
            return;
        }
        let at = self.below(wrong.len());
        let parameter = wrong[at].clone();
        let value = self.pick(&["x", "-1", "1.5", "99999999999999999999999"]).to_owned();
        let mut fresh = self.sound(operation);
        let names = Some(parameter.name.clone());
        place(operation, &[(parameter, value)], &mut fresh);
        fresh.expected = Some(Expected { statuses: vec![400], names });
        *request = fresh;
    }

    /// A body that is wrong in one known way. Everything else about the request is right, so
    /// that nothing else is refused first.
    fn break_body(&mut self, operation: &Operation, request: &mut Request) {
        let Some(schema) = &operation.body else { return };
        let whole = self.document.resolve(schema).clone();
        let properties = whole["properties"].as_object().cloned().unwrap_or_default();
        let mut object = Map::new();
        for name in names_of(&whole["required"]) {
            let value = tame(self.value(&properties[&name], 1));
            object.insert(name, value);
        }
        let refused =
            |names: Option<&str>| Some(Expected { statuses: vec![400], names: names.map(str::to_owned) });
        let mut bytes = None;
        request.content_type = Some("application/json");
        match self.below(8) {
            7 => {
                // In the order of its fields: readers of structs like that.
                let values: Value = object.values().cloned().chain([Value::Null, Value::Null]).collect();
                bytes = Some(values.to_string().into_bytes());
                request.expected = refused(None);
            }
            0 => {
                request.content_type =
                    self.pick(&[None, Some("text/plain"), Some("application/x-www-form-urlencoded")]);
                request.expected = Some(Expected { statuses: vec![415], names: None });
            }
            1 => {
                bytes = Some(vec![b' '; TOO_LARGE]);
                request.expected = Some(Expected { statuses: vec![413], names: None });
            }
            2 => {
                bytes = Some(
                    self.pick(&["", "{", "[]", "7", "\"x\"", "{\"a\":", "nul", "{} {}", "\u{feff}{}"]).into(),
                );
                request.expected = refused(None);
            }
            3 => {
                bytes = Some("[".repeat(5_000).into_bytes());
                request.expected = refused(None);
            }
            4 if whole["additionalProperties"] == false => {
                object.insert("unheard_of".to_owned(), json!(1));
                request.expected = refused(Some("unheard_of"));
            }
            5 if !object.is_empty() => {
                let names: Vec<String> = object.keys().cloned().collect();
                let at = self.below(names.len());
                object.remove(&names[at]);
                request.expected = refused(Some(&names[at]));
            }
            _ if !properties.is_empty() => {
                let names: Vec<String> = properties.keys().cloned().collect();
                let at = self.below(names.len());
                let wrong = self.of_another_type(&properties[&names[at]]);
                object.insert(names[at].clone(), wrong);
                request.expected = refused(Some(&names[at]));
            }
            _ => {}
        }
        request.body = Some(bytes.unwrap_or_else(|| Value::Object(object).to_string().into_bytes()));
        // The path and the query are read first.
        let rides = std::mem::replace(&mut self.rides, vec!["01J00000000000000000000000".to_owned()]);
        let mut values = Vec::new();
        for parameter in operation.parameters.iter().filter(|one| one.required) {
            let value = match parameter.place {
                Place::Path => "01J00000000000000000000000".to_owned(),
                _ => self.parameter(parameter),
            };
            values.push((parameter.clone(), value));
        }
        self.rides = rides;
        request.headers.clear();
        place(operation, &values, request);
    }

    /// A value that no reader of this schema takes.
    fn of_another_type(&mut self, schema: &Value) -> Value {
        let schema = self.document.resolve(schema);
        let choices = schema["oneOf"].as_array().into_iter().flatten();
        let takes = |kind: &str| {
            is_of(schema, kind) || choices.clone().any(|one| is_of(self.document.resolve(one), kind))
        };
        let others = [
            ("string", json!("x")),
            ("boolean", json!(true)),
            ("array", json!([1, 1])),
            ("object", json!({ "unheard_of": 1 })),
            ("integer", json!(-1)),
            ("number", json!(-0.5)),
        ];
        let wrong: Vec<Value> = others
            .into_iter()
            .filter(|(kind, _)| match *kind {
                "number" => !takes("number"),
                // Negative, which the schemas of whole numbers exclude.
                "integer" => !takes("number"),
                kind => !takes(kind),
            })
            .map(|(_, value)| value)
            .collect();
        let at = self.below(wrong.len());
        wrong[at].clone()
    }
}

/// Whole numbers that every type of them can hold: in a body with one fault nothing else is
/// refused.
fn tame(value: Value) -> Value {
    match value {
        Value::Number(number) if number.as_u64().is_some_and(|number| number > 255) => json!(1),
        Value::Object(object) => object.into_iter().map(|(name, value)| (name, tame(value))).collect(),
        Value::Array(items) => items.into_iter().map(tame).collect(),
        other => other,
    }
}

fn is_of(schema: &Value, kind: &str) -> bool {
    schema["type"] == kind
        || schema["type"].as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind))
}

fn names_of(list: &Value) -> Vec<String> {
    let names = list.as_array().into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

fn place(operation: &Operation, values: &[(Parameter, String)], request: &mut Request) {
    let mut path = operation.path.clone();
    let mut query = Vec::new();
    for (parameter, value) in values {
        match parameter.place {
            Place::Path => path = path.replace(&format!("{{{}}}", parameter.name), value),
            Place::Query => query.push(format!("{}={}", parameter.name, encoded(value))),
            Place::Header => request.headers.push((parameter.name.to_lowercase(), value.clone())),
        }
    }
    // Whatever was not given is some ride that nobody knows.
    path = path.replace("{id}", "01J00000000000000000000000");
    request.target = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
}

/// Percent-encoding of everything that is not plain.
fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
