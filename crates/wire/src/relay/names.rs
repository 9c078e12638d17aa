//! Names that a client knows otherwise than its server: a table that is split has other names where its parts are.
//!
//! Owns the renaming in column definitions and in the texts of errors. It must never touch a row. Input: packets of a
//! server.

use std::fmt::Debug;
use std::sync::Weak;

use crate::caps::Capabilities;
use crate::codec::{DecodeError, Reader, begin_packet, finish_packet, put_lenenc_bytes};
use crate::column::{put_definition, put_rest};
use crate::reply;

/// A name of the server, and the client's name for it.
pub type Pair = (Box<[u8]>, Box<[u8]>);

/// Who knows what clients call any table of the servers'.
pub trait Tables: Debug + Send + Sync {
    /// The client's name for a table, if that is another.
    fn ours(&self, theirs: &str) -> Option<String>;
}

/// Names that a client knows otherwise than its server.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The schema, where its names differ.
    schemas: Vec<Pair>,
    /// The tables of one statement whose names differ, the longest first: a name may stand within another.
    tables: Vec<Pair>,
    /// The same as in the definition of a column whose table has no alias: twice.
    twice: Vec<Pair>,
    /// The others: errors of foreign keys speak of tables that the statement does not name.
    others: Option<Weak<dyn Tables>>,
}

/// Names that servers make of a table's for its constraints have these words behind it, and a number.
const MADE: [&[u8]; 2] = [b"_ibfk_", b"_chk_"];

/// Where a message begins in an error's payload.
const MESSAGE_OFFSET: usize = 9;

impl Names {
    /// The names of schemas and tables that differ, the server's first.
    #[must_use]
    pub fn new(schemas: Vec<Pair>, mut tables: Vec<Pair>) -> Self {
        tables.sort_by_key(|(theirs, _)| std::cmp::Reverse(theirs.len()));
        let twice = |name: &[u8]| {
            let mut out = Vec::with_capacity(2 * name.len() + 2);
            put_lenenc_bytes(&mut out, name);
            put_lenenc_bytes(&mut out, name);
            Box::<[u8]>::from(out)
        };
        let doubled = tables.iter();
        let doubled = doubled.map(|(theirs, ours)| (twice(theirs), twice(ours)));
        Self {
            twice: doubled.collect(),
            schemas,
            tables,
            others: None,
        }
    }

    /// The same, with who knows what clients call tables that the statement does not name.
    #[must_use]
    pub fn with_others(mut self, others: Weak<dyn Tables>) -> Self {
        self.others = Some(others);
        self
    }

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
        let mut out = Vec::with_capacity(payload.len());
        let same = Capabilities::default();
        self.put_definition(&mut out, payload, same, same)?;
        Ok(out)
    }

    /// Appends a column's definition with the client's names, of a hop with the capabilities `from` for one with `to`.
    ///
    /// # Errors
    /// When it is none.
    pub fn put_definition(
        &self,
        out: &mut Vec<u8>,
        payload: &[u8],
        from: Capabilities,
        to: Capabilities,
    ) -> Result<(), DecodeError> {
        let mut r = Reader::of("column definition", payload);
        put_lenenc_bytes(out, r.lenenc_bytes()?);
        put_lenenc_bytes(out, self.schema(r.lenenc_bytes()?));
        let rest = payload.get(r.offset()..).unwrap_or_default();
        let mut twice = self.twice.iter();
        let named = twice.find_map(|(theirs, ours)| Some((rest.strip_prefix(&**theirs)?, ours)));
        if let Some((rest, ours)) = named {
            out.extend_from_slice(ours);
            return put_rest(out, rest, 2, from, to);
        }
        for _ in 0..2 {
            put_lenenc_bytes(out, self.table(r.lenenc_bytes()?));
        }
        let rest = payload.get(r.offset()..).unwrap_or_default();
        put_rest(out, rest, 2, from, to)
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

    /// A text with the client's names, where it quotes them as servers do: in quotes, before and behind a point (`FUNCTION
    /// shop_0.f does not exist`), and in the names of constraints (`shop_0_chk_1`).
    #[must_use]
    pub fn text(&self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        for (theirs, ours) in self.tables.iter().chain(&self.schemas) {
            text = replaced(&text, theirs, ours);
        }
        unnumbered(self.of_foreign_keys(text))
    }

    /// Errors of foreign keys name a constraint and both tables.
    fn of_foreign_keys(&self, text: Vec<u8>) -> Vec<u8> {
        let others = self.others.as_ref().filter(|_| holds(&text, FOREIGN_KEY));
        let Some(others) = others.and_then(Weak::upgrade) else {
            return text;
        };
        let ours = |name: &[u8]| -> Option<Vec<u8>> {
            let name = std::str::from_utf8(name).ok()?;
            if let Some(own) = others.ours(name) {
                return Some(own.into_bytes());
            }
            let (table, number) = name.rsplit_once(MADE_NAME)?;
            let own = others.ours(table)?;
            Some(format!("{own}{MADE_NAME}{number}").into_bytes())
        };
        [b'`', b'\''].into_iter().fold(text, |text, quote| {
            let parts = text.split(|byte| *byte == quote).enumerate();
            let parts = parts.map(|(place, part)| match place % 2 {
                1 => ours(part).unwrap_or_else(|| part.to_vec()),
                _ => part.to_vec(),
            });
            parts.collect::<Vec<_>>().join(&quote)
        })
    }
}

/// What the message of such an error has in it.
const FOREIGN_KEY: &[u8] = b"a foreign key constraint";
/// What stands in a name that a server makes of a table's, before a number.
const MADE_NAME: &str = "_ibfk_";

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// What stands before the name of a constraint where servers tell of one.
const BEFORE_CONSTRAINTS: [&[u8]; 8] = [
    b"CONSTRAINT `",
    b"onstraint '",
    b"onstraint name '",
    b"Can't DROP '",
    b"CONSTRAINT '",
    b"FOREIGN KEY `",
    b"CHECK `",
    b"INDEX `",
];

/// A text whose constraints have no numbers of shards behind their names, as in `positive~3`.
fn unnumbered(text: Vec<u8>) -> Vec<u8> {
    if !text.contains(&b'~') {
        return text;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let before = BEFORE_CONSTRAINTS.iter().find(|b| rest.starts_with(b));
        let numbered = before.and_then(|before| {
            let quote = before.last()?;
            let name = rest.get(before.len()..)?;
            let name = name.split(|byte| byte == quote).next()?;
            let mark = name.iter().rposition(|byte| *byte == b'~')?;
            let number = name.get(mark + 1..)?;
            let digits = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
            digits.then_some((before.len() + mark, before.len() + name.len()))
        });
        match numbered {
            Some((mark, end)) => {
                out.extend_from_slice(rest.get(..mark).unwrap_or_default());
                at += end;
            }
            None => {
                out.extend(rest.first());
                at += 1;
            }
        }
    }
    out
}

/// Appends the packet of a column's definition of one hop as another has it, with the client's names; nothing if it is none.
pub(super) fn put_column(
    out: &mut Vec<u8>,
    seq: &mut u8,
    names: Option<&Names>,
    payload: &[u8],
    (from, to): (Capabilities, Capabilities),
) -> Result<(), DecodeError> {
    let whole = out.len();
    let start = begin_packet(out);
    let put = match names {
        Some(names) => names.put_definition(out, payload, from, to),
        None => put_definition(out, payload, from, to),
    };
    match put {
        Ok(()) => finish_packet(out, start, seq),
        Err(_) => out.truncate(whole),
    }
    put
}

fn replaced(text: &[u8], theirs: &[u8], ours: &[u8]) -> Vec<u8> {
    let bounds = |byte: Option<&u8>| matches!(byte, Some(b'\'' | b'`' | b'.' | b'"'));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        let named = !theirs.is_empty()
            && rest.starts_with(theirs)
            && (bounds(rest.get(theirs.len())) || is_made(rest.get(theirs.len()..), bounds))
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

/// Whether what stands behind a table's name makes it a constraint's.
fn is_made(rest: Option<&[u8]>, bounds: impl Fn(Option<&u8>) -> bool) -> bool {
    let number = rest.and_then(|rest| MADE.iter().find_map(|made| rest.strip_prefix(*made)));
    let Some(number) = number else {
        return false;
    };
    let digits = number.iter().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && bounds(number.get(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let pair = |a: &str, b: &str| (a.as_bytes().into(), b.as_bytes().into());
        Names::new(
            vec![pair("shop_0", "shop")],
            vec![pair("t_order_3", "t_order")],
        )
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
            (
                "Check constraint 't_order_3_chk_1' is violated.",
                "Check constraint 't_order_chk_1' is violated.",
            ),
            (
                "fails (`shop_0`.`t_order_3`, CONSTRAINT `t_order_3_ibfk_12` FOREIGN KEY (`u`) REFERENCES `t_user_3` (`id`))",
                "fails (`shop`.`t_order`, CONSTRAINT `t_order_ibfk_12` FOREIGN KEY (`u`) REFERENCES `t_user_3` (`id`))",
            ),
            ("'t_order_3_chk_'", "'t_order_3_chk_'"),
            ("'t_order_3_chk_1b'", "'t_order_3_chk_1b'"),
            ("t_order_3", "t_order_3"),
            (
                "Check constraint 'positive~12' is violated.",
                "Check constraint 'positive' is violated.",
            ),
            (
                "fails (`shop_0`.`t_order_3`, CONSTRAINT `to_user~3` FOREIGN KEY (`u`) REFERENCES `t_user_3` (`id`))",
                "fails (`shop`.`t_order`, CONSTRAINT `to_user` FOREIGN KEY (`u`) REFERENCES `t_user_3` (`id`))",
            ),
            (
                "Duplicate entry 'a~1' for key 't_order_3.PRIMARY'",
                "Duplicate entry 'a~1' for key 't_order.PRIMARY'",
            ),
            (
                "Check constraint 'a~' is ~1'",
                "Check constraint 'a~' is ~1'",
            ),
            ("", ""),
        ];
        for (theirs, ours) in cases {
            assert_eq!(names().text(theirs.as_bytes()), ours.as_bytes());
        }
    }

    #[derive(Debug)]
    struct Users;

    impl Tables for Users {
        fn ours(&self, theirs: &str) -> Option<String> {
            (theirs == "t_user_3").then(|| "t_user".to_owned())
        }
    }

    #[test]
    fn errors_of_foreign_keys_have_the_clients_names_of_all_tables() {
        let users: std::sync::Arc<dyn Tables> = std::sync::Arc::new(Users);
        let names = names().with_others(std::sync::Arc::downgrade(&users));
        let theirs = "a foreign key constraint fails (`shop_0`.`t_user_3`, CONSTRAINT `t_user_3_ibfk_1` FOREIGN KEY (`u`) \
                      REFERENCES `t_order_3` (`id`))";
        let ours = "a foreign key constraint fails (`shop`.`t_user`, CONSTRAINT `t_user_ibfk_1` FOREIGN KEY (`u`) \
                    REFERENCES `t_order` (`id`))";
        assert_eq!(names.text(theirs.as_bytes()), ours.as_bytes());
        let said = "Unknown column 't_user_3'";
        assert_eq!(names.text(said.as_bytes()), said.as_bytes());
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
        let same = ["def", "shop_0", "t_order_3", "t_order_3", "id", "id"];
        let ours = ["def", "shop", "t_order", "t_order", "id", "id"];
        assert_eq!(names().definition(&put(same)), Ok(put(ours)));
        let other = put(["def", "shop_0", "t_order_31", "t_order_31", "id", "id"]);
        let ours = put(["def", "shop", "t_order_31", "t_order_31", "id", "id"]);
        assert_eq!(names().definition(&other), Ok(ours));
        assert!(names().definition(&[3]).is_err());
    }
}
