//! Operands: literals, names, variables, parentheses, and the forms with words of their own.
//!
//! Owns what may stand where an operand is expected. Must never take a reserved word for a name.

use super::tokens::op;
use super::{Reader, Result};
use crate::ast::{
    CaseArm, ColumnName, ExprId, ExprKind, Id, List, LiteralKind, Name, Query, QueryBody,
    TemporalKind, VariableScope,
};
use crate::lexer::{Span, TokenKind};
use crate::words::Term;

impl Reader<'_> {
    /// An operand.
    pub(super) fn primary(&mut self) -> Result<ExprId> {
        let tok = self.peek();
        let start = tok.span.start;
        match tok.kind {
            TokenKind::Word if tok.is_ident() => self.named(),
            TokenKind::Word => self.keyword_operand(),
            TokenKind::QuotedName => self.named(),
            TokenKind::Number => self.plain_literal(LiteralKind::Number),
            TokenKind::String | TokenKind::NationalString => self.string_literal(),
            TokenKind::Introducer => {
                self.bump();
                match self.peek().kind {
                    TokenKind::String => self.bump(),
                    TokenKind::HexLiteral | TokenKind::BitLiteral => self.bump(),
                    _ => return Err(self.refuse("a literal after the character set")),
                };
                self.more_strings();
                Ok(self.expr_node(start, ExprKind::Literal(LiteralKind::String)))
            }
            TokenKind::HexLiteral => self.plain_literal(LiteralKind::Hex),
            TokenKind::BitLiteral => self.plain_literal(LiteralKind::Bit),
            TokenKind::Parameter if !self.at_end() => {
                self.bump();
                Ok(self.expr_node(start, ExprKind::Parameter(tok.aux)))
            }
            TokenKind::Dot if self.mariadb => {
                // `.t.a`: of the session's schema.
                self.bump();
                self.column()
            }
            TokenKind::UserVariable => self.user_variable(),
            TokenKind::SystemVariable => self.system_variable(),
            TokenKind::Open => self.parenthesised(),
            TokenKind::Operator if tok.aux == op(b"{") => self.odbc_escape(),
            TokenKind::Operator if tok.aux == op(b"\\") && self.is_null_escape() => {
                self.bump();
                self.plain_literal(LiteralKind::Null)
            }
            _ => Err(self.refuse("an expression")),
        }
    }

    /// MariaDB's `\N`.
    fn is_null_escape(&self) -> bool {
        let adjacent = self.peek_at(1).span.start == self.peek().span.end;
        self.mariadb && adjacent && self.is_text_at(1, "n")
    }

    fn plain_literal(&mut self, kind: LiteralKind) -> Result<ExprId> {
        let start = self.bump().span.start;
        Ok(self.expr_node(start, ExprKind::Literal(kind)))
    }

    fn string_literal(&mut self) -> Result<ExprId> {
        let start = self.bump().span.start;
        self.more_strings();
        Ok(self.expr_node(start, ExprKind::Literal(LiteralKind::String)))
    }

    /// Adjacent strings are one literal.
    fn more_strings(&mut self) {
        while self.is_kind(TokenKind::String) {
            self.bump();
        }
    }

    pub(super) fn user_variable(&mut self) -> Result<ExprId> {
        let start = self.bump().span.start;
        let variable = self.expr_node(start, ExprKind::UserVariable);
        if !self.take_kind(TokenKind::Assign) {
            return Ok(variable);
        }
        let value = self.expr()?;
        Ok(self.expr_node(start, ExprKind::Assign { variable, value }))
    }

    fn system_variable(&mut self) -> Result<ExprId> {
        let head = self.bump().span;
        let name = head.of(self.sql).get(2..).unwrap_or_default();
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        let scope = if is("session") || is("local") {
            VariableScope::Session
        } else if is("global") {
            VariableScope::Global
        } else if is("persist") || is("persist_only") {
            VariableScope::Persist
        } else {
            VariableScope::Unsaid
        };
        if name.is_empty() {
            return Err(self.refuse("the name of a variable"));
        }
        if scope != VariableScope::Unsaid && !self.is_kind(TokenKind::Dot) {
            return Err(self.refuse("."));
        }
        while self.take_kind(TokenKind::Dot) {
            self.part()?;
        }
        Ok(self.expr_node(head.start, ExprKind::SystemVariable(scope)))
    }

    /// `{fn f(x)}`, `{d '2024-01-01'}`.
    fn odbc_escape(&mut self) -> Result<ExprId> {
        let start = self.bump().span.start;
        let word = self.ident()?;
        let inner = self.expr()?;
        if !self.take_op(op(b"}")) {
            return Err(self.refuse("}"));
        }
        Ok(self.expr_node(start, ExprKind::Odbc(word, inner)))
    }

    /// `(a)`, `(a, b)`, `(SELECT …)`, and `((SELECT …) UNION …)`.
    fn parenthesised(&mut self) -> Result<ExprId> {
        let start = self.start();
        if self.is_query_at(1) {
            let query = self.subquery()?;
            return Ok(self.expr_node(start, ExprKind::Subquery(query)));
        }
        self.bump();
        let inner_start = self.start();
        let first = self.expr()?;
        if self.comma() {
            let mark = self.mark::<ExprId>();
            self.hold(first);
            loop {
                let next = self.expr()?;
                self.hold(next);
                if !self.comma() {
                    break;
                }
            }
            let elements = self.seal(mark);
            self.close()?;
            return Ok(self.expr_node(start, ExprKind::Row(elements)));
        }
        let inner = self.ast.expr(first).map(|node| node.kind);
        if let Some(ExprKind::Subquery(query)) = inner
            && self.continues_query()
        {
            // What looked like a value was the first operand of a set operation.
            let left = self.parenthesised_query(inner_start, query);
            let query = self.query_from(inner_start, left, None)?;
            self.close()?;
            return Ok(self.expr_node(start, ExprKind::Subquery(query)));
        }
        self.close()?;
        Ok(self.expr_node(start, ExprKind::Parenthesised(first)))
    }

    /// The query `(…)` that ends here.
    pub(super) fn parenthesised_query(&mut self, start: usize, query: Id<Query>) -> Id<Query> {
        let body = QueryBody::Parenthesised(query);
        self.query_node(start, body, None)
    }

    /// A name: a column, or a function when a parenthesis follows.
    fn named(&mut self) -> Result<ExprId> {
        let tok = self.peek();
        match self.peek_at(1).kind {
            TokenKind::Open if !self.is_end_at(1) => return self.call(),
            TokenKind::String if !self.is_end_at(1) => {
                if let Some(literal) = self.temporal()? {
                    return Ok(literal);
                }
            }
            TokenKind::Word => {
                let next = self.peek_at(1).term;
                let is_sequence =
                    matches!((tok.term, next), (Term::Next | Term::Previous, Term::Value));
                if self.mariadb && is_sequence && self.is_at(2, Term::For) {
                    return self.sequence_value();
                }
            }
            _ => {}
        }
        if tok.term == Term::CurrentRole {
            return self.call();
        }
        self.column()
    }

    fn is_end_at(&self, ahead: usize) -> bool {
        self.pos + ahead >= self.tokens.len()
    }

    /// `DATE '…'`, `TIME '…'`, `TIMESTAMP '…'`.
    fn temporal(&mut self) -> Result<Option<ExprId>> {
        let kind = match self.peek().term {
            Term::Date => TemporalKind::Date,
            Term::Time => TemporalKind::Time,
            Term::Timestamp => TemporalKind::Timestamp,
            _ => return Ok(None),
        };
        let start = self.bump().span.start;
        self.bump();
        let literal = ExprKind::Literal(LiteralKind::Temporal(kind));
        Ok(Some(self.expr_node(start, literal)))
    }

    /// `a`, `t.a`, `db.t.a`, with the JSON path after it; or a function of a schema.
    fn column(&mut self) -> Result<ExprId> {
        let start = self.start();
        let name = self.name(3)?;
        if name.qualifier.is_some() && self.is_kind(TokenKind::Open) {
            return self.schema_call(name);
        }
        let column = self.column_node(start, name);
        self.json_path(start, column)
    }

    pub(super) fn column_node(&mut self, start: usize, name: Name) -> ExprId {
        let block = self.block;
        let column = self.add(ColumnName { name, block });
        self.expr_node(start, ExprKind::Column(column))
    }

    /// `-> '$.a'` and `->> '$.a'`, which only MySQL has.
    fn json_path(&mut self, start: usize, column: ExprId) -> Result<ExprId> {
        use crate::ast::BinaryOp;
        let op = if self.mariadb {
            return Ok(column);
        } else if self.take_op(op(b"->")) {
            BinaryOp::JsonExtract
        } else if self.take_op(op(b"->>")) {
            BinaryOp::JsonUnquote
        } else {
            return Ok(column);
        };
        let right = match self.peek().kind {
            TokenKind::String => self.plain_literal(LiteralKind::String)?,
            _ => return Err(self.refuse("a path")),
        };
        let left = column;
        Ok(self.expr_node(start, ExprKind::Binary { op, left, right }))
    }

    /// Operands that begin with a reserved word.
    fn keyword_operand(&mut self) -> Result<ExprId> {
        let start = self.start();
        match self.peek().term {
            Term::Null => self.plain_literal(LiteralKind::Null),
            Term::True => self.plain_literal(LiteralKind::True),
            Term::False => self.plain_literal(LiteralKind::False),
            Term::Case => self.case(),
            Term::Exists => {
                self.bump();
                let query = self.subquery()?;
                Ok(self.expr_node(start, ExprKind::Exists(query)))
            }
            Term::Row if self.peek_at(1).kind == TokenKind::Open => self.row_constructor(),
            Term::Match => self.match_against(),
            Term::Default if self.peek_at(1).kind == TokenKind::Open => self.default_of(),
            _ => self.call(),
        }
    }

    fn row_constructor(&mut self) -> Result<ExprId> {
        let start = self.bump().span.start;
        let elements = self.parenthesised_list(Self::expr)?;
        if elements.len() < 2 {
            return Err(self.refuse("two elements or more"));
        }
        Ok(self.expr_node(start, ExprKind::Row(elements)))
    }

    fn default_of(&mut self) -> Result<ExprId> {
        let start = self.bump().span.start;
        let column = self.parenthesised_column()?;
        Ok(self.expr_node(start, ExprKind::DefaultOf(column)))
    }

    pub(super) fn parenthesised_column(&mut self) -> Result<ExprId> {
        self.open()?;
        let start = self.start();
        let name = self.name(3)?;
        let column = self.column_node(start, name);
        self.close()?;
        Ok(column)
    }

    fn case(&mut self) -> Result<ExprId> {
        let start = self.bump().span.start;
        let operand = match self.is(Term::When) {
            true => None,
            false => Some(self.expr()?),
        };
        let mark = self.mark::<CaseArm>();
        loop {
            let arm = self.start();
            self.require(Term::When)?;
            let when = self.expr()?;
            self.require(Term::Then)?;
            let then = self.expr()?;
            let span = self.span_from(arm);
            self.hold(CaseArm { span, when, then });
            if !self.is(Term::When) {
                break;
            }
        }
        let arms = self.seal(mark);
        let otherwise = match self.take(Term::Else) {
            true => Some(self.expr()?),
            false => None,
        };
        self.require(Term::End)?;
        let kind = ExprKind::Case {
            operand,
            arms,
            otherwise,
        };
        Ok(self.expr_node(start, kind))
    }

    /// `MATCH (a, b) AGAINST ('x' IN BOOLEAN MODE)`.
    fn match_against(&mut self) -> Result<ExprId> {
        let start = self.bump().span.start;
        let parenthesised = self.take_kind(TokenKind::Open);
        let mark = self.mark::<ExprId>();
        loop {
            let column_start = self.start();
            let name = self.name(3)?;
            let column = self.column_node(column_start, name);
            self.hold(column);
            if !self.comma() {
                break;
            }
        }
        if parenthesised {
            self.close()?;
        }
        self.require(Term::Against)?;
        self.open()?;
        let words = self.expr_at(super::expr::BIT_EXPR)?;
        if !self.take_texts(&["in", "boolean", "mode"]) {
            self.take_texts(&["in", "natural", "language", "mode"]);
            self.take_texts(&["with", "query", "expansion"]);
        }
        self.close()?;
        self.hold(words);
        let operands: List<ExprId> = self.seal(mark);
        Ok(self.expr_node(start, ExprKind::Match(operands)))
    }

    /// The name of a character set or collation: a name, a string, or BINARY.
    pub(super) fn charset_name(&mut self) -> Result<Span> {
        if self.is(Term::Binary) {
            return Ok(self.bump().span);
        }
        self.ident_or_text()
    }
}
