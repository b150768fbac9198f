//! Single statements of a pool, each a transaction of its own: on a lane where that is safe and pays, and on a connection of its own
//! otherwise. What a lane is, is not known here.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use db_core::{
    Acquire, Action, Cause, Error, Executor, Kind, Outcome, Params, Phase, Result, RowStream, Signal,
    SqlState,
};
use tokio::time::Instant;
use tokio_postgres::Row;

use crate::lanes::{Asked, Demotion, Done, Given, History, Lane, Passed, Pick};
use crate::telling::Telling;
use crate::{Conn, Pool};

/// A view of a pool whose verbs run single statements, with a deadline or always on connections of their own.
///
/// ```no_run
/// # use std::time::Duration;
/// # use db_core::prelude::*;
/// # use tokio::time::Instant;
/// # async fn example(pool: &db_pool::Pool) -> db_core::Result<()> {
/// let deadline = Instant::now() + Duration::from_millis(300);
/// let paid: i64 = pool.autocommit().until(deadline).one("SELECT count(*) FROM orders", &[]).await?;
/// # Ok(()) }
/// ```
///
/// # Cancel safety
/// As that of [`Conn`]; but a statement that is given up on a lane is not cancelled on the server, where others are in flight
/// beside it: it runs to its end, or until the time-out of the lane.
#[derive(Clone, Copy, Debug)]
pub struct Autocommit<'p> {
    pool: &'p Pool,
    deadline: Option<Instant>,
    is_exclusive: bool,
    /// Whether whoever asks has other servers, and tries this one again himself.
    is_routed: bool,
}

impl Pool {
    /// The verbs of the pool itself, to give them a [deadline](Autocommit::until), or to keep them off [lanes](crate#lanes).
    #[must_use]
    pub fn autocommit(&self) -> Autocommit<'_> {
        Autocommit { pool: self, deadline: None, is_exclusive: false, is_routed: false }
    }

    pub(crate) fn autocommit_for_routing(&self, deadline: Option<std::time::Instant>) -> Autocommit<'_> {
        Autocommit { deadline: deadline.map(Into::into), is_routed: true, ..self.autocommit() }
    }
}

/// What is done with a statement.
trait Verb: Send {
    type Output: Send;
    const KEEPS_ROWS: bool;

    fn alone(conn: &Conn, sql: &str, params: Params<'_>)
    -> impl Future<Output = Result<Self::Output>> + Send;

    fn of(given: Given) -> Self::Output;

    fn rows(output: &Self::Output) -> Option<u64>;

    fn bytes(output: &Self::Output) -> usize;
}

struct Fetch;

impl Verb for Fetch {
    type Output = Vec<Row>;
    const KEEPS_ROWS: bool = true;

    fn alone(conn: &Conn, sql: &str, params: Params<'_>) -> impl Future<Output = Result<Vec<Row>>> + Send {
        conn.fetch_here(sql, params)
    }

    fn of(given: Given) -> Vec<Row> {
        given.rows
    }

    fn rows(output: &Vec<Row>) -> Option<u64> {
        u64::try_from(output.len()).ok()
    }

    fn bytes(output: &Vec<Row>) -> usize {
        output.iter().map(Row::raw_size_bytes).sum()
    }
}

struct Execute;

impl Verb for Execute {
    type Output = u64;
    const KEEPS_ROWS: bool = false;

    fn alone(conn: &Conn, sql: &str, params: Params<'_>) -> impl Future<Output = Result<u64>> + Send {
        conn.execute_here(sql, params)
    }

    fn of(given: Given) -> u64 {
        given.affected
    }

    fn rows(_: &u64) -> Option<u64> {
        None
    }

    fn bytes(_: &u64) -> usize {
        0
    }
}

impl Autocommit<'_> {
    /// Sets when a statement must have ended, waiting for a connection included.
    #[must_use]
    pub fn until(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Runs each statement on a connection of its own.
    #[must_use]
    pub fn exclusive(self) -> Self {
        Self { is_exclusive: true, ..self }
    }

    /// The verb without a box, for those who have one of their own.
    pub(crate) fn fetch_here(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<Vec<Row>>> {
        self.run::<Fetch>(sql, params)
    }

    pub(crate) fn execute_here(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<u64>> {
        self.run::<Execute>(sql, params)
    }

    async fn run<V: Verb>(&self, sql: &str, params: Params<'_>) -> Result<V::Output> {
        let shared = &self.pool.shared;
        let history = if self.is_exclusive { None } else { shared.lanes.history(sql) };
        let Some(history) = history else { return self.alone::<V>(sql, params).await };
        // Read before it is asked whether it may share.
        let round = history.round();
        let opening = match self.pick(&history) {
            Pick::Lane(home) => {
                let asked =
                    Asked { history: &history, params, keeps_rows: V::KEEPS_ROWS, deadline: self.deadline };
                if let Some(result) = self.on_lane::<V>(home, &asked, round).await {
                    return result;
                }
                None
            }
            Pick::Open(opening) => Some(opening),
            Pick::None => None,
        };
        let conn = self.acquire().await?;
        let started = Instant::now();
        let output = Box::pin(V::alone(&conn, sql, params)).await?;
        let now = Instant::now();
        shared.lanes.ran_alone(&history, conn.beyond_the_way(now - started), V::bytes(&output));
        let wants_one = || if history.may_share() { shared.lanes.wants_one(shared, now) } else { None };
        if let Some(opening) = opening.or_else(wants_one)
            && let Some(held) = conn.into_held()
        {
            shared.lanes.open(opening, held);
        }
        Ok(output)
    }

    fn pick(&self, history: &History) -> Pick {
        let (shared, now) = (&self.pool.shared, Instant::now());
        if history.may_share() && self.deadline.is_none_or(|deadline| deadline > now) {
            shared.lanes.pick(shared, now)
        } else {
            Pick::None
        }
    }

    async fn alone<V: Verb>(&self, sql: &str, params: Params<'_>) -> Result<V::Output> {
        let conn = self.acquire().await?;
        Box::pin(V::alone(&conn, sql, params)).await
    }

    /// A connection that keeps to the deadline.
    async fn acquire(&self) -> Result<Conn> {
        if self.is_routed {
            // Whoever routes bounds the whole.
            return Acquire::acquire(self.pool, self.deadline.map(Instant::into_std)).await;
        }
        let Some(deadline) = self.deadline else { return self.pool.acquire().await };
        let mut conn = self.pool.acquire_until(deadline).await?;
        conn.set_deadline(Some(deadline));
        Ok(conn)
    }

    /// What the statement gave on a lane; none if it had no effect there and is to be run elsewhere.
    async fn on_lane<V: Verb>(
        &self,
        home: Arc<Lane>,
        asked: &Asked<'_>,
        round: u32,
    ) -> Option<Result<V::Output>> {
        let shared = &self.pool.shared;
        let started = Instant::now();
        let endpoint = Arc::clone(&home.endpoint);
        let telling = Telling::begin(shared, &endpoint, asked.history.sql());
        let lost = |message| Some(Err(Error::new(Signal::new(Cause::Lost, Phase::Execute), message)));
        let result = match shared.lanes.run(home, asked).await {
            Ok(done) => self.settle(done, asked.history, round),
            Err(Passed::Unsent) => None,
            Err(Passed::Lost) => lost("the connection was closed before the answer came"),
            Err(Passed::Expired { was_sent: true }) => lost("no answer by the deadline"),
            Err(Passed::Expired { was_sent: false }) => Some(Err(shared.timed_out(started.elapsed()))),
        };
        let Some(result) = result else {
            telling.forget();
            return None;
        };
        let result = result.map(V::of);
        telling.end(result.as_ref().map(V::rows));
        Some(result)
    }

    /// Learns from what a statement gave on a lane; none if it is to be run elsewhere.
    fn settle(&self, done: Done, history: &History, round: u32) -> Option<Result<Given>> {
        let (lanes, lane) = (&self.pool.shared.lanes, done.lane);
        let error = match done.result {
            Ok(given) => {
                lanes.ran_on_lane(history, round, done.took, given.bytes);
                return Some(Ok(given));
            }
            Err(error) => Error::from_driver(&error, Phase::Execute),
        };
        // Neither has had an effect.
        if error.advice().read == Action::Reprepare {
            lane.session.forget_one(history.sql());
        } else if error.sqlstate() == Some(SqlState::QUERY_CANCELED) && lane.has_stopped(done.whole) {
            lanes.demote(history, round, Demotion::TimedOut);
        } else if error.outcome() != Outcome::NotExecuted || error.kind() != Kind::Connection {
            return Some(Err(error));
        }
        lanes.reruns.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[async_trait]
impl Executor for Autocommit<'_> {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.fetch_here(sql, params).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        self.acquire().await?.into_stream(sql, params).await
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.execute_here(sql, params).await
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        self.acquire().await?.batch_here(sql).await
    }
}
