//! What is said in comments behind statements that are sent as text (`DB_SQL_COMMENTER`): which application sends them and, with
//! OTLP, for which request. Where such a comment goes is the pool's to decide.

use db_pool::Commenter;

use crate::Config;

/// Has the pools of a configuration say so, unless the program has set something else for them.
pub(crate) fn comment(config: &mut Config) {
    if config.observe.has_sql_comments {
        let commenter = commenter(config.pool.application_name.clone());
        for pool in [&mut config.pool, &mut config.replicas.pool] {
            pool.commenter.get_or_insert_with(|| commenter.clone());
        }
    }
}

fn commenter(application: String) -> Commenter {
    Commenter::new(move || {
        let application = ("application", application.clone());
        #[cfg(feature = "otlp")]
        let tags = std::iter::once(application).chain(traceparent().map(|it| ("traceparent", it))).collect();
        #[cfg(not(feature = "otlp"))]
        let tags = vec![application];
        tags
    })
}

/// The caller's span, as a request would name it to another service; `None` where no trace is.
#[cfg(feature = "otlp")]
fn traceparent() -> Option<String> {
    use opentelemetry::trace::TraceContextExt;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let context = tracing::Span::current().context();
    let span = context.span();
    let span = span.span_context();
    let parent = || format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags());
    span.is_valid().then(parent)
}
