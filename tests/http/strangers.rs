//! Who may see and do what: strangers, those who come from the machine itself, those with the token. What is wrong with a
//! request itself is in `refusals`.

use db_app::http::Routes;
use db_testkit::{Proxy, Refusal};

use super::call::{Connection, call};
use super::{AUTHORIZED, FORWARDED, TOKEN, close, get, listen, open, problem, serve};
use crate::support::{database, eventually};

/// What is for insiders.
const INSIDE: [&str; 4] = ["/health/metrics", "/api/metrics/db", "/metrics", "/api/live"];

const ADMIN: [&str; 7] = ["rotate", "pause", "resume", "resize", "drain", "restore", "cancel"];

/// D10: figures are for insiders; a stranger is told how to become one, and every proxy makes a stranger.
#[tokio::test]
async fn figures_are_for_insiders() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    for path in INSIDE {
        let get = format!("GET {path}");
        let once = "Accept: application/json\r\n";
        assert_eq!(call(address, &get, once, "").await.status, 200, "{path} from the machine itself");
        let authorized = format!("{once}{FORWARDED}{AUTHORIZED}");
        assert_eq!(call(address, &get, &authorized, "").await.status, 200, "{path} with the token");
        for proxy in
            [FORWARDED, "Forwarded: for=192.0.2.1\r\n", "Via: 1.1 proxy\r\n", "X-Real-Ip: 127.0.0.1\r\n"]
        {
            let answer = call(address, &get, proxy, "").await;
            problem(&answer, 401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path} by {proxy}");
        }
    }
    close(&db).await;
}

/// D10: a page of somebody else's in a browser on this machine connects from here, and asks by its own name: it sees what strangers
/// see.
#[tokio::test]
async fn who_asks_by_another_name_is_a_stranger() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    let ask = async |path: &str, host: &str| {
        let mut connection = Connection::to(address).await;
        connection.send(format!("GET {path} HTTP/1.1\r\n{host}Accept: application/json\r\n\r\n")).await;
        connection.answer().await
    };
    for path in INSIDE {
        let here = format!("Host: {address}\r\n");
        for host in ["Host: localhost:8080\r\n", &here, "Host: [::1]\r\n"] {
            assert_eq!(ask(path, host).await.status, 200, "{path} of {host}");
        }
        for host in
            ["Host: rebound.example\r\n", "Host: localhost.rebound.example:8080\r\n", "Host: 192.0.2.1\r\n"]
        {
            problem(&ask(path, host).await, 401, "unauthorized");
        }
    }
    close(&db).await;
}

/// D10: only exactly the token is the token.
#[tokio::test]
async fn a_wrong_token_is_none() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = serve(&db).await;
    for wrong in [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer wrong-wrong-wrong".to_owned(),
        format!("Bearer {TOKEN}0"),
        format!("Bearer {}", &TOKEN[1..]),
        format!("Bearer {}", TOKEN.to_uppercase()),
        format!("Bearer  {TOKEN}"),
        format!("Basic {TOKEN}"),
        TOKEN.to_owned(),
    ] {
        let header = format!("Authorization: {wrong}\r\n");
        for action in ADMIN {
            let answer = call(address, &format!("POST /api/admin/{action}"), &header, "").await;
            problem(&answer, 401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
        let answer = call(address, "GET /health/metrics", &format!("{FORWARDED}{header}"), "").await;
        problem(&answer, 401, "unauthorized");
    }
    // One that is no text.
    let mut connection = Connection::to(address).await;
    connection
        .send(b"POST /api/admin/rotate HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
        .await;
    problem(&connection.answer().await, 401, "unauthorized");
    for right in ["Bearer", "bearer", "BEARER"] {
        let header = format!("Authorization: {right} {TOKEN}\r\n");
        assert_eq!(call(address, "POST /api/admin/rotate", &header, "").await.status, 200, "{right}");
    }
    close(&db).await;
}

/// D10: where no token is set nobody is an operator, and no empty one makes one.
#[tokio::test]
async fn without_a_token_nobody_operates() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    let address = listen(Routes::new(&db).service()).await;
    for header in ["", "Authorization: Bearer \r\n", "Authorization: Bearer None\r\n", AUTHORIZED] {
        for action in ADMIN {
            let answer = call(address, &format!("POST /api/admin/{action}"), header, "").await;
            let message = problem(&answer, 401, "unauthorized");
            assert!(message.contains("no token is set (DB_HTTP_TOKEN)"), "{message}");
        }
    }
    assert_eq!(get(address, "/health/metrics", "").await.0, 200, "from the machine itself");
    problem(&call(address, "GET /metrics", "", "").await, 404, "not_found");
    close(&db).await;
}

/// D10, C5, D8: of a server that cannot be reached a stranger learns a fixed word: no address, no name, no text of the driver.
#[tokio::test]
async fn strangers_see_no_details_of_the_driver() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let db = open(&proxy.url(), &[("DB_HEALTH_INTERVAL_MS", "20")]).await;
    let address = serve(&db).await;
    proxy.refuse(Refusal::Reset);
    proxy.cut();
    eventually("not ready", async || get(address, "/health/ready", "").await.0 == 503).await;

    let secrets =
        [proxy.address().port().to_string(), database.name().to_owned(), "could not connect".to_owned()];
    eventually("an insider is told", async || {
        let (_, inside) = get(address, "/health/db", "").await;
        inside["error"]["postgres"]["message"].as_str().is_some_and(|text| text.contains(&secrets[0]))
    })
    .await;
    for (path, accept) in [
        ("/health", ""),
        ("/health", "Accept: application/health+json\r\n"),
        ("/health/live", ""),
        ("/health/ready", ""),
        ("/health/startup", ""),
        ("/health/db", ""),
        ("/api/live", ""),
        ("/api/metrics/db", ""),
    ] {
        let answer = call(address, &format!("GET {path}"), &format!("{FORWARDED}{accept}"), "").await;
        for secret in &secrets {
            assert!(!answer.body.contains(secret), "{path}: {secret}: {answer:?}");
        }
    }
    let (status, told) = get(address, "/health/db", FORWARDED).await;
    assert_eq!((status, &told["status"]), (503, &"error".into()), "{told}");
    assert_eq!(told["error"]["postgres"]["reason"], "unreachable", "{told}");
    assert_eq!(told["recommendations"], serde_json::json!([]), "{told}");
}
