//! What a handler holds: the newest token of its request. How the token came and how it goes is in `service`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Extension;
use axum::extract::FromRequestParts;
use axum::extract::rejection::ExtensionRejection;
use db_cluster::ConsistencyToken;
use db_core::Result;
use http::request::Parts;

use crate::{Database, Reads};

/// What a request must see, and what it wrote. Cheap to clone; all clones are one.
///
/// A handler of axum takes it as an argument; anybody else finds it among the extensions of the request. The header of the answer
/// has what was noted until the answer began: what a body that is streamed writes later is not in it.
#[derive(Clone, Debug, Default)]
pub struct Consistency {
    newest: Arc<Mutex<Option<ConsistencyToken>>>,
}

impl Consistency {
    /// The newest token that still counts: the request's own, or one that was noted since.
    #[must_use]
    pub fn token(&self) -> Option<ConsistencyToken> {
        self.newest().filter(|token| !token.is_expired())
    }

    /// Notes what was written, so that later reads of this request see it, and those of whoever gets the answer. The later of two
    /// histories wins; of different clusters the one that counts for longer.
    pub fn wrote(&self, token: ConsistencyToken) {
        let mut newest = self.newest();
        *newest = Some(newest.map_or(token, |older| token.max(older)));
    }

    /// Asks `database` for a token of everything that was committed up to now, and notes it. To be called after the COMMIT.
    ///
    /// # Errors
    /// As [`Database::write_token`]. What was written stays written: whoever does not want to fail for that can go on, and the
    /// next read may then be stale.
    ///
    /// # Cancel safety
    /// Dropping the future notes nothing.
    pub async fn wrote_to(&self, database: &Database) -> Result<()> {
        self.wrote(database.write_token().await?);
        Ok(())
    }

    /// [`Database::reads`], after the token if there is one.
    #[must_use]
    pub fn reads<'d>(&self, database: &'d Database) -> Reads<'d> {
        match self.token() {
            Some(token) => database.reads().after(token),
            None => database.reads(),
        }
    }

    /// Nobody panics with the lock held, and what it holds is whole at any moment.
    fn newest(&self) -> MutexGuard<'_, Option<ConsistencyToken>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the [layer](super::ConsistencyLayer) the request is answered with 500, by axum.
impl<S: Send + Sync> FromRequestParts<S> for Consistency {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtensionRejection> {
        Extension::from_request_parts(parts, state).await.map(|Extension(this)| this)
    }
}
