//! The statements that change what was found.
//!
//! Owns their texts: rows with equal values are changed together, each once, in statements of bounded length. Input: values
//! as they are carried.

use std::collections::{BTreeMap, HashSet};

use dbmesh_plan::shard::Copied;
use dbmesh_plan::shard::gather::{ScratchTable, Writing};
use dbmesh_plan::shard::keyed::Then;

use crate::backend::Cell;

/// Bytes of values in one statement; a larger row goes alone.
const STATEMENT_BYTES: usize = 256 << 10;

/// The statements that do it.
pub(super) fn statements(
    then: &Then,
    table: &ScratchTable,
    rows: &[Vec<Cell>],
    writing: Writing,
) -> Vec<Copied> {
    match then {
        Then::Insert { head, tail, .. } => {
            let all = 0..table.width();
            let tuples = rows
                .iter()
                .map(|row| tuple(all.clone(), |column| literal(table, row, column, writing)));
            batched(tuples)
                .into_iter()
                .map(|values| Copied {
                    text: [head, values.as_slice(), &tail.text].concat(),
                    parameters: tail.parameters.clone(),
                })
                .collect()
        }
        Then::Change {
            head,
            keys,
            key,
            in_order,
        } => {
            let named = match key.as_slice() {
                [only] => only.clone(),
                several => [&b"("[..], &several.join(&b", "[..]), b")"].concat(),
            };
            let mut seen = HashSet::new();
            let mut of_values: BTreeMap<Vec<Vec<u8>>, Vec<Vec<u8>>> = BTreeMap::new();
            let mut all = Vec::new();
            for row in rows {
                let which = tuple(0..*keys, |column| literal(table, row, column, writing));
                // A row that several rows join is changed once.
                if !seen.insert(which.clone()) {
                    continue;
                }
                let value = |column: usize| literal(table, row, column, writing);
                let values: Vec<Vec<u8>> = (*keys..table.width()).map(value).collect();
                match in_order {
                    true => all.push((values, which)),
                    false => of_values.entry(values).or_default().push(which),
                }
            }
            for (values, rows) in of_values {
                let batches = batched(rows.into_iter());
                all.extend(batches.into_iter().map(|batch| (values.clone(), batch)));
            }
            let changed = |(values, rows): (Vec<Vec<u8>>, Vec<u8>)| {
                let mut sql = filled(head, &values);
                sql.push(&[b" WHERE ", named.as_slice(), b" IN (", &rows, b")"].concat());
                sql
            };
            if all.is_empty() {
                // A server says best what a change of nothing says.
                let none = vec![b"NULL".to_vec(); table.width().saturating_sub(*keys)];
                let mut sql = filled(head, &none);
                sql.push(b" WHERE 1 = 0");
                return vec![sql];
            }
            all.into_iter().map(changed).collect()
        }
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
fn tuple(columns: std::ops::Range<usize>, value: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
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
