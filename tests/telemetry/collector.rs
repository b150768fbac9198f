//! A collector of OpenTelemetry: takes what is sent by OTLP over HTTP, and decodes it. It judges nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::{Router, serve};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Names with their values, as text.
pub(crate) type Attributes = BTreeMap<String, String>;

/// A collector, and what it got.
pub(crate) struct Collector {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    runtime: Option<Runtime>,
}

/// A request as it came.
#[derive(Clone)]
struct Heard {
    path: String,
    content_type: String,
    body: Bytes,
}

/// A span that ended.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty without a parent.
    pub(crate) parent: String,
    pub(crate) attributes: Attributes,
    pub(crate) events: Vec<(String, Attributes)>,
    pub(crate) status: SpanStatus,
}

/// A metric at one collection.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    pub(crate) service: String,
    pub(crate) scope: String,
    pub(crate) name: String,
    pub(crate) unit: String,
    /// `histogram`, `counter`, `up-down counter` or `gauge`.
    pub(crate) kind: &'static str,
    /// The attributes of each point.
    pub(crate) points: Vec<Attributes>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::default();
        let routes = Router::new().fallback(receive).with_state(Arc::clone(&heard));
        tokio::spawn(async move { serve(listener, routes).await });
        Self { address, heard, runtime: None }
    }

    /// The address that services are given.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Keeps the runtime that it runs on.
    pub(super) fn runs_on(&mut self, runtime: Runtime) {
        self.runtime = Some(runtime);
    }

    /// All that came, undecoded.
    pub(crate) fn bodies(&self) -> Vec<Bytes> {
        self.heard.lock().expect("lock").iter().map(|heard| heard.body.clone()).collect()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for body in self.of("/v1/traces") {
            let request = ExportTraceServiceRequest::decode(body).expect("a request");
            for resource in request.resource_spans {
                let service = service(resource.resource.as_ref());
                let of_scopes = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(of_scopes.map(|span| Span {
                    service: service.clone(),
                    kind: span.kind(),
                    status: span.status.as_ref().map_or(SpanStatus::Unset, |status| status.code()),
                    name: span.name,
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    attributes: attributes(&span.attributes),
                    events: span.events.into_iter().map(|it| (it.name, attributes(&it.attributes))).collect(),
                }));
            }
        }
        spans
    }

    /// The only span with this name.
    pub(crate) fn span(&self, name: &str) -> Span {
        let all = self.spans();
        let mut found = all.iter().filter(|span| span.name == name);
        let span = found.next().unwrap_or_else(|| panic!("no span {name:?} in {all:#?}"));
        assert!(found.next().is_none(), "{name:?} is there twice: {all:#?}");
        span.clone()
    }

    /// All metrics of all collections.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for body in self.of("/v1/metrics") {
            let request = ExportMetricsServiceRequest::decode(body).expect("a request");
            for resource in request.resource_metrics {
                let service = service(resource.resource.as_ref());
                for scope in resource.scope_metrics {
                    let of = scope.scope.as_ref().map_or("", scope_name).to_owned();
                    metrics.extend(scope.metrics.into_iter().map(|metric| {
                        let (kind, points) = points(metric.data.expect("data"));
                        let (service, scope) = (service.clone(), of.clone());
                        Metric { service, scope, name: metric.name, unit: metric.unit, kind, points }
                    }));
                }
            }
        }
        metrics
    }

    fn of(&self, path: &str) -> Vec<Bytes> {
        let heard = self.heard.lock().expect("lock").clone();
        for heard in &heard {
            assert!(["/v1/metrics", "/v1/traces"].contains(&&*heard.path), "{}", heard.path);
            assert_eq!(heard.content_type, "application/x-protobuf", "{}", heard.path);
        }
        heard.into_iter().filter(|heard| heard.path == path).map(|heard| heard.body).collect()
    }
}

/// The runtime goes on in the background until it has ended.
impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn receive(
    State(heard): State<Arc<Mutex<Vec<Heard>>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let content_type = headers.get("content-type").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let content_type = content_type.to_owned();
    heard.lock().expect("lock").push(Heard { path: uri.path().to_owned(), content_type, body });
    StatusCode::OK
}

fn scope_name(scope: &InstrumentationScope) -> &str {
    &scope.name
}

fn service(resource: Option<&Resource>) -> String {
    let attributes = attributes(&resource.expect("a resource").attributes);
    attributes.get("service.name").cloned().unwrap_or_default()
}

fn points(data: Data) -> (&'static str, Vec<Attributes>) {
    let numbers = |points: Vec<opentelemetry_proto::tonic::metrics::v1::NumberDataPoint>| {
        points.iter().map(|point| attributes(&point.attributes)).collect()
    };
    match data {
        Data::Gauge(gauge) => ("gauge", numbers(gauge.data_points)),
        Data::Sum(sum) if sum.is_monotonic => ("counter", numbers(sum.data_points)),
        Data::Sum(sum) => ("up-down counter", numbers(sum.data_points)),
        Data::Histogram(histogram) => {
            ("histogram", histogram.data_points.iter().map(|point| attributes(&point.attributes)).collect())
        }
        other => panic!("the layer has no such metric: {other:?}"),
    }
}

fn attributes(pairs: &[KeyValue]) -> Attributes {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
