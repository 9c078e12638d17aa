//! The temporary table that takes the rows of a [`Pull`](super::Pull), made from what SHOW CREATE TABLE says of a shard.
//!
//! Owns its definition, and how a value of every type travels so that it arrives as the same value: bytes of texts as they
//! are stored, floating-point numbers with all digits, moments without a time zone. Must never lose a unique key, on which
//! the server's rules for GROUP BY depend. Input: the statement that SHOW CREATE TABLE prints, which has one definition on
//! every line.

mod definition;
mod lent;
mod moment;

use std::collections::BTreeSet;

use dbmesh_sql::literal;

use definition::{
    Definition, holds, lower, option_of, without_computed_default, without_strings, without_word,
};

pub use lent::{LentTable, Words};

/// How the values of a column travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    /// A number, as it is printed.
    Number,
    /// The number that the bits of a BIT are.
    Bits,
    /// The number that the members of a SET are.
    Members,
    /// The index of an ENUM: 0 where the column holds no value of its list.
    Member,
    /// A floating-point number: FLOAT alone would be printed with six digits.
    Real,
    /// A date or time, or another text in ASCII.
    Plain,
    /// Seconds since 1970, whatever the time zone.
    Moment,
    /// A text: the bytes that are stored.
    Text,
    /// JSON, as utf8mb4.
    Json,
    /// Bytes.
    Binary,
}

/// A column whose values are pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    /// In backquotes.
    quoted: Vec<u8>,
    carried: Carried,
    /// The character set of a text.
    charset: Vec<u8>,
}

/// Character sets in which bytes of ASCII are what they are in a client's text, there and back; in others, of two bytes a
/// character or with letters in the place of brackets, they are not.
const OF_ASCII: [&[u8]; 5] = [b"utf8", b"latin", b"ascii", b"cp125", b"koi8"];

impl Column {
    /// Whether a value of printable ASCII can be written as it is stored.
    fn writes_ascii(&self) -> bool {
        let known = || OF_ASCII.iter().any(|known| self.charset.starts_with(known));
        self.carried != Carried::Text || known()
    }
}

/// How a client's statements are read, for literals in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writing {
    /// Whether a backslash is a character like any other.
    pub no_backslash_escapes: bool,
    /// Whether texts are UTF-8.
    pub utf8: bool,
    /// Whether literals of moments may have a time zone of their own.
    pub zones: bool,
}

/// How the query joins whose rows are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joins {
    /// As the server likes.
    Any,
    /// By loops, never by hash. A hash join puts the values that it compares into each other's types, and where rows are
    /// stored, MySQL makes an error of a value that does not fit there, as it does in no UPDATE or DELETE.
    Nested,
}

/// How a TIMESTAMP is copied from table to table of one server, in a time zone in which an hour may come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moments {
    /// As it is: MariaDB keeps the moment.
    AsTheyAre,
    /// As a text with an offset, which MySQL reads since 8.0.19: it copies the time, of which the first moment would be made.
    ByOffset,
}

/// Which unique keys of a table a change can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unique {
    /// None.
    No,
    /// The primary key alone.
    Primary,
    /// Others.
    More,
}

impl Unique {
    /// Those of the table that `shown`, the answer to SHOW CREATE TABLE, describes, with one of these columns (in lower case)
    /// or with one that is computed.
    #[must_use]
    pub fn of(shown: &[u8], assigned: &BTreeSet<String>) -> Self {
        let Some(definition) = Definition::read(shown) else {
            return Self::More;
        };
        let computed = |name: &[u8]| {
            let mut columns = definition.columns.iter();
            columns.any(|column| column.generated && column.name == name)
        };
        let changes = |name: &Vec<u8>| assigned.contains(&lower(name)) || computed(name);
        let keys = definition.keys.iter().filter(|key| key.unique);
        let broken = keys.filter(|key| key.columns.iter().any(changes));
        broken.fold(Self::No, |so_far, key| {
            match (so_far, key.line.starts_with(b"PRIMARY KEY ")) {
                (Self::No, true) => Self::Primary,
                _ => Self::More,
            }
        })
    }
}

/// Columns whose values a table takes before they go to their rows; names are in lower case.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// All of them, in their order.
    pub columns: &'a [String],
    /// Of these, which are columns of TIMESTAMP, the seconds since 1970 are taken.
    pub moments: &'a BTreeSet<String>,
    /// The one whose NULL asks for a generated key, whether or not it may be NULL in a row.
    pub asking: Option<&'a str>,
}

/// A temporary table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScratchTable {
    /// The statement that creates it.
    pub create: Vec<u8>,
    name: Vec<u8>,
    columns: Vec<Column>,
}

impl ScratchTable {
    /// The table of this name for rows of the table that `shown`, the answer to SHOW CREATE TABLE, describes; with `needed`
    /// columns (in lower case) and those of unique keys, or with all. None if it describes no such table.
    pub fn of(shown: &[u8], name: &str, needed: Option<&BTreeSet<String>>) -> Option<Self> {
        let definition = Definition::read(shown)?;
        let kept = definition.kept(needed);
        let is_kept = |name: &[u8]| kept.as_ref().is_none_or(|kept| kept.contains(&lower(name)));
        let mut parts: Vec<&[u8]> = Vec::new();
        let mut columns = Vec::new();
        for column in &definition.columns {
            if !is_kept(&column.name) {
                continue;
            }
            parts.push(column.line);
            if !column.generated {
                columns.push(definition.column(column));
            }
        }
        for key in &definition.keys {
            if key.columns.iter().all(|column| is_kept(column)) {
                parts.push(key.line);
            }
        }
        Some(Self::temporary(definition.options, name, &parts, columns))
    }

    /// A table for values of columns before they go to their rows: it takes what the columns take, and any row. None if one
    /// of them is not there, or is computed from others.
    pub fn of_columns(shown: &[u8], name: &str, wanted: &Wanted<'_>) -> Option<Self> {
        let definition = Definition::read(shown)?;
        let (parts, columns) = taking(&definition, wanted)?;
        Some(Self::temporary(definition.options, name, &parts, columns))
    }

    /// The table of these parts of a definition, with the character set of its options.
    fn temporary<P: AsRef<[u8]>>(
        options: &[u8],
        name: &str,
        parts: &[P],
        columns: Vec<Column>,
    ) -> Self {
        let quoted = literal::quote_identifier(name.as_bytes());
        let mut create = b"CREATE TEMPORARY TABLE ".to_vec();
        create.extend_from_slice(&quoted);
        create.extend_from_slice(b" (");
        let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
        create.extend(parts.join(&b", "[..]));
        create.extend_from_slice(b") ENGINE=InnoDB");
        for option in ["DEFAULT CHARSET=", "COLLATE="] {
            create.extend(option_of(options, option.as_bytes()));
        }
        Self {
            create,
            name: quoted,
            columns,
        }
    }

    /// What `query` gives, stored in the table.
    pub fn store(&self, query: &[u8], ignore: bool, joins: Joins) -> Vec<u8> {
        let mut sql = self.insert_head();
        let hint: &[u8] = match joins {
            Joins::Any => b"",
            Joins::Nested => b" /*+ SET_VAR(optimizer_switch = 'block_nested_loop=off') */",
        };
        let ignore: &[u8] = if ignore { b" IGNORE" } else { b"" };
        let verb = [b"INSERT", hint, ignore].concat();
        sql.splice(..b"INSERT".len(), verb);
        sql.push(b' ');
        sql.extend_from_slice(query);
        sql
    }

    /// What reads the rows again, in the order in which they came.
    pub fn read(&self) -> Vec<u8> {
        let mut sql = self.selected();
        sql.extend_from_slice(b" FROM ");
        sql.extend_from_slice(&self.name);
        sql
    }

    /// Whether a value of this column, as it is carried, is found again by comparing.
    pub fn compares(&self, column: usize) -> bool {
        let column = self.columns.get(column);
        column.is_some_and(|column| !matches!(column.carried, Carried::Real | Carried::Json))
    }

    /// Adds a value of this column as a literal of a client's statement.
    pub fn push_literal(
        &self,
        column: usize,
        value: Option<&[u8]>,
        writing: Writing,
        into: &mut Vec<u8>,
    ) {
        let (Some(value), Some(column)) = (value, self.columns.get(column)) else {
            into.extend_from_slice(b"NULL");
            return;
        };
        let plain = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let quote = |into: &mut Vec<u8>| {
            into.extend(literal::quote_literal(value, writing.no_backslash_escapes));
        };
        match column.carried {
            Carried::Moment if writing.zones && !is_zero(value) => {
                let moment = moment::of_unix_time(value);
                into.extend(moment.unwrap_or_else(|| b"NULL".to_vec()));
            }
            Carried::Number
            | Carried::Bits
            | Carried::Members
            | Carried::Member
            | Carried::Real
            | Carried::Moment => {
                push_value(column.carried, value, into);
            }
            _ if plain && column.writes_ascii() => quote(into),
            Carried::Text if writing.utf8 && column.charset.starts_with(b"utf8") => quote(into),
            Carried::Text | Carried::Json => {
                into.push(b'_');
                into.extend_from_slice(&column.charset);
                into.push(b' ');
                into.extend(literal::hex_literal(value));
            }
            Carried::Plain | Carried::Binary => into.extend(literal::hex_literal(value)),
        }
    }

    /// Of which rows a moment would not come back from its time in the session's zone, in which one hour comes twice. None
    /// if no column has moments.
    #[must_use]
    pub fn ambiguous(&self) -> Option<Vec<u8>> {
        let moments = self.columns.iter();
        let moments = moments.filter(|column| column.carried == Carried::Moment);
        let twice = |column: &Column| {
            let name = column.quoted.as_slice();
            let (at, back) = (
                &b"UNIX_TIMESTAMP("[..],
                b") <> UNIX_TIMESTAMP(FROM_UNIXTIME(",
            );
            [at, name, back, at, name, b")))"].concat()
        };
        let all: Vec<Vec<u8>> = moments.map(twice).collect();
        let from = [b" FROM ", self.name.as_slice(), b" WHERE "].concat();
        let count = |all: Vec<u8>| [&b"SELECT COUNT(*)"[..], &from, &all].concat();
        (!all.is_empty()).then(|| count(all.join(&b" OR "[..])))
    }

    /// Of which rows a JSON value would not come back as it is: what a document holds can be more than its text says. None
    /// if no column has such values.
    #[must_use]
    pub fn unfaithful(&self) -> Option<Vec<u8>> {
        let documents = self.columns.iter();
        let documents = documents.filter(|column| column.carried == Carried::Json);
        let lossy = |column: &Column| {
            let name = column.quoted.as_slice();
            let back = b" <=> CAST(CAST(";
            let text = b" AS CHAR CHARACTER SET utf8mb4) AS JSON))";
            [b"NOT (", name, back, name, text].concat()
        };
        let all: Vec<Vec<u8>> = documents.map(lossy).collect();
        (!all.is_empty()).then(|| all.join(&b" OR "[..]))
    }

    /// Whether this is what stands for a document whose text does not give it back: dates and decimals in it become others.
    #[must_use]
    pub fn is_lost(&self, column: usize, value: &[u8]) -> bool {
        let column = self.columns.get(column);
        value == LOST && column.is_some_and(|column| column.carried == Carried::Json)
    }

    /// Whether this is an ENUM that holds no value of its list, of which servers warn when it is written.
    #[must_use]
    pub fn is_outside(&self, column: usize, value: &[u8]) -> bool {
        let column = self.columns.get(column);
        value == b"0" && column.is_some_and(|column| column.carried == Carried::Member)
    }

    /// Whether the values of this column are members of a list, known by their numbers: alone it compares with such a
    /// number, in a row the texts would be compared.
    #[must_use]
    pub fn is_listed(&self, column: usize) -> bool {
        let column = self.columns.get(column);
        column.is_some_and(|column| matches!(column.carried, Carried::Member | Carried::Members))
    }

    /// Whether deleting or changing other rows can delete or change rows of the table that `shown`, the answer to SHOW
    /// CREATE TABLE, describes.
    #[must_use]
    pub fn cascades(shown: &[u8]) -> bool {
        let lines = shown.split(|byte| *byte == b'\n');
        let mut keys = lines.filter(|line| line.trim_ascii_start().starts_with(b"CONSTRAINT "));
        keys.any(|line| {
            let words = without_strings(line);
            holds(&words, b" FOREIGN KEY ")
                && [&b" CASCADE"[..], b" SET "]
                    .iter()
                    .any(|word| holds(&words, word))
        })
    }

    /// The character sets that literals of its texts name.
    pub fn charsets(&self) -> BTreeSet<Vec<u8>> {
        let texts = self.columns.iter();
        let texts = texts.filter(|column| column.carried == Carried::Text);
        texts.map(|column| column.charset.clone()).collect()
    }

    /// Its name, in backquotes.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many values a pulled row has.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// What pulls the rows of a part.
    pub fn select(&self, table: &str, alias: &[u8], condition: Option<&[u8]>) -> Vec<u8> {
        let mut sql = self.selected();
        push_from(&mut sql, table, alias, condition);
        sql
    }

    /// SELECT with all columns as they are carried.
    fn selected(&self) -> Vec<u8> {
        let mut sql = b"SELECT ".to_vec();
        for (place, column) in self.columns.iter().enumerate() {
            if place > 0 {
                sql.extend_from_slice(b", ");
            }
            let (before, after): (&[u8], &[u8]) = match column.carried {
                Carried::Json => {
                    sql.extend(document(&column.quoted));
                    continue;
                }
                Carried::Number | Carried::Plain | Carried::Binary => (b"", b""),
                Carried::Bits | Carried::Member => (b"", b" + 0"),
                // Added to, it would be a floating-point number, or one with a sign; cast, some servers warn of that.
                Carried::Members => (b"", b" | 0"),
                Carried::Real => (b"", b" * 1e0"),
                Carried::Moment => (b"UNIX_TIMESTAMP(", b")"),
                Carried::Text => (b"CAST(", b" AS BINARY)"),
            };
            sql.extend_from_slice(before);
            sql.extend_from_slice(&column.quoted);
            sql.extend_from_slice(after);
        }
        sql
    }

    /// What brings the rows of a part over that is on the same server, in the session's time zone.
    pub fn copy(
        &self,
        table: &str,
        alias: &[u8],
        condition: Option<&[u8]>,
        moments: Moments,
    ) -> Vec<u8> {
        let value = |column: &Column| match (moments, column.carried) {
            (Moments::ByOffset, Carried::Moment) => moment::in_utc(&column.quoted),
            _ => column.quoted.clone(),
        };
        let values: Vec<Vec<u8>> = self.columns.iter().map(value).collect();
        let mut sql = self.insert_head();
        sql.extend_from_slice(b" SELECT ");
        sql.extend(values.join(&b", "[..]));
        push_from(&mut sql, table, alias, condition);
        sql
    }

    /// What rows are put behind.
    pub fn insert(&self) -> Vec<u8> {
        let mut sql = self.insert_head();
        sql.extend_from_slice(b" VALUES ");
        sql
    }

    fn insert_head(&self) -> Vec<u8> {
        let mut sql = b"INSERT INTO ".to_vec();
        sql.extend_from_slice(&self.name);
        sql.extend_from_slice(b" (");
        sql.extend(self.names());
        sql.push(b')');
        sql
    }

    fn names(&self) -> Vec<u8> {
        let names: Vec<&[u8]> = self.columns.iter().map(|c| c.quoted.as_slice()).collect();
        names.join(&b", "[..])
    }

    /// Adds a row, as it was pulled with the text protocol, to an [`insert`](Self::insert) in utf8mb4 with backslash as
    /// escape and UTC as time zone. Gives back whether it had as many values as columns.
    pub fn push_row<'v>(
        &self,
        mut values: impl Iterator<Item = Option<&'v [u8]>>,
        into: &mut Vec<u8>,
    ) -> bool {
        into.push(b'(');
        for (place, column) in self.columns.iter().enumerate() {
            if place > 0 {
                into.push(b',');
            }
            match values.next() {
                Some(Some(value)) => push_value(column.carried, value, into),
                Some(None) => into.extend_from_slice(b"NULL"),
                None => return false,
            }
        }
        into.push(b')');
        values.next().is_none()
    }
}

/// Columns of a definition that take what these columns take, in any row: their lines, and how their values travel.
fn taking(definition: &Definition<'_>, wanted: &Wanted<'_>) -> Option<(Vec<Vec<u8>>, Vec<Column>)> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut columns = Vec::new();
    for name in wanted.columns {
        let mut all = definition.columns.iter();
        let column = all.find(|column| lower(&column.name) == *name)?;
        if column.generated {
            return None;
        }
        if wanted.moments.contains(name) {
            let quoted = literal::quote_identifier(&column.name);
            parts.push([quoted.as_slice(), b" decimal(20,6)"].concat());
            columns.push(Column {
                quoted,
                carried: Carried::Number,
                charset: Vec::new(),
            });
            continue;
        }
        // Every value is given: none is computed, of columns that may not be here.
        let line = without_computed_default(column.line);
        // Only a key may count.
        let line = match column.counts {
            true => without_word(line, b" AUTO_INCREMENT"),
            false => line,
        };
        parts.push(match wanted.asking == Some(name.as_str()) {
            true => without_word(line, b" NOT NULL"),
            false => line,
        });
        columns.push(definition.column(column));
    }
    Some((parts, columns))
}

/// No text of a document begins so.
const LOST: &[u8] = &[0];

/// A document as its text, if that gives it back.
fn document(name: &[u8]) -> Vec<u8> {
    let text = [b"CAST(", name, b" AS CHAR CHARACTER SET utf8mb4)"].concat();
    let text = text.as_slice();
    [
        b"IF(".as_slice(),
        name,
        b" <=> CAST(",
        text,
        b" AS JSON) AND ",
        text,
        b" <=> CAST(CAST(",
        text,
        b" AS JSON) AS CHAR CHARACTER SET utf8mb4), CAST(",
        text,
        b" AS BINARY), x'00')",
    ]
    .concat()
}

fn push_from(sql: &mut Vec<u8>, table: &str, alias: &[u8], condition: Option<&[u8]>) {
    sql.extend_from_slice(b" FROM ");
    sql.extend(literal::quote_identifier(table.as_bytes()));
    sql.extend_from_slice(b" AS ");
    sql.extend_from_slice(alias);
    if let Some(condition) = condition {
        sql.extend_from_slice(b" WHERE ");
        sql.extend_from_slice(condition);
    }
}

fn is_zero(moment: &[u8]) -> bool {
    moment.iter().all(|byte| matches!(byte, b'0' | b'.'))
}

fn push_value(carried: Carried, value: &[u8], into: &mut Vec<u8>) {
    match carried {
        Carried::Number | Carried::Bits | Carried::Members | Carried::Member => {
            into.extend_from_slice(value)
        }
        Carried::Real => {
            into.extend_from_slice(value);
            // As an integer, -0 would lose its sign.
            if !value.iter().any(|byte| byte.eq_ignore_ascii_case(&b'e')) {
                into.extend_from_slice(b"e0");
            }
        }
        // The moment 0 stands for the date of zeros.
        Carried::Moment if is_zero(value) => {
            into.extend_from_slice(b"'0000-00-00 00:00:00'");
        }
        Carried::Moment => {
            into.extend_from_slice(b"FROM_UNIXTIME(");
            into.extend_from_slice(value);
            into.push(b')');
        }
        Carried::Plain => push_quoted(value, into),
        Carried::Text | Carried::Binary => {
            into.extend_from_slice(b"_binary");
            push_quoted(value, into);
        }
        Carried::Json => {
            into.extend_from_slice(b"_utf8mb4");
            push_quoted(value, into);
        }
    }
}

fn push_quoted(value: &[u8], into: &mut Vec<u8>) {
    into.push(b'\'');
    for byte in value {
        match byte {
            b'\'' | b'\\' => into.extend_from_slice(&[b'\\', *byte]),
            0 => into.extend_from_slice(b"\\0"),
            _ => into.push(*byte),
        }
    }
    into.push(b'\'');
}

#[cfg(test)]
mod tests;
