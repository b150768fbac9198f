//! `/openapi.json` says what there is, all of it, and the truth.

use std::collections::BTreeSet;

use db_app::http::ENDPOINTS;
use serde_json::{Map, Value, json};

use super::call::{Answer, call};
use super::{FORWARDED, close, listen, open, routes, serve};
use crate::support::database;

/// Where the routes are.
const ROUTER: &str = include_str!("../../crates/db-app/src/http/mod.rs");

const METHODS: [&str; 7] = ["get", "post", "put", "delete", "patch", "head", "options"];

/// Each operation: its method, its path, what is said of it.
fn operations(description: &Value) -> Vec<(String, String, Map<String, Value>)> {
    let paths = description["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let operations = item.as_object().expect("operations").clone().into_iter();
        let path = path.clone();
        operations.map(move |(method, operation)| {
            (method, path.clone(), operation.as_object().expect("one").clone())
        })
    };
    paths.iter().flat_map(of_path).collect()
}

/// An operation as a request without a body.
async fn ask(address: std::net::SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let path = path.replace("{part}", "app.js");
    // An answer that never ends is asked for once.
    let headers = format!("Accept: application/json\r\n{headers}");
    call(address, &format!("{} {path}", method.to_uppercase()), &headers, "").await
}

/// E7: everything that can be asked stands in the description, with a summary and what may be answered, and is there.
#[tokio::test]
async fn everything_is_described() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    let answer = call(address, "GET /openapi.json", FORWARDED, "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let description = answer.json();
    assert!(
        description["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")),
        "{description}"
    );
    for text in ["/info/title", "/info/version", "/info/description"] {
        assert!(description.pointer(text).is_some_and(Value::is_string), "{text}");
    }
    assert_eq!(
        description["components"]["securitySchemes"]["token"],
        json!({"type": "http", "scheme": "bearer"})
    );

    let mut names = BTreeSet::new();
    for (method, path, operation) in operations(&description) {
        let what = format!("{method} {path}: {operation:?}");
        assert!(METHODS.contains(&&*method), "{what}");
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.len() > 10), "{what}");
        assert!(names.insert(operation["operationId"].to_string()), "two of one name: {what}");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.contains_key("200"), "{what}");
        assert!(responses.values().all(|response| response["description"].is_string()), "{what}");
        for (status, response) in responses.iter().filter(|(status, _)| status.starts_with('4')) {
            let schema = &response["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{status} of {what}");
        }
        let answer = ask(address, &method, &path, "").await;
        assert_ne!(answer.status, 404, "{what}");
        assert_ne!(answer.status, 405, "{what}");
    }
    for part in description.to_string().split("\"$ref\":\"#").skip(1) {
        let (target, _) = part.split_once('"').expect("a string");
        assert!(description.pointer(target).is_some(), "{target} is nowhere");
    }

    let described: BTreeSet<_> = operations(&description).into_iter().map(|(_, path, _)| path).collect();
    let routed = ROUTER.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let routed: BTreeSet<_> = routed.map(str::to_owned).collect();
    assert!(routed.len() > 15, "{routed:?}");
    assert_eq!(described, routed);
    let missing: Vec<_> = ENDPOINTS.iter().filter(|path| !described.contains(**path)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    close(&db).await;
}

/// D10: what the description says of access is so, and so is what it says of bodies.
#[tokio::test]
async fn the_access_that_is_described_is_true() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    let description = call(address, "GET /openapi.json", "", "").await.json();
    let mut kinds = [0; 3];
    for (method, path, operation) in operations(&description) {
        let local = ask(address, &method, &path, "").await.status;
        let stranger = ask(address, &method, &path, FORWARDED).await.status;
        let documented = |status: u16| operation["responses"].get(status.to_string()).is_some();
        match operation.get("security") {
            None => {
                kinds[0] += 1;
                assert_eq!((local, stranger), (200, 200), "{method} {path} is for everybody");
            }
            Some(security) if *security == json!([{}, {"token": []}]) => {
                kinds[1] += 1;
                assert_eq!(local, 200, "{method} {path} is for insiders");
                // Its status is for everybody, and only its details are not.
                let expect = if path == "/health/db" { 200 } else { 401 };
                assert_eq!(stranger, expect, "{method} {path} is for insiders");
                assert_eq!(documented(401), stranger == 401, "{method} {path}");
            }
            Some(security) => {
                kinds[2] += 1;
                assert_eq!(*security, json!([{"token": []}]), "{method} {path}");
                assert_eq!((local, stranger), (401, 401), "{method} {path} needs the token");
                assert!(documented(401), "{method} {path}");
            }
        }
        let has_body = operation.contains_key("requestBody");
        for status in [400, 413, 415] {
            assert_eq!(documented(status), has_body, "{status} of {method} {path}");
        }
    }
    assert_eq!(kinds[2], 7, "what changes something");
    assert!(kinds[0] > 5 && kinds[1] > 4, "{kinds:?}");
    close(&db).await;
}

/// A client that reads the description where it is nested finds the endpoints there.
#[tokio::test]
async fn a_nested_description_knows_where_it_is() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let nested = axum::Router::new().nest("/internal/ops", routes(&db).router());
    let address = listen(nested).await;
    let description = call(address, "GET /internal/ops/openapi.json", "", "").await.json();
    assert_eq!(description["servers"], json!([{ "url": "/internal/ops" }]));
    let alone = call(serve(&db).await, "GET /openapi.json", "", "").await.json();
    assert_eq!(alone.get("servers"), None, "it stands at the root");
    close(&db).await;
}
