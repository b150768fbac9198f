//! A file without a history and without a lock: for the replay in a scratch database, which is thrown away when anything
//! goes wrong.

use db_core::Executor;
use tokio_postgres::Client;

use crate::message;
use crate::session::{Limits, SessionState};
use crate::statement::{Alone, Execution};
use crate::transaction::{Failure, Transaction};
use crate::{Script, Settings};

/// Runs a script as the runner would, and leaves the session as it was.
///
/// What concerns all databases of the server, `CREATE DATABASE` for one, is left out: it is there already.
pub(crate) async fn run(
    client: &Client,
    session: &SessionState,
    script: &Script,
    settings: &Settings,
) -> Result<(), Failure> {
    let limits = Limits::new(script.directives(), settings, session);
    if !script.directives().no_transaction {
        let transaction = Transaction::begin(client, &limits).await?;
        transaction.run_unrecorded(script).await?;
        session.restore(client).await?;
        return Ok(transaction.commit().await?);
    }
    Executor::batch_execute(client, &limits.set()).await?;
    let is_local = |execution: &Execution| {
        !matches!(execution, Execution::Alone(Alone::CreateDatabase { .. } | Alone::DropDatabase { .. }))
    };
    for (index, statement) in script.statements().iter().enumerate() {
        if is_local(&statement.execution) {
            let ran = message::send(client, script.text(statement)).await;
            ran.map_err(|broken| Failure::from(broken).in_statement(script, index))?;
        }
    }
    Ok(session.restore(client).await?)
}
