//! `db stats --service`: the figures of a service that runs, its lanes and statements among them, and what is said when there is
//! none. The figures of the program itself are in `stats`.

use std::net::SocketAddr;
use std::process::Output;

use db_core::Query;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::program::{Place, text};
use crate::http::{TOKEN, close, open, serve};
use crate::support::{database, eventually};

const OTHER_TOKEN: &str = "hunter2-hunter2-hunter2";

/// Runs `db stats --service` to its end, while what it asks goes on here.
async fn ask(place: &Place, service: &str, more: &[&str], environment: &[(&str, &str)]) -> Output {
    let arguments = [&["stats", "--service", service], more].concat();
    place.spawn(&arguments, environment).wait().await
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

/// A line without the widths of its columns.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A port on which nobody listens.
fn closed() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port")
}

/// Somebody who answers everybody with this.
async fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            // To the empty line at the end of the request.
            while stream.read_line(&mut line).await.is_ok_and(|length| length > 2) {}
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    address
}

/// `db stats` shows lanes, statements on them, and why a statement is not eligible.
#[tokio::test]
async fn a_service_shows_its_lanes_and_statements() {
    const SHORT: &str = "SELECT $1::int8 + $1";
    let database = database().await;
    let db = open(database.url(), &[("DB_LANES", "2")]).await;
    let address = serve(&db).await.to_string();
    let known = |part: &str| db.lane_uses().into_iter().find(|one| one.sql.contains(part));
    eventually("it runs on a lane", async || {
        db.one::<i64>(SHORT, &[&1_i64]).await.expect("a row");
        known("$1::int8").is_some_and(|one| one.on_lanes > 20 && one.why_not.is_none())
    })
    .await;
    db.one::<String>("SELECT set_config('db.shown', 'hunter2', false)", &[]).await.expect("a row");
    let (short, barred) = (known("$1::int8").expect("known"), known("set_config").expect("known"));
    let why_not = barred.why_not.clone().expect("never on lanes");

    let place = Place::new();
    // Neither a database nor a token: it is on the machine itself.
    let output = ask(&place, &format!("http://{address}"), &[], &[]).await;
    let shown = String::from_utf8(output.stdout.clone()).expect("text");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let lines: Vec<String> = shown.lines().map(words).collect();
    let after = |heads: &str| {
        let at = lines.iter().position(|line| line.starts_with(heads));
        &lines[at.unwrap_or_else(|| panic!("{heads}: {shown}")) + 1..]
    };
    assert!(after("pool open idle in use")[0].starts_with("primary "), "{shown}");
    let lanes = &after("lanes of open max in flight deepest waiting statements run again sent back")[0];
    let [reruns, demotions] = [db.stats().lanes.reruns, db.stats().lanes.demotions];
    let row = format!("primary 1 2 0 0 0 {} {reruns} {demotions}", db.stats().lanes.statements);
    assert_eq!(*lanes, row, "{shown}");
    let statements = after("on lanes alone sent back why not statement");
    let row = format!("{} {} {} on lanes {}", short.on_lanes, short.alone, short.demotions, short.sql);
    assert_eq!(statements[0], row, "what ran most comes first: {shown}");
    assert!(
        statements.iter().any(|line| line.starts_with(&format!("0 1 0 {why_not} SELECT set_config("))),
        "{shown}"
    );

    let output = ask(&place, &address, &["--json"], &[]).await;
    let body = json(&output);
    assert_eq!(body["pool"]["lanes"]["max"], 2, "{body}");
    assert_eq!(
        (&body["lane_uses"][0]["sql"], &body["lane_uses"][0]["why_not"]),
        (&short.sql.as_str().into(), &Value::Null)
    );
    let uses = body["lane_uses"].as_array().expect("statements");
    let shown = uses.iter().find(|one| one["sql"] == barred.sql).expect("set_config");
    assert_eq!(shown["why_not"], *why_not, "{shown}");
    assert!(!text(&output).contains("hunter2"), "{body}");
    close(&db).await;
}

/// The service that is configured is the one that is asked; when it goes while somebody watches, that is seen.
#[tokio::test]
async fn the_configured_service_is_asked_until_somebody_has_seen_enough() {
    let database = database().await;
    let place = Place::new();
    let serving =
        place.serve(&[("DATABASE_URL", database.url()), ("DB_POOL_MAX", "8"), ("DB_LANES", "2")]).await;
    let address = serving.address.to_string();
    let environment = [("DB_HTTP_ADDR", &*address)];
    let output = place.run(&["stats", "--service"], &environment);
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.starts_with("pool ") && shown.contains("\nlanes of "), "{shown}");

    let mut watching = place.start_reading(&["stats", "--service", "--watch", "0.1", "--json"], &environment);
    for _ in 0..2 {
        let look: Value = serde_json::from_str(&watching.line().await.expect("a look")).expect("JSON");
        assert_eq!((&look["pool"]["max"], &look["pool"]["lanes"]["max"]), (&8.into(), &2.into()), "{look}");
    }
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
    eventually("it is seen to be gone", async || {
        let look: Value = serde_json::from_str(&watching.line().await.expect("a look")).expect("JSON");
        let error = look["error"]["message"].as_str();
        look["timestamp"].is_string() && error.is_some_and(|error| error.starts_with("cannot reach http://"))
    })
    .await;
    assert_eq!(watching.end(Signal::SIGINT).await, Some(0));
}

/// D10: who is a stranger to the service is told to bring the token, and no token is shown.
#[tokio::test]
async fn a_stranger_is_told_of_the_token() {
    let database = database().await;
    let db = open(database.url(), &[]).await;
    // By this name the machine itself is called as a stranger calls.
    let service = format!("http://0.0.0.0:{}", serve(&db).await.port());
    let place = Place::new();
    let check = async |environment: &[(&str, &str)], expect: &str| {
        let output = ask(&place, &service, &["--json"], environment).await;
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let message = json(&output)["error"]["message"].as_str().expect("a message").to_owned();
        assert!(
            message.starts_with(&format!("{service}/api/metrics/db answered 401: {expect}")),
            "{message}"
        );
        assert!(!said.contains("hunter2"), "{said}");
    };
    check(&[], "set DB_HTTP_TOKEN").await;
    check(&[("DB_HTTP_TOKEN", OTHER_TOKEN)], "DB_HTTP_TOKEN is not the token of that service").await;
    let output = ask(&place, &service, &[], &[("DB_HTTP_TOKEN", TOKEN)]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(!text(&output).contains(TOKEN), "{}", text(&output));
    close(&db).await;
}

/// Each failure names the URL, and says what to do.
#[tokio::test]
async fn who_is_no_service_is_told_from_one() {
    let place = Place::new();
    let check = async |address: SocketAddr, expect: &[&str]| {
        let token = [("DB_HTTP_TOKEN", OTHER_TOKEN)];
        let output = ask(&place, &format!("http://{address}"), &[], &token).await;
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let url = format!("http://{address}/api/metrics/db");
        for part in [&["error: ", &*url], expect].concat() {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("hunter2") && output.stdout.is_empty(), "{said}");
    };
    check(closed(), &["cannot reach ", "refused", "start the service", "--service URL"]).await;
    let other = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";
    check(answering(other).await, &["not with the figures of a service", "--service URL"]).await;
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>";
    check(answering(page).await, &["not with the figures of a service"]).await;
    let nothing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    check(answering(nothing).await, &["answered 404", "--service URL"]).await;
    // Whoever is sent elsewhere would take the token there.
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    check(answering(moved).await, &["answered 302", "redirects are not followed"]).await;
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
    check(answering(cut).await, &["broke before the end of the answer"]).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    check(silent.local_addr().expect("an address"), &["no answer from ", "within 5 s"]).await;
}

/// A URL that can be none is a usage error, also where JSON is asked for.
#[tokio::test]
async fn a_bad_url_is_refused() {
    let place = Place::new();
    for (url, shown) in [("ftp://example.org", "ftp://example.org"), ("http://a:hunter2@example.org", "***")]
    {
        let output = ask(&place, url, &["--json"], &[]).await;
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let message = json(&output)["error"]["message"].as_str().expect("a message").to_owned();
        assert!(message.starts_with(&format!("--service {shown}: expected http or https")), "{message}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
