//! What a server says of its part of a file: how many records it counted, and which of them its warnings mean.
//!
//! Owns the numbers by which the client knows its records. Must never take for whole what a server may have cut otherwise.
//! Input: the OK packet of a part, its warnings, and the numbers of its records in the file.

use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::reply;

use crate::state::Warning;

/// What a server says of its part of the file.
pub(super) struct Loaded {
    records: u64,
    warnings: u64,
}

impl Loaded {
    pub(super) fn of(end: &[u8]) -> Option<Self> {
        let caps = Capabilities::PROTOCOL_41.union(Capabilities::SESSION_TRACK);
        let ok = reply::Ok::decode(end, caps).ok()?;
        let info = std::str::from_utf8(ok.info).ok()?;
        let mut numbers = info.split("  ").map(|part| part.split_once(": "));
        let mut number = |named: &str| {
            let (_, number) = numbers.find_map(|part| part.filter(|(name, _)| *name == named))?;
            number.parse().ok()
        };
        Some(Self {
            records: number("Records")?,
            warnings: number("Warnings")?,
        })
    }

    /// Whether these are the records that it was given: it counts none that violates a CHECK, and warns of each. Of many
    /// warnings it keeps the first ones.
    pub(super) fn explains(&self, given: usize, kept: &[Warning]) -> bool {
        let Some(left_out) = (given as u64).checked_sub(self.records) else {
            return false;
        };
        let violations = kept.iter().filter(|warning| is_violation(warning));
        let unkept = self.warnings.saturating_sub(kept.len() as u64);
        left_out <= violations.count() as u64 + unkept
    }
}

/// Whether a record is left out for a CHECK: by the errors' numbers of MySQL and MariaDB.
pub(super) fn is_violation(warning: &Warning) -> bool {
    matches!(warning.code.as_slice(), b"3819" | b"4025")
}

/// Puts the number of the record in the file in the place of that among these; gives it.
pub(super) fn renumber(message: &mut Vec<u8>, numbers: &[u64]) -> Option<u64> {
    let text = String::from_utf8_lossy(message).into_owned();
    let (head, number, tail) = match text.strip_prefix("Row ") {
        Some(rest) => {
            let (number, tail) = rest.split_once(' ')?;
            ("Row ", number, format!(" {tail}"))
        }
        None => {
            let (head, number) = text.rsplit_once(" at row ")?;
            let record = record(number, numbers)?;
            *message = format!("{head} at row {record}").into_bytes();
            return Some(record);
        }
    };
    let record = record(number, numbers)?;
    *message = format!("{head}{record}{tail}").into_bytes();
    Some(record)
}

fn record(number: &str, numbers: &[u64]) -> Option<u64> {
    let place: usize = number.parse().ok()?;
    numbers.get(place.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_name_the_record_of_the_file() {
        let renumbered = |text: &str| {
            let mut message = text.as_bytes().to_vec();
            let record = renumber(&mut message, &[3, 7, 9]);
            (String::from_utf8(message).unwrap(), record)
        };
        for (text, expected, record) in [
            (
                "Row 2 was truncated; it contained more",
                "Row 7 was truncated; it contained more",
                Some(7),
            ),
            (
                "Data truncated for column 'a at row 9' at row 3",
                "Data truncated for column 'a at row 9' at row 9",
                Some(9),
            ),
            (
                "Duplicate entry '1' for key 'x'",
                "Duplicate entry '1' for key 'x'",
                None,
            ),
            ("Out of range at row 4", "Out of range at row 4", None),
        ] {
            assert_eq!(renumbered(text), (expected.to_owned(), record));
        }
    }

    #[test]
    fn records_that_violate_a_check_are_not_counted() {
        let ok = |records: u64, warnings: u64| {
            let info = format!("Records: {records}  Deleted: 0  Skipped: 0  Warnings: {warnings}");
            let head = [0, 0, 0, 2, 0, 1, 0, u8::try_from(info.len()).unwrap()];
            Loaded::of(&[&head, info.as_bytes()].concat()).unwrap()
        };
        let warning = |code: &str| Warning {
            level: b"Warning".to_vec(),
            code: code.into(),
            message: Vec::new(),
        };
        let kept = [warning("3819"), warning("1265"), warning("4025")];
        assert!(ok(5, 3).explains(5, &kept));
        assert!(ok(3, 3).explains(5, &kept));
        assert!(!ok(2, 3).explains(5, &kept));
        assert!(!ok(6, 3).explains(5, &kept));
        // What a server does not keep may be of such records.
        assert!(ok(2, 4).explains(5, &kept));
        assert!(!ok(4, 1).explains(5, &kept[1..2]));
    }
}
