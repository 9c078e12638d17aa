//! SET, transactions, locks, prepared statements, maintenance and administration.
//!
//! Owns their kinds, the tables they name and the expressions of SET, DO and CALL. What they do to the session is read by
//! `effects`, and must never be decided here a second time.

use super::head::Read;
use super::{Reader, Result, StatementKind};
use crate::ast::{Body, ExprId, ExprKind, List, MentionRole, TableMention};
use crate::lexer::TokenKind;
use crate::words::Term;

/// Heads of statements whose rest is not read: routines of administration.
const RECOGNISED: &[(&[&str], StatementKind)] = &[
    (&["savepoint"], StatementKind::Savepoint),
    (&["release", "savepoint"], StatementKind::ReleaseSavepoint),
    (&["xa"], StatementKind::Xa),
    (&["unlock", "instance"], StatementKind::UnlockInstance),
    (&["unlock", "tables"], StatementKind::UnlockTables),
    (&["unlock", "table"], StatementKind::UnlockTables),
    (
        &["lock", "instance", "for", "backup"],
        StatementKind::LockInstance,
    ),
    (&["prepare"], StatementKind::Prepare),
    (&["execute"], StatementKind::Execute),
    (&["deallocate", "prepare"], StatementKind::Deallocate),
    (&["kill"], StatementKind::Kill),
    (&["help"], StatementKind::Help),
    (&["grant"], StatementKind::UserAdmin),
    (&["revoke"], StatementKind::UserAdmin),
    (&["get", "diagnostics"], StatementKind::GetDiagnostics),
    (
        &["get", "current", "diagnostics"],
        StatementKind::GetDiagnostics,
    ),
    (
        &["get", "stacked", "diagnostics"],
        StatementKind::GetDiagnostics,
    ),
    (&["signal"], StatementKind::Signal),
    (&["resignal"], StatementKind::Signal),
    (&["reset"], StatementKind::Reset),
    (&["change", "master"], StatementKind::Replication),
    (&["change", "replication"], StatementKind::Replication),
    (&["start", "replica"], StatementKind::Replication),
    (&["start", "slave"], StatementKind::Replication),
    (&["start", "all"], StatementKind::Replication),
    (&["start", "group_replication"], StatementKind::Replication),
    (&["stop", "replica"], StatementKind::Replication),
    (&["stop", "slave"], StatementKind::Replication),
    (&["stop", "all"], StatementKind::Replication),
    (&["stop", "group_replication"], StatementKind::Replication),
    (&["purge"], StatementKind::ServerAdmin),
    (&["binlog"], StatementKind::ServerAdmin),
    (&["install"], StatementKind::ServerAdmin),
    (&["uninstall"], StatementKind::ServerAdmin),
    (&["clone"], StatementKind::ServerAdmin),
    (&["shutdown"], StatementKind::ServerAdmin),
    (&["restart"], StatementKind::ServerAdmin),
    (&["backup"], StatementKind::ServerAdmin),
];

impl Reader<'_> {
    pub(super) fn other(&mut self) -> Result<Read> {
        let nothing = |kind| Ok((kind, Body::Recognised));
        match self.peek().term {
            Term::Use => {
                self.bump();
                self.ident()?;
                nothing(StatementKind::Use)
            }
            Term::Begin => self.begin(),
            Term::Start if self.is_at(1, Term::Transaction) => {
                self.skip_rest();
                nothing(StatementKind::Begin)
            }
            Term::Commit => {
                self.bump();
                self.completion()?;
                nothing(StatementKind::Commit)
            }
            Term::Rollback => self.rollback(),
            Term::Lock if matches!(self.peek_at(1).term, Term::Table | Term::Tables) => {
                self.lock_tables()
            }
            Term::Do => {
                self.bump();
                let list = self.expressions()?;
                Ok((StatementKind::Do, Body::Expressions(list)))
            }
            Term::Call => self.call_procedure(),
            Term::Handler => self.handler(),
            Term::Analyze | Term::Check | Term::Checksum | Term::Optimize | Term::Repair => {
                self.maintenance()
            }
            Term::Flush => self.flush(),
            Term::Cache if self.is_at(1, Term::Index) => {
                self.pos += 2;
                self.cached_indexes()?;
                nothing(StatementKind::ServerAdmin)
            }
            Term::Import if self.is_at(1, Term::Table) => {
                self.skip_rest();
                nothing(StatementKind::ImportTable)
            }
            Term::If | Term::Case | Term::While | Term::Loop | Term::Repeat | Term::For
                if self.mariadb =>
            {
                self.skip_compound();
                nothing(StatementKind::Compound)
            }
            _ => self.recognised(),
        }
    }

    fn recognised(&mut self) -> Result<Read> {
        let known = RECOGNISED.iter().find(|(head, _)| {
            head.iter()
                .enumerate()
                .all(|(n, word)| self.is_text_at(n, word))
        });
        let Some((_, kind)) = known else {
            return Err(self.refuse("a statement"));
        };
        self.skip_rest();
        Ok((*kind, Body::Recognised))
    }

    fn begin(&mut self) -> Result<Read> {
        self.bump();
        self.take(Term::Work);
        if self.at_end() {
            return Ok((StatementKind::Begin, Body::Recognised));
        }
        if !self.mariadb {
            return Err(self.refuse("the end of the statement"));
        }
        self.skip_compound();
        Ok((StatementKind::Compound, Body::Recognised))
    }

    /// A compound statement takes the whole rest of the text.
    fn skip_compound(&mut self) {
        self.skip_rest();
        self.end = self.sql.len();
    }

    /// `[WORK] [AND [NO] CHAIN] [[NO] RELEASE]`.
    fn completion(&mut self) -> Result<()> {
        self.take(Term::Work);
        if self.take(Term::And) {
            self.take(Term::No);
            if !self.take_text("chain") {
                return Err(self.refuse("CHAIN"));
            }
        }
        if self.take(Term::No) {
            return self.require(Term::Release);
        }
        self.take(Term::Release);
        Ok(())
    }

    fn rollback(&mut self) -> Result<Read> {
        self.bump();
        let to = self.is(Term::To) || (self.is(Term::Work) && self.is_at(1, Term::To));
        if !to {
            self.completion()?;
            return Ok((StatementKind::Rollback, Body::Recognised));
        }
        self.take(Term::Work);
        self.bump();
        self.take(Term::Savepoint);
        self.ident()?;
        Ok((StatementKind::RollbackTo, Body::Recognised))
    }

    /// `LOCK TABLES a AS x READ LOCAL, b WRITE`.
    fn lock_tables(&mut self) -> Result<Read> {
        self.pos += 2;
        loop {
            let name = self.name(2)?;
            let named = self.take(Term::As);
            let is_lock = matches!(
                self.peek().term,
                Term::Read | Term::Write | Term::LowPriority
            );
            let alias = match named || (self.is_ident() && !is_lock) {
                true => Some(self.ident()?),
                false => None,
            };
            if self.mariadb {
                self.take(Term::LowPriority);
            }
            let role = match self.take_any(&[Term::Read, Term::Write]) {
                Some(Term::Read) => MentionRole::Read,
                Some(_) => MentionRole::Write,
                None => return Err(self.refuse("READ or WRITE")),
            };
            self.take_any(&[Term::Local, Term::Concurrent]);
            self.add(TableMention { name, alias, role });
            if !self.comma() {
                break;
            }
        }
        if self.mariadb && self.take(Term::Wait) {
            self.bump();
        }
        self.take(Term::Nowait);
        Ok((StatementKind::LockTables, Body::Recognised))
    }

    fn call_procedure(&mut self) -> Result<Read> {
        self.bump();
        self.name(3)?;
        let mut list = List::default();
        if self.take_kind(TokenKind::Open) {
            if !self.is_kind(TokenKind::Close) {
                list = self.list(Self::expr)?;
            }
            self.close()?;
        }
        Ok((StatementKind::Call, Body::Expressions(list)))
    }

    /// `HANDLER t OPEN AS h`, `HANDLER h READ …`: a table's name only where it is opened.
    fn handler(&mut self) -> Result<Read> {
        self.bump();
        let name = self.name(2)?;
        if self.take_text("open") {
            let named = self.take(Term::As);
            let alias = match named || self.is_ident() {
                true => Some(self.ident()?),
                false => None,
            };
            let role = MentionRole::Read;
            self.add(TableMention { name, alias, role });
        } else if !self.take_text("close") {
            self.require(Term::Read)?;
            self.skip_rest();
        }
        Ok((StatementKind::Handler, Body::Recognised))
    }

    /// `ANALYZE TABLE a, b …` and its like. What follows the names is not read.
    fn maintenance(&mut self) -> Result<Read> {
        let term = self.bump().term;
        if !self.take_text("no_write_to_binlog") {
            self.take(Term::Local);
        }
        let view =
            self.mariadb && matches!(term, Term::Check | Term::Repair) && self.take(Term::View);
        if !view && self.take_any(&[Term::Table, Term::Tables]).is_none() {
            return Err(self.refuse("TABLE"));
        }
        let role = match term {
            Term::Check | Term::Checksum | Term::Analyze => MentionRole::Read,
            _ => MentionRole::Altered,
        };
        loop {
            self.mention_next(role)?;
            if self.mariadb && self.take_text("persistent") {
                self.require(Term::For)?;
                if !self.take(Term::All) {
                    self.require(Term::Columns)?;
                    self.skip_parenthesised()?;
                    self.take_text("indexes");
                    self.skip_parenthesised()?;
                }
            }
            if !self.comma() {
                break;
            }
        }
        self.skip_rest();
        Ok((StatementKind::Maintenance, Body::Recognised))
    }

    fn flush(&mut self) -> Result<Read> {
        self.bump();
        if !self.take_text("no_write_to_binlog") {
            self.take(Term::Local);
        }
        let tables = self.take_any(&[Term::Table, Term::Tables]).is_some();
        if tables && self.is_ident() {
            self.mention_list(MentionRole::Read)?;
        } else if !tables && self.at_end() {
            return Err(self.refuse("what to flush"));
        }
        self.skip_rest();
        Ok((StatementKind::Flush, Body::Recognised))
    }

    pub(super) fn set(&mut self) -> Result<Read> {
        self.bump();
        if self.mariadb && self.take(Term::Statement) {
            return self.set_statement();
        }
        let scoped = matches!(self.peek().term, Term::Global | Term::Session | Term::Local);
        let transaction = usize::from(scoped);
        if self.is_at(transaction, Term::Transaction)
            && self.peek_at(transaction + 1).kind != TokenKind::Equal
        {
            self.skip_rest();
            return Ok((StatementKind::SetTransaction, Body::Recognised));
        }
        let equals = matches!(self.peek_at(1).kind, TokenKind::Equal | TokenKind::Assign);
        let other = self.is_text("password") || self.is_text("role") || self.is_text("resource");
        let default_role = self.is(Term::Default) && self.is_at(1, Term::Role);
        if default_role {
            self.skip_rest();
            return Ok((StatementKind::UserAdmin, Body::Recognised));
        }
        if (other && !equals) || self.is_text("password") {
            self.skip_rest();
            return Ok((StatementKind::Set, Body::Recognised));
        }
        let mark = self.mark::<ExprId>();
        loop {
            self.set_assignment()?;
            if !self.comma() {
                break;
            }
        }
        let exprs = self.seal(mark);
        Ok((StatementKind::Set, Body::Expressions(exprs)))
    }

    /// MariaDB: `SET STATEMENT a = 1, b = 2 FOR …` is the statement that follows, with other settings.
    fn set_statement(&mut self) -> Result<Read> {
        let mark = self.mark::<ExprId>();
        loop {
            self.set_assignment()?;
            if !self.comma() {
                break;
            }
        }
        self.seal::<ExprId>(mark);
        self.require(Term::For)?;
        self.deeper(Self::statement_body)
    }

    /// `NAMES x`, `CHARACTER SET x`, `@x = 1`, `@@session.x = 1`, `GLOBAL x = 1`, `x = 1`.
    fn set_assignment(&mut self) -> Result<()> {
        if self.take_text("names") || self.charset_keyword() {
            if !self.take(Term::Default) {
                self.charset_name()?;
                if self.take(Term::Collate) && !self.take(Term::Default) {
                    self.charset_name()?;
                }
            }
            return Ok(());
        }
        if !self.take_kind(TokenKind::UserVariable) {
            if self.is_kind(TokenKind::SystemVariable) {
                self.bump();
                while self.take_kind(TokenKind::Dot) {
                    self.part()?;
                }
            } else {
                let scopes = [
                    Term::Global,
                    Term::Session,
                    Term::Local,
                    Term::Persist,
                    Term::PersistOnly,
                ];
                let next = self.peek_at(1).kind;
                if !matches!(next, TokenKind::Equal | TokenKind::Assign | TokenKind::Dot) {
                    self.take_any(&scopes);
                }
                self.take(Term::Default);
                if !self.take_kind(TokenKind::Dot) || self.is_ident() {
                    self.name(2)?;
                }
            }
        }
        if !self.take_kind(TokenKind::Equal) && !self.take_kind(TokenKind::Assign) {
            return Err(self.refuse("="));
        }
        let value_start = self.start();
        let bare = matches!(
            self.peek().term,
            Term::Default | Term::On | Term::All | Term::Binary | Term::Row | Term::System
        ) && (self.peek_at(1).kind == TokenKind::Comma
            || self.pos + 1 >= self.tokens.len());
        let value = if bare {
            self.bump();
            self.expr_node(value_start, ExprKind::Keyword)
        } else {
            self.expr()?
        };
        self.hold(value);
        Ok(())
    }
}
