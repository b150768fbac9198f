//! The exact resolver: whatever became of the transaction, its answer is right, and stays.

use std::time::Duration;

use async_trait::async_trait;
use db_core::{
    Action, Cause, Error, Executor, Kind, Operation, Outcome, Params, Phase, Query, Result, Row, RowStream,
    Signal, SqlState,
};
use db_retry::{Marker, Resolution};
use db_testkit::TestDatabase;
use tokio_postgres::Client;

use super::{outside_of_a_transaction, pid};
use crate::support::{client, database, pool};

const SOON: Duration = Duration::from_millis(50);
const PATIENT: Duration = Duration::from_secs(10);

/// A database with the table, a connection for the transaction, and one to ask by.
async fn scene() -> (TestDatabase, Client, Client) {
    let database = database().await;
    let transaction = client(database.url()).await;
    transaction.batch_execute(Marker::TABLE).await.expect("the table");
    transaction.batch_execute(Marker::TABLE).await.expect("making it twice changes nothing");
    let asks = client(database.url()).await;
    (database, transaction, asks)
}

/// Begins a transaction that carries a marker.
async fn begin(client: &Client) -> Marker {
    let marker = Marker::new();
    client.batch_execute("BEGIN").await.expect("begin");
    client.batch_execute(&marker.enlist()).await.expect("enlist");
    marker
}

/// A14: a COMMIT whose answer was lost is found to have committed, by each who asks.
#[tokio::test]
async fn committed() {
    let (_database, transaction, asks) = scene().await;
    let marker = begin(&transaction).await;
    transaction.batch_execute("COMMIT").await.expect("commit");
    for _ in 0..2 {
        assert_eq!(marker.resolve(&asks, SOON).await.expect("an answer"), Resolution::Committed);
    }
    assert_eq!(marker.resolve(&transaction, SOON).await.expect("an answer"), Resolution::Committed);
    outside_of_a_transaction(&transaction, pid(&asks).await).await;
}

/// A14: one that did not commit is found to be rolled back, by each who asks.
#[tokio::test]
async fn rolled_back() {
    let (_database, transaction, asks) = scene().await;
    let marker = begin(&transaction).await;
    transaction.batch_execute("ROLLBACK").await.expect("rollback");
    for _ in 0..2 {
        assert_eq!(marker.resolve(&asks, SOON).await.expect("an answer"), Resolution::RolledBack);
    }
    // Also when its text came by way of another process.
    let copy: Marker = marker.to_string().parse().expect("a marker");
    assert_eq!(copy.resolve(&transaction, SOON).await.expect("an answer"), Resolution::RolledBack);
}

#[tokio::test]
async fn still_running() {
    let (_database, transaction, asks) = scene().await;
    let marker = begin(&transaction).await;
    assert_eq!(marker.resolve(&asks, SOON).await.expect("an answer"), Resolution::Running);
    outside_of_a_transaction(&transaction, pid(&asks).await).await;
    transaction.batch_execute("COMMIT").await.expect("asking did not harm it");
    assert_eq!(marker.resolve(&asks, SOON).await.expect("an answer"), Resolution::Committed);
}

#[tokio::test]
async fn asking_waits_for_a_transaction_that_is_about_to_end() {
    for (end, expect) in [("COMMIT", Resolution::Committed), ("ROLLBACK", Resolution::RolledBack)] {
        let (database, transaction, asks) = scene().await;
        // Under this level it would not see the row that it waited for.
        asks.batch_execute("SET default_transaction_isolation = 'serializable'").await.expect("set");
        let marker = begin(&transaction).await;
        let asked_by = pid(&asks).await;
        let answer = tokio::spawn(async move { marker.resolve(&asks, PATIENT).await });
        let watcher = client(database.url()).await;
        crate::support::eventually("it waits", async || {
            let waits = "SELECT cardinality(pg_blocking_pids($1)) > 0";
            watcher.one::<bool>(waits, &[&asked_by]).await.expect("the locks")
        })
        .await;
        transaction.batch_execute(end).await.expect(end);
        assert_eq!(answer.await.expect("no panic").expect("an answer"), expect);
    }
}

/// The transaction that was given up arrives late: it must not commit.
#[tokio::test]
async fn what_arrives_late_is_fenced_out() {
    let (_database, transaction, asks) = scene().await;
    let marker = Marker::new();
    transaction.batch_execute("BEGIN; CREATE TABLE late (id int)").await.expect("begin");
    assert_eq!(marker.resolve(&asks, SOON).await.expect("an answer"), Resolution::RolledBack);
    let error = Executor::batch_execute(&transaction, &marker.enlist()).await.expect_err("fenced out");
    assert_eq!(error.sqlstate().expect("a code").as_str(), "23505");
    transaction.batch_execute("COMMIT").await.ok();
    let error = asks.fetch("SELECT 1 FROM late", &[]).await.expect_err("it did not commit");
    assert_eq!(error.kind(), Kind::Schema, "{error}");
}

/// What the sender of the fence's own COMMIT is told.
struct LosesCommit {
    client: Client,
    arrives: bool,
}

#[async_trait]
impl Executor for LosesCommit {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.client.fetch(sql, params).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        self.client.fetch_stream(sql, params).await
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        Executor::execute(&self.client, sql, params).await
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        if sql == "COMMIT" {
            if self.arrives {
                Executor::batch_execute(&self.client, sql).await?;
            }
            return Err(Error::new(Signal::new(Cause::Lost, Phase::Execute), "connection reset"));
        }
        Executor::batch_execute(&self.client, sql).await
    }
}

/// Nobody is told that it is rolled back before the fence stands; who asks again gets the same answer.
#[tokio::test]
async fn the_commit_of_the_fence_is_lost() {
    for arrives in [true, false] {
        let (_database, transaction, asks) = scene().await;
        let marker = Marker::new();
        let asked_by = pid(&asks).await;
        let asks = LosesCommit { client: asks, arrives };
        let error = marker.resolve(&asks, SOON).await.expect_err("the fence is in doubt");
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        outside_of_a_transaction(&transaction, asked_by).await;
        for _ in 0..2 {
            assert_eq!(marker.resolve(&transaction, SOON).await.expect("an answer"), Resolution::RolledBack);
        }
    }
}

#[tokio::test]
async fn the_table_is_missing() {
    let database = database().await;
    let asks = client(database.url()).await;
    let marker = Marker::new();
    let error = marker.resolve(&asks, SOON).await.expect_err("no table");
    assert_eq!(error.kind(), Kind::Schema);
    let expect = format!(
        "cannot find out what became of transaction {marker}: db_tx_outcome, which Marker::TABLE creates: \
         relation \"db_tx_outcome\" does not exist (42P01)"
    );
    assert_eq!(error.to_string(), expect);
    let watcher = client(database.url()).await;
    outside_of_a_transaction(&watcher, pid(&asks).await).await;
    asks.batch_execute(Marker::TABLE).await.expect("the connection is of use");
}

/// A session that refuses to write asks all the same.
#[tokio::test]
async fn the_defaults_of_the_session_do_not_matter() {
    let (_database, transaction, asks) = scene().await;
    asks.batch_execute("SET default_transaction_read_only = on; SET lock_timeout = '1h'").await.expect("set");
    let marker = begin(&transaction).await;
    assert_eq!(marker.resolve(&asks, SOON).await.expect("an answer"), Resolution::Running);
    transaction.batch_execute("COMMIT").await.expect("commit");
    assert_eq!(marker.resolve(&asks, SOON).await.expect("an answer"), Resolution::Committed);
    assert_eq!(asks.one::<String>("SHOW lock_timeout", &[]).await.expect("as it was"), "1h");
}

#[tokio::test]
async fn a_connection_of_the_pool_asks() {
    let (database, transaction, _asks) = scene().await;
    let marker = begin(&transaction).await;
    transaction.batch_execute("COMMIT").await.expect("commit");
    let pool = pool(&database, |_| ()).await;
    let conn = pool.acquire().await.expect("a connection");
    assert_eq!(marker.resolve(&conn, SOON).await.expect("an answer"), Resolution::Committed);
}

#[tokio::test]
async fn an_old_marker_is_refused_and_old_rows_are_cleaned() {
    let (_database, transaction, asks) = scene().await;
    // 2024-11-14
    let old: Marker = "01932c07-209e-7000-8000-000000000000".parse().expect("a marker");
    let error = old.resolve(&asks, SOON).await.expect_err("too old");
    assert_eq!(error.advice().on(Operation::Read), Action::Never);
    assert!(error.to_string().contains("hours old"), "{error}");

    let kept = begin(&transaction).await;
    transaction.batch_execute("COMMIT").await.expect("commit");
    let old_rows = "INSERT INTO db_tx_outcome (id, at) \
                    SELECT gen_random_uuid(), now() - interval '25 hours' FROM generate_series(1, 10001)";
    transaction.batch_execute(old_rows).await.expect("old rows");
    let day = Duration::from_secs(24 * 3_600);
    assert!(Marker::clean(&asks, day / 2).await.is_err(), "younger rows are still asked for");
    assert_eq!(Marker::clean(&asks, day).await.expect("cleaned"), 10_001);
    assert_eq!(Marker::clean(&asks, day).await.expect("cleaned"), 0);
    assert_eq!(kept.resolve(&asks, SOON).await.expect("an answer"), Resolution::Committed);
}

#[tokio::test]
async fn a_connection_that_is_gone_is_an_error() {
    let (database, _transaction, asks) = scene().await;
    let watcher = client(database.url()).await;
    watcher.execute("SELECT pg_terminate_backend($1)", &[&pid(&asks).await]).await.expect("ended");
    let error = Marker::new().resolve(&asks, SOON).await.expect_err("gone");
    assert_eq!(error.kind(), Kind::Connection, "{error}");
    assert_ne!(error.sqlstate(), Some(SqlState::LOCK_NOT_AVAILABLE));
}
