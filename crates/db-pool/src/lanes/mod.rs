//! Lanes: a few connections of the pool on which short statements of many callers are in flight at the same time. Which statements,
//! is learned in `history`; how one lane works is in `lane` and `belt`; when lanes open and go, in `keeper`.

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

use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::belt::{Belt, Done, Given, Operation};
pub(crate) use self::history::{Demotion, History};
use self::lane::Common;
pub(crate) use self::lane::{Lane, Load, Passed};
pub(crate) use self::learned::Learned;
pub use self::report::{LaneStats, LaneUse};
pub use self::settings::LaneSettings;
use crate::release::Held;
use crate::settings::Settings;
use crate::shared::Shared;
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
    Lane(Load),
    /// A connection of its own, which becomes a lane afterwards.
    Open(Opening),
    /// A connection of its own.
    None,
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
            common: Common { settings: lanes, answered: Arc::default(), keeper: Arc::new(Notify::new()) },
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
        let is_pool_full = shared.gate.waiting() > 0;
        let (best, count) = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            let with_room = open.iter().filter(|lane| lane.has_room(now, is_pool_full));
            (with_room.min_by_key(|lane| lane.load()).cloned(), open.len())
        };
        let is_busy = best.as_ref().is_none_or(|lane| lane.load() >= FEW);
        // Where callers wait for a connection, one of those who have one opens it.
        if is_busy
            && !is_pool_full
            && let Some(opening) = self.may_open(shared, count, now)
        {
            return Pick::Open(opening);
        }
        best.and_then(|lane| lane.begin(now)).map_or(Pick::None, Pick::Lane)
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
        let may = count < self.most(shared) && *self.not_before() <= now;
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
