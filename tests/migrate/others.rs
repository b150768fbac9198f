//! Directories as other tools lay them out, applied and rolled back on a real server.

use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/db-migrate/fixtures");

/// A3: what others wrote goes up, is what it says, goes down, and up again.
#[tokio::test]
async fn directories_of_others_apply() {
    for layout in ["directories", "up_down", "markers", "goose", "timestamps"] {
        let db = Database::new().await;
        let client = db.client().await;
        let before = catalogue(&client).await;
        let migrations = Migrations::from_dir(format!("{FIXTURES}/{layout}")).expect(layout);
        let count = migrations.len();
        let migrator = Migrator::new(migrations);
        let up = migrator.up(&client, Steps::All).await;
        assert_eq!(up.map_err(|error| full_text(&error)).expect(layout).done.len(), count, "{layout}");
        let verification = db.verify(&migrator).await;
        assert!(verification.clean && !verification.objects.is_empty(), "{layout}");
        migrator.reset(&client).await.map_err(|error| full_text(&error)).expect(layout);
        assert_eq!(catalogue(&client).await, before, "{layout}");
        migrator.up(&client, Steps::All).await.map_err(|error| full_text(&error)).expect(layout);
    }
}

#[tokio::test]
async fn hundreds_of_files_with_long_versions_apply() {
    let db = Database::new().await;
    let client = db.client().await;
    let files = (0..400_u32).map(|number| {
        let up = format!("CREATE TABLE t{number} (id int)");
        let stem = format!("20260101120000{number:012}_table {number}");
        Migration::new(&stem, &up, Some(&format!("DROP TABLE t{number}"))).expect("file")
    });
    let migrator = Migrator::new(Migrations::new(files).expect("migrations"));
    assert_eq!(migrator.up(&client, Steps::All).await.expect("up").done.len(), 400);
    assert_eq!(migrator.down(&client, 399).await.expect("down").done.len(), 399);
    assert!(table_exists(&client, "t0").await && !table_exists(&client, "t1").await);
}

/// What is sent is what is in the file, byte for byte.
#[tokio::test]
async fn text_arrives_as_it_was_written() {
    let db = Database::new().await;
    let client = db.client().await;
    let dir = tempfile::tempdir().expect("directory");
    let up =
        "\u{feff}CREATE TABLE t (body text);\r\nINSERT INTO t VALUES ('a\r\nb\tc\n -- no comment ; ');\r\n";
    std::fs::write(dir.path().join("001_t.sql"), up).expect("file");
    let alone = "-- no-transaction\r\nINSERT INTO t VALUES ($x$d\r\ne;$x$);\r\n";
    std::fs::write(dir.path().join("002_t.sql"), alone).expect("file");
    let migrator = Migrator::new(Migrations::from_dir(dir.path()).expect("migrations"));
    migrator.up(&client, Steps::All).await.expect("up");
    assert_eq!(texts(&client, "SELECT body FROM t").await, ["a\r\nb\tc\n -- no comment ; ", "d\r\ne;"]);
}
