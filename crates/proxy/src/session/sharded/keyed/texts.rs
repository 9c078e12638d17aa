//! The statements that change what was found.
//!
//! Owns their texts: rows with equal values are changed together, each once, in statements of bounded length. Input: values
//! as they are carried.

use std::collections::{BTreeMap, HashSet};

use dbmesh_plan::shard::Copied;
use dbmesh_plan::shard::gather::{self, LentTable, ScratchTable, Writing};
use dbmesh_plan::shard::keyed::Then;

use crate::backend::Cell;

/// Bytes of values in one statement; a larger row goes alone.
const STATEMENT_BYTES: usize = 256 << 10;

/// A statement that changes some of what was found.
pub(super) struct Step {
    /// Its text.
    pub words: Copied,
    /// In which words its rows go, where not in those of the text.
    pub rows: Option<gather::Words>,
}

impl From<Copied> for Step {
    fn from(words: Copied) -> Self {
        Self { words, rows: None }
    }
}

/// Rows with what is lent to them: how they go, and each as it came.
pub(super) type LentRows = (LentTable, Vec<Vec<u8>>);

/// The statements that do it, and how many rows they find again by their keys, if they look for any.
pub(super) fn statements(
    then: &Then,
    (table, rows): (&ScratchTable, &[Vec<Cell>]),
    lent: Option<&LentRows>,
    writing: Writing,
) -> (Vec<Step>, Option<u64>) {
    match (then, lent) {
        (Then::Insert { .. }, Some(lent)) => (lending(then, (table, rows), lent, writing), None),
        _ => {
            let (texts, found) = plainly(then, table, rows, writing);
            (texts.into_iter().map(Step::from).collect(), found)
        }
    }
}

/// INSERTs whose rows go with what is lent to them.
fn lending(
    then: &Then,
    (table, rows): (&ScratchTable, &[Vec<Cell>]),
    (lent, texts): &LentRows,
    writing: Writing,
) -> Vec<Step> {
    let Then::Insert {
        head,
        tail,
        lent: Some(of),
        ..
    } = then
    else {
        return Vec::new();
    };
    let names = of.places.iter().map(|place| lent.lent(*place).to_vec());
    let tail = filled(tail, &names.collect::<Vec<_>>());
    let mut steps = Vec::new();
    let (mut values, mut group): (Vec<u8>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    let mut end = |values: &mut Vec<u8>, group: &mut Vec<&[u8]>| {
        if !group.is_empty() {
            let words = Copied {
                text: [head, values.as_slice(), &tail.text].concat(),
                parameters: tail.parameters.clone(),
            };
            let rows = Some(lent.words(group, writing));
            steps.push(Step { words, rows });
        }
        values.clear();
        group.clear();
    };
    for (row, text) in rows.iter().zip(texts) {
        let tuple = tuple(0..table.width(), |column| {
            literal(table, row, column, writing)
        });
        if bytes + text.len() + tuple.len() > STATEMENT_BYTES {
            end(&mut values, &mut group);
            bytes = 0;
        }
        bytes += text.len() + tuple.len();
        if !group.is_empty() {
            values.extend_from_slice(b", ");
        }
        values.extend(tuple);
        group.push(text);
    }
    end(&mut values, &mut group);
    steps
}

fn plainly(
    then: &Then,
    table: &ScratchTable,
    rows: &[Vec<Cell>],
    writing: Writing,
) -> (Vec<Copied>, Option<u64>) {
    match then {
        Then::Insert { head, tail, .. } => {
            let tail = filled(tail, &[]);
            let all = 0..table.width();
            let tuples = rows
                .iter()
                .map(|row| tuple(all.clone(), |column| literal(table, row, column, writing)));
            let inserts = batched(tuples).into_iter().map(|values| Copied {
                text: [head, values.as_slice(), &tail.text].concat(),
                parameters: tail.parameters.clone(),
            });
            (inserts.collect(), None)
        }
        Then::Change {
            head,
            keys,
            key,
            in_order,
        } => {
            let (all, expected) = together(table, rows, (*keys, key, *in_order), writing);
            if all.is_empty() {
                // A server says best what a change of nothing says.
                let none = vec![b"NULL".to_vec(); table.width().saturating_sub(*keys)];
                let mut sql = filled(head, &none);
                sql.push(b" WHERE 1 = 0");
                return (vec![sql], Some(0));
            }
            let changed = |(words, condition): (Words, Vec<u8>)| {
                let mut sql = filled(head, &words.values);
                sql.push(b" WHERE ");
                sql.push(&condition);
                sql
            };
            (all.into_iter().map(changed).collect(), Some(expected))
        }
    }
}

/// Which rows are changed by one statement, with the condition that finds them, and how many they are in all. Their keys
/// are so many columns, of these names.
fn together(
    table: &ScratchTable,
    rows: &[Vec<Cell>],
    (keys, key, in_order): (usize, &[Vec<u8>], bool),
    writing: Writing,
) -> (Vec<(Words, Vec<u8>)>, u64) {
    let (listed, plain): (Vec<usize>, Vec<usize>) =
        (0..keys).partition(|column| table.is_listed(*column));
    let name = |column: &usize| key.get(*column).map(Vec::as_slice).unwrap_or_default();
    let mut seen = HashSet::new();
    let mut of_words: BTreeMap<Words, Vec<Vec<u8>>> = BTreeMap::new();
    let mut all = Vec::new();
    for row in rows {
        let value = |column: usize| literal(table, row, column, writing);
        let members = listed
            .iter()
            .map(|column| member(name(column), &value(*column)));
        let members: Vec<Vec<u8>> = members.collect();
        let which = tuple(plain.iter().copied(), value);
        // A row that several rows join is changed once.
        if !seen.insert((members.clone(), which.clone())) {
            continue;
        }
        let values = (keys..table.width()).map(value).collect();
        let words = Words { values, members };
        match in_order {
            true => all.push((words, which)),
            false => of_words.entry(words).or_default().push(which),
        }
    }
    for (words, rows) in of_words {
        let batches = batched(rows.into_iter());
        all.extend(batches.into_iter().map(|batch| (words.clone(), batch)));
    }
    let named: Vec<&[u8]> = plain.iter().map(name).collect();
    let named = match named.as_slice() {
        [only] => only.to_vec(),
        several => [&b"("[..], &several.join(&b", "[..]), b")"].concat(),
    };
    let all = all.into_iter().map(|(words, rows)| {
        let mut terms = words.members.clone();
        if !plain.is_empty() {
            terms.insert(0, [named.as_slice(), b" IN (", &rows, b")"].concat());
        }
        let condition = terms.join(&b" AND "[..]);
        (words, condition)
    });
    (all.collect(), seen.len() as u64)
}

/// What the rows of one statement have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Words {
    /// What they are given.
    values: Vec<Vec<u8>>,
    /// The terms of their condition that say the members of ENUM and SET in their key.
    members: Vec<Vec<u8>>,
}

/// Integers from here on are not all of them floating-point numbers.
const EXACT_BELOW: u64 = 1 << 53;

/// A member of an ENUM or SET, which is its number: in a row comparison, its text would be compared with the number's.
fn member(column: &[u8], number: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(number).ok();
    let parsed: Option<u64> = text.and_then(|text| text.parse().ok());
    // An index finds it; compared, both are floating-point numbers with a sign.
    let near = [column, b" = ", number].concat();
    let exact = [b"(", column, b" | 0) = ", number].concat();
    match parsed.map(|number| (number < EXACT_BELOW, i64::try_from(number))) {
        Some((true, _)) => near,
        Some((false, Ok(_))) => [near.as_slice(), b" AND ", &exact].concat(),
        _ => exact,
    }
}

/// The text with values between its parts.
fn filled(head: &[Copied], values: &[Vec<u8>]) -> Copied {
    let mut sql = Copied::default();
    for (number, part) in head.iter().enumerate() {
        sql.append(part.clone());
        if let Some(value) = values.get(number) {
            sql.push(value);
        }
    }
    sql
}

fn literal(table: &ScratchTable, row: &[Cell], column: usize, writing: Writing) -> Vec<u8> {
    let mut text = Vec::new();
    let value = row.get(column).and_then(|cell| cell.as_deref());
    table.push_literal(column, value, writing, &mut text);
    text
}

/// `(1, 2)`; IN takes one value in parentheses as well.
fn tuple(columns: impl Iterator<Item = usize>, value: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let values: Vec<Vec<u8>> = columns.map(value).collect();
    [&b"("[..], &values.join(&b", "[..]), b")"].concat()
}

/// Texts in lists of bounded length.
fn batched(texts: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut batches: Vec<Vec<u8>> = Vec::new();
    for text in texts {
        match batches.last_mut() {
            Some(batch) if batch.len() + text.len() < STATEMENT_BYTES => {
                batch.extend_from_slice(b", ");
                batch.extend(text);
            }
            _ => batches.push(text),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use dbmesh_plan::shard::gather::Wanted;

    const SHOWN: &str = "CREATE TABLE `t` (
  `k` int NOT NULL,
  `e` enum('x','y') NOT NULL,
  `s` set('a','b') NOT NULL,
  `v` varchar(9) NOT NULL,
  PRIMARY KEY (`k`,`e`,`s`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

    /// The statements that give rows with keys of these columns, and then `v`, its value.
    fn changes(names: &[&str], rows: &[&[&str]], in_order: bool) -> (Vec<String>, Option<u64>) {
        let key = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        let columns: Vec<String> = [names, &["v"]]
            .concat()
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        let wanted = Wanted {
            columns: &columns,
            moments: &BTreeSet::new(),
            asking: None,
        };
        let table = ScratchTable::of_columns(SHOWN.as_bytes(), "g", &wanted).unwrap();
        let rows: Vec<Vec<Cell>> = rows
            .iter()
            .map(|row| {
                row.iter()
                    .map(|value| Some(value.as_bytes().to_vec()))
                    .collect()
            })
            .collect();
        let mut before = Copied::default();
        before.push(b"UPDATE t SET v = ");
        let then = Then::Change {
            head: vec![before, Copied::default()],
            keys: names.len(),
            key,
            in_order,
        };
        let writing = Writing {
            no_backslash_escapes: false,
            utf8: true,
            zones: true,
        };
        let (statements, expected) = plainly(&then, &table, &rows, writing);
        let texts = statements
            .into_iter()
            .map(|sql| String::from_utf8(sql.text).unwrap());
        (texts.collect(), expected)
    }

    #[test]
    fn members_of_lists_are_compared_alone() {
        let rows: [&[&str]; 6] = [
            &["9", "2", "3", "z"],
            &["11", "1", "3", "z"],
            &["12", "2", "3", "z"],
            &["9", "2", "3", "z"],
            &["9", "2", "9007199254740993", "z"],
            &["9", "2", "18446744073709551615", "z"],
        ];
        let of_members = [
            "UPDATE t SET v = 'z' WHERE k IN ((11)) AND e = 1 AND s = 3",
            "UPDATE t SET v = 'z' WHERE k IN ((9)) AND e = 2 AND (s | 0) = 18446744073709551615",
            "UPDATE t SET v = 'z' WHERE k IN ((9), (12)) AND e = 2 AND s = 3",
            "UPDATE t SET v = 'z' WHERE k IN ((9)) AND e = 2 AND s = 9007199254740993 AND (s | 0) = 9007199254740993",
        ];
        let (texts, expected) = changes(&["k", "e", "s"], &rows, false);
        assert_eq!(
            (texts, expected),
            (of_members.map(str::to_owned).to_vec(), Some(5))
        );
        let (texts, _) = changes(&["e"], &[&["2", "a"], &["0", "b"]], true);
        let alone = [
            "UPDATE t SET v = 'a' WHERE e = 2",
            "UPDATE t SET v = 'b' WHERE e = 0",
        ];
        assert_eq!(texts, alone);
        let (texts, expected) = changes(&["k", "e"], &[], false);
        assert_eq!(texts, ["UPDATE t SET v = NULL WHERE 1 = 0"]);
        assert_eq!(expected, Some(0));
    }
}
