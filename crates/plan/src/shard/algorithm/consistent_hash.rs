//! CONSISTENT_HASH: the target of the next point on a ring, so that few values move when a target is added.

use dbmesh_model::topology::sharding::algorithm::ring_hash;

use super::Slot;
use crate::shard::value::KeyValue;

pub(super) fn slot(ring: &[(u64, usize)], value: &KeyValue) -> Slot {
    let hash = match value {
        KeyValue::Integer(number) => ring_hash(number.to_string().as_bytes()),
        KeyValue::Text(text) => ring_hash(text),
        KeyValue::Time(_) => return Slot::Unknown,
    };
    let next = ring.partition_point(|(point, _)| *point < hash);
    ring.get(next)
        .or_else(|| ring.first())
        .map_or(Slot::Unknown, |(_, slot)| Slot::At(*slot))
}
