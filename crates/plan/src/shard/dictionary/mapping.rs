//! Rows of a view as the nodes have them, put together under the names that clients know.
//!
//! Owns which rows are shown: of a split table those of its first shard, with what counts summed over all; of a copied
//! table those of one node; nothing that clients cannot name. Must never show a row twice, nor the name of a shard. Input:
//! rows of every node, in the text protocol.

use std::collections::{HashMap, HashSet};

use dbmesh_model::topology::Sharding;
use dbmesh_model::topology::sharding::Table;

use super::Reading;
use super::numbered::without_number;
use super::views::{AVERAGE, RowsOf, View};

/// Names that are made of a table's, and a number behind.
pub(in super::super) const MADE_NAMES: [&str; 2] = ["_ibfk_", "_chk_"];
/// Schemas that every server has.
pub const SYSTEM_SCHEMAS: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

/// Whether every server has a schema of this name.
pub fn is_system(name: &str) -> bool {
    let mut known = SYSTEM_SCHEMAS.iter();
    known.any(|known| known.eq_ignore_ascii_case(name))
}

/// A row's values, in the order of its columns.
pub type Row = Vec<Option<Box<[u8]>>>;

/// A table as a node has it.
#[derive(Debug, Clone, Copy)]
struct Known<'a> {
    logical: &'a str,
    /// Whether its rows are those that are shown.
    shown: bool,
    /// Whether what counts in it is added.
    adds: bool,
}

/// Which tables are where.
#[derive(Debug)]
pub struct Tables<'a> {
    sharding: &'a Sharding,
    /// The schema as clients know it.
    schema: &'a str,
    /// The node that is asked for what all have.
    home: usize,
    known: HashMap<(usize, &'a str), Known<'a>>,
    /// Names of shards, which are nobody's own where they are not listed.
    shards: HashSet<String>,
}

impl<'a> Tables<'a> {
    /// By the rules.
    pub fn of(sharding: &'a Sharding, schema: &'a str, home: usize) -> Self {
        let mut known = HashMap::new();
        let mut shards = HashSet::new();
        for (logical, table) in &sharding.tables {
            let mut add = |source: usize, physical: &'a str, shown: bool, adds: bool| {
                let table = Known {
                    logical,
                    shown,
                    adds,
                };
                known.insert((source, physical), table);
            };
            match table {
                Table::Sharded(table) => {
                    for (number, shard) in table.shards.iter().enumerate() {
                        add(shard.source, &shard.table, number == 0, true);
                        shards.insert(shard.table.to_lowercase());
                    }
                }
                Table::Broadcast => {
                    for source in 0..sharding.sources.len() {
                        add(source, logical, source == home, false);
                    }
                }
                Table::Single(source) => add(*source, logical, true, false),
            }
        }
        Self {
            sharding,
            schema,
            home,
            known,
            shards,
        }
    }

    /// The name of the schema at a source.
    pub fn schema_at(&self, source: usize) -> &'a str {
        let source = self.sharding.sources.get(source);
        let endpoint = source.and_then(|source| source.endpoints.first());
        let theirs = endpoint.and_then(|endpoint| endpoint.schema.as_deref());
        theirs.unwrap_or(self.schema)
    }

    /// Whether a source has such tables of the client's; of split ones the first shard, or any if all add to what is asked.
    pub fn has(&self, source: usize, wanted: impl Fn(&str) -> bool, all: bool) -> bool {
        let mut known = self.known.iter();
        known.any(|((at, _), known)| {
            *at == source && (known.shown || (all && known.adds)) && wanted(known.logical)
        })
    }

    /// Names of a source's tables that a reading with names of tables asks for, as [`Self::has`] says; also of those that are
    /// not listed.
    pub fn physical<'t>(&'t self, source: usize, reading: &'t Reading, all: bool) -> Vec<&'t str> {
        let wants = |table: &str| reading.wants(table);
        let mut found: Vec<&str> = self
            .known
            .iter()
            .filter(|((at, _), known)| *at == source && (known.shown || (all && known.adds)))
            .filter(|(_, known)| wants(known.logical))
            .map(|((_, physical), _)| *physical)
            .collect();
        if self.sharding.default_source == Some(source) {
            found.extend(reading.tables.iter().flatten().map(String::as_str));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The client's name of a source's table.
    pub fn logical(&self, source: usize, physical: &str) -> Option<&'a str> {
        let known = self.known.get(&(source, physical))?;
        Some(known.logical)
    }

    fn table<'t>(&'t self, source: usize, physical: &'t str) -> Option<Known<'t>> {
        if let Some(known) = self.known.get(&(source, physical)) {
            return Some(*known);
        }
        let unlisted = self.sharding.default_source == Some(source)
            && !self.sharding.tables.contains_key(physical)
            && !self.shards.contains(&physical.to_lowercase());
        unlisted.then_some(Known {
            logical: physical,
            shown: true,
            adds: false,
        })
    }

    /// A constraint's name as clients know it, and whether its row is shown where no table says so. It is the server's own,
    /// made of the table's, or has the number of its shard behind.
    fn constraint(&self, source: usize, name: &str) -> (String, bool) {
        if let Some((own, shard)) = without_number(name) {
            return (own.to_owned(), shard == 0);
        }
        for made in MADE_NAMES {
            let Some((table, number)) = name.rsplit_once(made) else {
                continue;
            };
            let counted = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            if let Some(known) = self.known.get(&(source, table)).filter(|_| counted) {
                return (format!("{}{made}{number}", known.logical), known.shown);
            }
        }
        (name.to_owned(), true)
    }

    /// A text with the client's names, where they stand in backquotes.
    fn text(&self, source: usize, text: &str) -> String {
        let theirs = self.schema_at(source);
        match theirs == self.schema {
            true => text.to_owned(),
            false => text.replace(&format!("`{theirs}`."), &format!("`{}`.", self.schema)),
        }
    }
}

/// The rows of one view.
#[derive(Debug)]
pub struct Rows<'a> {
    tables: &'a Tables<'a>,
    view: &'static View,
    reading: &'a Reading,
    /// In capitals.
    columns: Vec<String>,
    rows: Vec<Row>,
    places: HashMap<Vec<u8>, usize>,
    /// Rows of several shards.
    summed: HashSet<usize>,
}

impl<'a> Rows<'a> {
    /// None yet; `columns` is what comes.
    pub fn new(tables: &'a Tables<'a>, reading: &'a Reading, columns: &[String]) -> Self {
        Self {
            tables,
            view: reading.view,
            reading,
            columns: columns.iter().map(|name| name.to_uppercase()).collect(),
            rows: Vec::new(),
            places: HashMap::new(),
            summed: HashSet::new(),
        }
    }

    /// How many values a row has.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|name| name == column)
    }

    fn value<'r>(&self, row: &'r Row, column: &str) -> Option<&'r str> {
        let value = row.get(self.place(column)?)?.as_deref()?;
        std::str::from_utf8(value).ok()
    }

    fn set(&self, row: &mut Row, column: &str, value: &str) {
        if let Some(cell) = self.place(column).and_then(|place| row.get_mut(place)) {
            *cell = Some(value.as_bytes().into());
        }
    }

    /// Takes a row of a node; gives how many bytes are kept of it.
    pub fn take(&mut self, source: usize, mut row: Row) -> usize {
        let schema = self.view.schemas.first();
        let schema = schema.and_then(|column| self.value(&row, column));
        let own = schema == Some(self.tables.schema_at(source));
        if !own {
            let shown = source == self.tables.home && schema.is_some_and(is_system);
            return if shown { self.push(row) } else { 0 };
        }
        if let Some(column) = self.view.tables.first() {
            let physical = self.value(&row, column).unwrap_or_default();
            let Some(known) = self.tables.table(source, physical) else {
                return 0;
            };
            let matters = known.shown || (known.adds && self.adds());
            if !matters || !self.reading.wants(known.logical) {
                return 0;
            }
        }
        let some = self.some_table(&row);
        let of = some.and_then(|physical| self.tables.table(source, physical));
        if some.is_some() && !of.is_some_and(|known| known.shown) {
            return 0;
        }
        if !self.rename(source, &mut row) {
            return 0;
        }
        let Some(key) = self.key(&row) else {
            return self.push(row);
        };
        match self.places.get(&key).copied() {
            Some(place) => {
                self.add(place, &row);
                0
            }
            None => {
                self.places.insert(key, self.rows.len());
                self.push(row)
            }
        }
    }

    /// The table that the row is of, where the view has a column for it that other servers have not.
    fn some_table<'r>(&self, row: &'r Row) -> Option<&'r str> {
        self.value(row, self.view.some_table?)
    }

    fn push(&mut self, row: Row) -> usize {
        let bytes = |cell: &Option<Box<[u8]>>| cell.as_ref().map_or(1, |cell| cell.len() + 1);
        let bytes = row.iter().map(bytes).sum();
        self.rows.push(row);
        bytes
    }

    /// Whether rows of other shards than the first matter.
    fn adds(&self) -> bool {
        let mut columns = self.view.sums.iter().chain(self.view.latest);
        columns.any(|column| self.place(column).is_some())
    }

    /// Gives the row the client's names; says whether it is to be shown.
    fn rename(&self, source: usize, row: &mut Row) -> bool {
        let theirs = self.tables.schema_at(source);
        for column in self.view.schemas {
            if self.value(row, column) == Some(theirs) {
                self.set(row, column, self.tables.schema);
            }
        }
        for column in self.view.constraints {
            let Some(name) = self.value(row, column) else {
                continue;
            };
            let (own, shown) = self.tables.constraint(source, name);
            // Rows of tables have been chosen by their table.
            if !shown && self.view.tables.is_empty() && self.some_table(row).is_none() {
                return false;
            }
            self.set(row, column, &own);
        }
        for column in self.view.tables.iter().chain(&self.view.some_table) {
            let known = self.value(row, column);
            let known = known.and_then(|physical| self.tables.table(source, physical));
            if let Some(logical) = known.map(|known| known.logical.to_owned()) {
                self.set(row, column, &logical);
            }
        }
        for column in self.view.texts {
            let own = self.value(row, column);
            if let Some(own) = own.map(|text| self.tables.text(source, text)) {
                self.set(row, column, &own);
            }
        }
        true
    }

    /// What tells the row from others: where shards add up, its table and its part of it; of what all nodes have, its name.
    /// None if there is no other.
    fn key(&self, row: &Row) -> Option<Vec<u8>> {
        if self.view.rows == RowsOf::Tables && !self.adds() {
            return None;
        }
        let mut key = Vec::new();
        let mut put = |column: &str| {
            let value = self.place(column).and_then(|place| row.get(place));
            match value.and_then(Option::as_deref) {
                Some(value) => {
                    key.push(1);
                    key.extend_from_slice(&value.len().to_le_bytes());
                    key.extend_from_slice(value);
                }
                None => key.push(0),
            }
        };
        let own = self.view.schemas.iter().take(1);
        let own = own.chain(self.view.tables.iter().take(1));
        let own = own.chain(&self.view.some_table);
        own.chain(self.view.key).for_each(|column| put(column));
        Some(key)
    }

    /// Adds what counts in a row of another shard.
    fn add(&mut self, place: usize, other: &Row) {
        if self.view.rows != RowsOf::Tables {
            return;
        }
        self.summed.insert(place);
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        for (columns, adds) in [(self.view.sums, true), (self.view.latest, false)] {
            for column in columns {
                let Some(at) = self.place(column) else {
                    continue;
                };
                let more = other.get(at).and_then(Option::as_deref);
                let cell = self.rows.get_mut(place).and_then(|row| row.get_mut(at));
                let (Some(more), Some(cell)) = (more, cell) else {
                    continue;
                };
                let now = match (cell.as_deref(), adds) {
                    (None, _) => more.into(),
                    (Some(had), true) => match (number(had), number(more)) {
                        (Some(had), Some(more)) => {
                            had.saturating_add(more).to_string().into_bytes().into()
                        }
                        _ => continue,
                    },
                    (Some(had), false) => match (number(had), number(more)) {
                        (Some(one), Some(other)) => one.max(other).to_string().into_bytes().into(),
                        // Moments are written so that the later one is the greater text.
                        _ => had.max(more).into(),
                    },
                };
                *cell = Some(now);
            }
        }
    }

    /// All rows, by schema and table.
    pub fn end(mut self) -> Vec<Row> {
        let (average, bytes, count) = AVERAGE;
        let places = (self.place(average), self.place(bytes), self.place(count));
        if let (Some(average), Some(bytes), Some(count)) = places
            && self.view.sums.contains(&AVERAGE.1)
        {
            for place in &self.summed {
                let Some(row) = self.rows.get_mut(*place) else {
                    continue;
                };
                let number = |place: usize| {
                    let text = row.get(place)?.as_deref()?;
                    std::str::from_utf8(text).ok()?.parse::<u64>().ok()
                };
                let (Some(bytes), Some(count)) = (number(bytes), number(count)) else {
                    continue;
                };
                let average_of = bytes.checked_div(count).unwrap_or(0);
                if let Some(cell) = row.get_mut(average).filter(|cell| cell.is_some()) {
                    *cell = Some(average_of.to_string().into_bytes().into());
                }
            }
        }
        let by = self.view.schemas.first().into_iter();
        let by = by.chain(self.view.tables.first());
        let by: Vec<usize> = by.filter_map(|column| self.place(column)).collect();
        self.rows.sort_by(|one, other| {
            let key = |row: &Row| -> Vec<Option<Box<[u8]>>> {
                by.iter().filter_map(|at| row.get(*at).cloned()).collect()
            };
            key(one).cmp(&key(other))
        });
        self.rows
    }
}
