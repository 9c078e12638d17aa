//! Slots from values of the key.
//!
//! Owns the dispatch, and what holds for all algorithms: a range of few values is the union of their slots, an unknown
//! result is every slot. Must never leave out a slot that a value in question may have.

mod auto_interval;
mod boundary_range;
mod consistent_hash;
mod crc32_mod;
mod hash_mod;
mod inline;
mod interval;
mod list;
mod modulo;
mod volume_range;
mod wasm;

use dbmesh_model::topology::sharding::{Algorithm, Axis, ShardedTable};

use super::slots::Positions;
use super::value::{Constraint, KeyValue};

/// Values of a range that are computed one by one.
pub const RANGE_VALUES_MAX: i128 = 256;

/// The slot of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// That one.
    At(usize),
    /// The algorithm has no place for it: no row has this value.
    Nowhere,
    /// It cannot be computed.
    Unknown,
    /// A module of the user's gave no answer: see [`failure`].
    Failed,
}

/// The slot for values of all columns of the axis, in their order.
#[must_use]
pub fn slot(axis: &Axis, values: &[KeyValue]) -> Slot {
    let size = axis.targets.len();
    let [value] = values else {
        return match &axis.algorithm {
            Algorithm::ComplexInline { expression } => inline::slot(axis, expression, values),
            _ => Slot::Unknown,
        };
    };
    match &axis.algorithm {
        Algorithm::Mod => modulo::slot(size, value),
        Algorithm::HashMod => hash_mod::slot(size, value),
        Algorithm::Crc32Mod => crc32_mod::slot(size, value),
        Algorithm::VolumeRange {
            lower,
            upper,
            volume,
        } => volume_range::slot(*lower, *upper, *volume, value),
        Algorithm::BoundaryRange { boundaries } => boundary_range::slot(boundaries, value),
        Algorithm::AutoInterval {
            lower,
            upper,
            seconds,
        } => auto_interval::slot(*lower, *upper, *seconds, value),
        Algorithm::Interval { starts, slots, end } => interval::slot(starts, slots, *end, value),
        Algorithm::Inline { expression }
        | Algorithm::ComplexInline { expression }
        | Algorithm::HintInline { expression } => inline::slot(axis, expression, values),
        Algorithm::ConsistentHash { ring } => consistent_hash::slot(ring, value),
        Algorithm::List { values, default } => list::slot(values, *default, value),
        Algorithm::Wasm { module } => wasm::slot(module, size, value),
    }
}

/// Which algorithm gave no answer for the values, and why.
#[must_use]
pub fn failure(axis: &Axis, values: &[KeyValue]) -> (String, String) {
    match (&axis.algorithm, values) {
        (Algorithm::Wasm { module }, [value]) => {
            let why = wasm::failure(module, axis.targets.len(), value);
            (module.name().to_owned(), why)
        }
        _ => Default::default(),
    }
}

/// The slots that a constraint on the only column of the axis leaves.
#[must_use]
pub fn slots(axis: &Axis, constraint: &Constraint) -> Positions {
    let size = axis.targets.len();
    match constraint {
        Constraint::Any => Positions::all(size),
        Constraint::Never => Positions::none(size),
        Constraint::Exact(value) => of_slot(size, slot(axis, std::slice::from_ref(value))),
        Constraint::Range { low, high } => range(axis, *low, *high),
    }
}

/// The set of one slot.
#[must_use]
pub fn of_slot(size: usize, slot: Slot) -> Positions {
    match slot {
        Slot::At(place) if place < size => Positions::one(size, place),
        Slot::Nowhere => Positions::none(size),
        Slot::At(_) | Slot::Unknown | Slot::Failed => Positions::all(size),
    }
}

fn range(axis: &Axis, low: Option<i128>, high: Option<i128>) -> Positions {
    let size = axis.targets.len();
    if let (Some(low), Some(high)) = (low, high)
        && low > high
    {
        return Positions::none(size);
    }
    match &axis.algorithm {
        Algorithm::VolumeRange {
            lower,
            upper,
            volume,
        } => between(size, low, high, |value| {
            volume_range::slot(*lower, *upper, *volume, &KeyValue::Integer(value))
        }),
        Algorithm::BoundaryRange { boundaries } => between(size, low, high, |value| {
            boundary_range::slot(boundaries, &KeyValue::Integer(value))
        }),
        Algorithm::AutoInterval {
            lower,
            upper,
            seconds,
        } => between(size, low, high, |value| {
            auto_interval::at(*lower, *upper, *seconds, value)
        }),
        Algorithm::Interval { starts, slots, end } => {
            interval::range(size, starts, slots, *end, low, high)
        }
        Algorithm::Wasm { module } => {
            wasm::between(module, size, low, high).unwrap_or_else(|| enumerated(axis, low, high))
        }
        _ => enumerated(axis, low, high),
    }
}

/// All slots from that of the least value to that of the greatest, for algorithms that keep the order.
fn between(
    size: usize,
    low: Option<i128>,
    high: Option<i128>,
    slot: impl Fn(i128) -> Slot,
) -> Positions {
    let first = low.map_or(Slot::At(0), &slot);
    let last = high.map_or(Slot::At(size.saturating_sub(1)), &slot);
    let (Slot::At(first), Slot::At(last)) = (first, last) else {
        return Positions::all(size);
    };
    let mut set = Positions::none(size);
    (first..=last).for_each(|slot| set.add(slot));
    set
}

/// The slots of every value of a short range.
fn enumerated(axis: &Axis, low: Option<i128>, high: Option<i128>) -> Positions {
    let size = axis.targets.len();
    let most = match axis.algorithm {
        Algorithm::Mod => i128::try_from(size).unwrap_or(i128::MAX),
        _ => RANGE_VALUES_MAX,
    };
    let (Some(low), Some(high)) = (low, high) else {
        return Positions::all(size);
    };
    if high.checked_sub(low).is_none_or(|length| length >= most) {
        return Positions::all(size);
    }
    let mut set = Positions::none(size);
    for value in low..=high {
        let slot = slot(axis, &[KeyValue::Integer(value)]);
        if slot == Slot::Failed {
            // The next value may cost as much as this one.
            return Positions::all(size);
        }
        set.unite(&of_slot(size, slot));
    }
    set
}

/// The shards of `table` at the slots of one of its axes.
#[must_use]
pub fn shards(table: &ShardedTable, axis: &Axis, slots: &Positions) -> Positions {
    let mut set = Positions::none(table.shards.len());
    for (slot, target) in axis.targets.iter().enumerate() {
        if slots.has(slot) {
            target.shards.iter().for_each(|shard| set.add(*shard));
        }
    }
    set
}

#[cfg(test)]
mod tests;
