//! TrafficStrategy: which endpoints serve, in what shares, and which statements are held back.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    ApiVersion, HintsSpec, Metadata, MirrorSpec, ReadWriteSplitting, RuleSpec, ShadowSpec,
    UnitsSpec,
};

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
    /// Rules on statements, looked at in order behind `circuitBreaks` and `concurrencyControls`.
    #[schemars(length(max = 256))]
    pub rules: Option<Vec<RuleSpec>>,
    /// What happens when an endpoint fails.
    pub failover: Option<FailoverSpec>,
    /// Who may ask for what in comments and query attributes.
    pub hints: Option<HintsSpec>,
    /// Statements that run on a shadow endpoint instead.
    pub shadow: Option<ShadowSpec>,
    /// Statements of which a copy runs elsewhere too.
    pub mirror: Option<MirrorSpec>,
    /// Which site owns which keys.
    pub units: Option<UnitsSpec>,
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
    /// Reads to replicas.
    pub read_write_splitting: Option<ReadWriteSplitting>,
    /// What `consistenthash` goes by.
    pub consistent_hash: Option<ConsistentHashSpec>,
    /// When statements leave the zone of the proxy.
    pub locality: Option<LocalitySpec>,
}

/// What `consistenthash` goes by.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConsistentHashSpec {
    /// What statements of one endpoint have in common; `client` if absent.
    pub by: Option<HashKeyKind>,
    /// Percent of an even share of the statements under way that an endpoint may have before others take its keys; 125 if
    /// absent.
    #[schemars(range(min = 101, max = 10_000))]
    pub max_load_percent: Option<u32>,
}

/// What statements of one endpoint have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HashKeyKind {
    /// The client's IP address.
    Client,
    /// The user.
    User,
    /// The hint `hash=KEY`; the client's IP address without one.
    Hint,
}

/// When statements leave the zone of the proxy.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalitySpec {
    /// Percent of the pool of every near endpoint that is in use before far ones take statements as well; 100 if absent.
    #[schemars(range(min = 1, max = 100))]
    pub spill_over_percent: Option<u32>,
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
    /// The same one for the same client, user or hint, by `consistentHash`.
    ConsistentHash,
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
    /// Statements that wait while no primary can take them.
    pub buffer: Option<BufferSpec>,
    /// When an endpoint is spared because too much fails there, or is slow; never if absent.
    pub breaker: Option<BreakerSpec>,
    /// Transactions that lose their server are executed again at the next primary, if all answers are the same; never if
    /// absent.
    pub transaction_replay: Option<TransactionReplaySpec>,
}

/// How transactions that lose their server before COMMIT are executed again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransactionReplaySpec {
    /// Bytes of statements and parameters of one transaction; 1048576 if absent. A transaction with more is not replayed.
    #[schemars(range(min = 1, max = 67_108_864))]
    pub max_bytes: Option<u64>,
    /// How often one transaction is executed again at most; 5 if absent.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: Option<u32>,
    /// Milliseconds that a replay takes at most, the wait for a primary included; 30000 if absent.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub timeout_ms: Option<u64>,
}

/// When an endpoint is spared because too much fails there, or is slow.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BreakerSpec {
    /// Milliseconds that are looked back; 10000 if absent.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub window_ms: Option<u64>,
    /// Statements in them, below which nothing is concluded; 20 if absent.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_volume: Option<u32>,
    /// Of a hundred, those that may not fail; 50 if absent.
    #[schemars(range(min = 1, max = 100))]
    pub error_percent: Option<u32>,
    /// Milliseconds from which a statement is slow; 0, never, if absent.
    #[schemars(range(max = 3_600_000))]
    pub slow_ms: Option<u64>,
    /// Of a hundred, those that may not be slow; 50 if absent.
    #[schemars(range(min = 1, max = 100))]
    pub slow_percent: Option<u32>,
    /// Milliseconds for which the endpoint is spared; 5000 if absent.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub open_ms: Option<u64>,
    /// Statements that then try it, all of which must come through; 3 if absent.
    #[schemars(range(min = 1, max = 1_000))]
    pub probes: Option<u32>,
}

/// How statements wait while no primary can take them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BufferSpec {
    /// Milliseconds that a statement waits at most; 0 refuses at once. 10000 with dynamic roles, else 0.
    #[schemars(range(max = 86_400_000))]
    pub max_wait_ms: Option<u64>,
    /// Statements that wait at a time; 10000 if absent.
    #[schemars(range(min = 1))]
    pub max_statements: Option<u32>,
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
