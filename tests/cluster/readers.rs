//! Reads in the background, while something happens to the servers. Holds no test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use db_cluster::Cluster;
use db_core::Query as _;
use db_pool::Pool;
use tokio::time::Instant;

use super::scene::{NAME, Scene, at_once, publish};
use crate::support::eventually;

/// Reads in the background, each within the deadline, until they are stopped.
pub(super) struct Load {
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
    pub(super) fn begin(cluster: &Cluster<Pool>) -> Self {
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
    pub(super) async fn end(self, what: &str) {
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
pub(super) async fn flows_on(scene: &Scene) {
    let served = || scene.cluster.stats().iter().map(|stats| stats.served).sum::<u64>();
    let before = served();
    eventually("reads flow", async || served() > before + 500).await;
}
