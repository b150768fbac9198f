//! The server that a pool goes to, as the monitor sees it: over one connection of its own, opened like every other, so that what
//! it sees does not depend on how busy the pool is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Finding, Probe, Result};
use db_health::ExecutorProbe;
use db_pool::Pool;
use tokio::sync::Mutex;
use tokio_postgres::Client;

/// A probe of a pool's server.
pub(crate) struct Watched {
    name: &'static str,
    pool: Pool,
    /// Kept until it is closed, also when a look is given up: a server that answers nothing is asked again on the same
    /// connection, and no second one is left behind. The driver throws late answers away.
    client: Mutex<Option<Seen>>,
}

/// A connection, and where it goes.
struct Seen {
    endpoint: String,
    client: Arc<Client>,
}

impl Watched {
    pub(crate) fn new(name: &'static str, pool: &Pool) -> Self {
        Self { name, pool: pool.clone(), client: Mutex::new(None) }
    }

    /// The connection, opened anew when it is gone, or the pool has turned to another server.
    pub(crate) async fn client(&self) -> Result<Arc<Client>> {
        let mut slot = self.client.lock().await;
        let endpoint = self.pool.endpoint();
        let is_current = |seen: &&Seen| !seen.client.is_closed() && seen.endpoint == endpoint;
        if let Some(seen) = slot.as_ref().filter(is_current) {
            return Ok(Arc::clone(&seen.client));
        }
        let target = self.pool.target().with_application_name("db health");
        // Sooner than the system would, a connection whose path is gone must be replaced.
        let target = target.with_tcp_user_timeout(Duration::from_secs(10));
        let client = Arc::new(target.connect().await?);
        *slot = Some(Seen { endpoint: target.endpoint(), client: Arc::clone(&client) });
        Ok(client)
    }
}

#[async_trait]
impl Probe for Watched {
    fn name(&self) -> &str {
        self.name
    }

    async fn check(&self) -> Result<Finding> {
        ExecutorProbe::new(self.name, self.client().await?).check().await
    }
}
