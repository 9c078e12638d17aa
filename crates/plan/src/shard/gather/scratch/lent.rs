//! Rows that have more to give than the columns of their table: values that ON DUPLICATE KEY UPDATE reads of a query.
//!
//! Owns the table that takes both, and the words in which such rows go to their node: a JSON document in the text, of which
//! JSON_TABLE makes rows whose columns have the types that the query's had. Must never let a value go that would not arrive
//! as it was: a type that JSON_TABLE does not make is none of these. Input: what SHOW CREATE TABLE says of the table, and of
//! one that has the types of what is lent.

use dbmesh_sql::{Flavor, literal};

use super::definition::{Definition, holds, option_of, without_strings};
use super::{Carried, Column, ScratchTable, Wanted, Writing, taking};

/// What rows are called at their node, and their own columns.
const ROWS: &str = "mesh_rows";
const OWN: &str = "own_";

/// A table of rows with what is lent beside their columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LentTable {
    /// The table: the columns, and behind them what is lent.
    pub table: ScratchTable,
    travels: Vec<Travel>,
    /// So many columns are the rows' own.
    own: usize,
}

/// How a value goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Travel {
    /// What makes a text of it.
    text: Vec<u8>,
    /// The column that JSON_TABLE makes of the text.
    name: Vec<u8>,
    /// Its type.
    declared: Vec<u8>,
    /// What has the value there.
    value: Vec<u8>,
}

impl LentTable {
    /// The table of this name for these columns of the one that `shown` describes, and for all of the one that `lent`
    /// describes. None if a column is not there, is computed, or has a type whose values do not go so.
    pub fn of(
        shown: &[u8],
        lent: &[u8],
        (name, wanted): (&str, &Wanted<'_>),
        flavor: Flavor,
    ) -> Option<Self> {
        let definition = Definition::read(shown)?;
        let (mut parts, mut columns) = taking(&definition, wanted)?;
        let own = columns.len();
        let lines = columns.iter().zip(&parts).enumerate();
        let mut travels: Vec<Travel> = lines
            .map(|(place, (column, line))| {
                taken(place, column, &declared(line, column, definition.options))
            })
            .collect();
        let lent = Definition::read(lent)?;
        for line in &lent.columns {
            let column = lent.column(line);
            let declared = declared(line.line, &column, lent.options);
            travels.push(lend(&column, &declared, flavor)?);
            parts.push([column.quoted.as_slice(), b" ", &declared, b" NULL"].concat());
            columns.push(column);
        }
        Some(Self {
            table: ScratchTable::temporary(definition.options, name, &parts, columns),
            travels,
            own,
        })
    }

    /// What reads the rows as JSON arrays in UTF-8, whatever character set the session has, in the order in which they came.
    #[must_use]
    pub fn read(&self) -> Vec<u8> {
        let texts: Vec<&[u8]> = self.travels.iter().map(|t| t.text.as_slice()).collect();
        [
            &b"SELECT CAST(CONVERT(JSON_ARRAY("[..],
            &texts.join(&b", "[..]),
            b") USING utf8mb4) AS BINARY) FROM ",
            &self.table.name,
            b" LIMIT 18446744073709551615",
        ]
        .concat()
    }

    /// What has the value of this column of what is lent, at the rows' node.
    #[must_use]
    pub fn lent(&self, place: usize) -> &[u8] {
        let travel = self.travels.get(self.own + place);
        travel.map_or(b"NULL", |travel| &travel.value)
    }

    /// The words of a statement's rows, which came as arrays: before them, one for each, between two, and behind.
    #[must_use]
    pub fn words(&self, rows: &[&[u8]], writing: Writing) -> Words {
        let (begin, end) = self.around();
        let ascii = rows.iter().all(|row| row.is_ascii());
        let (open, between, close): (&[u8], &[u8], &[u8]) = match ascii {
            true => (b"'[", b",", b"]'"),
            false => (b"_utf8mb4 x'5b", b"2c", b"5d'"),
        };
        let write = |row: &&[u8]| match ascii {
            true => inner(
                &literal::quote_literal(row, writing.no_backslash_escapes),
                b"'",
            ),
            false => inner(&literal::hex_literal(row), b"x'"),
        };
        Words {
            before: [&begin[..], open].concat(),
            rows: rows.iter().map(write).collect(),
            between: between.to_vec(),
            after: [close, &end[..]].concat(),
        }
    }

    /// What stands before and behind the document.
    fn around(&self) -> (Vec<u8>, Vec<u8>) {
        let own = self.travels.iter().take(self.own);
        let values: Vec<&[u8]> = own.map(|travel| travel.value.as_slice()).collect();
        let begin = [
            b" SELECT ",
            &values.join(&b", "[..])[..],
            b" FROM JSON_TABLE(",
        ]
        .concat();
        let column = |(place, travel): (usize, &Travel)| {
            let path = format!(" PATH '$[{place}]' ERROR ON EMPTY ERROR ON ERROR");
            [&travel.name[..], b" ", &travel.declared, path.as_bytes()].concat()
        };
        let columns: Vec<Vec<u8>> = self.travels.iter().enumerate().map(column).collect();
        let columns = columns.join(&b", "[..]);
        let alias = format!(")) AS {ROWS}");
        let end = [b", '$[*]' COLUMNS (", &columns[..], alias.as_bytes()].concat();
        (begin, end)
    }
}

/// The words of rows: see [`RowsAs`](super::super::super::RowsAs).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Before the rows.
    pub before: Vec<u8>,
    /// One text for each.
    pub rows: Vec<Vec<u8>>,
    /// Between two.
    pub between: Vec<u8>,
    /// Behind them.
    pub after: Vec<u8>,
}

/// What stands in a literal that begins so.
fn inner(literal: &[u8], open: &[u8]) -> Vec<u8> {
    let inner = literal.strip_prefix(open).unwrap_or_default();
    inner.strip_suffix(b"'").unwrap_or_default().to_vec()
}

/// A call of a function with the column between these words.
fn around(before: &str, name: &[u8], after: &str) -> Vec<u8> {
    [before.as_bytes(), name, after.as_bytes()].concat()
}

fn travel(name: String, text: Vec<u8>, declared: &[u8]) -> Travel {
    Travel {
        text,
        value: format!("{ROWS}.{name}").into_bytes(),
        name: name.into_bytes(),
        declared: declared.to_vec(),
    }
}

/// How a value goes that is stored in a column of this type: it may go as another one that has all of its values.
fn taken(place: usize, column: &Column, own: &[u8]) -> Travel {
    let name = format!("{OWN}{place}");
    let quoted = column.quoted.as_slice();
    // MariaDB's JSON is such a text, of which JSON_ARRAY makes no string.
    let is_document = column.carried == Carried::Json || own.starts_with(b"longtext");
    let (text, declared): (Vec<u8>, &[u8]) = match column.carried {
        Carried::Number => (around("CAST(", quoted, " AS CHAR)"), number(own)),
        Carried::Bits | Carried::Member => {
            (around("CAST(", quoted, " + 0 AS CHAR)"), b"bigint unsigned")
        }
        Carried::Members => (around("CAST(", quoted, " | 0 AS CHAR)"), b"bigint unsigned"),
        Carried::Real => (around("CAST(", quoted, " * 1e0 AS CHAR)"), b"double"),
        Carried::Plain | Carried::Moment => (around("CAST(", quoted, " AS CHAR)"), b"varchar(64)"),
        Carried::Text if !is_document => (
            around("CONVERT(", quoted, " USING utf8mb4)"),
            b"longtext CHARACTER SET utf8mb4",
        ),
        Carried::Text | Carried::Json => (
            around("HEX(CONVERT(", quoted, " USING utf8mb4))"),
            b"longtext",
        ),
        Carried::Binary => (around("HEX(", quoted, ")"), b"longtext"),
    };
    let mut travel = travel(name, text, declared);
    let value = std::mem::take(&mut travel.value);
    travel.value = match column.carried {
        Carried::Binary => around("UNHEX(", &value, ")"),
        Carried::Text | Carried::Json if is_document => {
            around("CONVERT(UNHEX(", &value, ") USING utf8mb4)")
        }
        _ => value,
    };
    travel
}

/// A type of all values of a number's, of which no server says that it is deprecated.
fn number(own: &[u8]) -> &[u8] {
    let plain = own.iter().position(|byte| *byte == b' ');
    match own {
        _ if own.starts_with(b"decimal") => own.get(..plain.unwrap_or(own.len())).unwrap_or(own),
        _ if own.starts_with(b"year") => b"smallint",
        _ if holds(own, b" unsigned") => b"bigint unsigned",
        _ => b"bigint",
    }
}

/// How a value goes that is computed with: as what it is.
fn lend(column: &Column, declared: &[u8], flavor: Flavor) -> Option<Travel> {
    let quoted = column.quoted.as_slice();
    let word = declared.split(|byte| !byte.is_ascii_alphanumeric()).next();
    let word = word.unwrap_or_default();
    let text = match column.carried {
        Carried::Number => around("CAST(", quoted, " AS CHAR)"),
        Carried::Real => around("CAST(", quoted, " * 1e0 AS CHAR)"),
        Carried::Moment => around("CAST(", quoted, " AS CHAR)"),
        Carried::Plain if matches!(word, b"date" | b"time" | b"datetime") => {
            around("CAST(", quoted, " AS CHAR)")
        }
        Carried::Text => around("CONVERT(", quoted, " USING utf8mb4)"),
        // MariaDB makes no such columns.
        Carried::Member | Carried::Members if flavor == Flavor::MySql => {
            around("CONVERT(", quoted, " USING utf8mb4)")
        }
        Carried::Binary if word.ends_with(b"binary") || word.ends_with(b"blob") => {
            around("HEX(", quoted, ")")
        }
        _ => return None,
    };
    let name = String::from_utf8(literal_name(quoted)?.to_vec()).ok()?;
    let declared: &[u8] = match column.carried {
        Carried::Binary => b"longtext",
        _ => declared,
    };
    let mut travel = travel(name, text, declared);
    if column.carried == Carried::Binary {
        travel.value = around("UNHEX(", &travel.value.clone(), ")");
    }
    Some(travel)
}

/// A name that needs no quotes, without them.
fn literal_name(quoted: &[u8]) -> Option<&[u8]> {
    let name = quoted.strip_prefix(b"`")?.strip_suffix(b"`")?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    name.iter().all(plain).then_some(name)
}

/// The words of a column's type, with the character set and collation that the table gives it.
fn declared(line: &[u8], column: &Column, options: &[u8]) -> Vec<u8> {
    let rest = line.get(column.quoted.len()..).unwrap_or_default();
    let rest = rest.trim_ascii_start();
    let mut end = rest
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    if rest.get(end) == Some(&b'(') {
        end = closed(rest, end);
    }
    let mut words = rest.get(..end).unwrap_or_default().to_vec();
    let said = without_strings(rest);
    for word in [&b" unsigned"[..], b" zerofill"] {
        if holds(&said, word) {
            words.extend_from_slice(word);
        }
    }
    let texts = matches!(
        column.carried,
        Carried::Text | Carried::Member | Carried::Members
    );
    if !texts {
        return words;
    }
    let charset = option_of(&said, b"CHARACTER SET ");
    let collate = option_of(&said, b"COLLATE ");
    if charset.is_empty() && collate.is_empty() {
        let of_table = option_of(options, b"COLLATE=");
        let of_table = of_table.strip_prefix(b" COLLATE=").unwrap_or_default();
        words.extend_from_slice(b" CHARACTER SET ");
        words.extend_from_slice(&column.charset);
        if !of_table.is_empty() {
            words.extend_from_slice(b" COLLATE ");
            words.extend_from_slice(of_table);
        }
        return words;
    }
    words.extend_from_slice(b" CHARACTER SET ");
    words.extend_from_slice(&column.charset);
    words.extend(collate);
    words
}

/// Where the parenthesis at a place is closed; strings in it may hold any.
fn closed(text: &[u8], open: usize) -> usize {
    let mut inside = false;
    for (at, byte) in text.iter().enumerate().skip(open) {
        match byte {
            b'\'' => inside = !inside,
            b')' if !inside => return at + 1,
            _ => {}
        }
    }
    text.len()
}
