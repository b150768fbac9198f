//! What uses lanes and what does not, and that what runs there is what its caller asked for.

use std::time::Duration;

use db_core::{Executor, Query};
use db_pool::{LaneSettings, LaneStats, Pool, Reset};
use db_testkit::{Direction, Proxy};
use futures_util::future::join_all;

use super::{SLEEP, known, learn};
use crate::support::{Recorder, client, database, eventually, pool, settings};

/// Many callers share a few connections, and each gets its own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_statements_of_many_callers_share_connections() {
    const SQL: &str = "SELECT $1::int8 * 2, 'of ' || $2";
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.queue_limit) = (8, 1_000)).await;
    let callers = (0..50_i64).map(|caller| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for number in 0..100 {
                let key = caller * 1_000 + number;
                let (twice, whose): (i64, String) =
                    pool.one(SQL, &[&key, &caller.to_string()]).await.expect("a row");
                assert_eq!((twice, whose), (key * 2, format!("of {caller}")));
            }
        })
    });
    for caller in join_all(callers).await {
        caller.expect("each sees its own");
    }
    let stats = pool.stats();
    assert!(stats.lanes.statements > 2_000, "{:?}", stats.lanes);
    assert!((1..=2).contains(&stats.lanes.open), "a quarter of the pool at most: {:?}", stats.lanes);
    assert!(stats.opened <= 8, "{stats:?}");
    assert_eq!(known(&pool, SQL).why_not, None);
}

/// A server that is far away has lanes as well: what is learned is the time that the server takes. How far it is comes from what is
/// sent anyhow.
#[tokio::test]
async fn how_far_the_server_is_does_not_count() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let config = proxy.config();
    let pool = Pool::open(config, settings()).await.expect("a pool");
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.delay(direction, Duration::from_millis(10));
    }
    pool.one::<i32>("SELECT 1", &[]).await.expect("a row");
    pool.one::<i64>(SLEEP, &[&0.0, &1_i64]).await.expect("a row");
    let before = proxy.counts().requests;
    for _ in 0..7 {
        pool.one::<i32>("SELECT 1", &[]).await.expect("a row");
        pool.one::<i64>(SLEEP, &[&0.01, &1_i64]).await.expect("a row");
    }
    let requests = proxy.counts().requests - before;
    assert_eq!(requests, 14, "nothing is asked besides");
    assert_eq!(known(&pool, SLEEP).why_not.as_deref(), Some("0 of 8 short runs"));
    learn::<i32>(&pool, "SELECT 1", &[]).await;
}

/// The view that is asked for connections of its own has them, and so has everybody where lanes are off.
#[tokio::test]
async fn they_are_off_where_that_was_asked_for() {
    let database = database().await;
    let pool = pool(&database, |_| {}).await;
    learn::<i32>(&pool, "SELECT 1", &[]).await;
    let before = pool.stats().lanes.statements;
    for _ in 0..20 {
        pool.autocommit().exclusive().one::<i32>("SELECT 1", &[]).await.expect("a row");
    }
    assert_eq!(pool.stats().lanes.statements, before);

    for (lanes, reset) in [(LaneSettings::off(), Reset::Light), (LaneSettings::default(), Reset::Discard)] {
        let pool =
            crate::support::pool(&database, |settings| (settings.lanes, settings.reset) = (lanes, reset))
                .await;
        for _ in 0..30 {
            pool.one::<i32>("SELECT 1", &[]).await.expect("a row");
        }
        assert_eq!((pool.stats().lanes, pool.lane_uses()), (LaneStats::default(), Vec::new()));
    }
}

/// What touches the session has a connection of its own, however short it is.
#[tokio::test]
async fn what_touches_the_session_never_uses_them() {
    let database = database().await;
    let pool = pool(&database, |_| {}).await;
    pool.batch_execute("CREATE SEQUENCE numbers").await.expect("a sequence");
    learn::<i32>(&pool, "SELECT 1", &[]).await;
    let statements = [
        "SELECT set_config('app.name', 'x', false)",
        "SELECT pg_try_advisory_lock(7)::text",
        "SELECT nextval('numbers')::text || lastval()",
        "SHOW statement_timeout",
    ];
    for sql in statements {
        for _ in 0..20 {
            pool.one::<String>(sql, &[]).await.expect("a row");
        }
    }
    for one in pool.lane_uses() {
        assert_eq!(one.on_lanes > 0, one.sql == "SELECT ?", "{one:?}");
    }
}

/// Large results, and streams, have connections of their own.
#[tokio::test]
async fn large_results_have_connections_of_their_own() {
    const SQL: &str = "SELECT repeat('x', $1)";
    let database = database().await;
    let pool = pool(&database, |_| {}).await;
    learn::<String>(&pool, SQL, &[&10_i32]).await;
    let large: String = pool.one(SQL, &[&1_000_000_i32]).await.expect("a row");
    assert_eq!(large.len(), 1_000_000);
    let after = known(&pool, SQL);
    assert!(after.why_not.as_deref().is_some_and(|why| why.starts_with("gave a large result")), "{after:?}");
    pool.one::<String>(SQL, &[&1_000_000_i32]).await.expect("a row");
    assert_eq!(known(&pool, SQL).on_lanes, after.on_lanes);
}

/// A slow run sends a statement back; what the time-out of a lane ends runs once more, and its caller does not notice.
#[tokio::test]
async fn slow_statements_are_sent_back() {
    let database = database().await;
    let observer = Recorder::default();
    let pool =
        db_pool::Pool::open_observed(database.config(), settings(), std::sync::Arc::new(observer.clone()))
            .await
            .expect("a pool");
    learn::<i64>(&pool, SLEEP, &[&0_f64, &1_i64]).await;
    assert_eq!(pool.one::<i64>(SLEEP, &[&0.08_f64, &2_i64]).await.expect("a row"), 2);
    let slow = known(&pool, SLEEP);
    assert!(slow.why_not.as_deref().is_some_and(|why| why.starts_with("was slow on a lane")), "{slow:?}");

    learn::<i64>(&pool, SLEEP, &[&0_f64, &1_i64]).await;
    let told = || observer.events().iter().filter(|event| event.starts_with("executed")).count();
    let before = told();
    assert_eq!(pool.one::<i64>(SLEEP, &[&0.5_f64, &3_i64]).await.expect("a row"), 3);
    assert_eq!(told(), before + 1, "{:?}", observer.events().last());
    let stopped = known(&pool, SLEEP);
    assert!(stopped.why_not.as_deref().is_some_and(|why| why.starts_with("met the time-out")), "{stopped:?}");
    assert_eq!((pool.stats().lanes.reruns, pool.stats().lanes.demotions), (1, 2));
}

/// A statement that the server ends for its own time-out fails as it would anywhere.
#[tokio::test]
async fn the_time_out_of_the_pool_holds_on_lanes() {
    let database = database().await;
    let pool = pool(&database, |settings| settings.statement_timeout = Duration::from_millis(150)).await;
    learn::<i64>(&pool, SLEEP, &[&0_f64, &1_i64]).await;
    let error = pool.one::<i64>(SLEEP, &[&5_f64, &1_i64]).await.expect_err("too long");
    assert_eq!(error.code(), "57014", "{error}");
    assert_eq!(pool.stats().lanes.reruns, 0);
}

/// A migration that changes what a statement gives is no error to anybody.
#[tokio::test]
async fn a_changed_result_is_no_error() {
    let database = database().await;
    let pool = pool(&database, |_| {}).await;
    pool.batch_execute("CREATE TABLE t (a int4 NOT NULL); INSERT INTO t VALUES (7)").await.expect("a table");
    learn::<i32>(&pool, "SELECT * FROM t", &[]).await;
    pool.batch_execute("ALTER TABLE t ALTER a TYPE int8").await.expect("another type");
    assert_eq!(pool.one::<i64>("SELECT * FROM t", &[]).await.expect("healed"), 7);
    learn::<i64>(&pool, "SELECT * FROM t", &[]).await;
}

/// A connection that was a lane comes back as it was: with the time-out of the pool, and nobody's statement on it.
#[tokio::test]
async fn a_lane_goes_back_as_it_was() {
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.min) = (4, 4)).await;
    learn::<i32>(&pool, "SELECT 1", &[]).await;
    assert_eq!(pool.stats().lanes.open, 1);
    pool.pause(Duration::from_secs(10)).await.expect("all came back");
    assert_eq!((pool.stats().lanes.open, pool.stats().in_use), (0, 0));
    pool.resume();
    let conns = join_all((0..4).map(|_| pool.acquire())).await;
    for conn in conns {
        let limit: String = conn.expect("all").one("SHOW statement_timeout", &[]).await.expect("a row");
        assert_eq!(limit, "5s");
    }
    assert!(pool.stats().opened <= 4 && pool.stats().closed.total() == 0, "{:?}", pool.stats());
    // The first statement after it finds no lane, and makes one.
    eventually("they come back", async || {
        pool.one::<i32>("SELECT 1", &[]).await.expect("a row");
        pool.stats().lanes.open == 1
    })
    .await;
}

/// The settings of the session that were made in the connection string hold there too.
#[tokio::test]
async fn settings_of_the_connection_string_hold() {
    let database = database().await;
    let url = format!("{}?options=-c%20statement_timeout%3D120%20-c%20app.name%3Dx", database.url());
    let pool = db_pool::Pool::open(url.parse::<db_pool::Target>().expect("a URL"), settings())
        .await
        .expect("a pool");
    const SQL: &str = "SELECT current_setting('statement_timeout') || current_setting('app.name')";
    learn::<String>(&pool, SQL, &[]).await;
    let settings: String = pool.one(SQL, &[]).await.expect("a row");
    assert_eq!(settings, "120msx");
    drop(pool);
    let admin = client(database.url()).await;
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    eventually("a pool that was dropped leaves nothing, with lanes too", async || {
        admin.query_one(sessions, &[]).await.expect("a row").get::<_, i64>(0) == 0
    })
    .await;
}
