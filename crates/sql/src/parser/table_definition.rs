//! CREATE TABLE: columns, keys, options, LIKE and SELECT.
//!
//! Owns the definitions. Must never take a key for a column, nor lose the query at the end.

use super::head::Read;
use super::{Reader, Result, StatementKind};
use crate::ast::{
    Body, ColumnDefinition, CreateTable, Id, KeyDefinition, KeyKind, List, MentionRole, Name,
    Query, TableName,
};
use crate::lexer::{Span, TokenKind};
use crate::words::Term;

impl Reader<'_> {
    /// CREATE TABLE after its keyword.
    pub(super) fn create_table(&mut self) -> Result<Read> {
        self.if_not_exists();
        let table = self.base_table_name()?;
        if let Some(node) = self.ast.table_names.node(table) {
            let name = node.name;
            self.mention(name, MentionRole::Created);
        }
        let here = self.span_from(self.start()).end;
        let nothing = Span {
            start: here,
            end: here,
        };
        let mut create = CreateTable {
            table,
            columns: List::default(),
            keys: List::default(),
            elements_span: nothing,
            options_span: nothing,
            like: None,
            query: None,
        };
        if !self.create_like(&mut create)? {
            let start = self.start();
            if self.is_kind(TokenKind::Open) && !self.is_query_at(1) && !self.opens_query() {
                self.elements(&mut create)?;
                create.elements_span = self.span_from(start);
            }
            self.table_options(&mut create)?;
            create.query = self.filling_query()?;
        }
        let create = self.add(create);
        Ok((StatementKind::CreateTable, Body::CreateTable(create)))
    }

    /// Whether several parentheses open before a query.
    fn opens_query(&self) -> bool {
        let mut ahead = 0;
        while self.peek_at(ahead).kind == TokenKind::Open && ahead < 8 {
            ahead += 1;
        }
        ahead > 1 && self.is_query_at(ahead)
    }

    /// `LIKE t`, `(LIKE t)`.
    fn create_like(&mut self, create: &mut CreateTable) -> Result<bool> {
        let parenthesised = self.is_kind(TokenKind::Open) && self.is_at(1, Term::Like);
        if parenthesised {
            self.bump();
        }
        if !self.take(Term::Like) {
            return Ok(false);
        }
        create.like = Some(self.mentioned_table(MentionRole::Read)?);
        if parenthesised {
            self.close()?;
        }
        Ok(true)
    }

    fn mentioned_table(&mut self, role: MentionRole) -> Result<Id<TableName>> {
        let table = self.base_table_name()?;
        if let Some(node) = self.ast.table_names.node(table) {
            let name = node.name;
            self.mention(name, role);
        }
        Ok(table)
    }

    fn filling_query(&mut self) -> Result<Option<Id<Query>>> {
        self.take_any(&[Term::Ignore, Term::Replace]);
        self.take(Term::As);
        if self.at_end() {
            return Ok(None);
        }
        self.query().map(Some)
    }

    fn elements(&mut self, create: &mut CreateTable) -> Result<()> {
        self.open()?;
        let columns = self.mark::<ColumnDefinition>();
        let keys = self.mark::<KeyDefinition>();
        loop {
            match self.key_kind() {
                Some(kind) => {
                    let key = self.key_definition(kind)?;
                    self.hold(key);
                }
                None => {
                    let column = self.column_definition()?;
                    self.hold(column);
                }
            }
            if !self.comma() {
                break;
            }
        }
        create.columns = self.seal(columns);
        create.keys = self.seal(keys);
        self.close()
    }

    /// Which key or constraint begins here; none for a column.
    fn key_kind(&self) -> Option<KeyKind> {
        let named = self.is(Term::Constraint);
        let mut ahead = usize::from(named);
        let is_start = |ahead: usize| {
            matches!(
                self.peek_at(ahead).term,
                Term::Primary | Term::Unique | Term::Foreign | Term::Check
            )
        };
        if named && !is_start(ahead) {
            ahead += 1;
        }
        let indexes = |ahead: usize| matches!(self.peek_at(ahead).term, Term::Index | Term::Key);
        Some(match self.peek_at(ahead).term {
            Term::Primary => KeyKind::Primary,
            Term::Unique => KeyKind::Unique,
            Term::Foreign => KeyKind::Foreign,
            Term::Check => KeyKind::Check,
            Term::Index | Term::Key => KeyKind::Index,
            Term::Fulltext => KeyKind::Fulltext,
            Term::Spatial => KeyKind::Spatial,
            Term::Vector if indexes(ahead + 1) => KeyKind::Vector,
            Term::Period if self.mariadb && self.is_at(ahead + 1, Term::For) => KeyKind::Period,
            _ => return None,
        })
    }

    /// `[CONSTRAINT c] UNIQUE KEY k (a, b(10)) …`.
    fn key_definition(&mut self, kind: KeyKind) -> Result<KeyDefinition> {
        let start = self.start();
        let mut name = None;
        if self.take(Term::Constraint) && self.is_ident() {
            name = Some(self.ident()?);
        }
        self.bump();
        match kind {
            KeyKind::Primary | KeyKind::Foreign => self.require(Term::Key)?,
            KeyKind::Check | KeyKind::Index => {}
            KeyKind::Period => self.require(Term::For)?,
            _ => {
                self.take_any(&[Term::Index, Term::Key]);
            }
        }
        let mut columns = List::default();
        let mut references = None;
        if kind == KeyKind::Check {
            self.skip_parenthesised()?;
            self.enforcement();
        } else {
            if self.mariadb {
                self.if_not_exists();
            }
            if self.is_ident() && !self.is_text("type") {
                name = Some(self.ident()?);
            }
            self.index_type()?;
            columns = self.key_parts()?;
            if kind == KeyKind::Foreign {
                references = Some(self.references()?);
            } else {
                self.skip_to_comma()?;
            }
        }
        Ok(KeyDefinition {
            span: self.span_from(start),
            kind,
            name,
            columns,
            references,
        })
    }

    /// `(a(10) DESC, (b + 1))`: the columns among the parts.
    fn key_parts(&mut self) -> Result<List<Name>> {
        self.open()?;
        let mark = self.mark::<Name>();
        loop {
            if self.is_kind(TokenKind::Open) {
                self.skip_parenthesised()?;
            } else {
                let name = self.simple_name()?;
                self.hold(name);
                if self.is_kind(TokenKind::Open) {
                    self.skip_parenthesised()?;
                }
            }
            self.take_any(&[Term::Asc, Term::Desc]);
            if self.mariadb && self.take(Term::Without) {
                self.take(Term::Overlaps);
            }
            if !self.comma() {
                break;
            }
        }
        let columns = self.seal(mark);
        self.close()?;
        Ok(columns)
    }

    /// `REFERENCES t (a) ON DELETE CASCADE …`.
    fn references(&mut self) -> Result<Id<TableName>> {
        self.require(Term::References)?;
        let table = self.mentioned_table(MentionRole::Referenced)?;
        if self.is_kind(TokenKind::Open) {
            self.skip_parenthesised()?;
        }
        loop {
            if self.take(Term::Match) {
                self.bump();
            } else if self.is(Term::On)
                && matches!(self.peek_at(1).term, Term::Delete | Term::Update)
            {
                self.pos += 2;
                let action = self.take_any(&[Term::Restrict, Term::Cascade]).is_some()
                    || self.take_texts(&["set", "null"])
                    || self.take_texts(&["set", "default"])
                    || self.take_texts(&["no", "action"]);
                if !action {
                    return Err(self.refuse("RESTRICT, CASCADE, SET NULL or NO ACTION"));
                }
            } else {
                return Ok(table);
            }
        }
    }

    fn enforcement(&mut self) {
        if !self.take_texts(&["not", "enforced"]) {
            self.take(Term::Enforced);
        }
    }

    fn column_definition(&mut self) -> Result<ColumnDefinition> {
        let start = self.start();
        if self.mariadb {
            self.if_not_exists();
        }
        let name = self.ident()?;
        let serial = self.is_text("serial");
        let data_type = self.column_type()?;
        let mut column = ColumnDefinition {
            span: data_type,
            name,
            data_type,
            not_null: serial,
            auto_increment: serial,
            primary: false,
            unique: serial,
            default: None,
            generated: None,
        };
        while !matches!(self.peek().kind, TokenKind::Comma | TokenKind::Close) && !self.at_end() {
            self.column_attribute(&mut column)?;
        }
        column.span = self.span_from(start);
        Ok(column)
    }

    fn column_attribute(&mut self, column: &mut ColumnDefinition) -> Result<()> {
        match self.peek().term {
            Term::Not if self.is_at(1, Term::Null) => {
                self.pos += 2;
                column.not_null = true;
            }
            Term::Null
            | Term::Visible
            | Term::Invisible
            | Term::Virtual
            | Term::Stored
            | Term::Enforced => {
                self.bump();
            }
            Term::Not => {
                self.bump();
                self.require(Term::Enforced)?;
            }
            Term::Default => {
                self.bump();
                column.default = Some(self.default_value()?);
            }
            Term::AutoIncrement => {
                self.bump();
                column.auto_increment = true;
            }
            Term::Primary | Term::Key => {
                self.take(Term::Primary);
                self.require(Term::Key)?;
                column.primary = true;
                column.not_null = true;
            }
            Term::Unique => {
                self.bump();
                self.take(Term::Key);
                column.unique = true;
            }
            Term::Generated | Term::As => {
                if self.take(Term::Generated) {
                    self.require(Term::Always)?;
                }
                self.require(Term::As)?;
                column.generated = Some(match self.take(Term::Row) {
                    // MariaDB's system versioning: ROW START, ROW END.
                    true => self.bump().span,
                    false => self.skip_parenthesised()?,
                });
            }
            Term::Constraint | Term::Check => {
                if !self.mariadb && self.take(Term::Constraint) && self.is_ident() {
                    self.bump();
                }
                self.require(Term::Check)?;
                self.skip_parenthesised()?;
                self.enforcement();
            }
            Term::References => {
                self.references()?;
            }
            _ => self.column_option()?,
        }
        Ok(())
    }

    /// Attributes of a column that are a word and a value.
    fn column_option(&mut self) -> Result<()> {
        if self.take(Term::Comment) {
            self.text()?;
        } else if self.take(Term::Collate) {
            self.charset_name()?;
        } else if self.take_both(Term::On, Term::Update) {
            self.expr_at(super::expr::SIMPLE)?;
        } else if self.take(Term::Srid) || self.take_text("ref_system_id") {
            self.take_kind(TokenKind::Equal);
            self.bump();
        } else if self.take(Term::Storage) || self.take_text("column_format") {
            self.bump();
        } else if self.take_text("engine_attribute") || self.take_text("secondary_engine_attribute")
        {
            self.take_kind(TokenKind::Equal);
            self.text()?;
        } else if self.take_text("using") {
            self.ident()?;
        } else if self.mariadb
            && (self.take_text("persistent")
                || self.take_texts(&["with", "system", "versioning"])
                || self.take_texts(&["without", "system", "versioning"]))
        {
        } else if self.charset_keyword() {
            self.charset_name()?;
        } else if self.mariadb && self.is_ident() && self.peek_at(1).kind == TokenKind::Equal {
            self.pos += 3;
        } else {
            return Err(self.refuse("an attribute of the column, a comma or )"));
        }
        Ok(())
    }

    /// A literal, a function, or an expression in parentheses.
    fn default_value(&mut self) -> Result<Span> {
        let start = self.start();
        if self.is_kind(TokenKind::Open) {
            return self.skip_parenthesised();
        }
        self.expr_at(super::expr::SIMPLE)?;
        Ok(self.span_from(start))
    }

    /// Everything between the columns and the query.
    fn table_options(&mut self, create: &mut CreateTable) -> Result<()> {
        let start = self.start();
        let first = self.pos;
        loop {
            if self.mariadb && self.take_texts(&["with", "system", "versioning"]) {
                continue;
            }
            if self.at_end() || self.is_query_at(0) {
                break;
            }
            let query_word = matches!(self.peek().term, Term::Ignore | Term::Replace | Term::As);
            let opens =
                self.is_kind(TokenKind::Open) && (self.is_query_at(1) || self.opens_query());
            if query_word || opens {
                break;
            }
            match self.peek().kind {
                TokenKind::Open => {
                    self.skip_parenthesised()?;
                }
                TokenKind::Close => break,
                _ if self.is(Term::Union) => {
                    self.bump();
                    self.take_kind(TokenKind::Equal);
                    self.open()?;
                    self.mention_list(MentionRole::Referenced)?;
                    self.close()?;
                }
                TokenKind::Word
                | TokenKind::QuotedName
                | TokenKind::Comma
                | TokenKind::Equal
                | TokenKind::Dot
                | TokenKind::String
                | TokenKind::HexLiteral
                | TokenKind::Number => {
                    self.bump();
                }
                _ => return Err(self.refuse("a table option or a query")),
            }
        }
        if self.pos > first {
            create.options_span = self.span_from(start);
        }
        Ok(())
    }
}
