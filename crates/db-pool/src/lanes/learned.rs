//! The histories of the statements of a pool, by their text. Bounded, whatever is run: of texts that do not come again none stays
//! for long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::LaneSettings;
use super::history::History;

/// How many texts one generation holds.
const TEXTS: usize = 1_024;

/// The longest text that is remembered, in bytes: one that is longer was put together by a program, and hardly comes again.
const LONGEST: usize = 4_096;

/// What is known of statements.
#[derive(Debug)]
pub(crate) struct Learned {
    settings: LaneSettings,
    known: RwLock<Generations>,
    way: Mutex<Way>,
}

/// The time to the server and back, by requests that ask for nothing. A statement's own least time would not do: one that sleeps
/// on the server always takes as long.
#[derive(Debug, Default)]
struct Way {
    /// The least of what was measured lately.
    least: Option<Duration>,
    /// How often it was measured since then.
    count: u32,
    since: Option<Instant>,
}

/// How often it is measured at a time.
const MEASURED: u32 = 3;

/// After this time it may be another one.
const VALID: Duration = Duration::from_secs(60);

/// What is used moves from the older to the newer one; when that is full, what was not used meanwhile is forgotten.
#[derive(Debug, Default)]
struct Generations {
    newer: HashMap<Box<str>, Arc<History>>,
    older: HashMap<Box<str>, Arc<History>>,
}

impl Learned {
    pub(crate) fn new(settings: LaneSettings) -> Self {
        Self { settings, known: RwLock::default(), way: Mutex::default() }
    }

    /// What is known of a statement, from now on if nothing was; none of a text that is too long.
    pub(crate) fn of(&self, sql: &str) -> Option<Arc<History>> {
        if sql.len() > LONGEST {
            return None;
        }
        if let Some(history) = self.known.read().unwrap_or_else(PoisonError::into_inner).newer.get(sql) {
            return Some(Arc::clone(history));
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.newer.len() >= TEXTS {
            known.older = std::mem::take(&mut known.newer);
        }
        let history = known.older.remove(sql);
        let entry = known.newer.entry(sql.into());
        let history =
            entry.or_insert_with(|| history.unwrap_or_else(|| Arc::new(History::new(sql, &self.settings))));
        Some(Arc::clone(history))
    }

    /// A statement ran well on a connection of its own.
    pub(crate) fn ran_alone(&self, history: &History, took: Duration, bytes: usize) {
        let way = self.way().least.unwrap_or_default();
        history.ran_alone(took.saturating_sub(way), bytes, &self.settings);
    }

    /// Whether the way to the server is to be measured, by whoever asks.
    pub(crate) fn wants_way(&self, now: Instant) -> bool {
        let mut way = self.way();
        if way.since.is_none_or(|since| now - since >= VALID) {
            (way.since, way.count) = (Some(now), 0);
        }
        way.count += 1;
        way.count <= MEASURED
    }

    /// The way was measured.
    pub(crate) fn measured_way(&self, took: Duration) {
        let mut way = self.way();
        way.least = Some(match way.least {
            Some(least) if way.count > 1 => least.min(took),
            _ => took,
        });
    }

    /// Forgets how far the server is: it is another one now.
    pub(crate) fn forget_the_way(&self) {
        *self.way() = Way::default();
    }

    fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All texts with what is known of them.
    pub(crate) fn all(&self) -> Vec<(String, Arc<History>)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let all = known.newer.iter().chain(&known.older);
        all.map(|(sql, history)| (sql.to_string(), Arc::clone(history))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_used_stays() {
        let learned = Learned::new(LaneSettings::default());
        let used = learned.of("SELECT 0").expect("short");
        for number in 1..=10_000 {
            learned.of(&format!("SELECT {number}")).expect("short");
            assert!(Arc::ptr_eq(&used, &learned.of("SELECT 0").expect("short")));
        }
        assert!(learned.all().len() <= 2 * TEXTS);
        assert!(learned.of(&"x".repeat(LONGEST + 1)).is_none());
    }

    #[test]
    fn the_way_to_the_server_does_not_count() {
        let learned = Learned::new(LaneSettings::default());
        let (way, sleep) = (Duration::from_millis(50), Duration::from_millis(3));
        let (short, long) = (learned.of("SELECT 1").expect("short"), learned.of("SELECT 2").expect("short"));
        let run = || {
            (0..8).for_each(|_| learned.ran_alone(&short, way, 10));
            (0..8).for_each(|_| learned.ran_alone(&long, way + sleep, 10));
        };
        run();
        assert!(!short.may_share(), "nobody knows how far the server is");
        learned.measured_way(way);
        run();
        assert!(short.may_share());
        assert!(!long.may_share(), "each time as long, but not because of the way");
    }

    #[test]
    fn the_way_is_measured_now_and_then() {
        let learned = Learned::new(LaneSettings::default());
        let (now, millis) = (Instant::now(), Duration::from_millis);
        let measure = |at, took| {
            let wants = learned.wants_way(at);
            if wants {
                learned.measured_way(took);
            }
            wants
        };
        assert_eq!([9, 7, 8, 1].map(|took| measure(now, millis(took))), [true, true, true, false]);
        assert_eq!(learned.way().least, Some(millis(7)));
        assert!(measure(now + VALID, millis(20)), "it may have become longer");
        assert_eq!(learned.way().least, Some(millis(20)));
        learned.forget_the_way();
        assert_eq!(learned.way().least, None);
        assert!(measure(now + VALID, millis(5)));
    }
}
