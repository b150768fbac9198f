//! What grows unnoticed on the server until it hurts: old transaction ids, log that is kept for somebody who is gone, prepared
//! transactions that nobody ends, indexes that are of no use.

use db_app::Database;
use db_app::core::Result;
use db_app::prelude::*;

use super::finding::Finding;

/// From here on it is time: at 2.1 thousand million transactions the server stops taking writes.
const OLD: i64 = 1_000_000_000;
const OLDEST: i64 = 500_000_000;

/// So much log for a slot that nobody reads from fills a disk sooner or later.
const MUCH_WAL: i64 = 1 << 30;

/// A prepared transaction that is older was forgotten.
const FORGOTTEN_MINUTES: i64 = 60;

pub(super) async fn wraparound(database: &Database) -> Result<Vec<Finding>> {
    let (name, age): (String, i64) = database
        .one(
            "SELECT datname::text, greatest(age(datfrozenxid), mxid_age(datminmxid))::bigint AS age
             FROM pg_catalog.pg_database WHERE datallowconn ORDER BY age DESC LIMIT 1",
            &[],
        )
        .await?;
    Ok(vec![age_of(&name, age)])
}

fn age_of(name: &str, age: i64) -> Finding {
    let check = "transaction ids";
    let note = format!("the oldest of database {name} is {} million old", age / 1_000_000);
    let fix = format!("find what holds vacuum back, then VACUUM (FREEZE) in database {name}");
    match age {
        OLD.. => Finding::problem(check, note, fix),
        OLDEST.. => Finding::advice(check, note, fix),
        _ => Finding::ok(check, note),
    }
}

pub(super) async fn slots(database: &Database) -> Result<Vec<Finding>> {
    let idle: Vec<(String, String, i64)> = database
        .query(
            "SELECT slot_name::text, slot_type, pg_wal_lsn_diff(
                        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                        restart_lsn)::bigint AS held
             FROM pg_catalog.pg_replication_slots
             WHERE NOT active AND NOT temporary AND restart_lsn IS NOT NULL ORDER BY held DESC",
            &[],
        )
        .await?;
    if idle.is_empty() {
        return Ok(vec![Finding::ok("replication slots", "none holds log for nobody")]);
    }
    Ok(idle.iter().map(|(name, kind, held)| slot(name, kind, *held)).collect())
}

fn slot(name: &str, kind: &str, held: i64) -> Finding {
    let check = format!("replication slot {name}");
    let note = format!("{kind}, nobody reads from it, and it holds {} MB of log", held / 1_000_000);
    let fix = format!("if nobody comes back for it: SELECT pg_drop_replication_slot('{name}')");
    if held >= MUCH_WAL { Finding::problem(check, note, fix) } else { Finding::advice(check, note, fix) }
}

pub(super) async fn prepared(database: &Database) -> Result<Vec<Finding>> {
    let open: Vec<(String, String, i64)> = database
        .query(
            "SELECT gid, database::text, (extract(epoch FROM clock_timestamp() - prepared) / 60)::bigint
             FROM pg_catalog.pg_prepared_xacts ORDER BY prepared",
            &[],
        )
        .await?;
    let check = "prepared transactions";
    let old: Vec<_> = open.iter().filter(|(.., minutes)| *minutes >= FORGOTTEN_MINUTES).collect();
    let Some((gid, name, minutes)) = old.first() else {
        let note = if open.is_empty() { "none" } else { "none is older than an hour" };
        return Ok(vec![Finding::ok(check, note)]);
    };
    let note = format!(
        "{} older than an hour, which hold locks and keep vacuum from its work; the oldest {minutes} min",
        old.len()
    );
    let fix =
        format!("in database {name}: ROLLBACK PREPARED '{}', or COMMIT PREPARED", gid.replace('\'', "''"));
    Ok(vec![Finding::problem(check, note, fix)])
}

/// What is being built at the moment is not valid either, and nothing to worry about. Which index another role builds is hidden
/// from who is no member of it: then nothing is said to be broken.
pub(super) async fn indexes(database: &Database) -> Result<Vec<Finding>> {
    let is_hidden: bool = database
        .one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index
                            WHERE datname = current_database() AND index_relid IS NULL)",
            &[],
        )
        .await?;
    if is_hidden {
        let note = "another role builds one, and which is not visible to this role";
        return Ok(vec![Finding::ok("indexes", note)]);
    }
    let broken: Vec<String> = database
        .query(
            "SELECT i.indexrelid::regclass::text FROM pg_catalog.pg_index i
             JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
             WHERE NOT i.indisvalid AND c.relkind = 'i'
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
                               WHERE p.index_relid = i.indexrelid)
             ORDER BY 1",
            &[],
        )
        .await?;
    if broken.is_empty() {
        return Ok(vec![Finding::ok("indexes", "all are valid")]);
    }
    let of = |name: &String| {
        let note = "not valid: it costs each write and serves no read";
        let fix = format!("REINDEX INDEX CONCURRENTLY {name}, or DROP INDEX CONCURRENTLY {name}");
        Finding::problem(format!("index {name}"), note, fix)
    };
    Ok(broken.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Grade;

    #[test]
    fn what_grows_is_found_in_time() {
        let check = |finding: Finding, expect| assert_eq!(finding.grade, expect, "{}", finding.line());
        check(age_of("d", 200_000_000), Grade::Ok);
        check(age_of("d", 500_000_000), Grade::Advice);
        check(age_of("d", 1_000_000_000), Grade::Problem);
        check(slot("s", "logical", 16_000_000), Grade::Advice);
        check(slot("s", "logical", 1 << 30), Grade::Problem);
    }
}
