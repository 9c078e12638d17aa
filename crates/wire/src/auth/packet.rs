//! The packets of an authentication in progress.
//!
//! Owns AuthSwitchRequest and AuthMoreData. Must not decide what follows: that is the state machines'
//! part. Input: payloads between the handshake response and the final OK or ERR.

use crate::codec::{Reader, put_nul_bytes};
use crate::error::DecodeError;

/// First byte of an AuthSwitchRequest.
pub const AUTH_SWITCH_MARKER: u8 = 0xFE;
/// First byte of an AuthMoreData.
pub const AUTH_MORE_DATA_MARKER: u8 = 0x01;
/// First byte of the request for a further factor.
pub const AUTH_NEXT_FACTOR_MARKER: u8 = 0x02;

/// caching_sha2_password: a client asks for the public key.
pub const REQUEST_PUBLIC_KEY: u8 = 2;
/// sha256_password: a client asks for the public key.
pub const SHA256_REQUEST_PUBLIC_KEY: u8 = 1;
/// caching_sha2_password: the fast answer was right, OK follows.
pub const FAST_AUTH_OK: u8 = 3;
/// caching_sha2_password: the client must send the password in full.
pub const FULL_AUTH: u8 = 4;

/// A server asks for another plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSwitchRequest {
    /// Name of the plugin.
    pub plugin: String,
    /// What the plugin is to answer: a nonce, for most with a NUL behind it.
    pub data: Vec<u8>,
}

impl AuthSwitchRequest {
    /// Decodes the payload.
    ///
    /// # Errors
    /// When it is no such packet, or the one-byte form that asks for the authentication of before 4.1.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::of("AuthSwitchRequest", payload);
        let marker = r.u8()?;
        if marker != AUTH_SWITCH_MARKER {
            return Err(r.bad_value("header", 0, u64::from(marker)));
        }
        let plugin = String::from_utf8_lossy(r.nul_bytes()?).into_owned();
        Ok(Self {
            plugin,
            data: r.rest().to_vec(),
        })
    }

    /// Appends the payload; a NUL is put behind the data, as servers do for nonces.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(AUTH_SWITCH_MARKER);
        put_nul_bytes(out, self.plugin.as_bytes());
        out.extend_from_slice(&self.data);
        out.push(0);
    }
}

/// A server sends a plugin's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthMoreData<'a> {
    /// What it means is the plugin's own.
    pub data: &'a [u8],
}

impl<'a> AuthMoreData<'a> {
    /// Decodes the payload.
    ///
    /// # Errors
    /// When it is no such packet.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::of("AuthMoreData", payload);
        let marker = r.u8()?;
        if marker != AUTH_MORE_DATA_MARKER {
            return Err(r.bad_value("header", 0, u64::from(marker)));
        }
        Ok(Self { data: r.rest() })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(AUTH_MORE_DATA_MARKER);
        out.extend_from_slice(self.data);
    }

    /// The payload in a buffer of its own.
    pub fn to_payload(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len().saturating_add(1));
        self.encode(&mut out);
        out
    }
}
