//! What the proxy knows of a user's password, and checks against it.
//!
//! Owns the hash forms that servers store. Must never need the password itself and must compare in
//! constant time. Input: passwords or hashes of the configuration; answers of clients.

use super::scramble::{proves_caching_sha2, proves_native, sha1, sha256};
use super::secret::Secret;
use super::sha_crypt::{DIGEST_CHARS, sha256_crypt};
use super::{NoRandom, equal};
use std::fmt;
use zeroize::Zeroizing;

const STORED_PREFIX: &[u8] = b"$A$";
const STORED_SALT_BYTES: usize = 20;
const ROUNDS_UNIT: u32 = 1000;

/// A text that is none of the hash forms accepted. Does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashError;

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a password hash: expected `*` and 40 hexadecimal digits, \
             `$A$00n$` with 20 bytes of salt and 43 of digest, or 64 hexadecimal digits",
        )
    }
}

impl std::error::Error for HashError {}

/// The verdict on a fast answer of caching_sha2_password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FastVerdict {
    /// The password is right.
    Match,
    /// The password is wrong.
    Mismatch,
    /// The hashes known cannot tell; the password is needed in full.
    NeedsFull,
}

/// Hashes of one password.
#[derive(Clone, Default)]
pub struct PasswordVerifier {
    /// `SHA1(SHA1(password))`.
    native: Option<Zeroizing<[u8; 20]>>,
    /// `SHA256(SHA256(password))`.
    fast: Option<Zeroizing<[u8; 32]>>,
    stored: Option<StoredHash>,
    is_empty: bool,
}

/// The form in which caching_sha2_password stores a password.
#[derive(Clone)]
struct StoredHash {
    salt: Vec<u8>,
    rounds: u32,
    digest: Zeroizing<Vec<u8>>,
}

impl PasswordVerifier {
    /// Knows everything about this password. Does not keep it.
    pub fn from_password(password: &Secret) -> Self {
        let native_stage1 = Zeroizing::new(sha1(&[password.expose()]));
        let fast_stage1 = Zeroizing::new(sha256(&[password.expose()]));
        Self {
            native: Some(Zeroizing::new(sha1(&[&*native_stage1]))),
            fast: Some(Zeroizing::new(sha256(&[&*fast_stage1]))),
            stored: None,
            is_empty: password.is_empty(),
        }
    }

    /// Knows one hash: `*` and the 40 hexadecimal digits of `SHA1(SHA1(password))`, as
    /// mysql_native_password stores it; `$A$005$…`, as caching_sha2_password stores it; or the 64
    /// hexadecimal digits of `SHA256(SHA256(password))`.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn from_hash(text: &[u8]) -> Result<Self, HashError> {
        if let Some(digits) = text.strip_prefix(b"*") {
            let native = Some(Zeroizing::new(hex(digits).ok_or(HashError)?));
            return Ok(Self {
                native,
                ..Self::default()
            });
        }
        if let Some(rest) = text.strip_prefix(STORED_PREFIX) {
            return Ok(Self {
                stored: Some(stored_hash(rest).ok_or(HashError)?),
                ..Self::default()
            });
        }
        let fast = Some(Zeroizing::new(hex(text).ok_or(HashError)?));
        Ok(Self {
            fast,
            ..Self::default()
        })
    }

    /// Knows what either knows. Both must be of the same password; where both know, `self` counts.
    pub fn or(self, other: Self) -> Self {
        Self {
            native: self.native.or(other.native),
            fast: self.fast.or(other.fast),
            stored: self.stored.or(other.stored),
            is_empty: self.is_empty || other.is_empty,
        }
    }

    /// Matches no password: for users that do not exist, so that their clients see the same exchange.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn decoy() -> Result<Self, NoRandom> {
        let mut native = Zeroizing::new([0; 20]);
        let mut fast = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(native.as_mut_slice()).map_err(|_| NoRandom)?;
        aws_lc_rs::rand::fill(fast.as_mut_slice()).map_err(|_| NoRandom)?;
        Ok(Self {
            native: Some(native),
            fast: Some(fast),
            stored: None,
            is_empty: false,
        })
    }

    /// Whether the password is known to be empty.
    pub fn is_empty_password(&self) -> bool {
        self.is_empty
    }

    /// Whether mysql_native_password can be verified.
    pub fn knows_native(&self) -> bool {
        self.native.is_some()
    }

    /// Whether caching_sha2_password can be verified without the password in full.
    pub fn knows_fast(&self) -> bool {
        self.fast.is_some()
    }

    /// Whether `response` is the right answer of mysql_native_password. False when that hash is not known.
    pub fn verify_native(&self, nonce: &[u8], response: &[u8]) -> bool {
        match &self.native {
            _ if response.is_empty() => self.is_empty,
            Some(stage2) => proves_native(stage2, nonce, response),
            None => false,
        }
    }

    /// The verdict on a fast answer of caching_sha2_password.
    pub fn verify_fast_sha2(&self, nonce: &[u8], response: &[u8]) -> FastVerdict {
        let right = match &self.fast {
            _ if response.is_empty() => self.is_empty,
            Some(stage2) => proves_caching_sha2(stage2, nonce, response),
            None => return FastVerdict::NeedsFull,
        };
        if right {
            FastVerdict::Match
        } else {
            FastVerdict::Mismatch
        }
    }

    /// Whether `password` is the password. Against a stored `$A$` hash alone this takes some
    /// milliseconds of processor time: call it where that does not hold up others.
    pub fn verify_clear(&self, password: &Secret) -> bool {
        let given = password.expose();
        if let Some(fast) = &self.fast {
            let stage1 = Zeroizing::new(sha256(&[given]));
            return equal(&sha256(&[&*stage1]), fast.as_slice());
        }
        if let Some(native) = &self.native {
            let stage1 = Zeroizing::new(sha1(&[given]));
            return equal(&sha1(&[&*stage1]), native.as_slice());
        }
        self.stored.as_ref().is_some_and(|stored| {
            sha256_crypt(given, &stored.salt, stored.rounds)
                .is_some_and(|digest| equal(&digest, &stored.digest))
        })
    }
}

impl fmt::Debug for PasswordVerifier {
    /// Says which hashes are known, not the hashes: `SHA1(SHA1())` and the like are enough to guess from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordVerifier")
            .field("knows_native", &self.native.is_some())
            .field("knows_fast", &self.fast.is_some())
            .field("knows_stored", &self.stored.is_some())
            .finish_non_exhaustive()
    }
}

/// What stands behind `$A$`: rounds in thousands as three hexadecimal digits, `$`, salt, digest.
fn stored_hash(rest: &[u8]) -> Option<StoredHash> {
    let (rounds, rest) = rest.split_at_checked(3)?;
    let rounds = u32::from_str_radix(std::str::from_utf8(rounds).ok()?, 16).ok()?;
    let (salt, digest) = rest
        .strip_prefix(b"$")?
        .split_at_checked(STORED_SALT_BYTES)?;
    (rounds > 0 && digest.len() == DIGEST_CHARS).then(|| StoredHash {
        salt: salt.to_vec(),
        rounds: rounds.saturating_mul(ROUNDS_UNIT),
        digest: Zeroizing::new(digest.to_vec()),
    })
}

fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != N.checked_mul(2)? {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let value = char::from(*high).to_digit(16)? << 4 | char::from(*low).to_digit(16)?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{scramble_caching_sha2, scramble_native};

    const NONCE: &[u8] = b"abcdefghijklmnopqrst";

    #[test]
    fn hash_of_native_password() {
        // SELECT PASSWORD('password') on any MariaDB.
        let verifier =
            PasswordVerifier::from_hash(b"*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19").unwrap();
        assert!(verifier.verify_clear(&Secret::new("password")));
        assert!(!verifier.verify_clear(&Secret::new("Password")));
        assert!(verifier.verify_native(NONCE, &scramble_native(b"password", NONCE)));
        assert!(!verifier.verify_native(NONCE, &scramble_native(b"Password", NONCE)));
        assert!(!verifier.verify_native(NONCE, b""));
        let answer = scramble_caching_sha2(b"password", NONCE);
        assert_eq!(
            verifier.verify_fast_sha2(NONCE, &answer),
            FastVerdict::NeedsFull
        );
    }

    /// The example hash that hashcat publishes for its mode 7401.
    #[test]
    fn stored_form_of_caching_sha2() {
        let salt = hex::<20>(b"F9CC98CE08892924F50A213B6BC571A2C11778C5").unwrap();
        let digest = hex::<43>(
            b"625479393559393965414D45316477456B484F41316E64484742577A2E3162785353526B7554584647562F",
        )
        .unwrap();
        let text = [b"$A$005$".as_slice(), &salt, &digest].concat();
        let verifier = PasswordVerifier::from_hash(&text).unwrap();
        assert!(verifier.verify_clear(&Secret::new("hashcat")));
        assert!(!verifier.verify_clear(&Secret::new("hashcaT")));
        assert!(!verifier.verify_clear(&Secret::default()));
        assert!(PasswordVerifier::from_hash(&text[..text.len() - 1]).is_err());
    }

    #[test]
    fn everything_from_the_password() {
        let verifier = PasswordVerifier::from_password(&Secret::new("secret"));
        assert!(verifier.verify_clear(&Secret::new("secret")));
        assert!(verifier.verify_native(NONCE, &scramble_native(b"secret", NONCE)));
        let answer = scramble_caching_sha2(b"secret", NONCE);
        assert_eq!(
            verifier.verify_fast_sha2(NONCE, &answer),
            FastVerdict::Match
        );
        assert_eq!(
            verifier.verify_fast_sha2(b"another nonce here!!", &answer),
            FastVerdict::Mismatch
        );
        assert_eq!(verifier.verify_fast_sha2(NONCE, b""), FastVerdict::Mismatch);
    }

    #[test]
    fn empty_password_needs_an_empty_answer() {
        let verifier = PasswordVerifier::from_password(&Secret::default());
        assert!(verifier.verify_native(NONCE, b""));
        assert!(!verifier.verify_native(NONCE, &scramble_native(b"x", NONCE)));
        assert!(verifier.verify_clear(&Secret::default()));
    }

    #[test]
    fn a_decoy_matches_nothing() {
        let decoy = PasswordVerifier::decoy().unwrap();
        assert!(!decoy.verify_native(NONCE, b""));
        assert!(!decoy.verify_clear(&Secret::default()));
        assert_eq!(
            decoy.verify_fast_sha2(NONCE, &[0; 32]),
            FastVerdict::Mismatch
        );
    }

    #[test]
    fn rubbish_is_no_hash() {
        for text in [
            "",
            "*",
            "*2470",
            "secret",
            "$A$",
            "$A$000$",
            "$5$005$abc",
            "*ZZ70C0C06DEE42FD1618BB99005ADCA2EC9D1E19",
        ] {
            assert!(
                PasswordVerifier::from_hash(text.as_bytes()).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn debug_shows_no_hash() {
        let verifier =
            PasswordVerifier::from_hash(b"*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19").unwrap();
        assert_eq!(
            format!("{verifier:?} {:?}", Secret::new("hunter2")),
            "PasswordVerifier { knows_native: true, knows_fast: false, knows_stored: false, .. } Secret(…)"
        );
    }
}
