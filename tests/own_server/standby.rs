//! A COMMIT that was to wait for a standby and did not.

use std::time::Duration;

use db_core::{Executor, Query};
use db_pool::{Pool, Settings};

use crate::support::{Lines, client, eventually, own_server};

/// The server says that it succeeded, and only a warning says that no standby has it.
#[tokio::test]
async fn a_commit_that_was_cancelled_while_it_waited_is_told() {
    let server = own_server().await;
    let aside = client(server.url()).await;
    aside.batch_execute("CREATE TABLE t (n int)").await.expect("a table");
    aside.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.expect("set");
    aside.batch_execute("SELECT pg_reload_conf()").await.expect("reloaded");
    let standby: tokio_postgres::Config = server.url().parse().expect("a URL");

    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _log = tracing::subscriber::set_default(subscriber);
    let mut settings = Settings::default();
    settings.statement_timeout = Duration::ZERO;
    let pool = Pool::open(standby, settings).await.expect("a pool");
    eventually("the setting is in force", async || {
        pool.one::<String>("SHOW synchronous_standby_names", &[]).await.expect("setting") == "nobody"
    })
    .await;
    let cancelled = async {
        let waiting = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        eventually("it waits", async || !aside.query(waiting, &[]).await.expect("look").is_empty()).await;
    };
    let write = pool.tx(async |tx| tx.execute("INSERT INTO t VALUES (1)", &[]).await);
    let (written, ()) = tokio::join!(write, cancelled);
    assert_eq!(written.expect("it took effect"), 1);
    assert!(lines.text().contains("a COMMIT did not wait for its standby"), "{}", lines.text());
}
