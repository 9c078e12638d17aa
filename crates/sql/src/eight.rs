//! Bytes in portions of eight: how words are cut, compared and hashed without a loop over bytes.
//!
//! Owns the arithmetic. Must never read outside the slice it is given; what is shorter than eight bytes counts as filled
//! with zeros.

/// One in every byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of every byte.
pub(crate) const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The eight bytes at `at`, little-endian; none where the text ends before.
#[inline(always)]
pub(crate) fn load(text: &[u8], at: usize) -> Option<u64> {
    let eight = text.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*eight))
}

/// Up to eight bytes, little-endian.
#[inline]
pub(crate) const fn short(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_le_bytes(*eight);
    }
    // Two overlapping reads instead of a loop: both halves are within the word.
    if let Some(first) = bytes.first_chunk::<4>()
        && let Some(last) = bytes.last_chunk::<4>()
    {
        let low = u32::from_le_bytes(*first) as u64;
        let high = u32::from_le_bytes(*last) as u64;
        return low | (high << ((bytes.len() - 4) * 8));
    }
    let mut value = 0u64;
    let mut shift = 0;
    let mut left = bytes;
    while let Some((&byte, after)) = left.split_first() {
        value |= (byte as u64) << shift;
        shift += 8;
        left = after;
    }
    value
}

/// The first `length` bytes of `eight`, the others zero.
#[inline(always)]
pub(crate) fn first(eight: u64, length: usize) -> u64 {
    match length {
        0..8 => eight & !(u64::MAX << (length * 8)),
        _ => eight,
    }
}

/// How many bytes from the first on are letters, digits, `_`, `$` or above ASCII.
#[inline(always)]
pub(crate) fn name_run(eight: u64) -> usize {
    let low = eight & !HIGHS;
    let letter = low | (ONES * 0x20);
    // A sum reaches the highest bit of its byte where the byte is at least the bound; none carries over.
    let at_least = |bytes: u64, bound: u8| bytes + ONES * u64::from(0x80 - bound);
    let letters = at_least(letter, b'a') & !at_least(letter, b'z' + 1);
    let digits = at_least(low, b'0') & !at_least(low, b'9' + 1);
    let others = !(((low ^ (ONES * u64::from(b'_'))) + (ONES * 0x7f))
        & ((low ^ (ONES * u64::from(b'$'))) + (ONES * 0x7f)));
    let names = (letters | digits | others | eight) & HIGHS;
    ((names ^ HIGHS).trailing_zeros() / 8) as usize
}

/// Marks the highest bit of bytes that equal `byte`; right for the first of them, and none is marked where there is none.
#[inline(always)]
pub(crate) fn equal(eight: u64, byte: u8) -> u64 {
    let differing = eight ^ (ONES * u64::from(byte));
    differing.wrapping_sub(ONES) & !differing & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::is_name_byte;

    #[test]
    fn every_byte_at_every_place_is_classed_as_the_table_does() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                for around in [b'a', b' ', 0x00, 0xff] {
                    let mut eight = [around; 8];
                    eight[place] = byte;
                    let run = eight.iter().take_while(|&&b| is_name_byte(b)).count();
                    let value = u64::from_le_bytes(eight);
                    assert_eq!(name_run(value), run, "{eight:?}");
                    let found = equal(value, byte).trailing_zeros() / 8;
                    let expected = eight.iter().position(|&b| b == byte).unwrap();
                    assert_eq!(found as usize, expected, "{eight:?}");
                }
            }
        }
    }

    #[test]
    fn short_words_are_filled_with_zeros() {
        for length in 0..=8 {
            let bytes = &b"customer"[..length];
            assert_eq!(short(bytes), first(short(b"customer"), length));
            assert_eq!(load(bytes, 0), (length == 8).then_some(short(b"customer")));
        }
        assert_eq!(first(u64::MAX, 64), u64::MAX);
        assert_eq!(load(b"a customer", 2), Some(short(b"customer")));
        assert_eq!(load(b"a customer", 11), None);
    }
}
