//! COM_CHANGE_USER.
//!
//! Owns its encoding and decoding. Must not verify anybody. Input: a client's payload and the
//! capabilities of its handshake response, which decide which fields are there.

use super::{CommandCode, body};
use crate::caps::Capabilities;
use crate::codec::{put_nul_bytes, put_u16};
use crate::error::DecodeError;
use crate::handshake::{ConnectAttributes, bounded, put_short_bytes};
use std::fmt;

/// A COM_CHANGE_USER.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ChangeUser {
    /// User name.
    pub user: Vec<u8>,
    /// Answer to the nonce of the greeting, at most 255 bytes.
    pub auth_response: Vec<u8>,
    /// Default database; empty for none.
    pub database: Vec<u8>,
    /// Collation id; `None` when an old client leaves it out.
    pub collation: Option<u16>,
    /// The authentication plugin that `auth_response` is for.
    pub auth_plugin: Option<String>,
    /// Connection attributes.
    pub attributes: Option<ConnectAttributes>,
}

impl ChangeUser {
    /// Decodes the payload. The fields behind the database are optional, as in servers.
    ///
    /// # Errors
    /// When a field ends early or is too long.
    pub fn decode(payload: &[u8], caps: Capabilities) -> Result<Self, DecodeError> {
        let mut r = body("COM_CHANGE_USER", CommandCode::ChangeUser, payload)?;
        let user = r.nul_bytes()?;
        let user = bounded(&r, "user", user)?.to_vec();
        let auth_response = if caps.contains(Capabilities::SECURE_CONNECTION) {
            let length = r.u8()?;
            r.bytes(usize::from(length))?
        } else {
            r.nul_bytes()?
        };
        let database = r.nul_bytes_or_rest();
        let mut change = Self {
            user,
            auth_response: auth_response.to_vec(),
            database: bounded(&r, "database", database)?.to_vec(),
            ..Self::default()
        };
        if !r.is_empty() {
            change.collation = Some(r.u16()?);
        }
        if caps.contains(Capabilities::PLUGIN_AUTH) && !r.is_empty() {
            let name = r.nul_bytes_or_rest();
            change.auth_plugin =
                Some(String::from_utf8_lossy(bounded(&r, "auth plugin", name)?).into_owned());
        }
        if caps.contains(Capabilities::CONNECT_ATTRS) && !r.is_empty() {
            change.attributes = Some(ConnectAttributes::read(&mut r)?);
        }
        Ok(change)
    }

    /// Appends the payload for a receiver with these capabilities. An authentication response of more
    /// than 255 bytes does not fit and is cut off; without SECURE_CONNECTION it ends at its first NUL.
    pub fn encode(&self, out: &mut Vec<u8>, caps: Capabilities) {
        out.push(CommandCode::ChangeUser as u8);
        put_nul_bytes(out, &self.user);
        if caps.contains(Capabilities::SECURE_CONNECTION) {
            put_short_bytes(out, &self.auth_response);
        } else {
            let upto = self.auth_response.split(|b| *b == 0).next();
            put_nul_bytes(out, upto.unwrap_or_default());
        }
        put_nul_bytes(out, &self.database);
        let Some(collation) = self.collation else {
            return;
        };
        put_u16(out, collation);
        if !caps.contains(Capabilities::PLUGIN_AUTH) {
            return;
        }
        put_nul_bytes(
            out,
            self.auth_plugin.as_deref().unwrap_or_default().as_bytes(),
        );
        if let (true, Some(attributes)) =
            (caps.contains(Capabilities::CONNECT_ATTRS), &self.attributes)
        {
            attributes.encode(out);
        }
    }
}

impl fmt::Debug for ChangeUser {
    /// Leaves the authentication response out: it may be a password in clear text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeUser")
            .field("user", &String::from_utf8_lossy(&self.user))
            .field("auth_response_bytes", &self.auth_response.len())
            .field("database", &String::from_utf8_lossy(&self.database))
            .field("collation", &self.collation)
            .field("auth_plugin", &self.auth_plugin)
            .field("attributes", &self.attributes)
            .finish()
    }
}
