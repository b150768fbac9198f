//! Where a read is tried, one server after the other, and what each has to prove first. How fit a server is, is known elsewhere.

use std::time::Duration;

use db_core::{Acquire, Action, Cause, Error, Kind, Operation, Phase, ReadMoved, Result, Signal, SqlState};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::attempt::Attempt;
use crate::balance::{Candidate, pick};
use crate::settings::moment_after;
use crate::sighting::{Replayed, Role, Sighting};
use crate::{ConsistencyToken, Preference, Read};

/// How often a replica is asked whether it has caught up with a token.
const POLL: Duration = Duration::from_millis(2);

/// How often a primary that is older than a token is asked again.
const POLL_PRIMARY: Duration = Duration::from_millis(50);

/// Connections that may be lost under one statement.
const CRASHES: u32 = 2;

/// What is said when a token proves that there is a newer primary, and nobody knows it.
const OLD: &str = "the only primary is of a history before the token's";

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
    /// It does not have what the read must see, and will not soon.
    Behind,
}

/// What a read has to keep to, and what it has met.
struct Course {
    give_up: Instant,
    token: Option<ConsistencyToken>,
    crashes: u32,
}

/// Whoever is given up unfinished may have met a silent server, which is looked at now.
struct Unfinished<'a>(Option<&'a Notify>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(look_now) = self.0 {
            look_now.notify_one();
        }
    }
}

impl Course {
    /// Takes in an error: the error when the read must not be tried again.
    fn bear(&mut self, error: Error) -> Result<Error> {
        let is_crash = error.kind() == Kind::Connection
            && error.phase() == Phase::Execute
            && error.sqlstate() != Some(SqlState::ADMIN_SHUTDOWN);
        self.crashes += u32::from(is_crash);
        // A pooler says with this code all that it has to say, also that its server is gone.
        let is_poolers = error.sqlstate() == Some(SqlState::PROTOCOL_VIOLATION);
        let is_over = !is_elsewhere_better(&error) && !is_poolers;
        if is_over || self.crashes >= CRASHES { Err(error) } else { Ok(error) }
    }
}

impl<P: Acquire> Read<'_, P> {
    pub(crate) async fn run_until<T, F>(&self, attempt: &mut F) -> Result<T>
    where
        F: Attempt<P, T>,
    {
        let shared = &self.cluster.shared;
        let give_up = self.deadline.unwrap_or_else(|| moment_after(shared.settings.patience));
        let mut course =
            Course { give_up, token: self.token.filter(|token| !token.is_expired()), crashes: 0 };
        self.warn_of_foreign(&course);
        let (mut tried, mut behind, mut last) = (Vec::new(), Vec::new(), None);
        loop {
            let mut board = shared.board.subscribe();
            let index = match self.next_place(course.token, &tried) {
                Some(Place::Replica(index)) => index,
                Some(Place::Primary) => return self.on_primary(attempt, &mut course).await,
                None => {
                    // All were tried, or none is there.
                    if let Some(error) = last {
                        return Err(error);
                    }
                    // Catching up, and growing fresh, change nobody's standing.
                    let pause = match (behind.is_empty(), self.max_staleness) {
                        (false, _) => POLL,
                        (true, Some(_)) => shared.settings.look_interval,
                        (true, None) => Duration::MAX,
                    };
                    let until = give_up.min(moment_after(pause));
                    if timeout_at(until, board.changed()).await.is_err() && Instant::now() >= give_up {
                        let what = if behind.is_empty() {
                            "no server for this read"
                        } else {
                            "no replica has replayed what the read must see"
                        };
                        return Err(shared.nobody(what));
                    }
                    tried.retain(|index| !behind.contains(index));
                    behind.clear();
                    continue;
                }
            };
            let failed = match self.on_replica(index, &course, attempt).await {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            tried.push(index);
            let moved =
                |error| shared.observer.read_moved(&ReadMoved::new(&shared.endpoints[index].name, error));
            match failed {
                Failed::Behind => behind.push(index),
                Failed::Out => moved(None),
                Failed::Error(error) => {
                    let error = course.bear(error)?;
                    moved(Some(&error));
                    last = Some(error);
                }
            }
        }
    }

    /// Whether any connection will do: what has to prove something first, does so in the session that is going to read.
    fn is_shared(&self, course: &Course) -> bool {
        !self.is_exclusive && course.token.is_none() && self.max_staleness.is_none()
    }

    fn warn_of_foreign(&self, course: &Course) {
        let Some(token) = course.token else { return };
        let system = self.cluster.shared.assessor().system();
        if Some(token.system) != system && self.cluster.shared.warning.is_due() {
            tracing::warn!(target: "db::cluster", token = %token, system,
                "a token of another cluster: the primary is asked");
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
            let sighting = |candidate: &Candidate| assessor.known()[candidate.index].sighting;
            fit.retain(|candidate| {
                sighting(candidate).is_some_and(|seen| {
                    let had_all_at = assessor.had_all_at(seen.lsn);
                    let is_fresh = |limit| had_all_at.is_some_and(|at| at.elapsed() <= limit);
                    self.max_staleness.is_none_or(is_fresh)
                        && token.is_none_or(|token| {
                            (seen.system, seen.timeline) == (token.system, token.timeline)
                        })
                })
            });
            let has_it = |candidate: &&Candidate| {
                sighting(candidate).zip(token).is_some_and(|(seen, token)| seen.lsn >= token.lsn)
            };
            ahead = fit.iter().filter(has_it).copied().collect();
        }
        let candidates = if ahead.is_empty() { &fit } else { &ahead };
        pick(candidates, &mut fastrand::Rng::new())
    }

    async fn on_replica<T, F>(&self, index: usize, course: &Course, attempt: &mut F) -> Result<T, Failed>
    where
        F: Attempt<P, T>,
    {
        let shared = &self.cluster.shared;
        let endpoint = &shared.endpoints[index];
        let flight = endpoint.begin();
        let mut unfinished = Unfinished(Some(&endpoint.look_now));
        let mut board = shared.board.subscribe();
        let is_gone = board.wait_for(|board| board.standings[index].is_gone());
        let run = async {
            let deadline = self.deadline.map(Instant::into_std);
            if self.is_shared(course) {
                return Ok(attempt.run_anywhere(&endpoint.pool, deadline).await?);
            }
            let conn = endpoint.pool.acquire(deadline).await?;
            if course.token.is_some() || self.max_staleness.is_some() {
                self.prove(index, &conn, course).await?;
            }
            Ok(attempt.run(conn).await?)
        };
        let result = tokio::select! {
            // What was answered counts, also if the server has gone since.
            biased;
            result = run => result,
            _ = is_gone => Err(Failed::Out),
        };
        unfinished.0 = None;
        match &result {
            Ok(_) => flight.served(true),
            Err(Failed::Error(error)) => shared.failed(index, error),
            Err(_) => {}
        }
        result
    }

    /// Asks in the session that is going to read, since what was seen of the server may be from before a restart.
    async fn prove(&self, index: usize, conn: &P::Conn, course: &Course) -> Result<(), Failed> {
        let shared = &self.cluster.shared;
        let give_up = moment_after(shared.settings.token_wait);
        P::keep_session(conn).await?;
        loop {
            let replayed = Replayed::ask(conn).await?;
            let timeline = shared.assessor().highest(index, replayed.run, replayed.timeline);
            let follows = course.token.is_none_or(|token| timeline == token.timeline);
            if !replayed.in_recovery || !follows {
                return Err(Failed::Behind);
            }
            let had_all_at = shared.assessor().had_all_at(replayed.lsn);
            let is_fresh = |limit| had_all_at.is_some_and(|at: Instant| at.elapsed() <= limit);
            let has_it = course.token.is_none_or(|token| replayed.lsn >= token.lsn);
            if has_it && self.max_staleness.is_none_or(is_fresh) {
                return Ok(());
            }
            if Instant::now() >= give_up {
                return Err(Failed::Behind);
            }
            sleep(POLL).await;
        }
    }

    async fn on_primary<T, F>(&self, attempt: &mut F, course: &mut Course) -> Result<T>
    where
        F: Attempt<P, T>,
    {
        let shared = &self.cluster.shared;
        let mut is_old = false;
        // At first as any other read; after a failure by the way that waits for a primary.
        let mut at =
            if F::IS_REPEATABLE && self.is_shared(course) { shared.board.borrow().writer } else { None };
        loop {
            let (conn, index, flight) = match at.take() {
                Some(index) => (None, index, shared.endpoints[index].begin()),
                None => {
                    let routed = match self.cluster.route_to_primary(self.deadline).await {
                        Err(_) if is_old => return Err(shared.nobody(OLD)),
                        routed => routed?,
                    };
                    let (conn, index, flight) = routed.into_parts();
                    (Some(conn), index, flight)
                }
            };
            let endpoint = &shared.endpoints[index];
            let mut unfinished = Unfinished(Some(&endpoint.look_now));
            let mut board = shared.board.subscribe();
            let run = async {
                let Some(conn) = conn else {
                    let deadline = self.deadline.map(Instant::into_std);
                    return Ok(attempt.run_anywhere(&endpoint.pool, deadline).await?);
                };
                if let Some(token) = course.token {
                    self.prove_primary(&conn, token).await?;
                }
                Ok(attempt.run(conn).await?)
            };
            let result = tokio::select! {
                // What was answered counts, also if the server has gone since.
                biased;
                result = run => result,
                _ = board.wait_for(|board| board.writer != Some(index)) => Err(Failed::Out),
            };
            unfinished.0 = None;
            let moved = |error| shared.observer.read_moved(&ReadMoved::new(&endpoint.name, error));
            match result {
                Ok(value) => {
                    flight.served(true);
                    return Ok(value);
                }
                Err(Failed::Error(error)) => {
                    shared.failed(index, &error);
                    let is_over = Instant::now() >= course.give_up;
                    if !F::IS_REPEATABLE || is_over || error.kind() != Kind::Connection {
                        return Err(error);
                    }
                    moved(Some(&course.bear(error)?));
                }
                Err(Failed::Out) if F::IS_REPEATABLE => moved(None),
                Err(Failed::Out) => {
                    let what = format!("{} was replaced as the primary meanwhile", endpoint.name);
                    return Err(Error::new(Signal::new(Cause::Lost, Phase::Execute), what));
                }
                Err(Failed::Behind) => {
                    drop(flight);
                    is_old = true;
                    shared.endpoints.iter().for_each(|endpoint| endpoint.look_now.notify_one());
                    if Instant::now() >= course.give_up {
                        return Err(shared.nobody(OLD));
                    }
                    let until = course.give_up.min(moment_after(POLL_PRIMARY));
                    timeout_at(until, board.wait_for(|board| board.writer != Some(index)))
                        .await
                        .map(drop)
                        .ok();
                }
            }
        }
    }

    /// A token of a later history is the proof that there is another primary, whoever has seen it. One of another cluster proves
    /// nothing.
    async fn prove_primary(&self, conn: &P::Conn, token: ConsistencyToken) -> Result<(), Failed> {
        let sighting = Sighting::ask(conn).await?;
        let is_current = sighting.role == Role::Primary && sighting.timeline >= token.timeline;
        if is_current || sighting.system != token.system { Ok(()) } else { Err(Failed::Behind) }
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
