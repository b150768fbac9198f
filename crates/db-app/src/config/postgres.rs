//! Which PostgreSQL: one that is given by a URL or its parts, or one that is started.

use std::path::PathBuf;

use db_pool::{ConfigError, Target, TargetBuilder, TlsMode};

use super::layers::Raw;
use super::password::Beside;
use super::read::{Reader, show, variable};
use super::{Environment, Source};

/// Which PostgreSQL is used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Postgres {
    /// One that runs already.
    Given(Box<Target>),
    /// One of our own, with its data in this folder.
    Embedded(PathBuf),
}

const PARTS: [&str; 5] =
    ["POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"];

/// Variables that win over what the URL says, with libpq's names for them.
pub(super) const OVERRIDES: [(&str, &str); 5] = [
    ("DB_SSL_MODE", "sslmode"),
    ("DB_SSL_ROOT_CERT", "sslrootcert"),
    ("DB_SSL_CERT", "sslcert"),
    ("DB_SSL_KEY", "sslkey"),
    ("DB_CHANNEL_BINDING", "channel_binding"),
];

impl<'a> Reader<'a> {
    /// The server that is given, if one is; what was said about it, and what is wrong with it.
    pub(super) fn given(&mut self, environment: Environment) -> Option<Target> {
        let may_be_plain = self.word("DB_ALLOW_PLAINTEXT", false, &[("true", true), ("false", false)]);
        let url = self.find("DATABASE_URL");
        let parts = PARTS.map(|name| self.find_and_show(name));
        let overrides = OVERRIDES.map(|(name, _)| self.find_and_show(name));
        let begun = match &url {
            Some(url) => {
                if let Some(part) = parts.iter().flatten().next() {
                    self.warnings.push(format!("{} is ignored, since DATABASE_URL is set", part.name));
                }
                let parsed = url.value.parse();
                parsed.map_err(|error| self.refuse_url(url, &error)).ok()
            }
            None if parts.iter().any(Option::is_some) => Some(self.parts(&parts)),
            None => {
                let ignored = overrides.iter().flatten();
                let lines = ignored.map(|raw| format!("{} is ignored, since no server is given", raw.name));
                self.warnings.extend(lines);
                None
            }
        };
        let has_password = begun.as_ref().is_some_and(TargetBuilder::has_password);
        let credentials = self.credentials(&Beside {
            is_server_given: url.is_some() || parts.iter().any(Option::is_some),
            url: url.as_ref().filter(|_| has_password),
            part: parts[4].as_ref().filter(|_| url.is_none()),
        });
        let begun = match (begun, credentials) {
            (Some(begun), Some(credentials)) => Some(begun.credentials(credentials)),
            (begun, _) => begun,
        };
        let target = begun.and_then(|begun| self.finish(begun, url.as_ref(), &overrides));
        let shown = match (&target, &url) {
            (_, None) => None,
            (Some(target), _) => Some(target.masked()),
            (None, Some(url)) => Some(hidden(url.value).to_owned()),
        };
        self.show(variable("DATABASE_URL"), url.as_ref(), shown, Source::Default);
        if let Some(target) = &target
            && environment == Environment::Production
            && !may_be_plain
        {
            self.require_tls(target, url.as_ref(), &overrides[0]);
        }
        target
    }

    /// A URL beside `DATABASE_URL`. What wins over that wins over it as well; a password that it lacks is that of the same role.
    pub(super) fn target_beside(
        &mut self,
        environment: Environment,
        url: &Raw<'_>,
        given: Option<&Target>,
    ) -> Option<Target> {
        let parsed: Result<TargetBuilder, _> = url.value.parse();
        let begun = parsed.map_err(|error| self.refuse_url(url, &error)).ok()?;
        let has_password = begun.has_password();
        let overrides = OVERRIDES.map(|(name, _)| self.find(name));
        let found = self.finish(begun, Some(url), &overrides)?;
        let may_be_plain = self.find("DB_ALLOW_PLAINTEXT").is_some_and(|raw| raw.value == "true");
        if environment == Environment::Production && !may_be_plain {
            self.require_tls(&found, Some(url), &overrides[0]);
        }
        match given {
            Some(given) if !has_password && given.user() == found.user() => {
                Some(found.with_credentials_of(given))
            }
            _ => Some(found),
        }
    }

    pub(super) fn find_and_show(&mut self, name: &'static str) -> Option<Raw<'a>> {
        let (variable, raw) = (variable(name), self.find(name));
        let value = raw.as_ref().map(|raw| show(variable, raw.value));
        self.show(variable, raw.as_ref(), value, Source::Default);
        raw
    }

    /// What is not said is as the images of PostgreSQL have it.
    fn parts(&mut self, parts: &[Option<Raw<'_>>; 5]) -> TargetBuilder {
        let [host, port, database, user, password] = parts;
        let number = match port {
            None => 5432,
            Some(port) => port.value.parse().ok().filter(|port| *port > 0).unwrap_or_else(|| {
                self.refuse(variable("POSTGRES_PORT"), port);
                5432
            }),
        };
        let value = |part: &Option<Raw<'_>>, otherwise: &str| {
            part.as_ref().map_or(otherwise.to_owned(), |part| part.value.to_owned())
        };
        let begun = Target::builder()
            .host(value(host, "localhost"), number)
            .user(value(user, "postgres"))
            .database(value(database, ""));
        match password {
            Some(password) => begun.password(password.value.to_owned().into()),
            None => begun,
        }
    }

    /// Applies what wins over the URL. What then contradicts itself is laid at the door of whoever said it last.
    pub(super) fn finish(
        &mut self,
        begun: TargetBuilder,
        url: Option<&Raw<'_>>,
        overrides: &[Option<Raw<'_>>; 5],
    ) -> Option<Target> {
        let mut builder = begun.clone();
        let mut are_overrides_valid = true;
        for ((name, option), raw) in OVERRIDES.iter().zip(overrides) {
            let Some(raw) = raw else { continue };
            match builder.clone().option(option, raw.value) {
                Ok(changed) => builder = changed,
                Err(_) => {
                    self.refuse(variable(name), raw);
                    are_overrides_valid = false;
                }
            }
        }
        match builder.build() {
            _ if !are_overrides_valid => None,
            Ok(target) => Some(target),
            Err(error) => {
                let names: Vec<_> = overrides.iter().flatten().map(|raw| raw.name).collect();
                match (url, begun.build()) {
                    (_, Ok(_)) => self.errors.push(format!("{}: {error}", names.join(", "))),
                    (Some(url), Err(_)) => self.refuse_url(url, &error),
                    (None, Err(_)) => self.refuse_part(&error),
                }
                None
            }
        }
    }

    /// A connection string that cannot be used is not quoted: any piece of it may be one of the password.
    pub(super) fn refuse_url(&mut self, url: &Raw<'_>, error: &ConfigError) {
        let expected = match error.setting() {
            // The error says what is accepted.
            Some(_) => String::new(),
            None => format!("; expected {}", variable("DATABASE_URL").accepts),
        };
        self.errors.push(format!("{}={} ({}): {error}{expected}", url.name, hidden(url.value), url.source));
    }

    fn refuse_part(&mut self, error: &ConfigError) {
        let name = match error.setting() {
            Some("dbname") => "POSTGRES_DB",
            Some("user") => "POSTGRES_USER",
            Some("password") => "POSTGRES_PASSWORD",
            _ => "POSTGRES_HOST",
        };
        if let Some(raw) = self.find(name) {
            self.refuse(variable(name), &raw);
        }
    }

    /// In production what goes to another machine is encrypted, unless somebody says that it need not be.
    pub(super) fn require_tls(&mut self, target: &Target, url: Option<&Raw<'_>>, mode: &Option<Raw<'_>>) {
        if target.is_local() || target.tls().mode >= TlsMode::Require {
            return;
        }
        let given = match (mode, url) {
            (Some(mode), _) => format!("{}={} ({})", mode.name, mode.value, mode.source),
            (None, Some(url)) => format!("{}={} ({})", url.name, target.masked(), url.source),
            // The default for parts is TLS.
            (None, None) => return,
        };
        self.errors.push(format!(
            "{given}: in production the way to another machine must be encrypted: expected sslmode require, verify-ca \
             or verify-full, or DB_ALLOW_PLAINTEXT=true"
        ));
    }
}

/// A connection string that was not understood: only its scheme.
pub(super) fn hidden(url: &str) -> &'static str {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") { "postgres://***" } else { "***" }
}

#[cfg(test)]
#[path = "postgres_tests.rs"]
mod tests;
