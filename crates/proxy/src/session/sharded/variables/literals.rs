//! Literals of user variables: what gives a value again with the same type, character set and collation, and what the
//! planner may know of it.
//!
//! Must never guess: of what no literal gives back exactly there is none. Input: what a server says of a variable.

use dbmesh_plan::shard::Parameter;
use dbmesh_sql::{Dialect, literal};
use dbmesh_wire::column::{Column, ColumnFlags, ColumnType};

use super::Found;
use crate::backend::Cell;
use crate::vector::{NULL_BYTES, NULL_TEXT};

/// Character sets whose texts are written as their bytes.
const CHARSETS: [&str; 5] = ["utf8mb4", "utf8mb3", "latin1", "ascii", "binary"];

/// What MariaDB says of a variable of bytes is longer by one before anything is assigned.
const ASSIGNED_BYTES: u32 = 0xFF_FFFF;

/// The literal of a value: its collation, its bytes' number, its bytes as hexadecimal digits.
pub(super) fn written(column: &Column<'_>, cells: &[Cell]) -> Option<Found> {
    let [collation, length, hex] = cells else {
        return None;
    };
    let collation = String::from_utf8(collation.clone()?).ok()?;
    let value = match hex {
        Some(hex) => {
            let length: usize = std::str::from_utf8(length.as_ref()?).ok()?.parse().ok()?;
            Some(bytes_of(hex).filter(|bytes| bytes.len() == length)?)
        }
        None => None,
    };
    let unsigned = column.flags.contains(ColumnFlags::UNSIGNED);
    let number = value.as_deref().map(|value| std::str::from_utf8(value));
    let number = number.transpose().ok().flatten().unwrap_or("NULL");
    let written = match column.column_type {
        ColumnType::LONGLONG => match (unsigned, value.is_some()) {
            (false, true) if number != "-9223372036854775808" => number.to_owned(),
            (false, _) => format!("CAST({number} AS SIGNED)"),
            (true, _) => format!("CAST({number} AS UNSIGNED)"),
        },
        ColumnType::DECIMAL | ColumnType::NEWDECIMAL => {
            let scale = number
                .split_once('.')
                .map_or(0, |(_, fraction)| fraction.len());
            (scale <= 30).then(|| format!("CAST({number} AS DECIMAL(65,{scale}))"))?
        }
        ColumnType::DOUBLE if value.is_none() => "CAST(NULL AS DOUBLE)".to_owned(),
        ColumnType::DOUBLE if number.contains('e') => number.to_owned(),
        ColumnType::DOUBLE => format!("{number}e0"),
        ColumnType::VARCHAR
        | ColumnType::VAR_STRING
        | ColumnType::STRING
        | ColumnType::TINY_BLOB
        | ColumnType::BLOB
        | ColumnType::MEDIUM_BLOB
        | ColumnType::LONG_BLOB => {
            let assigned = column.length_bytes == ASSIGNED_BYTES;
            return text(&collation, value.as_deref(), assigned);
        }
        _ => return None,
    };
    Some(Found::Value(written.into_bytes()))
}

fn text(collation: &str, value: Option<&[u8]>, assigned: bool) -> Option<Found> {
    let charset = collation.split('_').next().unwrap_or_default();
    let named = collation
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !CHARSETS.contains(&charset) || !named {
        return None;
    }
    let text = match value {
        None if charset == "binary" && !assigned => return Some(Found::Unset),
        None if charset == "binary" => String::from_utf8_lossy(NULL_BYTES).into_owned(),
        None => format!("{}{charset})", String::from_utf8_lossy(NULL_TEXT)),
        Some(b"") => format!("_{charset}''"),
        Some(bytes) => {
            // A server refuses what is no text.
            let sound = match charset {
                "utf8mb4" | "utf8mb3" => std::str::from_utf8(bytes).is_ok(),
                "ascii" => bytes.is_ascii(),
                _ => true,
            };
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            sound.then(|| format!("_{charset} 0x{digits}"))?
        }
    };
    let collated = match charset {
        "binary" => text,
        _ => format!("{text} COLLATE {collation}"),
    };
    Some(Found::Value(collated.into_bytes()))
}

fn bytes_of(hex: &[u8]) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.chunks(2).map(pair).collect()
}

/// What the planner may know of a literal.
pub(super) fn meaning(written: &[u8], dialect: &Dialect) -> Parameter {
    let Ok(text) = std::str::from_utf8(written) else {
        return Parameter::Other;
    };
    let number = |text: &str| -> Parameter {
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'));
        match text.parse() {
            Ok(number) => Parameter::Integer(number),
            Err(_) if plain => Parameter::Decimal(text.to_owned()),
            Err(_) => Parameter::Other,
        }
    };
    if text.eq_ignore_ascii_case("NULL") || text.starts_with("CAST(NULL ") {
        return Parameter::Null;
    }
    if let Some(inner) = text.strip_prefix("CAST(") {
        return number(inner.split(' ').next().unwrap_or_default());
    }
    if let Some(inner) = text.strip_prefix('_') {
        let (charset, digits) = inner.split_once(" 0x").unwrap_or_default();
        let bytes = bytes_of(digits.split(' ').next().unwrap_or_default().as_bytes());
        let bytes = bytes.filter(|bytes| !bytes.is_empty() && CHARSETS.contains(&charset));
        let same = |bytes: &Vec<u8>| charset.starts_with("utf8") || bytes.is_ascii();
        return bytes.filter(same).map_or(Parameter::Other, Parameter::Text);
    }
    match written.first() {
        Some(b'\'' | b'"') => match literal::decode(written, dialect) {
            Some(text) => Parameter::Text(text),
            None => Parameter::Other,
        },
        _ => number(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> Cell {
        Some(text.as_bytes().to_vec())
    }

    fn of(
        kind: ColumnType,
        unsigned: bool,
        collation: &str,
        value: Option<&str>,
    ) -> Option<String> {
        let column = Column {
            catalog: b"def",
            schema: b"",
            table: b"",
            org_table: b"",
            name: b"@a",
            org_name: b"",
            extended: b"",
            collation: 63,
            length_bytes: 20,
            column_type: kind,
            flags: match unsigned {
                true => ColumnFlags::UNSIGNED,
                false => ColumnFlags(0),
            },
            decimals: 0,
            default_value: None,
        };
        let hex = value.map(|v| v.bytes().map(|b| format!("{b:02X}")).collect::<String>());
        let length = value.map(|value| value.len().to_string().into_bytes());
        let cells = [cell(collation), length, hex.map(String::into_bytes)];
        match written(&column, &cells)? {
            Found::Unset => Some("unset".to_owned()),
            Found::Value(value) => String::from_utf8(value).ok(),
        }
    }

    type Case = (
        ColumnType,
        bool,
        &'static str,
        Option<&'static str>,
        Option<&'static str>,
    );

    #[test]
    fn a_literal_gives_numbers_back() {
        check(&[
            (
                ColumnType::LONGLONG,
                false,
                "binary",
                Some("-5"),
                Some("-5"),
            ),
            (
                ColumnType::DOUBLE,
                false,
                "binary",
                Some("0.1"),
                Some("0.1e0"),
            ),
            (
                ColumnType::DOUBLE,
                false,
                "binary",
                Some("1e-300"),
                Some("1e-300"),
            ),
            (ColumnType::JSON, false, "binary", Some("{}"), None),
        ]);
    }

    #[test]
    fn a_literal_gives_texts_back() {
        check(&[
            (
                ColumnType::VAR_STRING,
                false,
                "latin1_bin",
                Some("a'"),
                Some("_latin1 0x6127 COLLATE latin1_bin"),
            ),
            (
                ColumnType::LONG_BLOB,
                false,
                "binary",
                Some("a"),
                Some("_binary 0x61"),
            ),
            (ColumnType::LONG_BLOB, false, "binary", None, Some("unset")),
            (
                ColumnType::VAR_STRING,
                false,
                "utf8mb4_bin",
                Some(""),
                Some("_utf8mb4'' COLLATE utf8mb4_bin"),
            ),
            (ColumnType::VAR_STRING, false, "utf16_bin", Some("a"), None),
            (ColumnType::VAR_STRING, false, "x; DROP", Some("a"), None),
        ]);
    }

    fn check(cases: &[Case]) {
        for (kind, unsigned, collation, value, expected) in cases {
            let found = of(*kind, *unsigned, collation, *value);
            assert_eq!(
                found.as_deref(),
                *expected,
                "{kind:?} {collation} {value:?}"
            );
        }
    }

    #[test]
    fn the_planner_knows_what_it_can_compare() {
        let dialect = Dialect::default();
        let of = |text: &str| meaning(text.as_bytes(), &dialect);
        assert_eq!(of("5"), Parameter::Integer(5));
        assert_eq!(
            of("CAST(18446744073709551615 AS UNSIGNED)"),
            Parameter::Integer(u64::MAX.into())
        );
        assert_eq!(
            of("CAST(1.50 AS DECIMAL(65,2))"),
            Parameter::Decimal("1.50".into())
        );
        assert_eq!(of("'it''s'"), Parameter::Text(b"it's".to_vec()));
        assert_eq!(
            of("_utf8mb4 0x6127 COLLATE utf8mb4_bin"),
            Parameter::Text(b"a'".to_vec())
        );
        assert_eq!(of("_latin1 0xe9 COLLATE latin1_bin"), Parameter::Other);
        assert_eq!(of("CAST(NULL AS SIGNED)"), Parameter::Null);
        assert_eq!(of("NULL"), Parameter::Null);
        assert_eq!(of("1e3"), Parameter::Other);
        assert_eq!(of("0x61"), Parameter::Other);
        assert_eq!(of("TRUE"), Parameter::Other);
    }
}
