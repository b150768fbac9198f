//! How a transaction is begun: as a value, and as the text that begins it. Nothing is sent from here.

use std::time::Duration;

use tokio::time::Instant;

/// How a transaction is begun and how long it may take. [`Default`] is what the server's `BEGIN` gives, without a deadline.
///
/// ```
/// use db_pool::{Isolation, TxOptions};
///
/// let report = TxOptions::new().isolation(Isolation::Serializable).read_only().deferrable();
/// let transfer = TxOptions::new().isolation(Isolation::RepeatableRead);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TxOptions {
    /// The isolation level; `None` is the session's default, normally [`Isolation::ReadCommitted`].
    pub isolation: Option<Isolation>,
    /// Whether the server refuses writes in it; `false` is the session's default.
    pub read_only: bool,
    /// Whether it waits at its beginning for a snapshot that nothing can conflict with. It has an effect on serializable
    /// read-only transactions alone, which then never fail with a conflict.
    pub deferrable: bool,
    /// When it must have ended. Nothing of it waits for longer; the server is told to end its statements 50 ms before, so that
    /// its own error comes first.
    pub deadline: Option<Instant>,
    /// Statements that run together with BEGIN, in the same round trip, each ended by a semicolon or the end. SQL, not a value.
    pub first: Option<String>,
}

/// How much a transaction sees of others. Complete: the server has no more levels (it takes READ UNCOMMITTED for READ
/// COMMITTED).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// All statements see what was committed before the first; a row that was changed meanwhile cannot be written (40001).
    RepeatableRead,
    /// As if the transactions ran one after the other; what does not fit is refused (40001) and to be run again.
    Serializable,
}

impl TxOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the isolation level.
    #[must_use]
    pub fn isolation(mut self, level: Isolation) -> Self {
        self.isolation = Some(level);
        self
    }

    /// Has the server refuse writes.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Waits for a snapshot without conflicts, see [`TxOptions::deferrable`].
    #[must_use]
    pub fn deferrable(mut self) -> Self {
        self.deferrable = true;
        self
    }

    /// Sets the deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets what runs together with BEGIN.
    #[must_use]
    pub fn first(mut self, sql: impl Into<String>) -> Self {
        self.first = Some(sql.into());
        self
    }

    /// What begins it. `begin` is what begins any transaction of the session: BEGIN, and what must follow at once.
    pub(crate) fn begin(&self, begin: &str, statement_timeout: Duration, now: Instant) -> String {
        let (verb, then) = begin.split_at(begin.find(';').unwrap_or(begin.len()));
        let isolation = self.isolation.map_or("", |level| match level {
            Isolation::ReadCommitted => " ISOLATION LEVEL READ COMMITTED",
            Isolation::RepeatableRead => " ISOLATION LEVEL REPEATABLE READ",
            Isolation::Serializable => " ISOLATION LEVEL SERIALIZABLE",
        });
        let access = if self.read_only { " READ ONLY" } else { "" };
        let deferrable = if self.deferrable { " DEFERRABLE" } else { "" };
        let mut sql = format!("{verb}{isolation}{access}{deferrable}{then}");
        if let Some(millis) = self.statement_timeout(statement_timeout, now) {
            sql.push_str(&format!("; SET LOCAL statement_timeout = {millis}"));
        }
        if let Some(first) = &self.first {
            sql.push_str("; ");
            sql.push_str(first);
        }
        sql
    }

    /// Milliseconds for a statement, where the deadline leaves less than the session does.
    fn statement_timeout(&self, usual: Duration, now: Instant) -> Option<u128> {
        /// What the server's answer may take to arrive.
        const WAY_BACK: Duration = Duration::from_millis(50);
        let left = self.deadline?.saturating_duration_since(now).saturating_sub(WAY_BACK);
        // Zero would turn it off.
        (usual.is_zero() || left < usual).then(|| left.as_millis().clamp(1, i32::MAX as u128))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_is_said_when_it_begins() {
        let now = Instant::now();
        let check = |options: TxOptions, begin: &str, expect: &str| {
            assert_eq!(options.begin(begin, Duration::from_secs(5), now), expect);
        };
        let after = |millis| now + Duration::from_millis(millis);
        check(TxOptions::new(), "BEGIN", "BEGIN");
        check(
            TxOptions::new().isolation(Isolation::Serializable).read_only().deferrable(),
            "BEGIN",
            "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
        );
        check(
            TxOptions::new().isolation(Isolation::RepeatableRead).first("SELECT 1"),
            "BEGIN; SET LOCAL lock_timeout = '0'",
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = '0'; SELECT 1",
        );
        check(TxOptions::new().deadline(after(5_050)), "BEGIN", "BEGIN");
        check(TxOptions::new().deadline(after(1_050)), "BEGIN", "BEGIN; SET LOCAL statement_timeout = 1000");
        check(TxOptions::new().deadline(after(20)), "BEGIN", "BEGIN; SET LOCAL statement_timeout = 1");
        let unlimited = TxOptions::new().deadline(after(60_050)).begin("BEGIN", Duration::ZERO, now);
        assert_eq!(unlimited, "BEGIN; SET LOCAL statement_timeout = 60000");
    }
}
