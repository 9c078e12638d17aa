//! What is said of a change whose rows were found first.
//!
//! Owns warnings that two steps give and one server gives once: what a value lost on its way into its column was said when
//! it was found, and what is left of it (the number 0 of an ENUM, a date of zeros) is warned of again where it is stored.
//! Must never leave out what only the change can tell, like a duplicate key. Input: the warnings of both steps.

use std::collections::BTreeSet;

use crate::state::Warning;

/// Before the column that a value is for.
const COLUMN: &[u8] = b" for column ";
/// Something in the text will go: also a character set that only the literals of dbmesh name.
const DEPRECATED: &[u8] = b"1287";

/// The warnings of the changes that were not given when their rows were found. Literals have these character sets.
pub(super) fn unheard(
    found: &[Warning],
    changed: Vec<Warning>,
    charsets: &BTreeSet<Vec<u8>>,
) -> Vec<Warning> {
    let values = found.iter().filter_map(|row| value_of(&row.message));
    let mut heard: Vec<(&[u8], &[u8])> = values.collect();
    let mut left = changed;
    left.retain(|row| {
        if row.code == DEPRECATED && charsets.iter().any(|set| names(&row.message, set)) {
            return false;
        }
        let value = value_of(&row.message);
        match heard.iter().position(|known| value == Some(*known)) {
            Some(at) => {
                heard.swap_remove(at);
                false
            }
            None => true,
        }
    });
    left
}

/// Whether a message begins with this name.
fn names(message: &[u8], name: &[u8]) -> bool {
    let rest = message.strip_prefix(b"'");
    let rest = rest.and_then(|rest| rest.strip_prefix(name));
    rest.is_some_and(|rest| rest.first() == Some(&b'\''))
}

/// The column and the row that a message about a value ends with. Some servers say a column's table, others do not.
fn value_of(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut windows = message.windows(COLUMN.len());
    let at = windows.rposition(|window| window == COLUMN)? + COLUMN.len();
    let rest = message.get(at..)?;
    let quote = rest.first()?;
    let end = rest.iter().rposition(|byte| byte == quote)?;
    let (column, row) = (rest.get(1..end)?, rest.get(end + 1..)?);
    let own = column.windows(3).rposition(|window| window == b"`.`");
    let own = own.map_or(0, |point| point + 3);
    Some((column.get(own..)?, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(all: &[(&str, &str)]) -> Vec<Warning> {
        let one = |(code, message): &(&str, &str)| Warning {
            level: b"Warning".to_vec(),
            code: code.as_bytes().to_vec(),
            message: message.as_bytes().to_vec(),
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn what_was_said_of_a_value_is_not_said_again() {
        let found = warnings(&[
            ("1265", "Data truncated for column 'd' at row 1"),
            (
                "1292",
                "Incorrect date value: 'x' for column `s`.`t`.`for column ``e` at row 2",
            ),
        ]);
        let changed = warnings(&[
            ("1264", "Out of range value for column 'd' at row 1"),
            ("1264", "Out of range value for column 'd' at row 1"),
            ("1264", "Out of range value for column 'd' at row 2"),
            (
                "1265",
                "Data truncated for column 'for column ``e' at row 2",
            ),
            ("1062", "Duplicate entry 'd' for key 't.PRIMARY'"),
            ("1287", "'ucs2' is deprecated and will be removed"),
            ("1287", "'ucs2x' is deprecated and will be removed"),
        ]);
        let expected = [&changed[1..3], &changed[4..5], &changed[6..]].concat();
        let charsets = BTreeSet::from([b"utf8mb4".to_vec(), b"ucs2".to_vec()]);
        assert_eq!(unheard(&found, changed.clone(), &charsets), expected);
        assert_eq!(unheard(&[], changed.clone(), &BTreeSet::new()), changed);
    }
}
