//! All figures of a run, as they go to the JSON file and to people, beside what they are held against.

use std::fmt::Write;

use serde::Serialize;

use crate::observe::events::Costs;
use crate::observe::{Plan, TASKS, Way};
use crate::plan::CONNECTIONS;
use crate::report::{locked_version, median, quartiles};

/// How much of the throughput observing may cost.
const LIMIT: f64 = 0.03;

/// What was measured of each way, round by round, in the order of [`Way::ALL`].
#[derive(Debug, Default)]
pub(super) struct Turns([Turn; Way::ALL.len()]);

#[derive(Debug, Default)]
struct Turn {
    throughputs: Vec<f64>,
    /// Microseconds of this process for each select.
    cpu: Vec<f64>,
}

impl Turns {
    pub(super) fn add(&mut self, way: Way, throughput: f64, cpu: f64) {
        let turn = &mut self.0[way as usize];
        turn.throughputs.push(throughput);
        turn.cpu.push(cpu);
    }
}

/// A run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    plan: &'static str,
    rounds: usize,
    window_ms: u128,
    tasks: usize,
    connections: u32,
    postgresql: String,
    cores: usize,
    opentelemetry: String,
    ways: Vec<Standing>,
    /// Nanoseconds of single events.
    events: Vec<Costs>,
}

/// One way against an observer that does nothing.
#[derive(Debug, Serialize)]
struct Standing {
    way: Way,
    /// Selects per second: the median of the rounds, and each.
    throughput: f64,
    throughput_of_rounds: Vec<f64>,
    /// The median of the rounds' ratios, and their quartiles: what disturbs a round disturbs both.
    ratio: f64,
    quartiles: (f64, f64),
    /// Microseconds of this process for each select: the median of the rounds, and that of what each is above the same round
    /// with an observer that does nothing.
    cpu: f64,
    more_cpu: f64,
    is_met: bool,
}

impl Report {
    pub(super) fn new(plan: &Plan, postgresql: &str, turns: &Turns, events: Vec<Costs>) -> Self {
        let nobody = &turns.0[Way::Nobody as usize];
        Self {
            plan: plan.name,
            rounds: plan.rounds,
            window_ms: plan.window.as_millis(),
            tasks: TASKS,
            connections: CONNECTIONS,
            postgresql: postgresql.to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            opentelemetry: locked_version("opentelemetry_sdk"),
            ways: Way::ALL.iter().zip(&turns.0).map(|(way, turn)| Standing::of(*way, turn, nobody)).collect(),
            events,
        }
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).unwrap_or_default();
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "{} run: {} rounds of {} ms, selects by primary key by {} tasks on {} connections, PostgreSQL {}, {} cores for \
             client and server together, opentelemetry_sdk {}.\n",
            self.plan,
            self.rounds,
            self.window_ms,
            self.tasks,
            self.connections,
            self.postgresql,
            self.cores,
            self.opentelemetry
        )?;
        writeln!(out, "| | per second | it / the first (quartiles) | CPU of the client for each |")?;
        writeln!(out, "|---|---|---|---|")?;
        for standing in &self.ways {
            let Standing { way, throughput, ratio, quartiles: (low, high), cpu, more_cpu, .. } = standing;
            let (ratio, more) = match way {
                Way::Nobody => (String::new(), String::new()),
                _ => (format!("{ratio:.3} ({low:.3}–{high:.3})"), format!(", {more_cpu:+.1} µs")),
            };
            writeln!(out, "| {} | {throughput:.0} | {ratio} | {cpu:.1} µs{more} |", way.title())?;
        }
        writeln!(
            out,
            "\n| events | acquired | executed | released | a select | on {} threads at once |",
            self.cores
        )?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        for costs in &self.events {
            let Costs { observer, acquired, executed, released, at_once } = costs;
            writeln!(
                out,
                "| {observer} | {acquired:.0} ns | {executed:.0} ns | {released:.0} ns | {:.0} ns | {at_once:.0} ns |",
                costs.select()
            )?;
        }
        writeln!(out)?;
        for standing in self.ways.iter().filter(|standing| standing.way != Way::Nobody) {
            let verdict = if standing.is_met { "PASS" } else { "MISS" };
            let (title, lost) = (standing.way.title(), (1.0 - standing.ratio) * 100.0);
            writeln!(out, "{verdict}  {title}: {lost:.1} % of throughput, {:.0} % allowed", LIMIT * 100.0)?;
        }
        Ok(())
    }
}

impl Standing {
    fn of(way: Way, turn: &Turn, nobody: &Turn) -> Self {
        let ratios: Vec<_> =
            turn.throughputs.iter().zip(&nobody.throughputs).map(|(this, nobody)| this / nobody).collect();
        let more: Vec<_> = turn.cpu.iter().zip(&nobody.cpu).map(|(this, nobody)| this - nobody).collect();
        let ratio = median(&ratios);
        Self {
            way,
            throughput: median(&turn.throughputs),
            throughput_of_rounds: turn.throughputs.clone(),
            ratio,
            quartiles: quartiles(&ratios),
            cpu: median(&turn.cpu),
            more_cpu: median(&more),
            is_met: ratio > 1.0 - LIMIT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_held_against_nobody_round_by_round() {
        let turn = |throughputs: [f64; 3], cpu| Turn { throughputs: throughputs.into(), cpu: vec![cpu; 3] };
        let nobody = turn([100.0, 50.0, 200.0], 40.0);
        let check = |throughputs, expect: (f64, bool)| {
            let standing = Standing::of(Way::Composed, &turn(throughputs, 41.0), &nobody);
            assert_eq!((standing.ratio, standing.is_met, standing.more_cpu), (expect.0, expect.1, 1.0));
        };
        check([98.0, 49.0, 100.0], (0.98, true));
        check([97.0, 48.5, 300.0], (0.97, false));
    }
}
