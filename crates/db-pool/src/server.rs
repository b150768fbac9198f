//! What a server says of itself when the pool is opened: the proof that the connection works.

use std::time::Duration;

use db_core::{Cause, Error, FromRow, Phase, Result, Signal};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::timeout;

use crate::session::Session;

/// The server behind a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServerInfo {
    /// For example `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// The server's clock when it was asked.
    pub time: Timestamp,
    /// Name of the database.
    pub database: String,
    /// Name of the role.
    pub user: String,
    /// Whether it is a standby, which takes no writes.
    pub is_standby: bool,
    /// The connections that it allows to ordinary roles: `max_connections` less those that it reserves.
    pub connection_limit: u32,
}

impl ServerInfo {
    /// Asks the server, for at most `limit`: one that let us in may still hang.
    pub(crate) async fn read(session: &Session, limit: Duration) -> Result<Self> {
        let silent = || {
            let signal = Signal::new(Cause::Lost, Phase::Connect);
            Error::new(signal, format!("connected, but the server gave no answer within {limit:?}"))
        };
        timeout(limit, Self::ask(session)).await.map_err(|_| silent())?
    }

    async fn ask(session: &Session) -> Result<Self> {
        // `reserved_connections` is new in PostgreSQL 16; an absent setting reads as null.
        // Without a name, which the next session behind a pooler does not know.
        let rows = session
            .client
            .query_typed(
                "SELECT current_setting('server_version'), clock_timestamp(),
                        current_database()::text, current_user::text, pg_is_in_recovery(),
                        current_setting('max_connections')::int
                          - current_setting('superuser_reserved_connections')::int
                          - coalesce(current_setting('reserved_connections', true), '0')::int",
                &[],
            )
            .await;
        let rows = rows.map_err(|error| Error::from_driver(&error, Phase::Connect))?;
        let none =
            || Error::new(Signal::new(Cause::UnexpectedResult, Phase::Connect), "the server gave no answer");
        let row = rows.into_iter().next().ok_or_else(none)?;
        let (version, time, database, user, is_standby, limit) = FromRow::from_row(row)?;
        let limit: i32 = limit;
        let connection_limit = u32::try_from(limit).unwrap_or(1).max(1);
        Ok(Self { version, time, database, user, is_standby, connection_limit })
    }
}
