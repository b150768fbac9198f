//! Writes in the background, while something happens to the servers. Holds no test.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use db_cluster::{Cluster, Standing};
use db_core::{Executor as _, Outcome};
use db_pool::Pool;
use tokio::time::{Instant, sleep};

use super::scene::{Scene, at_once, publish};
use crate::support::{client, eventually};

/// Writers in the background that note what became of each number.
pub(super) struct Writers {
    ledger: Arc<Ledger>,
    tasks: tokio::task::JoinHandle<Vec<()>>,
}

#[derive(Debug, Default)]
struct Ledger {
    is_over: AtomicBool,
    next: AtomicI64,
    acknowledged: Mutex<BTreeSet<i64>>,
    unknown: Mutex<BTreeSet<i64>>,
    /// Known not to have happened.
    failed: Mutex<BTreeSet<i64>>,
    errors: Mutex<Vec<String>>,
}

const WRITERS: usize = 8;

impl Writers {
    /// Each writes as fast as it can.
    pub(super) fn begin(cluster: &Cluster<Pool>) -> Self {
        Self::patient(cluster, Duration::ZERO, Duration::from_secs(20))
    }

    /// Each rests after every write, and waits for so long for a primary.
    pub(super) fn patient(cluster: &Cluster<Pool>, pause: Duration, limit: Duration) -> Self {
        let ledger = Arc::new(Ledger::default());
        let (cluster, shared) = (cluster.clone(), Arc::clone(&ledger));
        let tasks = tokio::spawn(at_once(WRITERS, move |_| {
            let (cluster, ledger) = (cluster.clone(), Arc::clone(&shared));
            async move {
                while !ledger.is_over.load(Ordering::Relaxed) {
                    let number = ledger.next.fetch_add(1, Ordering::Relaxed);
                    let written = write(&cluster, number, limit).await;
                    let kept = match &written {
                        Ok(()) => &ledger.acknowledged,
                        Err(error) if error.outcome() == Outcome::Unknown => &ledger.unknown,
                        Err(_) => &ledger.failed,
                    };
                    kept.lock().expect("no panic").insert(number);
                    ledger
                        .errors
                        .lock()
                        .expect("no panic")
                        .extend(written.err().map(|error| error.to_string()));
                    sleep(pause).await;
                }
            }
        }));
        Self { ledger, tasks }
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.ledger.acknowledged.lock().expect("no panic").len()
    }

    pub(super) async fn flow(&self) {
        let before = self.acknowledged();
        eventually("writes flow", async || self.acknowledged() > before + 50).await;
    }

    /// The number of the next write that begins.
    pub(super) fn next(&self) -> i64 {
        self.ledger.next.load(Ordering::Relaxed)
    }

    /// Promotes, and says how long it took until the first write was acknowledged after that.
    pub(super) async fn promote(&self, scene: &Scene, node: usize, what: &str) {
        scene.servers.promote(node).await.expect("promoted");
        let (began, before) = (Instant::now(), self.acknowledged());
        eventually("a write", async || self.acknowledged() > before).await;
        publish(what, format!("writes flowed again after {:.3} s", began.elapsed().as_secs_f64()));
        scene.until(node, Standing::Primary).await;
    }

    /// Ends them, and compares what they noted with what is there: gives how many acknowledged numbers are lost.
    pub(super) async fn end(self, what: &str, faults: usize, url: &str) -> usize {
        self.ledger.is_over.store(true, Ordering::Relaxed);
        self.tasks.await.expect("no panic");
        let rows = client(url).await.query("SELECT number FROM numbers", &[]).await.expect("rows");
        let rows: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
        let sets = [&self.ledger.acknowledged, &self.ledger.unknown, &self.ledger.failed];
        let [acknowledged, unknown, failed] = sets.map(|set| set.lock().expect("no panic").clone());
        let lost = acknowledged.difference(&rows).count();
        let (acknowledged, unknown, failed_to) = (acknowledged.len(), unknown.len(), failed.len());
        let said = format!(
            "{acknowledged} acknowledged, {lost} of them lost, {unknown} unknown, {failed_to} failed"
        );
        publish(what, said);
        let wrongly: Vec<_> = failed.intersection(&rows).collect();
        assert!(wrongly.is_empty(), "{what}: said to have failed, and there: {wrongly:?}");
        let errors = self.ledger.errors.lock().expect("no panic");
        assert!(
            unknown + failed_to <= faults * WRITERS,
            "{what}: at most one error for each connection in flight, and each fault: {errors:?}"
        );
        lost
    }
}

async fn write(cluster: &Cluster<Pool>, number: i64, limit: Duration) -> db_core::Result<()> {
    let primary = cluster.primary_until(Instant::now() + limit).await?;
    primary.execute("INSERT INTO numbers VALUES ($1)", &[&number]).await.map(drop)
}
