//! What a word is: keyword, built-in function, character set.
//!
//! Owns the word lists and their compile-time hash table. Must never decide from the word alone what a statement does.
//! The lists come from the servers' own symbol and native-function tables (MySQL 8.4–9.x, MariaDB 10.11–11.x).

mod keyword;
mod lists;
mod term;

pub(crate) use keyword::Keyword;
pub(crate) use term::Term;

use crate::dialect::{Dialect, Flavor};
use crate::eight::short;
use crate::lexer::Chars;
use lists::{
    CHARSETS, CLAUSES, KEYWORD_FUNCTIONS, MARIADB_11_FUNCTIONS, MARIADB_FUNCTIONS, MYSQL_FUNCTIONS,
    PARENTHESISED, PARENTHESISED_MYSQL, RESERVED, SHARED_FUNCTIONS, SOFT_KEYWORDS,
    SPACED_FUNCTIONS, SPACED_MARIADB_FUNCTIONS, TYPES,
};
use term::{RESERVED_MARIADB, RESERVED_MYSQL};

/// What is known of one word. The default is a plain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    /// The word's identity where the scanner acts on it.
    pub(crate) keyword: Keyword,
    flags: u16,
}

const IS_RESERVED: u16 = 1;
const IS_CLAUSE: u16 = 2;
const IS_SOFT: u16 = 4;
const TAKES_PAREN: u16 = 8;
const IS_TYPE: u16 = 16;
const NATIVE_MYSQL: u16 = 32;
const NATIVE_MARIADB: u16 = 64;
const NATIVE_MARIADB_11: u16 = 128;
const NEEDS_ADJACENT: u16 = 256;
const TAKES_PAREN_MYSQL: u16 = 512;
const KEYWORD_FUNCTION: u16 = 1024;
const NEEDS_ADJACENT_MARIADB: u16 = 2048;

impl Word {
    pub(crate) const NAME: Self = Self {
        keyword: Keyword::None,
        flags: 0,
    };

    #[inline]
    fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Reserved in both flavors: never a name unless quoted or after a dot.
    #[inline]
    pub(crate) fn is_reserved(self) -> bool {
        self.has(IS_RESERVED)
    }

    /// Whether the digest folds the letter case of this word; `soft` where the statement kind has room for few names.
    #[inline]
    pub(crate) fn folds(self, soft: bool) -> bool {
        self.has(IS_RESERVED | IS_CLAUSE) || (soft && self.has(IS_SOFT))
    }

    /// Whether `word(` is syntax of its own and no call.
    #[inline]
    pub(crate) fn takes_paren(self, dialect: &Dialect) -> bool {
        self.has(TAKES_PAREN | IS_RESERVED | IS_TYPE)
            || (dialect.flavor == Flavor::MySql && self.has(TAKES_PAREN_MYSQL))
    }

    /// Whether `word(` is syntax of its own where an operand stands before it, in either flavor.
    #[inline]
    pub(crate) fn takes_paren_after_operand(self) -> bool {
        self.has(TAKES_PAREN_MYSQL)
    }

    /// Whether the server has a built-in function of this name.
    #[inline]
    pub(crate) fn is_native(self, dialect: &Dialect) -> bool {
        match dialect.flavor {
            Flavor::MySql => self.has(NATIVE_MYSQL),
            Flavor::MariaDb => {
                self.has(NATIVE_MARIADB)
                    || (dialect.version >= 110_000 && self.has(NATIVE_MARIADB_11))
            }
        }
    }

    /// Whether the built-in is only meant without quotes.
    pub(crate) fn is_keyword_function(self) -> bool {
        self.has(KEYWORD_FUNCTION | IS_RESERVED)
    }

    /// Whether the built-in is only meant when `(` follows without a blank (unless IGNORE_SPACE).
    #[inline]
    pub(crate) fn needs_adjacent_paren(self, dialect: &Dialect) -> bool {
        self.has(NEEDS_ADJACENT)
            || (dialect.flavor == Flavor::MariaDb && self.has(NEEDS_ADJACENT_MARIADB))
    }
}

/// The word in `bytes`, letter case ignored.
#[inline]
pub(crate) fn lookup(bytes: &[u8]) -> Word {
    lookup_chars(Chars::of(bytes))
}

/// The word in `chars`, letter case ignored.
#[inline]
pub(crate) fn lookup_chars(chars: Chars<'_>) -> Word {
    find(chars).map_or(Word::NAME, |entry| entry.word)
}

/// What the parser knows of a word: its term, and whether this server reserves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GrammarWord {
    /// The word of the grammar.
    pub(crate) term: Term,
    /// Never a name unless quoted or directly after a dot.
    pub(crate) reserved: bool,
    /// What the scanner knows of it.
    pub(crate) word: Word,
}

impl GrammarWord {
    /// A plain name.
    pub(crate) const NAME: Self = Self {
        term: Term::None,
        reserved: false,
        word: Word::NAME,
    };
}

/// The word in `bytes` as the parser of `flavor` sees it, letter case ignored.
#[inline]
pub(crate) fn lookup_grammar(bytes: &[u8], flavor: Flavor) -> GrammarWord {
    let Some(entry) = find(Chars::of(bytes)) else {
        return GrammarWord::NAME;
    };
    let by_flavor = match flavor {
        Flavor::MySql => RESERVES_MYSQL,
        Flavor::MariaDb => RESERVES_MARIADB,
    };

    // MariaDB takes these two of the common list as names.
    let free = flavor == Flavor::MariaDb && matches!(entry.term, Term::Schema | Term::Database);
    GrammarWord {
        term: entry.term,
        reserved: (entry.word.is_reserved() && !free) || entry.reserves & by_flavor != 0,
        word: entry.word,
    }
}

#[inline]
fn find(chars: Chars<'_>) -> Option<&'static Entry> {
    // Aliases of one letter are everywhere; only MariaDB's X() and Y() are words.
    if let [byte] = chars.bytes
        && !matches!(byte, b'x' | b'y' | b'X' | b'Y')
    {
        return None;
    }
    let key = Key::of(chars)?;
    let mut slot = key.slot();
    // The table is sparse, so the walk is short; its length bounds it anyway.
    for _ in 0..SLOTS {
        let entry = match TABLE.slots.get(slot).copied().unwrap_or(0) {
            0 => return None,
            index => TABLE.entries.get(usize::from(index) - 1),
        };
        match entry {
            Some(entry) if entry.key.same(&key) => return Some(entry),
            _ => slot = (slot + 1) % SLOTS,
        }
    }
    None
}

/// Whether `word` names a character set with a leading underscore (`_utf8mb4`).
pub(crate) fn is_introducer(word: &[u8]) -> bool {
    let Some((b'_', name)) = word.split_first() else {
        return false;
    };
    CHARSETS
        .split_ascii_whitespace()
        .any(|charset| charset.as_bytes().eq_ignore_ascii_case(name))
}

/// Up to 32 bytes of a word with bit 5 set in each: folds ASCII letters and keeps all name bytes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    head: u64,
    tail: [u64; 3],
    length: usize,
}

const LONGEST: usize = 32;
const FOLD: u64 = 0x2020_2020_2020_2020;

impl Key {
    #[inline]
    const fn of(chars: Chars<'_>) -> Option<Self> {
        let bytes = chars.bytes;
        let length = bytes.len();
        if length == 0 || length > LONGEST {
            return None;
        }
        let head = chars.head | FOLD;
        let tail = if length <= 8 {
            [0; 3]
        } else {
            [chunk(bytes, 8), chunk(bytes, 16), chunk(bytes, 24)]
        };
        Some(Self { head, tail, length })
    }

    #[inline]
    const fn slot(&self) -> usize {
        let mixed = (self.head
            ^ self.tail[0].rotate_left(23)
            ^ self.tail[1].rotate_left(41)
            ^ self.tail[2])
            .wrapping_add(self.length as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - SLOT_BITS)) as usize
    }

    #[inline]
    const fn same(&self, other: &Self) -> bool {
        self.head == other.head
            && self.length == other.length
            && (self.length <= 8
                || (self.tail[0] == other.tail[0]
                    && self.tail[1] == other.tail[1]
                    && self.tail[2] == other.tail[2]))
    }
}

/// Eight bytes from `at`, little-endian, folded; bytes after the end count as zero before folding.
#[inline]
const fn chunk(bytes: &[u8], at: usize) -> u64 {
    if at >= bytes.len() {
        return 0;
    }
    let (_, rest) = bytes.split_at(at);
    short(rest) | FOLD
}

#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    word: Word,
    term: Term,
    reserves: u8,
}

const RESERVES_MYSQL: u8 = 1;
const RESERVES_MARIADB: u8 = 2;

const SLOT_BITS: u32 = 12;
const SLOTS: usize = 1 << SLOT_BITS;
const CAPACITY: usize = 1700;

struct Table {
    slots: [u16; SLOTS],
    entries: [Entry; CAPACITY],
    used: usize,
}

static TABLE: Table = Table::build();

impl Table {
    const fn build() -> Self {
        let blank = Entry {
            key: Key {
                head: 0,
                tail: [0; 3],
                length: 0,
            },
            word: Word::NAME,
            term: Term::None,
            reserves: 0,
        };
        let mut table = Self {
            slots: [0; SLOTS],
            entries: [blank; CAPACITY],
            used: 0,
        };
        table.add_list(RESERVED, IS_RESERVED);
        table.add_list(CLAUSES, IS_CLAUSE);
        table.add_list(SOFT_KEYWORDS, IS_SOFT);
        table.add_list(PARENTHESISED, TAKES_PAREN);
        table.add_list(PARENTHESISED_MYSQL, TAKES_PAREN_MYSQL);
        table.add_list(TYPES, IS_TYPE);
        table.add_list(SHARED_FUNCTIONS, NATIVE_MYSQL | NATIVE_MARIADB);
        table.add_list(MYSQL_FUNCTIONS, NATIVE_MYSQL);
        table.add_list(MARIADB_FUNCTIONS, NATIVE_MARIADB);
        table.add_list(MARIADB_11_FUNCTIONS, NATIVE_MARIADB_11);
        table.add_list(SPACED_FUNCTIONS, NEEDS_ADJACENT);
        table.add_list(SPACED_MARIADB_FUNCTIONS, NEEDS_ADJACENT_MARIADB);
        table.add_list(KEYWORD_FUNCTIONS, KEYWORD_FUNCTION);
        let mut index = 0;
        while index < keyword::SPELLINGS.len() {
            let (text, keyword) = keyword::SPELLINGS[index];
            let entry = table.entry(text.as_bytes());
            table.entries[entry].word.keyword = keyword;
            index += 1;
        }
        table.add_terms();
        table
    }

    const fn add_terms(&mut self) {
        let mut index = 0;
        while index < term::TERM_SPELLINGS.len() {
            // tidy-allow: evaluated when the program is compiled
            let (text, term) = term::TERM_SPELLINGS[index];
            let entry = self.entry(text.as_bytes());
            // tidy-allow: evaluated when the program is compiled
            self.entries[entry].term = term;
            index += 1;
        }
        self.add_reserved(RESERVED_MYSQL, RESERVES_MYSQL);
        self.add_reserved(RESERVED_MARIADB, RESERVES_MARIADB);
    }

    const fn add_reserved(&mut self, list: &str, flavor: u8) {
        let mut rest = list.as_bytes();
        while let Some((word, after)) = next_word(rest) {
            let entry = self.entry(word);
            // tidy-allow: evaluated when the program is compiled
            self.entries[entry].reserves |= flavor;
            rest = after;
        }
    }

    const fn add_list(&mut self, list: &str, flags: u16) {
        let mut rest = list.as_bytes();
        while let Some((word, after)) = next_word(rest) {
            let entry = self.entry(word);
            self.entries[entry].word.flags |= flags;
            rest = after;
        }
    }

    /// The index of the word's entry, made when absent.
    const fn entry(&mut self, word: &[u8]) -> usize {
        let key = match Key::of(Chars::of(word)) {
            Some(key) => key,
            None => panic!("a listed word is longer than a key"),
        };
        let mut slot = key.slot();
        loop {
            let index = self.slots[slot] as usize;
            if index == 0 {
                self.entries[self.used] = Entry {
                    key,
                    word: Word::NAME,
                    term: Term::None,
                    reserves: 0,
                };
                self.used += 1;
                self.slots[slot] = self.used as u16;
                return self.used - 1;
            }
            if self.entries[index - 1].key.same(&key) {
                return index - 1;
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}

/// The first blank-separated word of `text` and what follows it.
const fn next_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut start = 0;
    while start < text.len() && text[start].is_ascii_whitespace() {
        start += 1;
    }
    if start == text.len() {
        return None;
    }
    let (_, rest) = text.split_at(start);
    let mut end = 0;
    while end < rest.len() && !rest[end].is_ascii_whitespace() {
        end += 1;
    }
    Some(rest.split_at(end))
}

#[cfg(test)]
mod tests;
