//! Where values come from: environment, `.env`, `db.toml`. The only place of the library that reads settings from the environment.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Serialize, Serializer};

use super::{ConfigError, Variable, variables};

/// Raw values by source, the strongest first.
#[derive(Clone, Default)]
pub struct Layers {
    environment: BTreeMap<String, String>,
    dot_env: BTreeMap<String, String>,
    file: BTreeMap<String, Entry>,
    file_name: String,
}

/// An entry of `db.toml`, by the name of its variable.
#[derive(Clone)]
struct Entry {
    /// As it is written there.
    key: String,
    value: String,
}

/// Where a value comes from, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Source {
    /// The environment.
    Environment,
    /// The file `.env`.
    DotEnv,
    /// The file `db.toml`.
    File,
    /// The preset.
    Preset,
    /// Built in.
    Default,
}

/// A value that was set somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw<'a> {
    pub(crate) name: &'static str,
    pub(crate) value: &'a str,
    pub(crate) source: Source,
}

impl Layers {
    /// Reads the environment of the process and the files of the current folder.
    pub(crate) fn from_env() -> Result<Self, ConfigError> {
        let environment = read_environment()?;
        let (file_name, file) = match environment.get("DB_CONFIG_FILE").filter(|path| !path.is_empty()) {
            Some(path) => (path.clone(), read_toml(Path::new(path), true)?),
            None => ("db.toml".to_owned(), read_toml(Path::new("db.toml"), false)?),
        };
        // The file of local work must not leak into production.
        let kind = environment.get("DB_ENV").filter(|kind| !kind.is_empty());
        let kind = kind.or_else(|| file.get("DB_ENV").map(|entry| &entry.value));
        let is_production = kind.is_some_and(|kind| kind == "production");
        let dot_env = if is_production { BTreeMap::new() } else { read_dot_env(Path::new(".env"))? };
        if dot_env.get("DB_ENV").is_some_and(|kind| kind == "production") && kind.is_none() {
            let line = "DB_ENV=production (.env): in production .env is not read; set it in the environment";
            return Err(error(line.to_owned()));
        }
        Ok(Self { environment, dot_env, file, file_name })
    }

    /// Sets a variable as the environment would.
    #[must_use]
    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets a variable as `.env` would.
    #[must_use]
    pub fn with_dot_env(mut self, name: &str, value: &str) -> Self {
        self.dot_env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Takes the text of a `db.toml`: variables in lower case without `DB_`, such as `pool_max = 10`.
    ///
    /// # Errors
    /// When it is not TOML, or a value is a table or a list.
    pub fn with_file(mut self, text: &str) -> Result<Self, ConfigError> {
        self.file_name = "db.toml".to_owned();
        self.file = parse_toml(&self.file_name, text)?;
        Ok(self)
    }

    /// The value in force: the strongest source that sets the variable under any of its names. An empty value counts as
    /// not set.
    pub(crate) fn find(&self, variable: &Variable) -> Option<Raw<'_>> {
        [Source::Environment, Source::DotEnv, Source::File].into_iter().find_map(|source| {
            std::iter::once(&variable.name).chain(variable.aliases).find_map(|name| {
                let value = self.get(source, name).filter(|value| !value.is_empty())?;
                Some(Raw { name, value, source })
            })
        })
    }

    fn get(&self, source: Source, name: &str) -> Option<&str> {
        match source {
            Source::Environment => self.environment.get(name).map(String::as_str),
            Source::DotEnv => self.dot_env.get(name).map(String::as_str),
            Source::File => self.file.get(name).map(|entry| entry.value.as_str()),
            Source::Preset | Source::Default => None,
        }
    }

    /// A line for each name that is meant for us and that we do not know: all that begin with `DB_`, and every key of
    /// `db.toml`.
    pub(crate) fn unknown_names(&self) -> Vec<String> {
        let is_ours = |name: &&String| name.starts_with("DB_") && !variables::is_known(name);
        let environment = self.environment.keys().filter(is_ours).map(|name| (name, name, "environment"));
        let dot_env = self.dot_env.keys().filter(is_ours).map(|name| (name, name, ".env"));
        let is_no_setting =
            |name: &String| !variables::is_known(name) || variables::OTHERS.contains(&name.as_str());
        let file = self.file.iter().filter(|(name, _)| is_no_setting(name));
        let file = file.map(|(name, entry)| (&entry.key, name, self.file_name.as_str()));
        environment
            .chain(dot_env)
            .chain(file)
            .map(|(written, name, source)| match variables::nearest(name) {
                Some(nearest) => format!("{written} ({source}) is not known; did you mean {nearest}?"),
                None => format!("{written} ({source}) is not known; `db config` lists what is"),
            })
            .collect()
    }
}

/// Names only: values may be secret.
impl std::fmt::Debug for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layers")
            .field("environment", &self.environment.keys())
            .field("dot_env", &self.dot_env.keys())
            .field("file", &self.file.keys())
            .finish()
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment",
            Self::DotEnv => ".env",
            Self::File => "db.toml",
            Self::Preset => "preset",
            Self::Default => "default",
        })
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn read_environment() -> Result<BTreeMap<String, String>, ConfigError> {
    let mut values = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => {
                values.insert(name, value);
            }
            Err(_) if variables::is_known(&name) => {
                return Err(error(format!("{name} (environment): expected text in UTF-8")));
            }
            Err(_) => {}
        }
    }
    Ok(values)
}

fn read_dot_env(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let name = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(reason) if reason.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(reason) => return Err(error(format!("{name}: {reason}"))),
    };
    let mut values = BTreeMap::new();
    for entry in dotenvy::from_read_iter(text.as_bytes()) {
        // The parser's own message quotes the line, which may hold a secret.
        let (key, value) = entry.map_err(|reason| {
            let line = match &reason {
                dotenvy::Error::LineParse(wrong, _) => {
                    text.lines().position(|line| line.contains(wrong.trim()))
                }
                _ => None,
            };
            let line = line.map_or(String::new(), |line| format!(" line {}:", line + 1));
            error(format!("{name}:{line} expected NAME=value"))
        })?;
        values.insert(key, value);
    }
    Ok(values)
}

fn read_toml(path: &Path, is_named: bool) -> Result<BTreeMap<String, Entry>, ConfigError> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse_toml(&name, &text),
        Err(reason) if reason.kind() == std::io::ErrorKind::NotFound && !is_named => Ok(BTreeMap::new()),
        Err(reason) if is_named => Err(error(format!("DB_CONFIG_FILE={name}: {reason}"))),
        Err(reason) => Err(error(format!("{name}: {reason}"))),
    }
}

fn parse_toml(name: &str, text: &str) -> Result<BTreeMap<String, Entry>, ConfigError> {
    let table: toml::Table = text.parse().map_err(|reason: toml::de::Error| {
        let before = reason.span().map_or("", |span| &text[..span.start]);
        let line = before.matches('\n').count() + 1;
        error(format!("{name}: line {line}: {}", reason.message()))
    })?;
    table
        .into_iter()
        .map(|(key, value)| {
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                _ => {
                    return Err(error(format!(
                        "{name}: {key}: expected a text, a whole number, true or false"
                    )));
                }
            };
            Ok((variable_name(&key), Entry { key, value }))
        })
        .collect()
}

/// `pool_max` is `DB_POOL_MAX`; `database_url` keeps its own prefix.
fn variable_name(key: &str) -> String {
    let upper = key.to_uppercase();
    if upper.starts_with("DATABASE_") || upper.starts_with("POSTGRES_") {
        upper
    } else {
        format!("DB_{upper}")
    }
}

fn error(line: String) -> ConfigError {
    ConfigError { lines: vec![line] }
}
