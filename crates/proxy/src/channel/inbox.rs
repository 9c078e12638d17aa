//! What was read and not dealt with yet, and the buffers for it.
//!
//! Owns read buffers and the spare ones of each thread. An idle connection has none. Input: bytes of a stream.

use super::READ_BUFFER_BYTES;

/// Bytes read and not consumed yet: `bytes[start..]`.
#[derive(Debug, Default)]
pub struct Inbox {
    pub(super) bytes: Vec<u8>,
    start: usize,
}

impl Inbox {
    /// The unread bytes.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Marks `n` bytes as read.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Whether nothing is unread.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Gives the buffer's memory back if nothing is unread.
    pub fn shrink(&mut self) {
        if self.is_empty() && self.bytes.capacity() > 0 {
            spare::give(std::mem::take(&mut self.bytes));
            self.start = 0;
        }
    }

    pub(super) fn make_room(&mut self, wanted: usize) {
        if self.bytes.capacity() == 0 {
            self.bytes = spare::take();
        }
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let free = self.bytes.capacity() - self.bytes.len();
        if free < wanted {
            self.bytes.reserve(wanted);
        }
    }
}

/// Read buffers of connections that are idle now, kept per thread for those that are not.
pub(super) mod spare {
    use super::READ_BUFFER_BYTES;
    use std::cell::RefCell;

    const SPARE_BUFFERS_MAX: usize = 64;

    thread_local! {
        static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    }

    pub fn take() -> Vec<u8> {
        SPARE
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| Vec::with_capacity(READ_BUFFER_BYTES))
    }

    pub fn give(mut buffer: Vec<u8>) {
        if buffer.capacity() == READ_BUFFER_BYTES {
            buffer.clear();
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_BUFFERS_MAX {
                    spare.push(buffer);
                }
            });
        }
    }
}
