//! The client's answer to the greeting: the TLS request and the handshake response (4.1).
//!
//! Owns both encodings. It must not verify anybody: the authentication response inside is opaque
//! here. Input: the first payloads of a client, before anybody is authenticated; every list is bounded.

mod attributes;

pub use attributes::{ATTRIBUTES_MAX_BYTES, ConnectAttributes};

use crate::caps::Capabilities;
use crate::codec::{Reader, put_lenenc_bytes, put_nul_bytes, put_u32};
use crate::error::DecodeError;
use std::fmt;

const SSL_REQUEST_BYTES: usize = 32;
const RESERVED_BYTES: usize = 19;
/// Longest user, database and plugin name accepted, in bytes. MySQL allows 32 characters for users and 64 for databases.
const NAME_MAX_BYTES: usize = 512;

/// The request to upgrade the connection to TLS: the head of a handshake response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SslRequest {
    /// The client's capabilities, SSL among them.
    pub capabilities: Capabilities,
    /// Largest packet that the client accepts, in bytes.
    pub max_packet_bytes: u32,
    /// Collation id; clients can send its low byte only.
    pub collation: u16,
}

/// A client's handshake response.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct HandshakeResponse {
    /// The client's capabilities.
    pub capabilities: Capabilities,
    /// Largest packet that the client accepts, in bytes.
    pub max_packet_bytes: u32,
    /// Collation id; clients can send its low byte only.
    pub collation: u16,
    /// User name, in the character set of `collation`.
    pub user: Vec<u8>,
    /// Answer to the greeting's nonce.
    pub auth_response: Vec<u8>,
    /// Default database; `None` when the client names none.
    pub database: Option<Vec<u8>>,
    /// The authentication plugin that `auth_response` is for; `None` without PLUGIN_AUTH.
    pub auth_plugin: Option<String>,
    /// Connection attributes; `None` without CONNECT_ATTRS.
    pub attributes: Option<ConnectAttributes>,
    /// Level of zstd compression that the client asks for; `None` without ZSTD_COMPRESSION_ALGORITHM.
    pub zstd_level: Option<u8>,
}

/// What a client may send first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstRequest {
    /// The client wants TLS. Whatever else was received with this packet must be thrown away or
    /// refused: it was sent in the clear.
    Tls(SslRequest),
    /// The client logs in. Boxed: it is the rarer and the larger one.
    Login(Box<HandshakeResponse>),
}

impl FirstRequest {
    /// Decodes the first payload of a client.
    ///
    /// # Errors
    /// When it is neither, or of before 4.1.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        if payload.len() == SSL_REQUEST_BYTES {
            let head = head(&mut Reader::of("SSL request", payload))?;
            if head.capabilities.contains(Capabilities::SSL) {
                return Ok(Self::Tls(head));
            }
        }
        HandshakeResponse::decode(payload).map(|response| Self::Login(Box::new(response)))
    }
}

impl SslRequest {
    /// Decodes a TLS request.
    ///
    /// # Errors
    /// When it ends early, goes on after 32 bytes, or does not ask for TLS.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::of("SSL request", payload);
        let request = head(&mut r)?;
        if !request.capabilities.contains(Capabilities::SSL) {
            return Err(r.bad_value("capabilities", 0, request.capabilities.0));
        }
        r.finish()?;
        Ok(request)
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, self.capabilities.mysql());
        put_u32(out, self.max_packet_bytes);
        out.push(self.collation.to_le_bytes()[0]);
        out.extend_from_slice(&[0; RESERVED_BYTES]);
        put_u32(out, self.capabilities.mariadb());
    }
}

impl HandshakeResponse {
    /// Decodes a handshake response.
    ///
    /// # Errors
    /// When it ends early, is of before 4.1, or holds a name or list that is too long.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::of("handshake response", payload);
        let head = head(&mut r)?;
        let caps = head.capabilities;
        let user = bounded(&r, "user", r.clone().nul_bytes()?)?.to_vec();
        r.nul_bytes()?;
        let auth_response = auth_response(&mut r, caps)?.to_vec();
        let database = if caps.contains(Capabilities::CONNECT_WITH_DB) && !r.is_empty() {
            let name = r.nul_bytes_or_rest();
            Some(bounded(&r, "database", name)?.to_vec()).filter(|name| !name.is_empty())
        } else {
            None
        };
        let auth_plugin = if caps.contains(Capabilities::PLUGIN_AUTH) {
            let name = r.nul_bytes_or_rest();
            Some(String::from_utf8_lossy(bounded(&r, "auth plugin", name)?).into_owned())
        } else {
            None
        };
        let attributes = if caps.contains(Capabilities::CONNECT_ATTRS) && !r.is_empty() {
            Some(ConnectAttributes::read(&mut r)?)
        } else {
            None
        };
        let zstd_level = if caps.contains(Capabilities::ZSTD_COMPRESSION_ALGORITHM) && !r.is_empty()
        {
            Some(r.u8()?)
        } else {
            None
        };
        Ok(Self {
            capabilities: caps,
            max_packet_bytes: head.max_packet_bytes,
            collation: head.collation,
            user,
            auth_response,
            database,
            auth_plugin,
            attributes,
            zstd_level,
        })
    }

    /// The TLS request that precedes this response on a connection to be upgraded.
    pub fn ssl_request(&self) -> SslRequest {
        SslRequest {
            capabilities: self.wire_capabilities() | Capabilities::SSL,
            max_packet_bytes: self.max_packet_bytes,
            collation: self.collation,
        }
    }

    /// Appends the payload. The flags CONNECT_WITH_DB, PLUGIN_AUTH, CONNECT_ATTRS and
    /// ZSTD_COMPRESSION_ALGORITHM are sent exactly when their field is there, PROTOCOL_41 and
    /// SECURE_CONNECTION always.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let caps = self.wire_capabilities();
        SslRequest {
            capabilities: caps,
            max_packet_bytes: self.max_packet_bytes,
            collation: self.collation,
        }
        .encode(out);
        put_nul_bytes(out, &self.user);
        if caps.contains(Capabilities::PLUGIN_AUTH_LENENC_DATA) {
            put_lenenc_bytes(out, &self.auth_response);
        } else {
            put_short_bytes(out, &self.auth_response);
        }
        if let Some(database) = &self.database {
            put_nul_bytes(out, database);
        }
        if let Some(plugin) = &self.auth_plugin {
            put_nul_bytes(out, plugin.as_bytes());
        }
        if let Some(attributes) = &self.attributes {
            attributes.encode(out);
        }
        if let Some(level) = self.zstd_level {
            out.push(level);
        }
    }

    fn wire_capabilities(&self) -> Capabilities {
        let optional = [
            (Capabilities::CONNECT_WITH_DB, self.database.is_some()),
            (Capabilities::PLUGIN_AUTH, self.auth_plugin.is_some()),
            (Capabilities::CONNECT_ATTRS, self.attributes.is_some()),
            (
                Capabilities::ZSTD_COMPRESSION_ALGORITHM,
                self.zstd_level.is_some(),
            ),
            // A response longer than one length byte can say needs the length-encoded form.
            (
                Capabilities::PLUGIN_AUTH_LENENC_DATA,
                self.capabilities
                    .contains(Capabilities::PLUGIN_AUTH_LENENC_DATA)
                    || self.auth_response.len() > 255,
            ),
        ];
        let always = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
        optional
            .into_iter()
            .fold(self.capabilities | always, |caps, (flag, present)| {
                if present {
                    caps | flag
                } else {
                    caps.difference(flag)
                }
            })
    }
}

impl fmt::Debug for HandshakeResponse {
    /// Leaves the authentication response out: it may be a password in clear text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeResponse")
            .field("capabilities", &self.capabilities)
            .field("collation", &self.collation)
            .field("user", &String::from_utf8_lossy(&self.user))
            .field("auth_response_bytes", &self.auth_response.len())
            .field(
                "database",
                &self.database.as_deref().map(String::from_utf8_lossy),
            )
            .field("auth_plugin", &self.auth_plugin)
            .field("attributes", &self.attributes)
            .field("zstd_level", &self.zstd_level)
            .finish_non_exhaustive()
    }
}

/// The fields that the TLS request and the handshake response share.
fn head(r: &mut Reader<'_>) -> Result<SslRequest, DecodeError> {
    // The protocol of before 4.1 has two bytes of flags, in which PROTOCOL_41 is unset.
    let low = r.clone().u16()?;
    if !Capabilities(u64::from(low)).contains(Capabilities::PROTOCOL_41) {
        return Err(DecodeError::Pre41 {
            capabilities: u32::from(low),
        });
    }
    let flags = r.u32()?;
    let max_packet_bytes = r.u32()?;
    let collation = u16::from(r.u8()?);
    r.skip(RESERVED_BYTES)?;
    Ok(SslRequest {
        capabilities: Capabilities::from_wire(flags, r.u32()?),
        max_packet_bytes,
        collation,
    })
}

/// The authentication response in whichever of its three length encodings.
pub(crate) fn auth_response<'a>(
    r: &mut Reader<'a>,
    caps: Capabilities,
) -> Result<&'a [u8], DecodeError> {
    if caps.contains(Capabilities::PLUGIN_AUTH_LENENC_DATA) {
        r.lenenc_bytes()
    } else if caps.contains(Capabilities::SECURE_CONNECTION) {
        let length = r.u8()?;
        r.bytes(usize::from(length))
    } else {
        r.nul_bytes()
    }
}

/// A string behind one length byte; what does not fit is cut off.
pub(crate) fn put_short_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or(bytes));
}

/// `name` unless it is longer than any name may be.
pub(crate) fn bounded<'a>(
    r: &Reader<'_>,
    field: &'static str,
    name: &'a [u8],
) -> Result<&'a [u8], DecodeError> {
    if name.len() <= NAME_MAX_BYTES {
        Ok(name)
    } else {
        Err(r.too_large(field, name.len() as u64, NAME_MAX_BYTES as u64))
    }
}
