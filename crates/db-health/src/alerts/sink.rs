//! Who hears of an alert. What a message says is decided before, and how often as well.

use std::fmt;

use async_trait::async_trait;

use super::notice::{Notice, NoticeState};

/// Takes messages about alerts to somebody: a log, a chat, a pager.
///
/// A sink is given one message after another, in their order, on a task of its own: it may take its time, and hinders neither
/// the rules nor other sinks. While it is slow up to 100 messages wait for it; then the oldest are dropped, with a warning in
/// the log. A panic is an error.
///
/// ```
/// use async_trait::async_trait;
/// use db_health::{AlertSink, Notice, Undelivered};
///
/// struct Pager;
///
/// #[async_trait]
/// impl AlertSink for Pager {
///     fn name(&self) -> &str {
///         "pager"
///     }
///
///     async fn deliver(&self, notice: &Notice) -> Result<(), Undelivered> {
///         println!("{}: {}", notice.service, notice.text);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait AlertSink: Send + Sync {
    /// Name of the sink, for the log.
    fn name(&self) -> &str;

    /// Delivers a message. To try again is the sink's own business: what fails is logged, and gone.
    ///
    /// The future may be dropped at any await.
    ///
    /// # Errors
    /// When it could not be delivered.
    async fn deliver(&self, notice: &Notice) -> Result<(), Undelivered>;
}

/// Why a message could not be delivered. Its text goes to the log: no secret belongs in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered(String);

impl Undelivered {
    /// An error; `why` is a lower-case fragment without secrets.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Undelivered {}

/// Writes alerts with `tracing`, target `db::alert`: at `warn` what fires, at `info` what is resolved.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSink;

#[async_trait]
impl AlertSink for LogSink {
    fn name(&self) -> &str {
        "log"
    }

    async fn deliver(&self, notice: &Notice) -> Result<(), Undelivered> {
        let Notice { id: _, alert, state, value, threshold, unit, text, at: _, service, instance: _ } =
            notice;
        match state {
            NoticeState::Firing => {
                tracing::warn!(target: "db::alert", service, alert, value, threshold, unit, "firing: {text}")
            }
            NoticeState::Resolved => {
                tracing::info!(target: "db::alert", service, alert, value, threshold, unit, "resolved: {text}")
            }
        }
        Ok(())
    }
}
