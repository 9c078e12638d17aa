//! Looking into the sums: the first of an order, of all shards together.
//!
//! Owns the orders and the form of a row. It holds a shard's lock for a short time only: numbers of all entries first,
//! whole entries only of those that are shown. Input: questions of operators.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::Insight;
use super::entry::Entry;
use super::table::Key;

/// Rows unless asked otherwise.
const ROWS_DEFAULT: usize = 100;
/// Most rows of one answer.
const ROWS_MAX: usize = 10_000;

/// By what rows are ordered, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Time in all.
    Time,
    /// Statements.
    Calls,
    /// Errors.
    Errors,
    /// Rows sent and changed.
    Rows,
    /// Bytes in both directions.
    Bytes,
    /// Time waited for connections.
    Wait,
    /// The longest statement.
    Max,
    /// When it was seen last.
    Last,
}

impl Order {
    /// By its name.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "time" => Self::Time,
            "calls" => Self::Calls,
            "errors" => Self::Errors,
            "rows" => Self::Rows,
            "bytes" => Self::Bytes,
            "wait" => Self::Wait,
            "max" => Self::Max,
            "last" => Self::Last,
            _ => return None,
        })
    }

    fn number(self, entry: &Entry) -> u64 {
        match self {
            Self::Time => entry.time_ns,
            Self::Calls => entry.calls,
            Self::Errors => entry.errors,
            Self::Rows => entry.rows + entry.affected,
            Self::Bytes => entry.bytes_in + entry.bytes_out,
            Self::Wait => entry.wait_ns,
            Self::Max => entry.max_ns,
            Self::Last => entry.last_ms,
        }
    }

    /// Whether numbers of two shards add up.
    fn adds_up(self) -> bool {
        !matches!(self, Self::Max | Self::Last)
    }
}

/// What an operator wants to see.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The order.
    pub order: Order,
    /// Rows at most.
    pub limit: usize,
    /// Of this service alone, by its label.
    pub service: Option<&'a str>,
    /// With the sketches, to add them up elsewhere.
    pub sketches: bool,
}

impl Default for Question<'_> {
    fn default() -> Self {
        Self {
            order: Order::Time,
            limit: ROWS_DEFAULT,
            service: None,
            sketches: false,
        }
    }
}

impl<'a> Question<'a> {
    /// Of the query of a URL: `order`, `limit`, `service`, `sketches`.
    pub fn of_query(query: &'a str) -> Result<Self, String> {
        let mut question = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "order" => {
                    let order = Order::of(value).ok_or_else(|| format!("no order {value:?}"))?;
                    question.order = order;
                }
                "limit" => {
                    let limit = value.parse().map_err(|_| format!("no number: {value:?}"))?;
                    question.limit = limit;
                }
                "service" => question.service = Some(value),
                "sketches" => question.sketches = value == "1",
                _ => return Err(format!("no parameter {name:?}")),
            }
        }
        Ok(question)
    }
}

impl Insight {
    /// The entries that a question is about, the most first.
    pub fn top(&self, question: &Question<'_>) -> Vec<(u64, Entry)> {
        let wanted = self.chosen(question);
        let mut found: HashMap<Key, Entry> = HashMap::new();
        for shard in &self.shards {
            for key in &wanted {
                let entry = shard.table.lock().find(*key).map(|entry| entry.clone());
                let Some(entry) = entry else { continue };
                match found.get_mut(key) {
                    Some(known) => known.merge(&entry),
                    None => {
                        found.insert(*key, entry);
                    }
                }
            }
        }
        let rows = wanted.into_iter();
        let mut rows: Vec<_> = rows
            .filter_map(|key| Some((key.digest, found.remove(&key)?)))
            .collect();
        rows.sort_by_key(|(_, entry)| std::cmp::Reverse(question.order.number(entry)));
        rows
    }

    fn chosen(&self, question: &Question<'_>) -> Vec<Key> {
        let mut sums: HashMap<Key, u64> = HashMap::new();
        for shard in &self.shards {
            let numbers = shard.table.lock().numbers(|entry| {
                let asked = question.service.is_none_or(|name| *entry.service == *name);
                if asked {
                    question.order.number(entry) + 1
                } else {
                    0
                }
            });
            for (key, number) in numbers.into_iter().filter(|(_, number)| *number > 0) {
                let sum = sums.entry(key).or_default();
                *sum = match question.order.adds_up() {
                    true => sum.saturating_add(number),
                    false => number.max(*sum),
                };
            }
        }
        let mut sums: Vec<(Key, u64)> = sums.into_iter().collect();
        sums.sort_unstable_by_key(|(key, number)| (std::cmp::Reverse(*number), *key));
        sums.truncate(question.limit.min(ROWS_MAX));
        sums.into_iter().map(|(key, _)| key).collect()
    }

    /// The answer to a question; `unix_ms` gives the time of day of a time of the process's clock.
    pub fn to_json(&self, question: &Question<'_>, unix_ms: impl Fn(u64) -> u64) -> Value {
        let rows = self.top(question);
        let rows = rows.iter().map(|(digest, entry)| {
            let mut row = shown(*digest, entry, &unix_ms);
            if question.sketches
                && let Some(fields) = row.as_object_mut()
            {
                fields.insert("sketch".to_owned(), entry.sketch.to_json());
            }
            row
        });
        Value::Array(rows.collect())
    }
}

fn shown(digest: u64, entry: &Entry, unix_ms: &impl Fn(u64) -> u64) -> Value {
    let codes = entry.codes.iter();
    let codes: serde_json::Map<String, Value> = codes
        .map(|(code, count)| (code.to_string(), Value::from(*count)))
        .collect();
    let shares = entry.shares.iter().map(|share| {
        json!({
            "endpoint": share.endpoint.name.as_str(),
            "calls": share.calls,
            "time_us": share.time_ns / 1_000,
        })
    });
    let pins: serde_json::Map<String, Value> = entry
        .pin_reasons()
        .map(|(reason, count)| (reason.to_owned(), Value::from(count)))
        .collect();
    json!({
        "service": &*entry.service,
        "user": &*entry.user,
        "digest": format!("{digest:016x}"),
        "text": &*entry.text,
        "class": crate::metrics::class_label(entry.class),
        "calls": entry.calls,
        "prepared": entry.prepared,
        "errors": entry.errors,
        "error_codes": codes,
        "rows_sent": entry.rows,
        "rows_affected": entry.affected,
        "bytes_in": entry.bytes_in,
        "bytes_out": entry.bytes_out,
        "time_us": entry.time_ns / 1_000,
        "wait_us": entry.wait_ns / 1_000,
        "execute_us": entry.execute_ns / 1_000,
        "average_us": entry.time_ns / 1_000 / entry.calls.max(1),
        "p50_us": quantile_us(entry, 0.5),
        "p95_us": quantile_us(entry, 0.95),
        "p99_us": quantile_us(entry, 0.99),
        "max_us": entry.max_ns / 1_000,
        "scattered": entry.scattered,
        "shards_mean": shards_mean(entry),
        "shards_max": entry.shards_max,
        "endpoints": shares.collect::<Vec<_>>(),
        "pins": pins,
        "first_seen_ms": unix_ms(entry.first_ms),
        "last_seen_ms": unix_ms(entry.last_ms),
    })
}

/// Nodes of a statement on a sharded service, to two places; 0 elsewhere.
fn shards_mean(entry: &Entry) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a mean")]
    let hundredths = (entry.shards as f64 / entry.placed.max(1) as f64 * 100.0).round();
    hundredths / 100.0
}

/// A percentile, no larger than the longest that there was.
fn quantile_us(entry: &Entry, q: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a duration of hours at most"
    )]
    let us = (entry.sketch.quantile(q) / 1_000.0).round() as u64;
    us.min(entry.max_ns.div_ceil(1_000).max(1))
}
