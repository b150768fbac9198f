//! A lane: one connection of the pool on which statements of many callers are in flight. It knows how busy it is, and whether it
//! moves; when it opens and goes is the keeper's to decide.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db_core::{Cause, Error, Params, Phase, Result, Signal};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_postgres::SimpleQueryMessage;

use super::LaneSettings;
use super::belt::{Done, Operation};
use super::slot::slot;
use crate::release::Held;
use crate::session::{Session, encode, nanos};
use crate::statements::Prepared;
use crate::wire::Effects;

/// Set in the load of a lane that takes nothing more.
const LEAVING: u32 = 1 << 31;

/// A lane.
pub(crate) struct Lane {
    pub(crate) session: Arc<Session>,
    pub(crate) endpoint: String,
    /// Taken when it goes back.
    held: Mutex<Option<Held>>,
    born: Instant,
    settings: LaneSettings,
    /// `statement_timeout` as it was.
    before: String,
    /// What ends a statement here that might go on elsewhere; none if it would end there as soon.
    timeout: Option<Duration>,
    /// Statements in flight, and whether it takes no more.
    load: AtomicU32,
    /// When it was last seen to move, in nanoseconds since it was born.
    moved: AtomicU64,
    /// How long a statement takes, smoothed, in nanoseconds.
    pace: AtomicU64,
    /// The least time from a statement to its answer, in nanoseconds.
    way: AtomicU64,
    /// How many were answered, on all lanes of the pool.
    answered: Arc<AtomicU64>,
    /// The keeper, who waits for one that leaves to be empty.
    keeper: Arc<Notify>,
}

/// Why a statement did not run here.
pub(crate) enum Passed {
    /// Nothing was sent.
    Unsent,
    /// It was sent, and will have no answer.
    Lost,
}

/// A statement that is counted on its lane.
pub(crate) struct Load(Arc<Lane>);

impl Load {
    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.0
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.0.session
    }

    /// Sends a statement and waits for what it gives. Whoever goes away leaves it to its end, since what runs here cannot be
    /// cancelled without a danger for others.
    pub(crate) async fn run(self, sql: &str, params: Params<'_>, keeps_rows: bool) -> Result<Done, Passed> {
        // What is wrong is better said by a connection of the caller's own.
        let Ok((Prepared::Named(statement), _)) = self.session().prepared(sql).await else {
            return Err(Passed::Unsent);
        };
        let params = encode(params, statement.params()).map_err(|_| Passed::Unsent)?;
        let (question, answer) = slot();
        let session = Arc::clone(self.session());
        let operation = Operation::new(self, statement, params, keeps_rows, question);
        session.send_on_lane(operation);
        answer.await.map_err(|none| if none.was_sent { Passed::Lost } else { Passed::Unsent })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let lane = &self.0;
        if lane.load.fetch_sub(1, Ordering::AcqRel) == LEAVING | 1 {
            lane.keeper.notify_one();
        }
    }
}

/// What a lane has in common with the others of its pool.
pub(crate) struct Common {
    pub(crate) settings: LaneSettings,
    pub(crate) answered: Arc<AtomicU64>,
    pub(crate) keeper: Arc<Notify>,
}

impl Lane {
    /// Makes a lane of a connection.
    pub(crate) async fn open(held: Held, limit: Duration, common: &Common) -> Result<Self> {
        let session = Arc::clone(held.session());
        let settings = common.settings;
        let (before, lowered) = match timeout(limit, lower(&session, settings.timeout)).await {
            Ok(Ok(lowered)) => lowered,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(Error::new(Signal::new(Cause::Lost, Phase::Execute), "no answer")),
        };
        Ok(Self {
            session,
            endpoint: held.endpoint().to_owned(),
            held: Mutex::new(Some(held)),
            born: Instant::now(),
            settings,
            before,
            timeout: lowered.then_some(settings.timeout),
            load: AtomicU32::new(0),
            moved: AtomicU64::new(0),
            pace: AtomicU64::new(0),
            way: AtomicU64::new(u64::MAX),
            answered: Arc::clone(&common.answered),
            keeper: Arc::clone(&common.keeper),
        })
    }

    /// Counts one more statement, if it takes any.
    pub(crate) fn begin(self: &Arc<Self>, now: Instant) -> Option<Load> {
        let before = self.load.fetch_add(1, Ordering::AcqRel);
        let load = Load(Arc::clone(self));
        if before & LEAVING != 0 {
            return None;
        }
        if before == 0 {
            self.moved(now);
        }
        Some(load)
    }

    /// Statements in flight.
    pub(crate) fn load(&self) -> u32 {
        self.load.load(Ordering::Acquire) & !LEAVING
    }

    /// Whether one more statement would be answered soon; or in its turn, where it `would_wait_anyhow`.
    pub(crate) fn has_room(&self, now: Instant, would_wait_anyhow: bool) -> bool {
        let load = self.load();
        if load == 0 {
            return true;
        }
        let pace = Duration::from_nanos(self.pace.load(Ordering::Relaxed));
        let is_soon = would_wait_anyhow || pace.saturating_mul(load) <= self.settings.wait;
        load < self.settings.depth && is_soon && !self.is_late(now)
    }

    /// Whether its oldest statement takes longer than any should.
    fn is_late(&self, now: Instant) -> bool {
        let way = match self.way.load(Ordering::Relaxed) {
            u64::MAX => Duration::from_secs(1),
            nanos => Duration::from_nanos(nanos),
        };
        self.rested(now) > self.settings.slow / 2 + 2 * way
    }

    /// For how long it has not moved.
    pub(crate) fn rested(&self, now: Instant) -> Duration {
        let moved = Duration::from_nanos(self.moved.load(Ordering::Relaxed));
        now.saturating_duration_since(self.born + moved)
    }

    /// Notes that it moves.
    pub(crate) fn moved(&self, now: Instant) {
        self.moved.store(nanos(now - self.born), Ordering::Relaxed);
    }

    /// Notes how long a statement took while no other was in flight, and gives the least such time: about the way to the server
    /// and back.
    pub(crate) fn way(&self, whole: Duration) -> Duration {
        let whole = nanos(whole);
        Duration::from_nanos(self.way.fetch_min(whole, Ordering::Relaxed).min(whole))
    }

    /// Notes that so many answers came, after so long.
    pub(crate) fn answered(&self, now: Instant, took: Duration, count: u32) {
        self.moved(now);
        let (pace, each) = (self.pace.load(Ordering::Relaxed), nanos(took / count.max(1)));
        self.pace.store(pace - pace / 8 + each / 8, Ordering::Relaxed);
        self.answered.fetch_add(count.into(), Ordering::Relaxed);
    }

    /// Whether a statement that was cancelled after so long may have been so by the time-out of the lane.
    pub(crate) fn has_stopped(&self, whole: Duration) -> bool {
        self.timeout.is_some_and(|timeout| whole >= timeout.mul_f64(0.9))
    }

    /// Takes no more statements from now on.
    pub(crate) fn leave(&self) {
        self.load.fetch_or(LEAVING, Ordering::AcqRel);
    }

    /// Whether it takes nothing more, and nothing is in flight.
    pub(crate) fn has_left(&self) -> bool {
        self.load.load(Ordering::Acquire) == LEAVING
    }

    /// What is held; none once it went back.
    pub(crate) fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the connection back to the pool, as it was. Only once nothing is in flight.
    pub(crate) async fn give_back(&self, limit: Duration) {
        let Some(held) = self.held().take() else { return };
        if self.session.is_usable() {
            let before = format!("SET statement_timeout = {}", self.before);
            match timeout(limit, self.session.send_simple(&before, Phase::Execute)).await {
                Ok(Ok(())) => self.session.wire.forget(Effects::SETTING),
                // It goes back unclean, and is closed.
                _ => return,
            }
        }
        held.release(false, Instant::now());
    }
}

/// Lowers the time-out of the session, and gives the one before, in milliseconds, and whether it was longer.
async fn lower(session: &Session, to: Duration) -> Result<(String, bool)> {
    const ASK: &str = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'statement_timeout'";
    let failed = |error| Error::from_driver(&error, Phase::Execute);
    let answer = session.client.simple_query(ASK).await.map_err(failed)?;
    let before = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).and_then(|text| text.parse::<u128>().ok()),
        _ => None,
    });
    let before = before.unwrap_or_default();
    let is_longer = before == 0 || before > to.as_millis();
    if is_longer {
        let set = format!("SET statement_timeout = {}", to.as_millis().max(1));
        session.send_simple(&set, Phase::Execute).await?;
        session.wire.forget(Effects::SETTING);
    }
    Ok((before.to_string(), is_longer))
}
