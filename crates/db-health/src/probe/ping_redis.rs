//! A Redis as a second dependency, over one connection of its own. It stores nothing there.

use std::fmt;

use async_trait::async_trait;
use db_core::{Cause, Error, ExposeSecret, Finding, Phase, Probe, Result, SecretString, Signal};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, ServerErrorKind};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::millis;

/// Sends `PING` to a Redis over one connection that is opened when needed and then kept. One that broke, or whose answer was not
/// waited for, is opened anew by the next look.
///
/// Unhealthy with `authentication` when the password is wrong or missing, `loading` while Redis still reads its data, else
/// `unreachable`. No text of it holds the password.
pub struct RedisProbe {
    name: String,
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl RedisProbe {
    /// A probe of the Redis at `url`, such as `redis://cache:6379/0` or `redis://user:password@cache`. It speaks no TLS.
    ///
    /// # Errors
    /// When `url` is none. The error does not repeat it, for it may hold a password.
    pub fn new(name: impl Into<String>, url: &str) -> Result<Self> {
        let info = url.into_connection_info().map_err(|error| refused(&error))?;
        Self::over(name.into(), info)
    }

    /// With a password that is not in the URL.
    ///
    /// # Errors
    /// As [`RedisProbe::new`].
    pub fn with_password(name: impl Into<String>, url: &str, password: &SecretString) -> Result<Self> {
        let info = url.into_connection_info().map_err(|error| refused(&error))?;
        let settings = info.redis_settings().clone().set_password(password.expose_secret());
        Self::over(name.into(), info.set_redis_settings(settings))
    }

    fn over(name: String, info: ConnectionInfo) -> Result<Self> {
        let client = Client::open(info).map_err(|error| refused(&error))?;
        Ok(Self { name, client, connection: Mutex::new(None) })
    }

    async fn ping(&self, slot: &mut Option<MultiplexedConnection>) -> redis::RedisResult<()> {
        // Taken out while in use: a look that is given up halfway must not leave a connection that owes an answer.
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => {
                // The time limit is the check's.
                let config =
                    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
                self.client.get_multiplexed_async_connection_with_config(&config).await?
            }
        };
        redis::cmd("PING").exec_async(&mut connection).await?;
        *slot = Some(connection);
        Ok(())
    }
}

#[async_trait]
impl Probe for RedisProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        let mut slot = self.connection.lock().await;
        let started = Instant::now();
        let Err(error) = self.ping(&mut slot).await else {
            return Ok(Finding::healthy().with("latency_ms", millis(started.elapsed())));
        };
        let text = format!("no PING to Redis at {}: {error}", self.client.get_connection_info().addr());
        match word(error.kind(), error.code()) {
            Some(word) => Ok(Finding::unhealthy(word).with("message", text)),
            None => Err(Error::new(Signal::new(Cause::Unreachable, Phase::Connect), text)),
        }
    }
}

impl fmt::Debug for RedisProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisProbe").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is wrong with a Redis that can be reached.
fn word(kind: ErrorKind, code: Option<&str>) -> Option<&'static str> {
    match (kind, code) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => Some("authentication"),
        (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => Some("loading"),
        _ => None,
    }
}

/// Only the kind: the text of an error may quote what it could not read.
fn refused(error: &redis::RedisError) -> Error {
    let what = match error.kind() {
        ErrorKind::InvalidClientConfig => {
            "not one that can be used: redis://[user:password@]host[:port][/number]"
        }
        _ => "not a URL",
    };
    Error::new(Signal::new(Cause::Misuse, Phase::Connect), format!("the address of Redis is {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_refused_without_repeating_it() {
        for url in ["cache:6379:hunter2", "postgres://u:hunter2@cache", "rediss://u:hunter2@cache", ""] {
            let error = RedisProbe::new("redis", url).expect_err(url);
            let told = format!("{error} {error:?}");
            assert!(told.contains("the address of Redis") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn words() {
        assert_eq!(word(ErrorKind::AuthenticationFailed, None), Some("authentication"));
        assert_eq!(word(ErrorKind::Extension, Some("NOAUTH")), Some("authentication"));
        assert_eq!(word(ErrorKind::Server(ServerErrorKind::BusyLoading), Some("LOADING")), Some("loading"));
        assert_eq!(word(ErrorKind::Io, None), None);
    }
}
