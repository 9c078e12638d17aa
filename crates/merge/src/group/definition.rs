//! Column definitions of aggregates, by the server's rules.
//!
//! Owns the types, lengths and digits of results that no shard describes (`Item_sum_*::resolve_type` of the
//! server). Input: the definition of the aggregate's input.

use dbmesh_wire::charset::UTF8MB4_0900_AI_CI;
use dbmesh_wire::column::{BINARY_COLLATION, Column, ColumnFlags, ColumnType};

use crate::column::{DECIMALS_NOT_FIXED, Definition, ValueType};
use crate::decimal::{DIGITS_MAX, SCALE_MAX};
use crate::error::MergeError;
use crate::spec::Aggregate;

/// What a sum of integers or decimals has more digits than its summands (digits of BIGINT).
const SUM_DIGITS: usize = 22;
/// A GROUP_CONCAT of more characters is TEXT.
const VARCHAR_CHARACTERS_MAX: u64 = 512;
/// Bytes of a character of utf8mb4, in which text comes.
const CHARACTER_BYTES: u64 = 4;
/// MySQL counts those of a TEXT that is no table's column three times.
const TEXT_CHARACTER_BYTES: u64 = 64;

/// The definition of an aggregate, without a name.
pub(super) fn derived(
    aggregate: &Aggregate,
    columns: &[Definition],
) -> Result<Definition, MergeError> {
    let column = |index: usize| {
        columns.get(index).ok_or(MergeError::Misuse(
            "an aggregate's column is not in the rows",
        ))
    };
    Ok(match aggregate {
        Aggregate::First(index) => column(*index)?.clone(),
        Aggregate::Min(key) | Aggregate::Max(key) => {
            let mut same = column(key.column)?.clone();
            same.flags = ColumnFlags(same.flags.0 & !KEY_FLAGS);
            if same.value_type() != ValueType::String {
                same.flags = same.flags.union(ColumnFlags::BINARY);
            }
            unnamed(same)
        }
        Aggregate::CountRows
        | Aggregate::Count(_)
        | Aggregate::CountPartial(_)
        | Aggregate::CountDistinct(_) => integer(ColumnFlags(0)),
        Aggregate::BitAnd(_) | Aggregate::BitOr(_) | Aggregate::BitXor(_) => {
            integer(ColumnFlags::UNSIGNED)
        }
        Aggregate::Sum(index) => sum(column(*index)?),
        Aggregate::SumDistinct(key) => sum(column(key.column)?),
        Aggregate::Avg {
            column: of,
            increment,
        } => average(column(*of)?, *increment),
        Aggregate::AvgDistinct { key, increment } => average(column(key.column)?, *increment),
        Aggregate::AvgPartial { sum, increment, .. } => {
            let mut summand = column(*sum)?.clone();
            // A sum has 22 digits more than what was added.
            let digits = digits(&summand).saturating_sub(SUM_DIGITS).max(1);
            summand.length_bytes = decimal_length(digits, usize::from(summand.decimals));
            average(&summand, *increment)
        }
        Aggregate::GroupConcat(concat) => {
            let inputs = concat.columns.iter().map(|index| column(*index));
            concatenation(&inputs.collect::<Result<Vec<_>, _>>()?, concat.bytes_max)
        }
        Aggregate::Variance(_) => double(),
    })
}

/// What MySQL says of a GROUP_CONCAT over strings of utf8mb4, or of bytes.
fn concatenation(inputs: &[&Definition], bytes_max: u64) -> Definition {
    let strings = || {
        inputs
            .iter()
            .filter(|input| input.value_type() == ValueType::String)
    };
    let is_binary = strings().any(|input| input.collation == BINARY_COLLATION);
    let collation = strings().map(|input| input.collation).next();
    let mut text = Column::text(b"", collation.unwrap_or(UTF8MB4_0900_AI_CI));
    let is_long = bytes_max > VARCHAR_CHARACTERS_MAX;
    if is_long {
        text.column_type = ColumnType::LONG_BLOB;
    }
    if is_binary {
        text.collation = BINARY_COLLATION;
        text.flags = ColumnFlags::BINARY;
    }
    let width = match (is_binary, is_long) {
        (true, _) => 1,
        (false, false) => CHARACTER_BYTES,
        (false, true) => TEXT_CHARACTER_BYTES,
    };
    let bytes = bytes_max.saturating_mul(width);
    text.length_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    text.decimals = DECIMALS_NOT_FIXED;
    Definition::of(&text)
}

/// Flags that belong to a table's column, not to a value of it.
const KEY_FLAGS: u16 = ColumnFlags::NOT_NULL.0
    | ColumnFlags::PRIMARY_KEY.0
    | ColumnFlags::UNIQUE_KEY.0
    | ColumnFlags::MULTIPLE_KEY.0
    | ColumnFlags::AUTO_INCREMENT.0
    | ColumnFlags::NO_DEFAULT_VALUE.0
    | ColumnFlags::ON_UPDATE_NOW.0
    | ColumnFlags::TIMESTAMP.0;

fn unnamed(mut definition: Definition) -> Definition {
    let [catalog, ..] = &mut definition.names;
    let catalog = std::mem::take(catalog);
    definition.names = [catalog, vec![], vec![], vec![], vec![], vec![]];
    definition
}

fn integer(sign: ColumnFlags) -> Definition {
    let mut column = Column::integer(b"");
    column.flags = ColumnFlags::NOT_NULL.union(ColumnFlags::BINARY).union(sign);
    Definition::of(&column)
}

fn double() -> Definition {
    let mut column = Column::integer(b"");
    column.column_type = ColumnType::DOUBLE;
    column.length_bytes = 23;
    column.decimals = DECIMALS_NOT_FIXED;
    column.flags = ColumnFlags::BINARY;
    Definition::of(&column)
}

fn decimal(digits: usize, scale: usize) -> Definition {
    let mut column = Column::integer(b"");
    column.column_type = ColumnType::NEWDECIMAL;
    column.length_bytes = decimal_length(digits, scale);
    column.decimals = u8::try_from(scale).unwrap_or(0);
    column.flags = ColumnFlags::BINARY;
    column.collation = BINARY_COLLATION;
    Definition::of(&column)
}

/// Digits, sign, point.
fn decimal_length(digits: usize, scale: usize) -> u32 {
    u32::try_from(digits + 1 + usize::from(scale > 0)).unwrap_or(0)
}

/// The digits of a number's type.
fn digits(column: &Definition) -> usize {
    let unsigned = column.flags.contains(ColumnFlags::UNSIGNED);
    let other = usize::from(column.decimals > 0) + usize::from(!unsigned);
    (column.length_bytes as usize)
        .saturating_sub(other)
        .min(DIGITS_MAX)
}

fn is_exact(column: &Definition) -> bool {
    matches!(
        column.value_type(),
        ValueType::Integer { .. } | ValueType::Decimal
    )
}

fn sum(column: &Definition) -> Definition {
    if !is_exact(column) {
        return double();
    }
    let digits = (digits(column) + SUM_DIGITS).min(DIGITS_MAX);
    decimal(digits, usize::from(column.decimals))
}

fn average(column: &Definition, increment: u8) -> Definition {
    if !is_exact(column) {
        return double();
    }
    let scale = (usize::from(column.decimals) + usize::from(increment)).min(SCALE_MAX);
    let digits = (digits(column) + usize::from(increment)).min(DIGITS_MAX);
    decimal(digits, scale)
}
