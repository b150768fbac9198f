//! Passwords from a command, such as one that prints a cloud's token. All who ask while it runs share one run, and what it
//! printed serves for a while.
//!
//! A run is a task of its own, not a part of whoever asked first: a caller that gives up, because it has less time than the
//! command takes, leaves it running for the next one. It ends with the provider.

use std::ffi::OsString;
use std::fmt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Cause, CredentialProvider, Error, Result, SecretString};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{LONGEST, error, password};

/// The password that a command prints, without a newline at its end.
///
/// The command is run without a shell, with this process's environment and nothing to read. What it writes to its standard
/// error is thrown away, since it may be as secret as the rest.
pub struct CommandPassword {
    program: OsString,
    arguments: Vec<OsString>,
    time_limit: Duration,
    lifetime: Duration,
    run: Mutex<Option<Run>>,
}

/// A run, going on or done.
struct Run {
    outcome: watch::Receiver<Outcome>,
    _task: AbortOnDropHandle<()>,
}

/// `None` until the run is done.
type Outcome = Option<Result<Printed, Arc<Error>>>;

struct Printed {
    password: SecretString,
    at: Instant,
}

impl CommandPassword {
    /// What `program` prints when it is run with `arguments`.
    #[must_use]
    pub fn new<A: Into<OsString>>(
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            // A cloud's tool starts slowly and asks over the network.
            time_limit: Duration::from_secs(10),
            // Tokens of the clouds live for 15 minutes.
            lifetime: Duration::from_secs(10 * 60),
            run: Mutex::new(None),
        }
    }

    /// How long one run may take, after which it is killed; 10 s by default. It may be more than a caller's own limit.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// How long a password is used before the command is run again; 10 minutes by default.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// The outcome of the run that counts: one that goes on, or one whose password is still good; otherwise of a new one.
    fn outcome(&self) -> watch::Receiver<Outcome> {
        let mut slot = self.run();
        if let Some(run) = &*slot {
            let is_good = match &*run.outcome.borrow() {
                // Without a sender it will never be done: its runtime is gone.
                None => run.outcome.has_changed().is_ok(),
                Some(Ok(printed)) => printed.at.elapsed() < self.lifetime,
                Some(Err(_)) => false,
            };
            if is_good {
                return run.outcome.clone();
            }
        }
        let (sender, outcome) = watch::channel(None);
        let printed = self.print();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let printed = printed.await.map_err(Arc::new);
            sender.send_replace(Some(printed));
        }));
        *slot = Some(Run { outcome: outcome.clone(), _task: task });
        outcome
    }

    /// One run, without a reference to the provider, so that the run does not keep it alive.
    fn print(&self) -> impl Future<Output = Result<Printed>> + Send + 'static {
        let name = self.program.to_string_lossy().into_owned();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let limit = self.time_limit;
        async move {
            let (status, output) = match timeout(limit, output(command)).await {
                Ok(Ok(done)) => done,
                Ok(Err(reason)) => {
                    let reason = format!("cannot run the password command {name}: {reason}");
                    return Err(error(Cause::Misuse, reason));
                }
                Err(_) => {
                    let reason = format!("the password command {name} was not done within {limit:?}");
                    return Err(error(Cause::Unreachable, reason));
                }
            };
            // One that prints too much is stopped by the pipe that nobody reads any more.
            if !status.success() && output.len() <= LONGEST {
                let reason = format!("the password command {name} failed ({status})");
                return Err(error(Cause::Unreachable, reason));
            }
            let password = password(output, format_args!("that the command {name} printed"));
            let password = password.map_err(|reason| error(Cause::Unreachable, reason))?;
            Ok(Printed { password, at: Instant::now() })
        }
    }

    fn run(&self) -> MutexGuard<'_, Option<Run>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs to the end, or until more is printed than any password has. Dropping the future kills the command.
async fn output(mut command: Command) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let mut child = command.spawn()?;
    let mut bytes = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // More than the longest, so that what is too long is noticed.
        stdout.take(LONGEST as u64 + 3).read_to_end(&mut bytes).await?;
    }
    Ok((child.wait().await?, bytes))
}

#[async_trait]
impl CredentialProvider for CommandPassword {
    /// # Errors
    /// When the command cannot be run, takes too long, fails, or prints what is no password. The text names the program and
    /// its exit code, never what it printed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the run to the others who wait for it, and to the next who asks.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    async fn password(&self) -> Result<Option<SecretString>> {
        // Twice, since a run ends early when the runtime of whoever began it does.
        for _ in 0..2 {
            let mut outcome = self.outcome();
            let Ok(outcome) = outcome.wait_for(Option::is_some).await else { continue };
            match &*outcome {
                Some(Ok(printed)) => return Ok(Some(printed.password.clone())),
                Some(Err(error)) => return Err(error.duplicate()),
                None => {}
            }
        }
        let program = self.program.to_string_lossy();
        Err(error(Cause::Unreachable, format!("the password command {program} was interrupted")))
    }

    /// A run that goes on began after the refused password was given out: it stays.
    fn refused(&self) {
        let mut slot = self.run();
        if slot.as_ref().is_some_and(|run| run.outcome.borrow().is_some()) {
            *slot = None;
        }
    }
}

/// Without the arguments, which may be secret.
impl fmt::Debug for CommandPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandPassword")
            .field("program", &self.program)
            .field("time_limit", &self.time_limit)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
