//! What is asked for when metrics are collected: figures of the moment, as closures give them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use crate::attributes::of_pool;
use crate::names::{self, attribute};

/// A pool at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolFigures {
    /// Its name.
    pub name: String,
    /// Connections that nobody uses.
    pub idle: u32,
    /// Connections with a caller.
    pub in_use: u32,
    /// Callers waiting.
    pub waiting: u32,
    /// The most connections.
    pub max: u32,
    /// The fewest that are kept open.
    pub min: u32,
    /// Those that statements of many callers share.
    pub lanes: LaneFigures,
}

/// The lanes of a pool at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneFigures {
    /// Connections that are lanes.
    pub open: u32,
    /// Statements in flight on them.
    pub in_flight: u32,
    /// Those of the lane with the most.
    pub deepest: u32,
    /// Statements that wait until a lane has room for them.
    pub waiting: u32,
    /// Statements that ran on lanes since the beginning.
    pub operations: u64,
    /// Of these, were run once more elsewhere.
    pub reruns: u64,
    /// How often a statement was sent back.
    pub demotions: u64,
}

/// A server of a cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerFigures {
    /// Its name.
    pub name: String,
    /// What it is good for: `primary`, `replica`, `unknown` or `out`.
    pub state: &'static str,
    /// How far it is behind, in time.
    pub lag: Option<Duration>,
    /// How far it is behind, in bytes.
    pub lag_bytes: Option<u64>,
}

impl PoolFigures {
    /// A pool of this name with nothing in it.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

impl ServerFigures {
    /// A server of this name in this state.
    #[must_use]
    pub fn named(name: impl Into<String>, state: &'static str) -> Self {
        Self { name: name.into(), state, ..Self::default() }
    }
}

/// The closures that give figures.
#[derive(Default)]
pub(crate) struct Sources {
    pub(crate) pools: Source<PoolFigures>,
    pub(crate) servers: Source<ServerFigures>,
    pub(crate) components: Source<(String, u64)>,
    pub(crate) alerts: Source<(String, bool)>,
    pub(crate) pending: Source<u64>,
}

type Ask<T> = Arc<dyn Fn() -> Vec<T> + Send + Sync>;

/// Those that give one kind of figure.
pub(crate) struct Source<T>(Mutex<Vec<Ask<T>>>);

impl<T> Default for Source<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Source<T> {
    pub(crate) fn add(&self, ask: impl Fn() -> Vec<T> + Send + Sync + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(ask));
    }

    fn ask(&self) -> Vec<T> {
        // Asked outside the lock: whoever answers may take some of his own.
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.iter().flat_map(|ask| ask()).collect()
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// Registers the instruments that ask. A meter keeps them for ever, so they hold the sources weakly.
pub(crate) fn register(meter: &Meter, sources: &Arc<Sources>) {
    for (name, about, figure) in [
        (names::CONNECTION_IDLE_MAX, "Most idle connections", (|pool| pool.max) as fn(&PoolFigures) -> u32),
        (names::CONNECTION_IDLE_MIN, "Fewest connections kept open", |pool| pool.min),
        (names::CONNECTION_MAX, "Most connections", |pool| pool.max),
    ] {
        up_down(meter, name, "{connection}", about, sources, move |sources, observe| {
            for pool in sources.pools.ask() {
                observe(figure(&pool).into(), &of_pool(&pool.name));
            }
        });
    }
    let about = "Callers that wait for a connection";
    up_down(meter, names::CONNECTION_PENDING, "{request}", about, sources, |sources, observe| {
        for pool in sources.pools.ask() {
            observe(pool.waiting.into(), &of_pool(&pool.name));
        }
    });
    let about = "Open connections by state";
    up_down(meter, names::CONNECTION_COUNT, "{connection}", about, sources, |sources, observe| {
        for pool in sources.pools.ask() {
            for (state, count) in [("idle", pool.idle), ("used", pool.in_use)] {
                let [name] = of_pool(&pool.name);
                observe(count.into(), &[name, KeyValue::new(attribute::CONNECTION_STATE, state)]);
            }
        }
    });
    register_lanes(meter, sources);
    let about = "1 for the state that a server has, 0 for the others";
    gauge(meter, names::SERVERS, "{server}", about, sources, |sources, observe| {
        for server in sources.servers.ask() {
            for state in ["primary", "replica", "unknown", "out"] {
                let attributes = [of_cluster(&server.name), KeyValue::new(attribute::CLUSTER_STATE, state)];
                observe(u64::from(state == server.state), &attributes);
            }
        }
    });
    gauge(meter, names::LAG_SIZE, "By", "How far a server is behind", sources, |sources, observe| {
        for server in sources.servers.ask() {
            if let Some(bytes) = server.lag_bytes {
                observe(bytes, &[of_cluster(&server.name)]);
            }
        }
    });
    let weak = Arc::downgrade(sources);
    let lag = meter.f64_observable_gauge(names::LAG_TIME).with_unit("s");
    let lag = lag.with_description("How far a server is behind").with_callback(move |instrument| {
        for server in weak.upgrade().iter().flat_map(|sources| sources.servers.ask()) {
            if let Some(lag) = server.lag {
                instrument.observe(lag.as_secs_f64(), &[of_cluster(&server.name)]);
            }
        }
    });
    lag.build();
    let about = "Health of a component: 0 healthy, 1 degraded, 2 unhealthy";
    gauge(meter, names::HEALTH_STATUS, "{status}", about, sources, |sources, observe| {
        for (name, level) in sources.components.ask() {
            observe(level, &[KeyValue::new(attribute::COMPONENT, name)]);
        }
    });
    gauge(meter, names::ALERT_FIRING, "{alert}", "1 while an alert fires", sources, |sources, observe| {
        for (name, is_firing) in sources.alerts.ask() {
            observe(is_firing.into(), &[KeyValue::new(attribute::ALERT, name)]);
        }
    });
    let about = "Migrations that are not applied";
    gauge(meter, names::MIGRATIONS_PENDING, "{migration}", about, sources, |sources, observe| {
        for pending in sources.pending.ask() {
            observe(pending, &[]);
        }
    });
}

fn register_lanes(meter: &Meter, sources: &Arc<Sources>) {
    for (name, unit, about, figure) in [
        (
            names::LANES,
            "{connection}",
            "Connections that statements share",
            (|lanes| lanes.open) as fn(&LaneFigures) -> u32,
        ),
        (names::LANE_IN_FLIGHT, "{operation}", "Statements in flight on lanes", |lanes| lanes.in_flight),
        (names::LANE_DEPTH, "{operation}", "Statements in flight on the lane with the most", |lanes| {
            lanes.deepest
        }),
        (names::LANE_PENDING_REQUESTS, "{request}", "Statements that wait for a lane", |lanes| lanes.waiting),
    ] {
        up_down(meter, name, unit, about, sources, move |sources, observe| {
            for pool in sources.pools.ask() {
                observe(figure(&pool.lanes).into(), &of_pool(&pool.name));
            }
        });
    }
    for (name, unit, about, figure) in [
        (
            names::LANE_OPERATIONS,
            "{operation}",
            "Statements that ran on lanes",
            (|lanes| lanes.operations) as fn(&LaneFigures) -> u64,
        ),
        (names::LANE_RERUNS, "{operation}", "Statements that ran once more elsewhere", |lanes| lanes.reruns),
        (names::LANE_DEMOTIONS, "{demotion}", "Statements that were sent back from lanes", |lanes| {
            lanes.demotions
        }),
    ] {
        let callback = asking(sources, move |sources, observe: Observe<'_, u64>| {
            for pool in sources.pools.ask() {
                observe(figure(&pool.lanes), &of_pool(&pool.name));
            }
        });
        let counter = meter.u64_observable_counter(name).with_unit(unit).with_description(about);
        counter.with_callback(callback).build();
    }
}

fn of_cluster(server: &str) -> KeyValue {
    KeyValue::new(attribute::CLUSTER_SERVER, server.to_owned())
}

type Observe<'a, T> = &'a dyn Fn(T, &[KeyValue]);

fn up_down(
    meter: &Meter,
    name: &'static str,
    unit: &'static str,
    about: &'static str,
    sources: &Arc<Sources>,
    look: impl Fn(&Sources, Observe<'_, i64>) + Send + Sync + 'static,
) {
    let callback = asking(sources, look);
    meter
        .i64_observable_up_down_counter(name)
        .with_unit(unit)
        .with_description(about)
        .with_callback(callback)
        .build();
}

fn gauge(
    meter: &Meter,
    name: &'static str,
    unit: &'static str,
    about: &'static str,
    sources: &Arc<Sources>,
    look: impl Fn(&Sources, Observe<'_, u64>) + Send + Sync + 'static,
) {
    let callback = asking(sources, look);
    meter.u64_observable_gauge(name).with_unit(unit).with_description(about).with_callback(callback).build();
}

/// A callback that looks while there is something to look at.
fn asking<T>(
    sources: &Arc<Sources>,
    look: impl Fn(&Sources, Observe<'_, T>) + Send + Sync + 'static,
) -> impl Fn(&dyn AsyncInstrument<T>) + Send + Sync + 'static {
    let sources: Weak<Sources> = Arc::downgrade(sources);
    move |instrument| {
        if let Some(sources) = sources.upgrade() {
            look(&sources, &|value, attributes| instrument.observe(value, attributes));
        }
    }
}
