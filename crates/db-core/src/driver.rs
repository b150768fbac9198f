//! tokio-postgres as an [`Executor`], and its errors as ours. Whoever has a `tokio_postgres::Client` from any pool
//! (deadpool's and bb8's objects lend one) has the verbs.

use async_trait::async_trait;
use futures_util::stream::{StreamExt, TryStreamExt};
use tokio_postgres::error::{DbError, Severity as DriverSeverity};
use tokio_postgres::{Client, Row};

use crate::{
    Cause, Error, Executor, Params, Phase, Result, RowStream, ServerError, Severity, Signal, SqlState,
};

impl Error {
    /// Classifies an error of the driver, seen in `phase`.
    ///
    /// The driver does not tell a statement that was never sent from one whose answer was lost. Outside
    /// [`Phase::Connect`] everything that is not the server's own word therefore counts as lost, unless the caller knows
    /// better and raises [`Cause::Unsent`] itself.
    #[must_use]
    pub fn from_driver(error: &tokio_postgres::Error, phase: Phase) -> Self {
        if let Some(server) = error.as_db_error() {
            if has_waited_in_vain(server) && phase != Phase::Commit {
                let cause = if phase == Phase::Connect { Cause::Unreachable } else { Cause::Unsent };
                return Self::new(Signal::new(cause, phase), server.message());
            }
            return Self::server_error(server.into(), phase);
        }
        let source = std::error::Error::source(error);
        let text = match source {
            Some(source) => innermost(source),
            None => error.to_string(),
        };
        let (cause, message) = match phase {
            Phase::Connect if is_configuration(error) => (Cause::Misuse, text),
            Phase::Connect if is_another_protocol(error) => {
                (Cause::Misuse, "what answers there does not speak PostgreSQL's protocol".to_owned())
            }
            Phase::Connect => (Cause::Unreachable, text),
            // Raised while parameters are encoded, before anything is sent; rows are decoded elsewhere.
            _ if is_misuse(error) => (Cause::Misuse, misuse_text(error)),
            _ => (Cause::Lost, text),
        };
        Self::new(Signal::new(cause, phase), message)
    }
}

/// A pooler has no server for what its client asks: nothing was sent to any. PgBouncer has one code for all that it says.
fn has_waited_in_vain(server: &DbError) -> bool {
    let is_poolers = server.code().code() == "08P01";
    let said = ["server login has been failing", "query_wait_timeout"];
    is_poolers && said.iter().any(|start| server.message().starts_with(start))
}

/// The driver's kinds are private: these functions read its texts, which tests against real servers hold in place.
fn is_configuration(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    // No TLS is built in, so a handshake that a connection string asks for can never succeed.
    ["authentication error", "invalid configuration", "error performing TLS handshake"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// Whatever answered is not PostgreSQL.
fn is_another_protocol(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    text == "error parsing response from server" || text == "unexpected message from server"
}

fn is_misuse(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    text.starts_with("error serializing parameter")
        || text.starts_with("error encoding message")
        || text.contains("parameters but got")
}

/// The cause of a failed encoding may hold the value; the types that it names are what helps.
fn misuse_text(error: &tokio_postgres::Error) -> String {
    use tokio_postgres::types::WrongType;

    match std::error::Error::source(error).and_then(|source| source.downcast_ref::<WrongType>()) {
        Some(types) => format!("{error}: {types}"),
        None => error.to_string(),
    }
}

fn innermost(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

impl From<&DbError> for ServerError {
    fn from(error: &DbError) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        // An unreadable code can only come from something that is not PostgreSQL.
        let is_in_text = error.position().is_some();
        let sqlstate = SqlState::new(error.code().code()).unwrap_or(SqlState::PROTOCOL_VIOLATION);
        let severity = match error.parsed_severity() {
            Some(DriverSeverity::Fatal | DriverSeverity::Panic) => Severity::Fatal,
            _ => Severity::Error,
        };
        let mut server = Self::new(sqlstate, severity, error.message());
        server.is_in_text = is_in_text;
        server.detail = owned(error.detail());
        server.hint = owned(error.hint());
        server.constraint = owned(error.constraint());
        server.table = owned(error.table());
        server.column = owned(error.column());
        server.routine = owned(error.routine());
        server
    }
}

fn execute_error(error: &tokio_postgres::Error) -> Error {
    Error::from_driver(error, Phase::Execute)
}

/// Refuses a client whose connection is known to be gone: what is not sent has no unknown outcome.
fn open(client: &Client) -> Result<&Client> {
    if client.is_closed() {
        return Err(Error::new(Signal::new(Cause::Unsent, Phase::Execute), "the connection is closed"));
    }
    Ok(client)
}

#[async_trait]
impl Executor for Client {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        open(self)?.query(sql, params).await.map_err(|error| execute_error(&error))
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        let rows = open(self)?
            .query_raw(sql, params.iter().copied())
            .await
            .map_err(|error| execute_error(&error))?;
        Ok(rows.map_err(|error| execute_error(&error)).boxed())
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        open(self)?.execute(sql, params).await.map_err(|error| execute_error(&error))
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        let done = open(self)?.batch_execute(sql).await;
        done.map_err(|error| execute_error(&error).without_parameters())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executor_and_probe_are_object_safe() {
        fn check(_: Option<&dyn Executor>, _: Option<&dyn crate::Probe>, _: Option<&dyn crate::Observer>) {}
        check(None, None, None);
    }
}
