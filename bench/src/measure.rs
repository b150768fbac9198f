//! One measurement: so many tasks run one workload on one pool for a fixed time.
//!
//! Operations are begun until the window closes; those under way are then awaited, and their latency counts in full, so
//! that a pool cannot hide those whom it lets wait behind the end of the measurement. Throughput counts what ended within
//! the window.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::contestants::Contestant;
use crate::plan::CONNECTIONS;
use crate::server::Server;
use crate::workload::{Keys, Operation, Workload};

/// What a window gave. Long statements of a mixed load count only where it says so.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Operations that ended within the window, per second.
    pub(crate) throughput: f64,
    /// Nanoseconds of every operation that was begun in the window.
    pub(crate) latencies: Histogram<u64>,
    /// The average of these.
    pub(crate) average: f64,
    /// Tasks that ended no operation within the window.
    pub(crate) never_served: usize,
    /// Long statements that ended within the window, per second.
    pub(crate) pauses: f64,
}

/// What one task saw.
struct Seen {
    nanos: Vec<u64>,
    in_time: usize,
    pauses_in_time: usize,
    /// Whether it had anything else to do than long statements.
    is_measured: bool,
}

/// A histogram of nanoseconds with three significant digits.
pub(crate) fn histogram() -> Histogram<u64> {
    #[expect(clippy::unwrap_used, reason = "three digits are allowed")]
    Histogram::new(3).unwrap()
}

/// Runs `tasks` tasks for the length of `window`.
pub(crate) async fn sample<C: Contestant>(
    contestant: &Arc<C>,
    workload: Workload,
    tasks: usize,
    window: Duration,
) -> Result<Sample> {
    let mut running = JoinSet::new();
    let deadline = Instant::now() + window;
    for task in 0..tasks {
        let contestant = Arc::clone(contestant);
        running.spawn(async move { one_task(&*contestant, workload, task, deadline).await });
    }
    let (mut latencies, mut in_time, mut never_served, mut pauses) = (histogram(), 0, 0, 0);
    while let Some(seen) = running.join_next().await {
        let seen = seen??;
        in_time += seen.in_time;
        let is_served = seen.in_time + seen.pauses_in_time > 0;
        never_served += usize::from(seen.is_measured && !is_served);
        pauses += seen.pauses_in_time;
        for nanos in seen.nanos {
            latencies.record(nanos)?;
        }
    }
    let [throughput, pauses] = [in_time, pauses].map(|count| count as f64 / window.as_secs_f64());
    Ok(Sample { throughput, average: latencies.mean(), latencies, never_served, pauses })
}

async fn one_task<C: Contestant>(
    contestant: &C,
    workload: Workload,
    task: usize,
    deadline: Instant,
) -> Result<Seen> {
    let mut keys = Keys::of_task(task);
    let is_measured = workload.measures(task);
    let mut seen = Seen { nanos: Vec::with_capacity(1_024), in_time: 0, pauses_in_time: 0, is_measured };
    let mut now = Instant::now();
    while now < deadline {
        let begun = now;
        let operation = workload.next(&mut keys);
        operation.run_on(contestant, keys.draw()).await?;
        now = Instant::now();
        let is_in_time = usize::from(now <= deadline);
        if operation == Operation::Pause {
            seen.pauses_in_time += is_in_time;
        } else {
            seen.nanos.push(u64::try_from((now - begun).as_nanos())?);
            seen.in_time += is_in_time;
        }
    }
    Ok(seen)
}

/// Opens a contestant with all its connections, and proves that it does what the others do.
pub(crate) async fn open<C: Contestant>(url: &str, server: &Server) -> Result<Arc<C>> {
    open_by(C::open(url), server).await
}

/// The same for a contestant that is opened in another way.
pub(crate) async fn open_by<C: Contestant>(
    opening: impl Future<Output = Result<C>>,
    server: &Server,
) -> Result<Arc<C>> {
    let before = server.connections().await?;
    let contestant = opening.await?;
    // Held together, so that each has to be another one.
    let held = try_join_all((0..CONNECTIONS).map(|_| contestant.acquire())).await?;
    let opened = server.connections().await? - before;
    ensure!(opened == i64::from(CONNECTIONS), "it opened {opened} connections");
    drop(held);
    prove(&contestant, server).await?;
    Ok(Arc::new(contestant))
}

async fn prove<C: Contestant>(contestant: &C, server: &Server) -> Result<()> {
    let (n, label) = contestant.select(7).await?;
    let rows = server.journal_len().await?;
    contestant.transaction(7).await?;
    contestant.batch(7).await?;
    contestant.insert(7, n).await?;
    let (after, _) = contestant.select(7).await?;
    if label != "item 7" || after != n + 2 || server.journal_len().await? != rows + 3 {
        bail!("it does not do the work");
    }
    Ok(())
}

/// Closes a pool and waits until the server has seen it.
pub(crate) async fn close<C: Contestant>(contestant: Arc<C>, server: &Server) -> Result<()> {
    contestant.close().await;
    drop(contestant);
    server.wait_until_alone().await.context("closing")
}
