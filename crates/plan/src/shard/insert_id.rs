//! The session's LAST_INSERT_ID(), or a variable that says the same, as a number in the text.
//!
//! Owns where a plain number means the same: compared in a condition, or stored by an INSERT. There it leads to a shard as any
//! other. Must never touch what names a column of the result. Input: a statement, and the value that the session knows.

use dbmesh_sql::Span;
use dbmesh_sql::ast::{Assignment, Expr, ExprId, ExprKind, Row, SelectItem};

use super::rewrite::{self, Splice};
use super::scope::Scope;
use super::{Input, ShardPlanner};

/// Variables that say it.
const SAYING_IT: [&[u8]; 4] = [
    b"@@last_insert_id",
    b"@@identity",
    b"@@session.last_insert_id",
    b"@@session.identity",
];

impl ShardPlanner {
    /// The text with the number in those places; none if there are none.
    pub fn with_insert_id(&mut self, input: &Input<'_>, id: u64) -> Option<Vec<u8>> {
        let ast = self.parser.parse(input.sql, input.dialect).ok()?;
        self.facts.fill(ast, input.sql, input.dialect);
        let scope = Scope::of(*input, ast, &self.facts).ok()?;
        let mut splices: Vec<Splice> = Vec::new();
        let calls = places(&scope)
            .into_iter()
            .filter_map(|place| call(&scope, place));
        for span in calls {
            if !splices.iter().any(|splice| splice.span == span) && !names_column(&scope, span) {
                splices.push(Splice::text(span, id.to_string()));
            }
        }
        let whole = Span {
            start: 0,
            end: input.sql.len(),
        };
        (!splices.is_empty()).then(|| rewrite::copy(&scope, whole, &splices).text)
    }
}

/// The operands of comparisons, and values that are stored.
fn places(scope: &Scope<'_>) -> Vec<ExprId> {
    let ast = scope.ast;
    let mut places = Vec::new();
    for expr in ast.all::<Expr>() {
        match expr.kind {
            ExprKind::Binary { op, left, right } if op.is_comparison() => {
                places.extend([left, right]);
            }
            ExprKind::In { values, .. } => places.extend_from_slice(ast.list(values)),
            ExprKind::Between { operands, .. } => places.extend_from_slice(ast.list(operands)),
            _ => {}
        }
    }
    for row in ast.all::<Row>() {
        places.extend_from_slice(ast.list(row.values));
    }
    places.extend(ast.all::<Assignment>().iter().map(|set| set.value));
    places
}

/// Where it calls LAST_INSERT_ID(), or reads such a variable.
fn call(scope: &Scope<'_>, place: ExprId) -> Option<Span> {
    let node = scope.ast.expr(place)?;
    let call = match node.kind {
        ExprKind::Call(call) => scope.ast.node(call)?,
        ExprKind::SystemVariable(_) => {
            let text = scope.text(node.span).to_ascii_lowercase();
            return SAYING_IT.contains(&text.as_slice()).then_some(node.span);
        }
        _ => return None,
    };
    let named = call.name.qualifier.is_none()
        && scope
            .text(call.name.name)
            .eq_ignore_ascii_case(b"last_insert_id");
    (named && scope.ast.list(call.arguments).is_empty()).then_some(call.span)
}

/// Whether the text of a column that has no alias would change.
fn names_column(scope: &Scope<'_>, span: Span) -> bool {
    let mut items = scope.ast.all::<SelectItem>().iter();
    items.any(|item| {
        item.alias.is_none() && item.span.start <= span.start && span.end <= item.span.end
    })
}
