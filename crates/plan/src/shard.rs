//! What becomes of a statement on a sharded database: one shard, all, several with a merge, a gather, or a refusal.
//!
//! Owns [`ShardPlan`] and the pure function that makes one, with the text for every node. An answer is exactly what one
//! MySQL would give, or a refusal that says why: whatever is not proved to be local to a shard, or mergeable, is gathered or
//! refused, never guessed. Must never print an expression again: texts are spliced. Input: a statement, the resolved rules,
//! and what is known of the session and of the tables' columns.

pub mod algorithm;
pub mod catalog;
mod condition;
mod define;
mod described;
pub mod dictionary;
pub mod gather;
mod generate;
mod group;
mod hinted;
mod insert;
mod insert_id;
pub mod keyed;
mod load;
mod locality;
pub mod merge;
mod moving;
mod order;
mod other;
mod print;
mod read;
mod reason;
mod rewrite;
mod route;
mod scope;
mod search;
pub mod slots;
mod template;
pub mod value;
mod write;

use dbmesh_model::topology::Sharding;
use dbmesh_sql::ast::Body;
use dbmesh_sql::{Dialect, ParsedFacts, Parser};

pub use catalog::{Catalog, KeyLimit, KnownTable, Unknown};
pub use described::{Described, StandIn};
pub use dictionary::Dictionary;
pub use gather::{Gather, Pull, PullPart};
pub use generate::{Generation, Zero};
pub use keyed::{Keyed, NotKeyed};
pub use load::{Load, LoadFault, Records};
pub use merge::MergeSpec;
pub use moving::{Computed, Going, Moving, Rekeyed, Unmoved};
pub use print::Shown;
pub use reason::{GatherReason, LoadReason, RefuseReason};
pub use rewrite::{Copied, Splice};
pub use template::Template;
pub use value::{KeyValue, Parameter, Variables};

use reason::Stop;
use scope::Scope;

/// What planning needs to know besides the statement.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The statement's text.
    pub sql: &'a [u8],
    /// How the servers read it.
    pub dialect: &'a Dialect,
    /// The rules.
    pub sharding: &'a Sharding,
    /// What is known of the tables' columns.
    pub catalog: &'a Catalog,
    /// The schema that the service offers, and that statements may put before a table's name.
    pub schema: Option<&'a str>,
    /// Whether the session is in that schema.
    pub in_schema: bool,
    /// The schema that the session is in, by its name.
    pub chosen: Option<&'a str>,
    /// The source where a statement runs that any could answer; none: the rules' own.
    pub here: Option<usize>,
    /// Whether the client's character set is utf8mb4 or utf8mb3.
    pub utf8: bool,
    /// Bound values; none while they are not bound.
    pub parameters: Option<&'a [Parameter]>,
    /// The session's user variables.
    pub variables: Variables<'a>,
    /// How many rows the session wants of a SELECT without LIMIT (`sql_select_limit`), where it says so; its servers are told.
    pub select_limit: Option<u64>,
    /// The value of a hint, for strategies by hint.
    pub hint: Option<&'a KeyValue>,
    /// In which words the rows of an INSERT go, where not in those of the text.
    pub rows_as: Option<RowsAs<'a>>,
    /// What is known of the session's time zone.
    pub zone: Zone,
}

/// Other words for the rows of an INSERT … VALUES, by which each has more to give than its columns: what stands in the place
/// of `VALUES (…), (…)` at a node is made of those of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsAs<'a> {
    /// Before the rows.
    pub before: &'a [u8],
    /// A text for each, in the order of the statement's.
    pub rows: &'a [Vec<u8>],
    /// Between two of them.
    pub between: &'a [u8],
    /// Behind them.
    pub after: &'a [u8],
}

/// Whether a time in the session's time zone tells which moment it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Zone {
    /// It does: an offset, or UTC.
    #[default]
    Steady,
    /// There may be hours that come twice.
    Shifting,
}

/// What a change of copies is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// Counts.
    Counts,
    /// The rows of RETURNING.
    Rows,
}

/// What becomes of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardPlan {
    /// It touches no row: it is the session's, as in a database that is not sharded.
    Session,
    /// One node answers.
    Single(NodeStatement),
    /// All of these nodes execute it, and the answers are alike: the first is the client's.
    Broadcast {
        /// What each executes.
        statements: Vec<NodeStatement>,
        /// What kind of answer each gives.
        gives: Gives,
        /// Whether all of them must see one time.
        clock: Clock,
    },
    /// Each of these nodes has a part of the answer.
    Scatter {
        /// What each executes.
        statements: Vec<NodeStatement>,
        /// How the parts are put together.
        merge: Merge,
        /// Whether all of them must see one time.
        clock: Clock,
    },
    /// A client's file is split by its records.
    Load(Box<Load>),
    /// Rows are pulled to one server that finishes the statement.
    Gather(Box<Gather>),
    /// It reads views of information_schema: their rows are put together under the client's names.
    Dictionary(Box<Dictionary>),
    /// It is refused, with the reason.
    Refuse(RefuseReason),
    /// The columns of these tables have to be learned first.
    Learn(Vec<String>),
}

/// A statement for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatement {
    /// The source, by its position in [`Sharding::sources`].
    pub source: usize,
    /// The shard, by its position; none where no sharded table is involved.
    pub shard: Option<usize>,
    /// The text with physical names.
    pub sql: Vec<u8>,
    /// Which of the client's parameters stand for the `?` of the text, in order.
    pub parameters: Vec<u32>,
    /// The tables whose names changed: as they are there, and as the client knows them.
    pub tables: Vec<(String, String)>,
    /// The rows of an INSERT that it has, as the client's statement counts them from 1; none: all of them.
    pub rows: Vec<u32>,
}

/// Whether the statement reads the clock, which nodes have to be given alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// It does not.
    Unread,
    /// It does: the executor sets `timestamp` on every node.
    Read,
}

/// How parts of an answer are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// Rows.
    Rows(MergeSpec),
    /// Counts of rows are added.
    Affected,
    /// Each says how it would execute its part.
    Explained,
}

/// Plans statements; keeps the memory of its parser.
#[derive(Debug, Default)]
pub struct ShardPlanner {
    parser: Parser,
    facts: ParsedFacts,
    unlisted: Option<String>,
}

impl ShardPlanner {
    /// The plan of a query whose rows cannot be put together, which shows when they come.
    pub fn gather(&mut self, input: &Input<'_>) -> ShardPlan {
        let Ok(ast) = self.parser.parse(input.sql, input.dialect) else {
            return ShardPlan::Refuse(RefuseReason::Routine);
        };
        self.facts.fill(ast, input.sql, input.dialect);
        match Scope::of(*input, ast, &self.facts) {
            Ok(scope) => Stop::Gather(GatherReason::Comparison).into_plan(Some(&scope)),
            Err(stop) => stop.into_plan(None),
        }
    }

    /// How a change is done whose rows have to be found first, over rows of several nodes.
    ///
    /// # Errors
    /// Why it cannot be, or what has to be known first.
    pub fn keyed(&mut self, input: &Input<'_>) -> Result<Keyed, NotKeyed> {
        let ast = match self.parser.parse(input.sql, input.dialect) {
            Ok(ast) => ast,
            Err(error) => {
                let offset = error.offset;
                return Err(NotKeyed::Refused(RefuseReason::Unparsed { offset }));
            }
        };
        self.facts.fill(ast, input.sql, input.dialect);
        let scope = Scope::of(*input, ast, &self.facts).map_err(NotKeyed::from)?;
        keyed::plan(&scope)
    }

    /// How an UPDATE is done that changes the sharding key.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn moving(&mut self, input: &Input<'_>) -> Result<Moving, Unmoved> {
        let parsed = self.parser.parse(input.sql, input.dialect);
        let ast = parsed.map_err(|error| {
            let offset = error.offset;
            Unmoved::Refused(RefuseReason::Unparsed { offset })
        })?;
        self.facts.fill(ast, input.sql, input.dialect);
        let scope = Scope::of(*input, ast, &self.facts).map_err(Unmoved::from)?;
        moving::plan(&scope)
    }

    /// A gather on a connection that sees nothing else: whatever is read is pulled.
    pub fn gather_apart(&mut self, input: &Input<'_>, reason: GatherReason) -> ShardPlan {
        let Ok(ast) = self.parser.parse(input.sql, input.dialect) else {
            return ShardPlan::Refuse(RefuseReason::Routine);
        };
        self.facts.fill(ast, input.sql, input.dialect);
        let scope = match Scope::of(*input, ast, &self.facts) {
            Ok(scope) => scope,
            Err(stop) => return stop.into_plan(None),
        };
        match gather::gather(&scope, reason, gather::Keeps::Nothing) {
            Ok(gather) => ShardPlan::Gather(Box::new(gather)),
            Err(stop) => stop.into_plan(None),
        }
    }

    /// A query with all that it reads pulled to a connection that sees nothing else, and other words over what is pulled.
    fn gather_all(
        &mut self,
        input: &Input<'_>,
        words: keyed::Words<'_>,
    ) -> Result<(Gather, Vec<Copied>), Stop> {
        let parsed = self.parser.parse(input.sql, input.dialect);
        let ast = parsed.map_err(|_| RefuseReason::Routine)?;
        self.facts.fill(ast, input.sql, input.dialect);
        let mut scope = Scope::of(*input, ast, &self.facts)?;
        scope.answers = scope::Answers::Step;
        let keeps = gather::Keeps::Nothing;
        let (gather, splices) = gather::gathered(&scope, GatherReason::ChangeJoin, keeps)?;
        let words = keyed::words(&scope, words, &splices).ok_or(GatherReason::InsertSelect)?;
        Ok((gather, words))
    }

    /// The statement in the words of one node, whatever its values are, for who asks what its columns are; none if it needs
    /// no table, or cannot be parsed, which a server then says better.
    ///
    /// # Errors
    /// Why no node has such words.
    pub fn describe(&mut self, input: &Input<'_>) -> Result<Option<Described>, RefuseReason> {
        match dictionary::query_of_show(input) {
            Some(Ok(sql)) => self.describe_text(&Input {
                sql: &sql,
                ..*input
            }),
            Some(Err(reason)) => Err(reason),
            None => self.describe_text(input),
        }
    }

    fn describe_text(&mut self, input: &Input<'_>) -> Result<Option<Described>, RefuseReason> {
        let Ok(ast) = self.parser.parse(input.sql, input.dialect) else {
            return Ok(None);
        };
        self.facts.fill(ast, input.sql, input.dialect);
        let described = Scope::of(*input, ast, &self.facts).and_then(|scope| {
            if let Some(views) = dictionary::described(&scope) {
                return views.map(|node| Some(node.into()));
            }
            match scope.uses.is_empty() {
                true => Ok(None),
                false => described::of(&scope).map(Some),
            }
        });
        described.map_err(|stop| match stop {
            Stop::Refuse(reason) => reason,
            Stop::Gather(_) => RefuseReason::Routine,
        })
    }

    /// The plan of a statement.
    pub fn plan(&mut self, input: &Input<'_>) -> ShardPlan {
        match dictionary::query_of_show(input) {
            Some(Ok(sql)) => self.plan_text(&Input {
                sql: &sql,
                ..*input
            }),
            Some(Err(reason)) => ShardPlan::Refuse(reason),
            None => self.plan_text(input),
        }
    }

    /// The sharded table whose order of columns the last plan rests on: values without a list of columns are for it.
    #[must_use]
    pub fn unlisted(&self) -> Option<&str> {
        self.unlisted.as_deref()
    }

    fn plan_text(&mut self, input: &Input<'_>) -> ShardPlan {
        self.unlisted = None;
        let ast = match self.parser.parse(input.sql, input.dialect) {
            Ok(ast) => ast,
            Err(error) => {
                return ShardPlan::Refuse(RefuseReason::Unparsed {
                    offset: error.offset,
                });
            }
        };
        self.facts.fill(ast, input.sql, input.dialect);
        let scope = match Scope::of(*input, ast, &self.facts) {
            Ok(scope) => scope,
            Err(stop) => return stop.into_plan(None),
        };
        if let Err(reason) = hinted::check(&scope) {
            return ShardPlan::Refuse(reason);
        }
        if let Some(views) = dictionary::plan(&scope) {
            return views.unwrap_or_else(|stop| stop.into_plan(None));
        }
        self.unlisted = unlisted(&scope);
        if let Some(early) = known_tables(&scope) {
            return early;
        }
        other::plan(&scope).unwrap_or_else(|stop| stop.into_plan(Some(&scope)))
    }
}

/// The sharded table whose columns a statement leaves to their order.
fn unlisted(scope: &Scope<'_>) -> Option<String> {
    let name = match scope.ast.statement().body {
        Body::Insert(insert) => {
            let insert = scope.ast.node(insert)?;
            let of = scope.ast.node(insert.table)?.name;
            insert::is_unlisted(scope.ast, insert).then_some(of)?
        }
        Body::LoadData(load) => {
            let load = scope.ast.node(load)?;
            scope.ast.node(load.table)?.name
        }
        _ => return None,
    };
    let table = scope.uses.get(scope.use_of_name(name)?)?;
    table.sharded().map(|sharded| sharded.name.clone())
}

/// Whether all columns are known that there are to be known.
fn known_tables(scope: &Scope<'_>) -> Option<ShardPlan> {
    let catalog = scope.input.catalog;
    let mut missing: Vec<String> = Vec::new();
    for table in &scope.uses {
        let known = catalog.tables.get(&table.table);
        if known.is_some_and(|known| known.mistyped) {
            let reason = RefuseReason::KeyType(table.table.clone());
            return Some(ShardPlan::Refuse(reason));
        }
        let wanted = catalog.others == Unknown::Learn
            && !matches!(table.place, scope::Place::Single(_))
            && known.is_none_or(|known| known.columns.is_none());
        if wanted && !missing.contains(&table.table) {
            missing.push(table.table.clone());
        }
    }
    (!missing.is_empty()).then_some(ShardPlan::Learn(missing))
}
