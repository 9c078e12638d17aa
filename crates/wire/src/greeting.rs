//! The first packet of a connection: the server's greeting (protocol version 10).
//!
//! Owns its encoding for our clients and its decoding for our backends, including the error packet
//! that a server sends instead when it refuses a connection outright. Must not decide capabilities.
//! Input: the first payload that a server sends.

use crate::caps::Capabilities;
use crate::codec::{Reader, put_nul_bytes, put_u16, put_u32};
use crate::error::DecodeError;
use crate::reply;
use crate::status::Status;

/// Length of an authentication nonce in bytes.
pub const NONCE_BYTES: usize = 20;

const PROTOCOL_VERSION: u8 = 10;
const FIRST_NONCE_PART: usize = 8;
/// Servers pad the second part of the nonce to 13 bytes, the last being NUL.
const SECOND_NONCE_PART_MIN: u8 = 13;

/// A server's greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// For example `8.4.0` or `5.5.5-10.11.19-MariaDB`.
    pub server_version: String,
    /// Id of the connection, as in SHOW PROCESSLIST. Servers send the low 32 bits.
    pub connection_id: u32,
    /// Bytes that the authentication response is computed from.
    pub nonce: [u8; NONCE_BYTES],
    /// What the server can do.
    pub capabilities: Capabilities,
    /// Low byte of the server's default collation id.
    pub collation: u8,
    /// State of the session.
    pub status: Status,
    /// The authentication plugin that the nonce is meant for; empty without PLUGIN_AUTH.
    pub auth_plugin: String,
}

/// What a server may send first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstReply {
    /// It invites the client to log in.
    Greeting(Greeting),
    /// It refuses, for example with 1040 "Too many connections". Servers then close.
    Refused(reply::ErrBuf),
}

impl FirstReply {
    /// Decodes the first payload of a server.
    ///
    /// # Errors
    /// When it is neither a version 10 greeting nor an error packet.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        if reply::Err::matches(payload) {
            // Most servers send no SQLSTATE here, some do.
            let err = reply::Err::decode(payload, Capabilities::PROTOCOL_41)?;
            return Ok(Self::Refused(err.to_buf()));
        }
        Greeting::decode(payload).map(Self::Greeting)
    }
}

impl Greeting {
    /// Decodes a greeting.
    ///
    /// # Errors
    /// When it is not of version 10, ends early or lacks PROTOCOL_41.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::of("greeting", payload);
        let version = r.u8()?;
        if version != PROTOCOL_VERSION {
            return Err(r.bad_value("protocol version", 0, u64::from(version)));
        }
        let server_version = String::from_utf8_lossy(r.nul_bytes()?).into_owned();
        let connection_id = r.u32()?;
        let first = r.array::<FIRST_NONCE_PART>()?;
        r.skip(1)?;
        let low = r.u16()?;
        if r.is_empty() {
            return Err(DecodeError::Pre41 {
                capabilities: u32::from(low),
            });
        }
        let collation = r.u8()?;
        let status = Status(r.u16()?);
        let flags = u32::from(low) | u32::from(r.u16()?) << 16;
        if !Capabilities::from_wire(flags, 0).contains(Capabilities::PROTOCOL_41) {
            return Err(DecodeError::Pre41 {
                capabilities: flags,
            });
        }
        let nonce_bytes = r.u8()?;
        r.skip(6)?;
        // MariaDB leaves the first bit unset and uses the last four reserved bytes.
        let capabilities = Capabilities::from_wire(flags, r.u32()?);
        let second = second_nonce_part(&mut r, nonce_bytes)?;
        let auth_plugin = if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            String::from_utf8_lossy(r.nul_bytes_or_rest()).into_owned()
        } else {
            String::new()
        };
        let mut nonce = [0; NONCE_BYTES];
        let (head, tail) = nonce.split_at_mut(FIRST_NONCE_PART);
        head.copy_from_slice(&first);
        tail.copy_from_slice(second);
        Ok(Self {
            server_version,
            connection_id,
            nonce,
            capabilities,
            collation,
            status,
            auth_plugin,
        })
    }

    /// Whether the server is a MariaDB: it leaves CLIENT_MYSQL (the first bit) unset.
    pub fn is_mariadb(&self) -> bool {
        !self.capabilities.contains(Capabilities::LONG_PASSWORD)
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let [a, b, c, d] = self.capabilities.mysql().to_le_bytes();
        let (first, second) = self.nonce.split_at(FIRST_NONCE_PART);
        out.push(PROTOCOL_VERSION);
        put_nul_bytes(out, self.server_version.as_bytes());
        put_u32(out, self.connection_id);
        out.extend_from_slice(first);
        out.push(0);
        out.extend_from_slice(&[a, b]);
        out.push(self.collation);
        put_u16(out, self.status.0);
        out.extend_from_slice(&[c, d]);
        let names_plugin = self.capabilities.contains(Capabilities::PLUGIN_AUTH);
        out.push(if names_plugin { 21 } else { 0 });
        out.extend_from_slice(&[0; 6]);
        put_u32(out, self.capabilities.mariadb());
        out.extend_from_slice(second);
        out.push(0);
        if names_plugin {
            put_nul_bytes(out, self.auth_plugin.as_bytes());
        }
    }
}

/// The second part: `max(13, nonce_bytes − 8)` bytes, of which twelve count. Some proxies leave the NUL out.
fn second_nonce_part<'a>(r: &mut Reader<'a>, nonce_bytes: u8) -> Result<&'a [u8], DecodeError> {
    let second = r.bytes(NONCE_BYTES - FIRST_NONCE_PART)?;
    let declared = nonce_bytes
        .saturating_sub(FIRST_NONCE_PART as u8)
        .max(SECOND_NONCE_PART_MIN);
    let padding = usize::from(declared).saturating_sub(second.len());
    r.skip(padding.min(r.remaining()))?;
    Ok(second)
}
