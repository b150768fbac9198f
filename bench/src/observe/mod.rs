//! What observing costs: the same selects by the same pool while nobody listens, the log, all that db-app composes, and a
//! collector of spans beside it; and each event for itself. Only puts the parts together: who listens is in `ears`, who collects
//! spans in `spans`, single events in `events`, the figures in `report`.

mod ears;
mod events;
mod report;
mod spans;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::contestants::Ours;
use crate::measure;
use crate::observe::ears::{Ear, Ears};
use crate::observe::report::{Report, Turns};
use crate::observe::spans::Spans;
use crate::server::Server;
use crate::workload::Workload;

/// Tasks that select at once.
const TASKS: usize = 64;

/// How often everything is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    name: &'static str,
    /// Rounds in which each way has its turn. A multiple of five lets each have each place equally often.
    rounds: usize,
    warm_up: Duration,
    /// How long operations are begun and counted in a turn.
    window: Duration,
    /// Batches in which single events are timed.
    batches: usize,
    /// The whole run is given up after this.
    limit: Duration,
}

const QUICK: Plan = Plan {
    name: "quick",
    rounds: 20,
    warm_up: Duration::from_millis(500),
    window: Duration::from_millis(200),
    batches: 50,
    limit: Duration::from_secs(2 * 60),
};

/// Short turns and many of them: what else the machine does disturbs a few rounds, and hits neighbours alike.
const FULL: Plan = Plan {
    name: "full",
    rounds: 150,
    warm_up: Duration::from_secs(2),
    window: Duration::from_millis(250),
    batches: 400,
    limit: Duration::from_secs(10 * 60),
};

/// A way of observing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// An observer that does nothing.
    Nobody,
    Log,
    /// The log, metrics for Prometheus, and the figures of the last minute, as db-app puts them together.
    Composed,
    /// The same, and a tenth of the spans are kept.
    WithTenthOfSpans,
    /// The same, and all spans are kept.
    WithSpans,
}

impl Way {
    const ALL: [Self; 5] = [Self::Nobody, Self::Log, Self::Composed, Self::WithTenthOfSpans, Self::WithSpans];

    fn title(self) -> &'static str {
        match self {
            Self::Nobody => "an observer that does nothing",
            Self::Log => "the log, at `info`",
            Self::Composed => "log, metrics and window, as in db-app",
            Self::WithTenthOfSpans => "the same, and spans, a tenth of them kept",
            Self::WithSpans => "the same, and all spans kept",
        }
    }

    fn ear(self) -> Ear {
        match self {
            Self::Nobody => Ear::Nobody,
            Self::Log => Ear::Log,
            Self::Composed | Self::WithTenthOfSpans | Self::WithSpans => Ear::Composed,
        }
    }

    /// How many of the spans are kept; `None` if nobody collects any.
    fn ratio(self) -> Option<f64> {
        match self {
            Self::Nobody | Self::Log | Self::Composed => None,
            Self::WithTenthOfSpans => Some(0.1),
            Self::WithSpans => Some(1.0),
        }
    }
}

pub(crate) fn run(url: &str, quick: bool, report: &Path) -> Result<()> {
    let plan = if quick { QUICK } else { FULL };
    let spans = Spans::install()?;
    let measured = Runtime::new()?
        .block_on(async { timeout(plan.limit, measure(url, &plan, &spans)).await })
        .with_context(|| format!("it did not end within {:?}", plan.limit))??;
    println!("{}", measured.markdown());
    let json = serde_json::to_string_pretty(&measured)?;
    std::fs::write(report, json + "\n").with_context(|| report.display().to_string())?;
    eprintln!("all numbers: {}", report.display());
    Ok(())
}

async fn measure(url: &str, plan: &Plan, spans: &Spans) -> Result<Report> {
    let server = Server::prepare(url).await?;
    eprintln!("single events");
    let events = events::measure(plan.batches)?;
    let turns = turns(url, &server, plan, spans).await?;
    Ok(Report::new(plan, server.version(), &turns, events))
}

/// One pool for all ways, so that they share its connections and the processes of the server behind them.
async fn turns(url: &str, server: &Server, plan: &Plan, spans: &Spans) -> Result<Turns> {
    let ears = Arc::new(Ears::new()?);
    let pool = measure::open_by(Ours::open_observed(url, ears.clone()), server).await?;
    measure::sample(&pool, Workload::Select, TASKS, plan.warm_up).await?;
    let mut turns = Turns::default();
    for round in 0..plan.rounds {
        if round % 10 == 0 {
            eprintln!("round {} of {}", round + 1, plan.rounds);
        }
        for turn in 0..Way::ALL.len() {
            let place = (turn + round) % Way::ALL.len();
            let way = Way::ALL[place];
            ears.open(way.ear());
            spans.collect(way.ratio());
            let before = cpu();
            let sample = measure::sample(&pool, Workload::Select, TASKS, plan.window).await?;
            let spent = (cpu() - before).as_secs_f64() * 1e6 / sample.latencies.len() as f64;
            turns.add(way, sample.throughput, spent);
        }
    }
    spans.collect(None);
    // Who did not do its work costs nothing.
    ears.prove()?;
    spans.prove()?;
    measure::close(pool, server).await?;
    Ok(turns)
}

/// What this process has spent so far, on all its threads.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
