//! Answers to a nonce that prove a password without showing it, and their verification.
//!
//! Owns the arithmetic of mysql_native_password and of caching_sha2_password's fast path. Must
//! compare in constant time. Input: passwords or their hashes, nonces, and clients' answers.

use super::equal;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use zeroize::Zeroizing;

/// SHA1 of the parts joined.
pub(super) fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 20];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// SHA256 of the parts joined.
pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// mysql_native_password: `SHA1(password) XOR SHA1(nonce, SHA1(SHA1(password)))`. An empty password
/// is answered by an empty response instead.
pub fn scramble_native(password: &[u8], nonce: &[u8]) -> [u8; 20] {
    let stage1 = Zeroizing::new(sha1(&[password]));
    let stage2 = Zeroizing::new(sha1(&[&*stage1]));
    xor(*stage1, sha1(&[nonce, &*stage2]))
}

/// caching_sha2_password: `SHA256(password) XOR SHA256(SHA256(SHA256(password)), nonce)`. An empty
/// password is answered by an empty response instead.
pub fn scramble_caching_sha2(password: &[u8], nonce: &[u8]) -> [u8; 32] {
    scramble_sha256_fast(&Zeroizing::new(sha256(&[password])), nonce)
}

/// The same from `SHA256(password)`.
pub fn scramble_sha256_fast(stage1: &[u8; 32], nonce: &[u8]) -> [u8; 32] {
    let stage2 = Zeroizing::new(sha256(&[stage1]));
    xor(*stage1, sha256(&[&*stage2, nonce]))
}

/// Whether `response` answers `nonce` for the password whose `SHA1(SHA1(password))` is `stage2`.
pub(super) fn proves_native(stage2: &[u8; 20], nonce: &[u8], response: &[u8]) -> bool {
    <[u8; 20]>::try_from(response).is_ok_and(|response| {
        let stage1 = Zeroizing::new(xor(response, sha1(&[nonce, stage2])));
        equal(&sha1(&[&*stage1]), stage2)
    })
}

/// Whether `response` answers `nonce` for the password whose `SHA256(SHA256(password))` is `stage2`.
pub(super) fn proves_caching_sha2(stage2: &[u8; 32], nonce: &[u8], response: &[u8]) -> bool {
    <[u8; 32]>::try_from(response).is_ok_and(|response| {
        let stage1 = Zeroizing::new(xor(response, sha256(&[stage2, nonce])));
        equal(&sha256(&[&*stage1]), stage2)
    })
}

fn xor<const N: usize>(mut a: [u8; N], b: [u8; N]) -> [u8; N] {
    a.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
    a
}

/// `bytes XOR nonce`, the nonce repeated: what is encrypted with RSA instead of the bare password.
pub(super) fn xor_repeating(bytes: &mut [u8], nonce: &[u8]) {
    bytes
        .iter_mut()
        .zip(nonce.iter().cycle())
        .for_each(|(byte, key)| *byte ^= key);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from the unit tests of go-sql-driver/mysql (auth_test.go).
    #[test]
    fn known_answers() {
        let nonce = [
            10, 47, 74, 111, 75, 73, 34, 48, 88, 76, 114, 74, 37, 13, 3, 80, 82, 2, 23, 21,
        ];
        assert_eq!(
            scramble_caching_sha2(b"secret", &nonce),
            [
                244, 144, 231, 111, 102, 217, 216, 102, 101, 206, 84, 217, 140, 120, 208, 172, 254,
                47, 176, 176, 139, 66, 61, 168, 7, 20, 72, 115, 211, 11, 49, 44
            ]
        );
        let native_nonce = [
            70, 114, 92, 94, 1, 38, 11, 116, 63, 114, 23, 101, 126, 103, 26, 95, 81, 17, 24, 21,
        ];
        assert_eq!(
            scramble_native(b"secret", &native_nonce),
            [
                53, 177, 140, 159, 251, 189, 127, 53, 109, 252, 172, 50, 211, 192, 240, 164, 26,
                48, 207, 45
            ]
        );
    }

    #[test]
    fn only_the_right_answer_proves() {
        let nonce = b"abcdefghijklmnopqrst";
        let stage2 = sha1(&[&sha1(&[b"secret"])]);
        let mut answer = scramble_native(b"secret", nonce);
        assert!(proves_native(&stage2, nonce, &answer));
        answer[3] ^= 1;
        assert!(!proves_native(&stage2, nonce, &answer));
        assert!(!proves_native(&stage2, nonce, b""));

        let stage2 = sha256(&[&sha256(&[b"secret"])]);
        let mut answer = scramble_caching_sha2(b"secret", nonce);
        assert!(proves_caching_sha2(&stage2, nonce, &answer));
        answer[31] ^= 0x80;
        assert!(!proves_caching_sha2(&stage2, nonce, &answer));
        assert!(!proves_caching_sha2(&stage2, nonce, &answer[..31]));
    }
}
