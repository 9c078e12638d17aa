//! VirtualDatabase: what applications connect to.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ApiVersion, FirewallSpec, GrantSpec, Metadata, ObservabilitySpec, Password};
use crate::secret::Secret;

/// A database that applications connect to as if it were one MySQL server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualDatabase {
    /// `core.database-mesh.io/v1alpha1`.
    pub api_version: ApiVersion,
    /// `VirtualDatabase`.
    pub kind: VirtualDatabaseKind,
    /// Name, namespace, labels, annotations.
    pub metadata: Metadata,
    /// What it offers.
    pub spec: VirtualDatabaseSpec,
}

/// `VirtualDatabase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum VirtualDatabaseKind {
    /// The only value.
    VirtualDatabase,
}

/// What a virtual database offers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualDatabaseSpec {
    /// Its services, at least one, with different names.
    #[schemars(length(min = 1))]
    pub services: Vec<ServiceSpec>,
    /// Class of the database in the older form. It does not act yet.
    pub database_class_name: Option<String>,
}

/// A MySQL endpoint offered to applications.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// Name, unique in the virtual database.
    pub name: String,
    /// Where it listens and its first user.
    #[serde(rename = "databaseMySQL")]
    pub database_mysql: DatabaseMySQL,
    /// Name of the TrafficStrategy, in the same namespace, that its statements follow.
    pub traffic_strategy: String,
    /// Name of a DataShard, in the same namespace. Its tables are split as that says.
    pub data_shard: Option<String>,
    /// Name of a QoSClaim. It does not act yet.
    pub qos_claim: Option<String>,
    /// Further users.
    pub users: Option<Vec<UserSpec>>,
    /// TLS towards clients.
    pub tls: Option<ListenerTlsSpec>,
    /// What clients may use at most.
    pub limits: Option<LimitsSpec>,
    /// How the backend pools behave.
    pub pool: Option<PoolSpec>,
    /// What it gets where services, or its users, compete.
    pub isolation: Option<IsolationSpec>,
    /// Peers that speak the PROXY protocol in front of MySQL's.
    pub proxy_protocol: Option<ProxyProtocolSpec>,
    /// The allow-list of statements; without it, none.
    pub firewall: Option<FirewallSpec>,
    /// Compressions offered to clients; none if absent.
    pub compression: Option<Vec<CompressionSpec>>,
    /// What the service tells of its statements.
    pub observability: Option<ObservabilitySpec>,
}

/// Where a service listens, and its first user.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseMySQL {
    /// Address to listen on; `127.0.0.1` if absent, nothing if only `socket` is given.
    pub host: Option<String>,
    /// Port to listen on; 3306 if absent.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Absolute path of a Unix socket to listen on.
    pub socket: Option<String>,
    /// Name of the first user.
    pub user: Option<String>,
    /// Password of the first user.
    pub password: Option<Password>,
    /// The schema that clients see and start in; if absent, clients choose one.
    pub db: Option<String>,
    /// Backend connections to one endpoint, as `pool.size`.
    #[schemars(range(min = 1, max = 100_000))]
    pub pool_size: Option<u32>,
    /// Version in the greeting, as `8.0.36`; if absent, that of a backend.
    pub server_version: Option<String>,
}

/// Somebody who may log in: a name, and either `password` or `passwordHash`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserSpec {
    /// Name, unique in the service.
    pub name: String,
    /// The password.
    pub password: Option<Password>,
    /// What MySQL keeps in `mysql.user.authentication_string`: `*` and 40 hexadecimal digits
    /// (mysql_native_password), or `$A$005$…`, also as `0x` and hexadecimal digits
    /// (caching_sha2_password).
    pub password_hash: Option<Secret>,
    /// Whether the user operates the service: may use SHOW MESH and KILL sessions of others; false if absent.
    pub operator: Option<bool>,
    /// Networks that the user logs in from, as `10.0.0.0/8`; anywhere, Unix sockets included, if absent.
    #[schemars(length(min = 1))]
    pub networks: Option<Vec<String>>,
    /// Whether logins need TLS or a Unix socket; false if absent.
    pub require_tls: Option<bool>,
    /// Time before which logins are refused, as `2026-01-31T00:00:00Z`.
    pub valid_from: Option<String>,
    /// Time from which logins are refused.
    pub valid_until: Option<String>,
    /// Whether only statements run that are proved to read; false if absent.
    pub read_only: Option<bool>,
    /// What the user may do; everything if absent.
    #[schemars(length(max = 1000))]
    pub grants: Option<Vec<GrantSpec>>,
}

/// TLS towards clients.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerTlsSpec {
    /// Whether clients use TLS; `preferred` if absent.
    pub mode: Option<ClientTlsModeSpec>,
    /// PEM file of the certificate chain; if absent, the proxy generates a certificate.
    pub cert: Option<String>,
    /// PEM file of the certificate's private key.
    pub key: Option<String>,
    /// PEM file of the authorities of client certificates; for `verifyClient` only.
    pub client_ca: Option<String>,
}

/// Whether clients use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClientTlsModeSpec {
    /// TLS is not offered.
    Disabled,
    /// TLS is offered.
    Preferred,
    /// A login without TLS is refused.
    Required,
    /// As `required`, and the client shows a certificate from `clientCa`.
    VerifyClient,
}

/// What the clients of a service may use at most.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSpec {
    /// Client connections, all users together; 10000 if absent.
    #[schemars(range(min = 1))]
    pub max_connections: Option<u32>,
    /// Client connections of one user; 1000 if absent.
    #[schemars(range(min = 1))]
    pub max_connections_per_user: Option<u32>,
    /// Client connections from one IP address; 512 if absent.
    #[schemars(range(min = 1))]
    pub max_connections_per_address: Option<u32>,
    /// Milliseconds from accept to the end of authentication; 10000 if absent.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub handshake_timeout_ms: Option<u64>,
    /// Milliseconds after which a session without a command is closed; 28800000 (8 hours) if absent.
    #[schemars(range(min = 1, max = 31_536_000_000_u64))]
    pub idle_timeout_ms: Option<u64>,
    /// Bytes of one logical packet of a client; 67108864 (64 MiB) if absent.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_packet_bytes: Option<u64>,
    /// Prepared statements of one session; 1000 if absent.
    #[schemars(range(max = 1_000_000))]
    pub max_prepared_statements: Option<u32>,
    /// Milliseconds that a statement waits for a backend connection or a permit; 10000 if absent.
    #[schemars(range(max = 3_600_000))]
    pub queue_wait_ms: Option<u64>,
    /// Milliseconds that a statement may take, waiting included; 0, no limit, if absent.
    #[schemars(range(max = 86_400_000))]
    pub statement_timeout_ms: Option<u64>,
    /// Failed logins of a user from an address in a row after which further ones are refused for `loginLockMs`; 50 if
    /// absent, 0 never.
    #[schemars(range(max = 1_000_000))]
    pub login_failures: Option<u32>,
    /// Milliseconds for which logins are refused then; 30000 if absent.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub login_lock_ms: Option<u64>,
    /// Whether clients may use `LOAD DATA LOCAL INFILE`, where the server lets them too; true if absent.
    pub local_infile: Option<bool>,
}

/// How the backend pools of a service behave; numbers hold for one endpoint in one process.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolSpec {
    /// Connections; 64 if absent. The same as `databaseMySQL.poolSize`.
    #[schemars(range(min = 1, max = 100_000))]
    pub size: Option<u32>,
    /// Connections kept open without work; 0 if absent.
    pub min_idle: Option<u32>,
    /// Milliseconds after which a connection is replaced; 3600000 (1 hour) if absent.
    #[schemars(range(min = 1, max = 31_536_000_000_u64))]
    pub max_lifetime_ms: Option<u64>,
    /// Milliseconds after which a connection without work is closed, down to `minIdle`; 600000 (10
    /// minutes) if absent.
    #[schemars(range(min = 1, max = 31_536_000_000_u64))]
    pub idle_timeout_ms: Option<u64>,
    /// Milliseconds between pings of a connection without work; 30000 if absent.
    #[schemars(range(min = 1, max = 31_536_000_000_u64))]
    pub keepalive_ms: Option<u64>,
    /// Milliseconds from dialling to the end of authentication; 5000 if absent.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub connect_timeout_ms: Option<u64>,
    /// New connections per second; 100 if absent.
    #[schemars(range(min = 1))]
    pub connect_rate_per_second: Option<u32>,
    /// When a connection may serve another session; `transaction` if absent.
    pub multiplexing: Option<MultiplexingSpec>,
    /// What calling a stored routine does to the session; `pin` if absent.
    pub routines: Option<RoutinesSpec>,
    /// Fewer connections than `size` are used while the server's latency says that more would only wait there.
    pub adaptive: Option<AdaptivePoolSpec>,
}

/// How a pool follows the latency of its server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdaptivePoolSpec {
    /// Fewest connections in use; 4 if absent, or the size of the pool if that is less.
    #[schemars(range(min = 1, max = 100_000))]
    pub min: Option<u32>,
    /// By how much latency may be above that of the server without load, in percent; 100, twice as long, if absent.
    #[schemars(range(min = 10, max = 10_000))]
    pub tolerance_percent: Option<u32>,
}

/// What a service gets where services, or its users, compete.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IsolationSpec {
    /// Its share of the proxy's processor time and memory for large commands, beside those of the other services; 100 if
    /// absent.
    #[schemars(range(min = 1, max = 10_000))]
    pub weight: Option<u32>,
    /// Who takes turns where statements wait for connections; `user` if absent.
    pub fair_by: Option<FairBySpec>,
}

/// Who takes turns where statements wait for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FairBySpec {
    /// Users.
    User,
    /// IP addresses of clients.
    Address,
    /// Tenants that hints name.
    Tenant,
    /// Nobody: first come, first served.
    Nobody,
}

/// When a backend connection may serve another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MultiplexingSpec {
    /// At the end of a transaction, unless session state pins it.
    Transaction,
    /// When the session ends.
    Session,
}

/// What calling a stored routine does to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RoutinesSpec {
    /// It pins the session to its backend connection.
    Pin,
    /// The state that the server reports is trusted.
    Track,
}

/// Peers that speak the PROXY protocol in front of MySQL's.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyProtocolSpec {
    /// Networks, as `10.0.0.0/8`, whose header is believed and required; at least one.
    #[schemars(length(min = 1))]
    pub trusted_networks: Vec<String>,
}

/// A compression of the MySQL protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CompressionSpec {
    /// zlib.
    Zlib,
    /// Zstandard.
    Zstd,
}
