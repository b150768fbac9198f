//! A connection that has left its pool.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_postgres::Client;

use crate::physical::About;
use crate::session::Session;

/// A connection of its own that no pool knows any more: the driver's client, with its verbs. It ends when it is dropped.
pub struct Detached {
    session: Arc<Session>,
    about: Arc<About>,
}

impl Detached {
    pub(crate) fn new(session: Arc<Session>, about: &Arc<About>) -> Self {
        about.detached.fetch_add(1, Ordering::SeqCst);
        Self { session, about: Arc::clone(about) }
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        self.about.detached.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Deref for Detached {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.session.client
    }
}

impl std::fmt::Debug for Detached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detached").field("process_id", &self.session.wire.process().0).finish_non_exhaustive()
    }
}
