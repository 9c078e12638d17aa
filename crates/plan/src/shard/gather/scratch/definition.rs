//! What SHOW CREATE TABLE says of a table.
//!
//! Owns the reading of its lines, which have one definition each. Must never take a word in a name or a comment for one of
//! the definition. Input: the server's text.

use std::collections::BTreeSet;
use std::ops::Range;

use dbmesh_sql::literal;

use super::{Carried, Column};

/// What SHOW CREATE TABLE says, line by line.
pub(super) struct Definition<'a> {
    pub(super) columns: Vec<ColumnLine<'a>>,
    pub(super) keys: Vec<KeyLine<'a>>,
    pub(super) options: &'a [u8],
}

pub(super) struct ColumnLine<'a> {
    pub(super) name: Vec<u8>,
    pub(super) line: &'a [u8],
    pub(super) generated: bool,
    pub(super) counts: bool,
}

pub(super) struct KeyLine<'a> {
    pub(super) columns: Vec<Vec<u8>>,
    pub(super) line: &'a [u8],
    pub(super) unique: bool,
}

impl<'a> Definition<'a> {
    pub(super) fn read(shown: &'a [u8]) -> Option<Self> {
        let mut lines = shown.split(|byte| *byte == b'\n');
        let head = lines.next()?;
        let kinds: [&[u8]; 2] = [b"CREATE TABLE ", b"CREATE TEMPORARY TABLE "];
        if !kinds.iter().any(|kind| head.starts_with(kind)) || !head.ends_with(b"(") {
            return None;
        }
        let mut found = Self {
            columns: Vec::new(),
            keys: Vec::new(),
            options: b"",
        };
        for line in lines {
            if line.starts_with(b")") {
                found.options = line;
                break;
            }
            let line = line.trim_ascii();
            found.line(line.strip_suffix(b",").unwrap_or(line));
        }
        (!found.columns.is_empty() && !found.options.is_empty()).then_some(found)
    }

    fn line(&mut self, line: &'a [u8]) {
        if line.starts_with(b"`") {
            let mut rest = line;
            if let Some(name) = identifier(&mut rest) {
                let unquoted = without_strings(rest);
                self.columns.push(ColumnLine {
                    name,
                    line,
                    generated: holds(&unquoted, b" AS ("),
                    counts: holds(&unquoted, b" AUTO_INCREMENT"),
                });
            }
            return;
        }
        let unique = line.starts_with(b"PRIMARY KEY ") || line.starts_with(b"UNIQUE KEY ");
        // Full-text and spatial indexes, foreign keys and checks say nothing about the rows of a query.
        if !unique && !line.starts_with(b"KEY ") {
            return;
        }
        let mut rest = line;
        if !line.starts_with(b"PRIMARY") {
            let start = line.iter().position(|byte| *byte == b'`').unwrap_or(0);
            rest = line.get(start..).unwrap_or_default();
            identifier(&mut rest);
        }
        let mut columns = Vec::new();
        while let Some(start) = rest.iter().position(|byte| *byte == b'`') {
            rest = rest.get(start..).unwrap_or_default();
            match identifier(&mut rest) {
                Some(name) => columns.push(name),
                None => break,
            }
        }
        self.keys.push(KeyLine {
            columns,
            line,
            unique,
        });
    }

    pub(super) fn column(&self, column: &ColumnLine<'_>) -> Column {
        let carried = carried(column.line);
        let said = option_of(&without_strings(column.line), b"CHARACTER SET ");
        let charset = match (carried, said.strip_prefix(b" CHARACTER SET ")) {
            (Carried::Json, _) => b"utf8mb4".to_vec(),
            (_, Some(charset)) => charset.to_vec(),
            (_, None) => {
                let default = option_of(self.options, b"DEFAULT CHARSET=");
                let default = default.strip_prefix(b" DEFAULT CHARSET=");
                default.unwrap_or(b"utf8mb4").to_vec()
            }
        };
        Column {
            quoted: literal::quote_identifier(&column.name),
            carried,
            charset,
        }
    }

    /// The columns that remain, in lower case; none if all do.
    pub(super) fn kept(&self, needed: Option<&BTreeSet<String>>) -> Option<BTreeSet<String>> {
        let mut kept = needed?.clone();
        let computed =
            |column: &ColumnLine<'_>| column.generated || computed_default(column.line).is_some();
        // What is computed from other columns needs those.
        if self
            .columns
            .iter()
            .any(|column| computed(column) && kept.contains(&lower(&column.name)))
        {
            return None;
        }
        for key in &self.keys {
            let counts = |name: &Vec<u8>| self.columns.iter().any(|c| c.counts && c.name == *name);
            if key.unique || key.columns.iter().any(counts) {
                kept.extend(key.columns.iter().map(|column| lower(column)));
            }
        }
        let named = |column: &ColumnLine<'_>| kept.contains(&lower(&column.name));
        if self.columns.iter().any(|c| named(c) && computed(c)) {
            return None;
        }
        if !self.columns.iter().any(named) {
            let plain = self.columns.iter().find(|column| !computed(column))?;
            kept.insert(lower(&plain.name));
        }
        Some(kept)
    }
}

pub(super) fn lower(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_lowercase()
}

/// The name in backquotes at the beginning, which is taken away.
fn identifier(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut bytes = rest.get(1..)?;
    loop {
        match bytes {
            [b'`', b'`', after @ ..] => {
                name.push(b'`');
                bytes = after;
            }
            [b'`', after @ ..] => {
                *rest = after;
                return Some(name);
            }
            [byte, after @ ..] => {
                name.push(*byte);
                bytes = after;
            }
            [] => return None,
        }
    }
}

/// The text with strings and names cut out, which may hold any word.
pub(super) fn without_strings(text: &[u8]) -> Vec<u8> {
    outside_strings(text).map(|(_, byte)| byte).collect()
}

/// A column's line without the first such word that stands in no string and in no name.
pub(super) fn without_word(line: Vec<u8>, word: &[u8]) -> Vec<u8> {
    let outside: Vec<(usize, u8)> = outside_strings(&line).collect();
    let found = outside.windows(word.len()).find_map(|window| {
        let (first, last) = (window.first()?.0, window.last()?.0);
        let same = window.iter().map(|(_, byte)| byte).eq(word);
        // A string between its letters would be none of it.
        (same && last - first + 1 == word.len()).then_some(first..=last)
    });
    match found {
        Some(range) => {
            let mut line = line;
            line.drain(range);
            line
        }
        None => line,
    }
}

/// What is neither in a string nor in a name, with its places.
fn outside_strings(text: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let mut inside: Option<u8> = None;
    let mut bytes = text.iter().copied().enumerate();
    std::iter::from_fn(move || {
        loop {
            let (at, byte) = bytes.next()?;
            match (inside, byte) {
                (Some(b'\''), b'\\') => {
                    bytes.next();
                }
                (Some(quote), byte) if quote == byte => inside = None,
                (Some(_), _) => {}
                (None, b'\'' | b'`') => inside = Some(byte),
                (None, byte) => return Some((at, byte)),
            }
        }
    })
}

/// Where a column's line has a default that is computed: not a literal, NULL, or the time. MySQL writes such expressions in
/// parentheses, MariaDB calls and names without.
fn computed_default(line: &[u8]) -> Option<Range<usize>> {
    const WORD: &[u8] = b" DEFAULT ";
    let mut outside = outside_strings(line);
    let word = outside.find(|(at, _)| line.get(*at..).is_some_and(|l| l.starts_with(WORD)));
    let (start, _) = word?;
    let value = start + WORD.len();
    let (mut depth, mut calls) = (0_usize, line.get(value) == Some(&b'`'));
    let mut end = line.len();
    for (at, byte) in outside.skip_while(|(at, _)| *at < value) {
        match byte {
            b'(' => {
                depth += 1;
                calls = true;
            }
            b')' => depth = depth.saturating_sub(1),
            b' ' if depth == 0 => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    let word = line.get(value..end)?.to_ascii_lowercase();
    (calls && !word.starts_with(b"current_timestamp")).then_some(start..end)
}

/// The line of a column without a default that is computed.
pub(super) fn without_computed_default(line: &[u8]) -> Vec<u8> {
    let mut line = line.to_vec();
    if let Some(default) = computed_default(&line) {
        line.drain(default);
    }
    line
}

pub(super) fn holds(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|window| window == words)
}

/// ` DEFAULT CHARSET=utf8mb4` of a table's options or a column's line, if it is there.
pub(super) fn option_of(options: &[u8], name: &[u8]) -> Vec<u8> {
    let Some(start) = options.windows(name.len()).position(|w| w == name) else {
        return Vec::new();
    };
    let value = options.get(start + name.len()..).unwrap_or_default();
    let value = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    [b" ", name, value].concat()
}

/// How values of a column travel, by the word of its type.
pub(super) fn carried(line: &[u8]) -> Carried {
    let mut rest = line;
    if identifier(&mut rest).is_none() {
        return Carried::Binary;
    }
    let word: Vec<u8> = rest
        .trim_ascii_start()
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .map(u8::to_ascii_lowercase)
        .collect();
    match word.as_slice() {
        b"tinyint" | b"smallint" | b"mediumint" | b"int" | b"bigint" | b"decimal" | b"year" => {
            Carried::Number
        }
        b"bit" => Carried::Bits,
        b"set" => Carried::Members,
        b"enum" => Carried::Member,
        b"float" | b"double" => Carried::Real,
        b"timestamp" => Carried::Moment,
        b"json" => Carried::Json,
        b"char" | b"varchar" | b"tinytext" | b"text" | b"mediumtext" | b"longtext" => Carried::Text,
        b"date" | b"time" | b"datetime" | b"uuid" | b"inet4" | b"inet6" => Carried::Plain,
        _ => Carried::Binary,
    }
}
