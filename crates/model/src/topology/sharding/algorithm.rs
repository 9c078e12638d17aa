//! The algorithms, with their properties checked.
//!
//! It owns their parameters. A slot is a position in [`super::Axis::targets`], which has one target per slot, unless the
//! algorithm computes the target's name (the inline ones).

use std::sync::Arc;

use serde::Serialize;

use super::{Expression, Module};

/// What computes a slot from the values of the key.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Algorithm {
    /// The value modulo the number of slots, never negative. Also the older form's `mod`.
    Mod,
    /// Java's `hashCode`, its absolute value modulo the number of slots.
    HashMod,
    /// CRC-32 of the value as text, modulo the number of slots. Also the older form's `crc32mod`.
    Crc32Mod,
    /// Below `lower`, then ranges of `volume`, then from `upper`.
    VolumeRange {
        /// Where the first range begins.
        lower: i64,
        /// Where the last range ends.
        upper: i64,
        /// The length of a range.
        volume: u64,
    },
    /// The ranges between boundaries, each of which begins one.
    BoundaryRange {
        /// Ascending.
        boundaries: Vec<i64>,
    },
    /// Up to `lower`, then ranges of as many seconds, then after `upper`; a range has its end, not its beginning.
    AutoInterval {
        /// Microseconds: see [`super::time`].
        lower: i64,
        /// Microseconds.
        upper: i64,
        /// The length of a range.
        seconds: u64,
    },
    /// Periods of the calendar.
    Interval {
        /// Where each period begins, in microseconds, ascending.
        starts: Vec<i64>,
        /// The slot of each.
        slots: Vec<usize>,
        /// Where the last period ends.
        end: i64,
    },
    /// The name of the target, of one column.
    Inline {
        /// The name.
        expression: Expression,
    },
    /// The name of the target, of several columns.
    ComplexInline {
        /// The name.
        expression: Expression,
    },
    /// The name of the target, of a value in a hint, which the expression calls `value`.
    HintInline {
        /// The name.
        expression: Expression,
    },
    /// The next point on a ring of the targets' names.
    ConsistentHash {
        /// Points and their slots, ascending.
        ring: Vec<(u64, usize)>,
    },
    /// A table of values.
    List {
        /// Values as texts, ascending, with their slots.
        values: Vec<(String, usize)>,
        /// The slot of all others; none: they have none.
        default: Option<usize>,
    },
    /// A module of the user's.
    Wasm {
        /// It computes the slot.
        #[serde(serialize_with = "super::module::shown")]
        module: Arc<Module>,
    },
}

impl Algorithm {
    /// Whether a hint gives the value, not a column.
    pub fn by_hint(&self) -> bool {
        matches!(self, Self::HintInline { .. })
    }
}

/// A hash of names and keys that is the same on every machine: FNV-1a, 64 bits, with its bits mixed at the end.
pub fn ring_hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
