//! Serving HTTP so that slow callers starve nobody: a request's head must arrive in time, and connections end when the service
//! does. Which routes are served is the caller's.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// A request's head must have arrived by then, also the next one's on a connection that is kept.
const HEAD: Duration = Duration::from_secs(10);

/// The pause after a connection could not be accepted, as when there are no more file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `stop` is ready, and then until the requests under way have ended. Callers' addresses are known to
/// the routes.
///
/// # Errors
/// None at present: a connection that cannot be accepted is tried again.
///
/// # Cancel safety
/// Dropping the future ends the listener; connections go on until their requests have ended.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) -> io::Result<()> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(target: "db::http", %error, "cannot accept a connection");
                    sleep(PAUSE).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let router = router.clone().layer(axum::Extension(ConnectInfo(peer)));
        let service = TowerToHyperService::new(router);
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // What a caller does wrong is his to notice.
            if let Err(error) = connection.await {
                tracing::debug!(target: "db::http", %peer, error, "a connection ended");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
    Ok(())
}
