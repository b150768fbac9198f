//! Retries in a trace: each attempt is a span, and that it was tried again an event of the caller's.

use db_core::Query;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tracing::{Instrument, info_span};

use super::{Scene, sent};
use crate::support::client;

/// The session ends in the middle of the first attempt, as by a failover; the second gives the row.
const READ: &str =
    "SELECT CASE WHEN nextval('attempts') = 1 THEN pg_terminate_backend(pg_backend_pid()) ELSE true END";

/// D1, E7: a read that was run again.
#[test]
fn a_retry_is_an_event_of_the_callers_span() {
    let collector = sent(&[], async |Scene { db, database, .. }| {
        let aside = client(database.url()).await;
        aside.batch_execute("CREATE SEQUENCE attempts").await.expect("a sequence");
        let read = async { db.reads().one::<bool>(READ, &[]).await.expect("the second time") };
        assert!(read.instrument(info_span!("request")).await);
    });
    let above = collector.span("request");
    // The pool may have told of the lost connection beside it.
    let retries: Vec<_> = above.events.iter().filter(|(name, _)| name == "trying again").collect();
    let [(_, event)] = &*retries else { panic!("{above:#?}") };
    assert_eq!(event["attempt"], "1", "{event:#?}");
    assert!(event["error"].contains("57P01"), "{event:#?}");
    assert_ne!(above.status, StatusCode::Error, "it went well in the end");

    let attempts: Vec<_> = collector.spans().into_iter().filter(|span| span.parent == above.id).collect();
    let statuses: Vec<_> = attempts.iter().map(|span| span.status).collect();
    assert_eq!(statuses, [StatusCode::Error, StatusCode::Unset], "{attempts:#?}");
    assert_eq!(attempts[0].attributes["error.type"], "57P01");

    let metrics = collector.metrics();
    assert!(metrics.iter().any(|metric| metric.name == "db.client.retry.retries"), "counted as well");
}
