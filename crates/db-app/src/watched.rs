//! The server as the monitor sees it: over one connection of its own, opened like every other, so that what it sees does not
//! depend on how busy the pool is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Finding, Probe, Result};
use db_health::ExecutorProbe;
use db_pool::Target;
use tokio::sync::Mutex;
use tokio_postgres::Client;

/// A probe of the server at a target.
pub(crate) struct Watched {
    name: &'static str,
    target: Target,
    /// Kept until it is closed, also when a look is given up: a server that answers nothing is asked again on the same
    /// connection, and no second one is left behind. The driver throws late answers away.
    client: Mutex<Option<Arc<Client>>>,
}

impl Watched {
    pub(crate) fn new(name: &'static str, target: Target) -> Self {
        // Sooner than the system would, a connection whose path is gone must be replaced.
        let target = target.with_application_name("db health").with_tcp_user_timeout(Duration::from_secs(10));
        Self { name, target, client: Mutex::new(None) }
    }

    /// The connection, opened anew when it is gone.
    pub(crate) async fn client(&self) -> Result<Arc<Client>> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.target.connect().await?);
        *slot = Some(Arc::clone(&client));
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
