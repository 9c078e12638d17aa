//! A reader over the tokens of one statement, for the statements whose parts matter.
//!
//! Owns skipping of comments and the end of the statement. Must never read past its `;`.

use crate::dialect::Dialect;
use crate::lexer::{Lexer, Span, Token, TokenKind};
use crate::literal;

/// Reads tokens one by one, with one token of look-ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    lexer: Lexer<'a>,
    current: Option<Token>,
}

impl<'a> Cursor<'a> {
    /// A cursor at the next token of `lexer`.
    pub(crate) fn new(lexer: Lexer<'a>) -> Self {
        let mut cursor = Self {
            lexer,
            current: None,
        };
        cursor.load();
        cursor
    }

    fn load(&mut self) {
        self.current = self
            .lexer
            .by_ref()
            .find(|token| !token.kind.is_trivia())
            .filter(|token| token.kind != TokenKind::Semicolon);
    }

    pub(crate) fn sql(&self) -> &'a [u8] {
        self.lexer.sql()
    }

    pub(crate) fn dialect(&self) -> &Dialect {
        self.lexer.dialect()
    }

    /// The token to be read next.
    pub(crate) fn peek(&self) -> Option<Token> {
        self.current
    }

    pub(crate) fn peek_kind(&self) -> Option<TokenKind> {
        self.current.map(|token| token.kind)
    }

    /// The token after the next one.
    pub(crate) fn peek_second(&self) -> Option<Token> {
        let mut ahead = *self;
        ahead.advance();
        ahead.current
    }

    pub(crate) fn advance(&mut self) -> Option<Token> {
        let token = self.current?;
        self.load();
        Some(token)
    }

    pub(crate) fn at_end(&self) -> bool {
        self.current.is_none()
    }

    pub(crate) fn bytes(&self, token: Token) -> &'a [u8] {
        token.span.of(self.sql())
    }

    /// Whether the next token is this word, letter case ignored.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.current.is_some_and(|token| self.token_is(token, word))
    }

    pub(crate) fn token_is(&self, token: Token, word: &str) -> bool {
        token.kind == TokenKind::Word && self.bytes(token).eq_ignore_ascii_case(word.as_bytes())
    }

    /// Reads the next token if it is this word.
    pub(crate) fn take_word(&mut self, word: &str) -> bool {
        let taken = self.is_word(word);
        if taken {
            self.advance();
        }
        taken
    }

    /// Reads these words if they all come next.
    pub(crate) fn take_words(&mut self, words: &[&str]) -> bool {
        let mut ahead = *self;
        for word in words {
            if !ahead.take_word(word) {
                return false;
            }
        }
        *self = ahead;
        true
    }

    /// Reads one of these words and tells which.
    pub(crate) fn take_any<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        let word = words.iter().find(|word| self.is_word(word))?;
        self.advance();
        Some(word)
    }

    pub(crate) fn take_kind(&mut self, kind: TokenKind) -> Option<Token> {
        self.current.filter(|token| token.kind == kind)?;
        self.advance()
    }

    /// Reads `IF EXISTS` or `IF NOT EXISTS`.
    pub(crate) fn take_if_exists(&mut self) {
        let _ = self.take_words(&["if", "not", "exists"]) || self.take_words(&["if", "exists"]);
    }

    /// Reads a name, quoted or not, and gives it without quotes.
    pub(crate) fn take_name(&mut self) -> Option<Box<str>> {
        let token = self.current.filter(|t| {
            matches!(
                t.kind,
                TokenKind::Word | TokenKind::QuotedName | TokenKind::Introducer
            )
        })?;
        self.advance();
        Some(name_of(token.kind, self.bytes(token)))
    }

    /// Reads a name or a string and gives its text.
    pub(crate) fn take_name_or_text(&mut self, dialect: &Dialect) -> Option<Box<str>> {
        if let Some(token) = self.take_kind(TokenKind::String) {
            let text = literal::decode(self.bytes(token), dialect)?;
            return Some(String::from_utf8_lossy(&text).into());
        }
        self.take_name()
    }

    /// Reads up to the next comma outside of parentheses, and gives the span of what was read; none when it is empty.
    pub(crate) fn take_expression(&mut self) -> Option<Expression> {
        let mut depth = 0u32;
        let mut whole: Option<Span> = None;
        let mut expression = Expression::default();
        while let Some(token) = self.current {
            match token.kind {
                TokenKind::Open => depth += 1,
                TokenKind::Close if depth == 0 => break,
                TokenKind::Close => depth -= 1,
                TokenKind::Comma if depth == 0 => break,
                TokenKind::Assign => expression.assigns = true,
                TokenKind::Equal => expression.equals = true,
                _ => {}
            }
            expression.tokens = expression.tokens.saturating_add(1);
            let start = whole.map_or(token.span.start, |span| span.start);
            whole = Some(Span {
                start,
                end: token.span.end,
            });
            self.advance();
        }
        expression.span = whole?;
        Some(expression)
    }
}

/// A run of tokens that stands for a value.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expression {
    pub(crate) span: Span,
    pub(crate) tokens: u32,
    /// A `:=` stands inside.
    pub(crate) assigns: bool,
    /// A `=` stands inside.
    pub(crate) equals: bool,
}

/// The text of a name token.
pub(crate) fn name_of(kind: TokenKind, bytes: &[u8]) -> Box<str> {
    match kind {
        TokenKind::QuotedName => {
            let name = literal::unquote_name(bytes);
            String::from_utf8_lossy(&name).into()
        }
        _ => String::from_utf8_lossy(bytes).into(),
    }
}
