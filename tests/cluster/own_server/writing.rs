//! Writes of the whole layer, as a service has it, while its primary fails: they go to whichever server takes writes by now.

use std::sync::Arc;
use std::time::Duration;

use db_app::config::Layers;
use db_app::{Config, Database, Resolver, TxOptions};
use db_core::{Executor as _, Kind, Outcome, Query as _};
use db_pool::Heard;
use db_testkit::{Direction, Proxy, TestCluster};
use tokio::time::timeout;

use crate::cluster::scene::{NAME, servers};
use crate::support::{backend, client, eventually};

const LIMIT: Duration = Duration::from_secs(20);
const WRITE: &str = "INSERT INTO numbers SELECT coalesce(max(number), 0) + 1 FROM numbers
    RETURNING current_setting('cluster_name')";

async fn open(urls: &[(&str, &str)]) -> Database {
    let layers = Layers::default().with_environment("DB_HEALTH_INTERVAL_MS", "100");
    let named = |layers: Layers, (name, url): &(&str, &str)| layers.with_environment(name, url);
    let layers = urls.iter().fold(layers, named);
    Database::open(Config::load(&layers).expect("a configuration")).await.expect("a database")
}

/// The database of a service whose primary is node 0 at first.
async fn open_all(servers: &TestCluster) -> Database {
    let replicas: Vec<_> = servers.nodes()[1..].iter().map(|node| node.url()).collect();
    open(&[("DATABASE_URL", servers.node(0).url()), ("DATABASE_REPLICA_URL", &replicas.join(" "))]).await
}

async fn rows(servers: &TestCluster, node: usize) -> i64 {
    let client = client(servers.node(node).url()).await;
    client.query_one("SELECT count(*) FROM numbers", &[]).await.expect("a count").get(0)
}

/// Writes until one is acknowledged, and says where.
async fn writes(db: &Database) -> String {
    db.primary().within(LIMIT).one(WRITE, &[]).await.expect("a write")
}

/// A6, D2: after a failover everything that writes goes to the new primary, and what belongs to the database follows.
#[tokio::test]
async fn everything_that_writes_follows_the_primary() {
    let mut servers = servers(2).await;
    let db = open_all(&servers).await;
    assert_eq!(writes(&db).await, "node-0");
    let mut listener = db.listen(&["jobs"]).await.expect("a listener");
    let xid = TxOptions::new().deadline(LIMIT).retry().resolver(Resolver::Xid);
    let marker = TxOptions::new().deadline(LIMIT).retry().resolver(Resolver::Marker);
    for options in [&xid, &marker] {
        db.tx_with(options, async |tx| tx.execute(WRITE, &[]).await).await.expect("a transaction");
    }

    servers.caught_up(1, 0).await.expect("caught up");
    servers.halt_at_once(0).await.expect("killed");
    eventually("it is not ready", async || !db.is_healthy()).await;
    servers.promote(1).await.expect("promoted");
    assert_eq!(writes(&db).await, "node-1");
    for options in [&xid, &marker] {
        let name = async |tx: &mut db_app::Tx<'_>| tx.one::<String>(WRITE, &[]).await;
        assert_eq!(db.tx_with(options, name).await.expect("a transaction"), "node-1");
    }
    let conn = db.acquire().await.expect("a connection");
    assert_eq!(conn.one::<String>(NAME, &[]).await.expect("a name"), "node-1");
    drop(conn);
    assert_eq!(db.tx(async |tx| tx.one::<String>(WRITE, &[]).await).await.expect("a name"), "node-1");
    let aside = db.connect_aside("test", None).await.expect("a connection");
    assert_eq!(aside.query_one(NAME, &[]).await.expect("a row").get::<_, String>(0), "node-1");

    assert_eq!(listener.next().await, Some(Heard::Gap));
    db.execute("SELECT pg_notify('jobs', 'one')", &[]).await.expect("notified");
    assert!(matches!(listener.next().await, Some(Heard::Notification(heard)) if heard.payload == "one"));
    eventually("it is ready", async || db.is_healthy()).await;

    servers.follow(2, 1).await.expect("follows");
    let token = db.write_token().await.expect("a token");
    let read = db.reads().after(token).within(LIMIT);
    assert_eq!(read.one::<i64>("SELECT count(*) FROM numbers", &[]).await.expect("a read"), 7);
    eventually("reads go to a replica", async || {
        db.reads().one::<String>(NAME, &[]).await.expect("a read") == "node-2"
    })
    .await;
    db.close(LIMIT).await.expect("closed");
    servers.stop().await.expect("stopped");
}

/// D2: the table of the markers may not have come to the new primary.
#[tokio::test]
async fn what_a_resolver_needs_is_made_anew() {
    let mut servers = servers(1).await;
    let db = open_all(&servers).await;
    let marker = TxOptions::new().deadline(LIMIT).retry().resolver(Resolver::Marker);
    let write = async |tx: &mut db_app::Tx<'_>| tx.one::<String>(WRITE, &[]).await;
    servers.halt(1).await.expect("halted");
    assert_eq!(db.tx_with(&marker, write).await.expect("a transaction"), "node-0");
    servers.halt_at_once(0).await.expect("killed");
    servers.resume(1).await.expect("back");
    servers.promote(1).await.expect("promoted");
    assert_eq!(db.tx_with(&marker, write).await.expect("a transaction"), "node-1");
    db.close(LIMIT).await.expect("closed");
    servers.stop().await.expect("stopped");
}

/// D2: a COMMIT on a primary that fell silent is in doubt, and who asks what became of it does not wait for that one.
#[tokio::test]
async fn nobody_waits_for_a_silent_primary_to_say_what_became_of_a_commit() {
    let mut servers = servers(1).await;
    let db = open_all(&servers).await;
    let xid = TxOptions::new().deadline(LIMIT * 6).resolver(Resolver::Xid);
    let (is_written, written) = tokio::sync::watch::channel(false);
    let (is_frozen, frozen) = tokio::sync::watch::channel(false);
    let commits = db.tx_with(&xid, async |tx| {
        tx.execute(WRITE, &[]).await?;
        is_written.send_replace(true);
        frozen.clone().wait_for(|frozen| *frozen).await.map(drop).expect("told");
        Ok(())
    });
    let fails = async {
        written.clone().wait_for(|written| *written).await.map(drop).expect("told");
        servers.freeze(0).await.expect("frozen");
        is_frozen.send_replace(true);
        servers.promote(1).await.expect("promoted");
    };
    let (committed, ()) = timeout(LIMIT, async { tokio::join!(commits, fails) }).await.expect("in time");
    assert_eq!(committed.expect_err("in doubt").outcome(), Outcome::Unknown);
    db.close(LIMIT).await.expect("closed");
    servers.thaw(0).await.expect("thawed");
    servers.stop().await.expect("stopped");
}

/// B7: what is read on a replica when the database is closed is read to its end.
#[tokio::test]
async fn closing_waits_for_reads_of_replicas() {
    let servers = servers(1).await;
    let db = open_all(&servers).await;
    let reader = db.clone();
    let read = tokio::spawn(async move {
        let name = "SELECT current_setting('cluster_name') FROM pg_sleep(3)";
        reader.reads().within(LIMIT).one::<String>(name, &[]).await
    });
    let side = client(servers.node(1).url()).await;
    let runs = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3)' AND pid <> pg_backend_pid()";
    eventually("it runs", async || !side.query(runs, &[]).await.expect("activity").is_empty()).await;
    db.close(LIMIT).await.expect("closed");
    assert_eq!(read.await.expect("no panic").expect("a read"), "node-1");
    let late = db.reads().one::<String>(NAME, &[]).await.expect_err("closed");
    assert_eq!(late.kind(), Kind::Connection);
    servers.stop().await.expect("stopped");
}

/// A12: a server that takes longer to connect to than a look may take is used all the same.
#[tokio::test]
async fn servers_may_be_far_away() {
    let servers = servers(1).await;
    let mut ways = Vec::new();
    for node in servers.nodes() {
        let proxy = Proxy::to_url(node.url()).await.expect("a proxy");
        proxy.delay(Direction::ToServer, Duration::from_millis(40));
        proxy.delay(Direction::ToClient, Duration::from_millis(40));
        ways.push(proxy);
    }
    let [primary, replica] = [0, 1].map(|way| ways[way].url());
    let db = open(&[("DATABASE_URL", &primary), ("DATABASE_REPLICA_URL", &replica)]).await;
    assert_eq!(writes(&db).await, "node-0");
    eventually("reads go to the replica", async || {
        db.reads().within(LIMIT).one::<String>(NAME, &[]).await.expect("a read") == "node-1"
    })
    .await;
    db.close(LIMIT).await.expect("closed");
    servers.stop().await.expect("stopped");
}

/// D2: migrations go to the primary too, also by a way of their own that led to the old one.
#[tokio::test]
async fn migrations_follow_the_primary() {
    let mut servers = servers(1).await;
    let [first, second] = [0, 1].map(|node| servers.node(node).url().to_owned());
    let db = open(&[
        ("DATABASE_URL", &first),
        ("DATABASE_REPLICA_URL", &second),
        ("DATABASE_MIGRATION_URL", &first),
    ])
    .await;
    let name = async || {
        let client = db.connect_directly("test", None).await.expect("a connection");
        client.query_one(NAME, &[]).await.expect("a name").get::<_, String>(0)
    };
    assert_eq!(name().await, "node-0");
    servers.halt_at_once(0).await.expect("killed");
    servers.promote(1).await.expect("promoted");
    assert_eq!(writes(&db).await, "node-1");
    servers.resume(0).await.expect("a second primary");
    assert_eq!(name().await, "node-1");
    db.close(LIMIT).await.expect("closed");
    servers.stop().await.expect("stopped");
}

/// D2: a primary that is only silent holds nobody up once another one took its place, and gets nothing when it is back.
#[tokio::test]
async fn a_silent_primary_is_left_for_good() {
    let mut servers = servers(1).await;
    let db = Arc::new(open_all(&servers).await);
    let held = db.acquire().await.expect("a connection");
    held.batch_execute("BEGIN; INSERT INTO numbers VALUES (1)").await.expect("a transaction");
    servers.freeze(0).await.expect("frozen");
    let waiting = tokio::spawn({
        let db = Arc::clone(&db);
        async move { writes(&db).await }
    });
    servers.promote(1).await.expect("promoted");
    assert_eq!(waiting.await.expect("no panic"), "node-1", "who waited is served");
    assert_eq!(held.batch_execute("COMMIT").await.expect_err("severed").kind(), Kind::Connection);
    drop(held);
    servers.thaw(0).await.expect("back");
    let out = async || db.servers().iter().any(|server| server.standing.reason() == Some("old_timeline"));
    eventually("it is fenced", out).await;
    for _ in 0..20 {
        assert_eq!(writes(&db).await, "node-1");
    }
    assert_eq!(rows(&servers, 0).await, 0, "nothing reached the old one");
    db.close(LIMIT).await.expect("closed");
    servers.stop().await.expect("stopped");
}

/// A6, D12: a service that starts after a failover finds the primary, whatever its variables call it.
#[tokio::test]
async fn a_service_starts_on_the_primary_of_the_moment() {
    let mut servers = servers(1).await;
    servers.halt_at_once(0).await.expect("killed");
    servers.promote(1).await.expect("promoted");
    let db = open_all(&servers).await;
    assert_eq!(writes(&db).await, "node-1");
    assert!(db.is_healthy());
    servers.follow(0, 1).await.expect("follows");
    eventually("reads go to the old primary", async || {
        db.reads().one::<String>(NAME, &[]).await.expect("a read") == "node-0"
    })
    .await;
    db.close(LIMIT).await.expect("closed");
    servers.stop().await.expect("stopped");
}

/// D2, D12: one URL that names all servers is enough for writes. Reads stay on the primary until replicas are named.
#[tokio::test]
async fn one_url_names_all_servers() {
    let mut servers = servers(1).await;
    let hosts: Vec<_> = servers.nodes().iter().map(|node| host(node.url())).collect();
    let user = servers.node(0).url().split('@').next().expect("a URL").to_owned();
    let all = format!("{user}@{}/postgres?sslmode=disable", hosts.join(","));
    let primary = format!("{all}&target_session_attrs=primary");
    let db = open(&[("DATABASE_URL", &primary)]).await;
    let both = open(&[("DATABASE_URL", &primary), ("DATABASE_REPLICA_URL", &all)]).await;
    for _ in 0..20 {
        assert_eq!(db.reads().one::<String>(NAME, &[]).await.expect("a read"), "node-0");
        assert_eq!(both.reads().one::<String>(NAME, &[]).await.expect("a read"), "node-1");
    }
    servers.halt_at_once(0).await.expect("killed");
    servers.promote(1).await.expect("promoted");
    for db in [db, both] {
        assert_eq!(writes(&db).await, "node-1");
        assert_eq!(db.reads().one::<String>(NAME, &[]).await.expect("a read"), "node-1");
        db.close(LIMIT).await.expect("closed");
    }
    servers.stop().await.expect("stopped");
}

fn host(url: &str) -> String {
    let host = url.split('@').nth(1).expect("a host");
    host.split('/').next().expect("a host").to_owned()
}

/// What is wrong with the servers is said at the start, by the first one if there is no primary.
#[tokio::test]
async fn without_a_primary_it_does_not_start() {
    let check = async |first: &str, second: &str, expect: &str| {
        let layers = Layers::default()
            .with_environment("DATABASE_URL", first)
            .with_environment("DATABASE_REPLICA_URL", second);
        let config = Config::load(&layers).expect("a configuration");
        let error = Database::open(config).await.expect_err("no primary");
        let error: &dyn std::error::Error = &error;
        let whole: Vec<_> =
            std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
        let whole = whole.join(": ");
        assert!(whole.contains(expect), "{whole}");
        whole
    };
    let mut servers = servers(1).await;
    let [primary, replica] = [0, 1].map(|node| servers.node(node).url().to_owned());
    let no_such_database = |url: &str| {
        let (server, options) = url.split_once('?').unwrap_or((url, ""));
        let (server, _) = server.rsplit_once('/').expect("a database");
        format!("{server}/wrong?{options}")
    };
    let whole = check(&replica, &no_such_database(&primary), "the server is a standby").await;
    assert!(whole.contains(&format!("{} replica", host(&replica))), "{whole}");
    check(&no_such_database(&primary), &replica, "database \"wrong\" does not exist").await;

    // Whose first server is gone must not write to just any other.
    servers.halt(0).await.expect("halted");
    let foreign = TestCluster::start(&backend(), 0).await.expect("a server");
    let url = foreign.node(0).url();
    let whole = check(&primary, url, "takes writes and was never promoted").await;
    assert!(whole.contains(&host(url)), "{whole}");
    foreign.stop().await.expect("stopped");
    servers.stop().await.expect("stopped");
}
