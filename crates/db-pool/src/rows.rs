//! The rows of a statement as they arrive: each waited for no longer than a call may take, the end seen or the operation left
//! counted as unfinished.

use std::pin::Pin;
use std::sync::Arc;

use db_core::{Error, Phase, RowStream};
use futures_util::stream::{StreamExt, TryStreamExt, try_unfold};

use crate::running::{Patience, Running};
use crate::session::Session;

/// The rows of a statement that has begun.
pub(crate) struct Rows {
    pub(crate) rows: Pin<Box<tokio_postgres::RowStream>>,
    /// Whose transaction ends with them.
    pub(crate) commit: Option<Arc<Session>>,
    pub(crate) patience: Patience,
    pub(crate) running: Running,
}

impl Rows {
    /// A stream that ends the operation with its last row; `holder` is kept until then.
    pub(crate) fn until_the_end<'a>(self, holder: impl Send + 'a) -> RowStream<'a> {
        try_unfold((holder, self), |(holder, mut rows)| async move {
            match rows.patience.bound(Phase::Execute, rows.rows.try_next()).await? {
                Ok(Some(row)) => Ok(Some((row, (holder, rows)))),
                Ok(None) => {
                    if let Some(session) = &rows.commit {
                        rows.patience.bound(Phase::Commit, session.simple("COMMIT", Phase::Commit)).await??;
                    }
                    rows.running.end();
                    Ok(None)
                }
                Err(error) => {
                    if let Some(session) = &rows.commit {
                        rows.patience
                            .bound(Phase::Execute, session.simple("ROLLBACK", Phase::Execute))
                            .await??;
                    }
                    rows.running.end();
                    Err(Error::from_driver(&error, Phase::Execute))
                }
            }
        })
        .boxed()
    }
}
