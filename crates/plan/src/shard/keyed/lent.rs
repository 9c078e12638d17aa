//! What ON DUPLICATE KEY UPDATE reads of the query that gives the rows.
//!
//! Owns which names mean columns of the query's tables, whose values then go with the rows, each with its own type. Must
//! never take a name for one of the query that a server takes for one of the table, nor the other way round: where it may be
//! either, nothing is served. Input: an INSERT with its names resolved, and the query's plan.

use dbmesh_sql::Span;
use dbmesh_sql::ast::{
    Call, CallKind, ColumnName, Distinct, Expr, ExprKind, Id, Insert, InsertSource, Name, Query,
    QueryBody, Select, SelectItemKind, TableRef, TableRefKind,
};
use dbmesh_sql::parsed;

use super::super::reason::GatherReason;
use super::super::rewrite::{self, Copied, Splice};
use super::super::scope::{Scope, Use};
use super::{NotKeyed, copied, within};

/// Columns of the query that the clause reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    /// A query of these columns, named by [`name`], over what is pulled. It gives no row.
    pub typed: Copied,
    /// How many they are.
    pub count: usize,
    /// Which of them stands behind each part of the clause but the last.
    pub places: Vec<usize>,
}

/// The name of a column that is lent.
#[must_use]
pub fn name(place: usize) -> String {
    format!("mesh_{place}")
}

/// The clause, without the columns of the query.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// The text, with such a column between two parts.
    pub parts: Vec<Copied>,
    /// Which column that is.
    pub places: Vec<usize>,
    /// The columns, as they are written, each once.
    pub lent: Vec<Vec<u8>>,
}

impl Split {
    /// The query, with the columns behind its own.
    pub fn lending(&self, scope: &Scope<'_>, query: &Query) -> Option<Copied> {
        if self.lent.is_empty() {
            return Some(copied(scope, query.span));
        }
        let select = only_select(scope, query)?;
        let last = scope.ast.list(select.items).last()?;
        let more = [&b", "[..], &self.lent.join(&b", "[..])].concat();
        let splice = Splice::insert(last.span.end, more);
        Some(rewrite::copy(scope, query.span, &[splice]))
    }
}

/// The parts of a clause, behind what stands before it.
pub(super) fn behind(mut before: Copied, parts: Vec<Copied>) -> Vec<Copied> {
    let mut parts = parts.into_iter();
    if let Some(first) = parts.next() {
        before.push(b" ");
        before.append(first);
    }
    std::iter::once(before).chain(parts).collect()
}

/// Divides ON DUPLICATE KEY UPDATE, which stands there.
pub(super) fn split(
    scope: &Scope<'_>,
    insert: &Insert,
    table: &Use<'_>,
    clause: Span,
) -> Result<Split, NotKeyed> {
    let unserved = || NotKeyed::Unserved(GatherReason::InsertSelect);
    let mut selects = scope.ast.all::<Select>().iter();
    if selects.any(|select| within(clause, select.span)) {
        return Err(unserved());
    }
    let query = match insert.source {
        InsertSource::Query(query) => Some(scope.ast.node(query).ok_or_else(unserved)?),
        _ => None,
    };
    let names = Names {
        scope,
        insert,
        table,
        query,
    };
    let mut found: Vec<Name> = Vec::new();
    let columns = scope.ast.all::<ColumnName>().iter();
    for column in columns.filter(|column| within(clause, column.name.span)) {
        match names.meant(column.name).ok_or_else(unserved)? {
            Meant::Own => {}
            Meant::Query => found.push(column.name),
        }
    }
    found.sort_by_key(|name| name.span.start);
    let mut split = Split::default();
    let mut at = clause.start;
    let part = |start, end| copied(scope, Span { start, end });
    for name in found {
        let text = scope.text(name.span).to_vec();
        let known = split.lent.iter().position(|lent| *lent == text);
        let place = known.unwrap_or_else(|| {
            split.lent.push(text);
            split.lent.len() - 1
        });
        split.places.push(place);
        split.parts.push(part(at, name.span.start));
        at = name.span.end;
    }
    split.parts.push(part(at, clause.end));
    Ok(split)
}

/// A query of these columns of what a query reads, in the words of these splices; none if it reads nothing.
pub(super) fn typed(scope: &Scope<'_>, lent: &[Vec<u8>], splices: &[Splice]) -> Option<Copied> {
    let select = scope.blocks.get(scope.top()?)?.select?;
    let from = select.from?.span;
    let mut sql = Copied::default();
    let with = match scope.ast.statement().body {
        dbmesh_sql::ast::Body::Query(query) => scope.ast.node(query)?.with,
        _ => None,
    };
    if let Some(with) = with {
        sql.append(rewrite::copy(scope, with.span, splices));
        sql.push(b" ");
    }
    sql.push(b"SELECT ");
    let columns = lent.iter().enumerate();
    let columns =
        columns.map(|(place, text)| [text.as_slice(), b" AS ", name(place).as_bytes()].concat());
    sql.push(&columns.collect::<Vec<_>>().join(&b", "[..]));
    sql.push(b" ");
    sql.append(rewrite::copy(scope, from, splices));
    sql.push(b" LIMIT 0");
    Some(sql)
}

/// The SELECT of a query that is nothing else.
fn only_select<'s>(scope: &'s Scope<'_>, query: &Query) -> Option<&'s Select> {
    match query.body {
        QueryBody::Select(select) => scope.ast.node(select),
        _ => None,
    }
}

/// Whose column a name is.
enum Meant {
    /// One of the table.
    Own,
    /// One of the query.
    Query,
}

/// The names that the clause may say.
struct Names<'s, 'a> {
    scope: &'s Scope<'a>,
    insert: &'s Insert,
    table: &'s Use<'a>,
    query: Option<&'s Query>,
}

impl Names<'_, '_> {
    /// Whose column a name certainly is.
    fn meant(&self, name: Name) -> Option<Meant> {
        let scope = self.scope;
        let exprs = scope.ast.all::<Expr>();
        let inserted = exprs
            .iter()
            .any(|e| matches!(e.kind, ExprKind::ValuesOf(_)) && within(e.span, name.span));
        let leaves = match inserted {
            true => Vec::new(),
            false => self.leaves(),
        };
        let column = scope.lower(name.name);
        let own = scope.has_column(self.table, &column);
        let lender = self.lender();
        let Some(qualifier) = name.qualifier else {
            // What the table has not, a server looks for in the query, if it looks there at all.
            let others = leaves.iter().map(|leaf| self.leaf_has(*leaf, &column));
            let others: Vec<Option<bool>> = others.collect();
            return match own? {
                true => others
                    .iter()
                    .all(|has| *has == Some(false))
                    .then_some(Meant::Own),
                false => (others.contains(&Some(true)) && self.may_lend(lender?, name))
                    .then_some(Meant::Query),
            };
        };
        let qualifier = scope.lower(qualifier);
        let alias = self.insert.row_alias.map(|alias| scope.lower(alias));
        let ours = qualifier == self.table.exposed || alias.as_ref() == Some(&qualifier);
        let exposes = |leaf: &&Id<TableRef>| scope.exposed(**leaf).as_ref() == Some(&qualifier);
        let theirs = leaves.iter().filter(exposes).count();
        match (ours, theirs) {
            (true, 0) => Some(Meant::Own),
            (false, 1) if name.schema.is_none() => {
                self.may_lend(lender?, name).then_some(Meant::Query)
            }
            _ => None,
        }
    }

    /// The tables of the query among whose columns a name may be.
    fn leaves(&self) -> Vec<Id<TableRef>> {
        let blocks = self.scope.blocks.iter();
        let lender = self.lender();
        // Of a query that lends nothing, servers differ in what they look at.
        let looked = blocks.filter(|block| match lender {
            Some(select) => block.select.is_some_and(|s| s.block == select.block),
            None => self.query.is_some(),
        });
        looked.flat_map(|block| block.leaves.clone()).collect()
    }

    /// The SELECT whose tables' columns are known in the clause: its rows are those of its tables.
    fn lender(&self) -> Option<&Select> {
        let select = only_select(self.scope, self.query?)?;
        let mut calls = self.scope.ast.all::<Call>().iter();
        let aggregates = calls.any(|call| {
            call.block == select.block && call.kind == CallKind::Aggregate && call.over.is_none()
        });
        let plain = select.group_by.is_none() && select.having.is_none() && !aggregates;
        plain.then_some(select)
    }

    /// Whether the column can be had beside those of the query. Beside rows that are made different, it would make more of
    /// them.
    fn may_lend(&self, select: &Select, name: Name) -> bool {
        let scope = self.scope;
        let lower = |name: Name| {
            let qualifier = name.qualifier.map(|qualifier| scope.lower(qualifier));
            (qualifier, scope.lower(name.name))
        };
        let mut items = scope.ast.list(select.items).iter();
        select.distinct == Distinct::All
            || items.any(|item| match item.kind {
                SelectItemKind::Expr(expr) => {
                    let column = parsed::column(scope.ast, expr);
                    column.is_some_and(|column| lower(column) == lower(name))
                }
                SelectItemKind::Star | SelectItemKind::TableStar(_) => false,
            })
    }

    /// Whether a table of the query has such a column; none if that is not known.
    fn leaf_has(&self, leaf: Id<TableRef>, column: &str) -> Option<bool> {
        let scope = self.scope;
        let mut uses = scope.uses.iter();
        if let Some(table) = uses.find(|table| table.table_ref == Some(leaf)) {
            return scope.has_column(table, column);
        }
        let node = scope.ast.node(leaf)?;
        let TableRefKind::Derived { query, .. } = node.kind else {
            return None;
        };
        let names = scope.ast.list(node.columns);
        if !names.is_empty() {
            return Some(names.iter().any(|name| scope.lower(name.name) == column));
        }
        let select = only_select(scope, scope.ast.node(query)?)?;
        let mut has = Some(false);
        for item in scope.ast.list(select.items) {
            let name = match (item.alias, item.kind) {
                (Some(alias), _) => alias,
                (None, SelectItemKind::Expr(expr)) => parsed::column(scope.ast, expr)?.name,
                (None, _) => return None,
            };
            if scope.lower(name) == column {
                has = Some(true);
            }
        }
        has
    }
}
