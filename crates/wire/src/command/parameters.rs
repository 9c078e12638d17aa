//! Binary parameters: those of prepared statements and query attributes.
//!
//! Owns walking over the NULL bitmap, the types block and the values. It must not interpret values
//! beyond finding their ends. Input: the parameter blocks of COM_STMT_EXECUTE and COM_QUERY.

use crate::codec::Reader;
use crate::column::{BinaryLayout, ColumnType};
use crate::error::DecodeError;
use std::collections::BTreeSet;

/// Most parameters accepted: MySQL's 65,535 of a statement and as many attributes.
const PARAMETERS_MAX: u64 = 2 * 65_535;
const UNSIGNED_BIT: u8 = 0x80;

/// Whether a types block has a name behind each type (with QUERY_ATTRIBUTES negotiated).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeNames {
    /// It has; names of statement parameters are empty.
    Named,
    /// It has not.
    Unnamed,
}

/// A parameter's type and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterType<'a> {
    /// Type of the value.
    pub column_type: ColumnType,
    /// Whether an integer is unsigned.
    pub unsigned: bool,
    /// Name of a query attribute; empty for a statement's parameter.
    pub name: &'a [u8],
}

/// A parameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterValue<'a> {
    /// NULL.
    Null,
    /// Binary form, without its length.
    Bytes(&'a [u8]),
    /// Sent before by COM_STMT_SEND_LONG_DATA; nothing of it is in this payload.
    LongData,
}

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Its type and name.
    pub kind: ParameterType<'a>,
    /// Its value.
    pub value: ParameterValue<'a>,
}

/// Iterates over parameters in order. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Parameters<'a> {
    names: TypeNames,
    count: usize,
    next: usize,
    null_bitmap: &'a [u8],
    types: Reader<'a>,
    values: Reader<'a>,
    long_data: Option<&'a BTreeSet<u16>>,
}

impl<'a> Parameters<'a> {
    /// No parameters at all.
    pub(super) fn none() -> Self {
        Self::new(0, &[], &[], TypeNames::Named, Reader::new(&[]), None)
    }

    /// `count` parameters whose types block is `types`; `values` stands at the first value.
    pub(super) fn new(
        count: usize,
        null_bitmap: &'a [u8],
        types: &'a [u8],
        names: TypeNames,
        values: Reader<'a>,
        long_data: Option<&'a BTreeSet<u16>>,
    ) -> Self {
        let types = Reader::of("parameter types", types);
        Self {
            names,
            count,
            next: 0,
            null_bitmap,
            types,
            values,
            long_data,
        }
    }

    /// Offset, in the payload, of the first byte behind the values walked over so far.
    pub fn values_end(&self) -> usize {
        self.values.offset()
    }

    fn parameter(&mut self, index: usize) -> Result<Parameter<'a>, DecodeError> {
        let kind = read_type(&mut self.types, self.names)?;
        let is_null = self
            .null_bitmap
            .get(index / 8)
            .is_some_and(|byte| byte >> (index % 8) & 1 == 1);
        let is_long = u16::try_from(index).is_ok_and(|index| {
            self.long_data
                .is_some_and(|long_data| long_data.contains(&index))
        });
        let value = if is_long {
            ParameterValue::LongData
        } else if is_null {
            ParameterValue::Null
        } else {
            ParameterValue::Bytes(read_value(&mut self.values, kind.column_type)?)
        };
        Ok(Parameter { kind, value })
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.count {
            return None;
        }
        let parameter = self.parameter(self.next);
        self.next = if parameter.is_ok() {
            self.next.saturating_add(1)
        } else {
            self.count
        };
        Some(parameter)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.count.saturating_sub(self.next)))
    }
}

/// Reads one entry of a types block.
pub(super) fn read_type<'a>(
    r: &mut Reader<'a>,
    names: TypeNames,
) -> Result<ParameterType<'a>, DecodeError> {
    let column_type = ColumnType(r.u8()?);
    let unsigned = r.u8()? & UNSIGNED_BIT != 0;
    let name = match names {
        TypeNames::Named => r.lenenc_bytes()?,
        TypeNames::Unnamed => &[],
    };
    Ok(ParameterType {
        column_type,
        unsigned,
        name,
    })
}

/// Appends one entry of a types block.
pub(super) fn put_type(out: &mut Vec<u8>, kind: ParameterType<'_>, names: TypeNames) {
    out.push(kind.column_type.0);
    out.push(if kind.unsigned { UNSIGNED_BIT } else { 0 });
    if names == TypeNames::Named {
        crate::codec::put_lenenc_bytes(out, kind.name);
    }
}

/// Reads over a types block of `count` entries.
pub(super) fn skip_types(
    r: &mut Reader<'_>,
    count: usize,
    names: TypeNames,
) -> Result<(), DecodeError> {
    (0..count).try_for_each(|_| read_type(r, names).map(|_| ()))
}

/// A parameter count that can be worked with.
pub(super) fn checked_count(r: &Reader<'_>, count: u64) -> Result<usize, DecodeError> {
    usize::try_from(count)
        .ok()
        .filter(|_| count <= PARAMETERS_MAX)
        .ok_or_else(|| r.too_large("parameter count", count, PARAMETERS_MAX))
}

fn read_value<'a>(r: &mut Reader<'a>, column_type: ColumnType) -> Result<&'a [u8], DecodeError> {
    match column_type.binary_layout() {
        BinaryLayout::Fixed(width) => r.bytes(width),
        BinaryLayout::ShortLength => {
            let length = r.u8()?;
            r.bytes(usize::from(length))
        }
        BinaryLayout::LengthEncoded => r.parameter_bytes(),
    }
}
