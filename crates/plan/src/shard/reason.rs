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
    /// Rows do not tell how their values compare or add up.
    Comparison,
    /// Variables take the values of rows of several shards.
    Into,
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
    /// A schema that is not the service's, nor one that every server has.
    UnknownSchema(String),
    /// Tables, and views of information_schema.
    MixedSchemas,
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
    /// `@x := value` over rows of several shards.
    Assignment,
    /// A column of the result whose name is its text, which has to change and is too long or odd for an alias.
    ColumnName,
    /// A table is changed and read in one statement, which the server refuses.
    TargetRead,
    /// `PARTITION (…)` of a sharded table.
    Partition,
    /// MariaDB: `FOR SYSTEM_TIME …` of a table whose rows would be brought together.
    History,
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
    /// A module of the user's gave no slot for the key's value.
    AlgorithmFails {
        /// The algorithm's name.
        algorithm: String,
        /// What its module did.
        why: String,
    },
    /// The key has to be generated.
    KeyGenerated,
    /// A hint, and no table that is split by hint.
    HintUnused,
    /// A hint that leads to no shard of a table.
    HintValue {
        /// What it says.
        value: String,
        /// The table.
        table: String,
    },
    /// A hint on a statement that is for a table as a whole.
    HintWhole,
    /// A strategy by hint, without a hint.
    HintMissing,
    /// An INSERT without columns, into a table whose columns are not known.
    ColumnsUnknown,
    /// A row has more or fewer values than columns.
    ColumnCount {
        /// Which, from 1.
        row: usize,
    },
    /// The key's column is of another type than the rules say.
    KeyType(String),
    /// The key is changed.
    KeyUpdate,
    /// Copies of a table would differ: random values, values made by the server, LIMIT.
    NotDeterministic,
    /// `RAND(seed)` over rows of several shards.
    SeededRandom,
    /// Rows have to be changed by their key, and the table has no primary one.
    NoPrimaryKey,
    /// A copy of a table is changed by a statement that also reads or changes shards.
    BroadcastChange,
    /// `INTO` over several shards.
    Into,
    /// A locking read with LIMIT that does not wait for locks, over several shards.
    LockingLimit,
    /// A locking read of a copy and of other tables: the copies are not locked together.
    LockingCopy,
    /// A locking read whose rows would be brought together.
    LockingGather,
    /// A temporary table in place of a sharded one.
    TemporaryTable,
    /// A view over sharded tables.
    View,
    /// A foreign key that no shard can keep by itself.
    ForeignKey,
    /// A constraint's name has no room for the number of its shard.
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
    LoadData(LoadReason),
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

impl GatherReason {
    /// The reason in words, behind "the statement needs rows of several nodes in one place:".
    #[must_use]
    pub fn why(&self) -> String {
        let words = match self {
            Self::Join => "tables are joined on something else than their sharding keys",
            Self::OuterJoin => "an outer join whose preserved side does not decide the shard",
            Self::Subquery => "a sub-query reads other shards than its row is on",
            Self::Derived => "a derived table or common table expression reads several shards",
            Self::SetOperation => "a set operation that is no plain concatenation of rows",
            Self::Window => "a window that is not partitioned by the sharding key",
            Self::Rollup => "WITH ROLLUP",
            Self::Aggregate(name) => return format!("{name} of rows of several shards"),
            Self::AggregateExpression => "an expression over aggregates",
            Self::Having => "HAVING over groups of several shards",
            Self::OrderKey => "a key of ORDER BY that cannot be read with the rows",
            Self::GroupKey => {
                "a key of GROUP BY that cannot be read with the rows, or has two meanings"
            }
            Self::DistinctOrder => "DISTINCT with a key of ORDER BY that is not selected",
            Self::LimitTies => "LIMIT … WITH TIES",
            Self::LimitUnknown => "a LIMIT whose value is not known",
            Self::FoundRows => "SQL_CALC_FOUND_ROWS",
            Self::SingleTable => "a table of one node is read together with several shards",
            Self::TableStatement => "TABLE or VALUES over several shards",
            Self::SeededRandom => "RAND with a seed follows the order of rows",
            Self::InsertSelect => "rows of a query go to other shards than they come from",
            Self::ChangeLimit => "a change with LIMIT over several shards",
            Self::Comparison => "rows do not tell how their values compare or add up",
            Self::ChangeJoin => "a change of tables whose rows are not on one shard",
            Self::Into => "variables take values of several shards",
        };
        words.to_owned()
    }
}

const SEEDED: &str =
    "RAND with a seed gives its numbers in the order of rows, and rows of several shards have none";
const FULL_TEXT: &str =
    "a full-text search over several shards, by relevance or with other tables' rows";
const NO_CONDITION: &str = "no condition on the sharding key (audit DML_SHARDING_CONDITIONS)";
const HISTORY: &str = "FOR SYSTEM_TIME of a table whose rows would be brought together";
const FOREIGN_KEY: &str = "a foreign key between tables that are not bound, at a column, or that would change the sharding key";
const CONSTRAINT_NAME: &str = "the name of a constraint has no room for the number of its shard";

impl RefuseReason {
    /// The reason in words, with what would make it work where something would.
    #[must_use]
    pub fn why(&self) -> String {
        let words = match self {
            Self::Unparsed { .. }
            | Self::UnknownSchema(_)
            | Self::UnknownTable(_)
            | Self::TableNameCase(_)
            | Self::KeyType(_)
            | Self::AlgorithmFails { .. }
            | Self::Kind(_) => return self.why_of_it(),
            Self::HintUnused | Self::HintWhole | Self::HintMissing | Self::HintValue { .. } => {
                return self.why_of_hint();
            }
            Self::FullText => FULL_TEXT,
            Self::CommonTableTwice => "a common table expression that is read twice",
            Self::SeveralStatements => "several statements in one text",
            Self::SystemSchema => "a schema that describes one server",
            Self::MixedSchemas => "tables and views of information_schema in one statement",
            Self::ForeignSchema => "a schema other than the service's, or none is chosen",
            Self::AmbiguousName => "a name may mean one of two tables",
            Self::Routine => "it runs text that is not in it (a stored routine, PREPARE)",
            Self::SessionState => {
                "it reads or changes the state of one connection, over several shards"
            }
            Self::ColumnName => {
                "a column's name is its text, which has to change: give it an alias"
            }
            Self::TargetRead => "a table is changed and read in one statement",
            Self::Partition => "PARTITION of a sharded table",
            Self::History => HISTORY,
            Self::NoShardingCondition => NO_CONDITION,
            Self::KeyMissing => "an INSERT does not say the sharding key",
            Self::KeyNull => "the sharding key is NULL",
            Self::KeyUnknown => "the value of the sharding key is not known from the text",
            Self::KeyNowhere => "the algorithm has no shard for the value of the sharding key",
            Self::KeyGenerated => "the sharding key would have to be generated: give it",
            Self::ColumnsUnknown => {
                "an INSERT without a list of columns, and the table's are not known"
            }
            Self::ColumnCount { .. } => "a row has more or fewer values than columns",
            Self::KeyUpdate => "it changes the sharding key",
            Self::NotDeterministic => "copies of the table would differ",
            Self::SeededRandom => SEEDED,
            Self::NoPrimaryKey => {
                "its rows would be changed by their primary key, and the table has none"
            }
            Self::BroadcastChange => "it changes the copies of a table and reads or changes shards",
            Self::Into => "INTO OUTFILE or DUMPFILE over several shards",
            Self::Assignment => {
                "it assigns user variables row by row, and the rows of several shards have no order"
            }
            Self::LockingLimit | Self::LockingCopy | Self::LockingGather => self.why_of_lock(),
            Self::TemporaryTable => "a temporary table in place of a sharded one",
            Self::View => "a view over sharded tables",
            Self::ForeignKey => FOREIGN_KEY,
            Self::ConstraintName => CONSTRAINT_NAME,
            Self::UniqueKey => {
                "a unique key without the sharding key would hold on each shard only"
            }
            Self::AutoIncrement => "AUTO_INCREMENT counts on each shard by itself",
            Self::MixedTables => "tables of different layouts in one definition",
            Self::CreateSelect => "a table is created from a query",
            Self::Rename => "a sharded table cannot be renamed",
            Self::LoadData(reason) => return reason.why().to_owned(),
            Self::LockTables => "LOCK TABLES of sharded tables",
            Self::PhysicalNames => "its answer would have the names of shards",
            Self::Explain => "EXPLAIN of rows that are brought to one place: see EXPLAIN MESH",
        };
        words.to_owned()
    }

    /// The words of those about hints.
    fn why_of_hint(&self) -> String {
        let words = match self {
            Self::HintValue { value, table } => {
                let what = "give a value of which its expression makes the name of a shard";
                return format!(
                    "hint 'shard': the algorithm of `{table}` makes no shard of '{value}': {what}"
                );
            }
            Self::HintWhole => {
                "hint 'shard': it chooses among rows, and the statement is for the table as a whole: leave the hint away, or DELETE with it"
            }
            Self::HintUnused => "hint 'shard': none of its tables is split by hint",
            _ => "its table is split by hint: give `/* mesh: shard=VALUE */`",
        };
        words.to_owned()
    }

    /// The words of those about locking reads.
    const fn why_of_lock(&self) -> &'static str {
        match self {
            Self::LockingLimit => {
                "a locking read with LIMIT and SKIP LOCKED or NOWAIT over several shards"
            }
            Self::LockingCopy => "a locking read of a copied table and of others",
            _ => {
                "a locking read that no shard can answer by itself: its rows would be brought together unlocked"
            }
        }
    }

    /// The words of those that name something.
    fn why_of_it(&self) -> String {
        match self {
            Self::Unparsed { offset } => format!("it cannot be parsed from byte {offset} on"),
            Self::UnknownSchema(name) => format!("schema `{name}` is not one of the service"),
            Self::UnknownTable(name) => {
                format!("table `{name}` is in no rule, and there is no default node")
            }
            Self::TableNameCase(name) => format!("table `{name}` is listed in other letters"),
            Self::KeyType(name) => {
                let than = "is of another type than `keyTypes` says";
                format!("the sharding key of `{name}` {than}")
            }
            Self::AlgorithmFails { algorithm, why } => {
                let what = "fails for the value of the sharding key";
                format!("the module of the algorithm `{algorithm}` {what}: {why}")
            }
            Self::Kind(kind) => format!("{kind:?} is not served on sharded tables"),
            other => format!("{other:?}"),
        }
    }
}

/// Why a file is not split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoadReason {
    /// Every node would need the file.
    Copies,
    /// It reads other tables, or computes the key.
    Values,
    /// It assigns in an expression, or reads what other connections do not have.
    Variables,
    /// The file is at one server.
    ServersFile,
    /// Separators by which a file can be cut in two ways, and forms of its own.
    Options,
    /// The columns are not known.
    Columns,
    /// The key is not in the file.
    KeyMissing,
}

impl LoadReason {
    /// In words.
    fn why(self) -> &'static str {
        match self {
            Self::Copies => "LOAD DATA into a table of which every node has a copy",
            Self::Values => "LOAD DATA that reads other tables or computes the sharding key",
            Self::Variables => {
                "LOAD DATA that assigns user variables in an expression, or reads what only one connection has"
            }
            Self::ServersFile => "LOAD DATA of a file at one server into a sharded table",
            Self::Options => {
                "LOAD DATA with separators by which records are not told apart for certain (none at all, beginning alike, not of ASCII, or as a generated key does), or with CHARACTER SET after them"
            }
            Self::Columns => "LOAD DATA without a list of columns, and the table's are not known",
            Self::KeyMissing => "LOAD DATA of a file without the sharding key",
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
            Self::UnknownSchema(name) => write!(f, "UnknownSchema({name})"),
            Self::UnknownTable(name) => write!(f, "UnknownTable({name})"),
            Self::TableNameCase(name) => write!(f, "TableNameCase({name})"),
            Self::KeyType(name) => write!(f, "KeyType({name})"),
            Self::AlgorithmFails { algorithm, .. } => write!(f, "AlgorithmFails({algorithm})"),
            Self::ColumnCount { .. } => f.write_str("ColumnCount"),
            Self::HintValue { table, .. } => write!(f, "HintValue({table})"),
            Self::Kind(kind) => write!(f, "Kind({kind:?})"),
            other => write!(f, "{other:?}"),
        }
    }
}
