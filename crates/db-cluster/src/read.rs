//! Reading from where it may be read: which endpoint is tried, and what happens when it fails. How fit an endpoint is, is
//! known elsewhere.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use db_core::{
    Acquire, Action, Cause, Error, Executor, Kind, Operation, Params, Phase, ReadMoved, Result, Row,
    RowStream, Signal,
};
use tokio::time::{Instant, sleep, timeout_at};

use crate::attempt::{Attempt, Batch, Execute, Fetch, Stream};
use crate::balance::{Candidate, pick};
use crate::sighting::Replayed;
use crate::standing::Standing;
use crate::{Cluster, ConsistencyToken, Preference};

/// A view of a cluster that reads. It has the verbs of [`Query`](db_core::Query), for statements that change nothing: one that
/// does fails on a replica.
///
/// A read that fails because of its server goes on elsewhere by itself, as does one whose server goes out of use meanwhile:
/// each server is tried once, within the deadline if there is one. A stream goes on elsewhere until its first row.
pub struct Read<'c, P: Acquire> {
    cluster: &'c Cluster<P>,
    preference: Preference,
    token: Option<ConsistencyToken>,
    max_staleness: Option<Duration>,
    deadline: Option<Instant>,
}

/// How often a replica is asked whether it has caught up with a token.
const POLL: Duration = Duration::from_millis(2);

/// Where a read is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Replica(usize),
    Primary,
}

/// Why an attempt gave nothing.
enum Failed {
    Error(Error),
    /// Its server went out of use.
    Out,
    /// It has not replayed what the token asks for, and will not soon.
    Behind,
}

impl<'c, P: Acquire> Read<'c, P> {
    pub(crate) fn new(cluster: &'c Cluster<P>) -> Self {
        Self { cluster, preference: Preference::default(), token: None, max_staleness: None, deadline: None }
    }

    /// Sets where it may go.
    #[must_use]
    pub fn preference(mut self, preference: Preference) -> Self {
        self.preference = preference;
        self
    }

    /// Sees everything that was committed when the token was made. A replica that has not replayed it is waited for a little,
    /// then the primary is asked. An expired token asks for nothing.
    ///
    /// A token of a cluster or a history that these servers do not have sends the read to the primary, with a warning.
    #[must_use]
    pub fn after(mut self, token: ConsistencyToken) -> Self {
        self.token = Some(self.token.map_or(token, |other| other.max(token)));
        self
    }

    /// Sees everything that was committed so long ago, as far as the looks at the primary can tell: an answer may be staler than
    /// this only by the time that the read itself takes. While the primary is not to be seen, replicas grow stale.
    #[must_use]
    pub fn no_staler_than(mut self, staleness: Duration) -> Self {
        self.max_staleness = Some(staleness);
        self
    }

    /// Sets one deadline, so far from now, for everything: finding a server, waiting for a connection, and all attempts.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.deadline = Instant::now().checked_add(limit);
        self
    }

    async fn run<T, F>(&self, mut attempt: F) -> Result<T>
    where
        F: Attempt<P, T>,
    {
        let run = self.run_until(&mut attempt);
        match self.deadline {
            None => run.await,
            Some(deadline) => timeout_at(deadline, run).await.unwrap_or_else(|_| {
                let what = format!("the deadline passed; {}", self.cluster.shared.describe());
                Err(Error::new(Signal::new(Cause::Lost, Phase::Execute), what).of_read())
            }),
        }
    }

    async fn run_until<T, F>(&self, attempt: &mut F) -> Result<T>
    where
        F: Attempt<P, T>,
    {
        let shared = &self.cluster.shared;
        let give_up = self.deadline.unwrap_or_else(|| Instant::now() + shared.settings.patience);
        let token = self.token.filter(|token| !token.is_expired());
        let (mut tried, mut behind, mut last) = (Vec::new(), Vec::new(), None);
        loop {
            let mut board = shared.board.subscribe();
            let Some(place) = self.next_place(token, &tried) else {
                // All were tried, or none is there.
                if let Some(error) = last {
                    return Err(error);
                }
                let is_behind = !behind.is_empty();
                let until = if is_behind { give_up.min(Instant::now() + POLL) } else { give_up };
                if timeout_at(until, board.changed()).await.is_err() && Instant::now() >= give_up {
                    let what = if is_behind {
                        "no replica has replayed what the read must see"
                    } else {
                        "no server for this read"
                    };
                    return Err(shared.nobody(what));
                }
                tried.retain(|index| !behind.contains(index));
                behind.clear();
                continue;
            };
            let index = match place {
                Place::Primary => return self.on_primary(attempt).await,
                Place::Replica(index) => index,
            };
            let failed = match self.on_replica(index, token, attempt).await {
                Ok(value) => return Ok(value),
                Err(Failed::Error(error)) if !is_elsewhere_better(&error) => return Err(error),
                Err(failed) => failed,
            };
            tried.push(index);
            let moved =
                |error| shared.observer.read_moved(&ReadMoved::new(&shared.endpoints[index].name, error));
            match failed {
                Failed::Behind => behind.push(index),
                Failed::Out => moved(None),
                Failed::Error(error) => {
                    moved(Some(&error));
                    last = Some(error);
                }
            }
        }
    }

    /// Where to try next; none when nothing is left or there.
    fn next_place(&self, token: Option<ConsistencyToken>, tried: &[usize]) -> Option<Place> {
        if self.preference != Preference::Primary
            && let Some(index) = self.pick_replica(token, tried)
        {
            return Some(Place::Replica(index));
        }
        let has_writer = self.cluster.shared.board.borrow().writer.is_some();
        (self.preference != Preference::ReplicaOnly && has_writer).then_some(Place::Primary)
    }

    fn pick_replica(&self, token: Option<ConsistencyToken>, tried: &[usize]) -> Option<usize> {
        let shared = &self.cluster.shared;
        let (mut fit, mut ahead) = (Vec::new(), Vec::new());
        {
            let board = shared.board.borrow();
            for (index, endpoint) in shared.endpoints.iter().enumerate() {
                let is_free = board.standings[index].is_replica() && !endpoint.is_drained();
                if !is_free || tried.contains(&index) {
                    continue;
                }
                let share = board.back_at[index].map_or(1.0, |back_at| {
                    let slow_start = shared.settings.slow_start.as_secs_f64().max(f64::MIN_POSITIVE);
                    (back_at.elapsed().as_secs_f64() / slow_start).min(1.0)
                });
                let (in_flight, latency) = (endpoint.in_flight(), endpoint.latency());
                fit.push(Candidate { index, in_flight, latency, share });
            }
        }
        if token.is_some() || self.max_staleness.is_some() {
            let assessor = shared.assessor();
            if let Some(token) = token
                && (assessor.system() != Some(token.system) || token.timeline > assessor.timeline())
            {
                let (system, timeline) = (assessor.system(), assessor.timeline());
                tracing::warn!(target: "db::cluster", token = %token, system, timeline,
                    "a token of another cluster or history: the primary is asked");
                return None;
            }
            fit.retain(|candidate| {
                let known = &assessor.known()[candidate.index];
                let had_all_at = assessor.had_all_at(candidate.index);
                let is_fresh =
                    self.max_staleness.is_none_or(|limit| had_all_at.is_some_and(|at| at.elapsed() <= limit));
                let follows = token.is_none_or(|token| {
                    known.sighting.is_some_and(|sighting| sighting.timeline == token.timeline)
                });
                is_fresh && follows
            });
            let has_it = |candidate: &&Candidate| {
                let replayed = assessor.known()[candidate.index].sighting.map(|sighting| sighting.lsn);
                replayed.zip(token).is_some_and(|(replayed, token)| replayed >= token.lsn)
            };
            ahead = fit.iter().filter(has_it).copied().collect();
        }
        let candidates = if ahead.is_empty() { &fit } else { &ahead };
        pick(candidates, &mut fastrand::Rng::new())
    }

    async fn on_replica<T, F>(
        &self,
        index: usize,
        token: Option<ConsistencyToken>,
        attempt: &mut F,
    ) -> Result<T, Failed>
    where
        F: Attempt<P, T>,
    {
        let shared = &self.cluster.shared;
        let endpoint = &shared.endpoints[index];
        let flight = endpoint.begin();
        let mut board = shared.board.subscribe();
        let went_out = board.wait_for(|board| matches!(board.standings[index], Standing::Out(_)));
        let run = async {
            let conn = endpoint.pool.acquire(self.deadline.map(Instant::into_std)).await?;
            if let Some(token) = token {
                self.catch_up(index, &conn, token).await?;
            }
            Ok(attempt.run(conn).await?)
        };
        let result = tokio::select! {
            // What was answered counts, also if the server has gone since.
            biased;
            result = run => result,
            _ = went_out => Err(Failed::Out),
        };
        match &result {
            Ok(_) => flight.served(true),
            Err(Failed::Error(error)) => shared.failed(index, error),
            Err(_) => {}
        }
        result
    }

    /// Asks in the session that is going to read, since what was seen of the server may be from before a restart.
    async fn catch_up(&self, index: usize, conn: &P::Conn, token: ConsistencyToken) -> Result<(), Failed> {
        let shared = &self.cluster.shared;
        let give_up = Instant::now() + shared.settings.token_wait;
        loop {
            let replayed = Replayed::ask(conn).await?;
            let seen = || shared.assessor().known()[index].sighting.map(|sighting| sighting.timeline);
            let timeline = replayed.timeline.or_else(seen);
            if !replayed.in_recovery || timeline != Some(token.timeline) {
                return Err(Failed::Behind);
            }
            if replayed.lsn >= token.lsn {
                return Ok(());
            }
            if Instant::now() >= give_up {
                return Err(Failed::Behind);
            }
            sleep(POLL).await;
        }
    }

    /// A server that fails is tried once more, or the one that has taken its place: not again and again, since the statement
    /// may be what it fails of.
    async fn on_primary<T, F>(&self, attempt: &mut F) -> Result<T>
    where
        F: Attempt<P, T>,
    {
        let shared = &self.cluster.shared;
        let mut has_failed = false;
        loop {
            let (conn, index, flight) = self.cluster.route_to_primary(self.deadline).await?.into_parts();
            let mut board = shared.board.subscribe();
            let result = tokio::select! {
                // What was answered counts, also if the server has gone since.
                biased;
                result = attempt.run(conn) => result,
                _ = board.wait_for(|board| board.writer != Some(index)) => {
                    shared.observer.read_moved(&ReadMoved::new(&shared.endpoints[index].name, None));
                    continue;
                }
            };
            let error = match result {
                Ok(value) => {
                    flight.served(true);
                    return Ok(value);
                }
                Err(error) => error,
            };
            shared.failed(index, &error);
            if has_failed || !is_elsewhere_better(&error) || error.kind() != Kind::Connection {
                return Err(error);
            }
            has_failed = true;
            shared.observer.read_moved(&ReadMoved::new(&shared.endpoints[index].name, Some(&error)));
        }
    }
}

/// Whether another server may well answer what this one did not.
pub(crate) fn is_elsewhere_better(error: &Error) -> bool {
    let action = error.advice().on(Operation::Read);
    matches!(action, Action::Retry | Action::RetrySlowly | Action::RetryTransaction)
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

#[async_trait]
impl<P: Acquire> Executor for Read<'_, P> {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.run(Fetch(sql, params)).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        self.run(Stream(sql, params)).await
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        self.run(Execute(sql, params)).await
    }

    async fn batch(&self, sql: &str) -> Result<()> {
        self.run(Batch(sql)).await
    }
}

impl<P: Acquire> fmt::Debug for Read<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read")
            .field("preference", &self.preference)
            .field("token", &self.token)
            .field("max_staleness", &self.max_staleness)
            .finish_non_exhaustive()
    }
}
