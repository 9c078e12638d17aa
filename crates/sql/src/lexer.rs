//! Statement text to tokens, as the server itself would cut it.
//!
//! Owns the boundaries of tokens: strings, names, numbers, variables, comments and executable comments, by dialect.
//! Must never fail, allocate or loop: any bytes give tokens, each at least one byte long, and what is not closed ends
//! at the end of the text with a flag. Its input is the client's text; keywords are the business of its readers.
//! The rules follow the server's `sql_lex.cc`, including the ones that look odd (`1e5`, `a.1b`, `--1`, `/*!99999`).

mod comment;
mod number;
mod quoted;

use crate::dialect::{Dialect, LexCharset};
use crate::eight;

/// A range of bytes in the statement text: `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes of the span; empty when the span does not belong to `sql`.
    pub fn of(self, sql: &[u8]) -> &[u8] {
        sql.get(self.start..self.end).unwrap_or_default()
    }
}

/// The bytes of a word or symbol, and the first eight of them as a number, which looking up and hashing begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chars<'a> {
    /// All of them.
    pub(crate) bytes: &'a [u8],
    /// The first eight, little-endian, zero after the last.
    pub(crate) head: u64,
}

impl<'a> Chars<'a> {
    #[inline]
    pub(crate) const fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            head: eight::short(bytes),
        }
    }
}

/// What a token is. Keywords are [`TokenKind::Word`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A keyword or an unquoted name.
    Word,
    /// A name in backquotes, or in double quotes under ANSI_QUOTES.
    QuotedName,
    /// `'…'` or `"…"`.
    String,
    /// `N'…'`.
    NationalString,
    /// `$$…$$` or `$tag$…$tag$`.
    DollarString,
    /// `_utf8mb4` and its like in front of a literal.
    Introducer,
    /// An integer, decimal or floating point number, without sign.
    Number,
    /// `x'4D'` or `0x4D`.
    HexLiteral,
    /// `b'01'` or `0b01`.
    BitLiteral,
    /// `@x`, `@'x'`, `` @`x` ``, or the `@host` of an account.
    UserVariable,
    /// `@@` and the one name that follows; further `.name` parts are tokens of their own.
    SystemVariable,
    /// `?`.
    Parameter,
    /// `:=`.
    Assign,
    /// `(`.
    Open,
    /// `)`.
    Close,
    /// `,`.
    Comma,
    /// `.`.
    Dot,
    /// `;`.
    Semicolon,
    /// `=`.
    Equal,
    /// Any other operator or stray byte.
    Operator,
    /// A comment the server does not run, line comments included.
    Comment,
    /// `/*+ … */`.
    Hint,
    /// `/*!`, `/*!NNNNN` or `/*M!NNNNN` of a comment the server runs; the code inside follows as ordinary tokens.
    ExecutableOpen,
    /// The `*/` that ends such a comment.
    ExecutableClose,
}

impl TokenKind {
    /// Whether the server's parser never sees this token.
    pub fn is_trivia(self) -> bool {
        matches!(
            self,
            Self::Comment | Self::Hint | Self::ExecutableOpen | Self::ExecutableClose
        )
    }

    /// Whether the token is a literal value or a parameter.
    pub fn is_literal(self) -> bool {
        matches!(
            self,
            Self::String
                | Self::NationalString
                | Self::DollarString
                | Self::Number
                | Self::HexLiteral
                | Self::BitLiteral
                | Self::Parameter
        )
    }
}

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes, quotes and markers included.
    pub span: Span,
    /// Its end was missing, or is not where the server might see it: the rest of the text cannot be trusted.
    pub unterminated: bool,
}

/// What came before a place in a text, as far as the tokens behind it hang on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    in_executable: bool,
    name_next: bool,
}

/// Cuts a statement text into tokens. Cheap to copy: a copy remembers a place in the text.
#[derive(Debug, Clone, Copy)]
pub struct Lexer<'a> {
    sql: &'a [u8],
    pos: usize,
    dialect: Dialect,
    in_executable: bool,
    name_next: bool,
    /// The charset needs no care outside of ASCII: the common case, decided once.
    plain: bool,
    // Of the token read last; its end is `pos`.
    start: usize,
    unterminated: bool,
}

impl<'a> Lexer<'a> {
    /// A lexer at the start of `sql`.
    pub fn new(sql: &'a [u8], dialect: &Dialect) -> Self {
        Self {
            sql,
            pos: 0,
            dialect: *dialect,
            in_executable: false,
            name_next: false,
            plain: dialect.charset == LexCharset::AsciiSafe,
            start: 0,
            unterminated: false,
        }
    }

    /// A lexer at a later place of `sql`, between two statements.
    pub(crate) fn starting_at(sql: &'a [u8], offset: usize, dialect: &Dialect) -> Self {
        Self {
            pos: offset,
            start: offset,
            ..Self::new(sql, dialect)
        }
    }

    /// What the lexer knows between two tokens, to go on from a like place of another text.
    pub fn mark(&self) -> Mark {
        Mark {
            in_executable: self.in_executable,
            name_next: self.name_next,
        }
    }

    /// Goes on at `offset`, as if it had come there with this mark.
    pub fn resume(&mut self, offset: usize, mark: Mark) {
        self.pos = offset;
        self.start = offset;
        self.in_executable = mark.in_executable;
        self.name_next = mark.name_next;
    }

    /// The whole text.
    pub fn sql(&self) -> &'a [u8] {
        self.sql
    }

    /// The dialect the text is read in.
    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Offset of the next byte to read.
    pub fn position(&self) -> usize {
        self.pos
    }

    /// Whether an executable comment is open here; at the end of the text this is a syntax error to the server.
    pub fn in_executable_comment(&self) -> bool {
        self.in_executable
    }

    #[inline(always)]
    fn byte(&self, pos: usize) -> Option<u8> {
        self.sql.get(pos).copied()
    }

    #[inline(always)]
    fn rest(&self, pos: usize) -> &'a [u8] {
        self.sql.get(pos..).unwrap_or_default()
    }

    #[inline]
    fn multi_byte(&self) -> bool {
        !matches!(
            self.dialect.charset,
            LexCharset::AsciiSafe | LexCharset::SingleByte
        )
    }

    #[inline(always)]
    fn skip_blanks(&mut self) {
        while let Some(byte) = self.byte(self.pos) {
            if !is_blank(byte) && (self.plain || !self.is_blank_by_charset(byte)) {
                break;
            }
            self.pos += 1;
        }
    }

    #[cold]
    fn is_blank_by_charset(&self, byte: u8) -> bool {
        self.dialect.charset == LexCharset::SingleByte && byte == 0xa0
    }

    /// The end of the run of name characters that starts at `pos`.
    #[inline(always)]
    fn word_end(&self, pos: usize) -> usize {
        if !self.plain {
            return self.word_end_by_charset(pos);
        }
        let mut end = pos;
        while let Some(eight) = eight::load(self.sql, end) {
            let run = eight::name_run(eight);
            end += run;
            if run < 8 {
                return end;
            }
        }
        let rest = self.rest(end);
        end + rest
            .iter()
            .position(|&b| !is_name_byte(b))
            .unwrap_or(rest.len())
    }

    /// The first eight bytes of the token read last, as [`Chars`] wants them.
    #[inline(always)]
    pub(crate) fn last_chars(&self) -> Chars<'a> {
        let bytes = self.sql.get(self.start..self.pos).unwrap_or_default();
        let head = match eight::load(self.sql, self.start) {
            Some(eight) => eight::first(eight, bytes.len()),
            None => eight::short(bytes),
        };
        Chars { bytes, head }
    }

    #[cold]
    fn word_end_by_charset(&self, mut pos: usize) -> usize {
        let single = self.dialect.charset == LexCharset::SingleByte;
        while let Some(byte) = self.byte(pos) {
            if !is_name_byte(byte) || (single && byte == 0xa0) {
                break;
            }
            pos += if byte < 0x80 {
                1
            } else {
                self.dialect.charset.char_len(self.rest(pos))
            };
        }
        pos
    }

    /// Reads the next token and gives its kind; [`Lexer::read_last`] has the rest. This is what the statement path uses: a
    /// token that is put together in pieces and copied costs more than reading it.
    #[inline(always)]
    pub(crate) fn step(&mut self) -> Option<TokenKind> {
        self.skip_blanks();
        let start = self.pos;
        let byte = self.byte(start)?;
        self.start = start;
        self.unterminated = false;
        if self.name_next && byte != b'.' {
            self.name_next = false;
            if is_name_byte(byte) {
                let end = self.word_end(start);
                return Some(self.word(TokenKind::Word, start, end));
            }
        }
        Some(self.token(start, byte))
    }

    /// The token that was read last, which is of this kind.
    #[inline]
    pub(crate) fn read_last(&self, kind: TokenKind) -> Token {
        Token {
            kind,
            span: Span {
                start: self.start,
                end: self.pos,
            },
            unterminated: self.unterminated,
        }
    }

    #[inline(always)]
    fn finish(&mut self, kind: TokenKind, start: usize, end: usize) -> TokenKind {
        self.start = start;
        self.pos = end;
        kind
    }

    fn finish_open(&mut self, kind: TokenKind, start: usize, end: usize) -> TokenKind {
        self.unterminated = true;
        self.finish(kind, start, end)
    }

    #[inline(always)]
    fn token(&mut self, start: usize, byte: u8) -> TokenKind {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | 0x80..=0xff => self.word_like(start, byte),
            b'0'..=b'9' => self.number_or_name(start),
            b'\'' => self.quoted_string(TokenKind::String, start, start, b'\''),
            b'"' if self.dialect.ansi_quotes => self.quoted_name(start, b'"'),
            b'"' => self.quoted_string(TokenKind::String, start, start, b'"'),
            b'`' => self.quoted_name(start, b'`'),
            b'@' => self.variable(start),
            b'(' => self.finish(TokenKind::Open, start, start + 1),
            b')' => self.finish(TokenKind::Close, start, start + 1),
            b',' => self.finish(TokenKind::Comma, start, start + 1),
            b';' => self.finish(TokenKind::Semicolon, start, start + 1),
            b'?' => self.finish(TokenKind::Parameter, start, start + 1),
            b'=' => self.finish(TokenKind::Equal, start, start + 1),
            b'.' => self.dot_or_number(start),
            b'#' => self.line_comment(start),
            b'-' if self.is_dash_comment(start) => self.line_comment(start),
            b'/' if self.byte(start + 1) == Some(b'*') => self.block_comment(start),
            b'*' if self.in_executable && self.byte(start + 1) == Some(b'/') => {
                self.in_executable = false;
                self.finish(TokenKind::ExecutableClose, start, start + 2)
            }
            _ => self.operator(start, byte),
        }
    }

    #[inline(always)]
    fn word_like(&mut self, start: usize, byte: u8) -> TokenKind {
        let special = match byte {
            b'n' | b'N' | b'x' | b'X' | b'b' | b'B' => self.byte(start + 1) == Some(b'\''),
            _ => matches!(byte, b'$' | b'_'),
        };
        if special && let Some(token) = self.special_word(start, byte) {
            return token;
        }
        let end = self.word_end(start);
        self.word(TokenKind::Word, start, end)
    }

    /// Words that may turn out to be literals or introducers, or not to be words in this charset.
    #[inline(never)]
    fn special_word(&mut self, start: usize, byte: u8) -> Option<TokenKind> {
        let quote_follows = self.byte(start + 1) == Some(b'\'');
        match byte {
            b'n' | b'N' if quote_follows => {
                Some(self.quoted_string(TokenKind::NationalString, start, start + 1, b'\''))
            }
            b'x' | b'X' if quote_follows => {
                Some(self.digits_in_quotes(TokenKind::HexLiteral, start))
            }
            b'b' | b'B' if quote_follows => {
                Some(self.digits_in_quotes(TokenKind::BitLiteral, start))
            }
            b'$' if self.dialect.has_dollar_quotes() => self.dollar_string(start),
            b'_' => {
                let end = self.word_end(start);
                let introduces = crate::words::is_introducer(Span { start, end }.of(self.sql));
                introduces.then(|| self.word(TokenKind::Introducer, start, end))
            }
            _ => None,
        }
    }

    #[inline(always)]
    fn word(&mut self, kind: TokenKind, start: usize, end: usize) -> TokenKind {
        // A token has at least one byte, whatever the charset makes of it.
        let end = end.max(start + 1);
        // `t.1b`: directly after `name.` digits start a name, not a number.
        self.name_next =
            self.byte(end) == Some(b'.') && self.byte(end + 1).is_some_and(is_name_byte);
        self.finish(kind, start, end)
    }

    fn dot_or_number(&mut self, start: usize) -> TokenKind {
        if !self.name_next && self.byte(start + 1).is_some_and(|b| b.is_ascii_digit()) {
            return self.fraction(start);
        }
        self.finish(TokenKind::Dot, start, start + 1)
    }

    #[inline(never)]
    fn variable(&mut self, start: usize) -> TokenKind {
        match self.byte(start + 1) {
            Some(b'@') => match self.byte(start + 2) {
                Some(b'`') => {
                    self.quoted_name(start + 2, b'`');
                    self.retag(TokenKind::SystemVariable, start)
                }
                _ => {
                    let end = self.word_end(start + 2);
                    self.word(TokenKind::SystemVariable, start, end)
                }
            },
            Some(b'`') => {
                self.quoted_name(start + 1, b'`');
                self.retag(TokenKind::UserVariable, start)
            }
            Some(quote @ b'"') if self.dialect.ansi_quotes => {
                self.quoted_name(start + 1, quote);
                self.retag(TokenKind::UserVariable, start)
            }
            Some(quote @ (b'\'' | b'"')) => {
                self.quoted_string(TokenKind::UserVariable, start, start + 1, quote)
            }
            _ => {
                let mut end = self.word_end(start + 1);
                while self.byte(end) == Some(b'.') {
                    end = self.word_end(end + 1);
                }
                self.finish(TokenKind::UserVariable, start, end)
            }
        }
    }

    /// The token read last is of this kind and starts here.
    fn retag(&mut self, kind: TokenKind, start: usize) -> TokenKind {
        self.start = start;
        kind
    }

    #[inline(never)]
    fn operator(&mut self, start: usize, byte: u8) -> TokenKind {
        let next = self.byte(start + 1);
        let third = self.byte(start + 2);
        let length = match (byte, next) {
            (b':', Some(b'=')) => return self.finish(TokenKind::Assign, start, start + 2),
            (b'<', Some(b'=')) if third == Some(b'>') => 3,
            (b'-', Some(b'>')) if third == Some(b'>') => 3,
            (b'<', Some(b'=' | b'>' | b'<'))
            | (b'>', Some(b'=' | b'>'))
            | (b'!', Some(b'='))
            | (b'&', Some(b'&'))
            | (b'|', Some(b'|'))
            | (b'-', Some(b'>')) => 2,
            _ => 1,
        };
        self.finish(TokenKind::Operator, start, start + length)
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    #[inline]
    fn next(&mut self) -> Option<Token> {
        let kind = self.step()?;
        Some(self.read_last(kind))
    }
}

const NAME: u8 = 1;
const BLANK: u8 = 2;

const BYTE_CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut byte = 0usize;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80 {
            table[byte] = NAME;
        } else if b == b' ' || (b >= 9 && b <= 13) {
            table[byte] = BLANK;
        }
        byte += 1;
    }
    table
};

#[inline]
pub(crate) fn is_name_byte(byte: u8) -> bool {
    BYTE_CLASS[usize::from(byte)] == NAME
}

#[inline]
pub(crate) fn is_blank(byte: u8) -> bool {
    BYTE_CLASS[usize::from(byte)] == BLANK
}
