//! What a statement says of the values of a named column: those of the rows that it writes or asks for.
//!
//! Owns the reading alone; what follows from the values is its caller's. It must never call a value known that another row
//! of the statement may not have: a condition binds a column only if every row that fulfils it has one of the values. It
//! reads the outermost query and the rows of an INSERT. Input: a text, parameters, the column.

use dbmesh_model::topology::ColumnRef;
use dbmesh_sql::ast::{
    Assignment, Ast, BinaryOp, Body, Clause, ExplainedBody, ExprId, Id, Insert, InsertSource, Join,
    Name, Query, QueryBody, TableName, TableRef, TableRefKind,
};
use dbmesh_sql::parsed::{self, Access, Predicate};
use dbmesh_sql::{Dialect, ParsedFacts, Parser, StatementKind};

use crate::shard::Parameter;
use crate::shard::value::{Reading, Said, Variables};

/// Parts of a condition, or of joins, that are followed.
const PARTS_MAX: usize = 10_000;

/// What a statement says of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It does not name the table.
    Untouched,
    /// It names the table, and no values of the column bind its rows.
    Unsaid,
    /// All rows that it writes or asks for have one of these values.
    Values(Vec<Said>),
    /// It writes a value that cannot be told: why.
    Hidden(&'static str),
}

/// What is done with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// INSERT, REPLACE, LOAD DATA.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// SELECT and the like.
    Select,
    /// Anything else.
    Other,
}

/// Reads statements. One value serves many, one after the other.
#[derive(Debug, Default)]
pub struct ColumnReader {
    parser: Parser,
    facts: ParsedFacts,
}

/// A statement that can be asked.
#[derive(Debug)]
pub struct Asked<'a> {
    ast: &'a Ast,
    facts: &'a ParsedFacts,
    reading: Reading<'a>,
    schema: Option<&'a [u8]>,
}

/// Where the texts of a statement come from.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    /// The statement.
    pub sql: &'a [u8],
    /// How it is read.
    pub dialect: &'a Dialect,
    /// The session's schema.
    pub schema: Option<&'a [u8]>,
    /// Whether the client's character set is utf8mb4 or utf8mb3.
    pub utf8: bool,
    /// Bound values; none while they are not bound.
    pub parameters: Option<&'a [Parameter]>,
}

impl ColumnReader {
    /// The statement; none if it cannot be parsed.
    pub fn read<'a>(&'a mut self, texts: Texts<'a>) -> Option<Asked<'a>> {
        let ast = self.parser.parse(texts.sql, texts.dialect).ok()?;
        self.facts.fill(ast, texts.sql, texts.dialect);
        Some(Asked {
            ast,
            facts: &self.facts,
            reading: Reading {
                sql: texts.sql,
                dialect: texts.dialect,
                utf8: texts.utf8,
                parameters: texts.parameters,
                variables: Variables::Hidden,
            },
            schema: texts.schema,
        })
    }
}

/// The one name of a table in the outermost query.
struct Use<'a> {
    /// What stands before its columns.
    called: std::borrow::Cow<'a, [u8]>,
}

impl<'a> Asked<'a> {
    /// What is done with rows.
    #[must_use]
    pub fn operation(&self) -> Operation {
        use StatementKind as Kind;
        match self.facts.kind {
            Kind::Insert | Kind::Replace | Kind::LoadData => Operation::Insert,
            Kind::Update => Operation::Update,
            Kind::Delete => Operation::Delete,
            Kind::Select | Kind::Table | Kind::Values => Operation::Select,
            _ => Operation::Other,
        }
    }

    /// What it says of that column.
    #[must_use]
    pub fn told(&self, column: &ColumnRef) -> Told {
        let named = |used: &&parsed::TableUse| self.is_table(used.name, column);
        let mut uses = self.facts.tables.iter().filter(named);
        let Some(first) = uses.next() else {
            return Told::Untouched;
        };
        let written = first.access == Access::Write || uses.any(|u| u.access == Access::Write);
        match self.ast.statement().body {
            Body::Insert(id)
            | Body::Explain {
                body: ExplainedBody::Insert(id),
                ..
            } => match self.ast.node(id) {
                Some(insert) if written => self.told_by_insert(insert, column),
                Some(Insert {
                    source: InsertSource::Query(query),
                    ..
                }) => self.told_by_query(*query, column),
                _ => Told::Unsaid,
            },
            Body::Update(id)
            | Body::Explain {
                body: ExplainedBody::Update(id),
                ..
            } => match self.ast.node(id) {
                Some(update) => {
                    let uses = self.uses(self.ast.list(update.tables), column);
                    let asked = self.bound(update.selection, &uses, column);
                    let set = self.ast.list(update.assignments);
                    self.with_assigned(asked, set, &uses, column)
                }
                None => Told::Unsaid,
            },
            Body::Delete(id)
            | Body::Explain {
                body: ExplainedBody::Delete(id),
                ..
            } => match self.ast.node(id) {
                Some(delete) => {
                    let uses = self.uses(self.ast.list(delete.tables), column);
                    let asked = self.bound(delete.selection, &uses, column);
                    asked.map_or(Told::Unsaid, Told::Values)
                }
                None => Told::Unsaid,
            },
            Body::Query(query)
            | Body::Explain {
                body: ExplainedBody::Query(query),
                ..
            } => self.told_by_query(query, column),
            Body::LoadData(_) if written => Told::Hidden("the rows come from a file"),
            _ => Told::Unsaid,
        }
    }

    fn told_by_insert(&self, insert: &Insert, column: &ColumnRef) -> Told {
        let columns = self.ast.list(insert.columns);
        let place = columns
            .iter()
            .position(|name| self.is_column(*name, column));
        let mut values = Vec::new();
        match insert.source {
            InsertSource::Set(assignments) => {
                let none = self.with_assigned(None, self.ast.list(assignments), &[], column);
                match none {
                    Told::Values(said) => values = said,
                    other => return other,
                }
            }
            _ if columns.is_empty() => return Told::Hidden("the statement names no columns"),
            // The column has its default.
            _ if place.is_none() => return self.on_duplicate(insert, None, column),
            InsertSource::Query(_) => return Told::Hidden("the rows come from a query"),
            InsertSource::Values { rows, .. } => {
                for row in self.ast.list(rows) {
                    let value = place.and_then(|at| self.ast.list(row.values).get(at));
                    match value.and_then(|value| self.said(*value)) {
                        Some(said) => values.push(said),
                        None => return Told::Hidden("a value is computed"),
                    }
                }
            }
        }
        self.on_duplicate(insert, Some(values), column)
    }

    fn on_duplicate(&self, insert: &Insert, values: Option<Vec<Said>>, of: &ColumnRef) -> Told {
        match insert.on_duplicate {
            None => values.map_or(Told::Unsaid, Told::Values),
            Some(update) => {
                let set = self.ast.list(update.assignments);
                self.with_assigned(values, set, &[], of)
            }
        }
    }

    /// The values of a condition, and those that are assigned.
    fn with_assigned(
        &self,
        asked: Option<Vec<Said>>,
        assignments: &[Assignment],
        uses: &[Use<'_>],
        column: &ColumnRef,
    ) -> Told {
        let mut values = asked;
        for assignment in assignments {
            if !self.is_column(assignment.column, column) || !self.is_of(assignment.column, uses) {
                continue;
            }
            match self.said(assignment.value) {
                Some(said) => values.get_or_insert_default().push(said),
                None => return Told::Hidden("a value is computed"),
            }
        }
        values.map_or(Told::Unsaid, Told::Values)
    }

    fn told_by_query(&self, query: Id<Query>, column: &ColumnRef) -> Told {
        let mut query = query;
        for _ in 0..PARTS_MAX {
            match self.ast.node(query).map(|query| query.body) {
                Some(QueryBody::Parenthesised(inner)) => query = inner,
                Some(QueryBody::Select(id)) => {
                    let Some(select) = self.ast.node(id) else {
                        break;
                    };
                    let tables = select.from.map(|from| self.ast.list(from.tables));
                    let uses = self.uses(tables.unwrap_or_default(), column);
                    let asked = self.bound(select.selection, &uses, column);
                    return asked.map_or(Told::Unsaid, Told::Values);
                }
                _ => break,
            }
        }
        Told::Unsaid
    }

    /// The values that bind the column of all uses of its table; none if nothing does.
    fn bound(
        &self,
        clause: Option<Clause>,
        uses: &[Use<'_>],
        column: &ColumnRef,
    ) -> Option<Vec<Said>> {
        let clause = clause?;
        let mut left = PARTS_MAX;
        let one = |used| self.binds(clause.expr, std::slice::from_ref(used), column, &mut left);
        let all: Option<Vec<Vec<Said>>> = uses.iter().map(one).collect();
        all.filter(|all| !all.is_empty()).map(|all| all.concat())
    }

    fn binds(
        &self,
        expr: ExprId,
        uses: &[Use<'_>],
        column: &ColumnRef,
        left: &mut usize,
    ) -> Option<Vec<Said>> {
        *left = left.checked_sub(1)?;
        let is_it = |name: Name| self.is_column(name, column) && self.is_of(name, uses);
        match parsed::predicate(self.ast, expr) {
            Predicate::And(parts) => parts
                .iter()
                .find_map(|part| self.binds(*part, uses, column, left)),
            Predicate::Or(parts) => {
                let mut all = Vec::new();
                for part in parts {
                    all.extend(self.binds(*part, uses, column, left)?);
                }
                Some(all)
            }
            Predicate::Compare { column, op, value } if equal(op) && is_it(column) => {
                Some(vec![self.known(self.reading.said(value))?])
            }
            Predicate::In {
                column,
                values,
                negated: false,
            } if is_it(column) => values.iter().map(|value| self.said(*value)).collect(),
            _ => None,
        }
    }

    /// The names under which the outermost query has the table.
    fn uses(&self, tables: &[Id<TableRef>], column: &ColumnRef) -> Vec<Use<'a>> {
        let (mut found, mut left) = (Vec::new(), tables.to_vec());
        let mut parts = 0;
        while let Some(id) = left.pop() {
            parts += 1;
            let Some(table) = self.ast.node(id).filter(|_| parts < PARTS_MAX) else {
                break;
            };
            match table.kind {
                TableRefKind::Table { table: name, .. } => {
                    let Some(name) = self.ast.node::<TableName>(name) else {
                        continue;
                    };
                    if name.common_table.is_none() && self.is_table(name.name, column) {
                        let called = table.alias.unwrap_or(name.name.name);
                        let (sql, dialect) = (self.reading.sql, self.reading.dialect);
                        found.push(Use {
                            called: Ast::unquoted(sql, called, dialect),
                        });
                    }
                }
                TableRefKind::Join(join) => {
                    if let Some(Join { left: l, right, .. }) = self.ast.node(join) {
                        left.extend([*l, *right]);
                    }
                }
                TableRefKind::Parenthesised(inner) => left.extend(self.ast.list(inner)),
                TableRefKind::Derived { .. } | TableRefKind::JsonTable { .. } => {}
            }
        }
        found
    }

    /// The value of an expression, if that is known.
    fn said(&self, expr: ExprId) -> Option<Said> {
        let operand = parsed::operand(self.ast, expr)?;
        self.known(self.reading.said(operand))
    }

    /// A parameter that is not bound yet is something; what cannot be read is nothing.
    fn known(&self, said: Said) -> Option<Said> {
        (said != Said::Unknown).then_some(said)
    }

    fn is_table(&self, name: Name, column: &ColumnRef) -> bool {
        let part = |span| Ast::unquoted(self.reading.sql, span, self.reading.dialect);
        let table = part(name.name).eq_ignore_ascii_case(column.table.as_bytes());
        let schema = match (&column.schema, name.qualifier) {
            (None, _) => true,
            (Some(wanted), Some(span)) => part(span).eq_ignore_ascii_case(wanted.as_bytes()),
            (Some(wanted), None) => self
                .schema
                .is_some_and(|schema| schema.eq_ignore_ascii_case(wanted.as_bytes())),
        };
        table && schema
    }

    fn is_column(&self, name: Name, column: &ColumnRef) -> bool {
        Ast::unquoted(self.reading.sql, name.name, self.reading.dialect)
            .eq_ignore_ascii_case(column.column.as_bytes())
    }

    /// Whether a column's name can mean one of these; without a table before it, it does.
    fn is_of(&self, name: Name, uses: &[Use<'_>]) -> bool {
        let Some(qualifier) = name.qualifier else {
            return true;
        };
        let called = Ast::unquoted(self.reading.sql, qualifier, self.reading.dialect);
        uses.is_empty()
            || uses
                .iter()
                .any(|used| used.called.eq_ignore_ascii_case(&called))
    }
}

fn equal(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Equal | BinaryOp::NullSafeEqual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(sql: &str, parameters: Option<&[Parameter]>) -> Told {
        let dialect = Dialect::default();
        let mut reader = ColumnReader::default();
        let asked = reader.read(Texts {
            sql: sql.as_bytes(),
            dialect: &dialect,
            schema: Some(b"shop"),
            utf8: true,
            parameters,
        });
        let column = ColumnRef {
            schema: Some("shop".into()),
            table: "orders".into(),
            column: "tenant".into(),
        };
        asked.unwrap().told(&column)
    }

    fn values(all: &[&str]) -> Told {
        let said = |text: &&str| Said::Text(text.as_bytes().to_vec());
        Told::Values(all.iter().map(said).collect())
    }

    #[test]
    fn rows_that_are_written_and_conditions_say_values() {
        for (sql, expected) in [
            (
                "INSERT INTO orders (id, tenant) VALUES (1, 'a')",
                values(&["a"]),
            ),
            (
                "REPLACE orders (tenant, id) VALUES ('a', 1), ('b', 2)",
                values(&["a", "b"]),
            ),
            (
                "INSERT INTO shop.Orders SET id = 1, Tenant = 7",
                values(&["7"]),
            ),
            (
                "INSERT INTO orders (tenant) VALUES ('a') ON DUPLICATE KEY UPDATE tenant = 'b'",
                values(&["a", "b"]),
            ),
            (
                "UPDATE orders SET n = 1 WHERE tenant = 'a' AND n = 2",
                values(&["a"]),
            ),
            (
                "UPDATE orders SET tenant = 'b' WHERE 'a' = tenant",
                values(&["a", "b"]),
            ),
            (
                "UPDATE orders SET tenant = 'b' WHERE id = 1",
                values(&["b"]),
            ),
            (
                "DELETE FROM orders WHERE tenant IN ('a', 'b')",
                values(&["a", "b"]),
            ),
            (
                "DELETE o FROM orders o JOIN x ON x.id = o.id WHERE o.tenant = 'a'",
                values(&["a"]),
            ),
            (
                "SELECT * FROM orders WHERE (tenant = 'a' OR tenant = 'b') AND n",
                values(&["a", "b"]),
            ),
            (
                "(SELECT * FROM orders AS o WHERE o.`tenant` <=> 'a' LIMIT 1)",
                values(&["a"]),
            ),
            (
                "EXPLAIN SELECT * FROM orders WHERE tenant = 'a'",
                values(&["a"]),
            ),
            (
                "SELECT * FROM orders a JOIN orders b WHERE a.tenant = 'x' AND b.tenant = 'y'",
                { values(&["y", "x"]) },
            ),
            (
                "INSERT INTO orders (tenant) VALUES (NULL)",
                Told::Values(vec![Said::Null]),
            ),
        ] {
            assert_eq!(told(sql, None), expected, "{sql}");
        }
    }

    #[test]
    fn what_does_not_bind_every_row_says_nothing() {
        for sql in [
            "SELECT * FROM orders",
            "SELECT * FROM orders WHERE tenant = 'a' OR id = 1",
            "SELECT * FROM orders WHERE tenant <> 'a'",
            "SELECT * FROM orders WHERE NOT tenant = 'a'",
            "SELECT * FROM orders WHERE tenant NOT IN ('a')",
            "SELECT * FROM orders WHERE tenant > 'a'",
            "SELECT * FROM orders WHERE tenant = LOWER('A')",
            "SELECT * FROM orders o JOIN x WHERE x.tenant = 'a'",
            "SELECT * FROM x WHERE tenant = 'a' AND id IN (SELECT id FROM orders)",
            "SELECT * FROM orders WHERE tenant = 'a' UNION SELECT * FROM orders",
            "SELECT * FROM orders a JOIN orders b WHERE a.tenant = 'x'",
            "INSERT INTO orders (id) VALUES (1)",
            "UPDATE orders SET n = 1 WHERE id = 7",
            "DELETE FROM orders",
            "TRUNCATE TABLE orders",
        ] {
            assert_eq!(told(sql, None), Told::Unsaid, "{sql}");
        }
        for sql in [
            "SELECT 'orders', tenant FROM x WHERE tenant = 'a'",
            "SELECT * FROM other.orders WHERE tenant = 'a'",
            "WITH orders AS (SELECT 1 AS tenant) SELECT * FROM orders WHERE tenant = 'a'",
            "INSERT INTO x (tenant) VALUES ('a')",
            "BEGIN",
        ] {
            assert_eq!(told(sql, None), Told::Untouched, "{sql}");
        }
    }

    #[test]
    fn a_value_that_is_written_and_cannot_be_told_is_hidden() {
        for sql in [
            "INSERT INTO orders VALUES (1, 'a')",
            "INSERT INTO orders (tenant) VALUES (LOWER('A'))",
            "INSERT INTO orders (tenant) VALUES ('a'), (@x)",
            "INSERT INTO orders (tenant) VALUES (DEFAULT)",
            "INSERT INTO orders (tenant) SELECT tenant FROM x",
            "INSERT INTO orders (tenant) VALUES ('a') ON DUPLICATE KEY UPDATE tenant = CONCAT('a', 'b')",
            "UPDATE orders SET tenant = UPPER(tenant) WHERE tenant = 'a'",
            "LOAD DATA INFILE 'x' INTO TABLE orders",
        ] {
            let told = told(sql, None);
            assert!(matches!(told, Told::Hidden(_)), "{sql}: {told:?}");
        }
    }

    #[test]
    fn parameters_have_their_values_once_they_are_bound() {
        let sql = "INSERT INTO orders (n, tenant) VALUES (?, ?), (?, 'c')";
        let bound = [
            Parameter::Integer(1),
            Parameter::Text(b"a".to_vec()),
            Parameter::Other,
        ];
        assert_eq!(told(sql, Some(&bound)), values(&["a", "c"]));
        assert!(matches!(told(sql, None), Told::Hidden(_)));
        let sql = "SELECT * FROM orders WHERE tenant = ?";
        assert_eq!(told(sql, Some(&[Parameter::Integer(-7)])), values(&["-7"]));
        assert_eq!(told(sql, Some(&[Parameter::Other])), Told::Unsaid);
        assert_eq!(told(sql, None), Told::Unsaid);
    }
}
