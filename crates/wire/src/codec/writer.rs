//! Appends the protocol's integers and strings to a buffer.
//!
//! Owns the encodings only; the caller owns the buffer and its growth. Input: our own values.

/// One byte.
pub fn put_u8(out: &mut Vec<u8>, value: u8) {
    out.push(value);
}

/// Two bytes, little-endian.
pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Three bytes, little-endian; the highest byte of `value` is dropped.
pub fn put_u24(out: &mut Vec<u8>, value: u32) {
    let [a, b, c, _] = value.to_le_bytes();
    out.extend_from_slice(&[a, b, c]);
}

/// Four bytes, little-endian.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Eight bytes, little-endian.
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// A length-encoded integer in its shortest form.
pub fn put_lenenc_int(out: &mut Vec<u8>, value: u64) {
    let [a, b, c, ..] = value.to_le_bytes();
    match value {
        0..=0xFA => out.push(a),
        0xFB..=0xFFFF => out.extend_from_slice(&[0xFC, a, b]),
        0x1_0000..=0xFF_FFFF => out.extend_from_slice(&[0xFD, a, b, c]),
        _ => {
            out.push(0xFE);
            put_u64(out, value);
        }
    }
}

/// How many bytes [`put_lenenc_int`] appends for `value`.
pub const fn lenenc_int_bytes(value: u64) -> usize {
    match value {
        0..=0xFA => 1,
        0xFB..=0xFFFF => 3,
        0x1_0000..=0xFF_FFFF => 4,
        _ => 9,
    }
}

/// A length-encoded string.
pub fn put_lenenc_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_lenenc_int(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A string and a NUL. The string must not hold a NUL itself: what follows it is cut off, so that
/// it cannot be taken for the next field.
pub fn put_nul_bytes(out: &mut Vec<u8>, value: &[u8]) {
    let length = value.iter().position(|&b| b == 0).unwrap_or(value.len());
    out.extend_from_slice(value.get(..length).unwrap_or(value));
    out.push(0);
}
