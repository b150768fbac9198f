//! Replicas fail under load: reads keep flowing within their deadline, and nobody gets an error.

use std::sync::Arc;

use db_cluster::{Cluster, Reason, Standing};
use db_core::Query as _;
use db_testkit::Proxy;

use crate::cluster::readers::{Load, flows_on};
use crate::cluster::scene::{Scene, patient, pool, servers};
use crate::support::{client, eventually};

/// D2: killed and come back.
#[tokio::test]
async fn a_replica_is_killed_and_comes_back() {
    let mut scene = Scene::new(2).await;
    let load = Load::begin(&scene.cluster);
    flows_on(&scene).await;
    scene.servers.halt_at_once(1).await.expect("killed");
    scene.until_out(1, Reason::Unreachable).await;
    flows_on(&scene).await;
    scene.servers.resume(1).await.expect("back");
    scene.until(1, Standing::Replica).await;
    let before = scene.stats(1).served;
    eventually("it takes reads again", async || scene.stats(1).served > before + 100).await;
    load.end("one replica killed").await;
    scene.stop().await;
}

/// Silent, with all its connections open.
#[tokio::test]
async fn a_replica_is_paused() {
    let mut scene = Scene::new(2).await;
    let load = Load::begin(&scene.cluster);
    flows_on(&scene).await;
    scene.servers.freeze(1).await.expect("paused");
    scene.until_out(1, Reason::Unreachable).await;
    flows_on(&scene).await;
    scene.servers.thaw(1).await.expect("goes on");
    scene.until(1, Standing::Replica).await;
    load.end("one replica paused").await;
    assert!(scene.heard.moved() > 0, "those who waited went elsewhere");
    scene.stop().await;
}

/// The way to it is gone, and no packet says so.
#[tokio::test]
async fn a_replica_is_cut_off() {
    let servers = servers(2).await;
    let proxy = Proxy::to_url(servers.node(1).url()).await.expect("a proxy");
    let cluster = Cluster::builder()
        .endpoint("node-0", pool(servers.node(0).url(), 8).await)
        .endpoint_watched_over("node-1", pool(&proxy.url(), 8).await, pool(&proxy.url(), 1).await)
        .endpoint("node-2", pool(servers.node(2).url(), 8).await)
        .settings(patient(|_| {}))
        .start()
        .await
        .expect("a cluster");
    let scene = Scene { servers, cluster, heard: Arc::default() };
    let load = Load::begin(&scene.cluster);
    flows_on(&scene).await;
    proxy.stall();
    scene.until_out(1, Reason::Unreachable).await;
    flows_on(&scene).await;
    proxy.heal();
    scene.until(1, Standing::Replica).await;
    load.end("one replica cut off").await;
    scene.stop().await;
}

/// The primary serves reads when nobody else does.
#[tokio::test]
async fn all_replicas_are_killed() {
    let mut scene = Scene::new(2).await;
    let load = Load::begin(&scene.cluster);
    flows_on(&scene).await;
    for replica in [1, 2] {
        scene.servers.halt_at_once(replica).await.expect("killed");
    }
    scene.until_out(1, Reason::Unreachable).await;
    scene.until_out(2, Reason::Unreachable).await;
    assert_eq!(scene.where_a_read_goes().await, "node-0");
    flows_on(&scene).await;
    load.end("all replicas killed").await;
    scene.stop().await;
}

/// D2: the server sacrifices a read so that it can replay; another server answers it.
#[tokio::test]
async fn a_read_in_the_way_of_replay_goes_elsewhere() {
    let scene = Scene::new(1).await;
    let replica = client(scene.servers.node(1).url()).await;
    replica.batch_execute("ALTER SYSTEM SET max_standby_streaming_delay = 0").await.expect("no patience");
    replica.batch_execute("SELECT pg_reload_conf()").await.expect("reloaded");
    let primary = client(scene.servers.node(0).url()).await;
    let fill = "INSERT INTO numbers SELECT generate_series(1, 1000)";
    primary.batch_execute(fill).await.expect("rows");
    scene.servers.caught_up(1, 0).await.expect("caught up");

    let cluster = scene.cluster.clone();
    let slow = tokio::spawn(async move {
        let sql = "SELECT current_setting('cluster_name') FROM numbers WHERE number = 1
            AND pg_sleep(CASE current_setting('cluster_name') WHEN 'node-1' THEN 60 ELSE 0 END)::text = ''";
        cluster.read().one::<String>(sql, &[]).await
    });
    eventually("it runs on the replica", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(CASE%' AND pid <> pg_backend_pid()";
        replica.query_one(sql, &[]).await.expect("activity").get::<_, i64>(0) > 0
    })
    .await;
    // What the read may still see is removed from under it.
    primary.batch_execute("DELETE FROM numbers WHERE number > 1").await.expect("deleted");
    primary.batch_execute("VACUUM numbers").await.expect("vacuumed");
    let name = slow.await.expect("no panic").expect("an answer from elsewhere");
    assert_eq!((&*name, scene.heard.moved()), ("node-0", 1));
    scene.stop().await;
}
