//! What became of a COMMIT whose answer was lost, asked of a real server.

mod marker;
mod own_server;
mod xid;

use db_core::Query;
use tokio_postgres::Client;

use crate::support::eventually;

/// The process of a connection on the server.
async fn pid(client: &Client) -> i32 {
    client.one("SELECT pg_backend_pid()", &[]).await.expect("its process")
}

/// Waits until the server sees the connection outside of a transaction, or not at all.
async fn outside_of_a_transaction(watcher: &Client, pid: i32) {
    eventually("outside of a transaction", async || {
        let state: Option<String> = watcher
            .one_or_none("SELECT state FROM pg_stat_activity WHERE pid = $1", &[&pid])
            .await
            .expect("the activity");
        matches!(state.as_deref(), None | Some("idle"))
    })
    .await;
}
