//! From raw values to a [`Config`]: parses each variable once, collects every error, and notes each source.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use db_core::SecretString;
use db_pool::{Pooler, Reset};

use super::layers::Raw;
use super::preset::{pace_connecting, queue_limit};
use super::{Config, ConfigError, Environment, Layers, Postgres, Preset, Shown, Source, VARIABLES, Variable};

pub(crate) fn read(layers: &Layers) -> Result<Config, ConfigError> {
    let mut reader =
        Reader { layers, errors: Vec::new(), warnings: layers.unknown_names(), shown: Vec::new() };
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
    let before = reader.errors.len();
    let given = reader.given(environment);
    // A URL that cannot be used was meant to be one all the same.
    let is_server_given = given.is_some() || reader.errors.len() > before;
    let preset = reader.word(
        "DB_PRESET",
        Preset::Standard,
        &[
            ("standard", Preset::Standard),
            ("high-concurrency", Preset::HighConcurrency),
            ("patient", Preset::Patient),
        ],
    );
    let mut pool = reader.pool(preset);
    let retry = reader.retry(preset);
    pace_connecting(&mut pool, &retry);
    let http_addr: SocketAddr = reader.parsed("DB_HTTP_ADDR", SocketAddr::from(([127, 0, 0, 1], 8080)));
    let http_token = reader.text("DB_HTTP_TOKEN", None, |token| token.chars().count() >= 16);
    let migrations = reader.migrations(environment, is_server_given, given.as_ref());
    let replicas = reader.replicas(environment, preset, &pool, is_server_given, given.as_ref());
    let embedded_dir = reader.embedded_dir(is_server_given);
    let health_interval = reader.millis("DB_HEALTH_INTERVAL_MS", Duration::from_secs(2), 1, Source::Default);
    let observe = reader.observe();
    let shutdown_timeout =
        reader.millis("DB_SHUTDOWN_TIMEOUT_MS", Duration::from_secs(10), 1, Source::Default);
    let shutdown_delay = reader.millis("DB_SHUTDOWN_DELAY_MS", Duration::ZERO, 0, Source::Default);
    if shutdown_delay > shutdown_timeout / 2 {
        reader.errors.push(format!(
            "DB_SHUTDOWN_DELAY_MS={}: expected at most half of DB_SHUTDOWN_TIMEOUT_MS, {}",
            shutdown_delay.as_millis(),
            (shutdown_timeout / 2).as_millis()
        ));
    }
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
        postgres: match given {
            Some(target) => Postgres::Given(Box::new(target)),
            None => Postgres::Embedded(embedded_dir),
        },
        pool,
        retry,
        http_addr,
        http_token: http_token.map(SecretString::from),
        migrations,
        replicas,
        health_interval,
        observe,
        shutdown_timeout,
        shutdown_delay,
        log,
        warnings: reader.warnings,
        shown: reader.shown,
    })
}

/// Reads variables, and notes what is wrong and what to show.
pub(super) struct Reader<'a> {
    layers: &'a Layers,
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
    shown: Vec<Shown>,
}

/// A default that the preset changed is the preset's.
pub(super) fn from(is_same: bool) -> Source {
    if is_same { Source::Default } else { Source::Preset }
}

impl<'a> Reader<'a> {
    fn pool(&mut self, preset: Preset) -> db_pool::Settings {
        let base = preset.pool();
        let standard = Preset::Standard.pool();
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
        // The rule is the default, whoever gave the maximum.
        let limit = queue_limit(pool.max);
        pool.queue_limit = self.number("DB_QUEUE_LIMIT", limit, 0, 1_000_000, Source::Default);

        let mut millis = |name, value: fn(&db_pool::Settings) -> Duration, least| {
            let default = value(&base);
            self.millis(name, default, least, from(default == value(&standard)))
        };
        pool.acquire_timeout = millis("DB_ACQUIRE_TIMEOUT_MS", |pool| pool.acquire_timeout, 1);
        pool.connect_timeout = millis("DB_CONNECT_TIMEOUT_MS", |pool| pool.connect_timeout, 1);
        pool.idle_timeout = millis("DB_IDLE_TIMEOUT_MS", |pool| pool.idle_timeout, 1);
        pool.max_lifetime = millis("DB_MAX_LIFETIME_MS", |pool| pool.max_lifetime, 1);
        pool.check_after = millis("DB_CHECK_AFTER_MS", |pool| pool.check_after, 0);
        pool.keep_alive = millis("DB_KEEP_ALIVE_MS", |pool| pool.keep_alive, 0);
        pool.leak_warning = millis("DB_LEAK_WARNING_MS", |pool| pool.leak_warning, 0);
        pool.statement_timeout = millis("DB_STATEMENT_TIMEOUT_MS", |pool| pool.statement_timeout, 0);
        pool.lock_timeout = millis("DB_LOCK_TIMEOUT_MS", |pool| pool.lock_timeout, 0);
        pool.idle_in_transaction_timeout =
            millis("DB_IDLE_IN_TRANSACTION_TIMEOUT_MS", |pool| pool.idle_in_transaction_timeout, 0);
        pool.slow_query = millis("DB_SLOW_QUERY_MS", |pool| pool.slow_query, 0);

        pool.max_uses = self.number("DB_MAX_USES", base.max_uses, 1, u32::MAX, Source::Default);
        let name = self.text("DB_APPLICATION_NAME", Some(&base.application_name), |name| {
            name.len() <= 63 && !name.contains('\0')
        });
        pool.application_name = name.unwrap_or_default();
        let search_path = base.search_path.as_deref();
        pool.search_path = self.text("DB_SEARCH_PATH", search_path, |path| !path.contains('\0'));
        pool.read_only = self.word("DB_READ_ONLY", base.read_only, &[("true", true), ("false", false)]);
        pool.statement_cache =
            self.number("DB_STATEMENT_CACHE", base.statement_cache, 0, 10_000, Source::Default);
        let resets = [("none", Reset::None), ("light", Reset::Light), ("discard", Reset::Discard)];
        pool.reset = self.word("DB_RESET", base.reset, &resets);
        let poolers =
            [("none", Pooler::None), ("session", Pooler::Session), ("transaction", Pooler::Transaction)];
        pool.pooler = self.word("DB_POOLER", base.pooler, &poolers);
        pool.lanes.max = self.number("DB_LANES", base.lanes.max, 0, 64, Source::Default);
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

    pub(super) fn word<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        default: T,
        words: &[(&str, T)],
    ) -> T {
        self.word_from(name, default, words, Source::Default)
    }

    /// [`Self::word`] with a default that comes from elsewhere.
    pub(super) fn word_from<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        default: T,
        words: &[(&str, T)],
        otherwise: Source,
    ) -> T {
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
        self.show(variable, raw.as_ref(), shown, otherwise);
        value
    }

    pub(super) fn number<T>(
        &mut self,
        name: &'static str,
        default: T,
        least: T,
        most: T,
        otherwise: Source,
    ) -> T
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

    pub(super) fn millis(
        &mut self,
        name: &'static str,
        default: Duration,
        least: u64,
        otherwise: Source,
    ) -> Duration {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        let default = u64::try_from(default.as_millis()).unwrap_or(DAY);
        Duration::from_millis(self.number(name, default, least, DAY, otherwise))
    }

    pub(super) fn parsed<T: FromStr + ToString>(&mut self, name: &'static str, default: T) -> T {
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

    pub(super) fn text(
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

    pub(super) fn is_set(&self, name: &'static str) -> bool {
        self.find(name).is_some()
    }

    pub(super) fn find(&self, name: &'static str) -> Option<Raw<'a>> {
        self.layers.find(variable(name))
    }

    pub(super) fn refuse(&mut self, variable: &Variable, raw: &Raw<'_>) {
        let Raw { name, value, source } = raw;
        let given = show(variable, value);
        self.errors.push(format!("{name}={given} ({source}): expected {}", variable.accepts));
    }

    pub(super) fn show(
        &mut self,
        variable: &Variable,
        raw: Option<&Raw<'_>>,
        value: Option<String>,
        otherwise: Source,
    ) {
        let name = raw.map_or(variable.name, |raw| raw.name);
        self.shown.push(Shown { name, value, source: raw.map_or(otherwise, |raw| raw.source) });
    }
}

pub(super) fn show(variable: &Variable, value: &str) -> String {
    // Any address may have a name and a password in it.
    let has_user = value.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
    if variable.is_secret || has_user { "***".to_owned() } else { value.to_owned() }
}

/// The row of the table; every name in these files is in it, which a test holds in place.
pub(super) fn variable(name: &'static str) -> &'static Variable {
    match VARIABLES.iter().find(|variable| variable.name == name) {
        Some(variable) => variable,
        None => unreachable!("{name} is not in the table of variables"),
    }
}
