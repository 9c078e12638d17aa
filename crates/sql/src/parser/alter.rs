//! ALTER.
//!
//! Owns which object is meant, and the tables that ALTER TABLE names in its actions. What an action does to a column is
//! reachable by spans only; its head word must be one the servers know.

use super::head::Read;
use super::{Reader, Result, StatementKind};
use crate::ast::{Body, MentionRole, TableMention};
use crate::lexer::TokenKind;
use crate::words::Term;

/// Words that begin an action or a table option.
const ACTIONS: &[&str] = &[
    "add",
    "algorithm",
    "alter",
    "analyze",
    "auto_increment",
    "autoextend_size",
    "avg_row_length",
    "change",
    "character",
    "charset",
    "check",
    "checksum",
    "coalesce",
    "collate",
    "comment",
    "compression",
    "connection",
    "convert",
    "data",
    "default",
    "delay_key_write",
    "disable",
    "discard",
    "drop",
    "enable",
    "encryption",
    "engine",
    "engine_attribute",
    "exchange",
    "force",
    "import",
    "index",
    "insert_method",
    "key_block_size",
    "lock",
    "max_rows",
    "min_rows",
    "modify",
    "nowait",
    "optimize",
    "order",
    "pack_keys",
    "page_checksum",
    "partition",
    "password",
    "rebuild",
    "remove",
    "rename",
    "reorganize",
    "repair",
    "row_format",
    "secondary_engine",
    "secondary_engine_attribute",
    "secondary_load",
    "secondary_unload",
    "sequence",
    "start",
    "stats_auto_recalc",
    "stats_persistent",
    "stats_sample_pages",
    "storage",
    "tablespace",
    "transactional",
    "truncate",
    "type",
    "union",
    "wait",
    "with",
    "without",
    "page_compressed",
    "encrypted",
    "encryption_key_id",
];

impl Reader<'_> {
    pub(super) fn alter(&mut self) -> Result<Read> {
        self.bump();
        let unread = |reader: &mut Self, kind| {
            reader.skip_rest();
            Ok((kind, Body::Recognised))
        };
        self.take_text("online");
        let ignore = self.mariadb && self.take(Term::Ignore);
        if self.take(Term::Table) {
            return self.alter_table();
        }
        if ignore {
            return Err(self.refuse("table"));
        }
        match self.peek().term {
            Term::Database | Term::Schema => self.database(StatementKind::AlterDatabase),
            Term::View => self.view(StatementKind::AlterView),
            Term::Procedure | Term::Function => unread(self, StatementKind::AlterRoutine),
            Term::Event => {
                self.skip_body();
                Ok((StatementKind::AlterEvent, Body::Recognised))
            }
            Term::User | Term::Role => unread(self, StatementKind::UserAdmin),
            Term::Algorithm | Term::Definer => self.alter_defined(),
            _ if self.is_text("sql") => self.alter_defined(),
            _ if self.mariadb && self.is_text("sequence") => {
                self.bump();
                self.if_exists();
                self.mention_next(MentionRole::Altered)?;
                unread(self, StatementKind::AlterSequence)
            }
            _ if self.is_text("library") => unread(self, StatementKind::AlterRoutine),
            _ if [
                "server",
                "tablespace",
                "logfile",
                "undo",
                "resource",
                "instance",
            ]
            .iter()
            .any(|word| self.is_text(word)) =>
            {
                unread(self, StatementKind::AlterOther)
            }
            _ => Err(self.refuse("what to alter")),
        }
    }

    fn alter_defined(&mut self) -> Result<Read> {
        while !self.at_end() {
            match self.peek().term {
                Term::View => return self.view(StatementKind::AlterView),
                Term::Event => {
                    self.skip_body();
                    return Ok((StatementKind::AlterEvent, Body::Recognised));
                }
                Term::As => break,
                _ => {
                    self.bump();
                }
            }
        }
        Err(self.refuse("VIEW or EVENT"))
    }

    fn alter_table(&mut self) -> Result<Read> {
        if self.mariadb {
            self.if_exists();
        }
        self.mention_next(MentionRole::Altered)?;
        while !self.at_end() {
            self.alter_action()?;
            // Table options and partitioning need no comma.
            self.comma();
        }
        Ok((StatementKind::AlterTable, Body::Recognised))
    }

    /// One action, up to its comma, with the tables it names.
    fn alter_action(&mut self) -> Result<()> {
        let known = ACTIONS.iter().any(|word| self.is_text(word));
        let by_plugin = self.mariadb && self.is_ident();
        if !known && !by_plugin {
            return Err(self.refuse("an action of ALTER TABLE"));
        }
        if self.is(Term::Rename) {
            return self.rename_action();
        }
        if self.take_both(Term::Order, Term::By) {
            self.list(Self::order_item)?;
            return Ok(());
        }
        if self.take_texts(&["exchange", "partition"]) {
            self.ident()?;
            self.require(Term::With)?;
            self.require(Term::Table)?;
            self.mention_next(MentionRole::Altered)?;
            return self.skip_to_comma();
        }
        if self.is_text("union") {
            self.bump();
            self.take_kind(TokenKind::Equal);
            self.open()?;
            self.mention_list(MentionRole::Referenced)?;
            return self.close();
        }
        if self.is_text("convert") && self.is_text_at(1, "table") {
            self.pos += 2;
            self.mention_next(MentionRole::Dropped)?;
            return self.skip_to_comma();
        }
        if self.is_at(1, Term::Partition) {
            // Names of partitions have commas of their own, and no other action follows.
            self.skip_rest();
            return Ok(());
        }
        self.action_to_comma()
    }

    /// `RENAME [TO | AS] t`, or of a column or key.
    fn rename_action(&mut self) -> Result<()> {
        self.bump();
        let part = matches!(self.peek().term, Term::Column | Term::Index | Term::Key);
        if part {
            return self.skip_to_comma();
        }
        if self.take_any(&[Term::To, Term::As]).is_none() {
            self.take_kind(TokenKind::Equal);
        }
        self.mention_next(MentionRole::RenamedTo)
    }

    /// An action whose only table can be the one of a foreign key.
    fn action_to_comma(&mut self) -> Result<()> {
        while !self.at_end() && !self.is_kind(TokenKind::Comma) {
            match self.peek().kind {
                TokenKind::Open => {
                    let close = self.after_parenthesis_index()?;
                    self.references_until(close)?;
                    self.pos = close;
                }
                TokenKind::Close => return Err(self.refuse("the end of the action")),
                _ if self.is(Term::References) => self.references_table()?,
                _ => {
                    self.bump();
                }
            }
        }
        Ok(())
    }

    fn after_parenthesis_index(&self) -> Result<usize> {
        match (self.peek().aux as usize).checked_sub(1) {
            Some(close) => Ok(close + 1),
            None => Err(self.refuse("a closed parenthesis")),
        }
    }

    fn references_until(&mut self, end: usize) -> Result<()> {
        while self.pos < end && !self.at_end() {
            if self.is(Term::References) {
                self.references_table()?;
            } else {
                self.bump();
            }
        }
        Ok(())
    }

    fn references_table(&mut self) -> Result<()> {
        self.bump();
        let name = self.name(2)?;
        let role = MentionRole::Referenced;
        self.add(TableMention {
            name,
            alias: None,
            role,
        });
        Ok(())
    }
}
