//! What is known of each statement: the attributes of its operations. Bounded, whatever is run.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use db_core::query_summary;
use opentelemetry::KeyValue;

use crate::attributes::of_server;
use crate::names::attribute;

/// How many summaries are told apart; the others are [`OTHER`].
pub(crate) const SUMMARIES: usize = 200;

/// How many texts are remembered for each server. When there are more, all are forgotten: what is still run comes back, what
/// never was the same twice does not.
const TEXTS: usize = 1024;

/// The longest text that is remembered, in bytes: one that is longer was put together by a program, and hardly comes again.
const LONGEST: usize = 4096;

/// What stands for words beyond those that are told apart.
const OTHER: &str = "other";

/// The statements of one server.
#[derive(Debug)]
pub(crate) struct Statements {
    /// What all operations there have in common.
    common: Vec<KeyValue>,
    /// The summaries, on all servers.
    seen: Arc<Distinct>,
    known: RwLock<HashMap<Box<str>, Box<[KeyValue]>>>,
}

/// Words that are told apart, up to so many.
#[derive(Debug)]
pub(crate) struct Distinct {
    most: usize,
    seen: Mutex<HashSet<String>>,
}

impl Distinct {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, seen: Mutex::default() }
    }

    /// The word itself while there is room for it.
    pub(crate) fn admit(&self, word: String) -> String {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&word) {
            return word;
        }
        if seen.len() >= self.most {
            return OTHER.to_owned();
        }
        seen.insert(word.clone());
        word
    }
}

impl Statements {
    pub(crate) fn new(database: &str, endpoint: &str, seen: Arc<Distinct>) -> Self {
        let mut common = vec![
            KeyValue::new(attribute::SYSTEM_NAME, "postgresql"),
            KeyValue::new(attribute::NAMESPACE, database.to_owned()),
        ];
        common.extend(of_server(endpoint));
        Self { common, seen, known: RwLock::default() }
    }

    /// Gives `record` the attributes of an operation that went well. Nothing else may be asked for in it: a lock is held, which
    /// costs less than a count of references that every thread writes to.
    pub(crate) fn with_attributes<T>(&self, sql: &str, record: impl FnOnce(&[KeyValue]) -> T) -> T {
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(sql) {
            return record(known);
        }
        let summary = KeyValue::new(attribute::QUERY_SUMMARY, self.seen.admit(query_summary(sql)));
        let attributes: Box<[KeyValue]> = self.common.iter().cloned().chain([summary]).collect();
        let recorded = record(&attributes);
        if sql.len() > LONGEST {
            return recorded;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TEXTS {
            known.clear();
        }
        known.insert(sql.into(), attributes);
        recorded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(statements: &Statements, sql: &str) -> String {
        statements.with_attributes(sql, |all| all.last().expect("a summary").value.as_str().into_owned())
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let statements = Statements::new("shop", "h:5432", Arc::new(Distinct::new(SUMMARIES)));
        for number in 0..10_000 {
            let expect = if number < 200 { format!("SELECT t{number}") } else { "other".to_owned() };
            assert_eq!(summary(&statements, &format!("SELECT * FROM t{number}")), expect);
        }
        assert!(statements.known.read().expect("lock").len() <= TEXTS);
        assert_eq!(
            summary(&statements, "SELECT 1 FROM t7"),
            "SELECT t7",
            "one that was seen is told apart for ever"
        );
    }

    #[test]
    fn long_texts_are_not_remembered() {
        let statements = Statements::new("shop", "h:5432", Arc::new(Distinct::new(SUMMARIES)));
        let long = format!("INSERT INTO t VALUES ('{}')", "x".repeat(LONGEST));
        assert_eq!(summary(&statements, &long), "INSERT t");
        assert!(statements.known.read().expect("lock").is_empty());
    }

    #[test]
    fn literals_make_no_difference() {
        let statements = Statements::new("shop", "h:5432", Arc::new(Distinct::new(SUMMARIES)));
        let of = |number: i32| summary(&statements, &format!("SELECT * FROM t WHERE id = {number}"));
        assert_eq!((of(1), of(2)), ("SELECT t".to_owned(), "SELECT t".to_owned()));
        assert_eq!(statements.seen.seen.lock().expect("lock").len(), 1);
    }
}
