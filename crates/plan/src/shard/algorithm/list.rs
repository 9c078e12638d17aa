//! LIST: a table of values.

use super::Slot;
use crate::shard::value::KeyValue;

pub(super) fn slot(values: &[(String, usize)], default: Option<usize>, value: &KeyValue) -> Slot {
    let number;
    let text = match value {
        KeyValue::Integer(value) => {
            number = value.to_string();
            number.as_bytes()
        }
        KeyValue::Text(text) => text,
        KeyValue::Time(_) => return Slot::Unknown,
    };
    let listed = values.binary_search_by(|(listed, _)| listed.as_bytes().cmp(text));
    let slot = listed
        .ok()
        .and_then(|place| values.get(place))
        .map(|(_, slot)| *slot);
    slot.or(default).map_or(Slot::Nowhere, Slot::At)
}
