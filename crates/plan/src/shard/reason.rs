//! Why a statement is gathered or refused.
//!
//! Owns the closed lists that EXPLAIN, logs and metrics show, and the words of each.

use std::fmt;

use dbmesh_sql::StatementKind;

use super::scope::Scope;
use super::{ShardPlan, gather};

/// Why rows have to be pulled to one server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GatherReason {
    /// Tables are joined on something else than their keys.
    Join,
    /// An outer join whose preserved side does not decide the shard.
    OuterJoin,
    /// A sub-query reads rows of other shards than its row's.
    Subquery,
    /// A derived table or common table expression reads several shards.
    Derived,
    /// A set operation whose parts are not a plain concatenation.
    SetOperation,
    /// A window that is not partitioned by the key.
    Window,
    /// `WITH ROLLUP`.
    Rollup,
    /// An aggregate whose parts cannot be put together.
    Aggregate(String),
    /// An expression over aggregates.
    AggregateExpression,
    /// HAVING over groups of several shards.
    Having,
    /// A key of ORDER BY that cannot be added to the rows.
    OrderKey,
    /// A key of GROUP BY that cannot be added to the rows, or may be an alias or a column.
    GroupKey,
    /// DISTINCT with a key of ORDER BY that is not selected.
    DistinctOrder,
    /// `WITH TIES`.
    LimitTies,
    /// LIMIT by a value that is not known: a parameter that is not bound, or a variable.
    LimitUnknown,
    /// `SQL_CALC_FOUND_ROWS`.
    FoundRows,
    /// A table of one node is read together with several shards.
    SingleTable,
    /// `TABLE t`, `VALUES` over several shards.
    TableStatement,
    /// `RAND(seed)`: its numbers follow the order of rows.
    SeededRandom,
    /// Rows of a query go to other shards than they come from.
    InsertSelect,
    /// A change with LIMIT over several shards.
    ChangeLimit,
    /// A change of tables whose rows are not on one shard.
    ChangeJoin,
}

/// Why a statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RefuseReason {
    /// It cannot be parsed.
    Unparsed {
        /// Where it stops making sense.
        offset: usize,
    },
    /// More than one statement in a text.
    SeveralStatements,
    /// A schema that describes the server.
    SystemSchema,
    /// A schema other than the service's.
    ForeignSchema,
    /// A table that is not listed, and no node for those.
    UnknownTable(String),
    /// A table that is listed in other letters.
    TableNameCase(String),
    /// A name that may mean one of two tables.
    AmbiguousName,
    /// A stored routine, or text that is not in the statement.
    Routine,
    /// It reads or changes the state of one connection, over several shards.
    SessionState,
    /// A column of the result whose name is its text, which has to change and is too long or odd for an alias.
    ColumnName,
    /// A table is changed and read in one statement, which the server refuses.
    TargetRead,
    /// `PARTITION (…)` of a sharded table.
    Partition,
    /// Audit: no condition restricts the shards.
    NoShardingCondition,
    /// An INSERT does not say the key.
    KeyMissing,
    /// The key's value is NULL.
    KeyNull,
    /// The key's value is an expression, or one that the server may store otherwise.
    KeyUnknown,
    /// The algorithm has no place for the key's value.
    KeyNowhere,
    /// The key has to be generated.
    KeyGenerated,
    /// A strategy by hint, without a hint.
    HintMissing,
    /// An INSERT without columns, into a table whose columns are not known.
    ColumnsUnknown,
    /// A row has more or fewer values than columns.
    ColumnCount,
    /// The key is changed.
    KeyUpdate,
    /// Copies of a table would differ: random values, values made by the server, LIMIT.
    NotDeterministic,
    /// A copy of a table is changed by a statement that also reads or changes shards.
    BroadcastChange,
    /// `INTO` over several shards.
    Into,
    /// A locking read with LIMIT over several shards.
    LockingLimit,
    /// A locking read of a copy and of other tables: the copies are not locked together.
    LockingCopy,
    /// A temporary table in place of a sharded one.
    TemporaryTable,
    /// A view over sharded tables.
    View,
    /// A foreign key between tables that are not bound.
    ForeignKey,
    /// A constraint's name would stand twice in one schema.
    ConstraintName,
    /// A unique key without the sharding key holds on each shard only.
    UniqueKey,
    /// AUTO_INCREMENT counts on each shard by itself.
    AutoIncrement,
    /// Tables of different layouts in one definition.
    MixedTables,
    /// A table is created from a query over sharded tables.
    CreateSelect,
    /// The name of a sharded table changes.
    Rename,
    /// LOAD DATA into a sharded table.
    LoadData,
    /// LOCK TABLES.
    LockTables,
    /// SHOW or ANALYZE and its like, whose answer has physical names.
    PhysicalNames,
    /// EXPLAIN of a statement over several shards.
    Explain,
    /// MATCH over several shards: relevance counts rows of all of them.
    FullText,
    /// A common table expression over several shards that is read twice: it cannot be finished over temporary tables.
    CommonTableTwice,
    /// A kind of statement without a plan here.
    Kind(StatementKind),
}

/// Why planning ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    Gather(GatherReason),
    Refuse(RefuseReason),
}

impl Stop {
    pub(super) fn into_plan(self, scope: Option<&Scope<'_>>) -> ShardPlan {
        match (self, scope) {
            (Self::Gather(reason), Some(scope)) => gather::plan(scope, reason),
            (Self::Gather(reason), None) => ShardPlan::Gather(Box::new(gather::Gather {
                reason,
                pulls: Vec::new(),
                finish: None,
            })),
            (Self::Refuse(reason), _) => ShardPlan::Refuse(reason),
        }
    }
}

impl From<GatherReason> for Stop {
    fn from(reason: GatherReason) -> Self {
        Self::Gather(reason)
    }
}

impl From<RefuseReason> for Stop {
    fn from(reason: RefuseReason) -> Self {
        Self::Refuse(reason)
    }
}

impl fmt::Display for GatherReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aggregate(name) => write!(f, "Aggregate({name})"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for RefuseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unparsed { offset } => write!(f, "Unparsed at byte {offset}"),
            Self::UnknownTable(name) => write!(f, "UnknownTable({name})"),
            Self::TableNameCase(name) => write!(f, "TableNameCase({name})"),
            Self::Kind(kind) => write!(f, "Kind({kind:?})"),
            other => write!(f, "{other:?}"),
        }
    }
}
