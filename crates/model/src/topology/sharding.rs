//! How tables are split over servers: the slot map, and what computes a slot.
//!
//! It owns the resolved rules: every name in it leads somewhere, every algorithm has as many slots as targets. It computes
//! no slot: `plan` does. Shards are data, in the order that was written, so that one can move without a new algorithm.

pub mod algorithm;
pub mod expression;
pub mod module;
pub mod time;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{Endpoint, Name};
pub use algorithm::Algorithm;
pub use expression::{Expression, Piece, Term, TermOp};
pub use module::Module;

/// A DataShard, resolved against the endpoints of a service.
#[derive(Debug, Clone)]
pub struct Sharding {
    /// Name of the DataShard.
    pub name: Name,
    /// Where rows are; tables refer to these by position.
    pub sources: Vec<Source>,
    /// Every table that is listed, by its name.
    pub tables: BTreeMap<String, Table>,
    /// Where tables are that are not listed; none: they are refused.
    pub default_source: Option<usize>,
    /// Whether any table has a generator of keys.
    pub generates: bool,
    /// What becomes of work that touches several sources.
    pub across: AcrossSources,
    /// When an atomic COMMIT is answered.
    pub answers: Answers,
    /// Hours for which decisions are kept.
    pub retention_hours: u32,
    /// What a statement over several shards may use.
    pub execution: Execution,
}

impl Sharding {
    /// Whether a plan that was made under one holds under the other: every row is where it was.
    #[must_use]
    pub fn places_alike(&self, other: &Self) -> bool {
        let names = |of: &Self| -> Vec<String> {
            let sources = of.sources.iter();
            sources.map(|source| source.name.clone()).collect()
        };
        names(self) == names(other)
            && self.default_source == other.default_source
            && self.across == other.across
            && self.tables == other.tables
    }
}

/// When the COMMIT of an atomic transaction over several sources is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Answers {
    /// When all sources have committed.
    #[default]
    AfterNodes,
    /// When it is decided.
    AfterDecision,
}

/// Transactions, and statements that write, over several sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AcrossSources {
    /// They are refused at the second source.
    Refuse,
    /// Each source has its own transaction; they are committed one after the other.
    BestEffort,
    /// All sources commit, or none does.
    Atomic,
}

/// What a statement over several shards may use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// Connections to one source at a time.
    pub connections_per_source_max: usize,
    /// Memory for rows that wait, sort or group.
    pub memory_bytes_max: usize,
    /// Room on disk.
    pub spill_bytes_max: u64,
    /// Its folder; none: the system's for temporary files.
    pub spill_directory: Option<PathBuf>,
    /// Rows that one statement may have pulled to one source.
    pub gather_bytes_max: u64,
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            connections_per_source_max: 8,
            memory_bytes_max: 64 << 20,
            spill_bytes_max: 4 << 30,
            spill_directory: None,
            gather_bytes_max: 256 << 20,
        }
    }
}

/// One server, or several that hold the same rows.
#[derive(Debug, Clone)]
pub struct Source {
    /// Name of the endpoint or of the group.
    pub name: String,
    /// Its endpoints.
    pub endpoints: Vec<Arc<Endpoint>>,
}

/// What kind of table it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Table {
    /// Split over shards.
    Sharded(Arc<ShardedTable>),
    /// A whole copy at every source.
    Broadcast,
    /// At one source, by its position.
    Single(usize),
}

/// A table whose rows are split.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardedTable {
    /// Its name, as statements say it.
    pub name: String,
    /// Its parts, in order: the slot map.
    pub shards: Vec<Shard>,
    /// What chooses the source; none where the table's name alone tells it.
    pub database: Option<Axis>,
    /// What chooses the table; none where every source has one.
    pub table: Option<Axis>,
    /// Tables of the same number have equal layouts and keys: shard for shard at the same source.
    pub binding: Option<usize>,
    /// What fills a column that an INSERT leaves out.
    pub key_generator: Option<KeyGenerator>,
    /// What is refused by audit.
    pub audit: Audit,
}

impl ShardedTable {
    /// The columns that strategies look at.
    pub fn key_columns(&self) -> impl Iterator<Item = &KeyColumn> {
        let axes = self.database.iter().chain(&self.table);
        axes.flat_map(|axis| &axis.columns)
    }

    /// Whether the column, in lower case, is one of the key.
    pub fn is_key(&self, column: &str) -> bool {
        self.key_columns().any(|key| key.name == column)
    }
}

/// A part of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Shard {
    /// The position of its source.
    pub source: usize,
    /// The table's name there.
    pub table: String,
}

/// One choice among targets: sources, or tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The columns; none when a hint chooses.
    pub columns: Vec<KeyColumn>,
    /// What computes a slot from their values.
    pub algorithm: Algorithm,
    /// The target of every slot.
    pub targets: Vec<Target>,
}

/// What an axis chooses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Name of the source, or of the table there.
    pub name: String,
    /// The shards there, by position.
    pub shards: Vec<usize>,
}

/// A column of the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyColumn {
    /// In lower case: MySQL ignores the case of columns.
    pub name: String,
    /// How the server compares it.
    pub kind: KeyKind,
}

/// How the server compares a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyKind {
    /// As a whole number.
    Integer,
    /// Byte for byte.
    Text,
    /// By a collation in which different texts may be equal.
    Collated,
    /// As a day.
    Date,
    /// As a day and time without time zone.
    Datetime,
}

/// What fills a column that an INSERT leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyGenerator {
    /// The column, in lower case.
    pub column: String,
    /// Name of the generator.
    pub name: String,
    /// How values are made.
    pub kind: GeneratorKind,
}

/// How keys are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum GeneratorKind {
    /// Time, worker, sequence: 63 bits.
    Snowflake {
        /// Which worker this process is.
        worker: Worker,
    },
    /// UUID version 7.
    Uuid,
    /// Blocks of numbers leased from a table.
    Segment {
        /// The source that has the table.
        source: usize,
        /// Numbers of a block.
        block_size: u32,
        /// The first number of all.
        start: u64,
    },
}

/// The number that tells the processes apart which make keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Worker {
    /// It is configured.
    Fixed(u16),
    /// It is leased from a table at this source.
    Leased {
        /// The source.
        source: usize,
    },
}

/// What is refused by audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Audit {
    /// Nothing.
    None,
    /// Statements that no condition on the key restricts.
    ShardingConditions,
}
