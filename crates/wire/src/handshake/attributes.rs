//! Connection attributes: what a client says about itself.
//!
//! Owns the bounded list of names and values. It must never trust them: anybody can write anything
//! there. Input: the tail of a handshake response or of COM_CHANGE_USER.

use crate::codec::{Reader, lenenc_int_bytes, put_lenenc_bytes, put_lenenc_int};
use crate::error::DecodeError;

/// Largest list accepted, in bytes, as in MySQL.
pub const ATTRIBUTES_MAX_BYTES: usize = 64 * 1024;

/// Names and values in the client's order, in UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectAttributes(pub Vec<(String, String)>);

impl ConnectAttributes {
    /// The value of the first attribute called `name`.
    pub fn value_of(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Reads a list with its length in front. Bytes that are not UTF-8 become replacement characters.
    ///
    /// # Errors
    /// When the list is longer than [`ATTRIBUTES_MAX_BYTES`] or ends early.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let size = r.clone().lenenc_int()?;
        if size > ATTRIBUTES_MAX_BYTES as u64 {
            return Err(r.too_large("connection attributes", size, ATTRIBUTES_MAX_BYTES as u64));
        }
        let mut list = Reader::of("connection attributes", r.lenenc_bytes()?);
        let mut attributes = Vec::new();
        while !list.is_empty() {
            let name = text(list.lenenc_bytes()?);
            let value = text(list.lenenc_bytes()?);
            attributes.push((name, value));
        }
        Ok(Self(attributes))
    }

    /// Appends the list with its length in front.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let size = |text: &str| lenenc_int_bytes(text.len() as u64).saturating_add(text.len());
        let total: usize = self
            .0
            .iter()
            .map(|(name, value)| size(name).saturating_add(size(value)))
            .sum();
        put_lenenc_int(out, total as u64);
        for (name, value) in &self.0 {
            put_lenenc_bytes(out, name.as_bytes());
            put_lenenc_bytes(out, value.as_bytes());
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
