//! Opens connections for bb8, under one deadline, and publishes every failure to whoever waits for a connection.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db_core::{Action, Cause, ConnectFailed, Connected, Error, Phase, Signal};
use futures_util::FutureExt;
use rand::RngExt;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_postgres::config::Host;
use tokio_postgres::{Config, NoTls};
use tokio_util::task::TaskTracker;

use crate::checkout::AT_ONCE;
use crate::physical::{About, Physical};
use crate::settings::{Settings, moment_after};

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
    pace: Mutex<Pace>,
    drivers: TaskTracker,
}

/// When the next connection may be opened. All attempts of a pool go by it, so that many callers do not make many
/// attempts on a server that refuses.
struct Pace {
    not_before: Instant,
    pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { not_before: Instant::now(), pause: Duration::ZERO }
    }
}

impl Pace {
    /// Doubles the pause, up to half of the time that callers wait: then each still sees an attempt of its time.
    fn slow_down(&mut self, settings: &Settings) {
        let retry = settings.connect_retry;
        let longest = retry.max_delay.min(settings.acquire_timeout / 2);
        self.pause = self.pause.saturating_mul(2).max(retry.initial_delay).min(longest);
        self.not_before = moment_after(self.pause.mul_f64(rand::rng().random_range(0.5..1.0)));
    }
}

impl Connector {
    pub(crate) fn new(target: Config, settings: Settings, about: Arc<About>, drivers: TaskTracker) -> Self {
        Self {
            target: with_session_settings(target, &settings),
            settings,
            about,
            failures: watch::Sender::new(None),
            turns: Semaphore::new(AT_ONCE),
            pace: Mutex::default(),
            drivers,
        }
    }

    pub(crate) fn failures(&self) -> watch::Receiver<LastFailure> {
        self.failures.subscribe()
    }

    /// Opens one connection. A panic below, an observer's included, is an error: bb8 would lose the slot for good.
    pub(crate) async fn open(&self) -> Result<Physical, Arc<Failure>> {
        match AssertUnwindSafe(self.open_unguarded()).catch_unwind().await {
            Ok(opened) => opened,
            Err(_) => Err(self.publish(Failure {
                // The panic's own text is not ours to log.
                error: Error::new(
                    Signal::new(Cause::Defect, Phase::Connect),
                    format!("{}: a panic", self.what()),
                ),
                is_transient: false,
            })),
        }
    }

    async fn open_unguarded(&self) -> Result<Physical, Arc<Failure>> {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await.ok();
        let not_before = self.pace().not_before;
        sleep_until(not_before).await;
        if self.is_closing() {
            return Err(self.closing());
        }
        let started = Instant::now();
        let About { pool, endpoint, observer } = &*self.about;
        let failure = match timeout(self.settings.connect_timeout, self.connect()).await {
            Ok(Ok(_)) if self.is_closing() => return Err(self.closing()),
            Ok(Ok(physical)) => {
                observer.connected(&Connected::new(pool, endpoint, started.elapsed()));
                self.failures.send_replace(None);
                *self.pace() = Pace::default();
                return Ok(physical);
            }
            Ok(Err(error)) => self.failure(&error),
            Err(_) => self.timed_out(),
        };
        if self.is_closing() {
            // Nobody is left to be told that the server went away meanwhile.
            return Err(self.closing());
        }
        self.pace().slow_down(&self.settings);
        let failure = self.publish(failure);
        observer.connect_failed(&ConnectFailed::new(pool, endpoint, &failure.error));
        Err(failure)
    }

    fn publish(&self, failure: Failure) -> Arc<Failure> {
        let failure = Arc::new(failure);
        self.failures.send_replace(Some(Arc::clone(&failure)));
        failure
    }

    /// Closing the pool begins by closing the tracker of its drivers.
    fn is_closing(&self) -> bool {
        self.drivers.is_closed()
    }

    fn closing(&self) -> Arc<Failure> {
        let error = Error::new(Signal::new(Cause::PoolClosed, Phase::Acquire), "the pool is closed");
        Arc::new(Failure { error, is_transient: false })
    }

    async fn connect(&self) -> Result<Physical, tokio_postgres::Error> {
        let (client, connection) = self.target.connect(NoTls).await?;
        let about = Arc::clone(&self.about);
        let driver = self.drivers.spawn(async move {
            if let Err(error) = connection.await {
                let error = Error::from_driver(&error, Phase::Execute);
                tracing::debug!(target: "db::pool", pool = about.pool, %error, "connection ended");
            }
        });
        Ok(Physical::new(client, driver.abort_handle(), &self.settings, Arc::clone(&self.about)))
    }

    fn failure(&self, error: &tokio_postgres::Error) -> Failure {
        let is_name = is_name_resolution(error);
        let error = Error::from_driver(error, Phase::Connect).context(self.what());
        let is_transient = matches!(error.advice().read, Action::Retry | Action::RetrySlowly) && !is_name;
        Failure { error, is_transient }
    }

    fn timed_out(&self) -> Failure {
        Failure { error: self.silent(), is_transient: true }
    }

    /// The server gave no answer in time.
    pub(crate) fn silent(&self) -> Error {
        let message = format!("{}: no answer within {:?}", self.what(), self.settings.connect_timeout);
        Error::new(Signal::new(Cause::Unreachable, Phase::Connect), message)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
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
        millis(settings.statement_timeout),
        millis(settings.idle_in_transaction_timeout),
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

/// Whole milliseconds; what is shorter but not zero must not become zero, which means "off".
fn millis(limit: Duration) -> u128 {
    if limit.is_zero() { 0 } else { limit.as_millis().max(1) }
}

/// A wrong host name is not worth waiting for. The driver reports it as an I/O error without a code.
fn is_name_resolution(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    let text = source.map(ToString::to_string).unwrap_or_default();
    text.contains("lookup address") && !text.contains("Temporary failure")
}

/// `host:port` of the first server of a connection string, for messages.
#[must_use]
pub fn endpoint(target: &Config) -> String {
    let port = target.get_ports().first().copied().unwrap_or(5432);
    match target.get_hosts().first() {
        // A password with a bare `@` ends at the first one, and its rest is taken for a part of the host.
        Some(Host::Tcp(host)) if host.contains('@') => format!("***:{port}"),
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
        check("postgres://app:pa@hunter2@localhost/d", "***:5432");
    }
}
