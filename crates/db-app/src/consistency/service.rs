//! One request with its token: in by a header, to the handler as an extension, and out by a header. Knows nothing of databases.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use db_cluster::{ConsistencyToken, TokenError};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Consistency;

/// What [`ConsistencyLayer`](super::ConsistencyLayer) makes of a service. Bodies may be of any type; that of an answer can be made
/// of text, for refusals.
#[derive(Clone, Debug)]
pub struct ConsistencyService<S> {
    inner: S,
    header: HeaderName,
}

pin_project! {
    /// The answer to come.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
        header: HeaderName,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProjection]
    enum State<F> {
        Served { #[pin] answer: F, consistency: Consistency },
        Refused { error: TokenError },
    }
}

impl<S> ConsistencyService<S> {
    pub(super) fn new(inner: S, header: HeaderName) -> Self {
        Self { inner, header }
    }
}

impl<S, B, R> Service<Request<B>> for ConsistencyService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let consistency = Consistency::default();
        let state = match take_in(&consistency, request.headers(), &self.header) {
            Ok(()) => {
                request.extensions_mut().insert(consistency.clone());
                State::Served { answer: self.inner.call(request), consistency }
            }
            Err(error) => State::Refused { error },
        };
        ResponseFuture { state, header: self.header.clone() }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: From<String>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.state.project() {
            StateProjection::Refused { error } => Poll::Ready(Ok(refusal(this.header, error))),
            StateProjection::Served { answer, consistency } => {
                let mut response = ready!(answer.poll(context))?;
                // Whoever passes on the answer of another service has its token in there. One that cannot be read is of no use to
                // the caller either, whose next request would be refused.
                take_in(consistency, response.headers(), this.header).ok();
                match consistency.token().map(|token| HeaderValue::try_from(token.to_string())) {
                    Some(Ok(value)) => {
                        response.headers_mut().insert(&*this.header, value);
                    }
                    _ => {
                        response.headers_mut().remove(&*this.header);
                    }
                }
                Poll::Ready(Ok(response))
            }
        }
    }
}

/// Notes all tokens in the header. A proxy may have put several headers into one, with commas.
fn take_in(consistency: &Consistency, headers: &HeaderMap, name: &HeaderName) -> Result<(), TokenError> {
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| TokenError::Malformed)?;
        for token in text.split(',') {
            consistency.wrote(token.trim().parse::<ConsistencyToken>()?);
        }
    }
    Ok(())
}

/// Says what is wrong without repeating what was sent.
fn refusal<R: From<String>>(header: &HeaderName, error: &TokenError) -> Response<R> {
    let mut response = Response::new(R::from(format!("header {header}: {error}\n")));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
