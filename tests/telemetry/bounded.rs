//! How many series there are, whatever is run.

use std::collections::BTreeSet;
use std::time::Duration;

use db_app::config::Layers;
use db_app::telemetry::Telemetry;
use db_app::{Config, Database};
use db_core::Executor;

use crate::support::{client, database};

/// Tables of which each statement takes two: each has a summary of its own.
const TABLES: usize = 100;

/// The most summaries that are told apart.
const SUMMARIES: usize = 200;

/// `/metrics` as it is served.
fn lines(telemetry: &Telemetry) -> Vec<String> {
    let text = prometheus::TextEncoder::new().encode_to_string(&telemetry.registry().gather()).expect("text");
    text.lines().map(str::to_owned).collect()
}

fn summaries(lines: &[String]) -> BTreeSet<&str> {
    let summary = |line: &'_ str| line.find("db_query_summary=\"").map(|at| at + "db_query_summary=\"".len());
    lines.iter().filter_map(|line| line[summary(line)?..].split('"').next()).collect()
}

/// D8: 10,000 statements, each of another summary and with another literal, and a failure for each ten, make no more lines than the
/// first 200 do.
#[tokio::test]
async fn series_are_bounded_under_ten_thousand_statements() {
    let database = database().await;
    let tables = format!(
        "DO $$ BEGIN FOR n IN 0..{} LOOP EXECUTE format('CREATE TABLE t%s (n int)', n); END LOOP; END $$",
        TABLES - 1
    );
    client(database.url()).await.batch_execute(&tables).await.expect("tables");
    let layers = Layers::default().with_environment("DATABASE_URL", database.url());
    let config = Config::load(&layers).expect("valid");
    let telemetry = Telemetry::start(&config).expect("telemetry");
    let db = Database::builder(config).meter(telemetry.meter()).open().await.expect("open");
    let mut early = 0;
    for one in 0..TABLES {
        for other in 0..TABLES {
            let sql = format!("SELECT a.n FROM t{one} a, t{other} b WHERE a.n = {one}{other}");
            db.execute(&sql, &[]).await.expect("no row");
            if other % 10 == 0 {
                let sql = format!("SELECT nothing{other} FROM t{one} a, t{other} b");
                db.execute(&sql, &[]).await.expect_err("no such column");
            }
        }
        if one == 4 {
            early = lines(&telemetry).len();
        }
    }
    let lines = lines(&telemetry);
    let summaries = summaries(&lines);
    assert_eq!(summaries.len(), SUMMARIES + 1, "{summaries:?}");
    assert!(summaries.contains("other"), "{summaries:?}");
    // Some connection may have been replaced meanwhile, which has series of its own.
    assert!(lines.len() <= early + 50, "{} lines after 500 statements, {} after 10,000", early, lines.len());
    assert!(lines.len() < 10_000, "{} lines", lines.len());
    db.close(Duration::from_secs(5)).await.expect("close");
}
