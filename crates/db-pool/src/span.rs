//! A span for each statement, under the names of the OpenTelemetry conventions. Who does not collect spans pays for one look at
//! an atomic. Where spans go is not decided here.

use db_core::Error;
use tracing::field::Empty;
use tracing::{Level, Span};

use crate::wording::Wordings;

/// The span of a statement under way; without anybody who collects it, nothing.
pub(crate) struct StatementSpan(Span);

impl StatementSpan {
    pub(crate) fn none() -> Self {
        Self(Span::none())
    }

    /// Begins as a child of the caller's span.
    pub(crate) fn begin(sql: &str, endpoint: &str, database: &str, wordings: &Wordings) -> Self {
        if !tracing::enabled!(target: "db::span", Level::DEBUG) {
            return Self::none();
        }
        let (address, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, ""));
        let wording = wordings.of(sql);
        let summary = wording.summary.as_str();
        let name = if summary.is_empty() { "postgresql" } else { summary };
        Self(tracing::debug_span!(
            target: "db::span",
            "statement",
            otel.name = name,
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = "postgresql",
            db.namespace = database,
            db.query.summary = summary,
            db.query.text = wording.text.as_str(),
            db.response.status_code = Empty,
            error.type = Empty,
            server.address = address,
            server.port = port.parse::<u16>().ok(),
        ))
    }

    /// Notes that nobody waits for the statement any more.
    pub(crate) fn give_up(&self) {
        self.0.record("error.type", "cancelled");
        self.0.record("otel.status_code", "ERROR");
    }

    /// Notes what became of the statement.
    pub(crate) fn end(&self, error: Option<&Error>) {
        let (Some(error), false) = (error, self.0.is_disabled()) else { return };
        if let Some(code) = error.sqlstate() {
            self.0.record("db.response.status_code", code.to_string());
        }
        self.0.record("error.type", error.code());
        self.0.record("otel.status_code", "ERROR");
    }
}
