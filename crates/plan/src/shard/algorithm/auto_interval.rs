//! AUTO_INTERVAL: up to the lower time, then ranges of as many seconds, each without its beginning and with its end.
//!
//! ShardingSphere computes with two decimals of a float; this is the exact value that they stand for.

use dbmesh_model::topology::sharding::time::SECOND;

use super::Slot;
use crate::shard::value::KeyValue;

pub(super) fn slot(lower: i64, upper: i64, seconds: u64, value: &KeyValue) -> Slot {
    match value {
        KeyValue::Time(value) => at(lower, upper, seconds, i128::from(*value)),
        _ => Slot::Unknown,
    }
}

pub(super) fn at(lower: i64, upper: i64, seconds: u64, value: i128) -> Slot {
    let length = i128::from(seconds) * i128::from(SECOND);
    let (lower, upper) = (i128::from(lower), i128::from(upper));
    let ranges = (upper - lower + length - 1) / length;
    let slot = match value <= lower {
        true => 0,
        false => (value - lower + length - 1) / length,
    };
    usize::try_from(slot.min(ranges + 1)).map_or(Slot::Unknown, Slot::At)
}
