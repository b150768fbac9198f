//! The cheap resolver: what it says is right, or it says that it cannot say.

use db_core::Query;
use db_retry::{Doubt, Resolution, Xid};
use db_testkit::TestDatabase;
use tokio_postgres::{Client, Row};

use crate::support::{client, database};

/// A sentinel, a connection for the transaction, and one to ask by.
async fn scene() -> (TestDatabase, [Client; 3]) {
    let database = database().await;
    let sentinel = client(database.url()).await;
    let others = (client(database.url()).await, client(database.url()).await);
    (database, [sentinel, others.0, others.1])
}

pub(super) async fn begin(client: &Client) -> Xid {
    client.batch_execute("BEGIN").await.expect("begin");
    let row: Row = client.one(Xid::enlist(), &[]).await.expect("enlist");
    Xid::read(row).expect("its row")
}

/// A14: what became of a COMMIT whose answer was lost.
#[tokio::test]
async fn the_status_of_a_transaction() {
    for (end, expect) in [("COMMIT", Resolution::Committed), ("ROLLBACK", Resolution::RolledBack)] {
        let (_database, [sentinel, transaction, asks]) = scene().await;
        let xid = begin(&transaction).await;
        let running = xid.resolve(&asks, &sentinel).await.expect("an answer");
        assert_eq!(running, Resolution::Running);
        transaction.batch_execute(end).await.expect(end);
        for _ in 0..2 {
            assert_eq!(xid.resolve(&asks, &sentinel).await.expect("an answer"), expect, "{end}");
        }
        // The sentinel may ask as well.
        assert_eq!(xid.resolve(&sentinel, &sentinel).await.expect("an answer"), expect, "{end}");
    }
}

/// A role that may log in, and nothing else.
#[tokio::test]
async fn a_role_without_privileges_may_enlist_and_ask() {
    let (database, [admin, ..]) = scene().await;
    let role = format!("nobody_{}", database.name());
    admin.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'nobody'")).await.expect("a role");
    let mut config = database.config();
    config.user(&role).password("nobody");
    let connect = async || {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("connect");
        tokio::spawn(connection);
        client
    };
    let (sentinel, transaction) = (connect().await, connect().await);
    let xid = begin(&transaction).await;
    transaction.batch_execute("COMMIT").await.expect("commit");
    assert_eq!(xid.resolve(&transaction, &sentinel).await.expect("an answer"), Resolution::Committed);

    // To a role that it has not logged in as, a session does not show its age.
    admin.batch_execute(&format!("SET ROLE {role}")).await.expect("set role");
    let answer = xid.resolve(&transaction, &admin).await.expect("an answer");
    assert_eq!(answer, Resolution::Unknown(Doubt::SentinelTooYoung));
    drop((sentinel, transaction));
    admin.batch_execute(&format!("RESET ROLE; DROP ROLE {role}")).await.expect("gone again");
}

#[tokio::test]
async fn a_sentinel_that_proves_nothing() {
    let (database, [sentinel, transaction, asks]) = scene().await;
    let xid = begin(&transaction).await;
    transaction.batch_execute("COMMIT").await.expect("commit");

    let young = client(database.url()).await;
    let answer = xid.resolve(&asks, &young).await.expect("an answer");
    assert_eq!(answer, Resolution::Unknown(Doubt::SentinelTooYoung));

    let pid = super::pid(&sentinel).await;
    asks.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("ended");
    let answer = xid.resolve(&asks, &sentinel).await.expect("an answer");
    assert_eq!(answer, Resolution::Unknown(Doubt::SentinelLost));
}

#[tokio::test]
async fn the_row_of_another_statement_is_an_error() {
    let (_database, [_, transaction, _]) = scene().await;
    let row: Row = transaction.one("SELECT 1", &[]).await.expect("a row");
    Xid::read(row).expect_err("it is no row of its own");
}
