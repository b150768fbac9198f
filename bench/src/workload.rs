//! What the contestants do: the same statements on the same tables with the same keys. Which of them meet at what is in
//! [`course`](crate::course).

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::contestants::Contestant;

/// Rows of the table that is read and updated.
pub(crate) const ROWS: i64 = 100_000;

pub(crate) const SELECT: &str = "SELECT n, label FROM items WHERE id = $1";
pub(crate) const UPDATE: &str = "UPDATE items SET n = n + 1 WHERE id = $1";
pub(crate) const INSERT: &str = "INSERT INTO journal (item, n) VALUES ($1, $2)";
/// Keeps a connection for 50 ms and needs no processor for that.
pub(crate) const PAUSE: &str = "SELECT 1 FROM pg_sleep(0.05)";
const PAUSE_LENGTH: Duration = Duration::from_millis(50);

/// One of so many statements of a mixed load is a long one.
const ONE_IN: usize = 20;

/// What a select gives, decoded: a number and a text.
pub(crate) type Item = (i64, String);

/// What the tasks of a race do over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// One row by its primary key.
    Select,
    /// BEGIN; UPDATE by key; SELECT by key; INSERT of what was read; COMMIT.
    Transaction,
    /// The same statements, none of which waits for what another one gives: the INSERT has a number of its own.
    Batch,
    /// One row, in a transaction of its own.
    Insert,
    /// Every twentieth task does nothing but long statements, the others selects.
    MixedByTask,
    /// Each task draws before each statement: one in twenty is a long one.
    MixedByStatement,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Select,
    Transaction,
    Batch,
    Insert,
    /// The long statement. It is counted, and is no part of latencies and throughput.
    Pause,
}

impl Workload {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Select => "select by primary key",
            Self::Transaction => "transaction of three statements",
            Self::Batch => "three statements as a batch",
            Self::Insert => "insert by autocommit",
            Self::MixedByTask => "mixed by task, its selects",
            Self::MixedByStatement => "mixed by statement, its selects",
        }
    }

    /// What a task does next.
    pub(crate) fn next(self, keys: &mut Keys) -> Operation {
        match self {
            Self::Select => Operation::Select,
            Self::Transaction => Operation::Transaction,
            Self::Batch => Operation::Batch,
            Self::Insert => Operation::Insert,
            Self::MixedByTask if keys.task % ONE_IN == ONE_IN - 1 => Operation::Pause,
            Self::MixedByStatement if keys.random.random_range(0..ONE_IN) == 0 => Operation::Pause,
            Self::MixedByTask | Self::MixedByStatement => Operation::Select,
        }
    }

    /// Whether a task has anything to do that is measured.
    pub(crate) fn measures(self, task: usize) -> bool {
        self != Self::MixedByTask || task % ONE_IN != ONE_IN - 1
    }
}

impl Operation {
    pub(crate) async fn run_on<C: Contestant>(self, contestant: &C, key: i64) -> Result<()> {
        match self {
            Self::Select => contestant.select(key).await.map(drop),
            Self::Transaction => contestant.transaction(key).await,
            Self::Batch => contestant.batch(key).await,
            Self::Insert => contestant.insert(key, key).await,
            Self::Pause => {
                let begun = Instant::now();
                contestant.pause().await?;
                ensure!(begun.elapsed() >= PAUSE_LENGTH, "a long statement was not long");
                Ok(())
            }
        }
    }
}

/// Random keys, the same for every contestant.
#[derive(Debug)]
pub(crate) struct Keys {
    task: usize,
    random: StdRng,
}

impl Keys {
    pub(crate) fn of_task(task: usize) -> Self {
        Self { task, random: StdRng::seed_from_u64(task as u64) }
    }

    pub(crate) fn draw(&mut self) -> i64 {
        self.random.random_range(1..=ROWS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mixed load by task: one task in twenty is long, and stays so.
    #[test]
    fn every_twentieth_task_is_long() {
        let mixed = Workload::MixedByTask;
        let is_long = |task: &usize| mixed.next(&mut Keys::of_task(*task)) == Operation::Pause;
        let check = |tasks, expect| {
            assert_eq!((0..tasks).filter(is_long).count(), expect);
            assert!((0..tasks).all(|task| is_long(&task) != mixed.measures(task)), "{tasks}");
        };
        check(1, 0);
        check(64, 3);
        check(1_000, 50);
    }

    /// A mixed load by statement: about one in twenty is long, in each task.
    #[test]
    fn one_statement_in_twenty_is_long() {
        let mut keys = Keys::of_task(3);
        let mut draws = (0..10_000).map(|_| Workload::MixedByStatement.next(&mut keys));
        let long = draws.by_ref().filter(|operation| *operation == Operation::Pause).count();
        assert!((400..600).contains(&long), "{long}");
    }
}
