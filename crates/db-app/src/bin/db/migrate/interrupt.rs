//! A signal during a command that works on the database: what runs is cancelled on the server, so that it is rolled back and
//! the lock is released before the program ends. A second signal ends it at once.

use std::pin::Pin;
use std::time::Duration;

use anyhow::Result;
use db_app::Database;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::migrate::progress::Now;
use crate::signals::{Signals, at_once, exit_code};

/// How work ended.
pub(super) enum Ended<T> {
    ByItself(Result<T>),
    /// A signal ended it, which the exit code tells; what it was doing says how far it came.
    Interrupted {
        code: u8,
        /// The result of what was cancelled; none when nothing ran that had to be.
        result: Option<Result<T>>,
    },
}

/// Between two requests to cancel: the first may meet a pause between two statements.
const PAUSE: Duration = Duration::from_millis(500);

/// How long the server may take to tidy up behind work that was dropped.
const TIDYING: Duration = Duration::from_secs(5);

/// Does `work` on `client` until it is done or a signal comes.
pub(super) async fn until_signal<T>(
    database: &Database,
    client: &Client,
    now: &Now,
    signals: &mut Signals,
    work: impl Future<Output = Result<T>>,
) -> Result<Ended<T>> {
    let pid: i32 = client.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await?.try_get(0)?;
    let mut work = Box::pin(work);
    let kind = tokio::select! {
        result = &mut work => return Ok(Ended::ByItself(result)),
        kind = signals.next() => kind,
    };
    let code = exit_code(kind);
    eprintln!("stopping; a second signal ends it at once");
    if now.file().is_some() {
        tokio::select! {
            result = cancelled(database, pid, now, work.as_mut()) => {
                return Ok(Ended::Interrupted { code, result: Some(result) });
            }
            _ = signals.next() => at_once(code),
        }
    }
    drop(work);
    tokio::select! {
        // Answered after everything that was sent behind the dropped work.
        _ = timeout(TIDYING, client.batch_execute("")) => Ok(Ended::Interrupted { code, result: None }),
        _ = signals.next() => at_once(code),
    }
}

/// Cancels what the session runs until the work has noticed.
async fn cancelled<T>(
    database: &Database,
    pid: i32,
    now: &Now,
    mut work: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<T> {
    loop {
        let cancel = async {
            // Between two files there is nothing to cancel, and what follows a file is best left alone.
            if now.file().is_some()
                && let Ok(aside) = database.connect_directly("cancel", None).await
            {
                aside.execute("SELECT pg_catalog.pg_cancel_backend($1)", &[&pid]).await.ok();
            }
            sleep(PAUSE).await;
        };
        tokio::select! {
            result = &mut work => return result,
            () = cancel => {}
        }
    }
}
