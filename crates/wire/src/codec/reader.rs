//! Reads the protocol's integers and strings from a payload.
//!
//! Owns the position in one payload. Never panics and never copies: strings are borrowed from the
//! payload. Input: a payload that some peer sent, any bytes at all.

use crate::error::DecodeError;

/// A cursor over one payload.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    message: &'static str,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; errors call the message "packet".
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::of("packet", bytes)
    }

    /// Reads `bytes`; errors call the message `message`.
    pub fn of(message: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            message,
            bytes,
            offset: 0,
        }
    }

    /// Bytes read so far: the offset of the next field in the payload.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.offset)
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The next byte without reading it.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.offset).copied()
    }

    /// The next `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.offset.checked_add(n);
        match end.and_then(|end| self.bytes.get(self.offset..end)) {
            Some(taken) => {
                self.offset = self.offset.saturating_add(n);
                Ok(taken)
            }
            None => Err(self.truncated(n as u64)),
        }
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    /// Skips `n` bytes.
    pub fn skip(&mut self, n: usize) -> Result<(), DecodeError> {
        self.bytes(n).map(|_| ())
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[b]| b)
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Three bytes, little-endian.
    pub fn u24(&mut self) -> Result<u32, DecodeError> {
        self.array()
            .map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length-encoded integer. 0xFB (NULL) and 0xFF are errors.
    pub fn lenenc_int(&mut self) -> Result<u64, DecodeError> {
        let start = self.offset;
        match self.u8()? {
            marker @ (0xFB | 0xFF) => Err(DecodeError::BadLength {
                message: self.message,
                offset: start,
                marker,
            }),
            0xFC => self.u16().map(u64::from),
            0xFD => self.u24().map(u64::from),
            0xFE => self.u64(),
            small => Ok(u64::from(small)),
        }
    }

    /// A length-encoded string.
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.lenenc_int()?;
        self.bytes_u64(length)
    }

    /// A length-encoded string, or `None` for 0xFB (NULL), as in rows of the text protocol.
    pub fn lenenc_bytes_or_null(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        if self.peek() == Some(0xFB) {
            self.skip(1)?;
            return Ok(None);
        }
        self.lenenc_bytes().map(Some)
    }

    /// A parameter value's length-encoded string. Servers read only the low four bytes of an
    /// eight-byte length, and some drivers leave rubbish in the others: so does this.
    pub fn parameter_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let long_form = self.peek() == Some(0xFE);
        let length = self.lenenc_int()?;
        self.bytes_u64(if long_form {
            length & 0xFFFF_FFFF
        } else {
            length
        })
    }

    /// A string that ends in NUL; the NUL is read and not returned.
    pub fn nul_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        match self.unread().iter().position(|&b| b == 0) {
            Some(length) => {
                let taken = self.bytes(length)?;
                self.skip(1)?;
                Ok(taken)
            }
            None => Err(DecodeError::Unterminated {
                message: self.message,
                offset: self.offset,
            }),
        }
    }

    /// A string that ends in NUL or, at the end of the payload, without it. Servers accept both
    /// in the last field of a message.
    pub fn nul_bytes_or_rest(&mut self) -> &'a [u8] {
        match self.nul_bytes() {
            Ok(taken) => taken,
            Err(_) => self.rest(),
        }
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let taken = self.unread();
        self.offset = self.bytes.len();
        taken
    }

    /// An error unless everything was read.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing {
                message: self.message,
                offset: self.offset,
            })
        }
    }

    /// The error for a field that holds a value the protocol does not allow. `offset` is where it starts.
    pub fn bad_value(&self, field: &'static str, offset: usize, value: u64) -> DecodeError {
        DecodeError::BadValue {
            message: self.message,
            field,
            offset,
            value,
        }
    }

    /// The error for a block larger than accepted.
    pub fn too_large(&self, field: &'static str, size: u64, limit: u64) -> DecodeError {
        DecodeError::TooLarge {
            message: self.message,
            field,
            size,
            limit,
        }
    }

    fn unread(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or(&[])
    }

    fn bytes_u64(&mut self, length: u64) -> Result<&'a [u8], DecodeError> {
        match usize::try_from(length) {
            Ok(n) => self.bytes(n),
            Err(_) => Err(self.truncated(length)),
        }
    }

    fn truncated(&self, needed_bytes: u64) -> DecodeError {
        DecodeError::Truncated {
            message: self.message,
            offset: self.offset,
            needed_bytes,
            left_bytes: self.remaining(),
        }
    }
}
