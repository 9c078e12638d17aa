//! Result sets that the proxy writes itself, in the text and the binary protocol.
//!
//! Owns the packets from the column count to the last EOF or OK, with their sequence ids. Meant for
//! small answers (SHOW, EXPLAIN, `SELECT @@x`); a backend's rows are relayed, not rebuilt. Input: our
//! own values.

use crate::caps::Capabilities;
use crate::codec::{begin_packet, finish_packet, put_lenenc_bytes, put_lenenc_int};
use crate::column::{BinaryLayout, Column, ColumnType};
use crate::reply::{self, EofMode, OkForm};
use crate::status::Status;

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// NULL.
    Null,
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// Text or bytes, in the column's character set.
    Bytes(&'a [u8]),
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Cell<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<i64> for Cell<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Cell<'_> {
    fn from(value: u64) -> Self {
        Self::UInt(value)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Which protocol rows are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFormat {
    /// Answers to COM_QUERY.
    Text,
    /// Answers to COM_STMT_EXECUTE.
    Binary,
}

/// Appends the payload of a row of the text protocol.
pub fn put_text_row(out: &mut Vec<u8>, cells: &[Cell<'_>]) {
    for cell in cells {
        match *cell {
            Cell::Null => out.push(0xFB),
            Cell::Int(value) => put_lenenc_bytes(out, value.to_string().as_bytes()),
            Cell::UInt(value) => put_lenenc_bytes(out, value.to_string().as_bytes()),
            Cell::Bytes(bytes) => put_lenenc_bytes(out, bytes),
        }
    }
}

/// Appends the payload of a row of the binary protocol. Integers take the column type's width;
/// columns without a cell are NULL. Text in a column of a number, date or time type is NULL too,
/// because it has no binary form here.
pub fn put_binary_row(out: &mut Vec<u8>, types: &[ColumnType], cells: &[Cell<'_>]) {
    // The NULL bitmap of result rows starts at bit 2.
    let bitmap_start = out.len().saturating_add(1);
    let bitmap_bytes = types.len().saturating_add(2).div_ceil(8);
    out.push(0);
    out.resize(bitmap_start.saturating_add(bitmap_bytes), 0);
    for (index, column_type) in types.iter().enumerate() {
        let cell = cells.get(index).copied().unwrap_or(Cell::Null);
        if !put_binary_cell(out, *column_type, cell) {
            let bit = index.saturating_add(2);
            if let Some(byte) = out.get_mut(bitmap_start.saturating_add(bit / 8)) {
                *byte |= 1 << (bit % 8);
            }
        }
    }
}

/// Appends a binary value; false when it can only be NULL.
fn put_binary_cell(out: &mut Vec<u8>, column_type: ColumnType, cell: Cell<'_>) -> bool {
    let integer = match cell {
        Cell::Null => return false,
        Cell::Int(value) => value.to_le_bytes(),
        Cell::UInt(value) => value.to_le_bytes(),
        Cell::Bytes(bytes) => {
            let fits = column_type.binary_layout() == BinaryLayout::LengthEncoded;
            if fits {
                put_lenenc_bytes(out, bytes);
            }
            return fits;
        }
    };
    match (column_type.binary_layout(), column_type) {
        (BinaryLayout::Fixed(_), ColumnType::FLOAT | ColumnType::DOUBLE) => false,
        (BinaryLayout::Fixed(width @ 1..), _) => {
            out.extend_from_slice(integer.get(..width).unwrap_or(&integer));
            true
        }
        (BinaryLayout::LengthEncoded, _) => {
            put_text_row(out, &[cell]);
            true
        }
        _ => false,
    }
}

/// Writes one complete result set as packets, in either EOF mode.
///
/// ```
/// # use dbmesh_wire::{Capabilities, Status, column::Column, result_set::*};
/// let caps = Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF;
/// let mut seq = 1;
/// let mut rows = ResultSetBuilder::text(&mut seq, caps, Status::AUTOCOMMIT, &[Column::integer(b"1")]);
/// rows.row(&[Cell::Int(1)]);
/// let packets = rows.finish(0);
/// # assert!(packets.starts_with(&[1, 0, 0, 1, 1]));
/// ```
#[derive(Debug)]
pub struct ResultSetBuilder<'s> {
    packets: Vec<u8>,
    seq: &'s mut u8,
    caps: Capabilities,
    status: Status,
    format: RowFormat,
    types: Vec<ColumnType>,
}

impl<'s> ResultSetBuilder<'s> {
    /// Starts a result set of the text protocol. `seq` is the sequence id of its first packet and is
    /// advanced; `caps` are those negotiated with the client; `status` goes to every EOF or OK.
    pub fn text(
        seq: &'s mut u8,
        caps: Capabilities,
        status: Status,
        columns: &[Column<'_>],
    ) -> Self {
        Self::new(seq, caps, status, columns, RowFormat::Text)
    }

    /// Starts a result set of the binary protocol. See [`ResultSetBuilder::text`].
    pub fn binary(
        seq: &'s mut u8,
        caps: Capabilities,
        status: Status,
        columns: &[Column<'_>],
    ) -> Self {
        Self::new(seq, caps, status, columns, RowFormat::Binary)
    }

    /// Starts a result set in `format`. See [`ResultSetBuilder::text`].
    pub fn new(
        seq: &'s mut u8,
        caps: Capabilities,
        status: Status,
        columns: &[Column<'_>],
        format: RowFormat,
    ) -> Self {
        let types = columns.iter().map(|column| column.column_type).collect();
        let mut set = Self {
            packets: Vec::new(),
            seq,
            caps,
            status,
            format,
            types,
        };
        set.packet(|out| {
            if caps.contains(Capabilities::OPTIONAL_RESULTSET_METADATA) {
                out.push(1);
            }
            put_lenenc_int(out, columns.len() as u64);
        });
        for column in columns {
            set.packet(|out| column.encode(out, caps));
        }
        if EofMode::of(caps) == EofMode::Eof {
            set.packet(|out| {
                reply::Eof {
                    warnings: 0,
                    status,
                }
                .encode(out)
            });
        }
        set
    }

    /// Adds a row. Missing cells are NULL, surplus cells are left out.
    pub fn row(&mut self, cells: &[Cell<'_>]) {
        let types = std::mem::take(&mut self.types);
        let format = self.format;
        self.packet(|out| match format {
            RowFormat::Text => {
                let shown = cells.len().min(types.len());
                put_text_row(out, cells.get(..shown).unwrap_or(cells));
                out.extend(std::iter::repeat_n(0xFB, types.len() - shown));
            }
            RowFormat::Binary => put_binary_row(out, &types, cells),
        });
        self.types = types;
    }

    /// Ends the result set and returns its packets.
    pub fn finish(mut self, warnings: u16) -> Vec<u8> {
        let (status, caps) = (self.status, self.caps);
        self.packet(|out| match EofMode::of(caps) {
            EofMode::Eof => reply::Eof { warnings, status }.encode(out),
            EofMode::Deprecated => {
                reply::Ok {
                    status,
                    warnings,
                    ..reply::Ok::default()
                }
                .encode(out, OkForm::ResultSetEnd, caps);
            }
        });
        self.packets
    }

    fn packet(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = begin_packet(&mut self.packets);
        write(&mut self.packets);
        finish_packet(&mut self.packets, start, self.seq);
    }
}
