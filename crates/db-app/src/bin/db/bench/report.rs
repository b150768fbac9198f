//! What people and scripts read of a bench.

use std::fmt;

use serde::Serialize;

use super::measure::{OnLanes, Seen, Stage};
use super::recovery::Recovery;
use super::verdict::Judgement;
use crate::output::say;
use crate::table::Table;

/// Everything that was measured, and what it was held against.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) profile: &'static str,
    /// The set of defaults that was in force.
    pub(super) preset: String,
    /// The most connections of the pool.
    pub(super) pool_max: u32,
    pub(super) server_version: String,
    pub(super) stages: Vec<Stage>,
    pub(super) recovery: Option<Recovery>,
    pub(super) verdict: Vec<Judgement>,
    pub(super) passed: bool,
    /// What was left out, and why.
    pub(super) notes: Vec<String>,
}

impl Report {
    pub(super) fn print(&self) {
        let Self { profile, preset, pool_max, server_version, stages, recovery, verdict, notes, .. } = self;
        say!(
            "profile {profile}, preset {preset}, at most {pool_max} connections, PostgreSQL {server_version}"
        );
        say!("");
        for line in table(stages).lines() {
            say!("{line}");
        }
        say!("");
        for stage in stages {
            say!("{}: {}", stage.name, stage.load);
            say!("  {}", stage.lanes);
            tell_errors(&stage.errors_by_code);
        }
        if let Some(recovery) = recovery {
            tell_recovery(recovery);
        }
        for note in notes {
            say!("{note}");
        }
        say!("");
        for judgement in verdict {
            say!("{}", judgement.line());
        }
    }
}

fn table(stages: &[Stage]) -> Table {
    let heads = [
        "times in ms",
        "operations",
        "errors",
        "per second",
        "average",
        "p50",
        "p95",
        "p99",
        "max",
        "wait p95",
        "wait p99",
        "pool (%)",
        "peak (%)",
    ];
    let mut table = Table::new(1, &heads);
    for stage in stages {
        let Stage { latency, acquire_wait, utilization, .. } = stage;
        table.row([
            stage.name.to_owned(),
            stage.operations.to_string(),
            stage.errors.to_string(),
            format!("{:.0}", stage.throughput_per_s),
            format!("{:.1}", latency.average_ms),
            format!("{:.1}", latency.p50_ms),
            format!("{:.1}", latency.p95_ms),
            format!("{:.1}", latency.p99_ms),
            format!("{:.1}", latency.max_ms),
            format!("{:.1}", acquire_wait.p95_ms),
            format!("{:.1}", acquire_wait.p99_ms),
            format!("{:.1}", utilization.average),
            format!("{:.1}", utilization.peak),
        ]);
    }
    table
}

impl fmt::Display for OnLanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max, statements, reruns, sent_back, deepest } = self;
        if *max == 0 {
            return f.write_str("no lanes: each statement had a connection of its own");
        }
        write!(f, "{statements} statements on lanes, {reruns} of them run again, {sent_back} sent back; ")?;
        write!(f, "most in flight on one lane {deepest}")
    }
}

fn tell_recovery(recovery: &Recovery) {
    let Recovery { name, fault, seconds_until_success, seconds_without_success, .. } = recovery;
    say!("{name}: {fault}");
    if recovery.recovered {
        say!(
            "  first success after the outage {seconds_until_success:.2} s after the fault, {seconds_without_success:.2} s without any"
        );
    } else {
        say!("  not every worker had a success again");
    }
    say!(
        "  {} writes acknowledged; {} failed for the caller and are there, since only their answer was lost",
        recovery.acknowledged,
        recovery.unacknowledged_found
    );
    say!("  {} of {} operations failed after all retries", recovery.errors, recovery.operations);
    tell_errors(&recovery.errors_by_code);
}

fn tell_errors(errors: &std::collections::BTreeMap<String, Seen>) {
    for (code, Seen { count, first }) in errors {
        say!("  {count} x {code}: {first}");
    }
}
