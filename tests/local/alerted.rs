//! Alerts of `db serve`: who is called when the server goes away, and where else it is seen.

use db_health::{Notice, NoticeState};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::program::Place;
use crate::alerts::{Receiver, SECRET};
use crate::support::{eventually, own_server};
use crate::telemetry::fetch;

/// The messages about this alert.
fn about(receiver: &Receiver, alert: &str) -> Vec<Notice> {
    // Signatures are checked where they are read.
    receiver.notices().into_iter().filter(|notice| notice.alert == alert).collect()
}

/// E10, D3: a server that stops is told to the webhook by a signed message, in the live news and in the metrics; its return as well.
#[tokio::test]
async fn an_outage_calls_the_webhook_and_its_end_does() {
    let mut server = own_server().await;
    let receiver = Receiver::start([]).await;
    let environment = [
        ("DATABASE_URL", server.url()),
        ("DB_APPLICATION_NAME", "shop"),
        ("DB_ALERT_INTERVAL_MS", "50"),
        ("DB_ALERT_WEBHOOK_URL", &*format!("http://{}/alerts", receiver.address)),
        ("DB_ALERT_WEBHOOK_SECRET", SECRET),
    ];
    let serving = Place::new().serve(&environment).await;
    let alert = "component_unhealthy";
    let news = async || {
        let news = fetch(serving.address, "GET /api/live", "Accept: application/json\r\n", "").await;
        let news: Value = serde_json::from_str(&news.body).expect("JSON");
        let of_news = news["alerts"].as_array().expect("alerts").iter().find(|it| it["name"] == alert);
        of_news.unwrap_or_else(|| panic!("{news:#}")).clone()
    };
    // Whether it fires, by the news and by the metrics.
    let seen = async || {
        let metrics = fetch(serving.address, "GET /metrics", "", "").await.body;
        let line = metrics.lines().find(|line| {
            line.starts_with("db_client_alert_firing{") && line.contains(&format!("\"{alert}\""))
        });
        (news().await["state"] == "firing", line.unwrap_or_else(|| panic!("{metrics}")).ends_with(" 1"))
    };
    assert_eq!(seen().await, (false, false));
    assert!(about(&receiver, alert).is_empty());

    server.halt().await.expect("halted");
    eventually("it is told", async || about(&receiver, alert).len() == 1).await;
    let notice = &about(&receiver, alert)[0];
    assert_eq!((notice.state, &*notice.service), (NoticeState::Firing, "shop"), "{notice:?}");
    // Whichever of them was looked at first.
    let names_it = ["postgres", "role"].iter().any(|component| notice.text.contains(component));
    assert!(notice.value >= 1.0 && names_it, "{notice:?}");
    assert_eq!(seen().await, (true, true));
    let says = async || news().await["text"].as_str().expect("a text").to_owned();
    eventually("the news name the server", async || says().await.contains("postgres")).await;

    server.resume().await.expect("there again");
    eventually("its end is told", async || about(&receiver, alert).len() == 2).await;
    let notice = &about(&receiver, alert)[1];
    assert_eq!((notice.state, notice.value), (NoticeState::Resolved, 0.0), "{notice:?}");
    eventually("it is seen to be over", async || seen().await == (false, false)).await;
    assert_eq!(serving.end(Signal::SIGTERM).await, Some(0));
}
