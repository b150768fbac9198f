//! Redis as a second dependency, on a real one.

use std::time::Duration;

use db_core::{Probe, SecretString, Status};
use db_health::view::{self, Audience};
use db_health::{Check, Monitor, RedisProbe};
use db_testkit::Proxy;
use serde_json::json;

use super::redis_server::{PASSWORD, Redis};
use crate::support::eventually;

/// A4: connected, gone, and back by itself, over one connection while it stands.
#[tokio::test]
async fn it_follows_a_redis_that_stops_and_starts() {
    let mut redis = Redis::start().await;
    let port = redis.url().rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse::<u16>().ok());
    let proxy = Proxy::start(("127.0.0.1", port.expect("a port"))).await.expect("a proxy");
    let url = format!("redis://:{PASSWORD}@{}", proxy.address());
    let probe = RedisProbe::new("redis", &url).expect("an address");
    let monitor = Monitor::start(vec![Check::new(probe).interval(Duration::from_millis(20))]);
    monitor.first_looks().await;
    let services = || view::plain(&monitor.snapshot())["services"].clone();
    assert_eq!(services(), json!({ "redis": "connected" }));
    for _ in 0..20 {
        monitor.run_now().await;
    }
    assert_eq!(proxy.counts().accepted, 1, "one connection, kept open");

    redis.stop();
    eventually("gone", async || services() == json!({ "redis": "disconnected" })).await;
    assert_eq!(monitor.snapshot().reason(), Some("unreachable"));
    let told = view::terminus(&monitor.snapshot(), Audience::Insider).to_string();
    assert!(told.contains("no PING to Redis at 127.0.0.1:") && !told.contains(PASSWORD), "{told}");

    redis.start_again().await;
    eventually("back", async || services() == json!({ "redis": "connected" })).await;
    assert!(monitor.snapshot().is_ready());
}

/// B8: whoever can live without it says so.
#[tokio::test]
async fn it_is_critical_or_not() {
    let mut redis = Redis::start().await;
    let probe = || RedisProbe::new("redis", &redis.url_with(PASSWORD)).expect("an address");
    let (vital, beside) = (Check::new(probe()), Check::new(probe()).non_critical());
    redis.stop();
    let status = async |check: Check| Monitor::start(vec![check]).run_now().await.status();
    assert_eq!(status(vital).await, Status::Unhealthy);
    assert_eq!(status(beside).await, Status::Degraded);
}

/// D10: a password that is wrong or missing is told as that, and never told.
#[tokio::test]
async fn passwords() {
    let redis = Redis::start().await;
    let given = SecretString::from(PASSWORD.to_owned());
    let probe = RedisProbe::with_password("redis", &redis.url(), &given).expect("an address");
    assert_eq!(probe.check().await.expect("a look").status, Status::Healthy);
    for url in [redis.url(), redis.url_with("wrong-hunter3")] {
        let probe = RedisProbe::new("redis", &url).expect("an address");
        let found = probe.check().await.expect("a look");
        assert_eq!((found.status, found.reason), (Status::Unhealthy, Some("authentication")), "{found:?}");
        let told = format!("{found:?} {probe:?}");
        assert!(!told.contains("hunter"), "{told}");
    }
}

/// A Redis that accepts and says nothing is unhealthy by the time limit, and well again on another connection.
#[tokio::test]
async fn one_that_says_nothing() {
    let redis = Redis::start().await;
    let address = redis.url().trim_start_matches("redis://").trim_end_matches("/0").to_owned();
    let proxy = Proxy::start(address).await.expect("a proxy");
    let probe =
        RedisProbe::new("redis", &format!("redis://:{PASSWORD}@{}", proxy.address())).expect("an address");
    let limit = Duration::from_millis(200);
    let check = Check::new(probe).interval(Duration::from_millis(20)).timeout(limit).fail_after(1);
    let monitor = Monitor::start(vec![check]);
    monitor.first_looks().await;
    assert!(monitor.snapshot().is_ready());
    proxy.stall();
    eventually("silent", async || monitor.snapshot().reason() == Some("timeout")).await;
    proxy.heal();
    eventually("well again", async || monitor.snapshot().is_ready()).await;
}
