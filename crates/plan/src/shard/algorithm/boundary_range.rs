//! BOUNDARY_RANGE: each boundary begins a range.

use super::Slot;
use crate::shard::value::KeyValue;

pub(super) fn slot(boundaries: &[i64], value: &KeyValue) -> Slot {
    match value {
        KeyValue::Integer(number) => {
            Slot::At(boundaries.partition_point(|boundary| i128::from(*boundary) <= *number))
        }
        _ => Slot::Unknown,
    }
}
