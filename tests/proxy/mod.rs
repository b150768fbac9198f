//! The proxy of `db-testkit` between a real driver and a real server: does it break what it was told to, and nothing else?

mod commits;
mod conditions;
mod cuts;

use std::time::Duration;

use db_testkit::{Proxy, TestDatabase};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use crate::support::{client, database};

/// Far longer than anything takes.
const LIMIT: Duration = Duration::from_secs(20);

/// A database with an empty table, a look at it from the side, and a proxy in front of it.
struct Scene {
    database: TestDatabase,
    aside: Client,
    proxy: Proxy,
}

impl Scene {
    async fn new() -> Self {
        let database = database().await;
        let aside = client(database.url()).await;
        aside.batch_execute("CREATE TABLE t (n int)").await.expect("a table");
        let proxy = Proxy::to(&database).await.expect("a proxy");
        Self { database, aside, proxy }
    }

    /// A connection through the proxy.
    async fn client(&self) -> Client {
        self.client_and_socket().await.0
    }

    /// The same, with the task that holds its socket: the driver keeps it open while an answer is owed.
    async fn client_and_socket(&self) -> (Client, AbortHandle) {
        let (client, connection) = self.proxy.config().connect(NoTls).await.expect("connect");
        (client, tokio::spawn(connection).abort_handle())
    }

    async fn rows(&self) -> i64 {
        self.aside.query_one("SELECT count(*) FROM t", &[]).await.expect("look").get(0)
    }

    /// Waits until the server has no session of the proxy's clients any more: what it was sent is done or undone.
    async fn settled(&self) {
        let sessions = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        let sessions = async || self.aside.query_one(sessions, &[]).await.expect("look").get::<_, i64>(0);
        crate::support::eventually("no session is left", async || sessions().await == 0).await;
    }
}

/// What happens within the limit.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LIMIT, what).await.expect("within the limit")
}
