//! Whoever has written reads it, wherever he reads.

use std::sync::Arc;
use std::time::Duration;

use db_cluster::{Cluster, ConsistencyToken, Preference, Standing};
use db_core::{Executor as _, Query as _};

use crate::cluster::scene::{NAME, Scene, at_once, patient, pool, publish, servers};
use crate::support::{client, eventually};

/// 100,000 reads after a write each, over replicas that are late now and then: none of them is stale.
#[tokio::test]
async fn no_read_after_a_token_is_stale() {
    const TASKS: usize = 20;
    const WRITES: i64 = 250;
    const READS: i64 = 20;
    let scene = Scene::new(2).await;
    let primary = client(scene.servers.node(0).url()).await;
    primary
        .batch_execute("CREATE TABLE counters (task int PRIMARY KEY, value bigint NOT NULL)")
        .await
        .expect("a table");
    let insert =
        format!("INSERT INTO counters SELECT task, 0 FROM generate_series(0, {}) AS task", TASKS - 1);
    primary.batch_execute(&insert).await.expect("rows");
    let cluster = scene.cluster.clone();
    let load = tokio::spawn(at_once(TASKS, move |task| {
        let cluster = cluster.clone();
        let task = i32::try_from(task).expect("few");
        async move {
            let mut stale = 0;
            for value in 1..=WRITES {
                let primary = cluster.primary().await.expect("the primary");
                let sql = "UPDATE counters SET value = $2 WHERE task = $1";
                db_core::Executor::execute(&primary, sql, &[&task, &value]).await.expect("a write");
                let token = primary.token().await.expect("a token").to_string();
                drop(primary);
                // As in another process.
                let token: ConsistencyToken = token.parse().expect("a token");
                let read = cluster.read().after(token);
                for _ in 0..READS {
                    let sql = "SELECT value FROM counters WHERE task = $1";
                    let seen: i64 = read.one(sql, &[&task]).await.expect("a read");
                    stale += usize::from(seen != value);
                }
            }
            stale
        }
    }));
    // Late by turns.
    let mut load = load;
    let mut turn = 0;
    let stale: Vec<usize> = loop {
        let late = Duration::from_millis(if turn % 2 == 0 { 30 } else { 0 });
        scene.servers.lag(1 + turn / 2 % 2, late).await.expect("late");
        tokio::select! {
            done = &mut load => break done.expect("no task failed"),
            () = tokio::time::sleep(Duration::from_millis(300)) => turn += 1,
        }
    };
    let served: Vec<u64> = scene.cluster.stats().iter().map(|stats| stats.served).collect();
    let count = stale.iter().sum::<usize>();
    let outcome = format!("{count} of 100,000 reads stale; {} on replicas", served[1] + served[2]);
    publish("replicas late by turns, reads after a token", outcome);
    assert_eq!(stale, [0; TASKS]);
    assert!(served[1] > 10_000 && served[2] > 10_000, "replicas serve them: {served:?}");
    scene.stop().await;
}

/// Without the token the same read is stale on a replica that is late, which shows that the token is what helps.
#[tokio::test]
async fn without_a_token_a_late_replica_shows_what_was() {
    let scene = Scene::new(1).await;
    scene.servers.lag(1, Duration::from_secs(5)).await.expect("late");
    let primary = scene.cluster.primary().await.expect("the primary");
    primary.batch_execute("INSERT INTO numbers VALUES (7)").await.expect("a write");
    let token = primary.token().await.expect("a token");
    drop(primary);
    let count = "SELECT count(*) FROM numbers";
    assert_eq!(scene.cluster.read().one::<i64>(count, &[]).await.expect("a read"), 0);
    assert_eq!(scene.cluster.read().after(token).one::<i64>(count, &[]).await.expect("a read"), 1);
    let only = scene.cluster.read().after(token).preference(Preference::ReplicaOnly);
    let error = only.within(Duration::from_millis(300)).one::<i64>(count, &[]).await.expect_err("late");
    assert_eq!(error.kind(), db_core::Kind::Connection, "{error}");
    scene.stop().await;
}

/// Whoever has not heard of a promotion yet is told by the token, and does not read from the old primary.
#[tokio::test]
async fn a_token_is_the_proof_of_a_promotion() {
    let scene = Scene::new(1).await;
    let mut late = Cluster::builder();
    for node in scene.servers.nodes() {
        late = late.endpoint(node.name(), pool(node.url(), 4).await);
    }
    let rarely = patient(|settings| settings.look_interval = Duration::from_secs(3_600));
    let late = late.settings(rarely).start().await.expect("a cluster");
    assert_eq!(late.primary().await.expect("the primary").endpoint(), "node-0");

    scene.servers.promote(1).await.expect("promoted, while the old primary is alive");
    scene.until(1, Standing::Primary).await;
    scene.write(1).await.expect("a write");
    let token = scene.cluster.token().await.expect("a token");
    assert_eq!(token.timeline, 2);
    for preference in [Preference::PreferReplica, Preference::Primary] {
        let read = late.read().preference(preference).after(token);
        assert_eq!(read.one::<i64>("SELECT count(*) FROM numbers", &[]).await.expect("a read"), 1);
    }
    assert_eq!(late.primary().await.expect("the primary").endpoint(), "node-1");
    drop(late);
    scene.stop().await;
}

/// Where the next record of an idle primary begins lies behind what its replicas can replay, when a segment has just ended.
#[tokio::test]
async fn the_replica_of_an_idle_primary_has_everything_at_the_end_of_a_segment() {
    let scene = Scene::new(1).await;
    scene.write(1).await.expect("a write");
    let primary = client(scene.servers.node(0).url()).await;
    primary.batch_execute("SELECT pg_switch_wal()").await.expect("a new segment");
    let token = scene.cluster.token().await.expect("a token");
    let only = scene.cluster.read().after(token).preference(Preference::ReplicaOnly);
    assert_eq!(only.one::<String>(NAME, &[]).await.expect("a read"), "node-1");
    eventually("nothing is missing", async || {
        scene.stats(1).lag.is_some_and(|lag| lag.bytes == 0) && scene.stats(0).lsn == scene.stats(1).lsn
    })
    .await;
    scene.stop().await;
}

/// A role that may see nothing of replication is routed all the same.
#[tokio::test]
async fn an_ordinary_role_is_enough() {
    let servers = servers(1).await;
    let admin = client(servers.node(0).url()).await;
    let sql = "CREATE ROLE ordinary LOGIN PASSWORD 'ordinary'; GRANT SELECT, INSERT ON numbers TO ordinary";
    admin.batch_execute(sql).await.expect("a role");
    servers.caught_up(1, 0).await.expect("caught up");
    let mut builder = Cluster::builder();
    for node in servers.nodes() {
        let (_, place) = node.url().split_once('@').expect("a password");
        let url = format!("postgres://ordinary:ordinary@{place}");
        builder = builder.endpoint(node.name(), pool(&url, 4).await);
    }
    let cluster = builder.settings(patient(|_| {})).start().await.expect("a cluster");
    let scene = Scene { servers, cluster, heard: Arc::default() };
    scene.write(1).await.expect("a write");
    let read = scene.cluster.read().after(scene.cluster.token().await.expect("a token"));
    let only = read.preference(Preference::ReplicaOnly);
    assert_eq!(only.one::<i64>("SELECT count(*) FROM numbers", &[]).await.expect("a read"), 1);
    assert_eq!(scene.where_a_read_goes().await, "node-1");
    scene.stop().await;
}

/// A token of a history that nobody here has is answered by nobody, one of another cluster by the primary, and an expired one
/// asks for nothing.
#[tokio::test]
async fn tokens_of_other_histories_go_to_the_primary() {
    let scene = Scene::with(1, |settings| settings.token_validity = Duration::from_secs(20)).await;
    let token = scene.cluster.token().await.expect("a token");
    scene.servers.caught_up(1, 0).await.expect("caught up");
    let text = token.to_string();
    let name = async |text: &str| -> String {
        let token = text.parse().expect("a token");
        scene.cluster.read().after(token).one(NAME, &[]).await.expect("a read")
    };
    eventually("the replica has it", async || name(&text).await == "node-1").await;
    let parts: Vec<&str> = text.split('-').collect();
    let with = |index: usize, part: &str| {
        let mut parts = parts.clone();
        parts[index] = part;
        parts.join("-")
    };
    assert_eq!(name(&with(1, "1")).await, "node-0", "another cluster's");
    let later = scene.cluster.read().after(with(2, "2").parse().expect("a token"));
    let error =
        later.within(Duration::from_millis(500)).one::<String>(NAME, &[]).await.expect_err("no such primary");
    assert!(error.to_string().contains("node-0 primary"), "{error}");
    assert_eq!(name(&with(3, "ffffffffff")).await, "node-0", "of what will never be");
    assert_eq!(name(&with(4, "1")).await, "node-1", "expired");
    scene.stop().await;
}
