//! The MySQL client/server protocol, without I/O, for both sides of a connection.
//!
//! Owns framing, handshake, authentication, commands, replies, charsets and compression. It opens
//! no socket, reads no clock and spawns nothing: bytes come in, values or bytes go out. All input
//! is untrusted, from clients as well as from backends: a decoder answers any bytes with a value or
//! a typed error, in memory bounded by the input's size.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod auth;
pub mod caps;
pub mod charset;
pub mod codec;
pub mod column;
pub mod command;
pub mod compress;
pub mod error;
pub mod error_code;
pub mod greeting;
pub mod handshake;
pub mod relay;
pub mod reply;
pub mod result_set;
pub mod status;
pub mod track;

pub use caps::Capabilities;
pub use error::DecodeError;
pub use status::Status;
