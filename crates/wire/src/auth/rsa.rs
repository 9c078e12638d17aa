//! The RSA exchange by which a password crosses a connection without TLS.
//!
//! Owns our key pair and the encryption with a server's key: RSA-OAEP with SHA-1 over `password NUL`
//! XOR nonce, as caching_sha2_password and sha256_password do it. Against an active attacker the key
//! must be pinned, or TLS used. Input: ciphertexts of clients, public keys of backends.

use super::pem;
use super::scramble::xor_repeating;
use super::secret::Secret;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use std::fmt;
use zeroize::Zeroizing;

const PUBLIC_LABEL: &str = "PUBLIC KEY";
const PRIVATE_LABEL: &str = "PRIVATE KEY";

/// Why the RSA exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaError {
    /// The key could not be generated.
    NoKey,
    /// The text is no PEM of the kind needed, or holds no usable RSA key.
    BadKey,
    /// The password is too long for the key.
    TooLong,
    /// The ciphertext was not made with our key, or holds no password.
    BadCiphertext,
}

impl fmt::Display for RsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "no RSA key could be generated",
            Self::BadKey => "the text is not a usable RSA key in PEM form",
            Self::TooLong => "the password is too long for the RSA key",
            Self::BadCiphertext => "the encrypted password cannot be decrypted",
        })
    }
}

impl std::error::Error for RsaError {}

/// A key pair of ours. Make it once per process and share it: generating takes some 100 ms.
pub struct RsaKeyPair {
    private: OaepPrivateDecryptingKey,
    public_pem: String,
}

impl RsaKeyPair {
    /// A new key pair of 2048 bits.
    ///
    /// # Errors
    /// When the system cannot generate one.
    pub fn generate() -> Result<Self, RsaError> {
        let private =
            PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| RsaError::NoKey)?;
        Self::from_private(private)
    }

    /// The key pair of a private key in PEM form (PKCS#8, `BEGIN PRIVATE KEY`).
    ///
    /// # Errors
    /// When the text holds no such key, or one of less than 2048 bits.
    pub fn from_private_pem(text: &[u8]) -> Result<Self, RsaError> {
        let der = pem::decode(PRIVATE_LABEL, text).ok_or(RsaError::BadKey)?;
        Self::from_private(PrivateDecryptingKey::from_pkcs8(&der).map_err(|_| RsaError::BadKey)?)
    }

    /// The public key in PEM form, as sent to clients.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// Length of ciphertexts in bytes.
    pub fn ciphertext_bytes(&self) -> usize {
        self.private.key_size_bytes()
    }

    /// The password in `ciphertext`, which was made for `nonce`.
    ///
    /// # Errors
    /// When it cannot be decrypted or holds no NUL-terminated password.
    pub fn decrypt(&self, ciphertext: &[u8], nonce: &[u8]) -> Result<Secret, RsaError> {
        let mut buffer = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let plain = self
            .private
            .decrypt(&OAEP_SHA1_MGF1SHA1, ciphertext, &mut buffer, None)
            .map_err(|_| RsaError::BadCiphertext)?;
        xor_repeating(plain, nonce);
        match plain.split_last() {
            Some((0, password)) => Ok(Secret::new(password)),
            _ => Err(RsaError::BadCiphertext),
        }
    }

    fn from_private(private: PrivateDecryptingKey) -> Result<Self, RsaError> {
        let der: PublicKeyX509Der<'_> = private
            .public_key()
            .as_der()
            .map_err(|_| RsaError::BadKey)?;
        let public_pem = pem::encode(PUBLIC_LABEL, der.as_ref());
        let private = OaepPrivateDecryptingKey::new(private).map_err(|_| RsaError::BadKey)?;
        Ok(Self {
            private,
            public_pem,
        })
    }
}

impl fmt::Debug for RsaKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaKeyPair")
            .field("public_pem", &self.public_pem)
            .finish_non_exhaustive()
    }
}

/// Encrypts `password` for `nonce` with a server's public key in PEM form.
///
/// # Errors
/// When the text is no RSA public key or the password does not fit it.
pub fn encrypt(password: &Secret, nonce: &[u8], public_pem: &[u8]) -> Result<Vec<u8>, RsaError> {
    let der = pem::decode(PUBLIC_LABEL, public_pem).ok_or(RsaError::BadKey)?;
    let key = PublicEncryptingKey::from_der(&der)
        .and_then(|key| OaepPublicEncryptingKey::new(key).map_err(Into::into))
        .map_err(|_| RsaError::BadKey)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(
        password.expose().len().saturating_add(1),
    ));
    plain.extend_from_slice(password.expose());
    plain.push(0);
    xor_repeating(&mut plain, nonce);
    if plain.len() > key.max_plaintext_size(&OAEP_SHA1_MGF1SHA1) {
        return Err(RsaError::TooLong);
    }
    let mut ciphertext = vec![0; key.ciphertext_size()];
    let written = key
        .encrypt(&OAEP_SHA1_MGF1SHA1, &plain, &mut ciphertext, None)
        .map_err(|_| RsaError::BadKey)?
        .len();
    ciphertext.truncate(written);
    Ok(ciphertext)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let pair = RsaKeyPair::generate().unwrap();
        assert_eq!(pair.public_pem().len(), 451, "as long as a server's own");
        let nonce = b"abcdefghijklmnopqrst";
        let password = Secret::new("a rather long password, longer than the nonce");
        let ciphertext = encrypt(&password, nonce, pair.public_pem().as_bytes()).unwrap();
        assert_eq!(ciphertext.len(), pair.ciphertext_bytes());
        assert_eq!(pair.decrypt(&ciphertext, nonce), Ok(password.clone()));
        // Another nonce yields other bytes, hardly ever with a NUL at the end.
        assert_ne!(
            pair.decrypt(&ciphertext, b"00000000000000000000"),
            Ok(password)
        );
        assert_eq!(
            pair.decrypt(&ciphertext[1..], nonce),
            Err(RsaError::BadCiphertext)
        );
        let long = Secret::new([b'x'; 214]);
        assert_eq!(
            encrypt(&long, nonce, pair.public_pem().as_bytes()),
            Err(RsaError::TooLong)
        );
        assert_eq!(
            encrypt(&long, nonce, b"-----BEGIN PUBLIC KEY-----"),
            Err(RsaError::BadKey)
        );
    }
}
