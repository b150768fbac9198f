//! All numbers of a run, as they go to the JSON file: what was measured, and ours against each peer and the best of them.

use serde::Serialize;

use crate::contestants::Name;
use crate::course::Way;
use crate::distance::Distance;
use crate::plan::{CONNECTIONS, Plan};
use crate::race::{Outcome, Race};
use crate::verdict::Verdict;
use crate::workload::{ROWS, Workload};

/// A run. What was not asked for is empty.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) about: About,
    pub(crate) distance: Option<Distance>,
    pub(crate) races: Vec<Standings>,
    pub(crate) acquire: Vec<Acquire>,
    pub(crate) observing: Option<Observing>,
    pub(crate) allocations: Vec<Allocations>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// What was run on what.
#[derive(Debug, Serialize)]
pub(crate) struct About {
    pub(crate) plan: &'static str,
    pub(crate) rounds: usize,
    /// Of the races that not all pools take part in.
    pub(crate) rounds_of_few: usize,
    pub(crate) window_ms: u128,
    pub(crate) warm_up_ms: u128,
    pub(crate) connections: u32,
    pub(crate) rows: i64,
    pub(crate) postgresql: String,
    /// What the client and the server share.
    pub(crate) cores: usize,
    pub(crate) versions: Vec<(&'static str, String)>,
    /// How far the highest throughput of a round is above the lowest, relative to the median, for the same contestant and
    /// workload; the median of all. Tells how quiet the machine was.
    pub(crate) noise: f64,
}

/// How all did at one course.
#[derive(Debug, Serialize)]
pub(crate) struct Standings {
    pub(crate) title: String,
    pub(crate) workload: Workload,
    pub(crate) tasks: usize,
    pub(crate) way: Way,
    pub(crate) contestants: Vec<Standing>,
    /// Ours against the best pool of each figure, which need not be the same one. A peer that did not serve every task is
    /// no measure for times, since it has served the others at the cost of those.
    pub(crate) ours_to_best: Ratios,
    pub(crate) best_throughput: Name,
    pub(crate) best_p99: Option<Name>,
}

/// How one contestant did. Times are in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    pub(crate) name: Name,
    /// Operations per second: the median of the rounds.
    pub(crate) throughput: f64,
    pub(crate) throughput_of_rounds: Vec<f64>,
    pub(crate) operations: u64,
    /// The median of the rounds' averages.
    pub(crate) average: f64,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// Tasks without a single operation in a round: the median of the rounds, and each.
    pub(crate) never_served: f64,
    pub(crate) never_served_of_rounds: Vec<usize>,
    /// Long statements per second: the median of the rounds.
    pub(crate) pauses: f64,
    /// Ours divided by this one.
    pub(crate) ours_to_this: Ratios,
}

/// Ours divided by another. Throughput is better above 1, times are better below.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ratios {
    /// The median of the rounds' ratios: what disturbs a round disturbs both.
    pub(crate) throughput: f64,
    /// The quartiles of the rounds' ratios.
    pub(crate) throughput_quartiles: (f64, f64),
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    /// The same by rounds, as the throughput is.
    pub(crate) p99_of_rounds: f64,
    pub(crate) p999: f64,
}

/// Nanoseconds of an acquire and release.
#[derive(Debug, Serialize)]
pub(crate) struct Acquire {
    pub(crate) name: Name,
    pub(crate) nanos: f64,
}

/// Throughput with an observer that counts and with one that does nothing.
#[derive(Debug, Serialize)]
pub(crate) struct Observing {
    pub(crate) without: f64,
    pub(crate) with: f64,
    /// The median of the pairs' ratios, and their quartiles.
    pub(crate) ratio: f64,
    pub(crate) quartiles: (f64, f64),
    pub(crate) events: u64,
}

/// Allocations of one operation.
#[derive(Debug, Serialize)]
pub(crate) struct Allocations {
    pub(crate) name: Name,
    pub(crate) workload: Workload,
    pub(crate) count: f64,
    pub(crate) bytes: f64,
}

/// What is allocated while tasks wait, for each of them.
#[derive(Debug, Serialize)]
pub(crate) struct Waiting {
    pub(crate) name: Name,
    pub(crate) tasks: usize,
    /// Of the server, on which the statements waited that had reached it.
    pub(crate) sessions: i64,
    pub(crate) bytes: f64,
    pub(crate) count: f64,
}

impl Report {
    /// Of the races, without what is measured beside them.
    pub(crate) fn new(plan: &Plan, postgresql: &str, pgbench: Option<&str>, races: &[Race]) -> Self {
        let of_pool = |name: Name| (name.package(), locked_version(name.package()));
        let of_pgbench = pgbench.map(|version| (Name::Pgbench.package(), version.to_owned()));
        let about = About {
            plan: plan.name,
            rounds: plan.rounds,
            rounds_of_few: plan.rounds_of_few,
            window_ms: plan.window.as_millis(),
            warm_up_ms: plan.warm_up.as_millis(),
            connections: CONNECTIONS,
            rows: ROWS,
            postgresql: postgresql.to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            versions: Name::POOLS.into_iter().map(of_pool).chain(of_pgbench).collect(),
            noise: noise(races),
        };
        let races = races.iter().map(Standings::of).collect();
        Self {
            about,
            distance: None,
            races,
            acquire: Vec::new(),
            observing: None,
            allocations: Vec::new(),
            waiting: Vec::new(),
            verdicts: Vec::new(),
        }
    }
}

impl Standings {
    fn of(race: &Race) -> Self {
        let (ours, others) = race.results.split_first().expect("ours is the first");
        let peers: Vec<_> = others.iter().filter(|other| other.name != Name::Pgbench).collect();
        let ratio_to = |peer: &Outcome| Ratios::of(ours, peer).throughput;
        let by_ratio = |a: &&Outcome, b: &&Outcome| ratio_to(a).total_cmp(&ratio_to(b));
        let fastest = peers.iter().copied().min_by(by_ratio).expect("there are peers");
        let served_all = |peer: &&Outcome| peer.never_served.iter().all(|tasks| *tasks == 0);
        let quickest_at = |quantile| {
            let by_time = |a: &&Outcome, b: &&Outcome| micros(a, quantile).total_cmp(&micros(b, quantile));
            peers.iter().copied().filter(served_all).min_by(by_time)
        };
        let of_best = |quantile| {
            quickest_at(quantile).map_or(f64::NAN, |best| micros(ours, quantile) / micros(best, quantile))
        };
        let ours_to_best = Ratios {
            p50: of_best(0.5),
            p95: of_best(0.95),
            p99: of_best(0.99),
            p999: of_best(0.999),
            ..Ratios::of(ours, fastest)
        };
        Self {
            title: race.course.title(),
            workload: race.course.workload,
            tasks: race.course.tasks,
            way: race.course.way,
            contestants: race.results.iter().map(|outcome| Standing::of(outcome, ours)).collect(),
            ours_to_best,
            best_throughput: fastest.name,
            best_p99: quickest_at(0.99).map(|best| best.name),
        }
    }

    /// A contestant that took part.
    pub(crate) fn standing(&self, name: Name) -> Option<&Standing> {
        self.contestants.iter().find(|standing| standing.name == name)
    }
}

impl Standing {
    fn of(outcome: &Outcome, ours: &Outcome) -> Self {
        let never_served: Vec<_> = outcome.never_served.iter().map(|tasks| *tasks as f64).collect();
        Self {
            name: outcome.name,
            throughput: median(&outcome.throughputs),
            throughput_of_rounds: outcome.throughputs.clone(),
            operations: outcome.latencies.len(),
            average: median(&outcome.averages) / 1_000.0,
            p50: micros(outcome, 0.5),
            p95: micros(outcome, 0.95),
            p99: micros(outcome, 0.99),
            p999: micros(outcome, 0.999),
            max: micros(outcome, 1.0),
            never_served: median(&never_served),
            never_served_of_rounds: outcome.never_served.clone(),
            pauses: median(&outcome.pauses),
            ours_to_this: Ratios::of(ours, outcome),
        }
    }
}

impl Ratios {
    fn of(ours: &Outcome, other: &Outcome) -> Self {
        let by_round = |ours: &[f64], other: &[f64]| -> Vec<_> {
            ours.iter().zip(other).map(|(ours, other)| ours / other).collect()
        };
        let rounds = by_round(&ours.throughputs, &other.throughputs);
        let of_quantile = |quantile| micros(ours, quantile) / micros(other, quantile);
        Self {
            throughput: median(&rounds),
            throughput_quartiles: quartiles(&rounds),
            p50: of_quantile(0.5),
            p95: of_quantile(0.95),
            p99: of_quantile(0.99),
            p99_of_rounds: median(&by_round(&ours.p99s, &other.p99s)),
            p999: of_quantile(0.999),
        }
    }
}

/// Not a number for a contestant that tells only averages.
fn micros(outcome: &Outcome, quantile: f64) -> f64 {
    if outcome.latencies.is_empty() {
        return f64::NAN;
    }
    outcome.latencies.value_at_quantile(quantile) as f64 / 1_000.0
}

fn noise(races: &[Race]) -> f64 {
    let outcomes = races.iter().flat_map(|race| &race.results);
    let spreads = outcomes.map(|Outcome { throughputs, .. }| {
        (quantile(throughputs, 1.0) - quantile(throughputs, 0.0)) / median(throughputs)
    });
    median(&spreads.collect::<Vec<_>>())
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

pub(crate) fn quartiles(values: &[f64]) -> (f64, f64) {
    (quantile(values, 0.25), quantile(values, 0.75))
}

/// Between two values in proportion.
fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = at * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// The version of a package that this was built with.
pub(crate) fn locked_version(package: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split(&entry).nth(1).and_then(|rest| rest.split('"').next());
    version.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_values() {
        let check = |values: &[f64], at, expect: f64| assert_eq!(quantile(values, at), expect);
        check(&[3.0], 0.5, 3.0);
        check(&[9.0, 1.0, 2.0], 0.5, 2.0);
        check(&[4.0, 1.0, 2.0, 3.0], 0.5, 2.5);
        check(&[4.0, 1.0, 2.0, 3.0, 5.0], 0.25, 2.0);
        check(&[4.0, 1.0, 2.0], 1.0, 4.0);
    }

    #[test]
    fn versions_are_those_of_the_lock_file() {
        assert!(locked_version("sqlx").starts_with("0."));
        assert_eq!(locked_version("no-such-package"), "unknown");
    }
}
