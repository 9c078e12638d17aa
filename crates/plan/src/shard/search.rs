//! Full-text searches over several shards.
//!
//! Owns the question of what a search counts. Whether a row is found hangs on the row alone; how relevant it is counts the
//! rows of all shards, which none of them knows. Must never let a relevance pass for one server's. Input: a statement.

use dbmesh_sql::ast::{Expr, ExprKind, UnaryOp};

use super::route;
use super::scope::Scope;

/// Whether an answer hangs on how relevant rows are, or on words that were found in other rows.
pub(super) fn ranks(scope: &Scope<'_>) -> bool {
    let ast = scope.ast;
    let is_search = |expr: &&Expr| matches!(expr.kind, ExprKind::Match(_));
    let searches = ast.all::<Expr>().iter().filter(is_search);
    let all = searches.clone().count();
    // WITH QUERY EXPANSION.
    let expands = |expr: &Expr| {
        let text = scope.text(expr.span).to_ascii_uppercase();
        text.windows(9).any(|word| word == b"EXPANSION")
    };
    all > 0 && (searches.clone().any(expands) || filters(scope) < all)
}

/// How many searches only say whether a row is wanted. Recursion is not needed: terms wait in a list.
fn filters(scope: &Scope<'_>) -> usize {
    let ast = scope.ast;
    let mut count = 0;
    for block in 0..scope.blocks.len() {
        let mut pending = route::certain(scope, block);
        while let Some(next) = pending.pop() {
            match ast.expr(next).map(|node| node.kind) {
                Some(ExprKind::Match(_)) => count += 1,
                Some(ExprKind::And(terms) | ExprKind::Or(terms)) => {
                    pending.extend(ast.list(terms));
                }
                Some(
                    ExprKind::Parenthesised(inner)
                    | ExprKind::Unary(UnaryOp::Not | UnaryOp::Bang, inner),
                ) => pending.push(inner),
                _ => {}
            }
        }
    }
    count
}
