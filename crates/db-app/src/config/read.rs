//! From raw values to a [`Config`]: parses each variable once, collects every error, and notes each source.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use db_core::SecretString;

use super::layers::Raw;
use super::target::{hidden, masked, parse_url};
use super::{Config, ConfigError, Environment, Layers, Preset, Shown, Source, Target, VARIABLES, Variable};

pub(crate) fn read(layers: &Layers) -> Result<Config, ConfigError> {
    let mut reader =
        Reader { layers, errors: Vec::new(), warnings: layers.unknown_names(), shown: Vec::new() };
    let target = reader.target();
    // A URL that cannot be used was meant to be one all the same.
    let is_server_given = target.is_some() || !reader.errors.is_empty();
    let environment = reader.word(
        "DB_ENV",
        Environment::Development,
        &[
            ("development", Environment::Development),
            ("test", Environment::Test),
            ("staging", Environment::Staging),
            ("production", Environment::Production),
        ],
    );
    let preset = reader.word(
        "DB_PRESET",
        Preset::Standard,
        &[
            ("standard", Preset::Standard),
            ("high-concurrency", Preset::HighConcurrency),
            ("patient", Preset::Patient),
        ],
    );
    let pool = reader.pool(preset);
    let http_addr: SocketAddr = reader.parsed("DB_HTTP_ADDR", SocketAddr::from(([127, 0, 0, 1], 8080)));
    let http_token = reader.text("DB_HTTP_TOKEN", None, |token| token.chars().count() >= 16);
    let migrations_dir = reader.text("DB_MIGRATIONS_DIR", Some("migrations"), |_| true);
    let is_migrations_dir_given = reader.is_set("DB_MIGRATIONS_DIR");
    let embedded_dir = reader.embedded_dir(is_server_given);
    let health_interval = reader.millis("DB_HEALTH_INTERVAL_MS", Duration::from_secs(2), 1, Source::Default);
    let shutdown_timeout =
        reader.millis("DB_SHUTDOWN_TIMEOUT_MS", Duration::from_secs(10), 1, Source::Default);
    let log = reader.text("DB_LOG", None, |_| true);

    if !reader.errors.is_empty() {
        return Err(ConfigError { lines: reader.errors });
    }
    let order = |shown: &Shown| {
        VARIABLES.iter().position(|known| known.name == shown.name || known.aliases.contains(&shown.name))
    };
    reader.shown.sort_by_key(order);
    Ok(Config {
        environment,
        target: match target {
            Some(given) => Target::Given(Box::new(given)),
            None => Target::Embedded(embedded_dir),
        },
        pool,
        http_addr,
        http_token: http_token.map(SecretString::from),
        migrations_dir: PathBuf::from(migrations_dir.unwrap_or_default()),
        is_migrations_dir_given,
        health_interval,
        shutdown_timeout,
        log,
        warnings: reader.warnings,
        shown: reader.shown,
    })
}

struct Reader<'a> {
    layers: &'a Layers,
    errors: Vec<String>,
    warnings: Vec<String>,
    shown: Vec<Shown>,
}

impl<'a> Reader<'a> {
    /// The server that is given, if one is; and what was said about it.
    fn target(&mut self) -> Option<tokio_postgres::Config> {
        let url = self.find("DATABASE_URL");
        let parts = ["POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"]
            .map(|name| self.find(name));
        for (part, variable) in parts.iter().zip(&VARIABLES[1..]) {
            let value = part.as_ref().map(|part| show(variable, part.value));
            self.show(variable, part.as_ref(), value, Source::Default);
        }
        let parsed = url.as_ref().map(|url| parse_url(url.value));
        let shown = match (&parsed, &url) {
            (Some(Ok(config)), _) => Some(masked(config)),
            (_, Some(url)) => Some(hidden(url.value).to_owned()),
            _ => None,
        };
        self.show(&VARIABLES[0], url.as_ref(), shown, Source::Default);
        if let (Some(url), Some(parsed)) = (url, parsed) {
            if let Some(part) = parts.iter().flatten().next() {
                self.warnings.push(format!("{} is ignored, since DATABASE_URL is set", part.name));
            }
            if let Err(reason) = &parsed {
                let (given, accepts) = (hidden(url.value), VARIABLES[0].accepts);
                self.errors
                    .push(format!("DATABASE_URL={given} ({}): {reason}; expected {accepts}", url.source));
            }
            return parsed.ok();
        }
        if parts.iter().all(Option::is_none) {
            return None;
        }
        let [host, port, database, user, password] = parts;
        let mut config = tokio_postgres::Config::new();
        config.host(host.map_or("localhost", |host| host.value));
        config.user(user.map_or("postgres", |user| user.value));
        if let Some(port) = port {
            match port.value.parse() {
                Ok(port) if port > 0 => {
                    config.port(port);
                }
                _ => self.refuse(&VARIABLES[2], &port),
            }
        }
        if let Some(database) = database {
            config.dbname(database.value);
        }
        if let Some(password) = password {
            config.password(password.value);
        }
        Some(config)
    }

    fn pool(&mut self, preset: Preset) -> db_pool::Settings {
        let base = preset.pool();
        let standard = Preset::Standard.pool();
        // A default that the preset changed is the preset's.
        let from = |is_same: bool| if is_same { Source::Default } else { Source::Preset };
        let mut pool = base.clone();

        pool.max = self.number("DB_POOL_MAX", base.max, 1, 10_000, from(base.max == standard.max));
        let is_ceiling_same = preset.ceiling() == Preset::Standard.ceiling();
        let ceiling = self.number("DB_POOL_CEILING", preset.ceiling(), 1, 10_000, from(is_ceiling_same));
        if pool.max > ceiling {
            self.warnings
                .push(format!("DB_POOL_MAX={} is above DB_POOL_CEILING: {ceiling} is used", pool.max));
            pool.max = ceiling;
            if let Some(shown) = self.shown.iter_mut().find(|shown| shown.name == "DB_POOL_MAX") {
                shown.value = Some(ceiling.to_string());
            }
        }
        // A minimum that nobody asked for gives way to the maximum that somebody did.
        let min = base.min.min(pool.max);
        pool.min = self.number("DB_POOL_MIN", min, 0, 10_000, from(base.min == standard.min));
        if pool.min > pool.max {
            let (min, max) = (pool.min, pool.max);
            self.errors.push(format!(
                "DB_POOL_MIN={min}: expected at most the maximum in force, {max} (DB_POOL_MAX, DB_POOL_CEILING)"
            ));
        }
        pool.queue_limit = pool.max as usize * 10;

        let mut millis = |name, value: fn(&db_pool::Settings) -> Duration, least| {
            let default = value(&base);
            self.millis(name, default, least, from(default == value(&standard)))
        };
        pool.acquire_timeout = millis("DB_ACQUIRE_TIMEOUT_MS", |pool| pool.acquire_timeout, 1);
        pool.connect_timeout = millis("DB_CONNECT_TIMEOUT_MS", |pool| pool.connect_timeout, 1);
        pool.idle_timeout = millis("DB_IDLE_TIMEOUT_MS", |pool| pool.idle_timeout, 1);
        pool.max_lifetime = millis("DB_MAX_LIFETIME_MS", |pool| pool.max_lifetime, 1);
        pool.statement_timeout = millis("DB_STATEMENT_TIMEOUT_MS", |pool| pool.statement_timeout, 0);
        pool.connect_retry.initial_delay =
            millis("DB_RETRY_INITIAL_DELAY_MS", |pool| pool.connect_retry.initial_delay, 1);
        pool.connect_retry.max_delay =
            millis("DB_RETRY_MAX_DELAY_MS", |pool| pool.connect_retry.max_delay, 1);

        pool.max_uses = self.number("DB_MAX_USES", base.max_uses, 1, u32::MAX, Source::Default);
        pool.connect_retry.max_retries =
            self.number("DB_MAX_RETRIES", base.connect_retry.max_retries, 0, 100, Source::Default);
        let name = self.text("DB_APPLICATION_NAME", Some(&base.application_name), |name| name.len() <= 63);
        pool.application_name = name.unwrap_or_default();
        pool
    }

    /// The folder for a server of our own; shown only when there is to be one.
    fn embedded_dir(&mut self, is_server_given: bool) -> PathBuf {
        let default = crate::embedded::default_folder();
        if is_server_given && !self.is_set("DB_EMBEDDED_DIR") {
            self.show(variable("DB_EMBEDDED_DIR"), None, None, Source::Default);
            return PathBuf::new();
        }
        if default.is_none() && !self.is_set("DB_EMBEDDED_DIR") {
            self.errors.push(
                "DB_EMBEDDED_DIR is not set, and there is no home folder: expected a folder".to_owned(),
            );
        }
        let default = default.map(|folder| folder.to_string_lossy().into_owned());
        PathBuf::from(self.text("DB_EMBEDDED_DIR", default.as_deref(), |_| true).unwrap_or_default())
    }

    fn word<T: Copy + PartialEq>(&mut self, name: &'static str, default: T, words: &[(&str, T)]) -> T {
        let variable = variable(name);
        let raw = self.find(name);
        let value = match &raw {
            None => default,
            Some(raw) => match words.iter().find(|(word, _)| *word == raw.value) {
                Some((_, value)) => *value,
                None => {
                    self.refuse(variable, raw);
                    default
                }
            },
        };
        let shown = words.iter().find(|(_, known)| *known == value).map(|(word, _)| (*word).to_owned());
        self.show(variable, raw.as_ref(), shown, Source::Default);
        value
    }

    fn number<T>(&mut self, name: &'static str, default: T, least: T, most: T, otherwise: Source) -> T
    where
        T: FromStr + PartialOrd + Copy + ToString,
    {
        let variable = variable(name);
        let raw = self.find(name);
        let mut value = default;
        if let Some(raw) = &raw {
            match raw.value.parse::<T>() {
                Ok(number) if number >= least && number <= most => value = number,
                _ => self.refuse(variable, raw),
            }
        }
        self.show(variable, raw.as_ref(), Some(value.to_string()), otherwise);
        value
    }

    fn millis(&mut self, name: &'static str, default: Duration, least: u64, otherwise: Source) -> Duration {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        let default = u64::try_from(default.as_millis()).unwrap_or(DAY);
        Duration::from_millis(self.number(name, default, least, DAY, otherwise))
    }

    fn parsed<T: FromStr + ToString>(&mut self, name: &'static str, default: T) -> T {
        let variable = variable(name);
        let raw = self.find(name);
        let mut value = default;
        if let Some(raw) = &raw {
            match raw.value.parse() {
                Ok(parsed) => value = parsed,
                Err(_) => self.refuse(variable, raw),
            }
        }
        self.show(variable, raw.as_ref(), Some(value.to_string()), Source::Default);
        value
    }

    fn text(
        &mut self,
        name: &'static str,
        default: Option<&str>,
        is_valid: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let variable = variable(name);
        let raw = self.find(name);
        if let Some(raw) = &raw
            && !is_valid(raw.value)
        {
            self.refuse(variable, raw);
        }
        let value = raw.as_ref().map(|raw| raw.value).or(default);
        self.show(variable, raw.as_ref(), value.map(|value| show(variable, value)), Source::Default);
        value.map(str::to_owned)
    }

    fn is_set(&self, name: &'static str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &'static str) -> Option<Raw<'a>> {
        self.layers.find(variable(name))
    }

    fn refuse(&mut self, variable: &Variable, raw: &Raw<'_>) {
        let Raw { name, value, source } = raw;
        let given = show(variable, value);
        self.errors.push(format!("{name}={given} ({source}): expected {}", variable.accepts));
    }

    fn show(&mut self, variable: &Variable, raw: Option<&Raw<'_>>, value: Option<String>, otherwise: Source) {
        let name = raw.map_or(variable.name, |raw| raw.name);
        self.shown.push(Shown { name, value, source: raw.map_or(otherwise, |raw| raw.source) });
    }
}

fn show(variable: &Variable, value: &str) -> String {
    if variable.is_secret { "***".to_owned() } else { value.to_owned() }
}

/// The row of the table; every name in this file is in it, which a test holds in place.
fn variable(name: &'static str) -> &'static Variable {
    match VARIABLES.iter().find(|variable| variable.name == name) {
        Some(variable) => variable,
        None => unreachable!("{name} is not in the table of variables"),
    }
}
