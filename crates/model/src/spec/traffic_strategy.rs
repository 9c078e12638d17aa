//! TrafficStrategy: which endpoints serve, in what shares, and which statements are held back.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ApiVersion, Metadata, Password};

/// Which endpoints serve, in what shares, and which statements are held back.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficStrategy {
    /// `core.database-mesh.io/v1alpha1`.
    pub api_version: ApiVersion,
    /// `TrafficStrategy`.
    pub kind: TrafficStrategyKind,
    /// Name, namespace, labels, annotations.
    pub metadata: Metadata,
    /// The strategy.
    pub spec: TrafficStrategySpec,
}

/// `TrafficStrategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TrafficStrategyKind {
    /// The only value.
    TrafficStrategy,
}

/// A strategy.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficStrategySpec {
    /// Selects the DatabaseEndpoints of the same namespace that serve.
    pub selector: Selector,
    /// How statements spread over them.
    pub load_balance: Option<LoadBalance>,
    /// Statements that are refused.
    pub circuit_breaks: Option<Vec<CircuitBreak>>,
    /// Statements that are held back.
    pub concurrency_controls: Option<Vec<ConcurrencyControl>>,
    /// What happens when an endpoint fails.
    pub failover: Option<FailoverSpec>,
}

/// Selects endpoints by label, as in Kubernetes: all conditions must hold; no condition selects all.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// Labels with the value each must have.
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Further conditions.
    pub match_expressions: Option<Vec<MatchExpression>>,
}

/// A condition on a label.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchExpression {
    /// The label.
    pub key: String,
    /// What must hold.
    pub operator: MatchOperator,
    /// Values for `In` and `NotIn`, at least one; none for the others.
    pub values: Option<Vec<String>>,
}

/// What must hold of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum MatchOperator {
    /// It has one of the values.
    In,
    /// It is absent or has none of the values.
    NotIn,
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}

/// How statements spread over endpoints.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalance {
    /// One algorithm for all statements.
    pub simple_load_balance: Option<SimpleLoadBalance>,
    /// Reads to replicas. It does not act yet: all statements go to the readwrite endpoints.
    pub read_write_splitting: Option<ReadWriteSplitting>,
}

/// One algorithm for all statements.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SimpleLoadBalance {
    /// The algorithm.
    pub kind: BalanceKind,
}

/// An algorithm that chooses an endpoint; `ewma` if none is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BalanceKind {
    /// Any, evenly.
    Random,
    /// In turn.
    RoundRobin,
    /// In turn, by `weight`.
    Weighted,
    /// The one with the fewest statements under way.
    LeastConn,
    /// The better of two by latency times outstanding statements.
    Ewma,
}

/// Reads to replicas; exactly one field. It does not act yet.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadWriteSplitting {
    /// Roles by configuration.
    #[serde(rename = "static")]
    pub fixed: Option<StaticSplitting>,
    /// Roles by what the servers report.
    pub dynamic: Option<DynamicSplitting>,
}

/// Read/write splitting with roles by configuration.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticSplitting {
    /// Where a statement goes that no rule matches.
    pub default_target: Option<Target>,
    /// Rules, the first that matches wins.
    pub rules: Option<Vec<SplittingRule>>,
}

/// Read/write splitting with roles by what the servers report.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DynamicSplitting {
    /// Where a statement goes that no rule matches.
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

/// Roles by asking every server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MasterHighAvailability {
    /// The user of probes.
    pub user: String,
    /// Its password.
    pub password: Option<Password>,
    /// Milliseconds between rounds.
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
}

/// Statements that match any of the expressions are refused.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CircuitBreak {
    /// Name shown to the client; `circuitBreaks[N]` if absent.
    pub name: Option<String>,
    /// Regular expressions, matched anywhere in the statement, case-sensitive unless `(?i)`.
    #[schemars(length(min = 1, max = 1000))]
    pub regex: Vec<String>,
}

/// Statements that match any of the expressions are held to a number per window.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConcurrencyControl {
    /// Name shown to the client; `concurrencyControls[N]` if absent.
    pub name: Option<String>,
    /// Regular expressions, matched anywhere in the statement, case-sensitive unless `(?i)`.
    #[schemars(length(min = 1, max = 1000))]
    pub regex: Vec<String>,
    /// The window, in whole seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub duration: u64,
    /// Statements per window.
    #[schemars(range(min = 1))]
    pub max_concurrency: u32,
}

/// What happens when an endpoint fails.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailoverSpec {
    /// When an endpoint is left alone.
    pub ejection: Option<EjectionSpec>,
}

/// When an endpoint that cannot be reached is left alone, and for how long.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EjectionSpec {
    /// Failures to connect in a row; 3 if absent.
    #[schemars(range(min = 1))]
    pub consecutive_connect_failures: Option<u32>,
    /// Milliseconds of the first ejection, doubled by each further one; 1000 if absent.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub base_ejection_ms: Option<u64>,
    /// Milliseconds of the longest ejection; 30000 if absent.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub max_ejection_ms: Option<u64>,
}
