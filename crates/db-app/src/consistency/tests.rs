//! The layer alone, around services that are closures: what comes in, and what goes out.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::routing::get;
use db_cluster::ConsistencyToken;
use http::{HeaderName, Request, Response, StatusCode};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use super::{Consistency, ConsistencyLayer};

const HEADER: &str = "x-db-token";

/// Valid for another six thousand years.
fn token(system: u64, timeline: u32, lsn: u64) -> ConsistencyToken {
    format!("v1-{system:x}-{timeline:x}-{lsn:x}-3000000000").parse().expect("a token")
}

fn expired(lsn: u64) -> String {
    format!("v1-1-1-{lsn:x}-1")
}

/// The header of the answer of a handler that notes `wrote`, and what it saw.
async fn carry(sent: &[&str], wrote: &[ConsistencyToken]) -> (Option<String>, Option<ConsistencyToken>) {
    let mut request = Request::builder();
    for value in sent {
        request = request.header(HEADER, *value);
    }
    let mut saw = None;
    let service = ConsistencyLayer::new().layer(service_fn(|request: Request<()>| {
        let consistency = request.extensions().get::<Consistency>().expect("the layer").clone();
        saw = consistency.token();
        wrote.iter().for_each(|token| consistency.wrote(*token));
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    }));
    let response = service.oneshot(request.body(()).expect("a request")).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().get_all(HEADER).iter().count() <= 1);
    let header = response.headers().get(HEADER).map(|value| value.to_str().expect("text").to_owned());
    (header, saw)
}

#[tokio::test]
async fn the_newest_token_goes_out() {
    let check = async |sent: &[&str], wrote: &[ConsistencyToken], expect: Option<ConsistencyToken>| {
        let (header, _) = carry(sent, wrote).await;
        assert_eq!(header, expect.map(|token| token.to_string()), "{sent:?} {wrote:?}");
    };
    let (five, six) = (token(1, 1, 5), token(1, 1, 6));
    check(&[], &[], None).await;
    check(&[], &[five], Some(five)).await;
    check(&[&five.to_string()], &[], Some(five)).await;
    check(&[&five.to_string()], &[six], Some(six)).await;
    check(&[&six.to_string()], &[five], Some(six)).await;
    check(&[], &[six, five], Some(six)).await;
    // A later history has a newer primary, wherever its log is.
    check(&[&token(1, 2, 1).to_string()], &[six], Some(token(1, 2, 1))).await;
    // Nothing has what two clusters have: what was written counts.
    check(&[&token(2, 9, 9).to_string()], &[five], Some(five)).await;
    check(&[&expired(9)], &[], None).await;
    check(&[&expired(9)], &[five], Some(five)).await;
    check(&[&five.to_string()], &[expired(9).parse().expect("a token")], Some(five)).await;
}

#[tokio::test]
async fn the_handler_sees_what_came_in() {
    let (five, six) = (token(1, 1, 5), token(1, 1, 6));
    let saw = async |sent: &[&str]| carry(sent, &[]).await.1;
    assert_eq!(saw(&[]).await, None);
    assert_eq!(saw(&[&five.to_string()]).await, Some(five));
    assert_eq!(saw(&[&six.to_string(), &five.to_string()]).await, Some(six));
    assert_eq!(saw(&[&format!("{five}, {six}")]).await, Some(six));
    assert_eq!(saw(&[&expired(9)]).await, None);
}

#[tokio::test]
async fn what_is_no_token_is_refused_and_reaches_nobody() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = move || async move { counted.fetch_add(1, Ordering::Relaxed).to_string() };
    let name = HeaderName::from_static("x-sight");
    let app = axum::Router::new().route("/", get(handler)).layer(ConsistencyLayer::new().header(name));
    let check = async |value: &[u8], expect: &str| {
        let request = Request::get("/").header("x-sight", value).body(Body::empty()).expect("a request");
        let response = app.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let body = axum::body::to_bytes(response.into_body(), 1_000).await.expect("a body");
        assert_eq!(String::from_utf8_lossy(&body), format!("header x-sight: {expect}\n"));
    };
    check(b"", "not a consistency token").await;
    check(b"<script>", "not a consistency token").await;
    check(b"\xff", "not a consistency token").await;
    check(format!("{},", token(1, 1, 1)).as_bytes(), "not a consistency token").await;
    check(b"v2-1-1-1-1", "consistency token of another form than v1").await;
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    // Another header than the one that was set says nothing.
    let request = Request::get("/").header(HEADER, "nothing").body(Body::empty()).expect("a request");
    assert_eq!(app.clone().oneshot(request).await.expect("infallible").status(), StatusCode::OK);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

/// A gateway has the token of the service behind it in the answer that it passes on.
#[tokio::test]
async fn a_token_in_the_answer_is_joined() {
    let check = async |sent: &str, answered: &str, expect: Option<&str>| {
        let service = ConsistencyLayer::new().layer(service_fn(|_: Request<()>| async {
            Response::builder().header(HEADER, answered).body(String::new())
        }));
        let request = Request::builder().header(HEADER, sent).body(()).expect("a request");
        let response = service.oneshot(request).await.expect("an answer");
        let header = response.headers().get(HEADER).map(|value| value.to_str().expect("text"));
        assert_eq!(header, expect, "{sent} {answered}");
    };
    let [five, six] = [5, 6].map(|lsn| token(1, 1, lsn).to_string());
    check(&five, &six, Some(&six)).await;
    check(&six, &five, Some(&six)).await;
    check(&five, "nothing", Some(&five)).await;
    check(&expired(9), "nothing", None).await;
}

#[tokio::test]
async fn a_handler_without_the_layer_is_told_so() {
    let app: axum::Router = axum::Router::new().route("/", get(async |_: Consistency| "never"));
    let response = app.oneshot(Request::new(Body::empty())).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}
