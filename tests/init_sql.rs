//! The scripts that the compose file runs, where they can run without it.

use crate::support::{client, database};

/// C1: the extensions are there after the script, and a second run changes nothing.
#[tokio::test]
async fn installs_the_extensions_and_may_run_again() {
    let database = database().await;
    let client = client(database.url()).await;
    let script = include_str!("../docker/init/001_extensions.sql");
    for _ in 0..2 {
        client.batch_execute(script).await.expect("the script");
    }
    let names =
        "SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension WHERE extname <> 'plpgsql'";
    let names: String = client.query_one(names, &[]).await.expect("names").get(0);
    assert_eq!(names, "pg_stat_statements pg_trgm pgcrypto uuid-ossp");
}
