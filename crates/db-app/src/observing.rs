//! What of watching the configuration asks for: a webhook for alerts, a Redis to look at. Without its feature each is refused by
//! name, and never ignored.

use std::sync::Arc;

#[cfg(feature = "redis")]
use db_core::ExposeSecret;
use db_health::{AlertSink, Check};

use crate::config::{AlertConfig, ObserveConfig};
use crate::opening::OpenError;

/// The webhook that hears of alerts, if one is configured.
#[cfg(feature = "webhook")]
pub(crate) fn webhook(config: &AlertConfig) -> Result<Option<Arc<dyn AlertSink>>, OpenError> {
    let (Some(url), Some(secret)) = (&config.webhook, &config.webhook_secret) else { return Ok(None) };
    let sink = db_health::WebhookSink::new(url, secret.clone())
        .map_err(|error| OpenError::Setting(format!("DB_ALERT_WEBHOOK_URL: {error}")))?;
    Ok(Some(Arc::new(sink)))
}

/// The webhook that hears of alerts, which needs a feature.
#[cfg(not(feature = "webhook"))]
pub(crate) fn webhook(config: &AlertConfig) -> Result<Option<Arc<dyn AlertSink>>, OpenError> {
    match &config.webhook {
        None => Ok(None),
        Some(_) => Err(lacks("DB_ALERT_WEBHOOK_URL", "webhook")),
    }
}

/// The check of the Redis, if one is configured.
#[cfg(feature = "redis")]
pub(crate) fn redis(config: &ObserveConfig) -> Result<Option<Check>, OpenError> {
    let Some(url) = &config.redis else { return Ok(None) };
    let probe = db_health::RedisProbe::new("redis", url.expose_secret())
        .map_err(|error| OpenError::Setting(format!("DB_REDIS_URL: {error}")))?;
    let check = Check::new(probe);
    Ok(Some(if config.is_redis_critical { check } else { check.non_critical() }))
}

/// The check of the Redis, which needs a feature.
#[cfg(not(feature = "redis"))]
pub(crate) fn redis(config: &ObserveConfig) -> Result<Option<Check>, OpenError> {
    match &config.redis {
        None => Ok(None),
        Some(_) => Err(lacks("DB_REDIS_URL", "redis")),
    }
}

#[cfg(not(all(feature = "webhook", feature = "redis")))]
fn lacks(variable: &str, feature: &str) -> OpenError {
    OpenError::Setting(format!(
        "{variable} is set, and this program was built without the feature {feature:?}"
    ))
}
