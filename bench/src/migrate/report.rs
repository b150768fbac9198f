//! All figures of a run, as they go to the JSON file and to people, beside what they are held against. Seconds in both.

use std::fmt::Write;

use serde::Serialize;

use crate::migrate::Plan;
use crate::migrate::measure::{First, Split, Turns};
use crate::migrate::tools::Tool;
use crate::migrate::workload::{LARGE, MIGRATIONS};
use crate::report::{locked_version, median, quartiles};

/// A run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    plan: &'static str,
    rounds: usize,
    migrations: usize,
    postgresql: String,
    cores: usize,
    tools: Vec<Standing>,
    split: Figure,
    split_and_lint: Figure,
    up_001: Figure,
    verify_001: Figure,
    empty_database: Figure,
    down_001: Figure,
    claims: Vec<Claim>,
}

/// How one tool did with the small migrations.
#[derive(Debug, Serialize)]
struct Standing {
    tool: Tool,
    version: String,
    up: Figure,
    read: Figure,
    /// The median of the rounds' ratios, ours divided by this one: what disturbs a round disturbs both.
    ours_to_this: f64,
}

/// Several measurements of one thing.
#[derive(Debug, Serialize)]
struct Figure {
    median: f64,
    quartiles: (f64, f64),
    all: Vec<f64>,
}

/// What a figure is held against.
#[derive(Debug, Serialize)]
struct Claim {
    what: String,
    is_met: bool,
    measured: f64,
    limit: f64,
}

impl Report {
    pub(crate) fn new(plan: &Plan, postgresql: &str, many: &[Turns], split: &Split, first: &First) -> Self {
        let tools: Vec<_> = many.iter().map(|turns| Standing::of(turns, &many[0])).collect();
        let mut this = Self {
            plan: plan.name,
            rounds: plan.rounds,
            migrations: MIGRATIONS,
            postgresql: postgresql.to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            tools,
            split: Figure::of(&split.split),
            split_and_lint: Figure::of(&split.with_lint),
            up_001: Figure::of(&first.up),
            verify_001: Figure::of(&first.verify),
            empty_database: Figure::of(&first.empty),
            down_001: Figure::of(&first.down),
            claims: Vec::new(),
        };
        this.claims = this.claims();
        this
    }

    /// What must hold.
    fn claims(&self) -> Vec<Claim> {
        let peers = self.tools.iter().filter(|standing| standing.tool != Tool::Ours);
        let worst = peers.map(|standing| standing.ours_to_this).fold(0.0, f64::max);
        let status = self.tools[0].read.median;
        let claim =
            |what: String, measured, limit| Claim { what, is_met: measured <= limit, measured, limit };
        let about = |what: &str, figure: &Figure, limit: f64| {
            claim(format!("{what} (A13: about {:.0} ms)", limit * 1e3), figure.median, limit)
        };
        vec![
            claim(
                format!("up of {MIGRATIONS} migrations, ours divided by the faster peer: at most 1"),
                worst,
                1.0,
            ),
            claim(format!("status of {MIGRATIONS} applied migrations: < 50 ms"), status, 0.05),
            claim(
                format!("splitting and linting {:.0} MB of SQL: < 500 ms", LARGE as f64 / 1e6),
                self.split_and_lint.median,
                0.5,
            ),
            about("up of migration 001", &self.up_001, 0.2),
            about("down of migration 001", &self.down_001, 0.15),
            about("verification of migration 001", &self.verify_001, 0.05),
        ]
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).unwrap_or_default();
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "{} run: {} rounds of {} migrations, PostgreSQL {}, {} cores for client and server together.\n",
            self.plan, self.rounds, self.migrations, self.postgresql, self.cores
        )?;
        writeln!(out, "| | up (quartiles) | ours / it | reading what is applied |\n|---|---|---|---|")?;
        for standing in &self.tools {
            let Standing { tool, version, up, read, ours_to_this } = standing;
            let (low, high) = up.quartiles;
            let ratio = if *tool == Tool::Ours { String::new() } else { format!("{ours_to_this:.2}") };
            let times = [up.median, low, high, read.median].map(time);
            let [up, low, high, read] = times;
            writeln!(out, "| {} {version} | {up} ({low}–{high}) | {ratio} | {read} |", tool.package())?;
        }
        writeln!(out, "\n| db-migrate | median (quartiles) |\n|---|---|")?;
        for (what, figure) in [
            ("splitting 1 MB", &self.split),
            ("splitting and linting 1 MB", &self.split_and_lint),
            ("001 up", &self.up_001),
            ("001 verify", &self.verify_001),
            ("of that, what an empty database costs to create and drop", &self.empty_database),
            ("001 down", &self.down_001),
        ] {
            let [median, low, high] = [figure.median, figure.quartiles.0, figure.quartiles.1].map(time);
            writeln!(out, "| {what} | {median} ({low}–{high}) |")?;
        }
        writeln!(out)?;
        for claim in &self.claims {
            let verdict = if claim.is_met { "PASS" } else { "MISS" };
            let measured =
                if claim.limit == 1.0 { format!("{:.2}", claim.measured) } else { time(claim.measured) };
            writeln!(out, "{verdict}  {}: {measured}", claim.what)?;
        }
        Ok(())
    }
}

impl Standing {
    fn of(turns: &Turns, ours: &Turns) -> Self {
        let ups: Vec<_> = turns.turns.iter().map(|turn| turn.up).collect();
        let reads: Vec<_> = turns.turns.iter().flat_map(|turn| turn.reads.iter().copied()).collect();
        let ratios = ours.turns.iter().zip(&ups).map(|(ours, this)| ours.up / this);
        Self {
            tool: turns.tool,
            version: match turns.tool {
                Tool::Ours => "(this one)".to_owned(),
                peer => locked_version(peer.package()),
            },
            up: Figure::of(&ups),
            read: Figure::of(&reads),
            ours_to_this: median(&ratios.collect::<Vec<_>>()),
        }
    }
}

impl Figure {
    fn of(all: &[f64]) -> Self {
        Self { median: median(all), quartiles: quartiles(all), all: all.to_vec() }
    }
}

/// Seconds in a unit that fits.
fn time(seconds: f64) -> String {
    match seconds * 1e3 {
        millis @ 0.0..10.0 => format!("{millis:.1} ms"),
        millis @ 10.0..1_000.0 => format!("{millis:.0} ms"),
        _ => format!("{seconds:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_that_fits() {
        let check = |seconds: f64, expect: &str| assert_eq!(time(seconds), expect);
        check(0.0012, "1.2 ms");
        check(0.2004, "200 ms");
        check(2.5, "2.50 s");
    }
}
