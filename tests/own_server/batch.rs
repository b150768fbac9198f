//! A batch whose BEGIN fails, of which the server alone decides.

use std::sync::Arc;

use db_core::{Batch, Query, SqlState};
use db_pool::{Isolation, Pool, TxOptions};
use db_testkit::TestCluster;

use crate::support::{Recorder, backend, settings};

/// Everything is on its way when BEGIN fails, as at this level on a standby. Nothing of it runs without its transaction.
#[tokio::test]
async fn nothing_runs_when_begin_fails() {
    let cluster = TestCluster::start(&backend(), 1).await.expect("a cluster");
    let recorder = Recorder::default();
    let standby: tokio_postgres::Config = cluster.node(1).url().parse().expect("a URL");
    let pool = Pool::open_observed(standby, settings(), Arc::new(recorder.clone())).await.expect("a pool");
    let statements: Batch<'_> = &[("SELECT pg_is_in_recovery()", &[]), ("SELECT 7", &[])];
    for _ in 0..2 {
        let options = TxOptions::new().isolation(Isolation::Serializable);
        let error = pool.batch_with(&options, statements).await.expect_err("not on a standby");
        assert_eq!(error.sqlstate(), SqlState::new("0A000"), "{error}");
        assert!(!recorder.events().iter().any(|event| event.ends_with(" ok")), "{:?}", recorder.events());
    }
    let answers = pool.batch(statements).await.expect("at another level");
    assert!(answers.into_iter().next().expect("two").one::<bool>().expect("a row"));
    assert_eq!(pool.one::<i32>("SELECT 7", &[]).await.expect("a value"), 7);
    cluster.stop().await.expect("stopped");
}
