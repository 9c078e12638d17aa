//! HASH_MOD: Java's `hashCode`, its absolute value modulo the number of slots, as ShardingSphere computes it.
//!
//! A number is an Integer where it fits, else a Long, as ShardingSphere's parser makes them of literals; a text is a String
//! of UTF-16.

use super::{Slot, modulo};
use crate::shard::value::KeyValue;

pub(super) fn slot(size: usize, value: &KeyValue) -> Slot {
    match java_hash(value) {
        Some(hash) => modulo::remainder(i128::from(hash).abs(), size),
        None => Slot::Unknown,
    }
}

/// `hashCode()`; none for numbers beyond Long, and bytes that are not UTF-8.
pub(super) fn java_hash(value: &KeyValue) -> Option<i32> {
    match value {
        KeyValue::Integer(number) => match i32::try_from(*number) {
            Ok(small) => Some(small),
            Err(_) => {
                let bits = i64::try_from(*number).ok()?.cast_unsigned();
                let folded = u32::try_from((bits ^ (bits >> 32)) & 0xffff_ffff).ok()?;
                Some(folded.cast_signed())
            }
        },
        KeyValue::Text(text) => {
            let text = std::str::from_utf8(text).ok()?;
            let units = text.encode_utf16();
            Some(units.fold(0_i32, |hash, unit| {
                hash.wrapping_mul(31).wrapping_add(i32::from(unit))
            }))
        }
        KeyValue::Time(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        let text = |text: &str| java_hash(&KeyValue::Text(text.as_bytes().to_vec()));
        assert_eq!(text(""), Some(0));
        assert_eq!(text("a"), Some(97));
        assert_eq!(text("hello"), Some(99_162_322));
        assert_eq!(text("polygenelubricants"), Some(i32::MIN));
        assert_eq!(text("\u{1F600}"), Some(1_772_899));
        let number = |number| java_hash(&KeyValue::Integer(number));
        assert_eq!(number(-1), Some(-1));
        assert_eq!(number(1 << 32), Some(1));
        assert_eq!(number(i128::from(i64::MAX)), Some(i32::MIN));
        assert_eq!(number(i128::from(u64::MAX)), None);
        // Long.MIN_VALUE of a hash would stay negative; its absolute value is taken in more bits.
        assert_eq!(
            slot(10, &KeyValue::Text(b"polygenelubricants".to_vec())),
            Slot::At(8)
        );
    }
}
