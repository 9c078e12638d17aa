//! INSERT and REPLACE of rows that are found or computed first.
//!
//! Owns the words around the values. Must never let a name behind literal values mean what it did not mean behind a query.
//! Input: an INSERT or REPLACE whose rows no node can tell by itself.

use std::collections::BTreeSet;

use dbmesh_sql::ast::{ColumnName, Expr, ExprId, ExprKind, Insert, InsertSource, Row, Select};
use dbmesh_sql::{Span, StatementKind};

use super::super::NodeStatement;
use super::super::gather::Gather;
use super::super::reason::{GatherReason, RefuseReason};
use super::super::rewrite::Copied;
use super::super::scope::{Place, Scope, Use};
use super::super::write;
use super::{
    Keyed, NotKeyed, RowsOf, Then, copied, find, joined, plain, quoted, value_text, within,
};

/// INSERT and REPLACE: what the query or the expressions give is stored in columns like the table's first.
pub(super) fn inserted(scope: &Scope<'_>, insert: &Insert) -> Result<Keyed, NotKeyed> {
    let unserved = || NotKeyed::Unserved(GatherReason::InsertSelect);
    if !scope.ast.list(insert.returning).is_empty() || !scope.ast.list(insert.partitions).is_empty()
    {
        return Err(unserved());
    }
    let name = scope.ast.node(insert.table).ok_or_else(unserved)?.name;
    let place = scope.use_of_name(name).ok_or_else(unserved)?;
    let table = scope.uses.get(place).ok_or_else(unserved)?;
    let assigned = match insert.source {
        InsertSource::Set(assignments) => scope.ast.list(assignments),
        _ => &[],
    };
    let columns: Vec<String> = if !assigned.is_empty() {
        let columns = assigned.iter();
        columns
            .map(|assignment| scope.lower(assignment.column.name))
            .collect()
    } else if !scope.ast.list(insert.columns).is_empty() {
        let columns = scope.ast.list(insert.columns).iter();
        columns.map(|name| scope.lower(name.name)).collect()
    } else {
        let known = scope.input.catalog.columns(&table.table);
        let known = known.ok_or_else(|| NotKeyed::Unknown(table.table.clone()))?;
        known.iter().map(|column| column.to_lowercase()).collect()
    };
    let find = match insert.source {
        InsertSource::Query(query) => {
            let query = scope.ast.node(query).ok_or_else(unserved)?;
            find(scope, &copied(scope, query.span))?
        }
        InsertSource::Values { rows, .. } => {
            values(scope, scope.ast.list(rows), columns.len(), place)?
        }
        InsertSource::Set(_) if asks(scope) => {
            let values: Vec<ExprId> = assigned.iter().map(|a| a.value).collect();
            asked(scope, &values, place)?
        }
        InsertSource::Set(_) => {
            let texts = assigned.iter().map(|a| value_text(scope, a.value));
            let texts = texts.collect::<Option<Vec<_>>>().ok_or_else(unserved)?;
            let mut row = plain(b"(".to_vec());
            row.append(joined(texts.into_iter()));
            row.push(b")");
            computed(scope, row)?
        }
    };
    let (head, tail) = around_values(scope, insert, table, &columns)?;
    Ok(Keyed {
        table: table.table.clone(),
        find,
        columns,
        moments: BTreeSet::new(),
        ignore: insert.modifiers.ignore,
        then: Then::Insert {
            head,
            tail,
            rows: match insert.source {
                InsertSource::Query(_) => RowsOf::Query,
                InsertSource::Values { .. } | InsertSource::Set(_) => RowsOf::Values,
            },
        },
    })
}

/// Rows of expressions.
fn values(
    scope: &Scope<'_>,
    rows: &[Row],
    columns: usize,
    place: usize,
) -> Result<Gather, NotKeyed> {
    let whole = rows
        .iter()
        .all(|row| scope.ast.list(row.values).len() == columns);
    if !whole {
        return Err(NotKeyed::Refused(RefuseReason::KeyUnknown));
    }
    if asks(scope) {
        // Rows of a union have one type a column, and values of rows have each their own.
        return match rows {
            [row] => asked(scope, scope.ast.list(row.values), place),
            _ => Err(NotKeyed::Unserved(GatherReason::InsertSelect)),
        };
    }
    computed(
        scope,
        joined(rows.iter().map(|row| copied(scope, row.span))),
    )
}

/// Whether values ask for rows of tables.
fn asks(scope: &Scope<'_>) -> bool {
    let mut selects = scope.ast.all::<Select>().iter();
    selects.any(|select| !in_duplicate(scope, select.span))
}

/// One row, of which some values are asked for: a query gives them as they would be there.
fn asked(scope: &Scope<'_>, values: &[ExprId], place: usize) -> Result<Gather, NotKeyed> {
    let unserved = || NotKeyed::Unserved(GatherReason::InsertSelect);
    let target = scope.uses.get(place).ok_or_else(unserved)?;
    let reads_target = scope.uses.iter().enumerate().any(|(other, table)| {
        let derived = table.block.is_some_and(|b| write::in_derived(scope, b));
        other != place && table.table == target.table && !derived
    });
    if reads_target {
        return Err(NotKeyed::Refused(RefuseReason::TargetRead));
    }
    let selects = scope.ast.all::<Select>();
    let of_row = |column: &ColumnName| {
        let span = column.name.span;
        !in_duplicate(scope, span) && !selects.iter().any(|select| within(select.span, span))
    };
    let default = |value: &ExprId| {
        let node = scope.ast.expr(*value);
        node.is_some_and(|node| matches!(node.kind, ExprKind::Default))
    };
    // What other columns of the row are, no query tells.
    if values.iter().any(default) || scope.ast.all::<ColumnName>().iter().any(of_row) {
        return Err(unserved());
    }
    let texts = values.iter().map(|value| value_text(scope, *value));
    let texts = texts.collect::<Option<Vec<_>>>().ok_or_else(unserved)?;
    let mut query = plain(b"SELECT ".to_vec());
    query.append(joined(texts.into_iter()));
    find(scope, &query)
}

fn computed(scope: &Scope<'_>, rows: Copied) -> Result<Gather, NotKeyed> {
    let names = scope
        .ast
        .all::<ColumnName>()
        .iter()
        .any(|column| !in_duplicate(scope, column.name.span));
    if names || !scope.ast.all::<Select>().is_empty() || !scope.facts.tables_known {
        return Err(NotKeyed::Refused(RefuseReason::KeyUnknown));
    }
    let home = scope.uses.first().map_or(0, |table| match table.place {
        Place::Single(source) => source,
        Place::Sharded(sharded) => sharded.shards.first().map_or(0, |shard| shard.source),
        Place::Broadcast | Place::Dictionary(_) => 0,
    });
    Ok(Gather {
        reason: GatherReason::InsertSelect,
        pulls: Vec::new(),
        finish: Some(NodeStatement {
            source: home,
            shard: None,
            sql: [&b"VALUES "[..], &rows.text].concat(),
            parameters: rows.parameters,
            tables: Vec::new(),
            rows: Vec::new(),
        }),
    })
}

/// Whether it stands in ON DUPLICATE KEY UPDATE.
fn in_duplicate(scope: &Scope<'_>, span: Span) -> bool {
    let on_duplicate = scope.inserts().and_then(|insert| insert.on_duplicate);
    on_duplicate.is_some_and(|clause| within(clause.span, span))
}

/// What stands before and behind the values.
fn around_values(
    scope: &Scope<'_>,
    insert: &Insert,
    table: &Use<'_>,
    columns: &[String],
) -> Result<(Vec<u8>, Copied), NotKeyed> {
    let verb: &[u8] = match scope.facts.kind {
        StatementKind::Replace => b"REPLACE ",
        _ if insert.modifiers.ignore => b"INSERT IGNORE ",
        _ => b"INSERT ",
    };
    let names: Vec<Vec<u8>> = columns.iter().map(|column| quoted(column)).collect();
    let head = [
        verb,
        b"INTO ",
        scope.text(table.name.span),
        b" (",
        &names.join(&b", "[..]),
        b") VALUES ",
    ]
    .concat();
    let mut tail = Copied::default();
    if let Some(alias) = insert.row_alias {
        tail.push(b" AS ");
        tail.push(scope.text(alias));
        let names = scope.ast.list(insert.row_columns).iter();
        let names: Vec<&[u8]> = names.map(|name| scope.text(name.span)).collect();
        if !names.is_empty() {
            tail.push(&[&b"("[..], &names.join(&b", "[..]), b")"].concat());
        }
    }
    if let Some(clause) = insert.on_duplicate {
        let mut names = scope.ast.all::<ColumnName>().iter();
        let own = |column: &ColumnName| is_own(scope, insert, table, column);
        let all_own = names.all(|column| !within(clause.span, column.name.span) || own(column));
        let selects = scope.ast.all::<Select>().iter();
        if !all_own || selects.into_iter().any(|s| within(clause.span, s.span)) {
            return Err(NotKeyed::Unserved(GatherReason::InsertSelect));
        }
        tail.push(b" ");
        tail.append(copied(scope, clause.span));
    }
    Ok((head, tail))
}

/// Whether a name in ON DUPLICATE KEY UPDATE means a column of the table, for certain: behind literal values, columns of the
/// query have no meaning, and a server that has both refuses a name that may be either.
fn is_own(scope: &Scope<'_>, insert: &Insert, table: &Use<'_>, column: &ColumnName) -> bool {
    let name = scope.lower(column.name.name);
    let exprs = scope.ast.all::<Expr>();
    let inserted = exprs
        .iter()
        .any(|e| matches!(e.kind, ExprKind::ValuesOf(_)) && within(e.span, column.name.span));
    let from_query = matches!(insert.source, InsertSource::Query(_)) && !inserted;
    let mut others = scope
        .uses
        .iter()
        .filter(|other| from_query && other.table_ref.is_some());
    match column.name.qualifier {
        Some(qualifier) => {
            let qualifier = scope.lower(qualifier);
            let alias = insert.row_alias.map(|alias| scope.lower(alias));
            let ours = qualifier == table.exposed || alias.as_ref() == Some(&qualifier);
            ours && others.all(|other| other.exposed != qualifier)
        }
        None => {
            let ours = scope.has_column(table, &name) == Some(true);
            // What a derived table calls its columns is not looked at.
            let plain = !from_query || scope.ast.all::<Select>().len() == 1;
            ours && plain && others.all(|other| scope.has_column(other, &name) == Some(false))
        }
    }
}
