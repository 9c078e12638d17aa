//! What a session announced for a transaction in which nothing has run.
//!
//! Owns the words that bring another connection to the same place. Must never have any for a transaction that has read,
//! written, or set a savepoint: what ran on one server is not on another. Input: what the server's session tracking says
//! of the transaction, and the verbs of statements.

use dbmesh_sql::Verb;

/// Bytes of words that are kept; of longer ones, none.
const WORDS_BYTES_MAX: usize = 256;

const BEGIN: &[u8] = b"START TRANSACTION;";

/// The words, and whether anything ran behind them.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    words: Words,
    touched: bool,
}

#[derive(Clone, Debug, Default)]
enum Words {
    #[default]
    None,
    /// `START TRANSACTION`, which is nearly always all there is: it costs no allocation.
    Begin,
    Other(Box<[u8]>),
}

impl Announced {
    /// The server tells which statements lead to the transaction's characteristics, each with its `;`.
    pub(crate) fn note(&mut self, words: &[u8]) {
        self.words = match words {
            BEGIN => Words::Begin,
            words if words.is_empty() || words.len() > WORDS_BYTES_MAX => Words::None,
            words => Words::Other(words.into()),
        };
    }

    /// The server tells what has been done in the transaction: its kind, then a letter for each thing done.
    pub(crate) fn note_state(&mut self, state: &[u8]) {
        self.touched |= state.iter().skip(1).any(|&done| done != b'_');
    }

    /// A text was answered that began with this verb; `open` while a transaction is.
    pub(crate) fn follow(&mut self, verb: Verb, alone: bool, failed: bool, open: bool) {
        match verb {
            _ if failed || !alone => self.touched = true,
            Verb::Begin => self.touched = false,
            Verb::SetTransaction if !open => self.touched = false,
            // What they set is restored on another connection, or pins.
            Verb::SetTransaction | Verb::Set | Verb::Use => {}
            _ => self.touched = true,
        }
    }

    /// The statements that announce the same again, where nothing ran; `open` while a transaction is.
    pub(crate) fn again(&self, open: bool) -> Option<impl Iterator<Item = &[u8]>> {
        let words = self.words()?;
        let says = |what: &[u8]| words.windows(what.len()).any(|part| part == what);
        // A transaction that began by itself has no words of its own, and a snapshot is of its moment.
        let told = says(b"START TRANSACTION") == open && !says(b"SNAPSHOT");
        (told && !self.touched).then(|| self.statements())
    }

    /// The statements that give a transaction the characteristics of the one at hand, whatever ran in it.
    pub(crate) fn statements(&self) -> impl Iterator<Item = &[u8]> {
        let words = self.words().unwrap_or_default();
        let statements = words.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        statements.filter(|statement| !statement.is_empty())
    }

    fn words(&self) -> Option<&[u8]> {
        match &self.words {
            Words::None => None,
            Words::Begin => Some(BEGIN),
            Words::Other(words) => Some(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(announced: &Announced, open: bool) -> Option<Vec<String>> {
        let statements = announced.again(open)?;
        Some(
            statements
                .map(|s| String::from_utf8_lossy(s).into())
                .collect(),
        )
    }

    #[test]
    fn what_was_announced_can_be_said_again_until_something_runs() {
        let mut announced = Announced::default();
        assert_eq!(again(&announced, false), None);
        announced.note(b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;");
        announced.follow(Verb::SetTransaction, true, false, false);
        let level = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE";
        assert_eq!(again(&announced, false), Some(vec![level.into()]));
        announced.note(b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; START TRANSACTION;");
        announced.note_state(b"T_______");
        announced.follow(Verb::Begin, true, false, true);
        announced.follow(Verb::Set, true, false, true);
        let both = vec![level.into(), "START TRANSACTION".into()];
        assert_eq!(again(&announced, true), Some(both));
        assert_eq!(again(&announced, false), None, "the server says otherwise");
        announced.follow(Verb::Savepoint, true, false, true);
        assert_eq!(again(&announced, true), None);
    }

    #[test]
    fn what_ran_or_has_a_moment_of_its_own_is_not_said_again() {
        let begun = |words: &[u8]| {
            let mut announced = Announced::default();
            announced.note(words);
            announced.follow(Verb::Begin, true, false, true);
            announced
        };
        assert!(begun(b"START TRANSACTION;").again(true).is_some());
        let snapshot = begun(b"START TRANSACTION WITH CONSISTENT SNAPSHOT;");
        assert!(snapshot.again(true).is_none());
        let mut read = begun(b"START TRANSACTION;");
        read.note_state(b"TR____S_");
        assert!(read.again(true).is_none());
        let mut failed = begun(b"START TRANSACTION;");
        failed.follow(Verb::Set, true, true, true);
        assert!(failed.again(true).is_none());
        let mut several = begun(b"START TRANSACTION;");
        several.follow(Verb::Begin, false, false, true);
        assert!(several.again(true).is_none());
        assert!(begun(b"XA START 'x';").again(true).is_none());
        assert!(begun(&[b'a'; WORDS_BYTES_MAX + 1]).again(true).is_none());
    }
}
