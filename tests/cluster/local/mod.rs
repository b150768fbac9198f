//! What clusters of local binaries have of their own.

mod patroni;

use std::path::Path;

use db_testkit::{Error, TestCluster};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::support::{backend, client};

/// Also one that stands still.
#[tokio::test]
async fn a_cluster_that_is_dropped_leaves_neither_processes_nor_folders() {
    let mut cluster = TestCluster::start(&backend(), 1).await.expect("a cluster");
    let (mut folders, mut processes) = (Vec::new(), Vec::new());
    for node in cluster.nodes() {
        let row = client(node.url()).await.query_one("SHOW data_directory", &[]).await.expect("a folder");
        let folder: String = row.get(0);
        let file = std::fs::read_to_string(format!("{folder}/postmaster.pid")).expect("a process");
        let id = file.lines().next().expect("an id").parse().expect("a number");
        processes.push(Pid::from_raw(id));
        folders.push(folder);
    }
    cluster.freeze(1).await.expect("frozen");
    drop(cluster);
    for (process, folder) in processes.into_iter().zip(folders) {
        assert!(kill(process, None).is_err(), "{process} still runs");
        let place = Path::new(&folder).ancestors().nth(2).expect("a place");
        assert!(!place.exists(), "{}", place.display());
    }
}

#[tokio::test]
async fn local_servers_are_not_cut_off_from_each_other() {
    let mut cluster = TestCluster::start(&backend(), 0).await.expect("a cluster");
    let error = cluster.partition(0).await.expect_err("they share the loopback");
    assert!(matches!(error, Error::NoNetwork), "{error}");
    assert_eq!(error.to_string(), "only servers in containers can be partitioned");
    cluster.heal(0).await.expect("there is nothing to heal");
    cluster.stop().await.expect("stopped");
}
