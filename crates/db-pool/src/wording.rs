//! What spans say of statements: read from each text once, and kept, within bounds. Nothing is read while nobody collects spans.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use db_core::{query_summary, without_literals};

/// How many texts are kept. When there are more, all are forgotten: what is still run comes back, what never was the same twice
/// does not.
const TEXTS: usize = 256;

/// The longest text that is kept, in bytes: one that is longer was put together by a program, and hardly comes again.
const LONGEST: usize = 4096;

/// What a span says of a statement.
#[derive(Debug)]
pub(crate) struct Wording {
    pub(crate) summary: String,
    /// Without literals.
    pub(crate) text: String,
}

/// The statements of one pool.
#[derive(Debug, Default)]
pub(crate) struct Wordings(RwLock<HashMap<Box<str>, Arc<Wording>>>);

impl Wordings {
    pub(crate) fn of(&self, sql: &str) -> Arc<Wording> {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(sql) {
            return Arc::clone(known);
        }
        let wording = Arc::new(Wording { summary: query_summary(sql), text: without_literals(sql) });
        if sql.len() <= LONGEST {
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= TEXTS {
                known.clear();
            }
            known.insert(sql.into(), Arc::clone(&wording));
        }
        wording
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(wordings: &Wordings) -> usize {
        wordings.0.read().expect("lock").len()
    }

    /// The same words for the same text, which is read once.
    #[test]
    fn a_text_is_read_once() {
        let wordings = Wordings::default();
        let first = wordings.of("SELECT * FROM t WHERE a = 'hunter2'");
        assert_eq!((&*first.summary, &*first.text), ("SELECT t", "SELECT * FROM t WHERE a = ?"));
        assert!(Arc::ptr_eq(&first, &wordings.of("SELECT * FROM t WHERE a = 'hunter2'")));
        assert_eq!(wordings.of("SELECT * FROM u").summary, "SELECT u");
    }

    /// Whatever is run, no more than so much is kept.
    #[test]
    fn what_is_kept_is_bounded() {
        let wordings = Wordings::default();
        for number in 0..10 * TEXTS {
            assert_eq!(wordings.of(&format!("SELECT * FROM t{number}")).summary, format!("SELECT t{number}"));
            assert!(kept(&wordings) <= TEXTS);
        }
        let before = kept(&wordings);
        let long = wordings.of(&format!("INSERT INTO t VALUES ('{}')", "x".repeat(LONGEST)));
        assert_eq!((&*long.summary, kept(&wordings)), ("INSERT t", before));
    }
}
