//! An UPDATE that gives rows another sharding key, so that they belong to another shard.
//!
//! Owns which of them can be done exactly: every row that is changed gets the same key, which is known, and so one shard.
//! The shards change their rows in place first, as one server would; then those with the new key, which belong nowhere else,
//! go where they belong. Must never leave a row where no statement looks for it. Input: an UPDATE, its values in its text.

use std::fmt;

use dbmesh_model::topology::sharding::{KeyKind, ShardedTable};
use dbmesh_sql::ast::{Assignment, Body, Update};
use dbmesh_sql::parsed::{self, Access};
use dbmesh_sql::{Facts, literal};

use super::locality::Locality;
use super::reason::{RefuseReason, Stop};
use super::route::{self, Route};
use super::scope::{Scope, Use};
use super::slots::Positions;
use super::value::{Compared, KeyValue};
use super::{NodeStatement, PullPart, algorithm, read, rewrite};

/// How rows move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// The table, by its logical name.
    pub table: String,
    /// The change, at every shard that may have such rows.
    pub statements: Vec<NodeStatement>,
    /// Where the rows belong afterwards.
    pub to: PullPart,
    /// What tells them, where they do not.
    pub condition: Vec<u8>,
}

/// Why rows do not move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmoved {
    /// It is refused for what it is.
    Refused(RefuseReason),
    /// The new value is no literal and no parameter.
    Computed,
    /// The new value is given, but what the column makes of it is not known.
    Stored,
    /// Different texts may be equal as keys.
    Collated,
    /// Another column of the key, or a hint, chooses the shard as well.
    Others,
    /// Other tables are read.
    Joined,
    /// IGNORE, PARTITION or RETURNING.
    Modified,
    /// LIMIT over several shards.
    Limited,
}

impl fmt::Display for Unmoved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(reason) => return f.write_str(&reason.why()),
            Self::Computed => "its new value is neither a literal nor a parameter",
            Self::Stored => "its new value is written otherwise than its column stores it",
            Self::Collated => "its column compares texts by a collation",
            Self::Others => "a column that is not assigned, or a hint, chooses the shard too",
            Self::Joined => "it reads other tables",
            Self::Modified => "IGNORE, PARTITION and RETURNING are not served with it",
            Self::Limited => "LIMIT over several shards is not served with it",
        })
    }
}

impl From<Stop> for Unmoved {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refuse(reason) => Self::Refused(reason),
            Stop::Gather(_) => Self::Joined,
        }
    }
}

/// The way to change it.
pub(super) fn plan(scope: &Scope<'_>) -> Result<Moving, Unmoved> {
    let Body::Update(update) = scope.ast.statement().body else {
        return Err(Unmoved::Refused(RefuseReason::KeyUpdate));
    };
    let update = scope.ast.node(update).ok_or(Unmoved::Joined)?;
    let [table] = scope.uses.as_slice() else {
        return Err(Unmoved::Joined);
    };
    let sharded = table.sharded().ok_or(Unmoved::Joined)?;
    if table.access != Access::Write || table.block != scope.top() {
        return Err(Unmoved::Joined);
    }
    if update.modifiers.ignore || !scope.ast.list(update.returning).is_empty() {
        return Err(Unmoved::Modified);
    }
    if scope.facts.session != Facts::NONE || scope.facts.server_local {
        return Err(Unmoved::Refused(RefuseReason::SessionState));
    }
    let keys = keys(scope, update, table, sharded)?;
    let shard = shard(sharded, &keys)?;
    let to = sharded.shards.get(shard).ok_or(Unmoved::Others)?;
    Ok(Moving {
        table: table.table.clone(),
        statements: statements(scope, update)?,
        to: PullPart {
            source: to.source,
            shard: Some(shard),
            table: to.table.clone(),
        },
        condition: condition(&keys),
    })
}

/// A column of the key, and what it is assigned.
struct Key<'a> {
    column: &'a str,
    value: KeyValue,
    text: &'a [u8],
}

/// All columns of the key, each assigned once.
fn keys<'a>(
    scope: &Scope<'a>,
    update: &Update,
    table: &Use<'_>,
    sharded: &'a ShardedTable,
) -> Result<Vec<Key<'a>>, Unmoved> {
    let assignments = scope.ast.list(update.assignments);
    let mut found: Vec<Key<'a>> = Vec::new();
    for key in sharded.key_columns() {
        if found.iter().any(|known| known.column == key.name) {
            continue;
        }
        let ours = |assignment: &&Assignment| {
            let qualifier = assignment.column.qualifier.map(|q| scope.lower(q));
            scope.lower(assignment.column.name) == key.name
                && qualifier.is_none_or(|q| q == table.exposed)
        };
        let mut assigned = assignments.iter().filter(ours);
        let (Some(assignment), None) = (assigned.next(), assigned.next()) else {
            return Err(Unmoved::Others);
        };
        if key.kind == KeyKind::Collated {
            return Err(Unmoved::Collated);
        }
        let operand = parsed::operand(scope.ast, assignment.value).ok_or(Unmoved::Computed)?;
        let value = match scope.reading().stored(key.kind, operand) {
            Compared::Value(value) => value,
            Compared::Null => return Err(Unmoved::Refused(RefuseReason::KeyNull)),
            _ => return Err(Unmoved::Stored),
        };
        let node = scope.ast.expr(assignment.value).ok_or(Unmoved::Computed)?;
        let text = scope.text(node.span);
        // It is read under another sql_mode as well.
        if text.contains(&b'\\') || text.contains(&b'"') {
            return Err(Unmoved::Stored);
        }
        found.push(Key {
            column: &key.name,
            value,
            text,
        });
    }
    Ok(found)
}

/// The only shard for these values.
fn shard(sharded: &ShardedTable, keys: &[Key<'_>]) -> Result<usize, Unmoved> {
    let mut set = Positions::all(sharded.shards.len());
    for axis in sharded.database.iter().chain(&sharded.table) {
        if axis.columns.is_empty() {
            return Err(Unmoved::Others);
        }
        let value = |name: &str| {
            let key = keys.iter().find(|key| key.column == name);
            key.map(|key| key.value.clone())
        };
        let values = axis.columns.iter().map(|column| value(&column.name));
        let values = values.collect::<Option<Vec<_>>>().ok_or(Unmoved::Others)?;
        let slot = algorithm::slot(axis, &values);
        set.intersect(&algorithm::shards(
            sharded,
            axis,
            &algorithm::of_slot(axis.targets.len(), slot),
        ));
    }
    match (set.first(), set.len()) {
        (Some(only), 1) => Ok(only),
        (None, _) => Err(Unmoved::Refused(RefuseReason::KeyNowhere)),
        _ => Err(Unmoved::Refused(RefuseReason::KeyUnknown)),
    }
}

fn statements(scope: &Scope<'_>, update: &Update) -> Result<Vec<NodeStatement>, Unmoved> {
    let locality = Locality::of(scope);
    Ok(match route::route(scope, &locality)? {
        Route::One(target) => vec![rewrite::statement(scope, &target, &[])?],
        Route::Many(_) if update.limit.is_some() => return Err(Unmoved::Limited),
        Route::Many(set) => {
            read::aggregates_are_inner(scope)?;
            read::statements(scope, &locality, &set, &[])?
        }
    })
}

fn condition(keys: &[Key<'_>]) -> Vec<u8> {
    let one = |key: &Key<'_>| {
        let column = literal::quote_identifier(key.column.as_bytes());
        [&column, &b" = "[..], key.text].concat()
    };
    let all: Vec<Vec<u8>> = keys.iter().map(one).collect();
    all.join(&b" AND "[..])
}
