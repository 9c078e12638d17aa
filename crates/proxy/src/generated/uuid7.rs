//! UUIDs of version 7 (RFC 9562): milliseconds first, so that keys made later are mostly greater.

use std::fmt::Write;

use crate::balance::random;

/// Bits that no other UUID has.
#[must_use]
pub fn entropy() -> [u64; 2] {
    // A number has 48 bits of chance.
    [random(), random().rotate_left(32) ^ random()]
}

/// The UUID of a time, in the usual 36 characters.
#[must_use]
pub fn text(now_ms: u64, [first, second]: [u64; 2]) -> String {
    let high = ((now_ms & 0xffff_ffff_ffff) << 16) | 0x7000 | (first & 0x0fff);
    let low = (1 << 63) | (second >> 2);
    let mut text = String::with_capacity(36);
    for (place, byte) in high
        .to_be_bytes()
        .into_iter()
        .chain(low.to_be_bytes())
        .enumerate()
    {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_version_and_variant_are_where_they_belong() {
        // The example of RFC 9562, A.6.
        let entropy = [0xcc3, 0x18c4_dc0c_0c07_398f << 2];
        assert_eq!(
            text(0x017f_22e2_79b0, entropy),
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
        );
    }

    #[test]
    fn later_ones_are_greater_and_all_are_different() {
        let mut all: Vec<String> = (0..5_000).map(|ms| text(ms, super::entropy())).collect();
        assert!(all.is_sorted());
        all.dedup();
        assert_eq!(all.len(), 5_000);
    }
}
