//! What operators do with a pool that has lanes, and what those need who hold connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use db_core::Query;
use db_pool::{Conn, Pool};
use futures_util::future::join_all;

use super::learn;
use crate::support::{client, database, eventually, pool, settings};

/// Callers who select until they are told to stop; none of them sees an error.
struct Load {
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn begin(pool: &Pool, callers: i64) -> Self {
        let (is_over, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let tasks = (0..callers).map(|caller| {
            let (pool, is_over, served) = (pool.clone(), Arc::clone(&is_over), Arc::clone(&served));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let own: i64 = pool.one("SELECT $1::int8", &[&caller]).await.expect("no statement fails");
                    assert_eq!(own, caller);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let tasks = tasks.collect();
        Self { is_over, served, tasks }
    }

    async fn goes_on(&self) {
        let until = self.served.load(Ordering::Relaxed) + 200;
        eventually("they are served", async || self.served.load(Ordering::Relaxed) >= until).await;
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no statement failed");
        }
    }
}

/// Pausing, resizing and rotating a pool with lanes is an error to nobody, and closing it leaves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operating_a_pool_with_lanes_fails_nobody() {
    let database = database().await;
    let pool = pool(&database, |settings| (settings.max, settings.queue_limit) = (8, 1_000)).await;
    let admin = client(database.url()).await;
    let load = Load::begin(&pool, 30);
    eventually("there are lanes", async || pool.stats().lanes.open > 0).await;
    for _ in 0..3 {
        load.goes_on().await;
        let now: String = admin.query_one("SELECT clock_timestamp()::text", &[]).await.expect("a row").get(0);
        pool.rotate();
        let older = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND pid <> pg_backend_pid() AND backend_start < $1::text::timestamptz";
        eventually("lanes are replaced as well", async || {
            admin.query_one(older, &[&now]).await.expect("a row").get::<_, i64>(0) == 0
        })
        .await;
        load.goes_on().await;
        pool.pause(Duration::from_secs(10)).await.expect("all came back");
        assert_eq!((pool.stats().in_use, pool.stats().lanes.open), (0, 0));
        pool.resume();
        load.goes_on().await;
        pool.resize(2);
        eventually("two of them are left, and no lane", async || {
            let stats = pool.stats();
            (stats.total, stats.lanes.open) == (2, 0)
        })
        .await;
        load.goes_on().await;
        pool.resize(8);
        load.goes_on().await;
    }
    assert!(pool.stats().closed.rotated > 0);
    eventually("there are lanes again", async || pool.stats().lanes.open > 0).await;
    load.end().await;
    pool.close(Duration::from_secs(10)).await.expect("closed");
    assert_eq!((pool.stats().total, pool.stats().in_use), (0, 0));
}

/// Whoever waits for a connection of its own gets one, also the last one: a lane gives way, and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_give_way_to_those_who_hold_connections() {
    let database = database().await;
    let pool = pool(&database, |settings| {
        (settings.max, settings.queue_limit) = (4, 1_000);
        settings.acquire_timeout = Duration::from_secs(10);
    })
    .await;
    learn::<i32>(&pool, "SELECT 1", &[]).await;
    // Idle, it goes at the next look.
    let held: Vec<Conn> =
        join_all((0..4).map(|_| pool.acquire())).await.into_iter().map(|it| it.expect("one")).collect();
    assert_eq!((pool.stats().lanes.open, pool.stats().in_use), (0, 4));
    drop(held);

    learn::<i32>(&pool, "SELECT 1", &[]).await;
    // In use, it goes when somebody has waited for a while.
    let load = Load::begin(&pool, 8);
    load.goes_on().await;
    let held: Vec<Conn> =
        join_all((0..4).map(|_| pool.acquire())).await.into_iter().map(|it| it.expect("one")).collect();
    assert_eq!(pool.stats().lanes.open, 0);
    drop(held);
    load.goes_on().await;
    eventually("it comes back", async || pool.stats().lanes.open == 1).await;
    load.end().await;
}

/// The only connection that the server gives is a lane with much to do, and gives way as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_give_way_where_the_server_gives_no_more() {
    let database = database().await;
    let admin = client(database.url()).await;
    let role = format!("role_{}", database.name());
    let sql = format!("CREATE ROLE {role} LOGIN PASSWORD 'one' CONNECTION LIMIT 1");
    admin.batch_execute(&sql).await.expect("a role");
    let mut target = database.config();
    target.user(&role).password("one");
    let mut settings = settings();
    settings.max = 4;
    let pool = Pool::open(target, settings).await.expect("a pool");
    learn::<i64>(&pool, "SELECT $1::int8", &[&1_i64]).await;
    let load = Load::begin(&pool, 3);
    load.goes_on().await;
    assert_eq!((pool.stats().lanes.open, pool.stats().total), (1, 1));
    let conn = pool.acquire().await.expect("the lane's");
    drop(conn);
    load.goes_on().await;
    load.end().await;
    pool.close(Duration::from_secs(5)).await.expect("closed");
    eventually("the role is free", async || admin.batch_execute(&format!("DROP ROLE {role}")).await.is_ok())
        .await;
}

/// A lane that nobody uses goes back to the pool, and is no leak while it is there.
#[tokio::test]
async fn a_lane_that_nobody_uses_goes_back() {
    let database = database().await;
    let observer = crate::support::Recorder::default();
    let mut settings = crate::support::settings();
    settings.leak_warning = Duration::from_millis(100);
    let pool =
        Pool::open_observed(database.config(), settings, Arc::new(observer.clone())).await.expect("a pool");
    learn::<i32>(&pool, "SELECT 1", &[]).await;
    assert_eq!(pool.stats().in_use, 1, "it counts as one in use");
    // Ten seconds without a statement.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while pool.stats().in_use > 0 {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", pool.stats());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!observer.events().iter().any(|event| event.starts_with("leaked")), "{:?}", observer.events());
}
