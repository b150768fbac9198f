//! What is known of one statement: whether it may use lanes, learned from how long it took. Pure: it is told times, and asks no
//! clock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db_core::{NotPlain, plain_statement};

use super::LaneSettings;

/// A statement that was well so often on lanes may be slow once, which a machine with much to do makes of any; and is taken back after
/// a short trial where it was stopped.
const RARELY: u64 = 1_000;

/// The longest trial is so many times the first one.
const LONGEST_TRIAL: u32 = 64;

/// A run that was neither short nor slow takes back so many short ones: who is short in fewer than two of three runs never passes.
/// That each had to be short would keep a statement from coming back on a machine with much to do, where it is wanted most.
const NOT_SHORT: u32 = 2;

/// Why a statement was sent back to connections of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demotion {
    /// It took long on a lane.
    Slow,
    /// The time-out of its lane ended it.
    TimedOut,
    /// Its result was large.
    Large,
}

/// What is known of a statement.
#[derive(Debug)]
pub(crate) struct History {
    sql: Arc<str>,
    /// Why its text forbids it.
    barred: Option<NotPlain>,
    /// As the trial has it, to be read by everybody.
    may_share: AtomicBool,
    /// Grows whenever it was slow or is sent back. What it did in an earlier round is not held against it again.
    round: AtomicU32,
    trial: Mutex<Trial>,
    on_lanes: AtomicU64,
    alone: AtomicU64,
    demotions: AtomicU32,
}

#[derive(Debug)]
struct Trial {
    /// Runs that were short, less what the others took back.
    short: u32,
    /// How many of these are asked for.
    needed: u32,
    /// How often it had run on lanes when it was taken, or last slow.
    taken_at: u64,
    last: Option<Demotion>,
}

impl History {
    pub(crate) fn new(sql: &str, settings: &LaneSettings) -> Self {
        Self {
            sql: sql.into(),
            barred: plain_statement(sql).err(),
            may_share: AtomicBool::new(false),
            round: AtomicU32::new(0),
            trial: Mutex::new(Trial { short: 0, needed: settings.trial, taken_at: 0, last: None }),
            on_lanes: AtomicU64::new(0),
            alone: AtomicU64::new(0),
            demotions: AtomicU32::new(0),
        }
    }

    /// Its text.
    pub(crate) fn sql(&self) -> &Arc<str> {
        &self.sql
    }

    /// Whether it may use a lane now.
    pub(crate) fn may_share(&self) -> bool {
        self.may_share.load(Ordering::Relaxed)
    }

    /// In which round it begins to use one.
    pub(crate) fn round(&self) -> u32 {
        self.round.load(Ordering::Relaxed)
    }

    /// It ran well on a connection of its own, in so much more time than the way to the server takes.
    pub(crate) fn ran_alone(&self, took: Duration, bytes: usize, settings: &LaneSettings) {
        self.alone.fetch_add(1, Ordering::Relaxed);
        if self.barred.is_some() || self.may_share() {
            return;
        }
        let mut trial = self.trial();
        if bytes > settings.max_bytes {
            trial.last = Some(Demotion::Large);
            trial.short = 0;
        } else if took > settings.slow {
            trial.short = 0;
        } else if took > settings.short {
            trial.short = trial.short.saturating_sub(NOT_SHORT);
        } else {
            trial.short += 1;
            if trial.short >= trial.needed {
                trial.taken_at = self.on_lanes.load(Ordering::Relaxed);
                self.may_share.store(true, Ordering::Relaxed);
            }
        }
    }

    /// It ran on a lane, which it kept from others for so long. Says whether it is sent back for that.
    pub(crate) fn ran_on_lane(
        &self,
        round: u32,
        took: Duration,
        bytes: usize,
        settings: &LaneSettings,
    ) -> bool {
        self.on_lanes.fetch_add(1, Ordering::Relaxed);
        if bytes > settings.max_bytes {
            self.demote(round, Demotion::Large, settings)
        } else if took > settings.slow {
            self.demote(round, Demotion::Slow, settings)
        } else {
            false
        }
    }

    /// Sends it back for another trial, a longer one each time, unless it had been well for long. Says whether it does.
    pub(crate) fn demote(&self, round: u32, why: Demotion, settings: &LaneSettings) -> bool {
        let mut trial = self.trial();
        // Of many that were in flight only the first one counts, also if it has come back meanwhile.
        if self.round() != round || !self.may_share.swap(false, Ordering::Relaxed) {
            return false;
        }
        self.round.store(round.wrapping_add(1), Ordering::Relaxed);
        let on_lanes = self.on_lanes.load(Ordering::Relaxed);
        let was_well = on_lanes.saturating_sub(trial.taken_at) >= RARELY;
        if was_well && why == Demotion::Slow {
            trial.taken_at = on_lanes;
            self.may_share.store(true, Ordering::Relaxed);
            return false;
        }
        trial.needed = if was_well { settings.trial } else { longer(trial.needed, settings.trial) };
        (trial.short, trial.last) = (0, Some(why));
        self.demotions.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// How often it ran on lanes, and on connections of its own.
    pub(crate) fn runs(&self) -> (u64, u64) {
        (self.on_lanes.load(Ordering::Relaxed), self.alone.load(Ordering::Relaxed))
    }

    /// How often it was sent back.
    pub(crate) fn demotions(&self) -> u32 {
        self.demotions.load(Ordering::Relaxed)
    }

    /// Why it does not use lanes now, for people; none if it does.
    pub(crate) fn why_not(&self) -> Option<String> {
        if let Some(barred) = self.barred {
            return Some(barred.to_string());
        }
        if self.may_share() {
            return None;
        }
        let Trial { short, needed, last, .. } = &*self.trial();
        let trial = format!("{short} of {needed} short runs");
        Some(match last {
            None => trial,
            Some(Demotion::Slow) => format!("was slow on a lane; {trial} since"),
            Some(Demotion::TimedOut) => format!("met the time-out of a lane; {trial} since"),
            Some(Demotion::Large) => format!("gave a large result; {trial} since"),
        })
    }

    fn trial(&self) -> MutexGuard<'_, Trial> {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn longer(needed: u32, first: u32) -> u32 {
    needed.saturating_mul(4).min(first.saturating_mul(LONGEST_TRIAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(100);
    const SLOW: Duration = Duration::from_millis(51);

    fn try_out(history: &History, settings: &LaneSettings) -> u32 {
        (1..=10_000)
            .find(|_| {
                history.ran_alone(QUICK, 10, settings);
                history.may_share()
            })
            .expect("a trial ends")
    }

    #[test]
    fn a_statement_is_tried_out_before_it_uses_lanes() {
        let settings = LaneSettings::default();
        let history = History::new("SELECT 1", &settings);
        assert!(!history.may_share());
        for _ in 0..7 {
            history.ran_alone(QUICK, 10, &settings);
        }
        history.ran_alone(settings.short * 2, 10, &settings);
        assert!(!history.may_share(), "it was not short each time");
        assert_eq!(history.why_not().as_deref(), Some("5 of 8 short runs"));
        history.ran_alone(settings.slow * 2, 10, &settings);
        assert_eq!(history.why_not().as_deref(), Some("0 of 8 short runs"));
        assert_eq!(try_out(&history, &settings), 8);
        assert_eq!(history.why_not(), None);
    }

    #[test]
    fn one_slow_run_sends_it_back_for_longer_each_time() {
        let settings = LaneSettings::default();
        let history = History::new("SELECT 1", &settings);
        let trials = (0..7).map(|_| {
            let runs = try_out(&history, &settings);
            history.ran_on_lane(history.round(), QUICK, 10, &settings);
            assert!(history.may_share());
            let round = history.round();
            assert!(history.ran_on_lane(round, SLOW, 10, &settings));
            assert!(!history.may_share());
            // Others that were in flight beside it.
            assert!(!history.ran_on_lane(round, SLOW, 10, &settings));
            runs
        });
        assert_eq!(trials.collect::<Vec<_>>(), [8, 32, 128, 512, 512, 512, 512]);
        assert_eq!(history.demotions(), 7);
        assert_eq!(history.why_not().as_deref(), Some("was slow on a lane; 0 of 512 short runs since"));
    }

    #[test]
    fn what_was_in_flight_before_does_not_count_again() {
        let settings = LaneSettings::default();
        let history = History::new("SELECT 1", &settings);
        try_out(&history, &settings);
        let round = history.round();
        history.ran_on_lane(round, SLOW, 10, &settings);
        assert_eq!(try_out(&history, &settings), 32);
        history.ran_on_lane(round, SLOW, 10, &settings);
        assert!(history.may_share(), "it was sent in the round before");
    }

    #[test]
    fn what_is_slow_rarely_stays_and_what_is_stopped_rarely_comes_back_soon() {
        let settings = LaneSettings::default();
        let history = History::new("SELECT 1", &settings);
        let run_well =
            || (0..RARELY).for_each(|_| assert!(!history.ran_on_lane(history.round(), QUICK, 10, &settings)));
        assert_eq!(try_out(&history, &settings), 8);
        for _ in 0..5 {
            run_well();
            let round = history.round();
            // On several lanes at once: the machine had something else to do.
            (0..4).for_each(|_| assert!(!history.ran_on_lane(round, SLOW, 10, &settings)));
        }
        assert!(history.ran_on_lane(history.round(), SLOW, 10, &settings), "twice in a thousand times");
        assert_eq!(try_out(&history, &settings), 32);
        for _ in 0..5 {
            run_well();
            assert!(history.demote(history.round(), Demotion::TimedOut, &settings));
            assert_eq!(try_out(&history, &settings), 8);
        }
    }

    #[test]
    fn what_is_not_steady_never_passes() {
        let settings = LaneSettings::default();
        let history = History::new("SELECT 1", &settings);
        for run in 0..10_000 {
            let took = if run % 5 < 2 { settings.short * 2 } else { QUICK };
            history.ran_alone(took, 10, &settings);
        }
        assert!(!history.may_share());
        // A machine with much to do makes some of them longer.
        (0..100).for_each(|run| {
            history.ran_alone(if run % 8 == 0 { settings.short * 2 } else { QUICK }, 10, &settings)
        });
        assert!(history.may_share());
    }

    #[test]
    fn large_results_do_not_use_lanes() {
        let settings = LaneSettings::default();
        let history = History::new("SELECT 1", &settings);
        for _ in 0..100 {
            history.ran_alone(QUICK, settings.max_bytes + 1, &settings);
        }
        assert!(!history.may_share());
        assert_eq!(history.why_not().as_deref(), Some("gave a large result; 0 of 8 short runs since"));
        try_out(&history, &settings);
        history.ran_on_lane(history.round(), QUICK, settings.max_bytes + 1, &settings);
        assert!(!history.may_share());
    }

    #[test]
    fn what_its_text_forbids_is_never_tried() {
        let settings = LaneSettings::default();
        let history = History::new("SELECT pg_advisory_lock(1)", &settings);
        for _ in 0..100 {
            history.ran_alone(QUICK, 10, &settings);
        }
        assert!(!history.may_share());
        assert_eq!(history.why_not().as_deref(), Some("uses what belongs to the session"));
    }
}
