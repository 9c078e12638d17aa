//! Function calls, with the argument syntax that some built-ins have of their own.
//!
//! Owns which syntax belongs to which function. Must never say that a function is built in when the server would look for
//! a stored one: by the blank before its parenthesis, by quotes, by a schema.

use super::expr::{BIT_EXPR, SIMPLE};
use super::tokens::Tok;
use super::{Reader, Result};
use crate::ast::{Call, CallKind, ExprId, ExprKind, Id, List, Name, OrderItem, Window};
use crate::lexer::{Span, TokenKind};
use crate::words::{self, Term};

/// Arguments as they are read.
#[derive(Default)]
struct Arguments {
    list: List<ExprId>,
    distinct: bool,
    order_by: List<OrderItem>,
}

impl Reader<'_> {
    /// A function whose name comes next.
    pub(super) fn call(&mut self) -> Result<ExprId> {
        let tok = self.peek();
        let word = words::lookup_grammar(tok.span.of(self.sql), self.dialect.flavor).word;
        let native = tok.kind == TokenKind::Word && word.is_native(self.dialect);
        if tok.kind == TokenKind::Word && !tok.is_ident() && !native {
            return Err(self.refuse("an expression"));
        }
        let open = self.peek_at(1);
        let adjacent = self.dialect.ignore_space || open.span.start == tok.span.end;
        let needs_adjacent = word.needs_adjacent_paren(self.dialect);
        if (!native || (needs_adjacent && !adjacent)) && tok.term != Term::Value {
            return self.unknown_call(tok);
        }
        match tok.term {
            Term::CurrentDate
            | Term::CurrentTime
            | Term::CurrentTimestamp
            | Term::CurrentUser
            | Term::CurrentRole
            | Term::Localtime
            | Term::Localtimestamp
            | Term::UtcDate
            | Term::UtcTime
            | Term::UtcTimestamp => self.optional_parentheses(),
            Term::Cast => self.cast(),
            Term::Convert => self.convert(),
            Term::Values | Term::Value => self.values_of(),
            term if is_aggregate(term) => self.aggregate(tok),
            term => self.built_in(tok, term),
        }
    }

    /// A built-in with plain arguments, or with its own syntax for them.
    fn built_in(&mut self, tok: Tok, term: Term) -> Result<ExprId> {
        self.bump();
        self.open()?;
        let list = match term {
            Term::Extract => {
                let unit = self.keyword(Self::interval_unit)?;
                self.require(Term::From)?;
                let date = self.expr()?;
                self.seal_all(&[unit, date])
            }
            Term::Position => {
                let needle = self.expr_at(BIT_EXPR)?;
                self.require(Term::In)?;
                let text = self.expr()?;
                self.seal_all(&[needle, text])
            }
            Term::Trim => self.trim_arguments()?,
            Term::Substr | Term::Substring | Term::Mid => self.substring_arguments()?,
            Term::Adddate | Term::Subdate | Term::DateAdd | Term::DateSub => {
                self.date_arguments()?
            }
            Term::Timestampadd | Term::Timestampdiff => {
                let unit = self.keyword(Self::interval_unit)?;
                self.require_comma()?;
                let first = self.expr()?;
                self.require_comma()?;
                let last = self.expr()?;
                self.seal_all(&[unit, first, last])
            }
            Term::GetFormat => {
                let kind = self.keyword(Self::temporal_type)?;
                self.require_comma()?;
                let style = self.expr()?;
                self.seal_all(&[kind, style])
            }
            Term::Char => {
                let list = self.list(Self::expr)?;
                if self.take(Term::Using) {
                    self.charset_name()?;
                }
                list
            }
            Term::WeightString => self.weight_string_arguments()?,
            Term::JsonValue => self.json_value_arguments()?,
            _ if self.is_kind(TokenKind::Close) => List::default(),
            _ if self.mariadb && self.is_dynamic_column(tok) => self.list(Self::typed_value)?,
            _ => self.list(Self::expr)?,
        };
        self.close()?;
        let kind = match is_window_function(term) {
            true => CallKind::Window,
            false => CallKind::BuiltIn,
        };
        let arguments = Arguments {
            list,
            ..Arguments::default()
        };
        self.finish_call(Name::simple(tok.span), kind, arguments)
    }

    /// MariaDB's COLUMN_CREATE and its like: their arguments may have types.
    fn is_dynamic_column(&self, tok: Tok) -> bool {
        const HEAD: &[u8] = b"column_";
        let name = tok.span.of(self.sql);
        name.get(..HEAD.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(HEAD))
    }

    fn typed_value(&mut self) -> Result<ExprId> {
        let value = self.expr()?;
        if self.take(Term::As) {
            self.cast_type()?;
        }
        Ok(value)
    }

    /// The function `INTERVAL(n, a, b)`, after its first comma.
    pub(super) fn interval_function(&mut self, name: Span, first: ExprId) -> Result<ExprId> {
        let mark = self.mark::<ExprId>();
        self.hold(first);
        loop {
            let bound = self.expr()?;
            self.hold(bound);
            if !self.comma() {
                break;
            }
        }
        let arguments = Arguments {
            list: self.seal(mark),
            ..Arguments::default()
        };
        self.close()?;
        self.finish_call(Name::simple(name), CallKind::BuiltIn, arguments)
    }

    fn require_comma(&mut self) -> Result<()> {
        match self.comma() {
            true => Ok(()),
            false => Err(self.refuse(",")),
        }
    }

    /// A word as argument.
    fn keyword(&mut self, read: impl FnOnce(&mut Self) -> Result<Span>) -> Result<ExprId> {
        let start = read(self)?.start;
        Ok(self.expr_node(start, ExprKind::Keyword))
    }

    fn temporal_type(&mut self) -> Result<Span> {
        match self.peek().term {
            Term::Date | Term::Time | Term::Datetime | Term::Timestamp => Ok(self.bump().span),
            _ => Err(self.refuse("DATE, TIME or DATETIME")),
        }
    }

    /// What stands after the closing parenthesis, and the node.
    fn finish_call(&mut self, name: Name, kind: CallKind, arguments: Arguments) -> Result<ExprId> {
        let start = name.span.start;
        let span = self.span_from(start);
        let mut order_by = arguments.order_by;
        if self.mariadb && self.take_texts(&["within", "group"]) {
            self.open()?;
            order_by = self.order_by()?.0;
            self.close()?;
        }
        let over: Option<Id<Window>> = match kind {
            CallKind::Aggregate | CallKind::Window => self.over()?,
            _ => None,
        };
        if kind == CallKind::Window && over.is_none() {
            return Err(self.refuse("over"));
        }
        let call = self.add(Call {
            name,
            kind,
            arguments: arguments.list,
            distinct: arguments.distinct,
            order_by,
            span,
            over,
            block: self.block,
        });
        Ok(self.expr_node(start, ExprKind::Call(call)))
    }

    fn unknown_call(&mut self, tok: Tok) -> Result<ExprId> {
        self.bump();
        self.schema_call(Name::simple(tok.span))
    }

    /// The arguments of a stored or loadable function, which may have aliases.
    pub(super) fn schema_call(&mut self, name: Name) -> Result<ExprId> {
        self.open()?;
        let mut arguments = Arguments::default();
        if !self.is_kind(TokenKind::Close) {
            arguments.list = self.list(|reader| {
                let expr = reader.expr()?;
                if reader.take(Term::As) || reader.is_ident() {
                    reader.ident_or_text()?;
                }
                Ok(expr)
            })?;
        }
        self.close()?;
        self.finish_call(name, CallKind::Unknown, arguments)
    }

    /// `CURRENT_TIMESTAMP`, `CURRENT_TIMESTAMP()`, `CURRENT_TIMESTAMP(6)`.
    fn optional_parentheses(&mut self) -> Result<ExprId> {
        let tok = self.bump();
        let mut arguments = Arguments::default();
        if self.take_kind(TokenKind::Open) {
            if self.is_kind(TokenKind::Number) {
                let start = self.bump().span.start;
                let literal = ExprKind::Literal(crate::ast::LiteralKind::Number);
                let digits = self.expr_node(start, literal);
                arguments.list = self.seal_all(&[digits]);
            }
            self.close()?;
        }
        self.finish_call(Name::simple(tok.span), CallKind::BuiltIn, arguments)
    }

    fn cast(&mut self) -> Result<ExprId> {
        let start = self.bump().span.start;
        self.open()?;
        let value = self.expr()?;
        if !self.mariadb && self.take_texts(&["at", "time", "zone"]) {
            self.take(Term::Interval);
            self.text()?;
        }
        self.require(Term::As)?;
        let data_type = self.cast_type()?;
        self.close()?;
        Ok(self.expr_node(start, ExprKind::Cast(value, data_type)))
    }

    fn convert(&mut self) -> Result<ExprId> {
        let start = self.bump().span.start;
        self.open()?;
        let value = self.expr()?;
        let kind = if self.take(Term::Using) {
            ExprKind::ConvertUsing(value, self.charset_name()?)
        } else {
            self.require_comma()?;
            ExprKind::Cast(value, self.cast_type()?)
        };
        self.close()?;
        Ok(self.expr_node(start, kind))
    }

    /// `VALUES(a)`: the value that would have been inserted.
    fn values_of(&mut self) -> Result<ExprId> {
        let tok = self.peek();
        if tok.term == Term::Value && !self.mariadb {
            return Err(self.refuse("an expression"));
        }
        self.bump();
        let column = self.parenthesised_column()?;
        Ok(self.expr_node(tok.span.start, ExprKind::ValuesOf(column)))
    }

    /// `COUNT(*)`, `SUM(DISTINCT a)`, `GROUP_CONCAT(a ORDER BY b SEPARATOR ',')`.
    fn aggregate(&mut self, tok: Tok) -> Result<ExprId> {
        self.bump();
        self.open()?;
        let mut arguments = Arguments::default();
        let start = self.start();
        if tok.term == Term::Count && self.is_star_at(0) {
            self.bump();
            let star = self.expr_node(start, ExprKind::Star);
            arguments.list = self.seal_all(&[star]);
        } else {
            arguments.distinct = self.take(Term::Distinct);
            if !arguments.distinct {
                self.take(Term::All);
            }
            let empty = tok.term == Term::JsonObjectagg && self.is_kind(TokenKind::Close);
            if !empty {
                arguments.list = self.list(Self::expr)?;
            }
        }
        if matches!(tok.term, Term::GroupConcat | Term::JsonArrayagg) {
            arguments.order_by = self.order_by()?.0;
            if self.take(Term::Separator) {
                self.string_like()?;
            }
            if self.mariadb {
                self.limit()?;
            }
        }
        self.close()?;
        self.finish_call(Name::simple(tok.span), CallKind::Aggregate, arguments)
    }

    /// A string, in any notation.
    pub(super) fn string_like(&mut self) -> Result<Span> {
        match self.peek().kind {
            TokenKind::String | TokenKind::HexLiteral | TokenKind::BitLiteral => {
                Ok(self.bump().span)
            }
            _ => Err(self.refuse("a string")),
        }
    }

    fn trim_arguments(&mut self) -> Result<List<ExprId>> {
        let side = self.take_any(&[Term::Leading, Term::Trailing, Term::Both]);
        if side.is_some() && self.take(Term::From) {
            let text = self.expr()?;
            return Ok(self.seal_all(&[text]));
        }
        let first = self.expr()?;
        if self.take(Term::From) {
            let text = self.expr()?;
            return Ok(self.seal_all(&[first, text]));
        }
        match side {
            Some(_) => Err(self.refuse("from")),
            None => Ok(self.seal_all(&[first])),
        }
    }

    fn substring_arguments(&mut self) -> Result<List<ExprId>> {
        let text = self.expr()?;
        let by_words = self.take(Term::From);
        if !by_words {
            self.require_comma()?;
        }
        let from = self.expr()?;
        let more = match by_words {
            true => self.take(Term::For),
            false => self.comma(),
        };
        if !more {
            return Ok(self.seal_all(&[text, from]));
        }
        let length = self.expr()?;
        Ok(self.seal_all(&[text, from, length]))
    }

    /// `(d, INTERVAL 1 DAY)`, and `(d, 5)` for ADDDATE and SUBDATE.
    fn date_arguments(&mut self) -> Result<List<ExprId>> {
        let date = self.expr()?;
        self.require_comma()?;
        let distance = match self.is(Term::Interval) {
            true => self.deeper(Self::interval)?,
            false => self.expr()?,
        };
        Ok(self.seal_all(&[date, distance]))
    }

    /// `WEIGHT_STRING(a AS CHAR(3))`.
    fn weight_string_arguments(&mut self) -> Result<List<ExprId>> {
        let text = self.expr()?;
        if self.take(Term::As) {
            match self.take_any(&[Term::Char, Term::Binary]) {
                Some(_) => self.skip_parenthesised()?,
                None => return Err(self.refuse("CHAR or BINARY")),
            };
        }
        let more = self.take_text("level") || self.comma();
        while more && !self.is_kind(TokenKind::Close) && !self.at_end() {
            self.bump();
        }
        Ok(self.seal_all(&[text]))
    }

    /// `JSON_VALUE(doc, path RETURNING type DEFAULT 0 ON EMPTY ERROR ON ERROR)`.
    fn json_value_arguments(&mut self) -> Result<List<ExprId>> {
        let document = self.expr()?;
        self.require_comma()?;
        let path = self.expr()?;
        if !self.mariadb {
            if self.take(Term::Returning) {
                self.cast_type()?;
            }
            self.on_empty_or_error()?;
        }
        Ok(self.seal_all(&[document, path]))
    }

    /// `{NULL | ERROR | DEFAULT v} ON {EMPTY | ERROR}`, up to twice.
    pub(super) fn on_empty_or_error(&mut self) -> Result<()> {
        for _ in 0..2 {
            if self.take(Term::Default) {
                self.expr_at(SIMPLE)?;
            } else if self.take_any(&[Term::Null, Term::Error]).is_none() {
                return Ok(());
            }
            self.require(Term::On)?;
            if self.take_any(&[Term::Empty, Term::Error]).is_none() {
                return Err(self.refuse("EMPTY or ERROR"));
            }
        }
        Ok(())
    }

    /// MariaDB's `NEXT VALUE FOR s` and `PREVIOUS VALUE FOR s`.
    pub(super) fn sequence_value(&mut self) -> Result<ExprId> {
        let start = self.start();
        self.pos += 3;
        let name = self.name(2)?;
        let call = self.add(Call {
            name,
            kind: CallKind::Sequence,
            arguments: List::default(),
            distinct: false,
            order_by: List::default(),
            span: self.span_from(start),
            over: None,
            block: self.block,
        });
        Ok(self.expr_node(start, ExprKind::Call(call)))
    }
}

fn is_aggregate(term: Term) -> bool {
    matches!(
        term,
        Term::Count
            | Term::Sum
            | Term::Avg
            | Term::Min
            | Term::Max
            | Term::BitAnd
            | Term::BitOr
            | Term::BitXor
            | Term::Std
            | Term::Stddev
            | Term::StddevPop
            | Term::StddevSamp
            | Term::VarPop
            | Term::VarSamp
            | Term::Variance
            | Term::GroupConcat
            | Term::JsonArrayagg
            | Term::JsonObjectagg
            | Term::AnyValue
            | Term::StCollect
            | Term::Median
            | Term::PercentileCont
            | Term::PercentileDisc
    )
}

fn is_window_function(term: Term) -> bool {
    matches!(
        term,
        Term::RowNumber
            | Term::Rank
            | Term::DenseRank
            | Term::PercentRank
            | Term::CumeDist
            | Term::Ntile
            | Term::Lag
            | Term::Lead
            | Term::FirstValue
            | Term::LastValue
            | Term::NthValue
    )
}
