//! What servers say of the parts of a statement, as one server would say it of the whole.
//!
//! Owns warnings and errors of parts: what is of the text counts once, whichever number of servers read it, and rows have the
//! numbers of the client's statement. Input: the answers of all parts, and the rows that each part has.

use dbmesh_plan::shard::NodeStatement;

use super::work::Ended;
use crate::state::Warning;

/// What a server says of a text, whatever the rows: that something in it is ambiguous, deprecated, or not compared as one may
/// think, a hint that it does not know, or a column that an INSERT leaves out.
const OF_THE_TEXT: [&[u8]; 13] = [
    b"1052", b"1235", b"1287", b"1364", b"1681", b"3126", b"3127", b"3128", b"3719", b"3720",
    b"3778", b"3986", b"4079",
];

/// What a server says of a value: if that is a constant, it looks at it once.
const OF_VALUES: [&[u8]; 3] = [b"1292", b"1366", b"1411"];

/// Most that is kept of what is said while rows are found, as servers do.
const KEPT_MAX: usize = 1024;

/// Before the number of a row, which ends a message.
const ROW: &[u8] = b" at row ";

/// Errors of a row that do not say which: NULL, an equal key, a foreign key, no partition, a view, a CHECK.
const OF_SOME_ROW: [u16; 7] = [1048, 1062, 1369, 1452, 1526, 3819, 4025];

/// What MySQL says once of a column, however many rows it is about: MariaDB says it of each.
const OF_A_COLUMN: &[u8] = b"1048";

/// Brings what servers said of their parts to what is said of the whole.
pub(super) fn as_one(ended: &mut [Option<Ended>], nodes: &[NodeStatement], mariadb: bool) {
    for (ended, node) in ended.iter_mut().zip(nodes) {
        for warning in ended.iter_mut().flat_map(|ended| &mut ended.warnings) {
            renumber(&mut warning.message, &node.rows);
        }
    }
    let text = nodes.first().map_or(&b""[..], |node| &node.sql);
    once(ended.iter_mut().flatten(), text, mariadb);
}

/// Leaves to the first part that says it what is of the text, of a constant in it, or of a column.
pub(super) fn once<'a>(all: impl Iterator<Item = &'a mut Ended>, text: &[u8], mariadb: bool) {
    let mut all: Vec<&mut Ended> = all.collect();
    let times = |ended: &Ended, row: &Warning| {
        let same = ended.warnings.iter().filter(|other| *other == row);
        same.count()
    };
    let everywhere = |row: &Warning| {
        let mut times = all.iter().map(|ended| times(ended, row));
        let first = times.next();
        times.all(|one| Some(one) == first)
    };
    let once = |row: &Warning| {
        let code = row.code.as_slice();
        OF_THE_TEXT.contains(&code)
            || (code == OF_A_COLUMN && !mariadb)
            || (OF_VALUES.contains(&code) && is_constant(&row.message, text) && everywhere(row))
    };
    let said = all.iter().flat_map(|ended| &ended.warnings);
    let said: Vec<Warning> = said.filter(|row| once(row)).cloned().collect();
    let mut told: Vec<Warning> = Vec::new();
    for ended in &mut all {
        let before = ended.warnings.len();
        ended.warnings.retain(|row| !told.contains(row));
        let left_out = before - ended.warnings.len();
        let left_out = u16::try_from(left_out).unwrap_or(u16::MAX);
        ended.outcome.warnings = ended.outcome.warnings.saturating_sub(left_out);
        let new = ended.warnings.iter().filter(|row| said.contains(row));
        told.extend(new.cloned());
    }
}

/// Adds what is said of one more part of the rows: what was said of another part as well is of the text, and counts once.
pub(super) fn add(all: &mut Vec<Warning>, part: impl Iterator<Item = Warning>) {
    let known = all.len();
    let mut met = vec![false; known];
    for row in part {
        let mut unmet = all.iter().zip(&met).take(known);
        match unmet.position(|(other, met)| !met && *other == row) {
            Some(at) => met.iter_mut().skip(at).take(1).for_each(|met| *met = true),
            None if all.len() < KEPT_MAX => all.push(row),
            None => {}
        }
    }
}

/// The warnings of all parts, by the numbers of their rows if all have one.
pub(super) fn warnings<'a>(all: impl Iterator<Item = &'a Ended>) -> Vec<Warning> {
    let mut rows: Vec<Warning> = all.flat_map(|ended| ended.warnings.clone()).collect();
    if rows.iter().all(|row| row_of(&row.message).is_some()) {
        rows.sort_by_key(|row| row_of(&row.message).map(|(_, number)| number));
    }
    rows
}

/// The row of the client's statement that an error of a part is about; none if it is about
/// something else, or the parts do not share out rows.
pub(super) fn failed_row(code: u16, payload: &[u8], node: &NodeStatement) -> Option<u32> {
    let first = *node.rows.first()?;
    match row_of(payload) {
        Some((_, number)) => number_of(number, &node.rows),
        None => OF_SOME_ROW.contains(&code).then_some(first),
    }
}

/// Gives a message the number of the row as the client counts.
pub(super) fn renumber(message: &mut Vec<u8>, rows: &[u32]) {
    if let Some((at, number)) = row_of(message)
        && let Some(known) = number_of(number, rows)
    {
        message.truncate(at);
        message.extend_from_slice(known.to_string().as_bytes());
    }
}

fn number_of(number: u64, rows: &[u32]) -> Option<u32> {
    let place = usize::try_from(number).ok()?.checked_sub(1)?;
    rows.get(place).copied()
}

/// The row that a message ends with, and where its number begins.
fn row_of(message: &[u8]) -> Option<(usize, u64)> {
    let digits = message.iter().rev().take_while(|b| b.is_ascii_digit());
    let at = message.len() - digits.count();
    let (before, number) = message.split_at_checked(at)?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    before.ends_with(ROW).then_some((at, number))
}

/// Whether a message is about a value that stands in the text.
fn is_constant(message: &[u8], text: &[u8]) -> bool {
    let quote = |byte: &u8| *byte == b'\'';
    let begin = message.iter().position(quote);
    let end = message.iter().rposition(quote);
    let value = match (begin, end) {
        (Some(begin), Some(end)) => message.get(begin + 1..end),
        _ => None,
    };
    let value = value.filter(|value| !value.is_empty());
    row_of(message).is_none()
        && value.is_some_and(|value| text.windows(value.len()).any(|window| window == value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_numbered_as_the_client_counts() {
        let cases = [
            (
                "Data truncated for column 'y' at row 2",
                "Data truncated for column 'y' at row 7",
            ),
            (
                "Data truncated for column 'y' at row 3",
                "Data truncated for column 'y' at row 3",
            ),
            (
                "Data truncated for column 'y' at row 0",
                "Data truncated for column 'y' at row 0",
            ),
            (
                "Duplicate entry '2' for key 'PRIMARY'",
                "Duplicate entry '2' for key 'PRIMARY'",
            ),
            ("2", "2"),
            ("", ""),
        ];
        for (said, expected) in cases {
            let mut message = said.as_bytes().to_vec();
            renumber(&mut message, &[4, 7]);
            assert_eq!(message, expected.as_bytes());
        }
        let mut whole = b"Out of range value for column 'a' at row 2".to_vec();
        renumber(&mut whole, &[]);
        assert!(whole.ends_with(b"row 2"));
    }

    #[test]
    fn constants_stand_in_the_text() {
        let text = b"SELECT id FROM t WHERE id = '3abc'";
        assert!(is_constant(
            b"Truncated incorrect DOUBLE value: '3abc'",
            text
        ));
        assert!(!is_constant(
            b"Truncated incorrect DOUBLE value: '4abc'",
            text
        ));
        assert!(!is_constant(b"Truncated incorrect DOUBLE value: ''", text));
        assert!(!is_constant(
            b"Incorrect integer value: '3abc' for column 'y' at row 1",
            text
        ));
    }
}
