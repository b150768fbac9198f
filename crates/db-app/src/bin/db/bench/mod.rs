//! `db bench`: loads of its own through the layer, held against the figures that it promises. Reads the command line, and sees
//! to it that nothing is left behind; what is asked of the database is in `standard`, `messenger` and `recovery`.

mod blow;
mod ground;
mod measure;
mod messenger;
mod progress;
mod recovery;
mod report;
mod standard;
mod verdict;

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;
use db_app::config::{Environment, Postgres};
use db_app::prelude::*;
use db_app::{Config, Database};

use self::blow::Blow;
use self::ground::Ground;
use self::progress::Bar;
use self::report::Report;
use crate::Outcome;
use crate::output;
use crate::signals::{Signals, at_once, exit_code};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// What is asked of the database
    #[arg(long, value_enum, default_value_t = Profile::Standard)]
    profile: Profile,
    /// Workers at once (standard, and the fault of --chaos)
    #[arg(long, default_value_t = 50, value_parser = within(1, 10_000))]
    workers: u32,
    /// Queries of each worker (standard)
    #[arg(long, default_value_t = 100, value_parser = within(1, 1_000_000))]
    queries: u32,
    /// Pause of a worker between two queries under normal load, in milliseconds (standard)
    ///
    /// Workers that ask back to back use every connection that there is, whatever the pool: that says what it bears, and nothing
    /// about normal use. Under normal load each works with what it got before it asks again. With the default, 50 workers ask
    /// for at most 1,000 queries a second.
    #[arg(long, default_value_t = 50, value_parser = within(1, 60_000))]
    think_ms: u32,
    /// Users at once (messenger)
    #[arg(long, default_value_t = 1_000, value_parser = within(2, 100_000))]
    users: u32,
    /// Seconds of each of the two rates (messenger)
    #[arg(long, default_value_t = 20, value_parser = within(1, 3_600))]
    seconds: u32,
    /// Also make a fault under load: kill the server, which must be one that this command itself starts
    #[arg(long, value_enum)]
    chaos: Option<Chaos>,
    /// Yes, in production as well
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// Workers that read and write by primary key: back to back, then as a normal load; then every session is ended once
    Standard,
    /// Users who write to each other: 50 messages a second, then 100
    Messenger,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Chaos {
    /// The server crashes, and is started again
    Restart,
}

fn within(least: u64, most: u64) -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(least..=most)
}

/// How it ended.
enum Ended {
    ByItself(Box<Report>),
    /// A signal ended it.
    Interrupted(u8),
    /// It was not begun, for this reason.
    Refused(String),
}

pub(crate) async fn run(options: Options, mut config: Config, json: bool) -> Result<Outcome> {
    if let Some(reason) = options.refused(&config) {
        output::refuse(&[reason], json);
        return Ok(Outcome::Refused);
    }
    let limit = config.shutdown_timeout;
    let preset = preset(&config);
    let blow = options.blow(&mut config);
    let database = Database::open(config).await?;
    eprintln!("using {}", database.origin());
    // Until here a signal ends the program by itself: nothing is there to be removed.
    let mut signals = Signals::install()?;
    let ended = match options.chaos {
        Some(Chaos::Restart) if !database.runs_its_server() => Ok(Ended::Refused(
            "--chaos restart: another program runs this PostgreSQL and would have to start it again; end that one first".to_owned(),
        )),
        _ => on_ground(&options, &database, blow, preset, &mut signals).await,
    };
    let closed = tokio::select! {
        closed = database.close(limit) => closed,
        kind = signals.next() => at_once(exit_code(kind)),
    };
    let report = match ended? {
        Ended::ByItself(report) => report,
        Ended::Interrupted(code) => {
            output::interrupted("stopped; the tables of the bench are removed", json);
            return Ok(Outcome::Interrupted(code));
        }
        Ended::Refused(reason) => {
            output::refuse(&[reason], json);
            return Ok(Outcome::Refused);
        }
    };
    if json {
        output::json(&report)?;
    } else {
        report.print();
    }
    closed?;
    Ok(if report.passed { Outcome::Well } else { Outcome::NotWell })
}

/// Runs the loads in a schema of their own, which is removed whatever happens.
async fn on_ground(
    options: &Options,
    database: &Database,
    blow: Option<Blow>,
    preset: String,
    signals: &mut Signals,
) -> Result<Ended> {
    let ground = Ground::claim(database).await?;
    let bar = Bar::new();
    let ended = tokio::select! {
        report = options.measure(database, &ground, blow, preset, &bar) => report.map(|it| Ended::ByItself(Box::new(it))),
        kind = signals.next() => {
            eprintln!("stopping; a second signal ends it at once");
            Ok(Ended::Interrupted(exit_code(kind)))
        }
    };
    bar.end();
    let removed = tokio::select! {
        removed = ground.remove() => removed,
        kind = signals.next() => at_once(exit_code(kind)),
    };
    // What failed first matters more.
    let ended = ended?;
    removed.map(|()| ended)
}

impl Options {
    /// Why it must not be begun, as far as that is known without a server.
    fn refused(&self, config: &Config) -> Option<String> {
        if config.environment == Environment::Production && !self.yes {
            return Some("bench loads the server, in production: it needs --yes".to_owned());
        }
        if self.chaos == Some(Chaos::Restart) && matches!(config.postgres, Postgres::Given(_)) {
            let reason = "--chaos restart: only a server that this command starts can be killed, and one is given (DATABASE_URL)";
            return Some(reason.to_owned());
        }
        None
    }

    /// The fault to make. Sessions are told by a name that no other process has.
    fn blow(&self, config: &mut Config) -> Option<Blow> {
        match (self.chaos, &config.postgres) {
            (Some(Chaos::Restart), Postgres::Embedded(folder)) => Some(Blow::Restart(folder.join("data"))),
            _ if self.profile == Profile::Standard => {
                config.pool.application_name = format!("db bench {}", std::process::id());
                Some(Blow::Sessions(config.pool.application_name.clone()))
            }
            _ => None,
        }
    }

    async fn measure(
        &self,
        database: &Database,
        ground: &Ground<'_>,
        blow: Option<Blow>,
        preset: String,
        bar: &Bar,
    ) -> Result<Report> {
        let tables = match self.profile {
            Profile::Standard => standard::TABLES.to_owned(),
            Profile::Messenger => messenger::tables(self.users),
        };
        ground.lay(&format!("{tables}{}", recovery::TABLES)).await?;
        let (mut stages, mut verdict, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        match self.profile {
            Profile::Standard => {
                let stage = standard::stage(database, self.load("full load", 1, 0), bar).await?;
                verdict.extend(verdict::of_full_load(&stage));
                stages.push(stage);
                let stage =
                    standard::stage(database, self.load("normal load", 2, self.think_ms), bar).await?;
                verdict.extend(verdict::of_normal_load(&stage));
                stages.push(stage);
            }
            Profile::Messenger => {
                for (name, rate) in [("sustained", 50), ("peak", 100)] {
                    let load = messenger::Load { name, users: self.users, rate, seconds: self.seconds };
                    let stage = messenger::stage(database, load, bar).await?;
                    verdict.extend(verdict::of_messages(&stage));
                    stages.push(stage);
                }
            }
        }
        let mut recovery = None;
        if let Some(blow) = blow {
            if blow.can_strike(database).await? {
                let came_of_it = recovery::stage(database, &blow, self.workers, bar).await?;
                verdict.extend(verdict::of_recovery(&came_of_it));
                recovery = Some(came_of_it);
            } else {
                let note =
                    "recovery was not tried: the connection string names the sessions (application_name)";
                notes.push(note.to_owned());
            }
        }
        Ok(Report {
            profile: match self.profile {
                Profile::Standard => "standard",
                Profile::Messenger => "messenger",
            },
            preset,
            pool_max: database.stats().max,
            server_version: database.server().version.clone(),
            stages,
            recovery,
            passed: verdict.iter().all(|judgement| judgement.passed),
            verdict,
            notes,
        })
    }

    fn load(&self, name: &'static str, number: i64, think_ms: u32) -> standard::Load {
        let pause = Duration::from_millis(think_ms.into());
        standard::Load { name, number, workers: self.workers, queries: self.queries, pause }
    }
}

fn preset(config: &Config) -> String {
    let shown = config.shown.iter().find(|shown| shown.name == "DB_PRESET");
    shown.and_then(|shown| shown.value.clone()).unwrap_or_else(|| "standard".to_owned())
}

impl Blow {
    /// Whether the sessions of the pool are called as they must be to be told from others.
    async fn can_strike(&self, database: &Database) -> Result<bool> {
        let Self::Sessions(name) = self else { return Ok(true) };
        let called: String = database.one("SELECT current_setting('application_name')", &[]).await?;
        Ok(called == *name)
    }
}
