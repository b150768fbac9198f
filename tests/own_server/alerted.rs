//! An outage as the figures of a window and a receiver of alerts see it.

use std::sync::Arc;
use std::time::Duration;

use db_core::{Executor, Observer};
use db_health::{Alerts, NoticeState, Window, rules};
use db_pool::{Pool, Settings};

use crate::alerts::Receiver;
use crate::support::{eventually, own_server};

/// B4, D3, E2, E10: what statements do is seen in the figures; a server that is away is told by an alert, and its return as well.
#[tokio::test]
async fn an_outage_is_told_and_its_end() {
    let mut server = own_server().await;
    let window = Arc::new(Window::new(Duration::from_secs(3)));
    let mut settings = Settings::default();
    (settings.slow_query, settings.acquire_timeout) = (Duration::from_millis(50), Duration::from_millis(300));
    let target: tokio_postgres::Config = server.url().parse().expect("a URL");
    let observer = Arc::clone(&window) as Arc<dyn Observer>;
    let pool = Pool::open_observed(target, settings, observer).await.expect("a pool");
    let receiver = Receiver::start([]).await;
    let rule = rules::connect_failures(&window).resolve_after(1);
    let sinks = vec![Arc::new(receiver.sink()) as _];
    let alerts = Alerts::start("orders", vec![rule], Duration::from_millis(20), sinks);

    pool.execute("SELECT pg_sleep(0.06), 'hunter2'", &[]).await.expect("slow");
    pool.execute("SELECT 1 / 0", &[]).await.expect_err("a fault of the statement");
    let figures = window.figures();
    assert!(figures.operations >= 2 && figures.p99_ms > 50.0 && figures.slow_statements >= 1, "{figures:?}");
    assert_eq!((figures.errors, figures.error_rate, figures.connect_failures), (0, 0.0, 0));
    assert_eq!(window.errors()[0].code, "22012");
    assert_eq!(window.slow()[0].statement, "SELECT pg_sleep(?), ?");

    server.halt_at_once().await.expect("halted");
    eventually("the outage is told", async || {
        pool.execute("SELECT 1", &[]).await.expect_err("away");
        !receiver.notices().is_empty()
    })
    .await;
    let figures = window.figures();
    assert!(figures.errors > 0 && figures.error_rate > 0.0 && figures.connect_failures > 0, "{figures:?}");
    assert_eq!(alerts.active()[0].name, "connect_failures");

    server.resume().await.expect("there again");
    eventually("statements run", async || pool.execute("SELECT 1", &[]).await.is_ok()).await;
    eventually("its end is told", async || receiver.notices().len() == 2).await;
    let notices = receiver.notices();
    let expect = [NoticeState::Firing, NoticeState::Resolved];
    assert_eq!([notices[0].state, notices[1].state], expect, "{notices:?}");
    assert!(notices[0].value > 0.0 && notices[1].value == 0.0, "{notices:?}");
    assert_eq!(alerts.close(Duration::from_secs(5)).await, 0);
}
