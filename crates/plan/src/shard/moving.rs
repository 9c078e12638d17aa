//! An UPDATE that gives rows another sharding key, so that they belong to another shard.
//!
//! Owns which of them can be done exactly: every row that is changed gets the same key, which is known, or one that its
//! server computes before, while it locks the row. The shards change their rows in place, as one server would; then those
//! that belong elsewhere, which nothing but their new key tells, go there. Must never leave a row where no statement looks
//! for it. Input: an UPDATE.

mod computed;

use std::fmt;

use dbmesh_model::topology::sharding::{KeyKind, ShardedTable};
use dbmesh_sql::ast::{Assignment, Body, Update};
use dbmesh_sql::parsed::{self, Access, Operand};
use dbmesh_sql::{Facts, literal};

pub use self::computed::{Computed, Rekeyed};
use super::locality::Locality;
use super::reason::{RefuseReason, Stop};
use super::rewrite::Splice;
use super::route::{self, Route, Target};
use super::scope::{Scope, Use};
use super::slots::Positions;
use super::value::{Compared, KeyValue, Said};
use super::{NodeStatement, PullPart, algorithm, read, rewrite};

/// How rows move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// The table, by its logical name.
    pub table: String,
    /// The change, at every shard that may have such rows.
    pub statements: Vec<NodeStatement>,
    /// Where its rows go.
    pub going: Going,
}

/// Where rows belong after their change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Going {
    /// All to one place.
    To {
        /// That place.
        to: PullPart,
        /// What tells them, where they do not belong.
        condition: Vec<u8>,
    },
    /// Each where its new key says.
    Computed(Computed),
}

/// Why rows do not move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmoved {
    /// It is refused for what it is.
    Refused(RefuseReason),
    /// The new value is DEFAULT.
    Default,
    /// The primary key of this table has to be known.
    Unknown(String),
    /// What is computed is another value each time.
    Varying,
    /// It is computed of a column that the statement changes before.
    Chained,
    /// The order of rows decides whether two keys are equal for a moment.
    Clashing,
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
            Self::Default => "its new value is DEFAULT",
            Self::Unknown(_) => "the columns of its table are not known",
            Self::Varying => "its new value, or which rows are changed, is another each time it is computed",
            Self::Chained => "its new value is computed of a column that is assigned before",
            Self::Clashing => {
                "a row would get the key that another one has until then: whether that is an error is a question of their order"
            }
            Self::Stored => "its new value is written otherwise than its column stores it",
            Self::Collated => "its column compares texts by a collation",
            Self::Others => "a column that is assigned twice, or a hint, chooses the shard too",
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
    let places = places(scope, update)?;
    let going = match keys(scope, update, table, sharded) {
        // Of one shard, its server sees the keys of all rows.
        Ok(keys)
            if places.len() == 1 || !computed::changes_primary(scope, update, table, sharded)? =>
        {
            let value = |name: &str| {
                let key = keys.iter().find(|key| key.column == name);
                key.map(|key| key.value.clone())
            };
            let shard = shard(sharded, value)?;
            let to = sharded.shards.get(shard).ok_or(Unmoved::Others)?;
            let to = PullPart {
                source: to.source,
                shard: Some(shard),
                table: to.table.clone(),
            };
            let condition = condition(&keys);
            Going::To { to, condition }
        }
        // Its server says what it comes to.
        Ok(_) | Err(Unmoved::Stored | Unmoved::Others) => {
            Going::Computed(computed::plan(scope, update, table, &places)?)
        }
        Err(why) => return Err(why),
    };
    let statement = |(target, parts): &(Target, Vec<Splice>)| {
        rewrite::statement(scope, target, parts).map_err(Unmoved::from)
    };
    Ok(Moving {
        table: table.table.clone(),
        statements: places.iter().map(statement).collect::<Result<_, _>>()?,
        going,
    })
}

/// A column of the key, and what it is assigned.
struct Key<'a> {
    column: &'a str,
    value: KeyValue,
    text: Vec<u8>,
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
        let ours = |assignment: &&Assignment| assigns(scope, table, assignment, &key.name);
        if key.kind == KeyKind::Collated {
            return Err(Unmoved::Collated);
        }
        let mut assigned = assignments.iter().filter(ours);
        let (Some(assignment), None) = (assigned.next(), assigned.next()) else {
            return Err(Unmoved::Others);
        };
        let operand = parsed::operand(scope.ast, assignment.value).ok_or(Unmoved::Stored)?;
        let value = match scope.reading().stored(key.kind, operand) {
            Compared::Value(value) => value,
            Compared::Null => return Err(Unmoved::Refused(RefuseReason::KeyNull)),
            _ => return Err(Unmoved::Stored),
        };
        let node = scope.ast.expr(assignment.value).ok_or(Unmoved::Stored)?;
        let text = match operand {
            Operand::Parameter(..) => literal_of(scope, &value, operand).ok_or(Unmoved::Stored)?,
            _ => scope.text(node.span).to_vec(),
        };
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

/// What a bound value would be in the text.
fn literal_of(scope: &Scope<'_>, value: &KeyValue, operand: Operand) -> Option<Vec<u8>> {
    match (value, scope.reading().said(operand)) {
        (KeyValue::Integer(number), _) => Some(number.to_string().into_bytes()),
        (_, Said::Text(text)) => Some(literal::quote_literal(&text, false)),
        _ => None,
    }
}

fn assigns(scope: &Scope<'_>, table: &Use<'_>, assignment: &Assignment, column: &str) -> bool {
    let qualifier = assignment.column.qualifier.map(|q| scope.lower(q));
    scope.lower(assignment.column.name) == column && qualifier.is_none_or(|q| q == table.exposed)
}

/// The only shard for the values of these columns.
fn shard(
    sharded: &ShardedTable,
    value: impl Fn(&str) -> Option<KeyValue>,
) -> Result<usize, Unmoved> {
    let mut set = Positions::all(sharded.shards.len());
    for axis in sharded.database.iter().chain(&sharded.table) {
        if axis.columns.is_empty() {
            return Err(Unmoved::Others);
        }
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

/// Where rows may be changed, with what differs in the text there.
fn places(scope: &Scope<'_>, update: &Update) -> Result<Vec<(Target, Vec<Splice>)>, Unmoved> {
    let locality = Locality::of(scope);
    Ok(match route::route(scope, &locality)? {
        Route::One(target) => vec![(target, Vec::new())],
        Route::Many(_) if update.limit.is_some() => return Err(Unmoved::Limited),
        Route::Many(set) => {
            read::aggregates_are_inner(scope)?;
            read::parts(scope, &locality, &set)?
        }
    })
}

fn condition(keys: &[Key<'_>]) -> Vec<u8> {
    let one = |key: &Key<'_>| {
        let column = literal::quote_identifier(key.column.as_bytes());
        [&column, &b" = "[..], &key.text].concat()
    };
    let all: Vec<Vec<u8>> = keys.iter().map(one).collect();
    all.join(&b" AND "[..])
}
