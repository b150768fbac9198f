//! `db migrate create`: the files of a new migration, named like those that are there. Needs no server and starts none.

use anyhow::{Context, Result};
use db_app::Config;

use crate::Outcome;
use crate::output::{self, say};

pub(super) fn run(name: &str, config: &Config, json: bool) -> Result<Outcome> {
    let created = db_migrate::create(&config.migrations.dir, name, None).context("create")?;
    if json {
        output::json(&created)?;
        return Ok(Outcome::Well);
    }
    say!("created  {}", created.up.display());
    if created.down != created.up {
        say!("created  {}", created.down.display());
    }
    Ok(Outcome::Well)
}
