//! Settings of the server that hurt, each with what it does. The rules are a table and pure; only reading the settings is not.

use std::collections::HashMap;

use db_app::Database;
use db_app::config::Environment;
use db_app::prelude::*;

use super::finding::Finding;

/// One setting with the value that it should not have.
struct Rule {
    setting: &'static str,
    bad: &'static str,
    weight: Weight,
    /// What it means, in words.
    means: &'static str,
    fix: &'static str,
}

#[derive(Clone, Copy)]
enum Weight {
    Advice,
    Problem,
    /// A problem where data matter.
    Risk,
}

const RULES: &[Rule] = &[
    Rule {
        setting: "fsync",
        bad: "off",
        weight: Weight::Risk,
        means: "off: a crash of the machine can destroy the database",
        fix: "ALTER SYSTEM SET fsync = on, then reload",
    },
    Rule {
        setting: "full_page_writes",
        bad: "off",
        weight: Weight::Risk,
        means: "off: a crash of the machine can leave half-written pages",
        fix: "ALTER SYSTEM SET full_page_writes = on, then reload",
    },
    Rule {
        setting: "synchronous_commit",
        bad: "off",
        weight: Weight::Risk,
        means: "off: a crash loses commits that were acknowledged",
        fix: "ALTER SYSTEM SET synchronous_commit = on, then reload",
    },
    Rule {
        setting: "autovacuum",
        bad: "off",
        weight: Weight::Problem,
        means: "off: tables grow without end, and transaction ids run out",
        fix: "ALTER SYSTEM SET autovacuum = on, then reload",
    },
    Rule {
        setting: "password_encryption",
        bad: "md5",
        weight: Weight::Advice,
        means: "md5: new passwords are stored in a form that can be guessed fast",
        fix: "ALTER SYSTEM SET password_encryption = 'scram-sha-256', reload, and set each password anew",
    },
    Rule {
        setting: "data_checksums",
        bad: "off",
        weight: Weight::Advice,
        means: "off: a page that the disk has damaged is not noticed",
        fix: "pg_checksums --enable, while the server is stopped",
    },
    Rule {
        setting: "shared_buffers",
        // Pages of 8 KiB.
        bad: "16384",
        weight: Weight::Advice,
        means: "128 MB, the default for the smallest machines",
        fix: "ALTER SYSTEM SET shared_buffers to a quarter of the memory, then restart",
    },
    Rule {
        setting: "track_io_timing",
        bad: "off",
        weight: Weight::Advice,
        means: "off: nobody can tell how long statements wait for the disk",
        fix: "ALTER SYSTEM SET track_io_timing = on, then reload",
    },
    Rule {
        setting: "log_min_duration_statement",
        bad: "-1",
        weight: Weight::Advice,
        means: "-1: the server logs no slow statement",
        fix: "ALTER SYSTEM SET log_min_duration_statement = '1s', then reload",
    },
];

pub(super) async fn examine(
    database: &Database,
    environment: Environment,
) -> db_app::core::Result<Vec<Finding>> {
    let names: Vec<&str> = RULES.iter().map(|rule| rule.setting).collect();
    let found: Vec<(String, String)> = database
        .query("SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY ($1)", &[&names])
        .await?;
    Ok(judge(&found.into_iter().collect(), environment))
}

fn judge(settings: &HashMap<String, String>, environment: Environment) -> Vec<Finding> {
    let of = |rule: &Rule| {
        let Rule { setting, bad, weight, means, fix } = *rule;
        match (settings.get(setting), weight) {
            (None, _) => Finding::hidden(setting),
            (Some(value), _) if value != bad => Finding::ok(setting, value),
            (Some(_), Weight::Advice) => Finding::advice(setting, means, fix),
            (Some(_), Weight::Problem) => Finding::problem(setting, means, fix),
            (Some(_), Weight::Risk) => Finding::risk(environment, setting, means, fix),
        }
    };
    RULES.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Grade;

    /// Every rule finds its value, and is content with another.
    #[test]
    fn each_rule_speaks_up() {
        let settings = |value: fn(&Rule) -> &'static str| {
            RULES.iter().map(|rule| (rule.setting.to_owned(), value(rule).to_owned())).collect()
        };
        let grades = |settings: &HashMap<String, String>, environment| {
            judge(settings, environment).iter().map(|finding| finding.grade).collect::<Vec<_>>()
        };
        use Grade::{Advice, Ok, Problem};
        let bad = settings(|rule| rule.bad);
        let expect = [Problem, Problem, Problem, Problem, Advice, Advice, Advice, Advice, Advice];
        assert_eq!(grades(&bad, Environment::Production), expect);
        let expect = [Advice, Advice, Advice, Problem, Advice, Advice, Advice, Advice, Advice];
        assert_eq!(grades(&bad, Environment::Development), expect);
        assert_eq!(grades(&settings(|_| "good"), Environment::Production), [Ok; 9]);
        let hidden = judge(&HashMap::new(), Environment::Production);
        assert!(hidden.iter().all(|finding| finding.note == "not visible to this role" && finding.ok));
    }
}
