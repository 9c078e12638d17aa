//! Conditions as trees: what binds a column to a value.
//!
//! Owns the reading of one node of a condition. Must never say that a column is bound when its value is not a literal, a
//! parameter or a user variable. A planner descends by itself, along AND and OR, which parentheses alone nest.

use crate::ast::{Ast, BinaryOp, ExprId, ExprKind, LiteralKind, Name, UnaryOp};
use crate::lexer::Span;

/// A value that is known without reading a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// A literal with its sign; the text is at the span.
    Literal(LiteralKind, Span),
    /// `?`, counted from 0.
    Parameter(u32, Span),
    /// `@x`.
    UserVariable(Span),
}

/// One node of a condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Predicate<'a> {
    /// All of these hold.
    And(&'a [ExprId]),
    /// One of these holds.
    Or(&'a [ExprId]),
    /// This does not hold.
    Not(ExprId),
    /// `column op value`, also where it was written the other way around.
    Compare {
        /// The column.
        column: Name,
        /// The operator, with the column on its left.
        op: BinaryOp,
        /// The value.
        value: Operand,
    },
    /// `column [NOT] IN (values)`: each is an [`operand`].
    In {
        /// The column.
        column: Name,
        /// The values.
        values: &'a [ExprId],
        /// Whether NOT was said.
        negated: bool,
    },
    /// `column [NOT] BETWEEN low AND high`.
    Between {
        /// The column.
        column: Name,
        /// From here.
        low: Operand,
        /// To here.
        high: Operand,
        /// Whether NOT was said.
        negated: bool,
    },
    /// `(a, b) op (1, 2)`: columns are expressions, values are operands; equally many.
    RowCompare {
        /// Left side.
        columns: &'a [ExprId],
        /// The operator.
        op: BinaryOp,
        /// Right side.
        values: &'a [ExprId],
    },
    /// `(a, b) [NOT] IN ((1, 2), (3, 4))`: every element is a row.
    RowIn {
        /// Left side.
        columns: &'a [ExprId],
        /// The rows: see [`row`].
        rows: &'a [ExprId],
        /// Whether NOT was said.
        negated: bool,
    },
    /// `column IS [NOT] NULL`.
    IsNull {
        /// The column.
        column: Name,
        /// Whether NOT was said.
        negated: bool,
    },
    /// `a.x = b.y`: the condition of a join.
    Columns {
        /// Left.
        left: Name,
        /// The operator.
        op: BinaryOp,
        /// Right.
        right: Name,
    },
    /// Anything else: it may hold or not.
    Other,
}

/// The expression without parentheses around it.
fn bare(ast: &Ast, mut expr: ExprId) -> Option<(ExprId, ExprKind, Span)> {
    loop {
        let node = ast.expr(expr)?;
        match node.kind {
            ExprKind::Parenthesised(inner) => expr = inner,
            kind => return Some((expr, kind, node.span)),
        }
    }
}

/// The column that the expression is.
pub fn column(ast: &Ast, expr: ExprId) -> Option<Name> {
    match bare(ast, expr)?.1 {
        ExprKind::Column(column) => Some(ast.node(column)?.name),
        _ => None,
    }
}

/// The elements of a row constructor.
pub fn row(ast: &Ast, expr: ExprId) -> Option<&[ExprId]> {
    match bare(ast, expr)?.1 {
        ExprKind::Row(elements) => Some(ast.list(elements)),
        _ => None,
    }
}

/// The value that the expression is, when it is one without reading a row.
pub fn operand(ast: &Ast, expr: ExprId) -> Option<Operand> {
    let (_, kind, span) = bare(ast, expr)?;
    match kind {
        ExprKind::Literal(literal) => Some(Operand::Literal(literal, span)),
        ExprKind::Parameter(ordinal) => Some(Operand::Parameter(ordinal, span)),
        ExprKind::UserVariable => Some(Operand::UserVariable(span)),
        ExprKind::Unary(UnaryOp::Minus | UnaryOp::Plus, inner) => match ast.expr(inner)?.kind {
            ExprKind::Literal(LiteralKind::Number) => {
                Some(Operand::Literal(LiteralKind::Number, span))
            }
            _ => None,
        },
        _ => None,
    }
}

/// What `expr` is as a condition.
pub fn predicate(ast: &Ast, expr: ExprId) -> Predicate<'_> {
    read(ast, expr).unwrap_or(Predicate::Other)
}

fn read(ast: &Ast, expr: ExprId) -> Option<Predicate<'_>> {
    Some(match bare(ast, expr)?.1 {
        ExprKind::And(terms) => Predicate::And(ast.list(terms)),
        ExprKind::Or(terms) => Predicate::Or(ast.list(terms)),
        ExprKind::Unary(UnaryOp::Not | UnaryOp::Bang, inner) => Predicate::Not(inner),
        ExprKind::Binary { op, left, right } if op.is_comparison() => {
            comparison(ast, op, left, right)?
        }
        ExprKind::In {
            operand: left,
            values,
            negated,
        } => in_list(ast, left, ast.list(values), negated)?,
        ExprKind::Between { operands, negated } => match ast.list(operands) {
            [left, low, high] => Predicate::Between {
                column: column(ast, *left)?,
                low: operand(ast, *low)?,
                high: operand(ast, *high)?,
                negated,
            },
            _ => Predicate::Other,
        },
        ExprKind::Is {
            operand,
            truth: LiteralKind::Null,
            negated,
        } => Predicate::IsNull {
            column: column(ast, operand)?,
            negated,
        },
        _ => Predicate::Other,
    })
}

fn comparison(ast: &Ast, op: BinaryOp, left: ExprId, right: ExprId) -> Option<Predicate<'_>> {
    if let (Some(columns), Some(values)) = (row(ast, left), row(ast, right)) {
        let bound = columns.len() == values.len()
            && columns.iter().all(|c| column(ast, *c).is_some())
            && values.iter().all(|v| operand(ast, *v).is_some());
        return bound.then_some(Predicate::RowCompare {
            columns,
            op,
            values,
        });
    }
    match (column(ast, left), column(ast, right)) {
        (Some(left), Some(right)) => Some(Predicate::Columns { left, op, right }),
        (Some(column), None) => {
            let value = operand(ast, right)?;
            Some(Predicate::Compare { column, op, value })
        }
        (None, Some(column)) => {
            let value = operand(ast, left)?;
            let op = op.mirrored();
            Some(Predicate::Compare { column, op, value })
        }
        (None, None) => None,
    }
}

fn in_list<'a>(
    ast: &'a Ast,
    left: ExprId,
    values: &'a [ExprId],
    negated: bool,
) -> Option<Predicate<'a>> {
    if let Some(columns) = row(ast, left) {
        let is_row = |id: &ExprId| {
            row(ast, *id).is_some_and(|elements| {
                elements.len() == columns.len()
                    && elements.iter().all(|v| operand(ast, *v).is_some())
            })
        };
        let bound = columns.iter().all(|c| column(ast, *c).is_some()) && values.iter().all(is_row);
        return bound.then_some(Predicate::RowIn {
            columns,
            rows: values,
            negated,
        });
    }
    let column = column(ast, left)?;
    let bound = values.iter().all(|v| operand(ast, *v).is_some());
    bound.then_some(Predicate::In {
        column,
        values,
        negated,
    })
}
