//! Tables in FROM: names, joins, derived tables, JSON_TABLE.
//!
//! Owns how joins nest. Must never lose a table: what follows a join without its condition is its right operand.

use super::tokens::op;
use super::{Reader, Result};
use crate::ast::{
    Id, IndexHint, IndexHintKind, Join, JoinKind, JsonColumn, JsonColumnKind, List, Name, Query,
    TableRef, TableRefKind,
};
use crate::lexer::{Span, TokenKind};
use crate::words::Term;

impl Reader<'_> {
    /// `a, b JOIN c`.
    pub(super) fn table_references(&mut self) -> Result<List<Id<TableRef>>> {
        self.list(Self::table_reference)
    }

    fn table_reference(&mut self) -> Result<Id<TableRef>> {
        self.deeper(|reader| {
            let start = reader.start();
            let first = reader.table_factor()?;
            reader.joins(start, first)
        })
    }

    fn table_ref(&mut self, start: usize, kind: TableRefKind) -> Id<TableRef> {
        let span = self.span_from(start);
        self.add(TableRef {
            span,
            kind,
            alias: None,
            columns: List::default(),
        })
    }

    /// The joins that follow `left`.
    fn joins(&mut self, start: usize, mut left: Id<TableRef>) -> Result<Id<TableRef>> {
        while let Some(kind) = self.join_kind()? {
            let right_start = self.start();
            let mut right = self.table_factor()?;
            let natural = matches!(
                kind,
                JoinKind::Natural | JoinKind::NaturalLeft | JoinKind::NaturalRight
            );
            if !natural && self.starts_join() {
                // No condition yet: it belongs to the join that follows, whose left operand this is.
                right = self.deeper(|reader| reader.joins(right_start, right))?;
            }
            let mut join = Join {
                kind,
                left,
                right,
                on: None,
                using: List::default(),
            };
            if !natural {
                if self.take(Term::On) {
                    join.on = Some(self.expr()?);
                } else if self.take(Term::Using) {
                    join.using = self.parenthesised_list(Self::simple_name)?;
                } else if matches!(kind, JoinKind::Left | JoinKind::Right) {
                    return Err(self.refuse("on"));
                }
            }
            let join = self.add(join);
            left = self.table_ref(start, TableRefKind::Join(join));
        }
        Ok(left)
    }

    fn starts_join(&self) -> bool {
        matches!(
            self.peek().term,
            Term::Join
                | Term::Inner
                | Term::Cross
                | Term::StraightJoin
                | Term::Left
                | Term::Right
                | Term::Natural
        )
    }

    /// The words of a join, read.
    fn join_kind(&mut self) -> Result<Option<JoinKind>> {
        let kind = match self.peek().term {
            Term::Join => JoinKind::Inner,
            Term::StraightJoin => {
                self.bump();
                return Ok(Some(JoinKind::Straight));
            }
            Term::Inner | Term::Cross => {
                self.bump();
                JoinKind::Inner
            }
            Term::Left | Term::Right => self.outer(JoinKind::Left, JoinKind::Right),
            Term::Full
                if !self.mariadb && matches!(self.peek_at(1).term, Term::Outer | Term::Join) =>
            {
                self.bump();
                self.take(Term::Outer);
                JoinKind::Full
            }
            Term::Natural => {
                self.bump();
                match self.peek().term {
                    Term::Left | Term::Right => {
                        self.outer(JoinKind::NaturalLeft, JoinKind::NaturalRight)
                    }
                    Term::Inner => {
                        self.bump();
                        JoinKind::Natural
                    }
                    _ => JoinKind::Natural,
                }
            }
            _ => return Ok(None),
        };
        self.require(Term::Join)?;
        Ok(Some(kind))
    }

    fn outer(&mut self, left: JoinKind, right: JoinKind) -> JoinKind {
        let kind = match self.bump().term {
            Term::Left => left,
            _ => right,
        };
        self.take(Term::Outer);
        kind
    }

    /// One operand of a join.
    fn table_factor(&mut self) -> Result<Id<TableRef>> {
        let start = self.start();
        match self.peek().kind {
            TokenKind::Open => return self.parenthesised_tables(),
            TokenKind::Operator if self.is_op(op(b"{")) => return self.odbc_join(),
            _ => {}
        }
        match self.peek().term {
            Term::Lateral if !self.mariadb => {
                self.bump();
                let query = self.subquery()?;
                self.derived(start, query, true)
            }
            Term::JsonTable if self.peek_at(1).kind == TokenKind::Open => self.json_table(),
            _ => self.named_table(),
        }
    }

    /// `(SELECT …) AS x`, `(a JOIN b)`, and `((SELECT …) UNION …) AS x`.
    fn parenthesised_tables(&mut self) -> Result<Id<TableRef>> {
        let start = self.start();
        if self.is_derived_at(1) {
            let query = self.subquery()?;
            return self.derived(start, query, false);
        }
        self.bump();
        let inner_start = self.start();
        let first = self.table_reference()?;
        if let Some(query) = self.bare_derived(first)
            && self.continues_query()
        {
            let left = self.parenthesised_query(inner_start, query);
            let query = self.query_from(inner_start, left, None)?;
            self.close()?;
            return self.derived(start, query, false);
        }
        if self.bare_derived(first).is_some() && self.is_kind(TokenKind::Close) {
            self.bump();
            let query = self.bare_derived(first);
            return match query {
                Some(query) => self.derived(start, query, false),
                None => Ok(first),
            };
        }
        let mark = self.mark::<Id<TableRef>>();
        self.hold(first);
        while self.comma() {
            let next = self.table_reference()?;
            self.hold(next);
        }
        let tables = self.seal(mark);
        self.close()?;
        Ok(self.table_ref(start, TableRefKind::Parenthesised(tables)))
    }

    /// In FROM, VALUES always begins a query.
    fn is_derived_at(&self, ahead: usize) -> bool {
        self.is_query_at(ahead) || (self.mariadb && self.is_at(ahead, Term::Values))
    }

    /// The query of a derived table without an alias.
    fn bare_derived(&self, table: Id<TableRef>) -> Option<Id<Query>> {
        match self.ast.tables.node(table)? {
            TableRef {
                kind: TableRefKind::Derived { query, .. },
                alias: None,
                ..
            } => Some(*query),
            _ => None,
        }
    }

    fn derived(&mut self, start: usize, query: Id<Query>, lateral: bool) -> Result<Id<TableRef>> {
        let alias = self.table_alias()?;
        let columns = match !self.mariadb && alias.is_some() && self.is_kind(TokenKind::Open) {
            true => self.parenthesised_list(Self::simple_name)?,
            false => List::default(),
        };
        let span = self.span_from(start);
        Ok(self.add(TableRef {
            span,
            kind: TableRefKind::Derived { query, lateral },
            alias,
            columns,
        }))
    }

    pub(super) fn table_alias(&mut self) -> Result<Option<Span>> {
        // MariaDB still takes `t = x` for `t AS x`.
        let marked = self.take(Term::As) || (self.mariadb && self.take_kind(TokenKind::Equal));
        if marked || self.is_ident() {
            return self.ident().map(Some);
        }
        Ok(None)
    }

    /// `{OJ a LEFT JOIN b ON …}`.
    fn odbc_join(&mut self) -> Result<Id<TableRef>> {
        let start = self.bump().span.start;
        self.ident()?;
        let inner = self.table_reference()?;
        if !self.take_op(op(b"}")) {
            return Err(self.refuse("}"));
        }
        let mark = self.mark::<Id<TableRef>>();
        self.hold(inner);
        let tables = self.seal(mark);
        Ok(self.table_ref(start, TableRefKind::Parenthesised(tables)))
    }

    /// A table by name, with partitions, alias and index hints.
    pub(super) fn named_table(&mut self) -> Result<Id<TableRef>> {
        let start = self.start();
        let table = self.table_name()?;
        let partitions = self.partitions()?;
        let history = match self.mariadb {
            true => self.system_time()?,
            false => None,
        };
        let alias_at = self.span_from(start).end;
        let alias = self.table_alias()?;
        self.table_sample()?;
        let hints = self.index_hints()?;
        let span = self.span_from(start);
        Ok(self.add(TableRef {
            span,
            kind: TableRefKind::Table {
                table,
                partitions,
                history,
                alias_at,
                hints,
            },
            alias,
            columns: List::default(),
        }))
    }

    /// `PARTITION (p0, p1)`.
    pub(super) fn partitions(&mut self) -> Result<List<Name>> {
        if self.is(Term::Partition) && self.peek_at(1).kind == TokenKind::Open {
            self.bump();
            return self.parenthesised_list(Self::simple_name);
        }
        Ok(List::default())
    }

    /// MariaDB: `FOR SYSTEM_TIME ALL`, `AS OF x`, `FROM x TO y`, `BETWEEN x AND y`.
    fn system_time(&mut self) -> Result<Option<Span>> {
        let start = self.start();
        if !self.take_both(Term::For, Term::SystemTime) {
            return Ok(None);
        }
        self.history_points()?;
        Ok(Some(self.span_from(start)))
    }

    fn history_points(&mut self) -> Result<()> {
        if self.take(Term::All) {
            return Ok(());
        }
        if self.take_both(Term::As, Term::Of) {
            return self.history_point();
        }
        let closing = match self.take_any(&[Term::From, Term::Between]) {
            Some(Term::From) => Term::To,
            Some(_) => Term::And,
            None => return Err(self.refuse("ALL, AS OF, FROM or BETWEEN")),
        };
        self.history_point()?;
        self.require(closing)?;
        self.history_point()
    }

    fn history_point(&mut self) -> Result<()> {
        let has_unit = matches!(self.peek().term, Term::Timestamp | Term::Transaction)
            && self.peek_at(1).kind != TokenKind::String;
        if has_unit {
            self.bump();
        }
        self.expr_at(super::expr::BIT_EXPR)?;
        Ok(())
    }

    /// MySQL 9: `TABLESAMPLE SYSTEM (10)`.
    fn table_sample(&mut self) -> Result<()> {
        if self.mariadb || !self.take(Term::Tablesample) {
            return Ok(());
        }
        if self.take_any(&[Term::System, Term::Bernoulli]).is_none() {
            return Err(self.refuse("SYSTEM or BERNOULLI"));
        }
        self.open()?;
        self.expr()?;
        self.close()
    }

    /// `USE INDEX FOR JOIN (a)`, `FORCE KEY (b)`, one after the other.
    fn index_hints(&mut self) -> Result<List<IndexHint>> {
        let mark = self.mark::<IndexHint>();
        loop {
            let start = self.start();
            let kind = match self.peek().term {
                Term::Use => IndexHintKind::Use,
                Term::Force => IndexHintKind::Force,
                Term::Ignore if matches!(self.peek_at(1).term, Term::Index | Term::Key) => {
                    IndexHintKind::Ignore
                }
                _ => break,
            };
            self.bump();
            if self.take_any(&[Term::Index, Term::Key]).is_none() {
                return Err(self.refuse("INDEX or KEY"));
            }
            if self.take(Term::For) {
                let scope = self.take(Term::Join)
                    || self.take_both(Term::Order, Term::By)
                    || self.take_both(Term::Group, Term::By);
                if !scope {
                    return Err(self.refuse("JOIN, ORDER BY or GROUP BY"));
                }
            }
            self.open()?;
            let indexes = match self.is_kind(TokenKind::Close) {
                true => List::default(),
                false => self.list(Self::index_name)?,
            };
            self.close()?;
            let span = self.span_from(start);
            self.hold(IndexHint {
                span,
                kind,
                indexes,
            });
        }
        Ok(self.seal(mark))
    }

    /// The name of an index, or PRIMARY.
    pub(super) fn index_name(&mut self) -> Result<Name> {
        if self.is(Term::Primary) {
            return Ok(Name::simple(self.bump().span));
        }
        self.simple_name()
    }

    /// `JSON_TABLE(doc, '$' COLUMNS (…)) AS x`.
    fn json_table(&mut self) -> Result<Id<TableRef>> {
        let start = self.bump().span.start;
        self.open()?;
        let document = self.expr()?;
        if !self.comma() {
            return Err(self.refuse(","));
        }
        let path = self.string_like()?;
        let json_columns = self.json_columns()?;
        self.close()?;
        let alias = self.table_alias()?;
        let span = self.span_from(start);
        Ok(self.add(TableRef {
            span,
            kind: TableRefKind::JsonTable {
                document,
                path,
                json_columns,
            },
            alias,
            columns: List::default(),
        }))
    }

    fn json_columns(&mut self) -> Result<List<JsonColumn>> {
        self.require(Term::Columns)?;
        self.deeper(|reader| reader.parenthesised_list(Self::json_column))
    }

    fn json_column(&mut self) -> Result<JsonColumn> {
        let start = self.start();
        if self.is(Term::Nested)
            && (self.is_at(1, Term::Path)
                || (self.mariadb && self.peek_at(1).kind == TokenKind::String))
        {
            self.bump();
            self.take(Term::Path);
            self.string_like()?;
            let columns = self.json_columns()?;
            return Ok(JsonColumn {
                span: self.span_from(start),
                name: Span { start, end: start },
                kind: JsonColumnKind::Nested(columns),
            });
        }
        let name = self.ident()?;
        let kind = if self.take_both(Term::For, Term::Ordinality) {
            JsonColumnKind::Ordinality
        } else {
            self.column_type()?;
            if self.take(Term::Collate) {
                self.charset_name()?;
            }
            let kind = match self.take(Term::Exists) {
                true => JsonColumnKind::Exists,
                false => JsonColumnKind::Path,
            };
            self.require(Term::Path)?;
            self.string_like()?;
            self.on_empty_or_error()?;
            kind
        };
        Ok(JsonColumn {
            span: self.span_from(start),
            name,
            kind,
        })
    }
}
