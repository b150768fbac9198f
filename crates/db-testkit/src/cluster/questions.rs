//! What a cluster asks its servers, what it tells them, and how long it waits. Every question is asked on a connection of its
//! own: a new session knows the settings that are in force.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::FromSqlOwned;

use crate::Error;
use crate::database::{connect, execute};

/// How long a server may take to come to a state: the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long one answer may take. A frozen server takes a connection and never answers.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// How often a condition is looked at that nothing reports.
const POLL: Duration = Duration::from_millis(20);

/// Asks for one value.
pub(crate) async fn ask<T: FromSqlOwned>(url: &str, question: &str, patience: Duration) -> Result<T, Error> {
    let asked = async {
        let (client, _driver) = connect(url).await?;
        Ok(client.query_one(question, &[]).await?.try_get(0)?)
    };
    let late = || Error::Late { what: question.to_owned(), waited: patience, answer: "none".to_owned() };
    timeout(patience, asked).await.map_err(|_| late())?
}

/// Waits until the answer is true.
pub(crate) async fn comes_true(
    url: &str,
    what: &str,
    question: &str,
    patience: Duration,
) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        let answer = match ask::<bool>(url, question, ANSWER.min(patience)).await {
            Ok(true) => return Ok(()),
            Ok(false) => "no".to_owned(),
            Err(error) => error.to_string(),
        };
        let waited = start.elapsed();
        if waited > patience {
            return Err(Error::Late { what: what.to_owned(), waited, answer });
        }
        sleep(POLL).await;
    }
}

/// Waits until a server has replayed what its leader has written by now.
pub(crate) async fn caught_up(url: &str, leader: &str, what: &str) -> Result<(), Error> {
    let position = "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
        ELSE pg_current_wal_lsn() END)::text";
    let position: String = ask(leader, position, PATIENCE).await?;
    let question = format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{position}'::pg_lsn, false)");
    comes_true(url, what, &question, PATIENCE).await
}

/// Changes a setting and waits until it is in force.
pub(crate) async fn set(url: &str, name: &str, value: &str) -> Result<(), Error> {
    let quoted = value.replace('\'', "''");
    tell(url, &format!("ALTER SYSTEM SET {name} = '{quoted}'")).await?;
    tell(url, "SELECT pg_reload_conf()").await?;
    // The postmaster reads the file first and signals its processes then; it starts no session in between.
    let question = format!("SELECT setting = '{quoted}' FROM pg_settings WHERE name = '{name}'");
    comes_true(url, &format!("{name} is in force"), &question, PATIENCE).await
}

/// Has a statement executed.
pub(crate) async fn tell(url: &str, statement: &str) -> Result<(), Error> {
    let late = || Error::Late { what: statement.to_owned(), waited: PATIENCE, answer: "none".to_owned() };
    timeout(PATIENCE, execute(url, statement)).await.map_err(|_| late())?
}
