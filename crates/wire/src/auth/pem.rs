//! PEM, as far as RSA keys need it.
//!
//! Owns base64 between the BEGIN and END lines of one block. Must bound what it reads. Input: a
//! server's public key packet, and key files of the configuration.

use zeroize::Zeroizing;

/// Largest text accepted, in bytes: a 16,384-bit private key fits.
const PEM_MAX_BYTES: usize = 32 * 1024;
const LINE_CHARS: usize = 64;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A block with this label, e.g. `PUBLIC KEY`.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut column = 0;
    for chunk in der.chunks(3) {
        let mut word = [0; 4];
        word.iter_mut()
            .skip(1)
            .zip(chunk)
            .for_each(|(slot, byte)| *slot = *byte);
        let word = u32::from_be_bytes(word);
        for position in 0..4usize {
            let shift = 18usize.saturating_sub(position.saturating_mul(6));
            let index = (word >> shift & 0x3F) as usize;
            let digit = if position > chunk.len() {
                b'='
            } else {
                ALPHABET.get(index).copied().unwrap_or(b'=')
            };
            text.push(char::from(digit));
        }
        column += 4;
        if column == LINE_CHARS {
            text.push('\n');
            column = 0;
        }
    }
    if column > 0 {
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The bytes of the first block with this label; `None` when there is none or it is not base64.
pub(super) fn decode(label: &str, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if text.len() > PEM_MAX_BYTES {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let (_, after) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = after.split_once(&format!("-----END {label}-----"))?;
    base64(body)
}

fn base64(body: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(body.len()));
    let mut word: u32 = 0;
    let mut digits: u32 = 0;
    let digits_of_body = body.bytes().filter(|byte| !byte.is_ascii_whitespace());
    for byte in digits_of_body.take_while(|&byte| byte != b'=') {
        let value = ALPHABET.iter().position(|&digit| digit == byte)?;
        word = word << 6 | u32::try_from(value).ok()?;
        digits += 1;
        if digits == 4 {
            let [_, a, b, c] = word.to_be_bytes();
            out.extend_from_slice(&[a, b, c]);
            (word, digits) = (0, 0);
        }
    }
    let [_, a, b, _] = (word << (6 * (4 - digits))).to_be_bytes();
    match digits {
        0 => {}
        2 => out.push(a),
        3 => out.extend_from_slice(&[a, b]),
        _ => return None,
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_every_tail() {
        for length in 0..200usize {
            let der: Vec<u8> = (0..length).map(|i| (i * 37 % 256) as u8).collect();
            let text = encode("PUBLIC KEY", &der);
            assert!(text.lines().all(|line| line.len() <= LINE_CHARS));
            assert_eq!(
                decode("PUBLIC KEY", text.as_bytes()).unwrap().as_slice(),
                der,
                "{length}"
            );
        }
    }

    #[test]
    fn known_text() {
        assert_eq!(
            encode("X", b"Man Ma M"),
            "-----BEGIN X-----\nTWFuIE1hIE0=\n-----END X-----\n"
        );
    }

    #[test]
    fn rubbish_is_refused() {
        assert!(decode("X", b"-----BEGIN X-----\nA\n-----END X-----").is_none());
        assert!(decode("X", b"-----BEGIN X-----\nA*BC\n-----END X-----").is_none());
        assert!(decode("X", b"-----BEGIN X-----\nAAAA").is_none());
        assert!(decode("X", &vec![b'A'; PEM_MAX_BYTES + 1]).is_none());
    }
}
