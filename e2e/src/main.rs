//! The operator's page in a real browser: starts `db serve` and Chromium, does to them what happens to services, and says
//! what the page showed. Started by `cargo xtask e2e`, which builds the program first. Looks at the page and at the
//! probes only; what the endpoints send is the tests' matter.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program prints")]

mod browser;
mod faults;
mod looks;
mod page;
mod report;
mod service;
mod stranger;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::browser::{Browser, Driver};
use crate::page::Page;
use crate::report::Report;
use crate::service::{Place, Service};

/// The operator's page in a real browser
#[derive(Debug, Parser)]
struct Args {
    /// The folder for screenshots and logs
    out: PathBuf,
}

fn main() -> ExitCode {
    let mut report = Report::default();
    let ran = run(&Args::parse(), &mut report);
    if let Err(error) = &ran {
        eprintln!("error: {error:#}");
    }
    let is_well = report.end() && ran.is_ok();
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(args: &Args, report: &mut Report) -> Result<()> {
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let driver = Driver::start(&args.out)?;
    let place = Place::new(&args.out)?;
    let service = Service::start(&place)?;
    let page = Page::new(Browser::open(&driver)?, service.address(), &args.out);

    looks::check(&page, report)?;
    let service = faults::check(&page, &place, service, report)?;
    stranger::check(&page, report)?;
    report.check("the service ends in an orderly way", || service.end());
    Ok(())
}
