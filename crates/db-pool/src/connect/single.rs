//! A single connection outside any pool: for probes that must see what a pool would hide, and for migrations.

use std::time::Duration;

use db_core::{Action, Error, Operation, Phase, Result};
use tokio_postgres::Client;

use super::{Ask, Connected, connect};
use crate::target::Target;

/// For a target that does not say how long to wait.
const LIMIT: Duration = Duration::from_secs(5);

impl Target {
    /// Opens a connection that belongs to no pool. It ends when the client is dropped; a task drives it until then.
    ///
    /// All of it, name resolution and TLS included, takes no longer than the target's `connect_timeout`, or 5 s. The
    /// client's own way to cancel a statement does not work: it knows nothing of how the connection was made.
    ///
    /// # Errors
    /// When no server can be reached, or none that suits; when TLS cannot be had as asked for; when the server refuses.
    /// A refusal of the credentials is reported to their provider, so that the next call asks for new ones.
    ///
    /// # Cancel safety
    /// Dropping the future closes what it opened.
    pub async fn connect(&self) -> Result<Client> {
        let limit = self.connect_timeout.filter(|limit| !limit.is_zero()).unwrap_or(LIMIT);
        let ask = Ask { options: None, application_name: None, limit };
        let Connected { client, connection, .. } = connect(self, &ask).await.map_err(|error| {
            if error.advice().on(Operation::Read) == Action::RefreshCredentials {
                self.credentials.refused();
            }
            error.context(format!("could not connect to {}", self.endpoint()))
        })?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                let error = Error::from_driver(&error, Phase::Execute);
                tracing::debug!(target: "db::pool", %error, "a connection outside the pools ended");
            }
        });
        Ok(client)
    }
}
