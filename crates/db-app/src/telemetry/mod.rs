//! Where metrics and traces go: to whoever scrapes `/metrics`, and by OTLP to a collector. A service that has providers of
//! OpenTelemetry of its own needs none of this: it gives its meter to [`Database::builder`](crate::Database::builder), and
//! its subscriber of `tracing` gets the spans of statements (target `db::span`, level `debug`).

#[cfg(feature = "otlp")]
mod otlp;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;

use crate::Config;

/// The name of the instruments' scope.
const SCOPE: &str = "db";

/// The providers of a process. To be made before the runtime is entered, and shut down after it was left: exporting by OTLP has
/// threads of its own that block.
#[derive(Debug)]
pub struct Telemetry {
    meters: SdkMeterProvider,
    #[cfg(feature = "prometheus")]
    registry: prometheus::Registry,
    #[cfg(feature = "otlp")]
    tracers: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

/// Telemetry that could not be set up. The text names the setting, and holds no secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TelemetryError(String);

impl Telemetry {
    /// Sets up what the configuration asks for.
    ///
    /// # Errors
    /// When an exporter cannot be made.
    ///
    /// # Panics
    /// Within a runtime of tokio, if OTLP is configured.
    pub fn start(config: &Config) -> Result<Self, TelemetryError> {
        let resource = resource(&config.pool.application_name);
        let meters = SdkMeterProvider::builder().with_resource(resource.clone());
        #[cfg(feature = "prometheus")]
        let registry = prometheus::Registry::new();
        #[cfg(feature = "prometheus")]
        let meters = {
            let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone());
            let exporter = exporter.scope_info_enabled(false).build();
            meters.with_reader(exporter.map_err(|error| TelemetryError(format!("metrics: {error}")))?)
        };
        #[cfg(feature = "otlp")]
        let (meters, tracers) = match &config.observe.otlp_endpoint {
            None => (meters, None),
            Some(endpoint) => {
                let client = otlp::client(endpoint)?;
                let metrics = otlp::metrics(endpoint, client.clone())?;
                let tracers = otlp::tracers(endpoint, client, config.observe.trace_ratio, resource)?;
                (meters.with_periodic_exporter(metrics), Some(tracers))
            }
        };
        #[cfg(not(feature = "otlp"))]
        if config.observe.otlp_endpoint.is_some() {
            let what = "DB_OTLP_ENDPOINT is set, and this program was built without the feature \"otlp\"";
            return Err(TelemetryError(what.to_owned()));
        }
        Ok(Self {
            meters: meters.build(),
            #[cfg(feature = "prometheus")]
            registry,
            #[cfg(feature = "otlp")]
            tracers,
        })
    }

    /// The meter for [`Builder::meter`](crate::Builder::meter).
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.meters.meter(SCOPE)
    }

    /// The registry for [`Routes::registry`](crate::http::Routes::registry).
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn registry(&self) -> prometheus::Registry {
        self.registry.clone()
    }

    /// The layer that sends spans, and retries as events on them; `None` without an endpoint. It continues whichever trace the
    /// caller's span belongs to.
    #[cfg(feature = "otlp")]
    #[must_use]
    pub fn layer<S>(&self) -> Option<impl tracing_subscriber::Layer<S> + use<S>>
    where
        S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
    {
        self.tracers.as_ref().map(otlp::layer)
    }

    /// Sends what is left, waiting for about 5 s at most. What cannot be sent is lost, which is logged.
    pub fn shut_down(self) {
        // Both at once, so that a collector that says nothing is waited for once.
        #[cfg(feature = "otlp")]
        let traces = self.tracers.map(|tracers| std::thread::spawn(move || tracers.shutdown()));
        if let Err(error) = self.meters.shutdown() {
            tracing::warn!(target: "db", %error, "the last metrics were not sent");
        }
        #[cfg(feature = "otlp")]
        if let Some(Ok(Err(error))) = traces.map(std::thread::JoinHandle::join) {
            tracing::warn!(target: "db", %error, "the last traces were not sent");
        }
    }
}

/// Who tells: as the environment says by OpenTelemetry's own variables, else by the name of our sessions, and by an id of its own for
/// each process, so that the figures of several are not taken for one's.
fn resource(name: &str) -> Resource {
    let given = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() && !given.contains("service.name=") {
        resource = resource.with_service_name(name.to_owned());
    }
    if !given.contains("service.instance.id=") {
        let id = uuid::Uuid::now_v7().to_string();
        resource = resource.with_attribute(KeyValue::new("service.instance.id", id));
    }
    resource.build()
}
