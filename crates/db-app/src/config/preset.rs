//! Presets: sets of defaults that answer to how services were seen to use the layer.

use std::time::Duration;

use db_pool::Settings;
use serde::Serialize;

/// A set of defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Preset {
    /// A request-driven service: 2 to 20 connections, 2 s to get one. The default.
    #[default]
    Standard,
    /// Many short requests at once: 20 to 100 connections.
    HighConcurrency,
    /// Work that would rather wait than fail: 60 s to get a connection, pauses of 1 s to 10 s between connects.
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
                settings.connect_retry.initial_delay = Duration::from_secs(1);
                settings.connect_retry.max_delay = Duration::from_secs(10);
            }
        }
        settings
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

/// The most callers that wait, unless `DB_QUEUE_LIMIT` says otherwise: ten for each connection.
pub(super) fn queue_limit(max: u32) -> usize {
    max as usize * 10
}
