//! A connection beside the pool, to the server that the pool goes to: kept until it is closed, or the pool turns to another server.

use std::sync::Arc;
use std::time::Duration;

use db_core::{Cause, Error, Phase, Result, Signal};
use db_pool::Pool;
use tokio::sync::Mutex;
use tokio_postgres::Client;
use tokio_util::task::AbortOnDropHandle;

/// A place for such a connection.
#[derive(Debug)]
pub(crate) struct Aside {
    /// As which it is shown on the server.
    name: &'static str,
    pool: Pool,
    /// With how often the pool had been severed by then.
    slot: Mutex<Slot>,
}

/// A connection, and one that is being opened.
#[derive(Debug, Default)]
struct Slot {
    open: Option<(u64, Arc<Client>)>,
    /// Opened by a task of its own: who asks for it has less time than a far server may take, and must find it the next time.
    opening: Option<(u64, AbortOnDropHandle<Result<Client>>)>,
}

impl Aside {
    pub(crate) fn new(name: &'static str, pool: &Pool) -> Self {
        Self { name, pool: pool.clone(), slot: Mutex::default() }
    }

    /// The connection, opened anew when it is gone or goes elsewhere.
    ///
    /// # Errors
    /// As [`Target::connect`](db_pool::Target::connect), which has a limit of time.
    ///
    /// # Cancel safety
    /// What was being opened goes on being opened, for whoever asks next.
    pub(crate) async fn client(&self) -> Result<Arc<Client>> {
        let mut slot = self.slot.lock().await;
        // Before the target: what is severed meanwhile is opened anew the next time.
        let severed = self.pool.severed();
        if let Some((severed_by_then, client)) = &slot.open
            && !client.is_closed()
            && *severed_by_then == severed
        {
            return Ok(Arc::clone(client));
        }
        slot.open = None;
        if slot.opening.as_ref().is_none_or(|(severed_by_then, _)| *severed_by_then != severed) {
            // Sooner than the system would, a connection whose path is gone must be replaced.
            let target = self.pool.target()?.with_application_name(self.name);
            let target = target.with_tcp_user_timeout(Duration::from_secs(10));
            let opening = tokio::spawn(async move { target.connect().await });
            slot.opening = Some((severed, AbortOnDropHandle::new(opening)));
        }
        let Some((severed, opening)) = &mut slot.opening else { unreachable!("it was just begun") };
        let (severed, opened) = (*severed, opening.await);
        slot.opening = None;
        let panicked = |_| Error::new(Signal::new(Cause::Defect, Phase::Connect), "connecting panicked");
        let client = Arc::new(opened.map_err(panicked)??);
        slot.open = Some((severed, Arc::clone(&client)));
        Ok(client)
    }

    /// Closes it.
    pub(crate) fn close(&self) {
        // Whoever connects one just now drops it with the rest.
        if let Ok(mut slot) = self.slot.try_lock() {
            *slot = Slot::default();
        }
    }
}
