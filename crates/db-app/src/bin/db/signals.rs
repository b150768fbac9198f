//! The signals that end the program: from a person, from a supervisor, and from a terminal that is closed. What is done then
//! is up to who waits for them.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    first: Option<Instant>,
}

impl Signals {
    /// From now on they no longer end the program by themselves.
    pub(crate) fn install() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            first: None,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> SignalKind {
        let (name, kind) = tokio::select! {
            _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
            _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate()),
            _ = self.hangup.recv() => ("SIGHUP", SignalKind::hangup()),
        };
        self.first.get_or_insert_with(Instant::now);
        tracing::info!(target: "db", signal = name, "stopping");
        kind
    }

    /// When the first one came.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.first
    }
}

/// What shells report of a program that a signal ended.
pub(crate) fn exit_code(kind: SignalKind) -> u8 {
    u8::try_from(kind.as_raw_value()).map_or(1, |number| number.saturating_add(128))
}

/// Ends the program now. A server of ours notices and ends as well.
pub(crate) fn at_once(code: u8) -> ! {
    eprintln!("error: stopped at once, on a second signal");
    std::process::exit(code.into())
}
