//! What the measured figures are held against, one judgement for each figure. Pure.

use serde::Serialize;

use super::measure::Stage;
use super::recovery::Recovery;

/// One figure against its limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Judgement {
    pub(super) stage: &'static str,
    pub(super) what: &'static str,
    pub(super) passed: bool,
    pub(super) figure: f64,
    /// What the figure must stay below; for a count, what it must not exceed.
    pub(super) limit: f64,
    pub(super) unit: &'static str,
}

/// Limits of the profile `standard`: average of an operation, and use of the pool under normal load.
const AVERAGE_MS: f64 = 200.0;
const UTILIZATION: f64 = 80.0;

/// Limits of the profile `messenger`.
const MESSAGE_AVERAGE_MS: f64 = 100.0;
const MESSAGE_P95_MS: f64 = 300.0;
const MESSAGE_P99_MS: f64 = 500.0;

/// How long there may be no success after a fault: a server that crashed is started again after a second, and replays its log.
const OUTAGE_S: f64 = 30.0;

/// Workers that ask without a pause.
pub(super) fn of_full_load(stage: &Stage) -> Vec<Judgement> {
    vec![no_error(stage), Judgement::below(stage, "average", stage.latency.average_ms, AVERAGE_MS, "ms")]
}

/// Workers with pauses: only here the use of the pool says something.
pub(super) fn of_normal_load(stage: &Stage) -> Vec<Judgement> {
    let mut all = of_full_load(stage);
    all.push(Judgement::below(
        stage,
        "pool utilization, average",
        stage.utilization.average,
        UTILIZATION,
        "%",
    ));
    all
}

pub(super) fn of_messages(stage: &Stage) -> Vec<Judgement> {
    let latency = stage.latency;
    vec![
        no_error(stage),
        Judgement::below(stage, "average", latency.average_ms, MESSAGE_AVERAGE_MS, "ms"),
        Judgement::below(stage, "p95", latency.p95_ms, MESSAGE_P95_MS, "ms"),
        Judgement::below(stage, "p99", latency.p99_ms, MESSAGE_P99_MS, "ms"),
    ]
}

/// Errors do not count here: what was under way when the server went may be told so. What was answered must be true.
pub(super) fn of_recovery(recovery: &Recovery) -> Vec<Judgement> {
    let judgement = |what, passed, figure, limit, unit| Judgement {
        stage: recovery.name,
        what,
        passed,
        figure,
        limit,
        unit,
    };
    let outage = recovery.seconds_without_success;
    let none = |what, count: u32| judgement(what, count == 0, f64::from(count), 0.0, "");
    vec![
        judgement(
            "recovers by itself, without success for",
            recovery.recovered && outage < OUTAGE_S,
            outage,
            OUTAGE_S,
            "s",
        ),
        none("wrong answers", recovery.wrong_answers()),
        none("acknowledged writes lost", recovery.lost),
        none("writes doubled", recovery.doubled),
    ]
}

fn no_error(stage: &Stage) -> Judgement {
    let count = f64::from(u32::try_from(stage.errors).unwrap_or(u32::MAX));
    Judgement {
        stage: stage.name,
        what: "errors",
        passed: stage.errors == 0,
        figure: count,
        limit: 0.0,
        unit: "",
    }
}

impl Judgement {
    fn below(stage: &Stage, what: &'static str, figure: f64, limit: f64, unit: &'static str) -> Self {
        // Without an operation nothing was shown.
        let passed = stage.operations > 0 && figure < limit;
        Self { stage: stage.name, what, passed, figure, limit, unit }
    }

    /// `PASS` or `FAIL`, with the figure and its limit.
    pub(super) fn line(&self) -> String {
        let Self { stage, what, passed, figure, limit, unit } = self;
        let word = if *passed { "PASS" } else { "FAIL" };
        if unit.is_empty() {
            return format!("{word}  {stage}: {what} {figure:.0} (allowed {limit:.0})");
        }
        format!("{word}  {stage}: {what} {figure:.1} {unit} (below {limit:.0} {unit})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::{AcquireWait, Latency, OnLanes, Utilization};

    fn stage(average_ms: f64, utilization: f64, errors: u64) -> Stage {
        Stage {
            name: "load",
            load: String::new(),
            operations: 100,
            errors,
            errors_by_code: std::collections::BTreeMap::new(),
            seconds: 1.0,
            throughput_per_s: 100.0,
            latency: Latency { average_ms, p50_ms: 1.0, p95_ms: 299.0, p99_ms: 500.0, max_ms: 900.0 },
            acquire_wait: AcquireWait { count: 100, p50_ms: 0.0, p95_ms: 0.0, p99_ms: 0.0 },
            utilization: Utilization { average: utilization, peak: 100.0 },
            lanes: OnLanes::default(),
        }
    }

    #[test]
    fn a_figure_must_stay_below_its_limit() {
        let check = |judgements: Vec<Judgement>, expect: &[&str]| {
            assert_eq!(judgements.iter().map(Judgement::line).collect::<Vec<_>>(), expect);
        };
        check(
            of_full_load(&stage(12.34, 100.0, 0)),
            &["PASS  load: errors 0 (allowed 0)", "PASS  load: average 12.3 ms (below 200 ms)"],
        );
        check(
            of_normal_load(&stage(200.0, 80.0, 2)),
            &[
                "FAIL  load: errors 2 (allowed 0)",
                "FAIL  load: average 200.0 ms (below 200 ms)",
                "FAIL  load: pool utilization, average 80.0 % (below 80 %)",
            ],
        );
        check(
            of_messages(&stage(99.0, 100.0, 0)),
            &[
                "PASS  load: errors 0 (allowed 0)",
                "PASS  load: average 99.0 ms (below 100 ms)",
                "PASS  load: p95 299.0 ms (below 300 ms)",
                "FAIL  load: p99 500.0 ms (below 500 ms)",
            ],
        );
        let nothing = Stage { operations: 0, ..stage(0.0, 0.0, 0) };
        assert!(!of_full_load(&nothing)[1].passed);
    }
}
