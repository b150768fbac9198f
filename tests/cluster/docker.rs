//! What only containers can show: a network that swallows packets, and that nothing is left of it in the end.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::time::Duration;

use db_cluster::{Reason, Standing};
use db_testkit::TestCluster;
use tokio::time::timeout;

use super::own_server::accounts::Bank;
use super::readers::{Load, flows_on};
use super::scene::Scene;
use super::writers::Writers;
use crate::retry::ledger::alone;
use crate::support::{backend, client, eventually};

/// How long something is watched that must not happen.
const WHILE: Duration = Duration::from_millis(500);

/// Neither the tests nor the other nodes reach it, and it goes on where it was.
#[tokio::test]
async fn a_node_is_cut_off_from_everybody_and_comes_back_under_its_address() {
    let mut cluster = TestCluster::start(&backend(), 2).await.expect("a cluster");
    cluster.synchronous(0, 2).await.expect("set");
    let url = cluster.node(1).url().to_owned();
    let (writer, reader) = (client(cluster.node(0).url()).await, client(&url).await);
    writer.batch_execute("CREATE TABLE t AS SELECT 1").await.expect("all nodes write it down");

    cluster.partition(1).await.expect("cut off");
    let read = reader.query_one("SELECT 7", &[]);
    let write = writer.batch_execute("INSERT INTO t VALUES (2)");
    tokio::pin!(read, write);
    assert!(timeout(WHILE, &mut read).await.is_err(), "a question does not arrive");
    assert!(timeout(WHILE, &mut write).await.is_err(), "what its leader writes does not arrive");

    cluster.heal(1).await.expect("healed");
    let seven: i32 = read.await.expect("the connection is the same").get(0);
    assert_eq!((seven, cluster.node(1).url()), (7, &*url));
    write.await.expect("written down");
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_node_that_is_restarted_while_it_is_cut_off_is_cut_off_still() {
    let mut cluster = TestCluster::start(&backend(), 1).await.expect("a cluster");
    cluster.partition(1).await.expect("cut off");
    cluster.partition(1).await.expect("it is already");
    cluster.halt_at_once(1).await.expect("halted");
    cluster.halt_at_once(1).await.expect("it is already");
    cluster.resume(1).await.expect("resumed");
    let connected =
        timeout(WHILE, tokio_postgres::connect(cluster.node(1).url(), tokio_postgres::NoTls)).await;
    assert!(!matches!(connected, Ok(Ok(_))), "nobody reaches it");
    cluster.heal(1).await.expect("healed");
    client(cluster.node(0).url()).await.batch_execute("CREATE TABLE t ()").await.expect("a write");
    cluster.caught_up(1, 0).await.expect("caught up");
    cluster.stop().await.expect("stopped");
}

/// D2: packets to a replica are lost; reads keep flowing within their deadline, and nobody gets an error.
#[tokio::test]
async fn a_replica_is_partitioned_under_load() {
    let mut scene = Scene::new(2).await;
    let load = Load::begin(&scene.cluster);
    flows_on(&scene).await;
    scene.servers.partition(1).await.expect("cut off");
    scene.until_out(1, Reason::Unreachable).await;
    flows_on(&scene).await;
    scene.servers.heal(1).await.expect("healed");
    scene.until(1, Standing::Replica).await;
    let before = scene.stats(1).served;
    eventually("it takes reads again", async || scene.stats(1).served > before + 100).await;
    load.end("one replica partitioned").await;
    scene.stop().await;
}

/// D2: the primary lives and nobody reaches it, a replica is promoted; it comes back and takes itself for the primary. It would take
/// writes, and gets none.
#[tokio::test]
async fn the_primary_is_partitioned_and_a_replica_promoted() {
    let mut scene = Scene::new(2).await;
    let writers = Writers::begin(&scene.cluster);
    writers.flow().await;
    scene.servers.partition(0).await.expect("cut off");
    scene.until_out(0, Reason::Unreachable).await;
    writers.promote(&scene, 1, "primary partitioned, promotion complete").await;
    // What begins from now on knows the new primary. What was sent before arrives at the old one after all, once it is back.
    let first = writers.next();
    scene.servers.follow(2, 1).await.expect("follows");
    scene.until(2, Standing::Replica).await;
    writers.flow().await;

    scene.servers.heal(0).await.expect("healed");
    scene.until_out(0, Reason::OldTimeline).await;
    let old = client(scene.servers.node(0).url()).await;
    old.batch_execute("INSERT INTO numbers VALUES (-1)").await.expect("it takes itself for the primary");
    writers.flow().await;
    let late = old.query("SELECT number FROM numbers WHERE number >= $1", &[&first]).await.expect("numbers");
    let late: Vec<i64> = late.iter().map(|row| row.get(0)).collect();
    assert!(late.is_empty(), "no write reaches the old primary: {late:?}");
    drop(old);
    assert_eq!(scene.stats(0).standing, Standing::Out(Reason::OldTimeline));

    scene.servers.follow(0, 1).await.expect("follows");
    scene.until(0, Standing::Replica).await;
    writers.flow().await;
    writers.end("primary partitioned, asynchronous replication", 2, scene.servers.node(1).url()).await;
    scene.stop().await;
}

/// D2: with the ledger: nobody reaches the primary any more, which lives and does not know; later it comes back.
#[tokio::test]
async fn the_primary_is_partitioned_under_transfers() {
    let _alone = alone().await;
    let mut bank = Bank::open("primary partitioned, synchronous", true).await;
    bank.servers.partition(0).await.expect("cut off");
    bank.until_out(0, "unreachable").await;
    bank.promote(1).await;
    bank.servers.follow(2, 1).await.expect("follows");
    bank.goes_on().await;
    bank.servers.heal(0).await.expect("healed");
    bank.takes_the_old_primary_back().await;
    bank.close(1).await.must_hold();
}

/// A6, D2: with the ledger: nobody reaches a replica any more.
#[tokio::test]
async fn a_replica_is_partitioned_under_transfers() {
    let _alone = alone().await;
    let mut bank = Bank::open("replica partitioned", false).await;
    bank.servers.partition(1).await.expect("cut off");
    bank.until_out(1, "unreachable").await;
    bank.goes_on().await;
    bank.servers.heal(1).await.expect("healed");
    bank.until_replica(1).await;
    bank.goes_on().await;
    bank.close(1).await.must_hold();
}

/// Also those that stand still, are cut off or halted, and also when it is a panic that drops them.
#[tokio::test]
async fn a_cluster_that_is_dropped_leaves_neither_containers_nor_networks_nor_volumes() {
    let mut cluster = TestCluster::start(&backend(), 3).await.expect("a cluster");
    let mut remains = BTreeSet::new();
    for node in cluster.nodes() {
        // A container is called so by itself.
        let name = "SELECT trim(pg_read_file('/etc/hostname'), E'\\n')";
        let container: String = client(node.url()).await.query_one(name, &[]).await.expect("a name").get(0);
        let format = "{{range .Mounts}}{{.Name}} {{end}}{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
        let parts = docker(&["inspect", "--format", format, &container]).expect("it is there");
        remains.extend(parts.split_whitespace().map(str::to_owned));
        remains.insert(container);
    }
    assert_eq!(remains.len(), 4 + 4 + 1, "containers, volumes and the network: {remains:?}");
    cluster.freeze(1).await.expect("frozen");
    cluster.partition(2).await.expect("cut off");
    cluster.halt(3).await.expect("halted");
    let dropped = tokio::spawn(async move {
        let _cluster = cluster;
        resume_unwind(Box::new("as a test that fails"));
    });
    assert!(dropped.await.expect_err("it panics").is_panic());
    for remains in remains {
        assert_eq!(docker(&["inspect", "--format", "{{json .}}", &remains]), None);
    }
}

/// Who made it holds its lock as long as he lives.
#[tokio::test]
async fn what_a_killed_process_left_is_removed_and_what_is_in_use_is_not() {
    let mut lock = tempfile::Builder::new().prefix("db-test-").suffix(".lock").tempfile().expect("a file");
    // Its path stays, as when the process is killed, also when this test fails.
    lock.disable_cleanup(true);
    let label = format!("db-test.lock={}", lock.path().display());
    let image = std::env::var("DB_TEST_IMAGE").expect("an image");
    lock.as_file().lock().expect("ours");
    let name = lock.path().file_stem().expect("a name").to_string_lossy().into_owned();
    docker(&["network", "create", "--label", &label, &name]).expect("a network");
    let container = docker(&["create", "--label", &label, "--network", &name, &image]).expect("a container");
    let is_there = || {
        [["network", "inspect", &name], ["container", "inspect", &container]]
            .map(|asked| docker(&asked).is_some())
    };
    backend().remove_left_overs();
    assert_eq!(is_there(), [true, true], "it is in use");

    let path = lock.path().to_owned();
    // Another test may be the one that removes it.
    drop(lock);
    backend().remove_left_overs();
    eventually("it is removed", async || is_there() == [false, false] && !path.exists()).await;
}

fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output().expect("docker");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
