//! A service that runs, asked for its figures over HTTP. What is shown of them is in `tables`.
//!
//! The token is in no error, nor is what a URL has beside host, port and path.

use std::error::Error as _;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use db_app::Config;
use db_app::core::ExposeSecret;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, StatusCode, Url, redirect};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::{Value, json};

use super::tables::Figures;
use crate::watch::Look;

/// From the name's resolution to the end of the answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Where it is, and what it is asked with.
pub(super) struct Service {
    client: Client,
    /// Of its figures.
    url: Url,
    authorization: Option<HeaderValue>,
}

/// A URL that can be none of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misuse(String);

/// An answer of a service.
pub(super) struct Answer {
    document: Value,
    figures: Figures,
}

/// One look at a service.
pub(super) enum Seen {
    Answered(Box<Answer>),
    /// It gave none, at this time and for this reason.
    Failed(Timestamp, String),
}

impl Service {
    /// The service at `url`, or the one that is configured. Reads the root certificates of the system for `https`.
    pub(super) fn new(url: Option<&str>, config: &Config) -> Result<Result<Self>, Misuse> {
        let configured = || {
            let mut address = config.http_addr;
            // Who listens on all addresses is called by one of them.
            match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
                _ => {}
            }
            format!("http://{address}")
        };
        let url = figures_of(&url.map_or_else(configured, str::to_owned))?;
        Ok(Self::with(url, config))
    }

    fn with(url: Url, config: &Config) -> Result<Self> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls(url.scheme() == "https")?)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .timeout(LIMIT)
            .user_agent(concat!("db/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| anyhow!("cannot set up TLS"))?;
        let authorization = config.http_token.as_ref().map(|token| {
            let bytes = format!("Bearer {}", token.expose_secret());
            let mut value = HeaderValue::from_bytes(bytes.as_bytes())
                .map_err(|_| anyhow!("DB_HTTP_TOKEN: has what no header of HTTP can have"))?;
            value.set_sensitive(true);
            anyhow::Ok(value)
        });
        Ok(Self { client, url, authorization: authorization.transpose()? })
    }

    pub(super) async fn ask(&self) -> Result<Answer> {
        let mut request = self.client.get(self.url.clone());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let answer = request.send().await.map_err(|error| self.unreached(&error))?;
        let url = &self.url;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED if self.authorization.is_some() => bail!(
                "{url} answered 401: DB_HTTP_TOKEN is not the token of that service; set it to the one that the service was started with"
            ),
            StatusCode::UNAUTHORIZED => {
                bail!("{url} answered 401: set DB_HTTP_TOKEN to the token that the service was started with")
            }
            status if status.is_redirection() => bail!(
                "{url} answered {}: redirects are not followed; name the URL of the service itself",
                status.as_u16()
            ),
            status => bail!(
                "{url} answered {}: is that where the endpoints of a service are (--service URL)?",
                status.as_u16()
            ),
        }
        let body = answer.bytes().await.map_err(|error| self.unreached(&error))?;
        let read = || -> Result<Answer, serde_json::Error> {
            let document: Value = serde_json::from_slice(&body)?;
            Ok(Answer { figures: Figures::deserialize(&document)?, document })
        };
        read().with_context(|| {
            format!("{url} answered, but not with the figures of a service of this version; name another (--service URL)")
        })
    }

    /// What is seen now, also if that is nothing.
    pub(super) async fn look(&self) -> Seen {
        match self.ask().await {
            Ok(answer) => Seen::Answered(Box::new(answer)),
            Err(error) => Seen::Failed(Timestamp::now(), format!("{error:#}")),
        }
    }

    fn unreached(&self, error: &reqwest::Error) -> anyhow::Error {
        let url = &self.url;
        if error.is_timeout() {
            return anyhow!("no answer from {url} within {} s; does the service hang?", LIMIT.as_secs());
        }
        if !error.is_connect() {
            return anyhow!("the connection to {url} broke before the end of the answer");
        }
        // The innermost is the system's or TLS's own.
        let mut innermost = error.source();
        while let Some(deeper) = innermost.and_then(|error| error.source()) {
            innermost = Some(deeper);
        }
        let cause = innermost.map_or_else(|| "cannot connect".to_owned(), ToString::to_string);
        anyhow!(
            "cannot reach {url}: {cause}; start the service, or name the URL of another (--service URL, DB_HTTP_ADDR)"
        )
    }
}

/// Where a service with its endpoints at `given` has its figures.
fn figures_of(given: &str) -> Result<Url, Misuse> {
    let whole = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    let mut url = Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.take_if(|url| url.has_host() && url.query().is_none() && url.fragment().is_none());
    // Between the scheme and an @ there may be a password.
    let Some(mut url) = url.filter(|_| !given.contains('@')) else {
        let shown = if given.contains(['@', '?', '#']) { "***" } else { given };
        return Err(Misuse(format!(
            "--service {shown}: expected http or https, host and port, such as http://127.0.0.1:8080; the token is that of DB_HTTP_TOKEN"
        )));
    };
    let path = format!("{}/api/metrics/db", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn tls(needs_roots: bool) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if needs_roots {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            bail!("this system has no root certificates, which https needs");
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Look for Answer {
    fn document(&self) -> Result<Value> {
        Ok(self.document.clone())
    }

    fn lines(&self) -> Vec<String> {
        self.figures.lines()
    }
}

impl Look for Seen {
    fn document(&self) -> Result<Value> {
        match self {
            Self::Answered(answer) => answer.document(),
            Self::Failed(at, error) => {
                Ok(json!({ "timestamp": format!("{at:.3}"), "error": { "message": error } }))
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        match self {
            Self::Answered(answer) => answer.lines(),
            Self::Failed(at, error) => vec![format!("{at:.3}"), format!("error: {error}")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_below_where_the_endpoints_are() {
        let check = |given: &str, expect: &str| {
            assert_eq!(figures_of(given).expect(given).as_str(), expect, "{given}");
        };
        check("http://127.0.0.1:8080", "http://127.0.0.1:8080/api/metrics/db");
        check("https://example.org/", "https://example.org/api/metrics/db");
        check("https://example.org/ops", "https://example.org/ops/api/metrics/db");
        check("localhost:8080", "http://localhost:8080/api/metrics/db");
        check("[::1]:8080", "http://[::1]:8080/api/metrics/db");
    }

    #[test]
    fn what_is_no_url_of_a_service_is_refused_without_secrets() {
        let check = |given: &str, shown: &str| {
            let text = figures_of(given).expect_err(given).to_string();
            assert!(text.starts_with(&format!("--service {shown}: expected http or https")), "{text}");
        };
        check("", "");
        check("ftp://example.org", "ftp://example.org");
        check("http://", "http://");
        check("http://a b", "http://a b");
        check("http://127.0.0.1:99999", "http://127.0.0.1:99999");
        check("http://app:hunter2@example.org", "***");
        check("app:hunter2@example.org", "***");
        check("http://example.org?token=hunter2", "***");
        check("http://example.org#hunter2", "***");
    }
}
