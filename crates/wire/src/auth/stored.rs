//! What servers store of a password: made here, so that no password need stand in a file.
//!
//! Owns the two forms that [`PasswordVerifier::from_hash`](super::PasswordVerifier::from_hash) reads and servers write. Must
//! never give the password out again. Input: a password, and random numbers of the system.

use std::fmt;

use zeroize::Zeroizing;

use super::NoRandom;
use super::scramble::sha1;
use super::secret::Secret;
use super::sha_crypt::{ALPHABET, PASSWORD_MAX_BYTES, sha256_crypt};

/// Bytes of salt of caching_sha2_password.
const SALT_BYTES: usize = 20;
/// What MySQL writes for its rounds, and the rounds.
const ROUNDS: (&str, u32) = ("005", 5_000);

/// Why nothing is stored of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// It is empty: whoever has no password is let in without one.
    Empty,
    /// Longer than MySQL takes.
    TooLong,
    /// The system has no random numbers.
    NoRandom,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the password is empty"),
            Self::TooLong => write!(f, "the password is longer than {PASSWORD_MAX_BYTES} bytes"),
            Self::NoRandom => f.write_str("the system has no random numbers"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<NoRandom> for StoreError {
    fn from(_: NoRandom) -> Self {
        Self::NoRandom
    }
}

fn check(password: &Secret) -> Result<&[u8], StoreError> {
    match password.expose() {
        [] => Err(StoreError::Empty),
        long if long.len() > PASSWORD_MAX_BYTES => Err(StoreError::TooLong),
        fit => Ok(fit),
    }
}

/// `$A$005$`, salt and digest, as caching_sha2_password stores it. It takes some milliseconds.
///
/// # Errors
/// [`StoreError`].
pub fn store_caching_sha2(password: &Secret) -> Result<String, StoreError> {
    let password = check(password)?;
    let mut random = [0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| StoreError::NoRandom)?;
    // Of letters that stand in any file: 120 bits of them are plenty.
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 64)).copied();
    let salt: Vec<u8> = random.iter().filter_map(letter).collect();
    let (written, rounds) = ROUNDS;
    let digest = sha256_crypt(password, &salt, rounds).ok_or(StoreError::TooLong)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(format!("$A${written}${}{}", text(&salt), text(&digest)))
}

/// `*` and the hexadecimal digits of `SHA1(SHA1(password))`, as mysql_native_password stores it.
///
/// # Errors
/// [`StoreError`].
pub fn store_native(password: &Secret) -> Result<String, StoreError> {
    let stage1 = Zeroizing::new(sha1(&[check(password)?]));
    let digits: String = sha1(&[&*stage1])
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    Ok(format!("*{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::PasswordVerifier;

    #[test]
    fn what_is_stored_verifies_the_password_and_no_other() {
        let password = Secret::new("correct horse");
        let stored = [store_caching_sha2(&password), store_native(&password)];
        for stored in stored.map(Result::unwrap) {
            let verifier = PasswordVerifier::from_hash(stored.as_bytes()).unwrap();
            assert!(verifier.verify_clear(&password), "{stored}");
            assert!(
                !verifier.verify_clear(&Secret::new("correct hors")),
                "{stored}"
            );
        }
    }

    #[test]
    fn the_older_form_is_the_servers() {
        let stored = store_native(&Secret::new("password")).unwrap();
        assert_eq!(stored, "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
    }

    #[test]
    fn salts_differ() {
        let of = || store_caching_sha2(&Secret::new("x")).unwrap();
        assert_ne!(of(), of());
    }

    #[test]
    fn nothing_is_stored_of_what_no_server_takes() {
        assert_eq!(store_native(&Secret::default()), Err(StoreError::Empty));
        let long = Secret::new("x".repeat(PASSWORD_MAX_BYTES + 1));
        assert_eq!(store_caching_sha2(&long), Err(StoreError::TooLong));
    }
}
