//! Rows as packets: where their values are, and how new ones are written.
//!
//! Owns the layout of rows of the text and the binary protocol. Values are borrowed from the packet, never
//! copied. It must never trust a length: every value lies within its row. Input: payloads of row packets,
//! any bytes at all.

use dbmesh_wire::DecodeError;
use dbmesh_wire::codec::{Reader, put_lenenc_bytes};
use dbmesh_wire::column::{BinaryLayout, ColumnType};
use dbmesh_wire::result_set::RowFormat;

const NULL_TEXT: u8 = 0xFB;
/// The NULL bitmap of binary rows starts at this bit.
const BITMAP_FIRST_BIT: usize = 2;

/// How the rows of a result are laid out.
#[derive(Debug, Clone)]
pub struct RowLayout {
    format: RowFormat,
    values: Vec<BinaryLayout>,
}

/// Where the values of one row are. Kept between rows, so that it allocates once.
#[derive(Debug, Clone, Default)]
pub struct Cells {
    spans: Vec<Span>,
}

/// One value: where its column begins in the row (with its length), and where its bytes are.
#[derive(Debug, Clone, Copy)]
struct Span {
    column: usize,
    start: usize,
    end: usize,
    is_null: bool,
}

impl RowLayout {
    /// The layout for columns of these types.
    pub fn new(format: RowFormat, types: impl IntoIterator<Item = ColumnType>) -> Self {
        let values = types.into_iter().map(ColumnType::binary_layout).collect();
        Self { format, values }
    }

    /// The protocol.
    pub const fn format(&self) -> RowFormat {
        self.format
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.values.len()
    }

    /// Finds the values of a row.
    ///
    /// # Errors
    /// When the payload is no row of these columns, or goes on behind it.
    pub fn split(&self, row: &[u8], cells: &mut Cells) -> Result<(), DecodeError> {
        cells.spans.clear();
        match self.format {
            RowFormat::Text => self.split_text(row, cells),
            RowFormat::Binary => self.split_binary(row, cells),
        }
    }

    fn split_text(&self, row: &[u8], cells: &mut Cells) -> Result<(), DecodeError> {
        let mut at = 0_usize;
        for _ in 0..self.values.len() {
            // Most values are NULL or shorter than 251 bytes: one byte says so.
            let (start, length) = match row.get(at) {
                Some(&NULL_TEXT) => {
                    cells.push_null(at, at.saturating_add(1));
                    at = at.saturating_add(1);
                    continue;
                }
                Some(&short) if short < NULL_TEXT => (at.saturating_add(1), usize::from(short)),
                _ => {
                    let mut reader = Reader::of("row", row.get(at..).unwrap_or_default());
                    let length = reader.lenenc_int()?;
                    let start = at.saturating_add(reader.offset());
                    (start, usize::try_from(length).unwrap_or(usize::MAX))
                }
            };
            let end = start.saturating_add(length);
            if end > row.len() {
                return Err(truncated(at, length, row.len()));
            }
            cells.push(at, start, end);
            at = end;
        }
        finish(at, row)
    }

    fn split_binary(&self, row: &[u8], cells: &mut Cells) -> Result<(), DecodeError> {
        let mut reader = Reader::of("row", row);
        let header = reader.u8()?;
        if header != 0 {
            return Err(reader.bad_value("header", 0, u64::from(header)));
        }
        let bitmap = reader.bytes(bitmap_bytes(self.values.len()))?;
        for (index, layout) in self.values.iter().enumerate() {
            let column = reader.offset();
            let bit = index + BITMAP_FIRST_BIT;
            if bitmap
                .get(bit / 8)
                .is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
            {
                cells.push_null(column, column);
                continue;
            }
            let value = match layout {
                BinaryLayout::Fixed(length) => reader.bytes(*length)?,
                BinaryLayout::ShortLength => {
                    let length = usize::from(reader.u8()?);
                    reader.bytes(length)?
                }
                BinaryLayout::LengthEncoded => reader.lenenc_bytes()?,
            };
            let end = reader.offset();
            cells.push(column, end.saturating_sub(value.len()), end);
        }
        finish(reader.offset(), row)
    }

    /// Appends a row of these values; a missing one is NULL.
    pub fn put<'a>(&self, out: &mut Vec<u8>, values: impl IntoIterator<Item = Option<&'a [u8]>>) {
        let mut values = values.into_iter();
        if self.format == RowFormat::Text {
            for _ in &self.values {
                match values.next().flatten() {
                    Some(value) => put_lenenc_bytes(out, value),
                    None => out.push(NULL_TEXT),
                }
            }
            return;
        }
        let bitmap = out.len() + 1;
        out.push(0);
        out.resize(bitmap + bitmap_bytes(self.values.len()), 0);
        for (index, layout) in self.values.iter().enumerate() {
            let Some(value) = values.next().flatten() else {
                let bit = index + BITMAP_FIRST_BIT;
                if let Some(byte) = out.get_mut(bitmap + bit / 8) {
                    *byte |= 1 << (bit % 8);
                }
                continue;
            };
            match layout {
                BinaryLayout::Fixed(_) => out.extend_from_slice(value),
                BinaryLayout::ShortLength => {
                    out.push(u8::try_from(value.len()).unwrap_or(0));
                    out.extend_from_slice(value);
                }
                BinaryLayout::LengthEncoded => put_lenenc_bytes(out, value),
            }
        }
    }

    /// Appends a row's first `columns` columns.
    pub fn put_prefix(&self, row: &[u8], cells: &Cells, columns: usize, out: &mut Vec<u8>) {
        let end = cells.column_start(columns, row);
        let columns = columns.min(self.values.len());
        if self.format == RowFormat::Text {
            out.extend_from_slice(row.get(..end).unwrap_or(row));
            return;
        }
        let values = 1 + bitmap_bytes(self.values.len());
        let bitmap = out.len() + 1;
        let kept = bitmap_bytes(columns);
        out.extend_from_slice(row.get(..1 + kept).unwrap_or(row));
        let used = (columns + BITMAP_FIRST_BIT) % 8;
        if used != 0
            && let Some(last) = out.get_mut(bitmap + kept - 1)
        {
            *last &= (1 << used) - 1;
        }
        out.extend_from_slice(row.get(values..end).unwrap_or_default());
    }
}

impl Cells {
    /// Of no row yet.
    pub const fn new() -> Self {
        Self { spans: Vec::new() }
    }

    /// The bytes of a value without its length; `None` for NULL and for columns that are not there.
    pub fn value<'r>(&self, row: &'r [u8], column: usize) -> Option<&'r [u8]> {
        let span = self.spans.get(column)?;
        if span.is_null {
            return None;
        }
        row.get(span.start..span.end)
    }

    /// Where a column begins in the row, and for the first that is not there, where the row ends.
    pub(crate) fn column_start(&self, column: usize, row: &[u8]) -> usize {
        self.spans.get(column).map_or(row.len(), |span| span.column)
    }

    fn push(&mut self, column: usize, start: usize, end: usize) {
        self.spans.push(Span {
            column,
            start,
            end,
            is_null: false,
        });
    }

    fn push_null(&mut self, column: usize, end: usize) {
        self.spans.push(Span {
            column,
            start: end,
            end,
            is_null: true,
        });
    }
}

const fn bitmap_bytes(columns: usize) -> usize {
    (columns + BITMAP_FIRST_BIT).div_ceil(8)
}

fn finish(at: usize, row: &[u8]) -> Result<(), DecodeError> {
    if at == row.len() {
        return Ok(());
    }
    Err(DecodeError::Trailing {
        message: "row",
        offset: at,
    })
}

fn truncated(offset: usize, needed: usize, length: usize) -> DecodeError {
    DecodeError::Truncated {
        message: "row",
        offset,
        needed_bytes: needed as u64,
        left_bytes: length.saturating_sub(offset),
    }
}
