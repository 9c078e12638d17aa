//! Clauses that bound a statement, and whether it names every column of a table without writing them.
//!
//! Owns these questions for rules. Must never call a statement bounded that is not: a WHERE without a column is none, and a
//! set operation lacks what one of its blocks lacks.

use crate::ast::{
    Ast, Body, Clause, ColumnName, ExplainedBody, Expr, ExprKind, Id, Insert, InsertSource,
    LoadData, Query, QueryBody, Select, SelectItem, SelectItemKind,
};

/// Set operations that are followed; with more, clauses count as missing.
const BLOCKS_MAX: usize = 256;

/// Whether rows are read or changed without a WHERE that names a column.
pub fn lacks_where(ast: &Ast) -> bool {
    let unbound = |clause: Option<Clause>| clause.is_none_or(|clause| !names_column(ast, clause));
    match ast.statement().body {
        Body::Update(id)
        | Body::Explain {
            body: ExplainedBody::Update(id),
            ..
        } => ast.node(id).is_none_or(|update| unbound(update.selection)),
        Body::Delete(id)
        | Body::Explain {
            body: ExplainedBody::Delete(id),
            ..
        } => ast.node(id).is_none_or(|delete| unbound(delete.selection)),
        _ => match outer_query(ast) {
            None => false,
            Some(query) => blocks(ast, query).is_none_or(|selects| {
                let reads = |select: &&Select| select.from.is_some_and(|f| !f.tables.is_empty());
                let mut reading = selects.into_iter().filter(reads);
                reading.any(|select| unbound(select.selection))
            }),
        },
    }
}

/// Whether an UPDATE, DELETE or query has no LIMIT.
pub fn lacks_limit(ast: &Ast) -> bool {
    match ast.statement().body {
        Body::Update(id)
        | Body::Explain {
            body: ExplainedBody::Update(id),
            ..
        } => ast.node(id).is_none_or(|update| update.limit.is_none()),
        Body::Delete(id)
        | Body::Explain {
            body: ExplainedBody::Delete(id),
            ..
        } => ast.node(id).is_none_or(|delete| delete.limit.is_none()),
        _ => outer_query(ast)
            .and_then(|id| super::shape::of(ast, id))
            .is_some_and(|shape| shape.limit.is_none()),
    }
}

/// Whether columns are meant that the text does not name: `*`, `TABLE t`, INSERT without a list, LOAD DATA, NATURAL joins.
pub fn takes_every_column(ast: &Ast) -> bool {
    let star = |item: &SelectItem| !matches!(item.kind, SelectItemKind::Expr(_));
    let unlisted = |insert: &Insert| {
        insert.columns.is_empty() && !matches!(insert.source, InsertSource::Set(_))
    };
    ast.all::<SelectItem>().iter().any(star)
        || ast.all::<Insert>().iter().any(unlisted)
        || !ast.all::<LoadData>().is_empty()
        || (ast.all::<Query>().iter()).any(|query| matches!(query.body, QueryBody::Table(_)))
}

/// The query whose rows are sent or inserted.
fn outer_query(ast: &Ast) -> Option<Id<Query>> {
    let inserted = match ast.statement().body {
        Body::Insert(id)
        | Body::Explain {
            body: ExplainedBody::Insert(id),
            ..
        } => ast.node(id).map(|insert| insert.source),
        _ => return super::main_query(ast),
    };
    match inserted {
        Some(InsertSource::Query(id)) => Some(id),
        _ => None,
    }
}

/// The blocks of a query and of its set operations; none if there are too many.
fn blocks(ast: &Ast, query: Id<Query>) -> Option<Vec<&Select>> {
    let (mut left, mut found) = (vec![query], Vec::new());
    while let Some(id) = left.pop() {
        match ast.node(id).map(|query| query.body) {
            Some(QueryBody::Select(select)) => found.extend(ast.node(select)),
            Some(QueryBody::Parenthesised(inner)) => left.push(inner),
            Some(QueryBody::Set {
                left: one,
                right: other,
                ..
            }) => left.extend([one, other]),
            Some(QueryBody::Table(_) | QueryBody::Values(_)) | None => {}
        }
        if found.len() > BLOCKS_MAX {
            return None;
        }
    }
    Some(found)
}

/// Whether a column stands in the clause; one of a sub-query counts.
fn names_column(ast: &Ast, clause: Clause) -> bool {
    let inside = |expr: &Expr| {
        let is_column = match expr.kind {
            ExprKind::Column(id) => ast.node::<ColumnName>(id).is_some(),
            _ => false,
        };
        is_column && expr.span.start >= clause.span.start && expr.span.end <= clause.span.end
    };
    ast.all::<Expr>().iter().any(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, Parser};

    fn ask(sql: &str, question: fn(&Ast) -> bool) -> bool {
        let mut parser = Parser::new();
        question(parser.parse(sql.as_bytes(), &Dialect::default()).unwrap())
    }

    #[test]
    fn a_where_must_name_a_column() {
        for sql in [
            "DELETE FROM t",
            "DELETE FROM t WHERE 1 = 1",
            "UPDATE t SET a = 1 ORDER BY a LIMIT 1",
            "SELECT a FROM t",
            "(SELECT a FROM t WHERE a = 1) UNION SELECT b FROM u",
            "INSERT INTO t SELECT * FROM u",
            "EXPLAIN DELETE FROM t",
        ] {
            assert!(ask(sql, lacks_where), "{sql}");
        }
        for sql in [
            "DELETE FROM t WHERE id = 1",
            "UPDATE t SET a = 1 WHERE id IN (1)",
            "SELECT 1",
            "SELECT a FROM t WHERE a = ? UNION SELECT b FROM u WHERE b = 1",
            "INSERT INTO t VALUES (1)",
            "CREATE TABLE t (a INT)",
        ] {
            assert!(!ask(sql, lacks_where), "{sql}");
        }
    }

    #[test]
    fn a_limit_is_the_outermost_query_s() {
        assert!(ask(
            "SELECT a FROM (SELECT a FROM t LIMIT 1) x",
            lacks_limit
        ));
        assert!(ask("DELETE FROM t WHERE a = 1", lacks_limit));
        assert!(!ask("(SELECT a FROM t LIMIT 1)", lacks_limit));
        assert!(!ask("DELETE FROM t LIMIT 1", lacks_limit));
        assert!(!ask("INSERT INTO t VALUES (1)", lacks_limit));
    }

    #[test]
    fn columns_can_be_meant_without_being_named() {
        for sql in [
            "SELECT * FROM t",
            "SELECT x.* FROM t x",
            "TABLE t",
            "INSERT INTO t VALUES (1)",
            "INSERT INTO u (a) SELECT * FROM t",
            "WITH x AS (SELECT * FROM t) SELECT a FROM x",
        ] {
            assert!(ask(sql, takes_every_column), "{sql}");
        }
        for sql in ["SELECT COUNT(*) FROM t", "INSERT INTO t SET a = 1"] {
            assert!(!ask(sql, takes_every_column), "{sql}");
        }
    }
}
