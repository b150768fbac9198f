//! Metrics, traces and secrets through the whole layer: what a collector, Prometheus and a log really get. Tests in `promtool`
//! need this program of Prometheus.

mod bounded;
mod collector;
mod fetch;
mod metrics;
mod promtool;
mod refusing;
mod retried;
mod secrets;
mod slow;
mod traces;

use std::time::Duration;

use db_app::config::Layers;
use db_app::telemetry::Telemetry;
use db_app::{Config, Database};
use db_testkit::TestDatabase;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::layer::SubscriberExt;

pub(crate) use self::collector::Collector;
pub(crate) use self::fetch::fetch;
use crate::support::{Lines, client, database};

/// The layer in a service that sends everything to a collector of the test.
struct Scene<'a> {
    db: &'a Database,
    database: &'a TestDatabase,
    telemetry: &'a Telemetry,
}

/// Runs `work` as a service with telemetry does, and gives what the collector got until the service had ended. The database has an
/// empty table `orders (n int PRIMARY KEY)`.
fn sent(environment: &[(&str, &str)], work: impl AsyncFnOnce(Scene<'_>)) -> Collector {
    sent_and_logged(environment, work).0
}

/// The same, with everything that was logged, down to the last detail.
fn sent_and_logged(environment: &[(&str, &str)], work: impl AsyncFnOnce(Scene<'_>)) -> (Collector, String) {
    let around = Runtime::new().expect("a runtime");
    let (mut collector, database) = around.block_on(async {
        let database = database().await;
        let aside = client(database.url()).await;
        aside.batch_execute("CREATE TABLE orders (n int PRIMARY KEY)").await.expect("a table");
        (Collector::start().await, database)
    });
    collector.runs_on(around);
    let endpoint = collector.url();
    let more = [
        ("DATABASE_URL", database.url()),
        ("DB_APPLICATION_NAME", "shop"),
        ("DB_HEALTH_INTERVAL_MS", "3600000"),
        ("DB_OTLP_ENDPOINT", &endpoint),
    ];
    let all = more.iter().chain(environment);
    let layers = all.fold(Layers::default(), |layers, (name, value)| layers.with_environment(name, value));
    let config = Config::load(&layers).expect("valid");
    // Outside of a runtime, as its documentation asks.
    let telemetry = Telemetry::start(&config).expect("telemetry");
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let subscriber = tracing_subscriber::registry().with(log).with(telemetry.layer());
    let traced = tracing::subscriber::set_default(subscriber);
    // On this thread alone, which is the one that is traced.
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let db = Database::builder(config).meter(telemetry.meter()).open().await.expect("open");
        work(Scene { db: &db, database: &database, telemetry: &telemetry }).await;
        db.close(Duration::from_secs(5)).await.expect("close");
    });
    drop(traced);
    telemetry.shut_down();
    (collector, lines.text())
}
