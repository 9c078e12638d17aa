//! Authentication, for both sides: the proxy verifies its clients and logs in at its backends.
//!
//! Owns plugins, scrambles, verifiers and the two state machines [`server::ServerAuth`] and
//! [`client::ClientAuth`]. It must never log or keep a password longer than its use, nor send one in
//! clear text over a transport that is not secure. Input: handshake payloads, and credentials from
//! the configuration.

pub mod client;
mod ed25519;
pub mod packet;
mod pem;
pub mod rsa;
mod scramble;
mod secret;
pub mod server;
mod sha_crypt;
mod stored;
pub mod verifier;

pub use client::{ClientAuth, ClientAuthError, ClientStep, ServerKey};
pub use packet::{AuthMoreData, AuthSwitchRequest};
pub use rsa::{RsaError, RsaKeyPair};
pub use scramble::{scramble_caching_sha2, scramble_native, scramble_sha256_fast};
pub use secret::Secret;
pub use server::{Proof, RejectReason, ServerAuth, ServerStep};
pub use stored::{StoreError, store_caching_sha2, store_native};
pub use verifier::{FastVerdict, HashError, PasswordVerifier};

use crate::greeting::NONCE_BYTES;
use std::fmt;

/// An authentication plugin, named as on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Plugin {
    /// `caching_sha2_password`, the default since MySQL 8.0.
    CachingSha2,
    /// `mysql_native_password`, MariaDB's default.
    Native,
    /// `mysql_clear_password`: the password itself.
    Clear,
    /// `sha256_password`, deprecated.
    Sha256,
    /// `client_ed25519` of MariaDB.
    Ed25519,
    /// Any other, which this crate does not speak.
    Other(String),
}

impl Plugin {
    /// The plugin's name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::CachingSha2 => "caching_sha2_password",
            Self::Native => "mysql_native_password",
            Self::Clear => "mysql_clear_password",
            Self::Sha256 => "sha256_password",
            Self::Ed25519 => "client_ed25519",
            Self::Other(name) => name,
        }
    }

    /// The plugin of this name.
    pub fn from_name(name: &str) -> Self {
        let known = [
            Self::CachingSha2,
            Self::Native,
            Self::Clear,
            Self::Sha256,
            Self::Ed25519,
        ];
        known
            .into_iter()
            .find(|plugin| plugin.name() == name)
            .unwrap_or_else(|| Self::Other(name.to_owned()))
    }
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether others can read what goes over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// They can: TCP without TLS.
    Plain,
    /// They cannot: a Unix socket. caching_sha2_password sends its password in clear text here,
    /// sha256_password still encrypts it with RSA.
    Local,
    /// They cannot: TLS.
    Secure,
}

impl Transport {
    /// Whether nobody else can read.
    pub const fn is_private(self) -> bool {
        matches!(self, Self::Local | Self::Secure)
    }
}

/// The system's random numbers failed. Nobody can be authenticated without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRandom;

impl fmt::Display for NoRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system has no random numbers")
    }
}

impl std::error::Error for NoRandom {}

/// A new nonce: 20 bytes of seven bits, none of them NUL or `$`, because drivers treat it as text and
/// servers use `$` as a separator.
///
/// # Errors
/// When the system has no random numbers.
pub fn generate_nonce() -> Result<[u8; NONCE_BYTES], NoRandom> {
    let mut nonce = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| NoRandom)?;
    for byte in &mut nonce {
        *byte &= 0x7F;
        if matches!(*byte, 0 | b'$') {
            *byte |= 1;
        }
    }
    Ok(nonce)
}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
fn equal(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}
