//! Replicas fail under load: reads keep flowing within their deadline, and nobody gets an error.

use std::sync::atomic::AtomicBool;

use db_testkit::Proxy;
use tokio::time::Instant;

use super::*;

/// Reads in the background, each within the deadline, until they are stopped.
struct Load {
    is_over: Arc<AtomicBool>,
    tasks: tokio::task::JoinHandle<Vec<Served>>,
}

/// What one task saw.
#[derive(Clone, Debug, Default)]
struct Served {
    reads: u64,
    errors: Vec<String>,
    longest: Duration,
}

const DEADLINE: Duration = Duration::from_secs(5);

impl Load {
    fn begin(cluster: &Cluster<Pool>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (cluster, over) = (cluster.clone(), Arc::clone(&is_over));
        let tasks = tokio::spawn(at_once(8, move |_| {
            let (cluster, over) = (cluster.clone(), Arc::clone(&over));
            async move {
                let mut served = Served::default();
                while !over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    match cluster.read().within(DEADLINE).one::<String>(NAME, &[]).await {
                        Ok(_) => served.reads += 1,
                        Err(error) => served.errors.push(error.to_string()),
                    }
                    served.longest = served.longest.max(began.elapsed());
                }
                served
            }
        }));
        Self { is_over, tasks }
    }

    /// Ends the load and checks that nobody noticed anything but time.
    async fn end(self, what: &str) {
        self.is_over.store(true, Ordering::Relaxed);
        let all = self.tasks.await.expect("no panic");
        let errors: Vec<_> = all.iter().flat_map(|served| &served.errors).collect();
        let longest = all.iter().map(|served| served.longest).max().unwrap_or_default();
        let reads: u64 = all.iter().map(|served| served.reads).sum();
        let longest_s = longest.as_secs_f64();
        publish(what, format!("{reads} reads, {} errors, the longest took {longest_s:.3} s", errors.len()));
        assert!(errors.is_empty(), "{what}: {errors:?}");
        assert!(longest <= DEADLINE, "{what}: {longest:?}");
        assert!(reads > 0);
    }
}

/// Waits until reads have flowed on for a while: some hundred more than now.
async fn flows_on(scene: &Scene) {
    let served = || scene.cluster.stats().iter().map(|stats| stats.served).sum::<u64>();
    let before = served();
    eventually("reads flow", async || served() > before + 500).await;
}

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
        let sql =
            "SELECT current_setting('cluster_name') FROM numbers WHERE number = 1 AND pg_sleep(2)::text = ''";
        cluster.read().one::<String>(sql, &[]).await
    });
    eventually("it runs on the replica", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(2)%' AND pid <> pg_backend_pid()";
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
