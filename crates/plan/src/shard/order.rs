//! Columns of the rows that shards give: those the client asked for, and hidden ones behind them.
//!
//! Owns where a key of ORDER BY is in a row. Must never take a name for a column that may be an alias, nor the other way.

use dbmesh_sql::Span;
use dbmesh_sql::ast::{
    Call, CallKind, ColumnName, ExprId, ExprKind, List, LiteralKind, OrderItem, Select, SelectItem,
    SelectItemKind,
};
use dbmesh_sql::parsed::{self, QueryShape};

use super::Zone;
use super::merge::{ColumnRef, MergeSpec, OrderKey};
use super::reason::{GatherReason, Stop};
use super::rewrite::{Copied, Splice, copy, qualifiers};
use super::scope::{Scope, Use};

/// Functions whose value differs from call to call.
const RANDOM: [&str; 5] = ["rand", "random_bytes", "sysdate", "uuid", "uuid_short"];

/// A column of a row, before it is known how many are hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Item(usize),
    Hidden(usize),
}

/// The select list of the outermost block, with what is added to it.
pub(super) struct Rows<'s, 'a> {
    pub scope: &'s Scope<'a>,
    pub select: Select,
    pub items: &'a [SelectItem],
    hidden: Vec<Copied>,
    /// So many of them are moments of columns that are not hidden.
    moments: usize,
}

/// An expression without parentheses around it.
pub(super) fn bare(scope: &Scope<'_>, mut expr: ExprId) -> Option<ExprKind> {
    loop {
        match scope.ast.expr(expr)?.kind {
            ExprKind::Parenthesised(inner) => expr = inner,
            kind => return Some(kind),
        }
    }
}

fn within(outer: Span, inner: Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

impl<'s, 'a> Rows<'s, 'a> {
    pub fn of(scope: &'s Scope<'a>, select: Select) -> Self {
        Self {
            scope,
            select,
            items: scope.ast.list(select.items),
            hidden: Vec::new(),
            moments: 0,
        }
    }

    /// Whether sub-queries or random values stand in a span: it cannot be computed a second time.
    pub fn repeats(&self, span: Span) -> bool {
        let ast = self.scope.ast;
        let selects = ast.all::<Select>().iter();
        let asks = selects
            .into_iter()
            .any(|select| within(span, select.span) && select.span != self.select.span);
        let random = ast.all::<Call>().iter().any(|call| {
            let name = self.scope.lower(call.name.name);
            within(span, call.span) && RANDOM.contains(&name.as_str())
        });
        !asks && !random
    }

    /// Aggregates of this block in a span.
    pub fn aggregates(&self, span: Span) -> impl Iterator<Item = &'a Call> {
        let block = self.select.block;
        let calls = self.scope.ast.all::<Call>().iter();
        calls.filter(move |call| {
            call.block == block
                && call.kind == CallKind::Aggregate
                && call.over.is_none()
                && within(span, call.span)
        })
    }

    /// Adds a column behind all others, unless it is there.
    pub fn hide(&mut self, text: Copied) -> Column {
        let place = match self.hidden.iter().position(|known| *known == text) {
            Some(place) => place,
            None => {
                self.hidden.push(text);
                self.hidden.len() - 1
            }
        };
        Column::Hidden(place)
    }

    /// The text of a span, without the logical schema.
    pub fn copied(&self, span: Span) -> Result<Copied, Stop> {
        Ok(copy(self.scope, span, &qualifiers(self.scope)?))
    }

    /// Where the column is in a row of the server.
    pub fn place(&self, column: Column) -> Option<ColumnRef> {
        let is_star = |item: &SelectItem| !matches!(item.kind, SelectItemKind::Expr(_));
        match column {
            Column::Hidden(place) => Some(ColumnRef::End(self.hidden.len() - place)),
            Column::Item(place) => {
                let (before, after) = self.items.split_at_checked(place)?;
                if !before.iter().any(is_star) && !after.first().is_some_and(is_star) {
                    return Some(ColumnRef::Start(place));
                }
                let known = !after.iter().any(is_star);
                known.then(|| ColumnRef::End(self.hidden.len() + after.len()))
            }
        }
    }

    pub fn hidden(&self) -> usize {
        self.hidden.len()
    }

    /// The splice that adds the hidden columns.
    pub fn splice(&self) -> Option<Splice> {
        let mut all = Copied::default();
        for hidden in &self.hidden {
            all.push(b", ");
            all.append(hidden.clone());
        }
        let end = self.select.items_span.end;
        (!self.hidden.is_empty()).then(|| all.splice(Span { start: end, end }))
    }

    /// The item at a position, as ORDER BY and GROUP BY count; none where `*` makes that unknown.
    pub fn position(&self, expr: ExprId) -> Option<Result<Column, Stop>> {
        let node = self.scope.ast.expr(expr)?;
        if node.kind != ExprKind::Literal(LiteralKind::Number) {
            return None;
        }
        let text = std::str::from_utf8(self.scope.text(node.span)).ok()?;
        let position: usize = text.parse().ok()?;
        let item = position.checked_sub(1);
        let column = item
            .filter(|item| *item < self.items.len())
            .map(Column::Item);
        let known = column.filter(|c| matches!(self.place(*c), Some(ColumnRef::Start(_))));
        Some(known.ok_or_else(|| GatherReason::OrderKey.into()))
    }

    /// Items that an unqualified name means: by alias, or a column of that name without alias.
    pub fn named(&self, name: &str) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        for (place, item) in self.items.iter().enumerate() {
            let means = match (item.alias, item.kind) {
                (Some(alias), _) => self.scope.lower(alias) == name,
                (None, SelectItemKind::Expr(expr)) => parsed::column(self.scope.ast, expr)
                    .is_some_and(|column| self.scope.lower(column.name) == name),
                _ => false,
            };
            if means {
                found.push(place);
            }
        }
        found
    }

    /// The item with that expression.
    pub fn same(&self, span: Span) -> Option<usize> {
        let text = self.scope.text(span);
        self.items.iter().position(|item| match item.kind {
            SelectItemKind::Expr(expr) => {
                self.scope
                    .ast
                    .expr(expr)
                    .is_some_and(|node| self.scope.text(node.span).eq_ignore_ascii_case(text))
                    && !text.iter().any(|b| matches!(b, b'\'' | b'"' | b'?'))
            }
            _ => false,
        })
    }

    /// Whether an unqualified column in a span has the name of an alias.
    pub fn uses_alias(&self, span: Span) -> bool {
        let columns = self.scope.ast.all::<ColumnName>().iter();
        let mut columns = columns.filter(|c| within(span, c.name.span));
        columns.any(|column| {
            let name = self.scope.lower(column.name.name);
            column.name.qualifier.is_none()
                && self.items.iter().any(|item| {
                    item.alias
                        .is_some_and(|alias| self.scope.lower(alias) == name)
                })
        })
    }

    /// Where a key of ORDER BY is, in rows that no group makes.
    pub fn order_key(&mut self, expr: ExprId) -> Result<Column, Stop> {
        let known = self.known_key(expr)?;
        let meant = match known {
            Some(Column::Item(place)) => match self.items.get(place).map(|item| item.kind) {
                Some(SelectItemKind::Expr(item)) => item,
                _ => expr,
            },
            _ => expr,
        };
        if let Some(moment) = self.moment(meant)? {
            let before = self.hidden();
            let column = self.hide(moment);
            if known.is_some() {
                self.moments += self.hidden() - before;
            }
            return Ok(column);
        }
        if let Some(known) = known {
            return Ok(known);
        }
        let span = self
            .scope
            .ast
            .expr(expr)
            .ok_or(GatherReason::OrderKey)?
            .span;
        let text = self.copied(span)?;
        Ok(self.hide(text))
    }

    /// What servers order a TIMESTAMP by, where its time does not tell: the seconds since 1970.
    fn moment(&self, expr: ExprId) -> Result<Option<Copied>, Stop> {
        let scope = self.scope;
        let (Some(name), Some(block), Zone::Shifting) = (
            parsed::column(scope.ast, expr),
            scope.top(),
            scope.input.zone,
        ) else {
            return Ok(None);
        };
        let column = scope.lower(name.name);
        let is_moment = |table: &Use<'_>| {
            let known = scope.input.catalog.tables.get(&table.table);
            known.is_some_and(|known| known.timestamps.contains(&column))
        };
        let owner = match scope.column(block, name) {
            Some(place) => scope.uses.get(place),
            None if name.qualifier.is_some() => None,
            None => {
                let mut owners = scope.of_block(block).filter(|(_, table)| {
                    let known = scope.input.catalog.tables.contains(&table.table);
                    !known || is_moment(table) || scope.has_column(table, &column) != Some(false)
                });
                let all = scope.of_block(block).count();
                let leaves = scope.blocks.get(block).map_or(0, |b| b.leaves.len());
                match (owners.next(), owners.next()) {
                    (Some((_, owner)), None) if all == leaves => Some(owner),
                    _ => None,
                }
            }
        };
        let Some(node) = scope
            .ast
            .expr(expr)
            .filter(|_| owner.is_some_and(is_moment))
        else {
            return Ok(None);
        };
        let mut text = Copied::default();
        text.push(b"UNIX_TIMESTAMP(");
        text.append(self.copied(node.span)?);
        text.push(b")");
        Ok(Some(text))
    }

    /// The column that a key of ORDER BY means; none if it has to be added.
    fn known_key(&self, expr: ExprId) -> Result<Option<Column>, Stop> {
        if let Some(position) = self.position(expr) {
            return position.map(Some);
        }
        let node = self.scope.ast.expr(expr).ok_or(GatherReason::OrderKey)?;
        let span = node.span;
        if let Some(name) = parsed::column(self.scope.ast, expr)
            && name.qualifier.is_none()
        {
            let lower = self.scope.lower(name.name);
            match self.named(&lower).as_slice() {
                [] => {}
                [place] => return Ok(Some(Column::Item(*place))),
                _ => return Err(GatherReason::OrderKey.into()),
            }
        } else if let Some(place) = self.same(span) {
            return Ok(Some(Column::Item(place)));
        } else if self.uses_alias(span) {
            return Err(GatherReason::OrderKey.into());
        }
        match self.repeats(span) {
            true => Ok(None),
            false => Err(GatherReason::OrderKey.into()),
        }
    }

    /// All keys of ORDER BY.
    pub fn order(
        &mut self,
        items: List<OrderItem>,
        key: impl Fn(&mut Self, ExprId) -> Result<Column, Stop>,
    ) -> Result<Vec<(Column, bool)>, Stop> {
        let items = self.scope.ast.list(items);
        let keys = items
            .iter()
            .map(|item| Ok((key(self, item.expr)?, item.descending)));
        keys.collect()
    }

    /// The keys as they are in rows.
    pub fn keys(&self, keys: &[(Column, bool)]) -> Result<Vec<OrderKey>, Stop> {
        let placed = keys.iter().map(|(column, descending)| {
            let column = self.place(*column).ok_or(GatherReason::OrderKey)?;
            Ok(OrderKey {
                column,
                descending: *descending,
            })
        });
        placed.collect()
    }
}

/// The plan of rows that no group makes: order, limit, distinct.
pub(super) fn plain(
    scope: &Scope<'_>,
    select: &Select,
    shape: &QueryShape,
) -> Result<(MergeSpec, Vec<Splice>), Stop> {
    let mut rows = Rows::of(scope, *select);
    let order = rows.order(shape.order_by, |rows, expr| rows.order_key(expr))?;
    // The moment of a column parts no rows but those that servers may part as well.
    if shape.distinct && rows.hidden() > rows.moments {
        return Err(GatherReason::DistinctOrder.into());
    }
    let mut spec = MergeSpec {
        hidden: rows.hidden(),
        distinct: shape.distinct,
        order: rows.keys(&order)?,
        ordered: !order.is_empty(),
        ..MergeSpec::default()
    };
    let mut splices: Vec<Splice> = rows.splice().into_iter().collect();
    splices.extend(limit(scope, shape, &mut spec)?);
    Ok((spec, splices))
}

/// Takes LIMIT into the merge; shards give as many rows as offset and limit together.
pub(super) fn limit(
    scope: &Scope<'_>,
    shape: &QueryShape,
    spec: &mut MergeSpec,
) -> Result<Option<Splice>, Stop> {
    let Some(limit) = shape.limit else {
        // The shards know the session's own limit, and keep to it.
        spec.limit = scope.input.select_limit;
        return Ok(None);
    };
    if limit.with_ties {
        return Err(GatherReason::LimitTies.into());
    }
    let count = |expr: Option<ExprId>| {
        let operand = parsed::operand(scope.ast, expr?)?;
        scope.reading().count(operand)
    };
    let rows = count(limit.count).ok_or(GatherReason::LimitUnknown)?;
    spec.limit = Some(rows);
    spec.offset = match limit.offset {
        Some(_) => count(limit.offset).ok_or(GatherReason::LimitUnknown)?,
        None => 0,
    };
    if spec.offset == 0 && limit.offset.is_none() {
        return Ok(None);
    }
    let all = match rows {
        // A server looks for no row then, also not for those to skip, and describes columns as it does without looking.
        0 => 0,
        rows => spec.offset.saturating_add(rows),
    };
    Ok(Some(Splice::text(limit.span, format!("LIMIT {all}"))))
}
