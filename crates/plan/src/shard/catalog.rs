//! What is known of the columns of a service's tables.
//!
//! Owns the record of a table, and the map of them, which is copied whenever another table becomes known: readers keep what
//! they have. A copy shares nearly everything with what it was made of, however many tables there are. Input: what a shard
//! says of its columns.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::value::KeyValue;

/// Parts of a map, of which a change copies one.
const PARTS: usize = 256;

/// What is known of the tables' columns. Without it, what needs it is refused or gathered.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The tables, by their names.
    pub tables: ByTable<Arc<KnownTable>>,
    /// What becomes of tables that are not in it.
    pub others: Unknown,
}

impl Catalog {
    /// The columns of a table, in their order.
    pub fn columns(&self, table: &str) -> Option<&Vec<String>> {
        self.tables.get(table)?.columns.as_ref()
    }

    /// The columns of its primary key.
    pub fn primary(&self, table: &str) -> Option<&Vec<String>> {
        self.tables.get(table)?.primary.as_ref()
    }

    /// What fits into a column of its keys, by the name in lower case.
    pub fn limit(&self, table: &str, column: &str) -> Option<KeyLimit> {
        self.tables.get(table)?.limits.get(column).copied()
    }
}

/// What is known of a table's columns.
#[derive(Debug, Clone, Default)]
pub struct KnownTable {
    /// All of them, in their order; none if they are not what `*` means.
    pub columns: Option<Vec<String>>,
    /// Those of the primary key.
    pub primary: Option<Vec<String>>,
    /// Those of the primary key that are TIMESTAMP.
    pub moments: BTreeSet<String>,
    /// All columns that are TIMESTAMP, in lower case.
    pub timestamps: BTreeSet<String>,
    /// Whether the key is of another type than the rules say: nothing of the table can be routed.
    pub mistyped: bool,
    /// What fits into the columns of keys, by their names in lower case.
    pub limits: BTreeMap<String, KeyLimit>,
}

/// What becomes of a statement when the columns of one of its tables are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unknown {
    /// It is planned without them.
    #[default]
    Accept,
    /// They have to be learned first: [`super::ShardPlan::Learn`].
    Learn,
}

/// What a column stores as it is written. Anything beyond may be stored as another value, which is on another shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyLimit {
    /// Whole numbers from one to another.
    Integer(i128, i128),
    /// So many characters.
    Chars(u64),
    /// So many bytes.
    Bytes(u64),
}

impl KeyLimit {
    pub(super) fn holds(self, value: &KeyValue) -> bool {
        match (self, value) {
            (Self::Integer(least, most), KeyValue::Integer(number)) => {
                (least..=most).contains(number)
            }
            // A character has at most as many bytes as are counted where the text is not UTF-8.
            (Self::Chars(most), KeyValue::Text(text)) => {
                let chars = std::str::from_utf8(text).map_or(text.len(), |t| t.chars().count());
                chars as u64 <= most
            }
            (Self::Bytes(most), KeyValue::Text(text)) => text.len() as u64 <= most,
            _ => true,
        }
    }
}

/// Values by names of tables. A copy shares all parts with what it was made of, and a change copies one part.
#[derive(Debug, Clone)]
pub struct ByTable<V> {
    /// A power of two of them; none before the first value.
    parts: Vec<Arc<BTreeMap<Arc<str>, V>>>,
}

impl<V> Default for ByTable<V> {
    fn default() -> Self {
        Self { parts: Vec::new() }
    }
}

impl<V: Clone> ByTable<V> {
    /// The value of a table.
    pub fn get(&self, table: &str) -> Option<&V> {
        self.parts.get(part(table))?.get(table)
    }

    /// Whether a table has a value.
    pub fn contains(&self, table: &str) -> bool {
        self.get(table).is_some()
    }

    /// Gives a table this value.
    pub fn insert(&mut self, table: &str, value: V) {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, Arc::default);
        }
        if let Some(part) = self.parts.get_mut(part(table)) {
            Arc::make_mut(part).insert(table.into(), value);
        }
    }
}

impl<V: Clone> FromIterator<(String, V)> for ByTable<V> {
    fn from_iter<T: IntoIterator<Item = (String, V)>>(values: T) -> Self {
        let mut map = Self::default();
        for (table, value) in values {
            map.insert(&table, value);
        }
        map
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "its lowest bits are asked for"
)]
fn part(table: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    table.hash(&mut hasher);
    hasher.finish() as usize % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stays_as_it_was_and_shares_what_did_not_change() {
        let names: Vec<String> = (0..1_000).map(|n| format!("t_{n}")).collect();
        let values = names.iter().enumerate().map(|(n, name)| (name.clone(), n));
        let mut map: ByTable<usize> = values.collect();
        let before = map.clone();
        map.insert("t_7", 70);
        map.insert("t_new", 1);
        assert_eq!((before.get("t_7"), map.get("t_7")), (Some(&7), Some(&70)));
        assert!(!before.contains("t_new") && map.contains("t_new"));
        assert!(
            names
                .iter()
                .skip(8)
                .enumerate()
                .all(|(n, name)| map.get(name) == Some(&(n + 8)))
        );
        let shared = before.parts.iter().zip(&map.parts);
        let copied = shared
            .filter(|(one, other)| !Arc::ptr_eq(one, other))
            .count();
        assert!((1..=2).contains(&copied), "{copied} parts were copied");
        assert_eq!(ByTable::<usize>::default().get("t_7"), None);
    }
}
