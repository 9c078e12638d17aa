//! Which names of a change mean the table that is changed.
//!
//! Owns what is assigned, and what a value reads of a row that was changed before it. Must never take a column for the
//! table's that another table has as well: one server says that it is ambiguous. Input: the change, and the columns of the
//! tables around it, which are asked for.

use std::collections::BTreeSet;

use dbmesh_sql::ast::{
    ColumnName, ExprId, Id, Name, Query, QueryBody, SelectItemKind, TableRef, TableRefKind,
};
use dbmesh_sql::parsed;

use super::super::scope::Scope;
use super::{Change, NotKeyed, Target, within};

/// The only one of these tables that the change is about, if it is one: of a column without a table, all may be meant.
pub(super) fn only_changed(
    scope: &Scope<'_>,
    change: &Change,
    written: &[usize],
) -> Result<Option<usize>, NotKeyed> {
    if let [only] = written {
        return Ok(Some(*only));
    }
    let mut changed = BTreeSet::new();
    for assignment in scope.ast.list(change.assignments) {
        let name = assignment.column;
        if name.qualifier.is_some() {
            changed.insert(scope.top().and_then(|top| scope.column(top, name)));
            continue;
        }
        let column = scope.lower(name.name);
        for (place, table) in scope.uses.iter().enumerate() {
            if !written.contains(&place) {
                continue;
            }
            let known = scope.has_column(table, &column);
            if known.ok_or_else(|| NotKeyed::Unknown(table.table.clone()))? {
                changed.insert(Some(place));
            }
        }
    }
    Ok(match changed.pop_first() {
        Some(only) if changed.is_empty() => only,
        _ => None,
    })
}

impl Target<'_, '_> {
    /// Whether an assigned column is the table's.
    pub(super) fn assigns(&self, name: Name) -> Result<bool, NotKeyed> {
        let scope = self.scope;
        if self.is_ours(name) {
            return Ok(true);
        }
        if name.qualifier.is_some() {
            return Ok(false);
        }
        let column = scope.lower(name.name);
        let leaves = scope
            .blocks
            .get(self.block)
            .map(|block| block.leaves.as_slice());
        for leaf in leaves.unwrap_or_default() {
            let ours = self.table.table_ref == Some(*leaf);
            if self.may_have(*leaf, &column)? != ours {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a table or derived table has a column of this name, or may have.
    fn may_have(&self, leaf: Id<TableRef>, column: &str) -> Result<bool, NotKeyed> {
        let scope = self.scope;
        let mut tables = scope.uses.iter();
        if let Some(table) = tables.find(|table| table.table_ref == Some(leaf)) {
            let known = scope.has_column(table, column);
            return known.ok_or_else(|| NotKeyed::Unknown(table.table.clone()));
        }
        let Some(table) = scope.ast.node(leaf) else {
            return Ok(true);
        };
        let named = scope.ast.list(table.columns);
        if !named.is_empty() {
            return Ok(named.iter().any(|name| scope.lower(name.name) == column));
        }
        Ok(match table.kind {
            TableRefKind::Derived { query, .. } => self.may_give(query, column),
            TableRefKind::Table { table, .. } => {
                let name = scope
                    .ast
                    .node(table)
                    .map(|table| scope.lower(table.name.name));
                let with = self.change.with.map(|with| scope.ast.list(with.tables));
                let mut common = with.unwrap_or_default().iter();
                match common.find(|common| Some(scope.lower(common.name)) == name) {
                    Some(common) if common.columns.is_empty() => {
                        self.may_give(common.query, column)
                    }
                    Some(common) => {
                        let mut named = scope.ast.list(common.columns).iter();
                        named.any(|name| scope.lower(name.name) == column)
                    }
                    None => true,
                }
            }
            _ => true,
        })
    }

    /// Whether a query has a column of this name, or may have.
    fn may_give(&self, query: Id<Query>, column: &str) -> bool {
        let scope = self.scope;
        let mut body = scope.ast.node(query).map(|query| query.body);
        // The first query of a union names its columns.
        while let Some(QueryBody::Set { left, .. }) = body {
            body = scope.ast.node(left).map(|query| query.body);
        }
        let Some(QueryBody::Select(select)) = body else {
            return true;
        };
        let items = scope
            .ast
            .node(select)
            .map(|select| scope.ast.list(select.items));
        items.is_none_or(|items| {
            items.iter().any(|item| match (item.alias, item.kind) {
                (Some(alias), _) => scope.lower(alias) == column,
                (None, SelectItemKind::Expr(expr)) => match parsed::column(scope.ast, expr) {
                    Some(name) => scope.lower(name.name) == column,
                    None => scope.lower(item.span) == column,
                },
                (None, _) => true,
            })
        })
    }

    /// Whether a value may read one of these columns of the row that is changed.
    pub(super) fn reads_any(&self, value: ExprId, assigned: &[String]) -> Result<bool, NotKeyed> {
        let scope = self.scope;
        let Some(node) = scope.ast.expr(value) else {
            return Ok(true);
        };
        for column in scope.ast.all::<ColumnName>() {
            let read = within(node.span, column.name.span)
                && assigned.contains(&scope.lower(column.name.name));
            if read && !self.is_of_another(column.name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a name certainly means a column of another table.
    fn is_of_another(&self, name: Name) -> Result<bool, NotKeyed> {
        let scope = self.scope;
        let mut block = scope.innermost(name.span);
        while let Some(here) = block {
            let Some(known) = scope.blocks.get(here) else {
                return Ok(false);
            };
            match name.qualifier {
                Some(qualifier) => {
                    let qualifier = scope.lower(qualifier);
                    let exposed =
                        |leaf: &&Id<TableRef>| scope.exposed(**leaf).as_deref() == Some(&qualifier);
                    if let Some(leaf) = known.leaves.iter().find(exposed) {
                        return Ok(self.table.table_ref != Some(*leaf));
                    }
                }
                None if here == self.block => return Ok(false),
                None => {
                    let column = scope.lower(name.name);
                    for (_, table) in scope.of_block(here) {
                        match scope.has_column(table, &column) {
                            Some(true) => return Ok(true),
                            Some(false) => {}
                            None => return Err(NotKeyed::Unknown(table.table.clone())),
                        }
                    }
                }
            }
            block = known.parent;
        }
        Ok(false)
    }
}
