//! Files put together at random out of statements that are known: exactly these come back, to the byte.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::Script;

/// Statements that hold semicolons, quotes and comments where they end nothing.
const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "select ';', ''';', '--;', '/*;'",
    "SELECT E'\\';', E'a'\n'\\';--'",
    "SELECT U&'d\\0061;', U&\";\" , B'0', X'F;', N';'",
    "SELECT \";\", \"\"\";\", \"--\", \"/*\" FROM \"$$\"",
    "SELECT $$;'\"--/*$a$;$$, $a$;$$;$b$;$a$",
    "SELECT a$b$c, d$1 , $1",
    "SELECT 1 --;'\"$$/*\r\n+ /*;'\"$$--/*;*/;*/ 2",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (';'); DELETE FROM b;)",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a THEN ';' END AS end; SELECT 1; END",
    "CREATE FUNCTION g() RETURNS int AS $f$ BEGIN; COMMIT; EXECUTE $$ ; $$; END $f$ LANGUAGE plpgsql",
    "DO $do$ BEGIN PERFORM 1; END $do$",
    "INSERT INTO ä (\"ö;\") VALUES ('ü;\u{1F600}')",
];

/// What may stand between statements.
const GAPS: &[&str] = &[
    " ",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "\u{b}",
    "-- prose; 'it\"s $$ /*\n",
    "--\r\n",
    "/* ; ' \" $$ -- */",
    "/* /* ; */ ; */",
    ";",
];

fn gap() -> impl Strategy<Value = String> {
    vec(select(GAPS), 0..6).prop_map(|parts| parts.concat())
}

/// A comment at the end of a text needs no line end, but what follows it does.
fn file() -> impl Strategy<Value = (Vec<&'static str>, Vec<String>)> {
    vec(select(STATEMENTS), 0..8).prop_flat_map(|statements| {
        let count = statements.len() + 1;
        (Just(statements), vec(gap(), count))
    })
}

fn write(statements: &[&str], gaps: &[String], end: &str) -> String {
    let mut text = String::new();
    for (gap, statement) in gaps.iter().zip(statements) {
        text.push_str(gap);
        text.push_str(statement);
        text.push(';');
    }
    text.push_str(&gaps[statements.len()]);
    text + end
}

fn check_pieces(text: &str, statements: &[&str]) {
    let script = Script::parse(text).expect(text);
    let found: Vec<&str> = script.statements().iter().map(|statement| script.text(statement)).collect();
    assert_eq!(found, statements, "{text:?}");
    let (mut at, mut again) = (0, String::new());
    for statement in script.statements() {
        again.push_str(&script.sql()[at..statement.range.start]);
        again.push_str(script.text(statement));
        at = statement.range.end;
        let above = &script.sql()[..statement.range.start];
        let lines = above.replace("\r\n", "\n").replace('\r', "\n").matches('\n').count();
        assert_eq!(statement.line as usize, lines + 1, "{text:?}");
    }
    again.push_str(&script.sql()[at..]);
    assert_eq!(again, text.strip_prefix('\u{feff}').unwrap_or(text));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn statements_come_back_to_the_byte((statements, gaps) in file(), bom in any::<bool>()) {
        let text = write(&statements, &gaps, "");
        let text = if bom { format!("\u{feff}{text}") } else { text };
        check_pieces(&text, &statements);
        // The last semicolon may be missing.
        if let Some(end) = text.rfind(';').filter(|_| gaps.last().is_some_and(String::is_empty)) {
            check_pieces(&text[..end], &statements);
        }
    }

    #[test]
    fn comments_and_line_ends_leave_the_loose_checksum((statements, gaps) in file(), more in vec(gap(), 9)) {
        let left = Script::parse(&write(&statements, &gaps, "-- the end")).expect("left");
        let right = Script::parse(&write(&statements, &more, "")).expect("right");
        prop_assert_eq!(left.loose_checksum(), right.loose_checksum());
        for count in 0..=statements.len() {
            prop_assert_eq!(left.loose_checksum_of_first(count), right.loose_checksum_of_first(count));
        }
        let unix = write(&statements, &gaps, "").replace('\r', "\n");
        let windows = unix.replace('\n', "\r\n");
        let (windows, unix) = (Script::parse(&windows).expect("windows"), Script::parse(&unix).expect("unix"));
        prop_assert_eq!(windows.checksum(), unix.checksum());
        prop_assert_eq!(windows.loose_checksum(), unix.loose_checksum());
    }

    #[test]
    fn other_statements_have_another_loose_checksum(
        (left, gaps) in file(),
        right in vec(select(STATEMENTS), 0..8),
    ) {
        let right_gaps = vec![String::new(); right.len() + 1];
        let same = left == right;
        let left = Script::parse(&write(&left, &gaps, "")).expect("left");
        let right = Script::parse(&write(&right, &right_gaps, "")).expect("right");
        prop_assert_eq!(left.loose_checksum() == right.loose_checksum(), same);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-a-zA-Z0-9$'\"\\\\;:/*() \r\n\u{e4}\u{feff}\0EU&.]{0,60}") {
        if let Ok(script) = Script::parse(&text) {
            for statement in script.statements() {
                prop_assert!(!script.text(statement).is_empty());
            }
        }
    }
}
