//! The comparison: every contestant runs every course that it enters, round after round.
//!
//! Contestants take turns within each round, each time from another one on, so that a machine that slows down slows all of
//! them down. Only the pool whose turn it is is open.

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::contestants::{Bb8, Contestant, Deadpool, Diesel, Name, Ours, Pgbench, Sqlx};
use crate::course::{Course, Way};
use crate::delay::DelayLine;
use crate::measure::{self, Sample};
use crate::plan::Plan;
use crate::server::Server;

/// How all did at one course.
#[derive(Debug)]
pub(crate) struct Race {
    pub(crate) course: Course,
    /// In the order of the entrants, ours first.
    pub(crate) results: Vec<Outcome>,
}

/// How one contestant did in all rounds.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: Name,
    /// Operations per second of each round.
    pub(crate) throughputs: Vec<f64>,
    /// Nanoseconds, of all rounds. Empty for a contestant that tells only averages.
    pub(crate) latencies: Histogram<u64>,
    /// The 99th percentile of each round in nanoseconds; no number for a contestant that tells only averages.
    pub(crate) p99s: Vec<f64>,
    /// The average latency of each round in nanoseconds.
    pub(crate) averages: Vec<f64>,
    /// Tasks of each round that were never served.
    pub(crate) never_served: Vec<usize>,
    /// Long statements per second of each round.
    pub(crate) pauses: Vec<f64>,
}

/// What contestants run on.
pub(crate) struct Ground<'a> {
    pub(crate) url: &'a str,
    /// There if any course is far away.
    pub(crate) line: Option<&'a DelayLine>,
    pub(crate) server: &'a Server,
    /// Runs without it where it is missing.
    pub(crate) pgbench: Option<&'a Pgbench>,
}

/// Runs all rounds.
pub(crate) async fn run(ground: &Ground<'_>, plan: &Plan, courses: &[Course]) -> Result<Vec<Race>> {
    let mut races: Vec<_> = courses.iter().map(|course| Race::new(*course, ground)).collect();
    let rounds = courses.iter().map(|course| course.rounds(plan)).max().unwrap_or(0);
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        let held = races.iter_mut().filter(|race| round < race.course.rounds(plan));
        for (index, race) in held.enumerate() {
            let entrants = race.results.len();
            for turn in 0..entrants {
                let outcome = &mut race.results[(turn + round + index) % entrants];
                let sample = one(outcome.name, ground, plan, race.course)
                    .await
                    .with_context(|| format!("{}, {}", race.course.title(), outcome.name.package()))?;
                outcome.add(sample)?;
            }
        }
    }
    Ok(races)
}

async fn one(name: Name, ground: &Ground<'_>, plan: &Plan, course: Course) -> Result<Sample> {
    match name {
        Name::Ours => turn::<Ours>(ground, plan, course).await,
        Name::Deadpool => turn::<Deadpool>(ground, plan, course).await,
        Name::Bb8 => turn::<Bb8>(ground, plan, course).await,
        Name::Sqlx => turn::<Sqlx>(ground, plan, course).await,
        Name::Diesel => turn::<Diesel>(ground, plan, course).await,
        Name::Pgbench => {
            let sample = ground.pgbench.context("it is not here")?.select().await?;
            ground.server.wait_until_alone().await?;
            Ok(sample)
        }
    }
}

async fn turn<C: Contestant>(ground: &Ground<'_>, plan: &Plan, course: Course) -> Result<Sample> {
    let Course { workload, tasks, way, .. } = course;
    let url = match way {
        Way::Near => ground.url,
        Way::Far => ground.line.context("there is no delay line")?.url(),
    };
    ground.server.tidy().await?;
    let contestant = measure::open::<C>(url, ground.server).await?;
    // With enough tasks to reach all connections, so that each has prepared its statements.
    measure::sample(&contestant, workload, tasks.max(64), plan.warm_up / 2).await?;
    measure::sample(&contestant, workload, tasks, plan.warm_up / 2).await?;
    let sample = measure::sample(&contestant, workload, tasks, plan.window).await?;
    measure::close(contestant, ground.server).await?;
    Ok(sample)
}

impl Race {
    fn new(course: Course, ground: &Ground<'_>) -> Self {
        let is_here = |name: &Name| *name != Name::Pgbench || ground.pgbench.is_some();
        let entrants = course.entrants.iter().copied().filter(is_here);
        Self { course, results: entrants.map(Outcome::new).collect() }
    }
}

impl Outcome {
    fn new(name: Name) -> Self {
        Self {
            name,
            throughputs: Vec::new(),
            latencies: measure::histogram(),
            p99s: Vec::new(),
            averages: Vec::new(),
            never_served: Vec::new(),
            pauses: Vec::new(),
        }
    }

    fn add(&mut self, sample: Sample) -> Result<()> {
        self.throughputs.push(sample.throughput);
        self.p99s.push(match sample.latencies.len() {
            0 => f64::NAN,
            _ => sample.latencies.value_at_quantile(0.99) as f64,
        });
        self.latencies.add(sample.latencies)?;
        self.averages.push(sample.average);
        self.never_served.push(sample.never_served);
        self.pauses.push(sample.pauses);
        Ok(())
    }
}
