//! Keys that follow from the rows: what a row's key becomes is computed by its server, in the read that locks the row.
//!
//! Owns that read, what it says of every row, and whether one server would have changed them one after the other without an
//! error. Must never take a value for one that its column would store otherwise. Input: an UPDATE; then the values of
//! the read.

use std::collections::{BTreeSet, HashMap};

use dbmesh_model::topology::sharding::{KeyKind, ShardedTable};
use dbmesh_sql::ast::{Assignment, ColumnName, ExprId, ExprKind, Select, Update};
use dbmesh_sql::{Span, literal, parsed};

use super::super::gather::{Unique, alias};
use super::super::reason::RefuseReason;
use super::super::rewrite::{self, Copied, Naming, Splice};
use super::super::route::Target;
use super::super::scope::{Scope, Use};
use super::super::value::{Compared, KeyValue, canonical_integer, loaded};
use super::super::{KeyLimit, NodeStatement, write};
use super::{Unmoved, assigns, shard};

/// Bytes of keys in one condition; a longer one goes alone.
const CONDITION_BYTES: usize = 64 << 10;

/// All rows, whatever the session's `sql_select_limit` is.
const ALL: &[u8] = b" LIMIT 18446744073709551615";

/// How keys are computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// What finds the rows, with locks, at each shard: where the statement of the same place changes them.
    pub finds: Vec<NodeStatement>,
    /// What it gives, each twice: the column's value, and the one that it is assigned.
    columns: Vec<Found>,
    /// In which order rows are changed: by these columns, descending or not. None: in one that is not known.
    order: Option<Vec<(usize, bool)>>,
    /// All columns that are assigned, in lower case.
    pub assigned: BTreeSet<String>,
}

/// A column of the sharding key, or of the primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    name: String,
    assigned: bool,
    /// Of the sharding key.
    key: Option<KeyKind>,
    limit: Option<KeyLimit>,
}

/// A row that is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rekeyed {
    /// Where it belongs afterwards.
    pub shard: usize,
    before: Row,
    after: Row,
    /// The new key, as it stands in a condition.
    key: Vec<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    key: Vec<KeyValue>,
    /// Of the other columns of the primary key; none where equal texts are not all that is equal.
    rest: Vec<Option<i128>>,
}

/// Whether columns of the primary key are assigned that do not choose the shard: rows of several shards may then get keys
/// from each other.
pub(super) fn changes_primary(
    scope: &Scope<'_>,
    update: &Update,
    table: &Use<'_>,
    sharded: &ShardedTable,
) -> Result<bool, Unmoved> {
    let primary = primary(scope, table)?;
    let assignments = scope.ast.list(update.assignments);
    Ok(primary
        .iter()
        .filter(|column| !sharded.is_key(column))
        .any(|column| assignments.iter().any(|a| assigns(scope, table, a, column))))
}

fn primary<'s>(scope: &Scope<'s>, table: &Use<'_>) -> Result<&'s [String], Unmoved> {
    let primary = scope.input.catalog.primary(&table.table);
    primary
        .map(Vec::as_slice)
        .ok_or_else(|| Unmoved::Unknown(table.table.clone()))
}

/// The reads, one for every place.
pub(super) fn plan(
    scope: &Scope<'_>,
    update: &Update,
    table: &Use<'_>,
    places: &[(Target, Vec<Splice>)],
) -> Result<Computed, Unmoved> {
    if update.limit.is_some() {
        return Err(Unmoved::Limited);
    }
    if update.with.is_some() || !scope.ast.all::<Select>().is_empty() {
        return Err(Unmoved::Joined);
    }
    if !scope.facts.tables_known {
        return Err(Unmoved::Refused(RefuseReason::Routine));
    }
    if !write::deterministic(scope) {
        return Err(Unmoved::Varying);
    }
    let columns = columns(scope, table)?;
    let assignments = scope.ast.list(update.assignments);
    let mut read = Vec::new();
    let mut found = Vec::new();
    for mut column in columns {
        let ours = |a: &&Assignment| assigns(scope, table, a, &column.name);
        let mut assigned = assignments.iter().enumerate().filter(|(_, a)| ours(a));
        let value = match (assigned.next(), assigned.next()) {
            (None, _) => Ok(Value::Kept),
            (Some((place, assignment)), None) => {
                let before = assignments.get(..place).unwrap_or_default();
                value(scope, table, assignment.value, before)
            }
            _ => Err(Unmoved::Others),
        };
        // Where the row goes has to be known; what else it is may be anything.
        let value = match column.key {
            Some(_) => value?,
            None => value.unwrap_or(Value::Unknown),
        };
        column.assigned = value != Value::Kept;
        read.push((column.name.clone(), value));
        found.push(column);
    }
    let find = |(target, parts): &(Target, Vec<Splice>)| {
        find(scope, update, table, (target, parts), &read)
    };
    Ok(Computed {
        finds: places.iter().map(find).collect::<Result<_, _>>()?,
        order: order(scope, update, table, &found),
        assigned: assignments
            .iter()
            .map(|a| scope.lower(a.column.name))
            .collect(),
        columns: found,
    })
}

/// Columns of the sharding key, then the others of the primary key.
fn columns(scope: &Scope<'_>, table: &Use<'_>) -> Result<Vec<Found>, Unmoved> {
    let catalog = scope.input.catalog;
    let mut found: Vec<Found> = Vec::new();
    for key in table.sharded().iter().flat_map(|t| t.key_columns()) {
        if key.kind == KeyKind::Collated {
            return Err(Unmoved::Collated);
        }
        if found.iter().all(|known| known.name != key.name) {
            found.push(Found {
                name: key.name.clone(),
                assigned: false,
                key: Some(key.kind),
                limit: catalog.limit(&table.table, &key.name),
            });
        }
    }
    for name in primary(scope, table)? {
        if found.iter().all(|known| known.name != *name) {
            found.push(Found {
                name: name.clone(),
                assigned: false,
                key: None,
                limit: None,
            });
        }
    }
    Ok(found)
}

/// What a column becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// What it is.
    Kept,
    /// What these words say.
    Said(Span),
    /// Something that cannot be computed before.
    Unknown,
}

/// What a column is assigned, if that can be computed before anything is changed.
fn value(
    scope: &Scope<'_>,
    table: &Use<'_>,
    value: ExprId,
    before: &[Assignment],
) -> Result<Value, Unmoved> {
    let node = scope.ast.expr(value).ok_or(Unmoved::Default)?;
    if matches!(node.kind, ExprKind::Default) {
        return Err(Unmoved::Default);
    }
    let inside = |span: Span| node.span.start <= span.start && span.end <= node.span.end;
    let mut read = scope.ast.all::<ColumnName>().iter();
    let chained = read.any(|column| {
        let name = scope.lower(column.name.name);
        inside(column.name.span) && before.iter().any(|a| assigns(scope, table, a, &name))
    });
    match chained {
        true => Err(Unmoved::Chained),
        false => Ok(Value::Said(node.span)),
    }
}

/// The read at a place: the table and the condition of the change, with columns instead of its assignments.
fn find(
    scope: &Scope<'_>,
    update: &Update,
    table: &Use<'_>,
    (target, parts): (&Target, &[Splice]),
    read: &[(String, Value)],
) -> Result<NodeStatement, Unmoved> {
    let mut node = rewrite::statement(scope, target, parts)?;
    let mut splices = rewrite::splices(scope, Naming::Target(target), Vec::new())?;
    splices.extend_from_slice(parts);
    let copied = |span: Span| rewrite::copy(scope, span, &splices);
    let mut sql = Copied::default();
    sql.push(b"SELECT ");
    for (number, (name, value)) in read.iter().enumerate() {
        let quoted = literal::quote_identifier(name.as_bytes());
        let column = [alias(scope, table), b".", &quoted].concat();
        if number > 0 {
            sql.push(b", ");
        }
        sql.push(&column);
        sql.push(b", ");
        match value {
            Value::Kept => sql.push(&column),
            Value::Said(span) => sql.append(copied(*span)),
            Value::Unknown => sql.push(b"NULL"),
        }
    }
    let mut roots = scope.ast.list(update.tables).iter();
    let root = roots.next().and_then(|root| scope.ast.node(*root));
    let (Some(root), None) = (root, roots.next()) else {
        return Err(Unmoved::Joined);
    };
    // An alias may be put right behind the table.
    sql.push(b" FROM ");
    sql.append(copied(root.span));
    if let Some(selection) = update.selection {
        sql.push(b" ");
        sql.append(copied(selection.span));
    }
    sql.push(&[ALL, b" FOR UPDATE"].concat());
    (node.sql, node.parameters) = (sql.text, sql.parameters);
    Ok(node)
}

/// By which of the columns rows are sorted before they are changed; none where it is not by them alone.
fn order(
    scope: &Scope<'_>,
    update: &Update,
    table: &Use<'_>,
    found: &[Found],
) -> Option<Vec<(usize, bool)>> {
    let items = scope.ast.list(update.order_by);
    let item = |item: &dbmesh_sql::ast::OrderItem| {
        let name = parsed::column(scope.ast, item.expr)?;
        let ours = name
            .qualifier
            .is_none_or(|q| scope.lower(q) == table.exposed);
        let name = scope.lower(name.name);
        let place = found.iter().position(|column| column.name == name)?;
        ours.then_some((place, item.descending))
    };
    let all = items.iter().map(item).collect::<Option<Vec<_>>>()?;
    (!all.is_empty()).then_some(all)
}

impl Computed {
    /// How many values a row of the read has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len() * 2
    }

    /// What becomes of a row, of which these are the values. Texts are UTF-8, or not.
    ///
    /// # Errors
    /// Why it cannot move.
    pub fn row(
        &self,
        sharded: &ShardedTable,
        values: &[Option<&[u8]>],
        utf8: bool,
    ) -> Result<Rekeyed, Unmoved> {
        let (mut before, mut after) = (Row::default(), Row::default());
        let mut words = Vec::new();
        for (place, column) in self.columns.iter().enumerate() {
            let value = |at: usize| values.get(at).copied().flatten();
            let (old, new) = (value(place * 2), value(place * 2 + 1));
            let Some(kind) = column.key else {
                let number = |value: Option<&[u8]>| value.and_then(canonical_integer);
                before.rest.push(number(old));
                after.rest.push(number(new));
                continue;
            };
            before.key.push(key(kind, old, utf8)?);
            let (key, new) = (key(kind, new, utf8)?, new.unwrap_or_default());
            if column.assigned && !is_stored(kind, column.limit, &key) {
                return Err(Unmoved::Stored);
            }
            words.push(match kind {
                KeyKind::Integer => new.to_vec(),
                _ => literal::quote_literal(new, false),
            });
            after.key.push(key);
        }
        let mut keys = self.columns.iter().filter(|column| column.key.is_some());
        let named: Vec<&str> = keys.by_ref().map(|column| column.name.as_str()).collect();
        let value = |name: &str| {
            let at = named.iter().position(|known| *known == name)?;
            after.key.get(at).cloned()
        };
        Ok(Rekeyed {
            shard: shard(sharded, value)?,
            before,
            key: [&b"("[..], &words.join(&b", "[..]), b")"].concat(),
            after,
        })
    }

    /// Conditions that tell these rows by their new keys, each with how many of them it tells.
    pub fn conditions<'r>(&self, rows: impl Iterator<Item = &'r Rekeyed>) -> Vec<(Vec<u8>, u64)> {
        let keys = self.columns.iter().filter(|column| column.key.is_some());
        let names = keys.map(|column| literal::quote_identifier(column.name.as_bytes()));
        let names: Vec<Vec<u8>> = names.collect();
        let head = [&b"("[..], &names.join(&b", "[..]), b") IN ("].concat();
        let mut counts: HashMap<&[u8], u64> = HashMap::new();
        let mut distinct: Vec<&[u8]> = Vec::new();
        for row in rows {
            let count = counts.entry(&row.key).or_default();
            if *count == 0 {
                distinct.push(&row.key);
            }
            *count += 1;
        }
        let mut conditions: Vec<(Vec<u8>, u64)> = Vec::new();
        for key in distinct {
            let count = counts.get(key).copied().unwrap_or_default();
            match conditions.last_mut() {
                Some((text, all)) if text.len() + key.len() < CONDITION_BYTES => {
                    text.extend_from_slice(b", ");
                    text.extend_from_slice(key);
                    *all += count;
                }
                _ => conditions.push(([head.as_slice(), key].concat(), count)),
            }
        }
        for (text, _) in &mut conditions {
            text.push(b')');
        }
        conditions
    }

    /// Whether a row would get a key that another one has until it is changed itself, and so an error if it came first.
    /// Those of one shard its server sees itself; `rows` are of all shards, each with the one it comes from.
    #[must_use]
    pub fn clashes(&self, rows: &[(usize, Rekeyed)], unique: Unique) -> bool {
        if unique == Unique::No {
            return false;
        }
        let mut by_key: HashMap<&[KeyValue], Vec<&(usize, Rekeyed)>> = HashMap::new();
        for row in rows {
            by_key.entry(&row.1.before.key).or_default().push(row);
        }
        let alike = |one: &Row, other: &Row| {
            let mut pairs = one.rest.iter().zip(&other.rest);
            unique == Unique::More || pairs.all(|(a, b)| a.is_none() || b.is_none() || a == b)
        };
        let moved = rows.iter().filter(|(from, row)| *from != row.shard);
        moved.into_iter().any(|(_, row)| {
            let mut there = by_key.get(row.after.key.as_slice()).into_iter().flatten();
            there.any(|(_, other)| alike(&row.after, &other.before) && !self.precedes(other, row))
        })
    }

    /// Whether a row is certainly changed before another.
    fn precedes(&self, one: &Rekeyed, other: &Rekeyed) -> bool {
        use std::cmp::Ordering;
        let keys = self.columns.iter().filter(|c| c.key.is_some()).count();
        let ordinal = |row: &Rekeyed, place: usize| match place.checked_sub(keys) {
            None => row.before.key.get(place)?.ordinal(),
            Some(place) => row.before.rest.get(place).copied().flatten(),
        };
        for (place, descending) in self.order.iter().flatten() {
            let (Some(one), Some(other)) = (ordinal(one, *place), ordinal(other, *place)) else {
                return false;
            };
            match (one.cmp(&other), descending) {
                (Ordering::Equal, _) => {}
                (Ordering::Less, false) | (Ordering::Greater, true) => return true,
                _ => return false,
            }
        }
        false
    }
}

/// The value of a column of the key, from the text that its server gives.
fn key(kind: KeyKind, text: Option<&[u8]>, utf8: bool) -> Result<KeyValue, Unmoved> {
    let text = text.ok_or(Unmoved::Refused(RefuseReason::KeyNull))?;
    match loaded(kind, text, utf8) {
        Compared::Value(value) => Ok(value),
        _ => Err(Unmoved::Stored),
    }
}

/// Whether a column stores exactly this value.
fn is_stored(kind: KeyKind, limit: Option<KeyLimit>, value: &KeyValue) -> bool {
    match (kind, value) {
        (KeyKind::Date | KeyKind::Datetime, _) => true,
        // CHAR does not keep them.
        (_, KeyValue::Text(text)) if text.ends_with(b" ") => false,
        _ => limit.is_some_and(|limit| limit.holds(value)),
    }
}

#[cfg(test)]
mod tests;
