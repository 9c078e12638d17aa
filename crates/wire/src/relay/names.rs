//! Names that a client knows otherwise than its server: a table that is split has other names where its parts are.
//!
//! Owns the renaming in column definitions and in the texts of errors. It must never touch a row. Input: packets of a
//! server.

use crate::codec::{DecodeError, Reader, put_lenenc_bytes};
use crate::reply;

/// A name of the server, and the client's name for it.
pub type Pair = (Box<[u8]>, Box<[u8]>);

/// Names that a client knows otherwise than its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The schema, where its names differ.
    pub schemas: Vec<Pair>,
    /// The tables of one statement whose names differ.
    pub tables: Vec<Pair>,
}

/// Where a message begins in an error's payload.
const MESSAGE_OFFSET: usize = 9;

impl Names {
    /// Whether there is nothing to rename.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.schemas.is_empty() && self.tables.is_empty()
    }

    /// The client's name for a schema.
    #[must_use]
    pub fn schema<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        let found = self.schemas.iter().find(|(theirs, _)| **theirs == *name);
        found.map_or(name, |(_, ours)| ours)
    }

    /// The client's name for a table.
    #[must_use]
    pub fn table<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        let found = self.tables.iter().find(|(theirs, _)| **theirs == *name);
        found.map_or(name, |(_, ours)| ours)
    }

    /// A column's definition with the client's names.
    ///
    /// # Errors
    /// When it is none.
    pub fn definition(&self, payload: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut r = Reader::of("column definition", payload);
        let mut out = Vec::with_capacity(payload.len());
        put_lenenc_bytes(&mut out, r.lenenc_bytes()?);
        put_lenenc_bytes(&mut out, self.schema(r.lenenc_bytes()?));
        for _ in 0..2 {
            put_lenenc_bytes(&mut out, self.table(r.lenenc_bytes()?));
        }
        out.extend_from_slice(payload.get(r.offset()..).unwrap_or_default());
        Ok(out)
    }

    /// An error's payload with the client's names, where it quotes them as servers do.
    #[must_use]
    pub fn error(&self, payload: &[u8]) -> Vec<u8> {
        let (head, message) = match payload.split_at_checked(MESSAGE_OFFSET) {
            Some(parts) if payload.first() == Some(&reply::ERR_MARKER) => parts,
            _ => return payload.to_vec(),
        };
        let mut out = head.to_vec();
        out.extend(self.text(message));
        out
    }

    /// A text with the client's names, where it quotes them as servers do: in quotes, before and behind a point (`FUNCTION shop_0.f does not exist`).
    #[must_use]
    pub fn text(&self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        for (theirs, ours) in self.tables.iter().chain(&self.schemas) {
            text = replaced(&text, theirs, ours);
        }
        text
    }
}

fn replaced(text: &[u8], theirs: &[u8], ours: &[u8]) -> Vec<u8> {
    let bounds = |byte: Option<&u8>| matches!(byte, Some(b'\'' | b'`' | b'.' | b'"'));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        let named = !theirs.is_empty()
            && rest.starts_with(theirs)
            && bounds(rest.get(theirs.len()))
            && (bounds(before) || (before == Some(&b' ') && rest.get(theirs.len()) == Some(&b'.')));
        if named {
            out.extend_from_slice(ours);
            at += theirs.len();
        } else {
            out.extend(rest.first());
            at += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let pair = |a: &str, b: &str| (a.as_bytes().into(), b.as_bytes().into());
        Names {
            schemas: vec![pair("shop_0", "shop")],
            tables: vec![pair("t_order_3", "t_order")],
        }
    }

    #[test]
    fn texts_of_errors_have_the_clients_names() {
        let cases = [
            (
                "FUNCTION shop_0.f does not exist",
                "FUNCTION shop.f does not exist",
            ),
            ("a shop_0 of 1.5", "a shop_0 of 1.5"),
            (
                "Table 'shop_0.t_order_3' doesn't exist",
                "Table 'shop.t_order' doesn't exist",
            ),
            (
                "Duplicate entry '1' for key 't_order_3.PRIMARY'",
                "Duplicate entry '1' for key 't_order.PRIMARY'",
            ),
            ("Unknown column 't_order_31'", "Unknown column 't_order_31'"),
            ("t_order_3", "t_order_3"),
            ("", ""),
        ];
        for (theirs, ours) in cases {
            assert_eq!(names().text(theirs.as_bytes()), ours.as_bytes());
        }
    }

    #[test]
    fn definitions_have_the_clients_names() {
        let put = |parts: [&str; 6]| {
            let mut out = Vec::new();
            parts
                .iter()
                .for_each(|part| put_lenenc_bytes(&mut out, part.as_bytes()));
            out.extend_from_slice(&[12, 1, 2, 3]);
            out
        };
        let theirs = put(["def", "shop_0", "o", "t_order_3", "id", "id"]);
        let ours = put(["def", "shop", "o", "t_order", "id", "id"]);
        assert_eq!(names().definition(&theirs), Ok(ours));
        assert!(names().definition(&[3]).is_err());
    }
}
