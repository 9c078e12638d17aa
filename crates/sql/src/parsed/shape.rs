//! The clauses of the outermost query that decide how the answers of several servers are put together.
//!
//! Owns what belongs to the outermost block. Must never count an aggregate of a sub-query.

use crate::ast::{
    Ast, Call, CallKind, Distinct, GroupBy, Id, Limit, List, OrderItem, Query, QueryBody, Select,
    SelectItem,
};

/// Clauses of a query. What an inner pair of parentheses has is the outer one's, where the outer has nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryShape {
    /// The query.
    pub query: Id<Query>,
    /// The block, unless it is a set operation, VALUES or TABLE.
    pub select: Option<Id<Select>>,
    /// Whether it is UNION and its like.
    pub set_operation: bool,
    /// `DISTINCT`.
    pub distinct: bool,
    /// The select list.
    pub items: List<SelectItem>,
    /// `GROUP BY`.
    pub group_by: Option<GroupBy>,
    /// Whether there is HAVING.
    pub having: bool,
    /// `ORDER BY`.
    pub order_by: List<OrderItem>,
    /// `LIMIT`.
    pub limit: Option<Limit>,
    /// An aggregate without OVER.
    pub aggregates: bool,
    /// A window function.
    pub windows: bool,
}

/// The shape of `query`.
pub(super) fn of(ast: &Ast, query: Id<Query>) -> Option<QueryShape> {
    let outer = *ast.node(query)?;
    let mut inner = outer;
    let mut order_by = outer.order_by;
    let mut limit = outer.limit;
    while let QueryBody::Parenthesised(id) = inner.body {
        inner = *ast.node(id)?;
        if order_by.is_empty() && limit.is_none() {
            order_by = inner.order_by;
            limit = inner.limit;
        }
    }
    let id = match inner.body {
        QueryBody::Select(id) => Some(id),
        _ => None,
    };
    let select = id.and_then(|id| ast.node(id));
    let block = select.map(|select| select.block);
    let calls = || {
        ast.all::<Call>()
            .iter()
            .filter(move |call| Some(call.block) == block)
    };
    Some(QueryShape {
        query,
        select: id,
        set_operation: matches!(inner.body, QueryBody::Set { .. }),
        distinct: select.is_some_and(|s| s.distinct == Distinct::Distinct),
        items: select.map_or(List::default(), |s| s.items),
        group_by: select.and_then(|s| s.group_by),
        having: select.is_some_and(|s| s.having.is_some()),
        order_by,
        limit,
        aggregates: calls().any(|call| call.kind == CallKind::Aggregate && call.over.is_none()),
        windows: calls().any(|call| call.over.is_some()),
    })
}
