//! Which `name(` is a call, and what the called function tells.
//!
//! Owns the rules that tell calls from column lists, types and aliases. Must never pass over a call: what cannot be told
//! apart counts as one.

use super::{Context, Lead, Scanner};
use crate::digest::Sink;
use crate::facts::Facts;
use crate::lexer::{Span, TokenKind, is_name_byte};
use crate::words::{self, Keyword, Word};

impl<S: Sink> Scanner<'_, S> {
    /// Takes a `(`. True when the name before it is a built-in function.
    pub(super) fn open(&mut self, open: Span) -> bool {
        let native = match self.last.kind {
            Some(TokenKind::Word) => self.named_paren(open, self.last.word),
            Some(TokenKind::QuotedName) => {
                let word = self.quoted_word();
                self.named_paren(open, word)
            }
            _ => false,
        };
        if self.insert_target && self.last.word.keyword != Keyword::Partition {
            self.insert_target = false;
        }
        self.depth = self.depth.saturating_add(1);
        self.into_pending = false;
        native
    }

    /// What is known of a quoted name: built-in functions may be called by their quoted name.
    fn quoted_word(&self) -> Word {
        let bytes = self.last.span.of(self.lexer.sql());
        match bytes {
            [_, inner @ .., _] if inner.iter().all(|&b| is_name_byte(b)) => {
                let word = words::lookup(inner);
                if word.is_keyword_function() {
                    Word::NAME
                } else {
                    word
                }
            }
            _ => Word::NAME,
        }
    }

    fn named_paren(&mut self, open: Span, word: Word) -> bool {
        let quoted = self.last.kind == Some(TokenKind::QuotedName);
        if matches!(self.context, Context::Definition | Context::LoadColumns) {
            return false;
        }
        if self.last.lead == Lead::Dot {
            if !self.insert_target {
                self.current.add(Facts::CALLS_ROUTINE);
            }
            return false;
        }
        let heads_insert = matches!(word.keyword, Keyword::Insert | Keyword::Replace) && !quoted;
        let names_something = (self.insert_target && !heads_insert)
            || matches!(self.last.lead, Lead::As | Lead::Close)
            || self.listing_ctes()
            // `DO (SELECT 1)`; elsewhere a function may have that name.
            || (word.keyword == Keyword::Do && self.last.lead == Lead::Start);
        if names_something {
            return false;
        }
        if word.is_native(self.dialect) {
            return self.native_call(open, word);
        }
        let syntax = word.takes_paren(self.dialect)
            || (word.takes_paren_after_operand() && self.last.lead == Lead::Operand);
        if quoted || !syntax {
            self.current.add(Facts::CALLS_ROUTINE);
        }
        false
    }

    fn native_call(&mut self, open: Span, word: Word) -> bool {
        let adjacent = self.last.span.end == open.start || self.dialect.ignore_space;
        if word.needs_adjacent_paren(self.dialect) && !adjacent {
            // `count (x)` asks for a stored function of that name.
            self.current.add(Facts::CALLS_ROUTINE);
            return false;
        }
        let fact = match word.keyword {
            Keyword::GetLock => Facts::GET_LOCK_FUNCTION,
            Keyword::ReleaseLock | Keyword::ReleaseAllLocks => Facts::RELEASE_LOCK_FUNCTION,
            Keyword::FoundRows => Facts::READS_FOUND_ROWS,
            Keyword::RowCount => Facts::READS_ROW_COUNT,
            Keyword::ConnectionId | Keyword::IsUsedLock | Keyword::PsCurrentThreadId => {
                Facts::READS_CONNECTION_ID
            }
            Keyword::Nextval | Keyword::Lastval | Keyword::Setval => Facts::SEQUENCE,
            Keyword::LoadFile => Facts::LOAD_FILE,
            Keyword::User | Keyword::CurrentRole | Keyword::SessionUser | Keyword::SystemUser => {
                Facts::READS_USER
            }
            Keyword::LastInsertId => {
                self.last_insert_id_pending = true;
                Facts::NONE
            }
            _ => Facts::NONE,
        };
        self.current.add(fact);
        true
    }
}
