//! Short transactions in one round trip, with the retries and resolvers of other transactions. How they are sent is the pool's.

use std::panic::Location;

use db_core::{Answer, Batch, Cause, Error, Outcome, Phase, Result, Signal, SqlState};
use db_pool::Conn;

use crate::resolve::Witness;
use crate::transact::{Plan, Stage};
use crate::{Database, Resolver, TxOptions};

/// What the statements gave, and what COMMIT said.
type Ran = (Vec<Answer>, Result<()>);

impl Database {
    /// Runs statements in one transaction and one round trip: BEGIN, all of them, and COMMIT are sent together. Gives what each
    /// of them gave, in order.
    ///
    /// For statements of which none depends on the answer of another; whatever else a batch cannot do is said at
    /// [`Conn::batch`]. Once, as [`Database::tx`]; retries, a deadline and a resolver are for [`Database::batch_with`].
    ///
    /// ```no_run
    /// # use db_app::prelude::*;
    /// # async fn transfer(db: &Database, from: i64, to: i64, cents: i64) -> db_app::core::Result<i64> {
    /// let answers = db
    ///     .batch(&[
    ///         ("UPDATE accounts SET cents = cents - $2 WHERE id = $1", &[&from, &cents]),
    ///         ("UPDATE accounts SET cents = cents + $2 WHERE id = $1 RETURNING cents", &[&to, &cents]),
    ///         ("INSERT INTO journal DEFAULT VALUES", &[]),
    ///     ])
    ///     .await?;
    /// let [_, credited, written] = answers.try_into().expect("an answer for each statement");
    /// assert_eq!(written.rows_affected(), 1);
    /// credited.one::<i64>()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Conn::batch`].
    ///
    /// # Cancel safety
    /// As [`Conn::batch`].
    #[track_caller]
    pub fn batch<'a>(
        &'a self,
        statements: Batch<'a>,
    ) -> impl Future<Output = Result<Vec<Answer>>> + Send + 'a {
        self.run_batch(Plan::new(self, &TxOptions::default(), Location::caller()), statements)
    }

    /// [`Database::batch`] with an isolation level, a deadline, retries, and a resolver of COMMITs whose answer was lost, as
    /// [`Database::tx_with`]. The row of [`Resolver::Marker`] travels in the same round trip; [`Resolver::Xid`] costs two more,
    /// since the id must be known before COMMIT is sent.
    ///
    /// # Errors
    /// As [`Conn::batch`], the last attempt's, and as [`Database::tx_with`]. One whose [outcome](Error::outcome) is `Executed`
    /// means that the resolver found the transaction committed, but that answers of its statements are lost with the connection.
    ///
    /// # Cancel safety
    /// As [`Conn::batch`]. Nothing is run again after the future is dropped.
    #[track_caller]
    pub fn batch_with<'a>(
        &'a self,
        options: &TxOptions,
        statements: Batch<'a>,
    ) -> impl Future<Output = Result<Vec<Answer>>> + Send + use<'a> {
        self.run_batch(Plan::new(self, options, Location::caller()), statements)
    }

    async fn run_batch(&self, plan: Plan<'_>, statements: Batch<'_>) -> Result<Vec<Answer>> {
        if statements.is_empty() {
            return Ok(Vec::new());
        }
        let run = plan.retry.run(|| async {
            plan.enter(Stage::BeforeCommit);
            let result = plan.attempt_batch(statements).await;
            plan.enter(Stage::Ended);
            match result {
                // Another attempt would be refused as well.
                Err(error) if plan.is_refused(&error) => Ok(Err(error)),
                result => result.map(Ok),
            }
        });
        run.await.unwrap_or_else(|error| Err(plan.told(error)))
    }
}

impl Plan<'_> {
    fn is_refused(&self, error: &Error) -> bool {
        self.options.begin.read_only && error.sqlstate() == Some(SqlState::READ_ONLY_TRANSACTION)
    }

    async fn attempt_batch(&self, statements: Batch<'_>) -> Result<Vec<Answer>> {
        let mut conn = self.database.pool().acquire_for(self.caller, self.commit_by).await?;
        conn.set_deadline(self.commit_by);
        let witness = Witness::new(self.database, self.options.resolver, &conn, self.commit_by).await;
        // A COMMIT of its own may be in doubt, but not the caller's transaction, which has not begun.
        let witness = witness.map_err(Error::before_commit)?;
        let (answers, error) = match self.run_batch_on(&mut conn, &witness, statements).await {
            Ok((answers, Ok(()))) => return Ok(answers),
            Ok((answers, Err(error))) => (Some(answers), error),
            Err(error) => (None, error),
        };
        // It is closed, and its place is free for whoever asks what became of the COMMIT.
        drop(conn);
        if error.phase() != Phase::Commit || error.outcome() != Outcome::Unknown {
            return Err(error);
        }
        let why = error.to_string();
        witness.became(self.database, self.deadline, error).await?;
        answers.ok_or_else(|| {
            let signal = Signal::new(Cause::UnexpectedResult, Phase::Commit);
            Error::new(signal, format!("committed, but the answers are lost: {why}"))
        })
    }

    async fn run_batch_on(&self, conn: &mut Conn, witness: &Witness, statements: Batch<'_>) -> Result<Ran> {
        let mut begin = self.options.begin.clone();
        begin.deadline = self.commit_by;
        begin.first = witness.enlist();
        if self.options.resolver == Some(Resolver::Xid) {
            let tx = conn.begin(&begin).await?;
            witness.note(&tx).await?;
            self.enter(Stage::Commit(None));
            return tx.commit_with(statements).await;
        }
        if !self.options.begin.read_only {
            self.enter(Stage::Commit(witness.marker()));
        }
        conn.batch_until_commit(&begin, statements).await
    }
}
