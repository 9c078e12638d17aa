//! DataShard: which tables are split over which servers, and by what.
//!
//! The fields up to `databaseTableStrategy` are those of the older form; the rest is ours, with ShardingSphere's names for
//! algorithms and their properties.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ApiVersion, Metadata, SplittingRule};

/// How tables are split over servers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataShard {
    /// `core.database-mesh.io/v1alpha1`.
    pub api_version: ApiVersion,
    /// `DataShard`.
    pub kind: DataShardKind,
    /// Name, namespace, labels, annotations.
    pub metadata: Metadata,
    /// What it says.
    pub spec: DataShardSpec,
}

/// `DataShard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DataShardKind {
    /// The only value.
    DataShard,
}

/// How tables are split over servers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataShardSpec {
    /// The sharded tables.
    pub rules: Vec<ShardingRule>,
    /// Algorithms by the name that strategies use.
    pub algorithms: Option<BTreeMap<String, AlgorithmSpec>>,
    /// Groups of sharded tables with the same layout and keys: joins on the keys stay on one server.
    pub binding_tables: Option<Vec<Vec<String>>>,
    /// Tables of which every node has a whole copy.
    pub broadcast_tables: Option<Vec<String>>,
    /// Tables that live on one node.
    pub single_tables: Option<Vec<SingleTableSpec>>,
    /// What holds for tables that say nothing else.
    pub defaults: Option<ShardingDefaults>,
    /// Generators of keys by the name that rules use.
    pub key_generators: Option<BTreeMap<String, KeyGeneratorSpec>>,
    /// What becomes of work that touches several nodes.
    pub transactions: Option<ShardTransactionsSpec>,
    /// What a statement over several shards may use.
    pub execution: Option<ShardExecutionSpec>,
}

/// What becomes of work that touches several nodes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShardTransactionsSpec {
    /// `refuse` by default.
    pub across_nodes: Option<AcrossNodesSpec>,
    /// When COMMIT is answered under `atomic`; `afterNodes` by default.
    pub answers: Option<AnswersSpec>,
    /// Hours for which the rows of decisions are kept under `atomic`; 24 by default, and at least.
    pub retention_hours: Option<u32>,
}

/// When the COMMIT of an atomic transaction over several nodes is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AnswersSpec {
    /// When all nodes have committed: whoever reads after the answer sees all of it.
    AfterNodes,
    /// When it is decided, which is durable: it will be on all nodes, and a read right afterwards may see a part of it.
    AfterDecision,
}

/// Transactions, and statements that write, over several nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AcrossNodesSpec {
    /// They are refused at the second node.
    Refuse,
    /// Each node has a transaction of its own, and they are committed one after the other: when one of them fails then,
    /// others may have been committed.
    BestEffort,
    /// All nodes commit, or none does, also when servers or the proxy die in between.
    Atomic,
}

/// What a statement over several shards may use.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShardExecutionSpec {
    /// Connections to one node at a time; 8 by default.
    #[schemars(range(min = 1, max = 64))]
    pub max_connections_per_node: Option<u32>,
    /// Memory for rows that wait, sort or group, in bytes; 64 MiB by default.
    #[schemars(range(min = 4_194_304, max = 17_179_869_184_u64))]
    pub memory_bytes: Option<u64>,
    /// Room on disk for what memory has no room for, in bytes; 4 GiB by default, 0 for none.
    #[schemars(range(max = 1_099_511_627_776_u64))]
    pub spill_bytes: Option<u64>,
    /// Folder of that room; the system's for temporary files by default.
    pub spill_directory: Option<String>,
    /// Rows that one statement may have brought from other nodes to the one that finishes it, in bytes of text; 256 MiB by
    /// default, 0 for none.
    #[schemars(range(max = 1_099_511_627_776_u64))]
    pub gather_bytes: Option<u64>,
}

/// One sharded table.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShardingRule {
    /// The table's name, as statements say it.
    pub table_name: String,
    /// Groups of endpoints of which one is written to and the others read from.
    pub read_write_splitting_group: Option<Vec<ReadWriteSplittingGroup>>,
    /// Where its parts are.
    pub actual_datanodes: ActualDatanodes,
    /// What chooses the table; the table's count may be given.
    pub table_strategy: Option<TableStrategySpec>,
    /// What chooses the node.
    pub database_strategy: Option<DatabaseStrategySpec>,
    /// Both in one.
    pub database_table_strategy: Option<DatabaseTableStrategySpec>,
    /// Types of the columns that strategies name; by their algorithm if absent.
    pub key_types: Option<BTreeMap<String, KeyTypeSpec>>,
    /// The column that gets a generated value where an INSERT leaves it out.
    pub key_generator: Option<KeyGeneratorReference>,
    /// Whether statements without a condition on the key are refused.
    pub audit: Option<AuditSpec>,
}

/// Endpoints that hold the same rows.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadWriteSplittingGroup {
    /// Its name, for `valueFromReadWriteSplitting`.
    pub name: String,
    /// Rules of the older form, where only `target` matters: which roles take part.
    pub rules: Option<Vec<SplittingRule>>,
    /// The endpoints; all that the service's strategy selects if absent.
    pub endpoints: Option<Vec<String>>,
}

/// Where the parts of a table are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActualDatanodes {
    /// A list or an expression.
    pub value_source: ValueSource,
}

/// A list of nodes, or an expression that gives one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueSource {
    /// The nodes.
    pub nodes: Option<Vec<DatanodeSpec>>,
    /// As in `ds_{0..3}.t_order_{0..15}`.
    pub expression: Option<String>,
}

/// A node: exactly one of the two.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatanodeSpec {
    /// An endpoint, or `endpoint.table`.
    pub value: Option<String>,
    /// A group of the rule.
    pub value_from_read_write_splitting: Option<GroupReference>,
}

/// A group by its name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupReference {
    /// The name.
    pub name: String,
}

/// What chooses a table.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TableStrategySpec {
    /// A name in `algorithms`, or `mod` or `crc32mod`.
    pub table_sharding_algorithm_name: String,
    /// The column, several with commas between, or none for algorithms by hint.
    pub table_sharding_column: Option<String>,
    /// How many tables a node has, named `t_00000` and so on.
    #[schemars(range(min = 1, max = 100_000))]
    pub sharding_count: Option<u32>,
}

/// What chooses a node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseStrategySpec {
    /// A name in `algorithms`, or `mod` or `crc32mod`.
    pub database_sharding_algorithm_name: String,
    /// The column, several with commas between, or none for algorithms by hint.
    pub database_sharding_column: Option<String>,
}

/// What chooses a node, and a table there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseTableStrategySpec {
    /// As in `databaseStrategy`.
    pub database_sharding_algorithm_name: String,
    /// As in `databaseStrategy`.
    pub database_sharding_column: Option<String>,
    /// As in `tableStrategy`.
    pub table_sharding_algorithm_name: String,
    /// As in `tableStrategy`.
    pub table_sharding_column: Option<String>,
    /// As in `tableStrategy`.
    #[schemars(range(min = 1, max = 100_000))]
    pub sharding_count: Option<u32>,
}

/// An algorithm and its properties.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlgorithmSpec {
    /// `MOD`, `HASH_MOD`, `VOLUME_RANGE`, `BOUNDARY_RANGE`, `AUTO_INTERVAL`, `INTERVAL`, `INLINE`, `COMPLEX_INLINE`,
    /// `HINT_INLINE`, `CRC32_MOD`, `CONSISTENT_HASH`, `LIST`, `mod`, `crc32mod`.
    #[serde(rename = "type")]
    pub algorithm_type: String,
    /// Properties, by ShardingSphere's names.
    pub props: Option<BTreeMap<String, PropertySpec>>,
}

/// The value of a property.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PropertySpec {
    /// A whole number.
    Integer(u64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
}

/// The type of a column that a strategy names: how the server compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum KeyTypeSpec {
    /// An integer type.
    Integer,
    /// A string type whose equal values are equal bytes: a binary type, or values that are always written alike.
    String,
    /// A string type of which different texts may be equal: conditions on it do not choose a shard.
    CollatedString,
    /// DATE.
    Date,
    /// DATETIME.
    Datetime,
}

/// A table on one node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SingleTableSpec {
    /// The table.
    pub table_name: String,
    /// The endpoint or group.
    pub node: String,
}

/// What holds for tables that say nothing else.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShardingDefaults {
    /// The endpoint or group of tables that are not listed; without it, they are refused.
    pub node: Option<String>,
    /// As in a rule.
    pub database_strategy: Option<DatabaseStrategySpec>,
    /// As in a rule.
    pub table_strategy: Option<TableStrategySpec>,
    /// As in a rule.
    pub audit: Option<AuditSpec>,
}

/// A generator of keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyGeneratorSpec {
    /// How keys are made.
    #[serde(rename = "type")]
    pub generator_type: KeyGeneratorTypeSpec,
    /// SNOWFLAKE: `worker-id`, or `node` where it is leased. SEGMENT: `node`, `block-size`, `start`.
    pub props: Option<BTreeMap<String, PropertySpec>>,
}

/// How keys are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum KeyGeneratorTypeSpec {
    /// Time, worker, sequence: 63 bits.
    #[serde(rename = "SNOWFLAKE")]
    Snowflake,
    /// UUID version 7.
    #[serde(rename = "UUID")]
    Uuid,
    /// Blocks of numbers leased from a table.
    #[serde(rename = "SEGMENT")]
    Segment,
}

/// Which generator fills which column.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyGeneratorReference {
    /// The column.
    pub column: String,
    /// A name in `keyGenerators`.
    pub generator: String,
}

/// What is refused by audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum AuditSpec {
    /// Nothing.
    #[serde(rename = "NONE")]
    None,
    /// Statements that no condition on the key restricts.
    #[serde(rename = "DML_SHARDING_CONDITIONS")]
    DmlShardingConditions,
}
