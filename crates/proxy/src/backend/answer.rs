//! Answers that the proxy reads for itself, as packets.
//!
//! Owns their decoding. Bytes of a server are as untrusted as a client's: what is cut short is an error. Input: a whole
//! answer, re-encoded under DEPRECATE_EOF.

use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{self, Reader};
use dbmesh_wire::reply;

use super::{BackendError, Cell, OWN_ANSWER_ROWS_MAX, ServerError};

/// Decodes an ERR payload.
pub(crate) fn server_error(payload: Vec<u8>) -> Result<ServerError, BackendError> {
    let err = reply::Err::decode(&payload, Capabilities::PROTOCOL_41)?;
    let (code, message) = (err.code, err.text().into_owned());
    Ok(ServerError {
        code,
        payload,
        message,
    })
}

/// The column definitions of an answer.
pub(crate) fn definitions_of(bytes: &[u8]) -> Result<Vec<Vec<u8>>, BackendError> {
    let mut packets = Packets {
        bytes,
        joined: Vec::new(),
    };
    let columns = match packets.next()? {
        Some(first) => Reader::new(first).lenenc_int()?,
        None => 0,
    };
    let mut definitions = Vec::new();
    for _ in 0..columns {
        definitions.extend(packets.next()?.map(<[u8]>::to_vec));
    }
    Ok(definitions)
}

/// The names of an answer's columns, in lower case.
pub(super) fn decode_names(bytes: &[u8]) -> Result<Vec<String>, BackendError> {
    let definitions = definitions_of(bytes)?;
    definitions.iter().map(|one| name_of(one)).collect()
}

/// The name in a column's definition, in lower case.
pub(crate) fn name_of(definition: &[u8]) -> Result<String, BackendError> {
    let mut reader = Reader::new(definition);
    // Catalogue, schema, table, original table; then the name.
    for _ in 0..4 {
        reader.lenenc_bytes()?;
    }
    Ok(String::from_utf8_lossy(reader.lenenc_bytes()?).to_lowercase())
}

/// Cells of the first result set of an answer that was re-encoded under DEPRECATE_EOF.
pub(crate) fn rows_of(bytes: &[u8]) -> Result<Vec<Vec<Cell>>, BackendError> {
    let mut packets = Packets {
        bytes,
        joined: Vec::new(),
    };
    let columns = match packets.next()? {
        Some(first) => Reader::new(first).lenenc_int()?,
        None => 0,
    };
    for _ in 0..columns {
        packets.next()?;
    }
    let mut rows = Vec::new();
    while let Some(payload) = packets.next()? {
        if payload.first() == Some(&0xFE) || rows.len() >= OWN_ANSWER_ROWS_MAX {
            break;
        }
        let mut reader = Reader::new(payload);
        let mut row = Vec::new();
        for _ in 0..columns {
            row.push(reader.lenenc_bytes_or_null()?.map(<[u8]>::to_vec));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Logical packets in a buffer.
struct Packets<'a> {
    bytes: &'a [u8],
    joined: Vec<u8>,
}

impl Packets<'_> {
    fn next(&mut self) -> Result<Option<&[u8]>, BackendError> {
        self.joined.clear();
        loop {
            let Some(header) = codec::Header::first(self.bytes) else {
                return Ok(if self.joined.is_empty() {
                    None
                } else {
                    Some(&self.joined)
                });
            };
            let end = codec::HEADER_BYTES + header.len as usize;
            let payload = self
                .bytes
                .get(codec::HEADER_BYTES..end)
                .ok_or_else(|| BackendError::Protocol("truncated packet".into()))?;
            self.joined.extend_from_slice(payload);
            self.bytes = self.bytes.get(end..).unwrap_or_default();
            if !header.is_continued() {
                return Ok(Some(&self.joined));
            }
        }
    }
}
