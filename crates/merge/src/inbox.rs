//! The packets of one shard that wait to be merged.
//!
//! Owns their bytes and the place of the row at the head. Packets may come cut anywhere; one that fills its
//! 16 MiB is joined with the next. It must never keep more than it was given, nor find a row where a packet is
//! not whole. Input: the row packets of a shard, with their headers, without the result's end.

use dbmesh_wire::codec::{HEADER_BYTES, Header};

use crate::error::{Budget, MergeError, RowFault};

/// The packets of one shard.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// Where the head row is in `bytes`, or in `joined`.
    head: Head,
    /// Where the packets after the head begin.
    rest: usize,
    joined: Vec<u8>,
    done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Head {
    #[default]
    None,
    Whole(usize, usize),
    Joined,
}

/// What is at the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Row,
    NeedInput,
    Done,
}

impl Inbox {
    /// Adds packets.
    pub(crate) fn feed(&mut self, packets: &[u8]) -> Result<(), MergeError> {
        if self.done {
            return Err(MergeError::Misuse("a shard that is done was fed"));
        }
        let unused = match self.head {
            Head::Whole(start, _) => start,
            Head::None | Head::Joined => self.rest,
        };
        let waiting = self.bytes.len() - unused;
        let is_full = packets.len() > self.bytes.capacity() - self.bytes.len();
        // Moved when that is less work than what was read since, or a few times as much where the buffer would grow.
        if unused > 0 && (unused >= waiting || (is_full && unused >= waiting / 4)) {
            self.bytes.drain(..unused);
            self.rest -= unused;
            if let Head::Whole(start, end) = &mut self.head {
                *start -= unused;
                *end -= unused;
            }
        }
        if packets.len() > self.bytes.capacity() - self.bytes.len() {
            // By a quarter, not twice: what it has is counted.
            self.bytes
                .reserve_exact(packets.len() + self.bytes.len() / 4);
        }
        self.bytes.extend_from_slice(packets);
        Ok(())
    }

    /// No more will come.
    pub(crate) fn finish(&mut self) {
        self.done = true;
    }

    /// After all of it was read: gives back its memory.
    pub(crate) fn release(&mut self) {
        (self.bytes, self.joined) = (Vec::new(), Vec::new());
        (self.rest, self.head) = (0, Head::None);
    }

    /// Bytes that wait, without the head.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes.len() - self.rest
    }

    /// Bytes of memory that it holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.joined.capacity()
    }

    /// Lets the head go and makes the next row the head.
    pub(crate) fn advance(
        &mut self,
        shard: usize,
        row_bytes_max: usize,
    ) -> Result<Next, MergeError> {
        self.head = Head::None;
        let from = self.bytes.get(self.rest..).unwrap_or_default();
        let Some(header) = Header::first(from) else {
            return self.incomplete(shard, from.is_empty());
        };
        if header.is_continued() {
            return self.join(shard, row_bytes_max);
        }
        let start = self.rest + HEADER_BYTES;
        let end = start + header.len as usize;
        if header.len as usize > row_bytes_max {
            return Err(row_too_large(row_bytes_max));
        }
        if end > self.bytes.len() {
            return self.incomplete(shard, false);
        }
        self.head = Head::Whole(start, end);
        self.rest = end;
        Ok(Next::Row)
    }

    /// The payload of the row at the head.
    pub(crate) fn row(&self) -> &[u8] {
        match self.head {
            Head::None => &[],
            Head::Whole(start, end) => self.bytes.get(start..end).unwrap_or_default(),
            Head::Joined => &self.joined,
        }
    }

    fn incomplete(&self, shard: usize, empty: bool) -> Result<Next, MergeError> {
        match (self.done, empty) {
            (false, _) => Ok(Next::NeedInput),
            (true, true) => Ok(Next::Done),
            (true, false) => Err(MergeError::BadRow {
                shard,
                fault: RowFault::Unfinished,
            }),
        }
    }

    /// Joins the packets of a row that has several.
    fn join(&mut self, shard: usize, row_bytes_max: usize) -> Result<Next, MergeError> {
        let mut at = self.rest;
        let mut length = 0;
        loop {
            let from = self.bytes.get(at..).unwrap_or_default();
            let Some(header) = Header::first(from) else {
                return self.incomplete(shard, false);
            };
            length += header.len as usize;
            at += HEADER_BYTES + header.len as usize;
            if length > row_bytes_max {
                return Err(row_too_large(row_bytes_max));
            }
            if at > self.bytes.len() {
                return self.incomplete(shard, false);
            }
            if !header.is_continued() {
                break;
            }
        }
        self.joined.clear();
        let mut from = self.bytes.get(self.rest..at).unwrap_or_default();
        while let Some(header) = Header::first(from) {
            let end = HEADER_BYTES + header.len as usize;
            self.joined
                .extend_from_slice(from.get(HEADER_BYTES..end).unwrap_or_default());
            from = from.get(end..).unwrap_or_default();
        }
        self.rest = at;
        self.head = Head::Joined;
        Ok(Next::Row)
    }
}

fn row_too_large(limit: usize) -> MergeError {
    MergeError::OverBudget {
        budget: Budget::Row,
        limit_bytes: limit as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbmesh_wire::codec::{MAX_PAYLOAD, put_packet};

    #[test]
    fn rows_come_out_however_they_were_cut() {
        let payloads = [
            vec![1],
            vec![],
            vec![7; 300],
            vec![9; MAX_PAYLOAD + 5],
            vec![3; MAX_PAYLOAD],
            vec![2, 2],
        ];
        let (mut bytes, mut seq) = (Vec::new(), 0);
        for payload in &payloads {
            put_packet(&mut bytes, &mut seq, payload);
        }
        for step in [1 << 30, 4_000_000, 65_537] {
            let mut inbox = Inbox::default();
            let mut pieces = bytes.chunks(step);
            for payload in &payloads {
                while inbox.advance(0, 1 << 30).unwrap() == Next::NeedInput {
                    inbox.feed(pieces.next().unwrap()).unwrap();
                }
                assert!(inbox.row() == payload);
            }
            assert_eq!(inbox.advance(0, 1 << 30).unwrap(), Next::NeedInput);
            inbox.finish();
            assert_eq!(inbox.advance(0, 1 << 30).unwrap(), Next::Done);
            assert!(inbox.feed(&[]).is_err());
        }
    }

    #[test]
    fn an_end_within_a_packet_is_an_error() {
        let mut inbox = Inbox::default();
        inbox.feed(&[2, 0, 0, 0, 1]).unwrap();
        inbox.finish();
        let error = inbox.advance(3, 100).unwrap_err();
        assert!(matches!(
            error,
            MergeError::BadRow {
                shard: 3,
                fault: RowFault::Unfinished
            }
        ));
        let mut inbox = Inbox::default();
        inbox.feed(&[101, 0, 0, 0]).unwrap();
        assert!(inbox.advance(0, 100).is_err());
    }
}
