//! How services and the server meet: enough connections for all instances, TLS on the way, and limits for sessions that the pool
//! does not make.

use std::time::Duration;

use db_app::core::Result;
use db_app::prelude::*;
use db_app::{Config, Database, config::Postgres};

use super::finding::Finding;

/// Connections of an instance beside its pools: the two of the health monitor, and one for work aside.
const BESIDE: u64 = 3;

/// What the configuration says, kept from before the database was opened with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) instances: u32,
    pub(super) pool_max: u32,
    /// The most connections of one pool for reads; `None` without replicas. They all go to the primary when no replica is fit.
    pub(super) replica_pool_max: Option<u32>,
    /// Whether the server is on this machine.
    pub(super) is_local: bool,
    pub(super) statement_timeout: Duration,
    pub(super) idle_in_transaction_timeout: Duration,
}

/// What the server allows; a negative limit is none.
#[derive(Clone, Copy, Debug, FromRow)]
struct Allowed {
    max_connections: i32,
    reserved: i32,
    of_role: i32,
    of_database: i32,
}

impl Asked {
    pub(super) fn of(config: &Config, instances: u32) -> Self {
        Self {
            instances,
            pool_max: config.pool.max,
            replica_pool_max: (!config.replicas.targets.is_empty()).then_some(config.replicas.pool.max),
            is_local: match &config.postgres {
                Postgres::Given(target) => target.is_local(),
                Postgres::Embedded(_) => true,
                _ => false,
            },
            statement_timeout: config.pool.statement_timeout,
            idle_in_transaction_timeout: config.pool.idle_in_transaction_timeout,
        }
    }

    fn connections(&self) -> u64 {
        let of_one = u64::from(self.pool_max) + self.replica_pool_max.map_or(0, u64::from) + BESIDE;
        u64::from(self.instances) * of_one
    }
}

pub(super) async fn examine(database: &Database, asked: &Asked) -> Result<Vec<Finding>> {
    let allowed: Allowed = database
        .one(
            "SELECT current_setting('max_connections')::int AS max_connections,
                    current_setting('superuser_reserved_connections')::int
                      + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
                    r.rolconnlimit AS of_role, d.datconnlimit AS of_database
             FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
             WHERE r.rolname = current_user AND d.datname = current_database()",
            &[],
        )
        .await?;
    let mut findings = vec![room(asked, allowed)];
    let encrypted: Option<bool> = database
        .one_or_none("SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_backend_pid()", &[])
        .await?;
    findings.push(tls(asked.is_local, encrypted));
    findings.extend(limits(database, asked).await?);
    Ok(findings)
}

fn room(asked: &Asked, allowed: Allowed) -> Finding {
    let check = "connections";
    let Allowed { max_connections, reserved, of_role, of_database } = allowed;
    let limits = [
        (max_connections - reserved, "the server", "raise max_connections"),
        (of_role, "the role", "ALTER ROLE ... CONNECTION LIMIT"),
        (of_database, "the database", "ALTER DATABASE ... CONNECTION LIMIT"),
    ];
    let limits =
        limits.into_iter().filter_map(|(limit, whose, how)| Some((u64::try_from(limit).ok()?, whose, how)));
    let Some((limit, whose, how)) = limits.min_by_key(|(limit, ..)| *limit) else {
        return Finding::ok(check, "without a limit");
    };
    let wanted = asked.connections();
    let instances = match asked.instances {
        1 => "1 instance may open".to_owned(),
        many => format!("{many} instances may open"),
    };
    let note = format!("{instances} {wanted} of the {limit} that {whose} allows");
    let fits = limit / u64::from(asked.instances.max(1));
    let fits = fits.saturating_sub(BESIDE + asked.replica_pool_max.map_or(0, u64::from));
    let fix = match fits {
        0 => format!("{how} to at least {}", wanted + u64::try_from(reserved).unwrap_or_default()),
        fits => format!(
            "set DB_POOL_MAX={fits}, or {how} to at least {}",
            wanted + u64::try_from(reserved).unwrap_or_default()
        ),
    };
    if wanted > limit {
        Finding::problem(check, note, fix)
    } else if wanted * 10 > limit * 9 {
        let fix =
            "leave some for migrations, backups and people: a lower DB_POOL_MAX, or a higher max_connections";
        Finding::advice(check, note, fix)
    } else {
        Finding::ok(check, note)
    }
}

fn tls(is_local: bool, encrypted: Option<bool>) -> Finding {
    match (encrypted, is_local) {
        (Some(true), _) => Finding::ok("TLS", "the session is encrypted"),
        (_, true) => Finding::ok("TLS", "not needed, since the server is on this machine"),
        (None, _) => Finding::hidden("TLS"),
        (Some(false), false) => {
            let fix = "turn on ssl on the server, and set DB_SSL_MODE=verify-full";
            Finding::problem("TLS", "passwords and rows cross the network in clear", fix)
        }
    }
}

/// What the server itself says for sessions of this role that are not the pool's, which sets limits of its own.
async fn limits(database: &Database, asked: &Asked) -> Result<Vec<Finding>> {
    let aside = database.connect_aside("doctor", None).await?;
    let mut findings = Vec::new();
    for (name, of_pool, suggestion) in [
        ("statement_timeout", asked.statement_timeout, "30s"),
        ("idle_in_transaction_session_timeout", asked.idle_in_transaction_timeout, "60s"),
    ] {
        let (value, role): (String, String) = {
            let row = aside.fetch("SELECT current_setting($1), current_user::text", &[&name]).await?;
            let Some(row) = row.into_iter().next() else { continue };
            FromRow::from_row(row)?
        };
        findings.push(limit(name, &value, &role, of_pool, suggestion));
    }
    Ok(findings)
}

fn limit(name: &str, value: &str, role: &str, of_pool: Duration, suggestion: &str) -> Finding {
    if value != "0" {
        return Finding::ok(name, format!("{value} for {role}"));
    }
    let of_pool = match of_pool.as_millis() {
        0 => "the pool sets none either".to_owned(),
        millis => format!("only the pool's own have one, {millis} ms"),
    };
    let fix = format!("ALTER ROLE \"{role}\" SET {name} = '{suggestion}'");
    Finding::advice(name, format!("sessions of {role} have no limit; {of_pool}"), fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_instances_must_fit() {
        let check = |instances, replica_pool_max, allowed: [i32; 4], expect: &str| {
            let asked = Asked {
                instances,
                pool_max: 20,
                replica_pool_max,
                is_local: true,
                statement_timeout: Duration::ZERO,
                idle_in_transaction_timeout: Duration::ZERO,
            };
            let [max_connections, reserved, of_role, of_database] = allowed;
            let allowed = Allowed { max_connections, reserved, of_role, of_database };
            assert_eq!(room(&asked, allowed).line(), expect);
        };
        let server = [100, 3, -1, -1];
        check(
            1,
            None,
            server,
            "ok       connections: 1 instance may open 23 of the 97 that the server allows",
        );
        check(
            4,
            None,
            server,
            "advice   connections: 4 instances may open 92 of the 97 that the server allows: leave some for migrations, backups and people: a lower DB_POOL_MAX, or a higher max_connections",
        );
        check(
            5,
            None,
            server,
            "problem  connections: 5 instances may open 115 of the 97 that the server allows: set DB_POOL_MAX=16, or raise max_connections to at least 118",
        );
        check(
            2,
            Some(10),
            [100, 3, 30, 50],
            "problem  connections: 2 instances may open 66 of the 30 that the role allows: set DB_POOL_MAX=2, or ALTER ROLE ... CONNECTION LIMIT to at least 69",
        );
        check(
            100,
            None,
            server,
            "problem  connections: 100 instances may open 2300 of the 97 that the server allows: raise max_connections to at least 2303",
        );
    }

    #[test]
    fn only_a_server_elsewhere_needs_tls() {
        let check = |is_local, encrypted, is_ok| assert_eq!(tls(is_local, encrypted).ok, is_ok);
        check(true, Some(false), true);
        check(false, Some(true), true);
        check(false, Some(false), false);
        check(false, None, true);
    }
}
