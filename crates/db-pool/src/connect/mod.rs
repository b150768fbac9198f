//! A session with the server that a [`Target`] stands for: hosts and addresses in turn, TLS, authentication, and the kind of
//! session that was asked for. One try: when to try again is decided elsewhere.

mod attempt;
mod cancel;
mod certificate;
mod dial;
mod door;
mod failed;
mod files;
mod single;
mod suitable;
mod tls;
mod transport;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use db_core::{Cause, Error, ExposeSecret, Phase, Signal};
use rand::seq::SliceRandom;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::{ChannelBinding as DriverBinding, SslMode, SslNegotiation};
use tokio_postgres::{Client, Config};

use self::attempt::Attempt;
pub(crate) use self::cancel::Canceller;
use self::door::Door;
use self::failed::{Failed, Stage};
use self::suitable::{Suits, suits};
pub(crate) use self::transport::Transport;
use crate::settings::moment_after;
use crate::target::{ChannelBinding, Host, Target, TargetSession};
use crate::wire::{Tap, Wire};

/// What drives a session.
pub(crate) type Connection = tokio_postgres::Connection<Tap<Transport>, Tap<Transport>>;

/// A session that nobody drives yet.
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) connection: Connection,
    pub(crate) wire: Arc<Wire>,
    pub(crate) canceller: Canceller,
}

/// What the caller wants of a session, beyond its target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    /// Options of the command line. Those of the target come after them, and win.
    pub(crate) options: Option<&'a str>,
    /// For a target without one.
    pub(crate) application_name: Option<&'a str>,
    /// For everything together. Hosts and addresses that are still to be tried have equal shares of what is left of it, so
    /// that one that is silent does not keep the others from being asked.
    pub(crate) limit: Duration,
}

/// Opens a session.
///
/// # Errors
/// For one server its own error; for several, what became of each. When the credentials are refused the error has the
/// server's code, and the caller may ask for new ones.
///
/// # Cancel safety
/// Dropping the future closes what it opened.
pub(crate) async fn connect(target: &Target, ask: &Ask<'_>) -> Result<Connected, Error> {
    let deadline = moment_after(ask.limit);
    let config = config(target, ask, deadline).await?;
    let mut hosts: Vec<_> = target.hosts.iter().collect();
    if target.shuffles_hosts {
        hosts.shuffle(&mut rand::rng());
    }
    let mut failures = Vec::new();
    let mut last_resort = None;
    for (index, host) in hosts.iter().enumerate() {
        let share = share(deadline, hosts.len() - index);
        let opened = match within(share, open(target, host, &config, share)).await {
            Ok(opened) => judge(target.session, opened, share).await,
            Err(failed) => Err(failed),
        };
        match opened {
            Ok((opened, Suits::Yes)) => return Ok(opened),
            Ok((opened, _)) => last_resort = last_resort.or(Some(opened)),
            Err(failed) => {
                let is_final = !failed.may_try_elsewhere();
                failures.push((host.to_string(), failed));
                if is_final {
                    // What the others said before is not the reason.
                    failures.drain(..failures.len() - 1);
                    break;
                }
            }
        }
    }
    if let Some(opened) = last_resort {
        return Ok(opened);
    }
    let failed =
        Failed::together(failures).unwrap_or_else(|| Failed::misuse(Stage::Setup, "there is no host"));
    Err(failed.error)
}

/// Tries the addresses of one host.
async fn open(target: &Target, host: &Host, config: &Config, deadline: Instant) -> Result<Connected, Failed> {
    let mut places = dial::places(host).await?;
    if target.shuffles_hosts {
        places.shuffle(&mut rand::rng());
    }
    let count = places.len();
    let mut failures: Vec<(String, Failed)> = Vec::new();
    for (index, place) in places.into_iter().enumerate() {
        let name = place.to_string();
        let attempt = Attempt { door: Arc::new(Door::new(target, host, place)), config };
        let share = share(deadline, count - index);
        let failed = match within(share, attempt.run()).await {
            Err(failed) if failed.may_try_elsewhere() => failed,
            done => return done,
        };
        // Two addresses of one machine that refuse are one refusal.
        if failures.iter().all(|(_, other)| other.error.to_string() != failed.error.to_string()) {
            failures.push((name, failed));
        }
    }
    Err(Failed::together(failures).unwrap_or_else(|| Failed::misuse(Stage::Reach, "the host has no address")))
}

/// Keeps a session that is of the kind that is wanted, or as a last resort.
async fn judge(
    wanted: TargetSession,
    mut opened: Connected,
    deadline: Instant,
) -> Result<(Connected, Suits), Failed> {
    if wanted == TargetSession::Any {
        return Ok((opened, Suits::Yes));
    }
    let asked =
        async { suitable::role(&mut opened).await.map_err(|error| Failed { error, stage: Stage::Startup }) };
    let why = match suits(wanted, within(deadline, asked).await?) {
        Suits::No(why) => why,
        suits => return Ok((opened, suits)),
    };
    // Says goodbye; a server that does not listen is not waited for.
    let Connected { client, connection, .. } = opened;
    drop(client);
    timeout(Duration::from_millis(100), connection).await.ok();
    Err(Failed::new(Stage::Unsuitable, Cause::Unreachable, why))
}

/// What the driver is told. It has no part in hosts and TLS, except that it takes the stream for an encrypted one, which
/// makes it ask what to bind to.
async fn config(target: &Target, ask: &Ask<'_>, deadline: Instant) -> Result<Config, Error> {
    let mut config = Config::new();
    config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    config.channel_binding(match target.tls.channel_binding {
        ChannelBinding::Disable => DriverBinding::Disable,
        ChannelBinding::Prefer => DriverBinding::Prefer,
        ChannelBinding::Require => DriverBinding::Require,
    });
    if let Some(user) = &target.user {
        config.user(user);
    }
    if let Some(database) = &target.database {
        config.dbname(database);
    }
    let options: Vec<_> = ask.options.into_iter().chain(target.options.as_deref()).collect();
    if !options.is_empty() {
        config.options(options.join(" "));
    }
    if let Some(name) = target.application_name.as_deref().or(ask.application_name) {
        config.application_name(name);
    }
    let Ok(password) = timeout_at(deadline, target.credentials.password()).await else {
        let signal = Signal::new(Cause::Unreachable, Phase::Connect);
        return Err(Error::new(signal, format!("no password was given within {:?}", ask.limit)));
    };
    if let Some(password) = password? {
        config.password(password.expose_secret());
    }
    Ok(config)
}

/// By when the first of `count` must be done.
fn share(deadline: Instant, count: usize) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    moment_after(left / u32::try_from(count).unwrap_or(u32::MAX).max(1))
}

async fn within<T>(deadline: Instant, work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let limit = deadline.saturating_duration_since(Instant::now());
    timeout_at(deadline, work).await.unwrap_or_else(|_| Err(silent(limit)))
}

fn silent(limit: Duration) -> Failed {
    // What was spent on the way here is of no interest to a reader.
    let rounded =
        Duration::from_millis(u64::try_from(limit.as_millis().next_multiple_of(10)).unwrap_or(u64::MAX));
    Failed::unreachable(format!("no answer within {rounded:?}"))
}
