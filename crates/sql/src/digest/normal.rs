//! Tokens to pieces: what a literal is, what a list is, which row repeats.
//!
//! Owns the rules of normalisation. Must see every token that is not trivia, in order, once.

use super::{Piece, Sink};
use crate::dialect::Dialect;
use crate::lexer::{Chars, Lexer, TokenKind};
use crate::words::{Keyword, Word};

/// Feeds a sink with the normalised pieces of a token stream.
pub(crate) struct Normalizer<S: Sink> {
    sink: S,
    last: Last,
    last_keyword: Keyword,
    soft: bool,
    statement_start: bool,
    pending_semicolon: bool,
    sign: Option<S::Mark>,
    /// The mark before the last name, while it may turn out to be a built-in function.
    name: Option<S::Mark>,
    list: Option<List<S::Mark>>,
    rows: Option<Rows<S>>,
    depth: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Start,
    /// Something a binary operator may follow.
    Operand,
    Text,
    Sign,
    Open,
    Comma,
    Dot,
    Other,
}

/// A parenthesis that has held nothing but literals so far.
#[derive(Debug, Clone, Copy)]
struct List<M> {
    before: M,
    expects_value: bool,
}

/// The rows of `VALUES (…), (…)` or of `IN ((…), (…))`.
struct Rows<S: Sink> {
    depth: u32,
    /// Mark at the start of the row that is open.
    open: Option<S::Mark>,
    /// The row before, with the mark right after it.
    done: Option<(S::Mark, S::Row)>,
}

impl<S: Sink> Normalizer<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self {
            sink,
            last: Last::Start,
            last_keyword: Keyword::None,
            soft: false,
            statement_start: true,
            pending_semicolon: false,
            sign: None,
            name: None,
            list: None,
            rows: None,
            depth: 0,
        }
    }

    pub(crate) fn into_sink(self) -> S {
        self.sink
    }

    /// Takes a `;`: before the next token of any other kind, [`Normalizer::separate_statements`] is due.
    pub(crate) fn semicolon(&mut self) {
        self.pending_semicolon = true;
        self.statement_start = true;
    }

    /// Whether a `;` came and no token after it.
    #[inline(always)]
    pub(crate) fn separates(&self) -> bool {
        self.pending_semicolon
    }

    /// Takes a token that has no function of its own here.
    pub(crate) fn token(&mut self, kind: TokenKind, bytes: &[u8]) {
        let chars = Chars::of(bytes);
        match kind {
            TokenKind::Semicolon => self.semicolon(),
            TokenKind::QuotedName => self.name(Chars::of(unquoted(bytes))),
            TokenKind::Introducer => {}
            TokenKind::Operator if matches!(bytes, b"-" | b"+") => self.sign(chars),
            TokenKind::SystemVariable => self.plain(Piece::Keyword(chars), Last::Operand),
            TokenKind::UserVariable => self.plain(Piece::Symbol(chars), Last::Operand),
            kind if kind.is_literal() => self.literal(kind),
            _ => self.plain(Piece::Symbol(chars), Last::Other),
        }
    }

    /// Takes an optimizer hint, its marks included. To what stands around it, it is not there.
    #[cold]
    pub(crate) fn hint(&mut self, hint: &[u8], dialect: &Dialect) {
        let inner = hint.get(HINT_OPEN.len()..).unwrap_or_default();
        let inner = inner.strip_suffix(HINT_CLOSE).unwrap_or(inner);
        self.sink.put_hint(Piece::Symbol(Chars::of(HINT_OPEN)));
        let mut tokens = Lexer::new(inner, dialect).peekable();
        while let Some(token) = tokens.next() {
            let bytes = token.span.of(inner);
            let calls = tokens.peek().is_some_and(|t| t.kind == TokenKind::Open);
            self.sink.put_hint(match token.kind {
                TokenKind::Word if calls => Piece::Keyword(Chars::of(bytes)),
                TokenKind::Word => Piece::Name(Chars::of(bytes)),
                TokenKind::QuotedName => Piece::Name(Chars::of(unquoted(bytes))),
                kind if kind.is_literal() => Piece::Value,
                // What would be a comment elsewhere is none here.
                _ => Piece::Symbol(Chars::of(bytes.trim_ascii())),
            });
        }
        self.sink.put_hint(Piece::Symbol(Chars::of(HINT_CLOSE)));
    }

    /// The name just taken is a call of a built-in function: its letter case does not count.
    #[inline]
    pub(crate) fn name_is_function(&mut self, kind: Option<TokenKind>, bytes: &[u8]) {
        if let Some(mark) = self.name.take() {
            self.sink.reset(mark);
            self.sink.put(Piece::Keyword(Chars::of(match kind {
                Some(TokenKind::QuotedName) => unquoted(bytes),
                _ => bytes,
            })));
        }
    }

    /// A statement begins after a `;`.
    #[cold]
    pub(crate) fn separate_statements(&mut self) {
        self.pending_semicolon = false;
        self.list = None;
        self.rows = None;
        self.depth = 0;
        if self.last != Last::Start {
            self.sink.put(Piece::Symbol(SEMICOLON));
        }
        self.last = Last::Start;
    }

    /// Takes a word, of which this is known.
    #[inline(always)]
    pub(crate) fn word(&mut self, chars: Chars<'_>, word: Word) {
        if self.statement_start {
            self.statement_start = false;
            self.soft = is_soft_statement(word.keyword);
        }
        if self.last == Last::Dot || !word.folds(self.soft) {
            return self.name(chars);
        }
        if word.keyword == Keyword::Null && self.takes_value() {
            return self.literal(TokenKind::Number);
        }
        let rows_follow = match word.keyword {
            // `VALUES` after `=`, `,` or an operator is the function of ON DUPLICATE KEY UPDATE.
            Keyword::Values | Keyword::Value => matches!(self.last, Last::Operand | Last::Start),
            Keyword::Row => self.last_keyword == Keyword::Values,
            _ => false,
        };
        if rows_follow {
            self.start_rows();
        } else if word.keyword != Keyword::Row {
            self.interrupt_rows();
        }
        self.emit(Piece::Keyword(chars), last_of(word.keyword));
        self.last_keyword = word.keyword;
    }

    fn start_rows(&mut self) {
        self.rows = Some(Rows {
            depth: self.depth,
            open: None,
            done: None,
        });
    }

    /// Anything but a comma between two rows ends the list of rows.
    #[inline]
    fn interrupt_rows(&mut self) {
        if let Some(rows) = &self.rows
            && rows.open.is_none()
        {
            self.rows = None;
        }
    }

    /// Whether NULL here is a value: `= NULL`, `(NULL`, `, NULL`; not `IS NULL`, `NOT NULL`, `DEFAULT NULL`.
    fn takes_value(&self) -> bool {
        matches!(self.last, Last::Open | Last::Comma)
            || (self.last == Last::Other && self.last_keyword == Keyword::None)
    }

    #[inline(always)]
    fn name(&mut self, chars: Chars<'_>) {
        let mark = self.sink.mark();
        self.plain(Piece::Name(chars), Last::Operand);
        self.name = Some(mark);
    }

    /// Takes a `.`.
    #[inline(always)]
    pub(crate) fn dot(&mut self) {
        self.plain(Piece::Symbol(DOT), Last::Dot);
    }

    /// Takes an `=`.
    #[inline(always)]
    pub(crate) fn equal(&mut self) {
        self.plain(Piece::Symbol(EQUAL), Last::Other);
    }

    #[inline(always)]
    fn plain(&mut self, piece: Piece<'_>, last: Last) {
        self.interrupt_rows();
        self.emit(piece, last);
    }

    #[inline(always)]
    fn emit(&mut self, piece: Piece<'_>, last: Last) {
        self.statement_start = false;
        self.list = None;
        self.sign = None;
        self.name = None;
        self.last_keyword = Keyword::None;
        self.sink.put(piece);
        self.last = last;
    }

    /// Takes a literal or a parameter.
    #[inline(always)]
    pub(crate) fn literal(&mut self, kind: TokenKind) {
        let text = matches!(kind, TokenKind::String | TokenKind::NationalString);
        if text && self.last == Last::Text {
            return;
        }
        self.interrupt_rows();
        if let Some(mark) = self.sign.take()
            && kind == TokenKind::Number
        {
            self.sink.reset(mark);
        }
        self.name = None;
        self.last_keyword = Keyword::None;
        self.statement_start = false;
        match &mut self.list {
            Some(list) if list.expects_value => list.expects_value = false,
            _ => self.list = None,
        }
        self.sink.put(Piece::Value);
        self.last = if text { Last::Text } else { Last::Operand };
    }

    fn sign(&mut self, chars: Chars<'_>) {
        let unary = !matches!(self.last, Last::Operand | Last::Text);
        let mark = self.sink.mark();
        let earlier = self.sign;
        let list = self.list;
        self.plain(Piece::Symbol(chars), Last::Sign);
        if unary {
            self.sign = earlier.or(Some(mark));
            self.list = list;
        }
    }

    /// Takes a `(`.
    pub(crate) fn open(&mut self) {
        let nested = self.last == Last::Open && self.list.is_some_and(|list| list.expects_value);
        if nested && self.rows.as_ref().is_none_or(|rows| rows.open.is_none()) {
            // `IN ((1, 2), (3, 4))`: the inner parentheses are rows.
            self.start_rows();
        }
        let row_may_start = nested
            || self.last == Last::Comma
            || matches!(
                self.last_keyword,
                Keyword::Values | Keyword::Value | Keyword::Row
            );
        let mut listed = self.last_keyword == Keyword::In;
        match &mut self.rows {
            Some(rows) if row_may_start && rows.open.is_none() && rows.depth == self.depth => {
                rows.open = Some(self.sink.open_row());
                listed = true;
            }
            _ => self.interrupt_rows(),
        }
        let before = self.sink.mark();
        self.emit(Piece::Symbol(OPEN), Last::Open);
        self.list = listed.then_some(List {
            before,
            expects_value: true,
        });
        self.depth += 1;
    }

    /// Takes a `)`.
    pub(crate) fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        match self.list.take() {
            Some(list) if !list.expects_value => {
                self.sink.reset(list.before);
                self.emit(Piece::List, Last::Operand);
            }
            _ => self.emit(Piece::Symbol(CLOSE), Last::Operand),
        }
        let depth = self.depth;
        let Some(rows) = &mut self.rows else { return };
        if depth < rows.depth {
            self.rows = None;
        } else if depth == rows.depth
            && let Some(open) = rows.open.take()
        {
            let row = self.sink.close_row(open, rows.done.take());
            rows.done = Some((self.sink.mark(), row));
        }
    }

    /// Takes a `,`.
    #[inline(always)]
    pub(crate) fn comma(&mut self) {
        let mut list = self.list;
        match &mut list {
            Some(open) if !open.expects_value => open.expects_value = true,
            _ => list = None,
        }
        self.emit(Piece::Symbol(COMMA), Last::Comma);
        self.list = list;
    }
}

const HINT_OPEN: &[u8] = b"/*+";
const HINT_CLOSE: &[u8] = b"*/";
const COMMA: Chars<'static> = Chars::of(b",");
const DOT: Chars<'static> = Chars::of(b".");
const EQUAL: Chars<'static> = Chars::of(b"=");
const OPEN: Chars<'static> = Chars::of(b"(");
const CLOSE: Chars<'static> = Chars::of(b")");
const SEMICOLON: Chars<'static> = Chars::of(b";");

/// What a word leaves behind for the sign that may follow it.
fn last_of(keyword: Keyword) -> Last {
    match keyword {
        Keyword::Null | Keyword::End | Keyword::Default => Last::Operand,
        _ => Last::Other,
    }
}

/// Statements whose words are mostly keywords, so that folding them mixes up no tables.
fn is_soft_statement(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::Set
            | Keyword::Show
            | Keyword::Begin
            | Keyword::Start
            | Keyword::Commit
            | Keyword::Rollback
            | Keyword::Release
            | Keyword::Xa
            | Keyword::Flush
            | Keyword::Kill
            | Keyword::Unlock
            | Keyword::Lock
            | Keyword::Stop
            | Keyword::Reset
            | Keyword::Get
    )
}

fn unquoted(bytes: &[u8]) -> &[u8] {
    let inner = bytes.get(1..).unwrap_or_default();
    inner.split_last().map_or(inner, |(_, name)| name)
}
