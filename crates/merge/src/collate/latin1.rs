//! latin1_swedish_ci.
//!
//! Owns its 256 weights and the way from UTF-8 to latin1, which the server takes for Windows-1252. Input:
//! values in latin1 or UTF-8.

use super::Charset;

/// What the server has from 0x80 to 0x9F; the rest is as in Unicode.
const WINDOWS: [u16; 32] = [
    0x20AC, 0x81, 0x201A, 0x192, 0x201E, 0x2026, 0x2020, 0x2021, 0x2C6, 0x2030, 0x160, 0x2039,
    0x152, 0x8D, 0x17D, 0x8F, 0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x2DC,
    0x2122, 0x161, 0x203A, 0x153, 0x9D, 0x17E, 0x178,
];

/// Weights from 0xC0 to 0xDF; those of 0xE0 to 0xFF are the same but for 0xF7 and 0xFF.
const LETTERS: [u8; 32] = [
    b'A', b'A', b'A', b'A', b'\\', b'[', b'\\', b'C', b'E', b'E', b'E', b'E', b'I', b'I', b'I',
    b'I', b'D', b'N', b'O', b'O', b'O', b'O', b']', 0xD7, 0xD8, b'U', b'U', b'U', b'Y', b'Y', 0xDE,
    0xDF,
];

/// Appends the weights of a value; `None` when it is not latin1.
pub(super) fn put_weights(charset: Charset, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if charset == Charset::Latin1 {
        out.extend(value.iter().map(|byte| weight(*byte)));
        return Some(());
    }
    for character in std::str::from_utf8(value).ok()?.chars() {
        out.push(weight(latin1(character)?));
    }
    Some(())
}

fn latin1(character: char) -> Option<u8> {
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) if !(0x80..=0x9F).contains(&byte) => Some(byte),
        _ => {
            let place = WINDOWS.iter().position(|known| u32::from(*known) == code)?;
            u8::try_from(0x80 + place).ok()
        }
    }
}

fn weight(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => byte.to_ascii_uppercase(),
        0xF7 | 0xFF => byte,
        0xC0.. => LETTERS
            .get(usize::from(byte & 0x1F))
            .copied()
            .unwrap_or(byte),
        _ => byte,
    }
}
