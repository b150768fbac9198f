//! How far the cluster is from running out of transaction ids.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use db_core::{Executor, Finding, FromRow, Probe, Query, Result};

/// All databases: the worst of them stops the whole cluster.
const SQL: &str = "
    SELECT (array_agg(datname::text ORDER BY age(datfrozenxid) DESC))[1] AS database,
           max(age(datfrozenxid))::int8 AS transactions,
           max(mxid_age(datminmxid))::int8 AS multixacts
    FROM pg_database";

/// At this age the server gives out no new ids, 3 million before it would run into old ones. Older versions go on for 2 million
/// more, which are gone in an hour.
const REFUSED: i64 = (1 << 31) - 3_000_000;

/// Looks at the age of the oldest transaction id and multixact id that vacuum has not frozen: degraded with `wraparound` above a
/// limit, unhealthy with it when the server refuses writes.
///
/// Anybody may read the ages. They move slowly: an interval of a minute will do.
pub struct WraparoundProbe {
    name: String,
    executor: Arc<dyn Executor>,
    limit: i64,
}

/// The oldest ids, and the database with the older transaction id.
#[derive(FromRow)]
struct Ages {
    database: String,
    transactions: i64,
    multixacts: i64,
}

impl WraparoundProbe {
    /// A probe through `executor`.
    #[must_use]
    pub fn new(name: impl Into<String>, executor: Arc<dyn Executor>) -> Self {
        Self { name: name.into(), executor, limit: 1_000_000_000 }
    }

    /// The age, in ids, from which on somebody should look. Default 1,000,000,000: vacuum is forced to freeze at 200 million
    /// (400 million for multixacts), so whatever is five times as old has been in its way for long, and half of all ids are
    /// left to find out what it is.
    #[must_use]
    pub fn limit(mut self, age: u32) -> Self {
        self.limit = age.into();
        self
    }
}

#[async_trait]
impl Probe for WraparoundProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        Ok(judge(&self.executor.one::<Ages>(SQL, &[]).await?, self.limit))
    }
}

impl fmt::Debug for WraparoundProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WraparoundProbe")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

fn judge(ages: &Ages, limit: i64) -> Finding {
    let finding = match ages.transactions.max(ages.multixacts) {
        age if age >= REFUSED => Finding::unhealthy("wraparound"),
        age if age > limit => Finding::degraded("wraparound"),
        _ => Finding::healthy(),
    };
    finding
        .with("transaction_age", ages.transactions)
        .with("multixact_age", ages.multixacts)
        .with("database", ages.database.as_str())
        .with("left", (REFUSED - ages.transactions).max(0))
}

#[cfg(test)]
mod tests {
    use db_core::Status;

    use super::*;

    #[test]
    fn ages() {
        let check = |transactions, multixacts, expect| {
            let ages = Ages { database: "shop".to_owned(), transactions, multixacts };
            assert_eq!(judge(&ages, 1_000_000_000).status, expect, "{transactions} {multixacts}");
        };
        check(200_000_000, 0, Status::Healthy);
        check(1_000_000_000, 0, Status::Healthy);
        check(1_000_000_001, 0, Status::Degraded);
        check(0, 1_000_000_001, Status::Degraded);
        check(2_144_483_647, 0, Status::Degraded);
        check(2_144_483_648, 0, Status::Unhealthy);
    }
}
