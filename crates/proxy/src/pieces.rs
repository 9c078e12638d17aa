//! Values of a prepared statement's parameters that come in pieces, kept until the statement is executed.
//!
//! Owns their bytes: on sharded tables nobody knows before the execution which server they are for. Must never hold more of one
//! statement than a command may have, nor more of all than the process allows. Input: COM_STMT_SEND_LONG_DATA.

use std::collections::BTreeMap;

use crate::allowance::Share;
use crate::fault::Fault;

/// Most pieces of one execution; those of one parameter that follow each other count once.
const PIECES_MAX: usize = 65_536;

/// Pieces of one statement's values.
#[derive(Debug)]
pub struct Pieces {
    bytes: Vec<u8>,
    /// The parameter of each, and where it ends.
    ends: Vec<(u16, usize)>,
    share: Share,
}

impl Pieces {
    /// None yet.
    #[must_use]
    pub fn none(share: Share) -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            share,
        }
    }

    /// Adds a piece to a parameter's value.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn add(&mut self, parameter: u16, piece: &[u8], bytes_max: usize) -> Result<(), Fault> {
        if self.bytes.len() + piece.len() > bytes_max || self.ends.len() >= PIECES_MAX {
            // What servers say of it, when the statement is executed.
            return Err(Fault::Server {
                code: 1105,
                sqlstate: "HY000".into(),
                message: "Parameter of prepared statement which is set through mysql_send_long_data() is longer than 'max_allowed_packet' bytes".into(),
            });
        }
        let room = self
            .share
            .make_room(&mut self.bytes, piece.len(), bytes_max);
        room.map_err(|_| Fault::MemoryShort)?;
        self.bytes.extend_from_slice(piece);
        let end = self.bytes.len();
        match self.ends.last_mut() {
            Some((last, ends)) if *last == parameter => *ends = end,
            _ => self.ends.push((parameter, end)),
        }
        Ok(())
    }

    /// The values, by parameter.
    #[must_use]
    pub fn whole(&self) -> BTreeMap<u16, Vec<u8>> {
        let mut whole: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
        let mut start = 0;
        for (parameter, end) in &self.ends {
            let piece = self.bytes.get(start..*end).unwrap_or_default();
            whole
                .entry(*parameter)
                .or_default()
                .extend_from_slice(piece);
            start = *end;
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::allowance::{Allowance, Portion};

    #[test]
    fn pieces_come_together_and_are_bounded() {
        let all = Arc::new(Allowance::new(1 << 20));
        let mut pieces = Pieces::none(Share::none(Portion::new(&all, 100)));
        for (parameter, piece) in [(1, "a"), (0, "x"), (1, "b"), (1, "c"), (2, "")] {
            pieces.add(parameter, piece.as_bytes(), 8).unwrap();
        }
        let expected = [(0, "x"), (1, "abc"), (2, "")];
        let expected = expected.map(|(parameter, value)| (parameter, value.as_bytes().to_vec()));
        assert_eq!(pieces.whole(), BTreeMap::from(expected.clone()));
        assert!(pieces.add(0, b"12345", 8).is_err());
        assert_eq!(pieces.whole(), BTreeMap::from(expected));
    }
}
