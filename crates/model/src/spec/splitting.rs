//! Read/write splitting of a TrafficStrategy: which statements go to replicas, and how servers are watched.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{BalanceKind, Password};

/// Reads to replicas; exactly one of `static` and `dynamic`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadWriteSplitting {
    /// Roles by configuration.
    #[serde(rename = "static")]
    pub fixed: Option<StaticSplitting>,
    /// Roles by what the servers report.
    pub dynamic: Option<DynamicSplitting>,
    /// What a read may miss of what was written before; `session` if absent.
    pub consistency: Option<ConsistencyKind>,
    /// Where transactions that declare themselves READ ONLY run; `primary` if absent.
    pub transactional_read: Option<TransactionalReadKind>,
    /// Milliseconds that a read waits for a replica to catch up before it goes to the primary; 20 if absent.
    #[schemars(range(max = 60_000))]
    pub catch_up_wait_ms: Option<u64>,
}

/// What a read may miss of what was written before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConsistencyKind {
    /// Anything younger than the lag that a replica may have.
    Eventual,
    /// Nothing that the same session wrote.
    Session,
    /// Nothing that any session of this proxy wrote.
    Global,
    /// Nothing: every read goes to the primary, unless a hint says otherwise.
    Primary,
}

/// Where transactions that declare themselves READ ONLY run. All others run at the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TransactionalReadKind {
    /// At the primary.
    Primary,
    /// At one replica, the same for all such transactions of a session while it serves.
    Fixed,
    /// At any replica, chosen per transaction.
    Replica,
}

/// Read/write splitting with roles by configuration.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticSplitting {
    /// Where a read goes that no rule matches; if absent, `readwrite`, or `read` where there are no rules.
    pub default_target: Option<Target>,
    /// Rules, the first that matches wins.
    pub rules: Option<Vec<SplittingRule>>,
    /// How servers are watched; with defaults if absent.
    pub monitor: Option<MasterHighAvailability>,
}

/// Read/write splitting with roles by what the servers report.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DynamicSplitting {
    /// Where a read goes that no rule matches; if absent, `readwrite`, or `read` where there are no rules.
    pub default_target: Option<Target>,
    /// How roles are found.
    pub discovery: Discovery,
    /// Rules, the first that matches wins.
    pub rules: Option<Vec<SplittingRule>>,
}

/// Endpoints of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Replicas.
    Read,
    /// Primaries.
    ReadWrite,
}

/// Which statements go where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SplittingRule {
    /// Name of the rule.
    pub name: String,
    /// How it decides.
    #[serde(rename = "type")]
    pub rule_type: RuleType,
    /// Expressions, for `regex`.
    pub regex: Option<Vec<String>>,
    /// Where matching statements go, for `regex`.
    pub target: Option<Target>,
    /// The algorithm that chooses among the target's endpoints.
    pub algorithm_name: Option<BalanceKind>,
}

/// How a rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleType {
    /// By regular expressions on the statement.
    Regex,
    /// By whether the statement reads or writes.
    Generic,
}

/// How roles are found.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Discovery {
    /// By asking every server.
    pub master_high_availability: MasterHighAvailability,
}

/// How every server is asked how it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MasterHighAvailability {
    /// The user of probes; that of the endpoint if absent.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Password>,
    /// Milliseconds between rounds, for probes without a period of their own; 1000 if absent.
    #[schemars(range(min = 1))]
    pub monitor_interval: Option<u64>,
    /// Whether a connection opens.
    pub connection_probe: Option<Probe>,
    /// Whether the server answers a ping.
    pub ping_probe: Option<Probe>,
    /// Whether the server is read-only.
    pub read_only_probe: Option<Probe>,
    /// How far a replica is behind.
    pub replication_lag_probe: Option<ReplicationLagProbe>,
}

/// A probe of a server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// Milliseconds between probes.
    #[schemars(range(min = 1))]
    pub period_milliseconds: Option<u64>,
    /// Milliseconds after which a probe has failed.
    #[schemars(range(min = 1))]
    pub timeout_milliseconds: Option<u64>,
    /// Failures in a row that count.
    #[schemars(range(min = 1))]
    pub failure_threshold: Option<u32>,
    /// Successes in a row that count.
    #[schemars(range(min = 1))]
    pub success_threshold: Option<u32>,
}

/// A probe of a replica's lag.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplicationLagProbe {
    /// Milliseconds between probes.
    #[schemars(range(min = 1))]
    pub period_milliseconds: Option<u64>,
    /// Milliseconds after which a probe has failed.
    #[schemars(range(min = 1))]
    pub timeout_milliseconds: Option<u64>,
    /// Failures in a row that count.
    #[schemars(range(min = 1))]
    pub failure_threshold: Option<u32>,
    /// Successes in a row that count.
    #[schemars(range(min = 1))]
    pub success_threshold: Option<u32>,
    /// Seconds that a replica may be behind.
    pub max_replication_lag: Option<u64>,
    /// A table that tells the lag, in place of the replica's own status.
    pub heartbeat: Option<HeartbeatSpec>,
}

/// A table into which somebody writes the time at the primary, again and again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeartbeatSpec {
    /// The table, as `schema.table`.
    pub table: String,
    /// The column with the time; `ts` if absent.
    pub column: Option<String>,
    /// By which clock it was written; `session` if absent.
    pub clock: Option<HeartbeatClockKind>,
}

/// By which clock a heartbeat is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HeartbeatClockKind {
    /// As NOW(6) gives it in the server's time zone, or in a column of type TIMESTAMP.
    Session,
    /// As UTC_TIMESTAMP(6) gives it.
    Utc,
}
