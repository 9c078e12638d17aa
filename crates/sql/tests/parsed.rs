//! What is read from trees: golden cases.
//!
//! Format of `cases/parsed/*.txt`: `: flavor flags…` sets the dialect; `> text` is a statement; below it, `= kind, proof, flags`,
//! `t access schema.table [alias] [role] @span` for each table, `w condition` for each WHERE, `s shape`, or `! error`. With
//! `BLESS_CASES=1` the expectations are written anew; read the difference before keeping it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;

use dbmesh_sql::ast::{Ast, Clause, Delete, ExprId, Limit, Name, Select, Update};
use dbmesh_sql::parsed::{Operand, Predicate, operand, predicate, row};
use dbmesh_sql::{Dialect, Flavor, ParsedFacts, Parser};

fn dialect(line: &str) -> Dialect {
    let mut dialect = Dialect {
        version: 90_704,
        ..Dialect::default()
    };
    for word in line.split_whitespace() {
        match word {
            "mysql" => {}
            "mariadb" => (dialect.flavor, dialect.version) = (Flavor::MariaDb, 101_119),
            "ansi_quotes" => dialect.ansi_quotes = true,
            "pipes_as_concat" => dialect.pipes_as_concat = true,
            "high_not_precedence" => dialect.high_not_precedence = true,
            other => panic!("{other}"),
        }
    }
    dialect
}

struct Text<'a> {
    ast: &'a Ast,
    sql: &'a str,
}

impl Text<'_> {
    fn name(&self, name: Name) -> String {
        let text = |span: dbmesh_sql::Span| self.sql[span.start..span.end].to_owned();
        [name.schema, name.qualifier, Some(name.name)]
            .into_iter()
            .flatten()
            .map(text)
            .collect::<Vec<_>>()
            .join(".")
    }

    fn value(&self, value: Operand) -> String {
        match value {
            Operand::Literal(_, span) | Operand::UserVariable(span) => {
                self.sql[span.start..span.end].to_owned()
            }
            Operand::Parameter(ordinal, _) => format!("?{ordinal}"),
        }
    }

    fn values(&self, list: &[ExprId]) -> String {
        let one = |id: &ExprId| match (operand(self.ast, *id), row(self.ast, *id)) {
            (Some(value), _) => self.value(value),
            (None, Some(elements)) => format!("({})", self.values(elements)),
            (None, None) => {
                let span = self.ast.expr(*id).unwrap().span;
                self.sql[span.start..span.end].to_owned()
            }
        };
        list.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn condition(&self, id: ExprId) -> String {
        let list = |ids: &[ExprId]| {
            ids.iter()
                .map(|id| self.condition(*id))
                .collect::<Vec<_>>()
                .join(", ")
        };
        match predicate(self.ast, id) {
            Predicate::And(terms) => format!("and[{}]", list(terms)),
            Predicate::Or(terms) => format!("or[{}]", list(terms)),
            Predicate::Not(inner) => format!("not[{}]", self.condition(inner)),
            Predicate::Compare { column, op, value } => {
                format!("{} {op:?} {}", self.name(column), self.value(value))
            }
            Predicate::In {
                column,
                values,
                negated,
            } => {
                format!(
                    "{}{} in {{{}}}",
                    not(negated),
                    self.name(column),
                    self.values(values)
                )
            }
            Predicate::Between {
                column,
                low,
                high,
                negated,
            } => format!(
                "{}{} in {}..{}",
                not(negated),
                self.name(column),
                self.value(low),
                self.value(high)
            ),
            Predicate::RowCompare {
                columns,
                op,
                values,
            } => {
                format!(
                    "({}) {op:?} ({})",
                    self.values(columns),
                    self.values(values)
                )
            }
            Predicate::RowIn {
                columns,
                rows,
                negated,
            } => {
                format!(
                    "{}({}) in {{{}}}",
                    not(negated),
                    self.values(columns),
                    self.values(rows)
                )
            }
            Predicate::IsNull { column, negated } => {
                format!("{}{} is null", not(negated), self.name(column))
            }
            Predicate::Columns { left, op, right } => {
                format!("{} {op:?} {}", self.name(left), self.name(right))
            }
            Predicate::Other => "other".to_owned(),
        }
    }

    fn limit(&self, limit: Limit) -> String {
        let part = |id: Option<ExprId>| match id.and_then(|id| operand(self.ast, id)) {
            Some(value) => self.value(value),
            None => "-".to_owned(),
        };
        format!("limit {} offset {}", part(limit.count), part(limit.offset))
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "not " } else { "" }
}

fn describe(sql: &str, dialect: &Dialect) -> String {
    let mut parser = Parser::new();
    let mut out = String::new();
    let ast = match parser.parse(sql.as_bytes(), dialect) {
        Ok(ast) => ast,
        Err(error) => return format!("! {error}, found {:?}\n", error.found_text(sql.as_bytes())),
    };
    let text = Text { ast, sql };
    let facts = ParsedFacts::of(ast, sql.as_bytes(), dialect);
    write!(out, "= {:?}, {:?}", facts.kind, facts.read_only).unwrap();
    for name in facts.session.names() {
        write!(out, ", {name}").unwrap();
    }
    for (flag, name) in [
        (facts.server_local, "server-local"),
        (facts.implicit_commit, "commits"),
        (!facts.tables_known, "tables unknown"),
    ] {
        if flag {
            write!(out, ", {name}").unwrap();
        }
    }
    if facts.parameters > 0 {
        write!(out, ", {} parameters", facts.parameters).unwrap();
    }
    out.push('\n');
    for table in &facts.tables {
        write!(out, "t {:?} {}", table.access, text.name(table.name)).unwrap();
        if let Some(alias) = table.alias {
            write!(out, " as {}", &sql[alias.start..alias.end]).unwrap();
        }
        if let Some(role) = table.role {
            write!(out, " {role:?}").unwrap();
        }
        writeln!(out, " @{}..{}", table.name.span.start, table.name.span.end).unwrap();
    }
    let clauses = ast.all::<Select>().iter().filter_map(|s| s.selection);
    let updates = ast.all::<Update>().iter().filter_map(|s| s.selection);
    let deletes = ast.all::<Delete>().iter().filter_map(|s| s.selection);
    for Clause { expr, .. } in clauses.chain(updates).chain(deletes) {
        writeln!(out, "w {}", text.condition(expr)).unwrap();
    }
    if let Some(shape) = facts.shape {
        let mut parts = Vec::new();
        for (flag, name) in [
            (shape.set_operation, "set operation"),
            (shape.distinct, "distinct"),
            (shape.group_by.is_some(), "group by"),
            (shape.having, "having"),
            (shape.aggregates, "aggregates"),
            (shape.windows, "windows"),
        ] {
            if flag {
                parts.push(name.to_owned());
            }
        }
        if !shape.order_by.is_empty() {
            let item =
                |item: &dbmesh_sql::ast::OrderItem| sql[item.span.start..item.span.end].to_owned();
            let items: Vec<_> = ast.list(shape.order_by).iter().map(item).collect();
            parts.push(format!("order by {}", items.join(", ")));
        }
        parts.extend(shape.limit.map(|limit| text.limit(limit)));
        if !parts.is_empty() {
            writeln!(out, "s {}", parts.join("; ")).unwrap();
        }
    }
    out
}

#[test]
fn cases() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/parsed");
    let bless = std::env::var_os("BLESS_CASES").is_some();
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut current = Dialect::default();
        let mut written = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            writeln!(written, "{line}").unwrap();
            if let Some(settings) = line.strip_prefix(": ") {
                current = dialect(settings);
            }
            let Some(sql) = line.strip_prefix("> ") else {
                continue;
            };
            count += 1;
            let mut expected = String::new();
            while let Some(line) =
                lines.next_if(|line| !line.starts_with(['>', ':', '#']) && !line.is_empty())
            {
                writeln!(expected, "{line}").unwrap();
            }
            let found = describe(sql, &current);
            if found != expected {
                failures.push(format!("{sql}\nexpected\n{expected}found\n{found}"));
            }
            written.push_str(&found);
        }
        if bless {
            std::fs::write(&path, written).unwrap();
        }
    }
    assert!(count > 100, "{count} cases");
    assert!(bless || failures.is_empty(), "{}", failures.join("\n"));
}
