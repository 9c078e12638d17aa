//! Session state changes that a server reports in OK packets (SESSION_TRACK).
//!
//! Owns the list of items inside [`crate::reply::Ok::session_state`]: reading it item by item and
//! writing a filtered list for the other side. Items of unknown type are kept, never an error.
//! Input: that slice of a backend's OK packet.

use crate::codec::{Reader, put_lenenc_bytes};
use crate::error::DecodeError;

const SYSTEM_VARIABLE: u8 = 0;
const SCHEMA: u8 = 1;
const STATE_CHANGE: u8 = 2;
const GTIDS: u8 = 3;
const TRANSACTION_CHARACTERISTICS: u8 = 4;
const TRANSACTION_STATE: u8 = 5;

/// One change of session state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A system variable has a new value.
    SystemVariable {
        /// Its name, in lower case.
        name: &'a [u8],
        /// Its value as text.
        value: &'a [u8],
    },
    /// The default database; empty when there is none any more.
    Schema(&'a [u8]),
    /// Whether some session state changed.
    StateChange(bool),
    /// GTIDs of the transactions committed by this statement, e.g. `uuid:21-22`.
    Gtids(&'a [u8]),
    /// The SQL that would start a transaction like the current one; may be empty.
    TransactionCharacteristics(&'a [u8]),
    /// Eight characters such as `T_R_WsS_`.
    TransactionState(&'a [u8]),
    /// A type that this crate does not know, with its data.
    Unknown(u8, &'a [u8]),
}

/// Iterates over the items of `session_state`. Ends after the first error.
pub fn items(session_state: &[u8]) -> Items<'_> {
    Items {
        reader: Reader::of("session state", session_state),
        failed: false,
    }
}

/// The items of one OK packet, in the server's order. See [`items`].
#[derive(Debug, Clone)]
pub struct Items<'a> {
    reader: Reader<'a>,
    failed: bool,
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.reader.is_empty() {
            return None;
        }
        let item = next_item(&mut self.reader);
        self.failed = item.is_err();
        Some(item)
    }
}

fn next_item<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>, DecodeError> {
    let kind = reader.u8()?;
    let data = reader.lenenc_bytes()?;
    let mut r = Reader::of("session state item", data);
    Ok(match kind {
        SYSTEM_VARIABLE => Item::SystemVariable {
            name: r.lenenc_bytes()?,
            value: r.lenenc_bytes()?,
        },
        SCHEMA => Item::Schema(r.lenenc_bytes()?),
        // Unlike the other items it has no length of its own: both servers send the character alone.
        STATE_CHANGE => Item::StateChange(r.rest() == b"1"),
        GTIDS => {
            // The encoding specification is 0 in every server so far; the text follows it.
            let _encoding_specification = r.u8()?;
            Item::Gtids(r.lenenc_bytes()?)
        }
        TRANSACTION_CHARACTERISTICS => Item::TransactionCharacteristics(r.lenenc_bytes()?),
        TRANSACTION_STATE => Item::TransactionState(r.lenenc_bytes()?),
        other => Item::Unknown(other, data),
    })
}

impl Item<'_> {
    /// Appends the item to a session state list.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut data = Vec::new();
        let kind = match *self {
            Item::SystemVariable { name, value } => {
                put_lenenc_bytes(&mut data, name);
                put_lenenc_bytes(&mut data, value);
                SYSTEM_VARIABLE
            }
            Item::Schema(name) => string_item(&mut data, name, SCHEMA),
            Item::StateChange(changed) => {
                data.push(if changed { b'1' } else { b'0' });
                STATE_CHANGE
            }
            Item::Gtids(gtids) => {
                data.push(0);
                string_item(&mut data, gtids, GTIDS)
            }
            Item::TransactionCharacteristics(sql) => {
                string_item(&mut data, sql, TRANSACTION_CHARACTERISTICS)
            }
            Item::TransactionState(state) => string_item(&mut data, state, TRANSACTION_STATE),
            Item::Unknown(kind, raw) => {
                data.extend_from_slice(raw);
                kind
            }
        };
        out.push(kind);
        put_lenenc_bytes(out, &data);
    }
}

/// The session state list of `items`, as [`crate::reply::Ok::session_state`] wants it.
pub fn encode<'a>(items: impl IntoIterator<Item = Item<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        item.encode(&mut out);
    }
    out
}

fn string_item(data: &mut Vec<u8>, text: &[u8], kind: u8) -> u8 {
    put_lenenc_bytes(data, text);
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_change_is_one_character_and_hides_nothing_behind_it() {
        // `SET @x = 1` under session_track_state_change, as MySQL 9.7 and MariaDB 10.11 send it, and a schema behind it.
        let list = [STATE_CHANGE, 1, b'1', SCHEMA, 2, 1, b's'];
        let items: Vec<_> = items(&list).collect();
        assert_eq!(items, [Ok(Item::StateChange(true)), Ok(Item::Schema(b"s"))]);
        assert_eq!(encode(items.into_iter().map(Result::unwrap)), list);
    }
}
