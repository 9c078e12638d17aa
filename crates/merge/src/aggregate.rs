//! Aggregates of one group.
//!
//! Owns what is counted, added and compared for a group, and its form in the spill. It must never round, nor
//! carry on after an overflow. Input: values of rows, or the shards' partial aggregates.

use dbmesh_wire::codec::{Reader, put_lenenc_bytes, put_u64};
use dbmesh_wire::result_set::RowFormat;

use crate::column::{Definition, ValueType};
use crate::decimal::Decimal;
use crate::error::{MergeError, Refusal, WeightReason};
use crate::keyed::Kept;
use crate::spec::FloatSums;
use crate::value;

/// How a column's values are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    Integer { unsigned: bool },
    Decimal,
    Float,
    Double,
}

impl Number {
    /// How the values of a column are added; refused where the server's sum could be another.
    pub(crate) fn of(
        format: RowFormat,
        column: usize,
        definition: &Definition,
        floats: FloatSums,
    ) -> Result<Self, MergeError> {
        let float = |whole: bool, number: Self| {
            if floats == FloatSums::Refuse {
                return Err(MergeError::Refused(Refusal::FloatSum { column }));
            }
            if !whole && format == RowFormat::Text {
                return Err(MergeError::weight(column, WeightReason::RoundedFloat));
            }
            Ok(number)
        };
        match definition.value_type() {
            ValueType::Integer { unsigned } => Ok(Self::Integer { unsigned }),
            ValueType::Decimal => Ok(Self::Decimal),
            ValueType::Float { .. } => float(false, Self::Float),
            ValueType::Double { whole } => float(whole, Self::Double),
            _ => Err(MergeError::Refused(Refusal::AggregateType { column })),
        }
    }

    /// A value as a sum of one.
    pub(crate) fn read(self, format: RowFormat, bytes: &[u8]) -> Option<Sum> {
        Some(match self {
            Self::Integer { unsigned } => {
                Sum::Exact(Decimal::integer(value::integer(format, unsigned, bytes)?))
            }
            Self::Decimal => Sum::Exact(Decimal::parse(bytes)?),
            Self::Float => Sum::Double(value::float(format, bytes)?),
            Self::Double => Sum::Double(value::double(format, bytes)?),
        })
    }
}

/// A sum; of nothing it is NULL.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum Sum {
    #[default]
    Null,
    Exact(Decimal),
    Double(f64),
}

impl Sum {
    pub(crate) fn add(&mut self, other: Self) -> Result<(), MergeError> {
        *self = match (*self, other) {
            (Self::Null, other) => other,
            (this, Self::Null) => this,
            (Self::Exact(a), Self::Exact(b)) => {
                Self::Exact(a.plus(&b).ok_or(MergeError::Refused(Refusal::Overflow))?)
            }
            (Self::Double(a), Self::Double(b)) => {
                let sum = a + b;
                if !sum.is_finite() {
                    return Err(MergeError::Refused(Refusal::Overflow));
                }
                Self::Double(sum)
            }
            _ => return Err(MergeError::Misuse("a sum of two kinds of numbers")),
        };
        Ok(())
    }

    /// The value in a row.
    pub(crate) fn encode(&self, format: RowFormat) -> Option<Vec<u8>> {
        match self {
            Self::Null => None,
            Self::Exact(sum) => Some(sum.text().into_bytes()),
            Self::Double(sum) => Some(encode_double(*sum, format)),
        }
    }

    /// The average's value in a row.
    pub(crate) fn average(
        &self,
        count: u64,
        (increment, scale): (u8, u8),
        format: RowFormat,
    ) -> Result<Option<Vec<u8>>, MergeError> {
        match self {
            Self::Null => Ok(None),
            _ if count == 0 => Ok(None),
            Self::Exact(sum) => sum
                .average(count, increment, scale)
                .map(|average| Some(average.text().into_bytes()))
                .ok_or(MergeError::Refused(Refusal::Overflow)),
            Self::Double(sum) => Ok(Some(encode_double(sum / count as f64, format))),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(0),
            Self::Exact(sum) => {
                out.push(1);
                put_lenenc_bytes(out, sum.text().as_bytes());
            }
            Self::Double(sum) => {
                out.push(2);
                put_u64(out, sum.to_bits());
            }
        }
    }

    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        match reader.u8().ok()? {
            0 => Some(Self::Null),
            1 => Decimal::parse(reader.lenenc_bytes().ok()?).map(Self::Exact),
            2 => reader
                .u64()
                .ok()
                .map(|bits| Self::Double(f64::from_bits(bits))),
            _ => None,
        }
    }
}

fn encode_double(value: f64, format: RowFormat) -> Vec<u8> {
    match format {
        RowFormat::Text => value::double_text(value).into_bytes(),
        RowFormat::Binary => value.to_le_bytes().to_vec(),
    }
}

/// An integer's value in a row, in a column of BIGINT.
pub(crate) fn encode_integer(value: u64, format: RowFormat) -> Vec<u8> {
    match format {
        RowFormat::Text => value.to_string().into_bytes(),
        RowFormat::Binary => value.to_le_bytes().to_vec(),
    }
}

/// BIT_AND, BIT_OR, BIT_XOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BitOperation {
    And,
    Or,
    Xor,
}

impl BitOperation {
    pub(crate) const fn of_nothing(self) -> u64 {
        match self {
            Self::And => u64::MAX,
            Self::Or | Self::Xor => 0,
        }
    }

    const fn apply(self, a: u64, b: u64) -> u64 {
        match self {
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
        }
    }
}

/// What one aggregate has of one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Accumulator {
    Count(u64),
    Sum(Sum),
    Average(Sum, u64),
    /// The greatest or the least key so far and its value.
    Extreme {
        greatest: bool,
        best: Option<(Vec<u8>, Vec<u8>)>,
    },
    Bits(BitOperation, u64),
}

impl Accumulator {
    pub(crate) fn count(&mut self, more: u64) -> Result<(), MergeError> {
        if let Self::Count(count) | Self::Average(_, count) = self {
            let sum = count.checked_add(more);
            *count = sum
                .filter(|sum| i64::try_from(*sum).is_ok())
                .ok_or(MergeError::Refused(Refusal::Overflow))?;
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, value: Sum) -> Result<(), MergeError> {
        match self {
            Self::Sum(sum) | Self::Average(sum, _) => sum.add(value),
            _ => Ok(()),
        }
    }

    pub(crate) fn bits(&mut self, value: u64) {
        if let Self::Bits(operation, bits) = self {
            *bits = operation.apply(*bits, value);
        }
    }

    /// Keeps the value if its key is better; of equal ones the first remains.
    pub(crate) fn offer(&mut self, key: &[u8], value: &[u8]) {
        let Self::Extreme { greatest, best } = self else {
            return;
        };
        let better = match best {
            None => true,
            Some((known, _)) if *greatest => key > known.as_slice(),
            Some((known, _)) => key < known.as_slice(),
        };
        if better {
            *best = Some((key.to_vec(), value.to_vec()));
        }
    }

    fn absorb(&mut self, later: Self) -> Result<(), MergeError> {
        match later {
            Self::Count(count) => self.count(count),
            Self::Sum(sum) => self.add(sum),
            Self::Average(sum, count) => {
                self.add(sum)?;
                self.count(count)
            }
            Self::Extreme { best, .. } => {
                if let Some((key, value)) = best {
                    self.offer(&key, &value);
                }
                Ok(())
            }
            Self::Bits(_, bits) => {
                self.bits(bits);
                Ok(())
            }
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Count(count) => {
                out.push(0);
                put_u64(out, *count);
            }
            Self::Sum(sum) => {
                out.push(1);
                sum.put(out);
            }
            Self::Average(sum, count) => {
                out.push(2);
                sum.put(out);
                put_u64(out, *count);
            }
            Self::Extreme { greatest, best } => {
                out.push(3);
                out.push(u8::from(*greatest));
                out.push(u8::from(best.is_some()));
                if let Some((key, value)) = best {
                    put_lenenc_bytes(out, key);
                    put_lenenc_bytes(out, value);
                }
            }
            Self::Bits(operation, bits) => {
                out.push(4 + *operation as u8);
                put_u64(out, *bits);
            }
        }
    }

    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        Some(match reader.u8().ok()? {
            0 => Self::Count(reader.u64().ok()?),
            1 => Self::Sum(Sum::take(reader)?),
            2 => Self::Average(Sum::take(reader)?, reader.u64().ok()?),
            3 => {
                let greatest = reader.u8().ok()? != 0;
                let best = match reader.u8().ok()? {
                    0 => None,
                    _ => {
                        let key = reader.lenenc_bytes().ok()?.to_vec();
                        Some((key, reader.lenenc_bytes().ok()?.to_vec()))
                    }
                };
                Self::Extreme { greatest, best }
            }
            4 => Self::Bits(BitOperation::And, reader.u64().ok()?),
            5 => Self::Bits(BitOperation::Or, reader.u64().ok()?),
            6 => Self::Bits(BitOperation::Xor, reader.u64().ok()?),
            _ => return None,
        })
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Extreme {
                best: Some((key, value)),
                ..
            } => key.len() + value.len(),
            _ => 0,
        }
    }
}

/// One group: values of its first row, and its aggregates.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    pub(crate) first: Vec<Option<Box<[u8]>>>,
    pub(crate) accumulators: Vec<Accumulator>,
}

impl Kept for Group {
    fn heap_bytes(&self) -> usize {
        let first = self
            .first
            .iter()
            .map(|value| value.as_ref().map_or(0, |v| v.len()));
        let accumulators = self.accumulators.iter().map(Accumulator::heap_bytes);
        size_of::<Option<Box<[u8]>>>() * self.first.len()
            + size_of::<Accumulator>() * self.accumulators.len()
            + first.sum::<usize>()
            + accumulators.sum::<usize>()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.first.len() as u64);
        for value in &self.first {
            match value {
                Some(value) => put_lenenc_bytes(out, value),
                None => out.push(0xFB),
            }
        }
        self.accumulators.iter().for_each(|one| one.put(out));
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::of("group", bytes);
        let columns = reader.u64().ok()?;
        let mut first = Vec::new();
        for _ in 0..columns {
            first.push(reader.lenenc_bytes_or_null().ok()?.map(Into::into));
        }
        let mut accumulators = Vec::new();
        while !reader.is_empty() {
            accumulators.push(Accumulator::take(&mut reader)?);
        }
        Some(Self {
            first,
            accumulators,
        })
    }

    fn absorb(&mut self, later: Self) -> Result<(), MergeError> {
        for (ours, theirs) in self.accumulators.iter_mut().zip(later.accumulators) {
            ours.absorb(theirs)?;
        }
        Ok(())
    }
}
