//! Alerts by HTTP: a signed POST for each message, tried again while the receiver is away. The queue in front of it and its task
//! are not here: every sink has them.
//!
//! The URL may be a secret as a whole: errors and logs name the receiver's origin at most.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use db_core::{ExposeSecret, SecretString};
use jiff::Timestamp;
use reqwest::{Client, StatusCode, Url, header, redirect};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::sleep;

use super::notice::Notice;
use super::signature::sign;
use super::sink::{AlertSink, Undelivered};

/// How often a message is sent at most: with the pauses below for about a quarter of an hour, which a receiver may need to come
/// back.
const ATTEMPTS: u32 = 20;

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The shortest secret, in bytes.
const SHORTEST: usize = 16;

/// Sends alerts to a URL.
///
/// Each message is a POST with the [`Notice`] as JSON, and the headers
/// - `X-Db-Signature: t=UNIX_SECONDS,v1=HEX`, which [`verify_signature`](crate::verify_signature) checks and explains;
/// - `X-Db-Event-Id`, the notice's `id`, which stays the same when a message is sent again.
///
/// Any 2xx is an answer. On a failure to connect or to get an answer, 429 and 5xx it is sent again, for a quarter of
/// an hour with pauses of 0.5, 1, 2 ... 60 s; a message may arrive twice by that, and those behind it wait. Every other answer is final, a redirect as well: what is signed for one receiver is
/// not carried to another. Bodies of answers are not read. Proxies of the environment are not used.
///
/// `https` trusts the root certificates of the system. With `http` everybody on the way can read messages and the URL; the
/// signature holds nevertheless.
pub struct WebhookSink {
    client: Client,
    url: Url,
    secret: SecretString,
    timeout: Duration,
    backoff: Duration,
    attempts: u32,
}

impl WebhookSink {
    /// A sink that posts to `url` and signs with `secret`, which has at least 16 bytes. Reads the root certificates of the system:
    /// this blocks for some milliseconds, and belongs to a service's start.
    ///
    /// # Errors
    /// When the URL is none of `http` or `https`, the secret is too short, or there are no root certificates.
    pub fn new(url: &SecretString, secret: SecretString) -> Result<Self, WebhookError> {
        let url = Url::parse(url.expose_secret()).map_err(|_| WebhookError::Url)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(WebhookError::Url);
        }
        if secret.expose_secret().len() < SHORTEST {
            return Err(WebhookError::Secret);
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls(url.scheme() == "https")?)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("db-health/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| WebhookError::Tls)?;
        Ok(Self {
            client,
            url,
            secret,
            timeout: Duration::from_secs(5),
            backoff: Duration::from_millis(500),
            attempts: ATTEMPTS,
        })
    }

    /// The time limit of one attempt, from the name's resolution to the answer's headers. Default 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The first pause between two attempts; each further one is twice as long. Default 500 ms.
    #[must_use]
    pub fn backoff(mut self, pause: Duration) -> Self {
        self.backoff = pause;
        self
    }

    /// How often a message is sent at most. Default 20, which is for about a quarter of an hour; 0 counts as 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sends the message once.
    async fn attempt(&self, id: &str, body: &[u8]) -> Result<(), Failure> {
        // Signed anew each time: a receiver refuses what is old.
        let signature = sign(self.secret.expose_secret().as_bytes(), body, Timestamp::now());
        let request = self
            .client
            .post(self.url.clone())
            .timeout(self.timeout)
            .header(header::CONTENT_TYPE, "application/json")
            .header("X-Db-Signature", signature)
            .header("X-Db-Event-Id", id)
            .body(body.to_vec());
        match request.send().await {
            Ok(answer) => judge(answer.status()),
            Err(error) => Err(Failure { is_final: error.is_builder(), text: self.describe(&error) }),
        }
    }

    /// What went wrong, without the URL.
    fn describe(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {:.1} s", self.timeout.as_secs_f64());
        }
        if !error.is_connect() {
            return "the connection broke before the answer".to_owned();
        }
        // The innermost is the system's or TLS's own, which know addresses but no URL.
        let mut innermost = error.source();
        while let Some(deeper) = innermost.and_then(|error| error.source()) {
            innermost = Some(deeper);
        }
        innermost.map_or_else(|| "cannot connect".to_owned(), |cause| format!("cannot connect: {cause}"))
    }

    /// Scheme, host and port: the parts of the URL that are no secret.
    fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

#[async_trait]
impl AlertSink for WebhookSink {
    fn name(&self) -> &str {
        "webhook"
    }

    async fn deliver(&self, notice: &Notice) -> Result<(), Undelivered> {
        let body = serde_json::to_vec(notice).map_err(|error| Undelivered::new(error.to_string()))?;
        let mut pause = self.backoff;
        let mut attempt = 1;
        loop {
            let Err(failure) = self.attempt(&notice.id, &body).await else { return Ok(()) };
            let (origin, text) = (self.origin(), failure.text);
            let attempts = self.attempts;
            if failure.is_final || attempt >= attempts {
                return Err(Undelivered::new(format!("{origin}: {text} (attempt {attempt} of {attempts})")));
            }
            tracing::debug!(target: "db::alert", origin, attempt, ?pause, error = text, "sending again");
            sleep(pause).await;
            (pause, attempt) = (pause.saturating_mul(2).min(LONGEST_PAUSE), attempt + 1);
        }
    }
}

impl fmt::Debug for WebhookSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSink").field("origin", &self.origin()).finish_non_exhaustive()
    }
}

/// Why a [`WebhookSink`] cannot be made. Holds no part of the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebhookError {
    /// The URL is not one of `http` or `https`.
    Url,
    /// The secret is too short.
    Secret,
    /// The system has no root certificates.
    Roots,
    /// TLS cannot be set up.
    Tls,
}

impl fmt::Display for WebhookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("the URL of the webhook is not one of http or https"),
            Self::Secret => write!(f, "the secret of the webhook has fewer than {SHORTEST} bytes"),
            Self::Roots => f.write_str("this system has no root certificates, which https needs"),
            Self::Tls => f.write_str("TLS cannot be set up for the webhook"),
        }
    }
}

impl std::error::Error for WebhookError {}

/// Why an attempt failed.
struct Failure {
    is_final: bool,
    text: String,
}

fn judge(status: StatusCode) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let is_final = status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error();
    let why = if status.is_redirection() { ": redirects are not followed" } else { "" };
    Err(Failure { is_final, text: format!("answered {}{why}", status.as_u16()) })
}

fn tls(needs_roots: bool) -> Result<ClientConfig, WebhookError> {
    let mut roots = RootCertStore::empty();
    if needs_roots {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(WebhookError::Roots);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|_| WebhookError::Tls)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_answers_are_final() {
        let check = |status: u16, expect: Option<bool>| {
            let judged = judge(StatusCode::from_u16(status).expect("a status"));
            assert_eq!(judged.err().map(|failure| failure.is_final), expect, "{status}");
        };
        check(200, None);
        check(204, None);
        check(302, Some(true));
        check(400, Some(true));
        check(401, Some(true));
        check(410, Some(true));
        check(429, Some(false));
        check(500, Some(false));
        check(503, Some(false));
    }

    #[test]
    fn what_cannot_work_is_refused_without_the_url() {
        let check = |url: &str, secret: &str, expect: WebhookError| {
            let error = WebhookSink::new(&url.to_owned().into(), secret.to_owned().into()).expect_err(url);
            assert_eq!(error, expect, "{url}");
        };
        let secret = "0123456789abcdef";
        check("", secret, WebhookError::Url);
        check("hooks.example.org/hunter2", secret, WebhookError::Url);
        check("ftp://hooks.example.org/hunter2", secret, WebhookError::Url);
        check("file:///hunter2", secret, WebhookError::Url);
        check("http://hooks.example.org/hunter2", "short", WebhookError::Secret);
    }

    #[test]
    fn only_the_origin_is_shown() {
        let url = "http://app:hunter2@hooks.example.org:8080/hunter2?token=hunter2";
        let sink = WebhookSink::new(&url.to_owned().into(), "hunter2-hunter2-hunter2".to_owned().into());
        let shown = format!("{:?}", sink.expect("a sink"));
        assert_eq!(shown, "WebhookSink { origin: \"http://hooks.example.org:8080\", .. }");
    }
}
