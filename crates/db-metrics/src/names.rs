//! All names: of metrics and of attributes. Those of the conventions come first; ours live under `db.client` beside them.

/// How long an operation took, in seconds.
pub const OPERATION_DURATION: &str = "db.client.operation.duration";
/// How many rows it gave.
pub const RETURNED_ROWS: &str = "db.client.response.returned_rows";
/// Connections by state.
pub const CONNECTION_COUNT: &str = "db.client.connection.count";
/// The most idle connections.
pub const CONNECTION_IDLE_MAX: &str = "db.client.connection.idle.max";
/// The fewest idle connections.
pub const CONNECTION_IDLE_MIN: &str = "db.client.connection.idle.min";
/// The most connections.
pub const CONNECTION_MAX: &str = "db.client.connection.max";
/// Callers who wait.
pub const CONNECTION_PENDING: &str = "db.client.connection.pending_requests";
/// Callers who waited in vain.
pub const CONNECTION_TIMEOUTS: &str = "db.client.connection.timeouts";
/// How long opening one took, in seconds.
pub const CONNECTION_CREATE_TIME: &str = "db.client.connection.create_time";
/// How long a caller waited for one, in seconds.
pub const CONNECTION_WAIT_TIME: &str = "db.client.connection.wait_time";
/// How long a caller had one, in seconds.
pub const CONNECTION_USE_TIME: &str = "db.client.connection.use_time";

/// Connections that were closed, by reason. Ours, as are all that follow.
pub const CONNECTION_CLOSED: &str = "db.client.connection.closed";
/// Connections that are lanes, on which statements of many callers are in flight.
pub const LANES: &str = "db.client.lane.open";
/// Statements in flight on lanes.
pub const LANE_IN_FLIGHT: &str = "db.client.lane.in_flight";
/// Statements in flight on the lane with the most.
pub const LANE_DEPTH: &str = "db.client.lane.depth";
/// Statements that wait until a lane has room for them.
pub const LANE_PENDING_REQUESTS: &str = "db.client.lane.pending_requests";
/// Statements that ran on lanes.
pub const LANE_OPERATIONS: &str = "db.client.lane.operations";
/// Of these, were run once more on a connection of their own.
pub const LANE_RERUNS: &str = "db.client.lane.reruns";
/// How often a statement was sent back to connections of its own.
pub const LANE_DEMOTIONS: &str = "db.client.lane.demotions";
/// Connections that could not be opened.
pub const CONNECTION_FAILURES: &str = "db.client.connection.failures";
/// Connections that did not come back for long.
pub const CONNECTION_LEAKS: &str = "db.client.connection.leaks";
/// Operations that took longer than the limit for slow ones.
pub const OPERATION_SLOW: &str = "db.client.operation.slow";
/// Attempts after the first.
pub const RETRIES: &str = "db.client.retry.retries";
/// Calls that failed although they were, or might have been, tried again.
pub const GIVEN_UP: &str = "db.client.retry.given_up";
/// The breaker: 0 closed, 1 half open, 2 open.
pub const BREAKER: &str = "db.client.retry.breaker";
/// COMMITs whose answer was lost and whose outcome was asked for.
pub const COMMITS_RESOLVED: &str = "db.client.retry.commits_resolved";
/// How far a server is behind, in seconds.
pub const LAG_TIME: &str = "db.client.cluster.lag.time";
/// How far a server is behind, in bytes.
pub const LAG_SIZE: &str = "db.client.cluster.lag.size";
/// 1 for the state that a server has.
pub const SERVERS: &str = "db.client.cluster.servers";
/// How often servers came to be good for something else.
pub const CHANGES: &str = "db.client.cluster.changes";
/// Reads that went on to another server.
pub const READS_MOVED: &str = "db.client.cluster.reads_moved";
/// How long a migration took, in seconds.
pub const MIGRATION_DURATION: &str = "db.client.migration.duration";
/// Migrations that are not applied.
pub const MIGRATIONS_PENDING: &str = "db.client.migration.pending";
/// The health of a component: 0 healthy, 1 degraded, 2 unhealthy.
pub const HEALTH_STATUS: &str = "db.client.health.status";
/// 1 while an alert fires, 0 while it does not.
pub const ALERT_FIRING: &str = "db.client.alert.firing";

/// Attributes.
pub mod attribute {
    /// Always `postgresql`.
    pub const SYSTEM_NAME: &str = "db.system.name";
    /// The database.
    pub const NAMESPACE: &str = "db.namespace";
    /// Host of the server, or the folder of its socket.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// Its port.
    pub const SERVER_PORT: &str = "server.port";
    /// What the statement does, in a few words.
    pub const QUERY_SUMMARY: &str = "db.query.summary";
    /// The SQLSTATE of what failed.
    pub const STATUS_CODE: &str = "db.response.status_code";
    /// The SQLSTATE, or the phase in which it failed.
    pub const ERROR_TYPE: &str = "error.type";
    /// The pool.
    pub const POOL_NAME: &str = "db.client.connection.pool.name";
    /// `idle` or `used`.
    pub const CONNECTION_STATE: &str = "db.client.connection.state";

    /// Why a connection was closed. Ours, as are all that follow.
    pub const CLOSE_REASON: &str = "db.client.connection.close_reason";
    /// The server or pool to which calls are retried.
    pub const RETRY_ENDPOINT: &str = "db.client.retry.endpoint";
    /// Why a call was given up.
    pub const RETRY_REASON: &str = "db.client.retry.reason";
    /// How the outcome of a COMMIT was found out.
    pub const RESOLVED_BY: &str = "db.client.retry.resolved_by";
    /// What the outcome was.
    pub const OUTCOME: &str = "db.client.retry.outcome";
    /// The server of a cluster.
    pub const CLUSTER_SERVER: &str = "db.client.cluster.server";
    /// What it is good for.
    pub const CLUSTER_STATE: &str = "db.client.cluster.state";
    /// The component of a health check.
    pub const COMPONENT: &str = "db.client.health.component";
    /// The alert.
    pub const ALERT: &str = "db.client.alert.name";
}
