//! The variables that say how the layer is watched: where traces and metrics are sent, when an alert fires and whom it tells,
//! and whether there is a Redis to look at.

use std::time::Duration;

use db_core::SecretString;

use super::Source;
use super::read::{Reader, variable};

/// How the layer is watched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ObserveConfig {
    /// Where metrics and traces go by OTLP over HTTP, such as `http://127.0.0.1:4318`; `None` sends nothing. What the collector asks
    /// for beside them is in `OTEL_EXPORTER_OTLP_HEADERS`, which OpenTelemetry reads by itself.
    pub otlp_endpoint: Option<String>,
    /// The share of traces that begin here and are sent, from 0 to 1. One that a caller began is continued as he decided.
    pub trace_ratio: f64,
    /// Whether statements that are sent as text say in a comment who sends them, as SQLCommenter does. Those that are prepared are
    /// not: that is all of them, unless a pooler gives each transaction another session, and what is sent by `batch`.
    pub has_sql_comments: bool,
    /// When alerts fire.
    pub alerts: AlertConfig,
    /// The Redis whose health is part of ours; `None` looks at none.
    pub redis: Option<SecretString>,
    /// Whether the service cannot live without it.
    pub is_redis_critical: bool,
}

/// When alerts fire, and whom they tell.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AlertConfig {
    /// The pause between two looks at the figures.
    pub interval: Duration,
    /// Connections in use, in per cent of the most.
    pub utilization: f64,
    /// How long an operation takes on average.
    pub latency: Duration,
    /// Operations that fail, in per cent.
    pub error_rate: f64,
    /// Who is told by HTTP; the URL may hold a token.
    pub webhook: Option<SecretString>,
    /// What these messages are signed with.
    pub webhook_secret: Option<SecretString>,
}

impl Reader<'_> {
    pub(super) fn observe(&mut self) -> ObserveConfig {
        let otlp_endpoint = self.text("DB_OTLP_ENDPOINT", None, |url| {
            // A name and a password in it would not be sent, and seen in a log of HTTP.
            is_http_url(url) && !url.contains('@')
        });
        let trace_ratio = self.number("DB_TRACE_RATIO", 1.0, 0.0, 1.0, Source::Default);
        let has_sql_comments = self.word("DB_SQL_COMMENTER", false, &[("true", true), ("false", false)]);
        let alerts = self.alerts();
        let is_redis_url = |url: &str| url.starts_with("redis://") || url.starts_with("redis+unix://");
        let redis = self.text("DB_REDIS_URL", None, is_redis_url).map(SecretString::from);
        let is_redis_critical = self.word("DB_REDIS_CRITICAL", true, &[("true", true), ("false", false)]);
        ObserveConfig { otlp_endpoint, trace_ratio, has_sql_comments, alerts, redis, is_redis_critical }
    }

    fn alerts(&mut self) -> AlertConfig {
        let interval = self.millis("DB_ALERT_INTERVAL_MS", Duration::from_secs(5), 1, Source::Default);
        let utilization = self.number("DB_ALERT_UTILIZATION", 80.0, 1.0, 100.0, Source::Default);
        let latency = self.millis("DB_ALERT_LATENCY_MS", Duration::from_millis(500), 1, Source::Default);
        let error_rate = self.number("DB_ALERT_ERROR_RATE", 5.0, 0.0, 100.0, Source::Default);
        let webhook = self.text("DB_ALERT_WEBHOOK_URL", None, is_http_url).map(SecretString::from);
        let is_secret = |secret: &str| secret.chars().count() >= 16;
        let webhook_secret = self.text("DB_ALERT_WEBHOOK_SECRET", None, is_secret).map(SecretString::from);
        if webhook.is_some() && webhook_secret.is_none() && !self.is_set("DB_ALERT_WEBHOOK_SECRET") {
            let accepts = variable("DB_ALERT_WEBHOOK_SECRET").accepts;
            self.errors.push(format!(
                "DB_ALERT_WEBHOOK_SECRET is not set, and DB_ALERT_WEBHOOK_URL is: expected {accepts}"
            ));
        }
        AlertConfig { interval, utilization, latency, error_rate, webhook, webhook_secret }
    }
}

/// Whether it is a URL of HTTP with a host. Everything else about it shows when it is used.
fn is_http_url(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{load, refused, shown};
    use super::*;

    /// E10: the limits of the requirement are the defaults, and each can be changed.
    #[test]
    fn limits_of_alerts() {
        let alerts = load(&[]).observe.alerts;
        assert_eq!((alerts.utilization, alerts.latency), (80.0, Duration::from_millis(500)));
        assert!(alerts.webhook.is_none());
        let alerts = load(&[("DB_ALERT_UTILIZATION", "90"), ("DB_ALERT_LATENCY_MS", "50")]).observe.alerts;
        assert_eq!((alerts.utilization, alerts.latency), (90.0, Duration::from_millis(50)));
    }

    /// C9: where alerts go, and what signs them, is not shown.
    #[test]
    fn a_webhook_needs_a_secret() {
        let url = ("DB_ALERT_WEBHOOK_URL", "https://hooks.example/T0/hunter2");
        assert!(refused(&[url]).contains("DB_ALERT_WEBHOOK_SECRET is not set"), "{}", refused(&[url]));
        let short = refused(&[url, ("DB_ALERT_WEBHOOK_SECRET", "hunter2")]);
        assert_eq!(short, "DB_ALERT_WEBHOOK_SECRET=*** (environment): expected at least 16 characters");
        let config = load(&[url, ("DB_ALERT_WEBHOOK_SECRET", "0123456789abcdef")]);
        assert!(config.observe.alerts.webhook.is_some());
        assert_eq!(shown(&config, "DB_ALERT_WEBHOOK_URL").0, Some("***"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    /// Nothing is added to statements unless it is asked for.
    #[test]
    fn comments_are_asked_for() {
        assert!(!load(&[]).observe.has_sql_comments);
        let config = load(&[("DB_SQL_COMMENTER", "true")]);
        assert!(config.observe.has_sql_comments);
        assert_eq!(shown(&config, "DB_SQL_COMMENTER").0, Some("true"));
        let said = refused(&[("DB_SQL_COMMENTER", "yes")]);
        assert_eq!(said, "DB_SQL_COMMENTER=yes (environment): expected true or false");
    }

    #[test]
    fn urls_are_checked() {
        let said = refused(&[("DB_OTLP_ENDPOINT", "localhost:4318")]);
        assert!(said.starts_with("DB_OTLP_ENDPOINT=localhost:4318 (environment): expected"), "{said}");
        let config = load(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")]);
        assert_eq!(config.observe.otlp_endpoint.as_deref(), Some("http://127.0.0.1:4318"));
        // C9: it is no place for a password, and one that is there is not shown.
        let said = refused(&[("DB_OTLP_ENDPOINT", "http://app:hunter2@127.0.0.1:4318")]);
        assert!(said.starts_with("DB_OTLP_ENDPOINT=*** (environment): expected"), "{said}");
        assert!(refused(&[("DB_REDIS_URL", "http://x")]).starts_with("DB_REDIS_URL=***"));
    }
}
