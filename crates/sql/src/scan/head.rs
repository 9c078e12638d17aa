//! From the first word to the verb.
//!
//! Owns the dispatch: verbs that cannot change the session by their head are set here; all others go to their parser in
//! `effects`, which reads ahead and says what the scanner should expect.

use super::{Context, Scanner};
use crate::cursor::Cursor;
use crate::digest::Sink;
use crate::effects::{self, Outcome, Scope};
use crate::verb::Verb;
use crate::words::{Keyword, Word};

impl<S: Sink> Scanner<'_, S> {
    pub(super) fn start_statement(&mut self, word: Word) {
        match effects::query_verb(word.keyword) {
            Some(verb) => self.verb = Some(verb),
            None => self.start_control(word.keyword),
        }
    }

    #[cold]
    fn start_control(&mut self, keyword: Keyword) {
        let mut outcome = Outcome::new(&mut self.effects);
        effects::read(keyword, Cursor::new(self.start), self.dialect, &mut outcome);
        let Outcome {
            verb, facts, scope, ..
        } = outcome;
        self.verb = Some(verb);
        self.current.add(facts);
        self.context = match scope {
            Scope::Expression => Context::Expression,
            Scope::Definition => Context::Definition,
            Scope::LoadColumns => Context::LoadColumns,
            Scope::Body => Context::Body,
            Scope::Compound => Context::Compound,
        };
    }

    /// The statement proper after a WITH list.
    pub(super) fn resolve_with(&mut self, keyword: Keyword) {
        if self.verb != Some(Verb::Select) {
            return;
        }
        self.verb = effects::query_verb(keyword).or(self.verb);
    }
}
