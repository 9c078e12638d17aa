//! MariaDB's client_ed25519.
//!
//! Owns its signature: Ed25519, but with the secret scalar and prefix taken from SHA-512 of the
//! password itself instead of a 32-byte seed, which is why no ready-made signer fits. Input: a
//! password of ours and a backend's nonce.

use aws_lc_rs::digest::{Context, SHA512};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use zeroize::Zeroizing;

/// Length of this plugin's nonce in bytes.
pub(super) const ED25519_NONCE_BYTES: usize = 32;

/// The signature of `nonce` by the key that `password` stands for.
pub(super) fn sign(password: &[u8], nonce: &[u8]) -> [u8; 64] {
    let expanded = Zeroizing::new(sha512(&[password]));
    let (low, prefix) = expanded.split_at(32);
    let mut seed = Zeroizing::new([0; 32]);
    seed.copy_from_slice(low);
    let secret = Zeroizing::new(Scalar::from_bytes_mod_order(clamp_integer(*seed)));
    let public = EdwardsPoint::mul_base(&secret).compress().to_bytes();
    let r = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&sha512(&[prefix, nonce])));
    let commitment = EdwardsPoint::mul_base(&r).compress().to_bytes();
    let challenge = Scalar::from_bytes_mod_order_wide(&sha512(&[&commitment, &public, nonce]));
    let response = challenge * *secret + *r;
    let mut signature = [0; 64];
    let (first, second) = signature.split_at_mut(32);
    first.copy_from_slice(&commitment);
    second.copy_from_slice(response.as_bytes());
    signature
}

fn sha512(parts: &[&[u8]]) -> [u8; 64] {
    let mut context = Context::new(&SHA512);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 64];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

    /// With a 32-byte password the variant is plain Ed25519, which another implementation can check.
    #[test]
    fn agrees_with_ed25519() {
        let seed = b"a password of thirty-two bytes!!";
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
        let nonce = [7; ED25519_NONCE_BYTES];
        let signature = sign(seed, &nonce);
        assert_eq!(signature.as_slice(), pair.sign(&nonce).as_ref());
        let key = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
        assert!(key.verify(&nonce, &signature).is_ok());
        assert!(key.verify(&[8; ED25519_NONCE_BYTES], &signature).is_err());
    }
}
