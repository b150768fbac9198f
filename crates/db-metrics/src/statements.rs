//! What is known of each statement: the attributes and series of its operations. Bounded, whatever is run.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use db_core::query_summary;
use opentelemetry::KeyValue;

use crate::attributes::of_server;
use crate::instruments::Instruments;
use crate::names::attribute;
use crate::series::Series;

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
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    texts: HashMap<Box<str>, Arc<Statement>>,
    /// By their summaries. Never forgotten: there are as many as series.
    summaries: HashMap<String, Arc<Statement>>,
}

/// All statements with one summary.
#[derive(Debug)]
pub(crate) struct Statement {
    /// The attributes of an operation that went well.
    pub(crate) attributes: Box<[KeyValue]>,
    duration: Series<f64>,
    rows: Series<u64>,
}

impl Statement {
    /// An operation that went well took so many seconds.
    pub(crate) fn took(&self, seconds: f64) {
        self.duration.record(seconds, &self.attributes);
    }

    /// An operation gave so many rows.
    pub(crate) fn gave(&self, rows: u64) {
        self.rows.record(rows, &self.attributes);
    }
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

    /// Gives `record` what is known of a statement. Nothing else may be asked for in it: a lock is held, which costs less than a
    /// count of references that every thread writes to.
    pub(crate) fn with<T>(
        &self,
        sql: &str,
        instruments: &Instruments,
        record: impl FnOnce(&Statement) -> T,
    ) -> T {
        if let Some(statement) = self.known.read().unwrap_or_else(PoisonError::into_inner).texts.get(sql) {
            return record(statement);
        }
        let statement = self.summarised(&self.seen.admit(query_summary(sql)), instruments);
        if sql.len() <= LONGEST {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if known.texts.len() >= TEXTS {
                known.texts.clear();
            }
            known.texts.insert(sql.into(), Arc::clone(&statement));
        }
        record(&statement)
    }

    /// What is known of all statements with a summary.
    fn summarised(&self, summary: &str, instruments: &Instruments) -> Arc<Statement> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(statement) = known.summaries.get(summary) {
            return Arc::clone(statement);
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(self.statement(summary, instruments));
        Arc::clone(known.summaries.entry(summary.to_owned()).or_insert_with(make))
    }

    fn statement(&self, summary: &str, instruments: &Instruments) -> Statement {
        let summary = KeyValue::new(attribute::QUERY_SUMMARY, summary.to_owned());
        Statement {
            attributes: self.common.iter().cloned().chain([summary]).collect(),
            duration: Series::of(&instruments.operation_duration),
            rows: Series::of(&instruments.returned_rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(statements: &Statements, sql: &str) -> String {
        let instruments = Instruments::of(&opentelemetry::global::meter("test"));
        let last = |statement: &Statement| statement.attributes.last().expect("a summary").value.clone();
        statements.with(sql, &instruments, last).as_str().into_owned()
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let statements = Statements::new("shop", "h:5432", Arc::new(Distinct::new(SUMMARIES)));
        for number in 0..10_000 {
            let expect = if number < 200 { format!("SELECT t{number}") } else { "other".to_owned() };
            assert_eq!(summary(&statements, &format!("SELECT * FROM t{number}")), expect);
        }
        let known = statements.known.read().expect("lock");
        assert!(known.texts.len() <= TEXTS);
        assert_eq!(known.summaries.len(), SUMMARIES + 1, "and the others");
        drop(known);
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
        assert!(statements.known.read().expect("lock").texts.is_empty());
    }

    #[test]
    fn literals_make_no_difference() {
        let statements = Statements::new("shop", "h:5432", Arc::new(Distinct::new(SUMMARIES)));
        let of = |number: i32| summary(&statements, &format!("SELECT * FROM t WHERE id = {number}"));
        assert_eq!((of(1), of(2)), ("SELECT t".to_owned(), "SELECT t".to_owned()));
        assert_eq!(statements.seen.seen.lock().expect("lock").len(), 1);
    }
}
