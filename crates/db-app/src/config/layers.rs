//! Where values come from: environment, `.env`, `db.toml`. The only place of the library that reads the environment.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Serialize, Serializer};

use super::{ConfigError, Variable, variables};

/// Raw values by source, the strongest first.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    environment: BTreeMap<String, String>,
    dot_env: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
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
        let environment: BTreeMap<_, _> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        // The file of local work must not leak into production.
        let is_production = environment.get("DB_ENV").is_some_and(|value| value == "production");
        let dot_env = if is_production { BTreeMap::new() } else { read_dot_env(Path::new(".env"))? };
        let file = match environment.get("DB_CONFIG_FILE") {
            Some(path) => read_toml(Path::new(path), true)?,
            None => read_toml(Path::new("db.toml"), false)?,
        };
        Ok(Self { environment, dot_env, file })
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
        self.file = parse_toml("db.toml", text)?;
        Ok(self)
    }

    /// The value in force: the strongest source that sets the variable under any of its names. An empty value counts as
    /// not set.
    pub(crate) fn find(&self, variable: &Variable) -> Option<Raw<'_>> {
        let sources = [
            (Source::Environment, &self.environment),
            (Source::DotEnv, &self.dot_env),
            (Source::File, &self.file),
        ];
        sources.into_iter().find_map(|(source, values)| {
            std::iter::once(&variable.name).chain(variable.aliases).find_map(|name| {
                let value = values.get(*name).filter(|value| !value.is_empty())?;
                Some(Raw { name, value, source })
            })
        })
    }

    /// A line for each name that looks like a variable of ours and is none.
    pub(crate) fn unknown_names(&self) -> Vec<String> {
        let environment = self.environment.keys().map(|name| (name, Source::Environment));
        let dot_env = self.dot_env.keys().map(|name| (name, Source::DotEnv));
        let file = self.file.keys().map(|name| (name, Source::File));
        environment
            .chain(dot_env)
            .chain(file)
            .filter(|(name, _)| name.starts_with("DB_") && !variables::is_known(name))
            .map(|(name, source)| match variables::nearest(name) {
                Some(nearest) => format!("{name} ({source}) is not known; did you mean {nearest}?"),
                None => format!("{name} ({source}) is not known; `db config` lists what is"),
            })
            .collect()
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

fn read_dot_env(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let entries = match dotenvy::from_path_iter(path) {
        Ok(entries) => entries,
        Err(error) if error.not_found() => return Ok(BTreeMap::new()),
        Err(_) => return Err(error(format!("{}: cannot be read", path.display()))),
    };
    let mut values = BTreeMap::new();
    for entry in entries {
        // The parser's own message quotes the line, which may hold a secret.
        let position = values.len() + 1;
        let (name, value) = entry.map_err(|_| {
            error(format!("{}: entry {position} is not of the form NAME=value", path.display()))
        })?;
        values.insert(name, value);
    }
    Ok(values)
}

fn read_toml(path: &Path, is_required: bool) -> Result<BTreeMap<String, String>, ConfigError> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse_toml(&name, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_required => Ok(BTreeMap::new()),
        Err(reason) => Err(error(format!("{name}: {reason}"))),
    }
}

fn parse_toml(name: &str, text: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let table: toml::Table = text.parse().map_err(|reason: toml::de::Error| {
        let line = reason.span().map_or(1, |span| text[..span.start].lines().count().max(1));
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
            Ok((variable_name(&key), value))
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
