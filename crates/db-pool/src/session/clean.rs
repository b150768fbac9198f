//! Cleaning a session after its user: what runs is cancelled, what is open is rolled back, what was changed is undone.

use std::time::Duration;

use db_core::{Cause, Error, Phase, Result, Signal};
use tokio::time::timeout;

use super::Session;
use crate::Reset;
use crate::wire::{Effects, Transaction};

/// `DISCARD ALL`, but for the prepared statements, of which the driver has its own.
const DISCARD: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *;
    SELECT pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES";

/// What a busy server may need to read that a COPY was given up. One that waits for a lock reads nothing.
const COPY_ENDS_WITHIN: Duration = Duration::from_secs(1);

impl Session {
    /// Asks the server to stop what runs here, and waits until it has been asked.
    pub(crate) async fn cancel(&self) -> Result<()> {
        let (process_id, secret_key) = self.wire.process();
        self.canceller.cancel(process_id, secret_key).await
    }

    /// Brings the session back to where it began: nothing runs, no transaction is open, and nothing is left of its user as
    /// far as `reset` goes. An error means that it is not known to be clean.
    pub(crate) async fn clean(&self, has_unfinished: bool, reset: Reset) -> Result<()> {
        if has_unfinished {
            self.stop_what_runs().await?;
        }
        if let Some(pooled) = &self.pooled {
            pooled.lookups.rest().await;
        }
        if self.wire.is_owed() {
            self.sync().await?;
        }
        if self.wire.transaction() != Transaction::None {
            self.roll_back().await?;
        }
        match reset {
            _ if self.pooled.is_some() => {}
            Reset::None => {}
            // The driver goes on to use statements that are gone, or knows none of those that are there.
            _ if self.wire.effects().has(Effects::STATEMENTS) => {
                let message = "the prepared statements of the session were changed by SQL";
                return Err(Error::new(Signal::new(Cause::Misuse, Phase::Execute), message));
            }
            Reset::Light => {
                let undo = undo(self.wire.effects());
                if !undo.is_empty() {
                    self.send_simple(&undo, Phase::Execute).await?;
                    self.set_up().await?;
                }
            }
            Reset::Discard => {
                self.send_simple(DISCARD, Phase::Execute).await?;
                self.set_up().await?;
            }
        }
        self.wire.clear_effects();
        Ok(())
    }

    /// Whether there is anything to clean.
    pub(crate) fn is_clean(&self, reset: Reset) -> bool {
        let is_untouched = match reset {
            _ if self.pooled.is_some() => true,
            Reset::None => true,
            Reset::Light => self.wire.effects() == Effects::NONE,
            Reset::Discard => false,
        };
        is_untouched && self.wire.is_quiet()
    }

    /// Cancels until the server has answered everything. What was given up may still wait inside the driver when the first
    /// request arrives, so one is not always enough.
    async fn stop_what_runs(&self) -> Result<()> {
        let mut synced = std::pin::pin!(self.sync());
        let mut pause = Duration::from_millis(10);
        if self.wire.is_copying() {
            // The driver ends the data by itself. What is cancelled meanwhile may be answered twice.
            if let Ok(done) = timeout(COPY_ENDS_WITHIN, &mut synced).await {
                return done;
            }
            self.cancel().await.ok();
            let message = "the server did not take the end of a COPY that was given up";
            return Err(Error::new(Signal::new(Cause::Lost, Phase::Execute), message));
        }
        loop {
            let cancelled = self.cancel().await;
            match timeout(pause, &mut synced).await {
                Ok(done) => {
                    done?;
                    // A request that nobody saw the end of may hit whoever comes next.
                    cancelled?;
                    break;
                }
                Err(_) => pause = (pause * 2).min(Duration::from_millis(500)),
            }
        }
        // The last request has been delivered, to this at the latest.
        self.sync().await
    }
}

/// Undoes what was seen, in one round trip.
fn undo(effects: Effects) -> String {
    let undo = [
        // The role is a setting that RESET ALL leaves alone.
        (Effects::SETTING, "SET SESSION AUTHORIZATION DEFAULT; RESET ALL"),
        (Effects::LISTEN, "UNLISTEN *"),
        (Effects::CURSOR, "CLOSE ALL"),
        (Effects::LOCK, "SELECT pg_advisory_unlock_all()"),
    ];
    let undo = undo.iter().filter(|(effect, _)| effects.has(*effect)).map(|(_, sql)| *sql);
    undo.collect::<Vec<_>>().join("; ")
}
