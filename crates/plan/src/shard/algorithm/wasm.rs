//! WASM: a module of the user's.
//!
//! It owns what a module's answers mean. It never remembers one: the module may be replaced.

use dbmesh_model::topology::sharding::Module;
use dbmesh_model::topology::sharding::module::Failed;

use super::Slot;
use crate::shard::slots::Positions;
use crate::shard::value::KeyValue;

pub(super) fn slot(module: &Module, size: usize, value: &KeyValue) -> Slot {
    match ask(module, size, value) {
        Some(Ok(Some(place))) => Slot::At(place),
        Some(Ok(None)) => Slot::Nowhere,
        Some(Err(_)) => Slot::Failed,
        None => Slot::Unknown,
    }
}

/// Why there is no answer.
pub(super) fn failure(module: &Module, size: usize, value: &KeyValue) -> String {
    match ask(module, size, value) {
        Some(Err(failed)) => failed.to_string(),
        _ => String::new(),
    }
}

fn ask(module: &Module, size: usize, value: &KeyValue) -> Option<Result<Option<usize>, Failed>> {
    match value {
        KeyValue::Integer(key) => Some(module.slot_of_integer(*key, size)),
        KeyValue::Text(key) => Some(module.slot_of_text(key, size)),
        KeyValue::Time(_) => None,
    }
}

/// The slots of a range, if the module tells. Beyond 64 bits no module tells anything, so an open range is not asked for.
pub(super) fn between(
    module: &Module,
    size: usize,
    low: Option<i128>,
    high: Option<i128>,
) -> Option<Positions> {
    let bits = module.slots_between(low?, high?, size)?;
    let mut set = Positions::none(size);
    (0..size)
        .filter(|slot| bits >> slot & 1 == 1)
        .for_each(|slot| set.add(slot));
    Some(set)
}
