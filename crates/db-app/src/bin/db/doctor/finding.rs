//! What the doctor says of one thing that it looked at. Pure.

use db_app::config::Environment;
use serde::Serialize;

/// How something is. Complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    Ok,
    /// It works, and could be better; or it cannot be seen.
    Advice,
    /// It will hurt. Only this makes the command fail.
    Problem,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: String,
    /// Whether it is no problem.
    pub(super) ok: bool,
    pub(super) grade: Grade,
    /// What is there.
    pub(super) note: String,
    /// What to do about it, when there is something: a statement or a setting.
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, note: impl Into<String>) -> Self {
        Self { check: check.into(), ok: true, grade: Grade::Ok, note: note.into(), fix: None }
    }

    pub(super) fn advice(check: impl Into<String>, note: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { grade: Grade::Advice, fix: Some(fix.into()), ..Self::ok(check, note) }
    }

    pub(super) fn problem(check: impl Into<String>, note: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { ok: false, grade: Grade::Problem, ..Self::advice(check, note, fix) }
    }

    /// A problem where data matter, advice where they are for trying things out.
    pub(super) fn risk(
        environment: Environment,
        check: impl Into<String>,
        note: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        match environment {
            Environment::Development | Environment::Test => Self::advice(check, note, fix),
            _ => Self::problem(check, note, fix),
        }
    }

    /// What this role may not look at.
    pub(super) fn hidden(check: impl Into<String>) -> Self {
        Self::advice(
            check,
            "not visible to this role",
            "run db doctor as a member of pg_monitor, or as the owner",
        )
    }

    /// For people, in one line.
    pub(super) fn line(&self) -> String {
        let Self { check, grade, note, fix, .. } = self;
        let grade = match grade {
            Grade::Ok => "ok",
            Grade::Advice => "advice",
            Grade::Problem => "problem",
        };
        let fix = fix.as_ref().map(|fix| format!(": {fix}")).unwrap_or_default();
        format!("{grade:7}  {check}: {note}{fix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_risk_is_a_problem_where_data_matter() {
        let check = |environment, expect: &str| {
            assert_eq!(Finding::risk(environment, "fsync", "off", "turn it on").line(), expect);
        };
        check(Environment::Development, "advice   fsync: off: turn it on");
        check(Environment::Test, "advice   fsync: off: turn it on");
        check(Environment::Staging, "problem  fsync: off: turn it on");
        check(Environment::Production, "problem  fsync: off: turn it on");
    }
}
