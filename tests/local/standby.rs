//! A standby, which can be asked and not migrated.

use db_core::Query as _;
use db_migrate::{Migration, Migrations, Migrator, State, Steps};

use crate::support::{client, own_server};

#[tokio::test]
async fn a_standby_is_not_migrated_and_tells_where_it_stands() {
    let mut server = own_server().await;
    let migrator = |count: u32| {
        let file = |number| {
            Migration::new(&format!("{number}_t{number}"), &format!("CREATE TABLE t{number} ()"), None)
        };
        Migrator::new(
            Migrations::new((1..=count).map(|number| file(number).expect("file"))).expect("migrations"),
        )
    };
    let primary = client(server.url()).await;
    migrator(1).up(&primary, Steps::All).await.expect("up");
    let folder: String = primary.one("SELECT current_setting('data_directory')", &[]).await.expect("folder");
    drop(primary);
    server.halt().await.expect("halted");
    std::fs::write(format!("{folder}/standby.signal"), "").expect("a standby from now on");
    server.resume().await.expect("resumed");

    let standby = client(server.url()).await;
    let error = migrator(2).up(&standby, Steps::All).await.expect_err("a standby");
    assert_eq!(
        error.to_string(),
        "this server is a standby, which cannot be migrated: connect to the primary"
    );
    let status = migrator(2).status(&standby).await.expect("status");
    let states: Vec<State> = status.migrations.iter().map(|migration| migration.state).collect();
    assert_eq!(states, [State::Completed, State::Pending]);
}
