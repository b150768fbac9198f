//! From rows to values: structs by name, tuples by position, single values.

use db_core::{FromRow, Query};

use crate::support::{database, pool};

#[derive(Debug, PartialEq, FromRow)]
struct User {
    id: i64,
    #[row(rename = "mail")]
    email: String,
    r#type: String,
    zone: Option<String>,
}

#[tokio::test]
async fn become_structs_by_name_in_any_order() {
    let database = database().await;
    let pool = pool(&database, |_| {}).await;
    let sql = "SELECT NULL::text AS zone, 'a@b' AS mail, 'x' AS type, 1 AS unused, 7::bigint AS id";
    let user: User = pool.one(sql, &[]).await.expect("a user");
    assert_eq!(user, User { id: 7, email: "a@b".into(), r#type: "x".into(), zone: None });

    let error = pool.one::<User>("SELECT 1 AS id", &[]).await.expect_err("another type");
    let expect =
        "cannot read column \"id\": cannot convert between the Rust type `i64` and the Postgres type `int4`";
    assert_eq!(error.to_string(), expect);
    let error = pool.one::<User>("SELECT 7::bigint AS id", &[]).await.expect_err("no such column");
    assert_eq!(error.to_string(), "cannot read column \"mail\": invalid column `mail`");
}

#[tokio::test]
async fn become_tuples_and_single_values_by_position() {
    let database = database().await;
    let pool = pool(&database, |_| {}).await;
    let pair: (i32, Option<String>) = pool.one("SELECT 1, NULL::text", &[]).await.expect("a pair");
    assert_eq!(pair, (1, None));
    let error = pool.one::<(i32, i32)>("SELECT 1, 2, 3", &[]).await.expect_err("three columns");
    assert_eq!(error.to_string(), "expected 2 columns, got 3");
    let error = pool.one::<i32>("SELECT NULL::int AS n", &[]).await.expect_err("null");
    assert_eq!(error.to_string(), "cannot read column 1 \"n\": a Postgres value was `NULL`");
    assert_eq!(pool.one::<Option<i32>>("SELECT NULL::int", &[]).await.expect("null"), None);
    let words: Vec<String> = pool.one("SELECT ARRAY['a', 'b']", &[]).await.expect("an array");
    assert_eq!(words, ["a", "b"]);
}
