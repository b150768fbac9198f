//! The layer as services add it. What it does with a request is in `service`.

use http::HeaderName;
use tower_layer::Layer;

use super::ConsistencyService;

/// Carries consistency tokens over HTTP: see [the module](super).
///
/// A request whose header is no token is answered with 400, and its handler is not called. One without the header is served like
/// any other. Several tokens, in one header or in several, count together.
#[derive(Clone, Debug)]
pub struct ConsistencyLayer {
    header: HeaderName,
}

impl ConsistencyLayer {
    /// One that uses the header `x-db-token`.
    #[must_use]
    pub const fn new() -> Self {
        Self { header: HeaderName::from_static("x-db-token") }
    }

    /// Sets the header, of requests and of answers.
    #[must_use]
    pub fn header(mut self, header: HeaderName) -> Self {
        self.header = header;
        self
    }
}

impl Default for ConsistencyLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ConsistencyLayer {
    type Service = ConsistencyService<S>;

    fn layer(&self, inner: S) -> ConsistencyService<S> {
        ConsistencyService::new(inner, self.header.clone())
    }
}
