//! HASH_MOD: Java's `hashCode`, its absolute value modulo the number of slots, as ShardingSphere computes it.
//!
//! A number is an Integer where it fits, else a Long, else a BigInteger, as ShardingSphere's parser makes them of literals; a
//! text is a String of UTF-16.

use super::{Slot, modulo};
use crate::shard::value::KeyValue;

pub(super) fn slot(size: usize, value: &KeyValue) -> Slot {
    match java_hash(value) {
        Some(hash) => modulo::remainder(i128::from(hash).abs(), size),
        None => Slot::Unknown,
    }
}

/// `hashCode()`; none for bytes that are not UTF-8.
pub(super) fn java_hash(value: &KeyValue) -> Option<i32> {
    match value {
        KeyValue::Integer(number) => Some(match (i32::try_from(*number), i64::try_from(*number)) {
            (Ok(integer), _) => integer,
            (_, Ok(long)) => {
                let bits = long.cast_unsigned();
                low(bits ^ (bits >> 32))
            }
            _ => big(*number),
        }),
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

/// `hashCode()` of a BigInteger: its magnitude in words of 32 bits, the greatest first.
fn big(number: i128) -> i32 {
    let magnitude = number.unsigned_abs();
    let words = magnitude.to_be_bytes();
    let words = words.chunks_exact(4).map(|word| {
        let word = word
            .iter()
            .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        low(word)
    });
    // Leading zeros leave it as it is.
    let hash = words.fold(0_i32, |hash, word| hash.wrapping_mul(31).wrapping_add(word));
    match number < 0 {
        true => hash.wrapping_neg(),
        false => hash,
    }
}

/// The last 32 bits.
fn low(bits: u64) -> i32 {
    let [.., a, b, c, d] = bits.to_be_bytes();
    i32::from_be_bytes([a, b, c, d])
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
        // new BigInteger("9223372036854775808"), ("18446744073709551615"), ("18446744073709551616") and their negatives.
        assert_eq!(number(1 << 63), Some(i32::MIN));
        assert_eq!(number((1 << 63) + 7), Some(i32::MIN + 7));
        assert_eq!(number(i128::from(u64::MAX)), Some(-32));
        assert_eq!(number(1 << 64), Some(961));
        assert_eq!(number(-(1 << 64)), Some(-961));
        // Long.MIN_VALUE of a hash would stay negative; its absolute value is taken in more bits.
        assert_eq!(
            slot(10, &KeyValue::Text(b"polygenelubricants".to_vec())),
            Slot::At(8)
        );
    }
}
