//! What the tools run: many small migrations of the kinds that projects gather over the years, and one large file. The text
//! is made here, the same for all.

use std::fmt::Write;

/// Small migrations in a run.
pub(crate) const MIGRATIONS: usize = 1_000;

/// Bytes of the large file, about.
pub(crate) const LARGE: usize = 1_000_000;

/// The text of each small migration, by its version: a table, then columns, rows and an index for it, and the next table.
pub(crate) fn small() -> Vec<(usize, String)> {
    (1..=MIGRATIONS).map(|version| (version, text(version))).collect()
}

fn text(version: usize) -> String {
    let table = format!("things_{}", (version - 1) / 5);
    match (version - 1) % 5 {
        0 => format!("CREATE TABLE {table} (\n    id bigint PRIMARY KEY,\n    name text NOT NULL\n);\n"),
        1 => format!("ALTER TABLE {table} ADD COLUMN note text;\n"),
        2 => format!(
            "-- Those that everybody has.\nINSERT INTO {table} (id, name) VALUES (1, 'one'), (2, 'two');\n"
        ),
        3 => format!("ALTER TABLE {table} ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();\n"),
        _ => format!("CREATE INDEX {table}_name_idx ON {table} (name);\n"),
    }
}

/// One file with everything that makes splitting hard: comments, quotes of each kind, functions, and rows.
pub(crate) fn large() -> String {
    let mut text = String::with_capacity(LARGE + 1_000);
    for number in 0.. {
        if text.len() >= LARGE {
            break;
        }
        write!(
            text,
            "-- Part {number}; it's one of many.\n\
             CREATE TABLE part_{number} (id bigint PRIMARY KEY, \"odd;name\" text DEFAULT 'a;''b', note text);\n\
             /* nested /* ; */ comment */ INSERT INTO part_{number} (id, note)\n\
             VALUES (1, E'it\\'s;'), (2, 'two'), (3, $q$three;$q$);\n\
             CREATE FUNCTION count_{number}() RETURNS bigint LANGUAGE plpgsql AS $body$\n\
             DECLARE\n    n bigint;\nBEGIN\n    SELECT count(*) INTO n FROM part_{number};\n    RETURN n;\nEND;\n$body$;\n\
             CREATE INDEX part_{number}_note_idx ON part_{number} (note) WHERE note IS NOT NULL;\n\n"
        )
        .expect("writing to a string does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_file_is_large_and_can_be_split() {
        let text = large();
        assert!((LARGE..LARGE + 2_000).contains(&text.len()), "{}", text.len());
        db_migrate::Migration::new("1_large", &text, None).expect("a migration");
    }
}
