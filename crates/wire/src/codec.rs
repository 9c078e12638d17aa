//! Integers, strings and packet frames of the MySQL protocol.
//!
//! Owns the primitive encodings: [`Reader`] takes them from a payload, the `put_` functions append
//! them to a `Vec<u8>`, [`framing`] cuts payloads into packets. Never allocates for a size that a
//! peer merely claims. Input: one whole payload (reader) or header bytes (framing).

pub mod framing;
mod reader;
mod writer;

pub use crate::error::DecodeError;
pub use framing::{
    HEADER_BYTES, Header, MAX_PAYLOAD, PacketStart, begin_packet, finish_packet, frames,
    put_packet, seq_behind,
};
pub use reader::Reader;
pub use writer::{
    lenenc_int_bytes, put_lenenc_bytes, put_lenenc_int, put_nul_bytes, put_u8, put_u16, put_u24,
    put_u32, put_u64,
};
