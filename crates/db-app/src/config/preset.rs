//! Presets: sets of defaults that answer to how services were seen to use the layer.

use std::time::Duration;

use db_pool::Settings;
use db_retry::Policy;
use serde::Serialize;

/// A set of defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Preset {
    /// A request-driven service: 2 to 20 connections, 2 s to get one; what fails because the server is unavailable is tried
    /// again. The default.
    #[default]
    Standard,
    /// Many short requests at once: 20 to 100 connections; connection failures are tried again after exactly 100, 200 and
    /// 400 ms.
    HighConcurrency,
    /// Work that would rather wait than fail: 60 s to get a connection, pauses of 1 s to 10 s between attempts.
    Patient,
}

impl Preset {
    /// The pool's settings under this preset.
    #[must_use]
    pub fn pool(self) -> Settings {
        let mut settings = Settings::default();
        match self {
            Self::Standard => {}
            Self::HighConcurrency => {
                settings.max = 100;
                settings.min = 20;
                settings.queue_limit = queue_limit(settings.max);
            }
            Self::Patient => {
                settings.acquire_timeout = Duration::from_secs(60);
                settings.connect_timeout = Duration::from_secs(10);
            }
        }
        pace_connecting(&mut settings, &self.retry());
        settings
    }

    /// How failed calls are tried again under this preset.
    #[must_use]
    pub fn retry(self) -> Policy {
        match self {
            Self::Standard => Policy::unavailable_server(),
            Self::HighConcurrency => Policy::connection_failures(),
            Self::Patient => Policy::patient(),
        }
    }

    /// The most connections that `DB_POOL_MAX` may ask for, unless `DB_POOL_CEILING` says otherwise.
    #[must_use]
    pub fn ceiling(self) -> u32 {
        match self {
            Self::Standard | Self::Patient => 20,
            Self::HighConcurrency => 100,
        }
    }
}

/// One setting for both: the pool tries again to connect, the layer above it tries again all else.
pub(super) fn pace_connecting(pool: &mut Settings, retry: &Policy) {
    pool.connect_retry.max_retries = retry.max_retries as usize;
    (pool.connect_retry.initial_delay, pool.connect_retry.max_delay) = (retry.initial_delay, retry.max_delay);
}

/// The most callers that wait, unless `DB_QUEUE_LIMIT` says otherwise: ten for each connection.
pub(super) fn queue_limit(max: u32) -> usize {
    max as usize * 10
}
