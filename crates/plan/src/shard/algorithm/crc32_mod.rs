//! CRC32_MOD, and the older form's `crc32mod`: CRC-32 (IEEE) of the value as text, modulo the number of slots.

use super::{Slot, modulo};
use crate::shard::value::KeyValue;

pub(super) fn slot(size: usize, value: &KeyValue) -> Slot {
    match value {
        KeyValue::Integer(number) => modulo::remainder(crc32(number.to_string().as_bytes()), size),
        KeyValue::Text(text) => modulo::remainder(crc32(text), size),
        KeyValue::Time(_) => Slot::Unknown,
    }
}

pub(super) fn crc32(bytes: &[u8]) -> i128 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| match crc & 1 {
            1 => (crc >> 1) ^ 0xedb8_8320,
            _ => crc >> 1,
        })
    });
    i128::from(!crc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_mysql() {
        assert_eq!(crc32(b"MySQL"), 3_259_397_556);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
