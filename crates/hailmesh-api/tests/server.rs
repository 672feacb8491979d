//! The server over real nodes in this process: who may call, what is refused, a ride.

use std::time::Duration;

use hailmesh_api::types::{
    EventJson, NodeJson, OffersJson, OwnOfferJson, ReceiptJson, RideJson, RidesJson, StateJson, TokensJson,
};
use hailmesh_api::{ApiConfig, Code, Problem, Scope, ServeError, Server, Token, serve};
use hailmesh_node::config::Settings;
use hailmesh_node::market::Role;
use hailmesh_node::{Node, NodeConfig, NodeHandle};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

/// How long anything may take here.
const DEADLINE: Duration = Duration::from_secs(30);

/// A node with its API.
struct Fixture {
    node: NodeHandle,
    server: Server,
    token: Token,
    http: reqwest::Client,
}

impl Fixture {
    async fn start(role: Role, bootstrap: &[String]) -> Self {
        let mut settings = Settings::default();
        settings.network.name = "api-test".into();
        settings.network.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
        settings.network.bootstrap = bootstrap.to_vec();
        settings.network.mdns = false;
        settings.store.url = Some("memory".into());
        let here = Some("40.7580,-73.9855".to_owned());
        match role {
            Role::Driver => settings.driver.at = here,
            Role::Rider => settings.rider.at = here,
        }
        let profile = settings.driver.profile().unwrap();
        let config = NodeConfig::ephemeral(Some(role), settings).unwrap();
        let (node, _task) = Node::start(config).await.unwrap();
        let token = Token::random().unwrap();
        let config = ApiConfig { profile: Some(profile), ..ApiConfig::new(token.clone()) };
        let server = serve(node.clone(), config).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { node, server, token, http }
    }

    async fn invite(&self) -> String {
        self.node.invite().await.unwrap()
    }

    fn open(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.server.url())).timeout(DEADLINE)
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.open(method, path).bearer_auth(self.token.expose())
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        let response = self.call(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    async fn act(&self, ride: &str, action: &str, body: Value) -> Response {
        self.call(Method::POST, &format!("/v1/rides/{ride}/{action}")).json(&body).send().await.unwrap()
    }

    async fn request(&self, key: &str, body: &Value, wait: &str) -> Response {
        let request = self.call(Method::POST, &format!("/v1/rides{wait}")).header("idempotency-key", key);
        request.json(body).send().await.unwrap()
    }

    /// Waits until the book holds a driver: offers are no events.
    async fn sees_a_driver(&self) {
        let looking = async {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            loop {
                looks.tick().await;
                let offers: OffersJson = self.get("/v1/offers").await;
                if !offers.items.is_empty() {
                    return;
                }
            }
        };
        timeout(DEADLINE, looking).await.expect("the offer arrives");
    }

    async fn stop(self) {
        self.server.stop().await;
        timeout(DEADLINE, self.node.shutdown()).await.unwrap();
    }
}

async fn problem(response: Response) -> Problem {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let status = response.status().as_u16();
    let problem: Problem = response.json().await.unwrap();
    assert_eq!(problem.status, status);
    problem
}

fn trip() -> Value {
    json!({ "from": { "lat": 40.759, "lon": -73.9845 }, "to": { "lat": 40.7061, "lon": -74.0087 } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused() {
    let rider = Fixture::start(Role::Rider, &[]).await;
    // Without a token: liveness and readiness, nothing else.
    assert_eq!(rider.open(Method::GET, "/healthz").send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(rider.open(Method::GET, "/readyz").send().await.unwrap().status(), StatusCode::OK);
    for path in ["/v1/node", "/v1/rides", "/v1/events", "/metrics"] {
        let response = rider.open(Method::GET, path).send().await.unwrap();
        assert_eq!(problem(response).await.code, Code::Unauthorised, "{path}");
    }
    let other = Token::random().unwrap();
    let response = rider.open(Method::GET, "/v1/node").bearer_auth(other.expose()).send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(problem(response).await.code, Code::Unauthorised);

    // A page that rebinds its name, and a page of somebody else.
    for host in ["evil.example", "127.0.0.1", "127.0.0.1:1", ""] {
        let response = rider.call(Method::GET, "/v1/node").header("host", host).send().await;
        // An empty Host does not even leave the client or the HTTP parser.
        let Ok(response) = response else { continue };
        if response.status() != StatusCode::BAD_REQUEST {
            assert_eq!(problem(response).await.code, Code::HostNotAllowed, "{host:?}");
        }
    }
    for origin in ["http://evil.example", "null", "https://localhost"] {
        let response = rider.call(Method::GET, "/v1/node").header("origin", origin).send().await.unwrap();
        assert_eq!(problem(response).await.code, Code::OriginNotAllowed, "{origin}");
    }
    let own = format!("http://localhost:{}", rider.server.addr().port());
    let response = rider.call(Method::GET, "/v1/node").header("origin", own).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    rider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_are_kept() {
    let rider = Fixture::start(Role::Rider, &[]).await;
    let tokens: TokensJson = rider.get("/v1/tokens").await;
    assert_eq!(tokens.read, rider.token.derive(Scope::Read).expose());
    let with = |token: &str, method, path: &str| rider.open(method, path).bearer_auth(token);
    for token in [&tokens.read, &tokens.ride, &tokens.drive] {
        assert_eq!(with(token, Method::GET, "/v1/node").send().await.unwrap().status(), StatusCode::OK);
        let response = with(token, Method::GET, "/v1/tokens").send().await.unwrap();
        assert_eq!(problem(response).await.code, Code::ScopeMissing);
        let response =
            with(token, Method::POST, "/v1/peers").json(&json!({"address": "x"})).send().await.unwrap();
        assert_eq!(problem(response).await.code, Code::ScopeMissing);
    }
    for token in [&tokens.read, &tokens.drive] {
        let response = with(token, Method::POST, "/v1/rides").json(&trip()).send().await.unwrap();
        assert_eq!(problem(response).await.code, Code::ScopeMissing);
    }
    for token in [&tokens.read, &tokens.ride] {
        let response = with(token, Method::PUT, "/v1/offer").json(&json!({})).send().await.unwrap();
        assert_eq!(problem(response).await.code, Code::ScopeMissing);
    }
    rider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_named() {
    let rider = Fixture::start(Role::Rider, &[]).await;
    let post = |body: &'static str, kind: &'static str| {
        let request = rider.call(Method::POST, "/v1/rides").header("idempotency-key", "k");
        request.header("content-type", kind).body(body)
    };
    let code = async |request: RequestBuilder| problem(request.send().await.unwrap()).await;

    assert_eq!(code(post("{}", "text/plain")).await.code, Code::NotJson);
    assert_eq!(code(post("{", "application/json")).await.code, Code::BadBody);
    let unknown = r#"{"from":{"lat":1,"lon":2},"form":1}"#;
    assert!(code(post(unknown, "application/json")).await.detail.contains("form"));
    let off = r#"{"from":{"lat":91,"lon":2}}"#;
    let found = code(post(off, "application/json")).await;
    assert_eq!((found.code, found.detail.contains("latitude 91")), (Code::BadValue, true));

    let no_key = rider.call(Method::POST, "/v1/rides").json(&trip());
    assert_eq!(code(no_key).await.code, Code::IdempotencyKeyMissing);
    let large = rider.call(Method::POST, "/v1/rides").header("idempotency-key", "k");
    let large = large.header("content-type", "application/json").body(" ".repeat(64 * 1024 + 1));
    assert_eq!(code(large).await.code, Code::TooLarge);

    let get = |path: &str| rider.call(Method::GET, path);
    assert_eq!(code(get("/v1/nothing")).await.code, Code::NotFound);
    assert_eq!(code(get("/v1/rides/xyz")).await.code, Code::BadParameter);
    assert_eq!(code(get("/v1/rides/01J00000000000000000000000")).await.code, Code::UnknownRide);
    assert_eq!(code(get("/v1/rides/01J00000000000000000000000/receipt")).await.code, Code::UnknownRide);
    assert_eq!(code(get("/v1/offers?near=95,0")).await.code, Code::BadParameter);
    assert_eq!(code(get("/v1/offers?naer=1,0")).await.code, Code::BadParameter);
    assert_eq!(code(get("/v1/offers?limit=0")).await.code, Code::BadParameter);
    assert_eq!(code(get("/v1/offer")).await.code, Code::NoOffer);
    assert_eq!(code(get("/v1/events").header("last-event-id", "x")).await.code, Code::BadParameter);
    assert_eq!(code(rider.call(Method::DELETE, "/v1/node")).await.code, Code::MethodNotAllowed);
    let offer = rider.call(Method::PUT, "/v1/offer").json(&json!({}));
    assert_eq!(code(offer).await.code, Code::WrongRole);
    let peer = rider.call(Method::POST, "/v1/peers").json(&json!({"address": "localhost:1"}));
    assert!(code(peer).await.detail.contains("localhost:1"));
    rider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_without_drivers_explains_itself() {
    let rider = Fixture::start(Role::Rider, &[]).await;
    let mut wish = trip();
    wish["patience_ms"] = json!(1_000);
    let ride: RideJson = rider.request("one", &wish, "?wait=10s").await.json().await.unwrap();
    let why = ride.no_match.expect("a reason");
    assert_eq!((why.explain.heard, why.explain.peers, why.asked), (0, 0, 0));
    assert_eq!(why.explain.last_offer_ms, None);
    let offers: OffersJson = rider.get("/v1/offers").await;
    assert!(offers.items.is_empty() && offers.hint.is_some(), "{offers:?}");
    let node: NodeJson = rider.get("/v1/node").await;
    assert!(!node.hints.is_empty());
    rider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ride_from_request_to_receipt() {
    let driver = Fixture::start(Role::Driver, &[]).await;
    let rider = Fixture::start(Role::Rider, &[driver.invite().await]).await;
    rider.sees_a_driver().await;

    let first = rider.request("key-1", &trip(), "?wait=20s").await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let ride: RideJson = first.json().await.unwrap();
    assert_eq!(ride.summary.state, "firm");
    assert!(ride.settle_ms.is_some() && ride.summary.fare.is_some() && ride.asked >= 1);
    let code = ride.boarding_code.clone().expect("the rider's own code");
    let id = ride.summary.ride_id.clone();

    // The same key is the same ride, with another body a conflict.
    let again: RideJson = rider.request("key-1", &trip(), "").await.json().await.unwrap();
    assert_eq!(again.summary.ride_id, id);
    let mut other = trip();
    other["seats"] = json!(2);
    assert_eq!(problem(rider.request("key-1", &other, "").await).await.code, Code::IdempotencyKeyReused);
    assert_eq!(problem(rider.request("key-2", &trip(), "").await).await.code, Code::Busy);

    // Who may only look sees neither place nor code.
    let read = rider.token.derive(Scope::Read);
    let path = format!("/v1/rides/{id}");
    let shown = rider.open(Method::GET, &path).bearer_auth(read.expose()).send().await.unwrap();
    let shown: Value = shown.json().await.unwrap();
    assert!(shown.get("boarding_code").is_none() && shown.get("pickup").is_none(), "{shown}");

    let rides: RidesJson = driver.get("/v1/rides").await;
    let theirs = rides.items[0].ride_id.clone();
    assert_eq!(rides.items[0].agreement, ride.summary.agreement);
    let older: RidesJson = driver.get(&format!("/v1/rides?limit=5&before={theirs}")).await;
    assert!(older.items.is_empty() && older.next.is_none(), "{older:?}");
    for bad in ["limit=0", "limit=501", "before=x", "page=2"] {
        let refused = driver.call(Method::GET, &format!("/v1/rides?{bad}")).send().await.unwrap();
        assert_eq!(problem(refused).await.code, Code::BadParameter, "{bad}");
    }
    let refused = problem(driver.act(&theirs, "complete", json!({})).await).await;
    assert_eq!(refused.code, Code::WrongState);
    assert!(!refused.allowed.unwrap().is_empty());
    let arrived: RideJson = driver.act(&theirs, "arrive", json!({})).await.json().await.unwrap();
    assert_eq!(arrived.summary.state, "arrived");
    let wrong = if code == "000000" { "000001" } else { "000000" };
    assert_eq!(
        problem(driver.act(&theirs, "board", json!({"code": wrong})).await).await.code,
        Code::Boarding
    );
    let boarded: RideJson = driver.act(&theirs, "board", json!({"code": code})).await.json().await.unwrap();
    assert_eq!(boarded.summary.state, "in_progress");
    let done: RideJson = driver.act(&theirs, "complete", json!({})).await.json().await.unwrap();
    assert_eq!(done.summary.state, "completed");

    let bytes = rider.call(Method::GET, &format!("/v1/rides/{id}/receipt")).send().await.unwrap();
    assert_eq!(bytes.headers()["content-type"], "application/octet-stream");
    let bytes = bytes.bytes().await.unwrap();
    let receipt = hailmesh_node::wire::Receipt::decode(&bytes).unwrap().verify(&[]).unwrap();
    assert!(receipt.cosigned);
    let json =
        rider.call(Method::GET, &format!("/v1/rides/{id}/receipt")).header("accept", "application/json");
    let json: ReceiptJson = json.send().await.unwrap().json().await.unwrap();
    assert_eq!(json.bytes as usize, bytes.len());
    driver.stop().await;
    rider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_rise_by_one_and_can_be_read_again() {
    let driver = Fixture::start(Role::Driver, &[]).await;
    let rider = Fixture::start(Role::Rider, &[driver.invite().await]).await;
    rider.sees_a_driver().await;
    let _: Value = rider.request("e", &trip(), "?wait=20s").await.json().await.unwrap();
    let state: StateJson = rider.get("/v1/state").await;
    assert!(state.as_of_event >= 3 && state.rides.len() == 1, "{state:?}");
    let ids = async |after: u64, count: usize| {
        let request = rider.call(Method::GET, "/v1/events").header("last-event-id", after);
        let mut response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut text = String::new();
        let mut ids = Vec::new();
        while ids.len() < count {
            let chunk =
                timeout(DEADLINE, response.chunk()).await.unwrap().unwrap().expect("the stream goes on");
            text.push_str(&String::from_utf8_lossy(&chunk));
            ids = text
                .lines()
                .filter_map(|line| line.strip_prefix("data: "))
                .filter_map(|line| serde_json::from_str::<EventJson>(line).ok())
                .map(|event| event.id)
                .collect();
        }
        ids.truncate(count);
        ids
    };
    assert_eq!(ids(0, 3).await, [1, 2, 3]);
    assert_eq!(ids(2, 1).await, [3]);
    // Of an earlier run: told so, then from the beginning.
    let mut response = rider.call(Method::GET, "/v1/events?after=99999").send().await.unwrap();
    let chunk = timeout(DEADLINE, response.chunk()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&chunk).starts_with("event: lagged"), "{chunk:?}");
    driver.stop().await;
    // Streams end with the server.
    rider.stop().await;
    let end = async { while response.chunk().await.is_ok_and(|chunk| chunk.is_some()) {} };
    timeout(DEADLINE, end).await.expect("the stream ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_can_be_changed_and_withdrawn() {
    let driver = Fixture::start(Role::Driver, &[]).await;
    let offer: OwnOfferJson = driver.get("/v1/offer").await;
    assert_eq!(offer.profile.unwrap().seats, Some(4));
    let put = driver.call(Method::PUT, "/v1/offer").json(&json!({ "seats": 2 })).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    let moved = driver.call(Method::PUT, "/v1/position").json(&json!({ "lat": 40.75, "lon": -73.98 }));
    assert_eq!(moved.send().await.unwrap().status(), StatusCode::OK);
    // A driver is seen by the rider of its firm ride anyway: sharing is a rider's choice.
    let shared = json!({ "lat": 40.75, "lon": -73.98, "share": true });
    let refused = driver.call(Method::PUT, "/v1/position").json(&shared).send().await.unwrap();
    assert_eq!(problem(refused).await.code, Code::WrongRole);
    let offer: OwnOfferJson = driver.get("/v1/offer").await;
    let profile = offer.profile.unwrap();
    assert_eq!((profile.seats, profile.accept.as_deref()), (Some(2), Some("auto")));
    let gone = driver.call(Method::DELETE, "/v1/offer").send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::OK);
    let none = driver.call(Method::GET, "/v1/offer").send().await.unwrap();
    assert_eq!(problem(none).await.code, Code::NoOffer);
    driver.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_hold_no_places_and_no_keys() {
    let driver = Fixture::start(Role::Driver, &[]).await;
    let text = driver.call(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(text.contains("hailmesh_peers") && text.ends_with("# EOF\n"), "{text}");
    let node: NodeJson = driver.get("/v1/node").await;
    assert!(!text.contains(&node.peer_id) && !text.contains(&node.key.unwrap()));
    assert!(!text.contains("40.7") && !text.contains("73.9"));
    driver.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_machines_are_not_served_and_a_taken_port_is_named() {
    let rider = Fixture::start(Role::Rider, &[]).await;
    let config =
        |addr: &str| ApiConfig { addr: addr.parse().unwrap(), ..ApiConfig::new(Token::random().unwrap()) };
    let refused = serve(rider.node.clone(), config("0.0.0.0:0")).await.unwrap_err();
    assert!(
        matches!(refused, ServeError::NotLoopback(_)) && refused.to_string().contains("TLS"),
        "{refused}"
    );
    let taken = rider.server.addr().to_string();
    let refused = serve(rider.node.clone(), config(&taken)).await.unwrap_err();
    assert!(refused.to_string().contains(&taken), "{refused}");
    rider.stop().await;
}
