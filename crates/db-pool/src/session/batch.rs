//! Several statements in one go: all are prepared, all parameters are encoded, and only then is everything sent, before the
//! first answer has come. What the answers mean for a transaction is not decided here.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use db_core::{Action, Answer, Batch, Error, Params, Phase, Result};
use futures_util::future::maybe_done;
use futures_util::stream::TryStreamExt;

use super::Session;
use super::encoded::{Encoded, encode};
use crate::statements::{Found, Prepared};
use crate::telling::Telling;
use crate::wire::{Effects, Transaction};

/// What surrounds the statements, in the same round trip.
#[derive(Default)]
pub(crate) struct Around {
    /// What begins their transaction; empty in one that is open.
    pub(crate) before: Vec<String>,
    pub(crate) commits: bool,
}

impl Around {
    pub(crate) fn begins(&self) -> bool {
        !self.before.is_empty()
    }
}

/// What has come of a batch so far. Kept apart from what runs, which may be given up.
#[derive(Default)]
pub(crate) struct Report<'c> {
    /// One for each statement that has not been told of.
    pub(crate) tellings: Vec<Option<Telling<'c>>>,
    /// Whether a statement that must be prepared anew is no failure yet.
    pub(crate) may_heal: bool,
    /// How many requests had left the session before, once anything may have been sent.
    pub(crate) sent_after: Option<u32>,
    /// How many requests there are.
    pub(crate) total: u32,
    pub(crate) answers: Vec<Answer>,
    /// The first that failed; without a number it is not one of the statements.
    pub(crate) failed: Option<(Option<usize>, Error)>,
    pub(crate) committed: Option<Result<()>>,
}

impl Report<'_> {
    /// Takes the answer of a statement.
    fn answered(&mut self, at: usize, result: Result<Answer>) {
        let telling = self.tellings.get_mut(at).and_then(Option::take);
        if self.failed.is_some() {
            // The server skips what comes after a failure.
            return telling.into_iter().for_each(Telling::forget);
        }
        let is_no_failure =
            self.may_heal && result.as_ref().is_err_and(|error| error.advice().read == Action::Reprepare);
        match telling {
            Some(telling) if is_no_failure => telling.forget(),
            Some(telling) => {
                telling.end(result.as_ref().map(|answer| u64::try_from(answer.rows.len()).ok()));
            }
            None => {}
        }
        match result {
            Ok(answer) => self.answers.push(answer),
            Err(error) => self.failed = Some((Some(at), error)),
        }
    }

    /// Tells of whatever was not answered: time ran out under the first, and the rest was skipped.
    pub(crate) fn unanswered(&mut self, why: &Error) {
        let mut first = self.failed.is_none().then_some(why);
        for telling in self.tellings.iter_mut().filter_map(Option::take) {
            match first.take() {
                Some(why) => telling.end(Err(why)),
                None => telling.forget(),
            }
        }
    }
}

/// A statement that can be sent.
struct Bound<'s> {
    sql: &'s str,
    prepared: Prepared,
    effects: Effects,
    params: Vec<Encoded>,
}

/// Something to send.
enum Request<'s> {
    Text(&'s str, Phase),
    Statement(&'s Bound<'s>),
}

impl Session {
    /// Sends everything and waits for all answers, which go into `report`.
    ///
    /// # Errors
    /// When nothing was sent; `report` says which statement is to blame.
    pub(crate) async fn batch(
        self: &Arc<Self>,
        around: &Around,
        statements: Batch<'_>,
        report: &mut Report<'_>,
    ) -> Result<()> {
        let Some(pooled) = &self.pooled else { return self.batch_here(around, statements, report).await };
        let Some(_turn) = self.turn(pooled).await? else {
            let may_be_left = || pooled.lookups.may_be_left();
            self.batch_here(around, statements, report).await?;
            if around.commits && may_be_left() {
                self.spend();
            }
            return Ok(());
        };
        for (at, (sql, _)) in statements.iter().enumerate() {
            if let Err(error) = self.prime(sql, &pooled.begin).await {
                report.answered(at, Err(error.duplicate()));
                return Err(error);
            }
        }
        self.batch_here(around, statements, report).await
    }

    async fn batch_here(
        self: &Arc<Self>,
        around: &Around,
        statements: Batch<'_>,
        report: &mut Report<'_>,
    ) -> Result<()> {
        let bound = self.bind(statements, report).await?;
        let requests = around.before.iter().map(|sql| Request::Text(sql, Phase::Execute));
        let requests = requests.chain(bound.iter().map(Request::Statement));
        let commit = around.commits.then_some(Request::Text("COMMIT", Phase::Commit));
        let mut waiting: Vec<_> =
            requests.chain(commit).map(|request| Box::pin(maybe_done(self.ask(request)))).collect();
        report.total = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        report.sent_after = Some(self.wire.requests());
        // The driver sends when it is first polled: all of them now, in this order.
        poll_fn(|cx| {
            for asked in &mut waiting {
                _ = asked.as_mut().poll(cx);
            }
            Poll::Ready(())
        })
        .await;
        let (first, last) = (around.before.len(), around.before.len() + bound.len());
        for (at, mut asked) in waiting.into_iter().enumerate() {
            asked.as_mut().await;
            let Some(result) = asked.as_mut().take_output() else { continue };
            match result {
                result if (first..last).contains(&at) => report.answered(at - first, result),
                result if at >= last => report.committed = Some(result.map(drop)),
                Err(error) if report.failed.is_none() => report.failed = Some((None, error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Prepares what is not prepared, all of it at a time, and encodes the parameters of each.
    async fn bind<'s>(
        self: &Arc<Self>,
        statements: Batch<'s>,
        report: &mut Report<'_>,
    ) -> Result<Vec<Bound<'s>>> {
        let found: Vec<_> = statements.iter().map(|(sql, _)| self.find(sql)).collect();
        let mut bound = Vec::with_capacity(statements.len());
        for (at, (found, (sql, params))) in found.into_iter().zip(statements).enumerate() {
            match bind(found, sql, params).await {
                Ok(statement) => bound.push(statement),
                Err(error) => {
                    report.answered(at, Err(error.duplicate()));
                    return Err(error);
                }
            }
        }
        Ok(bound)
    }

    async fn ask(&self, request: Request<'_>) -> Result<Answer> {
        let Bound { sql, prepared, effects, params } = match request {
            Request::Text(sql, phase) => {
                return self.send_simple(sql, phase).await.map(|()| Answer::new(Vec::new(), 0));
            }
            Request::Statement(bound) => bound,
        };
        self.wire.note(*effects);
        let driver = |error: &_| Error::from_driver(error, Phase::Execute);
        let rows = match prepared {
            Prepared::Named(statement) => {
                self.client.query_raw(statement, params).await.map_err(|error| driver(&error))?
            }
            Prepared::Typed(types) => {
                let typed = params.iter().zip(types.iter().cloned());
                let sent = self.client.query_typed_raw(sql, typed).await;
                sent.map_err(|error| self.not_read(&error))?
            }
        };
        let mut rows = pin!(rows);
        let mut collected = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(|error| driver(&error))? {
            collected.push(row);
        }
        Ok(Answer::new(collected, rows.rows_affected().unwrap_or(0)))
    }

    /// Forgets how the statements were prepared: one of them is not what it was, and others may not be either. Those by which
    /// the driver itself looks up types are not among them, so nothing runs here any more when it happens `again`.
    pub(crate) fn forget(&self, statements: Batch<'_>, again: bool) {
        statements.iter().for_each(|(sql, _)| self.statements.evict(sql));
        if again && self.wire.transaction() == Transaction::None {
            self.spend();
        }
    }

    /// Whether what has an error of the server may have been answered by a pooler in its place.
    pub(crate) fn is_pooled(&self) -> bool {
        self.pooled.is_some()
    }
}

async fn bind<'s>(found: Found, sql: &'s str, params: Params<'s>) -> Result<Bound<'s>> {
    let (prepared, effects) = match found {
        Found::Ready(prepared, effects) => (prepared, effects),
        Found::Preparing(preparing) => {
            let prepared = preparing.await.map_err(|error| error.duplicate())?;
            (prepared, crate::statements::effects_of(sql))
        }
    };
    let types = match &prepared {
        Prepared::Named(statement) => statement.params(),
        Prepared::Typed(types) => types,
    };
    let params = encode(params, types)?;
    Ok(Bound { sql, prepared, effects, params })
}
