//! Opens connections, each under one deadline, and publishes every failure to whoever waits for a connection.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use db_core::{Action, Cause, ConnectFailed, Connected as ConnectedEvent, Error, Phase, Signal, SqlState};
use futures_util::FutureExt;
use rand::RngExt;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_postgres::AsyncMessage;
use tokio_util::task::TaskTracker;

use crate::checkout::AT_ONCE;
use crate::connect::{self, Ask, Connected, Connection};
use crate::lanes::Belt;
use crate::physical::{About, MadeIn, Physical};
use crate::seats::Seat;
use crate::session::{Parts, Session};
use crate::session_settings::SessionSettings;
use crate::settings::{Pooler, Settings, moment_after};
use crate::target::Target;

/// The last failure to connect. The watch's own version tells one failure from the next.
pub(crate) type LastFailure = Option<Arc<Failure>>;

/// A failure to connect.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Whether another attempt may well succeed.
    pub(crate) is_transient: bool,
}

/// Where connections go.
pub(crate) struct Aim {
    pub(crate) target: Target,
    /// Its name in events and messages.
    pub(crate) endpoint: String,
    /// Whether nothing may be opened there any more.
    pub(crate) is_left: bool,
}

impl Aim {
    fn new(target: Target) -> Arc<Self> {
        Arc::new(Self { endpoint: target.endpoint(), target, is_left: false })
    }

    fn what(&self) -> String {
        format!("could not connect to {}", self.endpoint)
    }
}

/// Makes connections.
pub(crate) struct Connector {
    aim: watch::Sender<Arc<Aim>>,
    settings: Settings,
    /// Options of the startup message.
    options: String,
    /// Whether the server, or a pooler before it, refuses them there.
    refuses_options: AtomicBool,
    /// How often credentials were refused, and asked for anew.
    refusals: Mutex<u64>,
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
    pub(crate) fn new(target: Target, settings: Settings, about: Arc<About>, drivers: TaskTracker) -> Self {
        Self {
            options: SessionSettings::new(&settings).startup_options(),
            aim: watch::Sender::new(Aim::new(target)),
            refuses_options: AtomicBool::new(settings.pooler != Pooler::None),
            refusals: Mutex::new(0),
            settings,
            about,
            failures: watch::Sender::new(None),
            turns: Semaphore::new(AT_ONCE),
            pace: Mutex::default(),
            drivers,
        }
    }

    /// Where connections go now.
    pub(crate) fn aim(&self) -> Arc<Aim> {
        Arc::clone(&self.aim.borrow())
    }

    /// The same, for whoever must hear of a change.
    pub(crate) fn aims(&self) -> watch::Receiver<Arc<Aim>> {
        self.aim.subscribe()
    }

    /// Opens connections there from now on; whoever is opening one begins anew, without the pause after failures elsewhere.
    pub(crate) fn turn_to(&self, target: Target) {
        *self.pace() = Pace::default();
        self.aim.send_replace(Aim::new(target));
    }

    /// Opens no connection until the next turn.
    pub(crate) fn turn_away(&self) {
        let Aim { target, endpoint, .. } = &*self.aim();
        self.aim.send_replace(Arc::new(Aim {
            target: target.clone(),
            endpoint: endpoint.clone(),
            is_left: true,
        }));
    }

    /// Has everybody who waits for this server's connection begin anew.
    pub(crate) fn begin_anew(&self) {
        self.aim.send_modify(|_| {});
    }

    pub(crate) fn failures(&self) -> watch::Receiver<LastFailure> {
        self.failures.subscribe()
    }

    /// Opens one connection. A panic below, an observer's included, is an error.
    pub(crate) async fn open(&self, seat: Seat) -> Result<Physical, Arc<Failure>> {
        match AssertUnwindSafe(self.open_unguarded(seat)).catch_unwind().await {
            Ok(opened) => opened,
            Err(_) => Err(self.publish(Failure {
                // The panic's own text is not ours to log.
                error: Error::new(
                    Signal::new(Cause::Defect, Phase::Connect),
                    format!("{}: a panic", self.aim().what()),
                ),
                is_transient: false,
            })),
        }
    }

    async fn open_unguarded(&self, seat: Seat) -> Result<Physical, Arc<Failure>> {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await.ok();
        loop {
            // Whoever rotates from now on means this one too. Read before the aim, which is changed first.
            let epoch = self.about.epoch.load(Ordering::Acquire);
            let mut aims = self.aims();
            let aim = Arc::clone(&aims.borrow_and_update());
            // Boxed: callers' futures hold this one, and their layout is computed through all of it.
            let (session, took) = tokio::select! {
                opened = Box::pin(self.open_at(&aim)) => opened?,
                Ok(()) = aims.changed() => continue,
            };
            let About { pool, observer, .. } = &*self.about;
            observer.connected(&ConnectedEvent::new(pool, &aim.endpoint, took));
            let made_in = MadeIn { about: Arc::clone(&self.about), aim, epoch };
            let physical = Physical::new(session, &self.settings, made_in, seat.opened());
            self.failures.send_replace(None);
            *self.pace() = Pace::default();
            return Ok(physical);
        }
    }

    /// Opens a session when it is time, and says how long that took.
    async fn open_at(&self, aim: &Aim) -> Result<(Session, Duration), Arc<Failure>> {
        let not_before = self.pace().not_before;
        sleep_until(not_before).await;
        if self.is_closing() {
            return Err(self.closing());
        }
        let started = Instant::now();
        let opened = timeout(self.settings.connect_timeout, self.open_session(aim)).await;
        if self.is_closing() {
            // Nobody is left to be told that the server went away meanwhile.
            return Err(self.closing());
        }
        let failure = match opened {
            Ok(Ok(session)) => return Ok((session, started.elapsed())),
            Ok(Err(error)) => Failure::new(error.context(aim.what())),
            Err(_) => Failure { error: self.silent(aim, self.settings.connect_timeout), is_transient: true },
        };
        self.pace().slow_down(&self.settings);
        let failure = self.publish(failure);
        let About { pool, observer, .. } = &*self.about;
        observer.connect_failed(&ConnectFailed::new(pool, &aim.endpoint, &failure.error));
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

    async fn open_session(&self, aim: &Aim) -> Result<Session, Error> {
        let Connected { client, connection, wire, canceller } = self.connect(aim).await?;
        let (lane, belt) = Belt::new();
        let driver = drive(connection, belt, Arc::clone(&self.about));
        let driver = self.drivers.spawn(driver).abort_handle();
        let needs_set = self.refuses_options() && self.settings.pooler != Pooler::Transaction;
        let name = aim.target.application_name.as_ref().unwrap_or(&self.settings.application_name);
        let needs_set = needs_set.then_some(name.as_str());
        let session =
            Session::new(Parts { client, wire, canceller, driver, lane, needs_set }, &self.settings);
        session.set_up().await?;
        Ok(session)
    }

    /// Connects, and once more with credentials asked for anew when those in use are refused.
    pub(crate) async fn connect(&self, aim: &Aim) -> Result<Connected, Error> {
        let Aim { target, is_left, .. } = aim;
        if *is_left {
            let signal = Signal::new(Cause::Unreachable, Phase::Connect);
            return Err(Error::new(signal, "the server was left, and no other is known yet"));
        }
        let before = *self.refusals();
        match self.connect_once(target).await {
            Err(error) if error.advice().read == Action::RefreshCredentials => {
                self.note_refusal(before, target);
                self.connect_once(target).await
            }
            other => other,
        }
    }

    /// Of all who are refused with the same credentials one says so, and the others go on only then.
    fn note_refusal(&self, before: u64, target: &Target) {
        let mut refusals = self.refusals();
        if *refusals == before {
            *refusals += 1;
            target.credentials.refused();
        }
    }

    fn refusals(&self) -> MutexGuard<'_, u64> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect_once(&self, target: &Target) -> Result<Connected, Error> {
        if !self.refuses_options() {
            match self.connect_with(target, Some(&self.options)).await {
                Err(error) if are_options_refused(&error) => {
                    self.refuses_options.store(true, Ordering::Relaxed)
                }
                other => return other,
            }
        }
        self.connect_with(target, None).await
    }

    async fn connect_with(&self, target: &Target, options: Option<&str>) -> Result<Connected, Error> {
        let application_name = Some(self.settings.application_name.as_str());
        // Zero in a connection string is no limit of its own.
        let own = target.connect_timeout.filter(|limit| !limit.is_zero());
        let limit = own.map_or(self.settings.connect_timeout, |own| own.min(self.settings.connect_timeout));
        let ask = Ask { options, application_name, limit };
        connect::connect(target, &ask).await
    }

    fn refuses_options(&self) -> bool {
        self.refuses_options.load(Ordering::Relaxed)
    }

    /// The server gave no answer in time.
    pub(crate) fn silent(&self, aim: &Aim, limit: Duration) -> Error {
        let message = format!("{}: no answer within {limit:?}", aim.what());
        Error::new(Signal::new(Cause::Unreachable, Phase::Connect), message)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    fn new(error: Error) -> Self {
        let is_transient = matches!(error.advice().read, Action::Retry | Action::RetrySlowly);
        Self { error, is_transient }
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.error)
    }
}

/// Runs a connection to its end. Notices go to the log; what they say can hold values, so it goes there without its text.
async fn drive(mut connection: Connection, mut belt: Belt, about: Arc<About>) {
    loop {
        match poll_fn(|cx| poll_message(&mut connection, &mut belt, cx)).await {
            Some(Ok(AsyncMessage::Notice(notice))) if notice.routine() == Some("SyncRepWaitForLSN") => {
                tracing::warn!(target: "db::pool", pool = about.pool, sqlstate = notice.code().code(),
                    "a COMMIT did not wait for its standby: it took effect, and is lost if this server is");
            }
            Some(Ok(AsyncMessage::Notice(notice))) => {
                tracing::debug!(target: "db::pool", pool = about.pool, severity = notice.severity(),
                    sqlstate = notice.code().code(), "notice");
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                let error = Error::from_driver(&error, Phase::Execute);
                tracing::debug!(target: "db::pool", pool = about.pool, %error, "connection ended");
                return;
            }
            None => return,
        }
    }
}

/// Drives the connection, and the statements that share it.
fn poll_message(
    connection: &mut Connection,
    belt: &mut Belt,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<AsyncMessage, tokio_postgres::Error>>> {
    if belt.load(cx) {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    let message = connection.poll_message(cx);
    belt.unload(cx);
    message
}

/// PgBouncer names the parameter that it does not know.
fn are_options_refused(error: &Error) -> bool {
    error.server().is_some_and(|server| {
        server.sqlstate == SqlState::PROTOCOL_VIOLATION && server.message.contains("startup parameter")
    })
}
