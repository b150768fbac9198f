//! The table of all variables. Documentation, `db config`, parsing and spell-checking all go by it.

/// One setting as the environment knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Other names for it; the first that is set counts.
    pub aliases: &'static [&'static str],
    /// What it does, with its unit.
    pub about: &'static str,
    /// What values it takes.
    pub accepts: &'static str,
    /// Whether its value must not be shown.
    pub is_secret: bool,
}

const MILLIS: &str = "a whole number of milliseconds from 1 to 86400000";
const MILLIS_OR_OFF: &str = "a whole number of milliseconds from 0 (off) to 86400000";
const FLAG: &str = "true or false";
const MILLIS_OR_ALWAYS: &str = "a whole number of milliseconds from 0 (always) to 86400000";
const MILLIS_OR_FOREVER: &str = "a whole number of milliseconds from 0 (for ever) to 86400000";
const RETRIES: &str = "a whole number from 0 to 100";
const COUNT: &str = "a whole number from 1 to 10000";

/// All variables.
pub const VARIABLES: &[Variable] = &[
    Variable {
        is_secret: true,
        ..var(
            "DATABASE_URL",
            "the PostgreSQL to use; without it one is started",
            "postgres://user:password@host:5432/database",
        )
    },
    Variable {
        is_secret: true,
        ..var(
            "DATABASE_MIGRATION_URL",
            "the way to the same server for migrations, past a pooler",
            "postgres://user:password@host:5432/database",
        )
    },
    Variable {
        is_secret: true,
        ..var(
            "DATABASE_REPLICA_URL",
            "replicas for reads, one or several",
            "URLs separated by white space: postgres://user:password@host:5432/database",
        )
    },
    var("DB_REPLICA_POOL_MAX", "most connections to each replica", COUNT),
    var("DB_REPLICA_MAX_LAG_MS", "a replica that is further behind takes no reads", MILLIS),
    Variable {
        aliases: &["DATABASE_HOST"],
        ..var("POSTGRES_HOST", "host, in place of a URL", "a host name or address")
    },
    Variable {
        aliases: &["DATABASE_PORT"],
        ..var("POSTGRES_PORT", "port, in place of a URL", "a whole number from 1 to 65535")
    },
    Variable { aliases: &["DATABASE_NAME"], ..var("POSTGRES_DB", "database, in place of a URL", "a name") },
    Variable { aliases: &["DATABASE_USER"], ..var("POSTGRES_USER", "role, in place of a URL", "a name") },
    Variable {
        aliases: &["DATABASE_PASSWORD"],
        is_secret: true,
        ..var("POSTGRES_PASSWORD", "password, in place of a URL", "any text")
    },
    var("DB_PASSWORD_FILE", "holds the password, in place of POSTGRES_PASSWORD", "a file"),
    Variable {
        is_secret: true,
        ..var(
            "DB_PASSWORD_COMMAND",
            "prints the password, in place of POSTGRES_PASSWORD",
            "a program and its arguments, separated by spaces",
        )
    },
    var("DB_PASSWORD_COMMAND_LIFETIME_MS", "how long what it printed is used", MILLIS),
    var(
        "DB_SSL_MODE",
        "how the way to the server is encrypted, whatever the URL says",
        "disable, allow, prefer, require, verify-ca or verify-full",
    ),
    var("DB_SSL_ROOT_CERT", "who may have signed the server's certificate", "a PEM file, or system"),
    var("DB_SSL_CERT", "our own certificate", "a PEM file, with DB_SSL_KEY"),
    var("DB_SSL_KEY", "the key of our own certificate", "a PEM file, with DB_SSL_CERT"),
    var(
        "DB_CHANNEL_BINDING",
        "whether the exchange of the password is bound to the TLS session",
        "disable, prefer or require",
    ),
    var("DB_ALLOW_PLAINTEXT", "whether a server elsewhere may be used without TLS in production", FLAG),
    var("DB_ENV", "kind of installation", "development, test, staging or production"),
    var("DB_PRESET", "defaults of the settings below", "standard, high-concurrency or patient"),
    var("DB_POOL_MAX", "the most connections", COUNT),
    var("DB_POOL_MIN", "the fewest connections kept open", "a whole number from 0 to 10000"),
    var("DB_POOL_CEILING", "limit of DB_POOL_MAX, whatever it says", COUNT),
    Variable {
        aliases: &["DB_CONNECTION_TIMEOUT_MS"],
        ..var(
            "DB_ACQUIRE_TIMEOUT_MS",
            "how long a caller waits for a connection, opening one included",
            MILLIS,
        )
    },
    var("DB_CONNECT_TIMEOUT_MS", "how long opening one connection may take", MILLIS),
    var("DB_IDLE_TIMEOUT_MS", "an idle connection above the minimum is closed after this", MILLIS),
    var("DB_MAX_LIFETIME_MS", "a connection is replaced at this age, give or take a tenth", MILLIS),
    var(
        "DB_MAX_USES",
        "a connection is replaced after this many uses",
        "a whole number from 1 to 4294967295",
    ),
    var(
        "DB_CHECK_AFTER_MS",
        "a connection idle for longer is checked before it is handed out",
        MILLIS_OR_ALWAYS,
    ),
    var(
        "DB_KEEP_ALIVE_MS",
        "a connection idle for longer is asked for a sign of life in the background",
        MILLIS_OR_OFF,
    ),
    var(
        "DB_QUEUE_LIMIT",
        "the most callers that wait for a connection; ten times DB_POOL_MAX by default",
        "a whole number from 0 (nobody waits) to 1000000",
    ),
    var("DB_LEAK_WARNING_MS", "a connection held for longer is reported with its place", MILLIS_OR_OFF),
    var("DB_STATEMENT_TIMEOUT_MS", "the server ends a statement that takes longer", MILLIS_OR_OFF),
    var("DB_LOCK_TIMEOUT_MS", "the server ends a statement that waits longer for a lock", MILLIS_OR_OFF),
    var(
        "DB_IDLE_IN_TRANSACTION_TIMEOUT_MS",
        "the server ends a session that is idle in a transaction for longer",
        MILLIS_OR_OFF,
    ),
    var("DB_SLOW_QUERY_MS", "a statement that takes longer is a warning", MILLIS_OR_OFF),
    var(
        "DB_MAX_RETRIES",
        "how often a failed call is tried again, and a failed connect while a caller waits",
        RETRIES,
    ),
    var(
        "DB_MAX_SERIALIZATION_RETRIES",
        "how often a transaction that lost a race is run again, where that was asked for",
        RETRIES,
    ),
    var("DB_RETRY_INITIAL_DELAY_MS", "first pause between these tries", MILLIS),
    var("DB_RETRY_FACTOR", "how many times longer each next pause is", "a number from 1 to 10"),
    var("DB_RETRY_MAX_DELAY_MS", "longest pause between these tries", MILLIS),
    var("DB_RETRY_JITTER", "how the pauses are spread", "none, full or equal"),
    var(
        "DB_RETRY_ON",
        "which failures are tried again, of those that may be",
        "all, connection or unavailable",
    ),
    var("DB_APPLICATION_NAME", "application_name of every session", "1 to 63 characters"),
    var("DB_SEARCH_PATH", "search_path of every session", "names of schemas, separated by commas"),
    var("DB_READ_ONLY", "whether sessions refuse to write", FLAG),
    var(
        "DB_STATEMENT_CACHE",
        "prepared statements kept for each connection",
        "a whole number from 0 (off) to 10000",
    ),
    var("DB_RESET", "what is undone when a connection comes back", "none, light or discard"),
    var("DB_POOLER", "what stands before the server", "none, session or transaction"),
    var(
        "DB_LANES",
        "the most connections that short statements of many callers share",
        "a whole number from 0 (none: each statement has a connection of its own) to 64",
    ),
    var("DB_HTTP_ADDR", "where `db serve` listens", "address:port, such as 127.0.0.1:8080"),
    Variable {
        is_secret: true,
        ..var(
            "DB_HTTP_TOKEN",
            "bearer token that opens the details of health answers",
            "at least 16 characters",
        )
    },
    var("DB_MIGRATIONS_DIR", "folder of the migrations", "a folder"),
    var("DB_SEEDS_DIR", "folder of the seeds", "a folder"),
    var(
        "DB_MIGRATION_TABLE",
        "table that holds the history of migrations",
        "table or schema.table, of letters, digits and underscores",
    ),
    var(
        "DB_MIGRATION_LOCK_TIMEOUT_MS",
        "how long a migration waits for a table that others use before it gives way and tries again",
        MILLIS_OR_FOREVER,
    ),
    var(
        "DB_MIGRATION_LOCK_WAIT_MS",
        "how long to wait for another migration run to end",
        "a whole number of milliseconds from 0 (not at all) to 86400000",
    ),
    var(
        "DB_SCHEMA_VERSION",
        "newest applied migration with which this program is ready, both ends included",
        "such as 12..20, 12.., ..20 or 12",
    ),
    var("DB_EMBEDDED_DIR", "folder of the PostgreSQL that is started", "a folder"),
    var("DB_HEALTH_INTERVAL_MS", "pause between two health checks", MILLIS),
    Variable {
        is_secret: true,
        ..var("DB_REDIS_URL", "a Redis whose health is part of ours", "redis://user:password@host:6379/0")
    },
    var("DB_REDIS_CRITICAL", "whether the service cannot live without that Redis", FLAG),
    var("DB_ALERT_INTERVAL_MS", "pause between two looks at what alerts go by", MILLIS),
    var(
        "DB_ALERT_UTILIZATION",
        "an alert fires when more of the connections are in use, in per cent",
        "a number from 1 to 100",
    ),
    var("DB_ALERT_LATENCY_MS", "an alert fires when an operation takes longer on average", MILLIS),
    var(
        "DB_ALERT_ERROR_RATE",
        "an alert fires when more operations fail, in per cent",
        "a number from 0 to 100",
    ),
    Variable {
        is_secret: true,
        ..var(
            "DB_ALERT_WEBHOOK_URL",
            "who is told of alerts by HTTP",
            "http://host/path or https://host/path",
        )
    },
    Variable {
        is_secret: true,
        ..var("DB_ALERT_WEBHOOK_SECRET", "what signs these messages", "at least 16 characters")
    },
    Variable {
        aliases: &["OTEL_EXPORTER_OTLP_ENDPOINT"],
        ..var(
            "DB_OTLP_ENDPOINT",
            "where `db serve` sends metrics and traces by OTLP",
            "http://host:4318 or https://host:4318, without a name and a password",
        )
    },
    var("DB_TRACE_RATIO", "share of the traces that are sent", "a number from 0 to 1"),
    var("DB_SQL_COMMENTER", "statements that are sent as text say in a comment who sends them", FLAG),
    var("DB_SHUTDOWN_TIMEOUT_MS", "how long stopping may take", MILLIS),
    var(
        "DB_SHUTDOWN_DELAY_MS",
        "how long `/health/ready` says 503 on the way down before requests are refused",
        MILLIS_OR_OFF,
    ),
    var(
        "DB_LOG",
        "what is logged; by default info by `db serve`, each statement too in development, else error",
        "a tracing filter, such as info or db=debug",
    ),
];

/// Names that begin alike and are no settings: the compose file's, and the name of `db.toml`.
pub(crate) const OTHERS: &[&str] = &[
    "DB_APP_PASSWORD",
    "DB_APP_USER",
    "DB_CONFIG_FILE",
    "DB_GRAFANA_IMAGE",
    "DB_OTEL_COLLECTOR_IMAGE",
    "DB_POSTGRES_IMAGE",
    "DB_PROMETHEUS_IMAGE",
    "DB_REDIS_IMAGE",
];

const fn var(name: &'static str, about: &'static str, accepts: &'static str) -> Variable {
    Variable { name, aliases: &[], about, accepts, is_secret: false }
}

/// The known name nearest to `name`, if one is near: at most one letter in five differs.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let names = VARIABLES.iter().flat_map(|variable| std::iter::once(&variable.name).chain(variable.aliases));
    let (known, distance) = names
        .map(|known| (*known, strsim::damerau_levenshtein(known, name)))
        .min_by_key(|(_, distance)| *distance)?;
    (distance <= known.len() / 5).then_some(known)
}

/// Whether `name` is a variable of ours.
pub(crate) fn is_known(name: &str) -> bool {
    OTHERS.contains(&name)
        || VARIABLES.iter().any(|variable| variable.name == name || variable.aliases.contains(&name))
}
