//! Events as metrics, and what is watched beside them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use db_core::{
    Abandoned, AcquireFailed, Acquired, BreakerChanged, BreakerState, Closed, CommitResolved, ConnectFailed,
    Connected, ConnectionState, EndpointChanged, Error, Executed, GaveUp, Leaked, Observer, ReadMoved,
    Released, Retried,
};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::attributes::{Made, of_pool, of_server, word};
use crate::instruments::Instruments;
use crate::names::attribute;
use crate::series::Series;
use crate::statements::{Distinct, SUMMARIES, Statement, Statements};
use crate::watched::{PoolFigures, ServerFigures, Sources, register};

/// How many codes of errors are told apart: a function of the server may raise any.
const CODES: usize = 64;

/// Counts what it is told, and what it watches. Cheap to clone; all clones are one.
///
/// What is watched is no longer asked for once the last clone is gone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    database: String,
    instruments: Instruments,
    pools: Made<Pool>,
    servers: Made<Statements>,
    seen: Arc<Distinct>,
    codes: Distinct,
    sources: Arc<Sources>,
}

/// A pool, with the series of what happens all the time.
struct Pool {
    attributes: [KeyValue; 1],
    wait_time: Series<f64>,
    use_time: Series<f64>,
}

impl Metrics {
    /// Metrics of what concerns `database`, by instruments of `meter`.
    #[must_use]
    pub fn new(meter: &Meter, database: impl Into<String>) -> Self {
        let sources = Arc::new(Sources::default());
        register(meter, &sources);
        Self(Arc::new(Inner {
            database: database.into(),
            instruments: Instruments::of(meter),
            pools: Made::default(),
            servers: Made::default(),
            seen: Arc::new(Distinct::new(SUMMARIES)),
            codes: Distinct::new(CODES),
            sources,
        }))
    }

    /// Pools to ask for their figures; in addition to those that are watched already.
    pub fn watch_pools(&self, pools: impl Fn() -> Vec<PoolFigures> + Send + Sync + 'static) {
        self.0.sources.pools.add(pools);
    }

    /// Servers of a cluster to ask for their figures.
    pub fn watch_servers(&self, servers: impl Fn() -> Vec<ServerFigures> + Send + Sync + 'static) {
        self.0.sources.servers.add(servers);
    }

    /// Components with their health: 0 healthy, 1 degraded, 2 unhealthy.
    pub fn watch_components(&self, components: impl Fn() -> Vec<(String, u64)> + Send + Sync + 'static) {
        self.0.sources.components.add(components);
    }

    /// Alerts, and whether each fires.
    pub fn watch_alerts(&self, alerts: impl Fn() -> Vec<(String, bool)> + Send + Sync + 'static) {
        self.0.sources.alerts.add(alerts);
    }

    /// How many migrations are pending; none while that is not known.
    pub fn watch_pending(&self, pending: impl Fn() -> Option<u64> + Send + Sync + 'static) {
        self.0.sources.pending.add(move || pending().into_iter().collect());
    }

    /// A migration was applied or rolled back.
    pub fn migrated(&self, took: Duration) {
        self.0.instruments.migration_duration.record(took.as_secs_f64(), &[]);
    }

    fn known_pool(&self, name: &str) -> &Pool {
        let Inner { pools, instruments, .. } = &*self.0;
        pools.of(name, || Pool {
            attributes: of_pool(name),
            wait_time: Series::of(&instruments.wait_time),
            use_time: Series::of(&instruments.use_time),
        })
    }

    fn pool(&self, name: &str) -> &[KeyValue; 1] {
        &self.known_pool(name).attributes
    }

    fn with_pool(&self, name: &str, more: impl IntoIterator<Item = KeyValue>) -> Vec<KeyValue> {
        self.pool(name).iter().cloned().chain(more).collect()
    }

    /// Gives `record` what is known of a statement.
    fn with_statement(&self, endpoint: &str, sql: &str, record: impl FnOnce(&Statement)) {
        let Inner { database, servers, seen, instruments, .. } = &*self.0;
        let statements = servers.of(endpoint, || Statements::new(database, endpoint, Arc::clone(seen)));
        statements.with(sql, instruments, record);
    }

    fn instruments(&self) -> &Instruments {
        &self.0.instruments
    }
}

impl Observer for Metrics {
    fn connected(&self, event: &Connected<'_>) {
        let took = event.took.as_secs_f64();
        self.instruments().create_time.record(took, self.pool(event.pool));
    }

    fn connect_failed(&self, event: &ConnectFailed<'_>) {
        let mut attributes = of_server(event.endpoint);
        attributes.push(KeyValue::new(attribute::ERROR_TYPE, event.error.code()));
        self.instruments().failures.add(1, &self.with_pool(event.pool, attributes));
    }

    fn acquired(&self, event: &Acquired<'_>) {
        let pool = self.known_pool(event.pool);
        pool.wait_time.record(event.waited.as_secs_f64(), &pool.attributes);
    }

    fn acquire_failed(&self, event: &AcquireFailed<'_>) {
        // Who waited has numbers of it; who was told that the server is wrong did not wait in vain.
        if event.error.wait().is_some() {
            self.instruments().timeouts.add(1, self.pool(event.pool));
        }
    }

    fn released(&self, event: &Released<'_>) {
        let pool = self.known_pool(event.pool);
        pool.use_time.record(event.held.as_secs_f64(), &pool.attributes);
    }

    fn closed(&self, event: &Closed<'_>) {
        let state = match event.state {
            ConnectionState::Idle => "idle",
            _ => "used",
        };
        let more = [
            KeyValue::new(attribute::CLOSE_REASON, word(event.reason)),
            KeyValue::new(attribute::CONNECTION_STATE, state),
        ];
        self.instruments().closed.add(1, &self.with_pool(event.pool, more));
    }

    fn leaked(&self, event: &Leaked<'_>) {
        self.instruments().leaks.add(1, self.pool(event.pool));
    }

    fn executed(&self, event: &Executed<'_>) {
        let Inner { instruments, codes, .. } = &*self.0;
        self.with_statement(event.endpoint, event.sql, |statement| {
            let took = event.took.as_secs_f64();
            match event.error {
                None => statement.took(took),
                Some(error) => {
                    let attributes = of_failure(&statement.attributes, error, codes);
                    instruments.operation_duration.record(took, &attributes);
                }
            }
            if let Some(rows) = event.rows {
                statement.gave(rows);
            }
        });
        if event.is_slow {
            instruments.operation_slow.add(1, self.pool(event.pool));
        }
    }

    fn abandoned(&self, event: &Abandoned<'_>) {
        let (instruments, took) = (self.instruments(), event.took.as_secs_f64());
        self.with_statement(event.endpoint, event.sql, |statement| {
            let more = [KeyValue::new(attribute::ERROR_TYPE, "cancelled")];
            let attributes: Vec<_> = statement.attributes.iter().cloned().chain(more).collect();
            instruments.operation_duration.record(took, &attributes);
        });
        if event.is_slow {
            instruments.operation_slow.add(1, self.pool(event.pool));
        }
    }

    fn retried(&self, event: &Retried<'_>) {
        self.instruments().retries.add(1, &[endpoint(event.endpoint)]);
    }

    fn gave_up(&self, event: &GaveUp<'_>) {
        let reason = KeyValue::new(attribute::RETRY_REASON, word(event.reason));
        self.instruments().given_up.add(1, &[endpoint(event.endpoint), reason]);
    }

    fn breaker_changed(&self, event: &BreakerChanged<'_>) {
        let level = match event.state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            _ => 2,
        };
        self.instruments().breaker.record(level, &[endpoint(event.endpoint)]);
    }

    fn commit_resolved(&self, event: &CommitResolved<'_>) {
        let by = KeyValue::new(attribute::RESOLVED_BY, word(event.by));
        let outcome = KeyValue::new(attribute::OUTCOME, word(event.outcome));
        self.instruments().commits_resolved.add(1, &[by, outcome]);
    }

    fn endpoint_changed(&self, event: &EndpointChanged<'_>) {
        let state = KeyValue::new(attribute::CLUSTER_STATE, event.to.to_owned());
        self.instruments().changes.add(1, &[server(event.endpoint), state]);
    }

    fn read_moved(&self, event: &ReadMoved<'_>) {
        self.instruments().reads_moved.add(1, &[server(event.endpoint)]);
    }
}

/// The attributes of an operation that failed.
fn of_failure(operation: &[KeyValue], error: &Error, codes: &Distinct) -> Vec<KeyValue> {
    let kind = codes.admit(error.code());
    let code = error.sqlstate().map(|_| KeyValue::new(attribute::STATUS_CODE, kind.clone()));
    let more = [KeyValue::new(attribute::ERROR_TYPE, kind)].into_iter().chain(code);
    operation.iter().cloned().chain(more).collect()
}

fn endpoint(name: &str) -> KeyValue {
    KeyValue::new(attribute::RETRY_ENDPOINT, name.to_owned())
}

fn server(name: &str) -> KeyValue {
    KeyValue::new(attribute::CLUSTER_SERVER, name.to_owned())
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("database", &self.0.database).finish_non_exhaustive()
    }
}
