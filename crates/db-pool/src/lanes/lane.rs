//! A lane: one connection of the pool on which statements of many callers are in flight. It knows how busy it is, and whether it
//! moves; when it opens and goes is the keeper's to decide.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db_core::{Cause, Error, Phase, Result, Signal};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_postgres::{SimpleQueryMessage, Statement};

use super::LaneSettings;
use super::backlog::{Backlog, Parcel};
use super::belt::Operation;
use crate::release::Held;
use crate::session::{Session, nanos};
use crate::statements::Prepared;
use crate::wire::Effects;

/// So many statements more than are on the way there and back are given to a lane at a time, so that its server has the next one when
/// it is done with one, and a few go together. What stops a lane holds up all of them.
const AHEAD: u32 = 6;

/// No server is taken to answer statements faster than this, whatever was seen of one that had little to do.
const QUICKEST: Duration = Duration::from_micros(10);

/// Set in the load of a lane that takes nothing more.
const LEAVING: u32 = 1 << 31;

/// A lane.
pub(crate) struct Lane {
    pub(crate) session: Arc<Session>,
    pub(crate) endpoint: Arc<str>,
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
    /// Statements that wait for one of the lanes.
    backlog: Arc<Backlog>,
    /// How many were answered, on all lanes of the pool.
    answered: Arc<AtomicU64>,
    /// The keeper, who waits for one that leaves to be empty.
    keeper: Arc<Notify>,
}

/// A statement that is counted on its lane.
pub(crate) struct Load(Arc<Lane>);

impl Load {
    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.0
    }

    /// Has the lane run a statement. None where it has to be prepared first: then it follows by itself.
    fn take(self, parcel: Parcel) -> Option<Operation> {
        let session = Arc::clone(&self.0.session);
        let is_home = Arc::ptr_eq(&self.0, &parcel.home);
        let statement = if is_home { Some(parcel.statement.clone()) } else { session.ready(&parcel.sql) };
        match statement {
            Some(statement) => self.with(statement, parcel),
            None => {
                session.runtime.spawn(self.prepare(parcel));
                None
            }
        }
    }

    /// A statement that cannot be prepared, or not as before, is left to a connection of its caller's own.
    async fn prepare(self, parcel: Parcel) {
        let lane = Arc::clone(&self.0);
        let operation = match lane.session.prepared(&parcel.sql).await {
            Ok((Prepared::Named(statement), _)) => self.with(statement, parcel),
            _ => None,
        };
        match operation {
            Some(operation) => lane.session.send_on_lane(operation),
            None => lane.has_less(),
        }
    }

    /// None where the parameters were encoded for other types.
    fn with(self, statement: Statement, parcel: Parcel) -> Option<Operation> {
        let Parcel { params, keeps_rows, question, statement: first, .. } = parcel;
        (statement.params() == first.params())
            .then(|| Operation::new(self, statement, params, keeps_rows, question))
    }

    /// The same from a caller's task.
    pub(crate) fn send(self, parcel: Parcel) {
        let lane = Arc::clone(&self.0);
        if let Some(operation) = self.take(parcel) {
            lane.session.send_on_lane(operation);
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let lane = &self.0;
        if lane.load.fetch_sub(1, Ordering::SeqCst) == LEAVING | 1 {
            lane.keeper.notify_one();
        }
    }
}

/// What a lane has in common with the others of its pool.
pub(crate) struct Common {
    pub(crate) settings: LaneSettings,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) answered: Arc<AtomicU64>,
    pub(crate) keeper: Arc<Notify>,
}

impl Lane {
    /// Makes a lane of a connection.
    pub(crate) async fn open(held: Held, limit: Duration, common: &Common) -> Result<Self> {
        let session = Arc::clone(held.session());
        let settings = common.settings;
        let (before, lowered) = match timeout(limit, make_ready(&session, settings.timeout)).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(Error::new(Signal::new(Cause::Lost, Phase::Execute), "no answer")),
        };
        Ok(Self {
            session,
            endpoint: held.endpoint().into(),
            held: Mutex::new(Some(held)),
            born: Instant::now(),
            settings,
            before,
            timeout: lowered.then_some(settings.timeout),
            load: AtomicU32::new(0),
            moved: AtomicU64::new(0),
            pace: AtomicU64::new(0),
            backlog: Arc::clone(&common.backlog),
            answered: Arc::clone(&common.answered),
            keeper: Arc::clone(&common.keeper),
        })
    }

    /// Counts one more statement, if it takes any.
    pub(crate) fn begin(self: &Arc<Self>, now: Instant) -> Option<Load> {
        let before = self.load.fetch_add(1, Ordering::SeqCst);
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
        self.load.load(Ordering::SeqCst) & !LEAVING
    }

    /// Whether it takes one more statement now, where so many wait for each lane. What is in flight keeps the server at
    /// work while answers are on their way; the more wait, the more go together. What waits takes less memory.
    pub(crate) fn has_room(&self, now: Instant, waiting: u32) -> bool {
        let load = self.load();
        load == 0 || load < self.most(waiting) && !self.is_late(now)
    }

    fn most(&self, waiting: u32) -> u32 {
        let pace = self.pace.load(Ordering::Relaxed).max(nanos(QUICKEST));
        let on_the_way = u32::try_from(nanos(self.session.way.least()) / pace).unwrap_or(u32::MAX);
        on_the_way.saturating_add(AHEAD).max(waiting / 4).min(self.settings.depth)
    }

    /// Whether its oldest statement takes longer than any should.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.load() > 0 && self.rested(now) > self.settings.slow / 2 + 2 * self.session.way.least()
    }

    /// Whether it has not moved for longer than the server lets any statement run here.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        self.load() > 0 && self.rested(now) > 2 * (self.settings.timeout + self.session.way.least())
    }

    /// Has somebody look whether what waits has room now, where no answer makes any.
    pub(crate) fn has_less(&self) {
        if self.backlog.len() > 0 {
            self.keeper.notify_one();
        }
    }

    /// Whether it is time to take in what waits: a few together, since each write costs more than what is in it.
    pub(crate) fn wants_more(&self) -> bool {
        let waiting = self.backlog.len();
        waiting > 0 && self.load() <= self.most(waiting / self.settings.max.max(1)) / 2
    }

    /// What waits and has its turn, if there is room for it here.
    pub(crate) fn next(self: &Arc<Self>, now: Instant) -> Option<Operation> {
        loop {
            let waiting = self.backlog.len();
            if waiting == 0 || !self.has_room(now, waiting / self.settings.max.max(1)) {
                return None;
            }
            let load = self.begin(now)?;
            if let Some(operation) = load.take(self.backlog.pop()?) {
                return Some(operation);
            }
        }
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

/// Lowers the time-out of the session, and gives the one before, in milliseconds, and whether it was longer. Learns how far the
/// server is.
async fn make_ready(session: &Session, to: Duration) -> Result<(String, bool)> {
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
    session.sync().await?;
    Ok((before.to_string(), is_longer))
}
