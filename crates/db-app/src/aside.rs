//! A connection beside the pool, to the server that the pool goes to: kept until it is closed, or the pool turns to another server.

use std::sync::Arc;
use std::time::Duration;

use db_core::Result;
use db_pool::Pool;
use tokio::sync::Mutex;
use tokio_postgres::Client;

/// A place for such a connection.
#[derive(Debug)]
pub(crate) struct Aside {
    /// As which it is shown on the server.
    name: &'static str,
    pool: Pool,
    /// With how often the pool had been severed by then.
    client: Mutex<Option<(u64, Arc<Client>)>>,
}

impl Aside {
    pub(crate) fn new(name: &'static str, pool: &Pool) -> Self {
        Self { name, pool: pool.clone(), client: Mutex::new(None) }
    }

    /// The connection, opened anew when it is gone or goes elsewhere.
    ///
    /// # Errors
    /// As [`Target::connect`](db_pool::Target::connect), which has a limit of time.
    pub(crate) async fn client(&self) -> Result<Arc<Client>> {
        let mut slot = self.client.lock().await;
        // Before the target: what is severed meanwhile is opened anew the next time.
        let severed = self.pool.severed();
        let target = self.pool.target()?.with_application_name(self.name);
        if let Some((severed_by_then, client)) = &*slot
            && !client.is_closed()
            && *severed_by_then == severed
        {
            return Ok(Arc::clone(client));
        }
        // Sooner than the system would, a connection whose path is gone must be replaced.
        let target = target.with_tcp_user_timeout(Duration::from_secs(10));
        let client = Arc::new(target.connect().await?);
        *slot = Some((severed, Arc::clone(&client)));
        Ok(client)
    }

    /// Closes it.
    pub(crate) fn close(&self) {
        // Whoever connects one just now drops it with the rest.
        if let Ok(mut slot) = self.client.try_lock() {
            *slot = None;
        }
    }
}
