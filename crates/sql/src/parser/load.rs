//! LOAD DATA, LOAD XML, LOAD INDEX, and the FIELDS and LINES that OUTFILE shares with them.
//!
//! Owns their grammar. Must never miss the table that is written.

use super::head::Read;
use super::{Reader, Result, StatementKind};
use crate::ast::{Body, List, LoadData, MentionRole};
use crate::lexer::TokenKind;
use crate::words::Term;

impl Reader<'_> {
    pub(super) fn load(&mut self) -> Result<Read> {
        self.bump();
        if self.take_texts(&["index", "into", "cache"]) {
            self.cached_indexes()?;
            return Ok((StatementKind::ServerAdmin, Body::Recognised));
        }
        if !self.take_text("data") && !self.take(Term::Xml) {
            return Err(self.refuse("DATA, XML or INDEX"));
        }
        self.take_any(&[Term::LowPriority, Term::Concurrent]);
        let local = self.take(Term::Local);
        // MySQL 9 has bulk loads from URLs and object stores.
        let source = self.take_text("from");
        if source || self.is(Term::Infile) {
            if !source {
                self.bump();
            }
            self.take_any(&[Term::Infile]);
            self.take_text("url");
            self.take_text("s3");
        }
        let file = self.string_like()?;
        self.take_any(&[Term::Replace, Term::Ignore]);
        self.require(Term::Into)?;
        self.require(Term::Table)?;
        let table = self.base_table_name()?;
        self.partitions()?;
        if self.charset_keyword() {
            self.charset_name()?;
        }
        self.rows_identified()?;
        self.fields_and_lines()?;
        if self.take(Term::Ignore) {
            self.bump();
            if self.take_any(&[Term::Lines, Term::Rows]).is_none() {
                return Err(self.refuse("LINES"));
            }
        }
        self.load_columns()?;
        let assignments = match self.take(Term::Set) {
            true => self.list(Self::assignment)?,
            false => List::default(),
        };
        let load = self.add(LoadData {
            file,
            local,
            table,
            assignments,
        });
        Ok((StatementKind::LoadData, Body::LoadData(load)))
    }

    fn rows_identified(&mut self) -> Result<()> {
        if self.take_texts(&["rows", "identified", "by"]) {
            self.string_like()?;
        }
        Ok(())
    }

    /// `FIELDS TERMINATED BY ',' … LINES STARTING BY 'x'`.
    pub(super) fn fields_and_lines(&mut self) -> Result<()> {
        if self.take_any(&[Term::Fields, Term::Columns]).is_some() {
            self.separators(&["terminated", "enclosed", "escaped"], true)?;
        }
        if self.take(Term::Lines) {
            self.separators(&["starting", "terminated"], false)?;
        }
        Ok(())
    }

    fn separators(&mut self, kinds: &[&str], optionally: bool) -> Result<()> {
        let mut seen = false;
        loop {
            let enclosed = optionally && self.take_texts(&["optionally", "enclosed"]);
            if !enclosed && !kinds.iter().any(|kind| self.take_text(kind)) {
                return match seen {
                    true => Ok(()),
                    false => Err(self.refuse("TERMINATED BY and its like")),
                };
            }
            seen = true;
            self.require(Term::By)?;
            self.string_like()?;
        }
    }

    /// `(a, @b)`.
    fn load_columns(&mut self) -> Result<()> {
        if !self.take_kind(TokenKind::Open) {
            return Ok(());
        }
        if self.take_kind(TokenKind::Close) {
            return Ok(());
        }
        loop {
            if !self.take_kind(TokenKind::UserVariable) {
                self.name(3)?;
            }
            if !self.comma() {
                break;
            }
        }
        self.close()
    }

    /// The tables of LOAD INDEX and CACHE INDEX.
    pub(super) fn cached_indexes(&mut self) -> Result<()> {
        loop {
            self.mention_next(MentionRole::Read)?;
            self.skip_to_comma()?;
            if !self.comma() {
                return Ok(());
            }
        }
    }
}
