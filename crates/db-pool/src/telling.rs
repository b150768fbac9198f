//! What observers and traces are told of a statement, however it ends: well, with an error, or because its caller went away.
//! What runs is not here.

use std::time::Duration;

use db_core::{Abandoned, Error, Executed};
use tokio::time::Instant;

use crate::physical::About;
use crate::shared::Shared;
use crate::span::StatementSpan;

/// A statement under way. Dropping it before [`Telling::end`] tells that it was given up.
pub(crate) struct Telling<'c> {
    shared: &'c Shared,
    /// `host:port` of the server that it runs on.
    endpoint: &'c str,
    sql: &'c str,
    started: Instant,
    span: StatementSpan,
    is_told: bool,
}

impl<'c> Telling<'c> {
    pub(crate) fn begin(shared: &'c Shared, endpoint: &'c str, sql: &'c str) -> Self {
        let span = StatementSpan::begin(sql, endpoint, &shared.server.database, &shared.wordings);
        Self { shared, endpoint, sql, started: Instant::now(), span, is_told: false }
    }

    /// Tells how it ended: how many rows it gave, or why it failed.
    pub(crate) fn end(mut self, result: Result<Option<u64>, &Error>) {
        self.is_told = true;
        let (rows, error) = (result.ok().flatten(), result.err());
        self.span.end(error);
        let About { pool, observer, .. } = &*self.shared.about;
        let took = self.started.elapsed();
        let is_slow = self.is_slow(took);
        observer.executed(&Executed::new(pool, self.endpoint, self.sql, took, is_slow, rows, error));
    }

    /// Tells nothing: it had no effect, and is told of if it runs again.
    pub(crate) fn forget(mut self) {
        self.is_told = true;
    }

    fn is_slow(&self, took: Duration) -> bool {
        let limit = self.shared.settings.slow_query;
        !limit.is_zero() && took >= limit
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if self.is_told {
            return;
        }
        self.span.give_up();
        let About { pool, observer, .. } = &*self.shared.about;
        let took = self.started.elapsed();
        let is_slow = self.is_slow(took);
        observer.abandoned(&Abandoned::new(pool, self.endpoint, self.sql, took, is_slow));
    }
}
