//! What a statement says of the values of a named column: those of the rows that it writes or asks for.
//!
//! Owns the reading alone; what follows from the values is its caller's. It must never call a value known that another row
//! of the statement may not have: a condition binds a column only if every row that fulfils it has one of the values. Input:
//! a text, parameters, the column.

mod asked;

use dbmesh_model::topology::ColumnRef;
use dbmesh_sql::ast::{
    Assignment, Ast, Body, ExplainedBody, ExprId, Insert, InsertSource, Name, Update,
};
use dbmesh_sql::parsed::{self, Access};
use dbmesh_sql::{Dialect, ParsedFacts, Parser, StatementKind};

use asked::{Bound, Sources};

use crate::shard::Parameter;
use crate::shard::value::{Reading, Said, Variables};

/// Why a value that is written cannot be told.
const COMPUTED: &str = "a value is computed";

/// What a statement says of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It does not name the table.
    Untouched,
    /// It names the table, and no values of the column bind its rows.
    Unsaid,
    /// All rows that it writes or asks for have one of these values; [`Said::Unknown`] is among them if some may have any.
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
        let mut bound = Bound::default();
        let hidden = match self.ast.statement().body {
            Body::Insert(id)
            | Body::Explain {
                body: ExplainedBody::Insert(id),
                ..
            } => match self.ast.node(id) {
                Some(insert) if written => self.put_inserted(insert, column, &mut bound),
                _ => Ok(()),
            },
            Body::Update(id)
            | Body::Explain {
                body: ExplainedBody::Update(id),
                ..
            } => match self.ast.node(id) {
                Some(update) => self.put_updated(update, column, &mut bound),
                None => Ok(()),
            },
            Body::Delete(id)
            | Body::Explain {
                body: ExplainedBody::Delete(id),
                ..
            } => {
                if let Some(delete) = self.ast.node(id) {
                    let sources = self.sources(self.ast.list(delete.tables), column);
                    self.put_bound(&sources, delete.selection, (column, None), &mut bound);
                }
                Ok(())
            }
            Body::LoadData(_) if written => Err("the rows come from a file"),
            _ => Ok(()),
        };
        if let Err(why) = hidden {
            return Told::Hidden(why);
        }
        self.bound_by_selects(column, &mut bound);
        match bound.values.is_empty() {
            true => Told::Unsaid,
            false => {
                // Rows of any kind beside those that are bound.
                bound.values.extend(bound.free.then_some(Said::Unknown));
                Told::Values(bound.values)
            }
        }
    }

    fn put_updated(
        &self,
        update: &Update,
        column: &ColumnRef,
        bound: &mut Bound,
    ) -> Result<(), &'static str> {
        let sources = self.sources(self.ast.list(update.tables), column);
        self.put_bound(&sources, update.selection, (column, None), bound);
        let set = self.ast.list(update.assignments);
        if self.put_assigned(set, &sources, column, &mut bound.values)? {
            // Whatever they were, the rows have that value now.
            bound.free = false;
        }
        Ok(())
    }

    fn put_inserted(
        &self,
        insert: &Insert,
        column: &ColumnRef,
        bound: &mut Bound,
    ) -> Result<(), &'static str> {
        let columns = self.ast.list(insert.columns);
        let place = columns
            .iter()
            .position(|name| self.is_column(*name, column));
        let none = Sources::default();
        match insert.source {
            InsertSource::Set(assignments) => {
                let set = self.ast.list(assignments);
                self.put_assigned(set, &none, column, &mut bound.values)?;
            }
            _ if columns.is_empty() => return Err("the statement names no columns"),
            // The column has its default.
            _ if place.is_none() => {}
            InsertSource::Query(_) => return Err("the rows come from a query"),
            InsertSource::Values { rows, .. } => {
                for row in self.ast.list(rows) {
                    let value = place.and_then(|at| self.ast.list(row.values).get(at));
                    let said = value.and_then(|value| self.said(*value));
                    bound.values.push(said.ok_or(COMPUTED)?);
                }
            }
        }
        if let Some(update) = insert.on_duplicate {
            let set = self.ast.list(update.assignments);
            self.put_assigned(set, &none, column, &mut bound.values)?;
        }
        Ok(())
    }

    /// The values that are assigned to the column; whether there are any.
    fn put_assigned(
        &self,
        assignments: &[Assignment],
        sources: &Sources<'_>,
        column: &ColumnRef,
        values: &mut Vec<Said>,
    ) -> Result<bool, &'static str> {
        let known = values.len();
        for assignment in assignments {
            let name = assignment.column;
            let called = name.qualifier.map(|span| self.text(span));
            if self.is_column(name, column) && sources.has(called.as_deref()) {
                values.push(self.said(assignment.value).ok_or(COMPUTED)?);
            }
        }
        Ok(values.len() > known)
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
}

#[cfg(test)]
mod tests;
