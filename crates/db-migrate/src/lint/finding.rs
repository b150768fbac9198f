//! What a rule found. How it is shown is the program's to say.

use serde::Serialize;

/// Something in a file that should be written differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The name of the file.
    pub file: String,
    /// The rule, as `-- lint: ignore` names it.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The statement on one line, shortened. Empty if it concerns the whole file.
    pub statement: String,
    /// What is wrong with it.
    pub why: String,
    /// What to write instead.
    pub instead: String,
}

/// How bad a finding is, worst first. Complete: what is harmless is no finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It fails, or does not do what it says.
    Error,
    /// It blocks a busy table, breaks a running program or can not be taken back.
    Warning,
    /// There is a way that ages better.
    Advice,
}
