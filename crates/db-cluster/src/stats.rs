//! How the endpoints are, for people and metrics.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{Lag, Lsn, Standing};

/// One endpoint now.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Its name.
    pub name: String,
    /// What it is good for, and why not for more; in JSON `state` and `reason`.
    #[serde(flatten)]
    pub standing: Standing,
    /// For how long it has been that; in JSON `since_ms`, whole milliseconds.
    #[serde(rename = "since_ms", serialize_with = "millis")]
    pub since: Duration,
    /// Whether it was taken out by hand.
    pub is_drained: bool,
    /// How far it is behind; none for a primary, for who does not answer, and before a primary was seen.
    pub lag: Option<Lag>,
    /// The timeline that it is on; none while it does not answer.
    pub timeline: Option<u32>,
    /// Where a primary writes, or what a standby has replayed; none while it does not answer.
    pub lsn: Option<Lsn>,
    /// Why the last look at it found nothing, if it did not.
    pub error: Option<String>,
    /// Reads and connections that it has now, without streams that have begun.
    pub in_flight: usize,
    /// Reads that it has answered, and statements on connections that were routed to it.
    pub served: u64,
    /// How long a read takes there, on average over about the last ten; in JSON `latency_ms`.
    #[serde(rename = "latency_ms", serialize_with = "fine_millis")]
    pub latency: Option<Duration>,
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(duration.as_millis())
}

fn fine_millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64() * 1e3).serialize(serializer)
}
