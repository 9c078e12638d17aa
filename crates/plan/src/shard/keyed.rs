//! Changes whose rows are found first, by a query over rows of several nodes, and then changed by their keys.
//!
//! Owns the query, and the words around the values that it finds; the statements that these make are planned as if the
//! client had sent them. Must never leave to a shard what it would compute of another row, nor compute elsewhere what
//! follows from the row alone: such assignments go with the change as they are written. Parameters stay parameters, known by
//! their places in the client's text. Input: an INSERT, REPLACE, UPDATE or DELETE.

mod inserted;
mod lent;
mod names;
mod several;

use std::collections::BTreeSet;

use dbmesh_sql::ast::{
    Assignment, Body, ColumnName, ExprId, ExprKind, JoinKind, Limit, List, Name, OrderItem, Select,
    SelectItem, TableRef, Update, With,
};
use dbmesh_sql::parsed::{self, Access};
use dbmesh_sql::{Span, literal};

use super::gather::{self, Gather};
use super::reason::{GatherReason, RefuseReason, Stop};
use super::rewrite::{self, Copied, Splice};
use super::scope::{Scope, Use};
use super::{Input, Parameter, ShardPlanner, write};

pub use lent::{Lent, name as lent_name};

/// The temporary table that takes what the query finds.
pub const FOUND: &str = "mesh_found";

/// The temporary table that has the types of what is lent, and what rows are called that have it.
pub const LENT: &str = "mesh_lent";

/// How a change is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// The table that is changed, by its logical name.
    pub table: String,
    /// What finds the rows, all of it pulled.
    pub find: Gather,
    /// The same in queries of one row each, one after the other; empty where it finds them all at once.
    pub rows: Vec<Copied>,
    /// The columns of the table that the query gives, in its order.
    pub columns: Vec<String>,
    /// Those of them of which it gives seconds since 1970: moments of an hour that a clock shows twice are told apart so.
    pub moments: BTreeSet<String>,
    /// The one of them whose NULL asks for a generated key.
    pub asking: Option<String>,
    /// Words between INSERT and INTO: how values are stored that do not fit.
    pub ignore: bool,
    /// What is done with every row that was found.
    pub then: Then,
    /// The same for other tables that the statement changes, over what is pulled for this one. All are found before any is
    /// changed.
    pub also: Vec<Self>,
}

/// What is done with what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// It becomes rows: `head VALUES (…), (…) tail`.
    Insert {
        /// Before the values.
        head: Vec<u8>,
        /// After them, in parts, with a value that is lent between two of them.
        tail: Vec<Copied>,
        /// What ON DUPLICATE KEY UPDATE reads of the query besides.
        lent: Option<Lent>,
        /// Where they come from.
        rows: RowsOf,
    },
    /// Rows are changed: `head WHERE (keys) IN (…)`.
    Change {
        /// The text before WHERE, in parts, with a value that was found between two of them.
        head: Vec<Copied>,
        /// So many columns are the row's key; the others are the values of the text.
        keys: usize,
        /// The key's columns, as they stand in a condition.
        key: Vec<Vec<u8>>,
        /// Whether rows have to be changed in the order in which they were found.
        in_order: bool,
    },
}

/// Where the rows of an INSERT come from, of which servers say one more or less about what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsOf {
    /// A query.
    Query,
    /// Values, some of which are asked for.
    Values,
}

/// Why a change is not done so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotKeyed {
    /// It is refused.
    Refused(RefuseReason),
    /// It needs rows of several nodes in a way that is not served.
    Unserved(GatherReason),
    /// The columns of this table have to be known.
    Unknown(String),
}

impl From<Stop> for NotKeyed {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refuse(reason) => Self::Refused(reason),
            Stop::Gather(reason) => Self::Unserved(reason),
        }
    }
}

/// The way to change it.
pub(super) fn plan(scope: &Scope<'_>) -> Result<Keyed, NotKeyed> {
    if scope.hangs_on_session() || scope.facts.server_local {
        return Err(NotKeyed::Refused(RefuseReason::SessionState));
    }
    match scope.ast.statement().body {
        Body::Insert(insert) => match scope.ast.node(insert) {
            Some(insert) => inserted::inserted(scope, insert),
            None => Err(NotKeyed::Refused(RefuseReason::Routine)),
        },
        Body::Update(update) => match scope.ast.node(update) {
            Some(update) => changed(scope, &Change::of_update(update)),
            None => Err(NotKeyed::Refused(RefuseReason::Routine)),
        },
        Body::Delete(_) => match rewrite::delete(scope) {
            Some(delete) => changed(
                scope,
                &Change {
                    with: delete.with,
                    ignore: delete.modifiers.ignore,
                    tables: delete.tables,
                    assignments: List::default(),
                    assigned: None,
                    ordered: delete.order_by,
                    limit: delete.limit,
                    returning: delete.returning,
                },
            ),
            None => Err(NotKeyed::Refused(RefuseReason::Routine)),
        },
        _ => Err(NotKeyed::Refused(RefuseReason::Kind(scope.facts.kind))),
    }
}

/// What UPDATE and DELETE have in common.
struct Change {
    with: Option<With>,
    ignore: bool,
    tables: List<dbmesh_sql::ast::Id<TableRef>>,
    assignments: List<Assignment>,
    /// Where the assignments stand.
    assigned: Option<Span>,
    ordered: List<OrderItem>,
    limit: Option<Limit>,
    returning: List<SelectItem>,
}

impl Change {
    fn of_update(update: &Update) -> Self {
        Self {
            with: update.with,
            ignore: update.modifiers.ignore,
            tables: update.tables,
            assignments: update.assignments,
            assigned: Some(update.assignments_span),
            ordered: update.order_by,
            limit: update.limit,
            returning: update.returning,
        }
    }
}

/// What is asked for besides a query, over what it reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Words<'a> {
    Nothing,
    /// What gives these columns of what the query reads, as [`lent_name`] calls them, without rows.
    Types(&'a [Vec<u8>]),
    /// These parts of the query's text, each a query.
    Parts(&'a [Span]),
    /// A query of each of these parts of the list, with what stands behind the list.
    Lists(&'a [Span], usize),
}

/// These words, with what changes in a query's text; none if it has no such columns.
pub(super) fn words(
    scope: &Scope<'_>,
    words: Words<'_>,
    splices: &[Splice],
) -> Option<Vec<Copied>> {
    match words {
        Words::Nothing => Some(Vec::new()),
        Words::Types(lent) => Some(vec![lent::typed(scope, lent, splices)?]),
        Words::Parts(spans) => {
            let part = |span: &Span| rewrite::copy(scope, *span, splices);
            Some(spans.iter().map(part).collect())
        }
        Words::Lists(spans, behind) => Some(several::queries(scope, (spans, behind), splices)),
    }
}

/// The query's plan. Its parameters are the client's.
fn find(scope: &Scope<'_>, query: &Copied) -> Result<Gather, NotKeyed> {
    Ok(find_with(scope, query, Words::Nothing)?.0)
}

/// The same, with other words over what the query reads.
fn find_with(
    scope: &Scope<'_>,
    query: &Copied,
    words: Words<'_>,
) -> Result<(Gather, Vec<Copied>), NotKeyed> {
    let one = |all: &[Parameter], place: &u32| all.get(usize::try_from(*place).ok()?).cloned();
    let values: Option<Vec<Parameter>> = scope.input.parameters.map(|all| {
        let own = query.parameters.iter();
        own.filter_map(|place| one(all, place)).collect()
    });
    let input = Input {
        sql: &query.text,
        parameters: values.as_deref(),
        ..scope.input
    };
    let (mut found, mut more) = ShardPlanner::default().gather_all(&input, words)?;
    let clients = |places: &mut Vec<u32>| {
        for place in places {
            let own = usize::try_from(*place).ok();
            let own = own.and_then(|own| query.parameters.get(own));
            *place = own.copied().unwrap_or(u32::MAX);
        }
    };
    found
        .pulls
        .iter_mut()
        .filter_map(|pull| pull.condition.as_mut())
        .for_each(|condition| clients(&mut condition.parameters));
    if let Some(finish) = &mut found.finish {
        clients(&mut finish.parameters);
    }
    for words in &mut more {
        clients(&mut words.parameters);
    }
    Ok((found, more))
}

/// A part of the client's text.
fn copied(scope: &Scope<'_>, span: Span) -> Copied {
    rewrite::copy(scope, span, &[])
}

fn quoted(name: &str) -> Vec<u8> {
    literal::quote_identifier(name.as_bytes())
}

/// Words without parameters.
fn plain(text: Vec<u8>) -> Copied {
    Copied {
        text,
        parameters: Vec::new(),
    }
}

/// A list of texts.
fn joined(texts: impl Iterator<Item = Copied>) -> Copied {
    let mut all = Copied::default();
    for (number, text) in texts.enumerate() {
        if number > 0 {
            all.push(b", ");
        }
        all.append(text);
    }
    all
}

fn within(outer: Span, inner: Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn value_text(scope: &Scope<'_>, value: ExprId) -> Option<Copied> {
    Some(copied(scope, scope.ast.expr(value)?.span))
}

/// UPDATE and DELETE.
fn changed(scope: &Scope<'_>, change: &Change) -> Result<Keyed, NotKeyed> {
    let unserved = || NotKeyed::Unserved(GatherReason::ChangeJoin);
    let written = |place: &usize| {
        let table = scope.uses.get(*place);
        table.is_some_and(|table| table.access == Access::Write)
    };
    let written: Vec<usize> = (0..scope.uses.len()).filter(written).collect();
    let place = match (names::only_changed(scope, change, &written)?, written.len()) {
        (Some(place), _) => place,
        (None, 0) => return Err(unserved()),
        (None, _) => return several::changed(scope, change),
    };
    if write::reads_target(scope, &[place]) {
        return Err(NotKeyed::Refused(RefuseReason::TargetRead));
    }
    target(scope, change, place)?.plan()
}

/// The table of this use, if its rows are found so.
fn target<'s, 'a>(
    scope: &'s Scope<'a>,
    change: &'s Change,
    place: usize,
) -> Result<Target<'s, 'a>, NotKeyed> {
    let unserved = || NotKeyed::Unserved(GatherReason::ChangeJoin);
    let (Some(table), Some(block)) = (scope.uses.get(place), scope.top()) else {
        return Err(unserved());
    };
    let full = scope
        .joins(block)
        .iter()
        .any(|join| join.kind == JoinKind::Full);
    if table.block != Some(block)
        || scope.nullable(block, place)
        || full
        || !scope.ast.list(change.returning).is_empty()
    {
        return Err(unserved());
    }
    Ok(Target {
        scope,
        change,
        table,
        place,
        block,
        keys: keys(scope, table)?,
    })
}

/// What tells a row from all others, and says on which shard it is.
fn keys(scope: &Scope<'_>, table: &Use<'_>) -> Result<Vec<String>, NotKeyed> {
    let primary = scope.input.catalog.primary(&table.table);
    let primary = primary.ok_or_else(|| NotKeyed::Unknown(table.table.clone()))?;
    if primary.is_empty() {
        return Err(NotKeyed::Refused(RefuseReason::NoPrimaryKey));
    }
    let mut keys = primary.clone();
    for key in table.sharded().iter().flat_map(|t| t.key_columns()) {
        if !keys.contains(&key.name) {
            keys.push(key.name.clone());
        }
    }
    Ok(keys)
}

/// The change of a table, in words, and what it needs.
struct Steps {
    head: Vec<Copied>,
    columns: Vec<String>,
    computed: Vec<Copied>,
}

/// The table that is changed.
struct Target<'s, 'a> {
    scope: &'s Scope<'a>,
    change: &'s Change,
    table: &'s Use<'a>,
    place: usize,
    block: usize,
    keys: Vec<String>,
}

impl Target<'_, '_> {
    fn plan(&self) -> Result<Keyed, NotKeyed> {
        let scope = self.scope;
        let assignments: Vec<&Assignment> =
            scope.ast.list(self.change.assignments).iter().collect();
        let steps = self.steps(&assignments)?;
        let in_order = !scope.ast.list(self.change.ordered).is_empty()
            && assignments
                .iter()
                .any(|a| self.keys.contains(&scope.lower(a.column.name)));
        let mut find = find(scope, &self.query(self.items(steps.computed.clone())))?;
        if let ([pull], Some(first)) = (find.pulls.as_mut_slice(), self.first_rows()?) {
            pull.first = first;
        }
        Ok(self.keyed(find, steps, in_order))
    }

    fn keyed(&self, find: Gather, steps: Steps, in_order: bool) -> Keyed {
        let key = self.keys.iter().map(|key| self.compared(key, quoted(key)));
        Keyed {
            table: self.table.table.clone(),
            find,
            rows: Vec::new(),
            columns: steps.columns,
            moments: self.moments().into_iter().flatten().cloned().collect(),
            asking: None,
            ignore: self.change.ignore,
            then: Then::Change {
                head: steps.head,
                keys: self.keys.len(),
                key: key.collect(),
                in_order,
            },
            also: Vec::new(),
        }
    }

    /// The change, and what has to be found for it.
    fn steps(&self, assignments: &[&Assignment]) -> Result<Steps, NotKeyed> {
        let scope = self.scope;
        let assigned: Vec<String> = assignments
            .iter()
            .map(|assignment| scope.lower(assignment.column.name))
            .collect();
        let mut columns = self.keys.clone();
        let mut computed: Vec<Copied> = Vec::new();
        let mut head = vec![self.verb()];
        for (number, assignment) in assignments.iter().enumerate() {
            if !self.assigns(assignment.column)? {
                return Err(NotKeyed::Unserved(GatherReason::ChangeJoin));
            }
            let column = scope.lower(assignment.column.name);
            if let Some(last) = head.last_mut() {
                last.push(if number == 0 { b" SET " } else { b", " });
                last.push(&quoted(&column));
                last.push(b" = ");
            }
            let text = value_text(scope, assignment.value).unwrap_or_default();
            if self.follows_from_row(assignment.value) {
                if let Some(last) = head.last_mut() {
                    last.append(text);
                }
                continue;
            }
            // Values are computed of what rows were, and what was assigned before counts as assigned.
            let before = assigned.get(..number).unwrap_or_default();
            if self.reads_any(assignment.value, before)? || columns.contains(&column) {
                return Err(NotKeyed::Unserved(GatherReason::ChangeJoin));
            }
            columns.push(column);
            computed.push(text);
            head.push(Copied::default());
        }
        Ok(Steps {
            head,
            columns,
            computed,
        })
    }

    fn moments(&self) -> Option<&BTreeSet<String>> {
        let known = self.scope.input.catalog.tables.get(&self.table.table);
        known.map(|known| &known.moments)
    }

    /// How a column of the key is read and compared.
    fn compared(&self, key: &String, column: Vec<u8>) -> Vec<u8> {
        match self.moments().is_some_and(|moments| moments.contains(key)) {
            true => [&b"UNIX_TIMESTAMP("[..], &column, b")"].concat(),
            false => column,
        }
    }

    /// UPDATE or DELETE, up to its table's name.
    fn verb(&self) -> Copied {
        let scope = self.scope;
        let ignore: &[u8] = if self.change.ignore { b"IGNORE " } else { b"" };
        let name = scope.text(self.table.name.span);
        if self.change.assigned.is_none() {
            return plain([&b"DELETE "[..], ignore, b"FROM ", name].concat());
        }
        let mut verb = [&b"UPDATE "[..], ignore, name].concat();
        if self.table.aliased {
            verb.extend_from_slice(b" AS ");
            verb.extend_from_slice(gather::alias(scope, self.table));
        }
        plain(verb)
    }

    /// What is found of a row: its key, and what is computed of others'.
    fn items(&self, computed: Vec<Copied>) -> Copied {
        let own = self.keys.iter().map(|key| {
            let mut column = gather::alias(self.scope, self.table).to_vec();
            column.push(b'.');
            column.extend(quoted(key));
            plain(self.compared(key, column))
        });
        joined(own.chain(computed))
    }

    /// The query that finds these.
    fn query(&self, items: Copied) -> Copied {
        let scope = self.scope;
        let mut sql = Copied::default();
        if let Some(with) = self.change.with {
            sql.append(copied(scope, with.span));
            sql.push(b" ");
        }
        sql.push(b"SELECT ");
        sql.append(items);
        sql.push(b" FROM ");
        let roots = scope.ast.list(self.change.tables).iter();
        let roots: Vec<Span> = roots
            .filter_map(|root| Some(scope.ast.node(*root)?.span))
            .collect();
        let start = roots.first().map_or(0, |span| span.start);
        let end = roots.last().map_or(start, |span| span.end);
        sql.append(copied(scope, Span { start, end }));
        let rest = Span {
            start: self.change.assigned.map_or(end, |assigned| assigned.end),
            end: scope.ast.statement().span.end,
        };
        sql.append(copied(scope, rest));
        sql
    }

    /// Which rows of every shard are enough, where those that come first of all are among those that come first on each:
    /// the order is of columns, and nothing but the row says whether it is wanted.
    fn first_rows(&self) -> Result<Option<Copied>, NotKeyed> {
        let scope = self.scope;
        let Some(limit) = self.change.limit else {
            return Ok(None);
        };
        let ordered = scope.ast.list(self.change.ordered);
        let by_columns = ordered.iter().all(|item| {
            let column = parsed::column(scope.ast, item.expr);
            column.is_some_and(|column| self.is_ours(column))
        });
        let alone = scope.uses.len() == 1 && scope.ast.all::<Select>().is_empty();
        let whole = gather::says_all(scope, self.block, self.place);
        if !by_columns || !alone || !whole || limit.offset.is_some() || limit.with_ties {
            return Ok(None);
        }
        let qualifiers = rewrite::qualifiers(scope)?;
        let mut first = Copied::default();
        for (number, item) in ordered.iter().enumerate() {
            first.push(if number == 0 { b" ORDER BY " } else { b", " });
            first.append(rewrite::copy(scope, item.span, &qualifiers));
        }
        first.push(b" ");
        first.append(copied(scope, limit.span));
        Ok(Some(first))
    }

    fn is_ours(&self, name: Name) -> bool {
        let scope = self.scope;
        if name.qualifier.is_some() || scope.column(self.block, name).is_some() {
            return scope.column(self.block, name) == Some(self.place);
        }
        let leaves = scope.blocks.get(self.block).map_or(0, |b| b.leaves.len());
        let mut owners = scope
            .of_block(self.block)
            .filter(|(_, table)| scope.has_column(table, &scope.lower(name.name)) != Some(false));
        let known = scope.of_block(self.block).count() == leaves;
        match (owners.next(), owners.next()) {
            (Some((owner, _)), None) => known && owner == self.place,
            // Of the only table, the server says what it has.
            (None, _) => leaves == 1,
            _ => false,
        }
    }

    /// Whether a value can be computed where the row is.
    fn follows_from_row(&self, value: ExprId) -> bool {
        let scope = self.scope;
        let Some(node) = scope.ast.expr(value) else {
            return false;
        };
        if matches!(node.kind, ExprKind::Default) {
            return true;
        }
        let selects = scope.ast.all::<Select>().iter();
        let mut names = scope.ast.all::<ColumnName>().iter();
        !selects
            .into_iter()
            .any(|select| within(node.span, select.span))
            && names.all(|column| !within(node.span, column.name.span) || self.is_ours(column.name))
    }
}
