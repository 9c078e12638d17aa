//! Column definitions, value types and column flags.
//!
//! Owns ColumnDefinition41 and the field that MariaDB's EXTENDED_METADATA adds to it. Views borrow the
//! packet; nothing is allocated per column. Input: the column packets of a backend's result set or
//! prepare reply.

use crate::caps::Capabilities;
use crate::codec::{Reader, put_lenenc_bytes, put_lenenc_int, put_u16, put_u32};
use crate::error::DecodeError;

/// A column's or parameter's type code (`enum_field_types`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ColumnType(pub u8);

impl ColumnType {
    /// DECIMAL of old servers.
    pub const DECIMAL: Self = Self(0);
    /// TINYINT.
    pub const TINY: Self = Self(1);
    /// SMALLINT.
    pub const SHORT: Self = Self(2);
    /// INT.
    pub const LONG: Self = Self(3);
    /// FLOAT.
    pub const FLOAT: Self = Self(4);
    /// DOUBLE.
    pub const DOUBLE: Self = Self(5);
    /// The literal NULL.
    pub const NULL: Self = Self(6);
    /// TIMESTAMP.
    pub const TIMESTAMP: Self = Self(7);
    /// BIGINT.
    pub const LONGLONG: Self = Self(8);
    /// MEDIUMINT.
    pub const INT24: Self = Self(9);
    /// DATE.
    pub const DATE: Self = Self(10);
    /// TIME.
    pub const TIME: Self = Self(11);
    /// DATETIME.
    pub const DATETIME: Self = Self(12);
    /// YEAR.
    pub const YEAR: Self = Self(13);
    /// VARCHAR (parameters).
    pub const VARCHAR: Self = Self(15);
    /// BIT.
    pub const BIT: Self = Self(16);
    /// VECTOR (MySQL 9).
    pub const VECTOR: Self = Self(242);
    /// JSON.
    pub const JSON: Self = Self(245);
    /// DECIMAL.
    pub const NEWDECIMAL: Self = Self(246);
    /// ENUM.
    pub const ENUM: Self = Self(247);
    /// SET.
    pub const SET: Self = Self(248);
    /// TINYBLOB, TINYTEXT.
    pub const TINY_BLOB: Self = Self(249);
    /// MEDIUMBLOB, MEDIUMTEXT.
    pub const MEDIUM_BLOB: Self = Self(250);
    /// LONGBLOB, LONGTEXT.
    pub const LONG_BLOB: Self = Self(251);
    /// BLOB, TEXT.
    pub const BLOB: Self = Self(252);
    /// VARCHAR, VARBINARY.
    pub const VAR_STRING: Self = Self(253);
    /// CHAR, BINARY.
    pub const STRING: Self = Self(254);
    /// GEOMETRY.
    pub const GEOMETRY: Self = Self(255);

    /// How a value of this type is laid out in the binary protocol.
    pub const fn binary_layout(self) -> BinaryLayout {
        match self {
            Self::NULL => BinaryLayout::Fixed(0),
            Self::TINY => BinaryLayout::Fixed(1),
            Self::SHORT | Self::YEAR => BinaryLayout::Fixed(2),
            Self::LONG | Self::INT24 | Self::FLOAT => BinaryLayout::Fixed(4),
            Self::LONGLONG | Self::DOUBLE => BinaryLayout::Fixed(8),
            Self::DATE | Self::DATETIME | Self::TIMESTAMP | Self::TIME => BinaryLayout::ShortLength,
            _ => BinaryLayout::LengthEncoded,
        }
    }
}

/// How long a binary value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryLayout {
    /// This many bytes.
    Fixed(usize),
    /// One length byte, then that many bytes (dates and times).
    ShortLength,
    /// A length-encoded string.
    LengthEncoded,
}

/// A set of column flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ColumnFlags(pub u16);

impl ColumnFlags {
    /// NOT NULL.
    pub const NOT_NULL: Self = Self(0x0001);
    /// Part of the primary key.
    pub const PRIMARY_KEY: Self = Self(0x0002);
    /// Part of a unique key.
    pub const UNIQUE_KEY: Self = Self(0x0004);
    /// Part of a non-unique key.
    pub const MULTIPLE_KEY: Self = Self(0x0008);
    /// BLOB or TEXT.
    pub const BLOB: Self = Self(0x0010);
    /// UNSIGNED.
    pub const UNSIGNED: Self = Self(0x0020);
    /// ZEROFILL.
    pub const ZEROFILL: Self = Self(0x0040);
    /// BINARY.
    pub const BINARY: Self = Self(0x0080);
    /// ENUM.
    pub const ENUM: Self = Self(0x0100);
    /// AUTO_INCREMENT.
    pub const AUTO_INCREMENT: Self = Self(0x0200);
    /// TIMESTAMP.
    pub const TIMESTAMP: Self = Self(0x0400);
    /// SET.
    pub const SET: Self = Self(0x0800);
    /// No default value.
    pub const NO_DEFAULT_VALUE: Self = Self(0x1000);
    /// Set to NOW() on update.
    pub const ON_UPDATE_NOW: Self = Self(0x2000);
    /// A number.
    pub const NUM: Self = Self(0x8000);

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A column definition (ColumnDefinition41). Borrows its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Always `def`.
    pub catalog: &'a [u8],
    /// Database.
    pub schema: &'a [u8],
    /// Table alias.
    pub table: &'a [u8],
    /// Table.
    pub org_table: &'a [u8],
    /// Column alias.
    pub name: &'a [u8],
    /// Column.
    pub org_name: &'a [u8],
    /// What MariaDB says of the type beyond its code, to those with EXTENDED_METADATA: `json`, `uuid`.
    pub extended: &'a [u8],
    /// Collation id of the column's values; 63 for binary data and numbers.
    pub collation: u16,
    /// Longest value, in bytes of that character set.
    pub length_bytes: u32,
    /// Type of the values.
    pub column_type: ColumnType,
    /// Flags.
    pub flags: ColumnFlags,
    /// Digits after the point; 0x1F for FLOAT and DOUBLE without a fixed number, and for dynamic strings.
    pub decimals: u8,
    /// Default value, in answers to COM_FIELD_LIST only. Inner `None` is NULL.
    pub default_value: Option<Option<&'a [u8]>>,
}

/// Appends a column definition as a hop with the capabilities `to` has it, given one of a hop with `from`:
/// with EXTENDED_METADATA a string follows the six names, which says nothing where there is none to tell.
///
/// # Errors
/// When it ends within its names.
pub fn put_definition(
    out: &mut Vec<u8>,
    payload: &[u8],
    from: Capabilities,
    to: Capabilities,
) -> Result<(), DecodeError> {
    put_rest(out, payload, NAMES, from, to)
}

/// The same for a definition of which only so many names are left.
pub(crate) fn put_rest(
    out: &mut Vec<u8>,
    rest: &[u8],
    names: usize,
    from: Capabilities,
    to: Capabilities,
) -> Result<(), DecodeError> {
    let [has, wants] = [from, to].map(|caps| caps.contains(Capabilities::EXTENDED_METADATA));
    if has == wants {
        out.extend_from_slice(rest);
        return Ok(());
    }
    let mut r = Reader::of("column definition", rest);
    for _ in 0..names {
        r.lenenc_bytes()?;
    }
    let (names, _) = rest.split_at_checked(r.offset()).unwrap_or_default();
    out.extend_from_slice(names);
    if has {
        r.lenenc_bytes()?;
    } else {
        out.push(0);
    }
    out.extend_from_slice(rest.get(r.offset()..).unwrap_or_default());
    Ok(())
}

/// Names of a column definition: catalog, schema, and table and column with their aliases.
const NAMES: usize = 6;

/// Collation id of binary data and of numbers.
pub const BINARY_COLLATION: u16 = 63;

const FIXED_FIELDS_BYTES: u64 = 12;

impl<'a> Column<'a> {
    /// A column of text that no table holds. `collation` is the result set's.
    pub const fn text(name: &'a [u8], collation: u16) -> Self {
        Self::computed(
            name,
            ColumnType::VAR_STRING,
            collation,
            1024,
            ColumnFlags(0),
            0x1F,
        )
    }

    /// A column of signed 64-bit integers that no table holds.
    pub const fn integer(name: &'a [u8]) -> Self {
        let flags = ColumnFlags::BINARY.union(ColumnFlags::NUM);
        Self::computed(name, ColumnType::LONGLONG, BINARY_COLLATION, 21, flags, 0)
    }

    /// A column of unsigned 64-bit integers that no table holds.
    pub const fn unsigned(name: &'a [u8]) -> Self {
        let flags = ColumnFlags::BINARY
            .union(ColumnFlags::NUM)
            .union(ColumnFlags::UNSIGNED);
        Self::computed(name, ColumnType::LONGLONG, BINARY_COLLATION, 21, flags, 0)
    }

    const fn computed(
        name: &'a [u8],
        column_type: ColumnType,
        collation: u16,
        length_bytes: u32,
        flags: ColumnFlags,
        decimals: u8,
    ) -> Self {
        Self {
            catalog: b"def",
            schema: b"",
            table: b"",
            org_table: b"",
            name,
            org_name: b"",
            extended: b"",
            collation,
            length_bytes,
            column_type,
            flags,
            decimals,
            default_value: None,
        }
    }

    /// Decodes a column packet of a peer without EXTENDED_METADATA.
    ///
    /// # Errors
    /// When it ends early or its fixed part has another length than 12.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        Self::decode_from(payload, Capabilities::PROTOCOL_41)
    }

    /// Decodes a column packet of a peer with these capabilities.
    ///
    /// # Errors
    /// When it ends early or its fixed part has another length than 12.
    pub fn decode_from(payload: &'a [u8], caps: Capabilities) -> Result<Self, DecodeError> {
        let mut r = Reader::of("column definition", payload);
        let catalog = r.lenenc_bytes()?;
        let schema = r.lenenc_bytes()?;
        let table = r.lenenc_bytes()?;
        let org_table = r.lenenc_bytes()?;
        let name = r.lenenc_bytes()?;
        let org_name = r.lenenc_bytes()?;
        let extended = match caps.contains(Capabilities::EXTENDED_METADATA) {
            true => r.lenenc_bytes()?,
            false => b"",
        };
        let at = r.offset();
        let fixed = r.lenenc_int()?;
        if fixed != FIXED_FIELDS_BYTES {
            return Err(r.bad_value("length of fixed-length fields", at, fixed));
        }
        let mut column = Self {
            catalog,
            schema,
            table,
            org_table,
            name,
            org_name,
            extended,
            collation: r.u16()?,
            length_bytes: r.u32()?,
            column_type: ColumnType(r.u8()?),
            flags: ColumnFlags(r.u16()?),
            decimals: r.u8()?,
            default_value: None,
        };
        r.skip(2)?;
        if !r.is_empty() {
            column.default_value = Some(r.lenenc_bytes_or_null()?);
        }
        Ok(column)
    }

    /// Appends the payload for a peer with these capabilities.
    pub fn encode(&self, out: &mut Vec<u8>, caps: Capabilities) {
        for text in [
            self.catalog,
            self.schema,
            self.table,
            self.org_table,
            self.name,
            self.org_name,
        ] {
            put_lenenc_bytes(out, text);
        }
        if caps.contains(Capabilities::EXTENDED_METADATA) {
            put_lenenc_bytes(out, self.extended);
        }
        put_lenenc_int(out, FIXED_FIELDS_BYTES);
        put_u16(out, self.collation);
        put_u32(out, self.length_bytes);
        out.push(self.column_type.0);
        put_u16(out, self.flags.0);
        out.push(self.decimals);
        out.extend_from_slice(&[0, 0]);
        match self.default_value {
            Some(Some(value)) => put_lenenc_bytes(out, value),
            Some(None) => out.push(0xFB),
            None => {}
        }
    }
}
