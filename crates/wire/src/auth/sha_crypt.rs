//! The slow hash in which caching_sha2_password stores passwords.
//!
//! Owns SHA-256 crypt (Drepper, "Unix crypt using SHA-256 and SHA-512") with the 20-byte salt of
//! MySQL (`$A$005$<salt><digest>`). Its cost grows with the square of the password's length, so
//! that must be bounded. Input: a stored hash from the configuration, a password from a client.

use super::scramble::sha256;
use aws_lc_rs::digest::{Context, SHA256};
use zeroize::Zeroizing;

/// Longest password hashed, in bytes, as in MySQL.
pub(super) const PASSWORD_MAX_BYTES: usize = 256;

/// Characters of an encoded digest.
pub(super) const DIGEST_CHARS: usize = 43;

/// Letters of salts and digests.
pub(super) const ALPHABET: &[u8; 64] =
    b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Which digest bytes make up each group of four characters, highest first.
const GROUPS: [[usize; 3]; 10] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];

/// The encoded digest of `password`, or `None` when it is longer than [`PASSWORD_MAX_BYTES`].
pub(super) fn sha256_crypt(password: &[u8], salt: &[u8], rounds: u32) -> Option<Vec<u8>> {
    if password.len() > PASSWORD_MAX_BYTES {
        return None;
    }
    let first = Zeroizing::new(initial_digest(password, salt));
    let repeated_passwords = vec![password; password.len()];
    let p = Zeroizing::new(fill(&sha256(&repeated_passwords), password.len()));
    let [count, ..] = *first;
    let repeated_salts = vec![salt; usize::from(count).saturating_add(16)];
    let s = fill(&sha256(&repeated_salts), salt.len());
    let mut digest = first;
    for round in 0..rounds {
        let mut context = Context::new(&SHA256);
        let odd = round % 2 == 1;
        context.update(if odd { &p } else { &*digest });
        if round % 3 != 0 {
            context.update(&s);
        }
        if round % 7 != 0 {
            context.update(&p);
        }
        context.update(if odd { &*digest } else { &p });
        digest.copy_from_slice(context.finish().as_ref());
    }
    Some(encode(&digest))
}

fn initial_digest(password: &[u8], salt: &[u8]) -> [u8; 32] {
    let b = Zeroizing::new(sha256(&[password, salt, password]));
    let filled = Zeroizing::new(fill(&b, password.len()));
    let mut parts: Vec<&[u8]> = vec![password, salt, &filled];
    let mut bits = password.len();
    while bits > 0 {
        parts.push(if bits & 1 == 1 { &*b } else { password });
        bits >>= 1;
    }
    sha256(&parts)
}

/// `digest` repeated up to `length` bytes.
fn fill(digest: &[u8; 32], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

fn encode(digest: &[u8; 32]) -> Vec<u8> {
    let byte = |index: usize| digest.get(index).copied().unwrap_or(0);
    let mut out = Vec::with_capacity(DIGEST_CHARS);
    for [high, middle, low] in GROUPS {
        put_group(&mut out, [byte(high), byte(middle), byte(low)], 4);
    }
    put_group(&mut out, [0, byte(31), byte(30)], 3);
    out
}

fn put_group(out: &mut Vec<u8>, [high, middle, low]: [u8; 3], chars: usize) {
    let mut word = u32::from_be_bytes([0, high, middle, low]);
    for _ in 0..chars {
        out.extend(ALPHABET.get((word & 0x3F) as usize));
        word >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's inputs with the answers of libcrypt; salts have 16 bytes at most there.
    #[test]
    fn agrees_with_libcrypt() {
        let cases: [(&str, &str, u32, &str); 3] = [
            (
                "Hello world!",
                "saltstring",
                5000,
                "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            ),
            (
                "Hello world!",
                "saltstringsaltst",
                10000,
                "3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
            ),
            (
                "we have a short salt string but not a short password",
                "short",
                77777,
                "JiO1O3ZpDAxGJeaDIuqCoEFysAe1mZNJRs3pw0KQRd/",
            ),
        ];
        for (password, salt, rounds, digest) in cases {
            let got = sha256_crypt(password.as_bytes(), salt.as_bytes(), rounds);
            assert_eq!(got.as_deref(), Some(digest.as_bytes()), "{password}");
        }
    }

    #[test]
    fn long_passwords_are_refused() {
        assert_eq!(
            sha256_crypt(&[b'x'; PASSWORD_MAX_BYTES + 1], b"salt", 1),
            None
        );
        assert!(sha256_crypt(&[b'x'; PASSWORD_MAX_BYTES], b"salt", 1).is_some());
    }
}
