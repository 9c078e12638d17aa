//! Resources as an operator writes them: group `core.database-mesh.io/v1alpha1`.
//!
//! It owns the names, types and ranges of fields; their JSON Schemas come from these types. It
//! decides nothing and knows no default: an absent field is `None`, and `resolve` gives it a value.
//! Its input is a document whose shape was checked, so decoding it does not fail.

mod access;
mod data_shard;
mod database_endpoint;
mod observability;
mod password;
mod rules;
mod splitting;
mod steering;
mod traffic_strategy;
mod virtual_database;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use access::{FirewallModeSpec, FirewallSpec, GrantSpec, RightSpec};
pub use data_shard::{
    AcrossNodesSpec, ActualDatanodes, AlgorithmSpec, AnswersSpec, AuditSpec, DataShard,
    DataShardKind, DataShardSpec, DatabaseStrategySpec, DatabaseTableStrategySpec, DatanodeSpec,
    GroupReference, KeyGeneratorReference, KeyGeneratorSpec, KeyGeneratorTypeSpec, KeyTypeSpec,
    PropertySpec, ReadWriteSplittingGroup, ShardExecutionSpec, ShardTransactionsSpec,
    ShardingDefaults, ShardingRule, SingleTableSpec, TableStrategySpec, ValueSource,
};
pub use database_endpoint::{
    Backend, BackendTlsModeSpec, BackendTlsSpec, Database, DatabaseEndpoint, DatabaseEndpointKind,
    DatabaseEndpointSpec, RoleSpec,
};
pub use observability::{
    ClassSpec, CollectorTlsSpec, DurabilitySpec, ObservabilitySpec, OnFailureSpec, ParentSpec,
    SlowLogSpec, StatementAuditSpec, SwitchSpec, TraceProtocolSpec, TracingSpec,
};
pub use password::{Password, PasswordSource, SecretKeyRef, ValueFrom};
pub use rules::{
    AccessSpec, ActionSpec, ClauseSpec, ConcurrencyLimitSpec, DaySpec, MatchSpec, RateLimitSpec,
    RouteRoleSpec, RouteSpec, RuleModeSpec, RuleSpec, TimeSpec, UnknownSpec,
};
pub use splitting::{
    ConsistencyKind, Discovery, DynamicSplitting, HeartbeatClockKind, HeartbeatSpec,
    MasterHighAvailability, Probe, ReadWriteSplitting, ReplicationLagProbe, RuleType,
    SplittingRule, StaticSplitting, Target, TransactionalReadKind,
};
pub use steering::{
    ForeignSpec, HintsModeSpec, HintsSpec, KeyRangeSpec, MirrorSpec, RowOperationSpec,
    ShadowColumnSpec, ShadowRuleSpec, ShadowSpec, SiteSpec, UnitColumnSpec, UnitsSpec, UnownedSpec,
};
pub use traffic_strategy::{
    BalanceKind, BreakerSpec, BufferSpec, CircuitBreak, ConcurrencyControl, ConsistentHashSpec,
    EjectionSpec, FailoverSpec, HashKeyKind, LoadBalance, LocalitySpec, MatchExpression,
    MatchOperator, Selector, SimpleLoadBalance, TrafficStrategy, TrafficStrategyKind,
    TrafficStrategySpec, TransactionReplaySpec,
};
pub use virtual_database::{
    AdaptivePoolSpec, ClientTlsModeSpec, CompressionSpec, DatabaseMySQL, FairBySpec, IsolationSpec,
    LimitsSpec, ListenerTlsSpec, MultiplexingSpec, PoolSpec, ProxyProtocolSpec, RoutinesSpec,
    ServiceSpec, UserSpec, VirtualDatabase, VirtualDatabaseKind, VirtualDatabaseSpec,
};

/// The API group and version of every resource.
pub const API_VERSION: &str = "core.database-mesh.io/v1alpha1";

/// The annotation of the older form that gives an endpoint its role.
pub const ROLE_ANNOTATION: &str = "database-mesh.io/role";

/// The API group and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ApiVersion {
    /// The only one there is.
    #[serde(rename = "core.database-mesh.io/v1alpha1")]
    V1Alpha1,
}

/// What names a resource and lets others select it, as in Kubernetes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Name, unique per kind and namespace: 1 to 253 letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Namespace; `default` if absent. Resources refer to and select others of their own namespace.
    pub namespace: Option<String>,
    /// Labels, which selectors match.
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations. `database-mesh.io/role` is the role of a DatabaseEndpoint; others are kept for people.
    pub annotations: Option<BTreeMap<String, String>>,
}
