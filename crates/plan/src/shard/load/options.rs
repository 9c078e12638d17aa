//! What a LOAD DATA says of its file: separators, the lines to skip, the list of columns.
//!
//! Owns the reading of the statement's words behind the table. Must never take a file that can be cut in two ways. Input: the
//! statement's tokens.

use dbmesh_sql::{Lexer, Span, Token, TokenKind, literal, variables};

use super::super::reason::LoadReason;
use super::super::scope::Scope;
use super::Field;
use super::records::Format;

/// What stands behind the table.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub charset: Option<String>,
    pub format: Format,
    pub skipped: u64,
    /// `IGNORE n LINES`.
    pub skip: Option<Span>,
    pub columns: Option<Vec<Field>>,
    /// Where the list of columns has its first, or would.
    pub list_at: Option<usize>,
    /// Where they end, or their table does: a list of columns may follow.
    pub end: usize,
}

/// The statement's tokens, and where the reading is.
struct Words<'a> {
    scope: &'a Scope<'a>,
    tokens: Vec<Token>,
    at: usize,
}

impl Words<'_> {
    fn token(&self, ahead: usize) -> Result<&Token, LoadReason> {
        self.tokens.get(self.at + ahead).ok_or(LoadReason::Options)
    }

    fn bytes(&self, ahead: usize) -> &[u8] {
        let token = self.tokens.get(self.at + ahead);
        token.map_or(&[][..], |token| self.scope.text(token.span))
    }

    fn is(&self, ahead: usize, wanted: &str) -> bool {
        self.bytes(ahead).eq_ignore_ascii_case(wanted.as_bytes())
    }

    fn is_kind(&self, kind: TokenKind) -> bool {
        self.token(0).is_ok_and(|token| token.kind == kind)
    }

    /// A plain string.
    fn string(&self, ahead: usize) -> Result<Vec<u8>, LoadReason> {
        let plain = self.token(ahead)?.kind == TokenKind::String;
        let text = literal::decode(self.bytes(ahead), self.scope.input.dialect);
        text.filter(|_| plain).ok_or(LoadReason::Options)
    }
}

impl Options {
    pub fn read(scope: &Scope<'_>, table: Span) -> Result<Self, LoadReason> {
        let tokens: Vec<Token> = Lexer::new(scope.input.sql, scope.input.dialect)
            .filter(|token| !token.kind.is_trivia())
            .collect();
        let mut words = Words {
            scope,
            tokens,
            at: 1,
        };
        // LOAD DATA [LOW_PRIORITY | CONCURRENT] LOCAL INFILE 'file'.
        let data = words.is(0, "data");
        words.at += 1 + usize::from(words.is(1, "low_priority") || words.is(1, "concurrent"));
        if !(data && words.is(0, "local") && words.is(1, "infile")) {
            return Err(LoadReason::Options);
        }
        let behind = words.tokens.iter();
        words.at = behind
            .take_while(|token| token.span.end <= table.end)
            .count();
        let mut options = Self::default();
        // What stands in no text is what the mode says of backslashes.
        options.format.escape = match scope.input.dialect.no_backslash_escapes {
            true => Vec::new(),
            false => b"\\".to_vec(),
        };
        // What the servers set stands last.
        while words.at < words.tokens.len() && !words.is(0, "set") {
            options.one(&mut words)?;
        }
        let last = words
            .at
            .checked_sub(1)
            .and_then(|last| words.tokens.get(last));
        options.end = last.map_or(table.end, |token| token.span.end);
        match options.format.is_plain() {
            true => Ok(options),
            false => Err(LoadReason::Options),
        }
    }

    /// The option at hand.
    fn one(&mut self, words: &mut Words<'_>) -> Result<(), LoadReason> {
        if words.is(0, "character") || words.is(0, "charset") {
            words.at += 1 + usize::from(words.is(0, "character"));
            let name = String::from_utf8_lossy(words.bytes(0)).to_lowercase();
            self.charset = Some(name.trim_matches(['\'', '"', '`']).to_owned());
            words.at += 1;
            Ok(())
        } else if words.is(0, "fields") || words.is(0, "columns") || words.is(0, "lines") {
            self.separators(words)
        } else if words.is(0, "ignore") {
            let (first, last) = (words.token(0)?.span, words.token(2)?.span);
            let number = std::str::from_utf8(words.bytes(1)).ok();
            let number = number.and_then(|number| number.parse().ok());
            self.skipped = number.ok_or(LoadReason::Options)?;
            self.skip = Some(Span {
                start: first.start,
                end: last.end,
            });
            words.at += 3;
            Ok(())
        } else if words.is_kind(TokenKind::Open) {
            self.list(words)
        } else if words.is_kind(TokenKind::Semicolon) {
            words.at += 1;
            Ok(())
        } else {
            Err(LoadReason::Options)
        }
    }

    /// `FIELDS TERMINATED BY ',' …`, `LINES TERMINATED BY …`.
    fn separators(&mut self, words: &mut Words<'_>) -> Result<(), LoadReason> {
        let lines = words.is(0, "lines");
        words.at += 1;
        while words.is(1, "by") || (words.is(0, "optionally") && words.is(2, "by")) {
            words.at += usize::from(words.is(0, "optionally"));
            let value = words.string(2)?;
            match () {
                () if words.is(0, "terminated") && lines => self.format.line = value,
                () if words.is(0, "terminated") => self.format.field = value,
                () if words.is(0, "enclosed") => self.format.enclosed = value,
                () if words.is(0, "escaped") => self.format.escape = value,
                () if words.is(0, "starting") && lines => self.format.starting = value,
                () => return Err(LoadReason::Options),
            }
            words.at += 3;
        }
        Ok(())
    }

    /// The list of columns and user variables.
    fn list(&mut self, words: &mut Words<'_>) -> Result<(), LoadReason> {
        let mut columns = Vec::new();
        let at = words.token(0)?.span.end;
        words.at += 1;
        while !words.is_kind(TokenKind::Close) {
            let token = words.token(0)?;
            match token.kind {
                TokenKind::Word | TokenKind::QuotedName => {
                    columns.push(Field::Column(words.scope.lower(token.span)));
                }
                TokenKind::Comma => {}
                TokenKind::UserVariable => {
                    let dialect = words.scope.input.dialect;
                    let name = variables::user_variable(words.scope.text(token.span), dialect);
                    let name = name.filter(|name| is_plain(name));
                    columns.push(Field::Variable(name.ok_or(LoadReason::Variables)?));
                }
                _ => return Err(LoadReason::Values),
            }
            words.at += 1;
        }
        words.at += 1;
        self.list_at = Some(at);
        self.columns = (!columns.is_empty()).then_some(columns);
        Ok(())
    }
}

/// Whether a variable's name can be written between backquotes whatever the session's mode is, to read it back.
fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'`' && byte != b'\\')
}
