//! `db migrate verify`: the schema against a replay, and on demand the way down and up again, and the data. Differences are
//! results: the exit code tells of them.

use anyhow::Result;
use clap::ValueEnum;
use db_app::Database;
use db_migrate::{
    Checked, DataCheck, DataReport, FileState, Migrator, ObjectState, Roundtrip, RoundtripReport,
    RoundtripState, Verification,
};
use serde::Serialize;
use tokio_postgres::Client;

use crate::Outcome;
use crate::output::{self, say};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Forms {
    /// Also take every file up, down and up again in a scratch database: each for itself, or the whole
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "each")]
    roundtrip: Option<RoundtripForm>,
    /// Also look for rows, sequences and indexes that are not what the schema promises: what the server does not vouch
    /// for, or all
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "suspicious")]
    data: Option<DataForm>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoundtripForm {
    Each,
    Whole,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DataForm {
    Suspicious,
    All,
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
struct Verified {
    /// Whether everything is as it should be.
    clean: bool,
    schema: Verification,
    #[serde(skip_serializing_if = "Option::is_none")]
    roundtrip: Option<RoundtripReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<DataReport>,
}

pub(super) async fn run(
    forms: &Forms,
    database: &Database,
    client: &Client,
    migrator: &Migrator,
    json: bool,
) -> Result<Outcome> {
    let connect = |name: String| async move { database.connect_directly("verify", Some(&name)).await };
    let schema = migrator.verify(client, &connect).await?;
    let roundtrip = match forms.roundtrip {
        None => None,
        Some(form) => Some(migrator.roundtrip(client, &connect, form.into()).await?),
    };
    let data = match forms.data {
        None => None,
        Some(form) => Some(migrator.check_data(client, form.into()).await?),
    };
    let clean = schema.clean
        && roundtrip.as_ref().is_none_or(|report| report.clean)
        && data.as_ref().is_none_or(|report| report.clean);
    let verified = Verified { clean, schema, roundtrip, data };
    if json {
        output::json(&verified)?;
    } else {
        print_schema(&verified.schema);
        verified.roundtrip.iter().for_each(print_roundtrip);
        verified.data.iter().for_each(print_data);
    }
    Ok(if clean { Outcome::Well } else { Outcome::PendingOrDrift })
}

/// Names each object that was checked; what differs comes with both definitions.
fn print_schema(verification: &Verification) {
    for file in &verification.files {
        let state = match file.state {
            FileState::Missing => "missing",
            _ => "changed",
        };
        say!("{state:10}  file of migration {} {}", file.version, file.name);
    }
    verification.objects.iter().for_each(print_object);
    match (verification.objects.len(), verification.drift().count()) {
        (0, _) if verification.clean => say!("nothing is applied, nothing to verify"),
        (all, drift) => say!("{all} objects, {drift} not as declared, in {:.1?}", verification.duration),
    }
}

fn print_object(object: &Checked) {
    let (state, expected, actual) = match &object.state {
        ObjectState::Ok => ("ok", None, None),
        ObjectState::Missing { expected } => ("missing", Some(expected), None),
        ObjectState::Different { expected, actual } => ("differs", Some(expected), Some(actual)),
        ObjectState::Unexpected { actual } => ("unexpected", None, Some(actual)),
        _ => ("unknown", None, None),
    };
    say!("{state:10}  {} {}", object.kind, object.name);
    for (what, definition) in [("expected", expected), ("found", actual)] {
        if let Some(definition) = definition {
            say!("{:12}{what:8}  {definition}", "");
        }
    }
}

fn print_roundtrip(report: &RoundtripReport) {
    for migration in &report.migrations {
        let state = match migration.state {
            RoundtripState::Ok => "ok",
            RoundtripState::Irreversible => "no way down",
            RoundtripState::Blocked => "not tried, since a later one has no way down",
            RoundtripState::Different => "not as before",
            RoundtripState::Failed => "failed",
            RoundtripState::Unfinished => "not reached",
            _ => "unknown",
        };
        say!("round trip of {} {}: {state}", migration.version, migration.name);
        if let Some(error) = &migration.error {
            say!("  {error}");
        }
        print_differences("after the way down", &migration.after_down);
        print_differences("after the second way up", &migration.after_up);
    }
    print_differences("after the way down of all", &report.after_down);
    print_differences("after the second way up of all", &report.after_up);
    let verdict = if report.clean { "every one that went down came back the same" } else { "not clean" };
    say!("round trip of {} migrations: {verdict}, in {:.1?}", report.migrations.len(), report.duration);
}

fn print_differences(when: &str, objects: &[Checked]) {
    if !objects.is_empty() {
        say!("{when}:");
        objects.iter().for_each(print_object);
    }
}

fn print_data(report: &DataReport) {
    for finding in &report.findings {
        say!("problem     {}: {}", finding.object, finding.problem);
        say!("{:12}help      {}", "", finding.help);
    }
    for unchecked in &report.unchecked {
        say!("unchecked   {}: {}", unchecked.object, unchecked.reason);
    }
    say!(
        "data: {} checks, {} problems, {} unchecked, in {:.1?}",
        report.checked.len(),
        report.findings.len(),
        report.unchecked.len(),
        report.duration
    );
}

impl From<RoundtripForm> for Roundtrip {
    fn from(form: RoundtripForm) -> Self {
        match form {
            RoundtripForm::Each => Self::Each,
            RoundtripForm::Whole => Self::Whole,
        }
    }
}

impl From<DataForm> for DataCheck {
    fn from(form: DataForm) -> Self {
        match form {
            DataForm::Suspicious => Self::Suspicious,
            DataForm::All => Self::All,
        }
    }
}
