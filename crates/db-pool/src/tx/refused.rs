//! What must not be among the statements of a batch, since the rest would not run where it was meant to. Read from the texts, for
//! everything is sent before the first answer could show it.

use db_core::{Batch, Cause, Error, Phase, Result, Signal};

use crate::statements::contains;

/// Refuses what would end the transaction, begin another, or revive a failed one, and COPY, which answers in a way of its own.
pub(super) fn refuse(statements: Batch<'_>, first: Option<&str>) -> Result<()> {
    let misuse = |what: String| Err(Error::new(Signal::new(Cause::Misuse, Phase::Execute), what));
    // It may be several.
    if first.is_some_and(|first| first.split(';').any(ends)) {
        return misuse("not sent: what comes first must not end the transaction".to_owned());
    }
    for (at, (sql, _)) in statements.iter().enumerate() {
        let which = format!("statement {} of {}: not sent", at + 1, statements.len());
        if ends(sql) {
            return misuse(format!(
                "{which}: a batch is one transaction, which none of its statements may end"
            ));
        }
        let is_copy = first_word(sql).0.eq_ignore_ascii_case("copy");
        if is_copy && ["stdin", "stdout"].iter().any(|way| contains(sql, way)) {
            return misuse(format!("{which}: COPY does not run in a batch"));
        }
    }
    Ok(())
}

/// Whether a statement changes a setting beyond itself.
pub(super) fn sets(sql: &str) -> bool {
    let is_set = ["set", "reset"].iter().any(|word| first_word(sql).0.eq_ignore_ascii_case(word));
    is_set || contains(sql, "set_config")
}

/// Also a ROLLBACK to a savepoint: what comes after a failure would run, and be committed.
fn ends(sql: &str) -> bool {
    let (word, rest) = first_word(sql);
    let is = |words: &[&str]| words.iter().any(|it| word.eq_ignore_ascii_case(it));
    is(&["commit", "end", "rollback", "abort", "begin", "start"])
        || is(&["prepare"]) && first_word(rest).0.eq_ignore_ascii_case("transaction")
}

/// The first word and what follows it, after blanks, comments, and empty statements.
fn first_word(sql: &str) -> (&str, &str) {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c', ';']);
        rest = if rest.starts_with("--") {
            rest.find(['\n', '\r']).map_or("", |end| &rest[end..])
        } else if rest.starts_with("/*") {
            after_comment(rest)
        } else {
            break;
        };
    }
    rest.split_at(rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len()))
}

/// Comments of this kind nest.
fn after_comment(text: &str) -> &str {
    let (mut depth, mut rest) = (0_u32, text);
    loop {
        if let Some(inner) = rest.strip_prefix("/*") {
            (depth, rest) = (depth + 1, inner);
        } else if let Some(outer) = rest.strip_prefix("*/") {
            (depth, rest) = (depth - 1, outer);
            if depth == 0 {
                return rest;
            }
        } else {
            let mut chars = rest.chars();
            if chars.next().is_none() {
                return "";
            }
            rest = chars.as_str();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_the_transaction_is_refused() {
        let check = |sql: &str, expect| assert_eq!(refuse(&[(sql, &[])], None).is_err(), expect, "{sql}");
        check("UPDATE t SET n = CASE WHEN n > 1 THEN 2 END", false);
        check("SELECT 'COMMIT'", false);
        check("commit_log()", false);
        check("SAVEPOINT a", false);
        check("PREPARE p AS SELECT 1", false);
        check("", false);
        check("/* never ends", false);
        for sql in
            ["COMMIT", "end", "Abort", "BEGIN", "START TRANSACTION", "ROLLBACK TO a", "COMMIT AND CHAIN"]
        {
            check(sql, true);
            check(&format!("; \n-- why\n /* a /* b */ */ {sql}"), true);
        }
        check("PREPARE /* it */ TRANSACTION 'x'", true);
        check("COPY t FROM STDIN", true);
        check("copy t to stdout", true);
        check("COPY t FROM '/srv/rows'", false);
    }

    #[test]
    fn what_comes_first_must_not_end_it_either() {
        let check = |first, expect| assert_eq!(refuse(&[], Some(first)).is_err(), expect, "{first}");
        check("SELECT 1; SET LOCAL lock_timeout = 1", false);
        check("SELECT 1; commit", true);
    }

    #[test]
    fn what_changes_a_setting_is_known() {
        let check = |sql, expect| assert_eq!(sets(sql), expect, "{sql}");
        check("UPDATE t SET n = 1", false);
        check("-- x\nset work_mem = '1MB'", true);
        check("SELECT set_config('a.b', 'c', false)", true);
    }
}
