//! What is shown of an alert, and what a sink is told. Values that go out as JSON as they are.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An alert and how it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Alert {
    /// Name of the rule.
    pub name: String,
    /// How it stands.
    pub state: AlertState,
    /// Since when.
    pub since: Timestamp,
    /// The figure at the last look that had one.
    pub value: Option<f64>,
    /// The border that it must not cross.
    pub threshold: f64,
    /// The unit of both.
    pub unit: String,
    /// What is wrong while it fires, in words.
    pub text: String,
}

/// How an alert stands. Complete: pages show exactly these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Nothing is wrong.
    Ok,
    /// Something is wrong, but not for long enough.
    Pending,
    /// Something is wrong.
    Firing,
}

/// What a sink is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Notice {
    /// Names this message: whoever gets the same twice has got it again.
    pub id: String,
    /// Name of the rule.
    pub alert: String,
    /// Whether it began or ended.
    pub state: NoticeState,
    /// The figure.
    pub value: f64,
    /// The border that it must not cross.
    pub threshold: f64,
    /// The unit of both.
    pub unit: String,
    /// What is, or was, wrong, in words.
    pub text: String,
    /// When it began or ended.
    pub at: Timestamp,
    /// The program that tells it.
    pub service: String,
    /// Which of its processes: each has another, and each tells the end of what it told.
    pub instance: String,
}

/// What became of an alert. Complete: a firing that was told has one end, unless the process ends before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeState {
    /// It began.
    Firing,
    /// It ended.
    Resolved,
}

/// Who tells.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    pub(super) service: String,
    pub(super) instance: String,
}
