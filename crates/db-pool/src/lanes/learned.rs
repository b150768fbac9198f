//! The histories of the statements of a pool, by their text. Bounded, whatever is run: of texts that do not come again none stays
//! for long.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

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
}

/// What is used moves from the older to the newer one; when that is full, what was not used meanwhile is forgotten.
#[derive(Debug, Default)]
struct Generations {
    newer: HashMap<Box<str>, Arc<History>>,
    older: HashMap<Box<str>, Arc<History>>,
}

impl Learned {
    pub(crate) fn new(settings: LaneSettings) -> Self {
        Self { settings, known: RwLock::default() }
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
}
