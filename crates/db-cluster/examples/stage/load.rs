//! The load of a demo: tasks that read and write through the cluster as a service would, and keep a ledger of what they were
//! told. What it means for the servers is not looked at here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use db_cluster::Cluster;
use db_core::{Outcome, Query as _, Result};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::timeline::Timeline;
use crate::support::Own;

/// How many tasks read.
pub(crate) const READERS: usize = 8;
/// How many tasks write.
pub(crate) const WRITERS: usize = 4;
/// The pause between two statements of a task.
pub(crate) const PACE: Duration = Duration::from_millis(20);
/// How long a read may look for a server.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tasks at work; dropping it ends them.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    readers: JoinSet<Reads>,
    writers: JoinSet<Ledger>,
}

/// What became of reads.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
}

/// What became of writes, by their numbers, each with the time at which that was known.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) acknowledged: Vec<(Instant, i64)>,
    /// The server went away before it said.
    pub(crate) unknown: Vec<(Instant, i64)>,
    /// Known not to have happened.
    pub(crate) failed: Vec<(Instant, i64)>,
}

/// What one task has.
struct Task {
    cluster: Cluster<Own>,
    timeline: Arc<Timeline>,
    is_over: Arc<AtomicBool>,
    pace: Interval,
}

impl Load {
    /// Begins to read and write. A write may wait so long for a primary: a failover is over by then.
    pub(crate) fn begin(cluster: &Cluster<Own>, timeline: &Arc<Timeline>, patience: Duration) -> Self {
        let (is_over, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(1)));
        let task = || Task::new(cluster.clone(), Arc::clone(timeline), Arc::clone(&is_over));
        let readers = (0..READERS).map(|_| task().read()).collect();
        let writers = (0..WRITERS).map(|_| task().write(Arc::clone(&next), patience)).collect();
        Self { is_over, readers, writers }
    }

    /// Ends it, and says what became of all.
    pub(crate) async fn end(mut self) -> Result<(Reads, Ledger), JoinError> {
        self.is_over.store(true, Ordering::Relaxed);
        let (mut reads, mut ledger) = (Reads::default(), Ledger::default());
        while let Some(part) = self.readers.join_next().await.transpose()? {
            reads.answered += part.answered;
            reads.failed += part.failed;
        }
        while let Some(part) = self.writers.join_next().await.transpose()? {
            ledger.acknowledged.extend(part.acknowledged);
            ledger.unknown.extend(part.unknown);
            ledger.failed.extend(part.failed);
        }
        ledger.acknowledged.sort_unstable();
        Ok((reads, ledger))
    }
}

impl Ledger {
    /// The longest time between two acknowledgements, whoever got them.
    pub(crate) fn longest_pause(&self) -> Duration {
        let pauses = self.acknowledged.windows(2).map(|pair| pair[1].0 - pair[0].0);
        pauses.max().unwrap_or_default()
    }
}

impl Task {
    fn new(cluster: Cluster<Own>, timeline: Arc<Timeline>, is_over: Arc<AtomicBool>) -> Self {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { cluster, timeline, is_over, pace }
    }

    /// Waits for its turn; `false` when there is none any more.
    async fn goes_on(&mut self) -> bool {
        self.pace.tick().await;
        !self.is_over.load(Ordering::Relaxed)
    }

    async fn read(mut self) -> Reads {
        let mut reads = Reads::default();
        while self.goes_on().await {
            // Who has served it, the server itself says.
            let sql = "SELECT inet_server_port(), count(*) FROM numbers";
            let answer = self.cluster.read().within(PATIENCE).one::<(i32, i64)>(sql, &[]).await;
            match answer {
                Ok((port, _rows)) => {
                    reads.answered += 1;
                    self.timeline.read_by(port);
                }
                Err(error) => {
                    reads.failed += 1;
                    self.timeline.tell(format!("a read failed: {error}"));
                }
            }
        }
        reads
    }

    async fn write(mut self, next: Arc<AtomicI64>, patience: Duration) -> Ledger {
        let mut ledger = Ledger::default();
        while self.goes_on().await {
            let number = next.fetch_add(1, Ordering::Relaxed);
            match self.insert(number, patience).await {
                Ok(port) => {
                    ledger.acknowledged.push((Instant::now(), number));
                    self.timeline.written_by(port);
                }
                Err(error) => {
                    let is_unknown = error.outcome() == Outcome::Unknown;
                    let kept = if is_unknown { &mut ledger.unknown } else { &mut ledger.failed };
                    kept.push((Instant::now(), number));
                    let what = if is_unknown { "may have happened" } else { "failed" };
                    self.timeline.tell(format!("write {number} {what}: {error}"));
                }
            }
        }
        ledger
    }

    async fn insert(&self, number: i64, patience: Duration) -> Result<i32> {
        let primary = self.cluster.primary_until(Instant::now() + patience).await?;
        let sql = "INSERT INTO numbers VALUES ($1) RETURNING inet_server_port()";
        primary.one(sql, &[&number]).await
    }
}
