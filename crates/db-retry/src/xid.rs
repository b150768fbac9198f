//! The cheap resolver: the transaction remembers its id, and the server is asked for the id's status. Writes nothing.
//!
//! `pg_xact_status` says `committed` of an id, not of a transaction. After a crash the ids that were not yet on disk are given
//! out anew, and on another server they mean other transactions. Its answer is therefore believed only if all of this
//! holds: the same cluster, the same timeline, the same start of the server, and no crash in between. The last shows
//! only in a session that was opened before the transaction and still answers afterwards: the sentinel.

use db_core::{Error, Executor, FromRow, Query, Result, Row};

use crate::{Doubt, Resolution};

/// The id of a transaction, and where and when it ran.
///
/// ```no_run
/// use db_core::{Executor, Query, Result};
/// use db_retry::Xid;
///
/// # async fn example(sentinel: &dyn Executor, connection: &dyn Executor, another: &dyn Executor) -> Result<()> {
/// connection.batch_execute("BEGIN").await?;
/// let xid = Xid::read(connection.one(Xid::enlist(), &[]).await?)?;
/// connection.batch_execute("UPDATE accounts SET balance = balance - 10 WHERE id = 7").await?;
/// if connection.batch_execute("COMMIT").await.is_err() {
///     println!("{}", xid.resolve(another, sentinel).await?);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xid {
    id: String,
    ran_on: Server,
    /// When it began by the server's clock, in microseconds since 1970.
    began: i64,
}

/// What tells one run of one server from another. A crash that the server recovers from by itself leaves it the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    system: String,
    /// `None` on a standby.
    timeline: Option<String>,
    /// When it started, in microseconds since 1970.
    started: i64,
}

/// The session that was to outlive the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sentinel {
    runs_on: Server,
    /// When it was opened by the server's clock, in microseconds since 1970. `None` if its role may not see that.
    opened: Option<i64>,
}

/// The columns of [`Server`]. The control data name a timeline too, but only after the next checkpoint.
macro_rules! server {
    () => {
        "(SELECT system_identifier::text FROM pg_control_system()), \
         CASE WHEN pg_is_in_recovery() THEN NULL \
              ELSE left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END, \
         (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8"
    };
}

const ENLIST: &str = concat!(
    "SELECT pg_current_xact_id()::text, ",
    server!(),
    ", (extract(epoch FROM transaction_timestamp()) * 1000000)::int8"
);

const STATUS: &str = concat!("SELECT pg_xact_status($1::text::xid8), ", server!());

const SENTINEL: &str = concat!(
    "SELECT (extract(epoch FROM backend_start) * 1000000)::int8, ",
    server!(),
    " FROM pg_stat_activity WHERE pid = pg_backend_pid()"
);

impl Xid {
    /// The statement to run inside the transaction, right after BEGIN; [`Xid::read`] reads its row.
    ///
    /// It gives the transaction an id, so it is for transactions that write. Any role may run it.
    #[must_use]
    pub fn enlist() -> &'static str {
        ENLIST
    }

    /// Reads the row of [`Xid::enlist`].
    ///
    /// # Errors
    /// When it is the row of another statement.
    pub fn read(row: Row) -> Result<Self> {
        let (id, system, timeline, started, began) = FromRow::from_row(row)?;
        Ok(Self { id, ran_on: Server { system, timeline, started }, began })
    }

    /// Finds out what became of the transaction, as far as the server can say.
    ///
    /// `connection` is any connection to the current primary; `sentinel` one that was opened before the transaction began and
    /// has not been replaced since. Both are only read from.
    ///
    /// # Errors
    /// When `connection` fails. A `sentinel` that fails is an answer: [`Doubt::SentinelLost`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn resolve(&self, connection: &dyn Executor, sentinel: &dyn Executor) -> Result<Resolution> {
        type Status = (Option<String>, String, Option<String>, i64);
        let (status, current) = match connection.one::<Status>(STATUS, &[&self.id]).await {
            Ok((status, system, timeline, started)) => (status, Server { system, timeline, started }),
            // The id lies in the future: it was never given out here, or is to be given out anew.
            Err(error) if error.sqlstate().is_some_and(|code| code.as_str() == "22023") => {
                return Ok(Resolution::Unknown(Doubt::Forgotten));
            }
            Err(error) => return Err(self.context(error)),
        };
        if let Some(doubt) = self.ran_elsewhere(&current) {
            // Nothing that the sentinel says can change that, and its server may be silent.
            return Ok(Resolution::Unknown(doubt));
        }
        // After the status was read: that it still answers shows that there was no crash until then.
        let alive = sentinel.one::<(Option<i64>, String, Option<String>, i64)>(SENTINEL, &[]).await.ok();
        let alive = alive.map(|(opened, system, timeline, started)| Sentinel {
            runs_on: Server { system, timeline, started },
            opened,
        });
        Ok(self.judge(status.as_deref(), &current, alive.as_ref()))
    }

    /// Whether the status may be believed, and what it means then.
    fn judge(&self, status: Option<&str>, current: &Server, sentinel: Option<&Sentinel>) -> Resolution {
        let doubt = |doubt| Resolution::Unknown(doubt);
        let Some(sentinel) = sentinel else { return doubt(Doubt::SentinelLost) };
        let elsewhere =
            [current, &sentinel.runs_on].into_iter().find_map(|server| self.ran_elsewhere(server));
        if let Some(elsewhere) = elsewhere {
            return doubt(elsewhere);
        }
        if sentinel.opened.is_none_or(|opened| opened >= self.began) {
            return doubt(Doubt::SentinelTooYoung);
        }
        match status {
            Some("committed") => Resolution::Committed,
            Some("aborted") => Resolution::RolledBack,
            Some("in progress") => Resolution::Running,
            _ => doubt(Doubt::Forgotten),
        }
    }

    /// Why a server is not the one that the transaction ran on, or not any more in the same run.
    fn ran_elsewhere(&self, server: &Server) -> Option<Doubt> {
        if server.timeline.is_none() {
            Some(Doubt::Standby)
        } else if server.system != self.ran_on.system {
            Some(Doubt::OtherServer)
        } else if server.timeline != self.ran_on.timeline {
            Some(Doubt::Promoted)
        } else if server.started != self.ran_on.started {
            Some(Doubt::OtherServer)
        } else {
            None
        }
    }

    fn context(&self, error: Error) -> Error {
        error.context(format_args!("cannot find out what became of transaction {}", self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(system: &str, timeline: Option<&str>, started: i64) -> Server {
        Server { system: system.to_owned(), timeline: timeline.map(str::to_owned), started }
    }

    fn here() -> Server {
        server("7", Some("00000001"), 100)
    }

    fn check(
        status: Option<&str>,
        current: &Server,
        sentinel: Option<(Server, Option<i64>)>,
        expect: Resolution,
    ) {
        let xid = Xid { id: "740".to_owned(), ran_on: here(), began: 500 };
        let sentinel = sentinel.map(|(runs_on, opened)| Sentinel { runs_on, opened });
        let seen = xid.judge(status, current, sentinel.as_ref());
        assert_eq!(seen, expect, "{status:?} {current:?} {sentinel:?}");
    }

    #[test]
    fn a_status_that_may_be_believed() {
        let check = |status, expect| check(status, &here(), Some((here(), Some(400))), expect);
        check(Some("committed"), Resolution::Committed);
        check(Some("aborted"), Resolution::RolledBack);
        check(Some("in progress"), Resolution::Running);
        check(None, Resolution::Unknown(Doubt::Forgotten));
        check(Some("something new"), Resolution::Unknown(Doubt::Forgotten));
    }

    #[test]
    fn a_status_that_must_not_be_believed() {
        let check = |current: Server, sentinel, doubt| {
            check(Some("committed"), &current, sentinel, Resolution::Unknown(doubt));
        };
        let alive = || Some((here(), Some(400)));
        let other = || server("8", Some("00000001"), 100);
        let promoted = || server("7", Some("00000002"), 100);
        let restarted = || server("7", Some("00000001"), 900);
        let standby = || server("7", None, 100);
        check(here(), None, Doubt::SentinelLost);
        check(here(), Some((here(), None)), Doubt::SentinelTooYoung);
        check(here(), Some((here(), Some(500))), Doubt::SentinelTooYoung);
        check(here(), Some((here(), Some(900))), Doubt::SentinelTooYoung);
        check(other(), alive(), Doubt::OtherServer);
        check(promoted(), alive(), Doubt::Promoted);
        check(restarted(), alive(), Doubt::OtherServer);
        check(standby(), alive(), Doubt::Standby);
        // The old primary may still answer a session that it has kept.
        check(here(), Some((other(), Some(400))), Doubt::OtherServer);
        check(here(), Some((promoted(), Some(400))), Doubt::Promoted);
        check(here(), Some((restarted(), Some(400))), Doubt::OtherServer);
        check(here(), Some((standby(), Some(400))), Doubt::Standby);
    }
}
