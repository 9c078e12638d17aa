//! Texts of dbmesh's own that have parameters of the client's, at one node.
//!
//! Owns their execution: a server compares a parameter otherwise than a literal (a YEAR with 29, a DATE with what is none),
//! so that values are bound and never written into a text. What is prepared is closed again, as no other statement has the
//! same words. Input: the words of a step, and COM_STMT_EXECUTE of the client.

use std::sync::Arc;

use dbmesh_wire::codec::{Reader, put_lenenc_bytes};
use dbmesh_wire::column::{BinaryLayout, Column, ColumnFlags, ColumnType};
use dbmesh_wire::command::{Parameter, put_bound};
use dbmesh_wire::relay::{Outcome, Shape};

use super::super::prepare::prepare_on;
use super::super::settle::close_statements;
use super::prepared::{integer, time};
use crate::backend::{Answer, Backend, BackendError, server_error};
use crate::prepared::Key;

/// NULL in a row of the text protocol.
const NULL: u8 = 0xFB;

/// A statement that is prepared for one execution.
#[derive(Debug)]
pub(super) struct Once {
    key: Arc<Key>,
    /// The command that executes it.
    pub payload: Vec<u8>,
}

impl Once {
    /// Prepares it.
    pub async fn prepare(
        backend: &mut Backend,
        sql: &[u8],
        values: &[Parameter<'_>],
    ) -> Result<Answer<Self>, BackendError> {
        let key = Arc::new(Key::of(sql, &backend.vector));
        let id = match prepare_on(backend, &key, 0).await? {
            Ok((id, _)) => id,
            Err(payload) => return Ok(Err(server_error(payload)?)),
        };
        let mut payload = Vec::new();
        put_bound(&mut payload, id, values, backend.capabilities);
        Ok(Ok(Self { key, payload }))
    }

    /// Closes it, once its answer was read.
    pub async fn close(self, backend: &mut Backend) -> Result<(), BackendError> {
        match backend.statements.remove(&self.key) {
            Some(id) => close_statements(backend, &[id]).await,
            None => Ok(()),
        }
    }
}

/// Runs a statement and reads its whole answer. The server's own error is the inner one.
pub(super) async fn run(
    backend: &mut Backend,
    sql: &[u8],
    values: &[Parameter<'_>],
) -> Result<Answer<(Outcome, Vec<u8>)>, BackendError> {
    if values.is_empty() {
        let payload = backend.query_payload(sql);
        return backend.run(&payload, Shape::Results).await;
    }
    let once = match Once::prepare(backend, sql, values).await? {
        Ok(once) => once,
        Err(error) => return Ok(Err(error)),
    };
    let answer = backend.run(&once.payload, Shape::Results).await?;
    once.close(backend).await?;
    Ok(answer)
}

/// A row of the binary protocol as the text protocol has it. None if it has other columns than these definitions.
pub(super) fn text_row(columns: &[Vec<u8>], row: &[u8]) -> Option<Vec<u8>> {
    let bitmap_bytes = (columns.len() + 2).div_ceil(8);
    let (bitmap, values) = row.get(1..)?.split_at_checked(bitmap_bytes)?;
    let mut reader = Reader::new(values);
    let mut text = Vec::with_capacity(row.len() * 2);
    for (place, column) in columns.iter().enumerate() {
        let bit = place + 2;
        if bitmap.get(bit / 8)? & (1 << (bit % 8)) != 0 {
            text.push(NULL);
            continue;
        }
        let column = Column::decode(column).ok()?;
        match column.column_type.binary_layout() {
            BinaryLayout::LengthEncoded => put_lenenc_bytes(&mut text, reader.lenenc_bytes().ok()?),
            BinaryLayout::Fixed(width) => {
                let number = number(&column, reader.bytes(width).ok()?)?;
                put_lenenc_bytes(&mut text, number.as_bytes());
            }
            BinaryLayout::ShortLength => {
                let width = usize::from(reader.u8().ok()?);
                let bytes = reader.bytes(width).ok()?;
                let moment = match column.column_type {
                    ColumnType::TIME => duration(bytes)?,
                    ColumnType::DATE => time(bytes).unwrap_or_else(|| "0000-00-00".to_owned()),
                    _ => time(bytes).unwrap_or_else(|| "0000-00-00 00:00:00".to_owned()),
                };
                put_lenenc_bytes(&mut text, moment.as_bytes());
            }
        }
    }
    reader.is_empty().then_some(text)
}

/// A number with all of its digits.
fn number(column: &Column<'_>, bytes: &[u8]) -> Option<String> {
    Some(match column.column_type {
        ColumnType::DOUBLE => format!("{:e}", f64::from_le_bytes(bytes.try_into().ok()?)),
        ColumnType::FLOAT => format!("{:e}", f32::from_le_bytes(bytes.try_into().ok()?)),
        ColumnType::YEAR => format!("{:04}", integer(bytes, true)?),
        _ => integer(bytes, column.flags.contains(ColumnFlags::UNSIGNED))?.to_string(),
    })
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
    use dbmesh_wire::caps::Capabilities;

    fn column(column_type: ColumnType, flags: ColumnFlags) -> Vec<u8> {
        let mut column = Column::integer(b"c");
        (column.column_type, column.flags) = (column_type, flags);
        let mut definition = Vec::new();
        column.encode(&mut definition, Capabilities::PROTOCOL_41);
        definition
    }

    fn text(column_type: ColumnType, flags: ColumnFlags, bytes: &[u8]) -> Option<String> {
        let row = [&[0, 0], bytes].concat();
        let row = text_row(&[column(column_type, flags)], &row)?;
        let value = Reader::new(&row).lenenc_bytes().unwrap();
        Some(String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn values_are_those_of_the_text_protocol() {
        let plain = |column_type, bytes: &[u8]| text(column_type, ColumnFlags::default(), bytes);
        let is =
            |found: Option<String>, expected: &str| assert_eq!(found.as_deref(), Some(expected));
        is(plain(ColumnType::TINY, &[0xFF]), "-1");
        is(
            text(ColumnType::TINY, ColumnFlags::UNSIGNED, &[0xFF]),
            "255",
        );
        is(plain(ColumnType::YEAR, &[0, 0]), "0000");
        is(plain(ColumnType::DOUBLE, &1.5f64.to_le_bytes()), "1.5e0");
        is(plain(ColumnType::NEWDECIMAL, b"\x05-1.50"), "-1.50");
        is(plain(ColumnType::DATE, &[4, 0xE8, 7, 1, 2]), "2024-01-02");
        is(plain(ColumnType::DATE, &[0]), "0000-00-00");
        is(plain(ColumnType::DATETIME, &[0]), "0000-00-00 00:00:00");
        is(
            plain(ColumnType::DATETIME, &[7, 0xE8, 7, 1, 2, 3, 4, 5]),
            "2024-01-02 03:04:05",
        );
        is(plain(ColumnType::TIME, &[0]), "00:00:00");
        is(
            plain(
                ColumnType::TIME,
                &[12, 1, 1, 0, 0, 0, 2, 3, 4, 0x40, 0xE2, 1, 0],
            ),
            "-26:03:04.123456",
        );
    }

    #[test]
    fn nulls_and_rows_that_are_cut_short() {
        let columns = [
            column(ColumnType::LONG, ColumnFlags::default()),
            column(ColumnType::VAR_STRING, ColumnFlags::default()),
        ];
        let row = [0, 0b0100, 1, b'a'];
        assert_eq!(text_row(&columns, &row), Some(vec![NULL, 1, b'a']));
        assert_eq!(text_row(&columns, &row[..3]), None);
        assert_eq!(text_row(&columns, &[0, 0b0100, 1, b'a', 0]), None);
        assert_eq!(text_row(&columns, &[]), None);
    }
}
