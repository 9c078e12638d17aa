//! Groups whose rows are on several shards: parts of aggregates, and how they are put together.
//!
//! Owns the rewriting of aggregates. What shards give for `AVG(x)` keeps its column, for name and type, and hidden columns
//! have the parts; DISTINCT makes its values keys of the shards' groups, so that any number of them can be put together.

use dbmesh_sql::ast::{
    Call, ColumnName, Expr, ExprId, ExprKind, GroupBy, Query, Select, SelectItemKind,
};
use dbmesh_sql::parsed::{self, QueryShape};
use dbmesh_sql::{Lexer, Span, TokenKind, literal};

use super::merge::{Aggregate, AggregateFunction, Grouping, MergeSpec, Origin};
use super::order::{Column, Rows, bare, limit};
use super::reason::{GatherReason, Stop};
use super::rewrite::{Copied, Splice};
use super::scope::Scope;

/// What keeps a shard from cutting groups at the session's own limit, before they are whole.
const EVERY_ROW: &str = "LIMIT 18446744073709551615";

/// An aggregate before its columns have places.
enum Part {
    Plain(AggregateFunction),
    Avg(Column, Column),
    CountDistinct(Vec<Column>),
    SumDistinct(Column),
    AvgDistinct(Column),
}

struct Groups<'s, 'a> {
    rows: Rows<'s, 'a>,
    keys: Vec<Column>,
    /// The texts of the keys, as GROUP BY has them.
    key_spans: Vec<Span>,
    parts: Vec<(Column, Part)>,
    /// Values of DISTINCT aggregates: further keys of the shards' groups.
    values: Vec<Copied>,
    /// What MIN and MAX compare as.
    origins: Vec<(Column, String, String)>,
}

/// The plan of a block with groups or aggregates.
pub(super) fn plan(
    scope: &Scope<'_>,
    select: &Select,
    shape: &QueryShape,
) -> Result<(MergeSpec, Vec<Splice>), Stop> {
    if select.having.is_some() || select.qualify.is_some() {
        return Err(GatherReason::Having.into());
    }
    let mut groups = Groups {
        rows: Rows::of(scope, *select),
        keys: Vec::new(),
        key_spans: Vec::new(),
        parts: Vec::new(),
        values: Vec::new(),
        origins: Vec::new(),
    };
    if let Some(group_by) = select.group_by {
        for item in scope.ast.list(group_by.items) {
            groups.key(item.expr)?;
        }
    }
    groups.items()?;
    let scalar = groups.keys.is_empty();
    // With values of DISTINCT as keys, shards without rows give none, and a constant would be lost.
    if scalar && !groups.values.is_empty() && groups.parts.len() < groups.rows.items.len() {
        return Err(GatherReason::AggregateExpression.into());
    }
    let mut order = Vec::new();
    if !scalar {
        for item in scope.ast.list(shape.order_by) {
            order.push((groups.order_key(item.expr)?, item.descending));
        }
    }
    if shape.distinct
        && order
            .iter()
            .any(|(column, _)| matches!(column, Column::Hidden(_)))
    {
        return Err(GatherReason::DistinctOrder.into());
    }
    let sorted = !scalar && groups.sorts();
    let mut spec = MergeSpec {
        hidden: groups.rows.hidden(),
        distinct: shape.distinct,
        order: groups.rows.keys(&order)?,
        group: Some(groups.grouping(sorted)?),
        origins: groups.placed_origins(),
        ..MergeSpec::default()
    };
    let mut splices: Vec<Splice> = groups.rows.splice().into_iter().collect();
    // The limit counts groups, which are whole only after the merge.
    limit(scope, shape, &mut spec)?;
    let every = match scope.input.select_limit {
        Some(_) => EVERY_ROW,
        None => "",
    };
    splices.extend(shape.limit.map(|limit| {
        // Where no group is asked for, a server computes none.
        let words = if spec.limit == Some(0) {
            "LIMIT 0"
        } else {
            every
        };
        Splice::text(limit.span, words)
    }));
    let every = shape.limit.map_or(every, |_| "");
    let query = scope.ast.node(shape.query);
    splices.extend(groups.clauses(query, select.group_by, sorted, every)?);
    Ok((spec, splices))
}

impl Groups<'_, '_> {
    /// A key of GROUP BY: where the rows have it.
    fn key(&mut self, expr: ExprId) -> Result<(), Stop> {
        let column = self.key_column(expr)?;
        if let Some(node) = self.rows.scope.ast.expr(expr) {
            self.key_spans.push(node.span);
        }
        self.keys.push(column);
        Ok(())
    }

    fn key_column(&mut self, expr: ExprId) -> Result<Column, Stop> {
        let rows = &mut self.rows;
        if let Some(position) = rows.position(expr) {
            return position.map_err(|_| GatherReason::GroupKey.into());
        }
        let scope = rows.scope;
        let span = scope.ast.expr(expr).ok_or(GatherReason::GroupKey)?.span;
        if let Some(name) = parsed::column(scope.ast, expr)
            && name.qualifier.is_none()
        {
            let lower = scope.lower(name.name);
            let is_column = |place: &usize| {
                let item = rows.items.get(*place).map(|item| item.kind);
                matches!(item, Some(SelectItemKind::Expr(expr))
                    if parsed::column(scope.ast, expr).is_some_and(|c| scope.lower(c.name) == lower))
            };
            let named = rows.named(&lower);
            match named.as_slice() {
                [] => {}
                [place] if is_column(place) => return Ok(Column::Item(*place)),
                // GROUP BY prefers a column to an alias.
                [place] if has_no_column(scope, &rows.select, &lower) => {
                    return Ok(Column::Item(*place));
                }
                _ => return Err(GatherReason::GroupKey.into()),
            }
        } else if let Some(place) = rows.same(span) {
            return Ok(Column::Item(place));
        } else if rows.uses_alias(span) {
            return Err(GatherReason::GroupKey.into());
        }
        if !rows.repeats(span) {
            return Err(GatherReason::GroupKey.into());
        }
        let text = rows.copied(span)?;
        Ok(rows.hide(text))
    }

    /// What becomes of every item of the select list.
    fn items(&mut self) -> Result<(), Stop> {
        for (place, item) in self.rows.items.iter().enumerate() {
            let SelectItemKind::Expr(expr) = item.kind else {
                return Err(GatherReason::AggregateExpression.into());
            };
            let column = Column::Item(place);
            if self.rows.aggregates(item.span).next().is_none() {
                // A key, or a column that depends on the keys: any row of the group has it. Without keys there may be no
                // row, and a column is NULL then.
                if self.keys.is_empty() && reads_column(self.rows.scope, item.span) {
                    return Err(GatherReason::AggregateExpression.into());
                }
                continue;
            }
            let Some(ExprKind::Call(call)) = bare(self.rows.scope, expr) else {
                return Err(GatherReason::AggregateExpression.into());
            };
            let call = self.rows.scope.ast.node(call);
            let call = *call.ok_or(GatherReason::AggregateExpression)?;
            if self.rows.aggregates(item.span).count() != 1
                || self.rows.aggregates(call.span).next() != Some(&call)
            {
                return Err(GatherReason::AggregateExpression.into());
            }
            let part = self.part(&call)?;
            self.note_origin(column, &call, &part);
            self.parts.push((column, part));
        }
        Ok(())
    }

    fn part(&mut self, call: &Call) -> Result<Part, Stop> {
        let scope = self.rows.scope;
        let name = scope.lower(call.name.name);
        let arguments = scope.ast.list(call.arguments);
        let spans: Vec<Span> = arguments
            .iter()
            .filter_map(|argument| Some(scope.ast.expr(*argument)?.span))
            .collect();
        let refused = || Err(GatherReason::Aggregate(name.to_uppercase()).into());
        if !self.rows.repeats(call.span) {
            return refused();
        }
        let plain = |function| Ok(Part::Plain(function));
        match (name.as_str(), call.distinct, spans.as_slice()) {
            ("min", _, [_]) => plain(AggregateFunction::Min),
            ("max", _, [_]) => plain(AggregateFunction::Max),
            ("count", false, [_]) => plain(AggregateFunction::Count),
            ("sum", false, [_]) => plain(AggregateFunction::Sum),
            ("bit_and", false, [_]) => plain(AggregateFunction::BitAnd),
            ("bit_or", false, [_]) => plain(AggregateFunction::BitOr),
            ("bit_xor", false, [_]) => plain(AggregateFunction::BitXor),
            ("any_value", false, [_]) => plain(AggregateFunction::AnyValue),
            ("avg", false, [argument]) => {
                let sum = self.wrapped("SUM", *argument)?;
                let count = self.wrapped("COUNT", *argument)?;
                Ok(Part::Avg(sum, count))
            }
            ("count", true, [_, ..]) => {
                let values = spans.iter().map(|span| self.value(*span));
                let values: Result<Vec<Column>, Stop> = values.collect();
                values.map(Part::CountDistinct).or_else(|_| refused())
            }
            ("sum", true, [argument]) => match self.value(*argument) {
                Ok(value) => Ok(Part::SumDistinct(value)),
                Err(_) => refused(),
            },
            ("avg", true, [argument]) => match self.value(*argument) {
                Ok(value) => Ok(Part::AvgDistinct(value)),
                Err(_) => refused(),
            },
            ("group_concat", false, [_, ..]) if call.order_by.is_empty() => {
                match separator(scope, call) {
                    Some(separator) => plain(AggregateFunction::GroupConcat { separator }),
                    None => refused(),
                }
            }
            _ => refused(),
        }
    }

    /// MIN and MAX of a column compare as it does.
    fn note_origin(&mut self, column: Column, call: &Call, part: &Part) {
        let extreme = AggregateFunction::Min;
        let greatest = AggregateFunction::Max;
        let scope = self.rows.scope;
        match part {
            Part::Plain(function) if *function == extreme || *function == greatest => {}
            _ => return,
        }
        let argument = scope.ast.list(call.arguments).first().copied();
        let name = argument.and_then(|argument| parsed::column(scope.ast, argument));
        let block = block_of(scope, &self.rows.select);
        if let (Some(name), Some(block)) = (name, block)
            && let Some(table) = scope.owner(block, name)
        {
            let of = scope.lower(name.name);
            self.origins.push((column, table, of));
        }
    }

    fn placed_origins(&self) -> Vec<Origin> {
        let placed = self.origins.iter().filter_map(|(column, table, of)| {
            Some(Origin {
                column: self.rows.place(*column)?,
                table: table.clone(),
                of: of.clone(),
            })
        });
        placed.collect()
    }

    fn wrapped(&mut self, function: &str, argument: Span) -> Result<Column, Stop> {
        let mut text = Copied::default();
        text.push(format!("{function}(").as_bytes());
        text.append(self.rows.copied(argument)?);
        text.push(b")");
        Ok(self.rows.hide(text))
    }

    /// A value of a DISTINCT aggregate: a hidden column, and a key of the shards' groups.
    fn value(&mut self, span: Span) -> Result<Column, Stop> {
        let scope = self.rows.scope;
        // A literal alone would be a position, and the name of an alias would mean another thing in GROUP BY.
        if !reads_column(scope, span) || self.rows.uses_alias(span) || has_row(scope, span) {
            return Err(GatherReason::GroupKey.into());
        }
        let text = self.rows.copied(span)?;
        if !self.values.contains(&text) {
            self.values.push(text.clone());
        }
        Ok(self.rows.hide(text))
    }

    fn order_key(&mut self, expr: ExprId) -> Result<Column, Stop> {
        let scope = self.rows.scope;
        let span = scope.ast.expr(expr).ok_or(GatherReason::OrderKey)?.span;
        if self.rows.aggregates(span).next().is_none() {
            let text = scope.text(span);
            let same = |key: &Span| scope.text(*key).eq_ignore_ascii_case(text);
            let known = self.key_spans.iter().position(same);
            let column = known.and_then(|place| self.keys.get(place));
            return match column {
                // A name is an alias first.
                Some(column @ Column::Hidden(_)) if !self.rows.uses_alias(span) => Ok(*column),
                _ => self.rows.order_key(expr),
            };
        }
        if let Some(place) = self.rows.same(span) {
            return Ok(Column::Item(place));
        }
        let Some(ExprKind::Call(call)) = bare(scope, expr) else {
            return Err(GatherReason::OrderKey.into());
        };
        let call = *scope.ast.node(call).ok_or(GatherReason::OrderKey)?;
        if self.rows.uses_alias(span) {
            return Err(GatherReason::OrderKey.into());
        }
        let part = self.part(&call)?;
        let text = self.rows.copied(span)?;
        let column = self.rows.hide(text);
        self.note_origin(column, &call, &part);
        self.parts.push((column, part));
        Ok(column)
    }

    /// Whether ORDER BY may repeat the keys: a name there is an alias first.
    fn sorts(&self) -> bool {
        let keys = self.keys.iter().zip(&self.key_spans);
        keys.into_iter().all(|(column, span)| match column {
            Column::Hidden(_) => !self.rows.uses_alias(*span),
            Column::Item(_) => true,
        })
    }

    fn grouping(&self, sorted: bool) -> Result<Grouping, Stop> {
        let place = |column: &Column| {
            let place = self.rows.place(*column);
            place.ok_or_else(|| Stop::from(GatherReason::GroupKey))
        };
        let keys: Result<Vec<_>, Stop> = self.keys.iter().map(place).collect();
        let mut aggregates = Vec::new();
        for (column, part) in &self.parts {
            let function = match part {
                Part::Plain(function) => function.clone(),
                Part::Avg(sum, count) => AggregateFunction::Avg {
                    sum: place(sum)?,
                    count: place(count)?,
                },
                Part::CountDistinct(values) => AggregateFunction::CountDistinct {
                    values: values.iter().map(place).collect::<Result<_, _>>()?,
                },
                Part::SumDistinct(value) => AggregateFunction::SumDistinct {
                    value: place(value)?,
                },
                Part::AvgDistinct(value) => AggregateFunction::AvgDistinct {
                    value: place(value)?,
                },
            };
            aggregates.push(Aggregate {
                column: place(column)?,
                function,
            });
        }
        Ok(Grouping {
            keys: keys?,
            aggregates,
            sorted,
        })
    }

    /// GROUP BY with the values of DISTINCT aggregates, and ORDER BY with the keys.
    fn clauses(
        &self,
        query: Option<&Query>,
        group_by: Option<GroupBy>,
        sorted: bool,
        every: &str,
    ) -> Result<Vec<Splice>, Stop> {
        let select = self.rows.select;
        let mut added = Copied::default();
        for value in &self.values {
            added.push(match (group_by.is_some(), added.text.is_empty()) {
                (false, true) => b" GROUP BY ",
                _ => b", ",
            });
            added.append(value.clone());
        }
        let mut order = Copied::default();
        if sorted {
            for span in &self.key_spans {
                order.push(if order.text.is_empty() {
                    b"ORDER BY "
                } else {
                    b", "
                });
                order.append(self.rows.copied(*span)?);
            }
        }
        if !every.is_empty() {
            if !order.text.is_empty() {
                order.push(b" ");
            }
            order.push(every.as_bytes());
        }
        let end = match group_by {
            Some(group_by) => group_by.span.end,
            None => {
                let from = select.from.map(|from| from.span.end);
                let end = select.selection.map(|clause| clause.span.end).or(from);
                end.ok_or(GatherReason::GroupKey)?
            }
        };
        let written = query.map(|query| query.order_by_span).unwrap_or_default();
        let mut splices = Vec::new();
        if written.start < written.end {
            splices.push(order.splice(written));
        } else if !order.text.is_empty() {
            added.push(b" ");
            added.append(order);
        }
        splices.push(added.splice(Span { start: end, end }));
        Ok(splices)
    }
}

fn block_of(scope: &Scope<'_>, select: &Select) -> Option<usize> {
    let mut blocks = scope.blocks.iter();
    blocks.position(|block| block.select.is_some_and(|s| s.block == select.block))
}

fn reads_column(scope: &Scope<'_>, span: Span) -> bool {
    let mut columns = scope.ast.all::<ColumnName>().iter();
    columns.any(|column| span.start <= column.name.span.start && column.name.span.end <= span.end)
}

/// Whether an expression has a row of values in it, as the arguments of INTERVAL are one: MySQL does not know it again in
/// GROUP BY.
fn has_row(scope: &Scope<'_>, span: Span) -> bool {
    let inside = |part: Span| span.start <= part.start && part.end <= span.end;
    let row = |expr: &Expr| matches!(expr.kind, ExprKind::Row(_)) && inside(expr.span);
    let interval = |call: &Call| scope.lower(call.name.name) == "interval" && inside(call.span);
    scope.ast.all::<Expr>().iter().any(row) || scope.ast.all::<Call>().iter().any(interval)
}

/// Whether no table of the block has a column of that name, as far as all columns are known.
fn has_no_column(scope: &Scope<'_>, select: &Select, name: &str) -> bool {
    let Some(block) = block_of(scope, select) else {
        return false;
    };
    let leaves = scope
        .blocks
        .get(block)
        .map_or(0, |block| block.leaves.len());
    let uses: Vec<_> = scope.of_block(block).map(|(_, table)| table).collect();
    uses.len() == leaves
        && uses
            .iter()
            .all(|table| scope.has_column(table, name) == Some(false))
}

/// What GROUP_CONCAT puts between; a comma where it does not say.
fn separator(scope: &Scope<'_>, call: &Call) -> Option<Vec<u8>> {
    let text = scope.text(call.span);
    let mut tokens = Lexer::new(text, scope.input.dialect).filter(|t| !t.kind.is_trivia());
    let said = tokens.find(|token| {
        token.kind == TokenKind::Word && token.span.of(text).eq_ignore_ascii_case(b"separator")
    });
    if said.is_none() {
        return Some(b",".to_vec());
    }
    let word = tokens.next()?;
    literal::decode(word.span.of(text), scope.input.dialect)
}
