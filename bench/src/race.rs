//! The comparison: every contestant runs every workload at every number of tasks, round after round.
//!
//! Contestants take turns within each round, each time from another one on, so that a machine that slows down slows all of
//! them down. Only the pool whose turn it is is open.

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::contestants::{Bb8, Contestant, Deadpool, Diesel, Name, Ours, Sqlx};
use crate::measure::{self, Sample};
use crate::plan::{Plan, TASKS};
use crate::server::Server;
use crate::workload::Workload;

/// How all did at one workload and one number of tasks.
#[derive(Debug)]
pub(crate) struct Race {
    pub(crate) workload: Workload,
    pub(crate) tasks: usize,
    /// In the order of [`Name::ALL`].
    pub(crate) results: Vec<Outcome>,
}

/// How one contestant did in all rounds.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: Name,
    /// Operations per second of each round.
    pub(crate) throughputs: Vec<f64>,
    /// Nanoseconds, of all rounds.
    pub(crate) latencies: Histogram<u64>,
    /// Tasks of each round that were never served.
    pub(crate) never_served: Vec<usize>,
}

/// Runs all rounds.
pub(crate) async fn run(url: &str, server: &Server, plan: &Plan) -> Result<Vec<Race>> {
    let courses = Workload::ALL.into_iter().flat_map(|workload| TASKS.map(|tasks| (workload, tasks)));
    let mut races: Vec<_> = courses.map(|(workload, tasks)| Race::new(workload, tasks)).collect();
    for round in 0..plan.rounds {
        eprintln!("round {} of {}", round + 1, plan.rounds);
        for (index, race) in races.iter_mut().enumerate() {
            for turn in 0..Name::ALL.len() {
                let place = (turn + round + index) % Name::ALL.len();
                let outcome = &mut race.results[place];
                let sample = one(outcome.name, url, server, plan, race.workload, race.tasks)
                    .await
                    .with_context(|| outcome.name.package())?;
                outcome.add(sample)?;
            }
        }
    }
    Ok(races)
}

async fn one(
    name: Name,
    url: &str,
    server: &Server,
    plan: &Plan,
    workload: Workload,
    tasks: usize,
) -> Result<Sample> {
    match name {
        Name::Ours => turn::<Ours>(url, server, plan, workload, tasks).await,
        Name::Deadpool => turn::<Deadpool>(url, server, plan, workload, tasks).await,
        Name::Bb8 => turn::<Bb8>(url, server, plan, workload, tasks).await,
        Name::Sqlx => turn::<Sqlx>(url, server, plan, workload, tasks).await,
        Name::Diesel => turn::<Diesel>(url, server, plan, workload, tasks).await,
    }
}

async fn turn<C: Contestant>(
    url: &str,
    server: &Server,
    plan: &Plan,
    workload: Workload,
    tasks: usize,
) -> Result<Sample> {
    server.tidy().await?;
    let contestant = measure::open::<C>(url, server).await?;
    // With enough tasks to reach all connections, so that each has prepared its statements.
    measure::sample(&contestant, workload, tasks.max(64), plan.warm_up / 2).await?;
    measure::sample(&contestant, workload, tasks, plan.warm_up / 2).await?;
    let sample = measure::sample(&contestant, workload, tasks, plan.window).await?;
    measure::close(contestant, server).await?;
    Ok(sample)
}

impl Race {
    fn new(workload: Workload, tasks: usize) -> Self {
        let results = Name::ALL.map(|name| Outcome {
            name,
            throughputs: Vec::new(),
            latencies: measure::histogram(),
            never_served: Vec::new(),
        });
        Self { workload, tasks, results: results.into() }
    }
}

impl Outcome {
    fn add(&mut self, sample: Sample) -> Result<()> {
        self.throughputs.push(sample.throughput);
        self.latencies.add(sample.latencies)?;
        self.never_served.push(sample.never_served);
        Ok(())
    }
}
