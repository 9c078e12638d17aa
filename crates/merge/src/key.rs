//! Values as bytes that compare as the server compares them.
//!
//! Owns the encoding of keys: one column after the other, each begun by a byte that puts NULL first, each so
//! that no encoding is the beginning of another; descending columns inverted. Two rows are equal to the server
//! exactly when their keys are equal bytes. It must never compare what it cannot compare exactly: such keys are
//! refused when they are made. Input: values of rows, the columns' definitions, the specification's keys.

use dbmesh_wire::charset;
use dbmesh_wire::column::BINARY_COLLATION;
use dbmesh_wire::result_set::RowFormat;

use crate::collate::{Charset, Native, Padding, StringOrder};
use crate::column::{Definition, ValueType};
use crate::decimal;
use crate::error::{MergeError, WeightReason};
use crate::row::Cells;
use crate::spec::{Comparison, Direction, Key};
use crate::value;

const NULL: u8 = 0;
const NOT_NULL: u8 = 1;

/// The encoding of several keys.
#[derive(Debug, Clone)]
pub(crate) struct KeyEncoder {
    format: RowFormat,
    parts: Vec<KeyPart>,
}

#[derive(Debug, Clone)]
struct KeyPart {
    column: usize,
    descending: bool,
    order: Order,
}

/// How the values of one key compare.
#[derive(Debug, Clone)]
enum Order {
    Integer { unsigned: bool },
    Decimal,
    Float,
    Double,
    DateTime,
    Time,
    Bit,
    Null,
    Text(Box<StringOrder>),
    Weight(Padding),
}

/// What the comparison is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Rows of different values must not be taken for equal.
    Rows,
    /// MIN and MAX: values that come rounded still have their order, and the result comes rounded too.
    Extreme,
}

impl KeyEncoder {
    /// The encoding for rows of these columns.
    pub(crate) fn new(
        format: RowFormat,
        columns: &[Definition],
        keys: &[Key],
        purpose: Purpose,
    ) -> Result<Self, MergeError> {
        let part = |key: &Key| {
            let column = columns
                .get(key.column)
                .ok_or(MergeError::Misuse("a key's column is not in the rows"))?;
            let order = order(format, column, key, purpose)
                .map_err(|reason| MergeError::weight(key.column, reason))?;
            Ok(KeyPart {
                column: key.column,
                descending: key.direction == Direction::Descending,
                order,
            })
        };
        let parts = keys.iter().map(part).collect::<Result<_, MergeError>>()?;
        Ok(Self { format, parts })
    }

    /// Appends a row's key. The error is the column and what its value should have been.
    pub(crate) fn put(
        &mut self,
        row: &[u8],
        cells: &Cells,
        out: &mut Vec<u8>,
    ) -> Result<(), (usize, &'static str)> {
        for part in &mut self.parts {
            let start = out.len();
            match cells.value(row, part.column) {
                None => out.push(NULL),
                Some(value) => {
                    out.push(NOT_NULL);
                    part.order
                        .put(self.format, value, out)
                        .ok_or((part.column, part.order.name()))?;
                }
            }
            if part.descending {
                out.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
            }
        }
        Ok(())
    }

    /// Whether one of the keys is NULL.
    pub(crate) fn any_null(&self, row: &[u8], cells: &Cells) -> bool {
        self.parts
            .iter()
            .any(|part| cells.value(row, part.column).is_none())
    }
}

fn order(
    format: RowFormat,
    column: &Definition,
    key: &Key,
    purpose: Purpose,
) -> Result<Order, WeightReason> {
    let kind = column.value_type();
    if let Comparison::Weight(collation) = key.comparison {
        let weighs = matches!(kind, ValueType::String | ValueType::Null)
            && column.collation == BINARY_COLLATION;
        let known = charset::by_id(collation);
        let padding = known.and_then(|known| Padding::of(&known.name));
        return match padding {
            Some(padding) if weighs => Ok(Order::Weight(padding)),
            Some(_) => Err(WeightReason::Type),
            None => Err(WeightReason::Collation),
        };
    }
    let rounded_is_fine = purpose == Purpose::Extreme || format == RowFormat::Binary;
    match kind {
        ValueType::Integer { unsigned } => Ok(Order::Integer { unsigned }),
        ValueType::Decimal => Ok(Order::Decimal),
        ValueType::Float { .. } if rounded_is_fine => Ok(Order::Float),
        ValueType::Double { whole } if whole || rounded_is_fine => Ok(Order::Double),
        ValueType::Float { .. } | ValueType::Double { .. } => Err(WeightReason::RoundedFloat),
        ValueType::Date | ValueType::DateTime => Ok(Order::DateTime),
        ValueType::Time => Ok(Order::Time),
        ValueType::Bit => Ok(Order::Bit),
        ValueType::Null => Ok(Order::Null),
        ValueType::String => text_order(column, key),
        // MIN and MAX compare them as the strings they are.
        ValueType::EnumOrSet if purpose == Purpose::Extreme => text_order(column, key),
        ValueType::EnumOrSet => Err(WeightReason::EnumOrSet),
        ValueType::Json => Err(WeightReason::Json),
        ValueType::Other => Err(WeightReason::Type),
    }
}

fn text_order(column: &Definition, key: &Key) -> Result<Order, WeightReason> {
    let collation = match key.comparison {
        Comparison::Collation(id) => Native::of(id).ok_or(WeightReason::Collation)?,
        // Only of binary strings does the definition tell what they are.
        _ if Charset::of(column.collation) == Charset::Binary => Native::Bytes { pad: false },
        _ => return Err(WeightReason::NoCollation),
    };
    StringOrder::new(collation, column.collation)
        .map(|order| Order::Text(Box::new(order)))
        .ok_or(WeightReason::CharacterSet)
}

impl Order {
    fn put(&mut self, format: RowFormat, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Integer { unsigned } => {
                let number = value::integer(format, *unsigned, value)?;
                let bits = if *unsigned {
                    u64::try_from(number).ok()?
                } else {
                    i64::try_from(number).ok()?.cast_unsigned() ^ 1 << 63
                };
                out.extend_from_slice(&bits.to_be_bytes());
            }
            Self::Decimal => put_decimal(value, out)?,
            Self::Float => put_double(value::float(format, value)?, out),
            Self::Double => put_double(value::double(format, value)?, out),
            Self::DateTime => {
                out.extend_from_slice(&value::date_time(format, value)?.to_be_bytes());
            }
            Self::Time => {
                let micros = value::time(format, value)?.cast_unsigned() ^ 1 << 63;
                out.extend_from_slice(&micros.to_be_bytes());
            }
            Self::Bit => out.extend_from_slice(&value::bit(value)?.to_be_bytes()),
            Self::Null => return None,
            Self::Text(order) => order.put(value, out)?,
            Self::Weight(padding) => padding.put(value, out)?,
        }
        Some(())
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Integer { .. } => "integer",
            Self::Decimal => "decimal",
            Self::Float | Self::Double => "floating-point number",
            Self::DateTime => "date",
            Self::Time => "time",
            Self::Bit => "bit field",
            Self::Null => "NULL",
            Self::Text(_) => "text of its character set",
            Self::Weight(_) => "weight",
        }
    }
}

fn put_double(value: f64, out: &mut Vec<u8>) {
    // Both zeros are equal.
    let bits = (value + 0.0).to_bits();
    let bits = if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    };
    out.extend_from_slice(&bits.to_be_bytes());
}

/// More than what it is when inverted.
const NOT_NEGATIVE: u8 = 0x80;

/// Sign, number of digits before the point, all digits without zeros at the ends, terminator; inverted when negative.
fn put_decimal(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (negative, whole, fraction) = decimal::parts(text)?;
    let leading = whole.iter().take_while(|digit| **digit == b'0').count();
    let whole = whole.get(leading..)?;
    let trailing = fraction
        .iter()
        .rev()
        .take_while(|digit| **digit == b'0')
        .count();
    let fraction = fraction.get(..fraction.len() - trailing)?;
    let start = out.len();
    let is_zero = whole.is_empty() && fraction.is_empty();
    out.push(NOT_NEGATIVE);
    out.push(u8::try_from(whole.len()).ok()?);
    out.extend_from_slice(whole);
    out.extend_from_slice(fraction);
    out.push(0);
    if negative && !is_zero {
        out.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
    }
    Some(())
}
