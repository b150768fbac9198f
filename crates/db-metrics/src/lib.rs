//! Metrics of the PostgreSQL layer by OpenTelemetry.
