//! From the first word to the reader of the statement.
//!
//! Owns the dispatch, and that a statement is read to its end. Must never pass over what follows a statement it has read.

use super::{Reader, Result, StatementKind};
use crate::ast::{Body, ExplainedBody, ExprId, List, MentionRole, Parsed, TableMention};
use crate::lexer::{Span, TokenKind};
use crate::words::Term;

/// A statement as its reader gives it.
pub(super) type Read = (StatementKind, Body);

impl Reader<'_> {
    /// One statement, to its end.
    pub(super) fn statement(&mut self) -> Result<()> {
        if self.at_end() {
            return Ok(());
        }
        let start = self.start();
        let (kind, body) = self.statement_body()?;
        if !self.at_end() {
            return Err(self.refuse("the end of the statement"));
        }
        let span = self.span_from(start);
        let parsed = &mut self.ast.parsed;
        *parsed = Parsed {
            kind,
            span: match parsed.span.end > span.end {
                // The body of a routine goes beyond the `;` inside it.
                true => parsed.span,
                false => span,
            },
            body,
            ..*parsed
        };
        Ok(())
    }

    pub(super) fn statement_body(&mut self) -> Result<Read> {
        if let Some(read) = self.dml_or_query()? {
            return Ok(read);
        }
        match self.peek().term {
            Term::Explain | Term::Describe | Term::Desc => self.explain(),
            Term::Analyze if self.is_analyzed_statement() => self.explain(),
            Term::Create => self.create(),
            Term::Alter => self.alter(),
            Term::Drop => self.drop(),
            Term::Truncate => self.truncate(),
            Term::Rename => self.rename(),
            Term::Show => self.show(),
            Term::Set => self.set(),
            Term::Load => self.load(),
            _ => self.other(),
        }
    }

    /// A query or a statement that changes rows.
    pub(super) fn dml_or_query(&mut self) -> Result<Option<Read>> {
        let kind = match self.peek().term {
            Term::Select => StatementKind::Select,
            Term::Values => StatementKind::Values,
            Term::Table if !self.mariadb => StatementKind::Table,
            Term::With => return self.with_statement().map(Some),
            Term::Insert => return Ok(Some((StatementKind::Insert, self.insert()?))),
            Term::Replace => return Ok(Some((StatementKind::Replace, self.insert()?))),
            Term::Update => return Ok(Some((StatementKind::Update, self.update(None)?))),
            Term::Delete => return Ok(Some((StatementKind::Delete, self.delete(None)?))),
            _ if self.is_kind(TokenKind::Open) => StatementKind::Select,
            _ => return Ok(None),
        };
        let query = self.query()?;
        Ok(Some((kind, Body::Query(query))))
    }

    /// `WITH … SELECT`; in MySQL also UPDATE and DELETE.
    fn with_statement(&mut self) -> Result<Read> {
        let kind = match self.word_after_with() {
            Term::Update | Term::Delete if !self.mariadb => StatementKind::Update,
            Term::Table => StatementKind::Table,
            Term::Values => StatementKind::Values,
            _ => StatementKind::Select,
        };
        if kind != StatementKind::Update {
            return Ok((kind, Body::Query(self.query()?)));
        }
        let with = self.with_list()?;
        match self.is(Term::Update) {
            true => Ok((StatementKind::Update, self.update(Some(with))?)),
            false => Ok((StatementKind::Delete, self.delete(Some(with))?)),
        }
    }

    /// The word that follows the list of a WITH: the first outside of its parentheses that cannot be of it.
    fn word_after_with(&self) -> Term {
        let mut ahead = 1;
        while self.pos + ahead < self.tokens.len() {
            let tok = self.peek_at(ahead);
            let is_verb = matches!(
                tok.term,
                Term::Update | Term::Delete | Term::Select | Term::Table | Term::Values
            );
            if is_verb {
                return tok.term;
            }
            let close = (tok.aux as usize).checked_sub(1);
            ahead = match (tok.kind, close) {
                (TokenKind::Open, Some(close)) => (close + 1).saturating_sub(self.pos),
                (TokenKind::Open, None) => return Term::None,
                _ => ahead + 1,
            };
        }
        Term::None
    }

    /// MariaDB: ANALYZE of a statement and not of tables.
    fn is_analyzed_statement(&self) -> bool {
        let follows = |ahead: usize| {
            matches!(
                self.peek_at(ahead).term,
                Term::Select
                    | Term::Insert
                    | Term::Replace
                    | Term::Update
                    | Term::Delete
                    | Term::With
            ) || self.peek_at(ahead).kind == TokenKind::Open
        };
        self.mariadb && (follows(1) || self.is_at(1, Term::Format))
    }

    /// EXPLAIN, DESCRIBE, and MariaDB's ANALYZE of a statement.
    fn explain(&mut self) -> Result<Read> {
        let mut runs = self.bump().term == Term::Analyze;
        if self.mariadb {
            self.take_text("extended");
            self.take(Term::Partitions);
        } else {
            runs |= self.take(Term::Analyze);
        }
        if self.take(Term::Format) {
            if !self.take_kind(TokenKind::Equal) {
                return Err(self.refuse("="));
            }
            self.ident_or_text()?;
        }
        if !self.mariadb {
            self.into()?;
        }
        if self.take(Term::For) {
            if self.take(Term::Connection) {
                self.expr()?;
                return Ok((StatementKind::Explain, Body::Recognised));
            }
            if self.mariadb || self.take_any(&[Term::Schema, Term::Database]).is_none() {
                return Err(self.refuse("CONNECTION, SCHEMA or DATABASE"));
            }
            self.ident()?;
        }
        let start = self.start();
        let Some((kind, body)) = self.dml_or_query()? else {
            return self.describe_table();
        };
        let body = match body {
            Body::Query(query) => ExplainedBody::Query(query),
            Body::Insert(insert) => ExplainedBody::Insert(insert),
            Body::Update(update) => ExplainedBody::Update(update),
            Body::Delete(delete) => ExplainedBody::Delete(delete),
            _ => return Err(self.refuse("a query or a change of rows")),
        };
        let body = Body::Explain {
            kind,
            body,
            span: self.span_from(start),
            runs,
        };
        Ok((StatementKind::Explain, body))
    }

    /// `DESCRIBE t`, `DESCRIBE t column`, `DESCRIBE t 'a%'`.
    fn describe_table(&mut self) -> Result<Read> {
        self.mention_next(MentionRole::Read)?;
        if !self.at_end() {
            self.ident_or_text()?;
        }
        Ok((StatementKind::Describe, Body::Recognised))
    }

    /// A table that comes next.
    pub(super) fn mention_next(&mut self, role: MentionRole) -> Result<()> {
        if self.mariadb {
            self.take_kind(TokenKind::Dot);
        }
        let name = self.name(2)?;
        self.mention(name, role);
        Ok(())
    }

    pub(super) fn mention(&mut self, name: crate::ast::Name, role: MentionRole) {
        self.add(TableMention {
            name,
            alias: None,
            role,
        });
    }

    /// Tables with commas between.
    pub(super) fn mention_list(&mut self, role: MentionRole) -> Result<()> {
        loop {
            self.mention_next(role)?;
            if !self.comma() {
                return Ok(());
            }
        }
    }

    /// Everything up to the end: options that nobody asks for.
    pub(super) fn skip_rest(&mut self) {
        self.pos = self.tokens.len();
    }

    /// The rest is a stored body, which may hold `;`.
    pub(super) fn skip_body(&mut self) {
        let start = self.tokens.first().map_or(0, |tok| tok.span.start);
        let end = crate::scan::body_end(self.sql, start, self.dialect);
        self.skip_rest();
        self.end = self.end.max(end);
        self.ast.parsed.span = Span {
            start,
            end: self.end,
        };
    }

    /// Everything up to a comma or the end, outside of parentheses.
    pub(super) fn skip_to_comma(&mut self) -> Result<()> {
        while !self.at_end() && !self.is_kind(TokenKind::Comma) {
            match self.peek().kind {
                TokenKind::Open => {
                    self.skip_parenthesised()?;
                }
                TokenKind::Close => return Ok(()),
                _ => {
                    self.bump();
                }
            }
        }
        Ok(())
    }

    /// DO, and the arguments of CALL.
    pub(super) fn expressions(&mut self) -> Result<List<ExprId>> {
        self.list(|reader| {
            let expr = reader.expr()?;
            if reader.take(Term::As) || reader.is_ident() {
                reader.ident_or_text()?;
            }
            Ok(expr)
        })
    }
}
