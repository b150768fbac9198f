//! What only a container can show: the scripts of the compose file, run by the image's entry point on an empty volume.

use db_core::{Executor, Query};
use testcontainers_modules::postgres::Postgres;
use testcontainers_modules::testcontainers::ImageExt;
use testcontainers_modules::testcontainers::runners::AsyncRunner;

use crate::support::client;

const INIT: &str = "/docker-entrypoint-initdb.d";

/// A15, C1: the application role works with what the owner makes, and can make nothing itself.
#[tokio::test]
async fn the_compose_file_makes_extensions_and_a_role_with_least_privilege() {
    let image =
        std::env::var("DB_TEST_IMAGE").expect("an image: `cargo xtask test --backend docker` names it");
    let (name, tag) = image.rsplit_once(':').expect("name:tag");
    let container = Postgres::default()
        .with_name(name)
        .with_tag(tag)
        .with_cmd(["-c", "fsync=off", "-c", "shared_preload_libraries=pg_stat_statements"])
        .with_env_var("DB_APP_USER", "shop")
        .with_env_var("DB_APP_PASSWORD", "it's $ecret")
        .with_copy_to(format!("{INIT}/001.sql"), include_bytes!("../docker/init/001_extensions.sql").to_vec())
        .with_copy_to(
            format!("{INIT}/002.sh"),
            include_bytes!("../docker/init/002_application_role.sh").to_vec(),
        )
        .start()
        .await
        .expect("a container");
    let port = container.get_host_port_ipv4(5432).await.expect("a port");

    let owner = client(&format!("postgres://postgres:postgres@127.0.0.1:{port}/postgres")).await;
    owner
        .batch_execute("CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY, paid bool)")
        .await
        .expect("a table");
    let extensions: i64 =
        Query::one(&owner, "SELECT count(*) FROM pg_extension", &[]).await.expect("a count");
    assert_eq!(extensions, 5, "the four and plpgsql");

    let shop = client(&format!("postgres://shop:it%27s%20$ecret@127.0.0.1:{port}/postgres")).await;
    shop.batch_execute(
        "INSERT INTO orders (paid) VALUES (true); UPDATE orders SET paid = false; DELETE FROM orders",
    )
    .await
    .expect("rows are the role's to change");
    for forbidden in [
        "CREATE TABLE t (n int)",
        "DROP TABLE orders",
        "TRUNCATE orders",
        "CREATE ROLE r",
        "CREATE DATABASE d",
    ] {
        let error = Executor::batch_execute(&shop, forbidden).await.expect_err(forbidden);
        assert_eq!(error.sqlstate(), Some(db_core::SqlState::INSUFFICIENT_PRIVILEGE), "{forbidden}: {error}");
    }
    container.rm().await.expect("removed");
}
