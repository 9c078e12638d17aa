//! Numbers that bound a service: limits of its clients, and how its backend pools behave.
//!
//! It owns every default, as a named constant with its unit last. It never reads a resource:
//! `resolve` fills in what an operator wrote.

use serde::Serialize;

/// Client connections of one service, all users together.
pub const MAX_CONNECTIONS_DEFAULT: u32 = 10_000;
/// Client connections of one user of a service.
pub const MAX_CONNECTIONS_PER_USER_DEFAULT: u32 = 1_000;
/// Client connections from one IP address.
pub const MAX_CONNECTIONS_PER_ADDRESS_DEFAULT: u32 = 512;
/// From accept to the end of authentication.
pub const HANDSHAKE_TIMEOUT_MS_DEFAULT: u64 = 10_000;
/// A session without a command is closed: 8 hours, as MySQL's `wait_timeout`.
pub const IDLE_TIMEOUT_MS_DEFAULT: u64 = 28_800_000;
/// One logical packet of a client: 64 MiB, as MySQL 8.0's `max_allowed_packet`.
pub const MAX_PACKET_BYTES_DEFAULT: u64 = 67_108_864;
/// Prepared statements that one session may hold.
pub const MAX_PREPARED_STATEMENTS_DEFAULT: u32 = 1_000;
/// How long a statement waits for a backend connection or a permit.
pub const QUEUE_WAIT_MS_DEFAULT: u64 = 10_000;
/// Failed logins in a row of a user from an address, after which further ones are refused for a while.
pub const LOGIN_FAILURES_DEFAULT: u32 = 50;
/// For how long.
pub const LOGIN_LOCK_MS_DEFAULT: u64 = 30_000;
/// How long a statement may take: without limit.
pub const STATEMENT_TIMEOUT_MS_DEFAULT: u64 = 0;

/// Connections to one endpoint.
pub const POOL_SIZE_DEFAULT: u32 = 64;
/// Connections to one endpoint that are kept open without work.
pub const POOL_MIN_IDLE_DEFAULT: u32 = 0;
/// Age at which a backend connection is replaced: 1 hour.
pub const POOL_MAX_LIFETIME_MS_DEFAULT: u64 = 3_600_000;
/// A backend connection without work is closed, down to the minimum: 10 minutes.
pub const POOL_IDLE_TIMEOUT_MS_DEFAULT: u64 = 600_000;
/// A backend connection without work is pinged.
pub const POOL_KEEPALIVE_MS_DEFAULT: u64 = 30_000;
/// From dialling a backend to the end of authentication.
pub const POOL_CONNECT_TIMEOUT_MS_DEFAULT: u64 = 5_000;
/// New connections to one endpoint.
pub const POOL_CONNECT_RATE_PER_SECOND_DEFAULT: u32 = 100;

/// Whether `LOAD DATA LOCAL INFILE` may ask a client for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LocalInfile {
    /// Refused: a backend can then never read a file of the client.
    Refuse,
    /// Allowed for statements that the client itself sent as `LOAD DATA LOCAL`.
    Allow,
}

/// What the clients of a service may use at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Client connections, all users together; at least 1.
    pub max_connections: u32,
    /// Client connections of one user; at least 1.
    pub max_connections_per_user: u32,
    /// Client connections from one IP address; at least 1.
    pub max_connections_per_address: u32,
    /// From accept to the end of authentication; at least 1.
    pub handshake_timeout_ms: u64,
    /// A session without a command is closed after this; at least 1.
    pub idle_timeout_ms: u64,
    /// Size of one logical packet of a client; 1 KiB to 1 GiB.
    pub max_packet_bytes: u64,
    /// Prepared statements of one session.
    pub max_prepared_statements: u32,
    /// How long a statement waits for a backend connection or a permit; 0 refuses at once.
    pub queue_wait_ms: u64,
    /// How long a statement may take, waiting included; 0 is no limit.
    pub statement_timeout_ms: u64,
    /// Failed logins in a row of a user from an address; 0 is no limit.
    pub login_failures: u32,
    /// How long logins are refused then; at least 1.
    pub login_lock_ms: u64,
    /// Whether `LOAD DATA LOCAL INFILE` may ask a client for a file.
    pub local_infile: LocalInfile,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: MAX_CONNECTIONS_DEFAULT,
            max_connections_per_user: MAX_CONNECTIONS_PER_USER_DEFAULT,
            max_connections_per_address: MAX_CONNECTIONS_PER_ADDRESS_DEFAULT,
            handshake_timeout_ms: HANDSHAKE_TIMEOUT_MS_DEFAULT,
            idle_timeout_ms: IDLE_TIMEOUT_MS_DEFAULT,
            max_packet_bytes: MAX_PACKET_BYTES_DEFAULT,
            max_prepared_statements: MAX_PREPARED_STATEMENTS_DEFAULT,
            queue_wait_ms: QUEUE_WAIT_MS_DEFAULT,
            statement_timeout_ms: STATEMENT_TIMEOUT_MS_DEFAULT,
            login_failures: LOGIN_FAILURES_DEFAULT,
            login_lock_ms: LOGIN_LOCK_MS_DEFAULT,
            local_infile: LocalInfile::Allow,
        }
    }
}

/// When a backend connection may serve another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Multiplexing {
    /// At the end of a transaction, unless session state pins it.
    Transaction,
    /// When the session ends: connections are never shared between living sessions.
    Session,
}

/// What calling a stored routine, which may leave state that no parser can see, does to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Routines {
    /// It pins the session to its backend connection.
    Pin,
    /// The state that the server itself reports is trusted.
    Track,
}

/// How the backend pools of a service behave; the numbers hold for one endpoint in one process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolPolicy {
    /// Connections to one endpoint; at least 1.
    pub size: u32,
    /// Connections kept open without work; at most `size`.
    pub min_idle: u32,
    /// Age at which a connection is replaced; at least 1.
    pub max_lifetime_ms: u64,
    /// A connection without work is closed after this, down to `min_idle`; at least 1.
    pub idle_timeout_ms: u64,
    /// A connection without work is pinged this often; at least 1.
    pub keepalive_ms: u64,
    /// From dialling to the end of authentication; at least 1.
    pub connect_timeout_ms: u64,
    /// New connections per second; at least 1.
    pub connect_rate_per_second: u32,
    /// When a connection may serve another session.
    pub multiplexing: Multiplexing,
    /// What calling a stored routine does.
    pub routines: Routines,
    /// Follows the latency of the server, down from `size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptivePool>,
}

/// Fewest connections that an adaptive pool uses.
pub const ADAPTIVE_MIN_DEFAULT: u32 = 4;
/// By how much latency may rise.
pub const ADAPTIVE_TOLERANCE_PERCENT_DEFAULT: u32 = 100;

/// How a pool follows the latency of its server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AdaptivePool {
    /// Fewest connections in use; 1 to the pool's size.
    pub min: u32,
    /// By how much latency may be above that of the server without load, in percent.
    pub tolerance_percent: u32,
}

/// Weight of a service that says none.
pub const ISOLATION_WEIGHT_DEFAULT: u32 = 100;

/// What a service gets where services or users compete.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Isolation {
    /// Its share of the processor beside other services; at least 1.
    pub weight: u32,
    /// Who takes turns at its connections.
    pub fair_by: FairBy,
}

impl Default for Isolation {
    fn default() -> Self {
        Self {
            weight: ISOLATION_WEIGHT_DEFAULT,
            fair_by: FairBy::User,
        }
    }
}

/// Who takes turns at the connections of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FairBy {
    /// Users.
    User,
    /// Clients' IP addresses.
    Address,
    /// The tenants that hints name.
    Tenant,
    /// Nobody: first come, first served.
    Nobody,
}

impl Default for PoolPolicy {
    fn default() -> Self {
        Self {
            size: POOL_SIZE_DEFAULT,
            min_idle: POOL_MIN_IDLE_DEFAULT,
            max_lifetime_ms: POOL_MAX_LIFETIME_MS_DEFAULT,
            idle_timeout_ms: POOL_IDLE_TIMEOUT_MS_DEFAULT,
            keepalive_ms: POOL_KEEPALIVE_MS_DEFAULT,
            connect_timeout_ms: POOL_CONNECT_TIMEOUT_MS_DEFAULT,
            connect_rate_per_second: POOL_CONNECT_RATE_PER_SECOND_DEFAULT,
            multiplexing: Multiplexing::Transaction,
            routines: Routines::Pin,
            adaptive: None,
        }
    }
}

/// A compression of the MySQL protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// `CLIENT_COMPRESS`.
    Zlib,
    /// `CLIENT_ZSTD_COMPRESSION_ALGORITHM`.
    Zstd,
}
