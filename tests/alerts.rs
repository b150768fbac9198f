//! Alerts as their receiver gets them: over HTTP, from a receiver that checks signatures by itself and has its moods.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, serve};
use db_health::{AlertSink, AlertState, Alerts, Notice, NoticeState, Rule, WebhookSink, verify_signature};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::support::{Lines, eventually};

/// What both sides sign with.
pub(crate) const SECRET: &str = "the secret of both sides";

/// A part of the URL that must not be seen anywhere.
const HIDDEN: &str = "hunter2";

/// How a receiver answers.
#[derive(Clone, Copy)]
pub(crate) enum Mood {
    Says(u16),
    /// To another path of its own.
    Redirects,
    Hangs,
}

/// A receiver of webhooks, and what it got.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    moods: Arc<Mutex<VecDeque<Mood>>>,
}

/// A request as it came.
#[derive(Clone)]
struct Heard {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Receiver {
    /// Answers in these moods one after the other, and then always well.
    pub(crate) async fn start(moods: impl IntoIterator<Item = Mood>) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), moods)
    }

    fn on(listener: TcpListener, moods: impl IntoIterator<Item = Mood>) -> Self {
        let address = listener.local_addr().expect("an address");
        let moods = Arc::new(Mutex::new(moods.into_iter().collect()));
        let receiver = Self { address, heard: Arc::default(), moods };
        let routes = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { serve(listener, routes).await });
        receiver
    }

    pub(crate) fn sink(&self) -> WebhookSink {
        sink(&format!("http://app:{HIDDEN}@{}/{HIDDEN}?token={HIDDEN}", self.address))
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("lock").clone()
    }

    /// The bodies as they came.
    pub(crate) fn bodies(&self) -> Vec<Bytes> {
        self.heard().into_iter().map(|heard| heard.body).collect()
    }

    /// What was told, each message once.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        let mut notices: Vec<Notice> = Vec::new();
        for heard in self.heard() {
            let notice = heard.check();
            if notices.last().is_none_or(|last| last.id != notice.id) {
                notices.push(notice);
            }
        }
        notices
    }
}

async fn receive(State(receiver): State<Receiver>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    receiver.heard.lock().expect("lock").push(Heard { path: uri.path().to_owned(), headers, body });
    let mood = receiver.moods.lock().expect("lock").pop_front();
    match mood.unwrap_or(Mood::Says(204)) {
        Mood::Says(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Mood::Redirects => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]).into_response()
        }
        Mood::Hangs => std::future::pending().await,
    }
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("text")
    }

    /// The message, once the signature is found to be right: by code of this test, and by the crate's own.
    fn check(&self) -> Notice {
        let signature = self.header("x-db-signature");
        let (time, hex) =
            signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).expect(signature);
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
        mac.update([time.as_bytes(), b".", &self.body].concat().as_slice());
        let expect: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expect);
        let now = Timestamp::now();
        assert!(now.as_second() - time.parse::<i64>().expect("seconds") < 60, "{signature}");
        let tolerance = Duration::from_secs(60);
        assert_eq!(verify_signature(SECRET.as_bytes(), signature, &self.body, tolerance, now), Ok(()));
        assert_eq!(self.header("content-type"), "application/json");
        let notice: Notice = serde_json::from_slice(&self.body).expect("a notice");
        assert_eq!(self.header("x-db-event-id"), notice.id);
        notice
    }
}

fn sink(url: &str) -> WebhookSink {
    let sink = WebhookSink::new(&url.to_owned().into(), SECRET.to_owned().into()).expect("a sink");
    sink.backoff(Duration::from_millis(20))
}

/// A rule that fires at once while the figure is above 0.
fn switch() -> (Arc<AtomicU32>, Rule) {
    let figure = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&figure);
    let measure = move || Some(f64::from(seen.load(Ordering::Relaxed)));
    let rule = Rule::above("errors", 0.0, "%", measure).fire_after(1).resolve_after(1);
    (figure, rule.cool_down(Duration::ZERO).text("much is wrong"))
}

fn start(rule: Rule, sink: WebhookSink) -> Alerts {
    Alerts::start("orders", vec![rule], Duration::from_millis(10), vec![Arc::new(sink)])
}

/// Everything that is logged on this thread, down to the last detail.
fn log() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

/// E10, D3: a receiver that is ill for a while gets the same message again, signed anew, and the end of the alert after it.
#[tokio::test]
async fn a_message_arrives_once_the_receiver_is_well() {
    let (lines, _log) = log();
    let receiver = Receiver::start([500, 500, 429, 200].map(Mood::Says)).await;
    let (figure, rule) = switch();
    figure.store(7, Ordering::Relaxed);
    let alerts = start(rule, receiver.sink());
    eventually("it is taken", async || receiver.heard().len() == 4).await;
    let heard = receiver.heard();
    let first = heard[0].check();
    for again in &heard {
        assert_eq!(again.check(), first);
        assert_eq!(again.path, format!("/{HIDDEN}"));
    }
    assert_eq!((first.state, first.value, &*first.service), (NoticeState::Firing, 7.0, "orders"));
    assert_eq!((&*first.alert, &*first.unit, &*first.text), ("errors", "%", "much is wrong"));
    figure.store(0, Ordering::Relaxed);
    eventually("its end is told", async || receiver.notices().len() == 2).await;
    let end = &receiver.notices()[1];
    assert_eq!((end.state, end.value), (NoticeState::Resolved, 0.0));
    assert_eq!(alerts.close(Duration::from_secs(5)).await, 0);
    assert!(lines.text().contains("sending again") && !lines.text().contains(HIDDEN), "{}", lines.text());
    let body: Value = serde_json::from_slice(&receiver.heard()[0].body).expect("JSON");
    let keys: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["alert", "at", "id", "instance", "service", "state", "text", "threshold", "unit", "value"],
        "the contract with receivers"
    );
}

/// E10: so many times and no more, then the next message.
#[tokio::test]
async fn a_message_is_given_up_in_the_end() {
    let (lines, _log) = log();
    let receiver = Receiver::start([503; 5].map(Mood::Says)).await;
    let (figure, rule) = switch();
    figure.store(1, Ordering::Relaxed);
    let _alerts = start(rule, receiver.sink().attempts(5));
    eventually("it is given up", async || lines.text().contains("(attempt 5 of 5)")).await;
    figure.store(0, Ordering::Relaxed);
    eventually("the next one comes", async || receiver.heard().len() == 6).await;
    assert_eq!(receiver.notices().len(), 2);
    assert!(lines.text().contains("answered 503") && !lines.text().contains(HIDDEN), "{}", lines.text());
}

/// D10: what is signed for one receiver is not carried to another.
#[tokio::test]
async fn redirects_are_not_followed() {
    let (lines, _log) = log();
    let receiver = Receiver::start([Mood::Redirects]).await;
    let (figure, rule) = switch();
    figure.store(1, Ordering::Relaxed);
    let _alerts = start(rule, receiver.sink());
    eventually("it is given up", async || lines.text().contains("answered 307: redirects are not followed"))
        .await;
    assert_eq!(receiver.heard().len(), 1, "neither followed nor sent again");
    assert!(!lines.text().contains(HIDDEN), "{}", lines.text());
}

/// D11: neither the rules nor the service's end wait for a receiver that says nothing.
#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nothing() {
    let receiver = Receiver::start([Mood::Hangs; 9]).await;
    let (figure, rule) = switch();
    figure.store(1, Ordering::Relaxed);
    let alerts = start(rule, receiver.sink());
    eventually("it hangs", async || receiver.heard().len() == 1).await;
    figure.store(0, Ordering::Relaxed);
    eventually("the rules go on", async || alerts.snapshot()[0].state == AlertState::Ok).await;
    let started = Instant::now();
    assert_eq!(alerts.close(Duration::from_millis(200)).await, 2, "both messages are lost");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(receiver.heard().len(), 1);
}

/// E10: a time-out is tried again as well.
#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let (lines, _log) = log();
    let receiver = Receiver::start([Mood::Hangs]).await;
    let (figure, rule) = switch();
    figure.store(1, Ordering::Relaxed);
    let alerts = start(rule, receiver.sink().timeout(Duration::from_millis(300)));
    eventually("it comes again", async || receiver.heard().len() == 2).await;
    assert_eq!(alerts.close(Duration::from_secs(5)).await, 0, "closing waits for what is on its way");
    assert_eq!(receiver.notices().len(), 1);
    assert!(lines.text().contains("no answer within 0.3 s"), "{}", lines.text());
}

/// E10: a receiver that starts later than we do.
#[tokio::test]
async fn a_receiver_that_is_not_there_yet_is_tried_again() {
    let (lines, _log) = log();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let (figure, rule) = switch();
    figure.store(1, Ordering::Relaxed);
    let url = format!("http://{address}/{HIDDEN}");
    let alerts = start(rule, sink(&url).backoff(Duration::from_millis(100)));
    eventually("it is refused", async || lines.text().contains("Connection refused")).await;
    let receiver = Receiver::on(TcpListener::bind(address).await.expect("the same port"), []);
    assert_eq!(alerts.close(Duration::from_secs(5)).await, 0);
    assert_eq!(receiver.notices().len(), 1);
    assert!(!lines.text().contains(HIDDEN), "{}", lines.text());
}

/// D10: https begins with TLS, and says nothing to whoever does not answer in it.
#[tokio::test]
async fn https_says_nothing_in_the_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let hello = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut hello = vec![0; 4096];
        let length = stream.read(&mut hello).await.expect("a greeting");
        hello.truncate(length);
        hello
    });
    let (figure, rule) = switch();
    figure.store(1, Ordering::Relaxed);
    let _alerts = start(rule, sink(&format!("https://{address}/{HIDDEN}")));
    let hello = hello.await.expect("no panic");
    assert_eq!(hello[..2], [22, 3], "a handshake of TLS");
    assert!(!String::from_utf8_lossy(&hello).contains(HIDDEN));
}

/// A dropped delivery leaves nothing running that would send later.
#[tokio::test]
async fn dropping_ends_the_attempts() {
    let receiver = Receiver::start([503; 9].map(Mood::Says)).await;
    let sink = receiver.sink().backoff(Duration::from_millis(50));
    let (figure, rule) = switch();
    figure.store(1, Ordering::Relaxed);
    assert_eq!(sink.name(), "webhook");
    let alerts = start(rule, sink);
    eventually("it is tried", async || receiver.heard().len() == 2).await;
    drop(alerts);
    let heard = receiver.heard().len();
    // The next attempt would come 100 ms after the second.
    sleep(Duration::from_millis(400)).await;
    assert_eq!(receiver.heard().len(), heard);
}
