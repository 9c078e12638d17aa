//! INSERT, REPLACE, UPDATE, DELETE.
//!
//! Owns their grammar in both flavors. Must never take a query's parenthesis for a column list.

use super::{Reader, Result};
use crate::ast::{
    Assignment, Body, Delete, DuplicateKey, ExprId, ExprKind, Id, Insert, InsertSource, List,
    Modifiers, Name, Row, TableRef, TableRefKind, Update, With,
};
use crate::lexer::{Span, TokenKind};
use crate::words::Term;

impl Reader<'_> {
    pub(super) fn modifiers(&mut self) -> Modifiers {
        let mut modifiers = Modifiers::default();
        loop {
            match self.peek().term {
                Term::LowPriority => modifiers.low_priority = true,
                Term::HighPriority => modifiers.high_priority = true,
                Term::Delayed => modifiers.delayed = true,
                Term::Quick => modifiers.quick = true,
                Term::Ignore => modifiers.ignore = true,
                _ => return modifiers,
            }
            self.bump();
        }
    }

    /// INSERT or REPLACE, whose verb comes next.
    pub(super) fn insert(&mut self) -> Result<Body> {
        let is_insert = self.bump().term == Term::Insert;
        let modifiers = self.modifiers();
        self.take(Term::Into);
        let table = self.base_table_name()?;
        let partitions = self.partitions()?;
        let (columns, columns_span) = self.insert_columns()?;
        let source = self.insert_source(columns_span)?;
        let (row_alias, row_columns) = self.row_alias(source)?;
        let start = self.start();
        let on_duplicate = match is_insert && self.take(Term::On) {
            true => {
                self.require(Term::Duplicate)?;
                self.require(Term::Key)?;
                self.require(Term::Update)?;
                let assignments = self.list(Self::assignment)?;
                let span = self.span_from(start);
                Some(DuplicateKey { span, assignments })
            }
            false => None,
        };
        let returning = self.returning()?;
        Ok(Body::Insert(self.add(Insert {
            modifiers,
            table,
            partitions,
            columns,
            columns_span,
            source,
            row_alias,
            row_columns,
            on_duplicate,
            returning,
        })))
    }

    /// `(a, b)`; not the parenthesis of a query.
    fn insert_columns(&mut self) -> Result<(List<Name>, Span)> {
        let start = self.start();
        let mut ahead = 0;
        while self.peek_at(ahead).kind == TokenKind::Open && ahead < 8 {
            ahead += 1;
        }
        let end = self.span_from(start).end;
        let nothing = Span { start: end, end };
        if ahead == 0 || self.is_query_at(ahead) {
            return Ok((List::default(), nothing));
        }
        self.bump();
        let columns = match self.is_kind(TokenKind::Close) {
            true => List::default(),
            false => self.list(|reader| reader.name(3))?,
        };
        self.close()?;
        Ok((columns, self.span_from(start)))
    }

    fn insert_source(&mut self, columns_span: Span) -> Result<InsertSource> {
        match self.peek().term {
            Term::Set if columns_span.start == columns_span.end => {
                self.bump();
                Ok(InsertSource::Set(self.list(Self::assignment)?))
            }
            Term::Value | Term::Values if !self.is_at(1, Term::Row) => {
                self.bump();
                let start = self.start();
                let rows = self.list(|reader| {
                    let start = reader.start();
                    let values = reader.row_values()?;
                    let span = reader.span_from(start);
                    Ok(Row { span, values })
                })?;
                let span = self.span_from(start);
                Ok(InsertSource::Values { rows, span })
            }
            _ => Ok(InsertSource::Query(self.query()?)),
        }
    }

    /// `(1, DEFAULT)`, `()`.
    pub(super) fn row_values(&mut self) -> Result<List<ExprId>> {
        self.open()?;
        let values = match self.is_kind(TokenKind::Close) {
            true => List::default(),
            false => self.list(Self::value)?,
        };
        self.close()?;
        Ok(values)
    }

    /// An expression or DEFAULT; in MariaDB also IGNORE.
    fn value(&mut self) -> Result<ExprId> {
        let tok = self.peek();
        let bare = self.peek_at(1).kind != TokenKind::Open;
        if (tok.term == Term::Default || (self.mariadb && tok.term == Term::Ignore)) && bare {
            self.bump();
            return Ok(self.expr_node(tok.span.start, ExprKind::Default));
        }
        self.expr()
    }

    /// MySQL: `AS new`, `AS new(m, n)` after VALUES and SET.
    fn row_alias(&mut self, source: InsertSource) -> Result<(Option<Span>, List<Name>)> {
        let may = !self.mariadb && !matches!(source, InsertSource::Query(_));
        if !may || !self.take(Term::As) {
            return Ok((None, List::default()));
        }
        let alias = self.ident()?;
        let columns = match self.is_kind(TokenKind::Open) {
            true => self.parenthesised_list(Self::simple_name)?,
            false => List::default(),
        };
        Ok((Some(alias), columns))
    }

    /// `a = 1`; SET also takes `:=`.
    pub(super) fn assignment(&mut self) -> Result<Assignment> {
        let start = self.start();
        let column = self.name(3)?;
        if !self.take_kind(TokenKind::Equal) && !self.take_kind(TokenKind::Assign) {
            return Err(self.refuse("="));
        }
        let value = self.value()?;
        Ok(Assignment {
            span: self.span_from(start),
            column,
            value,
        })
    }

    /// UPDATE, whose verb comes next.
    pub(super) fn update(&mut self, with: Option<With>) -> Result<Body> {
        self.bump();
        let modifiers = self.modifiers();
        let tables = self.table_references()?;
        if self.mariadb {
            self.updated_portion(tables)?;
        }
        self.require(Term::Set)?;
        let start = self.start();
        let assignments = self.list(Self::assignment)?;
        let assignments_span = self.span_from(start);
        let selection = self.clause(Term::Where)?;
        let order_by = self.order_by()?.0;
        let limit = self.limit()?;
        let returning = self.returning()?;
        Ok(Body::Update(self.add(Update {
            with,
            modifiers,
            tables,
            assignments,
            assignments_span,
            selection,
            order_by,
            limit,
            returning,
        })))
    }

    /// MariaDB: `FOR PORTION OF p FROM a TO b` behind the table of an UPDATE, whose alias follows.
    fn updated_portion(&mut self, tables: List<Id<TableRef>>) -> Result<()> {
        let start = self.start();
        if !self.portion()? {
            return Ok(());
        }
        let end = self.span_from(start).end;
        let &[table] = self.ast.list(tables) else {
            return Err(self.refuse("one table"));
        };
        let alias = self.table_alias()?;
        if let Some(node) = self.ast.tables.node_mut(table) {
            node.alias = node.alias.or(alias);
            if let TableRefKind::Table { alias_at, .. } = &mut node.kind {
                *alias_at = end;
            }
        }
        Ok(())
    }

    /// MariaDB: `FOR PORTION OF p FROM a TO b`; whether it is there.
    fn portion(&mut self) -> Result<bool> {
        if !self.take_texts(&["for", "portion", "of"]) {
            return Ok(false);
        }
        self.ident()?;
        self.require(Term::From)?;
        self.expr()?;
        self.require(Term::To)?;
        self.expr()?;
        Ok(true)
    }

    /// DELETE, whose verb comes next: of one table, `a, b FROM …`, or `FROM a, b USING …`.
    pub(super) fn delete(&mut self, with: Option<With>) -> Result<Body> {
        self.bump();
        let modifiers = self.modifiers();
        let mut delete = Delete {
            with,
            modifiers,
            targets: List::default(),
            tables: List::default(),
            selection: None,
            order_by: List::default(),
            limit: None,
            returning: List::default(),
        };
        if self.take(Term::From) {
            if self.is_delete_list() {
                delete.targets = self.list(Self::table_or_star)?;
                self.require(Term::Using)?;
                delete.tables = self.table_references()?;
            } else {
                let table = self.deleted_table()?;
                let mark = self.mark::<Id<TableRef>>();
                self.hold(table);
                delete.tables = self.seal(mark);
            }
        } else {
            delete.targets = self.list(Self::table_or_star)?;
            self.require(Term::From)?;
            delete.tables = self.table_references()?;
        }
        delete.selection = self.clause(Term::Where)?;
        if self.mariadb || delete.targets.is_empty() {
            delete.order_by = self.order_by()?.0;
            delete.limit = self.limit()?;
        }
        delete.returning = self.returning()?;
        Ok(Body::Delete(self.add(delete)))
    }

    fn deleted_table(&mut self) -> Result<Id<TableRef>> {
        let start = self.start();
        let table = self.named_table()?;
        let aliased = self
            .ast
            .tables
            .node(table)
            .is_some_and(|node| node.alias.is_some());
        if self.mariadb && aliased {
            return Err(self.refuse("a table without alias"));
        }
        if self.mariadb && self.is(Term::For) {
            self.portion()?;
        }
        let after_alias = self.partitions()?;
        let whole = self.span_from(start);
        if let Some(node) = self.ast.tables.node_mut(table) {
            node.span = whole;
            if let TableRefKind::Table { partitions, .. } = &mut node.kind
                && partitions.is_empty()
            {
                *partitions = after_alias;
            }
        }
        Ok(table)
    }

    /// Whether the name after FROM is the first target of the form with USING.
    fn is_delete_list(&self) -> bool {
        let mut ahead = 0;
        while self.peek_at(ahead).is_ident() && self.peek_at(ahead + 1).kind == TokenKind::Dot {
            ahead += 2;
        }
        if self.is_star_at(ahead) {
            return true;
        }
        let next = self.peek_at(ahead + 1);
        next.term == Term::Using
            || (next.kind == TokenKind::Comma && self.pos + ahead + 1 < self.tokens.len())
    }
}
