//! The corpus files, and what must hold of every tree.

use std::path::Path;

use dbmesh_sql::ast::{
    Assignment, Ast, CaseArm, CommonTable, Expr, ExprId, ExprKind, Join, OrderItem, Query,
    QueryBody, Row, Select, SelectItem, SelectItemKind, TableRef, TableRefKind,
};
use dbmesh_sql::{Dialect, Flavor, Span};

/// A line of the corpus.
pub struct Line {
    pub place: String,
    pub mysql: bool,
    pub mariadb: bool,
    pub sql: String,
}

/// All lines.
pub fn lines() -> Vec<Line> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (n, line) in text
            .lines()
            .enumerate()
            .filter(|(_, l)| !l.starts_with('#'))
        {
            let (servers, sql) = line.split_once("| ").expect("servers| statement");
            lines.push(Line {
                place: format!("{}:{}", file.file_name().unwrap().to_string_lossy(), n + 1),
                mysql: matches!(servers, "both" | "mysql"),
                mariadb: matches!(servers, "both" | "mariadb"),
                sql: sql.to_owned(),
            });
        }
    }
    lines
}

pub fn mysql() -> Dialect {
    Dialect {
        version: 90_704,
        ..Dialect::default()
    }
}

pub fn mariadb() -> Dialect {
    Dialect {
        flavor: Flavor::MariaDb,
        version: 101_119,
        ..Dialect::default()
    }
}

fn inside(outer: Span, inner: Span, what: &str, sql: &[u8]) {
    assert!(
        outer.start <= inner.start && inner.start <= inner.end && inner.end <= outer.end,
        "{what}: {inner:?} not in {outer:?} of {:?}",
        String::from_utf8_lossy(sql)
    );
}

/// Every span lies in the text, and every child in its parent.
pub fn check_spans(ast: &Ast, sql: &[u8]) {
    let whole = Span {
        start: 0,
        end: sql.len(),
    };
    let parsed = ast.statement();
    inside(whole, parsed.span, "statement", sql);
    assert!(parsed.next_offset <= sql.len() && parsed.next_offset >= parsed.span.end);
    let expr =
        |outer: Span, id: ExprId| inside(outer, ast.expr(id).unwrap().span, "expression", sql);
    let exprs = |outer: Span, ids: &[ExprId]| ids.iter().for_each(|id| expr(outer, *id));
    for node in ast.all::<Expr>() {
        inside(whole, node.span, "expression", sql);
        let span = node.span;
        match node.kind {
            ExprKind::Assign { variable, value } => exprs(span, &[variable, value]),
            ExprKind::Parenthesised(e) | ExprKind::Unary(_, e) | ExprKind::Collate(e, _) => {
                expr(span, e)
            }
            ExprKind::Interval(e, _) | ExprKind::Cast(e, _) | ExprKind::ConvertUsing(e, _) => {
                expr(span, e)
            }
            ExprKind::Row(l) | ExprKind::And(l) | ExprKind::Or(l) | ExprKind::Match(l) => {
                exprs(span, ast.list(l))
            }
            ExprKind::Binary { left, right, .. } => exprs(span, &[left, right]),
            ExprKind::Quantified { left, query, .. } => {
                expr(span, left);
                inside(span, ast.node(query).unwrap().span, "query", sql);
            }
            ExprKind::In {
                operand, values, ..
            } => {
                expr(span, operand);
                exprs(span, ast.list(values));
            }
            ExprKind::Between { operands, .. } | ExprKind::Like { operands, .. } => {
                exprs(span, ast.list(operands))
            }
            ExprKind::Exists(q) | ExprKind::Subquery(q) => {
                inside(span, ast.node(q).unwrap().span, "query", sql)
            }
            ExprKind::Call(call) => {
                let call = ast.node(call).unwrap();
                inside(span, call.span, "call", sql);
                exprs(call.span, ast.list(call.arguments));
                if let Some(over) = call.over {
                    inside(span, ast.node(over).unwrap().span, "window", sql);
                }
            }
            ExprKind::Case {
                operand,
                arms,
                otherwise,
            } => {
                operand
                    .into_iter()
                    .chain(otherwise)
                    .for_each(|e| expr(span, e));
                ast.list(arms)
                    .iter()
                    .for_each(|arm| inside(span, arm.span, "arm", sql));
            }
            _ => {}
        }
    }
    lists(ast, sql);
    tables(ast, sql);
    queries(ast, sql);
}

fn lists(ast: &Ast, sql: &[u8]) {
    let expr =
        |outer: Span, id: ExprId| inside(outer, ast.expr(id).unwrap().span, "expression", sql);
    let exprs = |outer: Span, ids: &[ExprId]| ids.iter().for_each(|id| expr(outer, *id));
    for arm in ast.all::<CaseArm>() {
        exprs(arm.span, &[arm.when, arm.then]);
    }
    for item in ast.all::<OrderItem>() {
        expr(item.span, item.expr);
    }
    for item in ast.all::<SelectItem>() {
        if let SelectItemKind::Expr(e) = item.kind {
            expr(item.span, e);
        }
    }
    for row in ast.all::<Row>() {
        exprs(row.span, ast.list(row.values));
    }
    for assignment in ast.all::<Assignment>() {
        expr(assignment.span, assignment.value);
        inside(assignment.span, assignment.column.span, "column", sql);
    }
    for table in ast.all::<CommonTable>() {
        inside(
            table.span,
            ast.node(table.query).unwrap().span,
            "common table",
            sql,
        );
    }
}

fn tables(ast: &Ast, sql: &[u8]) {
    for table in ast.all::<TableRef>() {
        match table.kind {
            TableRefKind::Table { table: name, .. } => {
                inside(
                    table.span,
                    ast.node(name).unwrap().name.span,
                    "table name",
                    sql,
                );
            }
            TableRefKind::Derived { query, .. } => {
                inside(
                    table.span,
                    ast.node(query).unwrap().span,
                    "derived table",
                    sql,
                );
            }
            TableRefKind::Join(join) => {
                let Join {
                    left, right, on, ..
                } = *ast.node(join).unwrap();
                for side in [left, right] {
                    inside(table.span, ast.node(side).unwrap().span, "join", sql);
                }
                on.into_iter()
                    .for_each(|e| inside(table.span, ast.expr(e).unwrap().span, "on", sql));
            }
            TableRefKind::Parenthesised(list) => {
                for inner in ast.list(list) {
                    inside(table.span, ast.node(*inner).unwrap().span, "table", sql);
                }
            }
            TableRefKind::JsonTable { .. } => {}
        }
    }
}

fn queries(ast: &Ast, sql: &[u8]) {
    for query in ast.all::<Query>() {
        inside(query.span, query.order_by_span, "order by", sql);
        if let Some(limit) = query.limit {
            inside(query.span, limit.span, "limit", sql);
        }
        match query.body {
            QueryBody::Set { left, right, .. } => {
                for side in [left, right] {
                    inside(query.span, ast.node(side).unwrap().span, "operand", sql);
                }
            }
            QueryBody::Parenthesised(inner) => {
                inside(
                    query.span,
                    ast.node(inner).unwrap().span,
                    "parentheses",
                    sql,
                );
            }
            QueryBody::Select(select) => {
                inside(query.span, ast.node(select).unwrap().span, "block", sql)
            }
            QueryBody::Table(_) | QueryBody::Values(_) => {}
        }
    }
    for select in ast.all::<Select>() {
        inside(select.span, select.items_span, "select list", sql);
        for clause in [select.selection, select.having, select.qualify]
            .into_iter()
            .flatten()
        {
            inside(select.span, clause.span, "clause", sql);
            inside(
                clause.span,
                ast.expr(clause.expr).unwrap().span,
                "condition",
                sql,
            );
        }
        if let Some(from) = select.from {
            inside(select.span, from.span, "from", sql);
        }
    }
}
