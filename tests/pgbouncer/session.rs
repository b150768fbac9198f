//! `pool_mode = session`: a session for each connection, which takes settings by `SET` only.

use std::time::Duration;

use db_core::{Executor, Query};
use db_pool::{Pooler, Settings};

use super::bouncer::{Bouncer, Mode};
use crate::support::{Recorder, database, settings};

const SETTINGS: &str =
    "SELECT concat_ws(' ', current_setting('statement_timeout'), current_setting('lock_timeout'),
    current_setting('idle_in_transaction_session_timeout'), current_setting('search_path'),
    current_setting('default_transaction_read_only'), current_setting('application_name'), current_setting('client_encoding'))";

fn change(settings: &mut Settings) {
    (settings.max, settings.min) = (1, 1);
    settings.statement_timeout = Duration::from_millis(1_234);
    settings.lock_timeout = Duration::from_millis(567);
    settings.idle_in_transaction_timeout = Duration::from_millis(8_901);
    settings.search_path = Some("app, \"My Schema\"".to_owned());
    settings.application_name = "billing".to_owned();
    settings.read_only = true;
}

const EXPECT: &str = "1234ms 567ms 8901ms app, \"My Schema\" on billing UTF8";

/// B2: settings go by `SET`, come back after a reset, and statements have names.
#[tokio::test]
async fn a_session_is_like_one_without_a_pooler() {
    let database = database().await;
    let bouncer = Bouncer::before(&database, Mode::Session).await;
    let pool = bouncer
        .pool(|settings| {
            change(settings);
            settings.pooler = Pooler::Session;
        })
        .await;
    assert_eq!(pool.one::<String>(SETTINGS, &[]).await.expect("settings"), EXPECT);
    pool.batch_execute("SET lock_timeout = 1").await.expect("changed");
    assert_eq!(pool.one::<String>(SETTINGS, &[]).await.expect("settings"), EXPECT);
    for n in 0..5 {
        assert_eq!(pool.one::<i32>("SELECT $1::int4", &[&n]).await.expect("a value"), n);
    }
    let named = "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1::int4'";
    assert_eq!(pool.one::<i64>(named, &[]).await.expect("count"), 1);
    pool.close(Duration::from_secs(5)).await.expect("close");
    // PgBouncer's own reset is behind us: the next client has none of it.
    let others = bouncer.in_each_session(SETTINGS).await;
    assert_eq!(others, ["0 0 0 \"$user\", public off other UTF8"; 2]);
}

/// B2: without a word of the pooler the settings are refused in the startup message and go by `SET`, unseen by anybody.
#[tokio::test]
async fn refused_startup_options_go_by_set() {
    let database = database().await;
    let bouncer = Bouncer::before(&database, Mode::Session).await;
    let mut config = bouncer.config();
    config.options("-c work_mem=1MB");
    let refused = config.connect(tokio_postgres::NoTls).await.err().expect("PgBouncer knows no options");
    let refused = refused.as_db_error().expect("an error of PgBouncer").message();
    assert!(refused.contains("startup parameter"), "{refused}");

    let recorder = Recorder::default();
    let mut settings = settings();
    change(&mut settings);
    let observer = std::sync::Arc::new(recorder.clone());
    let pool = db_pool::Pool::open_observed(bouncer.config(), settings, observer).await.expect("a pool");
    assert_eq!(pool.one::<String>(SETTINGS, &[]).await.expect("settings"), EXPECT);
    assert!(
        !recorder.events().iter().any(|event| event.starts_with("connect failed")),
        "{:?}",
        recorder.events()
    );
    pool.batch_execute("SET lock_timeout = 1").await.expect("changed");
    assert_eq!(pool.one::<String>(SETTINGS, &[]).await.expect("settings"), EXPECT);
}
