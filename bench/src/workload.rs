//! What the contestants do: the same statements on the same tables with the same keys.

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::contestants::Contestant;

/// Rows of the table that is read and updated.
pub(crate) const ROWS: i64 = 100_000;

pub(crate) const SELECT: &str = "SELECT n, label FROM items WHERE id = $1";
pub(crate) const UPDATE: &str = "UPDATE items SET n = n + 1 WHERE id = $1";
pub(crate) const INSERT: &str = "INSERT INTO journal (item, n) VALUES ($1, $2)";

/// What a select gives, decoded: a number and a text.
pub(crate) type Item = (i64, String);

/// One operation, done over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// One row by its primary key.
    Select,
    /// BEGIN; UPDATE by key; SELECT by key; INSERT of what was read; COMMIT.
    Transaction,
}

impl Workload {
    pub(crate) const ALL: [Self; 2] = [Self::Select, Self::Transaction];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Select => "select by primary key",
            Self::Transaction => "transaction of three statements",
        }
    }

    pub(crate) async fn run_on<C: Contestant>(self, contestant: &C, key: i64) -> Result<()> {
        match self {
            Self::Select => contestant.select(key).await.map(drop),
            Self::Transaction => contestant.transaction(key).await,
        }
    }
}

/// Random keys, the same for every contestant.
#[derive(Debug)]
pub(crate) struct Keys(StdRng);

impl Keys {
    pub(crate) fn of_task(task: usize) -> Self {
        Self(StdRng::seed_from_u64(task as u64))
    }

    pub(crate) fn draw(&mut self) -> i64 {
        self.0.random_range(1..=ROWS)
    }
}
