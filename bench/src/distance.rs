//! Whether the [`DelayLine`](crate::delay::DelayLine) is what it says: a select takes 1 ms more through it, and selects
//! that follow each other before the first is answered take no longer than one alone. A run stops if it is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_postgres::{Client, NoTls, Statement};

use crate::report::median;
use crate::workload::SELECT;

/// What is added to each round trip.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(1);

/// Median latencies of a select on one connection, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Distance {
    pub(crate) near: f64,
    pub(crate) far: f64,
    /// Of fifty that are sent 0.2 ms after each other, so that several are on their way at any time.
    pub(crate) far_in_a_row: f64,
}

/// Measures on a quiet server.
pub(crate) async fn measure(near: &str, far: &str) -> Result<Distance> {
    const READINGS: usize = 100;
    const ROWS: usize = 10;
    let (near, far) = (Probe::open(near).await?, Arc::new(Probe::open(far).await?));
    let (mut of_near, mut of_far, mut in_a_row) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..READINGS {
        of_near.push(near.select().await?);
        of_far.push(far.select().await?);
    }
    for _ in 0..ROWS {
        in_a_row.extend(selects_in_a_row(&far).await?);
    }
    let distance = Distance { near: median(&of_near), far: median(&of_far), far_in_a_row: median(&in_a_row) };
    let added = distance.far - distance.near;
    // On top of the millisecond are the looks of the line, and a machine that may be busy.
    ensure!((950.0..3_000.0).contains(&added), "the delay line adds {added:.0} µs");
    // If each piece took its half of a millisecond for itself, the median would be that of seven.
    ensure!(distance.far_in_a_row < 3.0 * distance.far, "selects through the delay line wait for each other");
    Ok(distance)
}

struct Probe {
    client: Client,
    select: Statement,
}

impl Probe {
    async fn open(url: &str) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("measuring the way")?;
        tokio::spawn(async { connection.await.ok() });
        let select = client.prepare(SELECT).await?;
        Ok(Self { client, select })
    }

    /// Microseconds of one.
    async fn select(&self) -> Result<f64> {
        let begun = Instant::now();
        self.client.query_one(&self.select, &[&7_i64]).await?;
        Ok(begun.elapsed().as_secs_f64() * 1e6)
    }
}

/// Each is sent when its time has come, whether the ones before are answered or not.
async fn selects_in_a_row(probe: &Arc<Probe>) -> Result<Vec<f64>> {
    const APART: Duration = Duration::from_micros(200);
    const SELECTS: usize = 50;
    let (clock, mut ticks) = mpsc::unbounded_channel();
    // The timers of the runtime know only milliseconds.
    spawn_blocking(move || {
        for _ in 0..SELECTS {
            std::thread::sleep(APART);
            clock.send(()).ok();
        }
    });
    let mut selects = JoinSet::new();
    while ticks.recv().await.is_some() {
        let probe = Arc::clone(probe);
        selects.spawn(async move { probe.select().await });
    }
    selects.join_all().await.into_iter().collect()
}
