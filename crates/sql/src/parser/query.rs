//! Query expressions: WITH, set operations, parentheses, and the clauses at their end.
//!
//! Owns which clause belongs to which parenthesis, and what names a WITH makes visible. Must never attach a clause to a
//! query that the server would not.

use super::{COMMON_TABLES_MAX, Reader, Result};
use crate::ast::{
    CommonTable, ExprId, ExprKind, Id, Into, IntoKind, Limit, List, LockStrength, LockWait,
    Locking, Name, OrderItem, Query, QueryBody, Row, SetOp, With,
};
use crate::lexer::{Span, TokenKind};
use crate::words::Term;

impl Reader<'_> {
    /// Whether a query starts at the token `ahead`: its first word, not a parenthesis.
    #[inline]
    pub(super) fn is_query_at(&self, ahead: usize) -> bool {
        let tok = self.peek_at(ahead);
        match tok.term {
            Term::Select | Term::With => true,
            Term::Table => !self.mariadb,
            Term::Values if self.mariadb => self.is_value_rows(ahead),
            Term::Values => self.is_at(ahead + 1, Term::Row),
            _ => false,
        }
    }

    /// MariaDB: `VALUES (1), (2)` is a query, `VALUES(a)` may be a function of one column.
    fn is_value_rows(&self, ahead: usize) -> bool {
        let column = self.peek_at(ahead + 2).is_ident()
            && matches!(
                self.peek_at(ahead + 3).kind,
                TokenKind::Close | TokenKind::Dot
            );
        self.peek_at(ahead + 1).kind == TokenKind::Open && !column
    }

    /// Whether what comes next makes a parenthesised query the first part of a longer one.
    pub(super) fn continues_query(&self) -> bool {
        matches!(
            self.peek().term,
            Term::Union
                | Term::Except
                | Term::Intersect
                | Term::Order
                | Term::Limit
                | Term::For
                | Term::Lock
                | Term::Into
        )
    }

    /// `(…)` around a query.
    pub(super) fn subquery(&mut self) -> Result<Id<Query>> {
        self.open()?;
        let query = self.query()?;
        self.close()?;
        Ok(query)
    }

    /// A query expression with all its clauses.
    pub(super) fn query(&mut self) -> Result<Id<Query>> {
        // A query takes twice the stack of an expression; both servers stop at 63 levels of sub-queries.
        self.deeper(|reader| reader.deeper(Self::whole_query))
    }

    fn whole_query(&mut self) -> Result<Id<Query>> {
        let start = self.start();
        let visible = self.scope.len();
        let outer = self.block;
        let with = match self.is(Term::With) {
            true => Some(self.with_list()?),
            false => None,
        };
        let left = self.query_operand()?;
        let query = self.query_from(start, left, with)?;
        self.scope.truncate(visible);
        self.block = outer;
        Ok(query)
    }

    /// The rest of a query whose first operand has been read.
    pub(super) fn query_from(
        &mut self,
        start: usize,
        left: Id<Query>,
        with: Option<With>,
    ) -> Result<Id<Query>> {
        let mut query = self.set_operations(start, left, 1)?;
        let is_parenthesis = matches!(self.ast.queries.node(query), Some(node) if matches!(node.body, QueryBody::Parenthesised(_)));
        if with.is_some() && is_parenthesis {
            // Its own WITH belongs to the whole, not to what is in the parentheses.
            query = self.query_node(start, QueryBody::Parenthesised(query), None);
        }
        self.query_tail(start, query, with)?;
        Ok(query)
    }

    pub(super) fn query_node(
        &mut self,
        start: usize,
        body: QueryBody,
        into: Option<Id<Into>>,
    ) -> Id<Query> {
        let span = self.span_from(start);
        let end = Span {
            start: span.end,
            end: span.end,
        };
        self.add(Query {
            span,
            with: None,
            body,
            order_by: List::default(),
            order_by_span: end,
            limit: None,
            locking: List::default(),
            into,
        })
    }

    /// INTERSECT binds closer than UNION and EXCEPT.
    fn set_operations(&mut self, start: usize, mut left: Id<Query>, min: u8) -> Result<Id<Query>> {
        loop {
            let (op, power) = match self.peek().term {
                Term::Union => (SetOp::Union, 1),
                Term::Except => (SetOp::Except, 1),
                Term::Intersect => (SetOp::Intersect, 2),
                _ => return Ok(left),
            };
            if power < min {
                return Ok(left);
            }
            self.bump();
            let all = self.take(Term::All);
            if !all {
                self.take(Term::Distinct);
            }
            let right_start = self.start();
            let mut right = self.query_operand()?;
            if power == 1 && self.is(Term::Intersect) {
                right = self.set_operations(right_start, right, 2)?;
            }
            let body = QueryBody::Set {
                op,
                all,
                left,
                right,
            };
            left = self.query_node(start, body, None);
            // What follows sorts the union and is of none of its blocks.
            self.next_block();
        }
    }

    /// SELECT, TABLE, VALUES, or a query in parentheses.
    fn query_operand(&mut self) -> Result<Id<Query>> {
        let start = self.start();
        match self.peek().term {
            Term::Select => self.select(),
            Term::Table if !self.mariadb => {
                self.bump();
                let table = self.table_name()?;
                Ok(self.query_node(start, QueryBody::Table(table), None))
            }
            Term::Values => {
                let rows = self.table_values()?;
                Ok(self.query_node(start, QueryBody::Values(rows), None))
            }
            _ if self.is_kind(TokenKind::Open) => {
                let query = self.subquery()?;
                Ok(self.parenthesised_query(start, query))
            }
            _ => Err(self.refuse("SELECT, TABLE, VALUES or (")),
        }
    }

    /// `VALUES ROW(1), ROW(2)`; in MariaDB `VALUES (1), (2)`.
    fn table_values(&mut self) -> Result<List<Row>> {
        self.bump();
        self.list(|reader| {
            let start = reader.start();
            if !reader.mariadb {
                reader.require(Term::Row)?;
            }
            let values = reader.row_values()?;
            let span = reader.span_from(start);
            Ok(Row { span, values })
        })
    }

    /// `WITH …`; its names stay visible until the caller forgets them.
    pub(super) fn with_list(&mut self) -> Result<With> {
        let start = self.bump().span.start;
        let recursive = self.take(Term::Recursive);
        let first_name = self.ast.table_names.all().len();
        let tables = self.list(|reader| reader.common_table_expression(recursive))?;
        if recursive && self.mariadb {
            self.resolve_forward(start, first_name, tables);
        }
        Ok(With {
            span: self.span_from(start),
            recursive,
            tables,
        })
    }

    /// `a (x, y) AS (SELECT …)`.
    fn common_table_expression(&mut self, recursive: bool) -> Result<CommonTable> {
        let start = self.start();
        let name = self.ident()?;
        if self.scope.len() >= COMMON_TABLES_MAX {
            return Err(self.refuse("fewer common table expressions"));
        }
        let columns = match self.is_kind(TokenKind::Open) {
            true => self.parenthesised_list(Self::simple_name)?,
            false => List::default(),
        };
        self.require(Term::As)?;
        // Only a recursive one sees itself; the others see those before them.
        if recursive {
            self.scope.push(name);
        }
        let query = self.subquery()?;
        if !recursive {
            self.scope.push(name);
        }
        if self.mariadb && self.take(Term::Cycle) {
            self.list(Self::simple_name)?;
            self.require(Term::Restrict)?;
        }
        Ok(CommonTable {
            span: self.span_from(start),
            name,
            columns,
            query,
        })
    }

    /// In MariaDB the members of a recursive WITH see each other, also those after them.
    fn resolve_forward(&mut self, start: usize, first: usize, tables: List<CommonTable>) {
        let count = self.ast.table_names.all().len();
        for index in first..count {
            let Some(mut table) = self.ast.table_names.all().get(index).copied() else {
                return;
            };
            let is_outer = table.common_table.is_none_or(|name| name.start < start);
            if table.name.qualifier.is_some() || !is_outer {
                continue;
            }
            let own = self.common_table(table.name.name);
            let of_this = own.filter(|name| {
                self.ast
                    .common_tables
                    .list(tables)
                    .iter()
                    .any(|known| known.name == *name)
            });
            if of_this.is_some() {
                table.common_table = of_this;
                self.ast.table_names.set(index, table);
            }
        }
    }

    /// ORDER BY, LIMIT, INTO and locking clauses.
    fn query_tail(&mut self, start: usize, query: Id<Query>, with: Option<With>) -> Result<()> {
        let (order_by, order_by_span) = self.order_by()?;
        if self.mariadb && self.take(Term::Procedure) {
            self.ident()?;
            self.skip_parenthesised()?;
        }
        let limit = self.limit()?;
        let mut into = self.into()?;
        let locking = self.locking()?;
        if into.is_none() {
            into = self.into()?;
        }
        let span = self.span_from(start);
        let Some(node) = self.ast.queries.node_mut(query) else {
            return Ok(());
        };
        if into.is_some() && node.into.is_some() {
            return Err(self.refuse("one INTO"));
        }
        node.span = span;
        node.with = with;
        if !order_by.is_empty() {
            node.order_by = order_by;
            node.order_by_span = order_by_span;
        }
        node.limit = limit.or(node.limit);
        if !locking.is_empty() {
            node.locking = locking;
        }
        node.into = into.or(node.into);
        Ok(())
    }

    /// ORDER BY with its text; an empty list and an empty text at its place where there is none.
    pub(super) fn order_by(&mut self) -> Result<(List<OrderItem>, Span)> {
        let end = self.span_from(self.start()).end;
        if !self.is(Term::Order) {
            let empty = Span { start: end, end };
            return Ok((List::default(), empty));
        }
        let start = self.bump().span.start;
        self.require(Term::By)?;
        let items = self.list(Self::order_item)?;
        Ok((items, self.span_from(start)))
    }

    pub(super) fn order_item(&mut self) -> Result<OrderItem> {
        let start = self.start();
        let expr = self.expr()?;
        let descending = self.take_any(&[Term::Asc, Term::Desc]) == Some(Term::Desc);
        Ok(OrderItem {
            span: self.span_from(start),
            expr,
            descending,
        })
    }

    /// `LIMIT a, b`, `LIMIT a OFFSET b`, and MariaDB's forms.
    pub(super) fn limit(&mut self) -> Result<Option<Limit>> {
        let start = self.start();
        if self.mariadb && (self.is(Term::Offset) || self.is(Term::Fetch)) {
            return self.fetch_first().map(Some);
        }
        if !self.take(Term::Limit) {
            return Ok(None);
        }
        let mut count = None;
        let mut offset = None;
        let only_rows = self.mariadb && self.is(Term::Rows);
        if !only_rows {
            let first = self.limit_value()?;
            count = Some(first);
            if self.comma() {
                offset = Some(first);
                count = Some(self.limit_value()?);
            } else if self.take(Term::Offset) {
                offset = Some(self.limit_value()?);
            }
        }
        if self.mariadb && self.take_texts(&["rows", "examined"]) {
            self.limit_value()?;
        }
        Ok(Some(Limit {
            span: self.span_from(start),
            count,
            offset,
            with_ties: false,
        }))
    }

    fn fetch_first(&mut self) -> Result<Limit> {
        let start = self.start();
        let offset = match self.take(Term::Offset) {
            true => {
                let value = self.limit_value()?;
                if self.take_any(&[Term::Row, Term::Rows]).is_none() {
                    return Err(self.refuse("ROWS"));
                }
                Some(value)
            }
            false => None,
        };
        let mut count = None;
        let mut with_ties = false;
        if self.take(Term::Fetch) {
            if self.take_any(&[Term::First, Term::Next]).is_none() {
                return Err(self.refuse("FIRST or NEXT"));
            }
            if !matches!(self.peek().term, Term::Row | Term::Rows) {
                count = Some(self.limit_value()?);
            }
            self.take_any(&[Term::Row, Term::Rows]);
            with_ties = self.take_both(Term::With, Term::Ties);
            if !with_ties {
                self.require(Term::Only)?;
            }
        }
        Ok(Limit {
            span: self.span_from(start),
            count,
            offset,
            with_ties,
        })
    }

    /// A number, `?`, or a variable of a routine.
    fn limit_value(&mut self) -> Result<ExprId> {
        match self.peek().kind {
            TokenKind::Number | TokenKind::Parameter | TokenKind::HexLiteral if !self.at_end() => {
                self.primary()
            }
            _ if self.is_ident() => {
                let start = self.start();
                let name = self.name(1)?;
                Ok(self.column_node(start, name))
            }
            _ => Err(self.refuse("a number or a parameter")),
        }
    }

    /// `FOR UPDATE OF t NOWAIT`, `LOCK IN SHARE MODE`; several in MySQL.
    fn locking(&mut self) -> Result<List<Locking>> {
        let mark = self.mark::<Locking>();
        loop {
            let start = self.start();
            let strength = if self.take_both(Term::For, Term::Update) {
                LockStrength::Update
            } else if (!self.mariadb && self.take_both(Term::For, Term::Share))
                || self.take_texts(&["lock", "in", "share", "mode"])
            {
                LockStrength::Share
            } else {
                break;
            };
            let tables = match !self.mariadb && self.take(Term::Of) {
                true => self.list(Self::table_or_star)?,
                false => List::<Name>::default(),
            };
            let mysql_share = !self.mariadb && self.is_share_mode();
            let wait = if mysql_share {
                LockWait::Wait
            } else if self.take(Term::Nowait) {
                LockWait::NoWait
            } else if self.take_both(Term::Skip, Term::Locked) {
                LockWait::SkipLocked
            } else {
                if self.mariadb && self.take(Term::Wait) {
                    self.limit_value()?;
                }
                LockWait::Wait
            };
            let span = self.span_from(start);
            self.hold(Locking {
                span,
                strength,
                tables,
                wait,
            });
        }
        Ok(self.seal(mark))
    }

    /// `t`, `db.t`, `t.*`.
    pub(super) fn table_or_star(&mut self) -> Result<Name> {
        let name = self.name(2)?;
        if self.is_kind(TokenKind::Dot) && self.is_star_at(1) {
            self.bump();
            self.bump();
        }
        Ok(name)
    }

    /// Whether the word read last is MODE: MySQL waits after LOCK IN SHARE MODE.
    fn is_share_mode(&self) -> bool {
        let last = self.pos.checked_sub(1).and_then(|pos| self.tokens.get(pos));
        last.is_some_and(|tok| tok.term == Term::Mode)
    }

    /// `INTO OUTFILE`, `INTO DUMPFILE`, `INTO @x`.
    pub(super) fn into(&mut self) -> Result<Option<Id<Into>>> {
        let start = self.start();
        if !self.take(Term::Into) {
            return Ok(None);
        }
        let kind = if self.take(Term::Outfile) {
            let file = self.string_like()?;
            if self.charset_keyword() {
                self.charset_name()?;
            }
            self.fields_and_lines()?;
            IntoKind::Outfile(file)
        } else if self.take(Term::Dumpfile) {
            IntoKind::Dumpfile(self.string_like()?)
        } else {
            IntoKind::Variables(self.list(Self::variable_of_into)?)
        };
        let span = self.span_from(start);
        Ok(Some(self.add(Into { span, kind })))
    }

    fn variable_of_into(&mut self) -> Result<ExprId> {
        let start = self.start();
        if self.is_kind(TokenKind::UserVariable) {
            self.bump();
            return Ok(self.expr_node(start, ExprKind::UserVariable));
        }
        if !self.is_ident() {
            return Err(self.refuse("OUTFILE, DUMPFILE or a variable"));
        }
        let name = self.name(1)?;
        Ok(self.column_node(start, name))
    }
}
