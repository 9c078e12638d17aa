//! OK, EOF and ERR packets.
//!
//! Owns their encoding under the capabilities of one side of the connection. Must not carry one
//! side's encoding to the other: decode with the backend's capabilities, encode with the client's.
//! Input: payloads that a server sent in answer to a command or a handshake.

use crate::caps::Capabilities;
use crate::codec::{Reader, put_lenenc_bytes, put_lenenc_int, put_u16};
use crate::error::DecodeError;
use crate::error_code::ErrorCode;
use crate::status::Status;
use std::borrow::Cow;

/// First byte of an OK packet.
pub const OK_MARKER: u8 = 0x00;
/// First byte of an EOF packet, and of the OK packet that ends a result set under DEPRECATE_EOF.
pub const EOF_MARKER: u8 = 0xFE;
/// First byte of an ERR packet.
pub const ERR_MARKER: u8 = 0xFF;
/// First byte of the reply that asks for a local file (LOAD DATA LOCAL).
pub const LOCAL_INFILE_MARKER: u8 = 0xFB;

/// Which first byte an OK packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OkForm {
    /// 0x00: the answer to a command.
    Command,
    /// 0xFE: the end of a result set under DEPRECATE_EOF.
    ResultSetEnd,
}

/// How a result set ends on one side of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EofMode {
    /// EOF packets after the columns and after the rows.
    Eof,
    /// No packet after the columns, an OK packet of the 0xFE form after the rows.
    Deprecated,
}

impl EofMode {
    /// The mode that `caps` stand for.
    pub const fn of(caps: Capabilities) -> Self {
        if caps.contains(Capabilities::DEPRECATE_EOF) {
            Self::Deprecated
        } else {
            Self::Eof
        }
    }
}

/// An OK packet. Borrows its strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ok<'a> {
    /// Rows changed (or matched, under FOUND_ROWS).
    pub affected_rows: u64,
    /// First generated AUTO_INCREMENT value, or 0.
    pub last_insert_id: u64,
    /// State of the session.
    pub status: Status,
    /// Count of warnings.
    pub warnings: u16,
    /// Human text such as "Rows matched: 1  Changed: 1  Warnings: 0".
    pub info: &'a [u8],
    /// Session state changes, undecoded: see [`crate::track`]. Empty without SESSION_TRACK.
    pub session_state: &'a [u8],
}

impl<'a> Ok<'a> {
    /// Decodes either form under the capabilities negotiated with the sender.
    ///
    /// # Errors
    /// When the payload is no OK packet or ends early.
    pub fn decode(payload: &'a [u8], caps: Capabilities) -> Result<Self, DecodeError> {
        let mut r = Reader::of("OK packet", payload);
        let marker = r.u8()?;
        if marker != OK_MARKER && marker != EOF_MARKER {
            return Err(r.bad_value("header", 0, u64::from(marker)));
        }
        let mut ok = Self {
            affected_rows: r.lenenc_int()?,
            last_insert_id: r.lenenc_int()?,
            ..Self::default()
        };
        if caps.contains(Capabilities::PROTOCOL_41) {
            ok.status = Status(r.u16()?);
            ok.warnings = r.u16()?;
        } else if caps.contains(Capabilities::TRANSACTIONS) {
            ok.status = Status(r.u16()?);
        }
        if caps.contains(Capabilities::SESSION_TRACK) {
            if !r.is_empty() {
                ok.info = r.lenenc_bytes()?;
            }
            if ok.status.contains(Status::SESSION_STATE_CHANGED) && !r.is_empty() {
                ok.session_state = r.lenenc_bytes()?;
            }
        } else {
            ok.info = plain_info(&mut r);
        }
        Ok(ok)
    }

    /// Appends the payload for a receiver with these capabilities. Session state goes out only with
    /// SESSION_TRACK; the status bit SESSION_STATE_CHANGED follows it, so that the two never disagree.
    pub fn encode(&self, out: &mut Vec<u8>, form: OkForm, caps: Capabilities) {
        out.push(match form {
            OkForm::Command => OK_MARKER,
            OkForm::ResultSetEnd => EOF_MARKER,
        });
        put_lenenc_int(out, self.affected_rows);
        put_lenenc_int(out, self.last_insert_id);
        let tracks = caps.contains(Capabilities::SESSION_TRACK) && !self.session_state.is_empty();
        let status = if tracks {
            self.status | Status::SESSION_STATE_CHANGED
        } else {
            self.status.difference(Status::SESSION_STATE_CHANGED)
        };
        put_u16(out, status.0);
        put_u16(out, self.warnings);
        if tracks || !self.info.is_empty() {
            put_lenenc_bytes(out, self.info);
        }
        if tracks {
            put_lenenc_bytes(out, self.session_state);
        }
    }
}

/// The info text without SESSION_TRACK. The documentation says "rest of packet", the servers send a
/// length-encoded string: take the length when it fits exactly.
fn plain_info<'a>(r: &mut Reader<'a>) -> &'a [u8] {
    let mut attempt = r.clone();
    match attempt.lenenc_bytes() {
        Ok(info) if attempt.is_empty() => {
            *r = attempt;
            info
        }
        _ => r.rest(),
    }
}

/// An EOF packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Eof {
    /// Count of warnings.
    pub warnings: u16,
    /// State of the session.
    pub status: Status,
}

impl Eof {
    /// Longest EOF payload is 8 bytes: a row may also start with 0xFE, but is longer.
    pub const MAX_BYTES: usize = 8;

    /// Whether `payload`, where an EOF packet or a row may stand, is an EOF packet.
    pub fn matches(payload: &[u8]) -> bool {
        payload.first() == Some(&EOF_MARKER) && payload.len() <= Self::MAX_BYTES
    }

    /// Decodes an EOF packet.
    ///
    /// # Errors
    /// When the payload is no EOF packet or ends early.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::of("EOF packet", payload);
        let marker = r.u8()?;
        if marker != EOF_MARKER {
            return Err(r.bad_value("header", 0, u64::from(marker)));
        }
        Ok(Self {
            warnings: r.u16()?,
            status: Status(r.u16()?),
        })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(EOF_MARKER);
        put_u16(out, self.warnings);
        put_u16(out, self.status.0);
    }
}

/// A SQLSTATE: five ASCII characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub [u8; 5]);

impl SqlState {
    /// `HY000`, the general error.
    pub const GENERAL: Self = Self(*b"HY000");

    /// The state as text; `?????` when a peer sent bytes that are not ASCII.
    pub fn as_str(&self) -> &str {
        if self.0.is_ascii() {
            std::str::from_utf8(&self.0).unwrap_or("?????")
        } else {
            "?????"
        }
    }
}

/// An ERR packet. Borrows its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Err<'a> {
    /// MySQL error number.
    pub code: u16,
    /// SQLSTATE; absent in errors sent before the handshake response.
    pub sqlstate: Option<SqlState>,
    /// Human text in the session's character set.
    pub message: &'a [u8],
}

impl<'a> Err<'a> {
    /// An error of ours.
    pub const fn new(code: ErrorCode, message: &'a str) -> Self {
        Self {
            code: code.number,
            sqlstate: Some(code.sqlstate),
            message: message.as_bytes(),
        }
    }

    /// Whether `payload` is an ERR packet, where a row cannot stand or starts differently.
    pub fn matches(payload: &[u8]) -> bool {
        payload.first() == Some(&ERR_MARKER)
    }

    /// Decodes an ERR packet. Under PROTOCOL_41 a SQLSTATE is taken when there is one; without, the
    /// whole rest is the message.
    ///
    /// # Errors
    /// When the payload is no ERR packet or ends early.
    pub fn decode(payload: &'a [u8], caps: Capabilities) -> Result<Self, DecodeError> {
        let mut r = Reader::of("ERR packet", payload);
        let marker = r.u8()?;
        if marker != ERR_MARKER {
            return Err(r.bad_value("header", 0, u64::from(marker)));
        }
        let code = r.u16()?;
        let sqlstate = if caps.contains(Capabilities::PROTOCOL_41) && r.peek() == Some(b'#') {
            r.skip(1)?;
            Some(SqlState(r.array()?))
        } else {
            None
        };
        Ok(Self {
            code,
            sqlstate,
            message: r.rest(),
        })
    }

    /// Appends the payload; without `sqlstate` in the form used before the handshake response.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(ERR_MARKER);
        put_u16(out, self.code);
        if let Some(SqlState(state)) = self.sqlstate {
            out.push(b'#');
            out.extend_from_slice(&state);
        }
        out.extend_from_slice(self.message);
    }

    /// The payload in a buffer of its own.
    pub fn to_payload(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.message.len().saturating_add(9));
        self.encode(&mut out);
        out
    }

    /// The message as text, with replacement characters for what is not UTF-8.
    pub fn text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.message)
    }

    /// A copy that owns its message.
    pub fn to_buf(&self) -> ErrBuf {
        ErrBuf {
            code: self.code,
            sqlstate: self.sqlstate,
            message: self.message.to_vec(),
        }
    }
}

/// An ERR packet that owns its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrBuf {
    /// MySQL error number.
    pub code: u16,
    /// SQLSTATE; absent in errors sent before the handshake response.
    pub sqlstate: Option<SqlState>,
    /// Human text in the session's character set.
    pub message: Vec<u8>,
}

impl ErrBuf {
    /// The borrowing form, which encodes itself.
    pub fn as_err(&self) -> Err<'_> {
        Err {
            code: self.code,
            sqlstate: self.sqlstate,
            message: &self.message,
        }
    }
}
