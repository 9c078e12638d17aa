//! VOLUME_RANGE: below, ranges of equal volume, above.

use super::Slot;
use crate::shard::value::KeyValue;

pub(super) fn slot(lower: i64, upper: i64, volume: u64, value: &KeyValue) -> Slot {
    let KeyValue::Integer(number) = value else {
        return Slot::Unknown;
    };
    let (lower, upper, volume) = (i128::from(lower), i128::from(upper), i128::from(volume));
    let ranges = (upper - lower + volume - 1) / volume;
    let slot = if *number < lower {
        0
    } else if *number >= upper {
        ranges + 1
    } else {
        (number - lower) / volume + 1
    };
    usize::try_from(slot).map_or(Slot::Unknown, Slot::At)
}
