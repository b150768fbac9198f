//! What observers and traces are told of a statement, however it ends: well, with an error, or because its caller went away.
//! What runs is not here.

use db_core::{Abandoned, Error, Executed};
use tokio::time::Instant;

use crate::release::Held;
use crate::span::StatementSpan;

/// A statement under way. Dropping it before [`Telling::end`] tells that it was given up.
pub(crate) struct Telling<'c> {
    /// Taken when it was told.
    held: Option<&'c Held>,
    sql: &'c str,
    started: Instant,
    span: StatementSpan,
}

impl<'c> Telling<'c> {
    pub(crate) fn begin(held: Option<&'c Held>, sql: &'c str) -> Self {
        let span = held.map_or_else(StatementSpan::none, |held| {
            StatementSpan::begin(sql, held.endpoint(), &held.shared().server.database)
        });
        Self { held, sql, started: Instant::now(), span }
    }

    /// Tells how it ended: how many rows it gave, or why it failed.
    pub(crate) fn end(mut self, result: Result<Option<u64>, &Error>) {
        let Some(held) = self.held.take() else { return };
        let (rows, error) = (result.ok().flatten(), result.err());
        self.span.end(error);
        let (shared, took) = (held.shared(), self.started.elapsed());
        let is_slow = self.is_slow(held, took);
        let event = Executed::new(&shared.about.pool, held.endpoint(), self.sql, took, is_slow, rows, error);
        shared.about.observer.executed(&event);
    }

    fn is_slow(&self, held: &Held, took: std::time::Duration) -> bool {
        let limit = held.shared().settings.slow_query;
        !limit.is_zero() && took >= limit
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        self.span.give_up();
        let (about, took) = (&held.shared().about, self.started.elapsed());
        let is_slow = self.is_slow(held, took);
        about.observer.abandoned(&Abandoned::new(&about.pool, held.endpoint(), self.sql, took, is_slow));
    }
}
