//! An error as JSON, for logs and for people who ask what happened. Holds no secret and no value.

use jiff::Timestamp;
use serde::Serialize;

use crate::{Advice, Error, Kind, Outcome, Phase, SqlState, Wait};

/// What [`Error::report`] gives.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Which of the four types it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The SQLSTATE, or the phase for errors that are not the server's.
    pub code: String,
    /// The message.
    pub message: String,
    /// What is known beyond the message.
    pub details: Details,
    /// When it happened.
    #[serde(rename = "timestamp")]
    pub at: Timestamp,
    /// The id of the request, when one was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What a person could do.
    pub suggestions: Vec<&'static str>,
}

/// What is known about an error beyond its message.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Details {
    /// When in the call it happened.
    pub phase: Phase,
    /// What became of the statement.
    pub outcome: Outcome,
    /// What may be done about it.
    pub advice: Advice,
    /// The name under which the outcome of a COMMIT can be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_doubt: Option<String>,
    /// The numbers of a wait that timed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// The constraint that was violated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// The table concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The column concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

impl Error {
    /// The SQLSTATE, or the phase in lower case for errors that are not the server's: one of few words, for figures.
    #[must_use]
    pub fn code(&self) -> String {
        match self.sqlstate() {
            Some(code) => code.to_string(),
            None => format!("{:?}", self.phase()).to_lowercase(),
        }
    }

    /// The error in the form that monitoring and support work with.
    #[must_use]
    pub fn report(&self) -> Report {
        let server = self.server();
        Report {
            kind: self.kind(),
            code: self.code(),
            message: self.to_string(),
            details: Details {
                phase: self.phase(),
                outcome: self.outcome(),
                advice: self.advice(),
                in_doubt: self.in_doubt().map(str::to_owned),
                wait: self.wait(),
                constraint: server.and_then(|server| server.constraint.clone()),
                table: server.and_then(|server| server.table.clone()),
                column: server.and_then(|server| server.column.clone()),
            },
            at: self.at(),
            request_id: self.request_id().map(str::to_owned),
            suggestions: suggestions(self),
        }
    }
}

fn suggestions(error: &Error) -> Vec<&'static str> {
    let mut found = Vec::new();
    match error.sqlstate().as_ref().map(SqlState::as_str) {
        Some("28P01" | "28000") => found.push("check user and password, and the server's pg_hba.conf"),
        Some("3D000") => found.push("create the database, or correct its name in the connection string"),
        Some("53300") => found.push("lower the pools' maximum, or raise max_connections on the server"),
        Some("57014") => found.push("look at the plan of the statement, or raise its time limit"),
        Some("42P01" | "42703" | "42883") => {
            found.push("apply the pending migrations, or correct the statement")
        }
        Some("25006") => found.push("send writes to the primary"),
        Some("53100") => found.push("free disk space on the server"),
        Some(_) => {}
        None => match (error.kind(), error.phase()) {
            (Kind::Performance, Phase::Acquire) => {
                found.push("look for connections held too long, or raise the pool's maximum");
            }
            (Kind::Connection, Phase::Connect) => {
                found.push("check that the server runs and that host, port and network are right");
            }
            _ => {}
        },
    }
    if error.in_doubt().is_some() {
        found.push("ask what became of the transaction, by the name in details.in_doubt");
    } else if error.outcome() == Outcome::Unknown {
        found.push("check whether the write took effect before repeating it");
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Cause, ServerError, Severity, Signal};

    fn json(error: &Error) -> String {
        let mut value = serde_json::to_value(error.report()).expect("a report is JSON");
        value["timestamp"] = "(now)".into();
        serde_json::to_string_pretty(&value).expect("JSON")
    }

    #[test]
    fn of_a_violated_constraint() {
        let code = SqlState::new("23505").expect("code");
        let mut server = ServerError::new(code, Severity::Error, "duplicate key value");
        server.constraint = Some("users_email_key".into());
        server.detail = Some("Key (email)=(ann@example.org) already exists.".into());
        insta::assert_snapshot!(json(&Error::server_error(server, Phase::Execute).with_request_id("r-1")));
    }

    #[test]
    fn of_a_commit_in_doubt() {
        let lost = Error::new(Signal::new(Cause::Lost, Phase::Commit), "connection closed");
        insta::assert_snapshot!(json(&lost.with_in_doubt("0190c1f0-0000-7000-8000-000000000000")));
    }

    #[test]
    fn of_a_full_pool() {
        let wait = Wait { waited: Duration::from_secs(2), in_use: 20, max: 20, waiting: 14 };
        let signal = Signal::new(Cause::PoolBusy, Phase::Acquire);
        insta::assert_snapshot!(json(
            &Error::new(signal, "timed out waiting for a connection").with_wait(wait)
        ));
    }
}
