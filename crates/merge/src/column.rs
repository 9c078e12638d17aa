//! Columns as the shards describe them.
//!
//! Owns the owned column definition and the type of its values. It must never take the collation of a
//! definition for that of a table's column: it is that of `character_set_results`. Input: column packets.

use dbmesh_wire::column::{Column, ColumnFlags, ColumnType};

use crate::error::MergeError;

/// A column definition that owns its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Catalog, schema, table, original table, name, original name.
    pub names: [Vec<u8>; 6],
    /// What MariaDB says of the type beyond its code.
    pub extended: Vec<u8>,
    /// Collation id of the values on the wire.
    pub collation: u16,
    /// Longest value.
    pub length_bytes: u32,
    /// Type code.
    pub column_type: ColumnType,
    /// Flags.
    pub flags: ColumnFlags,
    /// Digits after the point.
    pub decimals: u8,
}

impl Definition {
    /// Keeps a definition.
    pub fn of(column: &Column<'_>) -> Self {
        Self {
            names: [
                column.catalog,
                column.schema,
                column.table,
                column.org_table,
                column.name,
                column.org_name,
            ]
            .map(<[u8]>::to_vec),
            extended: column.extended.to_vec(),
            collation: column.collation,
            length_bytes: column.length_bytes,
            column_type: column.column_type,
            flags: column.flags,
            decimals: column.decimals,
        }
    }

    /// As the wire crate has it.
    pub fn as_column(&self) -> Column<'_> {
        let [catalog, schema, table, org_table, name, org_name] = &self.names;
        Column {
            catalog,
            schema,
            table,
            org_table,
            name,
            org_name,
            extended: &self.extended,
            collation: self.collation,
            length_bytes: self.length_bytes,
            column_type: self.column_type,
            flags: self.flags,
            decimals: self.decimals,
            default_value: None,
        }
    }

    /// The type of its values.
    pub fn value_type(&self) -> ValueType {
        let unsigned = self.flags.contains(ColumnFlags::UNSIGNED);
        match self.column_type {
            ColumnType::TINY
            | ColumnType::SHORT
            | ColumnType::LONG
            | ColumnType::INT24
            | ColumnType::LONGLONG => ValueType::Integer { unsigned },
            ColumnType::YEAR => ValueType::Integer { unsigned: true },
            ColumnType::DECIMAL | ColumnType::NEWDECIMAL => ValueType::Decimal,
            ColumnType::FLOAT => ValueType::Float {
                whole: self.decimals >= DECIMALS_NOT_FIXED,
            },
            ColumnType::DOUBLE => ValueType::Double {
                whole: self.decimals >= DECIMALS_NOT_FIXED,
            },
            ColumnType::NULL => ValueType::Null,
            ColumnType::DATE => ValueType::Date,
            ColumnType::DATETIME | ColumnType::TIMESTAMP => ValueType::DateTime,
            ColumnType::TIME => ValueType::Time,
            ColumnType::BIT => ValueType::Bit,
            ColumnType::JSON => ValueType::Json,
            ColumnType::ENUM | ColumnType::SET => ValueType::EnumOrSet,
            ColumnType::VARCHAR
            | ColumnType::TINY_BLOB
            | ColumnType::MEDIUM_BLOB
            | ColumnType::LONG_BLOB
            | ColumnType::BLOB
            | ColumnType::VAR_STRING
            | ColumnType::STRING => {
                if self.flags.contains(ColumnFlags::ENUM) || self.flags.contains(ColumnFlags::SET) {
                    ValueType::EnumOrSet
                } else {
                    ValueType::String
                }
            }
            _ => ValueType::Other,
        }
    }
}

/// `decimals` of floating-point columns whose digits are not fixed.
pub const DECIMALS_NOT_FIXED: u8 = 31;

/// The type of a column's values, as far as work on rows distinguishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// Integers, and YEAR.
    Integer {
        /// UNSIGNED.
        unsigned: bool,
    },
    /// DECIMAL.
    Decimal,
    /// FLOAT. In the text protocol it comes rounded to six digits.
    Float {
        /// Whether its digits after the point are not fixed.
        whole: bool,
    },
    /// DOUBLE.
    Double {
        /// Whether its digits after the point are not fixed. With fixed ones, text comes rounded.
        whole: bool,
    },
    /// DATE.
    Date,
    /// DATETIME and TIMESTAMP.
    DateTime,
    /// TIME.
    Time,
    /// BIT.
    Bit,
    /// Strings of characters or bytes.
    String,
    /// ENUM and SET.
    EnumOrSet,
    /// JSON.
    Json,
    /// The literal NULL.
    Null,
    /// Geometry, vectors and what is not known.
    Other,
}

/// The definitions of all shards as one: equal in what decides about values, the widest in the rest.
pub(crate) fn unify(shards: &[Vec<Definition>]) -> Result<Vec<Definition>, MergeError> {
    let (first, others) = shards
        .split_first()
        .ok_or(MergeError::Misuse("no shards to merge"))?;
    let mut unified = first.clone();
    for (index, other) in others.iter().enumerate() {
        let shard = index + 1;
        if other.len() != unified.len() {
            let column = unified.len();
            return Err(MergeError::ColumnsDiffer { shard, column });
        }
        for (column, (ours, theirs)) in unified.iter_mut().zip(other).enumerate() {
            let kind = |d: &Definition| (d.column_type, d.value_type(), d.collation, d.decimals);
            if kind(ours) != kind(theirs) {
                return Err(MergeError::ColumnsDiffer { shard, column });
            }
            ours.length_bytes = ours.length_bytes.max(theirs.length_bytes);
            if !theirs.flags.contains(ColumnFlags::NOT_NULL) {
                ours.flags = ColumnFlags(ours.flags.0 & !ColumnFlags::NOT_NULL.0);
            }
        }
    }
    Ok(unified)
}
