//! A pool whose connections are encrypted: cancelling goes the same way, and nothing else is different.

use std::time::Duration;

use db_core::{Executor, Query};
use db_pool::{Pool, TlsMode};
use tokio::time::timeout;

use super::server::TlsServer;
use crate::support::settings;

/// A12, E6: what is given up on an encrypted connection is cancelled by an encrypted request, since the server takes no
/// other, and the connection is used again.
#[tokio::test]
async fn a_cancel_is_encrypted_too() {
    let server = TlsServer::shared().await;
    let mut settings = settings();
    (settings.max, settings.min, settings.statement_timeout) = (1, 1, Duration::ZERO);
    let pool = Pool::open(server.target("tls_only", TlsMode::VerifyFull), settings).await.expect("a pool");
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(pool.one::<bool>(encrypted, &[]).await.expect("a value"));
    let conn = pool.acquire().await.expect("a connection");
    let pid = conn.process_id();
    let given_up = timeout(Duration::from_millis(100), conn.batch_execute("SELECT pg_sleep(60)")).await;
    assert!(given_up.is_err());
    drop(conn);
    let conn = timeout(Duration::from_secs(10), pool.acquire()).await.expect("soon").expect("a connection");
    assert_eq!(conn.one::<i32>("SELECT 7", &[]).await.expect("a value"), 7);
    assert_eq!(conn.process_id(), pid, "it is used again");
    drop(conn);
    assert_eq!(pool.stats().closed.total(), 0);
    pool.close(Duration::from_secs(5)).await.expect("close");
}
