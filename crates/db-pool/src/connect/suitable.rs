//! Whether a session is of the kind that was asked for (`target_session_attrs`). It asks the server itself: what a pooler in
//! between reports of the settings may be from before a failover.

use db_core::{Cause, Error, Phase, Signal};
use futures_util::future::{Either, select};
use futures_util::pin_mut;
use tokio_postgres::SimpleQueryMessage;

use super::Connected;
use crate::target::TargetSession;

const ASK: &str =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";

/// What a server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Role {
    in_recovery: bool,
    read_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suits {
    Yes,
    /// If there is no better one.
    AsLastResort,
    /// Why not.
    No(&'static str),
}

pub(super) fn suits(wanted: TargetSession, role: Role) -> Suits {
    let no_unless = |suits, why| if suits { Suits::Yes } else { Suits::No(why) };
    match wanted {
        TargetSession::Any => Suits::Yes,
        TargetSession::ReadWrite => no_unless(!role.read_only, "the session is read-only"),
        TargetSession::ReadOnly => no_unless(role.read_only, "the session is not read-only"),
        TargetSession::Primary => no_unless(!role.in_recovery, "the server is a standby"),
        TargetSession::Standby => no_unless(role.in_recovery, "the server is not a standby"),
        TargetSession::PreferStandby if role.in_recovery => Suits::Yes,
        TargetSession::PreferStandby => Suits::AsLastResort,
    }
}

/// Asks, and drives the connection meanwhile.
pub(super) async fn role(connected: &mut Connected) -> Result<Role, Error> {
    let Connected { client, connection, .. } = connected;
    let query = client.simple_query(ASK);
    pin_mut!(query);
    let answer = match select(query, connection).await {
        Either::Left((answer, _)) => answer,
        Either::Right((Err(error), _)) => Err(error),
        // Ended without a word.
        Either::Right((Ok(()), query)) => query.await,
    };
    let rows = answer.map_err(|error| Error::from_driver(&error, Phase::Connect))?;
    let row = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let value = |column| row.and_then(|row| row.try_get(column).ok().flatten());
    match (value(0), value(1)) {
        (Some(in_recovery), Some(read_only)) => {
            Ok(Role { in_recovery: in_recovery == "t", read_only: read_only == "on" })
        }
        _ => {
            let signal = Signal::new(Cause::Misuse, Phase::Connect);
            Err(Error::new(signal, "the server does not say whether it takes writes"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: Role = Role { in_recovery: false, read_only: false };
    const READ_ONLY: Role = Role { in_recovery: false, read_only: true };
    const STANDBY: Role = Role { in_recovery: true, read_only: true };

    #[test]
    fn each_wish_takes_what_libpq_takes() {
        let check = |wanted, expect: [bool; 3]| {
            let found = [PRIMARY, READ_ONLY, STANDBY].map(|role| suits(wanted, role) == Suits::Yes);
            assert_eq!(found, expect, "{wanted:?}");
        };
        check(TargetSession::Any, [true, true, true]);
        check(TargetSession::ReadWrite, [true, false, false]);
        check(TargetSession::ReadOnly, [false, true, true]);
        check(TargetSession::Primary, [true, true, false]);
        check(TargetSession::Standby, [false, false, true]);
        check(TargetSession::PreferStandby, [false, false, true]);
        assert_eq!(suits(TargetSession::PreferStandby, PRIMARY), Suits::AsLastResort);
    }
}
