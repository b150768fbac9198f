//! The histories of the statements of a pool, by their text. Bounded, whatever is run: of texts that do not come again none stays
//! for long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

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
    /// The least time that a statement took, in nanoseconds: about the way to the server and back.
    least: AtomicU64,
}

/// What is used moves from the older to the newer one; when that is full, what was not used meanwhile is forgotten.
#[derive(Debug, Default)]
struct Generations {
    newer: HashMap<Box<str>, Arc<History>>,
    older: HashMap<Box<str>, Arc<History>>,
}

impl Learned {
    pub(crate) fn new(settings: LaneSettings) -> Self {
        Self { settings, known: RwLock::default(), least: AtomicU64::new(u64::MAX) }
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
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let mut least = self.least.load(Ordering::Relaxed);
        if nanos < least {
            least = nanos;
            self.least.fetch_min(nanos, Ordering::Relaxed);
        }
        history.ran_alone(took.saturating_sub(Duration::from_nanos(least)), bytes, &self.settings);
    }

    /// Forgets how far the server is: it is another one now.
    pub(crate) fn forget_the_way(&self) {
        self.least.store(u64::MAX, Ordering::Relaxed);
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
        let history = learned.of("SELECT 1").expect("short");
        let way = Duration::from_millis(50);
        (0..8).for_each(|_| learned.ran_alone(&history, way + Duration::from_millis(1), 10));
        assert!(history.may_share());
        learned.ran_alone(&history, Duration::from_millis(1), 10);
        let other = learned.of("SELECT 2").expect("short");
        (0..8).for_each(|_| learned.ran_alone(&other, way + Duration::from_millis(1), 10));
        assert!(!other.may_share(), "the server is near");
        learned.forget_the_way();
        (0..8).for_each(|_| learned.ran_alone(&other, way + Duration::from_millis(1), 10));
        assert!(other.may_share(), "another one is far");
    }
}
