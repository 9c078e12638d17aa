//! INSERT and REPLACE of rows that are found or computed first.
//!
//! Owns the words around the values. Must never let a name behind literal values mean what it did not mean behind a query.
//! Input: an INSERT or REPLACE whose rows no node can tell by itself.

use std::collections::BTreeSet;

use dbmesh_model::topology::sharding::ShardedTable;
use dbmesh_sql::ast::{
    Assignment, ColumnName, ExprId, ExprKind, Insert, InsertSource, Row, Select,
};
use dbmesh_sql::{Span, StatementKind};

use super::super::NodeStatement;
use super::super::gather::Gather;
use super::super::reason::{GatherReason, RefuseReason};
use super::super::rewrite::Copied;
use super::super::scope::{Place, Scope, Use};
use super::super::write;
use super::lent::{self, Lent, Split};
use super::{
    Keyed, NotKeyed, RowsOf, Then, Words, copied, find_with, joined, plain, quoted, value_text,
    within,
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
    let columns = columns(scope, insert, (table, assigned))?;
    let updates = match insert.on_duplicate {
        Some(clause) => lent::split(scope, insert, table, clause.span)?,
        None => Split::default(),
    };
    let (find, mut more) = rows(scope, insert, (place, columns.len()), &updates)?;
    let types = match updates.lent.is_empty() {
        true => None,
        false => more.pop(),
    };
    let lent = types.map(|typed| Lent {
        typed,
        count: updates.lent.len(),
        places: updates.places,
    });
    if lent.is_some() && table.sharded().is_some_and(|t| generates(t, &columns)) {
        return Err(NotKeyed::Refused(RefuseReason::KeyGenerated));
    }
    let (head, tail) = around_values(scope, insert, table, &columns);
    let tail = lent::behind(tail, updates.parts);
    let generator = table.sharded().and_then(|t| t.key_generator.as_ref());
    let asking = generator.map(|generator| generator.column.clone());
    Ok(Keyed {
        table: table.table.clone(),
        find,
        rows: more,
        asking: asking.filter(|asking| columns.contains(asking)),
        columns,
        moments: BTreeSet::new(),
        ignore: insert.modifiers.ignore,
        then: Then::Insert {
            head,
            tail,
            lent,
            rows: match insert.source {
                InsertSource::Query(_) => RowsOf::Query,
                InsertSource::Values { .. } | InsertSource::Set(_) => RowsOf::Values,
            },
        },
        also: Vec::new(),
    })
}

/// What finds the rows, with what else is asked of what it reads: the types of what is lent, or its parts.
fn rows(
    scope: &Scope<'_>,
    insert: &Insert,
    (place, width): (usize, usize),
    updates: &Split,
) -> Result<(Gather, Vec<Copied>), NotKeyed> {
    let unserved = || NotKeyed::Unserved(GatherReason::InsertSelect);
    match insert.source {
        InsertSource::Query(query) => {
            let query = scope.ast.node(query).ok_or_else(unserved)?;
            let text = updates.lending(scope, query).ok_or_else(unserved)?;
            let words = match updates.lent.is_empty() {
                true => Words::Nothing,
                false => Words::Types(&updates.lent),
            };
            find_with(scope, &text, words)
        }
        InsertSource::Values { rows, .. } => values(scope, scope.ast.list(rows), width, place),
        InsertSource::Set(assigned) if asks(scope) => {
            let assigned = scope.ast.list(assigned).iter();
            let values: Vec<ExprId> = assigned.map(|a| a.value).collect();
            find_with(scope, &asked(scope, &values, place)?, Words::Nothing)
        }
        InsertSource::Set(assigned) => {
            let texts = scope
                .ast
                .list(assigned)
                .iter()
                .map(|a| value_text(scope, a.value));
            let texts = texts.collect::<Option<Vec<_>>>().ok_or_else(unserved)?;
            let mut row = plain(b"(".to_vec());
            row.append(joined(texts.into_iter()));
            row.push(b")");
            Ok((computed(scope, row)?, Vec::new()))
        }
    }
}

/// The columns of the rows, in lower case.
fn columns(
    scope: &Scope<'_>,
    insert: &Insert,
    (table, assigned): (&Use<'_>, &[Assignment]),
) -> Result<Vec<String>, NotKeyed> {
    if !assigned.is_empty() {
        let columns = assigned.iter();
        return Ok(columns
            .map(|assignment| scope.lower(assignment.column.name))
            .collect());
    }
    if !scope.ast.list(insert.columns).is_empty() {
        let columns = scope.ast.list(insert.columns).iter();
        return Ok(columns.map(|name| scope.lower(name.name)).collect());
    }
    let known = scope.input.catalog.columns(&table.table);
    let known = known.ok_or_else(|| NotKeyed::Unknown(table.table.clone()))?;
    Ok(known.iter().map(|column| column.to_lowercase()).collect())
}

/// Whether a row has a key of a generator's, with none of these columns.
fn generates(table: &ShardedTable, columns: &[String]) -> bool {
    let generator = table.key_generator.as_ref();
    generator.is_some_and(|generator| !columns.contains(&generator.column))
}

/// Rows of expressions.
fn values(
    scope: &Scope<'_>,
    rows: &[Row],
    columns: usize,
    place: usize,
) -> Result<(Gather, Vec<Copied>), NotKeyed> {
    let whole = rows
        .iter()
        .all(|row| scope.ast.list(row.values).len() == columns);
    if !whole {
        return Err(NotKeyed::Refused(RefuseReason::KeyUnknown));
    }
    if !asks(scope) {
        let texts = rows.iter().map(|row| copied(scope, row.span));
        return Ok((computed(scope, joined(texts))?, Vec::new()));
    }
    let query = |row: &Row| asked(scope, scope.ast.list(row.values), place);
    if let [row] = rows {
        return find_with(scope, &query(row)?, Words::Nothing);
    }
    // Rows of a union have one type a column, and values of rows have each their own: what all of them read is pulled once, and
    // they are asked for one after the other.
    let mut all = Copied::default();
    let mut spans = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            all.push(b" UNION ALL ");
        }
        let start = all.text.len();
        all.append(query(row)?);
        let end = all.text.len();
        spans.push(Span { start, end });
    }
    find_with(scope, &all, Words::Parts(&spans))
}

/// Whether values ask for rows of tables.
fn asks(scope: &Scope<'_>) -> bool {
    let mut selects = scope.ast.all::<Select>().iter();
    selects.any(|select| !in_duplicate(scope, select.span))
}

/// One row, of which some values are asked for: a query gives them as they would be there.
fn asked(scope: &Scope<'_>, values: &[ExprId], place: usize) -> Result<Copied, NotKeyed> {
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
    Ok(query)
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

/// What stands before the values, and behind them up to ON DUPLICATE KEY UPDATE.
fn around_values(
    scope: &Scope<'_>,
    insert: &Insert,
    table: &Use<'_>,
    columns: &[String],
) -> (Vec<u8>, Copied) {
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
    (head, tail)
}
