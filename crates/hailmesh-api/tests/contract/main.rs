//! The API against its document: every operation of `docs/openapi.json`, with requests made
//! from it, over real nodes. A new operation is covered by being in the document.
//!
//! `HAILMESH_API_SEED` and `HAILMESH_API_REQUESTS` choose what is drawn, and how many.

mod check;
mod document;
mod generate;
mod story;

use std::collections::BTreeMap;

use check::{Answer, Expected, check};
use document::Document;
use generate::Generator;
use hailmesh_node::market::Role;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use story::{Party, Reached};

const SEED: u64 = 1;
/// Requests of each operation to each of the two nodes.
const REQUESTS: u64 = 40;

/// Operations that are not brought to do what they are for, and why.
const NEVER_DONE: [(&str, &str); 1] =
    [("POST /v1/rides/{id}/no-show", "P9.6: five minutes after the arrival at the earliest")];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} = {text:?}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_one_that_the_document_promises() {
    let (seed, requests) = (setting("HAILMESH_API_SEED", SEED), setting("HAILMESH_API_REQUESTS", REQUESTS));
    println!("seed {seed}");
    let document = Document::committed();
    let mut driver = Party::start(&document, Role::Driver, &[]).await;
    let mut rider = Party::start(&document, Role::Rider, &[]).await;
    story::rides(&mut driver, &mut rider).await;

    let mut broken: BTreeMap<String, String> = BTreeMap::new();
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    for (number, party) in [&mut driver, &mut rider].into_iter().enumerate() {
        let rng = ChaCha8Rng::seed_from_u64(seed + number as u64);
        let rides = party.rides().await;
        let mut generator = Generator::new(&document, rng, rides);
        for _ in 0..requests {
            for operation in &document.operations {
                let request = generator.request(operation);
                match party.send(operation, &request).await {
                    Ok(answer) => *statuses.entry(answer.status).or_default() += 1,
                    Err(what) if what.is_empty() => {}
                    Err(what) => {
                        broken.entry(operation.name()).or_insert_with(|| format!("{request:?}\n    {what}"));
                    }
                }
            }
        }
        party.call("GET", "/readyz", "", None, 200).await;
    }
    println!("{statuses:?}");
    let mut reached: BTreeMap<String, Reached> = driver.reached.clone();
    for (name, more) in &rider.reached {
        let sum = reached.entry(name.clone()).or_default();
        (sum.done, sum.refused) = (sum.done + more.done, sum.refused + more.refused);
    }
    driver.stop().await;
    rider.stop().await;
    let broken: Vec<String> = broken.into_iter().map(|(name, what)| format!("{name}: {what}")).collect();
    assert!(broken.is_empty(), "{} operations\n{}", broken.len(), broken.join("\n"));
    for operation in &document.operations {
        let name = operation.name();
        let reached = reached.get(&name).copied().unwrap_or_default();
        let is_exempt = NEVER_DONE.iter().any(|(exempt, _)| *exempt == name);
        assert!(reached.done > 0 || is_exempt, "{name} never did what it is for");
        assert!(reached.refused > 0, "{name} never refused anything");
    }
}

/// A document and an answer that it promises.
fn promised() -> (Value, Answer) {
    let document = serde_json::from_str(include_str!("../../../../docs/openapi.json")).unwrap();
    let body = json!({ "invite": "hailmesh:/ip4/192.0.2.7/tcp/4001" }).to_string().into_bytes();
    (document, Answer { status: 200, content_type: "application/json".to_owned(), body })
}

fn judged(document: &Value, answer: &Answer, expected: Option<&Expected>) -> Result<(), String> {
    let document = Document::read(document);
    let operation = document.operation("GET", "/v1/invite");
    check(&document, operation, answer, expected, "said", &["40.7580312".to_owned()])
}

#[test]
fn broken_answers_are_noticed() {
    let (document, good) = promised();
    assert_eq!(judged(&document, &good, None), Ok(()));
    let problem = |change: &dyn Fn(&mut Value)| {
        let mut json = json!({
            "type": "urn:hailmesh:problem:bad_parameter", "title": "t", "status": 403, "code": "bad_parameter",
            "detail": "limit 0: expected 1 to 500"
        });
        change(&mut json);
        let content_type = "application/problem+json".to_owned();
        Answer { status: 403, content_type, body: json.to_string().into_bytes() }
    };
    let refused = problem(&|_| {});
    assert_eq!(judged(&document, &refused, None), Ok(()));
    let names = |name: &str| Expected { statuses: vec![403], names: Some(name.to_owned()) };
    assert_eq!(judged(&document, &refused, Some(&names("limit"))), Ok(()));

    for (what, answer, expected) in [
        ("a fault of the node", Answer { status: 500, ..refused.clone() }, None),
        ("a status that is not documented", Answer { status: 418, ..refused.clone() }, None),
        ("another content type", Answer { content_type: "text/html".to_owned(), ..good.clone() }, None),
        ("a missing field", Answer { body: b"{}".to_vec(), ..good.clone() }, None),
        ("a field of another type", Answer { body: br#"{"invite":7}"#.to_vec(), ..good.clone() }, None),
        ("no JSON", Answer { body: b"<html>".to_vec(), ..good.clone() }, None),
        ("another status than expected", good.clone(), Some(names("limit"))),
        ("an error that names another field", refused.clone(), Some(names("radius_m"))),
        ("a code that nobody knows", problem(&|json| json["code"] = json!("odd")), None),
        ("another status in the problem", problem(&|json| json["status"] = json!(400)), None),
        ("a problem without words", problem(&|json| json["detail"] = json!("")), None),
        ("a place in an error", problem(&|json| json["detail"] = json!("not at 40.7580312")), None),
    ] {
        assert!(judged(&document, &answer, expected.as_ref()).is_err(), "{what} is not noticed");
    }
}
