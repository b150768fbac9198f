//! `cargo xtask e2e`: builds the program and what looks at its page, and runs it. What is checked lives in `e2e/`.

use std::path::PathBuf;

use anyhow::Result;

use crate::{cargo, root};

/// Looks at the operator's page in Chromium
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Where screenshots and logs go [default: target/e2e]
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // One build of both, so that they lie side by side.
    crate::run(&mut cargo(&["build", "--quiet", "--package", "db-app", "--bins", "--package", "db-e2e"]))?;
    let out = match &args.out {
        Some(out) => std::path::absolute(out)?,
        None => root().join("target/e2e"),
    };
    crate::run(cargo(&["run", "--quiet", "--package", "db-e2e", "--"]).arg(out))
}
