//! Directories as others have written them, with all that lies around there.

use std::path::Path;

use crate::{Migration, Migrations};

fn load(name: &str) -> Migrations {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    Migrations::from_dir(path).expect(name)
}

/// Version, name, and how many statements go up and down.
fn show(migration: &Migration) -> String {
    let down = migration.down().map_or(-1, |down| i64::try_from(down.statements().len()).expect("few"));
    format!("{} {:?} {} {down}", migration.version(), migration.name(), migration.up().statements().len())
}

#[test]
fn every_layout_that_is_in_use_loads() {
    let check = |name: &str, expect: &[&str]| {
        let shown: Vec<String> = load(name).iter().map(show).collect();
        assert_eq!(shown, expect, "{name}");
    };
    check(
        "directories",
        &[
            "00000000000000 \"initial_setup\" 1 1",
            "20230102030405 \"create_users\" 1 1",
            "20230102101500 \"create_posts\" 2 1",
            "20230301090000 \"default_hair\" 1 0",
            "202302140000000000 \"post tags; with odd name\" 1 1",
        ],
    );
    check(
        "up_down",
        &[
            "1 \"initial_schema\" 2 1",
            "2 \"add_status\" 2 2",
            "3 \"email lower case\" 1 1",
            "10 \"audit\" 2 2",
            "11 \"nothing_to_undo\" 1 0",
        ],
    );
    check(
        "markers",
        &[
            "20190203211822 \"create_people\" 1 1",
            "20190203211830 \"people_index\" 1 1",
            "20190301000000 \"insert_people\" 1 0",
            "20190302000000 \"function\" 1 1",
        ],
    );
    check("goose", &["00001 \"create_owners\" 1 1", "00002 \"find_owner\" 1 1", "00003 \"owner_index\" 1 1"]);
    check(
        "timestamps",
        &[
            "20210527205910 \"todos\" 1 1",
            "20210601000000 \"todos_done_index\" 1 1",
            "20210602000000123456789 \"longer than any integer\" 2 2",
            "99999999999999999999999999999999999999 \"far_future\" 1 1",
        ],
    );
}

#[test]
fn what_runs_without_a_transaction_says_so_in_the_words_of_its_tool() {
    let check = |name: &str, version: &str| {
        let migrations = load(name);
        for migration in migrations.iter() {
            let expect = migration.version().as_str() == version;
            let down = migration.down().expect("down");
            assert_eq!(migration.up().directives().no_transaction, expect, "{}", migration.file());
            assert_eq!(down.directives().no_transaction, expect, "{}", migration.down_file());
        }
    };
    check("markers", "20190203211830");
    check("goose", "00003");
    check("timestamps", "20210601000000");
    check("directories", "none");
    check("up_down", "none");
}
