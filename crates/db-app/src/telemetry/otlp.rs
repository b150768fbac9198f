//! Sending by OTLP over HTTP, in the encoding of protobuf. What is sent, and when, is the SDK's.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::{SCOPE, TelemetryError};

/// How long one message may take.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn client(endpoint: &str) -> Result<Client, TelemetryError> {
    let mut roots = RootCertStore::empty();
    if endpoint.starts_with("https") {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(refused("the system has no root certificates"));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.map_err(refused)?.with_root_certificates(roots).with_no_client_auth();
    let client = Client::builder().tls_backend_preconfigured(tls).redirect(Policy::none()).timeout(TIMEOUT);
    client.build().map_err(refused)
}

pub(super) fn metrics(endpoint: &str, client: Client) -> Result<MetricExporter, TelemetryError> {
    let exporter = MetricExporter::builder().with_http().with_http_client(client);
    exporter.with_endpoint(signal(endpoint, "metrics")).with_timeout(TIMEOUT).build().map_err(refused)
}

pub(super) fn tracers(
    endpoint: &str,
    client: Client,
    ratio: f64,
    resource: Resource,
) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder().with_http().with_http_client(client);
    let exporter = exporter.with_endpoint(signal(endpoint, "traces")).with_timeout(TIMEOUT).build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
    let tracers = SdkTracerProvider::builder().with_resource(resource).with_sampler(sampler);
    Ok(tracers.with_batch_exporter(exporter.map_err(refused)?).build())
}

/// Spans of statements, and what services and retries tell at `info`. Nothing of the client that sends them: it would tell of
/// itself without end.
pub(super) fn layer<S>(tracers: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let targets = Targets::new()
        .with_default(Level::INFO)
        .with_target("db::span", Level::DEBUG)
        .with_targets([("opentelemetry", tracing::level_filters::LevelFilter::OFF)]);
    tracing_opentelemetry::layer()
        .with_tracer(tracers.tracer(SCOPE))
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(targets)
}

/// Where a signal goes, below the address of the collector.
fn signal(endpoint: &str, name: &str) -> String {
    format!("{}/v1/{name}", endpoint.trim_end_matches('/'))
}

fn refused(error: impl std::fmt::Display) -> TelemetryError {
    TelemetryError(format!("DB_OTLP_ENDPOINT: {error}"))
}
