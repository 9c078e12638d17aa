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
    let size = i128::try_from(size).unwrap_or(0);
    let slot = number.checked_rem_euclid(size);
    slot.and_then(|slot| usize::try_from(slot).ok())
        .map_or(Slot::Unknown, Slot::At)
}
