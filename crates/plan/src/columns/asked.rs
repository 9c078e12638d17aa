//! Which values bind the rows that the query blocks of a statement ask for.
//!
//! Owns the walk over blocks, their tables and what binds those: WHERE, ON, and the WHERE around a sub-query in FROM whose
//! rows it only passes on. It must never call a block's rows bound when one of them may have another value. Input: a parsed
//! statement, the column.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use dbmesh_model::topology::ColumnRef;
use dbmesh_sql::Span;
use dbmesh_sql::ast::{
    Ast, BinaryOp, Clause, CommonTable, ExprId, Id, Join, JoinKind, Name, Query, QueryBody, Select,
    SelectItemKind, TableName, TableRef, TableRefKind,
};
use dbmesh_sql::parsed::{self, Predicate};

use super::Asked;
use crate::shard::value::Said;

/// Parts of a condition, or of joins, that are followed.
const PARTS_MAX: usize = 10_000;

/// What blocks say of the rows that they ask for.
#[derive(Debug, Default)]
pub(super) struct Bound {
    /// The values of those that are bound.
    pub values: Vec<Said>,
    /// Whether others are not.
    pub free: bool,
}

/// A table in FROM.
pub(super) struct Source<'a> {
    /// What stands before its columns.
    pub called: Cow<'a, [u8]>,
    what: What,
}

enum What {
    Table,
    /// Rows of a query, its columns named anew or not.
    Query(Id<Query>, bool),
}

/// The tables of one block, and the conditions of their joins with the tables that each restricts.
#[derive(Default)]
pub(super) struct Sources<'a> {
    all: Vec<Source<'a>>,
    on: Vec<(ExprId, Range<usize>)>,
    parts: usize,
}

/// Values by the block that they bind; none if another use of its rows is free.
type Outer = BTreeMap<u32, Option<Vec<Said>>>;

impl<'a> Sources<'a> {
    /// Whether a column's name can mean the table itself; without a table before it, it does.
    pub fn has(&self, called: Option<&[u8]>) -> bool {
        let Some(called) = called else { return true };
        let tables = || self.all.iter().filter(|s| matches!(s.what, What::Table));
        let none = tables().next().is_none();
        none || tables().any(|table| table.called.eq_ignore_ascii_case(called))
    }
}

impl<'a> Asked<'a> {
    /// What all SELECTs of the statement, wherever they stand, say.
    pub(super) fn bound_by_selects(&self, column: &ColumnRef, bound: &mut Bound) {
        let selects = self.ast.all::<Select>().iter();
        let blocks: Vec<(&Select, Sources<'_>)> = selects
            .map(|select| (select, self.sources_of(select, column)))
            .collect();
        let mut outer = Outer::new();
        for (select, sources) in &blocks {
            self.put_outer(sources, select.selection, column, &mut outer);
        }
        for (select, sources) in &blocks {
            let around = outer.get(&select.block).and_then(Option::as_ref);
            self.put_bound(sources, select.selection, (column, around), bound);
        }
        let whole = self
            .ast
            .all::<Query>()
            .iter()
            .any(|query| match query.body {
                QueryBody::Table(name) => self.names(name, column),
                _ => false,
            });
        bound.free |= whole;
    }

    /// What binds the tables of one block.
    pub(super) fn put_bound(
        &self,
        sources: &Sources<'_>,
        selection: Option<Clause>,
        (column, around): (&ColumnRef, Option<&Vec<Said>>),
        bound: &mut Bound,
    ) {
        for (at, source) in sources.all.iter().enumerate() {
            if !matches!(source.what, What::Table) {
                continue;
            }
            let name = column.column.as_bytes();
            let own = self.binds_source(sources, at, selection, name);
            match own.or_else(|| around.cloned()) {
                Some(values) => bound.values.extend(values),
                None => bound.free = true,
            }
        }
    }

    /// What binds the rows of the sub-queries in FROM.
    fn put_outer(
        &self,
        sources: &Sources<'_>,
        selection: Option<Clause>,
        column: &ColumnRef,
        outer: &mut Outer,
    ) {
        for (at, source) in sources.all.iter().enumerate() {
            let What::Query(query, renamed) = source.what else {
                continue;
            };
            let Some(inner) = self.only_select(query) else {
                continue;
            };
            let name = self.shown_as(inner, column).filter(|_| !renamed);
            let values = name.and_then(|name| self.binds_source(sources, at, selection, &name));
            let known = outer.entry(inner.block).or_insert_with(|| Some(Vec::new()));
            *known = known.take().zip(values).map(|(mut all, more)| {
                all.extend(more);
                all
            });
        }
    }

    /// The values of the column of this name in one table of a block.
    fn binds_source(
        &self,
        sources: &Sources<'_>,
        at: usize,
        selection: Option<Clause>,
        name: &[u8],
    ) -> Option<Vec<Said>> {
        let called = &sources.all.get(at)?.called;
        let mut left = PARTS_MAX;
        let on = sources.on.iter().filter(|(_, range)| range.contains(&at));
        let mut conditions = (selection.map(|clause| clause.expr).into_iter())
            .chain(on.map(|(condition, _)| *condition));
        conditions.find_map(|condition| self.binds(condition, (called, name), &mut left))
    }

    fn binds(&self, expr: ExprId, of: (&[u8], &[u8]), left: &mut usize) -> Option<Vec<Said>> {
        *left = left.checked_sub(1)?;
        let is_it = |name: Name| {
            let qualifier = name.qualifier.map(|span| self.text(span));
            self.text(name.name).eq_ignore_ascii_case(of.1)
                && qualifier.is_none_or(|called| called.eq_ignore_ascii_case(of.0))
        };
        match parsed::predicate(self.ast, expr) {
            Predicate::And(parts) => parts.iter().find_map(|part| self.binds(*part, of, left)),
            Predicate::Or(parts) => {
                let mut all = Vec::new();
                for part in parts {
                    all.extend(self.binds(*part, of, left)?);
                }
                Some(all)
            }
            Predicate::Compare { column, op, value } if equal(op) && is_it(column) => {
                Some(vec![self.known(self.reading.said(value))?])
            }
            Predicate::In {
                column,
                values,
                negated: false,
            } if is_it(column) => values.iter().map(|value| self.said(*value)).collect(),
            _ => None,
        }
    }

    /// The one SELECT that gives a query its rows, all of them.
    fn only_select(&self, query: Id<Query>) -> Option<&'a Select> {
        let mut query = self.ast.node(query)?;
        for _ in 0..PARTS_MAX {
            if query.limit.is_some() {
                return None;
            }
            match query.body {
                QueryBody::Parenthesised(inner) => query = self.ast.node(inner)?,
                QueryBody::Select(select) => return self.ast.node(select),
                _ => return None,
            }
        }
        None
    }

    /// The name under which a block passes the column on, row by row.
    fn shown_as(&self, select: &Select, column: &ColumnRef) -> Option<Vec<u8>> {
        let sources = self.sources_of(select, column);
        let grouped = select.group_by.is_some() || select.having.is_some();
        if grouped || !select.windows.is_empty() || select.qualify.is_some() {
            return None;
        }
        let name = column.column.as_bytes();
        self.ast
            .list(select.items)
            .iter()
            .find_map(|item| match item.kind {
                SelectItemKind::Star => Some(name.to_vec()),
                SelectItemKind::TableStar(table) => {
                    let called = self.text(table.name);
                    sources.has(Some(&called)).then(|| name.to_vec())
                }
                SelectItemKind::Expr(expr) => {
                    let shown = parsed::column(self.ast, expr)?;
                    let called = shown.qualifier.map(|span| self.text(span));
                    let is_it = self.text(shown.name).eq_ignore_ascii_case(name)
                        && sources.has(called.as_deref());
                    let alias = item.alias.map(|span| self.text(span).into_owned());
                    is_it.then(|| alias.unwrap_or_else(|| name.to_vec()))
                }
            })
    }

    fn sources_of(&self, select: &Select, column: &ColumnRef) -> Sources<'a> {
        let tables = select.from.map(|from| self.ast.list(from.tables));
        self.sources(tables.unwrap_or_default(), column)
    }

    /// The tables of a block that are the column's, and its sub-queries.
    pub(super) fn sources(&self, tables: &[Id<TableRef>], column: &ColumnRef) -> Sources<'a> {
        let mut sources = Sources::default();
        for table in tables {
            self.put_sources(*table, column, &mut sources);
        }
        sources
    }

    fn put_sources(&self, table: Id<TableRef>, column: &ColumnRef, sources: &mut Sources<'a>) {
        let mut next = Some(table);
        let mut joins: Vec<(Join, Range<usize>)> = Vec::new();
        while let Some(table) = next.take().and_then(|id| self.ast.node(id)) {
            sources.parts += 1;
            if sources.parts > PARTS_MAX {
                break;
            }
            match table.kind {
                TableRefKind::Join(join) => {
                    if let Some(join) = self.ast.node::<Join>(join) {
                        let begin = sources.all.len();
                        self.put_sources(join.right, column, sources);
                        joins.push((*join, begin..sources.all.len()));
                        next = Some(join.left);
                    }
                }
                TableRefKind::Parenthesised(inner) => {
                    for table in self.ast.list(inner) {
                        self.put_sources(*table, column, sources);
                    }
                }
                TableRefKind::Table { table: name, .. } => {
                    self.put_table(table, name, column, sources);
                }
                TableRefKind::Derived { query, .. } => {
                    let called = table.alias.map(|span| self.text(span)).unwrap_or_default();
                    let what = What::Query(query, !table.columns.is_empty());
                    sources.all.push(Source { called, what });
                }
                TableRefKind::JsonTable { .. } => {}
            }
        }
        let end = sources.all.len();
        for (join, right) in joins {
            let restricts = match join.kind {
                JoinKind::Inner | JoinKind::Straight => right.start..end,
                JoinKind::Left => right,
                JoinKind::Right => right.end..end,
                _ => continue,
            };
            sources.on.extend(join.on.map(|on| (on, restricts)));
        }
    }

    fn put_table(
        &self,
        table: &TableRef,
        name: Id<TableName>,
        column: &ColumnRef,
        sources: &mut Sources<'a>,
    ) {
        let Some(name) = self.ast.node::<TableName>(name) else {
            return;
        };
        let called = self.text(table.alias.unwrap_or(name.name.name));
        let what = match name.common_table {
            Some(defined) => {
                let mut common = self.ast.all::<CommonTable>().iter();
                let Some(common) = common.find(|common| common.name == defined) else {
                    return;
                };
                What::Query(common.query, !common.columns.is_empty())
            }
            None if self.is_table(name.name, column) => What::Table,
            None => return,
        };
        sources.all.push(Source { called, what });
    }

    fn names(&self, name: Id<TableName>, column: &ColumnRef) -> bool {
        self.ast
            .node::<TableName>(name)
            .is_some_and(|name| name.common_table.is_none() && self.is_table(name.name, column))
    }

    pub(super) fn text(&self, span: Span) -> Cow<'a, [u8]> {
        Ast::unquoted(self.reading.sql, span, self.reading.dialect)
    }
}

fn equal(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Equal | BinaryOp::NullSafeEqual)
}
