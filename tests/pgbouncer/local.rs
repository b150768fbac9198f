//! A cluster with a PgBouncer before each server, which gives each transaction another session: what is routed where, what a token
//! is worth, and a promotion behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use db_cluster::{Cluster, Preference, Reason, Settings, Standing};
use db_core::{Acquire, Error, Executor, Kind, Outcome, Params, Query as _, Result, Row, RowStream};
use db_pool::{Conn, Pool, Pooler};
use db_testkit::TestCluster;
use futures_util::{StreamExt, TryStreamExt};
use tokio_postgres::Config;

use super::bouncer::{Bouncer, Mode};
use crate::cluster::scene::{NAME, patient, publish, servers};
use crate::support::{client, eventually};

const COUNT: &str = "SELECT count(*) FROM numbers";

/// One before each server, in their order.
async fn bouncers(servers: &TestCluster) -> Vec<Bouncer> {
    let mut bouncers = Vec::new();
    for node in servers.nodes() {
        bouncers.push(Bouncer::before_server(&node.config(), Mode::Transaction).await);
    }
    bouncers
}

async fn pool(bouncer: &Bouncer) -> Pool {
    pool_of(bouncer, Pooler::Transaction, 4).await
}

async fn pool_of(bouncer: &Bouncer, pooler: Pooler, max: u32) -> Pool {
    let change = |settings: &mut db_pool::Settings| {
        (settings.pooler, settings.min, settings.max) = (pooler, 0, max);
        settings.application_name = "billing".to_owned();
        // What was given up on a silent server keeps its place for so long.
        settings.connect_timeout = Duration::from_secs(2);
    };
    bouncer.pool(change).await
}

fn patience() -> Settings {
    patient(|settings| settings.patience = Duration::from_secs(20))
}

async fn cluster(servers: &TestCluster, bouncers: &[Bouncer]) -> Cluster<Pool> {
    let mut builder = Cluster::builder();
    for (node, bouncer) in servers.nodes().iter().zip(bouncers) {
        builder = builder.endpoint_watched_over(node.name(), pool(bouncer).await, pool(bouncer).await);
    }
    builder.settings(patience()).start().await.expect("a cluster")
}

/// A6: reads go to the replica and writes to the primary, and a read after a token sees what was written, with the settings of
/// the pool.
#[tokio::test]
async fn reads_and_writes_are_routed_and_tokens_hold() {
    let servers = servers(1).await;
    let bouncers = bouncers(&servers).await;
    let cluster = cluster(&servers, &bouncers).await;
    for number in 0..20_i64 {
        let primary = cluster.primary().await.expect("the primary");
        primary.execute("INSERT INTO numbers VALUES ($1)", &[&number]).await.expect("a write");
        let token = primary.token().await.expect("a token");
        drop(primary);
        let read = cluster.read().after(token).preference(Preference::ReplicaOnly);
        let sql = "SELECT count(*), current_setting('cluster_name'), current_setting('application_name') FROM numbers";
        let seen: (i64, String, String) = read.one(sql, &[]).await.expect("a read");
        assert_eq!(seen, (number + 1, "node-1".to_owned(), "billing".to_owned()));
        let rows: Vec<i64> = {
            let rows = read.stream::<i64>("SELECT number FROM numbers WHERE number > $1", &[&-1_i64]).await;
            rows.expect("a stream").try_collect().await.expect("rows")
        };
        assert_eq!(i64::try_from(rows.len()).expect("few"), number + 1);
    }
    let stats = cluster.pool("node-1").expect("a pool").stats();
    assert_eq!((stats.closed.broken, stats.closed.unclean), (0, 0), "connections are used again");

    servers.lag(1, Duration::from_secs(60)).await.expect("late");
    let primary = cluster.primary().await.expect("the primary");
    primary.batch_execute("INSERT INTO numbers VALUES (99)").await.expect("a write");
    let token = primary.token().await.expect("a token");
    drop(primary);
    assert_eq!(cluster.read().one::<i64>(COUNT, &[]).await.expect("a read"), 20, "late");
    assert_eq!(cluster.read().after(token).one::<i64>(COUNT, &[]).await.expect("a read"), 21);
    servers.lag(1, Duration::ZERO).await.expect("not late any more");
    let after = cluster.read().after(token);
    eventually("the replica has it", async || {
        after.one::<String>(NAME, &[]).await.expect("a read") == "node-1"
    })
    .await;
    drop(cluster);
    servers.stop().await.expect("stopped");
}

/// A pool whose server is another one as soon as it has said what it has replayed.
struct Turning {
    pool: Pool,
    turn: Option<Arc<Turn>>,
}

struct OnTurning {
    conn: Conn,
    turn: Option<Arc<Turn>>,
}

/// When it turns, and where to.
struct Turn {
    is_due: AtomicBool,
    bouncer: Bouncer,
    to: Config,
}

impl Acquire for Turning {
    type Conn = OnTurning;

    async fn acquire(&self, deadline: Option<Instant>) -> Result<OnTurning> {
        let conn = Acquire::acquire(&self.pool, deadline).await?;
        Ok(OnTurning { conn, turn: self.turn.clone() })
    }

    async fn stream(conn: OnTurning, sql: &str, params: Params<'_>) -> Result<RowStream<'static>> {
        conn.conn.into_stream(sql, params).await
    }

    async fn keep_session(conn: &OnTurning) -> Result<()> {
        <Pool as Acquire>::keep_session(&conn.conn).await
    }
}

#[async_trait]
impl Executor for OnTurning {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        let rows = self.conn.fetch(sql, params).await;
        // A look asks for more than what was replayed.
        let is_proof = sql.contains("pg_last_wal_replay_lsn") && !sql.contains("pg_control_system");
        if let Some(turn) = self.turn.as_ref().filter(|_| is_proof)
            && turn.is_due.swap(false, Ordering::SeqCst)
        {
            turn.bouncer.turn_to(&turn.to).await;
        }
        rows
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        self.conn.fetch_stream(sql, params).await
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.conn.execute(sql, params).await
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        self.conn.batch_execute(sql).await
    }
}

/// What was proved is proved for the session that reads, also when the pooler would give the next transaction another server, or
/// one that was started again.
#[tokio::test]
async fn a_token_holds_while_the_pooler_turns_to_a_late_server() {
    let servers = servers(2).await;
    let mut bouncers = bouncers(&servers).await;
    let pools = [pool(&bouncers[0]).await, pool(&bouncers[1]).await];
    let [first, second] = pools;
    let turn = Arc::new(Turn {
        is_due: AtomicBool::new(false),
        bouncer: bouncers.remove(1),
        to: servers.node(2).config(),
    });
    let cluster = Cluster::builder()
        .endpoint("node-0", Turning { pool: first, turn: None })
        .endpoint("node-1", Turning { pool: second, turn: Some(Arc::clone(&turn)) })
        .settings(patience());
    let cluster = cluster.start().await.expect("a cluster");

    servers.lag(2, Duration::from_secs(60)).await.expect("late");
    let primary = cluster.primary().await.expect("the primary");
    primary.batch_execute("INSERT INTO numbers VALUES (1)").await.expect("a write");
    let token = primary.token().await.expect("a token");
    drop(primary);
    servers.caught_up(1, 0).await.expect("caught up");
    let read = cluster.read().after(token).preference(Preference::ReplicaOnly);
    turn.is_due.store(true, Ordering::SeqCst);
    let seen: (String, i64) =
        read.one("SELECT current_setting('cluster_name'), count(*) FROM numbers", &[]).await.expect("a read");
    assert!(!turn.is_due.load(Ordering::SeqCst), "it has turned");
    assert_eq!(seen, ("node-1".to_owned(), 1));

    // The one behind it now is late, and says so.
    let late = read.within(Duration::from_secs(1)).one::<i64>(COUNT, &[]).await;
    assert_eq!(late.expect_err("late").kind(), Kind::Connection);
    turn.bouncer.turn_to(&servers.node(1).config()).await;
    turn.is_due.store(true, Ordering::SeqCst);
    let read = cluster.read().after(token).preference(Preference::ReplicaOnly);
    let mut rows = read.stream::<String>(NAME, &[]).await.expect("a stream");
    assert_eq!(rows.next().await.expect("a row").expect("a row"), "node-1");
    drop(rows);
    drop(cluster);
    servers.stop().await.expect("stopped");
}

/// A pooler whose server dies says so in its own way, and the read goes on elsewhere all the same.
#[tokio::test]
async fn a_read_whose_server_dies_behind_its_pooler_goes_on_elsewhere() {
    let mut servers = servers(2).await;
    let bouncers = bouncers(&servers).await;
    let cluster = cluster(&servers, &bouncers).await;
    cluster.drain("node-1").expect("known");
    let reader = cluster.clone();
    let read = tokio::spawn(async move {
        let sql = "SELECT current_setting('cluster_name')
            FROM pg_sleep(CASE current_setting('cluster_name') WHEN 'node-2' THEN 60 ELSE 0 END)";
        reader.read().preference(Preference::ReplicaOnly).one::<String>(sql, &[]).await
    });
    let side = client(servers.node(2).url()).await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(CASE%'
        AND pid <> pg_backend_pid()";
    eventually("it runs", async || side.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) == 1)
        .await;
    cluster.restore("node-1").expect("known");
    servers.halt_at_once(2).await.expect("killed");
    assert_eq!(read.await.expect("no panic").expect("a read"), "node-1");
    drop(cluster);
    servers.stop().await.expect("stopped");
}

/// The one endpoint leads to another primary than before: whoever is still connected to the old one writes nothing there.
#[tokio::test]
async fn a_connection_to_the_old_primary_is_severed_when_the_endpoint_leads_elsewhere() {
    let mut servers = servers(1).await;
    let bouncer = Bouncer::before_server(&servers.node(0).config(), Mode::Session).await;
    let (all, one) =
        (pool_of(&bouncer, Pooler::Session, 4).await, pool_of(&bouncer, Pooler::Session, 1).await);
    let builder = Cluster::builder().endpoint_watched_over("primary", all, one).settings(patience());
    let cluster = builder.start().await.expect("a cluster");
    let held = cluster.primary().await.expect("the primary");
    held.batch_execute("BEGIN; INSERT INTO numbers VALUES (1)").await.expect("begun");
    servers.freeze(0).await.expect("frozen");
    servers.promote(1).await.expect("promoted");
    bouncer.turn_to(&servers.node(1).config()).await;
    eventually("the new one is seen", async || cluster.stats()[0].timeline == Some(2)).await;
    servers.thaw(0).await.expect("thawed");
    let error = held.batch_execute("COMMIT").await.expect_err("severed");
    assert_eq!(error.kind(), Kind::Connection, "{error}");
    drop(held);
    let primary = cluster.primary().await.expect("the primary");
    primary.batch_execute("INSERT INTO numbers VALUES (2)").await.expect("a write");
    drop(primary);
    for (node, expect) in [(0, vec![]), (1, vec![2_i64])] {
        let side = client(servers.node(node).url()).await;
        let rows = side.query("SELECT number FROM numbers", &[]).await.expect("rows");
        assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>(), expect, "on node-{node}");
    }
    drop(cluster);
    servers.stop().await.expect("stopped");
}

/// What became of reads and writes in the background.
#[derive(Debug, Default)]
struct Ledger {
    is_over: AtomicBool,
    next: AtomicI64,
    reads: AtomicUsize,
    acknowledged: AtomicUsize,
    /// With the number that was to be written.
    errors: std::sync::Mutex<Vec<(Option<i64>, Error)>>,
}

impl Ledger {
    async fn read(&self, cluster: &Cluster<Pool>) {
        while !self.is_over.load(Ordering::Relaxed) {
            match cluster.read().one::<i64>(COUNT, &[]).await {
                Ok(_) => drop(self.reads.fetch_add(1, Ordering::Relaxed)),
                Err(error) => self.errors.lock().expect("no panic").push((None, error)),
            }
        }
    }

    async fn write(&self, cluster: &Cluster<Pool>) {
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let write = async {
                let primary = cluster.primary().await?;
                primary.execute("INSERT INTO numbers VALUES ($1)", &[&number]).await
            };
            match write.await {
                Ok(_) => drop(self.acknowledged.fetch_add(1, Ordering::Relaxed)),
                Err(error) => self.errors.lock().expect("no panic").push((Some(number), error)),
            }
        }
    }

    async fn flow(&self) {
        let so_far = || (self.reads.load(Ordering::Relaxed), self.acknowledged.load(Ordering::Relaxed));
        let (reads, writes) = so_far();
        eventually("reads and writes flow", async || so_far().0 > reads + 50 && so_far().1 > writes + 50)
            .await;
    }
}

/// D2: the primary is killed behind its pooler and a replica promoted behind another one: writes go there, and for each writer
/// and fault one at most has an unknown outcome. No read fails, also when a replica is killed behind its pooler.
#[tokio::test]
async fn a_promotion_behind_the_poolers_moves_reads_and_writes() {
    let mut servers = servers(2).await;
    let bouncers = bouncers(&servers).await;
    let cluster = cluster(&servers, &bouncers).await;
    let ledger = Arc::new(Ledger::default());
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let (ledger, cluster) = (Arc::clone(&ledger), cluster.clone());
            tokio::spawn(async move { futures_util::join!(ledger.read(&cluster), ledger.write(&cluster)) })
        })
        .collect();
    let until = async |node: usize, standing: Standing| {
        let what = format!("node-{node} is {standing}");
        eventually(&what, async || cluster.stats()[node].standing == standing).await;
    };
    ledger.flow().await;
    // Its pooler goes on to answer, with errors of its own.
    servers.halt_at_once(2).await.expect("killed");
    until(2, Standing::Out(Reason::Unreachable)).await;
    ledger.flow().await;
    servers.resume(2).await.expect("back");
    until(2, Standing::Replica).await;
    servers.synchronous(0, 2).await.expect("synchronous");
    ledger.flow().await;
    servers.halt_at_once(0).await.expect("killed");
    until(0, Standing::Out(Reason::Unreachable)).await;
    servers.promote(1).await.expect("promoted");
    until(1, Standing::Primary).await;
    servers.follow(2, 1).await.expect("follows");
    until(2, Standing::Replica).await;
    ledger.flow().await;
    assert!(cluster.token().await.expect("a token").timeline == 2);

    servers.resume(0).await.expect("back");
    servers.follow(0, 1).await.expect("follows");
    until(0, Standing::Replica).await;
    ledger.flow().await;
    ledger.is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no panic");
    }
    let errors = std::mem::take(&mut *ledger.errors.lock().expect("no panic"));
    let (of_reads, of_writes): (Vec<_>, Vec<_>) =
        errors.into_iter().partition(|(number, _)| number.is_none());
    assert!(of_reads.is_empty(), "{of_reads:?}");
    // While there is no primary its pooler answers for it, and nothing is written.
    let (unknown, not_written): (Vec<_>, Vec<_>) =
        of_writes.into_iter().partition(|(_, error)| error.outcome() == Outcome::Unknown);
    // Two writers: the primary is killed, and comes back as a second one.
    assert!(unknown.len() <= 4, "{unknown:?}");
    let numbers: Vec<_> = not_written.iter().filter_map(|(number, _)| *number).collect();
    let side = client(servers.node(1).url()).await;
    let wrongly = side.query_one("SELECT count(*) FROM numbers WHERE number = ANY($1)", &[&numbers]).await;
    assert_eq!(wrongly.expect("a count").get::<_, i64>(0), 0, "said not to be written, and there");
    let outcome = format!("{} writes unknown, {} not done, 0 reads failed", unknown.len(), numbers.len());
    publish("primary killed behind PgBouncer", outcome);
    let rows: i64 = side.query_one(COUNT, &[]).await.expect("rows").get(0);
    let acknowledged = i64::try_from(ledger.acknowledged.load(Ordering::Relaxed)).expect("few");
    assert!(rows >= acknowledged, "{rows} of {acknowledged} acknowledged writes are there");
    drop(cluster);
    servers.stop().await.expect("stopped");
}
