//! Why bytes from a peer could not be decoded.
//!
//! Owns the one error type of all decoders in this crate. It names the message, the field's
//! offset and what was wrong, and never carries the peer's bytes (they may hold secrets).

use std::fmt;

/// Bytes that are not the message they claim to be. Offsets are counted from the first payload byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The payload ends inside a field.
    Truncated {
        /// The message being decoded.
        message: &'static str,
        /// Where the field starts.
        offset: usize,
        /// Bytes that the field still needs.
        needed_bytes: u64,
        /// Bytes that are left.
        left_bytes: usize,
    },
    /// A string that must end in NUL does not.
    Unterminated {
        /// The message being decoded.
        message: &'static str,
        /// Where the string starts.
        offset: usize,
    },
    /// A length-encoded integer starts with 0xFB (NULL) or 0xFF where a number is due.
    BadLength {
        /// The message being decoded.
        message: &'static str,
        /// Where the integer starts.
        offset: usize,
        /// Its first byte.
        marker: u8,
    },
    /// A field holds a value that the protocol does not allow.
    BadValue {
        /// The message being decoded.
        message: &'static str,
        /// The field's name in the protocol documentation.
        field: &'static str,
        /// Where the field starts.
        offset: usize,
        /// What it holds.
        value: u64,
    },
    /// A list or block is larger than this implementation accepts.
    TooLarge {
        /// The message being decoded.
        message: &'static str,
        /// The field's name in the protocol documentation.
        field: &'static str,
        /// The size it claims.
        size: u64,
        /// The largest size accepted.
        limit: u64,
    },
    /// Bytes follow where the message should end.
    Trailing {
        /// The message being decoded.
        message: &'static str,
        /// Where the surplus starts.
        offset: usize,
    },
    /// The peer speaks the protocol of before MySQL 4.1, which is refused.
    Pre41 {
        /// The capability flags that the peer sent.
        capabilities: u32,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated {
                message,
                offset,
                needed_bytes,
                left_bytes,
            } => write!(
                f,
                "{message} ends early: the field at byte {offset} needs {needed_bytes} bytes, {left_bytes} are left"
            ),
            Self::Unterminated { message, offset } => {
                write!(
                    f,
                    "{message}: the string at byte {offset} has no NUL at its end"
                )
            }
            Self::BadLength {
                message,
                offset,
                marker,
            } => write!(
                f,
                "{message}: 0x{marker:02x} at byte {offset} does not start a length-encoded integer"
            ),
            Self::BadValue {
                message,
                field,
                offset,
                value,
            } => {
                write!(f, "{message}: {field} at byte {offset} may not be {value}")
            }
            Self::TooLarge {
                message,
                field,
                size,
                limit,
            } => {
                write!(
                    f,
                    "{message}: {field}: {size} is more than the {limit} accepted"
                )
            }
            Self::Trailing { message, offset } => {
                write!(f, "{message}: unexpected bytes from byte {offset} on")
            }
            Self::Pre41 { capabilities } => write!(
                f,
                "the peer speaks the protocol of before MySQL 4.1 (capabilities 0x{capabilities:08x})"
            ),
        }
    }
}

impl std::error::Error for DecodeError {}
