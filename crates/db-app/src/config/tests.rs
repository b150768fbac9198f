//! Sources, presets, masking, and the one-line errors.

use db_pool::{Pooler, Reset};
use db_retry::{Jitter, Policy, Scope};

use super::*;

pub(super) fn layers(values: &[(&str, &str)]) -> Layers {
    values.iter().fold(Layers::default(), |layers, (name, value)| layers.with_environment(name, value))
}

pub(super) fn load(values: &[(&str, &str)]) -> Config {
    Config::load(&layers(values)).expect("a valid configuration")
}

pub(super) fn refused(values: &[(&str, &str)]) -> String {
    Config::load(&layers(values)).expect_err("an invalid configuration").to_string()
}

pub(super) fn shown<'a>(config: &'a Config, name: &str) -> (Option<&'a str>, Source) {
    let row = config.shown.iter().find(|shown| shown.name == name).expect(name);
    (row.value.as_deref(), row.source)
}

/// A1, E8.
#[test]
fn nothing_set_is_the_standard_preset_on_a_server_of_our_own() {
    let config = load(&[]);
    assert_eq!(config.pool, Settings::default());
    assert!(matches!(config.postgres, Postgres::Embedded(_)));
    assert_eq!(config.http_addr.to_string(), "127.0.0.1:8080");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let names: Vec<_> = config.shown.iter().map(|shown| shown.name).collect();
    assert_eq!(names, VARIABLES.iter().map(|variable| variable.name).collect::<Vec<_>>());
}

/// E8: every variable of the list reaches the pool.
#[test]
fn the_variables_reach_the_pool() {
    let config = load(&[
        ("DB_POOL_MAX", "7"),
        ("DB_POOL_MIN", "3"),
        ("DB_IDLE_TIMEOUT_MS", "11"),
        ("DB_CONNECTION_TIMEOUT_MS", "12"),
        ("DB_STATEMENT_TIMEOUT_MS", "0"),
        ("DB_MAX_RETRIES", "5"),
        ("DB_RETRY_INITIAL_DELAY_MS", "13"),
        ("DB_RETRY_MAX_DELAY_MS", "14"),
    ]);
    let pool = &config.pool;
    assert_eq!((pool.max, pool.min, pool.queue_limit), (7, 3, 70));
    assert_eq!(pool.idle_timeout, Duration::from_millis(11));
    assert_eq!(pool.acquire_timeout, Duration::from_millis(12));
    assert_eq!(pool.statement_timeout, Duration::ZERO);
    assert_eq!(pool.connect_retry.max_retries, 5);
    assert_eq!(pool.connect_retry.initial_delay, Duration::from_millis(13));
    assert_eq!(pool.connect_retry.max_delay, Duration::from_millis(14));
    let retry = &config.retry;
    assert_eq!((retry.max_retries, retry.initial_delay), (5, Duration::from_millis(13)));
    assert_eq!(retry.max_delay, Duration::from_millis(14));
    assert_eq!(shown(&config, "DB_CONNECTION_TIMEOUT_MS"), (Some("12"), Source::Environment));
}

/// A10, E6: the rest of the pool's settings.
#[test]
fn every_setting_of_the_pool_has_a_variable() {
    let config = load(&[
        ("DB_CHECK_AFTER_MS", "0"),
        ("DB_KEEP_ALIVE_MS", "21"),
        ("DB_QUEUE_LIMIT", "22"),
        ("DB_LEAK_WARNING_MS", "23"),
        ("DB_LOCK_TIMEOUT_MS", "24"),
        ("DB_IDLE_IN_TRANSACTION_TIMEOUT_MS", "25"),
        ("DB_SLOW_QUERY_MS", "26"),
        ("DB_SEARCH_PATH", "app, public"),
        ("DB_READ_ONLY", "true"),
        ("DB_STATEMENT_CACHE", "0"),
        ("DB_RESET", "discard"),
        ("DB_POOLER", "transaction"),
        ("DB_LANES", "2"),
    ]);
    let mut expect = Settings::default();
    expect.check_after = Duration::ZERO;
    expect.keep_alive = Duration::from_millis(21);
    expect.queue_limit = 22;
    expect.leak_warning = Duration::from_millis(23);
    expect.lock_timeout = Duration::from_millis(24);
    expect.idle_in_transaction_timeout = Duration::from_millis(25);
    expect.slow_query = Duration::from_millis(26);
    expect.search_path = Some("app, public".to_owned());
    expect.read_only = true;
    expect.statement_cache = 0;
    expect.reset = Reset::Discard;
    expect.pooler = Pooler::Transaction;
    expect.lanes.max = 2;
    assert_eq!(config.pool, expect);
    assert_eq!(shown(&config, "DB_POOLER"), (Some("transaction"), Source::Environment));
    assert_eq!(shown(&load(&[]), "DB_SEARCH_PATH"), (None, Source::Default));
}

#[test]
fn the_queue_is_ten_times_the_maximum_in_force() {
    let check = |values: &[(&str, &str)], expect| assert_eq!(load(values).pool.queue_limit, expect);
    check(&[("DB_POOL_MAX", "500")], 200);
    check(&[("DB_PRESET", "high-concurrency")], 1_000);
    check(&[("DB_PRESET", "high-concurrency"), ("DB_POOL_MAX", "30")], 300);
    check(&[("DB_POOL_MAX", "3"), ("DB_QUEUE_LIMIT", "0")], 0);
    for preset in [Preset::Standard, Preset::HighConcurrency, Preset::Patient] {
        let pool = preset.pool();
        assert_eq!(pool.queue_limit, pool.max as usize * 10);
    }
}

/// C8: each statement is logged in development, unless somebody says otherwise.
#[test]
fn the_log_has_statements_in_development() {
    let check = |values: &[(&str, &str)], expect| assert_eq!(load(values).log_filter(), expect);
    check(&[], "info,db::query=debug");
    check(&[("DB_ENV", "test")], "info");
    check(&[("DB_ENV", "production")], "info");
    check(&[("DB_LOG", "warn")], "warn");
}

/// A1: a wrong maximum cannot use up the server.
#[test]
fn the_ceiling_holds_the_maximum_down_and_says_so() {
    let config = load(&[("DB_POOL_MAX", "500")]);
    assert_eq!(config.pool.max, 20);
    assert_eq!(config.warnings, ["DB_POOL_MAX=500 is above DB_POOL_CEILING: 20 is used"]);
    assert_eq!(shown(&config, "DB_POOL_MAX"), (Some("20"), Source::Environment));
    let config = load(&[("DB_POOL_MAX", "500"), ("DB_POOL_CEILING", "1000")]);
    assert_eq!((config.pool.max, config.warnings.len()), (500, 0));
}

#[test]
fn presets_change_defaults_and_nothing_that_is_set() {
    let config = load(&[("DB_PRESET", "high-concurrency"), ("DB_POOL_MIN", "1")]);
    assert_eq!((config.pool.max, config.pool.min), (100, 1));
    assert_eq!(shown(&config, "DB_POOL_MAX"), (Some("100"), Source::Preset));
    assert_eq!(shown(&config, "DB_POOL_MIN"), (Some("1"), Source::Environment));
    let config = load(&[("DB_PRESET", "patient")]);
    assert_eq!(config.pool.acquire_timeout, Duration::from_secs(60));
    assert_eq!(config.pool.connect_retry.initial_delay, Duration::from_secs(1));
    assert_eq!(config.pool.connect_retry.max_delay, Duration::from_secs(10));
}

const RETRY: [&str; 7] = [
    "DB_MAX_RETRIES",
    "DB_MAX_SERIALIZATION_RETRIES",
    "DB_RETRY_INITIAL_DELAY_MS",
    "DB_RETRY_FACTOR",
    "DB_RETRY_MAX_DELAY_MS",
    "DB_RETRY_JITTER",
    "DB_RETRY_ON",
];

/// B5, D7, E5: the retries of the teams are presets, and `db config` shows all of them.
#[test]
fn presets_say_how_calls_are_tried_again() {
    let check = |preset, expect: [&str; 7], mut policy: Policy| {
        policy.retries_connecting = false;
        let config = load(&[("DB_PRESET", preset)]);
        let seen = RETRY.map(|name| shown(&config, name).0.unwrap_or_default());
        assert_eq!(seen, expect, "{preset}");
        assert_eq!(config.retry, policy, "{preset}");
    };
    check("standard", ["3", "5", "100", "2", "5000", "full", "unavailable"], Policy::unavailable_server());
    check(
        "high-concurrency",
        ["3", "5", "100", "2", "5000", "none", "connection"],
        Policy::connection_failures(),
    );
    check("patient", ["3", "5", "1000", "2", "10000", "full", "all"], Policy::patient());
    let config = load(&[("DB_PRESET", "patient")]);
    assert_eq!(shown(&config, "DB_RETRY_ON"), (Some("all"), Source::Preset));
    assert_eq!(shown(&config, "DB_MAX_RETRIES"), (Some("3"), Source::Default));
}

#[test]
fn retries_can_be_set_one_by_one() {
    let values = ["0", "100", "70", "1.5", "70", "equal", "all"];
    let values: Vec<_> = RETRY.into_iter().zip(values).collect();
    let config = load(&values);
    let Policy { max_retries, max_serialization_retries, factor, jitter, scope, .. } = config.retry;
    assert_eq!((max_retries, max_serialization_retries, factor), (0, 100, 1.5));
    assert_eq!((jitter, scope), (Jitter::Equal, Scope::All));
    config.retry.validate().expect("a policy that can be used");
    assert_eq!(
        refused(&[("DB_RETRY_INITIAL_DELAY_MS", "200"), ("DB_RETRY_MAX_DELAY_MS", "100")]),
        "DB_RETRY_MAX_DELAY_MS=100: expected at least the first pause, 200 (DB_RETRY_INITIAL_DELAY_MS)"
    );
    let longer = load(&[("DB_RETRY_INITIAL_DELAY_MS", "20000")]);
    assert_eq!(longer.retry.max_delay, Duration::from_secs(20), "nobody asked for a shorter one");
}

#[test]
fn a_stronger_source_wins() {
    let weak = layers(&[]).with_file("pool_max = 3\npool_min = 1\nmax_uses = 9").expect("TOML");
    let config = Config::load(&weak.clone().with_dot_env("DB_POOL_MAX", "4")).expect("valid");
    assert_eq!(shown(&config, "DB_POOL_MAX"), (Some("4"), Source::DotEnv));
    assert_eq!(shown(&config, "DB_MAX_USES"), (Some("9"), Source::File));
    let strong = weak.with_dot_env("DB_POOL_MAX", "4").with_environment("DB_POOL_MAX", "5");
    let config = Config::load(&strong).expect("valid");
    assert_eq!((config.pool.max, config.pool.min), (5, 1));
}

#[test]
fn what_cannot_be_used_is_named_with_what_is_accepted() {
    let check = |name, value, expect: &str| assert_eq!(refused(&[(name, value)]), expect);
    let count = "expected a whole number from 1 to 10000";
    check("DB_POOL_MAX", "abc", &format!("DB_POOL_MAX=abc (environment): {count}"));
    check("DB_POOL_MAX", "0", &format!("DB_POOL_MAX=0 (environment): {count}"));
    check("DB_POOL_MAX", "-1", &format!("DB_POOL_MAX=-1 (environment): {count}"));
    check(
        "DB_POOL_MIN",
        "21",
        "DB_POOL_MIN=21: expected at most the maximum in force, 20 (DB_POOL_MAX, DB_POOL_CEILING)",
    );
    check("DB_ENV", "prod", "DB_ENV=prod (environment): expected development, test, staging or production");
    check(
        "DB_HTTP_ADDR",
        "8080",
        "DB_HTTP_ADDR=8080 (environment): expected address:port, such as 127.0.0.1:8080",
    );
    check("DB_HTTP_TOKEN", "short", "DB_HTTP_TOKEN=*** (environment): expected at least 16 characters");
    check("POSTGRES_PORT", "x", "POSTGRES_PORT=x (environment): expected a whole number from 1 to 65535");
    check("DB_READ_ONLY", "yes", "DB_READ_ONLY=yes (environment): expected true or false");
    check("DB_RESET", "all", "DB_RESET=all (environment): expected none, light or discard");
    check(
        "DB_POOLER",
        "pgbouncer",
        "DB_POOLER=pgbouncer (environment): expected none, session or transaction",
    );
    check(
        "DB_SEARCH_PATH",
        "a\0b",
        "DB_SEARCH_PATH=a\0b (environment): expected names of schemas, separated by commas",
    );
    check("DB_RETRY_FACTOR", "NaN", "DB_RETRY_FACTOR=NaN (environment): expected a number from 1 to 10");
    check("DB_RETRY_JITTER", "some", "DB_RETRY_JITTER=some (environment): expected none, full or equal");
    check("DB_RETRY_ON", "08*", "DB_RETRY_ON=08* (environment): expected all, connection or unavailable");
    check("DB_MAX_RETRIES", "101", "DB_MAX_RETRIES=101 (environment): expected a whole number from 0 to 100");
    let millis = "expected a whole number of milliseconds from 1 to 86400000";
    check("DB_IDLE_TIMEOUT_MS", "30s", &format!("DB_IDLE_TIMEOUT_MS=30s (environment): {millis}"));
}

#[test]
fn all_errors_are_reported_at_once() {
    assert_eq!(
        refused(&[("DB_POOL_MAX", "abc"), ("DB_ENV", "prod"), ("DB_MAX_USES", "0")]).lines().count(),
        3
    );
}

#[test]
fn an_unknown_name_is_a_warning_with_the_nearest() {
    let warnings = load(&[("DB_POOL_MAXX", "1"), ("DB_QWERTYUIOP", "1"), ("DBUS_X", "1")]).warnings;
    assert_eq!(
        warnings,
        [
            "DB_POOL_MAXX (environment) is not known; did you mean DB_POOL_MAX?",
            "DB_QWERTYUIOP (environment) is not known; `db config` lists what is",
        ]
    );
    let layers = layers(&[]).with_file("database_ulr = 'x'\npool_maxx = 1\napp_user = 'x'").expect("TOML");
    let warnings = Config::load(&layers).expect("valid").warnings;
    let expect = [
        "database_ulr (db.toml) is not known; did you mean DATABASE_URL?",
        "app_user (db.toml) is not known; `db config` lists what is",
        "pool_maxx (db.toml) is not known; did you mean DB_POOL_MAX?",
    ];
    assert!(expect.iter().all(|line| warnings.iter().any(|warning| warning == line)), "{warnings:?}");
    assert_eq!(warnings.len(), 3, "{warnings:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_its_line() {
    let error = Layers::default().with_file("pool_max = 3\npool_min = [").expect_err("not TOML").to_string();
    assert!(error.starts_with("db.toml: line 2: "), "{error}");
    let error = Layers::default().with_file("pool_max = 3\npool_max = 4").expect_err("twice").to_string();
    assert!(error.starts_with("db.toml: line 2: "), "{error}");
    let error = Layers::default().with_file("pool_max = [1]").expect_err("a list").to_string();
    assert_eq!(error, "db.toml: pool_max: expected a text, a whole number, true or false");
}

/// The README promises exactly the variables that there are.
#[test]
fn the_readme_lists_every_variable() {
    let readme = include_str!("../../../../README.md");
    for variable in VARIABLES {
        for name in std::iter::once(&variable.name).chain(variable.aliases) {
            assert!(readme.contains(&format!("`{name}`")), "{name} is not in README.md");
        }
    }
}
