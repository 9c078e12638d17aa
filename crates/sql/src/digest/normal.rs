//! Tokens to pieces: what a literal is, what a list is, which row repeats.
//!
//! Owns the rules of normalisation. Must see every token that is not trivia, in order, once.

use super::{Piece, Sink};
use crate::lexer::{Token, TokenKind};
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

    /// Takes one token; `word` is what is known of it when it is a word.
    #[inline]
    pub(crate) fn token(&mut self, token: Token, bytes: &[u8], word: Word) {
        if token.kind == TokenKind::Semicolon {
            self.pending_semicolon = true;
            self.statement_start = true;
            return;
        }
        if self.pending_semicolon {
            self.separate_statements();
        }
        match token.kind {
            TokenKind::Word => self.word(bytes, word),
            TokenKind::QuotedName => self.name(unquoted(bytes)),
            TokenKind::Introducer => {}
            TokenKind::Open => self.open(),
            TokenKind::Close => self.close(),
            TokenKind::Comma => self.comma(),
            TokenKind::Operator if matches!(bytes, b"-" | b"+") => self.sign(bytes),
            TokenKind::SystemVariable => self.plain(Piece::Keyword(bytes), Last::Operand),
            TokenKind::UserVariable => self.plain(Piece::Symbol(bytes), Last::Operand),
            TokenKind::Dot => self.plain(Piece::Symbol(bytes), Last::Dot),
            kind if kind.is_literal() => self.literal(kind),
            _ => self.plain(Piece::Symbol(bytes), Last::Other),
        }
    }

    /// The name just taken is a call of a built-in function: its letter case does not count.
    #[inline]
    pub(crate) fn name_is_function(&mut self, kind: Option<TokenKind>, bytes: &[u8]) {
        if let Some(mark) = self.name.take() {
            self.sink.reset(mark);
            self.sink.put(Piece::Keyword(match kind {
                Some(TokenKind::QuotedName) => unquoted(bytes),
                _ => bytes,
            }));
        }
    }

    fn separate_statements(&mut self) {
        self.pending_semicolon = false;
        self.list = None;
        self.rows = None;
        self.depth = 0;
        if self.last != Last::Start {
            self.sink.put(Piece::Symbol(b";"));
        }
        self.last = Last::Start;
    }

    #[inline]
    fn word(&mut self, bytes: &[u8], word: Word) {
        if self.statement_start {
            self.statement_start = false;
            self.soft = is_soft_statement(word.keyword);
        }
        if self.last == Last::Dot || !word.folds(self.soft) {
            return self.name(bytes);
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
        self.emit(Piece::Keyword(bytes), last_of(word.keyword));
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

    #[inline]
    fn name(&mut self, bytes: &[u8]) {
        self.statement_start = false;
        let mark = self.sink.mark();
        self.plain(Piece::Name(bytes), Last::Operand);
        self.name = Some(mark);
    }

    #[inline]
    fn plain(&mut self, piece: Piece<'_>, last: Last) {
        self.interrupt_rows();
        self.emit(piece, last);
    }

    #[inline]
    fn emit(&mut self, piece: Piece<'_>, last: Last) {
        self.statement_start = false;
        self.list = None;
        self.sign = None;
        self.name = None;
        self.last_keyword = Keyword::None;
        self.sink.put(piece);
        self.last = last;
    }

    #[inline]
    fn literal(&mut self, kind: TokenKind) {
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

    fn sign(&mut self, bytes: &[u8]) {
        let unary = !matches!(self.last, Last::Operand | Last::Text);
        let mark = self.sink.mark();
        let earlier = self.sign;
        let list = self.list;
        self.plain(Piece::Symbol(bytes), Last::Sign);
        if unary {
            self.sign = earlier.or(Some(mark));
            self.list = list;
        }
    }

    fn open(&mut self) {
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
        self.emit(Piece::Symbol(b"("), Last::Open);
        self.list = listed.then_some(List {
            before,
            expects_value: true,
        });
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        match self.list.take() {
            Some(list) if !list.expects_value => {
                self.sink.reset(list.before);
                self.emit(Piece::List, Last::Operand);
            }
            _ => self.emit(Piece::Symbol(b")"), Last::Operand),
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

    fn comma(&mut self) {
        let mut list = self.list;
        match &mut list {
            Some(open) if !open.expects_value => open.expects_value = true,
            _ => list = None,
        }
        self.emit(Piece::Symbol(b","), Last::Comma);
        self.list = list;
    }
}

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
