//! One connection for health checks alone, which opens itself again. It is not a pool: what runs on it is pipelined.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Error, Executor, Params, Phase, Result, RowStream};
use futures_util::stream::{self, StreamExt};
use tokio_postgres::{Client, Config, NoTls, Row};
use tokio_util::task::AbortOnDropHandle;

/// An [`Executor`] over one connection that is opened when needed and then kept: what probes see over it does not depend on how
/// busy any pool is, and however many share it, the server has one session more.
///
/// A connection that broke is opened anew by the next statement. So is one on which a statement was given up: a server that has
/// vanished without a word would otherwise hold the checks until the operating system notices, which takes minutes.
///
/// It speaks no TLS. Where the server asks for that, give probes an executor over a connection of yours.
pub struct OwnConnection {
    target: Config,
    current: Mutex<Option<Arc<Connected>>>,
    /// Held while connecting, so that there are never two.
    connecting: tokio::sync::Mutex<()>,
}

/// A client with the task that drives it, which ends with it: a look that is given up on a server which answers nothing
/// must not leave a socket behind.
struct Connected {
    client: Client,
    _driver: AbortOnDropHandle<()>,
}

/// Lets go of the connection unless the statement on it came to its end.
struct Use<'a> {
    of: &'a OwnConnection,
    connected: Arc<Connected>,
    is_over: bool,
}

impl OwnConnection {
    /// A connection to the server at `target`, not opened yet.
    ///
    /// Sets a `connect_timeout` of 1 s unless the target has one.
    #[must_use]
    pub fn new(mut target: Config) -> Self {
        if target.get_connect_timeout().is_none() {
            target.connect_timeout(Duration::from_secs(1));
        }
        Self { target, current: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    async fn begin(&self) -> Result<Use<'_>> {
        let begin = |connected| Use { of: self, connected, is_over: false };
        if let Some(connected) = self.open_one() {
            return Ok(begin(connected));
        }
        let _alone = self.connecting.lock().await;
        if let Some(connected) = self.open_one() {
            return Ok(begin(connected));
        }
        let connected = Arc::new(self.connect().await?);
        *self.current() = Some(Arc::clone(&connected));
        Ok(begin(connected))
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

    fn open_one(&self) -> Option<Arc<Connected>> {
        self.current().clone().filter(|connected| !connected.client.is_closed())
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<Arc<Connected>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Use<'_> {
    fn client(&self) -> &Client {
        &self.connected.client
    }

    /// The statement came to its end, be it a bad one.
    fn over<T>(mut self, result: Result<T>) -> Result<T> {
        self.is_over = true;
        result
    }
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        let mut current = self.of.current();
        if !self.is_over && current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &self.connected)) {
            *current = None;
        }
    }
}

#[async_trait]
impl Executor for OwnConnection {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        let used = self.begin().await?;
        let result = Executor::fetch(used.client(), sql, params).await;
        used.over(result)
    }

    /// Collects the rows first: checks read few.
    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        let rows = self.fetch(sql, params).await?;
        Ok(stream::iter(rows.into_iter().map(Ok)).boxed())
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        let used = self.begin().await?;
        let result = Executor::execute(used.client(), sql, params).await;
        used.over(result)
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        let used = self.begin().await?;
        let result = Executor::batch_execute(used.client(), sql).await;
        used.over(result)
    }
}

impl fmt::Debug for OwnConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnConnection").finish_non_exhaustive()
    }
}
