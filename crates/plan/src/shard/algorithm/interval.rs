//! INTERVAL: the period of the calendar that a time is in. Times outside of all periods have no shard.

use super::Slot;
use crate::shard::slots::Positions;
use crate::shard::value::KeyValue;

pub(super) fn slot(starts: &[i64], slots: &[usize], end: i64, value: &KeyValue) -> Slot {
    let KeyValue::Time(at) = value else {
        return Slot::Unknown;
    };
    let after = starts.partition_point(|start| start <= at);
    match after.checked_sub(1).and_then(|period| slots.get(period)) {
        Some(slot) if *at < end => Slot::At(*slot),
        _ => Slot::Nowhere,
    }
}

/// The slots of all periods that a range touches.
pub(super) fn range(
    size: usize,
    starts: &[i64],
    slots: &[usize],
    end: i64,
    low: Option<i128>,
    high: Option<i128>,
) -> Positions {
    let mut set = Positions::none(size);
    let ends = starts.iter().skip(1).copied().chain([end]);
    for ((start, end), slot) in starts.iter().zip(ends).zip(slots) {
        let touches = high.is_none_or(|high| i128::from(*start) <= high)
            && low.is_none_or(|low| low < i128::from(end));
        if touches {
            set.add(*slot);
        }
    }
    set
}
