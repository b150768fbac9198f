//! The planner's table: what is applied, what there is, what is asked for, and what comes of it.

use super::*;
use crate::RecordStatus;

/// `a2` is migration 2 with content `a`; `!` leaves out its down file.
fn available(files: &str) -> Migrations {
    let migration = |file: &str| {
        let (stem, down) = match file.strip_suffix('!') {
            Some(stem) => (stem, None),
            None => (file, Some("SELECT 0")),
        };
        let (content, version) = stem.split_at(1);
        Migration::new(&format!("{version}_m"), &format!("SELECT '{content}'"), down).expect("migration")
    };
    Migrations::new(files.split_whitespace().map(migration)).expect("migrations")
}

/// As [`available`], in the order of application; `-` says that it was rolled back.
fn history(entries: &str) -> Vec<Record> {
    let record = |(position, entry): (usize, &str)| {
        let (entry, status) = match entry.strip_suffix('-') {
            Some(entry) => (entry, RecordStatus::RolledBack),
            None => (entry, RecordStatus::Completed),
        };
        let file = available(entry);
        let migration = file.iter().next().expect("one");
        let log_id = i64::try_from(position).expect("position");
        Record::for_tests(migration, status, log_id)
    };
    entries.split_whitespace().enumerate().map(record).collect()
}

fn check(applied: &str, files: &str, goal: &Goal, expect: Result<&str, &str>) {
    let available = available(files);
    let show = |plan: Plan<'_>| {
        let steps = plan.steps.iter().map(|step| match step.direction {
            Direction::Up => format!("+{}", step.version),
            Direction::Down => format!("-{}", step.version),
        });
        steps.collect::<Vec<_>>().join(" ")
    };
    let actual = plan(&history(applied), &available, goal, &Settings::default())
        .map(show)
        .map_err(|error| error.to_string());
    match (actual, expect) {
        (Ok(actual), Ok(expect)) => assert_eq!(actual, expect, "{applied} | {files} | {goal:?}"),
        (Err(actual), Err(expect)) => assert!(actual.contains(expect), "{actual}"),
        (actual, _) => panic!("{applied} | {files} | {goal:?} gives {actual:?}"),
    }
}

#[test]
fn up_applies_what_is_pending_in_order() {
    let all = || Goal::Up(Steps::All);
    check("", "", &all(), Ok(""));
    check("", "a2 a10 a1", &all(), Ok("+1 +2 +10"));
    check("a1", "a1 a2 a3", &all(), Ok("+2 +3"));
    check("a1 a2", "a1 a2", &all(), Ok(""));
    check("a1 a2-", "a1 a2", &all(), Ok("+2"));
    check("a001", "a1 a2", &all(), Ok("+2"));
    check("", "a1 a2 a3", &Goal::Up(Steps::Count(2)), Ok("+1 +2"));
    check("a1", "a1 a2", &Goal::Up(Steps::Count(5)), Ok("+2"));
    check("a1", "a1 a2", &Goal::Up(Steps::Count(0)), Ok(""));
}

#[test]
fn up_refuses_changed_late_and_missing_files_but_not_a_newer_schema() {
    let all = || Goal::Up(Steps::All);
    check("a1 a2", "a1 b2 a3", &all(), Err("2_m.sql was changed after it was applied"));
    check("a1 a2-", "a1 b2 a3", &all(), Ok("+2 +3"));
    check("a1 a3", "a1 a2 a3 a4", &all(), Err("2_m.sql is out of order: 3_m is newer"));
    check("a1 a3-", "a1 a2 a3", &all(), Ok("+2 +3"));
    check("a1 a2", "a2 a3", &all(), Err("1_m is applied, but its file is missing"));
    check("a1 a2 a3", "a1 a2", &all(), Ok(""));
    check("a1 a9", "a1 a2", &all(), Err("2_m.sql is out of order: 9_m is newer"));
}

#[test]
fn down_undoes_in_reverse_order_of_application() {
    check("a1 a2 a3", "a1 a2 a3", &Goal::Down(1), Ok("-3"));
    check("a1 a2 a3", "a1 a2 a3", &Goal::Down(2), Ok("-3 -2"));
    check("a1 a3 a2", "a1 a2 a3", &Goal::Down(2), Ok("-2 -3"));
    check("a1 a2 a3-", "a1 a2 a3", &Goal::Down(1), Ok("-2"));
    check("a1 a2", "a1 a2", &Goal::Down(9), Ok("-2 -1"));
    check("a1", "a1", &Goal::Down(0), Ok(""));
    check("", "a1", &Goal::Down(1), Ok(""));
    check("a1 a2 a3", "a1 a2 a3 a4", &Goal::Reset, Ok("-3 -2 -1"));
    check("", "a1", &Goal::Reset, Ok(""));
    check("a1 a2", "a1 b2", &Goal::Down(1), Ok("-2"));
}

#[test]
fn down_is_refused_as_a_whole_when_one_step_is_impossible() {
    check("a1 a2 a3", "a1 a2! a3", &Goal::Down(1), Ok("-3"));
    check(
        "a1 a2 a3",
        "a1 a2! a3",
        &Goal::Down(2),
        Err("2_m.sql cannot be rolled back: 2_m-down.sql does not exist"),
    );
    check("a1 a2 a3", "a1 a2! a3", &Goal::Reset, Err("2_m-down.sql"));
    check("a1 a2 a3", "a1 a3", &Goal::Down(1), Ok("-3"));
    check("a1 a2 a3", "a1 a3", &Goal::Down(2), Err("2_m is applied, but its file is missing"));
    check("a1 a2", "a2", &Goal::Reset, Err("1_m is applied, but its file is missing"));
}

/// What is half applied is in nobody's way unnoticed: neither beyond the version that is asked for, nor without its file.
#[test]
fn what_is_half_applied_is_not_passed_over() {
    let mut history = history("a1 a2");
    (history[1].status, history[1].attempted, history[1].statement) = (RecordStatus::Failed, 1, 1);
    let refused = |files: &str, goal: &Goal| {
        let available = available(files);
        let planned = plan(&history, &available, goal, &Settings::default());
        planned.expect_err(files).to_string()
    };
    let to = |version: &str| Goal::To(version.parse().expect("version"));
    assert!(refused("a1 a2 a3", &to("1")).starts_with("2_m.sql is half applied"));
    assert!(refused("a1 a3", &Goal::Up(Steps::All)).starts_with("2_m is applied, but its file is missing"));
}
