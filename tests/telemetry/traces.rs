//! Traces as a collector gets them: a span of each statement, below whoever asked for it, and nothing that was not to be sent.

use std::collections::{BTreeMap, HashMap};

use db_app::Database;
use db_core::{Executor, Query};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{Collector, Scene, sent};

/// Who called the service, as its request says it.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The span of a request that belongs to the caller's trace, which is sent or not.
fn request(is_sampled: bool) -> Span {
    let flags = u8::from(is_sampled);
    let header = format!("00-{TRACE}-{CALLER}-{flags:02x}");
    let carrier = HashMap::from([("traceparent".to_owned(), header)]);
    let span = info_span!("request", otel.kind = "server");
    span.set_parent(TraceContextPropagator::new().extract(&carrier)).expect("not begun");
    span
}

async fn select(db: &Database) {
    let sql = "SELECT n, 'hunter2' FROM orders -- hunter2\n WHERE n = $1 AND n <> 4242";
    db.query::<(i32, String)>(sql, &[&7_i32]).await.expect("rows");
}

/// E7, D10: a span of kind client for each statement, named by its summary, with the attributes of the conventions and no others, a
/// child of its caller's span, which continues the trace of the caller elsewhere.
#[test]
fn a_statement_is_a_span_below_its_callers() {
    let mut place = (String::new(), String::new());
    let collector = sent(&[], async |Scene { db, database, .. }| {
        place = (database.name().to_owned(), database.config().get_ports()[0].to_string());
        select(db).instrument(request(true)).await;
    });
    let (above, span) = (collector.span("request"), collector.span("SELECT orders"));
    assert_eq!((&*above.trace, &*above.parent, above.kind), (TRACE, CALLER, SpanKind::Server));
    assert_eq!((&*span.trace, &span.parent, span.kind), (TRACE, &above.id, SpanKind::Client));
    assert_eq!((&*span.service, span.status), ("shop", StatusCode::Unset));
    let expect = BTreeMap::from([
        ("db.system.name", "postgresql"),
        ("db.namespace", &*place.0),
        ("db.query.summary", "SELECT orders"),
        ("db.query.text", "SELECT n, ? FROM orders WHERE n = $1 AND n <> ?"),
        ("server.address", "127.0.0.1"),
        ("server.port", &*place.1),
    ]);
    let attributes: BTreeMap<_, _> =
        span.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(attributes, expect);
    assert!(span.events.is_empty(), "{span:#?}");
}

/// E7: what failed says so, by its code.
#[test]
fn a_statement_that_fails_is_an_error() {
    let collector = sent(&[], async |Scene { db, .. }| {
        db.execute("INSERT INTO orders VALUES (1), (1)", &[]).await.expect_err("twice the same");
    });
    let span = collector.span("INSERT orders");
    assert_eq!(span.status, StatusCode::Error);
    let value = |name: &str| span.attributes[name].as_str();
    assert_eq!((value("error.type"), value("db.response.status_code")), ("23505", "23505"));
    assert_eq!(span.parent, "", "nobody asked for it");
}

/// Every verb has a span: also streams, batches, and what runs in a transaction.
#[test]
fn every_verb_is_traced() {
    let collector = sent(&[], async |Scene { db, .. }| {
        let work = async {
            db.execute("INSERT INTO orders VALUES (1)", &[]).await.expect("a row");
            db.one::<i32>("SELECT n FROM orders", &[]).await.expect("the row");
            drop(db.stream::<i32>("SELECT n FROM orders o", &[]).await.expect("a stream"));
            db.batch_execute("UPDATE orders SET n = 2; DELETE FROM orders").await.expect("a batch");
            db.tx(async |tx| tx.execute("TRUNCATE orders", &[]).await).await.expect("a transaction");
        };
        work.instrument(request(true)).await;
    });
    let above = collector.span("request");
    let spans = collector.spans();
    let below = spans.iter().filter(|span| span.parent == above.id && span.kind == SpanKind::Client);
    let mut names: Vec<_> = below.map(|span| &*span.name).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["INSERT orders", "SELECT orders", "SELECT orders", "TRUNCATE orders", "UPDATE orders DELETE orders"]
    );
}

/// E7: how many of the traces that begin here are sent is our decision; of those that a caller began it is theirs.
#[test]
fn callers_decide_of_their_traces() {
    let of_both = |ratio: &str, is_sampled: bool| -> Collector {
        sent(&[("DB_TRACE_RATIO", ratio)], async |Scene { db, .. }| {
            select(db).await;
            select(db).instrument(request(is_sampled)).await;
        })
    };
    let traces = |collector: &Collector| -> Vec<_> {
        let spans = collector.spans().into_iter().filter(|span| span.name == "SELECT orders");
        spans.map(|span| span.trace == TRACE).collect()
    };
    assert_eq!(traces(&of_both("0", true)), [true], "the caller's alone");
    assert!(of_both("0", false).spans().is_empty(), "neither");
    assert_eq!(traces(&of_both("1", false)), [false], "our own alone");
}

/// A statement that is sent as text names the span of its caller, as a request to another service would, and its application.
#[test]
fn a_text_names_its_callers_span() {
    const KEEP: &str = "INSERT INTO texts SELECT current_query()";
    let texts = |environment: &[(&str, &str)]| {
        let mut texts = Vec::new();
        let collector = sent(environment, async |Scene { db, .. }| {
            db.batch_execute("CREATE TABLE texts (text text)").await.expect("a table");
            let keep = async || db.batch_execute(KEEP).await.expect("a text");
            keep().instrument(request(true)).await;
            keep().instrument(request(false)).await;
            keep().await;
            // One that is prepared is the same for all.
            db.execute(KEEP, &[]).instrument(request(true)).await.expect("a text");
            texts = db.many::<String>("SELECT text FROM texts", &[]).await.expect("texts");
        });
        (collector, texts)
    };
    let (collector, seen) = texts(&[("DB_SQL_COMMENTER", "true")]);
    let caller = collector.spans().into_iter().filter(|span| span.name == "request").map(|span| span.id);
    let [first, ..] = &caller.collect::<Vec<_>>()[..] else { panic!("no span of a caller") };
    assert_eq!(seen[0], format!("{KEEP} /*application='shop',traceparent='00-{TRACE}-{first}-01'*/"));
    // The caller's trace, which is not sent.
    let (begin, end) = (format!("{KEEP} /*application='shop',traceparent='00-{TRACE}-"), "-00'*/");
    assert!(seen[1].starts_with(&begin) && seen[1].ends_with(end), "{}", seen[1]);
    assert_eq!(seen[2..], [format!("{KEEP} /*application='shop'*/"), KEEP.to_owned()]);
    assert_eq!(texts(&[]).1, [KEEP; 4], "off unless asked for");
}
