//! `db doctor`: what hurts is found on a real server, with what to do; what a role may not see is no error.

use serde_json::Value;

use super::program::{Place, text};
use crate::support::{client, database, eventually, own_server};

/// The findings as JSON, with the exit code.
fn findings(place: &Place, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, Vec<Value>) {
    let output = place.run(&[&["doctor", "--json"], arguments].concat(), environment);
    let found = serde_json::from_slice(&output.stdout);
    (output.status.code(), found.unwrap_or_else(|_| panic!("{}", text(&output))))
}

fn finding<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("{check} in {findings:#?}"))
}

/// D10, C1: settings that lose data, an index that serves nobody, and log that is kept for nobody are named with what to do.
#[tokio::test]
async fn doctor_finds_what_will_hurt() {
    let server = own_server().await;
    let client = client(server.url()).await;
    client
        .batch_execute("CREATE TABLE t AS SELECT 1 AS n FROM generate_series(1, 2)")
        .await
        .expect("a table");
    let failed = client.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON t (n)").await;
    failed.expect_err("two rows are the same");
    for sql in [
        "SELECT pg_create_physical_replication_slot('forgotten', true)",
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET full_page_writes = off",
        "ALTER SYSTEM SET synchronous_commit = off",
        "ALTER SYSTEM SET autovacuum = off",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(sql).await.expect(sql);
    }
    eventually("the settings are in force", async || {
        let row = client.query_one("SELECT current_setting('autovacuum')", &[]).await.expect("a setting");
        row.get::<_, String>(0) == "off"
    })
    .await;

    let place = Place::new();
    let production = [("DATABASE_URL", server.url()), ("DB_ENV", "production")];
    let (code, found) = findings(&place, &[], &production);
    assert_eq!(code, Some(1));
    for check in [
        "fsync",
        "full_page_writes",
        "synchronous_commit",
        "autovacuum",
        "index broken",
        "privilege superuser",
    ] {
        let finding = finding(&found, check);
        assert_eq!((&finding["grade"], &finding["ok"]), (&"problem".into(), &false.into()), "{finding}");
        assert!(finding["note"].is_string() && finding["fix"].is_string(), "{finding}");
    }
    let slot = finding(&found, "replication slot forgotten");
    assert_eq!((&slot["grade"], &slot["ok"]), (&"advice".into(), &true.into()), "{slot}");
    assert_eq!(finding(&found, "track_io_timing")["grade"], "advice");
    assert_eq!(
        (&finding(&found, "TLS")["grade"], &finding(&found, "TLS")["fix"]),
        (&"ok".into(), &Value::Null)
    );

    // Where nothing is at stake it is no more than advice.
    let (_, found) = findings(&place, &[], &[("DATABASE_URL", server.url()), ("DB_ENV", "test")]);
    assert_eq!(finding(&found, "fsync")["grade"], "advice");
    let output = place.run(&["doctor"], &production);
    let expect =
        "problem  fsync: off: a crash of the machine can destroy the database: ALTER SYSTEM SET fsync = on";
    assert!(text(&output).contains(expect), "{}", text(&output));
    server.stop().await.expect("stopped");
}

/// Pools of several instances together must fit into what the server, the role and the database allow.
#[tokio::test]
async fn doctor_counts_the_connections_of_all_instances() {
    let database = database().await;
    let client = client(database.url()).await;
    let limit = format!("ALTER DATABASE {} CONNECTION LIMIT 40", database.name());
    client.batch_execute(&limit).await.expect("a limit");
    let place = Place::new();
    let environment = [("DATABASE_URL", database.url()), ("DB_POOL_MAX", "12")];
    let (_, found) = findings(&place, &["--instances", "2"], &environment);
    assert_eq!(finding(&found, "connections")["grade"], "ok", "{found:#?}");
    let (code, found) = findings(&place, &["--instances", "3"], &environment);
    let connections = finding(&found, "connections");
    assert_eq!((code, &connections["grade"]), (Some(1), &"problem".into()), "{connections}");
    assert_eq!(connections["note"], "3 instances may open 45 of the 40 that the database allows");
    assert!(connections["fix"].as_str().is_some_and(|fix| fix.contains("DB_POOL_MAX=10")), "{connections}");
    let output = place.run(&["doctor", "--instances", "0"], &environment);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}

/// What a role may not see is said, and stops nothing.
#[tokio::test]
async fn doctor_says_what_it_may_not_see() {
    let database = database().await;
    let client = client(database.url()).await;
    let role = format!("role_{}", database.name());
    let setup = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'secret';
         ALTER ROLE {role} SET statement_timeout = '20s';
         REVOKE SELECT ON pg_catalog.pg_replication_slots FROM PUBLIC;
         REVOKE SELECT ON pg_catalog.pg_prepared_xacts FROM PUBLIC"
    );
    client.batch_execute(&setup).await.expect("a role");
    let port = database.config().get_ports()[0];
    let url = format!("postgres://{role}:secret@127.0.0.1:{port}/{}", database.name());
    let (code, found) = findings(&Place::new(), &[], &[("DATABASE_URL", &url)]);
    for check in ["replication slots", "prepared transactions"] {
        let finding = finding(&found, check);
        assert_eq!((&finding["grade"], &finding["ok"]), (&"advice".into(), &true.into()), "{finding}");
        assert_eq!(finding["note"], "not visible to this role");
    }
    // The extensions are missing here.
    assert_eq!(code, Some(1));
    assert_eq!(finding(&found, "indexes")["grade"], "ok");
    let timeout = finding(&found, "statement_timeout");
    assert_eq!((&timeout["grade"], &timeout["note"]), (&"ok".into(), &format!("20s for {role}").into()));
    assert_eq!(finding(&found, "idle_in_transaction_session_timeout")["grade"], "advice");
    let defaults = finding(&found, "default privileges");
    assert_eq!(defaults["grade"], "advice", "{defaults}");
    client.batch_execute(&format!("DROP ROLE {role}")).await.expect("clean up");
}
