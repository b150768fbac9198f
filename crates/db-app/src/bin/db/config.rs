//! `db config`: every setting with its value in force and where it comes from.

use anyhow::Result;
use db_app::Config;

use crate::Outcome;
use crate::output::{self, say};

pub(crate) fn run(config: &Config, json: bool) -> Result<Outcome> {
    if json {
        output::json(&config.shown)?;
        return Ok(Outcome::Well);
    }
    let width = |text: fn(&db_app::config::Shown) -> usize| config.shown.iter().map(text).max().unwrap_or(0);
    let name_width = width(|shown| shown.name.len());
    let value_width = width(|shown| shown.value.as_deref().unwrap_or("-").len());
    for shown in &config.shown {
        let value = shown.value.as_deref().unwrap_or("-");
        let source = if shown.value.is_some() { shown.source.to_string() } else { "not set".to_owned() };
        say!("{:name_width$}  {value:value_width$}  {source}", shown.name);
    }
    Ok(Outcome::Well)
}
