//! Bad input: each is refused with its own status, in the one shape of our errors, and harms nobody. Who may call what is in
//! `strangers`.

use db_app::http::health_routes;

use super::call::{Connection, call};
use super::{AUTHORIZED, JSON, close, listen, open, problem, serve};
use crate::support::database;

/// D10: what there is not is 404, and which method an endpoint knows stands in `Allow`.
#[tokio::test]
async fn unknown_paths_and_wrong_methods() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    for path in ["/", "/nope", "/health/", "//health", "/dashboard/", "/dashboard/nope.js", "/api/admin"] {
        let message = problem(&call(address, &format!("GET {path}"), "", "").await, 404, "not_found");
        assert!(message.contains(path), "{message}");
    }
    // A part of the page whose name is no text, one that climbs, and one below it.
    for path in ["/dashboard/%ff", "/dashboard/..%2findex.html", "/dashboard/app.js/x"] {
        problem(&call(address, &format!("GET {path}"), "", "").await, 404, "not_found");
    }
    problem(&call(address, "POST /nope", AUTHORIZED, "{}").await, 404, "not_found");

    let refused = async |what: &str, allow: &str| {
        let answer = call(address, what, AUTHORIZED, "").await;
        problem(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{what}");
    };
    for path in ["/health", "/health/live", "/health/metrics", "/api/live", "/metrics", "/dashboard/app.js"] {
        refused(&format!("POST {path}"), "GET,HEAD").await;
    }
    for action in ["rotate", "pause", "resume", "resize", "drain", "restore", "cancel"] {
        refused(&format!("GET /api/admin/{action}"), "POST").await;
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        refused(&format!("{method} /health/ready"), "GET,HEAD").await;
    }
    assert_eq!(call(address, "HEAD /health/ready", "", "").await.status, 200);

    let health_alone = listen(health_routes(&db, None)).await;
    let answer = call(health_alone, "POST /health", "", "").await;
    problem(&answer, 405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    close(&db).await;
}

/// D10: a body is refused by its size, its type and its content, and nothing is done.
#[tokio::test]
async fn bodies_that_are_none_of_ours() {
    let database = database().await;
    let db = open(database.url(), &[("DB_POOL_MAX", "7")]).await;
    let address = serve(&db).await;
    let json = format!("{AUTHORIZED}{JSON}");
    let resize =
        async |headers: &str, body: &str| call(address, "POST /api/admin/resize", headers, body).await;

    let of_size = |size: usize| format!("{:<size$}", r#"{"max": 7}"#);
    assert_eq!(resize(&json, &of_size(16 * 1024)).await.status, 200, "as large as a body may be");
    problem(&resize(&json, &of_size(16 * 1024 + 1)).await, 413, "payload_too_large");
    // By parts, without a word of how large it will be.
    let mut chunked = Connection::to(address).await;
    let head = format!(
        "POST /api/admin/resize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n{json}\r\n"
    );
    chunked.send(head).await;
    for _ in 0..17 {
        chunked.send(format!("400\r\n{:1024}\r\n", "")).await;
    }
    problem(&chunked.answer().await, 413, "payload_too_large");

    for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
        let answer = resize(&format!("{AUTHORIZED}{kind}"), r#"{"max": 3}"#).await;
        problem(&answer, 415, "unsupported_media_type");
    }
    let charset = format!("{AUTHORIZED}Content-Type: application/json; charset=utf-8\r\n");
    assert_eq!(resize(&charset, r#"{"max": 7}"#).await.status, 200);

    let no_json =
        ["", "{", "max=3", r#"{"max": 3} {"max": 4}"#, "{'max': 3}", "\u{feff}{}", "{\"max\": 3\0}"];
    let other_json = [
        "{}",
        "null",
        "3",
        r#""3""#,
        r#"{"max": null}"#,
        r#"{"max": "3"}"#,
        r#"{"max": 3.5}"#,
        r#"{"max": -1}"#,
        r#"{"max": 0}"#,
        r#"{"max": 4294967296}"#,
        r#"{"max": 1e99}"#,
        r#"{"max": 3, "min": 1}"#,
        r#"{"max": 3, "max": 4}"#,
        r#"{"MAX": 3}"#,
        "[3]",
    ];
    for body in no_json.iter().chain(&other_json) {
        problem(&resize(&json, body).await, 400, "bad_request");
    }
    let deep = "[".repeat(10_000);
    problem(&resize(&json, &deep).await, 400, "bad_request");
    for (action, body) in [
        ("pause", r#"{"limit_ms": -5}"#),
        ("pause", r#"{"limit": 5}"#),
        ("drain", r#"{"server": 1}"#),
        ("restore", "{}"),
        ("cancel", r#"{"pid": 99999999999}"#),
        ("cancel", r#"{"pid": "1; DROP TABLE t"}"#),
    ] {
        let answer = call(address, &format!("POST /api/admin/{action}"), &json, body).await;
        problem(&answer, 400, "bad_request");
    }
    assert_eq!((db.stats().max, db.stats().is_paused), (7, false), "nothing was done");
    close(&db).await;
}

/// D11: what is no HTTP is answered with an error or the end of the connection, and others are served.
#[tokio::test]
async fn what_is_no_request() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    let said = async |sent: &[u8]| {
        let mut connection = Connection::to(address).await;
        connection.send(sent).await;
        connection.rest().await
    };
    let long = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X-Many: x\r\n".repeat(200));
    let path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1 << 16));
    let cases: [(&[u8], &str); 11] = [
        (b"GET\r\n\r\n", "HTTP/1.1 400 "),
        (b"hello there\r\n\r\n", "HTTP/1.1 400 "),
        (b"\0\x01\x02\x03\xff\xfe\r\n\r\n", "HTTP/1.1 400 "),
        // The beginning of TLS, and of HTTP/2.
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HTTP/1.1 400 "),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
        (b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n", "HTTP/1.1 400 "),
        (b"GET /health HTTP/1.1\r\nno header\r\n\r\n", "HTTP/1.1 400 "),
        (b"POST /api/admin/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400 "),
        (long.as_bytes(), "HTTP/1.1 431 "),
        (many.as_bytes(), "HTTP/1.1 431 "),
        (path.as_bytes(), "HTTP/1.1 414 "),
    ];
    for (sent, expect) in cases {
        let answer = said(sent).await;
        assert!(
            answer.starts_with(expect),
            "{:?}: {answer:?}",
            String::from_utf8_lossy(&sent[..sent.len().min(60)])
        );
    }
    // An old client, who names no host and gets no more than one answer.
    let old = said(b"GET /health/live HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 ") && old.contains("alive"), "{old}");
    let whole = said(
        b"GET http://elsewhere.example/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(whole.starts_with("HTTP/1.1 200 "), "{whole}");
    assert_eq!(call(address, "GET /health/live", "", "").await.status, 200);
    close(&db).await;
}
