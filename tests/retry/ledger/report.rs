//! What came of one fault: the figures, the limits that they must keep, and the line for whoever prints a table of many.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::judge::Verdict;

/// The longest time from a server that is ready to the first write that is acknowledged.
const AGAIN: Duration = Duration::from_secs(5);

/// By how much a call may outlive its deadline, in per cent of it.
const OVER: f64 = 10.0;

/// The figures of one fault.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) fault: &'static str,
    pub(crate) calls: u64,
    pub(crate) acknowledged: u64,
    /// How often the fault struck.
    pub(crate) fired: u64,
    pub(crate) retries: u64,
    /// COMMITs whose answer was lost: those that a resolver cleared up during the call, and those that it could not.
    pub(crate) unknown: u64,
    pub(crate) committed: u64,
    pub(crate) rolled_back: u64,
    pub(crate) verdict: Verdict,
    /// What nobody could say, and why.
    pub(crate) doubts: Vec<String>,
    /// By how much the slowest call outlived its deadline, in per cent of it.
    pub(crate) over: f64,
    /// The longest time from a server that was ready to the first acknowledged write.
    pub(crate) again: Option<Duration>,
    pub(crate) took: Duration,
}

impl Report {
    /// Publishes it, and fails the test when a limit is not kept.
    pub(crate) fn must_hold(&self) {
        self.publish();
        let Self { fault, verdict, doubts, .. } = self;
        assert!(doubts.is_empty(), "{fault}: nobody knows what became of {doubts:#?}");
        assert!(
            verdict.is_clean(),
            "{fault}: what callers were told is not what the database holds: {self:?}"
        );
        assert!(self.acknowledged > 0, "{fault}: nothing was ever acknowledged: {self:?}");
        assert!(self.over <= OVER, "{fault}: a call outlived its deadline by {:.1} %: {self:?}", self.over);
        assert!(
            self.again.is_none_or(|again| again <= AGAIN),
            "{fault}: no write for {:?} after the server was ready: {self:?}",
            self.again
        );
    }

    fn publish(&self) {
        let verdict = &self.verdict;
        let line = json!({
            "fault": self.fault, "calls": self.calls, "acknowledged": self.acknowledged, "fired": self.fired,
            "retries": self.retries, "unknown": self.unknown, "committed": self.committed,
            "rolled_back": self.rolled_back, "lost": verdict.lost.len(), "doubled": verdict.doubled.len(),
            "unresolved": verdict.unresolved.len(), "over_percent": self.over,
            "again_seconds": self.again.map(|again| again.as_secs_f64()),
            "seconds": self.took.as_secs_f64(),
        });
        publish(&line);
    }
}

/// Prints a line of figures, and appends it to the file that is named by the environment.
#[expect(clippy::print_stdout, reason = "who runs a single fault by hand wants to see its figures")]
pub(crate) fn publish(line: &Value) {
    println!("{line}");
    let Some(path) = std::env::var_os("DB_FAULT_REPORT") else { return };
    let file = OpenOptions::new().append(true).create(true).open(path);
    // In one piece, so that lines of several processes do not mix.
    file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).expect("DB_FAULT_REPORT");
}
