//! Transactions that stay open for too long. It ends none of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Executor, Finding, FromRow, Probe, Query, Result};

/// Without the privilege the server hides all of a session but its existence, also its type.
const SQL: &str = "
    WITH sessions AS (
        SELECT pid, xact_start, backend_type IS NULL AS is_hidden,
               CASE WHEN state LIKE 'idle in transaction%' THEN state_change END AS idle_since
        FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
          AND coalesce(backend_type, 'client backend') = 'client backend'
    )
    SELECT (array_agg(pid ORDER BY xact_start) FILTER (WHERE xact_start IS NOT NULL))[1] AS pid,
           coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)), 0)::float8 AS oldest,
           coalesce(extract(epoch FROM clock_timestamp() - min(idle_since)), 0)::float8 AS idle,
           (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(prepared)), 0)::float8
            FROM pg_prepared_xacts WHERE database = current_database()) AS prepared,
           count(*) FILTER (WHERE is_hidden) AS hidden
    FROM sessions";

/// Looks for transactions of the current database that stay open: they keep vacuum from cleaning up, so that tables grow and slow
/// down, and hold their locks. Degraded, never unhealthy:
///
/// | reason | what | default limit |
/// |---|---|---|
/// | `long_transaction` | the oldest transaction of a session | 5 min: longer than what serves requests, shorter than what bloats tables |
/// | `idle_in_transaction` | a session that does nothing in its transaction | 1 min: nobody who still works pauses so long |
/// | `prepared_transaction` | a transaction prepared for two-phase commit that nobody ended | as the first |
///
/// Sessions of other roles are visible only to a superuser or a member of `pg_read_all_stats` (or `pg_monitor`). Without it
/// those are left out of the judgement, and the detail `hidden` says how many there were. Prepared ones are visible to all.
pub struct TransactionsProbe {
    name: String,
    executor: Arc<dyn Executor>,
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    open: Duration,
    idle: Duration,
}

/// What the server says; times in seconds.
#[derive(FromRow)]
struct Figures {
    pid: Option<i32>,
    oldest: f64,
    idle: f64,
    prepared: f64,
    hidden: i64,
}

impl TransactionsProbe {
    /// A probe through `executor`.
    #[must_use]
    pub fn new(name: impl Into<String>, executor: Arc<dyn Executor>) -> Self {
        let limits = Limits { open: Duration::from_secs(5 * 60), idle: Duration::from_secs(60) };
        Self { name: name.into(), executor, limits }
    }

    /// How long a transaction may be open. Default 5 min.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limits.open = limit;
        self
    }

    /// How long a session may do nothing in a transaction. Default 1 min.
    #[must_use]
    pub fn idle_limit(mut self, limit: Duration) -> Self {
        self.limits.idle = limit;
        self
    }
}

#[async_trait]
impl Probe for TransactionsProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        Ok(judge(&self.executor.one::<Figures>(SQL, &[]).await?, self.limits))
    }
}

impl fmt::Debug for TransactionsProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionsProbe")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn judge(figures: &Figures, limits: Limits) -> Finding {
    let (open, idle) = (limits.open.as_secs_f64(), limits.idle.as_secs_f64());
    let finding = match figures {
        it if it.oldest > open => Finding::degraded("long_transaction"),
        it if it.idle > idle => Finding::degraded("idle_in_transaction"),
        it if it.prepared > open => Finding::degraded("prepared_transaction"),
        _ => Finding::healthy(),
    };
    let rounded = |seconds: f64| (seconds * 1e3).round() / 1e3;
    finding
        .with("oldest_s", rounded(figures.oldest))
        .with("oldest_pid", figures.pid)
        .with("idle_s", rounded(figures.idle))
        .with("prepared_s", rounded(figures.prepared))
        .with("hidden", figures.hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let limits = Limits { open: Duration::from_secs(300), idle: Duration::from_secs(60) };
        let check = |oldest, idle, prepared, expect| {
            let figures = Figures { pid: Some(1), oldest, idle, prepared, hidden: 0 };
            assert_eq!(judge(&figures, limits).reason, expect, "{oldest} {idle} {prepared}");
        };
        check(0.0, 0.0, 0.0, None);
        check(300.0, 60.0, 300.0, None);
        check(300.1, 0.0, 0.0, Some("long_transaction"));
        check(61.0, 60.1, 0.0, Some("idle_in_transaction"));
        check(0.0, 0.0, 300.1, Some("prepared_transaction"));
        check(300.1, 300.1, 300.1, Some("long_transaction"));
    }
}
