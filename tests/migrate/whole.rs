//! The way up and down, with what is recorded of it.

use super::*;

/// A3, A7, A8: applied, verified object by object, rolled back without a trace, and applied again.
#[tokio::test]
async fn the_first_migration_goes_up_and_down_and_leaves_nothing() {
    let db = Database::new().await;
    let client = db.client().await;
    let before = catalogue(&client).await;

    let up = real().up(&client, Steps::All).await.expect("up");
    assert_eq!(up.done.len(), real().migrations().len());
    assert!(table_exists(&client, "public.refresh_tokens").await);

    let verification = db.verify(&real()).await;
    assert!(verification.clean, "{:?}", verification.drift().collect::<Vec<_>>());
    let names: Vec<_> =
        verification.objects.iter().map(|object| format!("{} {}", object.kind, object.name)).collect();
    for expect in [
        "table public.users",
        "column public.users.deleted_at",
        "constraint public.users.users_role_check",
        "index public.users_zone_role_idx",
        "index public.refresh_tokens_token_hash_key",
        "trigger public.refresh_tokens.refresh_tokens_set_updated_at",
        "function public.set_updated_at()",
    ] {
        assert!(names.iter().any(|name| name == expect), "{expect} in {names:#?}");
    }

    let again = real().up(&client, Steps::All).await.expect("up again");
    assert!(again.done.is_empty());
    let down = real().reset(&client).await.expect("reset");
    assert_eq!(down.done.len(), up.done.len());
    assert_eq!(catalogue(&client).await, before);
    assert!(states(&real(), &client).await.iter().all(|state| *state == State::RolledBack));

    real().up(&client, Steps::All).await.expect("up after down");
    assert!(db.verify(&real()).await.clean);
    let actions: Vec<_> =
        real().history(&client).await.expect("history").iter().map(|entry| entry.action).collect();
    let run = |action| [LogAction::RunStarted, action, LogAction::RunEnded];
    assert_eq!(actions, [LogAction::Applied, LogAction::RolledBack, LogAction::Applied].map(run).concat());
}

/// A7, C7: what the schema of the first migration promises.
#[tokio::test]
async fn the_first_migration_does_what_it_is_for() {
    let db = Database::new().await;
    let client = db.client().await;
    real().up(&client, Steps::All).await.expect("up");
    let insert = "INSERT INTO users (email, role, zone) VALUES ($1, $2, 'north')";

    client.none(insert, &[&"Ann@example.org", &"caregiver"]).await.expect("first");
    let twice = client.none(insert, &[&"ann@EXAMPLE.org", &"admin"]).await.expect_err("e-mail is taken");
    assert_eq!(twice.sqlstate(), SqlState::new("23505"));
    let role = client.none(insert, &[&"bob@example.org", &"root"]).await.expect_err("no such role");
    assert_eq!(role.sqlstate(), SqlState::new("23514"));

    client.none("UPDATE users SET deleted_at = now()", &[]).await.expect("soft delete");
    let touched: bool = client.one("SELECT updated_at > created_at FROM users", &[]).await.expect("touched");
    assert!(touched);
    client.none(insert, &[&"ann@example.org", &"caregiver"]).await.expect("e-mail is free again");

    let token = "INSERT INTO refresh_tokens (user_id, token_hash, device, expires_at)
                 SELECT id, md5(email), 'phone', now() FROM users";
    client.none(token, &[]).await.expect("tokens");
    client.none("UPDATE refresh_tokens SET revoked_at = now()", &[]).await.expect("revoke");
    let touched: bool = client
        .one("SELECT bool_and(updated_at > created_at) FROM refresh_tokens", &[])
        .await
        .expect("touched");
    assert!(touched);
    client.none("DELETE FROM users", &[]).await.expect("delete");
    assert_eq!(client.one::<i64>("SELECT count(*) FROM refresh_tokens", &[]).await.expect("cascade"), 0);
}

/// A3, C6, D4: a number of steps up and down, and the history of them.
#[tokio::test]
async fn steps_are_counted_and_told() {
    let db = Database::new().await;
    let client = db.client().await;
    let told = Arc::new(Told::default());
    let files = [
        ("1_a", "CREATE TABLE a ()", "DROP TABLE a"),
        ("2_b", "CREATE TABLE b ()", "DROP TABLE b"),
        ("10_c", "CREATE TABLE c ()", "DROP TABLE c"),
    ];
    let migrator = migrator(&files).progress(told.clone());

    migrator.up(&client, Steps::Count(2)).await.expect("two");
    assert_eq!(states(&migrator, &client).await, [State::Completed, State::Completed, State::Pending]);
    migrator.up(&client, Steps::All).await.expect("rest");
    let run = migrator.down(&client, 2).await.expect("down");
    assert_eq!(run.done[0].direction, Direction::Down);
    assert_eq!(
        told.lines(),
        [
            "started 1_a.sql 1/2",
            "applied 1_a.sql",
            "started 2_b.sql 2/2",
            "applied 2_b.sql",
            "started 10_c.sql 1/1",
            "applied 10_c.sql",
            "started 10_c-down.sql 1/2",
            "rolled back 10_c-down.sql",
            "started 2_b-down.sql 2/2",
            "rolled back 2_b-down.sql",
        ]
    );
    let json = serde_json::to_value(&run).expect("json");
    assert_eq!(json["done"][0]["file"], "10_c-down.sql");
    let json = serde_json::to_value(migrator.status(&client).await.expect("status")).expect("json");
    assert_eq!(json["migrations"][1]["state"], "rolled_back");
    let plan = migrator.plan(&client, &Goal::Up(Steps::All)).await.expect("plan");
    assert_eq!(serde_json::to_value(&plan).expect("json")["steps"][0]["file"], "2_b.sql");
}

#[tokio::test]
async fn status_and_plan_write_nothing() {
    let db = Database::new().await;
    let client = db.client().await;
    client.batch_execute("SET default_transaction_read_only = on").await.expect("read only");
    assert_eq!(states(&real(), &client).await, [State::Pending]);
    assert_eq!(real().plan(&client, &Goal::Up(Steps::All)).await.expect("plan").steps.len(), 1);
    assert!(real().history(&client).await.expect("history").is_empty());
    // What would write is refused before it looks whether there is anything to do.
    for error in [
        real().up(&client, Steps::All).await.expect_err("read only"),
        real().down(&client, 1).await.expect_err("read only"),
    ] {
        assert!(matches!(error, Error::ReadOnly { is_standby: false }), "{error:?}");
    }
    assert!(!table_exists(&client, "public.schema_migrations").await);
}

#[tokio::test]
async fn the_history_may_be_elsewhere_and_a_foreign_one_is_told() {
    let db = Database::new().await;
    let client = db.client().await;
    let files = [("001_a", "CREATE TABLE a ()", "DROP TABLE a")];
    let table = "ops.history".parse().expect("table");
    let elsewhere = migrator(&files).settings(Settings { table, ..Settings::default() });
    elsewhere.up(&client, Steps::All).await.expect("up");
    let log: i64 =
        client.one("SELECT count(*) FROM ops.history_log WHERE action = 'applied'", &[]).await.expect("log");
    assert_eq!(log, 1);

    // The file keeps its row when its number is written differently.
    let table = "ops.history".parse().expect("table");
    let renamed =
        migrator(&[("1_a", files[0].1, files[0].2)]).settings(Settings { table, ..Settings::default() });
    renamed.down(&client, 1).await.expect("down");
    assert_eq!(states(&renamed, &client).await, [State::RolledBack]);
    renamed.up(&client, Steps::All).await.expect("up again");
    assert_eq!(states(&renamed, &client).await, [State::Completed]);
    let rows: i64 = client.one("SELECT count(*) FROM ops.history", &[]).await.expect("rows");
    assert_eq!(rows, 1);

    client
        .batch_execute("CREATE TABLE schema_migrations (version bigint, dirty boolean)")
        .await
        .expect("foreign");
    let error = migrator(&files).status(&client).await.expect_err("not ours");
    assert!(matches!(error, Error::History { .. }), "{error:?}");
    assert!(error.to_string().contains("set another name"), "{error}");
}

#[tokio::test]
async fn a_role_without_privileges_but_createdb_can_do_everything() {
    let mut db = Database::new().await;
    let (role, admin) = (format!("{}_role", db.name), db.client().await);
    let grants = format!(
        "CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'plain'; ALTER DATABASE {} OWNER TO {role}",
        db.name
    );
    admin.batch_execute(&grants).await.expect("role");
    let administrator = db.config.clone();
    db.config.user(&role).password("plain");
    let client = db.client().await;
    real().up(&client, Steps::All).await.expect("up");
    assert_eq!(real().history(&client).await.expect("history")[0].by, role);
    assert!(db.verify(&real()).await.clean);
    real().reset(&client).await.expect("reset");

    db.config = administrator;
    admin
        .batch_execute(&format!("REASSIGN OWNED BY {role} TO current_user; DROP ROLE {role}"))
        .await
        .expect("gone");
}
