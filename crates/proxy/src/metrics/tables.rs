//! Statements by table, of a bounded number of tables.
//!
//! Owns one set of counters for each table, made when the table is first met, and one for all tables beyond the limit. Names
//! are of the parser, never more of a text. Input: statements that ended, where a service asks for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dbmesh_runtime::exposition::{Kind, Text};
use dbmesh_sql::Class;
use parking_lot::RwLock;

use super::{CLASSES, Labelled, class_index};

/// The label of tables that have no counters of their own.
const OTHERS: &str = "(others)";
/// Longest name that is a label, in bytes.
const NAME_BYTES_MAX: usize = 130;

/// The counters of a service's tables.
#[derive(Debug, Default)]
pub struct Tables {
    known: RwLock<HashMap<Box<str>, Arc<Counts>>>,
    others: Counts,
}

/// What happened to one table.
#[derive(Debug, Default)]
struct Counts {
    statements: [AtomicU64; CLASSES.len()],
    errors: AtomicU64,
    time_ns: AtomicU64,
}

impl Counts {
    fn add(&self, class: Class, took: Duration, failed: bool) {
        if let Some(counter) = self.statements.get(class_index(class)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.time_ns.fetch_add(ns, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
    }
}

impl Tables {
    /// A statement that uses these tables ended; at most `max` of them are told apart.
    pub fn add(&self, names: &[Box<str>], max: u32, class: Class, took: Duration, failed: bool) {
        for name in names {
            let known = self.known.read().get(name).cloned();
            match known.or_else(|| self.meet(name, max)) {
                Some(counts) => counts.add(class, took, failed),
                None => self.others.add(class, took, failed),
            }
        }
    }

    fn meet(&self, name: &str, max: u32) -> Option<Arc<Counts>> {
        let mut known = self.known.write();
        let room = known.len() < usize::try_from(max).unwrap_or(usize::MAX);
        (room && name.len() <= NAME_BYTES_MAX)
            .then(|| known.entry(name.into()).or_default().clone())
    }

    fn each(&self, mut tell: impl FnMut(&str, &Counts)) {
        let known = self.known.read();
        let mut all: Vec<_> = known.iter().collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all.iter().for_each(|(name, counts)| tell(name, counts));
        if !all.is_empty() {
            tell(OTHERS, &self.others);
        }
    }
}

/// Writes them.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
pub fn expose(all: &[Labelled<'_>], out: &mut Text) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    out.family(
        "dbmesh_table_statements_total",
        "Statements by a table that they use, and by class; of several tables, each counts.",
        Kind::Counter,
    );
    for l in all {
        l.metrics.tables.each(|table, counts| {
            for ((_, class), counter) in CLASSES.iter().zip(&counts.statements) {
                if count(counter) > 0 {
                    let labels = [
                        ("database", l.database.as_str()),
                        ("service", &l.service),
                        ("table", table),
                        ("class", class),
                    ];
                    out.sample(&labels, count(counter) as f64);
                }
            }
        });
    }
    type Value = fn(&Counts) -> f64;
    let families: [(&str, &str, Value); 2] = [
        (
            "dbmesh_table_seconds_total",
            "Time of statements by a table that they use.",
            |c| c.time_ns.load(Ordering::Relaxed) as f64 / 1e9,
        ),
        (
            "dbmesh_table_errors_total",
            "Statements answered with an error, by a table that they use.",
            |c| c.errors.load(Ordering::Relaxed) as f64,
        ),
    ];
    for (name, help, value) in families {
        out.family(name, help, Kind::Counter);
        for l in all {
            l.metrics.tables.each(|table, counts| {
                let labels = [
                    ("database", l.database.as_str()),
                    ("service", &l.service),
                    ("table", table),
                ];
                out.sample(&labels, value(counts));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_tables_are_few_counters() {
        let tables = Tables::default();
        let took = Duration::from_millis(1);
        for n in 0..100_000 {
            let name = format!("shop.t{n}").into_boxed_str();
            tables.add(&[name], 3, Class::Read, took, n % 2 == 0);
        }
        let mut told = Vec::new();
        tables.each(|name, counts| {
            told.push((
                name.to_owned(),
                counts.statements[0].load(Ordering::Relaxed),
            ));
        });
        let expected = [
            ("shop.t0", 1),
            ("shop.t1", 1),
            ("shop.t2", 1),
            (OTHERS, 99_997),
        ];
        assert_eq!(told, expected.map(|(name, count)| (name.to_owned(), count)));
        assert_eq!(tables.others.errors.load(Ordering::Relaxed), 49_998);
    }
}
