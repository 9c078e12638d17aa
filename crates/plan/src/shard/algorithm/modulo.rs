//! MOD, and the older form's `mod`: the value modulo the number of slots, never negative.

use super::Slot;
use crate::shard::value::KeyValue;

pub(super) fn slot(size: usize, value: &KeyValue) -> Slot {
    match value {
        KeyValue::Integer(number) => remainder(*number, size),
        _ => Slot::Unknown,
    }
}

/// The slot of a number that is not negative once divided.
pub(super) fn remainder(number: i128, size: usize) -> Slot {
    // Most keys need no division of 128 bits, which is slow.
    let slot = match (u64::try_from(number), u64::try_from(size)) {
        (Ok(number), Ok(size)) => number.checked_rem(size).map(i128::from),
        _ => number.checked_rem_euclid(i128::try_from(size).unwrap_or(0)),
    };
    slot.and_then(|slot| usize::try_from(slot).ok())
        .map_or(Slot::Unknown, Slot::At)
}
