//! The text of a prepared statement with its values in it.
//!
//! Owns the literals: each has the type and the value that the server would give the parameter. A value that no literal
//! says exactly is refused. Input: COM_STMT_EXECUTE.

use dbmesh_sql::literal;
use dbmesh_sql::{Lexer, TokenKind};
use dbmesh_wire::column::{BinaryLayout, ColumnType};
use dbmesh_wire::command::{Parameter, ParameterValue};

use super::super::Session;
use super::prepared::{integer, time};
use crate::fault::Fault;

impl Session {
    /// The statement as it would be in text.
    pub(super) fn bound_text(
        &mut self,
        sql: &[u8],
        values: &[Parameter<'_>],
    ) -> Result<Vec<u8>, Fault> {
        let dialect = self.dialect();
        let mut text = Vec::with_capacity(sql.len() + 16 * values.len());
        let mut at = 0;
        let mut values = values.iter();
        for token in Lexer::new(sql, &dialect) {
            if token.kind != TokenKind::Parameter {
                continue;
            }
            text.extend_from_slice(sql.get(at..token.span.start).unwrap_or_default());
            let value = values.next().ok_or(Fault::Malformed("COM_STMT_EXECUTE"))?;
            let literal = literal_of(value, dialect.no_backslash_escapes);
            let literal = literal.ok_or_else(|| {
                let why = "it changes rows by rows of several nodes with a value of a type that is not served there: send it as text";
                Fault::Sharding(why.into())
            })?;
            text.extend(literal);
            at = token.span.end;
        }
        text.extend_from_slice(sql.get(at..).unwrap_or_default());
        Ok(text)
    }
}

/// A value as a literal of the same type.
fn literal_of(parameter: &Parameter<'_>, no_backslash_escapes: bool) -> Option<Vec<u8>> {
    let bytes = match parameter.value {
        ParameterValue::Null => return Some(b"NULL".to_vec()),
        ParameterValue::Bytes(bytes) => bytes,
        ParameterValue::LongData => return None,
    };
    let kind = parameter.kind.column_type;
    let number = |text: String| Some(text.into_bytes());
    match (kind, kind.binary_layout()) {
        (ColumnType::NULL, _) => Some(b"NULL".to_vec()),
        (ColumnType::DOUBLE, _) => {
            let value = f64::from_le_bytes(bytes.try_into().ok()?);
            value.is_finite().then(|| format!("{value:e}").into_bytes())
        }
        (ColumnType::FLOAT, _) => {
            let value = f64::from(f32::from_le_bytes(bytes.try_into().ok()?));
            value.is_finite().then(|| format!("{value:e}").into_bytes())
        }
        (_, BinaryLayout::Fixed(_)) => number(integer(bytes, parameter.kind.unsigned)?.to_string()),
        (ColumnType::DATE, _) => number(format!("DATE'{}'", time(bytes)?)),
        (ColumnType::DATETIME | ColumnType::TIMESTAMP, _) => {
            // Midnight is sent without a time, which its literal must have.
            let mut moment = time(bytes)?;
            if !moment.contains(' ') {
                moment.push_str(" 00:00:00");
            }
            number(format!("TIMESTAMP'{moment}'"))
        }
        (ColumnType::TIME, _) => number(format!("TIME'{}'", duration(bytes)?)),
        (ColumnType::DECIMAL | ColumnType::NEWDECIMAL, _) => {
            let digits = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
            bytes.iter().all(digits).then(|| bytes.to_vec())
        }
        // Servers take these for bytes, whatever the session's character set is.
        (
            ColumnType::TINY_BLOB
            | ColumnType::BLOB
            | ColumnType::MEDIUM_BLOB
            | ColumnType::LONG_BLOB,
            _,
        ) => Some([&b"_binary "[..], &literal::hex_literal(bytes)].concat()),
        (ColumnType::VARCHAR | ColumnType::VAR_STRING | ColumnType::STRING, _) => {
            Some(literal::quote_literal(bytes, no_backslash_escapes))
        }
        _ => None,
    }
}

/// `[-]HHH:MM:SS[.ffffff]`.
fn duration(bytes: &[u8]) -> Option<String> {
    let Some(([negative, d0, d1, d2, d3, hour, minute, second], rest)) = bytes.split_first_chunk()
    else {
        return bytes.is_empty().then(|| "00:00:00".to_owned());
    };
    let days = u64::from(u32::from_le_bytes([*d0, *d1, *d2, *d3]));
    let hours = days * 24 + u64::from(*hour);
    let sign = if *negative == 0 { "" } else { "-" };
    let mut text = format!("{sign}{hours:02}:{minute:02}:{second:02}");
    if let Some(micros) = rest.first_chunk::<4>() {
        text += &format!(".{:06}", u32::from_le_bytes(*micros));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbmesh_wire::command::ParameterType;

    fn literal(column_type: ColumnType, unsigned: bool, bytes: &[u8]) -> String {
        let parameter = Parameter {
            kind: ParameterType {
                column_type,
                unsigned,
                name: b"",
            },
            value: ParameterValue::Bytes(bytes),
        };
        let found = literal_of(&parameter, false).unwrap();
        String::from_utf8(found).unwrap()
    }

    #[test]
    fn values_become_literals_of_their_types() {
        assert_eq!(literal(ColumnType::TINY, false, &[0xFF]), "-1");
        assert_eq!(literal(ColumnType::TINY, true, &[0xFF]), "255");
        assert_eq!(
            literal(ColumnType::DOUBLE, false, &1.5f64.to_le_bytes()),
            "1.5e0"
        );
        assert_eq!(literal(ColumnType::VAR_STRING, false, b"it's"), "'it''s'");
        assert_eq!(
            literal(ColumnType::BLOB, false, &[0, 0xFF]),
            "_binary x'00ff'"
        );
        assert_eq!(literal(ColumnType::LONG_BLOB, false, b""), "_binary x''");
        assert_eq!(
            literal(ColumnType::DATE, false, &[0xE8, 7, 1, 2]),
            "DATE'2024-01-02'"
        );
        assert_eq!(
            literal(ColumnType::DATETIME, false, &[0xE8, 7, 1, 2]),
            "TIMESTAMP'2024-01-02 00:00:00'"
        );
        assert_eq!(
            literal(ColumnType::DATETIME, false, &[0xE8, 7, 1, 2, 3, 4, 5]),
            "TIMESTAMP'2024-01-02 03:04:05'"
        );
        assert_eq!(literal(ColumnType::NEWDECIMAL, false, b"-1.50"), "-1.50");
        assert_eq!(literal(ColumnType::TIME, false, b""), "TIME'00:00:00'");
        assert_eq!(
            literal(
                ColumnType::TIME,
                false,
                &[1, 1, 0, 0, 0, 2, 3, 4, 0x40, 0xE2, 1, 0]
            ),
            "TIME'-26:03:04.123456'"
        );
    }
}
