//! The committed document and the code say the same.

use std::path::Path;

#[test]
fn the_committed_document_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let generated = hailmesh_api::openapi_json();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &generated).expect("docs/openapi.json can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "docs/openapi.json is not what the code says: run UPDATE_OPENAPI=1 cargo test -p hailmesh-api --test openapi"
    );
}

#[test]
fn the_document_names_every_path_of_the_contract_and_its_scheme() {
    let document: serde_json::Value = serde_json::from_str(&hailmesh_api::openapi_json()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, method) in [
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
        ("/v1/node", "get"),
        ("/v1/state", "get"),
        ("/v1/diagnostics", "get"),
        ("/v1/peers", "get"),
        ("/v1/peers", "post"),
        ("/v1/offers", "get"),
        ("/v1/offer", "get"),
        ("/v1/offer", "put"),
        ("/v1/offer", "delete"),
        ("/v1/position", "put"),
        ("/v1/position", "delete"),
        ("/v1/quotes", "post"),
        ("/v1/rides", "get"),
        ("/v1/rides", "post"),
        ("/v1/rides/{id}", "get"),
        ("/v1/rides/{id}/receipt", "get"),
        ("/v1/rides/{id}/accept", "post"),
        ("/v1/rides/{id}/decline", "post"),
        ("/v1/rides/{id}/cancel", "post"),
        ("/v1/rides/{id}/arrive", "post"),
        ("/v1/rides/{id}/board", "post"),
        ("/v1/rides/{id}/complete", "post"),
        ("/v1/rides/{id}/rate", "post"),
        ("/v1/events", "get"),
    ] {
        assert!(document["paths"][path][method].is_object(), "{method} {path} is missing");
    }
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}
