//! Opens connections for bb8, under one deadline, and publishes every failure to whoever waits for a connection.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use db_core::{Action, Cause, ConnectFailed, Connected, Error, Phase, Signal};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_postgres::config::Host;
use tokio_postgres::{Config, NoTls};
use tokio_util::task::TaskTracker;

use crate::physical::{About, Physical};
use crate::settings::Settings;

/// At most this many connections are opened at once, so that a restarted server is not met by a stampede.
const CONNECTS_AT_ONCE: usize = 2;

/// The last failure to connect. The watch's own version tells one failure from the next.
pub(crate) type LastFailure = Option<Arc<Failure>>;

/// A failure to connect.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Whether another attempt may well succeed.
    pub(crate) is_transient: bool,
}

/// bb8's way to make connections.
pub(crate) struct Connector {
    target: Config,
    settings: Settings,
    about: Arc<About>,
    failures: watch::Sender<LastFailure>,
    turns: Semaphore,
    drivers: TaskTracker,
}

impl Connector {
    pub(crate) fn new(target: Config, settings: Settings, about: Arc<About>, drivers: TaskTracker) -> Self {
        Self {
            target: with_session_settings(target, &settings),
            settings,
            about,
            failures: watch::Sender::new(None),
            turns: Semaphore::new(CONNECTS_AT_ONCE),
            drivers,
        }
    }

    pub(crate) fn failures(&self) -> watch::Receiver<LastFailure> {
        self.failures.subscribe()
    }

    /// Opens one connection. A panic below is an error: bb8 would lose the slot for good.
    pub(crate) async fn open(&self) -> Result<Physical, Arc<Failure>> {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await.ok();
        let started = Instant::now();
        let attempt = AssertUnwindSafe(timeout(self.settings.connect_timeout, self.connect())).catch_unwind();
        let failure = match attempt.await {
            Ok(Ok(Ok(physical))) => {
                let About { pool, endpoint, observer } = &*self.about;
                observer.connected(&Connected::new(pool, endpoint, started.elapsed()));
                return Ok(physical);
            }
            Ok(Ok(Err(error))) => self.failure(&error),
            Ok(Err(_)) => self.timed_out(),
            Err(panic) => self.panicked(&*panic),
        };
        let failure = Arc::new(failure);
        let About { pool, endpoint, observer } = &*self.about;
        observer.connect_failed(&ConnectFailed::new(pool, endpoint, &failure.error));
        self.failures.send_replace(Some(Arc::clone(&failure)));
        Err(failure)
    }

    async fn connect(&self) -> Result<Physical, tokio_postgres::Error> {
        let (client, connection) = self.target.connect(NoTls).await?;
        let about = Arc::clone(&self.about);
        self.drivers.spawn(async move {
            if let Err(error) = connection.await {
                let error = Error::from_driver(&error, Phase::Execute);
                tracing::debug!(target: "db::pool", pool = about.pool, %error, "connection ended");
            }
        });
        Ok(Physical::new(client, &self.settings, Arc::clone(&self.about)))
    }

    fn failure(&self, error: &tokio_postgres::Error) -> Failure {
        let is_name = is_name_resolution(error);
        let error = Error::from_driver(error, Phase::Connect).context(self.what());
        let is_transient = matches!(error.advice().read, Action::Retry | Action::RetrySlowly) && !is_name;
        Failure { error, is_transient }
    }

    fn timed_out(&self) -> Failure {
        let message = format!("{}: no answer within {:?}", self.what(), self.settings.connect_timeout);
        let error = Error::new(Signal::new(Cause::Unreachable, Phase::Connect), message);
        Failure { error, is_transient: true }
    }

    fn panicked(&self, panic: &(dyn Any + Send)) -> Failure {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let message = format!("{}: the driver panicked: {text}", self.what());
        let error = Error::new(Signal::new(Cause::Defect, Phase::Connect), message);
        Failure { error, is_transient: false }
    }

    fn what(&self) -> String {
        format!("could not connect to {}", self.about.endpoint)
    }
}

impl bb8::ManageConnection for Connector {
    type Connection = Physical;
    type Error = Arc<Failure>;

    async fn connect(&self) -> Result<Physical, Arc<Failure>> {
        self.open().await
    }

    async fn is_valid(&self, _physical: &mut Physical) -> Result<(), Arc<Failure>> {
        // Never called: the pool checks connections itself, with a time limit of its own.
        Ok(())
    }

    fn has_broken(&self, physical: &mut Physical) -> bool {
        physical.discard.is_some()
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.error)
    }
}

/// Session settings travel in the startup packet, so that they hold from the first statement on and cost no round
/// trip. What the connection string says comes later in the same option string and wins.
fn with_session_settings(mut target: Config, settings: &Settings) -> Config {
    let mut options = format!(
        "-c statement_timeout={} -c idle_in_transaction_session_timeout={}",
        settings.statement_timeout.as_millis(),
        settings.idle_in_transaction_timeout.as_millis(),
    );
    if let Some(given) = target.get_options() {
        options = format!("{options} {given}");
    }
    target.options(options);
    if target.get_application_name().is_none() {
        target.application_name(&settings.application_name);
    }
    if target.get_tcp_user_timeout().is_none() {
        // Unacknowledged data means a dead peer long before the kernel's own 15 minutes.
        target.tcp_user_timeout(Duration::from_secs(10));
    }
    target
}

/// A wrong host name is not worth waiting for. The driver reports it as an I/O error without a code.
fn is_name_resolution(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|error| error.to_string().contains("lookup address"))
}

/// `host:port` of the first server of a connection string, for messages.
#[must_use]
pub fn endpoint(target: &Config) -> String {
    let port = target.get_ports().first().copied().unwrap_or(5432);
    match target.get_hosts().first() {
        Some(Host::Tcp(host)) if host.contains(':') => format!("[{host}]:{port}"),
        Some(Host::Tcp(host)) => format!("{host}:{port}"),
        #[cfg(unix)]
        Some(Host::Unix(folder)) => format!("{}:{port}", folder.display()),
        None => match target.get_hostaddrs().first() {
            Some(address) => format!("{address}:{port}"),
            None => "(no host)".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_string_wins_over_the_settings() {
        let target: Config =
            "postgres://h/d?application_name=mine&options=-c%20statement_timeout%3D1".parse().expect("url");
        let target = with_session_settings(target, &Settings::default());
        assert_eq!(target.get_application_name(), Some("mine"));
        let options = target.get_options().expect("options");
        assert!(options.starts_with("-c statement_timeout=5000 "), "{options}");
        assert!(options.ends_with(" -c statement_timeout=1"), "{options}");
    }

    #[test]
    fn an_endpoint_is_host_and_port() {
        let check = |url: &str, expect: &str| assert_eq!(endpoint(&url.parse().expect(url)), expect);
        check("postgres://db.example/d", "db.example:5432");
        check("postgres://127.0.0.1:6543/d", "127.0.0.1:6543");
        check("host=/run/postgresql dbname=d", "/run/postgresql:5432");
        check("hostaddr=10.0.0.1 dbname=d", "10.0.0.1:5432");
    }
}
