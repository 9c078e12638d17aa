//! What is known of the columns of a sharded service's tables.
//!
//! Owns the columns that were read from a shard, and the rules with what they mean for the keys: a text that the server
//! compares by a collation is no exact key, whatever the rules say. Must never block a statement that needs nothing of it.
//! Input: information_schema of a shard; definitions that pass, and errors of servers, after which all is read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dbmesh_model::topology::Sharding;
use dbmesh_model::topology::sharding::{Axis, KeyKind, ShardedTable, Table};
use dbmesh_plan::shard::catalog::ByTable;
use dbmesh_plan::shard::{Catalog, KeyLimit, KnownTable, Unknown};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::backend::Cell;
use crate::fault::Fault;
use crate::plans::Plans;
use crate::upstream::{Need, Upstream};

/// Most columns that are known at a time; beyond, all are forgotten.
const COLUMNS_MAX: usize = 500_000;
/// A client that misspells columns does not make all tables be read again and again.
const BETWEEN_FORGETTING: Duration = Duration::from_secs(1);

/// A column as its server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownColumn {
    /// Its name, in lower case.
    pub name: String,
    /// Its type without length, as `varchar`.
    pub data_type: String,
    /// The collation of a text.
    pub collation: Option<String>,
    /// Whether it is left out where no columns are named.
    pub invisible: bool,
    /// What fits into it.
    pub limit: Option<KeyLimit>,
    /// Whether it belongs to the primary key.
    pub primary: bool,
}

/// What is known at one time.
#[derive(Debug)]
pub struct Known {
    /// The rules, keys as they really are.
    pub sharding: Arc<Sharding>,
    /// For the planner.
    pub catalog: Catalog,
    /// Columns by table.
    pub columns: ByTable<Arc<[KnownColumn]>>,
    /// How many columns that are.
    held: usize,
    /// Plans that rest on it. More tables change none of them.
    pub plans: Arc<Plans>,
    /// The definitions that had passed.
    epoch: u64,
}

/// What is known of a service's tables.
#[derive(Debug)]
pub struct Tables {
    rules: Arc<Sharding>,
    known: Mutex<Arc<Known>>,
    /// Changes with what is known.
    version: AtomicU64,
    forgotten: Mutex<Option<Instant>>,
    /// One at a time reads at a source.
    readers: Vec<Semaphore>,
}

impl Tables {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(rules: &Arc<Sharding>) -> Self {
        Self {
            rules: rules.clone(),
            known: Mutex::new(Arc::new(nothing(rules, 0))),
            version: AtomicU64::new(1),
            forgotten: Mutex::default(),
            readers: rules.sources.iter().map(|_| Semaphore::new(1)).collect(),
        }
    }

    /// Changes with what is known.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What is known after so many definitions.
    #[must_use]
    pub fn known(&self, epoch: u64) -> Arc<Known> {
        let mut known = self.known.lock();
        if known.epoch != epoch {
            *known = Arc::new(nothing(&self.rules, epoch));
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        known.clone()
    }

    /// Plans that are remembered now, and their bytes.
    #[must_use]
    pub fn plans(&self) -> (usize, usize) {
        let plans = self.known.lock().plans.clone();
        plans.sizes()
    }

    /// Forgets everything: a server said that something is not as it was.
    pub fn forget(&self) {
        let mut forgotten = self.forgotten.lock();
        if forgotten.is_some_and(|at| at.elapsed() < BETWEEN_FORGETTING) {
            return;
        }
        *forgotten = Some(Instant::now());
        drop(forgotten);
        self.forget_now();
    }

    /// The same, however short ago it was: something is known to be another than it was.
    pub fn forget_now(&self) {
        let mut known = self.known.lock();
        *known = Arc::new(nothing(&self.rules, known.epoch));
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Reads the columns of tables from a shard of each.
    ///
    /// # Errors
    /// When a source cannot be asked.
    pub async fn learn(
        &self,
        names: &[String],
        schema: &str,
        upstreams: &[Arc<Upstream>],
        epoch: u64,
    ) -> Result<(), Fault> {
        for name in names {
            let mut last = None;
            for (source, physical) in places(&self.rules, name) {
                match self
                    .learn_at(
                        name,
                        schema,
                        upstreams.get(source),
                        (source, physical, epoch),
                    )
                    .await
                {
                    Ok(()) => {
                        last = None;
                        break;
                    }
                    Err(fault) => last = Some(fault),
                }
            }
            if let Some(fault) = last {
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Reads the columns of a table from one source.
    async fn learn_at(
        &self,
        name: &str,
        schema: &str,
        upstream: Option<&Arc<Upstream>>,
        (source, physical, epoch): (usize, &str, u64),
    ) -> Result<(), Fault> {
        let (Some(upstream), Some(reader)) = (upstream, self.readers.get(source)) else {
            return Ok(());
        };
        let Ok(_reads) = reader.acquire().await else {
            return Ok(());
        };
        if self.known(epoch).columns.contains(name) {
            return Ok(());
        }
        let there = self.rules.sources.get(source);
        let there = there.and_then(|source| source.endpoints.first()?.schema.as_deref());
        let columns = read(upstream, there.unwrap_or(schema), physical).await?;
        if !columns.is_empty() {
            self.take_in(name, columns, epoch);
        }
        Ok(())
    }

    fn take_in(&self, name: &str, columns: Vec<KnownColumn>, epoch: u64) {
        let mut known = self.known.lock();
        if known.epoch != epoch {
            return;
        }
        let mut next = match known.held + columns.len() > COLUMNS_MAX {
            true => nothing(&self.rules, epoch),
            false => Known {
                sharding: known.sharding.clone(),
                catalog: known.catalog.clone(),
                columns: known.columns.clone(),
                held: known.held,
                plans: known.plans.clone(),
                epoch,
            },
        };
        let mut is = KnownTable::default();
        if let Some(Table::Sharded(table)) = self.rules.tables.get(name) {
            match as_it_is(table, &columns) {
                Ok(None) => {}
                Ok(Some(table)) => {
                    let mut sharding = Sharding::clone(&next.sharding);
                    sharding
                        .tables
                        .insert(name.to_owned(), Table::Sharded(Arc::new(table)));
                    next.sharding = Arc::new(sharding);
                }
                Err(Mistyped) => is.mistyped = true,
            }
            let keys = columns.iter().filter(|column| table.is_key(&column.name));
            let limits = keys.filter_map(|key| Some((key.name.clone(), key.limit?)));
            is.limits = limits.collect();
        }
        let timestamps = columns.iter().filter(|c| c.data_type == "timestamp");
        is.timestamps = timestamps
            .map(|column| column.name.to_lowercase())
            .collect();
        let primary = columns.iter().filter(|column| column.primary);
        let moments = primary.clone().filter(|c| c.data_type == "timestamp");
        is.moments = moments.map(|column| column.name.clone()).collect();
        is.primary = Some(primary.map(|column| column.name.clone()).collect());
        // What `INSERT … VALUES` and `*` mean is not the list of columns then: it is planned without.
        if columns.iter().all(|column| !column.invisible) {
            let names = columns.iter().map(|column| column.name.clone());
            is.columns = Some(names.collect());
        }
        next.catalog.tables.insert(name, Arc::new(is));
        next.held += columns.len();
        next.columns.insert(name, columns.into());
        *known = Arc::new(next);
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

fn nothing(rules: &Arc<Sharding>, epoch: u64) -> Known {
    Known {
        sharding: rules.clone(),
        catalog: Catalog {
            others: Unknown::Learn,
            ..Catalog::default()
        },
        columns: ByTable::default(),
        held: 0,
        plans: Arc::default(),
        epoch,
    }
}

/// Where a table can be looked at, and its name there: once at every source, so that one that is down hides nothing.
fn places<'a>(rules: &'a Sharding, name: &'a str) -> Vec<(usize, &'a str)> {
    match rules.tables.get(name) {
        Some(Table::Sharded(table)) => {
            let mut places: Vec<(usize, &str)> = Vec::new();
            for shard in &table.shards {
                if places.iter().all(|(source, _)| *source != shard.source) {
                    places.push((shard.source, &shard.table));
                }
            }
            places
        }
        Some(Table::Broadcast) => {
            let first = rules.default_source.unwrap_or(0);
            let others = (0..rules.sources.len()).filter(|source| *source != first);
            let all = std::iter::once(first).chain(others);
            all.map(|source| (source, name)).collect()
        }
        Some(Table::Single(source)) => vec![(*source, name)],
        // What is not listed is at the default node, if there is one.
        None => rules
            .default_source
            .map(|source| (source, name))
            .into_iter()
            .collect(),
    }
}

async fn read(upstream: &Upstream, schema: &str, table: &str) -> Result<Vec<KnownColumn>, Fault> {
    let member = upstream.choose(Need::Primary, None, &[], || 0);
    let member = member.ok_or_else(|| Fault::NoEndpoint(upstream.why_no_primary()))?;
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "''");
    let sql = format!(
        "SELECT column_name, data_type, collation_name, extra, column_type, character_maximum_length, column_key FROM information_schema.columns WHERE table_schema = '{}' AND \
         table_name = '{}' ORDER BY ordinal_position",
        quoted(schema),
        quoted(table)
    );
    let rows = member.pool.ask_aside(&sql).await;
    let rows = rows.map_err(|e| e.into_fault(member.endpoint.name.as_str()))?;
    Ok(rows.into_iter().filter_map(column).collect())
}

fn column(row: Vec<Cell>) -> Option<KnownColumn> {
    let text = |cell: Cell| cell.map(|bytes| String::from_utf8_lossy(&bytes).to_lowercase());
    let mut cells = row.into_iter();
    let mut known = KnownColumn {
        name: text(cells.next()?)?,
        data_type: text(cells.next()?)?,
        collation: text(cells.next()?),
        invisible: text(cells.next()?).is_some_and(|extra| extra.contains("invisible")),
        limit: None,
        primary: false,
    };
    let whole_type = text(cells.next()?)?;
    let length = cells
        .next()
        .and_then(text)
        .and_then(|length| length.parse().ok());
    known.limit = limit(&known, &whole_type, length);
    known.primary = cells.next().and_then(text).as_deref() == Some("pri");
    Some(known)
}

/// What fits into a column of this type and length.
fn limit(column: &KnownColumn, whole_type: &str, length: Option<u64>) -> Option<KeyLimit> {
    let bits = match column.data_type.as_str() {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        "bigint" => 64,
        _ => {
            let length = length?;
            return Some(match column.collation.is_some() {
                true => KeyLimit::Chars(length),
                false => KeyLimit::Bytes(length),
            });
        }
    };
    Some(match whole_type.contains("unsigned") {
        true => KeyLimit::Integer(0, (1 << bits) - 1),
        false => KeyLimit::Integer(-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
    })
}

/// The key is of another type than the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mistyped;

/// The table with its keys as they are, if that is another.
fn as_it_is(
    table: &ShardedTable,
    columns: &[KnownColumn],
) -> Result<Option<ShardedTable>, Mistyped> {
    let mut changed = table.clone();
    let axes = changed.database.iter_mut().chain(&mut changed.table);
    for key in axes.flat_map(|axis: &mut Axis| &mut axis.columns) {
        let column = columns.iter().find(|column| column.name == key.name);
        key.kind = kind_of(key.kind, column.ok_or(Mistyped)?).ok_or(Mistyped)?;
    }
    let kinds = |table: &ShardedTable| -> Vec<KeyKind> {
        table.key_columns().map(|key| key.kind).collect()
    };
    Ok((kinds(&changed) != kinds(table)).then_some(changed))
}

/// What a key of this kind is, given its column; none if it is something else altogether.
fn kind_of(said: KeyKind, column: &KnownColumn) -> Option<KeyKind> {
    let is = |types: &[&str]| types.contains(&column.data_type.as_str());
    match said {
        KeyKind::Integer => is(&["tinyint", "smallint", "mediumint", "int", "bigint"]),
        KeyKind::Date => is(&["date"]),
        KeyKind::Datetime => is(&["datetime"]),
        KeyKind::Text | KeyKind::Collated => {
            // Only these compare as many bytes as were written, one by one.
            let exact = is(&["varbinary", "tinyblob", "blob", "mediumblob", "longblob"])
                || column.collation.as_deref().is_some_and(|collation| {
                    let whole =
                        collation == "utf8mb4_0900_bin" || collation.ends_with("_nopad_bin");
                    whole && !is(&["char"])
                });
            let text = is(&[
                "char",
                "varchar",
                "tinytext",
                "text",
                "mediumtext",
                "longtext",
            ]) || is(&["varbinary", "tinyblob", "blob", "mediumblob", "longblob"]);
            return text.then_some(match (said, exact) {
                (KeyKind::Text, true) => KeyKind::Text,
                _ => KeyKind::Collated,
            });
        }
    }
    .then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(data_type: &str, collation: Option<&str>) -> KnownColumn {
        KnownColumn {
            name: "k".into(),
            primary: false,
            limit: None,
            data_type: data_type.into(),
            collation: collation.map(str::to_owned),
            invisible: false,
        }
    }

    #[test]
    fn what_fits_is_told_by_the_type() {
        let limit = |data_type: &str, whole: &str, collation: Option<&str>, length| {
            super::limit(&column(data_type, collation), whole, length)
        };
        assert_eq!(
            limit("tinyint", "tinyint(4)", None, None),
            Some(KeyLimit::Integer(-128, 127))
        );
        assert_eq!(
            limit("bigint", "bigint unsigned", None, None),
            Some(KeyLimit::Integer(0, u64::MAX.into()))
        );
        let text = Some("utf8mb4_bin");
        assert_eq!(
            limit("varchar", "varchar(20)", text, Some(20)),
            Some(KeyLimit::Chars(20))
        );
        assert_eq!(limit("date", "date", None, None), None);
    }

    #[test]
    fn a_key_is_what_its_column_is() {
        let cases = [
            (KeyKind::Integer, "bigint", None, Some(KeyKind::Integer)),
            (KeyKind::Integer, "varchar", Some("utf8mb4_bin"), None),
            (KeyKind::Integer, "decimal", None, None),
            (KeyKind::Text, "varbinary", None, Some(KeyKind::Text)),
            (
                KeyKind::Text,
                "varchar",
                Some("utf8mb4_0900_bin"),
                Some(KeyKind::Text),
            ),
            (
                KeyKind::Text,
                "varchar",
                Some("utf8mb4_bin"),
                Some(KeyKind::Collated),
            ),
            (
                KeyKind::Text,
                "char",
                Some("utf8mb4_0900_bin"),
                Some(KeyKind::Collated),
            ),
            (
                KeyKind::Text,
                "varchar",
                Some("utf8mb4_0900_ai_ci"),
                Some(KeyKind::Collated),
            ),
            (KeyKind::Text, "binary", None, None),
            (
                KeyKind::Collated,
                "varchar",
                Some("utf8mb4_0900_bin"),
                Some(KeyKind::Collated),
            ),
            (KeyKind::Date, "datetime", None, None),
            (KeyKind::Datetime, "datetime", None, Some(KeyKind::Datetime)),
            (KeyKind::Datetime, "timestamp", None, None),
        ];
        for (said, data_type, collation, is) in cases {
            assert_eq!(
                kind_of(said, &column(data_type, collation)),
                is,
                "{said:?} {data_type}"
            );
        }
    }
}
