//! The primary fails, a replica is promoted, and writes go there; nothing reaches the old one any more.

use std::collections::BTreeSet;

use db_cluster::{Reason, Standing};
use db_core::{Executor as _, Kind, Query as _};

use crate::cluster::scene::{NAME, Scene};
use crate::cluster::writers::Writers;
use crate::support::{client, eventually};

/// D2: with synchronous replication nothing that was acknowledged is lost.
#[tokio::test]
async fn the_primary_is_killed_and_a_replica_promoted() {
    let mut scene = Scene::new(2).await;
    scene.servers.synchronous(0, 2).await.expect("synchronous");
    let writers = Writers::begin(&scene.cluster);
    writers.flow().await;
    scene.servers.halt_at_once(0).await.expect("killed");
    scene.until_out(0, Reason::Unreachable).await;
    assert!(scene.where_a_read_goes().await != "node-0", "reads go on without a primary");
    writers.promote(&scene, 1, "promotion complete").await;
    scene.servers.follow(2, 1).await.expect("follows");
    scene.until(2, Standing::Replica).await;
    writers.flow().await;

    // It comes back as if nothing had been.
    scene.servers.resume(0).await.expect("back");
    scene.until_out(0, Reason::OldTimeline).await;
    let old = client(scene.servers.node(0).url()).await;
    let count =
        async || -> i64 { old.query_one("SELECT count(*) FROM numbers", &[]).await.expect("a count").get(0) };
    let before = count().await;
    writers.flow().await;
    assert_eq!(count().await, before, "no write reaches the old primary");
    drop(old);
    scene.servers.follow(0, 1).await.expect("follows");
    scene.until(0, Standing::Replica).await;
    assert_eq!(
        writers.end("primary killed, synchronous replication", 2, scene.servers.node(1).url()).await,
        0
    );
    assert!(scene.heard.has("node-0: primary → out (unreachable)"));
    assert!(scene.heard.has("node-1: replica → primary"));
    scene.stop().await;
}

/// D2: a standby that has followed one promotion serves on when that primary ends as well. It has made no checkpoint since, so
/// without a receiver it shows the timeline from before.
#[tokio::test]
async fn a_second_primary_ends_before_its_standby_has_made_a_checkpoint() {
    let mut scene = Scene::new(2).await;
    scene.servers.halt_at_once(0).await.expect("killed");
    scene.servers.promote(1).await.expect("promoted");
    scene.until(1, Standing::Primary).await;
    scene.servers.follow(2, 1).await.expect("follows");
    scene.until(2, Standing::Replica).await;
    scene.write(1).await.expect("a write");
    let token = scene.cluster.token().await.expect("a token");
    assert_eq!(token.timeline, 2);
    scene.servers.caught_up(2, 1).await.expect("caught up");
    scene.servers.halt_at_once(1).await.expect("killed");
    scene.until_out(1, Reason::Unreachable).await;

    let standby = client(scene.servers.node(2).url()).await;
    let is_so = async |sql: &str| -> bool { standby.query_one(sql, &[]).await.expect("an answer").get(0) };
    let shows_the_old_one = "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE received_tli = 2)
        AND (SELECT timeline_id FROM pg_control_checkpoint()) = 1";
    eventually("it shows the timeline from before", async || is_so(shows_the_old_one).await).await;
    // What the first look has found counts when the second one begins.
    for _ in 0..2 {
        let now: String = standby.query_one("SELECT now()::text", &[]).await.expect("a time").get(0);
        let looks = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query_start > '{now}'
                AND query LIKE '%AS standby_timeline%' AND pid <> pg_backend_pid())"
        );
        eventually("it is looked at", async || is_so(&looks).await).await;
    }
    assert_eq!(scene.stats(2).standing, Standing::Replica);
    assert_eq!(scene.where_a_read_goes().await, "node-2");
    let count: i64 =
        scene.cluster.read().after(token).one("SELECT count(*) FROM numbers", &[]).await.expect("a read");
    assert_eq!(count, 1);
    drop(standby);
    scene.stop().await;
}

/// D2: with asynchronous replication what had not arrived is lost, which nobody can help; nothing that is said to have failed
/// is there.
#[tokio::test]
async fn the_primary_is_killed_with_asynchronous_replication() {
    let mut scene = Scene::new(1).await;
    let writers = Writers::begin(&scene.cluster);
    writers.flow().await;
    scene.servers.halt_at_once(0).await.expect("killed");
    writers.promote(&scene, 1, "promotion complete").await;
    writers.flow().await;
    writers.end("primary killed, asynchronous replication", 1, scene.servers.node(1).url()).await;
    scene.stop().await;
}

/// The old primary is alive and only out of sight. Whoever has a connection of it can write nothing there once the new one
/// was seen.
#[tokio::test]
async fn a_connection_of_the_old_primary_is_severed() {
    let mut scene = Scene::new(1).await;
    let mut held = scene.cluster.primary().await.expect("the primary");
    let in_tx = scene.cluster.primary().await.expect("the primary");
    in_tx.batch_execute("BEGIN; INSERT INTO numbers VALUES (1)").await.expect("begun");
    scene.servers.freeze(0).await.expect("frozen");
    scene.until_out(0, Reason::Unreachable).await;
    scene.servers.promote(1).await.expect("promoted");
    scene.until(1, Standing::Primary).await;
    scene.servers.thaw(0).await.expect("thawed");
    scene.until_out(0, Reason::OldTimeline).await;
    let error = held.tx(async |tx| tx.execute("INSERT INTO numbers VALUES (2)", &[]).await).await;
    assert_eq!(error.expect_err("severed").kind(), Kind::Connection);
    let error = in_tx.batch_execute("COMMIT").await.expect_err("severed");
    assert_eq!(error.kind(), Kind::Connection);
    drop((held, in_tx));
    scene.write(3).await.expect("a write");

    let numbers = async |node: usize| -> Vec<i64> {
        let rows = client(scene.servers.node(node).url()).await;
        let rows = rows.query("SELECT number FROM numbers ORDER BY 1", &[]).await.expect("rows");
        rows.iter().map(|row| row.get(0)).collect()
    };
    assert_eq!((numbers(0).await, numbers(1).await), (vec![], vec![3]));
    scene.stop().await;
}

/// A session that was idle in the pool of a replica outlives its promotion; it is not handed out any more.
#[tokio::test]
async fn sessions_of_a_promoted_replica_are_replaced() {
    let mut scene = Scene::new(1).await;
    let pool = scene.cluster.pool("node-1").expect("a pool").clone();
    let pid = async || -> i32 { pool.one("SELECT pg_backend_pid()", &[]).await.expect("a session") };
    let before = pid().await;
    assert_eq!(pid().await, before, "it is kept");
    scene.servers.halt(0).await.expect("halted");
    scene.servers.promote(1).await.expect("promoted");
    scene.until(1, Standing::Primary).await;
    assert_ne!(pid().await, before);
    let primary = scene.cluster.primary().await.expect("the new primary");
    assert_eq!((primary.endpoint(), primary.token().await.expect("a token").timeline), ("node-1", 2));
    drop(primary);
    scene.stop().await;
}

/// The sessions of a primary that is killed end one after the other. Whoever has lost his is not given an old one again.
#[tokio::test]
async fn a_lost_session_of_the_primary_has_the_others_replaced() {
    let scene = Scene::new(0).await;
    let three = async || {
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(scene.cluster.primary().await.expect("the primary"));
        }
        let mut pids = BTreeSet::new();
        for conn in &held {
            pids.insert(conn.one::<i32>("SELECT pg_backend_pid()", &[]).await.expect("a session"));
        }
        pids
    };
    let before = three().await;
    assert_eq!(three().await, before, "they are kept");
    let primary = scene.cluster.primary().await.expect("the primary");
    let lost: i32 = primary.one("SELECT pg_backend_pid()", &[]).await.expect("a session");
    let other = client(scene.servers.node(0).url()).await;
    other.execute("SELECT pg_terminate_backend($1)", &[&lost]).await.expect("ended");
    let error = primary.batch_execute("INSERT INTO numbers VALUES (1)").await.expect_err("it is lost");
    assert_eq!(error.kind(), Kind::Connection);
    drop((primary, other));
    assert!(three().await.is_disjoint(&before), "they are replaced");
    scene.stop().await;
}

/// A token from before a failover is honoured after it, as is one from after it.
#[tokio::test]
async fn tokens_outlive_a_failover() {
    let mut scene = Scene::new(2).await;
    scene.servers.synchronous(0, 2).await.expect("synchronous");
    let primary = scene.cluster.primary().await.expect("the primary");
    primary.batch_execute("INSERT INTO numbers VALUES (1)").await.expect("a write");
    let before = primary.token().await.expect("a token");
    drop(primary);
    scene.servers.halt_at_once(0).await.expect("killed");
    let read = scene.cluster.read().after(before);
    let count = "SELECT count(*) FROM numbers";
    assert_eq!(read.one::<i64>(count, &[]).await.expect("a read without a primary"), 1);
    scene.servers.promote(1).await.expect("promoted");
    scene.until(1, Standing::Primary).await;
    scene.write(2).await.expect("a write");
    let after = scene.cluster.token().await.expect("a token");
    assert_eq!(after.timeline, 2);
    for token in [before, after, before.max(after)] {
        let seen: i64 = scene.cluster.read().after(token).one(count, &[]).await.expect("a read");
        assert!(seen >= i64::from(token.timeline), "{token}");
    }
    scene.servers.follow(2, 1).await.expect("follows");
    eventually("a replica serves it", async || {
        let name: String = scene.cluster.read().after(after).one(NAME, &[]).await.expect("a read");
        name == "node-2"
    })
    .await;
    scene.stop().await;
}
