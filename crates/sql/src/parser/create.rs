//! CREATE, DROP, TRUNCATE, RENAME.
//!
//! Owns which object is meant, and the tables. Must never read the body of a routine as statements of the text.

use super::head::Read;
use super::{Reader, Result, StatementKind};
use crate::ast::{Body, MentionRole};
use crate::words::Term;

/// Objects whose definition is not read.
const OTHERS: &[&str] = &[
    "server",
    "tablespace",
    "logfile",
    "undo",
    "spatial",
    "resource",
    "catalog",
    "or",
];

impl Reader<'_> {
    pub(super) fn create(&mut self) -> Result<Read> {
        self.bump();
        let or_replace = self.take_both(Term::Or, Term::Replace);
        self.ast.parsed.flags.or_replace = or_replace;
        let replaceable = self.mariadb
            || matches!(
                self.peek().term,
                Term::View | Term::Algorithm | Term::Definer | Term::Spatial | Term::Json
            )
            || self.is_text("sql");
        if or_replace && !replaceable {
            return Err(self.refuse("view"));
        }
        if self.take(Term::Temporary) {
            self.ast.parsed.flags.temporary = true;
            return match self.mariadb && self.take_text("sequence") {
                true => self.create_sequence(),
                false => {
                    self.require(Term::Table)?;
                    self.create_table()
                }
            };
        }
        match self.peek().term {
            Term::Table => {
                self.bump();
                self.create_table()
            }
            Term::Unique | Term::Fulltext | Term::Index | Term::Vector => self.create_index(),
            Term::Spatial if self.is_at(1, Term::Index) => self.create_index(),
            Term::Database | Term::Schema => self.database(StatementKind::CreateDatabase),
            Term::Event => self.stored(StatementKind::CreateEvent),
            Term::Trigger => self.create_trigger(),
            Term::View | Term::Algorithm | Term::Definer => self.create_defined(),
            Term::Procedure | Term::Function => self.stored(StatementKind::CreateRoutine),
            Term::User | Term::Role => self.unread(StatementKind::UserAdmin),
            _ if self.mariadb && self.is_text("sequence") => {
                self.bump();
                self.create_sequence()
            }
            _ if self.is_text("aggregate")
                || self.is_text("package")
                || self.is_text("library") =>
            {
                self.stored(StatementKind::CreateRoutine)
            }
            _ if self.is_text("sql") => self.create_defined(),
            _ if self.is_text("online") || self.is_text("offline") => self.create_index(),
            _ if self.take_texts(&["json", "relational", "duality"]) => self.duality_view(),
            _ if OTHERS.iter().any(|word| self.is_text(word)) => {
                self.unread(StatementKind::CreateOther)
            }
            _ => Err(self.refuse("what to create")),
        }
    }

    fn unread(&mut self, kind: StatementKind) -> Result<Read> {
        self.skip_rest();
        Ok((kind, Body::Recognised))
    }

    fn stored(&mut self, kind: StatementKind) -> Result<Read> {
        self.skip_body();
        Ok((kind, Body::Recognised))
    }

    /// Objects that may have ALGORITHM, DEFINER and SQL SECURITY before their noun.
    fn create_defined(&mut self) -> Result<Read> {
        while !self.at_end() {
            match self.peek().term {
                Term::View => return self.view(StatementKind::CreateView),
                Term::Procedure | Term::Function => {
                    return self.stored(StatementKind::CreateRoutine);
                }
                Term::Trigger => return self.create_trigger(),
                Term::Event => return self.stored(StatementKind::CreateEvent),
                Term::Select | Term::Table | Term::As => break,
                _ if self.is_text("package") || self.is_text("aggregate") => {
                    return self.stored(StatementKind::CreateRoutine);
                }
                _ => {
                    self.bump();
                }
            }
        }
        Err(self.refuse("VIEW, PROCEDURE, FUNCTION, TRIGGER or EVENT"))
    }

    /// `VIEW v (a, b) AS SELECT … WITH CHECK OPTION`.
    pub(super) fn view(&mut self, kind: StatementKind) -> Result<Read> {
        self.bump();
        self.if_not_exists();
        let role = match kind {
            StatementKind::AlterView => MentionRole::Altered,
            _ => MentionRole::Created,
        };
        self.mention_next(role)?;
        if self.peek().kind == crate::lexer::TokenKind::Open {
            self.parenthesised_list(Self::simple_name)?;
        }
        self.require(Term::As)?;
        let query = self.query()?;
        if self.take(Term::With) {
            let _ = self.take_text("cascaded") || self.take(Term::Local);
            if !self.take_texts(&["check", "option"]) {
                return Err(self.refuse("CHECK OPTION"));
            }
        }
        Ok((kind, Body::View(query)))
    }

    /// MySQL 9: `JSON RELATIONAL DUALITY VIEW v AS …`, whose query has a syntax of its own and is not read.
    fn duality_view(&mut self) -> Result<Read> {
        self.require(Term::View)?;
        self.if_not_exists();
        self.mention_next(MentionRole::Created)?;
        self.unread(StatementKind::CreateView)
    }

    pub(super) fn if_not_exists(&mut self) {
        if self.take_texts(&["if", "not", "exists"]) {
            self.ast.parsed.flags.if_not_exists = true;
        }
    }

    pub(super) fn if_exists(&mut self) {
        if self.take_texts(&["if", "exists"]) {
            self.ast.parsed.flags.if_exists = true;
        }
    }

    fn create_sequence(&mut self) -> Result<Read> {
        self.if_not_exists();
        self.mention_next(MentionRole::Created)?;
        self.unread(StatementKind::CreateSequence)
    }

    /// `TRIGGER tr BEFORE INSERT ON t FOR EACH ROW …`.
    fn create_trigger(&mut self) -> Result<Read> {
        self.bump();
        self.if_not_exists();
        self.name(2)?;
        while !self.at_end() && !self.is(Term::On) {
            self.bump();
        }
        self.require(Term::On)?;
        self.mention_next(MentionRole::Altered)?;
        self.stored(StatementKind::CreateTrigger)
    }

    /// `[UNIQUE] INDEX i USING BTREE ON t (…) …`.
    fn create_index(&mut self) -> Result<Read> {
        while !self.at_end() && !self.is(Term::Index) {
            self.bump();
        }
        self.require(Term::Index)?;
        self.if_not_exists();
        self.ident()?;
        self.index_type()?;
        self.require(Term::On)?;
        self.mention_next(MentionRole::Altered)?;
        self.skip_parenthesised()?;
        self.unread(StatementKind::CreateIndex)
    }

    /// `USING BTREE`, `TYPE BTREE`.
    pub(super) fn index_type(&mut self) -> Result<()> {
        if self.take(Term::Using) || self.take_text("type") {
            self.ident()?;
        }
        Ok(())
    }

    pub(super) fn database(&mut self, kind: StatementKind) -> Result<Read> {
        self.bump();
        match kind {
            StatementKind::DropDatabase => self.if_exists(),
            _ => self.if_not_exists(),
        }
        if kind != StatementKind::AlterDatabase || self.is_ident() {
            self.ident()?;
        }
        if kind == StatementKind::DropDatabase {
            return Ok((kind, Body::Recognised));
        }
        self.unread(kind)
    }

    pub(super) fn drop(&mut self) -> Result<Read> {
        self.bump();
        let temporary = self.take(Term::Temporary);
        self.ast.parsed.flags.temporary = temporary;
        match self.peek().term {
            Term::Table | Term::Tables => self.drop_tables(StatementKind::DropTable),
            Term::View => self.drop_tables(StatementKind::DropView),
            Term::Database | Term::Schema => self.database(StatementKind::DropDatabase),
            Term::Index => self.drop_index(),
            Term::Procedure | Term::Function => self.unread(StatementKind::DropRoutine),
            Term::Trigger => self.unread(StatementKind::DropTrigger),
            Term::Event => self.unread(StatementKind::DropEvent),
            Term::User | Term::Role => self.unread(StatementKind::UserAdmin),
            Term::Prepare => self.unread(StatementKind::Deallocate),
            _ if self.mariadb && self.is_text("sequence") => {
                self.drop_tables(StatementKind::DropSequence)
            }
            _ if self.is_text("package") || self.is_text("library") => {
                self.unread(StatementKind::DropRoutine)
            }
            _ if OTHERS.iter().any(|word| self.is_text(word)) => {
                self.unread(StatementKind::DropOther)
            }
            _ => Err(self.refuse("what to drop")),
        }
    }

    fn drop_tables(&mut self, kind: StatementKind) -> Result<Read> {
        self.bump();
        self.if_exists();
        self.mention_list(MentionRole::Dropped)?;
        if self.mariadb && self.take(Term::Wait) {
            self.bump();
        }
        self.take(Term::Nowait);
        self.take_any(&[Term::Restrict, Term::Cascade]);
        Ok((kind, Body::Recognised))
    }

    fn drop_index(&mut self) -> Result<Read> {
        self.bump();
        self.if_exists();
        self.index_name()?;
        self.require(Term::On)?;
        self.mention_next(MentionRole::Altered)?;
        self.unread(StatementKind::DropIndex)
    }

    pub(super) fn truncate(&mut self) -> Result<Read> {
        self.bump();
        self.take(Term::Table);
        self.mention_next(MentionRole::Write)?;
        if self.mariadb {
            if self.take(Term::Wait) {
                self.bump();
            }
            self.take(Term::Nowait);
        }
        Ok((StatementKind::TruncateTable, Body::Recognised))
    }

    pub(super) fn rename(&mut self) -> Result<Read> {
        self.bump();
        if self.take_any(&[Term::Table, Term::Tables]).is_none() {
            if self.take(Term::User) {
                return self.unread(StatementKind::UserAdmin);
            }
            return Err(self.refuse("TABLE or USER"));
        }
        if self.mariadb {
            self.if_exists();
        }
        loop {
            self.mention_next(MentionRole::Dropped)?;
            if self.mariadb {
                if self.take(Term::Wait) {
                    self.bump();
                }
                self.take(Term::Nowait);
            }
            self.require(Term::To)?;
            self.mention_next(MentionRole::RenamedTo)?;
            if !self.comma() {
                return Ok((StatementKind::RenameTable, Body::Recognised));
            }
        }
    }
}
