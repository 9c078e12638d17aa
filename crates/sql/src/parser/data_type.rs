//! Data types, of casts and of columns.
//!
//! Owns their grammar as far as their end must be found. Must never take a clause of the column for a part of its type.

use super::{Reader, Result};
use crate::lexer::{Span, TokenKind};
use crate::words::Term;

impl Reader<'_> {
    /// The type in CAST, CONVERT and RETURNING.
    pub(super) fn cast_type(&mut self) -> Result<Span> {
        let start = self.start();
        let known = matches!(
            self.peek().term,
            Term::Signed
                | Term::Unsigned
                | Term::Char
                | Term::Character
                | Term::Nchar
                | Term::National
                | Term::Binary
                | Term::Date
                | Term::Datetime
                | Term::Time
                | Term::Decimal
                | Term::Dec
                | Term::Float
                | Term::Double
        );
        let plugin = match self.mariadb {
            true => self.is_ident() || self.is_mariadb_cast(),
            false => self.is_mysql_cast(),
        };
        if !known && !plugin {
            return Err(self.refuse("a type"));
        }
        let term = self.bump().term;
        if matches!(term, Term::Signed | Term::Unsigned) {
            self.take_any(&[Term::Integer, Term::Int]);
        }
        self.type_tail(term)?;
        if !self.mariadb {
            self.take(Term::Array);
        }
        Ok(self.span_from(start))
    }

    fn is_mariadb_cast(&self) -> bool {
        matches!(
            self.peek().term,
            Term::Varchar | Term::Varbinary | Term::Int | Term::Integer | Term::Interval
        )
    }

    fn is_mysql_cast(&self) -> bool {
        matches!(
            self.peek().term,
            Term::Year
                | Term::Real
                | Term::Json
                | Term::Point
                | Term::Linestring
                | Term::Polygon
                | Term::Multipoint
                | Term::Multilinestring
                | Term::Multipolygon
                | Term::Geometrycollection
                | Term::Vector
        )
    }

    /// The type of a column. Any name may be one: MariaDB has types from plugins.
    pub(super) fn column_type(&mut self) -> Result<Span> {
        let start = self.start();
        if self.peek().kind != TokenKind::Word || self.at_end() {
            return Err(self.refuse("a type"));
        }
        let not_a_type = matches!(
            self.peek().term,
            Term::Not | Term::Null | Term::Default | Term::Primary | Term::Unique | Term::Key
        );
        if not_a_type {
            return Err(self.refuse("a type"));
        }
        let term = self.bump().term;
        self.type_tail(term)?;
        Ok(self.span_from(start))
    }

    /// What follows the first word of a type.
    fn type_tail(&mut self, first: Term) -> Result<()> {
        match first {
            Term::Double => {
                self.take(Term::Precision);
            }
            Term::National => {
                self.take_any(&[Term::Char, Term::Character, Term::Varchar]);
                self.take(Term::Varying);
            }
            Term::Char | Term::Character | Term::Nchar => {
                self.take_any(&[Term::Varying, Term::Varchar]);
            }
            Term::Long => {
                self.take_any(&[Term::Varchar, Term::Varbinary, Term::Char]);
                self.take(Term::Varying);
            }
            Term::Interval => {
                self.take(Term::DaySecond);
            }
            _ => {}
        }
        if self.is_kind(TokenKind::Open) {
            self.skip_parenthesised()?;
        }
        self.type_attributes()
    }

    fn type_attributes(&mut self) -> Result<()> {
        loop {
            if self
                .take_any(&[Term::Unsigned, Term::Signed, Term::Zerofill, Term::Binary])
                .is_some()
                || self.take_text("ascii")
                || self.take_text("unicode")
                || self.take_text("byte")
                || self.take_text("compressed")
            {
                continue;
            }
            if self.charset_keyword() {
                self.charset_name()?;
            } else {
                return Ok(());
            }
        }
    }

    /// `CHARACTER SET`, `CHAR SET` or `CHARSET`.
    pub(super) fn charset_keyword(&mut self) -> bool {
        self.take(Term::Charset)
            || self.take_both(Term::Character, Term::Set)
            || self.take_both(Term::Char, Term::Set)
    }
}
