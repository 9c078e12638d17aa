//! SHOW.
//!
//! Owns which tables a SHOW names. Must never accept a SHOW that neither server has.

use super::head::Read;
use super::{Reader, Result, StatementKind};
use crate::ast::{Body, ExprId, List, MentionRole};
use crate::words::Term;

/// What may follow SHOW, besides the forms that name tables. What follows these words is not read.
const SHOWN: &[&str] = &[
    "all",
    "analyze",
    "authors",
    "binary",
    "binlog",
    "character",
    "charset",
    "client_statistics",
    "collation",
    "contributors",
    "count",
    "create",
    "databases",
    "engine",
    "engines",
    "errors",
    "events",
    "explain",
    "function",
    "global",
    "grants",
    "index_statistics",
    "local",
    "locales",
    "master",
    "open",
    "package",
    "parse_tree",
    "plugins",
    "privileges",
    "procedure",
    "processlist",
    "profile",
    "profiles",
    "relaylog",
    "replica",
    "replicas",
    "schemas",
    "session",
    "slave",
    "slaves",
    "status",
    "storage",
    "table",
    "table_statistics",
    "tables",
    "triggers",
    "user_statistics",
    "user_variables",
    "variables",
    "warnings",
    "library",
    "wsrep_membership",
    "wsrep_status",
];

impl Reader<'_> {
    pub(super) fn show(&mut self) -> Result<Read> {
        self.bump();
        let read = |body| (StatementKind::Show, body);
        if self.is_text("parse_tree") {
            self.skip_rest();
            return Ok(read(Body::Recognised));
        }
        let extended = self.take_text("extended");
        let full = self.take(Term::Full);
        if self.take_any(&[Term::Columns, Term::Fields]).is_some() {
            return self.show_of_table().map(read);
        }
        let keys = self.take(Term::Index) || self.take_text("indexes") || self.take(Term::Keys);
        if !full && keys {
            return self.show_of_table().map(read);
        }
        if !full && !extended && self.take(Term::Create) {
            return self.show_create().map(read);
        }
        let listed = !full
            && (self.take_texts(&["table", "status"]) || self.take_texts(&["open", "tables"]));
        if listed
            || self.take(Term::Tables)
            || self.take_text("triggers")
            || self.take_text("events")
        {
            if self.takes_from() {
                self.ident()?;
            }
            return self.like_or_where().map(read);
        }
        if full && !self.is_text("processlist") {
            return Err(self.refuse("COLUMNS, TABLES or PROCESSLIST"));
        }
        if !SHOWN.iter().any(|word| self.is_text(word)) {
            return Err(self.refuse("what to show"));
        }
        if self.take_text("variables") || self.take_text("status") || self.take_text("databases") {
            return self.like_or_where().map(read);
        }
        // A WHERE may call functions and read tables; nothing else of these forms does.
        while !self.at_end() && !self.is(Term::Where) {
            self.bump();
        }
        self.like_or_where().map(read)
    }

    fn takes_from(&mut self) -> bool {
        self.take_any(&[Term::From, Term::In]).is_some()
    }

    /// `FROM t [FROM db] [LIKE … | WHERE …]`.
    fn show_of_table(&mut self) -> Result<Body> {
        if !self.takes_from() {
            return Err(self.refuse("FROM or IN"));
        }
        let mut name = self.name(2)?;
        if self.takes_from() {
            name.qualifier = Some(self.ident()?);
        }
        self.mention(name, MentionRole::Read);
        self.like_or_where()
    }

    fn show_create(&mut self) -> Result<Body> {
        if self.take_any(&[Term::Table, Term::View]).is_some() || self.take_text("sequence") {
            self.mention_next(MentionRole::Read)?;
        } else {
            let known = [
                "database",
                "schema",
                "procedure",
                "function",
                "trigger",
                "event",
                "user",
                "package",
                "server",
                "library",
            ];
            if !known.iter().any(|word| self.is_text(word)) {
                return Err(self.refuse("TABLE, VIEW, DATABASE or another object"));
            }
            self.skip_rest();
        }
        Ok(Body::Recognised)
    }

    fn like_or_where(&mut self) -> Result<Body> {
        if self.take(Term::Like) {
            self.text()?;
            return Ok(Body::Recognised);
        }
        let mark = self.mark::<ExprId>();
        if let Some(clause) = self.clause(Term::Where)? {
            self.hold(clause.expr);
        }
        let exprs: List<ExprId> = self.seal(mark);
        Ok(match exprs.is_empty() {
            true => Body::Recognised,
            false => Body::Expressions(exprs),
        })
    }
}
