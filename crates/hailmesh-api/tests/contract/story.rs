//! Two real nodes with their APIs, and rides that lead through every operation.

use std::collections::BTreeMap;
use std::time::Duration;

use hailmesh_api::{ApiConfig, Scope, Server, Token, serve};
use hailmesh_node::config::Settings;
use hailmesh_node::market::Role;
use hailmesh_node::{Node, NodeConfig, NodeHandle};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::check::{Answer, Expected, check};
use crate::document::{Document, Operation};
use crate::generate::{Bearer, Request};

/// How long anything may take here.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);
/// How long riders search: a driver offers three times at once, then every ten seconds (P20).
const PATIENT_MS: u32 = 90_000;
/// How long the first events of a stream are waited for; what is known comes at once.
const FIRST_EVENT: Duration = Duration::from_millis(50);
/// Where both nodes are, and where rides begin and end: no error may tell.
const HERE: &str = "40.7580312,-73.9855417";
const FROM: (f64, f64) = (40.759_014_3, -73.984_526_1);
const TO: (f64, f64) = (40.706_187_2, -74.008_714_9);

/// How often each operation did what it is for, and how often it refused.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reached {
    pub(crate) done: u64,
    pub(crate) refused: u64,
}

/// A node with its API, and everything that is checked of its answers.
pub(crate) struct Party<'d> {
    pub(crate) node: NodeHandle,
    server: Server,
    token: Token,
    http: reqwest::Client,
    document: &'d Document,
    secrets: Vec<String>,
    pub(crate) reached: BTreeMap<String, Reached>,
}

impl<'d> Party<'d> {
    pub(crate) async fn start(document: &'d Document, role: Role, bootstrap: &[String]) -> Self {
        let mut settings = Settings::default();
        settings.network.name = "api-fuzz".into();
        settings.network.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
        settings.network.bootstrap = bootstrap.to_vec();
        settings.network.mdns = false;
        settings.store.url = Some("memory".into());
        match role {
            Role::Driver => settings.driver.at = Some(HERE.to_owned()),
            Role::Rider => settings.rider.at = Some(HERE.to_owned()),
        }
        let profile = settings.driver.profile().unwrap();
        let config = NodeConfig::ephemeral(Some(role), settings).unwrap();
        let (node, _task) = Node::start(config).await.unwrap();
        let token = Token::random().unwrap();
        let config = ApiConfig { profile: Some(profile), ..ApiConfig::new(token.clone()) };
        let server = serve(node.clone(), config).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut secrets: Vec<String> = HERE.split(',').map(str::to_owned).collect();
        secrets.extend([FROM.0, FROM.1, TO.0, TO.1].map(|degrees| degrees.to_string()));
        secrets.extend(Scope::ALL.map(|scope| token.derive(scope).expose().to_owned()));
        Self { node, server, token, http, document, secrets, reached: BTreeMap::new() }
    }

    /// Sends a request and checks the answer.
    pub(crate) async fn send(&mut self, operation: &Operation, request: &Request) -> Result<Answer, String> {
        let method: Method = operation.method.parse().expect("a method");
        let url = format!("{}{}", self.server.url(), request.target);
        let mut builder = self.http.request(method, url).timeout(DEADLINE);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        builder = match request.bearer {
            Bearer::None => builder,
            Bearer::Wrong => builder.bearer_auth("0".repeat(64)),
            Bearer::Admin => builder.bearer_auth(self.token.expose()),
            Bearer::Read => builder.bearer_auth(self.token.derive(Scope::Read).expose()),
            Bearer::Ride => builder.bearer_auth(self.token.derive(Scope::Ride).expose()),
            Bearer::Drive => builder.bearer_auth(self.token.derive(Scope::Drive).expose()),
        };
        if let Some(kind) = request.content_type {
            builder = builder.header("content-type", kind);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        let mut response = match builder.send().await {
            Ok(response) => response,
            // What no client sends did not reach the node.
            Err(error) if error.is_builder() => return Err(String::new()),
            Err(error) => return Err(format!("no answer: {error}")),
        };
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("");
        let content_type = kind.split(';').next().unwrap_or("").trim().to_owned();
        let body = if content_type == "text/event-stream" {
            let first = timeout(FIRST_EVENT, response.chunk()).await;
            first.ok().and_then(Result::ok).flatten().map(|bytes| bytes.to_vec()).unwrap_or_default()
        } else {
            response.bytes().await.map_err(|error| format!("a broken answer: {error}"))?.to_vec()
        };
        let answer = Answer { status, content_type, body };
        let said = format!("{} {:?} {}", request.target, request.headers, text_of(&request.body));
        check(self.document, operation, &answer, request.expected.as_ref(), &said, &self.secrets)?;
        if answer.content_type == "text/event-stream" {
            self.check_events(&answer.body)?;
        }
        let reached = self.reached.entry(operation.name()).or_default();
        reached.done += u64::from((200..300).contains(&status));
        reached.refused += u64::from((400..500).contains(&status));
        Ok(answer)
    }

    /// Every event of the stream is one of the document.
    fn check_events(&self, chunk: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(chunk);
        for event in text.split("\n\n").filter(|event| event.contains("data:")) {
            // A chunk may end in the middle of one.
            let data = event.lines().find_map(|line| line.strip_prefix("data:")).unwrap_or("").trim();
            let Ok(json) = serde_json::from_str::<Value>(data) else { continue };
            let component = if event.contains("event: lagged") { "LaggedJson" } else { "EventJson" };
            if !self.document.component(component).is_valid(&json) {
                return Err(format!("no {component}: {json}"));
            }
        }
        Ok(())
    }

    /// A request that has to come to this.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        path: &str,
        id: &str,
        body: Option<Value>,
        status: u16,
    ) -> Answer {
        self.call_with(method, path, id, "", &[], body, status).await
    }

    #[expect(clippy::too_many_arguments, reason = "all that a request may hold")]
    pub(crate) async fn call_with(
        &mut self,
        method: &str,
        path: &str,
        id: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
        status: u16,
    ) -> Answer {
        let document = self.document;
        let operation = document.operation(method, path);
        let request = Request {
            target: format!("{}{query}", path.replace("{id}", id)),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            content_type: body.as_ref().map(|_| "application/json"),
            body: body.map(|body| body.to_string().into_bytes()),
            bearer: Bearer::Admin,
            expected: Some(Expected { statuses: vec![status], names: None }),
        };
        match self.send(operation, &request).await {
            Ok(answer) => answer,
            Err(what) => panic!("{method} {}: {what}", request.target),
        }
    }

    pub(crate) async fn request_ride(&mut self, key: &str, patience_ms: u32, wait: &str) -> Value {
        let place = |(lat, lon): (f64, f64)| json!({ "lat": lat, "lon": lon });
        let body = json!({ "from": place(FROM), "to": place(TO), "patience_ms": patience_ms });
        let headers = [("idempotency-key", key)];
        self.call_with("POST", "/v1/rides", "", wait, &headers, Some(body), 201).await.json()
    }

    /// The ride of this node that is in one of these states, once there is one.
    pub(crate) async fn ride_in(&mut self, states: &[&str]) -> String {
        let looking = async {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            loop {
                looks.tick().await;
                let rides = self.call("GET", "/v1/rides", "", None, 200).await.json();
                let found = rides["items"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(|ride| states.iter().any(|state| ride["state"] == *state));
                if let Some(ride) = found {
                    return ride["ride_id"].as_str().expect("an id").to_owned();
                }
            }
        };
        timeout(DEADLINE, looking).await.unwrap_or_else(|_| panic!("no ride is {states:?}"))
    }

    pub(crate) async fn rides(&mut self) -> Vec<String> {
        let rides = self.call("GET", "/v1/rides", "", None, 200).await.json();
        let items = rides["items"].as_array().into_iter().flatten();
        items.filter_map(|ride| ride["ride_id"].as_str().map(str::to_owned)).collect()
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
        timeout(DEADLINE, self.node.shutdown()).await.expect("the node ends");
    }
}

fn text_of(body: &Option<Vec<u8>>) -> String {
    body.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned()
}

/// Waits until the book of the rider holds a driver.
async fn sees_a_driver(rider: &mut Party<'_>) {
    let looking = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            let offers = rider.call("GET", "/v1/offers", "", None, 200).await.json();
            if offers["items"].as_array().is_some_and(|items| !items.is_empty()) {
                return;
            }
        }
    };
    timeout(DEADLINE, looking).await.expect("the offer arrives");
}

/// The rides: one to its end with everything that may be said on the way, one that the driver
/// haggles about and declines, one that the rider cancels, and one that it ends alone.
pub(crate) async fn rides<'d>(driver: &mut Party<'d>, rider: &mut Party<'d>) {
    for path in ["/healthz", "/readyz", "/metrics", "/v1/node", "/v1/state", "/v1/diagnostics", "/v1/tokens"]
    {
        driver.call("GET", path, "", None, 200).await;
    }
    driver.call("GET", "/v1/offer", "", None, 200).await;
    let invite = driver.call("GET", "/v1/invite", "", None, 200).await.json();
    rider.call("POST", "/v1/peers", "", Some(json!({ "address": invite["invite"] })), 202).await;
    sees_a_driver(rider).await;
    rider.call("GET", "/v1/peers", "", None, 200).await;
    let place = |(lat, lon): (f64, f64)| json!({ "lat": lat, "lon": lon });
    rider.call("POST", "/v1/quotes", "", Some(json!({ "from": place(FROM), "to": place(TO) })), 200).await;

    // To its end.
    let ride = rider.request_ride("story-1", PATIENT_MS, "?wait=60s").await;
    let id = ride["ride_id"].as_str().expect("an id").to_owned();
    let code = ride["boarding_code"].clone();
    let theirs = driver.ride_in(&["firm", "en_route"]).await;
    driver.call("PUT", "/v1/position", "", Some(json!({ "lat": FROM.0, "lon": FROM.1 })), 200).await;
    let shared = json!({ "lat": FROM.0, "lon": FROM.1, "share": true });
    rider.call("PUT", "/v1/position", "", Some(shared), 200).await;
    rider.call("DELETE", "/v1/position", "", None, 200).await;
    driver.ride_in(&["en_route"]).await;
    driver.call("POST", "/v1/rides/{id}/en-route", &theirs, Some(json!({ "eta_ms": 60_000 })), 200).await;
    driver.call("POST", "/v1/rides/{id}/arrive", &theirs, None, 200).await;
    driver.call("POST", "/v1/rides/{id}/board", &theirs, Some(json!({ "code": code })), 200).await;
    driver.call("POST", "/v1/rides/{id}/complete", &theirs, Some(json!({})), 200).await;
    driver.ride_in(&["completed"]).await;
    rider.ride_in(&["completed"]).await;
    for (party, id) in [(&mut *driver, &theirs), (&mut *rider, &id)] {
        party.call("POST", "/v1/rides/{id}/rate", id, Some(json!({ "stars": 5 })), 200).await;
        party.call("GET", "/v1/rides/{id}", id, None, 200).await;
        party.call("GET", "/v1/rides/{id}/receipt", id, None, 200).await;
        let accept = [("accept", "application/json")];
        party.call_with("GET", "/v1/rides/{id}/receipt", id, "", &accept, None, 200).await;
    }
    driver.call("GET", "/v1/events", "", None, 200).await;
    rider.call_with("GET", "/v1/events", "", "?after=0", &[], None, 200).await;

    // Ended by the rider alone.
    let ride = rider.request_ride("story-2", PATIENT_MS, "?wait=60s").await;
    let id = ride["ride_id"].as_str().expect("an id").to_owned();
    let theirs = driver.ride_in(&["en_route"]).await;
    driver.call("POST", "/v1/rides/{id}/arrive", &theirs, None, 200).await;
    driver
        .call("POST", "/v1/rides/{id}/board", &theirs, Some(json!({ "code": ride["boarding_code"] })), 200)
        .await;
    rider.ride_in(&["in_progress"]).await;
    rider.call("POST", "/v1/rides/{id}/end", &id, None, 200).await;

    // Asked, with another fare, and called off by the rider.
    driver.call("PUT", "/v1/offer", "", Some(json!({ "accept": "ask" })), 200).await;
    rider.request_ride("story-3", PATIENT_MS, "").await;
    let asked = driver.ride_in(&["requested"]).await;
    driver.call("POST", "/v1/rides/{id}/counter", &asked, Some(json!({ "fare": 700 })), 200).await;
    let open = rider.ride_in(&["requested", "firm", "committed", "en_route"]).await;
    rider.call("POST", "/v1/rides/{id}/cancel", &open, None, 200).await;
    rider.call("GET", "/v1/rides/{id}", &open, None, 200).await;

    // Asked and declined, then asked and accepted.
    rider.request_ride("story-4", PATIENT_MS, "").await;
    let asked = driver.ride_in(&["requested"]).await;
    driver.call("POST", "/v1/rides/{id}/decline", &asked, None, 200).await;
    let open = rider.ride_in(&["requested"]).await;
    rider.call("POST", "/v1/rides/{id}/cancel", &open, None, 200).await;
    rider.request_ride("story-5", PATIENT_MS, "").await;
    let asked = driver.ride_in(&["requested"]).await;
    driver.call("POST", "/v1/rides/{id}/accept", &asked, None, 200).await;
    driver.call("DELETE", "/v1/offer", "", None, 200).await;
}
