//! Lanes: a few connections of the pool on which short statements of many callers are in flight at the same time. Which statements,
//! is learned in `history`; how one lane works is in `lane` and `belt`; when lanes open and go, in `keeper`.

mod backlog;
mod belt;
mod history;
mod keeper;
mod lane;
mod learned;
mod report;
mod settings;
mod slot;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use db_core::Params;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Statement;

use self::backlog::{Backlog, Parcel};
pub(crate) use self::belt::{Belt, Done, Given, Operation};
pub(crate) use self::history::{Demotion, History};
pub(crate) use self::lane::Lane;
use self::lane::{Common, Load};
pub(crate) use self::learned::Learned;
pub use self::report::{LaneStats, LaneUse};
pub use self::settings::LaneSettings;
use self::slot::{Answer, slot};
use crate::release::Held;
use crate::session::encode;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::statements::Prepared;
use crate::{Pooler, Reset};

/// With fewer statements in flight on each, no further lane is opened.
const FEW: u32 = 4;

/// The lanes of a pool.
pub(crate) struct Lanes {
    pub(crate) settings: LaneSettings,
    pub(crate) learned: Learned,
    common: Common,
    open: RwLock<Vec<Arc<Lane>>>,
    /// Those that take nothing more, until they are empty.
    leaving: Mutex<Vec<Arc<Lane>>>,
    /// Whether one is being opened.
    is_opening: AtomicBool,
    /// Until when none is.
    not_before: Mutex<Instant>,
    is_kept: AtomicBool,
    pub(crate) reruns: AtomicU64,
    pub(crate) demotions: AtomicU64,
}

/// What is there for a statement that may use a lane.
pub(crate) enum Pick {
    /// It may wait for a lane: for whichever has room first.
    Lane(Arc<Lane>),
    /// A connection of its own, which becomes a lane afterwards.
    Open(Opening),
    /// A connection of its own.
    None,
}

/// A statement of a caller's.
pub(crate) struct Asked<'a> {
    pub(crate) history: &'a History,
    pub(crate) params: Params<'a>,
    pub(crate) keeps_rows: bool,
    pub(crate) deadline: Option<Instant>,
}

/// Why a statement has no answer from a lane.
pub(crate) enum Passed {
    /// Nothing was sent.
    Unsent,
    /// It was sent, and will have no answer.
    Lost,
    /// Its deadline came.
    Expired {
        /// Whether it may take effect all the same.
        was_sent: bool,
    },
}

/// The right to open a lane, which one at a time has.
pub(crate) struct Opening(Arc<Shared>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.lanes.is_opening.store(false, Ordering::Release);
    }
}

impl Lanes {
    /// A statement ran well on a connection of its own, in so much more time than the way to the server takes.
    pub(crate) fn ran_alone(&self, history: &History, took: Duration, bytes: usize) {
        history.ran_alone(took, bytes, &self.settings);
    }

    /// A statement ran on a lane, which it kept from others for so long.
    pub(crate) fn ran_on_lane(&self, history: &History, round: u32, took: Duration, bytes: usize) {
        if history.ran_on_lane(round, took, bytes, &self.settings) {
            self.demotions.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends a statement back to connections of its own.
    pub(crate) fn demote(&self, history: &History, round: u32, why: Demotion) {
        if history.demote(round, why, &self.settings) {
            self.demotions.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// None where a session may be changed between two statements, or is asked to be discarded after each.
    pub(crate) fn new(settings: &Settings) -> Self {
        let is_off = settings.pooler == Pooler::Transaction || settings.reset == Reset::Discard;
        let lanes = if is_off { LaneSettings::off() } else { settings.lanes };
        Self {
            settings: lanes,
            learned: Learned::new(lanes),
            common: Common {
                settings: lanes,
                backlog: Arc::new(Backlog::new()),
                answered: Arc::default(),
                keeper: Arc::new(Notify::new()),
            },
            open: RwLock::default(),
            leaving: Mutex::default(),
            is_opening: AtomicBool::new(false),
            not_before: Mutex::new(Instant::now()),
            is_kept: AtomicBool::new(false),
            reruns: AtomicU64::new(0),
            demotions: AtomicU64::new(0),
        }
    }

    /// What is known of a statement; none where that is of no use.
    pub(crate) fn history(&self, sql: &str) -> Option<Arc<History>> {
        if self.settings.max == 0 { None } else { self.learned.of(sql) }
    }

    /// Where a statement that may use a lane runs.
    pub(crate) fn pick(&self, shared: &Arc<Shared>, now: Instant) -> Pick {
        let is_short = shared.is_short();
        let (best, count) = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            let moving = open.iter().filter(|lane| !is_hopeless(lane, is_short, now));
            (moving.min_by_key(|lane| lane.load()).cloned(), open.len())
        };
        let load = best.as_ref().map_or(u32::MAX, |lane| lane.load());
        let is_busy = load >= FEW;
        // Where callers wait for a connection, one of those who have one opens it.
        if is_busy
            && !is_short
            && let Some(opening) = self.may_open(shared, count, now)
        {
            return Pick::Open(opening);
        }
        let backlog = &self.common.backlog;
        let ahead = load.saturating_add(backlog.len() / u32::try_from(count.max(1)).unwrap_or(1));
        // Whoever would have to wait for a connection of its own waits for a lane instead.
        let is_soon = is_short || backlog.wait(now) <= self.settings.wait;
        best.filter(|_| ahead < self.settings.depth && is_soon).map_or(Pick::None, Pick::Lane)
    }

    /// Runs a statement on whichever lane has room first; `home` is one of them. Whoever goes away leaves what was sent to its end,
    /// since what runs on a lane cannot be cancelled without a danger for others.
    pub(crate) async fn run(&self, home: Arc<Lane>, asked: &Asked<'_>) -> Result<Done, Passed> {
        let statement = match home.session.ready(asked.history.sql()) {
            Some(statement) => statement,
            // Large, and rare as long as statements are kept prepared.
            None => Box::pin(prepare(&home, asked)).await?,
        };
        let mut answer = self.ask(home, statement, asked)?;
        match until(asked.deadline, &mut answer).await {
            Ok(answered) => {
                answered.map_err(|none| if none.was_sent { Passed::Lost } else { Passed::Unsent })
            }
            Err(_) => Err(Passed::Expired { was_sent: answer.withdraw() }),
        }
    }

    fn ask(&self, home: Arc<Lane>, statement: Statement, asked: &Asked<'_>) -> Result<Answer<Done>, Passed> {
        // What is wrong is better said by a connection of the caller's own.
        let params = encode(asked.params, statement.params()).map_err(|_| Passed::Unsent)?;
        let (question, answer) = slot();
        let sql = Arc::clone(asked.history.sql());
        let parcel = Parcel { sql, params, keeps_rows: asked.keeps_rows, question, statement, home };
        self.hand_in(parcel, Instant::now());
        Ok(answer)
    }

    fn hand_in(&self, parcel: Parcel, now: Instant) {
        let backlog = &self.common.backlog;
        // Nobody is overtaken.
        if backlog.len() == 0
            && let Some(load) = self.begin_on_one(now)
        {
            return load.send(parcel);
        }
        backlog.push(parcel, now);
        // Lanes take what waits whenever an answer comes. The last answers may have come just before.
        self.serve(now);
        if self.open.read().unwrap_or_else(PoisonError::into_inner).is_empty() {
            backlog.refuse_all();
        }
    }

    /// Gives what waits to lanes that have room.
    fn serve(&self, now: Instant) {
        let backlog = &self.common.backlog;
        while backlog.len() > 0
            && let Some(load) = self.begin_on_one(now)
        {
            let Some(parcel) = backlog.pop() else { return };
            load.send(parcel);
        }
    }

    /// Counts a statement on the lane with the fewest, if one has room.
    fn begin_on_one(&self, now: Instant) -> Option<Load> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.common.backlog.len() / u32::try_from(open.len().max(1)).unwrap_or(1);
        let with_room = open.iter().filter(|lane| lane.has_room(now, waiting));
        let lane = with_room.min_by_key(|lane| lane.load()).cloned();
        drop(open);
        lane?.begin(now)
    }

    /// The right to open a lane after a statement that may use one had a connection of its own, if there are too few.
    pub(crate) fn wants_one(&self, shared: &Arc<Shared>, now: Instant) -> Option<Opening> {
        let count = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            if open.iter().any(|lane| lane.load() < FEW) {
                return None;
            }
            open.len()
        };
        self.may_open(shared, count, now)
    }

    fn may_open(&self, shared: &Arc<Shared>, count: usize, now: Instant) -> Option<Opening> {
        // A server that gives few connections gives them to those who wait for one.
        let are_short =
            shared.is_anybody_hungry() && shared.seats.open() / 4 <= u32::try_from(count).unwrap_or(u32::MAX);
        let may = count < self.most(shared) && !are_short && *self.not_before() <= now;
        (may && !self.is_opening.swap(true, Ordering::AcqRel)).then(|| Opening(Arc::clone(shared)))
    }

    /// The most lanes now.
    fn most(&self, shared: &Shared) -> usize {
        if shared.is_paused.load(Ordering::Acquire) || shared.gate.is_closed() {
            return 0;
        }
        self.settings.max.min(shared.seats.max() / 4) as usize
    }

    /// Makes a lane of a connection that was just used.
    pub(crate) fn open(&self, opening: Opening, held: Held) {
        let shared = Arc::clone(&opening.0);
        let runtime = shared.runtime.clone();
        runtime.spawn(async move {
            let lanes = &shared.lanes;
            match Lane::open(held, shared.settings.connect_timeout, &lanes.common).await {
                Ok(lane) => {
                    let mut open = lanes.open.write().unwrap_or_else(PoisonError::into_inner);
                    let lane = Arc::new(lane);
                    if open.len() < lanes.most(&shared) {
                        open.push(lane);
                    } else {
                        lane.leave();
                        lanes.leaving().push(lane);
                    }
                    drop(open);
                    lanes.keep(&shared);
                }
                Err(error) => {
                    tracing::debug!(target: "db::pool", pool = shared.about.pool, %error, "no lane could be opened");
                    lanes.rest_for(keeper::after_a_loss());
                }
            }
            drop(opening);
        });
    }

    /// Has all lanes go back to the pool as soon as what is in flight is answered.
    pub(crate) fn leave_all(&self) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let mut leaving = self.leaving();
        for lane in open.drain(..) {
            lane.leave();
            leaving.push(lane);
        }
        drop(open);
        self.common.backlog.refuse_all();
        self.common.keeper.notify_one();
    }

    /// Has the keeper look at once.
    pub(crate) fn look_now(&self) {
        self.common.keeper.notify_one();
    }

    fn leaving(&self) -> MutexGuard<'_, Vec<Arc<Lane>>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_before(&self) -> MutexGuard<'_, Instant> {
        self.not_before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nobody should wait for a lane. Who has to wait anyhow has more patience.
fn is_hopeless(lane: &Lane, is_short: bool, now: Instant) -> bool {
    if is_short { lane.is_stuck(now) } else { lane.is_late(now) }
}

/// The statement as it is prepared on a lane.
async fn prepare(lane: &Lane, asked: &Asked<'_>) -> Result<Statement, Passed> {
    match until(asked.deadline, lane.session.prepared(asked.history.sql())).await? {
        Ok((Prepared::Named(statement), _)) => Ok(statement),
        // What is wrong is better said by a connection of the caller's own.
        _ => Err(Passed::Unsent),
    }
}

/// What comes by the deadline.
async fn until<T>(deadline: Option<Instant>, coming: impl Future<Output = T>) -> Result<T, Passed> {
    match deadline {
        None => Ok(coming.await),
        Some(deadline) => timeout_at(deadline, coming).await.map_err(|_| Passed::Expired { was_sent: false }),
    }
}
