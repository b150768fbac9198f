//! Where reads go while all is well, and when replicas are slow or late.

use std::time::Duration;

use db_cluster::{Cluster, Preference, Reason, Standing};
use db_core::{Executor as _, Kind, Query as _};
use db_testkit::{Direction, Proxy};

use crate::cluster::scene::{NAME, Scene, at_once, patient, pool, publish, servers};
use crate::support::eventually;

/// D11: who is what, is found out; equal replicas get the same.
#[tokio::test]
async fn writes_go_to_the_primary_and_reads_evenly_to_replicas() {
    let scene = Scene::new(2).await;
    let standings: Vec<Standing> = scene.cluster.stats().iter().map(|stats| stats.standing).collect();
    assert_eq!(standings, [Standing::Primary, Standing::Replica, Standing::Replica]);
    scene.write(1).await.expect("a write");

    let cluster = scene.cluster.clone();
    let reads = at_once(32, move |_| {
        let cluster = cluster.clone();
        async move {
            for _ in 0..100 {
                let name: String = cluster.read().one(NAME, &[]).await.expect("a read");
                assert_ne!(name, "node-0");
            }
        }
    });
    reads.await;
    let served = [1, 2].map(|node| scene.stats(node).served);
    publish("two equal replicas", format!("{} and {} of 3,200 reads", served[0], served[1]));
    assert_eq!(served.iter().sum::<u64>(), 3_200);
    assert!(served.iter().all(|served| (1_440..=1_760).contains(served)), "within 10 %: {served:?}");
    // One after the other as well.
    for _ in 0..1_000 {
        scene.where_a_read_goes().await;
    }
    let later = [1, 2].map(|node| scene.stats(node).served);
    assert!((later[0] - served[0]).abs_diff(500) < 100, "{served:?} {later:?}");
    let stats = scene.stats(1);
    assert_eq!((stats.in_flight, stats.timeline), (0, Some(1)));
    assert!(stats.latency.is_some() && stats.lag.is_some(), "{stats:?}");
    scene.stop().await;
}

/// D11: a replica that is ten times slower gets less than a fifth.
#[tokio::test]
async fn a_slow_replica_gets_little() {
    let servers = servers(2).await;
    let proxy = Proxy::to_url(servers.node(2).url()).await.expect("a proxy");
    let cluster = Cluster::builder()
        .endpoint("node-0", pool(servers.node(0).url(), 8).await)
        .endpoint("node-1", pool(servers.node(1).url(), 32).await)
        .endpoint("node-2", pool(&proxy.url(), 32).await)
        .settings(patient(|_| {}))
        .start()
        .await
        .expect("a cluster");
    proxy.delay(Direction::ToServer, Duration::from_millis(30));
    for tasks in [1, 16] {
        let before = cluster.stats();
        let all = cluster.clone();
        at_once(tasks, move |_| {
            let cluster = all.clone();
            async move {
                for _ in 0..600 / tasks {
                    // Some 3 ms, a tenth of the delay.
                    let sql = "SELECT pg_sleep(0.003)::text";
                    let _: String = cluster.read().one(sql, &[]).await.expect("a read");
                }
            }
        })
        .await;
        let served: Vec<u64> =
            cluster.stats().iter().zip(&before).map(|(now, before)| now.served - before.served).collect();
        let shares = format!("{} and {} reads, by {tasks} tasks", served[1], served[2]);
        publish("two replicas, the second ten times slower", shares);
        assert!(served[2] * 5 < served[1] + served[2], "{served:?}");
        assert!(served[2] > 0, "it is tried now and then: {served:?}");
    }
    drop(cluster);
    servers.stop().await.expect("stopped");
}

/// B6: a replica that is late is left alone until it has caught up; with all late, the primary takes the reads unless it
/// may not.
#[tokio::test]
async fn late_replicas_take_no_reads() {
    let scene = Scene::with(2, |settings| settings.max_lag = Duration::from_secs(2)).await;
    let ten_seconds = Duration::from_secs(10);
    scene.servers.lag(1, ten_seconds).await.expect("late");
    scene.write(1).await.expect("a write");
    scene.until_out(1, Reason::Lag).await;
    let lag = scene.stats(1).lag.expect("a lag");
    assert!(lag.bytes > 0 && lag.time > Duration::from_secs(2), "{lag:?}");
    for _ in 0..50 {
        assert_eq!(scene.where_a_read_goes().await, "node-2");
    }

    scene.servers.lag(2, ten_seconds).await.expect("late");
    scene.write(2).await.expect("a write");
    scene.until_out(2, Reason::Lag).await;
    assert_eq!(scene.where_a_read_goes().await, "node-0");
    let only = scene.cluster.read().preference(Preference::ReplicaOnly).within(Duration::from_millis(200));
    let error = only.one::<String>(NAME, &[]).await.expect_err("no replica");
    let text = error.to_string();
    assert!(text.contains("node-1 out (lag), node-2 out (lag)"), "{text}");
    assert_eq!(error.kind(), Kind::Connection);

    scene.servers.lag(1, Duration::ZERO).await.expect("no longer late");
    scene.until(1, Standing::Replica).await;
    assert_eq!(scene.where_a_read_goes().await, "node-1");
    assert!(scene.heard.has("node-1: replica → out (lag)") && scene.heard.has("node-1: out → replica"));
    scene.stop().await;
}

/// An answer is no staler than asked for, and an idle primary makes nobody stale.
#[tokio::test]
async fn a_limit_of_staleness_is_kept() {
    let scene = Scene::new(1).await;
    let limit = Duration::from_secs(1);
    scene.servers.lag(1, Duration::from_secs(30)).await.expect("late");
    eventually("the idle primary's replica is fresh", async || {
        let name: String = scene.cluster.read().no_staler_than(limit).one(NAME, &[]).await.expect("a read");
        name == "node-1"
    })
    .await;
    scene.write(1).await.expect("a write");
    eventually("the replica is stale", async || {
        let name: String = scene.cluster.read().no_staler_than(limit).one(NAME, &[]).await.expect("a read");
        name == "node-0"
    })
    .await;
    assert_eq!(scene.where_a_read_goes().await, "node-1", "others may read there");
    scene.stop().await;
}

/// An operator takes a replica out and back, and nobody notices.
#[tokio::test]
async fn a_replica_can_be_drained_under_load() {
    let scene = Scene::new(2).await;
    let cluster = scene.cluster.clone();
    let load = tokio::spawn(at_once(8, move |_| {
        let cluster = cluster.clone();
        async move {
            for _ in 0..300 {
                let _: String = cluster.read().one(NAME, &[]).await.expect("a read");
            }
        }
    }));
    scene.cluster.drain("node-1").expect("a node");
    eventually("nothing is left on it", async || scene.stats(1).in_flight == 0).await;
    let served = scene.stats(1).served;
    for _ in 0..100 {
        assert_eq!(scene.where_a_read_goes().await, "node-2");
    }
    assert_eq!(scene.stats(1).served, served);
    assert!(scene.stats(1).is_drained);
    scene.cluster.restore("node-1").expect("a node");
    eventually("it takes reads again", async || {
        scene.where_a_read_goes().await;
        scene.stats(1).served > served
    })
    .await;
    load.await.expect("no read failed");
    scene.stop().await;
}

/// The verbs of a view are those of everything else; one that writes fails where it came to.
#[tokio::test]
async fn a_view_streams_and_counts_and_does_not_write() {
    let scene = Scene::new(1).await;
    scene.write(1).await.expect("a write");
    scene.servers.caught_up(1, 0).await.expect("caught up");
    let read = scene.cluster.read();
    let rows: Vec<db_core::Result<i32>> = {
        use futures_util::StreamExt as _;
        read.stream("SELECT generate_series(1, 1000)", &[]).await.expect("a stream").collect().await
    };
    assert_eq!(rows.len(), 1_000);
    assert!(rows.iter().all(Result::is_ok));
    assert_eq!(read.execute("SELECT * FROM numbers", &[]).await.expect("a count"), 1);
    let error = read.execute("INSERT INTO numbers VALUES (2)", &[]).await.expect_err("a write");
    assert!(error.to_string().contains("read-only transaction"), "{error}");
    assert_eq!(scene.heard.moved(), 0, "it went nowhere else");
    scene.stop().await;
}
