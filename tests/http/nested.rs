//! The routes as a part of a service's own: all works below another path.

use axum::Router;
use axum::routing::get as on_get;

use super::call::call;
use super::{AUTHORIZED, close, get, listen, open, problem, routes};
use crate::support::database;

/// B8, E4: health, and a page whose parts are found by addresses relative to its own.
#[tokio::test]
async fn below_a_path_of_the_service() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let own = Router::new().route("/", on_get(async || "ours")).nest("/ops", routes(&db).router());
    let address = listen(own).await;
    assert_eq!(call(address, "GET /", "", "").await.body, "ours");
    for path in ["/ops/health", "/ops/health/ready", "/ops/health/db", "/ops/health/metrics"] {
        assert_eq!(get(address, path, "").await.0, 200, "{path}");
    }
    assert_eq!(call(address, "GET /health", "", "").await.status, 404, "it is the service's own");
    problem(&call(address, "POST /ops/health", "", "").await, 405, "method_not_allowed");
    problem(&call(address, "POST /ops/api/admin/rotate", "", "").await, 401, "unauthorized");
    assert_eq!(call(address, "POST /ops/api/admin/rotate", AUTHORIZED, "").await.status, 200);

    let page = call(address, "GET /ops/dashboard", "", "").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let parts = page.body.split(['"', '\'']).filter(|text| text.starts_with("dashboard/"));
    let parts: Vec<_> = parts.map(str::to_owned).collect();
    assert!(parts.len() >= 3, "{parts:?}");
    for part in parts {
        // Relative to /ops/dashboard, as a browser has it.
        assert_eq!(call(address, &format!("GET /ops/{part}"), "", "").await.status, 200, "{part}");
    }
    for address in ["src=\"/", "href=\"/", "src=\"http", "href=\"http"] {
        assert!(!page.body.contains(address), "an address that is not relative: {address}");
    }
    close(&db).await;
}

/// D10: in a service that does not say who calls, nobody is on the machine itself.
#[tokio::test]
async fn without_the_callers_address_all_are_strangers() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = routes(&db).service();
    tokio::spawn(async move { axum::serve(listener, router).await });
    problem(&call(address, "GET /health/metrics", "", "").await, 401, "unauthorized");
    assert_eq!(get(address, "/health/metrics", AUTHORIZED).await.0, 200);
    assert_eq!(get(address, "/health/ready", "").await.0, 200);
    close(&db).await;
}
