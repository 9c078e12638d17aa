//! Collations: which are compared here, and the bytes that have their order.
//!
//! Owns the weights of characters, and the form in which strings with and without PAD SPACE compare byte by
//! byte. It must never compare a string in a character set that the collation's cannot be had from. Every
//! collation listed in [`compares`] is proved against servers (`tests/order.rs`). Input: values of strings and
//! of WEIGHT_STRING.

mod latin1;
mod pad;
mod table;
#[cfg(test)]
mod table_tests;

use dbmesh_wire::charset;

pub(crate) use pad::Padding;
use table::Table;

/// A collation that is compared here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Native {
    /// Bytes as they are: code points of UTF-8 have their order.
    Bytes {
        /// Whether blanks at the end count for nothing.
        pad: bool,
    },
    /// latin1_swedish_ci, whose values may come as UTF-8.
    Latin1Swedish,
    /// utf8mb4_general_ci and utf8mb3_general_ci.
    General,
    /// utf8mb4_unicode_ci and utf8mb3_unicode_ci: UCA 4.0.0.
    Uca400,
    /// utf8mb4_0900_ai_ci: UCA 9.0.0, primary weights.
    Uca900,
}

/// The character set in which a value comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8,
    Latin1,
    Binary,
    Other,
}

impl Native {
    /// The collation with this id.
    pub(crate) fn of(collation: u16) -> Option<Self> {
        match collation {
            63 => Some(Self::Bytes { pad: false }),
            // utf8mb4_bin, utf8mb3_bin.
            46 | 83 => Some(Self::Bytes { pad: true }),
            // utf8mb4_0900_bin.
            309 => Some(Self::Bytes { pad: false }),
            8 => Some(Self::Latin1Swedish),
            33 | 45 => Some(Self::General),
            192 | 224 => Some(Self::Uca400),
            255 => Some(Self::Uca900),
            _ => None,
        }
    }
}

impl Charset {
    /// The character set of a collation.
    pub(crate) fn of(collation: u16) -> Self {
        match charset::by_id(collation).map(|known| known.charset) {
            Some("utf8mb4" | "utf8mb3") => Self::Utf8,
            Some("latin1") => Self::Latin1,
            Some("binary") => Self::Binary,
            _ => Self::Other,
        }
    }
}

/// Whether strings of the collation with this id are compared here, without WEIGHT_STRING.
pub fn compares(collation: u16) -> bool {
    Native::of(collation).is_some()
}

/// Strings of one collation that come in one character set.
#[derive(Debug, Clone)]
pub(crate) struct StringOrder {
    collation: Native,
    charset: Charset,
    table: Option<Table>,
    /// Weights of ASCII, where each character has one at most.
    ascii: Box<[Option<u16>; 128]>,
    units: Vec<u8>,
}

impl StringOrder {
    /// Strings of `collation` that come in the character set of `wire`; `None` where they cannot be compared.
    pub(crate) fn new(collation: Native, wire: u16) -> Option<Self> {
        let charset = Charset::of(wire);
        let comparable = match collation {
            // Binary strings come as they are whatever the definition says.
            Native::Bytes { pad } => {
                charset == Charset::Utf8 || (!pad && charset == Charset::Binary)
            }
            Native::Latin1Swedish => matches!(charset, Charset::Utf8 | Charset::Latin1),
            Native::General | Native::Uca400 | Native::Uca900 => charset == Charset::Utf8,
        };
        if !comparable {
            return None;
        }
        let table = Table::of(collation);
        let mut ascii = Box::new([None; 128]);
        for (code, weight) in (0..).zip(ascii.iter_mut()) {
            if let Some(table) = &table {
                let mut bytes = Vec::new();
                table.put(code, &mut bytes);
                *weight = bytes.first_chunk().map(|b| u16::from_be_bytes(*b));
            }
        }
        Some(Self {
            collation,
            charset,
            table,
            ascii,
            units: Vec::new(),
        })
    }

    /// Appends bytes that compare as the string does. `None` when it is no text of its character set.
    pub(crate) fn put(&mut self, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self.collation {
            Native::Bytes { pad: false } => {
                pad::put_bytes(value, out);
                return Some(());
            }
            Native::Bytes { pad: true } => {
                pad::put_padded(value, b" ", out);
                return Some(());
            }
            // Without PAD SPACE, and no weight is zero.
            Native::Uca900 => {
                self.put_weights(value, out)?;
                out.extend_from_slice(&[0, 0]);
                return Some(());
            }
            Native::Latin1Swedish | Native::General | Native::Uca400 => {}
        }
        let mut units = std::mem::take(&mut self.units);
        units.clear();
        let read = match self.collation {
            Native::Latin1Swedish => latin1::put_weights(self.charset, value, &mut units),
            _ => self.put_weights(value, &mut units),
        };
        match self.collation {
            Native::Latin1Swedish => pad::put_padded(&units, b" ", out),
            Native::General => pad::put_padded(&units, b"\0 ", out),
            _ => pad::put_padded(&units, &[2, 9], out),
        }
        self.units = units;
        read
    }

    fn put_weights(&self, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let table = self.table.as_ref()?;
        let text = std::str::from_utf8(value).ok()?;
        for character in text.chars() {
            match self.ascii.get(character as usize) {
                Some(None) => {}
                Some(Some(weight)) => out.extend_from_slice(&weight.to_be_bytes()),
                None => table.put(character.into(), out),
            }
        }
        Some(())
    }
}
