//! The cluster of the test kit: what it promises to those who test routing with it.

use std::time::{Duration, Instant};

use db_testkit::{Node, TestCluster};
use tokio::time::timeout;
use tokio_postgres::types::FromSqlOwned;

use crate::support::{backend, client};

async fn cluster(replicas: usize) -> TestCluster {
    TestCluster::start(&backend(), replicas).await.expect("a cluster")
}

async fn ask<T: FromSqlOwned>(node: &Node, question: &str) -> T {
    client(node.url()).await.query_one(question, &[]).await.expect("an answer").get(0)
}

async fn tell(node: &Node, statement: &str) {
    client(node.url()).await.batch_execute(statement).await.expect("done");
}

async fn is_standby(node: &Node) -> bool {
    ask(node, "SELECT pg_is_in_recovery()").await
}

async fn count(node: &Node) -> i64 {
    ask(node, "SELECT count(*) FROM t").await
}

/// Of a primary: the control file of one just promoted still has the old one.
async fn timeline(node: &Node) -> String {
    ask(node, "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)").await
}

#[tokio::test]
async fn replicas_stream_and_show_what_was_written() {
    let cluster = cluster(2).await;
    assert_eq!(cluster.nodes().len(), 3);
    tell(cluster.node(0), "CREATE TABLE t AS SELECT 1").await;
    assert!(!is_standby(cluster.node(0)).await);
    for replica in [1, 2] {
        cluster.caught_up(replica, 0).await.expect("caught up");
        assert!(is_standby(cluster.node(replica)).await);
        assert_eq!(count(cluster.node(replica)).await, 1);
    }
    for node in cluster.nodes() {
        let system: i64 = ask(node, "SELECT system_identifier FROM pg_control_system()").await;
        let of_primary = ask(cluster.node(0), "SELECT system_identifier FROM pg_control_system()").await;
        assert_eq!((system, node.name()), (of_primary, &*ask::<String>(node, "SHOW cluster_name").await));
    }
    let names = "SELECT array_agg(application_name ORDER BY application_name) FROM pg_stat_replication";
    assert_eq!(ask::<Vec<String>>(cluster.node(0), names).await, ["node-1", "node-2"]);
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn after_a_promotion_the_others_follow_and_the_old_primary_comes_back_as_one_and_then_as_a_standby() {
    let mut cluster = cluster(2).await;
    tell(cluster.node(0), "CREATE TABLE t AS SELECT 1").await;
    let urls: Vec<String> = cluster.nodes().iter().map(|node| node.url().to_owned()).collect();
    cluster.caught_up(1, 0).await.expect("caught up");
    cluster.halt_at_once(0).await.expect("halted");
    let connected =
        timeout(Duration::from_secs(2), tokio_postgres::connect(&urls[0], tokio_postgres::NoTls)).await;
    assert!(!matches!(connected, Ok(Ok(_))), "a local port refuses, and nobody answers for a container");

    cluster.promote(1).await.expect("promoted");
    assert!(!is_standby(cluster.node(1)).await);
    let system: String = ask(cluster.node(2), "SELECT pg_postmaster_start_time()::text").await;
    cluster.follow(2, 1).await.expect("follows");
    let same: String = ask(cluster.node(2), "SELECT pg_postmaster_start_time()::text").await;
    assert_eq!(system, same, "a standby that runs is told its new leader and no more");
    tell(cluster.node(1), "INSERT INTO t VALUES (2)").await;
    cluster.caught_up(2, 1).await.expect("caught up");
    assert_eq!(count(cluster.node(2)).await, 2);

    cluster.resume(0).await.expect("resumed");
    assert!(!is_standby(cluster.node(0)).await, "two primaries");
    assert_eq!(
        (&*timeline(cluster.node(0)).await, &*timeline(cluster.node(1)).await),
        ("00000001", "00000002")
    );
    tell(cluster.node(0), "INSERT INTO t VALUES (3), (4), (5)").await;
    assert_eq!((count(cluster.node(0)).await, count(cluster.node(1)).await), (4, 2));

    cluster.follow(0, 1).await.expect("follows");
    assert!(is_standby(cluster.node(0)).await);
    assert_eq!(count(cluster.node(0)).await, 2, "what only it had is lost");
    let now: Vec<String> = cluster.nodes().iter().map(|node| node.url().to_owned()).collect();
    assert_eq!(now, urls);
    cluster.stop().await.expect("stopped");
}

/// It has replayed what the new primary never had.
#[tokio::test]
async fn a_standby_that_is_ahead_of_its_new_leader_is_made_anew() {
    let mut cluster = cluster(2).await;
    tell(cluster.node(0), "CREATE TABLE t AS SELECT 1").await;
    cluster.caught_up(1, 0).await.expect("caught up");
    cluster.halt(1).await.expect("halted");
    tell(cluster.node(0), "INSERT INTO t VALUES (2)").await;
    cluster.caught_up(2, 0).await.expect("caught up");
    cluster.halt_at_once(0).await.expect("halted");
    cluster.resume(1).await.expect("resumed");
    cluster.promote(1).await.expect("promoted");
    assert_eq!((count(cluster.node(1)).await, count(cluster.node(2)).await), (1, 2));
    cluster.follow(2, 1).await.expect("follows");
    cluster.caught_up(2, 1).await.expect("caught up");
    assert_eq!(count(cluster.node(2)).await, 1);
}

#[tokio::test]
async fn a_replica_lags_by_as_much_as_it_is_told() {
    let cluster = cluster(1).await;
    tell(cluster.node(0), "CREATE TABLE t AS SELECT 1").await;
    cluster.caught_up(1, 0).await.expect("caught up");
    cluster.lag(1, Duration::from_secs(2)).await.expect("lags");
    let before = Instant::now();
    tell(cluster.node(0), "INSERT INTO t VALUES (2)").await;
    assert_eq!(count(cluster.node(1)).await, 1);
    cluster.caught_up(1, 0).await.expect("caught up");
    // The clock that PostgreSQL compares with stands in the commit.
    assert!(before.elapsed() > Duration::from_millis(1900), "{:?}", before.elapsed());
    assert_eq!(count(cluster.node(1)).await, 2);

    cluster.lag(1, Duration::from_secs(600)).await.expect("lags");
    tell(cluster.node(0), "INSERT INTO t VALUES (3)").await;
    cluster.lag(1, Duration::ZERO).await.expect("lags no more");
    cluster.caught_up(1, 0).await.expect("what waited goes on at once");
    assert_eq!(count(cluster.node(1)).await, 3);
}

#[tokio::test]
async fn a_synchronous_commit_waits_for_a_frozen_replica() {
    let mut cluster = cluster(2).await;
    cluster.synchronous(0, 1).await.expect("set");
    tell(cluster.node(0), "CREATE TABLE t AS SELECT 1").await;
    cluster.freeze(1).await.expect("frozen");
    tell(cluster.node(0), "INSERT INTO t VALUES (2)").await;

    cluster.freeze(2).await.expect("frozen");
    let writer = client(cluster.node(0).url()).await;
    let write = writer.batch_execute("INSERT INTO t VALUES (3)");
    tokio::pin!(write);
    assert!(timeout(Duration::from_millis(500), &mut write).await.is_err(), "nobody has written it down");
    cluster.thaw(2).await.expect("thawed");
    write.await.expect("committed");

    cluster.halt_at_once(2).await.expect("halted");
    let write = writer.batch_execute("INSERT INTO t VALUES (4)");
    tokio::pin!(write);
    assert!(timeout(Duration::from_millis(500), &mut write).await.is_err(), "one is frozen, the other gone");
    cluster.synchronous(0, 0).await.expect("set");
    write.await.expect("no longer waited for");
    cluster.stop().await.expect("stopped, the frozen one too");
}
