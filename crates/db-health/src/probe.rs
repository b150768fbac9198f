//! The probes that come with the crate: over a connection of their own, over any executor, over a closure.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Error, Executor, Finding, Phase, Probe, Query, Result};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_postgres::{Client, Config, NoTls};
use tokio_util::task::AbortOnDropHandle;

/// Pings a server over one connection that is opened when needed and then kept: what it sees does not depend on how
/// busy any pool is.
pub struct ConnectionProbe {
    name: String,
    target: Config,
    client: Mutex<Option<Connected>>,
}

/// A client with the task that drives it, which ends with it: a look that is given up on a server which answers nothing
/// must not leave a socket behind.
struct Connected {
    client: Client,
    _driver: AbortOnDropHandle<()>,
}

impl ConnectionProbe {
    /// A probe of the server at `target`.
    ///
    /// Sets a `connect_timeout` of 1 s unless the target has one.
    #[must_use]
    pub fn new(name: impl Into<String>, mut target: Config) -> Self {
        if target.get_connect_timeout().is_none() {
            target.connect_timeout(Duration::from_secs(1));
        }
        Self { name: name.into(), target, client: Mutex::new(None) }
    }

    async fn connect(&self) -> Result<Connected> {
        let connected = self.target.connect(NoTls).await;
        let (client, connection) = connected.map_err(|error| Error::from_driver(&error, Phase::Connect))?;
        let driver = tokio::spawn(async move {
            // An error reaches the client's caller as well.
            connection.await.ok();
        });
        Ok(Connected { client, _driver: AbortOnDropHandle::new(driver) })
    }
}

#[async_trait]
impl Probe for ConnectionProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        let mut slot = self.client.lock().await;
        // Taken out while in use: a look that is given up halfway must not leave a connection that owes an answer.
        let connected = match slot.take().filter(|connected| !connected.client.is_closed()) {
            Some(connected) => connected,
            None => self.connect().await?,
        };
        let finding = ping(&connected.client).await?;
        *slot = Some(connected);
        Ok(finding)
    }
}

impl fmt::Debug for ConnectionProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionProbe").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Pings through any executor, for example somebody's own pool. A pool that is busy looks like a server that is slow.
pub struct ExecutorProbe {
    name: String,
    executor: Arc<dyn Executor>,
}

impl ExecutorProbe {
    /// A probe through `executor`.
    #[must_use]
    pub fn new(name: impl Into<String>, executor: Arc<dyn Executor>) -> Self {
        Self { name: name.into(), executor }
    }
}

#[async_trait]
impl Probe for ExecutorProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        ping(&*self.executor).await
    }
}

impl fmt::Debug for ExecutorProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorProbe").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Looks by calling a function that neither waits nor fails, such as one that reads a pool's figures.
pub struct FnProbe<F> {
    name: String,
    look: F,
}

impl<F: Fn() -> Finding + Send + Sync> FnProbe<F> {
    /// A probe that calls `look`.
    #[must_use]
    pub fn new(name: impl Into<String>, look: F) -> Self {
        Self { name: name.into(), look }
    }
}

#[async_trait]
impl<F: Fn() -> Finding + Send + Sync> Probe for FnProbe<F> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        Ok((self.look)())
    }
}

impl<F> fmt::Debug for FnProbe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnProbe").field("name", &self.name).finish_non_exhaustive()
    }
}

async fn ping(executor: &dyn Executor) -> Result<Finding> {
    let started = Instant::now();
    let (version, is_standby): (String, bool) =
        executor.one("SELECT current_setting('server_version'), pg_is_in_recovery()", &[]).await?;
    Ok(Finding::healthy()
        .with("latency_ms", millis(started.elapsed()))
        .with("version", version)
        .with("role", if is_standby { "standby" } else { "primary" }))
}

/// Milliseconds with a resolution of microseconds.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
